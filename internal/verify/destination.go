package verify

import (
	"time"

	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/phone"
)

// A Destination is what a project remembers of a number from one verification to the next: how
// often it was sent to, and how often somebody guessed wrong since the last success. A new code
// doesn't reset the failures (NIST SP 800-63B-4 §3.1.3.2), or asking for codes would buy guesses.
type Destination struct {
	Project ProjectID
	Number  phone.Number

	TAT       time.Time // of the send limiter's GCRA
	Sends     limit.Log // of the last day
	Failures  int       // consecutive wrong guesses, over all verifications
	WaitUntil time.Time // until then nothing is evaluated
	Latest    ID        // the newest verification; the others follow by Verification.Previous

	Phone *Phone // of the number. It isn't stored here: a store sets it for a call
}

// MaxFailures is how many consecutive wrong guesses at one number are ever evaluated. From there
// on only an operator or the project helps (NIST SP 800-63B-4 §3.2.2). The last of them, Reserve, are for
// codes that were sent after the latest failure: see admit.
const (
	MaxFailures = 100
	Reserve     = 20
)

// lockedFor is the wait that we announce for a number that only an operator can clear.
const lockedFor = 24 * time.Hour

// Begin charges the number for one more message and makes v its latest verification.
// It fails with [ErrTooManySends], [ErrTooManyGuesses], or for a call [ErrCalling] or [ErrTooSoon]; then
// nothing has changed.
func (d *Destination) Begin(v *Verification, limits Limits, now time.Time) error {
	if d.Failures >= MaxFailures {
		return ErrTooManyGuesses.After(lockedFor)
	}
	if v.Calling > 0 {
		if wait := d.Phone.free(v, false, now); wait > 0 {
			return ErrCalling.After(wait)
		}
		if wait := d.quiet(ID{}, now); wait > 0 {
			return ErrTooSoon.After(wait)
		}
	}
	if wait := d.charge(limits, now); wait > 0 {
		return ErrTooManySends.After(wait)
	}
	v.Previous, d.Latest = d.Latest, v.ID
	return nil
}

// charge charges the number for one message, if a wait of zero says that it may be sent.
func (d *Destination) charge(limits Limits, now time.Time) (wait time.Duration) {
	tat, wait := limits.gcra().Take(d.TAT, now)
	sends, waitDay := limits.window().Take(d.Sends, now)
	if wait = max(wait, waitDay); wait > 0 {
		return wait
	}
	if sends == nil { // without a bound: calls ask for the last one
		sends = limit.Log{now}
	}
	d.TAT, d.Sends = tat, sends
	return 0
}

// Sending says how many messages of the last day count towards the limits, and how long the next one has to wait.
func (d Destination) Sending(limits Limits, now time.Time) (sent int, wait time.Duration) {
	if limits.Daily > 0 {
		sent = limits.window().Count(d.Sends, now)
	}
	return sent, d.charge(limits, now) // a copy is charged
}

// admit refuses a guess at v while the number has to wait, and when it has failed too often.
//
// A stranger's wrong guesses must not keep a person out who asks for a new code. So the first guess at a
// code that was started after the latest failure is evaluated all the same: each costs a start, which the
// send limits bound, and counts like any other if it is wrong. Other guesses end Reserve before MaxFailures.
func (d *Destination) admit(v *Verification, p Profile, now time.Time) error {
	wait := d.WaitUntil.Sub(now)
	switch {
	case d.Failures >= MaxFailures:
		return ErrTooManyGuesses.After(lockedFor)
	case d.Failures < MaxFailures-Reserve && wait <= 0:
		return nil
	case v.Guesses == 0 && v.ID.Time().After(d.waitsSince(p)):
		return nil
	case d.Failures >= MaxFailures-Reserve:
		return ErrTooManyGuesses.After(lockedFor)
	}
	return ErrTooManyGuesses.After(wait)
}

// waitsSince is when the number failed last, if it has to wait or has failed very often. Each failure begins
// a wait then, so that nobody need store when.
func (d *Destination) waitsSince(p Profile) time.Time {
	return d.WaitUntil.Add(-p.latestWait(d.Failures))
}

// fail counts a wrong guess. One during a wait begins that again.
func (d *Destination) fail(p Profile, now time.Time) {
	d.Failures++
	wait := p.wait(d.Failures)
	if now.Before(d.WaitUntil) {
		wait = p.latestWait(d.Failures)
	}
	if wait > 0 {
		d.WaitUntil = now.Add(wait)
	}
}

// Clear forgets the failures: after a success, or because an operator says so.
func (d *Destination) Clear() { d.Failures, d.WaitUntil = 0, time.Time{} }

// Idle reports whether the row says nothing any more but the name of its latest verification.
func (d *Destination) Idle(now time.Time) bool {
	return d.Failures == 0 && DefaultLimits.gcra().Idle(d.TAT, now) && DefaultLimits.window().Idle(d.Sends, now)
}
