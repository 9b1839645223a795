package smpp

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/countersign/countersign/internal/verify"
)

const (
	// maxKnown and maxLost are the numbers of messages that the ledger remembers to match
	// receipts without the store. Receipts of forgotten messages are matched by the store.
	maxKnown, maxLost = 50_000, 10_000
	// lostLimit is how long after a code's expiry the receipt of a lost message may
	// come.
	lostLimit = time.Hour
)

// A shipment is one message that is being submitted, in one or more parts.
type shipment struct {
	verification verify.ID
	attempt      int
	to           string // the phone's number, without a plus
	parts        int
	expires      time.Time

	// The fields below are guarded by the ledger's mu.
	submitted int             // parts that the SMSC may have
	accepted  int             // parts that the SMSC has accepted
	ref       string          // the SMSC's id of the last accepted part
	delivered map[string]bool // parts that the phone has received, by id
	dropped   bool            // not all parts were submitted, so receipts of its parts mean nothing
}

// A ledger remembers submitted messages, so that it can match receipts in any order: after the
// response, before it, or if the response got lost.
type ledger struct {
	mu    sync.Mutex                        // guards the fields below
	known *simplelru.LRU[string, *shipment] // by the SMSC's id of a part
	lost  *simplelru.LRU[string, loss]      // by number
	// toNumber holds the latest accepted parts by the tail of their number, for ids that receipts write in
	// another form.
	toNumber *simplelru.LRU[string, []sentPart]
	waiting  map[string][]chan struct{} // goroutines with receipts that came early, by id
}

// A loss is a message whose response got lost. Several messages to one number can't be told
// apart, so they share one loss.
type loss struct {
	shipment *shipment // nil if there are several
	until    time.Time // when receipts are no longer expected
}

func newLedger() *ledger {
	l := &ledger{waiting: map[string][]chan struct{}{}}
	l.known, _ = simplelru.NewLRU[string, *shipment](maxKnown, nil) // NewLRU fails only for a size below 1
	l.toNumber, _ = simplelru.NewLRU[string, []sentPart](maxKnown, nil)
	l.lost, _ = simplelru.NewLRU[string, loss](maxLost, nil)
	return l
}

// submit records that the SMSC may soon have another part.
func (l *ledger) submit(s *shipment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.submitted++
}

// accept records the SMSC's id of a part, and reports whether the SMSC has now accepted all of them.
func (l *ledger) accept(s *shipment, id string) (whole bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.accepted++
	if at, ok := l.lost.Peek(s.to); ok && at.shipment == s {
		l.lost.Remove(s.to)
	}
	whole = s.accepted == s.parts && !s.dropped
	if id == "" {
		return whole
	}
	s.ref = id
	l.known.Add(id, s)
	l.remember(s, id)
	for _, early := range l.waiting[id] {
		select {
		case early <- struct{}{}:
		default:
		}
	}
	delete(l.waiting, id)
	return whole
}

// lose records that a part's response didn't come. Its receipt can then only be matched by the
// number, and only while no other message to that number is lost.
func (l *ledger) lose(s *shipment, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.accepted == s.submitted { // the response has come by now
		return
	}
	at := loss{s, s.expires.Add(lostLimit)}
	if before, ok := l.lost.Peek(s.to); ok && before.shipment != s && before.until.After(now) {
		at.shipment = nil
	}
	l.lost.Add(s.to, at)
}

// drop records that not all parts of a shipment were submitted.
func (l *ledger) drop(s *shipment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.dropped = true
}

// find returns the shipment that has a part with one of the receipt's ids, and that id. A receipt can arrive
// before the response to its submit_sm. So find waits a little while messages are being submitted, unless
// another form of the id is known.
func (l *ledger) find(ctx context.Context, r receipt, busy func() bool) (s *shipment, id string, how likeness) {
	ids := r.ids
	early := make(chan struct{}, 1)
	if s, id = l.lookUp(ids, early); s != nil {
		return s, id, unlike
	}
	part, how := l.alike(r)
	if part.shipment == nil && busy() {
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
	if s, id = l.get(ids); s != nil {
		return s, id, unlike
	}
	return part.shipment, part.id, how
}

// lookUp returns a shipment, or else registers early to be notified when the id
// is accepted.
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

// get returns the shipment that has a part with one of the ids. Callers hold
// mu.
func (l *ledger) get(ids []string) (*shipment, string) {
	for _, id := range ids {
		if s, ok := l.known.Get(id); ok {
			return s, id
		}
	}
	return nil, ""
}

// lostTo returns the lost shipment to one of the addresses, if there is only one. A receipt may repeat the prefix that was
// submitted, or leave it out.
func (l *ledger) lostTo(ends [2]string, prefix string, now time.Time) *shipment {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, to := range []string{ends[0], ends[1], strings.TrimPrefix(ends[0], prefix), strings.TrimPrefix(ends[1], prefix)} {
		if at, ok := l.lost.Peek(to); ok && at.until.After(now) {
			return at.shipment
		}
	}
	return nil
}

// note records the result of a part, and reports whether that decides the result of the whole message.
// A message is delivered with its last part, and failed with the first failed part. ref is the
// message's.
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
