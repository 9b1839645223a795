// Package account is who callers are: their keys, as they are stored, what a key opens, and how its holder replaces
// its secret. What a caller may do is the project's policy, which is in package verify with the rules.
package account

import (
	"context"
	"crypto/subtle"
	"errors"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"

	"github.com/countersign/countersign/internal/record"
	"github.com/countersign/countersign/internal/verify"
)

// A Store keeps keys.
type Store interface {
	// Account returns what a key opens, or [verify.ErrUnauthenticated].
	Account(ctx context.Context, key KeyHash) (verify.Account, error)
	// StrangersAccount does so for a key that may be nobody's. Few such look-ups are made concurrently, so that those who
	// make keys up don't hold up what others look up.
	StrangersAccount(ctx context.Context, key KeyHash) (verify.Account, error)
	// Consumer returns the key that a consumer key names, also a revoked one, or [verify.ErrUnauthenticated].
	Consumer(ctx context.Context, consumer string) (Key, error)
	// ReplaceSecret gives a key another secret and an end: k has both. It fails with
	// [verify.ErrUnauthenticated] if the key has been revoked, or its consumer secret is another one.
	ReplaceSecret(ctx context.Context, k Key) error

	// Keys lists a project's keys, oldest first, without their hashes.
	Keys(ctx context.Context, p verify.ProjectID) ([]Key, error)
	// AddKey stores a key that another key makes, and writes that down. It fails with [verify.ErrUnauthenticated] if
	// that one was revoked, and with [verify.ErrTooManyKeys] if the project has most, or more, that weren't revoked
	// before an instant.
	AddKey(ctx context.Context, k Key, by verify.ID, most int, since time.Time) error
	// EndKey revokes a key of a project because another key says so, and writes that down. It fails with
	// [verify.ErrNoAPIKey].
	EndKey(ctx context.Context, p verify.ProjectID, id, by verify.ID) error
	// KeysUsed records when keys were last used.
	KeysUsed(ctx context.Context, at map[verify.ID]time.Time) error
}

// A Service authenticates callers, and replaces their secrets.
type Service struct {
	store Store
	now   func() time.Time

	accounts *lru.Cache[KeyHash, cachedAccount]
	lookups  singleflight.Group // of accounts, by the key's hash

	using sync.Mutex // guards used
	used  map[verify.ID]time.Time

	refreshing sync.Mutex // one refresh at a time, and guards refreshed
	refreshed  *simplelru.LRU[KeyHash, replacement]
}

// New returns a service with a clock.
func New(s Store, now func() time.Time) *Service {
	accounts, err := lru.New[KeyHash, cachedAccount](maxCachedAccounts)
	if err != nil {
		panic(err) // only for a size below 1
	}
	refreshed, err := simplelru.NewLRU[KeyHash, replacement](maxRefreshed, nil)
	if err != nil {
		panic(err) // the same
	}
	return &Service{store: s, now: now, accounts: accounts, used: map[verify.ID]time.Time{}, refreshed: refreshed}
}

// Remembered is how long a server may still take a key that is gone: it looks up a key at most once in that time, also
// when another process made the change.
const Remembered = time.Second

const maxCachedAccounts = 4096

type cachedAccount struct {
	account *verify.Account
	at      time.Time
}

// holds reports whether an account is so new that it isn't looked up again.
func (c cachedAccount) holds(now time.Time) bool {
	age := now.Sub(c.at)
	return age >= 0 && age < Remembered
}

type lateKey struct{}

// WithLate is for a server of several databases. late reports whether a request has been looking for longer than [Remembered]. Its project may
// have moved from one database to another meanwhile, so that each was asked when the key wasn't there.
func WithLate(ctx context.Context, late func() bool) context.Context {
	return context.WithValue(ctx, lateKey{}, late)
}

// unknown is the answer to who has a key that isn't here. It is [verify.ErrBusy] where nobody can tell that it is nowhere: see [WithLate].
func unknown(ctx context.Context) error {
	if late, ok := ctx.Value(lateKey{}).(func() bool); ok && late() {
		return verify.ErrBusy
	}
	return verify.ErrUnauthenticated
}

// Authenticate returns the account that a project's key opens, or [verify.ErrUnauthenticated].
func (s *Service) Authenticate(ctx context.Context, p verify.ProjectID, key verify.Secret) (*verify.Account, error) {
	acct, err := s.AuthenticateKey(ctx, key)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(acct.Project.ID), []byte(p)) != 1 {
		return nil, verify.ErrUnauthenticated
	}
	return acct, nil
}

// AuthenticateKey returns the account that a key opens, of whatever project, or [verify.ErrUnauthenticated]. It fails with [verify.ErrBusy]
// where nobody can tell: see [WithLate].
func (s *Service) AuthenticateKey(ctx context.Context, key verify.Secret) (*verify.Account, error) {
	hash, now := HashKey(key), s.now()
	cached, met := s.accounts.Get(hash)
	known := met && cached.holds(now)
	if !known {
		var err error
		if cached, err = s.lookUp(ctx, hash, met, now); errors.Is(err, verify.ErrUnauthenticated) {
			return nil, unknown(ctx)
		} else if err != nil {
			return nil, err
		}
	}
	if end := cached.account.KeyExpires; !end.IsZero() && !now.Before(end) {
		return nil, verify.ErrUnauthenticated
	}
	if !known {
		s.use(cached.account, now)
	}
	about := record.Of(ctx)
	about.Project, about.Key = string(cached.account.Project.ID), record.ID(cached.account.KeyID)
	return cached.account, nil
}

// lookUp looks up the account of a key that was met here before, or wasn't. Concurrent requests with one key share the
// look-up, so that a project with many clients takes one connection for it.
func (s *Service) lookUp(ctx context.Context, hash KeyHash, met bool, now time.Time) (cachedAccount, error) {
	find := s.store.StrangersAccount
	if met {
		find = s.store.Account
	}
	found, err, _ := s.lookups.Do(string(hash[:]), func() (any, error) {
		if cached, ok := s.accounts.Get(hash); ok && cached.holds(now) { // another was faster
			return cached, nil
		}
		account, err := find(context.WithoutCancel(ctx), hash) // also for the others
		if errors.Is(err, verify.ErrUnauthenticated) {
			s.accounts.Remove(hash) // it is a stranger's from now on
		}
		if err != nil {
			return nil, err
		}
		cached := cachedAccount{&account, now}
		s.accounts.Add(hash, cached)
		return cached, nil
	})
	if err != nil {
		return cachedAccount{}, err
	}
	return found.(cachedAccount), nil
}

// useEvery is how exactly it is kept when a key was last used. Its holder wants to know whether anything still uses
// it, and a write for each request would cost as much as a check does.
const useEvery = 10 * time.Minute

// use notes that a key was used. It is called at most once in Remembered for each key.
func (s *Service) use(acct *verify.Account, now time.Time) {
	if now.Sub(acct.KeyUsed) < useEvery {
		return
	}
	s.using.Lock()
	defer s.using.Unlock()
	s.used[acct.KeyID] = now
}

// SaveUse stores when keys were last used, of those that were used since it was called before. Call it now and then,
// and at the end.
func (s *Service) SaveUse(ctx context.Context) error {
	s.using.Lock()
	used := s.used
	s.used = map[verify.ID]time.Time{}
	s.using.Unlock()
	if len(used) == 0 {
		return nil
	}
	err := s.store.KeysUsed(ctx, used)
	if err != nil {
		s.using.Lock()
		defer s.using.Unlock()
		for id, at := range used {
			if s.used[id].Before(at) {
				s.used[id] = at
			}
		}
	}
	return err
}
