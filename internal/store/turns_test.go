package store

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
)

// A project that asks for many lists has one place, the other place is for others, and a free one goes round.
func TestListsGoRoundAmongProjects(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	turns := newTurns(2, maxTurns)
	take := func(p verify.ProjectID) {
		t.Helper()
		if err := turns.take(ctx, p); err != nil {
			t.Fatalf("take for %s: %v", p, err)
		}
	}
	order := make(chan verify.ProjectID)
	wait := func(p verify.ProjectID, waiting int) {
		go func() {
			if turns.take(ctx, p) == nil {
				order <- p
			}
		}()
		for n := 0; n < waiting; runtime.Gosched() {
			turns.mu.Lock()
			n = len(turns.waiting[p])
			turns.mu.Unlock()
		}
	}
	take("flood")
	for i := range maxTurns {
		wait("flood", i+1)
	}
	if err := turns.take(ctx, "flood"); !errors.Is(err, verify.ErrShareSpent) {
		t.Errorf("a list behind %d others of its project: got %v, want %v", maxTurns, err, verify.ErrShareSpent)
	}
	take("quiet") // at once
	wait("third", 1)
	wait("quiet", 1)
	hurry, hang := context.WithCancel(ctx)
	hang()
	if err := turns.take(hurry, "fourth"); !errors.Is(err, verify.ErrBusy) {
		t.Errorf("a list whose caller hung up: got %v, want %v", err, verify.ErrBusy)
	}
	var got []verify.ProjectID
	for _, p := range []verify.ProjectID{"quiet", "third", "flood"} { // give theirs back
		turns.give(p, 0)
		got = append(got, <-order)
	}
	if want := []verify.ProjectID{"third", "quiet", "flood"}; !slices.Equal(got, want) {
		t.Errorf("turns went to %q, want %q", got, want)
	}
}

// A project that wants one list after the other leaves the database alone in between. Meanwhile its place is
// free for others.
func TestAProjectsListsRestInBetween(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns, ctx := newTurns(1, maxTurns), t.Context()
		take := func(p verify.ProjectID) <-chan time.Time {
			taken := make(chan time.Time, 1)
			go func() {
				if turns.take(ctx, p) == nil {
					taken <- time.Now()
				}
			}()
			synctest.Wait()
			return taken
		}
		<-take("flood")
		next, began := take("flood"), time.Now()
		turns.give("flood", 50*time.Millisecond)
		select {
		case <-take("quiet"):
		default:
			t.Error("another project has to wait for the rest")
		}
		turns.give("quiet", 50*time.Millisecond)
		if rest := (<-next).Sub(began); rest != 50*time.Millisecond {
			t.Errorf("the next list came after %v, want 50ms", rest)
		}
		turns.give("flood", 50*time.Millisecond)
		select {
		case <-take("flood"): // nobody waited: a lone caller isn't slowed down
		default:
			t.Error("a list of a project that wants one at a time has to rest")
		}
	})
}

// The servers of a database divide what lists may take of it.
func TestServersDivideWhatListsTake(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Store) {
		want := 2 * time.Second
		if s.postgres {
			want = 5 * time.Second
		}
		for i := range 2 {
			if _, err := s.HoldKeys(keyset.Holder{Server: verify.NewID(time.Now()), Primary: 1}, func([]keyset.Holder) uint32 { return 1 }); err != nil {
				t.Fatalf("server %d: %v", i, err)
			}
		}
		if got := s.restAfter(time.Second, listShare); got != want {
			t.Errorf("after a list of 1s, a project rests %v, want %v", got, want)
		}
	})
}
