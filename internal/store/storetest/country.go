package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// limit limits the country of the test's numbers.
func (k *kit) limit(p verify.ProjectID, edit func(*verify.CountryLimit)) {
	k.t.Helper()
	if _, err := k.ChangeCountryLimit(ctx, p, k.fresh(number(0)).Reach().Region(), func(l *verify.CountryLimit) ([]store.Audit, error) {
		edit(l)
		l.Actor, l.Note = "ann", "a wave"
		return []store.Audit{{Actor: "ann", Action: "country limit", Detail: l.Country}}, nil
	}); err != nil {
		k.t.Fatal(err)
	}
	k.look(k.Store)
}

// look has a process keep to the limits that there are.
func (k *kit) look(s Store) []verify.CountryLimit {
	k.t.Helper()
	all, err := s.CountryLimits(ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	return all
}

// of has a start be another project's.
func of(p verify.ProjectID) func(*verify.Verification) {
	return func(v *verify.Verification) { v.Project, v.Toll = p, verify.Toll{} }
}

// marked lists the audit's entries of parts of budgets that were used, the oldest first.
func (k *kit) marked() (all []string) {
	k.t.Helper()
	entries, err := k.Audits(ctx, 1000)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, a := range slices.Backward(entries) {
		if a.Actor == "countersign" {
			all = append(all, a.Action+" "+string(a.Project)+" "+a.Detail)
		}
	}
	return all
}

// Each part of a cap is written down once in a period, by the message that reaches it, whoever starts that.
func aBudgetsUseIsMarkedOnce(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(perDay(40))
	other := k.Again(t, k.clock.Now, nil)
	var want []string
	for i := range 40 {
		k.clock.advance(time.Millisecond)
		if err := k.tries([]Store{k.Store, other}[i%2], i); err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
		if step, reached := map[int]int{20: 50, 32: 80, 40: 100}[i+1]; reached {
			want = append(want, fmt.Sprintf("budget %d%% %s day_messages %d of 40", step, project, i+1))
		}
		if got := k.marked(); !slices.Equal(got, want) {
			t.Fatalf("after %d messages: got %q, want %q", i+1, got, want)
		}
	}
	wantError(t, "one more", k.tries(k, 40), verify.ErrBudget)
	equal(t, "what is marked then", len(k.marked()), 3)
	b := k.spentOf()
	if len(b.Marks) != 1 || b.Marks[0].Step != 100 || k.clock.Now().Sub(b.Marks[0].At).Abs() > time.Millisecond {
		t.Errorf("marks: got %+v, want one of 100 %%, of now", b.Marks)
	}

	k.clock.advance(24 * time.Hour)
	for i := range 20 {
		if err := k.tries(k, 50+i); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "what is marked the next day", k.marked()[3:], []string{fmt.Sprintf("budget 50%% %s day_messages 20 of 40", project)})
}

// An hour's messages are those of the hour, whoever had a share of the hour before.
func anHoursBudgetEndsWithTheHour(t *testing.T, s suite) {
	k := s.open(t)
	k.clock.advance(verify.HourOf(verify.UsageHour(k.clock.Now()) + 1).Add(30 * time.Minute).Sub(k.clock.Now()))
	k.budget(func(b *verify.Budget) { b.HourMessages, b.DayMessages = 10, 15 })
	other := k.Again(t, k.clock.Now, nil)
	next := 0
	spend := func(most int, wait time.Duration) {
		t.Helper()
		for i := 0; ; i++ {
			err := k.tries([]Store{k.Store, other}[i%2], next)
			next++
			if err == nil && i < most {
				continue
			}
			var known *verify.Error
			if i != most || !errors.Is(err, verify.ErrBudget) || !errors.As(err, &known) || known.RetryAfter != wait {
				t.Fatalf("after %d messages: got %v (%+v), want %v after %d, wait %v", i, err, known, verify.ErrBudget, most, wait)
			}
			return
		}
	}
	spend(10, 30*time.Minute)
	equal(t, "spent in the hour", k.spentOf().Hour.Messages, 10)
	k.clock.advance(30 * time.Minute)
	equal(t, "spent in the next", k.spentOf().Hour.Messages, 0)
	tomorrow := verify.DayOf(verify.Day(k.clock.Now()) + 1)
	if left := tomorrow.Sub(k.clock.Now()); left < 24*time.Hour {
		spend(5, left)
	}
}

// A country's limit is of all projects together, and one of a project is that one's, from their next look on.
func countryLimitsHoldForAllProjects(t *testing.T, s suite) {
	k := s.open(t)
	for _, p := range []verify.ProjectID{project, "other"} {
		if err := k.CreateProject(ctx, verify.Project{ID: p, Name: string(p), Profile: verify.ProfileCompat}); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, "before there is a limit", k.tries(k, 0, of("other")), nil)
	wantError(t, "another country", k.tries(k, 0, of(project), func(v *verify.Verification) { v.Written = "+447700900100" }), nil)
	k.limit("", func(l *verify.CountryLimit) { l.DayMessages = 4 })
	k.limit(project, func(l *verify.CountryLimit) { l.HourMessages = 2 })
	for i := range 2 {
		wantError(t, "a start", k.tries(k, 1+i, of(project)), nil)
	}
	wantError(t, "a third of the project", k.tries(k, 3, of(project)), verify.ErrCountryLimit)
	wantError(t, "another project's", k.tries(k, 3, of("other")), nil)
	wantError(t, "another project's second", k.tries(k, 4, of("other")), nil)
	wantError(t, "the fifth of all", k.tries(k, 5, of("other")), verify.ErrCountryLimit)
	wantError(t, "to another country", k.tries(k, 5, of("other"), func(v *verify.Verification) { v.Written = "+447700900101" }), nil)
	all := k.look(k.Store)
	if len(all) != 2 || all[0].Actor != "ann" || all[0].Note != "a wave" || all[0].At.IsZero() {
		t.Errorf("limits: got %+v, want both and who set them", all)
	}
	for _, l := range all {
		used, err := k.CountryUse(ctx, l)
		if want := map[verify.ProjectID]int{"": 4, project: 2}[l.Project]; err != nil || used.Hour.Messages != want || used.Day.Messages != want {
			t.Errorf("used of %q: got %+v, %v, want %d", l.Project, used, err, want)
		}
	}
	k.limit("", func(l *verify.CountryLimit) { l.DayMessages = verify.NoCap })
	wantError(t, "without the limit of all", k.tries(k, 5, of("other")), nil)
	wantError(t, "of the project, still", k.tries(k, 6, of(project)), verify.ErrCountryLimit)
	k.limit(project, func(l *verify.CountryLimit) { l.HourMessages = verify.NoCap })
	wantError(t, "without limits", k.tries(k, 6, of(project)), nil)
	equal(t, "limits", len(k.look(k.Store)), 0)
}

// Processes spend a country's limit and their projects' budgets together: no message more, and of a message that one of the two
// refuses nothing is spent of the other.
func aCountrysLimitIsSpentExactly(t *testing.T, s suite) {
	const most, clients = 200, 20
	k := s.open(t)
	k.budget(perDay(2 * most))
	k.limit("", func(l *verify.CountryLimit) { l.HourMessages = most })
	second := k.Again(t, k.clock.Now, nil)
	k.look(second)
	var started, next atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := 0; n < 2 && started.Load() <= 2*most; {
				switch err := k.tries([]Store{k.Store, second}[i%2], int(next.Add(1))); {
				case err == nil:
					started.Add(1)
				case errors.Is(err, verify.ErrCountryLimit):
					n++
				case errors.Is(err, verify.ErrBusy):
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	equal(t, "started", int(started.Load()), most)
	equal(t, "spent of the budget", k.spentOf().Day.Messages, most)
}

// A start that its number's limits refuse divides no budget, however little is left of that.
func aStartThatIsRefusedDividesNothing(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(perDay(3))
	v := k.fresh(number(0))
	bound(0)(v)
	limits := verify.Limits{Burst: 1, Interval: time.Hour}
	if err := k.Store.Start(ctx, v, limits, lease); err != nil {
		t.Fatal(err)
	}
	groups := k.gate.count()
	again := k.fresh(number(0))
	bound(0)(again)
	wantError(t, "a start too soon", k.Store.Start(ctx, again, limits, lease), verify.ErrTooManySends)
	equal(t, "transactions that it took", k.gate.count()-groups, 1)
}

// What a process was granted for a message that it is about to start is nobody else's, until it has been standing still for so
// long that it may be dead. Then another spends it, and the one that comes too late finds it gone.
func aGrantIsNobodyElses(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(perDay(1))
	other := k.Again(t, k.clock.Now, nil)
	granted, goOn := make(chan struct{}), make(chan struct{})
	k.gate.order(func(commit func() error) error { return commit() }) // the group that finds its share too small
	k.gate.order(func(commit func() error) error {                    // the division
		err := commit()
		close(granted)
		<-goOn
		return err
	})
	late := make(chan error, 1)
	v := k.fresh(number(0))
	bound(0)(v)
	go func() { late <- k.Store.Start(ctx, v, verify.Limits{}, lease) }()
	<-granted
	wantError(t, "another's start meanwhile", k.tries(other, 1), verify.ErrBudget)
	k.clock.advance(11 * time.Second)
	wantError(t, "another's start when the process stands still", k.tries(other, 2), nil)
	close(goOn)
	wantError(t, "the start that comes too late", <-late, verify.ErrBudget)
	equal(t, "spent", k.spentOf().Day.Messages, 1)
}

// What was spent is the same when it is folded, and what comes later is added to it.
func foldedSpendingAddsUp(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(func(b *verify.Budget) { b.MonthMessages, b.Currency = 10_000, "EUR" })
	other := k.Again(t, k.clock.Now, nil)
	var first []*verify.Verification
	for i := range 60 {
		v := k.start(number(2*i), bound(12_500))
		first = append(first, v)
		if err := k.tries(other, 2*i+1, bound(7_500)); err != nil {
			t.Fatal(err)
		}
		k.clock.advance(24 * time.Hour)
	}
	before := k.spentOf().Spent
	equal(t, "spent ever", before.Ever, verify.Spending{Messages: 120, Amount: 60 * 20_000})
	for range 2 {
		if _, err := k.Retain(ctx, k.clock.Now().Add(-1000*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		equal(t, "spent when it is folded", k.spentOf().Spent, before)
	}
	refused := k.sent(first[0])
	refused.Outcome, refused.Reason = verify.AttemptRefused, verify.ReasonRefused
	k.settle(refused)
	if _, err := k.Retain(ctx, k.clock.Now().Add(-1000*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	equal(t, "spent when the first was given back", k.spentOf().Ever, verify.Spending{Messages: 119, Amount: 60*20_000 - 12_500})
}

// Weights are kept with who set them, until the route's are reset.
func weightsAreKept(t *testing.T, s suite) {
	k := s.open(t)
	by := store.Audit{Actor: "ann", Action: "route weight"}
	set := func(weight int) {
		t.Helper()
		if err := k.SetWeights(ctx, []verify.Weight{{Route: "any", Carrier: "a", Weight: weight, Actor: "ann", Note: "n"}, {Route: "any", Carrier: "b", Weight: 1, Actor: "ann"}}, by); err != nil {
			t.Fatal(err)
		}
	}
	set(3)
	set(5)
	all, err := k.Weights(ctx)
	if err != nil || len(all) != 2 || all[0].Weight != 5 || all[0].Actor != "ann" || all[0].Note != "n" || all[0].At.IsZero() {
		t.Errorf("got %+v, %v; want two, the first of 5", all, err)
	}
	if err := k.ResetWeights(ctx, "any", by); err != nil {
		t.Fatal(err)
	}
	wantError(t, "reset again", k.ResetWeights(ctx, "any", by), verify.ErrNotWeighed)
	if all, err := k.Weights(ctx); err != nil || len(all) != 0 {
		t.Errorf("after the reset: got %+v, %v", all, err)
	}
}

// A limit of a country that is set in the afternoon counts what was sent since midnight, also what is folded by then.
func countryLimitCountsWhatWasFolded(t *testing.T, s suite) {
	k := s.open(t)
	k.clock.advance(verify.HourOf(verify.UsageHour(k.clock.Now().Truncate(24 * time.Hour))).Add(25 * time.Hour).Sub(k.clock.Now()))
	for i := range 6 {
		k.settle(k.charged(k.start(number(i)), "a"))
	}
	k.clock.advance(5 * time.Hour)
	if err := k.FoldUsage(ctx); err != nil {
		t.Fatal(err)
	}
	k.limit("", func(l *verify.CountryLimit) { l.DayMessages = 100 })
	use, err := k.CountryUse(ctx, k.look(k.Store)[0])
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "messages of today", use.Day.Messages, 6)
}
