package dispatch_test

import (
	"context"
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
	taken := func(by *way) func() bool {
		return func() bool {
			before := len(by.seen())
			next++
			settled(t, k, k.Start("+12025550"+digits(next), ""))
			return len(by.seen()) > before
		}
	}
	k.Await("the configuration's order", taken(a))
	// b takes turns as well, and comes first in nearly all.
	if err := k.Store.SetWeights(t.Context(), []verify.Weight{{Route: rule.Name(), Carrier: "b", Weight: 1000}, {Route: "any", Carrier: "a", Weight: 1000}}); err != nil {
		t.Fatal(err)
	}
	k.Await("the weights", taken(b))
	if err := k.Store.ResetWeights(t.Context(), rule.Name()); err != nil {
		t.Fatal(err)
	}
	in := 0
	k.Await("the configuration's order again", func() bool { // b would get ten of these nearly always
		in++
		if !taken(a)() {
			in = 0
		}
		return in == 10
	})
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
	next := 101
	k.Await("the cheaper carrier", func() bool {
		before := len(b.seen())
		next++
		settled(t, k, k.Start("+12025550"+digits(next), ""))
		return len(b.seen()) > before
	})
	before := len(a.seen())
	limit(19)
	k.Await("the refusal", func() bool {
		next++
		status, body := k.Post("sms", `{"to":"+12025550`+digits(next)+`"}`)
		if status != 200 && status != 422 {
			t.Fatalf("got %d %s", status, body)
		}
		return status == 422
	})
	settled(t, k, k.Start("+447700900123", "")) // by a
	if len(a.seen()) != before+1 {
		t.Errorf("a got %d messages more, want the British one", len(a.seen())-before)
	}
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
