package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// lookEvery is how often somebody looks whether a call that is under way is still wanted.
const lookEvery = 2 * time.Second

// over is why a call must end: how its verification did.
type over verify.Status

func (o over) Error() string { return "the verification is " + verify.Status(o).String() }

var errLeaseEnds = errors.New("the lease on this attempt ends")

// A standing is how an attempt stands.
type standing struct {
	ended verify.Status // how its verification did, [verify.StatusPending] if it hasn't: else nothing must be sent any more
	until time.Time     // when the lease ends
	err   error         // the attempt isn't ours, or nobody can tell
}

// look looks whether an attempt may begin, or go on: its verification is pending and the lease is ours.
// It is renewed where it doesn't outlast a call by a margin, for what replicas know of the time differs a little.
func (d *Dispatcher) look(j *job, now time.Time) standing {
	v, current := j.verification, j.verification
	var err error
	switch {
	case now.Add(d.config.CallLimit + d.margin()).After(j.until):
		current, err = d.config.Store.Renew(context.Background(), v.ID, v.Attempt, d.config.Lease)
		var ended *verify.Error
		if errors.Is(err, verify.ErrLeaseLost) || errors.As(err, &ended) && ended.Kind == verify.KindConflict {
			current, err = d.config.Store.Verification(context.Background(), v.ID) // it says how
		}
	case now.Sub(j.since) > fresh:
		current, err = d.config.Store.Verification(context.Background(), v.ID)
	}
	if err != nil {
		return standing{err: err}
	}
	if s := current.StatusAt(now); s != verify.StatusPending && current.Attempt == v.Attempt {
		return standing{ended: s}
	}
	if current.Attempt != v.Attempt || current.Delivery != verify.DeliverySending {
		return standing{err: verify.ErrLeaseLost}
	}
	return standing{until: current.DueAt}
}

// awaitLook looks before an attempt begins, again and again while the database is away and we don't shut
// down. The message hasn't left us: whoever took it over would have to count it as one that may have been sent.
func (d *Dispatcher) awaitLook(j *job) standing {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		s := d.look(j, d.config.Now())
		if !unavailable(s.err) || d.calls.Err() != nil {
			return s
		}
		select {
		case <-time.After(wait):
		case <-d.calls.Done():
		}
	}
}

// awaitTurn waits until an attempt may call its carrier: it is known what operators have changed, and how the verification
// is, and the carrier takes another call. Call leave once the carrier was called. It reports false when we shut down
// meanwhile.
//
// Where databases share a carrier, no call is taken while we wait for one of them: else a database that is away would keep
// the messages of the others from the carrier.
func (d *Dispatcher) awaitTurn(l *line, j *job) (s standing, leave func(), ok bool) {
	for {
		if !d.awaitPolicy(policyLife) {
			return s, nil, false
		}
		s = d.awaitLook(j)
		if l.calls == nil || s.err != nil || s.ended != verify.StatusPending {
			return s, func() {}, true
		}
		began := time.Now()
		select {
		case l.calls <- struct{}{}:
		case <-d.calls.Done():
			return s, nil, false
		}
		leave = func() { <-l.calls }
		if time.Since(began) <= fresh {
			return s, leave, true
		}
		if d.knowsPolicy(policyLife) {
			if s = d.look(j, d.config.Now()); !unavailable(s.err) {
				return s, leave, true
			}
		}
		leave()
	}
}

// margin is how long before a lease ends its call must have ended. The clocks of two replicas that take
// starts differ by less.
func (d *Dispatcher) margin() time.Duration { return d.config.Lease / 4 }

// hold keeps the lease of a call that takes longer, which was last looked at at an instant, until ctx is
// done. It ends the call when its verification has ended, so that nobody is read a code that is dead,
// and when the lease is lost. A database that is away costs the call only when the lease is nearly over:
// it must have ended by the time that another replica makes it.
func (d *Dispatcher) hold(ctx context.Context, end context.CancelCauseFunc, j *job, looked time.Time) {
	margin := d.margin()
	hangs := time.AfterFunc(j.until.Sub(looked)-margin, func() { end(errLeaseEnds) }) // for a look that doesn't return, or a clock that steps
	defer hangs.Stop()
	ticker := time.NewTicker(d.config.Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := d.config.Now()
		ending := !now.Before(j.until.Add(-margin)) // or the clock stepped
		if !ending && now.Sub(looked) < lookEvery {
			continue
		}
		looked = now
		s := d.look(j, now)
		var gone *verify.Error
		switch {
		case s.ended != verify.StatusPending:
			end(over(s.ended))
			return
		case errors.Is(s.err, verify.ErrLeaseLost), errors.As(s.err, &gone) && gone.Kind == verify.KindNotFound:
			end(s.err)
			return
		case s.err != nil && ending:
			end(errLeaseEnds)
			return
		case s.err != nil:
			d.complain(slog.LevelWarn, "lease of a call not renewed, will try again", s.err, "verification", j.verification.ID, "attempt", j.verification.Attempt)
		default:
			j.until = s.until
			hangs.Reset(s.until.Sub(now) - margin)
		}
	}
}
