package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// errUncertain fails a group whose COMMIT got no answer: it may have happened, or may still happen.
var errUncertain = errors.New("nobody knows whether it was committed")

// Abandoned starts are those whose COMMIT got no answer. Their callers were told that they failed, and ask
// again. Each may be in the database all the same, and must not be sent: somebody would get a code that no
// caller knows. So every group of this process that loads one cancels it first, and a goroutine loads them
// until each was found, or its code has died.
type abandoned struct {
	mu    sync.Mutex              // guards until
	until map[verify.ID]time.Time // the ends of their codes' lives
	count atomic.Int32            // of until, so that groups needn't lock when there are none

	wake chan struct{} // a new one is there
	stop chan struct{}
	once sync.Once      // for closing stop
	done sync.WaitGroup // of the goroutine
}

// The wait from one look for abandoned starts to the next grows.
const firstLook, lastLook = 50 * time.Millisecond, 3 * time.Second

func (a *abandoned) add(v *verify.Verification) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until[v.ID] = v.ExpiresAt
	a.count.Store(int32(len(a.until)))
	select {
	case a.wake <- struct{}{}:
	default: // it is awake
	}
}

func (a *abandoned) remove(id verify.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.until, id)
	a.count.Store(int32(len(a.until)))
}

// end waits for a last look.
func (a *abandoned) end() {
	a.once.Do(func() { close(a.stop) })
	a.done.Wait()
}

// ids are those whose codes live. The others are forgotten.
func (a *abandoned) ids(now time.Time) (all []verify.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, until := range a.until {
		if !now.Before(until) {
			delete(a.until, id)
			continue
		}
		all = append(all, id)
	}
	a.count.Store(int32(len(a.until)))
	return all
}

// cancel cancels those that a group has loaded, before anybody decides on them.
func (a *abandoned) cancel(r *rows, now time.Time) {
	if a.count.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, v := range r.verifications {
		if _, ok := a.until[id]; ok && v.value.Abandon(now) {
			v.dirty = true
		}
	}
}

// cancelAbandoned looks for abandoned starts as long as there are any, and once more in the end.
func (s *Store) cancelAbandoned() {
	a := &s.abandoned
	wait := firstLook
	for {
		var again <-chan time.Time
		if a.count.Load() > 0 {
			again = time.After(wait)
		}
		select {
		case <-a.wake:
			wait = firstLook
		case <-again:
			wait = min(2*wait, lastLook)
		case <-a.stop:
			s.lookForAbandoned()
			return
		}
		s.lookForAbandoned()
	}
}

// lookForAbandoned looks for each once, unless the database is away. It only reads where there is none:
// a commit would say that the database can write.
func (s *Store) lookForAbandoned() {
	var there []op
	for _, id := range s.abandoned.ids(s.now()) {
		switch _, err := s.Verification(context.Background(), id); {
		case err == nil:
			there = append(there, op{verification: id, apply: func(*rows, time.Time) error { return nil }}) // its group cancels it
		case !errors.Is(err, verify.ErrNotFound):
			return
		case !s.postgres:
			s.abandoned.remove(id)
		}
	}
	for group := range slices.Chunk(there, maxBatch) {
		if s.w.doAll(group) != nil {
			return
		}
		for _, o := range group {
			s.abandoned.remove(o.verification)
		}
	}
}
