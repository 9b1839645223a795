package webpush

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier/push"
)

// A Key is a server's VAPID key (RFC 8292): push services tell by it that messages come from the server that the device
// was registered for. A subscription is made for one key, so a new key needs new subscriptions.
type Key struct {
	private *ecdsa.PrivateKey
	public  string // as browsers take it: base64url of the uncompressed point
	secret  []byte // its private half
}

// pemType is that of a key's file.
const pemType = "PRIVATE KEY"

// NewKey makes a key, and returns it as a file holds it: PKCS #8 in PEM.
func NewKey() ([]byte, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// ParseKey reads a key from what a file holds. Its error never quotes that.
func ParseKey(text []byte) (*Key, error) {
	wrong := errors.New("must be a private key of P-256, PKCS #8 in PEM")
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType {
		return nil, wrong
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || private.Curve != elliptic.P256() {
		return nil, wrong
	}
	agreeing, err := private.ECDH()
	if err != nil {
		return nil, wrong
	}
	return newKey(private, agreeing), nil
}

func newKey(private *ecdsa.PrivateKey, agreeing *ecdh.PrivateKey) *Key {
	return &Key{private, base64.RawURLEncoding.EncodeToString(agreeing.PublicKey().Bytes()), agreeing.Bytes()}
}

// Public is the public key as a browser takes it: the applicationServerKey of a subscription.
func (k *Key) Public() string { return k.public }

// Tokens for one push service are the same for a while, as RFC 8292 §2 has it: a signature costs as much as half of the
// encryption, and a header that is the same costs HTTP/2 a byte.
const (
	tokenLife  = 12 * time.Hour // at most a day
	tokenUse   = time.Hour      // how long a token is used
	maxOrigins = 256            // whose tokens are kept: devices choose their services
)

// tokens keeps the headers Authorization for some push services, by their origins. It is safe for concurrent use.
type tokens struct {
	mu   sync.Mutex // guards the next
	kept map[string]token
}

type token struct {
	header string
	made   time.Time
}

// authorize returns the header Authorization of a request to an endpoint.
func (t *tokens) authorize(k *Key, endpoint *url.URL, contact string, now time.Time) (string, error) {
	origin := endpoint.Scheme + "://" + endpoint.Host
	t.mu.Lock()
	had, ok := t.kept[origin]
	t.mu.Unlock()
	if age := now.Sub(had.made); ok && age >= 0 && age < tokenUse {
		return had.header, nil
	}
	header, err := k.authorize(origin, contact, now)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) >= maxOrigins || t.kept == nil {
		t.kept = map[string]token{}
	}
	t.kept[origin] = token{header, now}
	return header, nil
}

// authorize makes the header for the requests to an origin.
func (k *Key) authorize(origin, contact string, now time.Time) (string, error) {
	token, err := push.SignES256(k.private, json.RawMessage(`{"typ":"JWT","alg":"ES256"}`), struct {
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
		Subject  string `json:"sub"`
	}{origin, now.Add(tokenLife).Unix(), contact})
	if err != nil {
		return "", err
	}
	return "vapid t=" + token + ", k=" + k.public, nil
}
