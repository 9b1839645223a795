package v1_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/verify"
)

// A project sees what it is charged, and not what carriers take. The operator sees both.
func TestADeliverySaysWhatItCost(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		o.Carriers = []carrier.Carrier{new(sink)}
		o.Lines = map[string]dispatch.Line{"sink": {Costs: money.Table{{Country: "US"}: {{Each: 7_900}}}}}
		o.Settings.Prices = money.Prices{
			Currency:      "EUR",
			Verifications: money.Table{{}: {{Each: 40_000}}},
			Messages:      money.Table{{}: {{Each: 80_000}}, {Country: "US", Carrier: "sink"}: {{Each: 12_500}}},
		}
		k := newKit(t, o)
		started := k.start(to, `,"amount":"1 EUR","payee":"`+strings.Repeat("ж", 64)+`"`)
		fee := &api.Money{Amount: "0.04", Currency: "EUR"}
		if diff := cmp.Diff(fee, started.Cost); diff != "" {
			t.Errorf("the answer to a start (-want +got):\n%s", diff)
		}
		k.sent(started.ID, 1)
		v := k.read(started.ID)
		if diff := cmp.Diff(fee, v.Cost); diff != "" {
			t.Errorf("the verification (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(&api.Money{Amount: "0.025", Currency: "EUR"}, v.Deliveries[0].Cost); diff != "" {
			t.Errorf("the delivery, of two segments (-want +got):\n%s", diff)
		}
		id, err := verify.ParseID(started.ID)
		if err != nil {
			t.Fatal(err)
		}
		all, err := k.Store.Deliveries(t.Context(), id)
		if err != nil || len(all) != 1 {
			t.Fatalf("deliveries: got %v, %v, want one", all, err)
		}
		if diff := cmp.Diff(verify.Charge{Units: 2, Currency: "EUR", Cost: 15_800, Price: 25_000}, all[0].Charge); diff != "" {
			t.Errorf("what is stored (-want +got):\n%s", diff)
		}
	})
}

func TestWithoutPricesNothingHasACost(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		o.Carriers = []carrier.Carrier{new(sink)}
		k := newKit(t, o)
		started := k.start(to, "")
		k.sent(started.ID, 1)
		if v := k.read(started.ID); v.Cost != nil || v.Deliveries[0].Cost != nil {
			t.Errorf("got %+v and %+v, want none", v.Cost, v.Deliveries[0].Cost)
		}
	})
}
