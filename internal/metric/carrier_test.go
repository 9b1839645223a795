package metric

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// What was last seen of a carrier is its own: no other carrier's, and no failure of ours.
func TestTheLastOfEachCarrierIsKept(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	id := verify.NewID(at)
	m := New()
	m.Binds("a", func() Binds { return Binds{Up: 1, Wanted: 2} })
	steps := []struct {
		do   func()
		want string
	}{
		{func() {}, `{"binds":{"up":1,"wanted":2,"in_flight":0,"window":0,"made":0,"throttled":0,"unread":0}}`},
		{func() {
			m.Settled(&verify.Delivery{Carrier: "b", Outcome: verify.AttemptRefused, Reason: verify.ReasonBlocked, CarrierCode: "21610", Verification: id}, "US", 0)
		}, `{"last_failure":{"at":"2026-05-04T12:00:00Z","country":"US","reason":"blocked","code":"21610"}}`},
		{func() {
			m.Settled(&verify.Delivery{Carrier: "b", Outcome: verify.AttemptErrored, Reason: verify.ReasonThrottled, Verification: id}, "US", time.Second)
			m.Settled(&verify.Delivery{Outcome: verify.AttemptRefused, Reason: verify.ReasonNoCarrier, Verification: id}, "US", time.Second)
			m.Settled(&verify.Delivery{Carrier: "b", Outcome: verify.AttemptAccepted, Verification: id}, "US", 2*time.Second)
			m.Received(&verify.Delivery{Carrier: "b", Receipt: verify.ReceiptDelivered, ReceiptAt: at.Add(3 * time.Second)}, "US")
		}, `{"accepted_at":"2026-05-04T12:00:02Z","last_failure":{"at":"2026-05-04T12:00:00Z","country":"US","reason":"blocked","code":"21610"}}`},
		{func() {
			m.Received(&verify.Delivery{Carrier: "b", Receipt: verify.ReceiptFailed, ReceiptReason: verify.ReasonUnreachable, ReceiptCode: "30003", ReceiptAt: at.Add(4 * time.Second)}, "DE")
		}, `{"accepted_at":"2026-05-04T12:00:02Z","last_failure":{"at":"2026-05-04T12:00:04Z","country":"DE","reason":"unreachable","code":"30003","receipt":true}}`},
	}
	for i, step := range steps {
		step.do()
		name := "b"
		if i == 0 {
			name = "a"
		}
		got, err := json.Marshal(m.Carrier(name))
		if err != nil || string(got) != step.want {
			t.Errorf("step %d: got %s, %v\nwant %s", i, got, err, step.want)
		}
	}
	if got := m.Carrier("none"); got != (Carrier{}) {
		t.Errorf("an unknown carrier: got %+v", got)
	}
}
