package smpp

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
)

var (
	errClosed = errors.New("the carrier is closed")
	errFull   = errors.New("no place in the window came free in time")
)

// A pool hands out the places in the windows of the bound sessions. A place comes from the session
// with the most free places. Callers that find none wait, and are served in order.
type pool struct {
	window int // places per session

	mu       sync.Mutex // guards the fields below, and the sessions' taken
	sessions []*session
	taken    int             // places taken in all sessions
	waiting  []chan *session // each of capacity 1; closed when there is nothing to wait for
	// down is the error of the last attempt to bind, if it failed and no session is bound.
	// While it is nil, a session may be bound at any moment.
	down error
	idle chan struct{} // closed when the last place is given back; nil unless close waits for that
}

// take returns a session after taking a place in its window. The caller must
// give the place back.
func (p *pool) take(ctx context.Context) (*session, error) {
	p.mu.Lock()
	if s := p.free(); s != nil {
		p.grab(s)
		p.mu.Unlock()
		return s, nil
	}
	if len(p.sessions) == 0 && p.down != nil {
		defer p.mu.Unlock()
		return nil, p.down
	}
	place := make(chan *session, 1)
	p.waiting = append(p.waiting, place)
	p.mu.Unlock()

	select {
	case s, ok := <-place:
		if !ok {
			return nil, p.why()
		}
		return s, nil
	case <-ctx.Done():
	}
	return nil, p.leave(place)
}

// leave stops waiting, and returns the error that explains why there was no
// place.
func (p *pool) leave(place chan *session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, place); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	} else if s, ok := <-place; ok { // a place was just assigned
		p.put(s)
	}
	if len(p.sessions) == 0 {
		return cmp.Or(p.down, errLost)
	}
	return errFull
}

func (p *pool) why() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return cmp.Or(p.down, errLost) // errLost if a session was bound in the meantime
}

// free returns the session with the most free places. Callers hold mu.
func (p *pool) free() (best *session) {
	for _, s := range p.sessions {
		if s.taken < p.window && (best == nil || s.taken < best.taken) {
			best = s
		}
	}
	return best
}

// grab takes a place. Callers hold mu.
func (p *pool) grab(s *session) {
	s.taken++
	p.taken++
}

// give gives a place back.
func (p *pool) give(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put(s)
}

// put is give for callers that hold mu.
func (p *pool) put(s *session) {
	s.taken--
	p.taken--
	p.serve()
}

// serve hands free places to waiting callers. Callers hold mu.
func (p *pool) serve() {
	for len(p.waiting) > 0 {
		s := p.free()
		if s == nil {
			break
		}
		p.grab(s)
		p.waiting[0] <- s
		p.waiting = p.waiting[1:]
	}
	if p.idle != nil && p.taken == 0 {
		close(p.idle)
		p.idle = nil
	}
}

// add adds a session's places.
func (p *pool) add(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(p.down, errClosed) {
		return
	}
	p.sessions, p.down = append(p.sessions, s), nil
	p.serve()
}

// remove removes a session's places.
func (p *pool) remove(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions = slices.DeleteFunc(p.sessions, func(other *session) bool { return other == s })
}

// busy reports whether a message is being submitted.
func (p *pool) busy() bool {
	_, taken := p.count()
	return taken > 0
}

// count returns the number of sessions and of places taken.
func (p *pool) count() (sessions, taken int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions), p.taken
}

// fail ends the waiting with an error, unless a session is bound.
func (p *pool) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sessions) == 0 && !errors.Is(p.down, errClosed) {
		p.drop(err)
	}
}

// drop fails all waiting callers. Callers hold mu.
func (p *pool) drop(err error) {
	p.down = err
	for _, w := range p.waiting {
		close(w)
	}
	p.waiting = nil
}

// close removes all places permanently, and waits until the taken ones were given back.
func (p *pool) close(ctx context.Context) {
	p.mu.Lock()
	p.drop(errClosed)
	p.sessions = nil
	taken, idle := p.taken, make(chan struct{})
	p.idle = idle
	p.mu.Unlock()
	if taken == 0 {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
