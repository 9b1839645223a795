package dispatch

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/share"
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
	// ReceiptTimeout is how long we wait for the receipt of a message before another carrier gets it. 0 is
	// for ever: a carrier whose receipts don't reach us is always silent.
	ReceiptTimeout time.Duration
	// UnknownTimeout is how long we wait for word of a text or a push of which we don't know whether this carrier has it,
	// before another carrier gets it. 0 is twice the ReceiptTimeout.
	UnknownTimeout time.Duration
	// Costs are what it takes for a segment, for a call that somebody else makes, or for a minute of one that we make.
	Costs money.Table
	// Senders are what messages come from instead of the public sender, by country; "" is any other.
	// One number always sees the same one.
	Senders map[string][]string
}

// A line is a carrier's queue, its workers, and what we know of how it does.
type line struct {
	Line
	*common
	limit time.Duration // of one call
	queue *queue

	drained atomic.Bool // an operator has stopped it
}

// A common is what the lines of one carrier have in common in a process with several databases, each of which has its
// own line: see [Siblings].
type common struct {
	places *share.Places // one for each message that is here
	pace   pace
	calls  chan struct{} // holds a token for each call under way; nil: the line has as many workers as there may be calls

	troubles atomic.Int32 // in how many countries: most often in none, and nobody needs the lock
	mu       sync.Mutex   // guards breakers
	breakers map[string]*circuit
}

// A circuit holds the breakers of one country. One project's failures alone open only its own: the common
// one takes at most half of its failures, rounded up, from each project.
type circuit struct {
	common *breaker
	own    map[verify.ProjectID]*breaker
}

// of are the breakers that a project's messages pass.
func (c *circuit) of(p verify.ProjectID) []*breaker {
	if own := c.own[p]; own != nil {
		return []*breaker{c.common, own}
	}
	return []*breaker{c.common}
}

// A passenger is what breakers look at of a message.
type passenger struct {
	project verify.ProjectID
	to      phone.Number
	country string // of the number
}

// newLine checks a line, and makes one that has nothing in common with others. A message that can't leave before its lease
// is over isn't worth a place.
func newLine(l Line, lease, callLimit time.Duration) (*line, error) {
	if l.Queue < 1 || l.Concurrency < 1 || l.Rate < 0 || l.ReceiptTimeout < 0 || l.UnknownTimeout < 0 {
		return nil, fmt.Errorf("carrier %s: queue %d and concurrency %d must be at least 1, rate %v, receipt timeout %v and unknown timeout %v not below 0",
			l.Carrier.Name(), l.Queue, l.Concurrency, l.Rate, l.ReceiptTimeout, l.UnknownTimeout)
	}
	made := &line{Line: l, limit: callLimit, common: &common{breakers: map[string]*circuit{}}}
	if c, ok := l.Carrier.(carrier.Limiter); ok {
		made.limit = c.Limit()
	}
	if l.Rate > 0 {
		made.pace.gcra = limit.GCRA{Burst: 1, Interval: time.Duration(float64(time.Second) / l.Rate)}
		made.Queue = min(l.Queue, max(1, int(l.Rate*(lease-callLimit).Seconds())))
	}
	made.places, made.queue = share.New(made.Queue, made.Queue), newQueue(made.Queue)
	return made, nil
}

func (l *line) name() string { return l.Carrier.Name() }

// asks reports whether the carrier can ask for a key.
func (l *line) asks() bool {
	_, ok := l.Carrier.(carrier.Asker)
	return ok
}

// opens is when a message may pass the breakers: zero for now.
func (l *line) opens(m passenger, now time.Time) (at time.Time) {
	if l.drained.Load() {
		return now.Add(drainedLook)
	}
	if l.troubles.Load() == 0 {
		return at
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.breakers[m.country].opens(m, now)
}

func (c *circuit) opens(m passenger, now time.Time) (at time.Time) {
	if c == nil {
		return at
	}
	for _, b := range c.of(m.project) {
		at = later(at, b.opens(m.project, m.to, now))
	}
	return at
}

// pass takes leave of the breakers for one message.
func (l *line) pass(m passenger, now time.Time) bool {
	if l.troubles.Load() == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.breakers[m.country]
	if c == nil {
		return true
	}
	if !c.opens(m, now).IsZero() {
		return false
	}
	for _, b := range c.of(m.project) {
		b.pass(m.project, m.to, now)
	}
	return true
}

// spare gives back the leave of a message that isn't sent, or whose end says nothing of the carrier.
func (l *line) spare(m passenger) {
	if l.troubles.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.breakers[m.country]; c != nil {
		for _, b := range c.of(m.project) {
			b.spare(m.to)
		}
	}
}

// answered closes a country's breakers.
func (l *line) answered(country string) {
	if l.troubles.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.breakers, country)
	l.troubles.Store(int32(len(l.breakers)))
}

// failed counts a message that the carrier failed. It reports whether that opened a breaker.
func (l *line) failed(m passenger, after int, now time.Time) (opened bool) {
	if after < 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.breakers[m.country]
	if c == nil {
		c = &circuit{newBreaker(max(after, 2), (after+1)/2), map[verify.ProjectID]*breaker{}}
		l.breakers[m.country] = c
		l.troubles.Store(int32(len(l.breakers)))
	}
	if c.own[m.project] == nil {
		c.own[m.project] = newBreaker(after, math.MaxInt)
	}
	for _, b := range c.of(m.project) {
		was := b.state(now)
		b.fail(m.project, m.to, now)
		opened = opened || was != "open" && b.state(now) == "open"
	}
	return opened
}

// Sender is what a message by the public sender comes from: the same for all forms of a number.
func (l *Line) Sender(public, country string, to phone.Number) string {
	return cmp.Or(route.Sticky(byCountry(l.Senders, country), to.Key()), public)
}

// Cost is what a text would cost on its way.
func (l *Line) Cost(country string, c verify.Channel, text verify.Secret, now time.Time) money.Amount {
	return l.each(country, c, now).Times(Units(c, text))
}

// each is what the carrier takes for one segment, call or minute.
func (l *Line) each(country string, c verify.Channel, now time.Time) money.Amount {
	each, _ := l.Costs.Find(money.Subject{Channel: string(c), Country: country}, now)
	return each
}

// Units is how many units a carrier bills for a text: the segments of a message, or one call.
func Units(c verify.Channel, text verify.Secret) int {
	if !c.InSegments() {
		return 1
	}
	return sms.Segments(text.Reveal())
}

// minutesOf is how many minutes of a call that we made were begun.
func minutesOf(c verify.Call) int {
	if c.Answered.IsZero() {
		return 0
	}
	return int(max(1, (c.Talk+time.Minute-1)/time.Minute))
}

// charge is what an attempt by the line comes to that takes so many units.
func (d *Dispatcher) charge(l *line, j *job, units int, now time.Time) verify.Charge {
	if units == 0 {
		return verify.Charge{}
	}
	c, p := verify.Charge{Units: units}, &d.config.Prices
	c.Cost = l.each(j.country, j.message.Channel, now).Times(units)
	if p.Currency != "" {
		c.Currency, c.Price = p.Currency, d.eachPrice(l, j.country, j.message.Channel, now).Times(units)
	}
	return c
}

// price is what the project will be charged for a message by the line, as far as can be told before: of a call, a minute.
func (d *Dispatcher) price(l *line, country string, m verify.Message, now time.Time) money.Amount {
	if d.config.Prices.Currency == "" {
		return 0
	}
	return d.eachPrice(l, country, m.Channel, now).Times(Units(m.Channel, m.Body))
}

// eachPrice is what the project is charged for one segment, call or minute.
func (d *Dispatcher) eachPrice(l *line, country string, c verify.Channel, now time.Time) money.Amount {
	each, _ := d.config.Prices.Messages.Find(money.Subject{Channel: string(c), Country: country, Carrier: l.name()}, now)
	return each
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
	Drained     bool           `json:"drained,omitempty"` // an operator has stopped it
	Breakers    []BreakerState `json:"breakers"`          // of countries with failures since the carrier last answered
}

// A BreakerState is how the hand-overs to one country go.
type BreakerState struct {
	Country  string    `json:"country"`
	Project  string    `json:"project,omitempty"` // whose messages it holds up; empty: everybody's
	State    string    `json:"state"`             // closed, half-open or open
	Failures int       `json:"failures"`          // that were counted: each number once
	Until    time.Time `json:"until,omitzero"`    // while it is open
}

// Worst is the state of the breaker that holds up most in each country, be it one project's.
func (s *State) Worst() map[string]string {
	rank := map[string]int{"closed": 1, "half-open": 2, "open": 3}
	worst := map[string]string{}
	for _, b := range s.Breakers {
		if rank[b.State] > rank[worst[b.Country]] {
			worst[b.Country] = b.State
		}
	}
	return worst
}

// States says how the carriers do, by name.
func (d *Dispatcher) States() []State {
	all := []State{}
	now := d.config.Now()
	for _, name := range slices.Sorted(maps.Keys(d.lines)) {
		l := d.lines[name]
		all = append(all, State{
			Name: name, Queued: l.places.Taken(), Queue: l.Queue, Concurrency: l.Concurrency, Rate: l.Rate, Drained: l.drained.Load(), Breakers: l.states(now),
		})
	}
	return all
}

func (l *line) states(now time.Time) []BreakerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := []BreakerState{}
	for _, country := range slices.Sorted(maps.Keys(l.breakers)) {
		c := l.breakers[country]
		all = append(all, c.common.describe(country, "", now))
		for _, p := range slices.Sorted(maps.Keys(c.own)) {
			all = append(all, c.own[p].describe(country, p, now))
		}
	}
	return all
}

func (b *breaker) describe(country string, p verify.ProjectID, now time.Time) BreakerState {
	s := BreakerState{Country: country, Project: string(p), State: b.state(now), Failures: len(b.failed)}
	if s.State == "open" {
		s.Until = b.until.UTC()
	}
	return s
}
