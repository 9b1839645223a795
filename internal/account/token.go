package account

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A RefreshRequest asks for an API key's secret.
type RefreshRequest struct {
	ConsumerKey    string
	ConsumerSecret verify.Secret
	OldToken       verify.Secret // the secret until now, as far as its holder knows
	Validity       time.Duration // of the new one...
	Never          bool          // ...unless it is to work until it is replaced or revoked
}

// A Token is an API key's secret.
type Token struct {
	Secret    verify.Secret
	Remaining time.Duration // how long it works; 0: until it is replaced or revoked
}

// refreshLife is how long a secret that was replaced is answered with the one that replaced it.
// Clients that refresh by themselves do so several at once, and each knows only the old one: if each
// got another new one, only the last would work.
const (
	refreshLife  = time.Minute
	maxRefreshed = 1024
)

// A replacement is the secret that replaced another one here.
type replacement struct {
	secret verify.Secret
	at     time.Time
}

// RefreshToken replaces an API key's secret for a caller with its consumer key and secret, or fails with
// [verify.ErrUnauthenticated]. The old secret stops working: here at once, in other processes within a second.
// If the old one is the current one, or was until a moment ago, and the current one works as long as
// was asked for, that is answered.
func (s *Service) RefreshToken(ctx context.Context, r RefreshRequest) (Token, error) {
	now := s.now().Truncate(time.Millisecond) // as it is stored
	k, err := s.consumer(ctx, r)
	if err != nil {
		return Token{}, err
	}
	k.bound(&r, now)
	old := HashKey(r.OldToken)
	if subtle.ConstantTimeCompare(old[:], k.Hash[:]) == 1 && k.lasts(r, now) {
		return Token{r.OldToken, k.remaining(now)}, nil
	}

	// Only a caller with the right consumer secret waits for others, and then looks at what they made of it.
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	if k, err = s.consumer(ctx, r); err != nil {
		return Token{}, err
	}
	k.bound(&r, now)
	if next, ok := s.refreshed.Get(old); ok && now.Sub(next.at) < refreshLife && HashKey(next.secret) == k.Hash && k.lasts(r, now) {
		return Token{next.secret, k.remaining(now)}, nil
	}
	secret, replaced := NewSecret(), k.Hash
	k.Hash, k.ExpiresAt = HashKey(secret), time.Time{}
	if !r.Never {
		k.ExpiresAt = now.Add(r.Validity)
	}
	if err := s.store.ReplaceSecret(context.WithoutCancel(ctx), k); err != nil {
		return Token{}, err
	}
	s.accounts.Remove(replaced)
	s.refreshed.Add(replaced, replacement{secret, now})
	return Token{secret, k.remaining(now)}, nil
}

// FindConsumer fails with [verify.ErrUnauthenticated] unless a consumer key is that of a key here.
func (s *Service) FindConsumer(ctx context.Context, consumer string) error {
	if !verify.Storable(consumer) {
		return verify.ErrUnauthenticated
	}
	_, err := s.store.Consumer(ctx, consumer)
	return err
}

// consumer returns the key whose consumer key and secret a request has, or [verify.ErrUnauthenticated].
func (s *Service) consumer(ctx context.Context, r RefreshRequest) (Key, error) {
	if !verify.Storable(r.ConsumerKey) {
		r.ConsumerKey = "" // nobody's
	}
	k, err := s.store.Consumer(ctx, r.ConsumerKey)
	if err != nil && !errors.Is(err, verify.ErrUnauthenticated) {
		return Key{}, err
	}
	// Without a key this compares with nothing, so that it takes as long.
	given := HashKey(r.ConsumerSecret)
	right := subtle.ConstantTimeCompare(given[:], k.ConsumerSecret[:]) == 1
	if !right || err != nil {
		return Key{}, unknown(ctx)
	}
	if r.ConsumerKey == "" || !k.RevokedAt.IsZero() || !k.EndsAt.IsZero() && !s.now().Before(k.EndsAt) {
		return Key{}, verify.ErrUnauthenticated
	}
	return k, nil
}

// bound makes a request ask for no more than the time that the key itself has left.
func (k *Key) bound(r *RefreshRequest, now time.Time) {
	if k.EndsAt.IsZero() {
		return
	}
	if left := k.EndsAt.Sub(now); r.Never || r.Validity > left {
		r.Never, r.Validity = false, left
	}
}

// lasts reports whether the key's secret works as long as a request asks for.
func (k *Key) lasts(r RefreshRequest, now time.Time) bool {
	if k.ExpiresAt.IsZero() {
		return true
	}
	left := k.remaining(now)
	return left > 0 && !r.Never && r.Validity <= left
}

func (k *Key) remaining(now time.Time) time.Duration {
	if k.ExpiresAt.IsZero() {
		return 0
	}
	return k.ExpiresAt.Sub(now)
}
