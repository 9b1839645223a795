package dispatch_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/verify"
)

// slow is a carrier that has one message at a time, until the test lets it go.
func slow(name string) (w *way, begun, let chan struct{}) {
	begun, let = make(chan struct{}, 1000), make(chan struct{})
	return &way{name: name, send: func(ctx context.Context, _ int) error {
		begun <- struct{}{}
		select {
		case <-let:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}, begun, let
}

// A drained carrier gets no message, also none that waits for it; others do. What it has stays with it.
func TestADrainedCarrierGetsNothing(t *testing.T) {
	t.Parallel()
	a, begun, let := slow("a")
	b := &way{name: "b"}
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{a, b}, Lines: map[string]dispatch.Line{"a": {Concurrency: 1}},
	})
	first := k.Start(to, "")
	<-begun
	waiting := k.Start("+12025550101", "") // in the queue of a
	if err := k.Store.Stop(t.Context(), verify.Stop{Kind: verify.StopCarrier, Name: "a"}); err != nil {
		t.Fatal(err)
	}
	drained := func() bool {
		return slices.ContainsFunc(k.Dispatch.States(), func(s dispatch.State) bool { return s.Name == "a" && s.Drained })
	}
	k.Await("the server's look", drained)
	settled(t, k, k.Start("+12025550102", ""))
	close(let)
	for _, id := range []string{first, waiting} {
		k.Await("the message", func() bool { k.Advance(time.Second); return !k.Verification(id).Open() })
	}
	if len(a.seen()) != 1 || len(b.seen()) != 2 || b.seen()[1].Verification != k.Verification(waiting).ID {
		t.Errorf("a got %d messages and b %d, want the first and the two after it", len(a.seen()), len(b.seen()))
	}

	if err := k.Store.Stop(t.Context(), verify.Stop{Kind: verify.StopCarrier, Name: "b"}); err != nil {
		t.Fatal(err)
	}
	k.Await("the server's look at b", func() bool {
		return !slices.ContainsFunc(k.Dispatch.States(), func(s dispatch.State) bool { return !s.Drained })
	})
	if status, body := k.Post("sms", `{"to":"`+to+`"}`); status != 503 {
		t.Errorf("with all carriers drained: got %d %s, want 503", status, body)
	}
	if err := k.Store.Allow(t.Context(), verify.StopCarrier, "a"); err != nil {
		t.Fatal(err)
	}
	k.Await("the server's look at a", func() bool { return !drained() })
	settled(t, k, k.Start("+12025550103", ""))
	if len(a.seen()) != 2 {
		t.Errorf("a got %d messages, want one more when it takes some again", len(a.seen()))
	}
}

// Nothing goes to a country that an operator has stopped: no start, nothing that waits for its carrier, and no retry.
func TestAStoppedCountryGetsNothing(t *testing.T) {
	t.Parallel()
	a, begun, let := slow("a")
	var fails atomic.Bool
	takes := a.send
	a.send = func(ctx context.Context, n int) error {
		if fails.Load() {
			return errDown
		}
		return takes(ctx, n)
	}
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{a}, Lines: map[string]dispatch.Line{"a": {Concurrency: 1}}, Unattended: true,
	})
	const british = "+447700900123"
	first := k.Start(british, "")
	<-begun
	waiting, elsewhere := k.Start("+447700900124", ""), k.Start(to, "")
	if err := k.Store.Stop(t.Context(), verify.Stop{Kind: verify.StopCountry, Name: "GB"}); err != nil {
		t.Fatal(err)
	}
	refused := func() bool {
		status, body := k.Post("sms", `{"to":"`+british+`"}`)
		if status != 200 && (status != 422 || !strings.Contains(body, "To is in a country to which the operator has stopped messages")) {
			t.Fatalf("a start: got %d %s", status, body)
		}
		return status == 422
	}
	k.Await("the server's look", refused)
	close(let)
	settled(t, k, elsewhere)
	for id, want := range map[string]verify.DeliveryState{first: verify.DeliverySent, waiting: verify.DeliveryFailed, elsewhere: verify.DeliverySent} {
		if v := settled(t, k, id); v.Delivery != want || want == verify.DeliveryFailed && v.Reason != verify.ReasonStopped {
			t.Errorf("%s: got %v %v, want %v", v.To, v.Delivery, v.Reason, want)
		}
	}

	if err := k.Store.Allow(t.Context(), verify.StopCountry, "GB"); err != nil {
		t.Fatal(err)
	}
	fails.Store(true)
	k.Await("the server's look", func() bool { return !refused() })
	again := k.Start("+447700900125", "")
	k.Await("the first attempt", func() bool { return k.Verification(again).Delivery == verify.DeliveryQueued })
	if err := k.Store.Stop(t.Context(), verify.Stop{Kind: verify.StopCountry, Name: "GB"}); err != nil {
		t.Fatal(err)
	}
	k.Await("the server's look", refused)
	k.Await("the end of what is under way", func() bool { return k.Dispatch.Depth("a") == 0 })
	before := len(a.seen())
	k.Await("the end", func() bool { k.Advance(5 * time.Second); return !k.Verification(again).Open() })
	if v := k.Verification(again); v.Reason != verify.ReasonStopped || len(a.seen()) != before {
		t.Errorf("a retry: got %v after %d more messages, want %v after none", v.Reason, len(a.seen())-before, verify.ReasonStopped)
	}
}

// An operator's test message is a message, too.
func TestAStoppedCountryGetsNoTestMessage(t *testing.T) {
	t.Parallel()
	a := &way{name: "a"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a}, Unattended: true})
	if err := k.Store.Stop(t.Context(), verify.Stop{Kind: verify.StopCountry, Name: "GB"}); err != nil {
		t.Fatal(err)
	}
	k.Await("the server's look", func() bool {
		return errors.Is(k.Dispatch.Reaches(verify.Envelope{Channel: verify.ChannelSMS, To: "+447700900123"}), verify.ErrCountryStopped)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := k.Dispatch.Try(ctx, "a", verify.ChannelSMS, "+447700900123", func(s dispatch.Step) {
		if s.What == verify.AttemptAccepted.String() {
			cancel()
		}
	})
	if !errors.Is(err, verify.ErrCountryStopped) || len(a.seen()) != 0 {
		t.Errorf("got %v and %d messages, want %v and none", err, len(a.seen()), verify.ErrCountryStopped)
	}
}
