package carrier

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
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

// What callees, callers and we do ourselves must not count against a carrier.
func TestAnErrorSaysWhoseFailureItIs(t *testing.T) {
	t.Parallel()
	base := errors.New("the line is dead")
	for name, c := range map[string]struct {
		err  error
		want Blame
	}{
		"a plain error":               {base, Carriers},
		"later":                       {Later(time.Minute, base), Carriers},
		"unknown":                     {Unknown(base), Carriers},
		"out of reach":                {Because(ReasonUnreachable, base), Carriers},
		"bad credentials":             {Misconfigured(base), Carriers},
		"bad credentials, and final":  {Because(ReasonMisconfigured, Refused(base)), Carriers},
		"refused":                     {Refused(base), Callees},
		"refused in its own words":    {Because("its own", Refused(base)), Callees},
		"busy, and again later":       {Because(ReasonBusy, Later(time.Minute, base)), Callees},
		"not answered":                {Because(ReasonNoAnswer, base), Callees},
		"throttled":                   {Because(ReasonThrottled, Later(time.Minute, base)), Ours},
		"our shutdown":                {Because(ReasonInterrupted, base), Ours},
		"as it says":                  {Blaming(Ours, Because(ReasonUnreachable, base)), Ours},
		"as it says, with a reason":   {Because(ReasonUnreachable, Blaming(Callees, base)), Callees},
		"as it says, and was wrapped": {fmt.Errorf("send: %w", Blaming(Ours, Refused(base))), Ours},
	} {
		if got := Decision(c.err).Whose(); got != c.want {
			t.Errorf("%s: a failure of %v, want %v", name, got, c.want)
		}
	}
	if d := Decision(Blaming(Ours, Later(time.Hour, base))); d.Outcome != verify.Errored || d.Reason != "later" || d.After != time.Hour {
		t.Errorf("a blame changed what the error decides: %+v", d)
	}
}

// A reason that is new here says whose failure it is.
func TestEveryReasonHasABlame(t *testing.T) {
	t.Parallel()
	source, err := parser.ParseFile(token.NewFileSet(), "carrier.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, o := range source.Scope.Objects {
		spec, ok := o.Decl.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(o.Name, "Reason") {
			continue
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			continue // one of package verify
		}
		found++
		if _, ok := blames[strings.Trim(literal.Value, `"`)]; !ok {
			t.Errorf("%s isn't in blames", o.Name)
		}
	}
	if found < 10 {
		t.Errorf("found %d reasons", found)
	}
}
