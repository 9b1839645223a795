package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A Key is an API secret of a project, as stored: the secret itself is shown once, when it is made.
type Key struct {
	ID        verify.ID
	Project   verify.ProjectID
	Name      string
	Hash      KeyHash
	Scopes    verify.Scopes
	RevokedAt time.Time // zero: it works
	EndsAt    time.Time // it stops working for good then, however its secret was replaced; zero: never
	UsedAt    time.Time // about when it was last used: see [useEvery]; zero: never

	// With a consumer key its holder can replace the secret: see [Service.RefreshToken].
	Consumer       string    // "": they can't
	ConsumerSecret KeyHash   // of the other half
	ExpiresAt      time.Time // zero: the secret works until it is replaced or revoked
}

// End is when the key's secret stops working: when the secret or the key ends, whichever is first. Zero: never.
func (k *Key) End() time.Time {
	if k.ExpiresAt.IsZero() || !k.EndsAt.IsZero() && k.EndsAt.Before(k.ExpiresAt) {
		return k.EndsAt
	}
	return k.ExpiresAt
}

// Granted is what a key may do and until when, for the audit log.
func (k *Key) Granted() string {
	text := k.ID.String() + ", scopes " + k.Scopes.String()
	if !k.EndsAt.IsZero() {
		text += ", until " + k.EndsAt.UTC().Format(time.RFC3339)
	}
	return text
}

// A NewKey is what a project's key makes of another one.
type NewKey struct {
	Name   string
	Scopes verify.Scopes
	EndsAt time.Time // zero: never, or when its maker ends
}

// Fields of a new key.
const (
	FieldScopes verify.Field = "scopes"
	FieldEndsAt verify.Field = "ends_at"
)

// maxKeys is how many keys a project's own keys may make it have, with those that were revoked in the last
// keysCount: else a key could fill the disk.
const (
	maxKeys   = 1000
	keysCount = 30 * 24 * time.Hour
	maxName   = 100
)

// Problems are all that is wrong with a new key's name, scopes and end.
func (n *NewKey) Problems(now time.Time) (all []verify.Problem) {
	add := func(f verify.Field, message string) { all = append(all, verify.Problem{Field: f, Message: message}) }
	all = NameProblems(n.Name)
	if n.Scopes == 0 {
		add(FieldScopes, "must have at least one of: "+strings.Join(verify.AllScopes.Words(), ", "))
	}
	if !n.EndsAt.IsZero() && !n.EndsAt.After(now) {
		add(FieldEndsAt, "must be in the future")
	}
	return all
}

// NameProblems are what is wrong with a key's name.
func NameProblems(name string) []verify.Problem {
	if verify.IsLabel(name, maxName) {
		return nil
	}
	return []verify.Problem{{Field: verify.FieldName, Message: fmt.Sprintf("must be 1 to %d printable characters", maxName)}}
}

// CreateKey makes a key for the account's project, with a secret of [NewSecret]. The new key can do no more than the
// account's own, and works no longer. It fails with [verify.ErrInvalid] and [verify.ErrTooManyKeys].
func (s *Service) CreateKey(ctx context.Context, acct *verify.Account, n NewKey, secret verify.Secret) (Key, error) {
	now := s.now().Truncate(time.Millisecond)
	all := n.Problems(now)
	if more := n.Scopes &^ acct.Scopes; more != 0 {
		all = append(all, verify.Problem{Field: FieldScopes, Message: "has " + more.String() + ", which the key that asks doesn't have"})
	}
	if end := acct.KeyExpires; !end.IsZero() {
		if n.EndsAt.IsZero() {
			n.EndsAt = end
		} else if n.EndsAt.After(end) {
			all = append(all, verify.Problem{Field: FieldEndsAt, Message: "must not be after the key that asks expires, " + end.UTC().Format(time.RFC3339)})
		}
	}
	if len(all) > 0 {
		return Key{}, &verify.Error{Kind: verify.KindInvalid, Code: verify.ErrInvalid.Code, Message: verify.ErrInvalid.Message, Problems: all}
	}
	k := Key{ID: verify.NewID(now), Project: acct.Project.ID, Name: n.Name, Scopes: n.Scopes, EndsAt: n.EndsAt.Truncate(time.Millisecond), Hash: HashKey(secret)}
	return k, s.store.AddKey(context.WithoutCancel(ctx), k, acct.KeyID, maxKeys, now.Add(-keysCount))
}

// Keys lists the keys of the account's project, oldest first, without their hashes.
func (s *Service) Keys(ctx context.Context, acct *verify.Account) ([]Key, error) {
	return s.store.Keys(ctx, acct.Project.ID)
}

// RevokeKey ends a key of the account's project: here immediately, in other processes within a second. It fails with
// [verify.ErrNoAPIKey].
func (s *Service) RevokeKey(ctx context.Context, acct *verify.Account, id verify.ID) error {
	if err := s.store.EndKey(context.WithoutCancel(ctx), acct.Project.ID, id, acct.KeyID); err != nil {
		return err
	}
	for _, hash := range s.accounts.Keys() {
		if cached, ok := s.accounts.Peek(hash); ok && cached.account.KeyID == id {
			s.accounts.Remove(hash)
		}
	}
	return nil
}

// A KeyHash is the SHA-256 of an API secret. The secret has at least 128 bits, so a plain hash is
// enough to keep it, and looking one up by its hash tells a timing observer nothing of use.
type KeyHash [sha256.Size]byte

// HashKey returns the form in which a secret is stored.
func HashKey(secret verify.Secret) KeyHash { return sha256.Sum256([]byte(secret)) }

// NewSecret makes a secret of 256 bits. Its prefix lets secret scanners find it.
func NewSecret() verify.Secret {
	var b [32]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return verify.Secret("cs_" + base64.RawURLEncoding.EncodeToString(b[:]))
}

// NewConsumer makes a consumer key of 128 bits and its secret of 256.
func NewConsumer() (key string, secret verify.Secret) {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return "ck_" + base64.RawURLEncoding.EncodeToString(b[:]), NewSecret()
}
