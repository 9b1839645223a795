package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/verify"
)

// A carrier that asks what its call says is told while the code lives, for the latest attempt, and for
// its own; by any replica.
func TestTheWordsOfACallAreForItsCarrierWhileTheCodeLives(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	calling, answer := make(chan struct{}), make(chan error)
	a := &way{name: "a", send: func(context.Context, int) error { calling <- struct{}{}; return <-answer }}
	b, c := &way{name: "b"}, &way{name: "c"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b, c}, MaxMessages: 5})
	other, err := dispatch.New(dispatch.Config{
		Store: k.Store, Keys: keysOf(t, k), Now: k.Clock.Now, Log: slog.New(slog.DiscardHandler), Tick: time.Hour,
		Carriers: []dispatch.Line{{Carrier: a, Queue: 1, Concurrency: 1}, {Carrier: b, Queue: 1, Concurrency: 1}},
		Routes:   map[verify.Channel][]string{verify.ChannelVoice: {"a", "b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(ctx)

	v, err := k.Verify.Start(ctx, k.Account(), verify.StartRequest{Channel: verify.ChannelVoice, To: to})
	if err != nil {
		t.Fatal(err)
	}
	asks := func(when, name string, attempt int, want bool) {
		t.Helper()
		for replica, d := range map[string]*dispatch.Dispatcher{"this": k.Dispatch, "another": other} {
			m, err := d.Words(ctx, name, v.ID, attempt)
			switch {
			case !want && !errors.Is(err, verify.ErrNotFound):
				t.Errorf("%s, %s asks %s replica about attempt %d: got %v, want %v", when, name, replica, attempt, err, verify.ErrNotFound)
			case want && (err != nil || m.Channel != verify.ChannelVoice || m.Body != a.seen()[0].Body):
				t.Errorf("%s, %s asks %s replica about attempt %d: got %v, want what the call says", when, name, replica, attempt, err)
			}
		}
	}
	<-calling
	asks("while the call is ordered", "a", 1, true)
	asks("while the call is ordered", "nobody", 1, false)
	asks("while the call is ordered", "a", 2, false)
	answer <- nil
	quiet(t, k, v.ID.String())
	asks("when it was ordered", "a", 1, true)
	asks("when it was ordered", "b", 1, false)

	receive(t, k, carrier.Receipt{Carrier: "a", Verification: v.ID, Attempt: 1, Reason: verify.ReasonNetwork})
	k.Await("the second carrier", func() bool { return len(b.seen()) == 1 })
	quiet(t, k, v.ID.String())
	asks("when it has moved on", "a", 1, false)
	asks("when it has moved on", "b", 2, true)
	if got := k.Check(v.ID.String(), b.seen()[0].Code.Reveal()); got != "right" {
		t.Fatalf("guess: %s", got)
	}
	asks("when the code was used", "b", 2, false)

	for name, end := range map[string]func(){
		"canceled": func() { k.Verify.Cancel(ctx, k.Account(), v.ID) },
		"expired":  func() { k.Clock.Advance(2 * time.Hour) },
		"late":     func() { k.Clock.Advance(10*time.Minute + time.Millisecond) },
	} {
		go func() { <-calling; answer <- nil }()
		if v, err = k.Verify.Start(ctx, k.Account(), verify.StartRequest{Channel: verify.ChannelVoice, To: "+1202555011" + fmt.Sprint(len(name))}); err != nil {
			t.Fatal(err)
		}
		quiet(t, k, v.ID.String())
		if _, err := k.Dispatch.Words(ctx, "a", v.ID, 1); err != nil {
			t.Errorf("before it is %s: %v", name, err)
		}
		end()
		asks("when it is "+name, "a", 1, false)
	}
	if _, err := k.Dispatch.Words(ctx, "a", verify.NewID(k.Clock.Now()), 1); !errors.Is(err, verify.ErrNotFound) {
		t.Errorf("of a verification that never was: %v", err)
	}
}

// A test call asks as well, and says the test's words.
func TestATestCallHasWords(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var k *countersigntest.Kit
	h := &hook{"a", func(m verify.Message) string {
		if got, err := k.Dispatch.Words(ctx, "a", m.Verification, 1); err != nil || got != m {
			t.Errorf("its carrier asks: %v", err)
		}
		if _, err := k.Dispatch.Words(ctx, "b", m.Verification, 1); !errors.Is(err, verify.ErrNotFound) {
			t.Errorf("another carrier asks: %v", err)
		}
		return "ref"
	}}
	k = countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{h, &way{name: "b"}}})
	done, cancel := context.WithCancel(ctx)
	cancel()
	if last, err := k.Dispatch.Try(done, "a", verify.ChannelVoice, to, func(dispatch.Step) {}); err != nil || last.What != "accepted" {
		t.Errorf("got %+v, %v", last, err)
	}
}
