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
		outcome verify.DeliveryOutcome
		reason  string
		after   time.Duration
	}{
		"a plain error":                       {base, verify.Errored, "error", 0},
		"refused":                             {Refused(base), verify.Refused, "refused", 0},
		"later":                               {Later(time.Minute, base), verify.Errored, "later", time.Minute},
		"unknown":                             {Unknown(base), verify.Unknown, "unknown", 0},
		"a plain error with a reason":         {Because("unreachable", base), verify.Errored, "unreachable", 0},
		"refused with a reason":               {Because("blocked", Refused(base)), verify.Refused, "blocked", 0},
		"later with a reason":                 {Because("busy", Later(time.Second, base)), verify.Errored, "busy", time.Second},
		"unknown with a reason":               {Because("lost", Unknown(base)), verify.Unknown, "lost", 0},
		"the last reason":                     {Because("second", Because("first", Refused(base))), verify.Refused, "second", 0},
		"the outermost decision":              {Later(time.Second, Refused(base)), verify.Errored, "later", time.Second},
		"a decision that was wrapped":         {fmt.Errorf("send: %w", Refused(base)), verify.Refused, "refused", 0},
		"a decision joined with other errors": {errors.Join(errors.New("and so on"), Later(time.Hour, base)), verify.Errored, "later", time.Hour},
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
