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

func (s *slow) OpenLink(context.Context, []byte, func(*Operator) error) (Operator, error) {
	s.stay()
	return Operator{}, ErrLink
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
				_, _, err = s.OpenLink(t.Context(), "cl_x")
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
