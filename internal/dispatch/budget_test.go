package dispatch_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// A message that one carrier refuses goes to a dearer one only if the project's budget has what that takes more.
func TestADearerCarrierIsPaidBefore(t *testing.T) {
	t.Parallel()
	messages, _ := money.NewTable([]money.Rule{{Subject: money.Subject{Carrier: "a"}, Each: 10}, {Each: 100}})
	for _, test := range []struct {
		paid  money.Amount
		state verify.DeliveryState
		why   verify.Reason
		left  money.Amount
	}{
		{50, verify.DeliveryFailed, verify.ReasonBudget, 50},
		{110, verify.DeliverySent, verify.NoReason, 10},
	} {
		a := &way{name: "a", send: func(context.Context, int) error { return carrier.Refused(errors.New("no")) }}
		b := &way{name: "b"}
		k := countersigntest.New(t, countersigntest.Options{
			Carriers: []carrier.Carrier{a, b}, Settings: verify.Settings{Prices: money.Prices{Currency: "EUR", Messages: messages}},
		})
		p := k.Account().Project.ID
		if _, err := k.Store.ChangeBudget(t.Context(), p, func(b *verify.Budget) ([]store.Audit, error) {
			b.Prepaid, b.Currency = true, "EUR"
			return nil, nil
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Store.AddCredit(t.Context(), p, verify.LedgerEntry{Kind: verify.LedgerTopUp, Amount: test.paid, Actor: "test"}); err != nil {
			t.Fatal(err)
		}
		k.Await("the project's budget", func() bool { k.Advance(time.Second); return k.Account().Project.Bound })
		v := settled(t, k, k.Start(to, ""))
		state, err := k.Store.Budget(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if v.Delivery != test.state || v.Reason != test.why || state.Balance() != test.left {
			t.Errorf("with %v: got %v %v and a balance of %v, want %v %v and %v", test.paid, v.Delivery, v.Reason, state.Balance(), test.state, test.why, test.left)
		}
	}
}
