// Package share divides a fixed number of places fairly between holders: a queue's places between
// projects, for example. A holder without competition may take all places. While others ask for places,
// it may keep only its share, so that the others get theirs.
package share

import (
	"sync"
	"time"
)

// An Answer is the result of asking for a place.
type Answer int

const (
	Taken Answer = iota // the holder has a place, and must give it back
	Full                // no place is free
	Spent               // the holder has its share, and other holders want places
)

const (
	// wanting is how long a holder without places counts as wanting one after it asked.
	wanting = 2 * time.Second
	// known is how long a holder is remembered. While several are, an eighth of the places is kept free
	// of holders that have their share, so that the others find some immediately.
	known = time.Hour
	// counting is how often the holders that want places are counted.
	counting = 250 * time.Millisecond
)

// Places is a fixed number of places and their holders.
type Places struct {
	all    int // the number of places
	shared int // how many of them are divided while several holders want some

	mu      sync.Mutex // guards the fields below
	taken   int
	holders map[string]*holder
	active  int // the number of holders that want places
	counted time.Time
}

type holder struct {
	taken int
	asked time.Time
	wants bool // at the last count
}

// New returns that many places, all of them free. While several holders want places, they divide shared
// of them: all, or fewer if a full set of places would make everybody wait too long.
func New(all, shared int) *Places {
	return &Places{all: all, shared: min(all, shared), holders: map[string]*holder{}}
}

// Take asks for a place for a holder. While other holders want places, a holder gets one only below its
// share, or if fewer than half of the shared places are taken.
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

// spare returns the number of places kept for known holders that want none at the
// moment.
func (p *Places) spare() int {
	if len(p.holders) == 1 {
		return 0
	}
	return p.all / 8
}

// count counts the holders that want places, and forgets the old ones. Callers
// hold mu.
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

// Has reports whether a holder has a place.
func (p *Places) Has(who string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.holders[who]
	return h != nil && h.taken > 0
}

// Taken returns the number of places that are taken.
func (p *Places) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// Size returns the number of places.
func (p *Places) Size() int { return p.all }

// A Queue returns its items holder by holder in turn, and each holder's items in the order they were added.
// A holder with a thousand items therefore doesn't hold up the others. The zero Queue is empty. Callers must
// synchronize access.
type Queue[T any] struct {
	waiting map[string]*fifo[T]
	turns   fifo[*fifo[T]] // the holders with items, the next one first
}

// Add adds an item behind the holder's others.
func (q *Queue[T]) Add(who string, t T) {
	if q.waiting == nil {
		q.waiting = map[string]*fifo[T]{}
	}
	of := q.waiting[who]
	if of == nil {
		of = &fifo[T]{}
		q.waiting[who] = of // kept when empty, because most holders come back
	}
	if of.empty() {
		q.turns.push(of)
	}
	of.push(t)
}

// Next removes and returns the next item. It reports false if the queue is
// empty.
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

// A fifo is a first-in, first-out queue that reuses its memory.
type fifo[T any] struct {
	all  []T
	head int
}

func (f *fifo[T]) empty() bool { return f.head == len(f.all) }
func (f *fifo[T]) push(t T)    { f.all = append(f.all, t) }

func (f *fifo[T]) pop() T {
	var none T
	t := f.all[f.head]
	f.all[f.head] = none // release it
	if f.head++; 2*f.head >= len(f.all) {
		n := copy(f.all, f.all[f.head:])
		clear(f.all[n:])
		f.all, f.head = f.all[:n], 0
	}
	return t
}
