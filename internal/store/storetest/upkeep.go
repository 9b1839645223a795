package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// lag is how far behind the clock a sweep may read at most: what was started before that, and is
// still open, has a hint after it.
const lag = 5*time.Second + time.Millisecond

func deadHoldersMessageIsDueAtTheEndOfItsLease(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	equal(t, "hints of a start", k.hints(), []Hint(nil))
	k.clock.advance(lag)
	k.sweep()
	equal(t, "hints", k.hints(), []Hint{{start.Add(lease), v.ID}})
	for _, test := range []struct {
		at  time.Duration
		due []verify.Overdue
	}{
		{lag, nil},
		{lease - time.Millisecond, nil},
		{lease, []verify.Overdue{{Hint: start.Add(lease), Verification: v}}},
		{lease + time.Hour/2, []verify.Overdue{{Hint: start.Add(lease), Verification: v}}},
	} {
		k.clock.set(start.Add(test.at))
		equal(t, "due after "+test.at.String(), k.due(), test.due)
	}

	o := k.due()[0]
	claimed, now := k.claim(o), k.clock.Now()
	want := *v
	want.Attempt, want.DueAt = 2, now.Add(lease)
	equal(t, "claimed", claimed, &want)
	equal(t, "stored", k.stored(v.ID), &want)
	equal(t, "due after the claim", k.due(), []verify.Overdue(nil))
	equal(t, "hints after the claim", k.hints(), []Hint{{now.Add(lease), v.ID}})
	if again := k.claim(o); again != nil {
		t.Errorf("second claim: got %+v, want none", again)
	}

	// That one dies, too, and the code lives no longer.
	k.clock.advance(time.Hour)
	due := k.due()
	if len(due) != 1 || len(due[0].Deliveries) != 1 {
		t.Fatalf("due: got %+v, want one with one delivery", due)
	}
	if dead := k.claim(due[0]); dead != nil {
		t.Errorf("claim after the code's death: got %+v, want none", dead)
	}
	got := k.stored(v.ID)
	equal(t, "delivery", []any{got.Delivery, got.Reason}, []any{verify.DeliveryFailed, verify.ReasonExpired})
	equal(t, "deliveries", len(k.deliveries(v.ID)), 2)
	equal(t, "hints at the end", k.hints(), []Hint(nil))
}

func sweepReadsEachRowOnce(t *testing.T, s suite) {
	k := s.open(t)
	sweep := func(commits int, last verify.ID) {
		t.Helper()
		n := k.gate.count()
		k.sweep()
		if got := len(k.gate.since(n)); got != commits {
			t.Errorf("sweep: got %d commits, want %d", got, commits)
		}
		if swept, err := k.Swept(ctx); err != nil || swept != last {
			t.Errorf("swept: got up to %v, %v; want %v", swept, err, last)
		}
	}
	sweep(0, verify.ID{})
	all := ids([]*verify.Verification{k.start(number(0)), k.start(number(1))})
	sweep(0, verify.ID{}) // too young
	k.clock.advance(lag)
	sweep(1, all[1])
	equal(t, "hints", k.hints(), []Hint{{start.Add(lease), all[0]}, {start.Add(lease), all[1]}})
	sweep(0, all[1])

	// A hint that was done with doesn't come back.
	k.clock.set(start.Add(lease))
	for _, o := range k.due() {
		if _, err := k.Settle(ctx, k.sent(o.Verification)); err != nil {
			t.Fatal(err)
		}
		k.claim(o)
	}
	equal(t, "hints of settled messages", k.hints(), []Hint(nil))
	sweep(0, all[1])
	equal(t, "hints after another sweep", k.hints(), []Hint(nil))

	v := k.start(number(2))
	k.clock.advance(lag)
	sweep(1, v.ID)
	sweep(0, v.ID)
}

func renewedLeaseMovesItsHint(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	k.clock.advance(lease / 2)
	k.sweep()
	renewed, err := k.Renew(ctx, v.ID, v.Attempt, lease)
	if err != nil {
		t.Fatal(err)
	}
	until := start.Add(lease/2 + lease)
	equal(t, "end of the lease", renewed.DueAt, until)
	k.clock.set(start.Add(lease))
	for _, o := range k.due() { // the old hint
		if got := k.claim(o); got != nil {
			t.Errorf("claim at the old end: got %+v, want none", got)
		}
	}
	equal(t, "due at the old end", k.due(), []verify.Overdue(nil))
	equal(t, "hints", k.hints(), []Hint{{until, v.ID}})
	equal(t, "verification", k.stored(v.ID), renewed)
	k.clock.set(until)
	equal(t, "due at the new end", k.due(), []verify.Overdue{{Hint: until, Verification: renewed}})
}

// Whoever makes a long call renews its lease while others look. Then he settles it; or dies, and another
// claims it when the last lease is over.
func leaseIsRenewedAsLongAsACallTakes(t *testing.T, s suite) {
	for _, dies := range []bool{false, true} {
		k := s.open(t)
		v := k.start(number(0))
		for range 10 {
			k.clock.advance(lease / 2)
			k.sweep()
			for _, o := range k.due() {
				if got := k.claim(o); got != nil {
					t.Fatalf("claim during the call: got %+v, want none", got)
				}
			}
			var err error
			if v, err = k.Renew(ctx, v.ID, v.Attempt, lease); err != nil {
				t.Fatal(err)
			}
		}
		if dies {
			k.clock.set(v.DueAt.Add(-time.Millisecond))
			for _, o := range k.due() {
				if got := k.claim(o); got != nil {
					t.Errorf("claim before the end of the last lease: got %+v, want none", got)
				}
			}
			k.clock.set(v.DueAt)
			due := k.due()
			equal(t, "due at the end of the last lease", due, []verify.Overdue{{Hint: v.DueAt, Verification: v}})
			if got := k.claim(due[0]); got == nil || got.Attempt != 2 {
				t.Errorf("claim at the end of the last lease: got %+v, want attempt 2", got)
			}
			continue
		}
		settled, err := k.Settle(ctx, k.sent(v))
		if err != nil || settled.Delivery != verify.DeliverySent {
			t.Errorf("settle: got %+v, %v; want it sent", settled, err)
		}
		_, err = k.Renew(ctx, v.ID, v.Attempt, lease)
		wantError(t, "renew after the end", err, verify.ErrLeaseLost)
		k.clock.advance(time.Hour)
		for _, o := range k.due() {
			k.claim(o)
		}
		equal(t, "hints", k.hints(), []Hint(nil))
	}
}

func settledMessageIsLookedAtOnceMoreAtMost(t *testing.T, s suite) {
	k := s.open(t)
	before, after := k.start(number(0)), k.start(number(1))
	settle := func(v *verify.Verification) {
		if _, err := k.Settle(ctx, k.sent(v)); err != nil {
			t.Errorf("settle: %v", err)
		}
	}
	settle(before)
	k.clock.advance(lag)
	k.sweep()
	equal(t, "hints", k.hints(), []Hint{{start.Add(lease), after.ID}})
	settle(after)
	k.clock.set(start.Add(lease))
	for _, o := range k.due() {
		if got := k.claim(o); got != nil {
			t.Errorf("claim: got %+v, want none", got)
		}
	}
	equal(t, "due", k.due(), []verify.Overdue(nil))
	equal(t, "hints", k.hints(), []Hint(nil))
	equal(t, "deliveries", len(k.deliveries(after.ID)), 1)
}

func messageToRetryIsDueThen(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	st := k.sent(v)
	st.Outcome, st.Reason, st.Retry, st.RetryAt = verify.AttemptErrored, verify.ReasonBusy, true, start.Add(time.Minute)
	queued, err := k.Settle(ctx, st)
	if err != nil || queued.Delivery != verify.DeliveryQueued {
		t.Fatalf("settle: got %+v, %v; want it queued", queued, err)
	}
	k.clock.advance(time.Minute - time.Millisecond)
	equal(t, "due before", k.due(), []verify.Overdue(nil))
	k.clock.advance(time.Millisecond)
	due := k.due()
	end := verify.Delivery{Verification: v.ID, Attempt: 1, Channel: verify.ChannelVoice, Carrier: "c", Outcome: verify.AttemptErrored, Reason: verify.ReasonBusy, Ref: "ref", StartedAt: start, EndedAt: start}
	equal(t, "due", due, []verify.Overdue{{Hint: start.Add(time.Minute), Verification: queued, Deliveries: []verify.Delivery{end}}})
	if got := k.claim(due[0]); got == nil || got.Attempt != 2 {
		t.Errorf("claim: got %+v, want attempt 2", got)
	}

	// A receipt that says "not delivered" brings a sent message back.
	w := k.start(number(1))
	if _, err := k.Settle(ctx, k.sent(w)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Receive(ctx, verify.Receipt{Verification: w.ID, Attempt: 1, Reason: verify.ReasonUnreachable, Retry: true}); err != nil {
		t.Fatal(err)
	}
	if due = k.due(); len(due) != 1 || due[0].Verification.ID != w.ID {
		t.Fatalf("due after the receipt: got %+v, want %v", due, w.ID)
	}

	// One that nobody can send any more is nobody's.
	if deleted, err := k.Retain(ctx, k.clock.Now().Add(time.Minute)); deleted != 0 || err != nil {
		t.Fatalf("retain: got %d, %v; want 0", deleted, err)
	}
	k.clock.advance(time.Hour)
	if deleted, err := k.Retain(ctx, k.clock.Now()); deleted != 2 || err != nil {
		t.Fatalf("retain: got %d, %v; want 2", deleted, err)
	}
	equal(t, "due after retention", k.due(), []verify.Overdue(nil))
	equal(t, "hints after retention", k.hints(), []Hint(nil))
}

func startBehindTheSweeperIsRefused(t *testing.T, s suite) {
	k := s.open(t)
	slow, tooSlow := k.fresh(number(0)), k.fresh(number(1))
	k.clock.advance(time.Millisecond)
	young := k.start(number(2))
	k.clock.set(start.Add(5*time.Second - time.Millisecond))
	k.sweep()
	wantError(t, "start with an id 4.999 s old", k.Start(ctx, slow, verify.Limits{}, lease), nil)
	k.clock.advance(time.Millisecond)
	wantError(t, "start with an id 5 s old", k.Start(ctx, tooSlow, verify.Limits{}, lease), verify.ErrBusy)
	k.gone(tooSlow.ID)
	equal(t, "destination of the refused one", k.destination(tooSlow.To), (*verify.Destination)(nil))
	k.clock.advance(lease)
	k.sweep()
	equal(t, "hints", k.hints(), []Hint{{young.DueAt, young.ID}, {slow.DueAt, slow.ID}})
}

func sweepOfManyLetsOthersWrite(t *testing.T, s suite) {
	k := s.open(t)
	const n = 5000 // more than two steps
	all := ids(k.startMany(n))
	k.clock.advance(lag)

	first := k.gate.hold()
	swept := make(chan struct{})
	go func() { defer close(swept); k.sweep() }()
	await(t, "the first step", first.begun)
	var others sync.WaitGroup
	v := k.fresh(number(n))
	k.queue(&others, func() {
		if err := k.Start(ctx, v, verify.Limits{}, lease); err != nil {
			t.Errorf("start: %v", err)
		}
	})
	k.gate.pass() // the start's
	second := k.gate.hold()
	close(first.let)
	others.Wait()
	await(t, "the second step", second.begun)
	if got := len(k.hints()); got == 0 || got >= n {
		t.Errorf("hints after the first step: got %d, want some of %d", got, n)
	}
	close(second.let)
	await(t, "the sweep", swept)

	seen := map[verify.ID]int{}
	for _, h := range k.hints() {
		seen[h.ID]++
	}
	for _, id := range all {
		if seen[id] != 1 {
			t.Fatalf("verification %v has %d hints, want 1", id, seen[id])
		}
	}
	equal(t, "hints", len(seen), n)

	// Due reads no more than it is asked for, the oldest first.
	k.clock.advance(lease)
	due, _, err := k.Due(ctx, verify.Hint{}, 10, nil)
	if err != nil || len(due) != 10 {
		t.Fatalf("due: got %d, %v; want 10", len(due), err)
	}
	if got := []verify.ID{due[0].Verification.ID, due[9].Verification.ID}; !slices.Equal(got, []verify.ID{all[0], all[9]}) {
		t.Errorf("due: got %v, want %v", got, []verify.ID{all[0], all[9]})
	}
}

// Starts whose ids are up to 5 s old come in while the clock runs and the sweeper sweeps.
func sweepAmongStartsForgetsNoMessage(t *testing.T, s suite) {
	k := s.open(t)
	const callers, each = 8, 60
	var mu sync.Mutex // guards started
	var started []verify.ID
	var starting, sweeping sync.WaitGroup
	done := make(chan struct{})
	for c := range callers {
		starting.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(c)))
			for i := range each {
				v := k.fresh(number(c*each + i))
				v.ID = verify.NewID(k.clock.Now().Add(-time.Duration(r.IntN(5200)) * time.Millisecond))
				k.clock.advance(time.Duration(r.IntN(20)) * time.Millisecond)
				switch err := k.Start(ctx, v, verify.Limits{}, lease); {
				case err == nil:
					mu.Lock()
					started = append(started, v.ID)
					mu.Unlock()
				case !errors.Is(err, verify.ErrBusy):
					t.Errorf("start: %v", err)
				}
			}
		})
	}
	sweeping.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if err := k.Sweep(ctx); err != nil {
					t.Errorf("sweep: %v", err)
					return
				}
			}
		}
	})
	starting.Wait()
	close(done)
	sweeping.Wait()
	if len(started) < callers*each/2 {
		t.Errorf("got %d starts of %d, want most", len(started), callers*each)
	}
	k.nothingForgotten(func() []*verify.Verification {
		var all []*verify.Verification
		for _, id := range started {
			all = append(all, k.stored(id))
		}
		return all
	}())
}

// nothingForgotten demands that each message which is still open will be seen by the sweeper, or
// has a hint at its time or before, or soon: see appears. One that waits for a receipt has a hint from the start.
func (k *kit) nothingForgotten(all []*verify.Verification) {
	k.t.Helper()
	swept, err := k.Swept(ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	earliest := map[verify.ID]time.Time{}
	for _, h := range k.hints() {
		if at, ok := earliest[h.ID]; !ok || h.Due.Before(at) {
			earliest[h.ID] = h.Due
		}
	}
	for _, v := range all {
		if !v.Watched() && (!v.Open() || compare(v.ID, swept) > 0) {
			continue
		}
		if at, ok := earliest[v.ID]; !ok || at.After(v.DueAt) && at.After(k.clock.Now().Add(appears)) {
			k.t.Errorf("message of %v is due at %v: the sweeper has passed it, and it has no hint by then: %v, %v", v.ID, v.DueAt, at, ok)
		}
	}
}

func retentionDeletesOnlyWhatHasEndedBefore(t *testing.T, s suite) {
	k := s.open(t)
	const day = 24 * time.Hour
	week := lives(7 * day)
	approved, exhausted, canceled, expired := k.start(number(0), week), k.start(number(1), week, allows(1)), k.start(number(2), week), k.start(number(3), lives(2*day))
	live := k.start(number(4), week)
	k.check(right(approved), approvedWith(2))
	k.check(wrong(exhausted), wrongWith(0))
	wantError(t, "cancel", k.Cancel(ctx, project, canceled.ID), nil)
	for _, v := range []*verify.Verification{approved, live} {
		if _, err := k.Settle(ctx, k.sent(v)); err != nil {
			t.Fatal(err)
		}
	}
	k.clock.advance(day)
	young := k.start(number(5), week)
	wantError(t, "cancel", k.Cancel(ctx, project, young.ID), nil)

	retain := func(before time.Time, want int) {
		t.Helper()
		if deleted, err := k.Retain(ctx, before); deleted != want || err != nil {
			t.Errorf("retain: got %d, %v; want %d", deleted, err, want)
		}
	}
	retain(start, 0)
	retain(start.Add(-time.Hour), 0)
	equal(t, "verification before its time", k.stored(canceled.ID).Status, verify.StatusCanceled)
	retain(start.Add(day), 3)
	for _, v := range []*verify.Verification{approved, exhausted, canceled} {
		k.gone(v.ID)
		equal(t, "deliveries", len(k.deliveries(v.ID)), 0)
	}
	equal(t, "one that lives for two days", k.stored(expired.ID).StatusAt(k.clock.Now()), verify.StatusPending)
	equal(t, "one that lives for a week", k.stored(live.ID).Status, verify.StatusPending)
	equal(t, "its deliveries", len(k.deliveries(live.ID)), 1)
	equal(t, "one that was started after the instant", k.stored(young.ID).Status, verify.StatusCanceled)

	k.clock.set(start.Add(2*day - time.Millisecond))
	retain(start.Add(day), 0)
	k.clock.set(start.Add(2 * day)) // expired, at this instant
	retain(start.Add(day), 1)
	k.gone(expired.ID)
	k.check(right(live), approvedWith(2))
	retain(k.clock.Now(), 2)
	retain(k.clock.Now(), 0)
}

func retentionKeepsWhatADestinationRemembers(t *testing.T, s suite) {
	k := s.open(t)
	begin := func(i int) *verify.Verification {
		t.Helper()
		v := k.fresh(number(i))
		if err := k.Start(ctx, v, verify.DefaultLimits, lease); err != nil {
			t.Fatal(err)
		}
		return v
	}
	forgotten, failed, again := begin(0), begin(1), begin(2)
	k.check(wrong(failed), wrongWith(2))
	k.check(wrong(forgotten), wrongWith(2))
	k.check(right(forgotten), approvedWith(1))
	k.clock.set(start.Add(24*time.Hour - time.Millisecond))
	latest := begin(2)
	wantError(t, "cancel", k.Cancel(ctx, project, latest.ID), nil)

	retain := func(before time.Time, want int) {
		t.Helper()
		if deleted, err := k.Retain(ctx, before); deleted != want || err != nil {
			t.Fatalf("retain: got %d, %v; want %d", deleted, err, want)
		}
	}
	// The send of number 0 is a day old in a millisecond.
	k.clock.advance(time.Millisecond)
	remembered := k.destination(again.To)
	retain(start.Add(time.Hour), 3)
	equal(t, "destination with nothing to remember", k.destination(forgotten.To), (*verify.Destination)(nil))
	if d := k.destination(failed.To); d == nil || d.Failures != 1 {
		t.Errorf("destination with a failure: got %+v, want 1 failure", d)
	}
	equal(t, "destination with a newer verification", k.destination(again.To), remembered)

	// Its latest goes while its sends still count.
	retain(k.clock.Now(), 1)
	equal(t, "destination with a recent send", k.destination(again.To), remembered)
	wantError(t, "start after the latest one is gone", k.Start(ctx, k.fresh(again.To), verify.DefaultLimits, lease), nil)
	wantError(t, "start where the latest one is gone", k.Start(ctx, k.fresh(forgotten.To), verify.DefaultLimits, lease), nil)
}

func retentionLetsOthersWrite(t *testing.T, s suite) {
	k := s.open(t)
	const n = 600 // more than one step
	old := ids(k.startMany(n, lives(0)))
	k.clock.advance(24 * time.Hour) // their numbers' last sends don't count any more
	live := k.start(number(n))
	k.clock.advance(time.Minute)
	before := k.clock.Now()

	first := k.gate.hold()
	var deleted int
	retained := make(chan struct{})
	go func() {
		defer close(retained)
		var err error
		if deleted, err = k.Retain(ctx, before); err != nil {
			t.Errorf("retain: %v", err)
		}
	}()
	await(t, "the first step", first.begun)
	var others sync.WaitGroup
	k.queue(&others, func() {
		if out, err := k.Check(ctx, wrong(live)); err != nil || out.GuessesLeft != 2 {
			t.Errorf("check: got %+v, %v; want 2 left", out, err)
		}
	})
	k.gate.pass() // the check's
	second := k.gate.hold()
	close(first.let)
	others.Wait()
	await(t, "the second step", second.begun)
	left := 0
	for _, id := range old {
		if _, err := k.Verification(ctx, id); err == nil {
			left++
		}
	}
	if left == 0 || left == n {
		t.Errorf("after the first step: %d verifications are left, want some of %d", left, n)
	}
	close(second.let)
	await(t, "the retention", retained)
	equal(t, "deleted", deleted, n)
	equal(t, "guesses of the live one", k.stored(live.ID).Guesses, 1)
	if all, err := k.Destinations(ctx); err != nil || len(all) != 1 {
		t.Errorf("at the end: got %d destinations, %v; want that of the live one", len(all), err)
	}
}

// A number that couldn't be forgotten with its last verification is forgotten later.
func retentionForgetsNumbersLater(t *testing.T, s suite) {
	k := s.open(t)
	limited, locked := k.fresh(number(1)), k.fresh(number(2))
	for _, v := range []*verify.Verification{limited, locked} {
		if err := k.Start(ctx, v, verify.DefaultLimits, lease); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.Check(ctx, wrong(locked)); err != nil {
		t.Fatal(err)
	}
	k.clock.advance(2 * time.Hour) // the send limits still remember both
	if n, err := k.Retain(ctx, k.clock.Now()); n != 2 || err != nil {
		t.Fatalf("retain: got %d, %v; want 2", n, err)
	}
	numbers := func(want int) {
		t.Helper()
		if all, err := k.Destinations(ctx); err != nil || len(all) != want {
			t.Errorf("got %d destinations, %v; want %d", len(all), err, want)
		}
	}
	numbers(2)
	k.clock.advance(24 * time.Hour)
	if _, err := k.Retain(ctx, k.clock.Now()); err != nil {
		t.Fatal(err)
	}
	numbers(1) // the one with a wrong guess stays
	if err := k.ResetDestination(ctx, locked.Project, locked.To, "operator"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Retain(ctx, k.clock.Now()); err != nil {
		t.Fatal(err)
	}
	numbers(0)

	// A row that was made before numbers had keys goes by the form in which it is written.
	const written = phone.Number("+541123456789")
	old := k.start(written)
	if _, err := k.Check(ctx, wrong(old)); err != nil {
		t.Fatal(err)
	}
	k.clock.advance(24 * time.Hour)
	if err := k.ResetDestination(ctx, old.Project, written, "operator"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Retain(ctx, k.clock.Now()); err != nil {
		t.Fatal(err)
	}
	numbers(0)
}

func retentionStopsWhenCanceled(t *testing.T, s suite) {
	k := s.open(t)
	const n = 600 // more than one step
	all := ids(k.startMany(n, lives(0)))
	k.clock.advance(time.Minute)
	canceled, cancel := context.WithCancel(ctx)
	k.gate.order(func(commit func() error) error {
		defer cancel()
		return commit()
	})
	deleted, err := k.Retain(canceled, k.clock.Now())
	wantError(t, "retain", err, context.Canceled)
	if deleted == 0 || deleted >= n {
		t.Fatalf("deleted: got %d, want some of %d", deleted, n)
	}
	for _, id := range all[:deleted] {
		k.gone(id)
	}
	k.stored(all[deleted])
	rest, err := k.Retain(ctx, k.clock.Now())
	if rest != n-deleted || err != nil {
		t.Errorf("retain the rest: got %d, %v; want %d", rest, err, n-deleted)
	}
}
