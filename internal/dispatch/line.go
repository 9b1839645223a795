package dispatch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/sms"
	"github.com/countersign/countersign/internal/verify"
)

// A Line is a carrier and how it is used.
type Line struct {
	Carrier     carrier.Carrier
	Queue       int // messages waiting or under way: more are refused with verify.ErrBusy
	Concurrency int // calls at once

	// Channel is what the carrier is for; "" is any.
	Channel verify.Channel

	// Rate is how many messages a second it gets from us: 0 is no limit.
	Rate float64
	// ReceiptTimeout is how long we wait for the receipt of a message before another carrier gets it,
	// and twice that where we don't know whether this one has it. 0 is for ever: a carrier whose
	// receipts don't reach us is always silent.
	ReceiptTimeout time.Duration
	// Costs are those of a segment, of a call that somebody else makes, or of a minute of one that we
	// make, by country; "" is any other country.
	Costs map[string]float64
	// Senders are what messages come from instead of the public sender, by country; "" is any other.
	// One number always sees the same one.
	Senders map[string][]string
}

// A line is a carrier's queue, its workers, and what we know of how it does.
type line struct {
	Line
	limit  time.Duration // of one call
	places chan struct{} // one token for each message that is here
	queue  *queue
	pace   pace

	troubles atomic.Int32 // how many breakers there are: most often none, and nobody needs the lock
	mu       sync.Mutex   // guards breakers
	breakers map[string]*breaker
}

// newLine checks a line. A message that can't leave before its lease is over isn't worth a place.
func newLine(l Line, lease, callLimit time.Duration) (*line, error) {
	if l.Queue < 1 || l.Concurrency < 1 || l.Rate < 0 || l.ReceiptTimeout < 0 {
		return nil, fmt.Errorf("carrier %s: queue %d and concurrency %d must be at least 1, rate %v and receipt timeout %v not below 0",
			l.Carrier.Name(), l.Queue, l.Concurrency, l.Rate, l.ReceiptTimeout)
	}
	made := &line{Line: l, limit: callLimit, breakers: map[string]*breaker{}}
	if c, ok := l.Carrier.(carrier.Limiter); ok {
		made.limit = c.Limit()
	}
	if l.Rate > 0 {
		made.pace.gcra = limit.GCRA{Burst: 1, Interval: time.Duration(float64(time.Second) / l.Rate)}
		made.Queue = min(l.Queue, max(1, int(l.Rate*(lease-callLimit).Seconds())))
	}
	made.places, made.queue = make(chan struct{}, made.Queue), newQueue(made.Queue)
	return made, nil
}

func (l *line) name() string { return l.Carrier.Name() }

// asks reports whether the carrier can ask for a key.
func (l *line) asks() bool {
	_, ok := l.Carrier.(carrier.Asker)
	return ok
}

// opens is when a message for a country may pass the breaker: zero for now.
func (l *line) opens(country string, now time.Time) (at time.Time) {
	if l.troubles.Load() == 0 {
		return at
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.breakers[country]; b != nil {
		at = b.opens(now)
	}
	return at
}

// pass takes leave of the breaker for one message.
func (l *line) pass(country string, now time.Time) bool {
	if l.troubles.Load() == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.breakers[country]
	return b == nil || b.pass(now)
}

// spare gives back the leave of a message that isn't sent.
func (l *line) spare(country string, now time.Time) {
	if l.troubles.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.breakers[country]; b != nil && b.probing {
		b.until, b.probing = now, false
	}
}

// answered closes a country's breaker.
func (l *line) answered(country string) {
	if l.troubles.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.breakers, country)
	l.troubles.Store(int32(len(l.breakers)))
}

// failed counts a message that the carrier didn't take. It reports whether that opened the breaker.
func (l *line) failed(country string, after int, now time.Time) (opened bool) {
	if after < 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.breakers[country]
	if b == nil {
		b = &breaker{}
		l.breakers[country] = b
		l.troubles.Store(int32(len(l.breakers)))
	}
	was := b.state(now)
	b.fail(after, now)
	return was != "open" && b.state(now) == "open"
}

// Sender is what a message by the public sender comes from.
func (l *Line) Sender(public, country string, to phone.Number) string {
	return cmp.Or(route.Sticky(byCountry(l.Senders, country), to), public)
}

// Cost is what a text costs on its way.
func (l *Line) Cost(country string, c verify.Channel, text verify.Secret) float64 {
	each := byCountry(l.Costs, country)
	if each == 0 || c != verify.SMS {
		return each
	}
	return each * float64(sms.Segments(text.Reveal()))
}

// callCost is what a call costs that we made: each minute that was begun.
func (l *Line) callCost(country string, c verify.Call) float64 {
	if c.Answered.IsZero() {
		return 0
	}
	minutes := max(1, (c.Talk+time.Minute-1)/time.Minute)
	return byCountry(l.Costs, country) * float64(minutes)
}

// byCountry is a country's value, or that of any other.
func byCountry[T any](all map[string]T, country string) T {
	if v, ok := all[country]; ok {
		return v
	}
	return all[""]
}

// A pace keeps calls apart.
type pace struct {
	gcra limit.GCRA
	mu   sync.Mutex // guards tat
	tat  time.Time
}

// book takes the next free instant for a call, and returns the wait until then.
func (p *pace) book(now time.Time) time.Duration {
	if p.gcra.Interval == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next, wait := p.gcra.Take(p.tat, now)
	if wait > 0 {
		next, _ = p.gcra.Take(p.tat, now.Add(wait))
	}
	p.tat = next
	return wait
}

// A State is how a carrier does, for operators.
type State struct {
	Name        string         `json:"name"`
	Queued      int            `json:"queued"` // waiting or under way
	Queue       int            `json:"queue"`
	Concurrency int            `json:"concurrency"`
	Rate        float64        `json:"rate,omitempty"`
	Breakers    []BreakerState `json:"breakers"` // of countries with failures since the carrier last answered
}

// A BreakerState is how the hand-overs to one country go.
type BreakerState struct {
	Country  string    `json:"country"`
	State    string    `json:"state"` // closed, half-open or open
	Failures int       `json:"failures"`
	Until    time.Time `json:"until,omitzero"` // while it is open
}

// States says how the carriers do, by name.
func (d *Dispatcher) States() []State {
	all := []State{}
	now := d.Now()
	for _, name := range slices.Sorted(maps.Keys(d.lines)) {
		l := d.lines[name]
		all = append(all, State{
			Name: name, Queued: len(l.places), Queue: l.Queue, Concurrency: l.Concurrency, Rate: l.Rate, Breakers: l.states(now),
		})
	}
	return all
}

func (l *line) states(now time.Time) []BreakerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := []BreakerState{}
	for _, country := range slices.Sorted(maps.Keys(l.breakers)) {
		b := l.breakers[country]
		s := BreakerState{Country: country, State: b.state(now), Failures: b.failures}
		if s.State == "open" {
			s.Until = b.until.UTC()
		}
		all = append(all, s)
	}
	return all
}
