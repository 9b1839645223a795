package verify

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/record"
	"github.com/countersign/countersign/internal/wording"
)

// Resent says what a verification's caller asked for after the start: that its message goes out again. The zero
// Resent: they haven't.
type Resent struct {
	Count   int       // of resends so far
	At      time.Time // of the latest
	Attempt int       // the first that was made for it
	Channel Channel   // by which it goes; "": by those that the start decided
}

// resendWaits are the waits before each resend: before the first from the start on, before another from the resend
// before it on. There are no more resends than waits.
var resendWaits = [...]time.Duration{30 * time.Second, 60 * time.Second, 120 * time.Second, 300 * time.Second}

// handOverWait is how long a resend is told to wait while another attempt is under way.
const handOverWait = 5 * time.Second

// ResendAt is when v's message may go out again, as far as the waits decide it. It is zero if that is never: v has
// ended, or will have by then, or has no resends left.
func (v *Verification) ResendAt(now time.Time) time.Time {
	at, left := v.nextResend()
	if !left || v.ended(now) != nil || v.ended(at) != nil {
		return time.Time{}
	}
	return at
}

// nextResend is when the wait before the next resend is over.
func (v *Verification) nextResend() (at time.Time, left bool) {
	n, last := v.Resent.Count, v.Resent.At
	if n >= len(resendWaits) {
		return at, false
	}
	if n == 0 {
		last = v.ID.Time()
	}
	return last.Add(resendWaits[n]), true
}

// mayResend says why v's message may not go out again at the moment, or returns nil.
func (v *Verification) mayResend(now time.Time) error {
	if err := v.ended(now); err != nil {
		return err
	}
	at, left := v.nextResend()
	switch {
	case !left:
		return ErrNoResends
	case now.Before(at):
		return ErrTooSoon.After(at.Sub(now))
	case v.Delivery == DeliverySending: // what comes of that isn't known yet
		return ErrTooSoon.After(handOverWait)
	}
	return nil
}

// Round returns the attempts that were made for the latest resend: all of them, if there was none.
func (v *Verification) Round(history []Delivery) []Delivery {
	for i := range history {
		if history[i].Attempt >= v.Resent.Attempt {
			return history[i:]
		}
	}
	return nil
}

// A Resending asks for a further message of a verification by the channel By, beside what an [Overdue] says of it.
type Resending struct {
	Overdue
	Asked      Channel // that the caller named; "": none
	Limits     Limits
	UserLimits UserLimits
	Lease      time.Duration
	Toll       Toll
}

// Resend leases an attempt that v's caller asked for: the same code, with the guesses and the life that it has left. It
// charges the number, and u, the user whose verification v is, as a start does. The zero User is nobody. If it fails, nothing
// has changed. [ErrStale] means that v's message has gone on since v was seen.
func (r *Resending) Resend(v *Verification, u *User, d *Destination, now time.Time) error {
	if err := v.mayResend(now); err != nil {
		return err
	}
	if v.Attempt != r.Verification.Attempt || v.Delivery != r.Verification.Delivery {
		return ErrStale
	}
	if d.Failures >= MaxFailures {
		return ErrTooManyGuesses.After(lockedFor)
	}
	sends, wait := r.UserLimits.take(u.Sends, now)
	if u.Name != "" && wait > 0 {
		return ErrTooManySends.After(wait)
	}
	if v.prompts(r.By) {
		if err := u.mayPrompt(); err != nil {
			return err
		}
		if v.Prompt.IsZero() { // the start might not prompt
			return ErrPromptsSpent
		}
	}
	switch wait, why := r.admit(v, d, r.Limits, now); {
	case wait <= 0:
	case why == ReasonCalling:
		return ErrCalling.After(wait)
	case why == ReasonTooSoon:
		return ErrTooSoon.After(wait)
	default:
		return ErrTooManySends.After(wait)
	}
	if v.prompts(r.By) {
		u.Prompts++
		v.Prompt.Unseen = false
	}
	u.Sends = sends
	v.Resent = Resent{v.Resent.Count + 1, now, v.Attempt + 1, r.Asked}
	v.lease(r.Lease, now)
	if r.By.IsCall() {
		d.Phone.hold(v, r.Lease+r.Calling, now)
	}
	return nil
}

// resendTries is how often a resend is tried whose verification's message goes on meanwhile by itself.
const resendTries = 5

// Resend sends the code of a verification again, by a channel, or "" for those that its start decided. On return without an
// error, the disk has that. The waits and the number's limits bound it.
func (s *Service) Resend(ctx context.Context, acct *Account, id ID, by Channel) (Snapshot, error) {
	record.Of(ctx).Verification = record.ID(id)
	for range resendTries {
		v, history, err := s.store.Lookup(ctx, acct.Project.ID, id)
		if err != nil {
			return Snapshot{}, err
		}
		history = slices.DeleteFunc(history, func(d Delivery) bool { return d.Attempt > v.Attempt }) // they were read later than v
		seen, err := s.resend(ctx, acct, v, history, by)
		if !errors.Is(err, ErrStale) {
			return seen, err
		}
	}
	return Snapshot{}, ErrBusy
}

// resend does so with a verification as it was seen.
func (s *Service) resend(ctx context.Context, acct *Account, v *Verification, history []Delivery, by Channel) (Snapshot, error) {
	now := s.instant()
	if err := v.mayResend(now); err != nil {
		return Snapshot{}, err
	}
	if err := s.canGo(acct, v, by); err != nil {
		return Snapshot{}, err
	}
	next := *v
	next.Resent = Resent{v.Resent.Count + 1, now, v.Attempt + 1, by}
	if next.Envelope().Channel.IsCall() {
		switch at, may := Redial(v, history, now); {
		case !may:
			return Snapshot{}, ErrNoCalls
		case now.Before(at):
			return Snapshot{}, ErrTooSoon.After(at.Sub(now))
		}
	}
	secret, err := s.keys.Open(v.KeyID, v.Binding(), v.SealedCode)
	if errors.Is(err, keyset.ErrUnknownKey) {
		return Snapshot{}, ErrNoKey
	}
	if err != nil {
		return Snapshot{}, err
	}
	place, err := s.outbox.ReserveAgain(&next, history)
	if err != nil {
		return Snapshot{}, unserved(v, err)
	}
	resent, err := s.store.Resend(context.WithoutCancel(ctx), Resending{
		Overdue: Overdue{Verification: v, Deliveries: history, By: place.Channel(), Calling: place.Calling()},
		Asked:   by, Limits: acct.Project.Limits, UserLimits: s.userLimits, Lease: place.Lease(), Toll: toll(acct, place, &next, Secret(secret)),
	})
	if err != nil {
		place.Release()
		if next := v.unprompted(); by == "" && next != "" && (errors.Is(err, ErrPromptsSpent) || errors.Is(err, ErrPromptsDenied)) {
			return s.resend(ctx, acct, v, history, next)
		}
		return Snapshot{}, err
	}
	place.Send(ctx, resent, resent.Message(place.Channel(), Secret(secret)))
	return snapshot(resent, now), nil
}

// unprompted is the channel by which v's code goes on where its user gets no prompts: "" if there is none.
func (v *Verification) unprompted() Channel {
	for _, f := range v.Fallbacks {
		if !v.prompts(f.Channel) {
			return f.Channel
		}
	}
	return ""
}

// canGo says why v's message can't go by a channel, or returns nil. A channel that its start didn't decide says the
// same text: see [Verification.textBy].
func (s *Service) canGo(acct *Account, v *Verification, by Channel) error {
	if by == "" || by == v.Channel || v.fallback(by) != nil {
		return nil
	}
	var p problems
	text, segments := v.textBy(by), 1
	if wording.IsMarked(text) { // of a template or a payment
		segments = s.maxSegments
	}
	if v.User != "" {
		p.add(FieldChannel, "is not one by which this user gets codes")
	} else if problem := unfit(&acct.Project, &v.Terms, by, text, maxSpoken, segments); problem != "" {
		p.add(FieldChannel, "can't carry this verification's text, which %s", problem)
	}
	return p.err()
}

// fallback is what v's message says on another channel, if its start decided that.
func (v *Verification) fallback(c Channel) *Fallback {
	for i := range v.Fallbacks {
		if v.Fallbacks[i].Channel == c {
			return &v.Fallbacks[i]
		}
	}
	return nil
}

// textBy is what v's message says on a channel, framed. It depends on v alone, so that each attempt says the same.
func (v *Verification) textBy(c Channel) string {
	if c == v.Channel {
		return v.Text
	}
	if f := v.fallback(c); f != nil {
		return f.Text
	}
	return wording.Over(c.medium(), v.Text)
}
