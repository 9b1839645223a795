package sip

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/carrier"
)

// Why a call didn't do what it was for. They are recorded and counted, so each has a fixed word.
const (
	Busy        = carrier.ReasonBusy
	NoAnswer    = carrier.ReasonNoAnswer
	Declined    = carrier.ReasonDeclined
	NoNumber    = "no_number"   // there is no such number
	Forbidden   = "forbidden"   // the trunk doesn't call this number for us
	Auth        = "auth"        // the trunk doesn't take our credentials
	NoMedia     = "no_media"    // no sound to agree on
	Unavailable = "unavailable" // the trunk can't at the moment
	Unreachable = carrier.ReasonUnreachable
	Redirected  = "redirected" // the trunk wants somebody else to be asked, which we don't do
	Full        = "full"       // as many calls as may be are under way
	HungUp      = carrier.ReasonHungUp
	NoKey       = carrier.ReasonNoKey
	Lost        = "lost"     // the trunk disappeared during the call
	TooLong     = "too_long" // what there is to say takes longer than a call may
	Interrupted = carrier.ReasonInterrupted
)

const (
	busyWait = 30 * time.Second // before a number that didn't answer is called again
	fullWait = 2 * time.Second
)

// stopped returns the error of a call whose context ended. Usually we were shutting down; otherwise
// the call took longer than all of its limits together.
func stopped(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return carrier.Blaming(carrier.Ours, carrier.Because(Unavailable, err))
	}
	return carrier.Because(Interrupted, err)
}

// full returns the error of a call that exceeds our limits.
func full(err error) error {
	return carrier.Blaming(carrier.Ours, carrier.Because(Full, carrier.Later(fullWait, err)))
}

// decide converts a final response to the error that tells the dispatcher what to do next, and decides
// whether the response is about the callee. The error leaves out the response's words, because they may
// repeat the number.
func decide(answer *wire.Response) error {
	status, after := answer.StatusCode, retryAfter(answer)
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
		return carrier.Blaming(carrier.Carriers, carrier.Because(Auth, carrier.Refused(err)))
	case 402, 403:
		return carrier.Because(Forbidden, carrier.Refused(err))
	case 406, 415, 488, 606:
		return carrier.Because(NoMedia, carrier.Refused(err))
	case 429:
		return carrier.Blaming(carrier.Ours, carrier.Because(Unavailable, later(0)))
	}
	switch {
	case status >= 500 && status < 600 && calleesCause(answer):
		return carrier.Blaming(carrier.Callees, carrier.Because(Unavailable, later(0)))
	case status >= 500 && status < 600:
		return carrier.Because(Unavailable, later(0))
	case status >= 300 && status < 400:
		return carrier.Blaming(carrier.Callees, carrier.Because(Redirected, err))
	case status >= 400 && status < 500:
		return carrier.Refused(err)
	}
	return err
}

// calleesCause reports whether a response names a cause of the telephone network that is about the
// callee (RFC 3326; Q.850's class "normal events", 1 to 31). Trunks may answer 5xx to a number that is
// out of order, as RFC 3398 §8.2.6.1 says.
func calleesCause(answer *wire.Response) bool {
	for _, h := range answer.GetHeaders("Reason") {
		protocol, parameters, _ := strings.Cut(h.Value(), ";")
		if !strings.EqualFold(strings.TrimSpace(protocol), "Q.850") {
			continue
		}
		for p := range strings.SplitSeq(parameters, ";") {
			name, value, _ := strings.Cut(p, "=")
			cause, err := strconv.Atoi(strings.TrimSpace(value))
			if strings.EqualFold(strings.TrimSpace(name), "cause") && err == nil {
				return cause >= 1 && cause <= 31
			}
		}
	}
	return false
}
