package dispatch_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

// waitingBehind starts two messages on a carrier that makes one call at a time: the second one waits until
// the first is answered.
func waitingBehind(t *testing.T, others ...carrier.Carrier) (k *countersigntest.Kit, waits string, a *way, answer chan struct{}) {
	t.Helper()
	answer = make(chan struct{})
	a = &way{name: "a", send: func(_ context.Context, n int) error {
		if n == 1 {
			<-answer
		}
		return nil
	}}
	k = countersigntest.New(t, countersigntest.Options{Carriers: append([]carrier.Carrier{a}, others...), Concurrency: 1})
	k.Start(to, "")
	k.Await("the first call", func() bool { return len(a.seen()) == 1 })
	return k, k.Start("+12025550101", `"valid_for":600`), a, answer
}

// A message that waits for a slow carrier is nobody's who died over it, however long it waits: it doesn't
// count as one that may have been sent.
func TestAMessageThatWaitsKeepsItsLease(t *testing.T) {
	t.Parallel()
	k, id, _, answer := waitingBehind(t)
	for range 20 {
		k.Advance(9 * time.Second)
		if v := k.Verification(id); v.Attempt != 1 || v.Delivery != verify.DeliverySending || !v.DueAt.After(k.Clock.Now()) {
			t.Fatalf("while it waits: attempt %d, %v, due %v", v.Attempt, v.Delivery, v.DueAt)
		}
	}
	close(answer)
	if diff := cmp.Diff([]string{"a accepted "}, attempts(t, k, settled(t, k, id))); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// Where there is another carrier, it doesn't wait for so long.
func TestAMessageThatWaitsGoesToAnotherCarrier(t *testing.T) {
	t.Parallel()
	b := &way{name: "b"}
	k, id, a, answer := waitingBehind(t, b)
	k.Advance(9 * time.Second)
	if n := len(b.seen()); n != 0 {
		t.Fatalf("the other one was called %d times after 9 s", n)
	}
	k.Advance(2 * time.Second)
	k.Await("the other carrier", func() bool { return len(b.seen()) == 1 })
	v := settled(t, k, id)
	close(answer)
	if diff := cmp.Diff([]string{"a errored throttled", "b accepted "}, attempts(t, k, v)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	third := settled(t, k, k.Start(to, "")) // behind what was moved
	if n := len(a.seen()); n != 2 || a.seen()[1].Verification != third.ID {
		t.Errorf("%d calls of the slow one, want the first message and the third", n)
	}
}

// What was canceled while it waits isn't kept, or moved.
func TestWhatWaitsInVainIsDropped(t *testing.T) {
	t.Parallel()
	k, id, a, answer := waitingBehind(t)
	if err := k.Verify.Cancel(context.Background(), k.Account(), k.Verification(id).ID); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		k.Advance(9 * time.Second)
	}
	close(answer)
	if v := settled(t, k, id); v.Delivery != verify.DeliveryFailed || v.Reason.String() != "canceled" {
		t.Errorf("the message is %v, %s", v.Delivery, v.Reason)
	}
	k.Dispatch.Close(context.Background()) // all that waited has had its turn
	if slices.ContainsFunc(a.seen(), func(m verify.Message) bool { return m.Verification.String() == id }) {
		t.Error("it was sent")
	}
}
