// Package carrier says what a way out is: something that takes a message for one phone, and whose
// errors say what to do next. The packages below it are the ways.
package carrier

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A Carrier hands messages to a network. It is safe for concurrent use.
type Carrier interface {
	// Name is the carrier's name in the configuration, in deliveries and in metrics.
	Name() string
	// Send hands over one message and says what is known of it then. It gives up when ctx is done. Its
	// error decides what happens next: a plain one means that nothing was sent and another try may help;
	// see [Refused], [Later], [Unknown] and [Because].
	Send(ctx context.Context, m verify.Message) (Result, error)
}

// A Result is what a carrier says of a message at once, also where there is an error.
type Result struct {
	Ref       string // the carrier's own id of the message, by which a [Receipt] names it; may be empty
	Delivered bool   // the person has it: no receipt will follow
	Call      verify.Call
	Verdict   verify.Verdict // of an [Asker]'s call
}

// A Limiter is a carrier that knows how long a Send may take, from less than a second to minutes: then
// ctx is done. One that doesn't gets the dispatcher's time, a few seconds.
type Limiter interface {
	Limit() time.Duration
}

// An Asker is a carrier that can call somebody and ask him to press a key.
type Asker interface {
	Carrier
	// Ask calls as Send does, and its result also holds what the callee said. A verdict is the end of it:
	// nobody who was asked is called again, so an error beside it only says how the delivery failed.
	Ask(ctx context.Context, m verify.Message) (Result, error)
}

// A Pusher is a carrier that pushes messages to the devices of users.
type Pusher interface {
	Carrier
	// Push hands a message over for some devices, of which there is at least one. It returns those whose services took
	// it, and those that their services don't know any more. Its error is as that of Send: nil if one service took it.
	Push(ctx context.Context, m verify.Message, to []verify.Receiver) (used, gone []verify.ID, err error)
}

// A Closer is a carrier that keeps connections up.
type Closer interface {
	// Close ends them, once nobody sends any more and the receipts under way are recorded, or ctx is done.
	Close(ctx context.Context)
}

// A Silencer is a carrier that may be unable to report what became of a message.
type Silencer interface {
	// Silent reports whether no receipt can come.
	Silent() bool
}

// A Receipt is what a carrier says later of a message that it took. It names the message by its
// verification and attempt, or where the carrier knows only its own id, by that. One that is about
// another carrier's message says nothing.
type Receipt struct {
	Verification verify.ID // zero where only Ref is known
	Attempt      int       // the message's
	Carrier      string    // who says it, and whose id Ref is
	Ref          string    // what Send returned
	// Unsure says that Ref alone may not tell: whoever knows no message by it says so at once, with
	// [verify.ErrNotFound], instead of waiting for one.
	Unsure    bool
	Delivered bool
	Reason    verify.Reason // when not delivered
	Code      string        // the carrier's own for it; see [Coded]
	// Taken says that the carrier has the message after all, when its answer comes late. It says nothing of the phone.
	Taken bool
	// Doubt says that the carrier itself doesn't know: another carrier gets the message, and where there is none,
	// nothing has failed.
	Doubt bool
	// Hint tells the operator what to configure. It may be there with a delivery too.
	Hint string
}

// An Error carries a decision. It never holds a number or a code.
type Error struct {
	Outcome verify.AttemptOutcome
	Reason  verify.Reason
	Code    string        // the carrier's own for it, see [Coded]
	After   time.Duration // not before; 0 leaves the time to the dispatcher
	Err     error

	blame *verify.Blame // nil: as the reason tells
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Refused marks an error as final: this carrier will never send the message.
func Refused(err error) error {
	return &Error{Outcome: verify.AttemptRefused, Reason: verify.ReasonRefused, Code: codeOf(err), Err: err}
}

// Later marks an error as passing: try again after d.
func Later(d time.Duration, err error) error {
	return &Error{Outcome: verify.AttemptErrored, Reason: verify.ReasonLater, Code: codeOf(err), After: d, Err: err}
}

// Unknown marks an error after which the message may have been sent.
func Unknown(err error) error {
	return &Error{Outcome: verify.AttemptUnknown, Reason: verify.ReasonUnknown, Code: codeOf(err), Err: err}
}

// Misconfigured marks an error that lasts until an operator changes something: bad credentials, an
// account without permission. Nothing was sent, and others may take over.
func Misconfigured(err error) error { return Because(verify.ReasonMisconfigured, err) }

// Because gives an error a reason of its own, and keeps what it decides.
func Because(reason verify.Reason, err error) error {
	e := Decision(err)
	return &Error{Outcome: e.Outcome, Reason: reason, Code: e.Code, After: e.After, Err: err, blame: e.blame}
}

// Coded gives an error the carrier's own code for it, and keeps what it decides. A text that can't be a code is
// left out: see [CleanCode].
func Coded(code string, err error) error {
	e := *Decision(err)
	e.Code, e.Err = CleanCode(code), err
	return &e
}

func codeOf(err error) string { return Decision(err).Code }

// maxCode is the length of the longest code of a carrier that is kept.
const maxCode = 40

// CleanCode returns a carrier's own code for a failure, or "" for a text that can't be one, because it is long or
// holds spaces as a sentence does. Of a URL it returns the end. It can't tell whether the text repeats the code of the
// message: the dispatcher does.
func CleanCode(text string) string {
	if i := strings.LastIndexByte(text, '/'); i >= 0 && strings.Contains(text, "://") {
		text = text[i+1:]
	}
	if len(text) > maxCode || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.#:/-") != "" {
		return ""
	}
	return text
}

// Decision returns what an error decides; for a plain one, that another try may help.
func Decision(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Outcome: verify.AttemptErrored, Reason: verify.ReasonError, Err: err}
}
