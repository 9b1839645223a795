package operator

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
)

// slow is a store that counts how many strangers are in it.
type slow struct {
	Store
	in, most atomic.Int64
}

func (s *slow) stay() {
	n := s.in.Add(1)
	defer s.in.Add(-1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	time.Sleep(time.Millisecond) // as a commit takes
}

func (s *slow) ChargeSource(context.Context, string) (time.Duration, error) {
	s.stay()
	return time.Minute, nil
}

func (s *slow) OpenLink(context.Context, []byte, string, func(*Operator) error) (Operator, time.Duration, error) {
	s.stay()
	return Operator{}, 0, ErrLink
}

// A crowd at the door writes one at a time, so that it doesn't hold up the engine's commits.
func TestStrangersWriteOneAtATime(t *testing.T) {
	t.Parallel()
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	store := &slow{}
	s := New(store, keys, time.Now)
	var crowd sync.WaitGroup
	for i := range 40 {
		crowd.Go(func() {
			var err error
			if i%2 == 0 {
				_, err = s.SignIn(t.Context(), Credentials{Name: "ann"}, Client{Remote: "192.0.2.1:5"})
			} else {
				_, _, err = s.OpenLink(t.Context(), "cl_x", Client{})
			}
			var known *verify.Error
			if !errors.As(err, &known) {
				t.Errorf("got %v", err)
			}
		})
	}
	crowd.Wait()
	if n := store.most.Load(); n != 1 {
		t.Errorf("%d wrote at a time, want 1", n)
	}
}

// counted is a store that counts charges. Its client goes away after one.
type counted struct {
	Store
	charges int
	gone    context.CancelFunc
}

func (s *counted) ChargeSource(context.Context, string) (time.Duration, error) {
	s.charges++
	s.gone()
	return 0, nil
}

func (s *counted) RefundSource(ctx context.Context, _ string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.charges--
	return nil
}

func (s *counted) OperatorNamed(context.Context, string) (Operator, error) {
	return Operator{}, ErrNoOperator
}

func (s *counted) SignIn(context.Context, Attempt) error { return ErrWrong }

// An attempt that ends before anybody knows whether it is right isn't charged, though its client has gone.
func TestBusyAttemptsAreNotCharged(t *testing.T) {
	t.Parallel()
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, gone := context.WithCancel(t.Context())
	store := &counted{gone: gone}
	s := New(store, keys, time.Now)
	for range hashers {
		leave, err := s.hash.slots.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
	}
	if _, err := s.SignIn(ctx, Credentials{Name: "ann"}, Client{}); !errors.Is(err, context.Canceled) || store.charges != 0 {
		t.Errorf("got %v, with %d charges; want none", err, store.charges)
	}
	s.hash = NewHasher()
	store.gone = func() {}
	if _, err := s.SignIn(t.Context(), Credentials{Name: "ann"}, Client{}); !errors.Is(err, ErrWrong) || store.charges != 1 {
		t.Errorf("wrong credentials: got %v, with %d charges; want 1", err, store.charges)
	}
}
