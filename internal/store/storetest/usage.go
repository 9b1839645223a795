package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// countedRight demands that what is counted is what the rows say.
func (k *kit) countedRight(when string) {
	k.t.Helper()
	differences := 0
	err := k.Recount(ctx, time.Time{}, func(key verify.UsageKey, counted, again verify.Usage) {
		differences++
		k.t.Errorf("%s: %+v: counted %+v, and the rows say %+v", when, key, counted, again)
	})
	if err != nil {
		k.t.Fatalf("%s: recount: %v", when, err)
	}
}

// used lists the usage of all time.
func (k *kit) used(q verify.UsageQuery) []verify.UsageRow {
	k.t.Helper()
	rows, err := k.usage(q)
	if err != nil {
		k.t.Fatalf("usage: %v", err)
	}
	return rows
}

// usage lists usage up to now. A busy machine may not read thousands of rows in the time that a list may take, so it
// asks again.
func (k *kit) usage(q verify.UsageQuery) (rows []verify.UsageRow, err error) {
	if q.Until.IsZero() {
		q.Until = k.clock.Now().Add(time.Hour)
	}
	for range 20 {
		if rows, err = k.Usage(ctx, q); !errors.Is(err, verify.ErrNoStore) {
			break
		}
	}
	return rows, err
}

// charged is the end of an attempt by a carrier that takes 7.9 thousandths, of which the project pays 12.5.
func (k *kit) charged(v *verify.Verification, carrier string) verify.Settlement {
	st := k.sent(v)
	st.Channel, st.Carrier, st.Charge = verify.ChannelSMS, carrier, verify.Charge{Units: 2, Currency: "EUR", Cost: 7_900, Price: 12_500}
	return st
}

// paid gives a verification a price.
func paid(v *verify.Verification) { v.Fee = verify.Fee{Currency: "EUR", Price: 40_000} }

func (k *kit) settle(st verify.Settlement) {
	k.t.Helper()
	if _, err := k.Settle(ctx, st); err != nil {
		k.t.Fatalf("settle: %v", err)
	}
}

func usageIsCountedOnce(t *testing.T, s suite) {
	k := s.open(t)
	delivered := k.start(number(0), paid)
	k.settle(k.charged(delivered, "a"))
	k.clock.advance(4 * time.Second) // to the handset
	for range 2 {                    // carriers repeat themselves
		k.receive(verify.Receipt{Verification: delivered.ID, Attempt: 1, Delivered: true})
	}
	k.check(wrong(delivered), wrongWith(2))
	k.check(right(delivered), approvedWith(1))

	retried := k.start(number(1), paid) // the first carrier refuses it
	refused := k.charged(retried, "a")
	refused.Outcome, refused.Reason, refused.Retry, refused.Next, refused.Charge = verify.AttemptRefused, verify.ReasonRefused, true, lease, verify.Charge{}
	k.settle(refused)
	retried = k.stored(retried.ID)
	k.settle(k.charged(retried, "b"))
	k.receive(verify.Receipt{Verification: retried.ID, Attempt: 2, Reason: verify.ReasonUnreachable})

	early := k.start(number(2), paid) // its check is quicker than its end
	k.check(right(early), approvedWith(2))
	end := k.charged(early, "b")
	k.settle(end)
	end.Again = true
	k.settle(end)

	call := k.start(number(3), paid)
	said := k.charged(call, "trunk")
	said.Channel, said.Delivered, said.Call = verify.ChannelVoice, true, verify.Call{Ring: time.Second, Answered: k.clock.Now(), Talk: 70 * time.Second, Status: 200}
	k.settle(said)
	k.receive(verify.Receipt{Verification: call.ID, Attempt: 1, Delivered: true}) // nothing new

	k.clock.advance(time.Hour)
	lost := k.start(number(4), paid)
	k.clock.advance(lease)
	k.sweep()
	for _, o := range k.due() {
		k.claim(o) // of the others there is nothing to claim
	}
	equal(t, "the lost one's attempt", k.stored(lost.ID).Attempt, 2)
	k.countedRight("in the end")

	key := verify.UsageKey{Currency: "EUR"}
	equal(t, "all", k.used(verify.UsageQuery{}), []verify.UsageRow{{UsageKey: key, Usage: verify.Usage{
		Started: 5, Messages: 5, Segments: 6, Minutes: 2, Delivered: 2, Approved: 2, Converted: 2, Times: verify.Times{0: 1, 3: 1}, Cost: 4 * 7_900, Price: 5*40_000 + 4*12_500,
	}}})
	equal(t, "another project's", k.used(verify.UsageQuery{Project: "another"}), []verify.UsageRow(nil))
	equal(t, "some projects'", k.used(verify.UsageQuery{Among: []verify.ProjectID{"another", project}}), k.used(verify.UsageQuery{Project: project}))
	equal(t, "others'", k.used(verify.UsageQuery{Among: []verify.ProjectID{"another", "third"}}), []verify.UsageRow(nil))

	of := func(carrier string, u verify.Usage) verify.UsageRow {
		return verify.UsageRow{UsageKey: verify.UsageKey{Carrier: carrier, Currency: "EUR"}, Usage: u}
	}
	equal(t, "by carrier", k.used(verify.UsageQuery{Project: project, By: []verify.UsagePart{verify.PartCarrier}}), []verify.UsageRow{
		of("", verify.Usage{Started: 5, Approved: 2, Messages: 1, Price: 5 * 40_000}),
		of("a", verify.Usage{Messages: 1, Segments: 2, Delivered: 1, Converted: 1, Times: verify.Times{3: 1}, Cost: 7_900, Price: 12_500}),
		of("b", verify.Usage{Messages: 2, Converted: 1, Segments: 4, Cost: 2 * 7_900, Price: 2 * 12_500}),
		of("trunk", verify.Usage{Messages: 1, Minutes: 2, Delivered: 1, Times: verify.Times{1}, Cost: 7_900, Price: 12_500}),
	})

	only := verify.UsageQuery{Project: project, Only: map[verify.UsagePart]string{verify.PartCarrier: "b", verify.PartCountry: k.used(verify.UsageQuery{By: []verify.UsagePart{verify.PartCountry}})[0].Country}}
	equal(t, "one carrier's in one country", k.used(only), []verify.UsageRow{{UsageKey: key, Usage: verify.Usage{Messages: 2, Converted: 1, Segments: 4, Cost: 2 * 7_900, Price: 2 * 12_500}}})
	only.Only[verify.PartCountry] = "XX"
	equal(t, "one carrier's in another country", k.used(only), []verify.UsageRow(nil))

	first := verify.HourOf(verify.UsageHour(start))
	for _, u := range k.used(verify.UsageQuery{Step: verify.StepHour, By: []verify.UsagePart{verify.PartProject, verify.PartApplication, verify.PartPurpose, verify.PartChannel, verify.PartCountry}}) {
		want := verify.UsageKey{Project: project, Application: verify.ID{1}, Purpose: verify.PurposeMFA, Channel: u.Channel, Country: "AR", Currency: "EUR"}
		equal(t, "the key of an hour", u.UsageKey, want)
		if started := map[time.Time]int{first: 4, first.Add(time.Hour): 1}[u.Begin]; u.Channel == verify.ChannelSMS && u.Started != started {
			t.Errorf("started from %v: got %d, want %d", u.Begin, u.Started, started)
		}
	}
	for step, begin := range map[verify.UsageStep]time.Time{verify.StepDay: first.Truncate(24 * time.Hour), verify.StepMonth: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)} {
		if rows := k.used(verify.UsageQuery{Step: step}); len(rows) != 1 || !rows[0].Begin.Equal(begin) || rows[0].Started != 5 {
			t.Errorf("by %s: got %+v, want five starts from %v", step, rows, begin)
		}
	}
	equal(t, "the second hour's", k.used(verify.UsageQuery{From: first.Add(time.Hour)})[0].Started, 1)
	equal(t, "the first hour's", k.used(verify.UsageQuery{Until: first.Add(time.Hour)})[0].Started, 4)
}

// Several processes count the same hour. Each has rows of its own; together they are what happened.
func processesCountTogether(t *testing.T, s suite) {
	k := s.open(t)
	other := k.Again(t, k.clock.Now, k.gate.commit)
	defer other.Close()
	const n = 40
	var all sync.WaitGroup
	for i := range 2 * n {
		all.Go(func() {
			store := []Store{k.Store, other}[i%2]
			v := k.fresh(number(i))
			paid(v)
			if err := store.Start(ctx, v, verify.Limits{}, lease); err != nil {
				t.Errorf("start: %v", err)
				return
			}
			if _, err := store.Settle(ctx, k.charged(v, "a")); err != nil {
				t.Errorf("settle: %v", err)
			}
			if _, err := []Store{other, k.Store}[i%2].Check(ctx, right(v)); err != nil {
				t.Errorf("check: %v", err)
			}
		})
	}
	all.Wait()
	k.countedRight("by two processes")
	equal(t, "all", k.used(verify.UsageQuery{}), []verify.UsageRow{{UsageKey: verify.UsageKey{Currency: "EUR"}, Usage: verify.Usage{
		Started: 2 * n, Messages: 2 * n, Segments: 4 * n, Approved: 2 * n, Converted: 2 * n, Cost: 2 * n * 7_900, Price: 2 * n * (40_000 + 12_500),
	}}})
}

// A list that nobody can read is refused.
func tooMuchUsageIsRefused(t *testing.T, s suite) {
	k := s.open(t)
	k.startMany(verify.MaxUsageRows+1, func(v *verify.Verification) { v.Purpose = verify.Purpose(v.ID.String()[24:]) })
	_, err := k.usage(verify.UsageQuery{By: []verify.UsagePart{verify.PartPurpose}})
	wantError(t, "usage by purpose", err, verify.ErrTooMuchUsage)
	equal(t, "in one row", fmt.Sprint(k.used(verify.UsageQuery{})[0].Started), fmt.Sprint(verify.MaxUsageRows+1))
}

// Hours that are over for long are folded. No list says anything else after that than before, whatever its time, and
// what comes late counts.
func usageIsFolded(t *testing.T, s suite) {
	k := s.open(t)
	other := k.Again(t, k.clock.Now, k.gate.commit)
	defer other.Close()
	var late []*verify.Verification
	for i := range 40 { // five days of eight starts, by two processes
		v := k.fresh(number(i))
		paid(v)
		if err := []Store{k.Store, other}[i%2].Start(ctx, v, verify.Limits{}, lease); err != nil {
			t.Fatal(err)
		}
		if i%4 == 0 {
			late = append(late, v)
		} else {
			k.settle(k.charged(v, "a"))
			k.clock.advance(time.Duration(i) * time.Second)
			k.receive(verify.Receipt{Verification: v.ID, Attempt: 1, Delivered: true})
			k.check(right(v), approvedWith(2))
		}
		k.clock.advance(3 * time.Hour)
	}
	var queries []verify.UsageQuery
	for _, step := range []verify.UsageStep{verify.StepWhole, verify.StepHour, verify.StepDay, verify.StepMonth} {
		for _, p := range []verify.ProjectID{"", project, "another"} {
			for from := range 5 {
				for until := from; until < 6; until++ {
					q := verify.UsageQuery{Project: p, Step: step, From: start.Add(time.Duration(25*from) * time.Hour), Until: start.Add(time.Duration(25*until) * time.Hour)}
					if p == "another" {
						q.Project, q.Among = "", []verify.ProjectID{p, project}
					}
					queries = append(queries, q, verify.UsageQuery{Project: p, Step: step, Until: q.Until, By: []verify.UsagePart{verify.PartCarrier, verify.PartPurpose}},
						verify.UsageQuery{Project: p, Step: step, From: q.From, Until: q.Until, Only: map[verify.UsagePart]string{verify.PartCarrier: "a"}},
						verify.UsageQuery{Project: p, Step: step, From: q.From, Until: q.Until, By: []verify.UsagePart{verify.PartCountry, verify.PartCarrier, verify.PartChannel}},
						verify.UsageQuery{Project: p, Step: step, From: q.From, Until: q.Until, By: []verify.UsagePart{verify.PartProject}},
						verify.UsageQuery{Project: q.Project, Among: q.Among, Step: step, From: q.From, Until: q.Until, By: []verify.UsagePart{verify.PartCountry}},
						verify.UsageQuery{Project: p, Step: step, From: q.From, Until: q.Until, By: []verify.UsagePart{verify.PartProject, verify.PartCountry}})
				}
			}
		}
	}
	queries = sample(queries)
	lists := func() (all [][]verify.UsageRow) {
		for _, q := range queries {
			all = append(all, k.used(q))
		}
		return all
	}
	fold := func() {
		t.Helper()
		var both sync.WaitGroup
		for _, store := range []Store{k.Store, other} {
			both.Go(func() {
				if err := store.FoldUsage(ctx); err != nil {
					t.Errorf("fold: %v", err)
				}
			})
		}
		both.Wait()
	}
	before := lists()
	fold()
	equal(t, "lists after folding", lists(), before)
	k.countedRight("after folding")

	for _, v := range late { // their attempts end days later
		k.settle(k.charged(v, "b"))
	}
	k.countedRight("with what came late")
	before = lists()
	fold()
	equal(t, "lists after folding again", lists(), before)
	k.countedRight("after folding again")
}

// sample returns with -short every seventh query: all kinds, as they come in fours, fives and threes.
func sample(queries []verify.UsageQuery) (some []verify.UsageQuery) {
	if !testing.Short() {
		return queries
	}
	for i := 0; i < len(queries); i += 7 {
		some = append(some, queries[i])
	}
	return some
}

// A process that folds meets writers that add to the same hours: nothing is lost or counted twice.
func writersAddToFoldedHours(t *testing.T, s suite) {
	k := s.open(t)
	const n = 120
	all := k.startMany(n, paid)
	k.clock.advance(50 * time.Hour)
	done := make(chan struct{})
	var folding sync.WaitGroup
	folding.Go(func() {
		for {
			if err := k.FoldUsage(ctx); err != nil {
				t.Errorf("fold: %v", err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	var settling sync.WaitGroup
	for _, v := range all {
		settling.Go(func() {
			if _, err := k.Settle(ctx, k.charged(v, "a")); err != nil {
				t.Errorf("settle: %v", err)
			}
		})
	}
	settling.Wait()
	close(done)
	folding.Wait()
	k.countedRight("beside a process that folds")
	equal(t, "all", k.used(verify.UsageQuery{Step: verify.StepDay})[0].Messages, n)
}

// Lists by month and of the whole time are the same when days are folded, wherever they begin and end, and however late something
// comes.
func usageIsFoldedIntoMonths(t *testing.T, s suite) {
	k := s.open(t)
	begin := k.clock.Now()
	var late []*verify.Verification
	for i := range 50 { // a hundred days
		v := k.start(number(i), paid)
		if i%5 == 0 {
			late = append(late, v)
		} else {
			k.settle(k.charged(v, "a"))
		}
		k.clock.advance(49 * time.Hour)
	}
	var queries []verify.UsageQuery
	for _, step := range []verify.UsageStep{verify.StepWhole, verify.StepMonth, verify.StepDay} {
		for from := range 11 {
			for until := from; until <= 11; until++ {
				q := verify.UsageQuery{Step: step, From: begin.Add(time.Duration(from) * 247 * time.Hour), Until: begin.Add(time.Duration(until) * 247 * time.Hour)}
				of := q
				of.Project, of.By = project, []verify.UsagePart{verify.PartCarrier}
				carriers, projects := q, q
				carriers.By, projects.By = of.By, []verify.UsagePart{verify.PartProject}
				queries = append(queries, q, of, carriers, projects)
			}
		}
	}
	queries = sample(queries)
	lists := func() (all [][]verify.UsageRow) {
		for _, q := range queries {
			all = append(all, k.used(q))
		}
		return all
	}
	fold := func(when string) {
		t.Helper()
		before := lists()
		for range 2 {
			if err := k.FoldUsage(ctx); err != nil {
				t.Fatal(err)
			}
			equal(t, when, lists(), before)
		}
	}
	fold("lists when it is folded")
	for _, v := range late {
		k.settle(k.charged(v, "b"))
	}
	fold("lists when what came late is folded")
	equal(t, "verifications of the whole time", k.used(verify.UsageQuery{Until: k.clock.Now()})[0].Started, 50)
}

// An attempt counts once whose server stood still until others had taken it for lost, and its code had died. A receipt counts that
// was faster than the end of its attempt.
func lateEndsCountOnce(t *testing.T, s suite) {
	k := s.open(t)
	k.budget(func(b *verify.Budget) { b.DayMessages, b.Currency = 10, "EUR" })
	hung := k.start(number(0), paid, bound(12_500))
	if err := k.Cancel(ctx, project, hung.ID); err != nil {
		t.Fatal(err)
	}
	k.clock.advance(lease)
	k.sweep()
	for _, o := range k.due() {
		k.claim(o) // there is nothing to claim, but its end is recorded
	}
	equal(t, "attempts that ended", len(k.deliveries(hung.ID)), 1)
	k.settle(k.charged(hung, "a"))
	k.countedRight("after the late end")

	early := k.start(number(1), paid, bound(12_500))
	k.receive(verify.Receipt{Verification: early.ID, Attempt: 1, Delivered: true})
	k.settle(k.charged(early, "a"))
	k.countedRight("after the early receipt")
	equal(t, "used", k.used(verify.UsageQuery{}), []verify.UsageRow{{UsageKey: verify.UsageKey{Currency: "EUR"}, Usage: verify.Usage{
		Started: 2, Messages: 2, Segments: 2, Delivered: 1, Times: verify.Times{1}, Cost: 7_900, Price: 2*40_000 + 12_500,
	}}})
	equal(t, "spent", k.spentOf().Day, verify.Spending{Messages: 2, Amount: 2*40_000 + 12_500})
}
