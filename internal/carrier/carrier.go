// Package carrier says what a way out is: something that takes a message for one phone, and whose
// errors say what to do next. The packages below it are the ways.
package carrier

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A Carrier hands messages to a network. It is safe for concurrent use.
type Carrier interface {
	// Name is the carrier's name in the configuration, in deliveries and in metrics.
	Name() string
	// Send hands over one message and returns the carrier's own id of it. It gives up when ctx
	// is done. Its error decides what happens next: a plain one means that nothing was sent and
	// another try may help; see [Refused], [Later], [Unknown] and [Because].
	Send(ctx context.Context, m verify.Message) (ref string, err error)
}

// A Receipt is what a carrier says later of a message that it took. A carrier that knows only its own
// id of the message leaves Verification zero, and fills in Carrier and Ref.
type Receipt struct {
	Verification verify.ID
	Attempt      int    // the message's
	Carrier      string // its name
	Ref          string // what Send returned, or would have
	Delivered    bool
	Reason       string // when not delivered
}

// An Error carries a decision. It never holds a number or a code.
type Error struct {
	Outcome verify.DeliveryOutcome
	Reason  string        // one of a few words, for records and metrics
	After   time.Duration // not before; 0 leaves the time to the dispatcher
	Err     error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Refused marks an error as final: this carrier will never send the message.
func Refused(err error) error {
	return &Error{Outcome: verify.Refused, Reason: "refused", Err: err}
}

// Later marks an error as passing: try again after d.
func Later(d time.Duration, err error) error {
	return &Error{Outcome: verify.Errored, Reason: "later", After: d, Err: err}
}

// Unknown marks an error after which the message may have been sent.
func Unknown(err error) error {
	return &Error{Outcome: verify.Unknown, Reason: verify.ReasonUnknown, Err: err}
}

// Because gives an error a reason of its own, and keeps what it decides.
func Because(reason string, err error) error {
	e := Decision(err)
	return &Error{Outcome: e.Outcome, Reason: reason, After: e.After, Err: err}
}

// Decision returns what an error decides; for a plain one, that another try may help.
func Decision(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Outcome: verify.Errored, Reason: "error", Err: err}
}
