package carrier

import (
	"encoding/base32"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/verify"
)

// maxShortToken is the length of the longest short token.
const maxShortToken = 32

// Token returns the name of an attempt that others see, who report on it: the verification's id, a dot, and the
// attempt's number.
func Token(v verify.ID, attempt int) string { return v.String() + "." + strconv.Itoa(attempt) }

// ShortToken returns the same name in letters and digits only, at most 32 of them.
func ShortToken(v verify.ID, attempt int) string {
	return shortID.EncodeToString(v[:]) + strconv.Itoa(attempt)
}

// shortID writes an id in 26 letters and digits.
var shortID = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ParseToken parses a token, short or not.
func ParseToken(s string) (v verify.ID, attempt int, ok bool) {
	if n := shortID.EncodedLen(len(v)); len(s) > n && len(s) <= maxShortToken {
		var b []byte
		b, err := shortID.DecodeString(s[:n])
		attempt, err2 := strconv.Atoi(s[n:])
		if copy(v[:], b); err == nil && err2 == nil && attempt > 0 && ShortToken(v, attempt) == s {
			return v, attempt, true
		}
		return verify.ID{}, 0, false
	}
	id, n, ok := strings.Cut(s, ".")
	if !ok || len(n) > 9 {
		return verify.ID{}, 0, false
	}
	v, err := verify.ParseID(id)
	attempt, err2 := strconv.Atoi(n)
	if err != nil || err2 != nil || attempt < 1 {
		return verify.ID{}, 0, false
	}
	return v, attempt, true
}
