package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// beside makes a server with two projects on a carrier that answers when the test says so, and returns how
// to start a verification of each.
func beside(t *testing.T, a carrier.Carrier, queue int) (k *countersigntest.Kit, flood, quiet func(n int) error) {
	t.Helper()
	k = countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a}, Queue: queue, Concurrency: 1, Unattended: true, BreakAfter: -1})
	key := account.NewSecret()
	k.AddProject(verify.Project{ID: "quiet", Name: "Quiet", Profile: verify.ProfileCompat}, key)
	other, err := k.Accounts.AuthenticateKey(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	start := func(acct *verify.Account, prefix string) func(int) error {
		return func(n int) error {
			_, err := k.Verify.Start(t.Context(), acct, verify.StartRequest{Channel: verify.ChannelSMS, To: fmt.Sprintf("%s%04d", prefix, n)})
			return err
		}
	}
	return k, start(k.Account(), "+1202555"), start(other, "+1303555")
}

// While one project floods a slow carrier, the other finds places, and its messages don't wait behind the
// flood. The one that floods is told to wait.
func TestAFloodTakesNoPlacesOfOthers(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	a := &way{name: "a", send: func(context.Context, int) error { <-answer; return nil }}
	const places = 80
	k, flood, quiet := beside(t, a, places)
	if err := quiet(0); err != nil {
		t.Fatal(err)
	}
	k.Await("the first call", func() bool { return len(a.seen()) == 1 })
	taken := 0
	for n := range 3 * places {
		switch err := flood(n); {
		case err == nil:
			taken++
		case !errors.Is(err, verify.ErrShareSpent):
			t.Fatalf("the flood's start %d: got %v, want %v", n, err, verify.ErrShareSpent)
		default:
			var known *verify.Error
			if errors.As(err, &known); known.Kind != verify.KindLimited || known.RetryAfter <= 0 {
				t.Fatalf("got %+v, want 429 with a time to wait", known)
			}
		}
	}
	if taken != places/2 {
		t.Errorf("the flood took %d of %d places beside another, want half", taken, places)
	}
	for n := range places/2 - 1 {
		if err := quiet(1 + n); err != nil {
			t.Fatalf("the quiet one's start %d beside the flood: %v", n, err)
		}
	}
	close(answer)
	k.Await("all calls", func() bool { return len(a.seen()) == places })
	first := a.seen()[:places/2]
	if n := count(first, "+1303"); n < places/5 {
		t.Errorf("of the first %d calls %d are the quiet one's, want every second", len(first), n)
	}
}

// Places that nobody else has wanted are the lone project's.
func TestALoneProjectHasAllPlaces(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	defer close(answer)
	a := &way{name: "a", send: func(context.Context, int) error { <-answer; return nil }}
	k, flood, _ := beside(t, a, 80)
	for n := range 80 {
		if err := flood(n); err != nil {
			t.Fatalf("place %d of 80: %v", n, err)
		}
	}
	if err := flood(80); !errors.Is(err, verify.ErrBusy) {
		t.Errorf("got %v, want %v", err, verify.ErrBusy)
	}
	if n := k.Dispatch.Depth("a"); n != 80 {
		t.Errorf("%d places are taken", n)
	}
}

// Retries compete for places as starts do.
func TestRetriesOfAFloodTakeNoPlacesOfOthers(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	a := &way{name: "a", send: func(_ context.Context, n int) error {
		if n > 60 {
			<-answer
		}
		return errors.New("not now")
	}}
	k, flood, quiet := beside(t, a, 80)
	for n := range 60 {
		if err := flood(n); err != nil {
			t.Fatal(err)
		}
	}
	k.Await("the first attempts", func() bool { return k.Dispatch.Depth("a") == 0 })
	if err := quiet(0); err != nil {
		t.Fatal(err)
	}
	k.Advance(2 * time.Second) // all retries are due
	if n := k.Dispatch.Depth("a"); n > 41 {
		t.Errorf("retries of one project took %d of 80 places beside another's", n)
	}
	if err := quiet(1); err != nil {
		t.Errorf("the quiet one's start beside them: %v", err)
	}
	close(answer)
}

func count(all []verify.Message, prefix phone.Number) (n int) {
	for _, m := range all {
		if m.To[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}
