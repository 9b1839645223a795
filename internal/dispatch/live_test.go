package dispatch_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// Weights that an operator sets hold for the next messages, and the configuration's when they are reset.
func TestWeightsHoldWhileAServerRuns(t *testing.T) {
	t.Parallel()
	a, b := &way{name: "a"}, &way{name: "b"}
	rule := route.Rule{Channels: []verify.Channel{verify.ChannelSMS}, Carriers: []route.Choice{{Carrier: "a", Weight: 1}, {Carrier: "b"}}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}, Rules: []route.Rule{rule}})
	next := 100
	byB := func(n int) int { // of so many messages
		before := len(b.seen())
		for range n {
			next++
			settled(t, k, k.Start("+12025550"+digits(next), ""))
		}
		return len(b.seen()) - before
	}
	if n := byB(1); n != 0 {
		t.Errorf("with the configuration's weights, b got %d messages, want none", n)
	}
	// b takes turns as well, and comes first in nearly all.
	if err := k.Store.SetWeights(t.Context(), []verify.Weight{{Route: rule.Name(), Carrier: "b", Weight: 1000}, {Route: "any", Carrier: "a", Weight: 1000}}); err != nil {
		t.Fatal(err)
	}
	awaitLook(t, k)
	if n := byB(10); n < 5 {
		t.Errorf("with other weights, b got %d messages of 10, want nearly all", n)
	}
	if err := k.Store.ResetWeights(t.Context(), rule.Name()); err != nil {
		t.Fatal(err)
	}
	awaitLook(t, k)
	if n := byB(10); n != 0 {
		t.Errorf("with the configuration's weights again, b got %d messages of 10, want none", n)
	}
}

// awaitLook waits until the server has looked at what operators have changed so far.
func awaitLook(t *testing.T, k *countersigntest.Kit) {
	t.Helper()
	const country, number = "GB", "+447700900123"
	stopped := func() bool {
		return errors.Is(k.Dispatch.Reaches(verify.Envelope{Channel: verify.ChannelSMS, To: number}), verify.ErrCountryStopped)
	}
	if err := k.Store.Stop(t.Context(), verify.Stop{Kind: verify.StopCountry, Name: country}); err != nil {
		t.Fatal(err)
	}
	k.Await("the server's look", stopped)
	if err := k.Store.Allow(t.Context(), verify.StopCountry, country); err != nil {
		t.Fatal(err)
	}
	k.Await("the server's next look", func() bool { return !stopped() }) // the one before is through
}

func digits(n int) string {
	return string([]byte{byte('0' + n/100%10), byte('0' + n/10%10), byte('0' + n%10)})
}

// A message goes by a carrier that comes to no more than its country's limit allows, and isn't sent if there is none.
func TestNoMessageIsDearerThanItsCountryAllows(t *testing.T) {
	t.Parallel()
	costs, _ := money.NewTable([]money.Rule{{Each: 50}})
	cheap, _ := money.NewTable([]money.Rule{{Each: 20}})
	a := &way{name: "a"}
	b := &way{name: "b"}
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{a, b}, Lines: map[string]dispatch.Line{"a": {Costs: costs}, "b": {Costs: cheap}}, Unattended: true,
	})
	limit := func(most money.Amount) {
		t.Helper()
		if _, err := k.Store.ChangeCountryLimit(t.Context(), "", "US", func(l *verify.CountryLimit) ([]store.Audit, error) { l.MaxPrice = most; return nil, nil }); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, k, k.Start("+12025550101", ""))
	if len(a.seen()) != 1 {
		t.Fatalf("without a limit, a got %d messages, want 1", len(a.seen()))
	}
	limit(49)
	awaitLook(t, k)
	settled(t, k, k.Start("+12025550102", ""))
	if len(a.seen()) != 1 || len(b.seen()) != 1 {
		t.Errorf("with a limit below its cost, a got %d messages and b %d, want 1 each", len(a.seen()), len(b.seen()))
	}
	before := len(a.seen())
	limit(19)
	awaitLook(t, k)
	if status, body := k.Post("sms", `{"to":"+12025550103"}`); status != 422 {
		t.Errorf("a start: got %d %s, want 422", status, body)
	}
	settled(t, k, k.Start("+447700900123", "")) // by a
	if len(a.seen()) != before+1 {
		t.Errorf("a got %d messages more, want the British one", len(a.seen())-before)
	}
}

// A message that waits for its carrier isn't sent when it has become too dear.
func TestAMessageInTheQueueIsNoDearerThanItsCountryAllows(t *testing.T) {
	t.Parallel()
	costs, _ := money.NewTable([]money.Rule{{Each: 50}})
	a, begun, let := slow("a")
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{a}, Lines: map[string]dispatch.Line{"a": {Costs: costs, Concurrency: 1}}, Unattended: true,
	})
	first := k.Start(to, "")
	<-begun
	waiting := k.Start("+12025550101", "")
	if _, err := k.Store.ChangeCountryLimit(t.Context(), "", "US", func(l *verify.CountryLimit) ([]store.Audit, error) { l.MaxPrice = 49; return nil, nil }); err != nil {
		t.Fatal(err)
	}
	awaitLook(t, k)
	close(let)
	settled(t, k, first)
	if v := settled(t, k, waiting); v.Delivery != verify.DeliveryFailed || v.Reason != verify.ReasonTooDear || len(a.seen()) != 1 {
		t.Errorf("got %v %v after %d messages, want %v %v after the first", v.Delivery, v.Reason, len(a.seen()), verify.DeliveryFailed, verify.ReasonTooDear)
	}
}

// Messages to a country that operators watch go out, and are counted; others aren't.
func TestMessagesToAWatchedCountryAreCounted(t *testing.T) {
	t.Parallel()
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{&way{name: "a"}}, Unattended: true})
	count := func() int {
		answer := httptest.NewRecorder()
		k.Operations().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		if strings.Contains(answer.Body.String(), `countersign_watched_messages_total{country="US"} 1`) && strings.Count(answer.Body.String(), "\ncountersign_watched_messages_total{") == 1 {
			return 1
		}
		return strings.Count(answer.Body.String(), "\ncountersign_watched_messages_total{") * 100
	}
	send := func(number string, want int) {
		t.Helper()
		settled(t, k, k.Start(number, ""))
		if got := count(); got != want {
			t.Errorf("after a message to %s: %d counted, want %d", number, got, want)
		}
	}
	send("+12025550101", 0)
	if err := k.Store.Stop(t.Context(), verify.Stop{Kind: verify.StopCountry, Name: "US"}); err != nil { // from which it is watched only
		t.Fatal(err)
	}
	if err := k.Store.Stop(t.Context(), verify.Stop{Kind: verify.Watch, Name: "US"}); err != nil {
		t.Fatal(err)
	}
	awaitLook(t, k)
	send("+12025550102", 1)
	send("+447700900123", 1)
	if err := k.Store.Allow(t.Context(), verify.StopCountry, "US"); err != nil {
		t.Fatal(err)
	}
	awaitLook(t, k)
	send("+12025550103", 1)
}

// A message that waits for another attempt isn't sent when it has become too dear.
func TestARetryIsNoDearerThanItsCountryAllows(t *testing.T) {
	t.Parallel()
	costs, _ := money.NewTable([]money.Rule{{Each: 50}})
	a := &way{name: "a", send: func(context.Context, int) error { return errDown }}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a}, Lines: map[string]dispatch.Line{"a": {Costs: costs}}, Unattended: true})
	id := k.Start(to, "")
	k.Await("the first attempt", func() bool { return k.Verification(id).Delivery == verify.DeliveryQueued })
	if _, err := k.Store.ChangeCountryLimit(t.Context(), "", "US", func(l *verify.CountryLimit) ([]store.Audit, error) { l.MaxPrice = 10; return nil, nil }); err != nil {
		t.Fatal(err)
	}
	k.Await("the server's look", func() bool {
		status, _ := k.Post("sms", `{"to":"+12025550177"}`)
		return status == 422
	})
	before := len(a.seen())
	k.Await("the end", func() bool { k.Advance(5 * time.Second); return !k.Verification(id).Open() })
	if v := k.Verification(id); v.Reason != verify.ReasonTooDear || len(a.seen()) != before {
		t.Errorf("got %v after %d more messages, want %v after none", v.Reason, len(a.seen())-before, verify.ReasonTooDear)
	}
}

// A server that stood still doesn't know what operators have stopped meanwhile: it looks before it sends what it has.
func TestAServerThatStoodStillLooksBeforeItSends(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	k := countersigntest.New(t, countersigntest.Options{Unattended: true})
	called := make(chan struct{}, 1)
	a := &way{name: "a", send: func(context.Context, int) error { called <- struct{}{}; return nil }}
	d, err := dispatch.New(dispatch.Config{
		Store: k.Store, Keys: keysOf(t, k), Now: k.Clock.Now, Log: slog.New(slog.DiscardHandler), Tick: time.Hour,
		Carriers: []dispatch.Line{{Carrier: a, Queue: 2, Concurrency: 1}},
		Routes:   map[verify.Channel][]string{verify.ChannelSMS: {"a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(ctx) })
	d.Looked(time.Now().Add(-time.Minute))
	id := startAndDie(t, k, time.Second)
	k.Clock.Advance(20 * time.Second)
	if err := k.Store.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Poll(ctx); err != nil { // it has the message now
		t.Fatal(err)
	}
	select { // that it waits is no event
	case <-called:
		t.Error("it sent before it looked")
	case <-time.After(time.Second):
	}
	d.SetStops([]verify.Stop{{Kind: verify.StopCountry, Name: "US"}})
	d.Looked(time.Now())
	if v := settled(t, k, id); v.Delivery != verify.DeliveryFailed || v.Reason != verify.ReasonStopped || len(a.seen()) > 0 {
		t.Errorf("got %v %v and %d messages, want %v and none", v.Delivery, v.Reason, len(a.seen()), verify.ReasonStopped)
	}
}
