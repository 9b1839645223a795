package account

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A Key is an API secret of a project, as stored: the secret itself is shown once, when it is made.
type Key struct {
	ID        verify.ID
	Project   verify.ProjectID
	Name      string
	Hash      KeyHash
	RevokedAt time.Time // zero: it works

	// With a consumer key its holder can replace the secret: see [Service.RefreshToken].
	Consumer       string    // "": they can't
	ConsumerSecret KeyHash   // of the other half
	ExpiresAt      time.Time // zero: the secret works until it is replaced or revoked
}

// A KeyHash is the SHA-256 of an API secret. The secret has at least 128 bits, so a plain hash is
// enough to keep it, and looking one up by its hash tells a timing observer nothing of use.
type KeyHash [sha256.Size]byte

// HashKey returns the form in which a secret is stored.
func HashKey(secret verify.Secret) KeyHash { return sha256.Sum256([]byte(secret)) }

// NewKey makes a secret of 256 bits. Its prefix lets secret scanners find it.
func NewKey() verify.Secret {
	var b [32]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return verify.Secret("cs_" + base64.RawURLEncoding.EncodeToString(b[:]))
}

// NewConsumer makes a consumer key of 128 bits and its secret of 256.
func NewConsumer() (key string, secret verify.Secret) {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return "ck_" + base64.RawURLEncoding.EncodeToString(b[:]), NewKey()
}
