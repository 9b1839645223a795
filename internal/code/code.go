// Package code generates one-time codes and reads the codes that people type.
//
// All codes of one format and length are equally likely. Random bytes that
// would favour some characters are discarded, never reduced modulo the
// alphabet's size. The alphabets leave out look-alike characters, because a
// wrong guess counts even if the person only misread a letter.
//
// Reading ignores differences that can't turn one code into another: spaces,
// dashes, invisible characters, digits of other scripts, full-width forms, and
// case where a format has only one. Everything else must match exactly.
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

// MaxLength is the length of the longest code that this package generates or
// reads.
const MaxLength = 64

// A Format is the set of characters that a code consists of.
type Format string

const (
	Numeric      Format = "numeric"      // any keypad can type it, any voice can read it aloud
	Alpha        Format = "alpha"        // capital letters; typed in any case
	Alphanumeric Format = "alphanumeric" // capital letters and digits; typed in any case
	Complex      Format = "complex"      // both cases, digits and symbols, not all of them in each code; typed exactly
)

// The formats with letters leave out I, O, their lower cases, and l, which look
// like 1 and 0, and leave out 1 and 0 as well. Every symbol is a single septet
// in the GSM 03.38 alphabet, so a code takes as many septets in a message as it
// has characters. No symbol is a space or a dash, which [Normalize] drops.
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

// Alphabet returns every character that a code of the format can hold, each
// once. All of them are ASCII. It returns "" for an unknown format.
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

// Bits returns the entropy of a code of the given length, in bits. It returns 0
// for an unknown format or a length that [Generate] refuses.
func (f Format) Bits(length int) float64 {
	if !f.Valid() || length < 1 || length > MaxLength {
		return 0
	}
	return float64(length) * math.Log2(float64(len(f.Alphabet())))
}

// Generate draws a code of exactly length characters from rand, which callers
// set to crypto/rand.Reader. Every code is equally likely if every byte of rand
// is. If rand fails or ends early, Generate returns an error, never a shorter
// code.
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
	// A round discards fewer than one byte in four, so a working source never
	// uses up the rounds. The bound ends the loop if the source is stuck.
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

// Normalize returns the code that a typed text spells. It folds characters as
// [typed.Rune] does, and to upper case unless the format distinguishes cases.
// It reports false for a text that can't be a code of the format.
//
// It doesn't read 0 as O: the alphabets with letters have neither, so a person
// who reads one of them should look again.
//
// It stops at the first character that no code holds, and allocates only for a
// result, so hostile input costs at most one pass.
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

// Fold folds a text as [Normalize] does, but accepts texts that aren't codes,
// such as a code with a word before it.
func Fold(f Format, text string) string {
	return strings.Map(func(r rune) rune {
		r = typed.Rune(r)
		if f != Complex {
			r = unicode.ToUpper(r)
		}
		return r
	}, text)
}
