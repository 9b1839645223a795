package dispatch

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A message that waits for its retry is remembered once, and only for the hint of that retry: after another replica has
// had it, its hint is another. What may ring a phone is read again, and so is what lost an attempt.
func TestWhatIsRememberedOfARetry(t *testing.T) {
	t.Parallel()
	due := time.UnixMilli(1_777_896_000_000)
	errored := func(c verify.Channel) *verify.Delivery {
		return &verify.Delivery{Attempt: 2, Channel: c, Carrier: "a", Outcome: verify.AttemptErrored}
	}
	sms := []verify.Delivery{*errored(verify.ChannelSMS)}
	for _, c := range []struct {
		name     string
		delivery verify.DeliveryState
		end      *verify.Delivery
		history  []verify.Delivery
		hint     time.Time
		want     bool
	}{
		{"a retry", verify.DeliveryQueued, errored(verify.ChannelSMS), sms, due, true},
		{"another hint", verify.DeliveryQueued, errored(verify.ChannelSMS), sms, due.Add(time.Millisecond), false},
		{"sent", verify.DeliverySent, errored(verify.ChannelSMS), sms, due, false},
		{"the next attempt leased", verify.DeliverySending, errored(verify.ChannelSMS), sms, due, false},
		{"a call", verify.DeliveryQueued, errored(verify.ChannelVoice), sms, due, false},
		{"after a call", verify.DeliveryQueued, errored(verify.ChannelSMS), []verify.Delivery{*errored(verify.ChannelVoice)}, due, false},
		{"after a lost attempt", verify.DeliveryQueued, errored(verify.ChannelSMS), []verify.Delivery{{Attempt: 1, Outcome: verify.AttemptUnknown}}, due, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMemory()
			v := &verify.Verification{ID: verify.NewID(due), Progress: verify.Progress{Delivery: c.delivery, DueAt: due}}
			m.keep(c.end, v, &job{history: c.history})
			h := verify.Hint{Due: c.hint, ID: v.ID}
			o, ok := m.take(h)
			if ok != c.want {
				t.Fatalf("remembered: %v, want %v", ok, c.want)
			}
			if !ok {
				return
			}
			if o.Verification != v || len(o.Deliveries) != 2 || o.Deliveries[1].Carrier != "a" {
				t.Errorf("got %+v, want the verification and both attempts", o)
			}
			if _, again := m.take(h); again {
				t.Error("remembered a second time: a message that stays due must be read")
			}
		})
	}
}

// However many messages wait, few are remembered.
func TestTheMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m, at := newMemory(), time.UnixMilli(1_777_896_000_000)
	for range maxRemembered + 100 {
		v := &verify.Verification{ID: verify.NewID(at), Progress: verify.Progress{Delivery: verify.DeliveryQueued, DueAt: at}}
		m.keep(&verify.Delivery{Channel: verify.ChannelSMS}, v, &job{})
	}
	if n := m.all.Len(); n != maxRemembered {
		t.Errorf("%d messages are remembered, want %d", n, maxRemembered)
	}
}
