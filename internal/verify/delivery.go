package verify

import (
	"cmp"
	"log/slog"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/wording"
)

// An Envelope is what stands outside on a message: all that its route depends on.
type Envelope struct {
	Verification ID
	Project      ProjectID
	Application  ID
	Channel      Channel
	To           phone.Number
}

// Envelope is that of v's message.
func (v *Verification) Envelope() Envelope {
	return Envelope{v.ID, v.Project, v.Application, cmp.Or(v.Resent.Channel, v.Channel), v.Reach()}
}

// Then are the channels by which v's message may go on. One whose channel a caller named goes by that one only.
func (v *Verification) Then() (then []Channel) {
	if v.Resent.Channel != "" {
		return nil
	}
	for _, f := range v.Fallbacks {
		then = append(then, f.Channel)
	}
	return then
}

// A Message is one text on its way to one phone.
type Message struct {
	ID           ID // the same in every attempt, so that receivers can drop repeats
	Verification ID
	Project      ProjectID
	Channel      Channel
	To           phone.Number
	From         string
	Body         Secret // the text with the code in its place
	// What Body is made of, for carriers that don't write but speak: the code, and the text with
	// [CodePlace] where the code goes. Text is empty for a text that a voice says in the words of the
	// locale. Locale is a BCP 47 tag; empty leaves it to the carrier.
	Code     Secret
	Text     string
	Locale   string
	ByKey    bool   // asks for a key, in the words of the locale, and tells no code
	AfterKey bool   // tells the code only after a key was pressed, where a carrier can wait for one
	Asker    string // who asks, if anybody is to be named
	// ByPrompt says that the message tells no code either, but asks a device the Question. Without one, the user gets
	// no prompts at the moment.
	ByPrompt bool
	Question *Question

	// Whose message it is, if it is an application's user's.
	Application ID
	User        string

	ExpiresAt time.Time
	Attempt   int // from 1
}

// CodePlace stands for the code in a [Message]'s Text.
const CodePlace = wording.CodeMark

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
//	queued ⇄ sending ⇄ sent → delivered
//	   └────────┴────────┴──→ failed
//
// A failed receipt leads from sent back to queued, where another carrier can still be tried, of this
// channel or of a [Fallback]. Silence leads from sent back to sending, if somebody waited for a receipt
// until DueAt. A right code leads to delivered from wherever the message is, unless it has failed; so
// does a receipt that says so, of whichever attempt.
type DeliveryState int

// The numbers are stored.
const (
	DeliveryQueued    DeliveryState = 0 // waits for its next attempt, at DueAt
	DeliverySending   DeliveryState = 1 // somebody holds the lease for an attempt, until DueAt
	DeliverySent      DeliveryState = 2 // a carrier has it, or may have it (then there is a reason)
	DeliveryDelivered DeliveryState = 3 // a receipt says so, or the carrier at once, or the right code does
	DeliveryFailed    DeliveryState = 4 // for good; there is a reason
)

func (s DeliveryState) String() string {
	return [...]string{"queued", "sending", "sent", "delivered", "failed"}[s]
}

// A Delivery is one attempt to hand a message to a carrier, and what came of it.
type Delivery struct {
	Verification ID
	Attempt      int
	Channel      Channel // by which the message went; "": the verification's, or nobody knows
	Carrier      string
	Outcome      AttemptOutcome
	Reason       Reason // of a failure
	CarrierCode  string // the carrier's own for it; never this message's code
	Ref          string // the carrier's own id of the message
	Sender       string // that the message came from; "": the verification's
	Call         Call
	Charge       Charge
	StartedAt    time.Time
	EndedAt      time.Time // zero if all that is known of it yet is its receipt

	Receipt       ReceiptState
	ReceiptAt     time.Time
	ReceiptReason Reason // when it failed
	ReceiptCode   string // the carrier's own for that, as CarrierCode
}

// A Call is how the phone call of an attempt went, where we made it ourselves; else it is zero.
type Call struct {
	Ring     time.Duration // until it was answered, or given up
	Answered time.Time     // when; zero if it wasn't
	Talk     time.Duration // from then to its end
	Keys     int           // how many were pressed
	Status   int           // the network's last answer: of SIP, 200 if it was answered, 0 if there was none
	HungUp   bool          // by the other side
}

// Made reports whether there was one.
func (c Call) Made() bool { return c != Call{} }

// A ReceiptState is what a carrier said later of a message that it took.
type ReceiptState int

// The numbers are stored.
const (
	NoReceipt        ReceiptState = 0
	ReceiptDelivered ReceiptState = 1 // and this is the last word
	ReceiptFailed    ReceiptState = 2
)

func (s ReceiptState) String() string { return [...]string{"none", "delivered", "failed"}[s] }

// sent reports whether the person may have got a message from an attempt.
func (d *Delivery) sent() bool { return d.Outcome == AttemptAccepted || d.Outcome == AttemptUnknown }

// Messages counts the messages that ended attempts may have brought to the person.
func Messages(history []Delivery) (n int) {
	for i := range history {
		if history[i].sent() {
			n++
		}
	}
	return n
}

// MovedOn reports whether silence has led to another attempt before: one that a carrier has taken was
// followed by another, without its receipt having failed by then.
func MovedOn(history []Delivery) bool {
	for i := range history {
		d := &history[i]
		last := i == len(history)-1
		if !last && d.sent() && d.Carrier != "" && (d.Receipt != ReceiptFailed || d.ReceiptAt.After(history[i+1].StartedAt)) {
			return true
		}
	}
	return false
}

// An AttemptOutcome is what came of one attempt.
type AttemptOutcome int

// The numbers are stored.
const (
	AttemptAccepted AttemptOutcome = 0 // the carrier has the message
	AttemptRefused  AttemptOutcome = 1 // this carrier will never send it
	AttemptErrored  AttemptOutcome = 2 // it wasn't sent; another try may help
	AttemptUnknown  AttemptOutcome = 3 // it may have been sent
	AttemptDropped  AttemptOutcome = 4 // the code died before the carrier was called, or while it was calling
)

func (o AttemptOutcome) String() string {
	return [...]string{"accepted", "refused", "errored", "unknown", "dropped"}[o]
}

// LogValue writes the word, in JSON as well.
func (o AttemptOutcome) LogValue() slog.Value { return slog.StringValue(o.String()) }

// A Settlement reports what came of an attempt, and what to do if that wasn't the end of it.
type Settlement struct {
	Delivery           // EndedAt is filled in when it is committed
	Retry    bool      // try again...
	RetryAt  time.Time // ...then, at once if that has passed
	// Next is the lease of that next attempt, for a caller who makes it immediately: the settlement commits it.
	// 0 leaves the attempt to whoever claims it. It needs [Settlement.FreeNext].
	Next      time.Duration
	Delivered bool // the carrier knows that the person has it: no receipt will follow
	// Watch is how long to wait for the receipt of a message that was sent, before it is claimed for
	// another carrier; 0 is for ever.
	Watch time.Duration

	Verdict Verdict // if a key was asked for: see [Verification.Answer]

	// Again says that the same end was reported before, and may have been recorded.
	Again bool

	Called phone.Number // of a call: whose phone is free again, see [Phone.Settle]
}

// FreeNext reports whether the next attempt needs neither a charge nor the phone, so that a settlement may
// lease it: see [Overdue.Claim] for the others.
func (s *Settlement) FreeNext(by Channel) bool { return !by.IsCall() && !s.sent() && !s.rang() }

// lease gives the caller the next attempt until now+d.
func (v *Verification) lease(d time.Duration, now time.Time) {
	v.Attempt++
	v.Delivery, v.Reason, v.DueAt = DeliverySending, NoReason, now.Add(d)
}

func (v *Verification) fail(reason Reason) {
	v.Delivery, v.Reason, v.DueAt = DeliveryFailed, reason, time.Time{}
}

// Open reports whether somebody still has to do something about the message, at DueAt.
func (v *Verification) Open() bool {
	return v.Delivery == DeliveryQueued || v.Delivery == DeliverySending
}

// Watched reports whether somebody should look at DueAt whether the receipt of a message that was
// sent has come.
func (v *Verification) Watched() bool { return v.Delivery == DeliverySent && !v.DueAt.IsZero() }

// Due reports whether it is time for somebody to look.
func (v *Verification) Due(now time.Time) bool {
	return (v.Open() || v.Watched()) && !now.Before(v.DueAt)
}

// Claim leases the next attempt if one is due: the wait for it is over, or the wait for a receipt, or
// whoever held the lease let it run out. Then it also returns that lost attempt's end. A message whose
// code has died is not claimed: it fails, if it isn't known to have been sent.
func (v *Verification) Claim(lease time.Duration, now time.Time) (lost *Delivery, claimed bool) {
	if !v.Due(now) {
		return nil, false
	}
	lost = v.lost()
	if v.ended(now) != nil {
		v.giveUp(now)
		return lost, false
	}
	v.lease(lease, now)
	return lost, true
}

// lost is the end of an attempt whose lease ran out, if v is in one.
func (v *Verification) lost() *Delivery {
	if v.Delivery != DeliverySending {
		return nil
	}
	return &Delivery{
		Verification: v.ID, Attempt: v.Attempt, Channel: v.Resent.Channel,
		Outcome: AttemptUnknown, Reason: ReasonLeaseLost,
		StartedAt: v.DueAt, EndedAt: v.DueAt, // all that is known: it had the lease until then
	}
}

// giveUp ends the delivery of a message whose code has died.
func (v *Verification) giveUp(now time.Time) {
	if v.Delivery == DeliverySent {
		v.DueAt = time.Time{}
		return
	}
	v.fail(v.StatusAt(now).Reason())
}

// Postpone puts off looking at a message that is due: until then, or, zero, for ever if it waits for
// a receipt only.
func (v *Verification) Postpone(until, now time.Time) {
	switch {
	case !v.Due(now):
	case until.IsZero() && v.Delivery != DeliverySent:
	case until.IsZero() || v.ended(now) == nil:
		v.DueAt = until.Truncate(time.Millisecond)
	default:
		v.giveUp(now)
	}
}

// Renew extends the lease of an attempt, whether its call is still to come or under way. Its error
// means that the call must not begin, or must end: the lease is another's, or the code is dead.
func (v *Verification) Renew(attempt int, lease time.Duration, now time.Time) error {
	if v.Attempt != attempt || v.Delivery != DeliverySending {
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
	if v.Attempt != s.Attempt || s.Attempt < 1 { // a verification that ended before its first attempt has attempt 0
		return ErrLeaseLost
	}
	s.EndedAt = now
	if v.Delivery != DeliverySending {
		return nil
	}
	if s.RetryAt.Before(now) {
		s.RetryAt = now
	}
	switch {
	case s.Delivered && s.Outcome == AttemptAccepted:
		v.Delivery, v.Reason, v.DueAt = DeliveryDelivered, NoReason, time.Time{}
	case s.sent():
		v.Delivery, v.Reason, v.DueAt = DeliverySent, s.Reason, time.Time{}
		if until := now.Add(s.Watch); s.Watch > 0 && v.ended(until) == nil {
			v.DueAt = until.Truncate(time.Millisecond)
		}
	case !s.Retry, v.ended(s.RetryAt) != nil:
		v.fail(s.Reason)
	case s.Next > 0 && !s.RetryAt.After(now) && !s.rang():
		v.lease(s.Next, now)
	default:
		v.Delivery, v.Reason, v.DueAt = DeliveryQueued, s.Reason, s.RetryAt.Truncate(time.Millisecond)
	}
	return nil
}

// A Receipt is what a carrier says later of a message that it took (SMPP: a delivery receipt, DLR).
type Receipt struct {
	Verification ID
	Attempt      int // that handed the message over
	Delivered    bool
	Reason       Reason // when not delivered
	Code         string // the carrier's own for that
	Retry        bool   // when not delivered: there is another carrier to try
	Doubt        bool   // when not delivered: the carrier doesn't know
	// Taken says that the carrier has a message after all of which nobody knew, and nothing of the phone. Watch is how long
	// to wait for a receipt then, as in a [Settlement].
	Taken bool
	Watch time.Duration
}

// state is how a receipt is recorded.
func (r *Receipt) state() ReceiptState {
	if r.Delivered {
		return ReceiptDelivered
	}
	return ReceiptFailed
}

// Settle records a receipt with d, the attempt that it is about, and lets it advance the delivery. It
// reports whether it says anything new: carriers repeat themselves. It changes no verdict, and nothing
// that is final. That an earlier attempt's message was lost says nothing while a later one is on its
// way; that it arrived says that nobody needs a later one, also one that waits for its turn, unless a caller asked
// for that one since.
func (r Receipt) Settle(v *Verification, d *Delivery, now time.Time) (news bool) {
	if r.Taken {
		return r.take(v, d, now)
	}
	if r.Attempt < 1 || r.Attempt > v.Attempt || d.Receipt == ReceiptDelivered || d.Receipt == r.state() {
		return false
	}
	d.Receipt, d.ReceiptAt, d.ReceiptReason, d.ReceiptCode = r.state(), now, r.Reason, r.Code
	switch {
	case v.Delivery == DeliveryDelivered, v.Delivery == DeliveryFailed:
	case r.Attempt < v.Resent.Attempt: // of a message that didn't satisfy the caller
	case r.Delivered:
		v.Delivery, v.Reason, v.DueAt = DeliveryDelivered, NoReason, time.Time{}
	case v.Delivery == DeliveryQueued, r.Attempt != v.Attempt:
	case r.Retry && v.ended(now) == nil:
		v.Delivery, v.Reason, v.DueAt = DeliveryQueued, r.Reason, now
	case r.Doubt: // nobody is left who could do better
	default:
		v.fail(r.Reason)
	}
	return true
}

// take ends the doubt whether the carrier has the latest message, so that no other carrier gets it for that reason.
func (r Receipt) take(v *Verification, d *Delivery, now time.Time) (news bool) {
	if r.Attempt != v.Attempt || v.Delivery != DeliverySent || v.Reason != ReasonUnknown || d.Receipt != NoReceipt {
		return false
	}
	v.Reason, v.DueAt = NoReason, time.Time{}
	if until := now.Add(r.Watch); r.Watch > 0 && v.ended(until) == nil {
		v.DueAt = until.Truncate(time.Millisecond)
	}
	return true
}

// An Overdue is a verification whose message somebody should look at: see [Overdue.Claim].
type Overdue struct {
	Hint         time.Time // when it was noted down for; it may be out of date
	Verification *Verification
	Deliveries   []Delivery // the attempts that have ended, oldest first
	Damaged      error      // the rows can't be read; of Verification only the ID is known

	// By which channel somebody wants to claim it; "" is for those who end it. Calling is as
	// [Verification.Calling], of that attempt.
	By      Channel
	Calling time.Duration
	Price   money.Amount // of that attempt: see [Toll]
}

// A Hint names a message that somebody should look at, and when. Hints are ordered by time, then by ID.
type Hint struct {
	Due time.Time
	ID  ID
}

// Postpone puts off looking at v, see [Verification.Postpone], if it still is as it was seen: what has
// become of it since has a time of its own.
func (o Overdue) Postpone(v *Verification, until, now time.Time) {
	seen := o.Verification
	if v.Attempt == seen.Attempt && v.Delivery == seen.Delivery && v.DueAt.Equal(seen.DueAt) {
		v.Postpone(until, now)
	}
}
