package account

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// t0 is when these tests begin.
var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// memory is a [Store] in memory.
type memory struct {
	mu        sync.Mutex // guards all below
	accounts  map[KeyHash]verify.Account
	consumers map[string]Key
	lookups   int
	used      []map[verify.ID]time.Time // the uses that were stored, by call
	fail      error                     // answers everything, if set
	before    func()                    // is called before an account is looked up, if set
}

func (m *memory) StrangersAccount(ctx context.Context, key KeyHash) (verify.Account, error) {
	return m.Account(ctx, key)
}

func (m *memory) Account(_ context.Context, key KeyHash) (verify.Account, error) {
	if m.before != nil {
		m.before()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lookups++
	a, ok := m.accounts[key]
	if !ok {
		return a, errors.Join(m.fail, verify.ErrUnauthenticated)
	}
	return a, m.fail
}

func (m *memory) Consumer(_ context.Context, consumer string) (Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lookups++
	k, ok := m.consumers[consumer]
	if !ok {
		return k, verify.ErrUnauthenticated
	}
	return k, m.fail
}

func (m *memory) ReplaceSecret(ctx context.Context, k Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(m.fail, ctx.Err()); err != nil {
		return err
	}
	old := m.consumers[k.Consumer].Hash
	acct := m.accounts[old]
	delete(m.accounts, old)
	acct.KeyExpires = k.ExpiresAt
	m.accounts[k.Hash], m.consumers[k.Consumer] = acct, k
	return nil
}

func (m *memory) Keys(context.Context, verify.ProjectID) ([]Key, error) { return nil, m.fail }

func (m *memory) AddKey(_ context.Context, k Key, _ verify.ID, _ int, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accounts[k.Hash] = verify.Account{Project: verify.Project{ID: k.Project}, Scopes: k.Scopes, KeyID: k.ID, KeyExpires: k.End()}
	return m.fail
}

func (m *memory) EndKey(_ context.Context, _ verify.ProjectID, id, _ verify.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.accounts, func(_ KeyHash, a verify.Account) bool { return a.KeyID == id })
	return m.fail
}

func (m *memory) KeysUsed(_ context.Context, at map[verify.ID]time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		m.used = append(m.used, at)
	}
	return m.fail
}

// engine is a service over such a store, on a clock that the test sets.
type engine struct {
	*Service
	store *memory
	clock time.Time
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{store: &memory{accounts: map[KeyHash]verify.Account{}, consumers: map[string]Key{}}, clock: t0}
	e.Service = New(e.store, func() time.Time { return e.clock })
	return e
}

// open makes a project with a key.
func (e *engine) open(p verify.ProjectID) verify.Secret {
	key := NewSecret()
	e.store.accounts[HashKey(key)] = verify.Account{Project: verify.Project{ID: p, Profile: verify.ProfileCompat}}
	return key
}

func TestARevokedKeyStopsWorkingWithinASecond(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	key := e.open("project")
	for _, tt := range []struct {
		name    string
		at      time.Duration
		prepare func()
		err     error
		lookups int // so far
	}{
		{"first", 0, func() {}, nil, 1},
		{"at once again", 0, func() {}, nil, 1},
		{"revoked just now", 0, func() { delete(e.store.accounts, HashKey(key)) }, nil, 1},
		{"a millisecond short of a second", time.Second - time.Millisecond, func() {}, nil, 1},
		{"a second", time.Second, func() {}, verify.ErrUnauthenticated, 2},
		{"still", time.Second, func() {}, verify.ErrUnauthenticated, 3}, // a refusal isn't kept
		{"made again", time.Second, func() { e.store.accounts[HashKey(key)] = verify.Account{Project: verify.Project{ID: "project"}} }, nil, 4},
		{"kept again", 2*time.Second - 1, func() {}, nil, 4},
		// An account that is too old isn't used only because there is no newer one.
		{"store away", 2 * time.Second, func() { e.store.fail = verify.ErrNoStore }, verify.ErrNoStore, 5},
		{"store back", 2 * time.Second, func() { e.store.fail = nil }, nil, 6},
		// A clock that stepped back makes an account's age unknown.
		{"clock back", 2*time.Second - 1, func() {}, nil, 7},
	} {
		e.clock = t0.Add(tt.at)
		tt.prepare()
		got, err := e.Authenticate(t.Context(), "project", key)
		if !errors.Is(err, tt.err) || (err == nil) != (got != nil) {
			t.Errorf("%s: got %v, %v; want %v", tt.name, got, err, tt.err)
		}
		if e.store.lookups != tt.lookups {
			t.Errorf("%s: %d lookups, want %d", tt.name, e.store.lookups, tt.lookups)
		}
	}
}

func TestAKeyOpensItsOwnProjectOnly(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	a, b := e.open("a"), e.open("b")
	for range 2 { // looked up, then kept
		for _, tt := range []struct {
			project verify.ProjectID
			key     verify.Secret
			want    error
		}{
			{"a", a, nil},
			{"b", b, nil},
			{"a", b, verify.ErrUnauthenticated},
			{"b", a, verify.ErrUnauthenticated},
			{"", a, verify.ErrUnauthenticated},
			{"A", a, verify.ErrUnauthenticated},
			{"a ", a, verify.ErrUnauthenticated},
			{"a", "", verify.ErrUnauthenticated},
			{"a", a + "x", verify.ErrUnauthenticated},
			{"", "", verify.ErrUnauthenticated},
		} {
			got, err := e.Authenticate(t.Context(), tt.project, tt.key)
			if !errors.Is(err, tt.want) || (err == nil) != (got != nil) {
				t.Errorf("project %q: got %v, %v; want %v", tt.project, got, err, tt.want)
			}
			if got != nil && got.Project.ID != tt.project {
				t.Errorf("project %q: got %q", tt.project, got.Project.ID)
			}
		}
	}
}

func TestTheAccountsKeptAreBounded(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	first := e.open("project")
	for range maxCachedAccounts + 100 {
		if _, err := e.Authenticate(t.Context(), "project", e.open("project")); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.accounts.Len(); got != maxCachedAccounts {
		t.Errorf("%d accounts kept, want %d", got, maxCachedAccounts)
	}
	// Keys that open nothing cost a lookup, and push no account out.
	for range 100 {
		if _, err := e.Authenticate(t.Context(), "project", NewSecret()); !errors.Is(err, verify.ErrUnauthenticated) {
			t.Fatal(err)
		}
	}
	lookups := e.store.lookups
	if _, err := e.Authenticate(t.Context(), "project", first); err != nil || e.store.lookups != lookups+1 {
		t.Errorf("a key that isn't kept: %v, %d lookups", err, e.store.lookups-lookups)
	}
}

// Concurrent requests with one key look it up once, so that a project with many clients holds up no other's.
func TestConcurrentRequestsShareALookUp(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	key := e.open("project")
	let := make(chan struct{})
	e.store.before = func() { <-let }
	const clients = 50
	errs := make(chan error, clients)
	var begun sync.WaitGroup
	begun.Add(clients)
	for range clients {
		go func() {
			begun.Done()
			_, err := e.AuthenticateKey(t.Context(), key)
			errs <- err
		}()
	}
	begun.Wait()
	for range 1000 { // whoever comes after the look-up finds what it has found
		runtime.Gosched()
	}
	close(let)
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if e.store.lookups != 1 {
		t.Errorf("%d clients made %d look-ups, want one", clients, e.store.lookups)
	}
}
