// Package verify is the domain: what a verification is, when it may start, what a guess does to
// it, and how its message's delivery goes on. The rules stand here once, as pure functions of the
// rows and the time; no SQL and no HTTP. Faces translate to it, a store commits what it decides.
package verify

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/keyset"
)

// A Store commits events. When a method returns without an error, what it says is on disk.
// Each one is decided under the locks of the rows that it reads, so a thousand clients guessing
// at once still share the same guesses, and each is one transaction, also when its answer is "no".
// A call that has been taken is carried out even if its caller goes away.
type Store interface {
	// Start commits a new verification: see [Verification.Begin]. v is filled in.
	Start(ctx context.Context, v *Verification, limits Limits, lease time.Duration) error
	// Check spends a guess: see [Verification.Check].
	Check(ctx context.Context, g Guess) (Outcome, error)
	// Cancel ends a verification: see [Verification.Cancel].
	Cancel(ctx context.Context, p ProjectID, id ID) error
	// Account returns what a key opens, or [ErrUnauthenticated].
	Account(ctx context.Context, key KeyHash) (Account, error)
}

// An Outbox gets messages to carriers.
type Outbox interface {
	// Reserve takes a place for one message, or fails with [ErrBusy] or [ErrNoCarrier].
	Reserve(c Channel) (Place, error)
}

// A Place is room for one message in a carrier's queue. It must be used or given back.
type Place interface {
	// Send hands over a message whose lease v holds. It doesn't block.
	Send(v *Verification, m Message)
	// Release gives the place back unused.
	Release()
	// Lease is how long the message may stay with us before others may send it.
	Lease() time.Duration
}

// An Observer counts what callers asked for and what they got.
type Observer interface {
	Started(c Channel, err error)
	Checked(out Outcome, err error)
}

// A Service does what callers ask for.
type Service struct {
	store    Store
	outbox   Outbox
	keys     *keyset.Set
	now      func() time.Time
	observer Observer
	public   string

	accounts *lru.Cache[KeyHash, cachedAccount]
}

// Config is what a [Service] needs.
type Config struct {
	Store  Store
	Outbox Outbox
	Keys   *keyset.Set
	Now    func() time.Time // the clock
	// Observer may be nil.
	Observer Observer
	// PublicSender is the number or name that messages come from when nobody named another.
	PublicSender string
}

// New returns a service.
func New(c Config) *Service {
	accounts, err := lru.New[KeyHash, cachedAccount](maxCachedAccounts)
	if err != nil {
		panic(err) // only for a size below 1
	}
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	return &Service{
		store: c.Store, outbox: c.Outbox, keys: c.Keys, now: c.Now, observer: c.Observer, public: c.PublicSender,
		accounts: accounts,
	}
}

type unobserved struct{}

func (unobserved) Started(Channel, error) {}
func (unobserved) Checked(Outcome, error) {}

// A key is looked up at most once in accountLife, so a revocation works within that time, also
// when another process made it.
const (
	accountLife       = time.Second
	maxCachedAccounts = 4096
)

type cachedAccount struct {
	account *Account
	at      time.Time
}

// Authenticate returns the account that a project's key opens, or [ErrUnauthenticated].
func (s *Service) Authenticate(ctx context.Context, p ProjectID, key Secret) (*Account, error) {
	hash, now := HashKey(key), s.now()
	cached, ok := s.accounts.Get(hash)
	if age := now.Sub(cached.at); !ok || age < 0 || age >= accountLife {
		account, err := s.store.Account(ctx, hash)
		if err != nil {
			return nil, err
		}
		cached = cachedAccount{&account, now}
		s.accounts.Add(hash, cached)
	}
	if subtle.ConstantTimeCompare([]byte(cached.account.Project.ID), []byte(p)) != 1 {
		return nil, ErrUnauthenticated
	}
	return cached.account, nil
}

// Start makes a code, commits a verification of it and hands its message to a carrier. On return
// without an error, the verification is on disk. The caller going away doesn't stop it.
func (s *Service) Start(ctx context.Context, acct *Account, r StartRequest) (*Verification, error) {
	v, err := s.start(ctx, acct, r)
	s.observer.Started(r.Channel, err)
	return v, err
}

func (s *Service) start(ctx context.Context, acct *Account, r StartRequest) (*Verification, error) {
	t, err := settle(acct, r, s.public)
	if err != nil {
		return nil, err
	}
	place, err := s.outbox.Reserve(r.Channel)
	if err != nil {
		return nil, err
	}
	sent := false
	defer func() {
		if !sent {
			place.Release()
		}
	}()

	v, secret, err := s.make(acct, r.Channel, t)
	if err != nil {
		return nil, err
	}
	if err := s.store.Start(context.WithoutCancel(ctx), v, acct.Project.Limits, place.Lease()); err != nil {
		return nil, err
	}
	if v.Delivery == Sending {
		sent = true
		place.Send(v, v.Message(secret))
	}
	return v, nil
}

// make builds the verification that terms describe, and its code.
func (s *Service) make(acct *Account, c Channel, t terms) (*Verification, Secret, error) {
	secret, err := code.Generate(rand.Reader, t.format, t.length)
	if err != nil {
		return nil, "", fmt.Errorf("generate code: %w", err)
	}
	id := NewID(s.now())
	v := &Verification{
		ID:          id,
		Project:     acct.Project.ID,
		Application: acct.Application.ID,
		Channel:     c,
		To:          t.to,
		Purpose:     MFA,
		Sender:      t.sender,
		Text:        t.text,
		Format:      t.format,
		Length:      t.length,
		MaxAttempts: t.attempts,
		ExpiresAt:   id.Time().Add(t.life),
		KeyID:       s.keys.Primary(),
	}
	if v.CodeMAC, err = s.keys.MAC(v.KeyID, v.Binding(), secret); err != nil {
		return nil, "", fmt.Errorf("authenticate code: %w", err)
	}
	if v.SealedCode, err = s.keys.Seal(v.KeyID, v.Binding(), secret); err != nil {
		return nil, "", fmt.Errorf("seal code: %w", err)
	}
	return v, Secret(secret), nil
}

// Check spends one guess on a verification and says what came of it. A text that can't be a code
// spends a guess as well and is wrong.
func (s *Service) Check(ctx context.Context, acct *Account, id ID, typed Secret) (Outcome, error) {
	g := Guess{Project: acct.Project.ID, ID: id, Profile: acct.Project.Profile}
	g.Matches = func(v *Verification) (bool, error) {
		// What can't be a code is compared all the same, so that it takes as long.
		guess, possible := code.Normalize(v.Format, typed.Reveal())
		mac, err := s.keys.MAC(v.KeyID, v.Binding(), guess)
		if err != nil {
			return false, fmt.Errorf("check verification %v: %w", v.ID, err)
		}
		return hmac.Equal(mac, v.CodeMAC) && possible, nil
	}
	out, err := s.store.Check(context.WithoutCancel(ctx), g)
	s.observer.Checked(out, err)
	return out, err
}

// Cancel ends a verification.
func (s *Service) Cancel(ctx context.Context, acct *Account, id ID) error {
	return s.store.Cancel(context.WithoutCancel(ctx), acct.Project.ID, id)
}
