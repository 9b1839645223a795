package verify

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/sms"
)

// A Profile is a named set of bounds and defaults; a project has one. A value outside of it is
// refused, never clamped in silence.
type Profile string

const (
	// Compat keeps the hosted vendors' published bounds to the letter, so that their clients work.
	Compat Profile = "compat"
	// Standard keeps NIST SP 800-63B-4 §3.1.3.2 and OWASP ASVS 5 §6.5.
	Standard Profile = "standard"
)

// Valid reports whether the profile exists.
func (p Profile) Valid() bool { return p == Compat || p == Standard }

// bounds are a profile's numbers. Each range is inclusive.
type bounds struct {
	minLength, maxLength, length       int
	minBits                            float64 // of a code's entropy
	maxLife, life                      time.Duration
	minAttempts, maxAttempts, attempts int
	possibleNumbers                    bool // refuse lengths that the national plan doesn't know
	freeFailures                       int  // wrong guesses at a number before the first wait, less 5
}

var profiles = map[Profile]bounds{
	Compat: {
		minLength: 4, maxLength: 20, length: 6,
		maxLife: 604800 * time.Second, life: 3600 * time.Second,
		minAttempts: 1, maxAttempts: 20, attempts: 3,
		freeFailures: 15,
	},
	Standard: {
		// Six digits are 19.9 bits, just short of the 20 that other alphabets need.
		minLength: 4, maxLength: 20, length: 6, minBits: 6 * 3.3219,
		maxLife: 600 * time.Second, life: 300 * time.Second,
		minAttempts: 1, maxAttempts: 5, attempts: 5,
		possibleNumbers: true,
	},
}

// wait is how long a number has to wait after its n-th consecutive failure. The waits grow with
// the failures (NIST SP 800-63B-4 §3.2.2); compat has 15 more free ones, for its verifications
// may allow 20 guesses each.
func (p Profile) wait(failures int) time.Duration {
	switch n := failures - profiles[p].freeFailures; {
	case n >= 20:
		return time.Hour
	case n == 15:
		return 15 * time.Minute
	case n == 10:
		return 5 * time.Minute
	case n == 5:
		return 30 * time.Second
	}
	return 0
}

// A Channel is a way to reach a person.
type Channel string

const (
	SMS   Channel = "sms"
	Voice Channel = "voice"
)

// approvedText is what the public sender may say, and the default.
func approvedText(c Channel) string {
	if c == Voice {
		return "Your Personal Authorization Code is " + placeholder
	}
	return "Your Personal Authorization Code is: " + placeholder
}

// placeholder stands for the code in a verification's text. No rendered text holds it otherwise.
const placeholder = "{code}"

// maxSpoken is how many characters a call may say, including the code.
const maxSpoken = 500

// frame turns a caller's text into one with the placeholder: where the caller put {code} or
// {{code}}, else at its end after white space.
func frame(text string) string {
	text = strings.ReplaceAll(text, "{{code}}", placeholder)
	switch {
	case strings.Contains(text, placeholder):
		return text
	case strings.TrimRightFunc(text, unicode.IsSpace) != text:
		return text + placeholder
	}
	return text + " " + placeholder
}

// A StartRequest asks for a verification. What is nil or empty takes the application's setting,
// and what that leaves open, the profile's default.
type StartRequest struct {
	Channel  Channel
	To       string
	From     string
	Text     string // around the code; see frame
	Format   code.Format
	Length   *int
	Life     *int // seconds
	Attempts *int
}

// terms are a request's settled settings: what a verification freezes when it starts.
type terms struct {
	to       phone.Number
	sender   string
	text     string
	format   code.Format
	length   int
	life     time.Duration
	attempts int
}

// Validate says all that is wrong with a request in an [ErrInvalid], without starting anything.
func Validate(acct *Account, r StartRequest) error {
	_, err := settle(acct, r, "")
	return err
}

// settle decides every setting of a request, or says all that is wrong with it in an [ErrInvalid].
// The public sender is used where neither the request nor the application names one.
func settle(acct *Account, r StartRequest, public string) (terms, error) {
	b, app := profiles[acct.Project.Profile], &acct.Application
	var problems []Problem
	wrong := func(f Field, format string, args ...any) {
		problems = append(problems, Problem{f, fmt.Sprintf(format, args...)})
	}

	t := terms{sender: public, format: cmp.Or(r.Format, app.Format, code.Numeric)}
	t.to = number(FieldTo, r.To, wrong)
	if t.to != "" && b.possibleNumbers && !t.to.Possible() {
		wrong(FieldTo, "has a length that its country's numbers don't have")
	}
	t.length = within(FieldLength, r.Length, cmp.Or(app.Length, b.length), b.minLength, b.maxLength, wrong)
	if t.length > 0 && t.format.Bits(t.length) < b.minBits {
		wrong(FieldLength, "is too short for a secure code")
	}
	maxLife := int(b.maxLife / time.Second)
	t.life = time.Duration(within(FieldLife, r.Life, int(cmp.Or(app.Life, b.life)/time.Second), 0, maxLife, wrong)) * time.Second
	t.attempts = within(FieldAttempts, r.Attempts, cmp.Or(app.Attempts, b.attempts), b.minAttempts, b.maxAttempts, wrong)

	own := false // a sender of the project's own, which may say what it likes
	switch {
	case r.From != "":
		from := number(FieldFrom, r.From, wrong)
		if from != "" && !acct.Project.allows(from) {
			wrong(FieldFrom, "is not a sender of this project")
		}
		t.sender, own = string(from), true
	case app.Sender != "":
		t.sender, own = string(app.Sender), true
	}

	t.text = approvedText(r.Channel)
	if r.Text != "" && frame(r.Text) != t.text {
		t.text = frame(r.Text)
		if !own && !acct.Project.PublicText {
			wrong(FieldFrom, "can't be blank when a message is given")
		}
		if problem := unfit(r.Channel, t.text, t.length); problem != "" {
			wrong(FieldText, "%s", problem)
		}
	}
	if problems != nil {
		return terms{}, &Error{Kind: Invalid, Code: ErrInvalid.Code, Message: ErrInvalid.Message, Problems: problems}
	}
	return t, nil
}

// unfit says why a text can't go out on a channel, with a code of the given length in it.
func unfit(c Channel, text string, length int) string {
	for _, r := range text {
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return "has a control character"
		}
	}
	if !utf8.ValidString(text) {
		return "is not valid UTF-8"
	}
	// Zeros serve for every format: all characters of a code are one septet in GSM 03.38.
	full := strings.ReplaceAll(text, placeholder, strings.Repeat("0", length))
	if c == Voice {
		if utf8.RuneCountInString(full) > maxSpoken {
			return fmt.Sprintf("is too long (maximum is %d characters with the code)", maxSpoken)
		}
		return ""
	}
	if enc, _ := sms.Measure(full); !sms.Fits(full, 1) {
		most := sms.SingleUCS2
		if enc == sms.GSM7 {
			most = sms.SingleGSM7
		}
		return fmt.Sprintf("is too long (maximum is %d characters with the code, one segment of %v)", most, enc)
	}
	return ""
}

// number parses an E.164 number; "" means that a problem was noted.
func number(f Field, s string, wrong func(Field, string, ...any)) phone.Number {
	if strings.TrimSpace(s) == "" {
		wrong(f, "can't be blank")
		return ""
	}
	n, err := phone.Parse(s)
	switch {
	case errors.Is(err, phone.ErrCallingCode):
		wrong(f, "has an unknown country calling code")
	case err != nil:
		wrong(f, "is %v", err)
	}
	return n
}

// within returns the given value or, without one, the default; 0 means that a problem was noted.
func within(f Field, given *int, preset, low, high int, wrong func(Field, string, ...any)) int {
	n := preset
	if given != nil {
		n = *given
	}
	switch {
	case n < low:
		wrong(f, "must be greater than or equal to %d", low)
		return 0
	case n > high:
		wrong(f, "must be less than or equal to %d", high)
		return 0
	}
	return n
}
