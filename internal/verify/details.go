package verify

import (
	"crypto/sha256"
	"crypto/subtle"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/wording"
)

// Details are what a caller adds to a verification. Most have none.
type Details struct {
	Metadata map[string]string // for the caller alone: no log, no text and no rule has it
	Payment
	Client Client `json:"-"` // kept with the prompt that shows it, and else not: see [Prompt]
}

// A Payment is what a code authorizes (PSD2 calls it dynamic linking). The message says it, the code is bound to it, and
// a check must repeat it. The zero Payment is none.
type Payment struct {
	Amount string // such as "49.90 EUR"
	Payee  string
}

// IsZero reports whether there is none.
func (p Payment) IsZero() bool { return p == Payment{} }

// bound is what a code is bound to: "" for none.
func (p Payment) bound() string {
	if p.IsZero() {
		return ""
	}
	return p.Amount + "\x00" + p.Payee // neither has a control character
}

// equal compares two payments, in the same time whatever they have in common.
func (p Payment) equal(o Payment) bool {
	if p.IsZero() && o.IsZero() {
		return true
	}
	a, b := sha256.Sum256([]byte(p.bound())), sha256.Sum256([]byte(o.bound()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Bounds of details, in characters.
const (
	maxMetadata      = 10 // pairs
	maxMetadataKey   = 40
	maxMetadataValue = 200
	maxPayee         = 64
)

var amount = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,4})? [A-Z]{3}$`)

// details checks what a caller adds. A problem repeats none of it.
func (p *problems) details(d *Details) {
	if len(d.Metadata) > maxMetadata {
		p.add(FieldMetadata, "has too many pairs (maximum is %d)", maxMetadata)
	}
	for key, value := range d.Metadata {
		if n := utf8.RuneCountInString(key); n < 1 || n > maxMetadataKey {
			p.add(FieldMetadata, "has a key of %d characters (1 to %d are allowed)", n, maxMetadataKey)
			break
		}
		if n := utf8.RuneCountInString(value); n > maxMetadataValue {
			p.add(FieldMetadata, "has a value of %d characters (maximum is %d)", n, maxMetadataValue)
			break
		}
	}
	if d.Payment.IsZero() {
		return
	}
	if !amount.MatchString(d.Amount) {
		p.add(FieldAmount, "must be like 49.90 EUR: at most 12 digits, and 4 after a point, a space, and a currency of ISO 4217")
	}
	switch n := utf8.RuneCountInString(d.Payee); {
	case n < 1 || n > maxPayee:
		p.add(FieldPayee, "must have 1 to %d characters", maxPayee)
	case wording.Name(d.Payee) != d.Payee || strings.ContainsAny(d.Payee, wording.CodeMark+wording.SpellMark):
		p.add(FieldPayee, "must be a name in one line, without a link and without more than one space in a row")
	}
}

// An Entry is what was typed for a verification, and what for.
type Entry struct {
	Purpose Purpose
	Payment Payment
	Code    Secret
}
