package operator

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
)

// Time steps of RFC 6238, as authenticator apps have them: HMAC-SHA-1, six digits, 30 seconds. A code of the step
// before or after is accepted too, for clocks that differ.
const (
	stepSeconds = 30
	drift       = 1
	seedSize    = 20 // bytes: 160 bits, as RFC 4226 advises
)

// totp is the code of a time step.
func totp(seed []byte, step int) string {
	h := hmac.New(sha1.New, seed)
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	sum := h.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) &^ (1 << 31)
	return fmt.Sprintf("%06d", n%1e6)
}

// CodeAt is the code that an app shows. It is for tests.
func CodeAt(seed Seed, now time.Time) string { return totp(seed, int(now.Unix()/stepSeconds)) }

// MatchCode returns the time step whose code was typed, or 0. It compares all of them, so that its time tells nothing.
func MatchCode(seed []byte, typed verify.Secret, now time.Time) (step int) {
	text := strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, typed.Reveal())
	at := int(now.Unix() / stepSeconds)
	for s := at - drift; s <= at+drift; s++ {
		if subtle.ConstantTimeCompare([]byte(totp(seed, s)), []byte(text)) == 1 {
			step = s
		}
	}
	return step
}

var seedText = base32.StdEncoding.WithPadding(base32.NoPadding)

// A Seed is what an authenticator app makes codes of.
type Seed []byte

// NewSeed makes a seed.
func NewSeed() Seed {
	s := make(Seed, seedSize)
	rand.Read(s) // never fails, see crypto/rand
	return s
}

// Text is the seed as people type it.
func (s Seed) Text() string { return seedText.EncodeToString(s) }

// ParseSeed reads a seed's text.
func ParseSeed(text string) (Seed, error) { return seedText.DecodeString(text) }

// String keeps a seed out of logs.
func (Seed) String() string { return "[secret]" }

// URI is the seed as apps read it from a QR code.
func (s Seed) URI(name string) string {
	q := url.Values{"secret": {s.Text()}, "issuer": {"Countersign"}}
	return "otpauth://totp/" + url.PathEscape("Countersign:"+name) + "?" + q.Encode()
}

// binding names what a seed is sealed for. Each seal has an id of its own, because a binding seals only once.
func binding(id, operator verify.ID) keyset.Binding {
	return keyset.Binding{ID: id, Destination: operator.String(), Purpose: "operator seed"}
}

// Seal gives an operator a seed, sealed by the keyset's primary key.
func (o *Operator) Seal(keys *keyset.Set, s Seed, now time.Time) error {
	id, key := verify.NewID(now), keys.Primary()
	sealed, err := keys.Seal(key, binding(id, o.ID), string(s))
	if err != nil {
		return fmt.Errorf("seal the second factor of %s: %w", o.Name, err)
	}
	o.KeyID, o.Seed = key, append(id[:], sealed...)
	return nil
}

// Open returns an operator's seed.
func (o *Operator) Open(keys *keyset.Set) (Seed, error) {
	var id verify.ID
	n := copy(id[:], o.Seed)
	s, err := keys.Open(o.KeyID, binding(id, o.ID), o.Seed[n:])
	if err != nil {
		return nil, fmt.Errorf("open the second factor of %s: %w", o.Name, err)
	}
	return Seed(s), nil
}
