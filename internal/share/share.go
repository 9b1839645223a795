// Package share divides a fixed number of places fairly between holders, such as a queue's between
// projects. One that nobody else competes with may have all of them; while others want some, it has its
// share, and those find places.
package share

import (
	"sync"
	"time"
)

// An Answer is what became of a wish for a place.
type Answer int

const (
	Taken Answer = iota // there is one: give it back
	Full                // there is none
	Spent               // others want some, and the holder has its share
)

const (
	// wanting is how long a holder without places counts among those that want some, after it asked.
	wanting = 2 * time.Second
	// known is how long it is remembered. While there are several, an eighth of the places is kept from
	// those that have their share, so that the others find some at once.
	known = time.Hour
	// counting is how often those that want none any more are looked for.
	counting = 250 * time.Millisecond
)

// Places are a number of places and who has them.
type Places struct {
	all    int // how many there are
	shared int // how many of them are divided while several holders want some

	mu      sync.Mutex // guards what follows
	taken   int
	holders map[string]*holder
	active  int // of them, those that want places
	counted time.Time
}

type holder struct {
	taken int
	asked time.Time
	wants bool // as last counted
}

// New returns a number of places, of which so many are divided while several holders want some: all, or
// fewer where those that wait in many places wait for too long.
func New(all, shared int) *Places {
	return &Places{all: all, shared: min(all, shared), holders: map[string]*holder{}}
}

// Take asks for a place. While others want some, a holder gets one if it has less than its share, or at
// least half of the places are free.
func (p *Places) Take(who string, now time.Time) Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since := now.Sub(p.counted); since >= counting || since < 0 {
		p.count(now)
	}
	h := p.holders[who]
	if h == nil {
		h = &holder{}
		p.holders[who] = h
	}
	if h.asked = now; !h.wants {
		h.wants = true
		p.active++
	}
	alone, share := p.active == 1, max(1, p.shared/p.active)
	free := p.taken < p.all && (h.taken < share || p.taken < p.shared/2)
	if alone {
		free = p.taken < p.all-p.spare()
	}
	switch {
	case free:
		h.taken++
		p.taken++
		return Taken
	case !alone && h.taken >= share:
		return Spent
	}
	return Full
}

// spare is what is kept for holders that are known and want nothing at the moment.
func (p *Places) spare() int {
	if len(p.holders) == 1 {
		return 0
	}
	return p.all / 8
}

// count forgets who wants nothing any more. Callers hold mu.
func (p *Places) count(now time.Time) {
	p.counted, p.active = now, 0
	for who, h := range p.holders {
		since := now.Sub(h.asked)
		h.wants = h.taken > 0 || since < wanting
		switch {
		case h.wants:
			p.active++
		case since >= known:
			delete(p.holders, who)
		}
	}
}

// Give gives a place back.
func (p *Places) Give(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holders[who].taken--
	p.taken--
}

// Taken is how many places are taken, and Size how many there are.
func (p *Places) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// Size is how many places there are.
func (p *Places) Size() int { return p.all }

// A Queue hands out what waits, a holder's in its order, and of several holders in turn: one that waits with
// a thousand doesn't keep the others waiting. The zero Queue is empty. Callers lock.
type Queue[T any] struct {
	waiting map[string]*fifo[T]
	turns   fifo[*fifo[T]] // of those that wait, the next first
}

// Add puts one behind the holder's others.
func (q *Queue[T]) Add(who string, t T) {
	if q.waiting == nil {
		q.waiting = map[string]*fifo[T]{}
	}
	of := q.waiting[who]
	if of == nil {
		of = &fifo[T]{}
		q.waiting[who] = of // and stays, as most holders come again
	}
	if of.empty() {
		q.turns.push(of)
	}
	of.push(t)
}

// Next takes the next one. It reports false if none waits.
func (q *Queue[T]) Next() (t T, ok bool) {
	if q.turns.empty() {
		return t, false
	}
	of := q.turns.pop()
	t = of.pop()
	if !of.empty() {
		q.turns.push(of)
	}
	return t, true
}

// A fifo gives out what came first, and uses its memory again.
type fifo[T any] struct {
	all  []T
	head int
}

func (f *fifo[T]) empty() bool { return f.head == len(f.all) }
func (f *fifo[T]) push(t T)    { f.all = append(f.all, t) }

func (f *fifo[T]) pop() T {
	var none T
	t := f.all[f.head]
	f.all[f.head] = none // let it go
	if f.head++; 2*f.head >= len(f.all) {
		n := copy(f.all, f.all[f.head:])
		clear(f.all[n:])
		f.all, f.head = f.all[:n], 0
	}
	return t
}
