package carrier

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/countersign/countersign/internal/verify"
)

// A Secret is a key of 24 to 64 bytes that signs requests as Standard Webhooks says.
type Secret []byte

// ParseSecret parses a secret as Standard Webhooks writes it: whsec_ and base64. Its error
// never quotes the secret.
func ParseSecret(s string) (Secret, error) {
	b64, ok := strings.CutPrefix(strings.TrimSpace(s), "whsec_")
	key, err := base64.StdEncoding.DecodeString(b64)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("must be whsec_ and the base64 of 24 to 64 bytes")
	}
	return key, nil
}

// Encode formats a secret as [ParseSecret] reads it.
func (s Secret) Encode() verify.Secret {
	return verify.Secret("whsec_" + base64.StdEncoding.EncodeToString(s))
}
