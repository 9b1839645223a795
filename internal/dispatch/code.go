package dispatch

import (
	"crypto/hmac"
	"strings"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// shown is what may be stored and logged of a carrier's code for the failure of v's message: nothing if it may repeat
// v's own code or number. Carriers answer with parts of a request. v's code is compared by its MAC, since its sealed
// copy is gone once v has ended.
func (d *Dispatcher) shown(text string, v *verify.Verification) string {
	text = withoutNumber(text, v.Reach())
	plain := keep(text, func(r rune) bool { return r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z' })
	for i := 0; v.Length > 0 && i+v.Length <= len(plain); i++ {
		guess, possible := code.Normalize(v.Format, plain[i:i+v.Length])
		if !possible {
			continue
		}
		mac, err := d.config.Keys.MAC(v.KeyID, v.Binding(), guess)
		if err != nil || hmac.Equal(mac, v.CodeMAC) {
			return ""
		}
	}
	return text
}

// numberEnd is how many digits of a number's end tell whose it is.
const numberEnd = 7

// withoutNumber returns a carrier's code for a failure, or "" if it can't be one or holds the end of the number.
func withoutNumber(text string, to phone.Number) string {
	text = carrier.CleanCode(text)
	digits := keep(text, func(r rune) bool { return r < '0' || r > '9' })
	if strings.Contains(digits, string(to)[max(0, len(to)-numberEnd):]) {
		return ""
	}
	return text
}

// keep returns text without what drop reports.
func keep(text string, drop func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if drop(r) {
			return -1
		}
		return r
	}, text)
}
