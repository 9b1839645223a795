package verify

import (
	"cmp"
	"time"

	"github.com/countersign/countersign/internal/phone"
)

// A Phone is what all projects share of a number: the call to it that is under way, or may be. Nobody
// releases the phone of a server that died: its hold runs out.
type Phone struct {
	Number       phone.Number
	Verification ID // whose call it is
	Attempt      int
	Since, Until time.Time
}

const (
	// quietTime is how long after a text to a number no call may come: the person is reading it.
	quietTime = time.Minute
	// othersCall is how long a call is taken to last that somebody else makes for us, from its hand-over.
	othersCall = time.Minute
	// redialAfter is how long a phone is left alone that was busy or wasn't answered, and maxRings how often
	// it rings for one verification.
	redialAfter = 5 * time.Minute
	maxRings    = 2
)

// free is how long the phone is still taken by a call. Over says that this isn't so if it is v's own.
func (p *Phone) free(v *Verification, over bool, now time.Time) (wait time.Duration) {
	if over && p.Verification == v.ID {
		return 0
	}
	return max(0, p.Until.Sub(now))
}

// hold takes the phone for a call of v's latest attempt.
func (p *Phone) hold(v *Verification, d time.Duration, now time.Time) {
	p.Verification, p.Attempt, p.Since, p.Until = v.ID, v.Attempt, now, now.Add(d)
}

// Hold goes on holding the phone for a call that is about to begin, and reports whether it may: nobody
// else holds it.
func (p *Phone) Hold(id ID, attempt int, d time.Duration, now time.Time) bool {
	ours := p.Verification == id && p.Attempt == attempt
	if !ours && p.Until.After(now) {
		return false
	}
	if !ours {
		p.Since = now
	}
	p.Verification, p.Attempt, p.Until = id, attempt, now.Add(d)
	return true
}

// Settle releases the phone when an attempt has ended, unless somebody else may still be calling for us.
// It reports whether that changed anything.
func (p *Phone) Settle(s *Settlement, now time.Time) (changed bool) {
	if p.Verification != s.Verification || p.Attempt != s.Attempt {
		return false
	}
	p.Until = now
	if s.sent() && !s.Delivered && s.Verdict == NoVerdict && !s.Call.Made() {
		p.Until = now.Add(othersCall)
	}
	return true
}

// rang reports whether the phone may have rung in an attempt, or was busy.
func (d *Delivery) rang() bool {
	return d.ending().rang() || !d.Call.Answered.IsZero() || d.Call.Status > 100 && d.Call.Status < 200
}

// ending is why an attempt failed, by the last that was heard of it.
func (d *Delivery) ending() Reason {
	if d.Receipt == ReceiptFailed {
		return d.ReceiptReason
	}
	return d.Reason
}

// mayHaveRung reports whether the phone may have rung in an attempt, or was busy. Nobody tells of a call that was
// lost with its server, and a provider may be silent about one that it took.
func (v *Verification) mayHaveRung(d *Delivery) bool {
	if d.rang() {
		return true
	}
	if !d.sent() || d.Receipt == ReceiptFailed {
		return false
	}
	if d.Carrier == "" && d.Channel == "" { // lost: nobody knows by which channel it went
		return v.mayGoBy(Channel.IsCall)
	}
	return cmp.Or(d.Channel, v.Channel).IsCall()
}

// Redial says whether v's phone may be called once more after the attempts so far, and if it may, from when on. A
// phone that was busy or wasn't answered is left alone for a while; a person who declined, hung up or pressed no key
// isn't called again; and it never rings more than twice.
func Redial(v *Verification, history []Delivery, now time.Time) (at time.Time, may bool) {
	rings := 0
	for i := range history {
		d := &history[i]
		if !v.mayHaveRung(d) {
			continue
		}
		rings++
		switch ending := d.ending(); {
		case ending.final():
			return at, false
		case ending.rang():
			ended := d.EndedAt
			if d.Receipt == ReceiptFailed {
				ended = d.ReceiptAt
			}
			if ended.IsZero() { // just now
				ended = now
			}
			at = ended.Add(redialAfter)
		}
	}
	return at, rings < maxRings
}

// spent reports whether the charge for v's latest message is used up: that message may have been sent, or
// the phone have rung. The next one is charged then; else it goes out at the expense of the one that didn't.
func (o *Overdue) spent() bool {
	v := o.Verification
	if v.Delivery != DeliveryQueued { // sent, or lost with its lease
		return true
	}
	d := o.latest()
	return d == nil || d.sent() || d.rang()
}

// Counts reports whether the attempt is another message, for the limits of its number and its country.
func (o *Overdue) Counts() bool { return o.spent() }

// latest is the end of the latest attempt, or nil.
func (o *Overdue) latest() *Delivery {
	for i := range o.Deliveries {
		if d := &o.Deliveries[i]; d.Attempt == o.Verification.Attempt {
			return d
		}
	}
	return nil
}

// Claim leases v's next attempt, by the channel o.By: see [Verification.Claim]. Before, it charges the
// number for the message, if the charge before is spent, and takes the phone for a call. Where one of them
// refuses, the message is put off, or ends if its code would be dead by then. A claim by no channel sends
// nothing and is never refused.
//
// It leaves v alone if it isn't as it was seen: what has become of it since has a time of its own.
func (o *Overdue) Claim(v *Verification, d *Destination, limits Limits, lease time.Duration, now time.Time) (lost *Delivery, claimed bool) {
	if v.Attempt != o.Verification.Attempt || v.Delivery != o.Verification.Delivery {
		return nil, false
	}
	if o.By != "" && v.Due(now) && v.ended(now) == nil {
		if wait, reason := o.admit(v, d, limits, now); wait > 0 {
			lost = v.lost()
			v.putOff(wait, reason, now)
			return lost, false
		}
	}
	lost, claimed = v.Claim(lease, now)
	if claimed && o.By.IsCall() {
		d.Phone.hold(v, lease+o.Calling, now)
	}
	return lost, claimed
}

// admit charges v's next message, or says how long it must wait and why. Then nothing has changed.
func (o *Overdue) admit(v *Verification, d *Destination, limits Limits, now time.Time) (wait time.Duration, reason Reason) {
	spent := o.spent()
	if o.By.IsCall() {
		// Only a receipt says that an own call is over: one whose server died may still ring.
		last := o.latest()
		over := last != nil && last.Receipt != NoReceipt
		if wait := d.Phone.free(v, over, now); wait > 0 {
			return wait, ReasonCalling
		}
		if wait := o.quiet(v, d, spent, now); wait > 0 {
			return wait, ReasonTooSoon
		}
	}
	if !spent {
		return 0, NoReason
	}
	return d.charge(limits, now), ReasonTooManySends
}

// quiet is how long a call must wait after the last text to the number. A call that takes the place of
// one that broke off needn't.
func (o *Overdue) quiet(v *Verification, d *Destination, spent bool, now time.Time) time.Duration {
	after := o.latest()
	switch {
	case after != nil && after.Channel.IsCall() && d.Latest == v.ID:
		return 0
	case spent:
		return d.quiet(ID{}, now)
	}
	return d.quiet(v.ID, now)
}

// quiet is how long a call must wait after the last text to the number, for which each charge is taken but
// that of the phone's last call. The first charge of own, whose message didn't go out, is none either.
func (d *Destination) quiet(own ID, now time.Time) time.Duration {
	var last time.Time
	for _, at := range d.Sends {
		if since := at.Sub(own.Time()); !own.IsZero() && since > -maxStartDelay && since < maxStartDelay {
			own = ID{}
			continue
		}
		if at.Equal(d.Phone.Since) {
			continue
		}
		last = at
	}
	if last.IsZero() {
		return 0
	}
	return max(0, last.Add(quietTime).Sub(now))
}

// putOff lets a message that is due wait, or ends it if its code is dead by then.
func (v *Verification) putOff(wait time.Duration, reason Reason, now time.Time) {
	at := now.Add(wait).Truncate(time.Millisecond)
	switch {
	case v.ended(at) != nil && v.Delivery == DeliverySent:
		v.DueAt = time.Time{}
	case v.ended(at) != nil:
		v.fail(reason)
	case v.Delivery == DeliverySent:
		v.DueAt = at
	default:
		v.Delivery, v.Reason, v.DueAt = DeliveryQueued, reason, at
	}
}
