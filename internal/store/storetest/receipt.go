package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// watched settles a verification's attempt as sent, and has its receipt waited for.
func (k *kit) watched(v *verify.Verification, d time.Duration) *verify.Verification {
	k.t.Helper()
	st := k.sent(v)
	st.Watch = d
	sent, err := k.Settle(ctx, st)
	if err != nil || sent.Delivery != verify.DeliverySent {
		k.t.Fatalf("settle: got %+v, %v; want it sent", sent, err)
	}
	return sent
}

// receive takes a receipt that must find its verification.
func (k *kit) receive(r verify.Receipt) (*verify.Verification, *verify.Delivery) {
	k.t.Helper()
	v, d, err := k.Receive(ctx, r)
	if err != nil {
		k.t.Fatalf("receive: %v", err)
	}
	return v, d
}

func messageOfSilenceIsDueWhenItsWatchEnds(t *testing.T, s suite) {
	k := s.open(t)
	const patience = time.Minute
	silent, delivered, canceled, expiring := k.start(number(0)), k.start(number(1)), k.start(number(2)), k.start(number(3), lives(patience))
	for _, v := range []*verify.Verification{silent, delivered, canceled, expiring} {
		sent := k.watched(v, patience)
		if sent.Watched() != (v != expiring) {
			t.Errorf("a message whose code lives %v: watched %t", v.ExpiresAt.Sub(start), sent.Watched())
		}
	}
	equal(t, "hints", len(k.hints()), 3)
	k.receive(verify.Receipt{Verification: delivered.ID, Attempt: 1, Delivered: true})
	if err := k.Cancel(ctx, project, canceled.ID); err != nil {
		t.Fatal(err)
	}
	k.clock.advance(patience - time.Millisecond)
	equal(t, "due before", len(k.due()), 0)
	k.clock.advance(time.Millisecond)
	for _, o := range k.due() {
		claimed := k.claim(o)
		if want := o.Verification.ID == silent.ID; (claimed != nil) != want {
			t.Errorf("claim of a message that is %v: got %+v, want one: %t", o.Verification.Delivery, claimed, want)
		}
	}
	equal(t, "hints after the claims", k.hints(), []Hint{{k.clock.Now().Add(lease), silent.ID}})
	for v, want := range map[*verify.Verification]verify.DeliveryState{
		silent: verify.DeliverySending, delivered: verify.DeliveryDelivered, canceled: verify.DeliverySent, expiring: verify.DeliverySent,
	} {
		if got := k.stored(v.ID); got.Delivery != want || got.Watched() {
			t.Errorf("delivery: got %v, watched %t; want %v", got.Delivery, got.Watched(), want)
		}
	}
}

func postponedMessageIsDueThen(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	st := k.sent(v)
	st.Outcome, st.Reason, st.Retry = verify.AttemptErrored, verify.ReasonBusy, true
	if _, err := k.Settle(ctx, st); err != nil {
		t.Fatal(err)
	}
	until := start.Add(time.Minute)
	if err := k.Postpone(ctx, k.due()[0], until); err != nil {
		t.Fatal(err)
	}
	equal(t, "hints", k.hints(), []Hint{{until, v.ID}})
	k.clock.set(until)
	if due := k.due(); len(due) != 1 || k.claim(due[0]) == nil {
		t.Errorf("due: got %+v, want one that can be claimed", due)
	}

	// Nobody looks again at one that only waits for a receipt.
	w := k.watched(k.start(number(1)), time.Second)
	k.clock.advance(time.Second)
	if err := k.Postpone(ctx, k.due()[0], time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := k.stored(w.ID); got.Delivery != verify.DeliverySent || got.Watched() {
		t.Errorf("postponed for ever: got %v, watched %t", got.Delivery, got.Watched())
	}
	equal(t, "due", k.due(), []verify.Overdue(nil))
}

// Whoever looks at a message by an old hint has seen a lease that goes on. Until he puts it off to the
// lease's end, the attempt can have ended, and the next one be due.
func whatHasChangedIsNotPutOff(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	k.clock.advance(lag)
	k.sweep()
	if _, err := k.Renew(ctx, v.ID, v.Attempt, 2*lease); err != nil {
		t.Fatal(err)
	}
	k.clock.set(start.Add(lease))
	seen := k.due() // by the first lease
	if len(seen) != 1 || seen[0].Verification.Due(k.clock.Now()) {
		t.Fatalf("due: got %+v, want a hint that is out of date", seen)
	}
	st := k.sent(v)
	st.Outcome, st.Reason, st.Retry = verify.AttemptErrored, verify.ReasonInterrupted, true
	if _, err := k.Settle(ctx, st); err != nil {
		t.Fatal(err)
	}
	if err := k.Postpone(ctx, seen[0], seen[0].Verification.DueAt); err != nil {
		t.Fatal(err)
	}
	if got := k.stored(v.ID); !got.Due(k.clock.Now()) {
		t.Errorf("it is due at %v, want now, %v", got.DueAt, k.clock.Now())
	}
	if due := k.due(); len(due) != 1 || k.claim(due[0]) == nil {
		t.Errorf("due: got %+v, want one that can be claimed", due)
	}
}

func callIsRecordedWithItsAttempt(t *testing.T, s suite) {
	k := s.open(t)
	calls := []verify.Call{
		{},
		{Ring: 1500 * time.Millisecond, Answered: start.Add(1500 * time.Millisecond), Talk: 16200 * time.Millisecond, Keys: 3, Status: 200, HungUp: true},
		{Ring: 30 * time.Second, Status: 180},
		{Status: 486},
	}
	for i, call := range calls {
		v := k.start(number(i))
		st := k.sent(v)
		st.Call, st.Delivered = call, call.HungUp
		if i == 0 || call.Status == 486 {
			st.CarrierCode = "sip:486/Q.850:17" // of a text as well
		}
		settled, err := k.Settle(ctx, st)
		if err != nil || (settled.Delivery == verify.DeliveryDelivered) != st.Delivered {
			t.Errorf("settle %+v: got %+v, %v", call, settled, err)
		}
		record := st.Delivery
		record.EndedAt = k.clock.Now()
		equal(t, "deliveries", k.deliveries(v.ID), []verify.Delivery{record})
		// Those who change an attempt keep what is known of its call.
		_, d := k.receive(verify.Receipt{Verification: v.ID, Attempt: 1, Delivered: true})
		record.Receipt, record.ReceiptAt = verify.ReceiptDelivered, k.clock.Now()
		equal(t, "delivery with its receipt", d, &record)
		equal(t, "deliveries with their receipts", k.deliveries(v.ID), []verify.Delivery{record})
	}
}

func receiptIsRecordedOnce(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	if _, err := k.Settle(ctx, k.sent(v)); err != nil {
		t.Fatal(err)
	}
	failed := verify.Receipt{Verification: v.ID, Attempt: 1, Reason: verify.ReasonUnreachable, Code: "err:027"}
	delivered := verify.Receipt{Verification: v.ID, Attempt: 1, Delivered: true}
	record := verify.Delivery{Verification: v.ID, Attempt: 1, Channel: verify.ChannelVoice, Carrier: "c", Ref: "ref", StartedAt: start, EndedAt: start}
	for _, test := range []struct {
		name    string
		receipt verify.Receipt
		news    bool
	}{
		{"failed", failed, true},
		{"failed again", failed, false},
		{"delivered after all", delivered, true},
		{"delivered again", delivered, false},
		{"failed in the end", failed, false},
		{"of an attempt that never was", verify.Receipt{Verification: v.ID, Attempt: 2, Delivered: true}, false},
		{"of no attempt", verify.Receipt{Verification: v.ID, Delivered: true}, false},
	} {
		k.clock.advance(time.Second)
		_, d := k.receive(test.receipt)
		if test.news {
			record.Receipt, record.ReceiptAt, record.ReceiptReason, record.ReceiptCode = verify.ReceiptFailed, k.clock.Now(), test.receipt.Reason, test.receipt.Code
			if test.receipt.Delivered {
				record.Receipt = verify.ReceiptDelivered
			}
			equal(t, test.name, d, &record)
		} else if d != nil {
			t.Errorf("%s: got %+v, want no news", test.name, d)
		}
		equal(t, test.name+": deliveries", k.deliveries(v.ID), []verify.Delivery{record})
	}
	if _, _, err := k.Receive(ctx, verify.Receipt{Verification: verify.NewID(start), Attempt: 1, Delivered: true}); err == nil {
		t.Error("a receipt for a verification that never was: no error")
	}
}

// In one group or in two, whichever comes first: both are recorded, and the message is delivered.
func receiptAndEndOfAnAttemptComeInAnyOrder(t *testing.T, s suite) {
	k := s.open(t)
	for name, run := range map[string]func(settle, receive func()){
		"receipt first":            func(settle, receive func()) { receive(); settle() },
		"end first":                func(settle, receive func()) { settle(); receive() },
		"receipt first, one group": func(settle, receive func()) { k.together(receive, settle) },
		"end first, one group":     func(settle, receive func()) { k.together(settle, receive) },
		"each twice, one group":    func(settle, receive func()) { k.together(receive, settle, receive, settle) },
	} {
		v := k.start(number(0))
		var mu sync.Mutex // guards news
		news := 0
		run(func() {
			if _, err := k.Settle(ctx, k.sent(v)); err != nil {
				t.Errorf("%s: settle: %v", name, err)
			}
		}, func() {
			_, d, err := k.Receive(ctx, verify.Receipt{Verification: v.ID, Attempt: 1, Delivered: true})
			if err != nil {
				t.Errorf("%s: receive: %v", name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if d != nil {
				news++
			}
		})
		now := k.clock.Now()
		equal(t, name, k.deliveries(v.ID), []verify.Delivery{{
			Verification: v.ID, Attempt: 1, Channel: verify.ChannelVoice, Carrier: "c", Ref: "ref", StartedAt: now, EndedAt: now, Receipt: verify.ReceiptDelivered, ReceiptAt: now,
		}})
		if got := k.stored(v.ID).Delivery; got != verify.DeliveryDelivered || news != 1 {
			t.Errorf("%s: got %v, %d times news; want delivered, once", name, got, news)
		}
	}
	// Until its end is known, an attempt isn't among those that have ended.
	v := k.start(number(1))
	k.receive(verify.Receipt{Verification: v.ID, Attempt: 1, Delivered: true})
	equal(t, "deliveries before the end", k.deliveries(v.ID), []verify.Delivery(nil))
}

func carriersOwnIDNamesItsNewestMessage(t *testing.T, s suite) {
	k := s.open(t)
	find := func(carrier, ref string, want *verify.Verification, attempt int) {
		t.Helper()
		id, n, err := k.Find(ctx, carrier, ref)
		if want == nil {
			wantError(t, "find "+carrier+" "+ref, err, verify.ErrNotFound)
		} else if err != nil || id != want.ID || n != attempt {
			t.Errorf("find %s %s: got %v, %d, %v; want %v, %d", carrier, ref, id, n, err, want.ID, attempt)
		}
	}
	settle := func(v *verify.Verification, carrier, ref string) {
		t.Helper()
		st := k.sent(v)
		st.Carrier, st.Ref = carrier, ref
		if _, err := k.Settle(ctx, st); err != nil {
			t.Fatal(err)
		}
	}
	first := k.start(number(0))
	find("a", "7", nil, 0)
	settle(first, "a", "7")
	find("a", "7", first, 1)
	find("b", "7", nil, 0)

	k.clock.advance(time.Second)
	second, none := k.start(number(1)), k.start(number(2))
	settle(second, "a", "7")
	settle(none, "a", "")
	find("a", "7", second, 1)
	find("a", "", nil, 0) // a carrier that gives no ids

	k.receive(verify.Receipt{Verification: second.ID, Attempt: 1, Reason: verify.ReasonUnreachable, Retry: true})
	again := k.claim(k.due()[0])
	settle(again, "a", "7")
	find("a", "7", second, 2)
}
