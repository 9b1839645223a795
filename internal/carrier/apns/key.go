package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"
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
	token, err := k.sign(id, team, now)
	if err == nil {
		k.token, k.made = token, now
	}
	return token, err
}

// sign makes a token: a JWT with ES256 (RFC 7518 §3.4).
func (k *Key) sign(id, team string, now time.Time) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": id})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{"iss": team, "iat": now.Unix()})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature), nil
}
