package v1_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/verify"
)

// What a project used is counted with what it did, and no other project sees it.
func TestUsageIsWhatTheProjectDid(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		o.Carriers = []carrier.Carrier{new(sink)}
		o.Lines = map[string]dispatch.Line{"sink": {Costs: money.Table{{}: {{Each: 7_900}}}}}
		o.Settings.Prices = money.Prices{Currency: "EUR", Verifications: money.Table{{}: {{Each: 40_000}}}, Messages: money.Table{{}: {{Each: 12_500}}}}
		k := newKit(t, o)
		for _, number := range []string{to, other} {
			k.sent(k.start(number, "").ID, 1)
		}
		k.Advance(24 * time.Hour)
		k.sent(k.start(to, `,"purpose":"login"`).ID, 1)

		list := func(query string) []api.UsageRow {
			return read[api.Usage](t, k.call("", "GET", "/v1/usage"+query, "", 200)).Rows
		}
		cost := func(amount string) *api.Money { return &api.Money{Amount: amount, Currency: "EUR"} }
		if diff := cmp.Diff([]api.UsageRow{{Started: 3, Messages: 3, Segments: 3, Cost: cost("0.1575")}}, list("")); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		first, second := countersigntest.Start.Truncate(24*time.Hour), countersigntest.Start.Truncate(24*time.Hour).Add(24*time.Hour)
		want := []api.UsageRow{
			{Begin: &first, Purpose: string(verify.PurposeVerify), Channel: "sms", Country: "US", Started: 2, Cost: cost("0.08")},
			{Begin: &first, Purpose: string(verify.PurposeVerify), Channel: "sms", Country: "US", Carrier: "sink", Messages: 2, Segments: 2, Cost: cost("0.025")},
			{Begin: &second, Purpose: "login", Channel: "sms", Country: "US", Started: 1, Cost: cost("0.04")},
			{Begin: &second, Purpose: "login", Channel: "sms", Country: "US", Carrier: "sink", Messages: 1, Segments: 1, Cost: cost("0.0125")},
		}
		if diff := cmp.Diff(want, list("?step=day&by=purpose,channel,country,carrier")); diff != "" {
			t.Errorf("by day and parts (-want +got):\n%s", diff)
		}
		if got := list("?until=2026-05-05T00:00:00Z"); len(got) != 1 || got[0].Started != 2 {
			t.Errorf("of the first day: %+v, want two starts", got)
		}
		for _, query := range []string{"?by=project", "?by=number", "?by=country,country", "?step=week", "?from=yesterday"} {
			if body := k.call("", "GET", "/v1/usage"+query, "", 422); !strings.Contains(string(body), `"invalid"`) {
				t.Errorf("%s: got %s", query, body)
			}
		}
	})
}
