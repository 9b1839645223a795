// Package dispatch gets messages to carriers and records what came of it.
//
// A start commits its verification together with a lease on the first attempt, then hands the
// message to a queue here: the lease is that attempt's record. Every later attempt is claimed by a
// commit before the carrier is called. Whoever holds no lease settles nothing. If we die, the lease
// runs out and somebody else claims the message, as long as its code lives: a crash costs at most
// one duplicate, and no message is forgotten.
package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/share"
	"github.com/countersign/countersign/internal/verify"
)

// A Store commits what happens to deliveries. When a method returns without an error, it is on disk.
type Store interface {
	// Settle records an attempt's end, see [verify.Verification.Settle], and returns the
	// verification as it then is.
	Settle(ctx context.Context, s verify.Settlement) (*verify.Verification, error)
	// Claim takes an overdue message's next attempt, see [verify.Overdue.Claim], or returns none. It returns
	// the end of the attempt before, too, if that has lost its lease.
	Claim(ctx context.Context, o verify.Overdue, lease time.Duration) (*verify.Verification, *verify.Delivery, error)
	// Renew extends the lease of an attempt, see [verify.Verification.Renew].
	Renew(ctx context.Context, id verify.ID, attempt int, lease time.Duration) (*verify.Verification, error)
	// Receive lets a receipt advance a delivery, see [verify.Receipt.Settle]. It returns the attempt
	// with its receipt, or nil if that said nothing new.
	Receive(ctx context.Context, r verify.Receipt) (*verify.Verification, *verify.Delivery, error)
	// Find looks for the attempt that a carrier knows by its own id, or fails with verify.ErrNotFound.
	Find(ctx context.Context, carrier, ref string) (verify.ID, int, error)
	// Hold goes on holding a phone for a call that is about to begin, see [verify.Phone.Hold].
	Hold(ctx context.Context, to phone.Number, id verify.ID, attempt int, d time.Duration) (bool, error)
	// Postpone puts off looking at an overdue message, see [verify.Overdue.Postpone].
	Postpone(ctx context.Context, o verify.Overdue, until time.Time) error
	// Sweep notes down the messages whose lease somebody should look at when it ends.
	Sweep(ctx context.Context) error
	// Due returns the messages of up to n hints behind another that somebody should look at now, and the last
	// of those hints: zero at the end. It doesn't read what the caller remembers.
	Due(ctx context.Context, after verify.Hint, n int, remembered func(verify.Hint) (verify.Overdue, bool)) (due []verify.Overdue, next verify.Hint, err error)
	// JudgesLeases reports whether a lease of another process that looks ended may be taken over.
	JudgesLeases() bool
	// Devices returns the devices of an application's user.
	Devices(ctx context.Context, k verify.UserKey) ([]verify.Device, error)
	// SettleDevices stores what came of pushes to a user's devices, see [verify.DeviceStore].
	SettleDevices(ctx context.Context, k verify.UserKey, at time.Time, used, gone []verify.ID) error
	// Verification reads one, with its deliveries that have ended.
	Verification(ctx context.Context, id verify.ID) (*verify.Verification, error)
	Deliveries(ctx context.Context, id verify.ID) ([]verify.Delivery, error)
}

// An Observer counts what came of attempts.
type Observer interface {
	// Settled counts an attempt that ended, so long after its verification's start. It has no carrier if none was
	// called, or if the server that called one died.
	Settled(d *verify.Delivery, country string, since time.Duration)
	// Received counts a receipt that said something new.
	Received(d *verify.Delivery, country string)
	// Watched counts a message to a country that operators watch.
	Watched(country string)
	// Unmatched counts a receipt for no message that is known.
	Unmatched(carrier string)
}

// Config is what a [Dispatcher] needs. Zero durations take their defaults.
type Config struct {
	Store    Store
	Keys     *keyset.Set
	Now      func() time.Time
	Log      *slog.Logger
	Outages  *outage.Log  // for what fails again and again; nil: one of its own
	Observer Observer     // may be nil
	Tracer   trace.Tracer // of attempts; nil: they aren't traced
	Carriers []Line
	// Rules say which carriers take a message; Routes, by channel, what no rule matches. The preferred
	// one stands first.
	Rules  []route.Rule
	Routes map[verify.Channel][]string
	// PublicSender is what messages come from that a line may send from another: see [Line].Senders.
	PublicSender string
	// MaxMessages is how many messages a verification may cost, without those that its caller asks for by a resend:
	// default 3. What may have been sent counts.
	MaxMessages int
	// Prices are what projects are charged for messages.
	Prices money.Prices
	// BreakAfter is how many failures in a row keep messages to a country from a carrier for a while:
	// default 5, below 0 never.
	BreakAfter int

	// Siblings are the dispatchers of this process's other databases; nil: it has one database.
	Siblings *Siblings
	// Shared means that other replicas send the same messages: what keeps one from a carrier here may not
	// keep it from that carrier there.
	Shared bool

	// Lease is how long a message may be with us before others may send it: default 20 s, at most
	// 30 s. CallLimit bounds one call of a carrier: default 10 s, at most half of the lease. For a
	// [carrier.Limiter] its own limit holds, and the lease is renewed meanwhile.
	Lease, CallLimit time.Duration
	// Tick is how often we look for messages that are due: default 250 ms.
	Tick time.Duration
}

const (
	// fresh is how long a message may have waited here and still be sent without looking at its
	// verification again.
	fresh = 100 * time.Millisecond
	// pollStep is how many due messages are looked at together.
	pollStep = 512
	// The wait before attempt n+1 is between half of and the whole of firstBackoff·2^(n-1).
	firstBackoff, lastBackoff = time.Second, 15 * time.Minute
	// shortTrouble is how long a young message waits at least for a breaker of ours: see [ownTrouble].
	shortTrouble = 2 * time.Second
	// leaveWait is how long a shutdown that ends calls waits for them to notice, and for the database to
	// take down what hasn't been sent.
	leaveWait = 3 * time.Second
)

// A Dispatcher owns the queues. It implements [verify.Outbox].
type Dispatcher struct {
	config  Config
	own     Store            // without those of siblings
	now     func() time.Time // the clock of the carriers' paces
	lines   map[string]*line
	table   atomic.Pointer[route.Table]
	rules   []route.Rule    // of the configuration: the table has the weights that hold
	weights []verify.Weight // that were set last
	early   early
	trials  trials
	flights flights
	traces  traces
	looked  atomic.Pointer[time.Time]                         // when what operators have changed was last looked at; nil: nobody looks
	stops   atomic.Pointer[map[string]bool]                   // countries to which nothing may go; nil: none
	watched atomic.Pointer[map[string]bool]                   // countries whose messages are counted and logged; nil: none
	dearest atomic.Pointer[map[verify.ProjectID]money.Amount] // what a message may be at most, by the limit's key; nil: nothing is bound

	calls       context.Context // of the carriers' calls: ends when draining takes too long
	abortCalls  context.CancelFunc
	records     context.Context // of settling: ends when nobody waits for it any more
	stopRecords context.CancelFunc
	stopPoll    context.CancelFunc
	wake        chan struct{}  // makes the poller look before its tick
	jobs        sync.WaitGroup // places that are taken
	workers     sync.WaitGroup // of the lines, and what looks after messages
	due         look
	memory      *memory

	mu     sync.RWMutex // guards closed, and jobs.Add against jobs.Wait
	closed bool
}

// job is one attempt that we hold the lease for.
type job struct {
	verification *verify.Verification
	message      verify.Message
	since        time.Time         // when it came here
	until        time.Time         // when the lease ends
	history      []verify.Delivery // earlier attempts
	country      string            // of the number
	cut          error             // why we ended its call, if we did
	next         *way              // on which the next attempt has a place, once this one has failed

	request *trace.SpanContext // of the request that started the verification; nil: unknown
	span    trace.Span         // of this attempt; nil: it isn't traced
}

func (j *job) passenger() passenger {
	return passenger{j.verification.Project, j.verification.To, j.country}
}

// settlement is that of the job's attempt, whose outcome is still to be filled in. One by a call releases the
// phone, also if there was none.
func (j *job) settlement(l *line, started time.Time) verify.Settlement {
	v := j.verification
	s := verify.Settlement{Delivery: verify.Delivery{
		Verification: v.ID, Attempt: v.Attempt, Channel: j.message.Channel, Carrier: l.name(), StartedAt: started,
	}}
	if j.message.Channel.IsCall() {
		s.Called = v.To
	}
	return s
}

// New starts a dispatcher. Close it.
func New(c Config) (*Dispatcher, error) {
	c.Lease = cmp.Or(c.Lease, 20*time.Second)
	c.CallLimit = cmp.Or(c.CallLimit, c.Lease/2)
	c.Tick = cmp.Or(c.Tick, 250*time.Millisecond)
	if c.Lease > 30*time.Second || c.CallLimit > c.Lease/2 {
		return nil, fmt.Errorf("lease %v: at most 30s, and at least twice the call limit %v", c.Lease, c.CallLimit)
	}
	c.MaxMessages = cmp.Or(c.MaxMessages, 3)
	c.BreakAfter = cmp.Or(c.BreakAfter, breakAfter)
	if c.Outages == nil {
		c.Outages = outage.New(c.Log, c.Now)
	}
	own := c.Store
	if c.Siblings != nil {
		c.Store = follower{own, c.Siblings}
	}
	d := &Dispatcher{config: c, own: own, lines: map[string]*line{}, wake: make(chan struct{}, 1), traces: newTraces(c.Tracer), memory: newMemory()}
	for _, l := range c.Carriers {
		made, err := newLine(l, c.Lease, c.CallLimit)
		if err != nil {
			return nil, err
		}
		if c.Siblings != nil {
			c.Siblings.share(made)
		}
		d.lines[l.Carrier.Name()] = made
	}
	rules := Rules(c.Rules, c.Routes)
	for i, r := range rules {
		for _, choice := range r.Carriers {
			if d.lines[choice.Carrier] == nil {
				return nil, fmt.Errorf("route %d: there is no carrier %q", i+1, choice.Carrier)
			}
		}
	}
	d.rules = rules
	d.table.Store(route.New(rules))
	d.now = c.Now
	if c.Siblings != nil {
		d.now = time.Now // all databases' messages book one pace, and their clocks differ
	}
	d.calls, d.abortCalls = context.WithCancel(context.Background())
	d.records, d.stopRecords = context.WithCancel(context.Background())
	for _, l := range c.Carriers {
		for range l.Concurrency {
			d.workers.Go(func() { d.work(d.lines[l.Carrier.Name()]) })
		}
	}
	var poll context.Context
	poll, d.stopPoll = context.WithCancel(context.Background())
	d.startLooking(poll)
	if c.Siblings != nil {
		c.Siblings.join(d)
	}
	return d, nil
}

// Rules are the rules that hold: those given, and behind them one for each channel.
func Rules(rules []route.Rule, channels map[verify.Channel][]string) []route.Rule {
	all := slices.Clone(rules)
	for _, c := range slices.Sorted(maps.Keys(channels)) {
		r := route.Rule{Channels: []verify.Channel{c}}
		for _, name := range channels[c] {
			r.Carriers = append(r.Carriers, route.Choice{Carrier: name})
		}
		all = append(all, r)
	}
	return all
}

// Close takes no more messages and waits for those that are here, until ctx is done. Then it ends
// the calls that are still under way, and records the messages that haven't left the queue as unsent:
// they are due immediately, for whoever opens the database next.
func (d *Dispatcher) Close(ctx context.Context) {
	d.mu.Lock()
	closed := d.closed
	d.closed = true
	d.mu.Unlock()
	if closed {
		return
	}
	d.stopPoll()
	drained := make(chan struct{})
	go func() { d.jobs.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-ctx.Done():
		d.abortCalls()
		defer time.AfterFunc(leaveWait, d.stopRecords).Stop()
		d.interruptQueues()
		select {
		case <-drained:
		case <-d.records.Done():
			d.config.Log.ErrorContext(ctx, "a carrier or the database doesn't let go of a message: it will be sent again")
			d.matchLast()
			return
		}
	}
	for _, l := range d.lines {
		close(l.queue.ready)
	}
	d.workers.Wait()
	d.abortCalls()
	d.stopRecords()
	d.matchLast() // everything that we sent is settled
}

// Reserve implements [verify.Outbox]: a place with the first carrier of the route that has one, and
// whose breaker lets the message pass.
func (d *Dispatcher) Reserve(e verify.Envelope, then ...verify.Channel) (verify.Place, error) {
	p, err := d.reserveBy(d.ways(e, then), e)
	if errors.Is(err, verify.ErrNoCarrier) {
		return nil, d.unserved(e, then)
	}
	if err != nil {
		return nil, err // as no *place
	}
	return p, nil
}

// ReserveAgain implements [verify.Outbox].
func (d *Dispatcher) ReserveAgain(v *verify.Verification, history []verify.Delivery) (verify.Place, error) {
	p, err := d.reserveBy(slices.Values(d.next(v, history)), v.Envelope())
	if errors.Is(err, verify.ErrNoCarrier) {
		return nil, d.unserved(v.Envelope(), v.Then())
	}
	if err != nil {
		return nil, err
	}
	p.history = history
	return p, nil
}

// Reaches implements [verify.Outbox]. What was sent to the number itself is left out: another project may have sent it.
func (d *Dispatcher) Reaches(e verify.Envelope) error {
	m, now := passenger{project: e.Project, country: e.To.Region()}, d.config.Now()
	if d.stopped(m.country) {
		return verify.ErrCountryStopped
	}
	var opens time.Time // the first breaker
	for w := range d.ways(e, nil) {
		if d.tooDear(w, m, 1) {
			continue
		}
		at := w.opens(m, now)
		if at.IsZero() {
			return nil
		}
		if opens.IsZero() || at.Before(opens) {
			opens = at
		}
	}
	if opens.IsZero() {
		return verify.ErrNoCarrier
	}
	return verify.ErrCarriersDown.After(opens.Sub(now))
}

// reserveBy takes a place on the first of some ways that has one.
func (d *Dispatcher) reserveBy(ways iter.Seq[way], e verify.Envelope) (*place, error) {
	m, now := passenger{e.Project, e.To.Key(), e.To.Region()}, d.config.Now()
	if d.stopped(m.country) {
		return nil, verify.ErrCountryStopped
	}
	var busy verify.Channel // is no reason to go by another one
	spent := false          // the project has its share of a queue
	dear := false           // a carrier comes to more than may be
	var opens time.Time     // the first breaker
	for w := range ways {
		if busy != "" && busy != w.channel {
			break
		}
		if d.tooDear(w, m, 1) {
			dear = true
			continue
		}
		if at := w.opens(m, now); !at.IsZero() {
			if opens.IsZero() || at.Before(opens) {
				opens = at
			}
			continue
		}
		busy = w.channel
		switch a := d.reserve(w.line, e.Project, now); {
		case a != share.Taken:
			spent = spent || a == share.Spent
		case !w.pass(m, now): // another was the probe
			d.release(w.line, e.Project)
		default:
			d.flights.begin(e.Verification)
			return &place{d: d, l: w.line, passenger: m, channel: w.channel, id: e.Verification}, nil
		}
	}
	switch {
	case spent:
		return nil, verify.ErrShareSpent
	case busy != "":
		return nil, verify.ErrBusy
	case opens.IsZero() && dear:
		return nil, verify.ErrTooDear
	case opens.IsZero():
		return nil, verify.ErrNoCarrier
	}
	return nil, verify.ErrCarriersDown.After(opens.Sub(now))
}

// reserve takes a place for a message of a project; "" is the operator.
func (d *Dispatcher) reserve(l *line, p verify.ProjectID, now time.Time) share.Answer {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return share.Full
	}
	a := l.places.Take(string(p), now)
	if a == share.Taken {
		d.jobs.Add(1)
	}
	return a
}

func (d *Dispatcher) release(l *line, p verify.ProjectID) {
	l.places.Give(string(p))
	d.jobs.Done()
}

// place is a reserved place. It implements [verify.Place].
type place struct {
	d         *Dispatcher
	l         *line
	passenger passenger
	channel   verify.Channel
	id        verify.ID
	history   []verify.Delivery // the attempts before; a start has none
}

func (p *place) Channel() verify.Channel { return p.channel }

func (p *place) Lease() time.Duration { return p.d.config.Lease }

func (p *place) Calling() time.Duration { return p.d.calling(way{line: p.l, channel: p.channel}) }

func (p *place) Price(m verify.Message) money.Amount {
	return p.d.price(p.l, p.passenger.country, m, p.d.config.Now())
}

// Admits implements [verify.Place].
func (p *place) Admits(m verify.Message) error {
	if p.d.limitsPrices() && p.d.tooDear(way{line: p.l, channel: p.channel}, p.passenger, Units(m.Channel, m.Body)) {
		return verify.ErrTooDear
	}
	return nil
}

// calling is how long a call by a way may take: 0 if it makes none.
func (d *Dispatcher) calling(w way) time.Duration {
	if !w.channel.IsCall() {
		return 0
	}
	return max(w.limit, d.config.CallLimit)
}

func (p *place) Release() {
	p.l.spare(p.passenger)
	p.d.flights.end(p.id)
	p.d.release(p.l, p.passenger.project)
}

func (p *place) Send(ctx context.Context, v *verify.Verification, m verify.Message) {
	p.l.queue.add(&job{verification: v, message: m, since: p.d.config.Now(), until: v.DueAt, history: p.history, country: p.passenger.country, request: p.d.traces.requested(ctx, v.ID)})
}

// Depth is how many messages wait for a carrier or are under way.
func (d *Dispatcher) Depth(carrier string) int { return d.lines[carrier].places.Taken() }

func (d *Dispatcher) work(l *line) {
	for range l.queue.ready {
		j, ours := l.queue.next()
		if ours {
			d.attempt(l, j)
		}
		d.flights.end(j.verification.ID)
		d.release(l, j.verification.Project)
	}
}

// attempt makes one attempt that we hold the lease for, and settles it.
func (d *Dispatcher) attempt(l *line, j *job) {
	v := j.verification
	what := slog.Any("", about{v, l})
	d.traces.begin(l, j)
	if !d.wait(l) {
		d.interrupt(l, j)
		return
	}
	s, leave, ok := d.awaitTurn(l, j)
	if !ok {
		d.interrupt(l, j)
		return
	}
	started := d.config.Now()
	end := j.settlement(l, started)
	switch {
	case unavailable(s.err): // and we shut down meanwhile
		leave()
		d.interrupt(l, j)
		return
	case s.err != nil:
		leave()
		l.spare(j.passenger())
		d.config.Log.Warn("not sent, left for later", what, "err", s.err)
		d.traces.end(j, verify.AttemptErrored, verify.ReasonInterrupted, d.config.Now())
		return
	case s.ended != verify.StatusPending:
		l.spare(j.passenger())
		end.Outcome, end.Reason = verify.AttemptDropped, s.ended.Reason()
	case d.stopped(j.country):
		l.spare(j.passenger())
		end.Outcome, end.Reason = verify.AttemptDropped, verify.ReasonStopped
	case l.drained.Load():
		l.spare(j.passenger())
		end.Outcome, end.Reason = verify.AttemptErrored, verify.ReasonInterrupted
		d.retry(&end, l, j, 0)
	case j.message.ByKey && !l.asks():
		l.spare(j.passenger())
		end.Outcome, end.Reason = verify.AttemptRefused, verify.ReasonCantAsk
		d.config.Log.Warn("carrier can't ask for a key", what)
		d.retry(&end, l, j, 0)
	case d.limitsPrices() && d.tooDear(way{line: l, channel: j.message.Channel}, j.passenger(), Units(j.message.Channel, j.message.Body)): // since it was queued
		l.spare(j.passenger())
		end.Outcome, end.Reason = verify.AttemptRefused, verify.ReasonTooDear
		d.retry(&end, l, j, 0)
	case !d.holdPhone(l, j, started):
		l.spare(j.passenger())
		end.Outcome, end.Reason = verify.AttemptErrored, verify.ReasonInterrupted
		d.retry(&end, l, j, d.config.Lease)
	default:
		j.until = s.until
		if j.message.From == d.config.PublicSender {
			if j.message.From = l.Sender(d.config.PublicSender, j.country, v.To); j.message.From != v.Sender {
				end.Sender = j.message.From
			}
		}
		d.send(what, l, j, &end)
	}
	leave()
	d.end(what, end, j)
}

// holdPhone makes sure that the phone is ours as long as a call may take. It was taken for that from the
// commit on, so only a call that has waited here needs more time.
func (d *Dispatcher) holdPhone(l *line, j *job, now time.Time) bool {
	if !j.message.Channel.IsCall() || now.Sub(j.since) < d.config.Lease/2 {
		return true
	}
	v := j.verification
	ours, err := d.config.Store.Hold(context.Background(), v.To, v.ID, v.Attempt, d.calling(way{line: l, channel: verify.ChannelVoice}))
	if err != nil {
		d.config.Log.Warn("phone not held for a call, left for later", slog.Any("", about{v, l}), "err", err)
	}
	return ours
}

// end counts an attempt's end, and settles it. Its trace ends with that.
func (d *Dispatcher) end(what slog.Attr, end verify.Settlement, j *job) {
	d.observe(&end.Delivery, j.country)
	if d.config.Observer != nil && end.Delivered {
		delivered := end.Delivery
		delivered.Receipt, delivered.ReceiptAt = verify.ReceiptDelivered, d.config.Now()
		d.config.Observer.Received(&delivered, j.country)
	}
	v := d.settle(what, end, j)
	d.traces.end(j, end.Outcome, end.Reason, d.config.Now())
	if j.next != nil {
		d.goOn(end, v, j)
	} else if v != nil && v.Delivery == verify.DeliveryQueued && end.RetryAt.IsZero() { // a retry that must wait is found by a later look
		d.lookNow()
	}
}

// observe counts an attempt's end. Each end of an attempt passes here.
func (d *Dispatcher) observe(end *verify.Delivery, country string) {
	d.noteWatched(end, country)
	if d.config.Observer != nil {
		d.config.Observer.Settled(end, country, d.config.Now().Sub(end.Verification.Time()))
	}
}

// about names an attempt in the log, once a line is written.
type about struct {
	v *verify.Verification
	l *line
}

func (a about) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("verification", a.v.ID), slog.Int("attempt", a.v.Attempt), slog.String("carrier", a.l.name()))
}

// wait waits for the carrier's pace. It reports false when we shut down meanwhile.
func (d *Dispatcher) wait(l *line) bool {
	if pause := l.pace.book(d.now()); pause > 0 {
		select {
		case <-time.After(pause):
		case <-d.calls.Done():
		}
	}
	return d.calls.Err() == nil
}

// send calls the carrier, decides what is next, and notes what the message costs.
func (d *Dispatcher) send(what slog.Attr, l *line, j *job, end *verify.Settlement) {
	if d.config.Log.Enabled(context.Background(), slog.LevelDebug) {
		d.config.Log.Debug("carrier called", what)
	}
	r, err := d.traces.call(d.calls, l, j, d.call)
	end.Ref, end.Call, end.Delivered, end.Verdict = r.Ref, r.Call, r.Delivered, r.Verdict
	var after time.Duration
	if err != nil {
		decision := carrier.Decision(err)
		end.Outcome, end.Reason, after = decision.Outcome, decision.Reason, decision.After
		end.CarrierCode = d.shown(decision.Code, j.verification)
		d.config.Log.Warn("carrier failed", what, "outcome", end.Outcome, "reason", end.Reason, unlessEmpty("code", end.CarrierCode), "err", err)
	}
	switch whose := carrier.Decision(err).Whose(); {
	case err == nil, whose == verify.BlameMessage: // it answers
		l.answered(j.country)
	case whose == verify.BlameUs, end.Outcome == verify.AttemptErrored && j.cut != nil:
		l.spare(j.passenger())
	default:
		if l.failed(j.passenger(), d.config.BreakAfter, d.config.Now()) {
			d.config.Log.Error("carrier fails too often, messages pass it by for a while", "carrier", l.name(), "country", j.country, "project", j.verification.Project)
		}
	}
	switch {
	case r.Call.Made():
		end.Charge = d.charge(l, j, minutesOf(r.Call), end.StartedAt)
	case end.Outcome == verify.AttemptAccepted, end.Outcome == verify.AttemptUnknown, end.Verdict != verify.NoVerdict:
		end.Charge = d.charge(l, j, Units(j.message.Channel, j.message.Body), end.StartedAt)
	}
	var ended over
	switch {
	case end.Verdict != verify.NoVerdict: // who was asked and didn't say yes isn't called again
	case end.Outcome == verify.AttemptAccepted, end.Outcome == verify.AttemptUnknown:
		if !end.Delivered {
			end.Watch = d.watch(end, l, j)
		}
	case errors.As(j.cut, &ended) && end.Outcome == verify.AttemptErrored:
		end.Outcome, end.Reason = verify.AttemptDropped, verify.Status(ended).Reason()
	default:
		d.retry(end, l, j, after)
	}
}

// call calls the carrier, within its time limit, and holds the lease until it returns.
func (d *Dispatcher) call(ctx context.Context, l *line, j *job) (r carrier.Result, err error) {
	if l.limit <= d.config.CallLimit { // the lease outlasts it
		return d.hand(ctx, l, j.message)
	}
	ctx, end := context.WithCancelCause(ctx)
	var held sync.WaitGroup
	looked := d.config.Now()
	held.Go(func() { d.hold(ctx, end, j, looked) })
	r, err = d.hand(ctx, l, j.message)
	j.cut = context.Cause(ctx)
	end(nil)
	held.Wait()
	return r, err
}

// hand calls the carrier. One that panics may have sent.
func (d *Dispatcher) hand(ctx context.Context, l *line, m verify.Message) (r carrier.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = carrier.Unknown(fmt.Errorf("carrier %s panicked: %v", l.name(), p))
		}
	}()
	if m.Channel.ToDevices() {
		return d.push(ctx, l, m)
	}
	if m.ByKey {
		return l.Carrier.(carrier.Asker).Ask(ctx, m)
	}
	return l.Carrier.Send(ctx, m)
}

// settle records an attempt's end. An end that isn't recorded makes somebody send again, so settle tries
// again as long as the code lives while the database is away. The lease may end meanwhile: the attempt's
// number fences. It returns the verification as settled, or nil.
func (d *Dispatcher) settle(what slog.Attr, end verify.Settlement, j *job) *verify.Verification {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		v, err := d.config.Store.Settle(context.Background(), end)
		switch {
		case err == nil:
			d.memory.keep(&end.Delivery, v, j)
			d.logSettled(what, &end, v, j)
			return v
		case errors.Is(err, verify.ErrLeaseLost), errors.Is(err, verify.ErrNotFound):
			d.config.Log.Warn("attempt not settled: another one took over", what, "outcome", end.Outcome, "reason", end.Reason)
			return nil
		case d.records.Err() != nil, !d.config.Now().Before(d.settleUntil(j, err)):
			d.config.Log.Error("attempt not settled: it will be made again", what, "outcome", end.Outcome, "reason", end.Reason, "err", err)
			return nil
		}
		d.complain(slog.LevelWarn, "settle, will try again", err, what)
		end.Again = true
		select {
		case <-time.After(wait):
		case <-d.records.Done():
		}
	}
}

// logSettled logs an attempt's end and what comes next. Most carriers take most messages, so that one takes
// it is said at debug level only.
func (d *Dispatcher) logSettled(what slog.Attr, end *verify.Settlement, v *verify.Verification, j *job) {
	ctx, level := context.Background(), slog.LevelInfo
	if end.Outcome == verify.AttemptAccepted {
		level = slog.LevelDebug
	}
	if !d.config.Log.Enabled(ctx, level) {
		return
	}
	line := []any{what, "outcome", end.Outcome, unlessEmpty("reason", end.Reason.String()), unlessEmpty("code", end.CarrierCode), unlessEmpty("ref", end.Ref), "delivery", v.Delivery.String()}
	if end.Verdict != verify.NoVerdict {
		line = append(line, "verdict", end.Verdict.String())
	}
	switch {
	case v.Delivery == verify.DeliverySending && j.next != nil:
		line = append(line, "next", j.next.name())
	case v.Delivery == verify.DeliveryQueued, v.Watched():
		line = append(line, "next_at", v.DueAt)
	}
	d.config.Log.Log(ctx, level, "attempt settled", line...)
}

// unlessEmpty is an attribute of a line, or none.
func unlessEmpty(name, value string) slog.Attr {
	if value == "" {
		return slog.Attr{}
	}
	return slog.String(name, value)
}

// settleUntil is how long an attempt's end is tried to be recorded after an error.
func (d *Dispatcher) settleUntil(j *job, err error) time.Time {
	if unavailable(err) {
		return j.verification.ExpiresAt
	}
	return j.until
}

// complain logs what failed and will be tried again. While the database is away that is one thing, whatever
// needed it.
func (d *Dispatcher) complain(level slog.Level, msg string, err error, args ...any) {
	if errors.Is(err, verify.ErrNoStore) {
		d.config.Outages.DatabaseFailed(msg, err, args...)
		return
	}
	d.config.Outages.Failed(msg, level, msg, append(args, "err", err)...)
}

// unavailable reports whether an error says that the database can't do it at the moment.
func unavailable(err error) bool {
	var known *verify.Error
	return errors.As(err, &known) && known.Kind == verify.KindUnavailable
}
