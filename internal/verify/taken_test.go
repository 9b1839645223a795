package verify

import (
	"testing"
	"time"
)

// An answer that comes late ends the doubt whether the carrier has the latest message, and says nothing else.
func TestALateAnswerEndsTheDoubt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	soon, later := now.Add(3*time.Second), now.Add(time.Minute)
	for name, tt := range map[string]struct {
		attempt int // that the answer is about; the latest is 2
		state   DeliveryState
		reason  Reason
		receipt ReceiptState
		watch   time.Duration
		due     time.Time // afterwards
		news    bool
	}{
		"in doubt":                     {2, DeliverySent, ReasonUnknown, NoReceipt, 0, time.Time{}, true},
		"in doubt, with receipts":      {2, DeliverySent, ReasonUnknown, NoReceipt, time.Minute, later, true},
		"longer than the code lives":   {2, DeliverySent, ReasonUnknown, NoReceipt, time.Hour, time.Time{}, true},
		"of the attempt before":        {1, DeliverySent, ReasonUnknown, NoReceipt, 0, soon, false},
		"not in doubt":                 {2, DeliverySent, NoReason, NoReceipt, time.Minute, soon, false},
		"moved on":                     {2, DeliverySending, NoReason, NoReceipt, 0, soon, false},
		"delivered":                    {2, DeliveryDelivered, NoReason, ReceiptDelivered, 0, soon, false},
		"failed by the receipt before": {2, DeliverySent, ReasonUnknown, ReceiptFailed, 0, soon, false},
	} {
		v := new(Verification)
		v.Attempt, v.Delivery, v.Reason, v.DueAt, v.ExpiresAt = 2, tt.state, tt.reason, soon, now.Add(10*time.Minute)
		d := &Delivery{Attempt: tt.attempt, Receipt: tt.receipt}
		news := Receipt{Attempt: tt.attempt, Taken: true, Watch: tt.watch}.Settle(v, d, now)
		if news != tt.news || !v.DueAt.Equal(tt.due) || v.Delivery != tt.state || d.Receipt != tt.receipt || news && v.Reason != NoReason {
			t.Errorf("%s: news %t, due %v, %v %v, receipt %v", name, news, v.DueAt, v.Delivery, v.Reason, d.Receipt)
		}
	}
}
