package carrier

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

func TestAnErrorSaysWhatHappensNext(t *testing.T) {
	t.Parallel()
	base := errors.New("the line is dead")
	for name, c := range map[string]struct {
		err     error
		outcome verify.AttemptOutcome
		reason  verify.Reason
		after   time.Duration
	}{
		"a plain error":                       {base, verify.AttemptErrored, verify.ReasonError, 0},
		"refused":                             {Refused(base), verify.AttemptRefused, verify.ReasonRefused, 0},
		"later":                               {Later(time.Minute, base), verify.AttemptErrored, verify.ReasonLater, time.Minute},
		"unknown":                             {Unknown(base), verify.AttemptUnknown, verify.ReasonUnknown, 0},
		"a plain error with a reason":         {Because(verify.ReasonUnreachable, base), verify.AttemptErrored, verify.ReasonUnreachable, 0},
		"refused with a reason":               {Because(verify.ReasonBlocked, Refused(base)), verify.AttemptRefused, verify.ReasonBlocked, 0},
		"later with a reason":                 {Because(verify.ReasonBusy, Later(time.Second, base)), verify.AttemptErrored, verify.ReasonBusy, time.Second},
		"unknown with a reason":               {Because(verify.ReasonLost, Unknown(base)), verify.AttemptUnknown, verify.ReasonLost, 0},
		"the last reason":                     {Because(verify.ReasonBlocked, Because(verify.ReasonBusy, Refused(base))), verify.AttemptRefused, verify.ReasonBlocked, 0},
		"the outermost decision":              {Later(time.Second, Refused(base)), verify.AttemptErrored, verify.ReasonLater, time.Second},
		"a decision that was wrapped":         {fmt.Errorf("send: %w", Refused(base)), verify.AttemptRefused, verify.ReasonRefused, 0},
		"a decision joined with other errors": {errors.Join(errors.New("and so on"), Later(time.Hour, base)), verify.AttemptErrored, verify.ReasonLater, time.Hour},
	} {
		d := Decision(c.err)
		if d.Outcome != c.outcome || d.Reason != c.reason || d.After != c.after {
			t.Errorf("%s: got %v, %q, %v, want %v, %q, %v", name, d.Outcome, d.Reason, d.After, c.outcome, c.reason, c.after)
		}
		if !errors.Is(c.err, base) {
			t.Errorf("%s: %v doesn't lead to its cause", name, c.err)
		}
		if name != "a decision that was wrapped" && name != "a decision joined with other errors" && c.err.Error() != base.Error() {
			t.Errorf("%s: got the text %q, want the cause's %q", name, c.err, base)
		}
	}
}

// What callees, callers and we do ourselves must not count against a carrier.
func TestAnErrorSaysWhoseFailureItIs(t *testing.T) {
	t.Parallel()
	base := errors.New("the line is dead")
	for name, c := range map[string]struct {
		err  error
		want verify.Blame
	}{
		"a plain error":               {base, verify.BlameCarrier},
		"later":                       {Later(time.Minute, base), verify.BlameCarrier},
		"unknown":                     {Unknown(base), verify.BlameCarrier},
		"out of reach":                {Because(verify.ReasonUnreachable, base), verify.BlameCarrier},
		"bad credentials":             {Misconfigured(base), verify.BlameCarrier},
		"bad credentials, and final":  {Because(verify.ReasonMisconfigured, Refused(base)), verify.BlameCarrier},
		"refused":                     {Refused(base), verify.BlameMessage},
		"busy, and again later":       {Because(verify.ReasonBusy, Later(time.Minute, base)), verify.BlameMessage},
		"not answered":                {Because(verify.ReasonNoAnswer, base), verify.BlameMessage},
		"throttled":                   {Because(verify.ReasonThrottled, Later(time.Minute, base)), verify.BlameUs},
		"our shutdown":                {Because(verify.ReasonInterrupted, base), verify.BlameUs},
		"as it says":                  {Blaming(verify.BlameUs, Because(verify.ReasonUnreachable, base)), verify.BlameUs},
		"as it says, with a reason":   {Because(verify.ReasonUnreachable, Blaming(verify.BlameMessage, base)), verify.BlameMessage},
		"as it says, and was wrapped": {fmt.Errorf("send: %w", Blaming(verify.BlameUs, Refused(base))), verify.BlameUs},
	} {
		if got := Decision(c.err).Whose(); got != c.want {
			t.Errorf("%s: a failure of %v, want %v", name, got, c.want)
		}
	}
	if d := Decision(Blaming(verify.BlameUs, Later(time.Hour, base))); d.Outcome != verify.AttemptErrored || d.Reason.String() != "later" || d.After != time.Hour {
		t.Errorf("a blame changed what the error decides: %+v", d)
	}
}
