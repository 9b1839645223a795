package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// errUncertain fails a group whose COMMIT got no answer: it may have happened, or may still happen.
var errUncertain = errors.New("nobody knows whether it was committed")

// Abandoned starts are those whose COMMIT got no answer. Their callers were told that they failed, and ask
// again. Each may be in the database all the same, and must not be sent: somebody would get a code that no
// caller knows. So every group of this process that loads one cancels it first, and a goroutine loads them
// until each was found, or its code has died.
type abandoned struct {
	mu    sync.Mutex               // guards all
	all   map[verify.ID]lostAnswer // by verification
	count atomic.Int32             // of all, so that groups needn't lock when there are none

	wake chan struct{} // a new one is there
	stop chan struct{}
	once sync.Once      // for closing stop
	done sync.WaitGroup // of the goroutine
}

// A lostAnswer is what a process knows of a start that got none.
type lostAnswer struct {
	until time.Time    // the end of its code's life
	phone phone.Number // that its call holds; "": it makes none
}

// The wait from one look for abandoned starts to the next grows.
const firstLook, lastLook = 50 * time.Millisecond, 3 * time.Second

func (a *abandoned) add(v *verify.Verification) {
	a.mu.Lock()
	defer a.mu.Unlock()
	lost := lostAnswer{until: v.ExpiresAt}
	if v.Calling > 0 {
		lost.phone = v.To
	}
	a.all[v.ID] = lost
	a.count.Store(int32(len(a.all)))
	select {
	case a.wake <- struct{}{}:
	default: // it is awake
	}
}

func (a *abandoned) remove(id verify.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, id)
	a.count.Store(int32(len(a.all)))
}

// end waits for a last look.
func (a *abandoned) end() {
	a.once.Do(func() { close(a.stop) })
	a.done.Wait()
}

// living are those whose codes live. The others are forgotten.
func (a *abandoned) living(now time.Time) map[verify.ID]lostAnswer {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.all, func(_ verify.ID, lost lostAnswer) bool { return !now.Before(lost.until) })
	a.count.Store(int32(len(a.all)))
	return maps.Clone(a.all)
}

// cancel cancels those that a group has loaded, before anybody decides on them.
func (a *abandoned) cancel(r *rows, now time.Time) {
	if a.count.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, v := range r.verifications {
		if _, ok := a.all[id]; ok && !r.fence[v.value.Project] && v.value.Abandon(now) {
			v.dirty = true
			if v.value.Delivery == verify.DeliveryFailed { // nobody has sent its message
				r.letGo(&v.value, &verify.Delivery{Verification: id, Attempt: 1, Outcome: verify.AttemptErrored})
			}
		}
	}
}

// release gives back the phone that a call holds which nobody made.
func (l lostAnswer) release(id verify.ID) op {
	o := op{verification: id, phone: l.phone}
	o.apply = func(r *rows, now time.Time) error {
		if l.phone != "" {
			p := r.phone(l.phone)
			never := verify.Settlement{Delivery: verify.Delivery{Verification: id, Attempt: 1, Outcome: verify.AttemptErrored}}
			p.dirty = p.value.Settle(&never, now) || p.dirty
		}
		return nil
	}
	return o
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
	for id, lost := range s.abandoned.living(s.now()) {
		switch _, err := s.Verification(context.Background(), id); {
		case err == nil:
			there = append(there, lost.release(id)) // its group cancels it
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
