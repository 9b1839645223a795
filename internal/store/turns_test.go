package store

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/countersign/countersign/internal/verify"
)

// A project that asks for many lists has one place, the other place is for others, and a free one goes round.
func TestListsGoRoundAmongProjects(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	turns := newTurns(2)
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
		turns.give(p)
		got = append(got, <-order)
	}
	if want := []verify.ProjectID{"third", "quiet", "flood"}; !slices.Equal(got, want) {
		t.Errorf("turns went to %q, want %q", got, want)
	}
}
