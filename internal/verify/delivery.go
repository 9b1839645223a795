package verify

import (
	"log/slog"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/phone"
)

// A Message is one text on its way to one phone.
type Message struct {
	ID           ID // the same in every attempt, so that receivers can drop repeats
	Verification ID
	Channel      Channel
	To           phone.Number
	From         string
	Body         Secret // the text with the code in its place
	// What Body is made of, for carriers that don't write but speak: the code, and the text with
	// [CodePlace] where the code goes. Text is empty for the approved text, which a voice says in
	// the words of the locale. Locale is a BCP 47 tag; empty leaves it to the carrier.
	Code      Secret
	Text      string
	Locale    string
	ExpiresAt time.Time
	Attempt   int // from 1
}

// CodePlace stands for the code in a [Message]'s Text.
const CodePlace = placeholder

// Around is the text before, between and after the places of the code; nothing for the approved
// text.
func (m Message) Around() []string {
	if m.Text == "" {
		return nil
	}
	return strings.Split(m.Text, CodePlace)
}

// A DeliveryState is where a verification's message is:
//
//	queued ⇄ sending → sent → delivered
//	   └────────┴────────┴──→ failed
//
// A failed receipt leads from sent back to queued, where another carrier can still be tried. A
// right code leads to delivered from wherever the message is, unless it has failed.
type DeliveryState int

// The numbers are stored.
const (
	Queued    DeliveryState = 0 // waits for its next attempt, at DueAt
	Sending   DeliveryState = 1 // somebody holds the lease for an attempt, until DueAt
	Sent      DeliveryState = 2 // a carrier has it, or may have it (then there is a reason)
	Delivered DeliveryState = 3 // a receipt says so, or the right code does
	Failed    DeliveryState = 4 // for good; there is a reason
)

func (s DeliveryState) String() string {
	return [...]string{"queued", "sending", "sent", "delivered", "failed"}[s]
}

// Reasons that don't come from a carrier.
const (
	ReasonExpired   = "expired"    // the code died first
	ReasonUnknown   = "unknown"    // the carrier's answer got lost, it may have been sent
	ReasonLeaseLost = "lease_lost" // whoever was sending it died; it may have been sent
)

// A Delivery is one attempt to hand a message to a carrier, and what came of it.
type Delivery struct {
	Verification ID
	Attempt      int
	Carrier      string
	Outcome      DeliveryOutcome
	Reason       string // of a failure; never holds a number or a code
	Ref          string // the carrier's own id of the message
	StartedAt    time.Time
	EndedAt      time.Time
}

// A DeliveryOutcome is what came of one attempt.
type DeliveryOutcome int

// The numbers are stored.
const (
	Accepted DeliveryOutcome = 0 // the carrier has the message
	Refused  DeliveryOutcome = 1 // this carrier will never send it
	Errored  DeliveryOutcome = 2 // it wasn't sent; another try may help
	Unknown  DeliveryOutcome = 3 // it may have been sent
	Dropped  DeliveryOutcome = 4 // we didn't call the carrier: the code had died
)

func (o DeliveryOutcome) String() string {
	return [...]string{"accepted", "refused", "errored", "unknown", "dropped"}[o]
}

// LogValue writes the word, in JSON as well.
func (o DeliveryOutcome) LogValue() slog.Value { return slog.StringValue(o.String()) }

// A Settlement reports what came of an attempt, and what to do if that wasn't the end of it.
type Settlement struct {
	Delivery           // EndedAt is filled in when it is committed
	Retry    bool      // try again...
	RetryAt  time.Time // ...then, at once if that has passed
}

// lease gives the caller the next attempt until now+d.
func (v *Verification) lease(d time.Duration, now time.Time) {
	v.Attempt++
	v.Delivery, v.Reason, v.DueAt = Sending, "", now.Add(d)
}

func (v *Verification) fail(reason string) {
	v.Delivery, v.Reason, v.DueAt = Failed, reason, time.Time{}
}

// Open reports whether somebody still has to do something about the message, at DueAt.
func (v *Verification) Open() bool { return v.Delivery == Queued || v.Delivery == Sending }

// Claim leases the next attempt if one is due: the wait for it is over, or whoever held the lease
// let it run out. Then it also returns that lost attempt's end. A message whose code has died is
// not claimed but fails.
func (v *Verification) Claim(lease time.Duration, now time.Time) (lost *Delivery, claimed bool) {
	if !v.Open() || now.Before(v.DueAt) {
		return nil, false
	}
	if v.Delivery == Sending {
		lost = &Delivery{
			Verification: v.ID, Attempt: v.Attempt,
			Outcome: Unknown, Reason: ReasonLeaseLost,
			StartedAt: v.DueAt, EndedAt: v.DueAt, // all that is known: it had the lease until then
		}
	}
	if v.ended(now) != nil {
		v.fail(v.StatusAt(now).String())
		return lost, false
	}
	v.lease(lease, now)
	return lost, true
}

// Renew extends the lease of an attempt that has not begun.
func (v *Verification) Renew(attempt int, lease time.Duration, now time.Time) error {
	if v.Attempt != attempt || v.Delivery != Sending {
		return ErrLeaseLost
	}
	if err := v.ended(now); err != nil {
		return err
	}
	v.DueAt = now.Add(lease)
	return nil
}

// Settle records the end of an attempt. Only who holds its lease may: a replica that was frozen
// while another took over settles nothing ([ErrLeaseLost]). What the verification or a receipt has
// meanwhile made of the delivery stands.
func (v *Verification) Settle(s *Settlement, now time.Time) error {
	if v.Attempt != s.Attempt {
		return ErrLeaseLost
	}
	s.EndedAt = now
	if v.Delivery != Sending {
		return nil
	}
	if s.RetryAt.Before(now) {
		s.RetryAt = now
	}
	switch {
	case s.Outcome == Accepted, s.Outcome == Unknown:
		v.Delivery, v.Reason, v.DueAt = Sent, s.Reason, time.Time{}
	case !s.Retry, v.ended(s.RetryAt) != nil:
		v.fail(s.Reason)
	default:
		v.Delivery, v.Reason, v.DueAt = Queued, s.Reason, s.RetryAt.Truncate(time.Millisecond)
	}
	return nil
}

// A Receipt is what a carrier says later of a message that it took (SMPP: a delivery receipt, DLR).
type Receipt struct {
	Verification ID
	Attempt      int // that handed the message over
	Delivered    bool
	Reason       string // when not delivered
	Retry        bool   // when not delivered: there is another carrier to try
}

// Settle lets a receipt advance the delivery. It changes no verdict, and nothing that is final. That
// an earlier attempt's message was lost says nothing while a later one is on its way.
func (r Receipt) Settle(v *Verification, now time.Time) {
	if v.Delivery != Sent && v.Delivery != Sending || !r.Delivered && r.Attempt != v.Attempt {
		return
	}
	switch {
	case r.Delivered:
		v.Delivery, v.Reason, v.DueAt = Delivered, "", time.Time{}
	case r.Retry && v.ended(now) == nil:
		v.Delivery, v.Reason, v.DueAt = Queued, r.Reason, now
	default:
		v.fail(r.Reason)
	}
}

// An Overdue is a verification whose message somebody should look at: see [Verification.Claim].
type Overdue struct {
	Hint         time.Time // when it was noted down for; it may be out of date
	Verification *Verification
	Deliveries   []Delivery // the attempts that have ended, oldest first
}
