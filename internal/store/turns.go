package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

const (
	// maxTurns is how many lists of one project may wait.
	maxTurns = 16
	// A project that wants more lists rests after each, at most longestRest. So its lists take a third of a processor of
	// the database.
	listShare   = 3
	longestRest = 200 * time.Millisecond
)

// restAfter is how long a kind of work rests after it took a while. So it takes 1/share of a processor of the database, on
// all servers together.
func (s *Store) restAfter(took time.Duration, share int) time.Duration {
	return time.Duration(share*(1+int(s.others.Load()))-1) * took
}

// Turns divide the places of lists between projects. A project has one at most, and a place that becomes
// free goes to the projects that wait, in turn, so that nobody waits for another's long queue.
type turns struct {
	most int // of one project may wait

	mu      sync.Mutex // guards what follows
	free    int
	busy    map[verify.ProjectID]bool            // those that have a place
	waiting map[verify.ProjectID][]chan struct{} // closed with the place given
	round   []verify.ProjectID                   // those that wait, the next one first
}

func newTurns(places, most int) *turns {
	return &turns{most: most, free: places, busy: map[verify.ProjectID]bool{}, waiting: map[verify.ProjectID][]chan struct{}{}}
}

// take waits for a place until ctx ends. Give it back with give. It fails with [verify.ErrShareSpent] where
// the project itself has what it waits for, and else with [verify.ErrBusy].
func (t *turns) take(ctx context.Context, p verify.ProjectID) error {
	t.mu.Lock()
	if t.free > 0 && !t.busy[p] && len(t.waiting[p]) == 0 {
		t.free--
		t.busy[p] = true
		t.mu.Unlock()
		return nil
	}
	if len(t.waiting[p]) >= t.most {
		t.mu.Unlock()
		return verify.ErrShareSpent
	}
	mine := make(chan struct{})
	if len(t.waiting[p]) == 0 {
		t.round = append(t.round, p)
	}
	t.waiting[p] = append(t.waiting[p], mine)
	t.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting[p], mine)
	if i < 0 {
		return nil // it was given just now
	}
	t.leave(p, i)
	if t.busy[p] {
		return verify.ErrShareSpent
	}
	return verify.ErrBusy
}

// give gives a project's place back, and then to whose turn it is. A project of which others wait rests first.
func (t *turns) give(p verify.ProjectID, rest time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free++
	if rest > 0 && len(t.waiting[p]) > 0 {
		time.AfterFunc(rest, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.busy, p)
			t.next()
		})
	} else {
		delete(t.busy, p)
	}
	t.next()
}

// next gives a free place to the project whose turn it is.
func (t *turns) next() {
	if t.free == 0 {
		return
	}
	i := slices.IndexFunc(t.round, func(p verify.ProjectID) bool { return !t.busy[p] })
	if i < 0 {
		return
	}
	next := t.round[i]
	mine := t.waiting[next][0]
	t.leave(next, 0)
	if t.waiting[next] != nil { // behind the others
		t.round = append(slices.DeleteFunc(t.round, func(p verify.ProjectID) bool { return p == next }), next)
	}
	t.free--
	t.busy[next] = true
	close(mine)
}

// leave takes one of a project out of those that wait.
func (t *turns) leave(p verify.ProjectID, i int) {
	t.waiting[p] = slices.Delete(t.waiting[p], i, i+1)
	if len(t.waiting[p]) == 0 {
		delete(t.waiting, p)
		t.round = slices.DeleteFunc(t.round, func(waiting verify.ProjectID) bool { return waiting == p })
	}
}
