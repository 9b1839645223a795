// Package phone reads phone numbers, so that one number has one key.
//
// Limits, failures and validated addresses hang on a number. If "+44 20 7946
// 0018" and "+44 (0)20 7946 0018" were two keys, whoever varies the spelling
// would have twice the guesses and twice the messages. So spelling is folded
// first, then what national dialling puts into numbers and networks leave out:
// trunk zeros, Mexico's old 1, Argentina's 15.
//
// A number isn't refused for its national plan: plans change faster than tables
// of them, and the vendors' own examples aren't numbers that anybody could
// hold. [Number.Possible] and [Number.Kind] say what a plan does.
package phone

import (
	"errors"
	"log/slog"
	"regexp"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nyaruka/phonenumbers"

	"github.com/countersign/countersign/internal/typed"
)

// What is wrong with a number. The texts never hold it, since errors are logged
// and answered.
var (
	ErrFormat      = errors.New("not an E.164 number: + and 7 to 15 digits")
	ErrCallingCode = errors.New("unknown country calling code")
)

const (
	minDigits = 7
	maxDigits = 15

	// maxInput is in bytes. Fifteen digits of four bytes each and some
	// formatting fit; what is longer is refused before it is looked at.
	maxInput = 128
)

// A Number is a phone number in E.164: a plus, the country calling code and the
// national number, with nothing that only one spelling has. [Parse] makes them,
// and gives the same Number for its own text. Equal numbers are equal strings.
type Number string

// Masked shows the last four digits only: enough for an operator who has the
// number at hand to recognise it, too little for one who doesn't.
func (n Number) Masked() string {
	const shown = 4
	if len(n) < minDigits+1 { // not from Parse, and too short to show a part of
		return strings.Repeat("*", len(n))
	}
	hidden := len(n) - 1 - shown
	return "+" + strings.Repeat("*", hidden) + string(n[1+hidden:])
}

// LogValue masks the number. Logs are kept longer, and read by more people,
// than the numbers in them should be, so a number that is logged as an attribute
// must not need to be thought of. (slog doesn't look inside of structs.)
func (n Number) LogValue() slog.Value { return slog.StringValue(n.Masked()) }

// CountryCode is the country calling code: 44 for +44 20 …. It is 0 only for
// what didn't come from [Parse].
func (n Number) CountryCode() int {
	digits, ok := strings.CutPrefix(string(n), "+")
	if !ok {
		return 0
	}
	return callingCode(digits)
}

// cache holds what folded spellings stand for, as reading one takes a pile of
// regular expressions. Only numbers are kept: they have at most 15 digits, so
// its size is bounded in bytes too (12 MB when full), and refused input can't
// push them out.
var cache, _ = lru.New[string, Number](cacheSize) // errs only for sizes below 1

const cacheSize = 65_536

// Parse reads an international number as people write it: with spaces, dashes,
// dots and parentheses, with the digits of any script, with 00 for the plus, or
// with a space for it, which is what a form makes of one. Everything else, such
// as a letter, an extension or a second plus, is an error. It is safe for
// concurrent use.
func Parse(s string) (Number, error) {
	folded, ok := fold(s)
	if !ok {
		return "", ErrFormat
	}
	if n, ok := cache.Get(folded); ok {
		return n, nil
	}
	n, err := normalize(folded)
	if err != nil {
		return "", err
	}
	cache.Add(folded, n)
	return n, nil
}

// fold reduces a spelling to a plus and 7 to 15 ASCII digits.
func fold(s string) (string, bool) {
	if len(s) > maxInput {
		return "", false
	}
	b := make([]byte, 0, len("00")+maxDigits)
	for _, r := range s {
		switch r = typed.Rune(r); {
		case '0' <= r && r <= '9' && len(b) < cap(b):
			b = append(b, byte(r))
		case r == '+' && len(b) == 0:
			b = append(b, '+')
		case r == typed.Nothing, r == '.', r == '(', r == ')':
		default:
			return "", false
		}
	}
	folded := string(b)
	if rest, ok := strings.CutPrefix(folded, "00"); ok {
		folded = "+" + rest
	}
	ok := strings.HasPrefix(folded, "+") && inBounds(folded)
	return folded, ok
}

func inBounds(e164 string) bool {
	digits := len(e164) - 1
	return minDigits <= digits && digits <= maxDigits
}

// callingCode is the country calling code that digits begin with, or 0. No code
// is the beginning of another.
func callingCode(digits string) int {
	codes := phonenumbers.GetSupportedCallingCodes()
	if strings.HasPrefix(digits, "0") {
		return 0
	}
	code := 0
	for i := 0; i < len(digits) && i < 3; i++ {
		code = code*10 + int(digits[i]-'0')
		if codes[code] {
			return code
		}
	}
	return 0
}

// mexico is what Mexico dialled until 2019, and what contacts are still full of.
// The library's tables have dropped it. Every Mexican number has ten digits, so
// the longer ones that match are nobody else's.
var mexico = regexp.MustCompile(`^\+52(?:1|0[12]|04[45])([2-9]\d{9})$`)

// isNorthAmerican reports whether a folded number is a whole one of the calling code 1. Its area code
// doesn't begin with the 0 or the 1 of national dialling, so there is nothing to take out, and the
// numbers that are looked up most need none of the library's regular expressions.
func isNorthAmerican(folded string) bool {
	return len(folded) == len("+12025550100") && folded[1] == '1' && folded[2] >= '2'
}

// normalize takes what only national dialling needs out of a folded number.
//
// The library does that once per call, and its result isn't always its own
// normal form: "+44 0 0 …" loses one zero at a time. A key that changes when it
// is read back isn't one, so it is asked until nothing changes. A number that
// such folding leaves too short, or never leaves alone, is refused.
func normalize(folded string) (Number, error) {
	if isNorthAmerican(folded) {
		return Number(folded), nil
	}
	if callingCode(folded[1:]) == 0 {
		return "", ErrCallingCode
	}
	for range maxDigits {
		if strings.HasPrefix(folded, "+52") {
			folded = mexico.ReplaceAllString(folded, "+52$1")
		}
		p, err := phonenumbers.Parse(folded, "")
		if err != nil {
			return "", ErrFormat
		}
		next := phonenumbers.Format(p, phonenumbers.E164)
		if !inBounds(next) {
			return "", ErrFormat
		}
		if next == folded {
			return Number(next), nil
		}
		folded = next
	}
	return "", ErrFormat
}
