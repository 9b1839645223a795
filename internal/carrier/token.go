package carrier

import (
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/verify"
)

// Token returns the name of an attempt that others see, who report on it: the verification's id, a dot, and the
// attempt's number.
func Token(v verify.ID, attempt int) string { return v.String() + "." + strconv.Itoa(attempt) }

// ParseToken parses a token.
func ParseToken(s string) (v verify.ID, attempt int, ok bool) {
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
