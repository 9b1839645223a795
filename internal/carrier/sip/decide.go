package sip

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/carrier"
)

// Why a call didn't do what it was for. They are recorded and counted, so each has a fixed word.
const (
	Busy        = "busy"
	NoAnswer    = "no_answer"   // it rang, or the phone is off
	Declined    = "declined"    // by whoever was called
	NoNumber    = "no_number"   // there is no such number
	Forbidden   = "forbidden"   // the trunk doesn't call this number for us
	Auth        = "auth"        // the trunk doesn't take our credentials
	NoMedia     = "no_media"    // no sound to agree on
	Unavailable = "unavailable" // the trunk can't at the moment
	Unreachable = "unreachable" // the trunk doesn't answer
	Redirected  = "redirected"  // the trunk wants somebody else to be asked, which we don't do
	Full        = "full"        // as many calls as may be are under way
	HungUp      = "hung_up"     // before the code was said to the end
	NoKey       = carrier.ReasonNoKey
	Lost        = "lost"     // the trunk disappeared during the call
	TooLong     = "too_long" // what there is to say takes longer than a call may
	Interrupted = carrier.ReasonInterrupted
)

const (
	busyWait = 30 * time.Second // before a number is called again that didn't answer
	fullWait = 2 * time.Second
)

// stopped is the error of a call that its caller ended: most often it was us, and else it took longer
// than all its times together.
func stopped(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return carrier.Because(Unavailable, err)
	}
	return carrier.Because(Interrupted, err)
}

// decide says what a final answer means. Its words are the trunk's, and may repeat the number.
func decide(status int, after time.Duration) error {
	err := fmt.Errorf("the trunk answered %d", status)
	later := func(d time.Duration) error { return carrier.Later(max(d, after), err) }
	switch status {
	case 486, 600:
		return carrier.Because(Busy, later(busyWait))
	case 408, 480, 487:
		return carrier.Because(NoAnswer, later(busyWait))
	case 603, 607, 608:
		return carrier.Because(Declined, carrier.Refused(err))
	case 404, 410, 414, 416, 484, 485, 604:
		return carrier.Because(NoNumber, carrier.Refused(err))
	case 401, 407:
		return carrier.Because(Auth, carrier.Refused(err))
	case 402, 403:
		return carrier.Because(Forbidden, carrier.Refused(err))
	case 406, 415, 488, 606:
		return carrier.Because(NoMedia, carrier.Refused(err))
	}
	switch {
	case status >= 500 && status < 600, status == 429:
		return carrier.Because(Unavailable, later(0))
	case status >= 300 && status < 400:
		return carrier.Because(Redirected, err)
	case status >= 400 && status < 500:
		return carrier.Refused(err)
	}
	return err
}
