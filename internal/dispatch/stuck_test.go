package dispatch

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/share"
	"github.com/countersign/countersign/internal/verify"
)

// A dueStore is what stores of due messages have in common.
type dueStore struct {
	Store // nil: it isn't asked for anything else
	key   uint32
}

func (s *dueStore) JudgesLeases() bool { return true }

func (s *dueStore) Verification(context.Context, verify.ID) (*verify.Verification, error) {
	return nil, verify.ErrNotFound
}

// overdue is a project's message that is due at a time.
func (s *dueStore) overdue(p verify.ProjectID, at time.Time) verify.Overdue {
	return verify.Overdue{Hint: at, Verification: &verify.Verification{
		ID: verify.NewID(at), Project: p, Terms: verify.Terms{Channel: verify.ChannelSMS, To: number(1), ExpiresAt: at.Add(time.Hour)},
		Code: verify.Code{KeyID: s.key}, Progress: verify.Progress{Delivery: verify.DeliveryQueued, Attempt: 1, DueAt: at},
	}}
}

// looker is a dispatcher that looks when it is asked to, with one carrier.
func looker(t *testing.T, s Store, keys *keyset.Set, now func() time.Time, queue int) *Dispatcher {
	t.Helper()
	d, err := New(Config{
		Store: s, Keys: keys, Now: now, Log: slog.New(slog.DiscardHandler), Tick: time.Hour,
		Carriers: []Line{{Carrier: named("a"), Queue: queue, Concurrency: 1}}, Routes: map[verify.Channel][]string{verify.ChannelSMS: {"a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(t.Context()) }) // it is over: who holds places in a test gives none back
	return d
}

// A floodedStore has a queue of one project that has no end, and nothing else.
type floodedStore struct {
	dueStore
	now  time.Time
	read int // messages
}

func (s *floodedStore) Due(_ context.Context, _ verify.Hint, n int, _ func(verify.Hint) (verify.Overdue, bool)) (due []verify.Overdue, next verify.Hint, err error) {
	for range n {
		o := s.overdue("flood", s.now)
		due, next = append(due, o), verify.Hint{Due: o.Hint, ID: o.Verification.ID}
	}
	s.read += n
	return due, next, nil
}

// Claim takes nothing, so that the place is free again.
func (s *floodedStore) Claim(context.Context, verify.Overdue, time.Duration) (*verify.Verification, *verify.Delivery, error) {
	return nil, nil, nil
}

// A look reads so many messages that it has no places for, however long their queue is, and also where a place becomes
// free now and then.
func TestALookIsBoundedHoweverLongAQueueIs(t *testing.T) {
	t.Parallel()
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &floodedStore{dueStore: dueStore{key: keys.Primary()}, now: t0}
	d := looker(t, s, keys, func() time.Time { return t0 }, 1)
	looked := make(chan error, 1)
	go func() { looked <- d.Poll(t.Context()) }()
	select {
	case err := <-looked:
		if err != nil || s.read > maxStuck+pollStep {
			t.Errorf("a look read %d messages, %v; want %d at most", s.read, err, maxStuck+pollStep)
		}
	case <-time.After(30 * time.Second):
		t.Error("a look doesn't end")
		t.FailNow()
	}
}

// A queuedStore has messages that are due, in their order, until they are claimed.
type queuedStore struct {
	dueStore

	mu      sync.Mutex // guards the others
	now     time.Time
	due     []verify.Overdue
	claimed []verify.ProjectID
}

func (s *queuedStore) add(p verify.ProjectID, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.due = append(s.due, s.overdue(p, s.now))
	}
	slices.SortFunc(s.due, func(a, b verify.Overdue) int {
		return cmp.Or(a.Hint.Compare(b.Hint), bytes.Compare(a.Verification.ID[:], b.Verification.ID[:]))
	})
}

func (s *queuedStore) Due(_ context.Context, after verify.Hint, n int, _ func(verify.Hint) (verify.Overdue, bool)) (due []verify.Overdue, next verify.Hint, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.due {
		id := o.Verification.ID
		if o.Hint.Before(after.Due) || o.Hint.Equal(after.Due) && bytes.Compare(id[:], after.ID[:]) <= 0 {
			continue
		}
		if due = append(due, o); len(due) == n {
			return due, verify.Hint{Due: o.Hint, ID: id}, nil
		}
	}
	return due, next, nil
}

func (s *queuedStore) Claim(_ context.Context, o verify.Overdue, _ time.Duration) (*verify.Verification, *verify.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed = append(s.claimed, o.Verification.Project)
	s.due = slices.DeleteFunc(s.due, func(other verify.Overdue) bool { return other.Verification.ID == o.Verification.ID })
	return nil, nil, nil
}

func (s *queuedStore) time() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *queuedStore) later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// beside begins to look through a flood of messages, whose project has all places that it may have, with a quiet
// project's message due behind them.
func beside(t *testing.T, known bool) (s *queuedStore, d *Dispatcher) {
	t.Helper()
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	s = &queuedStore{dueStore: dueStore{key: keys.Primary()}, now: t0}
	d = looker(t, s, keys, s.time, 8)
	if known && d.reserve(d.lines["a"], "quiet", s.time()) == share.Taken {
		d.release(d.lines["a"], "quiet")
		s.later(time.Minute)
	}
	for d.reserve(d.lines["a"], "flood", s.time()) == share.Taken {
	}
	s.add("flood", 3*maxStuck)
	s.later(2 * maxBehind)
	s.poll(t, d)
	s.later(time.Second)
	s.add("quiet", 1)
	s.later(time.Second)
	s.poll(t, d)
	return s, d
}

func (s *queuedStore) poll(t *testing.T, d *Dispatcher) {
	t.Helper()
	if err := d.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A look that is on its way through one project's flood first claims the message of another that has become due since.
func TestWhatBecomesDueIsNotBehindAFlood(t *testing.T) {
	t.Parallel()
	s, _ := beside(t, true)
	if got := []verify.ProjectID{"quiet"}; !slices.Equal(s.claimed, got) {
		t.Errorf("claimed messages of %v, want %v", s.claimed, got)
	}
}

// A project that no place was kept free for asks at each look, until the flood has left it one.
func TestAMessageWithoutAPlaceAsksAgain(t *testing.T) {
	t.Parallel()
	s, d := beside(t, false)
	if len(s.claimed) != 0 {
		t.Fatalf("claimed messages of %v, without a place", s.claimed)
	}
	for range 4 {
		d.release(d.lines["a"], "flood")
	}
	s.later(time.Second)
	s.poll(t, d)
	if !slices.Contains(s.claimed, "quiet") {
		t.Errorf("claimed messages of %v, none of the quiet project's", s.claimed)
	}
}
