package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// budget gives the project a budget.
func (k *kit) budget(edit func(*verify.Budget)) verify.BudgetState {
	k.t.Helper()
	k.project()
	b, err := k.ChangeBudget(ctx, project, func(b *verify.Budget) ([]store.Audit, error) {
		edit(b)
		return []store.Audit{{Actor: "test", Action: "project budget"}}, nil
	})
	if err != nil {
		k.t.Fatalf("change budget: %v", err)
	}
	return b
}

// perDay caps the messages of a day.
func perDay(n int) func(*verify.Budget) { return func(b *verify.Budget) { b.DayMessages = n } }

// bound has the start of a verification take of the budget.
func bound(price money.Amount) func(*verify.Verification) {
	return func(v *verify.Verification) { v.Toll = verify.Toll{Bound: true, Price: price} }
}

// tries starts a verification that takes of the budget.
func (k *kit) tries(s Store, i int, edits ...func(*verify.Verification)) error {
	v := k.fresh(number(i))
	bound(0)(v)
	for _, edit := range edits {
		edit(v)
	}
	return s.Start(ctx, v, verify.Limits{}, lease)
}

// spentOf is what the project has spent.
func (k *kit) spentOf() verify.BudgetState {
	k.t.Helper()
	b, err := k.Budget(ctx, project)
	if err != nil {
		k.t.Fatalf("budget: %v", err)
	}
	return b
}

// Two processes spend a budget together: as many messages as it has, whoever had a share of it, and also what a process
// took for itself that starts nothing any more.
func budgetIsSpentExactly(t *testing.T, s suite) {
	const cap, clients = 300, 40
	k := s.open(t)
	k.budget(perDay(cap))
	idle := k.Again(t, k.clock.Now, nil)
	if err := k.tries(idle, 0); err != nil { // and takes a share
		t.Fatal(err)
	}
	second := k.Again(t, k.clock.Now, nil)
	var started, refused, next atomic.Int64
	started.Store(1)
	next.Store(1)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := 0; n < 2 && started.Load() <= 2*cap; {
				switch err := k.tries([]Store{k.Store, second}[i%2], int(next.Add(1))); {
				case err == nil:
					started.Add(1)
				case errors.Is(err, verify.ErrBudget):
					refused.Add(1)
					n++
				default:
					t.Errorf("start: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	equal(t, "messages", started.Load(), int64(cap))
	equal(t, "spent", k.spentOf().Day.Messages, cap)
	if err := k.tries(idle, int(next.Add(1))); !errors.Is(err, verify.ErrBudget) {
		t.Errorf("a start with a share that was taken back: got %v, want %v", err, verify.ErrBudget)
	}
}

// Of two processes, one spends all that is left, also the share of the other, which then has nothing.
func shareIsSpentOnce(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(perDay(8))
	other := k.Again(t, k.clock.Now, nil)
	for i := range 8 {
		spender := other
		if i == 0 {
			spender = k // and takes a share
		}
		if err := k.tries(spender, i); err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
	}
	wantError(t, "a start with a share that another has spent", k.tries(k, 8), verify.ErrBudget)
	equal(t, "spent", k.spentOf().Day.Messages, 8)
}

// A day's budget is used up until the next day begins, and a month's until the next month.
func budgetIsOfADay(t *testing.T, s suite) {
	k := s.open(t)
	day := verify.DayOf(verify.Day(k.clock.Now()))
	k.clock.advance(time.Date(day.Year(), day.Month()+1, 0, 23, 59, 59, 0, time.UTC).Sub(k.clock.Now())) // the last of a month
	k.budget(func(b *verify.Budget) { b.DayMessages, b.MonthMessages = 2, 3 })
	start := func(i int, want error, wait time.Duration) {
		t.Helper()
		err := k.tries(k, i)
		var known *verify.Error
		if !errors.Is(err, want) || errors.As(err, &known) && known.RetryAfter != wait {
			t.Errorf("start %d: got %v (%+v), want %v, wait %v", i, err, known, want, wait)
		}
	}
	start(0, nil, 0)
	start(1, nil, 0)
	start(2, verify.ErrBudget, time.Second)
	k.clock.advance(time.Second)
	start(3, nil, 0)
	start(4, nil, 0)
	start(5, verify.ErrBudget, 24*time.Hour)
	k.clock.advance(24 * time.Hour)
	start(6, nil, 0)
	first := verify.DayOf(verify.FirstDay(verify.Day(k.clock.Now())))
	start(7, verify.ErrBudget, first.AddDate(0, 1, 0).Sub(k.clock.Now()))
}

func whatWasNotHandedOverIsGivenBack(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(perDay(2))
	first, second := k.start(number(0), bound(0)), k.start(number(1), bound(0))
	full := func(when string) {
		t.Helper()
		wantError(t, when, k.tries(k, 9), verify.ErrBudget)
	}
	full("while two are under way")

	next := k.sent(first)
	next.Outcome, next.Reason, next.Retry, next.Next = verify.AttemptRefused, verify.ReasonRefused, true, lease
	k.settle(next)
	full("while the next carrier has the first")
	taken := k.sent(k.stored(first.ID))
	k.settle(taken)
	full("when it was sent")

	refused := k.sent(second)
	refused.Outcome, refused.Reason = verify.AttemptRefused, verify.ReasonRefused
	k.settle(refused)
	refused.Again = true
	k.settle(refused) // is counted once
	equal(t, "spent", k.spentOf().Day.Messages, 1)
	k.clock.advance(time.Second) // a refusal is remembered for so long
	third := k.start(number(2), bound(0))
	full("with another in its place")
	unknown := k.sent(third)
	unknown.Outcome, unknown.Reason = verify.AttemptUnknown, verify.ReasonUnknown
	k.settle(unknown)
	full("when that may have been sent")
}

// A message that goes out again takes of the budget again, and isn't sent if that is used up.
func retriesTakeOfTheBudget(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(perDay(3))
	lost := k.start(number(0), bound(0))
	claim := func() (*verify.Verification, error) {
		t.Helper()
		k.clock.advance(lease)
		k.sweep()
		for _, o := range k.due() {
			if o.Hint.Equal(o.Verification.DueAt) {
				o.By = verify.ChannelSMS
				v, _, err := k.Claim(ctx, o, lease)
				return v, err
			}
		}
		t.Fatal("no message is due")
		return nil, nil
	}
	again, err := claim()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "spent, for the lost attempt may have sent it", k.spentOf().Day.Messages, 2)
	k.settle(k.sent(again))
	k.clock.advance(time.Minute)
	resend := verify.Resending{Overdue: verify.Overdue{Verification: k.stored(lost.ID), By: verify.ChannelSMS}, Lease: lease, Toll: verify.Toll{Bound: true}}
	if _, err := k.Resend(ctx, resend); err != nil {
		t.Fatal(err)
	}
	equal(t, "spent, with a resend", k.spentOf().Day.Messages, 3)
	before := k.stored(lost.ID)
	_, err = claim()
	wantError(t, "a claim without a budget", err, verify.ErrBudget)
	equal(t, "what it has changed", k.stored(lost.ID), before)

	k.settle(k.sent(before))
	k.clock.advance(5 * time.Minute)
	resend.Verification = k.stored(lost.ID)
	_, err = k.Resend(ctx, resend)
	wantError(t, "a resend without a budget", err, verify.ErrBudget)
	equal(t, "what that has changed", k.stored(lost.ID), resend.Verification)
	equal(t, "spent in the end", k.spentOf().Day.Messages, 3)
}

// A balance is what was paid in, less what starts and messages came to, to the millionth.
func balanceAddsUp(t *testing.T, s suite) {
	k := s.open(t)
	k.project()
	pays := func(amount money.Amount, kind verify.LedgerKind) verify.BudgetState {
		t.Helper()
		b, err := k.AddCredit(ctx, project, verify.LedgerEntry{Kind: kind, Amount: amount, Actor: "test", Note: "for a test"}, store.Audit{Actor: "test", Action: "project topup"})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	k.budget(func(b *verify.Budget) { b.Prepaid, b.Currency = true, "EUR" })
	wantError(t, "a start without credit", k.tries(k, 0, bound(12_500)), verify.ErrBudget)
	pays(200_000, verify.LedgerTopUp)

	estimated := k.start(number(0), paid, bound(9_000)) // 40 000 + 9 000, and 12 500 in the end
	equal(t, "balance while it is under way", k.spentOf().Balance(), money.Amount(200_000-49_000))
	k.settle(k.charged(estimated, "a"))
	equal(t, "balance when it was sent", k.spentOf().Balance(), money.Amount(200_000-52_500))
	failed := k.start(number(1), paid, bound(9_000))
	refused := k.charged(failed, "a")
	refused.Outcome, refused.Reason, refused.Charge = verify.AttemptRefused, verify.ReasonRefused, verify.Charge{}
	k.settle(refused)
	equal(t, "balance when one wasn't handed over", k.spentOf().Balance(), money.Amount(200_000-52_500-40_000))

	wantError(t, "a start that costs too much", k.tries(k, 2, paid, bound(67_501)), verify.ErrBudget)
	k.start(number(2), paid, bound(67_500))
	equal(t, "balance", k.spentOf().Balance(), money.Amount(0))
	wantError(t, "a start without balance", k.tries(k, 3, bound(1)), verify.ErrBudget)
	b := pays(1, verify.LedgerCorrection)
	equal(t, "balance with a correction", b.Balance(), money.Amount(1))
	k.start(number(3), bound(1))
	pays(50_000, verify.LedgerTopUp)
	pays(-50_000, verify.LedgerCorrection)
	wantError(t, "a start after a correction", k.tries(k, 4, bound(1)), verify.ErrBudget)

	entries, err := k.Ledger(ctx, project, 10)
	if err != nil {
		t.Fatal(err)
	}
	var sum money.Amount
	for _, e := range entries {
		sum += e.Amount
	}
	equal(t, "entries and their sum", []int64{int64(len(entries)), int64(sum)}, []int64{4, 200_001})
	var used money.Amount // of what was settled
	for _, row := range k.used(verify.UsageQuery{}) {
		used += row.Price
	}
	equal(t, "usage and what is held", used+67_500+1, k.spentOf().Ever.Amount)
}

// A budget that is lowered holds for whoever has a share of the one before.
func lowerBudgetHoldsAtOnce(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(perDay(1000))
	other := k.Again(t, k.clock.Now, nil)
	for i, s := range []Store{k, other} {
		if err := k.tries(s, i); err != nil {
			t.Fatal(err)
		}
	}
	k.budget(perDay(3))
	if err := k.tries(other, 2); err != nil {
		t.Errorf("a start that the lower budget leaves: %v", err)
	}
	for _, s := range []Store{k, other} {
		wantError(t, "a start beyond the lower budget", k.tries(s, 3), verify.ErrBudget)
	}
	k.budget(perDay(4))
	if err := k.tries(k, 3); err != nil {
		t.Errorf("a start that the higher budget leaves: %v", err)
	}
	k.budget(perDay(verify.NoCap))
	equal(t, "whether the project has a budget", k.project().Bound, false)
}

// What a project used in the day and the month before it got a budget counts for that, and not for its balance.
func budgetCountsWhatWasUsedBefore(t *testing.T, s suite) {
	k := s.open(t)
	day := verify.DayOf(verify.Day(k.clock.Now()))
	k.clock.advance(time.Date(day.Year(), day.Month()+1, 3, 12, 0, 0, 0, time.UTC).Sub(k.clock.Now()))
	k.settle(k.charged(k.start(number(0), paid), "a"))
	k.clock.advance(24 * time.Hour)
	for i := range 2 {
		k.settle(k.charged(k.start(number(1+i), paid), "a"))
	}
	b := k.budget(func(b *verify.Budget) { b.DayMessages, b.MonthMessages = 3, 4 })
	equal(t, "spent", b.Spent, verify.Spent{
		Hour: verify.Spending{Messages: 2},
		Day:  verify.Spending{Messages: 2, Amount: 2 * 52_500}, Month: verify.Spending{Messages: 3, Amount: 3 * 52_500}, Ever: verify.Spending{Messages: 3, Amount: 3 * 52_500},
	})
	equal(t, "what is stored of that", k.spentOf().Spent, b.Spent)
	k.start(number(3), bound(0))
	wantError(t, "the day's fourth", k.tries(k, 4), verify.ErrBudget)
	b = k.budget(func(b *verify.Budget) { b.Prepaid = true })
	equal(t, "balance at first", b.Balance(), money.Amount(0))
}

// project makes the project, or reads it.
func (k *kit) project() verify.Project {
	k.t.Helper()
	if err := k.CreateProject(ctx, verify.Project{ID: project, Name: "p", Profile: verify.ProfileCompat, Limits: verify.DefaultLimits}); err != nil && !errors.Is(err, verify.ErrExists) {
		k.t.Fatal(err)
	}
	all, err := k.Projects(ctx)
	if err != nil || len(all) != 1 {
		k.t.Fatalf("projects: got %d, %v, want one", len(all), err)
	}
	return all[0]
}

// A start that was refused a moment ago says nothing of a retry: its own message was given back since.
func aRefusedStartEndsNoRetry(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(perDay(1))
	v := k.start(number(0), bound(0))
	wantError(t, "a start while it is under way", k.tries(k, 1), verify.ErrBudget)
	failed := k.sent(v)
	failed.Outcome, failed.Reason, failed.Retry, failed.RetryAt = verify.AttemptErrored, verify.ReasonUnreachable, true, k.clock.Now()
	k.settle(failed)
	o := verify.Overdue{Hint: k.stored(v.ID).DueAt, Verification: k.stored(v.ID), Deliveries: k.deliveries(v.ID), By: verify.ChannelSMS}
	if again, _, err := k.Claim(ctx, o, lease); err != nil || again == nil {
		t.Errorf("its retry: got %v, %v; want it claimed", again, err)
	}
	equal(t, "spent", k.spentOf().Day.Messages, 1)
}

// A start whose code is dead when it is committed is counted for its number, and sends nothing.
func whatIsNeverSentIsGivenBack(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(func(b *verify.Budget) { b.DayMessages, b.Currency = 1, "EUR" })
	dead := k.start(number(0), paid, bound(9_000), lives(0))
	equal(t, "what it holds", k.stored(dead.ID).Held, verify.Held{})
	equal(t, "spent, its own price", k.spentOf().Day, verify.Spending{Amount: 40_000})
	k.start(number(1), bound(0))
}

// An attempt may still be under way when its message has arrived by an earlier one and goes out again. Nobody records its end
// then: it has no charge, and holds nothing.
func aResendHoldsOneMessage(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(func(b *verify.Budget) { b.DayMessages, b.Currency = 10, "EUR" })
	v := k.start(number(0), bound(9_000))
	sent := k.charged(v, "a")
	sent.Watch = time.Second
	k.settle(sent)
	k.clock.advance(time.Second)
	o := verify.Overdue{Hint: k.stored(v.ID).DueAt, Verification: k.stored(v.ID), Deliveries: k.deliveries(v.ID), By: verify.ChannelSMS, Price: 8_000}
	second := k.claim(o)
	k.receive(verify.Receipt{Verification: v.ID, Attempt: 1, Delivered: true})
	k.clock.advance(time.Minute)
	resend := verify.Resending{Overdue: verify.Overdue{Verification: k.stored(v.ID), By: verify.ChannelSMS}, Lease: lease, Toll: verify.Toll{Bound: true, Price: 7_000}}
	third, err := k.Resend(ctx, resend)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Settle(ctx, k.charged(second, "a"))
	wantError(t, "the end of the second", err, verify.ErrLeaseLost)
	k.settle(k.charged(third, "a"))
	equal(t, "spent", k.spentOf().Day, verify.Spending{Messages: 3, Amount: 2 * 12_500})
}

// A budget that is taken away and given back knows what is under way.
func aBudgetThatComesBackKnowsWhatItHolds(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(perDay(2))
	k.start(number(0), bound(0))
	k.budget(perDay(verify.NoCap))
	b := k.budget(perDay(2))
	equal(t, "spent", b.Day.Messages, 1)
	k.start(number(1), bound(0))
	wantError(t, "the day's third", k.tries(k, 2), verify.ErrBudget)
}

// What was paid in stays, whether the project is prepaid or not.
func whatWasPaidInStays(t *testing.T, s suite) {
	k := s.open(t)
	k.project()
	prepaid := func(is bool) verify.BudgetState {
		return k.budget(func(b *verify.Budget) { b.Prepaid, b.Currency = is, "EUR" })
	}
	if _, err := k.AddCredit(ctx, project, verify.LedgerEntry{Kind: verify.LedgerTopUp, Amount: 50_000, Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	equal(t, "balance of a project that becomes prepaid", prepaid(true).Balance(), money.Amount(50_000))
	k.start(number(0), bound(20_000))
	prepaid(false)
	equal(t, "balance of a project that is prepaid again", prepaid(true).Balance(), money.Amount(30_000))
}

// Operators are told of the parts of what a prepaid project had after its latest top-up, however much was paid in before.
func aTopUpBeginsAnotherBalance(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(func(b *verify.Budget) { b.Prepaid, b.Currency = true, "EUR" })
	topUp := func(amount money.Amount) {
		t.Helper()
		if _, err := k.AddCredit(ctx, project, verify.LedgerEntry{Kind: verify.LedgerTopUp, Amount: amount, Actor: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	reached := func() (steps []int) {
		for _, m := range k.spentOf().Reached(k.clock.Now()) {
			steps = append(steps, m.Step)
		}
		return steps
	}
	topUp(100)
	k.start(number(0), bound(100))
	equal(t, "reached when all is spent", reached(), []int{100})
	topUp(100)
	equal(t, "reached after a top-up", reached(), []int(nil))
	k.start(number(1), bound(20))
	equal(t, "reached at a fifth of it", reached(), []int(nil))
	k.start(number(2), bound(30))
	equal(t, "reached at half of it", reached(), []int{50})
	topUp(1000)
	equal(t, "reached after another one", reached(), []int(nil))
	equal(t, "balance", k.spentOf().Balance(), money.Amount(1050))
}

// A top-up ends a trial, after which only the balance bounds the project: without one, nothing would.
func onlyABalanceEndsATrial(t *testing.T, s suite) {
	k := s.open(t)
	if err := k.CreateTrial(ctx, verify.Project{ID: project, Name: "tried", Profile: verify.ProfileCompat, TrialMessages: 5}, 0, "", store.Audit{Actor: "test", Action: "project create"}); err != nil {
		t.Fatal(err)
	}
	pay := func() error {
		_, err := k.AddCredit(ctx, project, verify.LedgerEntry{Kind: verify.LedgerTopUp, Amount: 100, Actor: "test"})
		return err
	}
	wantError(t, "a top-up", pay(), verify.ErrTrialUnpaid)
	if all, err := k.Ledger(ctx, project, 10); err != nil || len(all) > 0 {
		t.Errorf("the ledger has %+v, %v", all, err)
	}
	k.budget(func(b *verify.Budget) { b.Prepaid, b.Currency = true, "EUR" })
	if err := pay(); err != nil {
		t.Fatal(err)
	}
	wantError(t, "more than the balance", k.tries(k, 0, bound(101)), verify.ErrBudget)
	k.start(number(1), bound(100))
}
