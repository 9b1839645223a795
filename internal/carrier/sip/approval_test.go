package sip

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

var _ carrier.Asker = (*Carrier)(nil)

// question is a message that asks for a key. A carrier that says a code all the same would say this one.
func question() verify.Message {
	m := message
	m.ByKey, m.Asker = true, "The Shop"
	return m
}

// A said is what an Ask returned.
type said struct {
	verdict verify.Verdict
	outcome
}

func ask(ctx context.Context, c *Carrier) <-chan said {
	out := make(chan said, 1)
	go func() {
		r, err := c.Ask(ctx, question())
		out <- said{r.Verdict, outcome{ref: r.Ref, err: err}}
	}()
	return out
}

// wantSaid waits for the end of a call, and compares what the callee said.
func wantSaid(t *testing.T, got <-chan said, verdict verify.Verdict, o verify.AttemptOutcome, reason verify.Reason) {
	t.Helper()
	select {
	case s := <-got:
		out := make(chan outcome, 1)
		out <- s.outcome
		want(t, out, o, reason)
		if s.verdict != verdict {
			t.Errorf("got the verdict %v, want %v", s.verdict, verdict)
		}
	case <-time.After(patience):
		t.Fatal("the call doesn't end")
	}
}

// A key is an answer at once, whoever hangs up then.
func TestACallAsksForAKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		keys    string
		hangsUp bool
		verdict verify.Verdict
		outcome verify.AttemptOutcome
		reason  verify.Reason
	}{
		{"1", false, verify.VerdictApproves, verify.AttemptAccepted, verify.NoReason},
		{"1", true, verify.VerdictApproves, verify.AttemptAccepted, verify.NoReason},
		{"9", false, verify.VerdictRejects, verify.AttemptRefused, verify.ReasonRejected},
		{"9", true, verify.VerdictRejects, verify.AttemptRefused, verify.ReasonRejected},
		{"51", false, verify.VerdictApproves, verify.AttemptAccepted, verify.NoReason}, // the question is asked again
		{"19", false, verify.VerdictApproves, verify.AttemptAccepted, verify.NoReason}, // the first one counts
		{"", true, verify.VerdictUnanswered, verify.AttemptRefused, verify.ReasonHungUp},
		{"5", true, verify.VerdictUnanswered, verify.AttemptRefused, verify.ReasonHungUp},
	} {
		t.Run(fmt.Sprint(tt.keys, " hangs up ", tt.hangsUp), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			ended := make(chan Call, 1)
			c := p.trunk(func(c *Config) { c.Ended = func(r Call) { ended <- r } })
			out := ask(t.Context(), c)
			invite := p.answer()
			p.heard(30)
			for i := range tt.keys {
				p.ask(wire.INFO, invite, uint32(7+i), "application/dtmf", tt.keys[i:i+1])
				p.status()
			}
			if tt.hangsUp {
				p.bye(invite)
			} else {
				p.reply(p.expect(wire.BYE), 200, "")
			}
			wantSaid(t, out, tt.verdict, tt.outcome, tt.reason)
			if r := <-ended; r.Verdict != tt.verdict || r.Said || r.Reason != tt.reason {
				t.Errorf("recorded %+v", r)
			}
			script := c.Speech.Script(t.Context(), "", nil, "7")
			q := c.Speech.Question(t.Context(), "", "")
			sound := listen(t, p.heard(1), mu)
			if bytes.Contains(sound, script.Code[Rate:Rate*2]) {
				t.Error("the code was said")
			}
			if !bytes.HasPrefix(sound, q.Ask[:frame*20]) {
				t.Error("the call doesn't begin with the question")
			}
			if !tt.hangsUp && tt.keys != "19" && !bytes.Contains(sound, q.Thanks) {
				t.Error("the call doesn't end with thanks")
			}
		})
	}
}

func TestAnAnsweringMachineApprovesNothing(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(nil)
	out := ask(t.Context(), c)
	p.answer()
	p.reply(p.expect(wire.BYE), 200, "")
	wantSaid(t, out, verify.VerdictUnanswered, verify.AttemptRefused, verify.ReasonNoKey)
	q := c.Speech.Question(t.Context(), "", "")
	if n := bytes.Count(listen(t, p.heard(1), mu), q.Ask); n != askTimes {
		t.Errorf("it was asked %d times, want %d", n, askTimes)
	}
}

// A key before the question's first word answers something else: "to accept the call, press 1", say, of
// whoever puts the callee through.
func TestAKeyBeforeTheQuestionApprovesNothing(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := ask(t.Context(), p.trunk(nil))
	invite := p.answer()
	p.ask(wire.INFO, invite, 7, "application/dtmf", "1")
	p.status()
	p.heard(60)
	p.bye(invite)
	wantSaid(t, out, verify.VerdictUnanswered, verify.AttemptRefused, verify.ReasonHungUp)
}

// Who wasn't reached wasn't asked, and may be called by others.
func TestWhoIsNotReachedHasSaidNothing(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := ask(t.Context(), p.trunk(nil))
	p.reply(p.expect(wire.INVITE), 486, "")
	wantSaid(t, out, verify.NoVerdict, verify.AttemptErrored, verify.ReasonBusy)

	p = newPeer(t)
	ctx, cancel := context.WithCancel(t.Context())
	out = ask(ctx, p.trunk(nil))
	p.answer()
	p.heard(5)
	cancel()
	p.reply(p.expect(wire.BYE), 200, "")
	wantSaid(t, out, verify.NoVerdict, verify.AttemptErrored, verify.ReasonInterrupted)
}
