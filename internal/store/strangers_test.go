package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/verify"
)

// Keys that are made up take few connections, however many there are: what others look up finds some.
func TestStrangersTakeFewConnections(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Options{Path: t.TempDir() + "/db", ReadLimit: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range strangers {
		s.strangers <- struct{}{} // look-ups that are under way
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := s.StrangersAccount(ctx, account.KeyHash{1})
		waited <- err
	}()
	if _, err := s.Account(t.Context(), account.KeyHash{2}); !errors.Is(err, verify.ErrUnauthenticated) {
		t.Errorf("a known key beside them: got %v", err)
	}
	cancel()
	if err := <-waited; !errors.Is(err, verify.ErrBusy) {
		t.Errorf("one more stranger: got %v, want %v", err, verify.ErrBusy)
	}
	<-s.strangers
	if _, err := s.StrangersAccount(t.Context(), account.KeyHash{1}); !errors.Is(err, verify.ErrUnauthenticated) {
		t.Errorf("a stranger who finds a place: got %v", err)
	}
	if n := len(s.strangers); n != strangers-1 {
		t.Errorf("%d places are taken, want %d", n, strangers-1)
	}
}
