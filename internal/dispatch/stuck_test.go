package dispatch

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
)

// A floodedStore has a queue of one project that has no end, and nothing else.
type floodedStore struct {
	Store // nil: it isn't asked for anything else
	key   uint32
	now   time.Time
	read  int // messages
}

func (s *floodedStore) Due(_ context.Context, _ verify.Hint, n int, _ func(verify.Hint) (verify.Overdue, bool)) (due []verify.Overdue, next verify.Hint, err error) {
	for range n {
		v := &verify.Verification{
			ID: verify.NewID(s.now), Project: "flood", Terms: verify.Terms{Channel: verify.ChannelSMS, To: number(1), ExpiresAt: s.now.Add(time.Hour)},
			Code: verify.Code{KeyID: s.key}, Progress: verify.Progress{Delivery: verify.DeliveryQueued, Attempt: 1, DueAt: s.now},
		}
		due = append(due, verify.Overdue{Verification: v, Hint: s.now})
		next = verify.Hint{Due: s.now, ID: v.ID}
	}
	s.read += n
	return due, next, nil
}

func (s *floodedStore) JudgesLeases() bool { return true }

// Claim takes nothing, so that the place is free again.
func (s *floodedStore) Claim(context.Context, verify.Overdue, time.Duration) (*verify.Verification, *verify.Delivery, error) {
	return nil, nil, nil
}

func (s *floodedStore) Verification(context.Context, verify.ID) (*verify.Verification, error) {
	return nil, verify.ErrNotFound
}

// A look reads so many messages that it has no places for, however long their queue is, and also where a place becomes
// free now and then.
func TestALookIsBoundedHoweverLongAQueueIs(t *testing.T) {
	t.Parallel()
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &floodedStore{key: keys.Primary(), now: t0}
	d, err := New(Config{
		Store: s, Keys: keys, Now: func() time.Time { return t0 }, Log: slog.New(slog.DiscardHandler), Tick: time.Hour,
		Carriers: []Line{{Carrier: named("a"), Queue: 1, Concurrency: 1}}, Routes: map[verify.Channel][]string{verify.ChannelSMS: {"a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(t.Context())
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
