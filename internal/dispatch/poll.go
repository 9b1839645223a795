package dispatch

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// sweepEvery is how many ticks pass from one sweep for leases to the next.
const sweepEvery = 4

func (d *Dispatcher) pollEvery(ctx context.Context) {
	ticker := time.NewTicker(d.Tick)
	defer ticker.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-ticker.C:
			n++
		}
		if n%sweepEvery == 0 {
			if err := d.Store.Sweep(ctx); err != nil && ctx.Err() == nil {
				d.complain(slog.LevelError, "sweep for lost leases", err)
			}
		}
		if err := d.Poll(ctx); err != nil && ctx.Err() == nil {
			d.complain(slog.LevelError, "look for due messages", err)
		}
	}
}

// lookNow makes the poller look before its next tick.
func (d *Dispatcher) lookNow() {
	select {
	case d.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Poll claims the messages that are due and queues them, as many as there are places for.
func (d *Dispatcher) Poll(ctx context.Context) error {
	d.polling.Lock()
	defer d.polling.Unlock()
	d.match(ctx)
	d.keep()
	for {
		due, err := d.Store.Due(ctx, pollStep)
		if err != nil {
			return err
		}
		moved := 0
		for _, o := range due {
			taken, err := d.take(ctx, o)
			if err != nil {
				return err
			}
			if taken {
				moved++
			}
		}
		// A step that moved nothing would be read again at once: its messages wait for places.
		if len(due) < pollStep || moved == 0 {
			return nil
		}
	}
}

// take claims one due message and queues it. It reports false if there is no place for it.
func (d *Dispatcher) take(ctx context.Context, o verify.Overdue) (bool, error) {
	m, now := passenger{o.Verification.Project, o.Verification.To, o.Verification.To.Region()}, d.Now()
	if !o.Verification.Due(now) { // the hint is out of date
		return true, d.Store.Postpone(ctx, o, o.Verification.DueAt)
	}
	if o.Verification.Delivery == verify.Sending && d.flights.has(o.Verification.ID) {
		return true, d.Store.Postpone(ctx, o, now.Add(d.Lease/2))
	}
	if !d.Keys.Has(o.Verification.KeyID) { // leave it to a server that has the key; ask ever less often
		return true, d.Store.Postpone(ctx, o, now.Add(max(d.Lease/4, now.Sub(o.Verification.ID.Time()))))
	}
	all, why := d.takers(o)
	if len(all) == 0 {
		return true, d.giveUp(ctx, o, why)
	}
	if w, opens := closed(all, m, now); w == nil {
		return true, d.Store.Postpone(ctx, o, opens)
	}
	var busy verify.Channel // is no reason to go by another one
	for _, w := range all {
		if !w.opens(m, now).IsZero() || busy != "" && busy != w.channel {
			continue
		}
		busy = w.channel
		if !d.reserve(w.line) {
			continue
		}
		if !w.pass(m, now) {
			d.release(w.line)
			continue
		}
		return true, d.claim(ctx, w, o, m)
	}
	return false, nil
}

// takers are the ways that a due message may go, or why there are none.
func (d *Dispatcher) takers(o verify.Overdue) (all []way, why string) {
	v := o.Verification
	sent := verify.Messages(o.Deliveries)
	if v.Delivery == verify.Sending { // whoever had the lease may have sent it
		sent++
	}
	if sent >= d.MaxMessages {
		return nil, verify.ReasonMaxMessages
	}
	if v.Watched() {
		return d.untried(v, o.Deliveries), ""
	}
	// Without one, its carriers are gone from the configuration, or all refused it before we died.
	return d.next(v, o.Deliveries), verify.ReasonNoCarrier
}

// claim claims a due message for a way on which it has a place, and queues it.
func (d *Dispatcher) claim(ctx context.Context, w way, o verify.Overdue, m passenger) error {
	l, queued := w.line, false
	defer func() {
		if !queued {
			l.spare(m)
			d.release(l)
		}
	}()
	v, err := d.Store.Claim(ctx, o, d.Lease)
	if err != nil || v == nil {
		return err
	}
	secret, err := d.Keys.Open(v.KeyID, v.Binding(), v.SealedCode)
	if err != nil {
		d.Log.Error("open code", "verification", v.ID, "err", err)
		return d.drop(ctx, v, "no_key")
	}
	history := o.Deliveries
	if o.Verification.Delivery == verify.Sending { // the attempt that was lost with its lease
		history = append(slices.Clip(history), verify.Delivery{Attempt: o.Verification.Attempt, Outcome: verify.Unknown})
	}
	queued = true
	d.enqueue(l, &job{verification: v, message: v.Message(w.channel, verify.Secret(secret)), since: d.Now(), until: v.DueAt, history: history, country: m.country})
	return nil
}

// giveUp claims a message and ends it. For one that a carrier has, only the wait for its receipt ends.
func (d *Dispatcher) giveUp(ctx context.Context, o verify.Overdue, reason string) error {
	if o.Verification.Watched() {
		return d.Store.Postpone(ctx, o, time.Time{})
	}
	v, err := d.Store.Claim(ctx, o, d.Lease)
	if err != nil || v == nil {
		return err
	}
	return d.drop(ctx, v, reason)
}

// drop fails a message that we hold the lease for and can't send.
func (d *Dispatcher) drop(ctx context.Context, v *verify.Verification, reason string) error {
	_, err := d.Store.Settle(ctx, verify.Settlement{Delivery: verify.Delivery{
		Verification: v.ID, Attempt: v.Attempt, Outcome: verify.Dropped, Reason: reason, StartedAt: d.Now(),
	}})
	return err
}
