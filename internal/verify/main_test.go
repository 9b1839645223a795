package verify

import (
	"context"
	"errors"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/wording"
)

// TestMain makes rapid draw the same on every run, so that a change that breaks nothing never
// turns red. To look further: go test ./internal/verify -rapid.seed=0 -rapid.checks=100000
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.seed", "20260504"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// t0 is when things happen, unless a test says otherwise.
var t0 = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// number1 is in a range that is kept free for fiction, and of a possible length.
const number1 = "+12025550100"

// started is a verification as a start leaves it: pending, its first attempt under way, with three
// guesses and ten minutes from t0.
func started() *Verification {
	return &Verification{
		ID: NewID(t0), Project: "project", Application: NewID(t0), Purpose: PurposeMFA,
		Terms:    Terms{Channel: ChannelSMS, To: number1, Sender: "+12025550199", Text: wording.Approved.Written, Format: "numeric", Length: 6, MaxAttempts: 3, ExpiresAt: t0.Add(10 * time.Minute)},
		Code:     Code{KeyID: 1, CodeMAC: []byte("mac"), SealedCode: []byte("sealed")},
		Progress: Progress{Delivery: DeliverySending, Attempt: 1, DueAt: t0.Add(20 * time.Second)},
	}
}

// settle is the terms of a request at t0, with channels by which its message may go on.
func settle(acct *Account, r StartRequest, from senders, then []Channel) (Terms, error) {
	s := &Service{senders: from, failover: map[Channel][]Channel{r.Channel: then}}
	o, t := s.orderOf(acct, r), Terms{}
	err := s.settle(context.Background(), acct, &o, t0, &t)
	return t, err
}

// rendered is the text of a user's message, framed.
func (e *engine) rendered(a Application, why *occasion, c Channel, from Sender, displayName string) (string, problems, error) {
	var p problems
	acct := &Account{Project: e.acct.Project, Application: a}
	o, t := order{occasion: why, sender: from, displayName: displayName}, Terms{Format: a.Format, Length: a.Length, Prefix: a.Prefix}
	text, _, err := e.render(context.Background(), acct, &o, &t, c, &p)
	return text, p, err
}

// destination is the number's row before anything happened to it.
func destination() *Destination { return &Destination{Project: "project", Number: number1} }

// clone copies all that v points to as well, so that a change can't hide behind a shared slice.
func (v *Verification) clone() *Verification {
	c := *v
	c.CodeMAC, c.SealedCode = slices.Clone(v.CodeMAC), slices.Clone(v.SealedCode)
	return &c
}

func (d *Destination) clone() *Destination {
	c := *d
	c.Sends = slices.Clone(d.Sends)
	return &c
}

// guess is one whose answer is known.
func guess(right bool) Guess {
	return Guess{Profile: ProfileStandard, Matches: func(*Verification) (bool, error) { return right, nil }}
}

// unasked is a guess that must be answered without comparing codes.
func unasked(t *testing.T) Guess {
	return Guess{Profile: ProfileStandard, Matches: func(*Verification) (bool, error) {
		t.Error("the code was compared")
		return false, nil
	}}
}

// codeOf is the code of an error that a caller may see, "" without one.
func codeOf(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want one for the caller", err)
	}
	return e.Code
}

// retryAfter is how long an error says to wait.
func retryAfter(err error) time.Duration {
	var e *Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.RetryAfter
}
