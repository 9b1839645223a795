// Package code makes one-time codes and reads what people type of them.
//
// A code is worth exactly the guesses that it takes, so every code of a format
// and length is equally likely: random bytes that would favour some characters
// are thrown away, never reduced. The alphabets leave out the characters that
// people mix up when they copy from a small screen, because a wrong guess that
// was only a misread letter still counts. What is typed is read generously
// where that can't turn one code into another (spaces, dashes and invisible
// characters, digits of other scripts, full-width forms, case where a format
// has only one) and strictly everywhere else.
package code

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode"

	"github.com/countersign/countersign/internal/typed"
)

// MaxLength is the longest code that can be made or read.
const MaxLength = 64

// A Format says which characters a code is drawn from.
type Format string

const (
	Numeric      Format = "numeric"      // any keypad can type it, any voice can read it out
	Alpha        Format = "alpha"        // capital letters; typed in any case
	Alphanumeric Format = "alphanumeric" // capital letters and digits; typed in any case
	Complex      Format = "complex"      // both cases, digits and symbols, of which a code may lack some; typed exactly
)

// I and O, their lower cases, and l are look-alikes of 1 and 0, which the
// formats with letters leave out too. Every symbol is a single septet in the
// GSM 03.38 alphabet, so that a code costs a message as many septets as it has
// characters. None is a space or a dash, which [Normalize] drops.
const (
	upper   = "ABCDEFGHJKLMNPQRSTUVWXYZ"
	lower   = "abcdefghjkmnpqrstuvwxyz"
	digits  = "23456789"
	symbols = "!#$%&*+=?@"
)

var (
	errFormat = errors.New("unknown format")
	errStuck  = errors.New("random source yields nothing usable")
)

// Valid reports whether f is one of the formats above.
func (f Format) Valid() bool { return f.Alphabet() != "" }

// Alphabet is every character that a code of the format can hold, each once,
// all of them ASCII. It is empty for an unknown format.
func (f Format) Alphabet() string {
	switch f {
	case Numeric:
		return "0123456789"
	case Alpha:
		return upper
	case Alphanumeric:
		return upper + digits
	case Complex:
		return upper + lower + digits + symbols
	}
	return ""
}

// Bits is the entropy of a code of the given length: what a policy that asks
// for bits rather than characters compares. It is 0 for what can't be made.
func (f Format) Bits(length int) float64 {
	if !f.Valid() || length < 1 || length > MaxLength {
		return 0
	}
	return float64(length) * math.Log2(float64(len(f.Alphabet())))
}

// Generate draws a code of exactly length characters from rand, which callers
// set to crypto/rand.Reader. Every code is equally likely if every byte of rand
// is. A reader that fails, or ends early, fails the code: there is no short one.
func Generate(rand io.Reader, f Format, length int) (string, error) {
	alphabet := f.Alphabet()
	if alphabet == "" {
		return "", fmt.Errorf("generate code of format %q: %w", f, errFormat)
	}
	if length < 1 || length > MaxLength {
		return "", fmt.Errorf("generate code: length %d is not from 1 to %d", length, MaxLength)
	}

	// A byte at or above the last whole multiple of the alphabet's size would
	// make its first characters more likely than the others.
	n := len(alphabet)
	limit := 256 - 256%n

	code := make([]byte, 0, length)
	var block [MaxLength]byte
	// Fewer than one byte in four is refused, so with a working source the
	// rounds never run out; with a stuck one they end.
	for range 128 {
		missing := block[:length-len(code)]
		if _, err := io.ReadFull(rand, missing); err != nil {
			return "", fmt.Errorf("generate code: read random bytes: %w", err)
		}
		for _, b := range missing {
			if int(b) < limit {
				code = append(code, alphabet[int(b)%n])
			}
		}
		if len(code) == length {
			return string(code), nil
		}
	}
	return "", fmt.Errorf("generate code: %w", errStuck)
}

// Normalize turns what a person typed into the code that it spells: folded as
// [typed.Rune] does, and in upper case unless the format tells cases apart. It
// reports false for what can't be a code of the format. It
// doesn't guess that 0 was meant for O: neither is in an alphabet with letters,
// and a person who reads one there should look again.
//
// It stops at the first character that no code holds, and allocates only for
// a result, so a hostile input costs at most one pass.
func Normalize(f Format, text string) (string, bool) {
	alphabet := f.Alphabet()
	var kept [MaxLength]byte
	n := 0
	for _, r := range text {
		if r = typed.Rune(r); r == typed.Nothing {
			continue
		}
		if f != Complex && 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		if n == MaxLength || !strings.ContainsRune(alphabet, r) {
			return "", false
		}
		kept[n] = byte(r) // alphabets are ASCII
		n++
	}
	return string(kept[:n]), n > 0
}

// Fold is how Normalize reads a text that need not be a code, such as one with
// something before it.
func Fold(f Format, text string) string {
	return strings.Map(func(r rune) rune {
		r = typed.Rune(r)
		if f != Complex {
			r = unicode.ToUpper(r)
		}
		return r
	}, text)
}
