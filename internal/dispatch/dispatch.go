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
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
)

// A Store commits what happens to deliveries. When a method returns without an error, it is on disk.
type Store interface {
	// Settle records an attempt's end, see [verify.Verification.Settle], and returns the
	// verification as it then is.
	Settle(ctx context.Context, s verify.Settlement) (*verify.Verification, error)
	// Claim takes an overdue message's next attempt, or returns nil.
	Claim(ctx context.Context, o verify.Overdue, lease time.Duration) (*verify.Verification, error)
	// Renew extends the lease of an attempt that has not begun.
	Renew(ctx context.Context, id verify.ID, attempt int, lease time.Duration) (*verify.Verification, error)
	// Receive lets a receipt advance a delivery.
	Receive(ctx context.Context, r verify.Receipt) error
	// Sweep notes down the messages whose lease somebody should look at when it ends.
	Sweep(ctx context.Context) error
	// Due returns up to n messages that somebody should look at now.
	Due(ctx context.Context, n int) ([]verify.Overdue, error)
	// Verification reads one, with its deliveries that have ended.
	Verification(ctx context.Context, id verify.ID) (*verify.Verification, error)
	Deliveries(ctx context.Context, id verify.ID) ([]verify.Delivery, error)
}

// An Observer counts attempts that ended, and how long after its verification's start.
type Observer interface {
	Settled(carrier string, o verify.DeliveryOutcome, since time.Duration)
}

// Config is what a [Dispatcher] needs. Zero durations take their defaults.
type Config struct {
	Store    Store
	Keys     *keyset.Set
	Now      func() time.Time
	Log      *slog.Logger
	Observer Observer // may be nil
	Carriers []Line
	// Routes are the names of the carriers that serve a channel, the preferred one first.
	Routes map[verify.Channel][]string

	// Lease is how long a message may be with us before others may send it: default 20 s, at most
	// 30 s. CallLimit bounds one call of a carrier: default 10 s, at most half of the lease.
	Lease, CallLimit time.Duration
	// Tick is how often we look for messages that are due: default 250 ms.
	Tick time.Duration
}

// A Line is a carrier and how much of it may be used at once.
type Line struct {
	Carrier     carrier.Carrier
	Queue       int // messages waiting or under way: more are refused with verify.ErrBusy
	Concurrency int // calls at once
}

const (
	// fresh is how long a message may have waited here and still be sent without looking at its
	// verification again.
	fresh = 100 * time.Millisecond
	// pollStep is how many due messages are looked at together.
	pollStep = 100
	// The wait before attempt n+1 is between half of and the whole of firstBackoff·2^(n-1).
	firstBackoff, lastBackoff = time.Second, 15 * time.Minute
	// abortWait is how long a call may take to notice that it was ended.
	abortWait = time.Second
)

// A Dispatcher owns the queues. It implements [verify.Outbox].
type Dispatcher struct {
	Config
	lines  map[string]*line
	routes map[verify.Channel][]*line

	calls      context.Context // of the carriers' calls: ends when draining takes too long
	abortCalls context.CancelFunc
	stopPoll   context.CancelFunc
	wake       chan struct{}  // makes the poller look before its tick
	jobs       sync.WaitGroup // places that are taken
	workers    sync.WaitGroup // of the lines, and the poller
	polling    sync.Mutex     // one poll at a time

	mu     sync.RWMutex // guards closed, and jobs.Add against jobs.Wait
	closed bool
}

// line is a carrier's queue and its workers.
type line struct {
	carrier carrier.Carrier
	places  chan struct{} // one token for each message that is here
	queue   chan job
}

// job is one attempt that we hold the lease for.
type job struct {
	verification *verify.Verification
	message      verify.Message
	since        time.Time         // when it came here
	history      []verify.Delivery // earlier attempts
}

// New starts a dispatcher. Close it.
func New(c Config) (*Dispatcher, error) {
	c.Lease = cmp.Or(c.Lease, 20*time.Second)
	c.CallLimit = cmp.Or(c.CallLimit, c.Lease/2)
	c.Tick = cmp.Or(c.Tick, 250*time.Millisecond)
	if c.Lease > 30*time.Second || c.CallLimit > c.Lease/2 {
		return nil, fmt.Errorf("lease %v: at most 30s, and at least twice the call limit %v", c.Lease, c.CallLimit)
	}
	d := &Dispatcher{Config: c, lines: map[string]*line{}, routes: map[verify.Channel][]*line{}, wake: make(chan struct{}, 1)}
	for _, l := range c.Carriers {
		if l.Queue < 1 || l.Concurrency < 1 {
			return nil, fmt.Errorf("carrier %s: queue %d and concurrency %d must be at least 1", l.Carrier.Name(), l.Queue, l.Concurrency)
		}
		d.lines[l.Carrier.Name()] = &line{l.Carrier, make(chan struct{}, l.Queue), make(chan job, l.Queue)}
	}
	for channel, names := range c.Routes {
		for _, name := range names {
			l := d.lines[name]
			if l == nil {
				return nil, fmt.Errorf("route for %s: there is no carrier %q", channel, name)
			}
			d.routes[channel] = append(d.routes[channel], l)
		}
	}
	d.calls, d.abortCalls = context.WithCancel(context.Background())
	for _, l := range c.Carriers {
		for range l.Concurrency {
			d.workers.Go(func() { d.work(d.lines[l.Carrier.Name()]) })
		}
	}
	var poll context.Context
	poll, d.stopPoll = context.WithCancel(context.Background())
	d.workers.Go(func() { d.pollEvery(poll) })
	return d, nil
}

// Close takes no more messages and waits for those that are here, until ctx is done. Then it ends
// the calls that are still under way. What it could not send is on disk, and due.
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
		select {
		case <-drained:
		case <-time.After(abortWait):
			d.Log.Error("a carrier doesn't let go of a message: it will be sent again")
			return
		}
	}
	for _, l := range d.lines {
		close(l.queue)
	}
	d.workers.Wait()
	d.abortCalls()
}

// Reserve implements [verify.Outbox]: a place with the first carrier of the route that has one.
func (d *Dispatcher) Reserve(c verify.Channel) (verify.Place, error) {
	if len(d.routes[c]) == 0 {
		return nil, verify.ErrNoCarrier
	}
	for _, l := range d.routes[c] {
		if d.reserve(l) {
			return &place{d, l}, nil
		}
	}
	return nil, verify.ErrBusy
}

func (d *Dispatcher) reserve(l *line) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return false
	}
	select {
	case l.places <- struct{}{}:
		d.jobs.Add(1)
		return true
	default:
		return false
	}
}

func (d *Dispatcher) release(l *line) {
	<-l.places
	d.jobs.Done()
}

// place is a reserved place. It implements [verify.Place].
type place struct {
	d *Dispatcher
	l *line
}

func (p *place) Lease() time.Duration { return p.d.Lease }
func (p *place) Release()             { p.d.release(p.l) }
func (p *place) Send(v *verify.Verification, m verify.Message) {
	p.l.queue <- job{verification: v, message: m, since: p.d.Now()} // has room: we hold a place
}

// Depth is how many messages wait for a carrier or are under way.
func (d *Dispatcher) Depth(carrier string) int { return len(d.lines[carrier].places) }

func (d *Dispatcher) work(l *line) {
	for j := range l.queue {
		d.attempt(l, j)
		d.release(l)
	}
}

// attempt makes one attempt that we hold the lease for, and settles it.
func (d *Dispatcher) attempt(l *line, j job) {
	v := j.verification
	what := slog.Group("", "verification", v.ID, "attempt", v.Attempt, "carrier", l.carrier.Name()) // written only if a line is
	if d.calls.Err() != nil {
		d.Log.Info("not sent before the shutdown, left for later", what)
		return
	}
	started := d.Now()
	end := verify.Settlement{Delivery: verify.Delivery{
		Verification: v.ID, Attempt: v.Attempt, Carrier: l.carrier.Name(), StartedAt: started,
	}}
	if why, err := d.stale(v, j.since, started); err != nil {
		d.Log.Warn("not sent, left for later", what, "err", err)
		return
	} else if why != "" {
		end.Outcome, end.Reason = verify.Dropped, why
	} else {
		ref, err := d.call(l, j.message)
		end.Ref = ref
		if err != nil {
			decision := carrier.Decision(err)
			end.Outcome, end.Reason = decision.Outcome, decision.Reason
			d.Log.Warn("carrier failed", what, "outcome", end.Outcome, "reason", end.Reason, "err", err)
			d.retry(&end, l, j, decision.After)
		}
	}
	if d.Observer != nil {
		d.Observer.Settled(end.Carrier, end.Outcome, d.Now().Sub(v.ID.Time()))
	}
	d.settle(what, end, j)
}

// stale reports why a message must not be sent any more, if so. It makes sure that the lease
// outlasts a call: its error means that the message isn't ours to send.
func (d *Dispatcher) stale(v *verify.Verification, since, now time.Time) (why string, err error) {
	current := v
	switch {
	case now.Add(d.CallLimit).After(v.DueAt):
		current, err = d.Store.Renew(context.Background(), v.ID, v.Attempt, d.Lease)
		var ended *verify.Error
		if errors.As(err, &ended) && ended.Kind == verify.Conflict {
			current, err = d.Store.Verification(context.Background(), v.ID) // it says how
		}
	case now.Sub(since) > fresh:
		current, err = d.Store.Verification(context.Background(), v.ID)
	}
	if err != nil {
		return "", err
	}
	if current.Attempt != v.Attempt || current.Delivery != verify.Sending {
		return "", verify.ErrLeaseLost
	}
	if s := current.StatusAt(now); s != verify.Pending {
		return s.String(), nil
	}
	return "", nil
}

// call calls the carrier, within the time limit. A carrier that panics may have sent.
func (d *Dispatcher) call(l *line, m verify.Message) (ref string, err error) {
	ctx, cancel := context.WithTimeout(d.calls, d.CallLimit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = carrier.Unknown(fmt.Errorf("carrier %s panicked: %v", l.carrier.Name(), p))
		}
	}()
	return l.carrier.Send(ctx, m)
}

// retry decides where and when a failed attempt is made up for. At once if there is a carrier that
// was tried less often; else after a wait that grows.
func (d *Dispatcher) retry(end *verify.Settlement, l *line, j job, after time.Duration) {
	if end.Outcome == verify.Unknown {
		return
	}
	history := append(j.history, end.Delivery)
	next := d.choose(j.verification.Channel, history)
	if next == nil {
		return
	}
	end.Retry = true
	if calls(next, history) < calls(l, history) {
		return // at once
	}
	end.RetryAt = d.Now().Add(max(after, backoff(end.Attempt)))
}

// choose returns the carrier of a channel that was called least for this message, the preferred
// one among equals; nil if all of them refused it. Whatever they said then, it wasn't the end of it.
func (d *Dispatcher) choose(c verify.Channel, history []verify.Delivery) (best *line) {
	for _, l := range d.routes[c] {
		if !refused(l, history) && (best == nil || calls(l, history) < calls(best, history)) {
			best = l
		}
	}
	return best
}

func refused(l *line, history []verify.Delivery) bool {
	for _, h := range history {
		if h.Carrier == l.carrier.Name() && h.Outcome == verify.Refused {
			return true
		}
	}
	return false
}

func calls(l *line, history []verify.Delivery) (n int) {
	for _, h := range history {
		if h.Carrier == l.carrier.Name() {
			n++
		}
	}
	return n
}

// backoff is the wait after attempt n, with jitter, so that what failed together doesn't return
// together.
func backoff(n int) time.Duration {
	d := min(firstBackoff<<min(n-1, 20), lastBackoff)
	return d/2 + rand.N(d/2+1)
}

// settle records an attempt's end. Where the database is away it tries again as long as the lease
// holds, since an end that isn't recorded makes somebody send again.
func (d *Dispatcher) settle(what slog.Attr, end verify.Settlement, j job) {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		_, err := d.Store.Settle(context.Background(), end)
		switch {
		case err == nil:
			d.Log.Debug("attempt settled", what, "outcome", end.Outcome, "reason", end.Reason)
			if end.Retry && end.RetryAt.IsZero() {
				d.lookNow()
			}
			return
		case errors.Is(err, verify.ErrLeaseLost), errors.Is(err, verify.ErrNotFound):
			d.Log.Warn("attempt not settled: another one took over", what, "outcome", end.Outcome)
			return
		case !d.Now().Before(j.verification.DueAt) || d.calls.Err() != nil:
			d.Log.Error("attempt not settled: it will be made again", what, "outcome", end.Outcome, "err", err)
			return
		}
		d.Log.Warn("settle, will try again", what, "err", err)
		time.Sleep(wait)
	}
}

// Receive takes a carrier's receipt. A failed one moves on to another carrier, if there is one.
func (d *Dispatcher) Receive(ctx context.Context, r carrier.Receipt) error {
	receipt := verify.Receipt{Verification: r.Verification, Attempt: r.Attempt, Delivered: r.Delivered, Reason: r.Reason}
	if !r.Delivered {
		v, err := d.Store.Verification(ctx, r.Verification)
		if err != nil {
			return fmt.Errorf("receipt for %v: %w", r.Verification, err)
		}
		history, err := d.Store.Deliveries(ctx, r.Verification)
		if err != nil {
			return fmt.Errorf("receipt for %v: %w", r.Verification, err)
		}
		next := d.choose(v.Channel, history)
		receipt.Retry = next != nil && calls(next, history) == 0
	}
	if err := d.Store.Receive(ctx, receipt); err != nil {
		return fmt.Errorf("receipt for %v: %w", r.Verification, err)
	}
	if receipt.Retry {
		d.lookNow()
	}
	return nil
}
