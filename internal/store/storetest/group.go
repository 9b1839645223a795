package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/verify"
)

func whatArrivesTogetherIsCommittedTogether(t *testing.T, s suite) {
	k := s.open(t)
	checked, settled, canceled, started := k.start(number(0)), k.start(number(1)), k.start(number(2)), k.fresh(number(3))
	n := k.gate.count()
	var out verify.Outcome
	errs := make([]error, 4)
	k.together(
		func() { errs[0] = k.Start(ctx, started, verify.Limits{}, lease) },
		func() { out, errs[1] = k.Check(ctx, wrong(checked)) },
		func() { _, errs[2] = k.Settle(ctx, k.sent(settled)) },
		func() { errs[3] = k.Cancel(ctx, project, canceled.ID) },
	)
	equal(t, "groups", k.gate.since(n), []int{1, 4})
	for i, err := range errs {
		wantError(t, []string{"start", "check", "settle", "cancel"}[i], err, nil)
	}
	equal(t, "outcome", out, wrongWith(2))
	equal(t, "started", k.stored(started.ID), started)
	equal(t, "guesses", k.stored(checked.ID).Guesses, 1)
	equal(t, "delivery", k.stored(settled.ID).Delivery, verify.DeliverySent)
	equal(t, "status", k.stored(canceled.ID).Status, verify.StatusCanceled)
}

func operationsOnOneRowAreAppliedInOrderOfArrival(t *testing.T, s suite) {
	k := s.open(t)
	type answer struct {
		out verify.Outcome
		err error
	}
	run := func(started bool, v *verify.Verification, guesses ...verify.Guess) []answer {
		t.Helper()
		answers := make([]answer, len(guesses))
		var calls []func()
		if !started {
			calls = append(calls, func() {
				if err := k.Start(ctx, v, verify.Limits{}, lease); err != nil {
					t.Errorf("start: %v", err)
				}
			})
		}
		for i, g := range guesses {
			calls = append(calls, func() { answers[i].out, answers[i].err = k.Check(ctx, g) })
		}
		n := k.gate.count()
		k.together(calls...)
		equal(t, "groups", k.gate.since(n), []int{1, len(calls)})
		return answers
	}
	test := func(name string, got []answer, want ...answer) {
		t.Helper()
		for i := range want {
			if got[i].out != want[i].out || !errors.Is(got[i].err, want[i].err) {
				t.Errorf("%s: answer %d: got %+v, want %+v", name, i, got[i], want[i])
			}
		}
	}
	left := func(n int) answer { return answer{out: wrongWith(n)} }

	v := k.start(number(0))
	test("the right one third", run(true, v, wrong(v), wrong(v), right(v), right(v)),
		left(2), left(1), answer{out: approvedWith(0)}, answer{err: verify.ErrApproved})
	equal(t, "failures after a success", k.destination(v.To).Failures, 0)
	equal(t, "guesses", k.stored(v.ID).Guesses, 3)

	v = k.start(number(1))
	test("the right one too late", run(true, v, wrong(v), wrong(v), wrong(v), right(v)),
		left(2), left(1), left(0), answer{err: verify.ErrGuessesSpent})
	equal(t, "failures", k.destination(v.To).Failures, 3)
	equal(t, "status", k.stored(v.ID).Status, verify.StatusExhausted)

	// Both verifications share the number's failures within a group, too.
	v, w := k.start(number(2), allows(5)), k.start(number(2), allows(5))
	gs := []verify.Guess{wrong(v), wrong(w), wrong(v), wrong(w), wrong(v), wrong(w)}
	for i := range gs {
		gs[i].Profile = verify.ProfileStandard // waits after five
	}
	test("two of one number", run(true, v, gs...),
		left(4), left(4), left(3), left(3), left(2), answer{err: verify.ErrTooManyGuesses})

	v = k.fresh(number(3))
	test("started in the same group", run(false, v, wrong(v), right(v)), left(2), answer{out: approvedWith(1)})
	equal(t, "delivery", k.stored(v.ID).Delivery, verify.DeliveryDelivered)
}

// A guess whose comparison panics fails while the group decides, a row that breaks a constraint
// while it is written. Either fails alone.
func poisonedOperationFailsAlone(t *testing.T, s suite) {
	k := s.open(t)
	var (
		taken, checked, settled    = k.start(number(0)), k.start(number(1), allows(20)), k.start(number(2))
		first, duplicate, headless = k.fresh(number(3)), k.fresh(number(4)), k.fresh(number(5))
		last                       = k.fresh(number(6))
	)
	duplicate.ID = taken.ID
	headless.CodeMAC = nil // a column that is never NULL
	bomb := wrong(checked)
	bomb.Matches = func(*verify.Verification) (bool, error) { panic("boom") }
	check := func() error { _, err := k.Check(ctx, wrong(checked)); return err }
	for _, test := range []struct {
		name   string
		poison func() error
	}{
		{"an id that exists", func() error { return k.Start(ctx, duplicate, verify.Limits{}, lease) }},
		{"a row without a MAC", func() error { return k.Start(ctx, headless, verify.Limits{}, lease) }},
		{"a comparison that panics", func() error { _, err := k.Check(ctx, bomb); return err }},
	} {
		first, last = k.fresh(first.To), k.fresh(last.To)
		guesses, failures := k.stored(checked.ID).Guesses, k.destination(checked.To).Failures
		errs := make([]error, 5)
		n := k.gate.count()
		k.together(
			func() { errs[0] = k.Start(ctx, first, verify.Limits{}, lease) },
			func() { errs[1] = check() },
			func() { errs[2] = test.poison() },
			func() { _, errs[3] = k.Settle(ctx, k.sent(settled)) },
			func() { errs[4] = k.Start(ctx, last, verify.Limits{}, lease) },
		)
		groups := k.gate.since(n) // a poisoned one may be noticed only when it is committed
		equal(t, test.name+": the last groups", groups[max(len(groups)-4, 0):], []int{1, 1, 1, 1})
		for i, err := range errs {
			if poisoned := i == 2; (err != nil) != poisoned {
				t.Errorf("%s: operation %d: got error %v, want one: %v", test.name, i, err, poisoned)
			}
		}
		equal(t, test.name+": started first", k.stored(first.ID), first)
		equal(t, test.name+": started last", k.stored(last.ID), last)
		equal(t, test.name+": guesses", k.stored(checked.ID).Guesses, guesses+1)
		equal(t, test.name+": failures", k.destination(checked.To).Failures, failures+1)
	}
	equal(t, "the verification whose id was taken", k.stored(taken.ID), taken)
	equal(t, "deliveries", len(k.deliveries(settled.ID)), 1)
	k.gone(headless.ID)
	for _, n := range []*verify.Verification{duplicate, headless} {
		equal(t, "destination of a start that failed", k.destination(n.To), (*verify.Destination)(nil))
	}
}

func secondStartWithAnIDFails(t *testing.T, s suite) {
	k := s.open(t)
	v, w := k.fresh(number(0)), k.fresh(number(1))
	w.ID = v.ID
	errs := make([]error, 2)
	k.together(
		func() { errs[0] = k.Start(ctx, v, verify.Limits{}, lease) },
		func() { errs[1] = k.Start(ctx, w, verify.Limits{}, lease) },
	)
	wantError(t, "first start", errs[0], nil)
	if errs[1] == nil {
		t.Error("second start: got no error")
	}
	equal(t, "verification", k.stored(v.ID), v)
	equal(t, "destination of the second", k.destination(w.To), (*verify.Destination)(nil))
	if err := k.Start(ctx, w, verify.Limits{}, lease); err == nil {
		t.Error("third start: got no error")
	}
	equal(t, "verification", k.stored(v.ID), v)
}

func hungUpCallerIsCharged(t *testing.T, s suite) {
	k := s.open(t)
	v, w := k.start(number(0)), k.fresh(number(1))
	gone, hangUp := context.WithCancel(ctx)
	let := k.occupy()
	var all sync.WaitGroup
	k.queue(&all, func() { k.Check(gone, wrong(v)) }, func() { k.Start(gone, w, verify.Limits{}, lease) })
	hangUp()
	close(let)
	all.Wait()
	equal(t, "guesses", k.stored(v.ID).Guesses, 1)
	equal(t, "failures", k.destination(v.To).Failures, 1)
	equal(t, "status", k.stored(w.ID).Status, verify.StatusPending)

	// Also one that had hung up before.
	k.Check(gone, wrong(v))
	equal(t, "guesses", k.stored(v.ID).Guesses, 2)
}

func closeCarriesOutWhatWasTaken(t *testing.T, s suite) {
	k := s.open(t)
	checked := k.start(number(0))
	var started []*verify.Verification
	let := k.occupy()
	var all sync.WaitGroup
	for i := range 20 {
		v := k.fresh(number(i + 1))
		started = append(started, v)
		k.queue(&all, func() {
			if err := k.Start(ctx, v, verify.Limits{}, lease); err != nil {
				t.Errorf("start: %v", err)
			}
		})
	}
	k.queue(&all, func() {
		if out, err := k.Check(ctx, wrong(checked)); err != nil || out.GuessesLeft != 2 {
			t.Errorf("check: got %+v, %v; want 2 left", out, err)
		}
	})
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if err := k.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	late := make(chan error, 1)
	until(t, "the closing", func() bool {
		// Taken, this waits like the others.
		all.Go(func() {
			if err := k.Start(ctx, k.fresh(number(99)), verify.Limits{}, lease); err != nil {
				select {
				case late <- err:
				default:
				}
			}
		})
		return len(late) > 0
	})
	wantError(t, "start while closing", <-late, verify.ErrNoStore)
	select {
	case <-closed:
		t.Error("closed before the commit that is under way")
	default:
	}
	close(let)
	await(t, "the end of closing", closed)
	all.Wait()

	k.Store = k.Again(t, k.clock.Now, k.gate.commit)
	for _, v := range started {
		equal(t, "started", k.stored(v.ID), v)
	}
	equal(t, "guesses", k.stored(checked.ID).Guesses, 1)
}

func closeAmongManyCallersLosesNothing(t *testing.T, s suite) {
	k := s.open(t)
	const callers, enough = 32, 200
	var mu sync.Mutex // guards the two below
	var started []verify.ID
	begun := make(chan struct{})
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for {
				v := k.fresh(number(i))
				if err := k.Start(ctx, v, verify.Limits{}, lease); err != nil {
					wantError(t, "start", err, verify.ErrNoStore)
					return
				}
				mu.Lock()
				started = append(started, v.ID)
				if len(started) == enough {
					close(begun)
				}
				mu.Unlock()
			}
		})
	}
	await(t, "the load", begun)
	for range 3 {
		all.Go(func() {
			if err := k.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	all.Wait()

	k.Store = k.Again(t, k.clock.Now, k.gate.commit)
	for _, id := range started {
		k.stored(id)
	}
}

func everyCallAfterCloseFindsNoStore(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	second := func(_ any, err error) error { return err }
	third := func(_, _ any, err error) error { return err }
	for name, err := range map[string]error{
		"Start":         k.Start(ctx, k.fresh(number(1)), verify.Limits{}, lease),
		"Check":         second(k.Check(ctx, right(v))),
		"Cancel":        k.Cancel(ctx, project, v.ID),
		"Account":       second(k.Account(ctx, account.KeyHash{})),
		"Settle":        second(k.Settle(ctx, k.sent(v))),
		"Claim":         third(k.Claim(ctx, verify.Overdue{Verification: v}, lease)),
		"Renew":         second(k.Renew(ctx, v.ID, v.Attempt, lease)),
		"Receive":       third(k.Receive(ctx, verify.Receipt{Verification: v.ID})),
		"Find":          third(k.Find(ctx, "c", "ref")),
		"Postpone":      k.Postpone(ctx, verify.Overdue{Verification: v}, start),
		"Verification":  second(k.Verification(ctx, v.ID)),
		"Deliveries":    second(k.Deliveries(ctx, v.ID)),
		"Sweep":         k.Sweep(ctx),
		"Due":           third(k.Due(ctx, verify.Hint{}, 1, nil)),
		"Retain":        second(k.Retain(ctx, start)),
		"CreateProject": k.CreateProject(ctx, verify.Project{ID: "q"}),
		"UpdateProject": k.UpdateProject(ctx, verify.Project{ID: "q"}),
		"Projects":      second(k.Projects(ctx)),
		"CreateKey":     k.CreateKey(ctx, account.Key{Project: "q"}),
		"Keys":          second(k.Keys(ctx, "q")),
		"RevokeKey":     revoke(k, v.ID),
		"Ready":         k.Ready(ctx),
	} {
		wantError(t, name, err, verify.ErrNoStore)
	}
}

// ids are verifications' ids, sorted.
func ids(all []*verify.Verification) []verify.ID {
	var sorted []verify.ID
	for _, v := range all {
		sorted = append(sorted, v.ID)
	}
	slices.SortFunc(sorted, compare)
	return sorted
}

func compare(a, b verify.ID) int { return slices.Compare(a[:], b[:]) }
