package smpp

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/countersign/countersign/internal/verify"
)

const (
	// maxKnown and maxLost are how many messages are remembered, so that their receipts are known
	// at once. Those of forgotten ones are known by what the store has of them.
	maxKnown, maxLost = 50_000, 10_000
	// lostLimit is how long after its code's death a lost message's receipt may come.
	lostLimit = time.Hour
)

// A shipment is one message on its way, in one or more parts.
type shipment struct {
	verification verify.ID
	attempt      int
	to           string // the phone's number, without plus
	parts        int
	expires      time.Time

	// Guarded by the ledger's mu.
	submitted int             // parts that the SMSC may have
	accepted  int             // parts that the SMSC says it has
	ref       string          // the SMSC's id of the last of them
	delivered map[string]bool // parts that the phone has, by their ids
	dropped   bool            // it was not handed over whole, so what becomes of its parts says nothing
}

// A ledger remembers what was submitted, so that a receipt is known in whatever order it comes:
// after the response, before it, or where the response got lost.
type ledger struct {
	mu      sync.Mutex                        // guards all below
	known   *simplelru.LRU[string, *shipment] // by the SMSC's id of a part
	lost    *simplelru.LRU[string, loss]      // by number
	waiting map[string][]chan struct{}        // receipts that came early, by id
}

// A loss is a message without a response, or several to the same number, which then can't be told
// from one another.
type loss struct {
	shipment *shipment // nil if there are several
	until    time.Time // a receipt may come
}

func newLedger() *ledger {
	l := &ledger{waiting: map[string][]chan struct{}{}}
	l.known, _ = simplelru.NewLRU[string, *shipment](maxKnown, nil) // its only error is a size below 1
	l.lost, _ = simplelru.NewLRU[string, loss](maxLost, nil)
	return l
}

// submit notes that the SMSC may soon have another part.
func (l *ledger) submit(s *shipment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.submitted++
}

// accept notes the SMSC's id of a part.
func (l *ledger) accept(s *shipment, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.accepted++
	if at, ok := l.lost.Peek(s.to); ok && at.shipment == s {
		l.lost.Remove(s.to)
	}
	if id == "" {
		return
	}
	s.ref = id
	l.known.Add(id, s)
	for _, early := range l.waiting[id] {
		select {
		case early <- struct{}{}:
		default:
		}
	}
	delete(l.waiting, id)
}

// lose notes that a part's response didn't come. If its receipt does, only the number can say whose
// it is, and that only while it is the only one.
func (l *ledger) lose(s *shipment, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.accepted == s.submitted { // it has come after all
		return
	}
	at := loss{s, s.expires.Add(lostLimit)}
	if before, ok := l.lost.Peek(s.to); ok && before.shipment != s && before.until.After(now) {
		at.shipment = nil
	}
	l.lost.Add(s.to, at)
}

// drop notes that a shipment was not handed over whole.
func (l *ledger) drop(s *shipment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.dropped = true
}

// find returns the shipment that has a part with one of the ids. A receipt can be quicker than the
// response that it follows; so while there are messages under way it waits a little.
func (l *ledger) find(ctx context.Context, ids []string, busy func() bool) (*shipment, string) {
	early := make(chan struct{}, 1)
	s, id := l.lookUp(ids, early)
	if s != nil {
		return s, id
	}
	if busy() {
		ctx, cancel := context.WithTimeout(ctx, earlyLimit)
		defer cancel()
		select {
		case <-early:
		case <-ctx.Done():
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		others := slices.DeleteFunc(l.waiting[id], func(other chan struct{}) bool { return other == early })
		if l.waiting[id] = others; len(others) == 0 {
			delete(l.waiting, id)
		}
	}
	return l.get(ids)
}

// lookUp finds a shipment, or else registers who waits for it.
func (l *ledger) lookUp(ids []string, early chan struct{}) (*shipment, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, id := l.get(ids)
	if s == nil {
		for _, id := range ids {
			l.waiting[id] = append(l.waiting[id], early)
		}
	}
	return s, id
}

// get is a plain look. The caller holds mu.
func (l *ledger) get(ids []string) (*shipment, string) {
	for _, id := range ids {
		if s, ok := l.known.Get(id); ok {
			return s, id
		}
	}
	return nil, ""
}

// lostTo returns the shipment to one of the addresses whose response got lost, if it is the only one.
func (l *ledger) lostTo(ends [2]string, now time.Time) *shipment {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, to := range ends {
		if at, ok := l.lost.Peek(to); ok && at.until.After(now) {
			return at.shipment
		}
	}
	return nil
}

// note takes down what became of a part, and reports whether that decides what becomes of the whole:
// it is delivered with its last part, and failed with the first one that fails. The ref is the whole's.
func (l *ledger) note(s *shipment, id string, delivered bool) (ref string, decided bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.dropped {
		return "", false
	}
	if !delivered || s.parts == 1 {
		return cmp.Or(s.ref, id), true
	}
	if s.delivered == nil {
		s.delivered = map[string]bool{}
	}
	s.delivered[id] = true
	return cmp.Or(s.ref, id), len(s.delivered) == s.parts
}
