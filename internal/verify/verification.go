package verify

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/wording"
)

// A Verification asks whether somebody holds an address. It is pending until a right code approves
// it, or it expires, is canceled, or runs out of guesses; after that it never changes again.
type Verification struct {
	ID          ID // its time is when the verification was made
	Project     ProjectID
	Application ID
	User        string // of the application, if it is for one: see [User]
	Purpose     Purpose
	APIKey      ID     // by which it was started; zero: nobody knows
	Address     string // of the client who started it; "": nobody knows
	Fee         Fee
	Previous    ID // the number's verification before this one, if any

	Terms
	Code
	Progress

	// Superseded says that its user has a newer one, or is gone. It isn't stored: a store reads it
	// from the user's row, which is written anyway, whenever it loads the verification.
	Superseded bool

	// Calling is how long the call of the first attempt may take, from when it begins; 0 if that makes none.
	// It isn't stored either: whoever starts a verification says so.
	Calling time.Duration

	// Toll is what the first message takes of the project's budget. It isn't stored: what was taken is Held.
	Toll Toll

	// Supersedes says that it takes the place of the older ones of its number and purpose. It isn't stored: what
	// it did is in their rows.
	Supersedes bool
}

// Terms are what a request and its application decided. They are frozen: a later change of settings changes
// nothing that is under way, and a message sent again after a crash says the same.
type Terms struct {
	Channel  Channel
	To       phone.Number // the key of the phone: see [phone.Number.Key]
	Written  phone.Number // the form that its caller wrote; "": To
	Sender   string       // the number or name that the message comes from
	Text     string       // framed: see [wording.Fill]
	Locale   string       // of a call, a BCP 47 tag; "" leaves it to the carrier
	Approval Approval
	Asker    string // who asks in a call for a key; "": nobody is named
	// Fallbacks are the channels by which the message may go on when no carrier of Channel can get it
	// there, the preferred one first.
	Fallbacks   []Fallback
	Format      code.Format
	Prefix      string // of the code, in the message and, if somebody types it, in a guess
	Length      int
	MaxAttempts int
	ExpiresAt   time.Time // guesses at or after this instant are refused
	Details
}

// A Code is what a verification keeps of its code.
type Code struct {
	KeyID      uint32 // of the key that made the two below
	CodeMAC    []byte // of the code, its id and its destination
	SealedCode []byte // for sending; wiped in the write that ends the verification
}

// Progress is what changes of a verification: its own state, and beside that the delivery of its message,
// see [Verification.Claim].
type Progress struct {
	Status  Status
	Guesses int       // spent so far; right or wrong, each one counts
	EndedAt time.Time // zero while pending, and when time ended it

	Delivery DeliveryState
	Reason   Reason // why the delivery failed, or isn't known to have succeeded
	Attempt  int    // the latest attempt's number, from 1; 0 before the first
	// Prompt is what the user's devices are asked.
	Prompt Prompt
	// Resent says whether the message was to go out again, after the one of the start.
	Resent Resent
	// Bearer is who had the message last.
	Bearer Bearer
	// Held is what the attempt under way has taken of the project's budget.
	Held Held
	// DueAt is the lease's end while Sending, and the next attempt's time while Queued. While Sent it is
	// when to stop waiting for a receipt, or zero.
	DueAt time.Time
}

// A Fallback is another channel for a verification's message, and what it says there.
type Fallback struct {
	Channel Channel
	Text    string // as the verification's
}

// A Status is where a verification is. Only Pending ever changes.
type Status int

// The numbers are stored.
const (
	StatusPending   Status = 0
	StatusApproved  Status = 1
	StatusExhausted Status = 2
	StatusCanceled  Status = 3
	// Never stored: see Verification.StatusAt.
	StatusExpired Status = 4
	// Stored where a start took the place of older ones of its number: see Verification.Supersede. A user's newer
	// code is seen from the user's row instead.
	StatusSuperseded Status = 5
)

func (s Status) String() string {
	return [...]string{"pending", "approved", "exhausted", "canceled", "expired", "superseded"}[s]
}

// StatusAt is the status at an instant. Expiry is decided here, when somebody asks, and not by a
// cleaner that may come late; and that a newer one took its place, too.
func (v *Verification) StatusAt(now time.Time) Status {
	if v.Status == StatusPending && v.Superseded {
		return StatusSuperseded
	}
	if v.Status == StatusPending && !now.Before(v.ExpiresAt) {
		return StatusExpired
	}
	return v.Status
}

// ended is the error that says how the verification ended, or nil.
func (v *Verification) ended(now time.Time) error {
	switch v.StatusAt(now) {
	case StatusApproved:
		return ErrApproved
	case StatusExhausted:
		return ErrGuessesSpent
	case StatusCanceled:
		return ErrCanceled
	case StatusExpired:
		return ErrExpired
	case StatusSuperseded:
		return ErrSuperseded
	}
	return nil
}

// Binding is what the code of v is bound to.
func (v *Verification) Binding() keyset.Binding {
	return keyset.Binding{Project: string(v.Project), ID: v.ID, Destination: string(v.To), Purpose: string(v.Purpose), Payment: v.Payment.bound()}
}

// maxStartDelay is how old a verification's id may be when it is committed. Whoever looks for
// messages that nobody sends can rely on it: behind this delay no row appears any more.
const maxStartDelay = 5 * time.Second

// Begin starts v on its destination at now: it charges the send limits, leases the first attempt to
// the caller, and takes the phone for a call. A verification whose life ends before it is committed is counted and never sent.
func (v *Verification) Begin(d *Destination, limits Limits, lease time.Duration, now time.Time) error {
	if now.Sub(v.ID.Time()) >= maxStartDelay {
		return ErrBusy
	}
	if err := d.Begin(v, limits, now); err != nil {
		return err
	}
	if v.ended(now) != nil {
		v.fail(ReasonExpired)
		return nil
	}
	v.lease(lease, now)
	if v.Calling > 0 {
		d.Phone.hold(v, lease+v.Calling, now)
	}
	return nil
}

// A Guess is a code that somebody typed for a verification.
type Guess struct {
	Project ProjectID
	ID      ID
	Purpose Purpose // what the code must be for; "": anything
	Payment Payment // which the code must authorize
	Profile Profile // decides how long a number has to wait after wrong guesses
	// Matches compares in constant time. Its error means that nobody can tell, and spends nothing.
	Matches func(*Verification) (bool, error)
}

// Means reports whether the guess is about a verification like v: one for another purpose doesn't exist for it.
func (g *Guess) Means(v *Verification) bool { return g.Purpose == "" || g.Purpose == v.Purpose }

// An Outcome is what came of a guess.
type Outcome struct {
	Approved    bool
	GuessesLeft int
	// WrongPayment says that the guess was for another payment than the code's. Whether the code was right, nobody learns.
	WrongPayment bool
	// Waiting says that no code was guessed, and that no device has answered yet: see [Verification.Outcome].
	Waiting bool
	Channel Channel // by which the code went out
	Country string  // of the number of a verification that was approved

	// Verification is whose code was guessed, where the guess didn't name it. A store fills it in, also beside
	// the error that says how that verification ended.
	Verification ID
}

// Check spends one guess. A right one approves v and clears the number's failures; a wrong one
// counts against both. An ended verification is answered as such before any wait is looked at.
func (v *Verification) Check(d *Destination, g Guess, now time.Time) (Outcome, error) {
	if err := v.ended(now); err != nil {
		return Outcome{}, err
	}
	if err := d.admit(v, g.Profile, now); err != nil {
		return Outcome{}, err
	}
	right, err := g.Matches(v)
	if err != nil {
		return Outcome{}, err
	}
	paid := g.Payment.equal(v.Payment)
	right = right && paid
	v.Guesses++
	left := v.MaxAttempts - v.Guesses
	switch {
	case right:
		d.Clear()
		v.end(StatusApproved, now)
		if !v.Prompt.IsZero() { // no check without a code hears it as well
			v.Prompt.Told = now
		}
	default:
		d.fail(g.Profile, now)
		if left <= 0 {
			v.end(StatusExhausted, now)
		}
	}
	out := Outcome{Approved: right, GuessesLeft: left, WrongPayment: !paid, Channel: v.Channel}
	if right {
		out.Country = v.Reach().Region()
	}
	return out, nil
}

// read turns what somebody typed into the code that it spells, which may have the prefix before it.
// Their lengths differ, so no text can be read both ways.
func (v *Verification) read(typed string) (_ string, possible bool) {
	guess, possible := code.Normalize(v.Format, typed)
	if v.Prefix == "" || possible && len(guess) == v.Length {
		return guess, possible
	}
	if rest, ok := strings.CutPrefix(code.Fold(v.Format, typed), code.Fold(v.Format, v.Prefix)); ok {
		return code.Normalize(v.Format, rest)
	}
	return guess, possible
}

// Cancel ends v because its caller says so.
func (v *Verification) Cancel(now time.Time) error {
	if err := v.ended(now); err != nil {
		return err
	}
	v.end(StatusCanceled, now)
	return nil
}

// Abandon ends a verification whose caller was told that its start failed, though it was committed: it is
// canceled, and the message of its first attempt, which nobody has sent, will not be. It reports whether
// that changed anything.
func (v *Verification) Abandon(now time.Time) bool {
	if v.Cancel(now) != nil {
		return false
	}
	if v.Delivery == DeliverySending && v.Attempt == 1 {
		v.fail(v.Status.Reason())
	}
	return true
}

// end makes s final. The code is wiped, and who asked for it. An approval settles an open delivery, for the code proves
// it; else a message that waits for its turn is given up, and one in a carrier's hands is left to
// whoever holds its lease.
func (v *Verification) end(s Status, now time.Time) {
	v.Status, v.EndedAt, v.SealedCode, v.Prompt.Client = s, now, nil, Client{}
	switch {
	case s == StatusApproved && v.Delivery != DeliveryFailed:
		v.Delivery, v.Reason, v.DueAt = DeliveryDelivered, NoReason, time.Time{}
	case s != StatusApproved && v.Delivery == DeliveryQueued:
		v.fail(s.Reason())
	}
}

// Reach is the number that carriers are given, in the form that its caller wrote: which form reaches a phone
// is for them to know.
func (v *Verification) Reach() phone.Number { return cmp.Or(v.Written, v.To) }

// mayGoBy reports whether the start decided on a channel that is such a one.
func (v *Verification) mayGoBy(such func(Channel) bool) bool {
	return such(v.Channel) || slices.ContainsFunc(v.Fallbacks, func(f Fallback) bool { return such(f.Channel) })
}

// pushed reports whether the code may have gone to a device instead of the number.
func (v *Verification) pushed() bool {
	return v.Resent.Channel.ToDevices() || v.mayGoBy(Channel.ToDevices)
}

// Message is what a carrier of a channel gets, with the code in its place; one that asks for a key has
// none. By another channel, and after a resend, it is another message, or a receiver of both would drop it as a repeat.
func (v *Verification) Message(c Channel, code Secret) Message {
	by, framed := c, v.textBy(c)
	if c == v.Channel {
		by = ""
	}
	m := Message{
		ID:           v.ID.message(by, v.Resent.Count),
		Verification: v.ID,
		Project:      v.Project,
		Application:  v.Application,
		User:         v.User,
		Channel:      c,
		To:           v.Reach(),
		From:         v.Sender,
		Locale:       v.Locale,
		ExpiresAt:    v.ExpiresAt,
		Attempt:      v.Attempt,
	}
	if v.asks(c) {
		m.ByKey, m.Asker, m.Body = true, v.Asker, Secret(v.question())
		return m
	}
	if v.prompts(c) {
		m.ByPrompt, m.Question, m.Asker = true, v.ask(), v.Asker
		if m.Question != nil {
			m.Body = promptText
		}
		return m
	}
	m.AfterKey = (v.Approval == ApprovalAfterKey || v.Approval == ApprovalByPrompt) && c.IsCall()
	m.Body, m.Code, m.Text = Secret(wording.Fill(framed, v.Prefix+code.Reveal(), v.Format)), Secret(v.Prefix)+code, v.around(c, framed)
	return m
}

// around is the text around the code for carriers that speak, "" where they say the same in the
// words of the locale: for the approved text, and in other languages for our texts to users, which
// are English and differ only by naming who asks.
func (v *Verification) around(c Channel, framed string) string {
	language, _, _ := strings.Cut(v.Locale, "-")
	foreign := language != "" && !strings.EqualFold(language, "en")
	if framed == wording.Approved.In(c.medium()) || foreign && wording.Ours(framed) {
		return ""
	}
	return wording.Marked(framed)
}
