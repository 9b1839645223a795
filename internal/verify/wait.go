package verify

import (
	"context"
	"sync"
	"time"
)

// maxWaiting is how many checks may wait for outcomes at once, of all projects.
const maxWaiting = 1024

// waiters are the checks that wait for an outcome. The devices' answers that this server takes wake them.
type waiters struct {
	mu  sync.Mutex // guards all
	all map[ID]*waited
	// ended is closed when the server stops: nobody waits any longer.
	ended chan struct{}
	once  sync.Once // closes ended
}

// A waited is a verification for which checks wait.
type waited struct {
	n      int           // of checks
	answer chan struct{} // closed when a device has answered, and made anew then
}

func newWaiters() *waiters { return &waiters{all: map[ID]*waited{}, ended: make(chan struct{})} }

// enter has a check wait. Its channel is closed at the next answer. Call leave after that.
func (w *waiters) enter(id ID) (answered <-chan struct{}, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	of := w.all[id]
	if of == nil {
		of = &waited{answer: make(chan struct{})}
		w.all[id] = of
	}
	of.n++
	return of.answer, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if of.n--; of.n == 0 && w.all[id] == of {
			delete(w.all, id)
		}
	}
}

// wake wakes the checks that wait for a verification.
func (w *waiters) wake(id ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if of := w.all[id]; of != nil {
		close(of.answer)
		delete(w.all, id) // who waits on enters again
	}
}

// lookEvery is how often a check that waits looks for an answer that another server took.
const lookEvery = 500 * time.Millisecond

// rest waits until it is time to look again, and reports whether there is no need to: ctx is done, or the server stops.
func (w *waiters) rest(ctx context.Context, answered <-chan struct{}) (over bool) {
	look, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	select {
	case <-answered:
	case <-look.Done():
	case <-w.ended:
		return true
	}
	return ctx.Err() != nil
}

// EndWaits ends all waits for outcomes: the server stops.
func (s *Service) EndWaits() { s.waiters.once.Do(func() { close(s.waiters.ended) }) }
