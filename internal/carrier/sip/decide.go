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
	"github.com/countersign/countersign/internal/verify"
)

const (
	busyWait = 30 * time.Second // before a number that didn't answer is called again
	fullWait = 2 * time.Second
)

// stopped returns the error of a call whose context ended. Usually we were shutting down; otherwise
// the call took longer than all of its limits together.
func stopped(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return carrier.Blaming(verify.BlameUs, carrier.Because(verify.ReasonUnavailable, err))
	}
	return carrier.Because(verify.ReasonInterrupted, err)
}

// full returns the error of a call that exceeds our limits.
func full(err error) error {
	return carrier.Blaming(verify.BlameUs, carrier.Because(verify.ReasonFull, carrier.Later(fullWait, err)))
}

// decide converts a final response to the error that tells the dispatcher what to do next, and decides
// whether the response is about the callee. The error leaves out the response's words, because they may
// repeat the number.
func decide(invite *wire.Request, answer *wire.Response) error {
	status, after := answer.StatusCode, retryAfter(answer)
	cause := causeOf(answer)
	err := carrier.Coded(codeOf(status, cause), fmt.Errorf("the trunk answered %d", status))
	switch status {
	case 401, 403, 407:
		err = asFrom(invite, err)
	case 404, 484, 604: // also the answer to an address that the trunk doesn't take for its own
		err = fmt.Errorf("%w for a number at %s", err, domainOf(invite))
	}
	later := func(d time.Duration) error { return carrier.Later(max(d, after), err) }
	if status != 401 && status != 402 && status != 407 && status != 429 && status >= 400 {
		if cause != 0 {
			err = fmt.Errorf("%w with cause %d", err, cause)
		}
		switch cause { // more exact than the status, into which gateways pack several causes
		case 1, 22, 28: // unallocated, changed, incomplete
			return carrier.Because(verify.ReasonInvalidNumber, carrier.Refused(err))
		case 17:
			return carrier.Because(verify.ReasonBusy, later(busyWait))
		case 18, 19, 20:
			return carrier.Because(verify.ReasonNoAnswer, later(busyWait))
		case 21:
			if status != 403 { // with it, the trunk itself is the one that rejects
				return carrier.Because(verify.ReasonDeclined, carrier.Refused(err))
			}
		case 34, 38, 41, 42, 44, 47: // no circuit, a failure, congestion, nothing left
			return carrier.Because(verify.ReasonUnavailable, later(0))
		}
	}
	switch status {
	case 486, 600:
		return carrier.Because(verify.ReasonBusy, later(busyWait))
	case 408, 480, 487:
		return carrier.Because(verify.ReasonNoAnswer, later(busyWait))
	case 603, 607, 608:
		return carrier.Because(verify.ReasonDeclined, carrier.Refused(err))
	case 404, 410, 414, 416, 484, 485, 604:
		return carrier.Because(verify.ReasonInvalidNumber, carrier.Refused(err))
	case 401, 407:
		return carrier.Blaming(verify.BlameCarrier, carrier.Because(verify.ReasonAuth, carrier.Refused(err)))
	case 402, 403:
		return carrier.Because(verify.ReasonForbidden, carrier.Refused(err))
	case 406, 415, 488, 606:
		return carrier.Because(verify.ReasonNoMedia, carrier.Refused(err))
	case 429:
		return carrier.Blaming(verify.BlameUs, carrier.Because(verify.ReasonUnavailable, later(0)))
	}
	switch {
	case status >= 500 && status < 600 && calleesCause(answer):
		return carrier.Blaming(verify.BlameMessage, carrier.Because(verify.ReasonUnavailable, later(0)))
	case status >= 500 && status < 600:
		return carrier.Because(verify.ReasonUnavailable, later(0))
	case status >= 300 && status < 400:
		return carrier.Blaming(verify.BlameMessage, carrier.Because(verify.ReasonRedirected, err))
	case status >= 400 && status < 500:
		return carrier.Refused(err)
	}
	return err
}

// codeOf is what a response is stored as.
func codeOf(status, cause int) string {
	code := fmt.Sprintf("sip:%d", status)
	if cause != 0 {
		code += fmt.Sprintf("/Q.850:%d", cause)
	}
	return code
}

// calleesCause reports whether a response names a cause of the telephone network that is about the
// callee (Q.850's class "normal events", 1 to 31). Trunks may answer 5xx to a number that is
// out of order, as RFC 3398 §8.2.6.1 says.
func calleesCause(answer *wire.Response) bool {
	cause := causeOf(answer)
	return cause >= 1 && cause <= 31
}

// causeOf returns the cause of the telephone network in a message's Reason (RFC 3326, Q.850), or 0.
func causeOf(m interface{ GetHeaders(string) []wire.Header }) int {
	for _, h := range m.GetHeaders("Reason") {
		for _, reason := range splitList(h.Value()) {
			protocol, parameters, _ := strings.Cut(reason, ";")
			if !strings.EqualFold(strings.TrimSpace(protocol), "Q.850") {
				continue
			}
			for p := range strings.SplitSeq(parameters, ";") {
				name, value, _ := strings.Cut(p, "=")
				cause, err := strconv.Atoi(strings.TrimSpace(value))
				if strings.EqualFold(strings.TrimSpace(name), "cause") && err == nil && cause > 0 && cause <= 127 {
					return cause
				}
			}
		}
	}
	return 0
}

// cutOff reports whether a BYE says that the telephone network failed, so that the callee didn't hang up:
// Q.850's classes for what isn't available, and the end of a timer.
func cutOff(bye *wire.Request) bool {
	cause := causeOf(bye)
	return cause >= 32 && cause <= 47 || cause == 102
}
