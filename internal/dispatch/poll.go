package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/share"
	"github.com/countersign/countersign/internal/verify"
)

const (
	// sweepEvery is how many ticks pass from one sweep for leases to the next.
	sweepEvery = 4
	// maxStuck is how many messages one look reads without being able to do anything about them. The next look goes
	// on behind them, after stuckRests times as long as it took to read them: a queue that has no places keeps the
	// database busy for a third of the time at most, however long it is.
	maxStuck   = 4 * pollStep
	stuckRests = 2
	// A look begins hintMargin before the oldest hint that the last one left, for hints may be left late. The
	// index entries of hints that are gone stay as long as an old transaction, and cost much to pass over.
	hintMargin = 30 * time.Second
	// maxBehind is how far behind the clock a look may be before it first reads what has become due since.
	maxBehind = 5 * time.Second
	// maxAsking is how long a project's message that gets no place asks at each look.
	maxAsking = 10 * time.Second
	// Every wholeLook, it begins with the oldest hint of all.
	wholeLook = time.Minute
)

// every calls f at each tick, and when it is woken, until ctx is done.
func every(ctx context.Context, tick time.Duration, wake <-chan struct{}, f func()) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-ticker.C:
		}
		f()
	}
}

// startLooking starts what looks after messages, each in a goroutine of its own: a sweep, a renewal or a
// receipt that waits for the database delays nothing else.
func (d *Dispatcher) startLooking(ctx context.Context) {
	d.due.swept.set(d.config.Now())
	d.workers.Go(func() { every(ctx, d.config.Tick, nil, func() { d.match(ctx) }) })
	d.workers.Go(func() { every(ctx, d.config.Tick, nil, d.keep) })
	d.workers.Go(func() {
		every(ctx, sweepEvery*d.config.Tick, nil, func() { d.sweep(ctx) })
	})
	d.workers.Go(func() {
		every(ctx, d.config.Tick, d.wake, func() {
			stuck, err := d.claimDue(ctx)
			if err != nil && ctx.Err() == nil {
				d.complain(slog.LevelError, "look for due messages", err)
			}
			rest(ctx, min(stuckRests*stuck, d.config.Lease/20))
		})
	})
}

// sweep sweeps, and rests after a sweep that took long: its commits are as slow as those of others, who wait
// for them.
func (d *Dispatcher) sweep(ctx context.Context) {
	began := time.Now()
	if err := d.config.Store.Sweep(ctx); err == nil {
		d.due.swept.set(d.config.Now())
	} else if ctx.Err() == nil {
		d.complain(slog.LevelError, "sweep for lost leases", err)
	}
	rest(ctx, min(2*time.Since(began), d.config.Lease/5))
}

// rest waits for a while, or until ctx is done.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// lookNow makes the poller look before its next tick.
func (d *Dispatcher) lookNow() {
	select {
	case d.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Poll looks once after all that waits: receipts, leases that end, and messages that are due.
func (d *Dispatcher) Poll(ctx context.Context) error {
	d.match(ctx)
	d.keep()
	_, err := d.claimDue(ctx)
	return err
}

// A look goes through the hints that are due, in steps.
type look struct {
	mu     sync.Mutex  // one look at a time
	after  verify.Hint // where it goes on; zero: at the beginning
	news   verify.Hint // behind which hints have become due since, while it goes on
	asks   time.Time   // the first hint of a message that got no place, and whose project has no other; zero: none
	whole  time.Time   // when one last began with the oldest hint of all
	began  time.Time   // the one under way, or the last
	oldest time.Time   // hint that the one under way has left; zero: none
	from   verify.Hint // where the next one begins

	waits lag // for the first hint that is due, as of the last look
	swept lag // since the last sweep that got through
}

// A lag is measured from an instant on. It can be read while its owner is busy.
type lag struct{ since atomic.Int64 } // in milliseconds; 0: none

func (l *lag) set(since time.Time) {
	if since.IsZero() {
		l.since.Store(0)
		return
	}
	l.since.Store(since.UnixMilli())
}

func (l *lag) at(now time.Time) time.Duration {
	since := l.since.Load()
	if since == 0 {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(since)))
}

// Lags are how late the poller and the sweeper are: how long the oldest due message has waited that the
// poller knows of, and how long ago a sweep got through.
func (d *Dispatcher) Lags() (oldest, sweep time.Duration) {
	now := d.config.Now()
	return d.due.waits.at(now), d.due.swept.at(now)
}

// begin returns the hint behind which a look goes on.
func (l *look) begin(now time.Time) verify.Hint {
	if l.after != (verify.Hint{}) {
		return l.after
	}
	l.began, l.oldest = now, time.Time{}
	if now.Sub(l.whole) >= wholeLook || now.Before(l.whole) { // or the clock was set back
		l.whole, l.from = now, verify.Hint{}
	}
	return l.from
}

// left notes that a look leaves a hint as it is.
func (l *look) left(hint time.Time) {
	if l.oldest.IsZero() || hint.Before(l.oldest) {
		l.oldest = hint
	}
}

// again has the next look begin no later than with those that one has failed at.
func (l *look) again(due []verify.Overdue) {
	if l.after == (verify.Hint{}) && due[0].Hint.Before(l.from.Due) {
		l.from.Due = due[0].Hint
	}
}

// starved notes the hint of a message that got no place, and whose project has no other.
func (l *look) starved(hint time.Time) {
	if l.asks.IsZero() || hint.Before(l.asks) {
		l.asks = hint
	}
}

// askAgain has the next look begin with the first message that [look.starved] noted. Its project gets places that become
// free while it asks: see [share.Places].
func (l *look) askAgain() {
	if !l.asks.IsZero() && l.asks.Before(l.news.Due) {
		l.news = behind(l.asks)
	}
	l.asks = time.Time{}
}

// behind is just behind all hints before a time. Its ID isn't zero, which would ask for all that the sweeper has left.
func behind(t time.Time) verify.Hint { return verify.Hint{Due: t, ID: verify.ID{15: 1}} }

// end notes that a look has reached the last hint.
func (l *look) end() {
	l.waits.set(l.oldest)
	first := l.began
	if !l.oldest.IsZero() && l.oldest.Before(first) {
		first = l.oldest
	}
	l.after, l.from = verify.Hint{}, verify.Hint{Due: first.Add(-hintMargin)}
}

// claimDue claims the messages that are due and queues them, as many as there are places for. On its way through many
// whose carriers are full, it first claims what has become due since it last looked: one project's flood keeps nobody
// else's message waiting until all of the flood was read. It returns how long it took to read those that can't go.
func (d *Dispatcher) claimDue(ctx context.Context) (stuck time.Duration, err error) {
	l := &d.due
	l.mu.Lock()
	defer l.mu.Unlock()
	now, end := d.config.Now(), l.after == (verify.Hint{})
	switch {
	case end:
		l.news = behind(now)
	case now.Sub(l.after.Due) <= maxBehind:
		l.news = l.after // it will be there soon, and needn't read anything twice
	default:
		stuck, end, err = d.claimFrom(ctx, l.news, &l.news)
		if err != nil {
			return stuck, err
		}
		if end {
			l.news = behind(now)
		}
	}
	more, end, err := d.claimFrom(ctx, l.begin(now), &l.after)
	if end {
		l.end()
	}
	l.askAgain()
	return stuck + more, err
}

// claimFrom claims what is due behind a hint, and notes in at how far it came: to the end, or past so many that can't
// go that it is time to rest.
func (d *Dispatcher) claimFrom(ctx context.Context, from verify.Hint, at *verify.Hint) (stuck time.Duration, end bool, err error) {
	for left := 0; left < maxStuck; {
		began := time.Now()
		due, next, err := d.config.Store.Due(ctx, from, pollStep, d.memory.take)
		took := time.Since(began)
		if err != nil {
			return stuck, false, err
		}
		if len(due) > 0 && from.ID.IsZero() {
			d.due.waits.set(due[0].Hint)
		}
		moved, err := d.takeAll(ctx, due)
		if n := len(due); n > moved {
			left += n - moved
			stuck += took * time.Duration(n-moved) / time.Duration(n)
		}
		if err != nil {
			d.due.again(due)
			return stuck, false, err
		}
		if next == (verify.Hint{}) {
			return stuck, true, nil
		}
		from, *at = next, next
	}
	return stuck, false, nil
}

// A candidate is a due message and the ways that it may go.
type candidate struct {
	verify.Overdue
	passenger
	ways []way
	why  verify.Reason // there are none
}

// asksInVain reports whether carriers serve the message, and its project has a place at none of them.
func (c *candidate) asksInVain() bool {
	return len(c.ways) > 0 && !slices.ContainsFunc(c.ways, func(w way) bool { return w.line.places.Has(string(c.project)) })
}

// takeAll takes due messages: it reserves places in turn, and commits concurrently, so that they share
// commits. It returns how many it took.
func (d *Dispatcher) takeAll(ctx context.Context, due []verify.Overdue) (moved int, err error) {
	var all sync.WaitGroup
	errs := make(chan error, len(due))
	for _, c := range d.inTurn(due) {
		act := d.take(ctx, c)
		if act == nil {
			d.due.left(c.Hint)
			if d.config.Now().Sub(c.Hint) < maxAsking && c.asksInVain() {
				d.due.starved(c.Hint)
			}
			continue
		}
		moved++
		all.Go(func() {
			switch err := act(); {
			case err == nil, errors.Is(err, verify.ErrNotFound): // retention was faster
			case unavailable(err):
				errs <- err
			default: // it is about this message
				d.complain(slog.LevelError, "due message skipped", err, "verification", c.Verification.ID, "attempt", c.Verification.Attempt)
			}
		})
	}
	all.Wait()
	select {
	case err = <-errs: // one says it for all
	default:
	}
	return moved, err
}

// inTurn orders due messages so that each project gets its turn with each carrier: one project's flood
// doesn't delay everybody's retries.
func (d *Dispatcher) inTurn(due []verify.Overdue) []candidate {
	type queue struct {
		project verify.ProjectID
		line    *line
	}
	turns := map[queue]int{}
	byTurn := make([][]candidate, 0, len(due))
	for _, o := range due {
		if o.Damaged != nil {
			d.complain(slog.LevelError, "due message can't be read, skipped", o.Damaged, "verification", o.Verification.ID)
			d.due.left(o.Hint)
			continue
		}
		v := o.Verification
		c := candidate{Overdue: o, passenger: passenger{v.Project, v.To, v.Reach().Region()}}
		q := queue{project: v.Project}
		if v.Due(d.config.Now()) {
			if c.ways, c.why = d.takers(o); len(c.ways) > 0 {
				q.line = c.ways[0].line
			}
		}
		n := turns[q]
		turns[q]++
		if n == len(byTurn) {
			byTurn = append(byTurn, nil)
		}
		byTurn[n] = append(byTurn[n], c)
	}
	return slices.Concat(byTurn...)
}

// take reserves a place for one due message and returns what commits to it. It returns nil if there is no place.
func (d *Dispatcher) take(ctx context.Context, c candidate) (act func() error) {
	o, m, all, now := c.Overdue, c.passenger, c.ways, d.config.Now()
	postpone := func(until time.Time) func() error {
		return func() error { return d.config.Store.Postpone(ctx, o, until) }
	}
	putOff := func(until time.Time, why *verify.Error) func() error {
		d.config.Log.DebugContext(ctx, "message put off", "verification", o.Verification.ID, "attempt", o.Verification.Attempt, "reason", why.Code, "next_at", until)
		return postpone(until)
	}
	if !o.Verification.Due(now) { // the hint is out of date
		return postpone(o.Verification.DueAt)
	}
	if o.Verification.Delivery == verify.DeliverySending && d.flights.has(o.Verification.ID) {
		return postpone(now.Add(d.config.Lease / 2))
	}
	if o.Verification.Delivery == verify.DeliverySending && !d.config.Store.JudgesLeases() {
		return nil
	}
	if len(all) == 0 && d.config.Shared && c.why == verify.ReasonNoCarrier && now.Before(o.Hint.Add(d.config.Lease)) {
		return nil // another replica's configuration may have a carrier for it, while they are being changed
	}
	if len(all) == 0 {
		return func() error { return d.giveUp(ctx, o, c.why) }
	}
	if !d.config.Keys.Has(o.Verification.KeyID) && o.Verification.StatusAt(now) == verify.StatusPending {
		return nil // a server that has the key claims it: to put it off would put it off for that one, too
	}
	if passable(all, m, now) == nil {
		return putOff(d.lookAgain(all, o.Verification.ID, m, now), verify.ErrCarriersDown)
	}
	if w, ok := d.book(all, m, now); ok {
		return func() error { return d.claim(ctx, w, o, m) }
	}
	return nil
}

// book reserves a place by the first way that has one and whose breaker lets the message pass. Only the
// ways of one channel come into question: that its carriers are busy is no reason to go by another one.
func (d *Dispatcher) book(all []way, m passenger, now time.Time) (w way, ok bool) {
	var busy verify.Channel
	for _, w := range all {
		if !w.opens(m, now).IsZero() || busy != "" && busy != w.channel {
			continue
		}
		busy = w.channel
		if d.reserve(w.line, m.project, now) != share.Taken {
			continue
		}
		if w.pass(m, now) {
			return w, true
		}
		d.release(w.line, m.project)
	}
	return way{}, false
}

// takers are the ways that a due message may go, or why there are none.
func (d *Dispatcher) takers(o verify.Overdue) (all []way, why verify.Reason) {
	v, history := o.Verification, withLost(o)
	if d.stopped(v.Reach().Region()) {
		return nil, verify.ReasonStopped
	}
	if d.spent(v, history) {
		return nil, verify.ReasonMaxMessages
	}
	if v.Watched() {
		return d.untried(v, history), verify.NoReason
	}
	if all = d.next(v, history); len(all) > 0 {
		return all, verify.NoReason
	}
	for w := range d.ways(v.Envelope(), v.Then()) {
		if d.dearNext(w, v) {
			return nil, verify.ReasonTooDear
		}
	}
	// Its carriers are gone from the configuration, or all refused it before we died.
	return nil, verify.ReasonNoCarrier
}

// claim claims a due message for a way on which it has a place, and queues it.
func (d *Dispatcher) claim(ctx context.Context, w way, o verify.Overdue, m passenger) (err error) {
	queued := false
	d.flights.begin(o.Verification.ID) // before the commit: a look at the hint that it leaves may come sooner than its answer
	defer func() {
		if !queued {
			d.flights.end(o.Verification.ID)
			w.spare(m)
			d.release(w.line, m.project)
		}
	}()
	o.By, o.Calling, o.Price = w.channel, d.calling(w), d.priceNext(w, o.Verification, m)
	v, err := d.claimNext(ctx, o)
	for refused, reason := range map[error]verify.Reason{verify.ErrBudget: verify.ReasonBudget, verify.ErrCountryLimit: verify.ReasonCountryLimit} {
		if errors.Is(err, refused) {
			o.By, o.Calling, o.Price = "", 0, 0
			return d.giveUp(ctx, o, reason)
		}
	}
	if err != nil {
		return err
	}
	if v == nil {
		d.logUnclaimed(ctx, o)
		return nil
	}
	d.config.Log.InfoContext(ctx, "attempt claimed", slog.Any("", about{v, w.line}), "reason", claimed(o.Verification))
	queued = d.begin(ctx, w, v, withLost(o), m, d.traces.request(v.ID))
	return nil
}

// priceNext is what the project will be charged for v's next message. All codes of a length take the same room.
func (d *Dispatcher) priceNext(w way, v *verify.Verification, m passenger) money.Amount {
	if d.config.Prices.Currency == "" {
		return 0
	}
	return d.price(w.line, m.country, v.Message(w.channel, verify.Secret(strings.Repeat("0", v.Length))), d.config.Now())
}

// withLost returns a message's attempts so far, with the one that was lost with its lease: its server may have sent the
// message.
func withLost(o verify.Overdue) []verify.Delivery {
	if o.Verification.Delivery != verify.DeliverySending {
		return o.Deliveries
	}
	return append(slices.Clip(o.Deliveries), verify.Delivery{Attempt: o.Verification.Attempt, Channel: o.Verification.Resent.Channel, Outcome: verify.AttemptUnknown})
}

// claimNext leases a due message's next attempt, and counts the one before if that has lost its lease.
func (d *Dispatcher) claimNext(ctx context.Context, o verify.Overdue) (*verify.Verification, error) {
	v, lost, err := d.config.Store.Claim(ctx, o, d.config.Lease)
	if lost != nil {
		d.observe(lost, o.Verification.Reach().Region())
	}
	return v, err
}

// claimed says why a message's next attempt was claimed: its carrier was silent, whoever made the attempt
// before died over it, or why that one failed.
func claimed(before *verify.Verification) string {
	switch before.Delivery {
	case verify.DeliverySent:
		return "no_receipt"
	case verify.DeliverySending:
		return verify.ReasonLeaseLost.String()
	}
	return before.Reason.String()
}

// logUnclaimed logs what became of a message that was due and got no other attempt: it has ended, or is put
// off. If somebody else was faster, they say it; and of several hints, only the one that is up to date.
func (d *Dispatcher) logUnclaimed(ctx context.Context, o verify.Overdue) {
	if !o.Hint.Equal(o.Verification.DueAt) || !d.config.Log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	v, err := d.config.Store.Verification(ctx, o.Verification.ID)
	switch {
	case err != nil, v.Attempt != o.Verification.Attempt:
	case v.Delivery == verify.DeliveryFailed:
		d.config.Log.InfoContext(ctx, "message given up", "verification", v.ID, "attempt", v.Attempt, "reason", v.Reason)
	case v.Delivery == verify.DeliveryQueued && v.DueAt.After(o.Verification.DueAt):
		d.config.Log.InfoContext(ctx, "message put off", "verification", v.ID, "attempt", v.Attempt, "reason", v.Reason, "next_at", v.DueAt)
	}
}

// begin queues an attempt that we hold the lease and a place for, and have noted down as here. It reports false
// if its code can't be opened.
func (d *Dispatcher) begin(ctx context.Context, w way, v *verify.Verification, history []verify.Delivery, m passenger, request *trace.SpanContext) bool {
	secret, err := d.config.Keys.Open(v.KeyID, v.Binding(), v.SealedCode)
	if err != nil {
		err = errors.Join(err, d.drop(ctx, v, verify.ReasonKeyMissing))
		d.config.Log.ErrorContext(ctx, "open code", slog.Any("", about{v, w.line}), "err", err)
		return false
	}
	w.queue.add(&job{verification: v, message: v.Message(w.channel, verify.Secret(secret)), since: d.config.Now(), until: v.DueAt, history: history, country: m.country, request: request})
	return true
}

// giveUp claims a message and ends it. For one that a carrier has, only the wait for its receipt ends.
func (d *Dispatcher) giveUp(ctx context.Context, o verify.Overdue, reason verify.Reason) error {
	if o.Verification.Watched() {
		return d.config.Store.Postpone(ctx, o, time.Time{})
	}
	v, err := d.claimNext(ctx, o)
	if err != nil {
		return err
	}
	if v == nil {
		d.logUnclaimed(ctx, o)
		return nil
	}
	return d.drop(ctx, v, reason)
}

// drop fails a message that we hold the lease for and can't send.
func (d *Dispatcher) drop(ctx context.Context, v *verify.Verification, reason verify.Reason) error {
	end := verify.Settlement{Delivery: verify.Delivery{
		Verification: v.ID, Attempt: v.Attempt, Outcome: verify.AttemptDropped, Reason: reason, StartedAt: d.config.Now(),
	}, Called: v.To}
	_, err := d.config.Store.Settle(ctx, end)
	if err == nil {
		d.observe(&end.Delivery, v.Reach().Region())
		d.config.Log.WarnContext(ctx, "message given up", "verification", v.ID, "attempt", v.Attempt, "reason", reason)
	}
	return err
}
