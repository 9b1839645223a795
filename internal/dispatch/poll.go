package dispatch

import (
	"context"
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
				d.Log.Error("sweep for lost leases", "err", err)
			}
		}
		if err := d.Poll(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("look for due messages", "err", err)
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
	l := d.choose(o.Verification.Channel, o.Deliveries)
	if l == nil {
		// Its carriers are gone from the configuration, or all refused it before we died.
		return true, d.giveUp(ctx, o, "no_carrier")
	}
	if !d.reserve(l) {
		return false, nil
	}
	queued := false
	defer func() {
		if !queued {
			d.release(l)
		}
	}()
	v, err := d.Store.Claim(ctx, o, d.Lease)
	if err != nil || v == nil {
		return true, err
	}
	secret, err := d.Keys.Open(v.KeyID, v.Binding(), v.SealedCode)
	if err != nil {
		d.Log.Error("open code", "verification", v.ID, "err", err)
		return true, d.end(ctx, v, "no_key")
	}
	queued = true
	l.queue <- job{verification: v, message: v.Message(verify.Secret(secret)), since: d.Now(), history: o.Deliveries}
	return true, nil
}

// giveUp claims a message and ends it.
func (d *Dispatcher) giveUp(ctx context.Context, o verify.Overdue, reason string) error {
	v, err := d.Store.Claim(ctx, o, d.Lease)
	if err != nil || v == nil {
		return err
	}
	return d.end(ctx, v, reason)
}

// end fails a message that we hold the lease for and can't send.
func (d *Dispatcher) end(ctx context.Context, v *verify.Verification, reason string) error {
	_, err := d.Store.Settle(ctx, verify.Settlement{Delivery: verify.Delivery{
		Verification: v.ID, Attempt: v.Attempt, Outcome: verify.Dropped, Reason: reason, StartedAt: d.Now(),
	}})
	return err
}
