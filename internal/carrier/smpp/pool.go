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

// A pool hands out the places in the windows of the sessions that are bound. A place is taken from
// the session that has most of them; who finds none waits, and is served in order.
type pool struct {
	window int // places of each session

	mu       sync.Mutex // guards all below, and the sessions' taken
	sessions []*session
	taken    int             // places, of all sessions
	waiting  []chan *session // of 1; closed when there is nothing to wait for
	// down is why no session is bound, if the last attempt to have one failed. While it is nil,
	// one may come any moment.
	down error
	idle chan struct{} // closed when the last place is given back; nil unless somebody waits for it
}

// take returns a session with a place in its window. Give it back.
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

// leave stops waiting, and says why it was in vain.
func (p *pool) leave(place chan *session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, place); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	} else if s, ok := <-place; ok { // somebody has just served us
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
	return cmp.Or(p.down, errLost) // nil if one was bound again meanwhile
}

// free returns the session with most free places. The caller holds mu.
func (p *pool) free() (best *session) {
	for _, s := range p.sessions {
		if s.taken < p.window && (best == nil || s.taken < best.taken) {
			best = s
		}
	}
	return best
}

// grab takes a place. The caller holds mu.
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

// put is give. The caller holds mu.
func (p *pool) put(s *session) {
	s.taken--
	p.taken--
	p.serve()
}

// serve hands free places to those who wait. The caller holds mu.
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

// add offers a session's places.
func (p *pool) add(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(p.down, errClosed) {
		return
	}
	p.sessions, p.down = append(p.sessions, s), nil
	p.serve()
}

// remove takes a session's places away.
func (p *pool) remove(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions = slices.DeleteFunc(p.sessions, func(other *session) bool { return other == s })
}

// busy reports whether there is a message under way.
func (p *pool) busy() bool {
	_, taken := p.count()
	return taken > 0
}

// count returns how many sessions there are, and how many places are taken.
func (p *pool) count() (sessions, taken int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions), p.taken
}

// fail says that there is nothing to wait for, unless a session is bound.
func (p *pool) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sessions) == 0 && !errors.Is(p.down, errClosed) {
		p.drop(err)
	}
}

// drop sends away all who wait. The caller holds mu.
func (p *pool) drop(err error) {
	p.down = err
	for _, w := range p.waiting {
		close(w)
	}
	p.waiting = nil
}

// close takes all places away for ever, and waits until those that are taken were given back.
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
