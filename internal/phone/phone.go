// Package phone reads phone numbers and gives each number one canonical form.
//
// Limits, failures and validated addresses are stored under a number. If "+44
// 20 7946 0018" and "+44 (0)20 7946 0018" were two keys, a client that varies
// the spelling would have twice the guesses and twice the messages. So [Parse]
// first folds the spelling, then removes the parts that only national dialling
// uses: trunk zeros, Mexico's old 1, Argentina's 15.
//
// Parse doesn't refuse a number for its national plan: plans change faster than
// tables of them, and the vendors' own examples aren't assigned numbers.
// [Number.Possible] and [Number.Kind] report on the plan.
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

// Errors of [Parse]. Their texts never contain the number, because errors are
// logged and sent to clients.
var (
	ErrFormat      = errors.New("not an E.164 number: + and 7 to 15 digits")
	ErrCallingCode = errors.New("unknown country calling code")
)

const (
	minDigits = 7
	maxDigits = 15

	// maxInput is in bytes. It leaves room for fifteen digits of four bytes
	// each and some formatting. Parse refuses longer input unread.
	maxInput = 128
)

// A Number is a phone number in E.164, the international form: a plus, the
// country calling code and the national number, without spaces or punctuation.
// [Parse] makes Numbers, and returns the same Number for a Number's own text.
// Equal numbers are equal strings.
type Number string

// Masked returns the number with all but the last four digits hidden. An
// operator who already has the number can recognise it; nobody else can.
func (n Number) Masked() string {
	const shown = 4
	if IsErased(n) {
		return "erased"
	}
	if len(n) < minDigits+1 { // not made by Parse, and too short to show a part of
		return strings.Repeat("*", len(n))
	}
	hidden := len(n) - 1 - shown
	return "+" + strings.Repeat("*", hidden) + string(n[1+hidden:])
}

// LogValue masks the number. Logs are kept longer, and read by more people, than
// the numbers in them should be. With LogValue, a number that is logged as an
// attribute is masked by default. (slog doesn't look inside structs.)
func (n Number) LogValue() slog.Value { return slog.StringValue(n.Masked()) }

// CountryCode returns the country calling code, such as 44 for +44 20 …. It
// returns 0 only for a Number that [Parse] didn't make.
func (n Number) CountryCode() int {
	digits, ok := strings.CutPrefix(string(n), "+")
	if !ok {
		return 0
	}
	return callingCode(digits)
}

// cache maps folded spellings to their numbers, because normalizing one runs
// many regular expressions. It holds accepted numbers only: they have at most
// 15 digits, so its size is bounded in bytes too (12 MB when full), and refused
// input can't evict them.
var cache, _ = lru.New[string, Number](cacheSize) // New fails only for sizes below 1

const cacheSize = 65_536

// Parse reads an international number as people write it. It accepts spaces,
// dashes, dots, parentheses and the digits of any script. The plus may be
// written as 00, or be a space, into which form encoding turns a plus.
// Everything else, such as a letter, an extension or a second plus, is an
// error. Parse is safe for concurrent use.
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

// longVowel is the katakana sign (U+30FC) that Japanese keyboards give for a dash.
const longVowel = 'ー'

// minBehindSlash is how many digits a slash needs behind it to stand behind an area code, as in +49 171/1234567. Fewer
// are another extension, as in +49 30 901820/21, and so another number.
const minBehindSlash = 5

// fold reduces a spelling to a plus and 7 to 15 ASCII digits.
func fold(s string) (string, bool) {
	if len(s) > maxInput {
		return "", false
	}
	b := make([]byte, 0, len("00")+maxDigits)
	slash := 0 // digits before it; 0: there is none
	for _, r := range s {
		switch r = typed.Rune(r); {
		case '0' <= r && r <= '9' && len(b) < cap(b):
			b = append(b, byte(r))
		case r == '+' && len(b) == 0:
			b = append(b, '+')
		case r == typed.Nothing, r == '.', r == '(', r == ')', r == longVowel:
		case r == '/' && slash == 0 && len(b) > 0:
			slash = len(b)
		default:
			return "", false
		}
	}
	if slash > 0 && len(b)-slash < minBehindSlash {
		return "", false
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

// callingCode returns the country calling code that digits begin with, or 0. No
// code is a prefix of another.
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

// mexico matches the prefixes that Mexico dialled until 2019, which many address
// books still hold. The library's tables have dropped them. Every Mexican number
// has ten digits, so a longer number that matches can't belong to anybody else.
var mexico = regexp.MustCompile(`^\+52(?:1|0[12]|04[45])([2-9]\d{9})$`)

// isNorthAmerican reports whether a folded number is a complete one of the calling code 1. Its area
// code doesn't begin with 0 or 1, the prefixes of national dialling, so nothing has to be removed.
// These are the numbers looked up most, and this check saves them the library's regular expressions.
func isNorthAmerican(folded string) bool {
	return len(folded) == len("+12025550100") && folded[1] == '1' && folded[2] >= '2'
}

// normalize removes the parts of a folded number that only national dialling
// needs.
//
// The library does that once per call, and its result isn't always its own
// normal form: each call removes one zero of "+44 0 0 …". A key must stay the
// same when it is read back, so normalize repeats the call until nothing
// changes. It refuses a number that becomes too short, or that keeps changing.
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
