package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// What a caller is promised, whatever the store does with groups.

func guessesAtOnceShareTheAttempts(t *testing.T, s suite) {
	k := s.open(t)
	const verifications, guesses, attempts = 8, 30, 5
	var evaluated, refused atomic.Int64
	var all sync.WaitGroup
	for i := range verifications {
		v := k.start(number(i), allows(attempts))
		for range guesses {
			all.Go(func() {
				switch out, err := k.Check(ctx, wrong(v)); {
				case err == nil && !out.Approved:
					evaluated.Add(1)
				case errors.Is(err, verify.ErrGuessesSpent):
					refused.Add(1)
				default:
					t.Errorf("check: got %+v, %v", out, err)
				}
			})
		}
	}
	all.Wait()
	equal(t, "guesses evaluated", evaluated.Load(), int64(verifications*attempts))
	equal(t, "guesses refused", refused.Load(), int64(verifications*(guesses-attempts)))
}

// Each guess is a group of its own here, so that what it sees is what the one before has written.
func whatAGuessChangesIsWritten(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0), allows(3))
	k.check(wrong(v), wrongWith(2))
	equal(t, "guesses after a wrong one", k.stored(v.ID).Guesses, 1)
	equal(t, "failures after a wrong guess", k.destination(v.To).Failures, 1)
	k.reopen(t)
	k.check(wrong(v), wrongWith(1))
	k.check(right(v), approvedWith(0))
	equal(t, "guesses after the right one", k.stored(v.ID).Guesses, 3)
	equal(t, "failures after the right guess", k.destination(v.To).Failures, 0)
}

func rightCodeApprovesOnce(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0), allows(20))
	var approved atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			switch out, err := k.Check(ctx, right(v)); {
			case err == nil && out.Approved:
				approved.Add(1)
			case !errors.Is(err, verify.ErrApproved):
				t.Errorf("check: got %+v, %v; want %v", out, err, verify.ErrApproved)
			}
		})
	}
	all.Wait()
	equal(t, "approvals", approved.Load(), int64(1))
	equal(t, "guesses", k.stored(v.ID).Guesses, 1)
}

func anotherProjectsVerificationDoesNotExist(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	before, destination := k.stored(v.ID), k.destination(v.To)

	g := right(v)
	g.Project = "q"
	_, err := k.Check(ctx, g)
	wantError(t, "check", err, verify.ErrNotFound)
	wantError(t, "cancel", k.Cancel(ctx, "q", v.ID), verify.ErrNotFound)
	equal(t, "verification", k.stored(v.ID), before)
	equal(t, "destination", k.destination(v.To), destination)

	// Its number is one of another project's too, with a memory of its own.
	k.check(wrong(v), wrongWith(2))
	k.start(v.To, func(v *verify.Verification) { v.Project = "q" })
	all, err := k.Destinations(ctx)
	if err != nil || len(all) != 2 {
		t.Fatalf("destinations: got %v, %v; want 2", all, err)
	}
	equal(t, "failures of p and q", []int{all[0].Failures, all[1].Failures}, []int{1, 0})
}

func guessThatCannotBeComparedSpendsNothing(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	destination := k.destination(v.To)
	g, noKey := right(v), errors.New("the key is missing")
	g.Matches = func(*verify.Verification) (bool, error) { return true, noKey }
	_, err := k.Check(ctx, g)
	wantError(t, "check", err, noKey)
	equal(t, "verification", k.stored(v.ID), v)
	equal(t, "destination", k.destination(v.To), destination)
	k.check(right(v), approvedWith(2))
}

func endWipesTheSealedCode(t *testing.T, s suite) {
	k := s.open(t)
	for _, test := range []struct {
		name string
		end  func(*verify.Verification)
		want verify.Status
	}{
		{"approve", func(v *verify.Verification) { k.check(right(v), approvedWith(0)) }, verify.StatusApproved},
		{"exhaust", func(v *verify.Verification) { k.check(wrong(v), wrongWith(0)) }, verify.StatusExhausted},
		{"cancel", func(v *verify.Verification) { wantError(t, "cancel", k.Cancel(ctx, project, v.ID), nil) }, verify.StatusCanceled},
	} {
		v := k.start(number(0), allows(1))
		if k.stored(v.ID).SealedCode == nil {
			t.Fatal("a pending verification has no sealed code")
		}
		test.end(v)
		got := k.stored(v.ID)
		if got.Status != test.want || got.SealedCode != nil || !got.EndedAt.Equal(k.clock.Now()) {
			t.Errorf("%s: got %v at %v with the sealed code %q, want %v at %v without", test.name, got.Status, got.EndedAt, got.SealedCode, test.want, k.clock.Now())
		}
	}
}

func whoLostTheLeaseSettlesNothing(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	frozen := *v
	k.clock.advance(lease)
	k.sweep()
	due := k.due()
	if len(due) != 1 {
		t.Fatalf("due: got %v, want one", due)
	}
	second := k.claim(due[0])
	if second == nil || second.Attempt != 2 {
		t.Fatalf("claim: got %+v, want attempt 2", second)
	}

	deliveries := k.deliveries(v.ID)
	_, err := k.Settle(ctx, k.sent(&frozen))
	wantError(t, "settle attempt 1", err, verify.ErrLeaseLost)
	_, err = k.Renew(ctx, v.ID, frozen.Attempt, lease)
	wantError(t, "renew attempt 1", err, verify.ErrLeaseLost)
	equal(t, "verification", k.stored(v.ID), second)
	equal(t, "deliveries", k.deliveries(v.ID), deliveries)

	settled, err := k.Settle(ctx, k.sent(second))
	if err != nil || settled.Delivery != verify.DeliverySent {
		t.Fatalf("settle attempt 2: got %+v, %v; want it sent", settled, err)
	}
	equal(t, "deliveries", k.deliveries(v.ID), []verify.Delivery{
		{Verification: v.ID, Attempt: 1, Outcome: verify.AttemptUnknown, Reason: verify.ReasonLeaseLost, StartedAt: start.Add(lease), EndedAt: start.Add(lease)},
		{Verification: v.ID, Attempt: 2, Channel: verify.ChannelVoice, Carrier: "c", Ref: "ref", StartedAt: k.clock.Now(), EndedAt: k.clock.Now()},
	})
	equal(t, "hints", k.due(), []verify.Overdue(nil))
}

func refusedStartChangesNothing(t *testing.T, s suite) {
	k := s.open(t)
	limits := verify.Limits{Burst: 1, Interval: time.Minute}
	v := k.fresh(number(0))
	if err := k.Start(ctx, v, limits, lease); err != nil {
		t.Fatal(err)
	}
	destination := k.destination(v.To)
	if destination.Latest != v.ID || !destination.TAT.Equal(start.Add(time.Minute)) {
		t.Errorf("destination: got %+v, want the latest %v and the limiter at %v", destination, v.ID, start.Add(time.Minute))
	}

	w := k.fresh(number(0))
	given := *w
	err := k.Start(ctx, w, limits, lease)
	var limited *verify.Error
	if !errors.As(err, &limited) || limited.Code != verify.ErrTooManySends.Code || limited.RetryAfter != time.Minute {
		t.Errorf("start: got error %v, want %v after a minute", err, verify.ErrTooManySends)
	}
	equal(t, "the caller's verification", *w, given)
	equal(t, "destination", k.destination(v.To), destination)
	k.gone(w.ID)

	k.clock.advance(time.Minute)
	w = k.fresh(number(0))
	if err := k.Start(ctx, w, limits, lease); err != nil {
		t.Fatalf("start a minute later: %v", err)
	}
	equal(t, "the verification before", w.Previous, v.ID)
	equal(t, "verification", k.stored(w.ID), w)
}
