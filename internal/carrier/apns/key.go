package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier/push"
)

// A Key is a signing key of an Apple developer's team.
type Key struct {
	private *ecdsa.PrivateKey
	secret  []byte // its private half

	mu    sync.Mutex // guards the next
	token string
	made  time.Time
}

// ParseKey reads a key from the .p8 file that Apple makes. Its error never quotes that.
func ParseKey(text []byte) (*Key, error) {
	wrong := errors.New("must be the .p8 file of a key for APNs: a private key of P-256, PKCS #8 in PEM")
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, wrong
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || private.Curve != elliptic.P256() {
		return nil, wrong
	}
	secret, err := private.Bytes()
	if err != nil {
		return nil, wrong
	}
	return &Key{private: private, secret: secret}, nil
}

// Apple refuses tokens that are older than an hour, and keys that make a new one more often than every 20 minutes.
const (
	tokenLife   = 50 * time.Minute
	tokenLeast  = 20 * time.Minute
	clockSpread = time.Minute // how far back a clock may be set before a token is made anew
)

// provide returns the token of a key and a team. It makes a new one where the last is old, or was refused and may be
// replaced already.
func (k *Key) provide(id, team string, now time.Time, refused string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := now.Sub(k.made)
	if k.token != "" && age < tokenLife && age > -clockSpread && (k.token != refused || age < tokenLeast) {
		return k.token, nil
	}
	token, err := push.SignES256(k.private, map[string]string{"alg": "ES256", "kid": id}, map[string]any{"iss": team, "iat": now.Unix()})
	if err == nil {
		k.token, k.made = token, now
	}
	return token, err
}
