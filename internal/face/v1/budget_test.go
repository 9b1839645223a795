package v1_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// A project's budget holds for all APIs together. Each says in its own words that it is used up, and the answer costs nothing.
func TestAllAPIsSpendOneBudget(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		o.Carriers = []carrier.Carrier{new(sink)}
		o.Settings.Prices = money.Prices{Currency: "EUR", Verifications: money.Table{{}: {{Each: 40_000}}}, Messages: money.Table{{}: {{Each: 12_500}}}}
		k := newKit(t, o)
		if _, err := k.Store.ChangeBudget(t.Context(), "test", func(b *verify.Budget) ([]store.Audit, error) {
			b.DayMessages, b.MonthAmount, b.Currency = 2, 1_000_000, "EUR"
			return nil, nil
		}); err != nil {
			t.Fatal(err)
		}
		k.sent(k.start(to, "").ID, 1)
		if status, body := k.Post("sms", `{"to":"`+other+`"}`); status != 200 {
			t.Fatalf("the second start: %d %s", status, body)
		}
		k.Await("the second message", func() bool { return k.Dispatch.Depth("sink") == 0 })

		status, header, body := k.Call("", "POST", "/v1/verifications", `{"to":"`+other+`"}`)
		if problem := outside("POST", "/v1/verifications", status, header, body); status != 402 || problem != "" ||
			!strings.Contains(body, `"budget_exhausted"`) || header.Get("Retry-After") != "43200" { // until midnight
			t.Errorf("/v1: got %d %s, after %s s %s", status, body, header.Get("Retry-After"), problem)
		}
		if status, body := k.Post("sms", `{"to":"`+other+`"}`); status != 422 || !strings.Contains(body, `"code":"no_credit"`) {
			t.Errorf("SignalWire: got %d %s", status, body)
		}
		application := read[api.Application](t, k.call("", "POST", "/v1/applications", `{"name":"shop"}`, 201)).ID
		k.call("", "POST", "/v1/applications/"+application+"/users", `{"user":"ann","number":"`+other+`"}`, 402)
		_, _, body = k.Call("", "POST", "applications", `{"name":"Shop of Syniverse"}`)
		made := read[struct{ ID string }](t, body)
		if status, _, body := k.Call("", "POST", "applications/"+made.ID+"/users/ann/associate", `{"address":"`+other+`"}`); status != 402 || !strings.Contains(body, `"error_code":"402"`) {
			t.Errorf("Syniverse: got %d %s", status, body)
		}

		amount := func(a string) *api.Money { return &api.Money{Amount: a, Currency: "EUR"} }
		two := 2
		want := api.Budget{
			Hour:    api.BudgetHour{Messages: 2},
			Day:     api.BudgetPeriod{Messages: 2, MaxMessages: &two, Amount: amount("0.105")},
			Month:   api.BudgetPeriod{Messages: 2, Amount: amount("0.105"), MaxAmount: amount("1.00")},
			Reached: []api.BudgetMark{{Cap: "day_messages", Percent: 100}},
		}
		got := read[api.Budget](t, k.call("", "GET", "/v1/budget", "", 200))
		for i := range got.Reached {
			if got.Reached[i].At.IsZero() {
				t.Errorf("%s was reached: got no time", got.Reached[i].Cap)
			}
			got.Reached[i].At = time.Time{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the budget (-want +got):\n%s", diff)
		}
	})
}
