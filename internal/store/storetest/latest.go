package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// Verifications as their projects find them: the latest of a number, one by its id, and lists.

func forPurpose(p verify.Purpose) func(*verify.Verification) {
	return func(v *verify.Verification) { v.Purpose = p }
}

func supersedes(v *verify.Verification) { v.Supersedes = true }

// latest guesses at a number's latest code for a purpose.
func (k *kit) latest(to phone.Number, purpose verify.Purpose, typed string) (verify.Outcome, error) {
	return k.CheckLatest(ctx, verify.LatestKey{Project: project, Number: to, Purpose: purpose}, guess(&verify.Verification{Project: project}, typed))
}

// guessed demands that a guess at a number's latest code was one at v.
func (k *kit) guessed(v *verify.Verification, typed string, want verify.Outcome) {
	k.t.Helper()
	want.Verification = v.ID
	if got, err := k.latest(v.To, v.Purpose, typed); err != nil || got != want {
		k.t.Errorf("check of the latest for %s: got %+v, %v; want %+v", v.Purpose, got, err, want)
	}
}

func latestOfEachPurposeIsChecked(t *testing.T, s suite) {
	k := s.open(t)
	to, other := number(0), number(1)
	none := func(what string, to phone.Number, purpose verify.Purpose) {
		t.Helper()
		out, err := k.latest(to, purpose, secret)
		wantError(t, what, err, verify.ErrNotFound)
		equal(t, what, out, verify.Outcome{})
	}
	none("a number that nobody knows", to, "login")
	first := k.start(to, forPurpose("login"))
	none("another number", other, "login")
	none("another purpose", to, "reset")
	k.start(to, forPurpose("login"), func(v *verify.Verification) { v.Project = "q" })

	reset := k.start(to, forPurpose("reset"))
	second := k.start(to, forPurpose("login"))
	k.guessed(second, "000000", wrongWith(2))
	k.guessed(reset, "000000", wrongWith(2))
	k.guessed(second, secret, approvedWith(1))
	out, err := k.latest(to, "login", secret)
	wantError(t, "the same code again", err, verify.ErrApproved)
	equal(t, "whose code it was", out.Verification, second.ID)
	k.guessed(reset, secret, approvedWith(1))
	equal(t, "guesses at the one before", k.stored(first.ID).Guesses, 0)
	equal(t, "status of the one before", k.stored(first.ID).Status, verify.StatusPending)

	// A user's code is the user's, whatever its number.
	p := k.person(k.application(project), "kola", other)
	p.edits = []func(*verify.Verification){forPurpose("login")}
	p.associate()
	none("a user's number", other, "login")
}

// A number goes on where retention has deleted its latest verification, but not what it remembers of wrong guesses.
func numbersOutliveTheirVerifications(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0), forPurpose("login"))
	k.check(wrong(v), wrongWith(2))
	k.clock.advance(31 * 24 * time.Hour)
	if _, err := k.Retain(ctx, k.clock.Now().Add(-30*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, err := k.latest(number(0), "login", secret)
	wantError(t, "a check of what was deleted", err, verify.ErrNotFound)
	next := k.start(number(0), forPurpose("login"), supersedes)
	k.guessed(next, secret, approvedWith(2))
}

func newerStartSupersedesThoseOfItsPurpose(t *testing.T, s suite) {
	k := s.open(t)
	to := number(0)
	ended := k.start(to, forPurpose("login"))
	k.check(right(ended), approvedWith(2))
	dead := k.start(to, forPurpose("login"), lives(time.Minute))
	k.clock.advance(time.Minute)
	first, second := k.start(to, forPurpose("login")), k.start(to, forPurpose("login"))
	reset := k.start(to, forPurpose("reset"))
	elsewhere := k.start(number(1), forPurpose("login"))
	foreign := k.start(to, forPurpose("login"), func(v *verify.Verification) { v.Project = "q" })

	refused := k.fresh(to)
	refused.Purpose, refused.Supersedes = "login", true
	k.clock.advance(time.Second)
	wantError(t, "a start that the limits refuse", k.Start(ctx, refused, verify.Limits{Daily: 1}, lease), verify.ErrTooManySends)
	equal(t, "status after a refused start", k.stored(second.ID).Status, verify.StatusPending)

	k.clock.advance(time.Second)
	newest := k.start(to, forPurpose("login"), supersedes)
	for _, v := range []*verify.Verification{first, second} {
		_, err := k.Check(ctx, right(v))
		wantError(t, "check of a superseded one", err, verify.ErrSuperseded)
		wantError(t, "cancel of a superseded one", k.Cancel(ctx, project, v.ID), verify.ErrSuperseded)
		got := k.stored(v.ID)
		if got.Status != verify.StatusSuperseded || got.SealedCode != nil || !got.EndedAt.Equal(k.clock.Now()) {
			t.Errorf("superseded: got status %v, sealed code %q, ended at %v", got.Status, got.SealedCode, got.EndedAt)
		}
		// Nobody sends it any more.
		settled, err := k.Settle(ctx, verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1, Outcome: verify.AttemptErrored, Reason: verify.ReasonBusy}, Retry: true})
		if err != nil || settled.Delivery != verify.DeliveryFailed {
			t.Errorf("settlement of a superseded one: got delivery %v, %v", settled.Delivery, err)
		}
	}
	for what, v := range map[string]*verify.Verification{"another purpose's": reset, "another number's": elsewhere, "another project's": foreign} {
		k.check(right(v), approvedWith(2))
		equal(t, what, k.stored(v.ID).Status, verify.StatusApproved)
	}
	equal(t, "one that was approved", k.stored(ended.ID).Status, verify.StatusApproved)
	equal(t, "one whose time was over", k.stored(dead.ID).Status, verify.StatusPending)
	k.guessed(newest, secret, approvedWith(2))

	// One that doesn't supersede leaves the older ones.
	older := k.start(to, forPurpose("login"))
	k.start(to, forPurpose("login"))
	k.check(right(older), approvedWith(2))
}

// Of starts that supersede each other, on one number at once, one code is left, and that is the latest.
func startsAtOnceLeaveOneCode(t *testing.T, s suite) {
	k := s.open(t)
	const n = 8
	to := number(0)
	var all sync.WaitGroup
	var ids [n]verify.ID
	for i := range n {
		all.Go(func() {
			v := k.fresh(to)
			v.Supersedes = true
			for {
				err := k.Start(ctx, v, verify.Limits{}, lease)
				if err == nil {
					ids[i] = v.ID
					return
				}
				if !errors.Is(err, verify.ErrBusy) {
					t.Errorf("start: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	live := 0
	for _, id := range ids {
		if k.stored(id).Status == verify.StatusPending {
			live++
			equal(t, "the number's latest", k.destination(to).Latest, id)
		}
	}
	equal(t, "codes that are left", live, 1)
}

// What is looked up before an operation, or not even looked up, may be out of date when that is decided: another start was
// committed between.
func aStartBetweenALookAndItsOperation(t *testing.T, s suite) {
	k := s.open(t)
	to, other := number(0), number(1)
	begin := func(to phone.Number) (*verify.Verification, func()) {
		v := k.fresh(to)
		v.Purpose, v.Supersedes = "login", true
		return v, func() {
			if err := k.Start(ctx, v, verify.Limits{}, lease); err != nil {
				t.Errorf("start: %v", err)
			}
		}
	}
	k.start(to, forPurpose("login"))
	k.clock.advance(verify.MaxLife + 2*time.Minute) // so that the next start doesn't look
	first, start := begin(to)
	var out verify.Outcome
	var err error
	k.together(start, func() { out, err = k.latest(to, "login", secret) })
	if err != nil || !out.Approved || out.Verification != first.ID {
		t.Errorf("a guess behind a start: got %+v, %v; want one at the newer", out, err)
	}

	second, startSecond := begin(other)
	third, startThird := begin(other)
	k.together(startSecond, startThird)
	equal(t, "status of the first of two", k.stored(second.ID).Status, verify.StatusSuperseded)
	equal(t, "status of the second of two", k.stored(third.ID).Status, verify.StatusPending)

	// These two look, because the number has a verification that lives.
	fourth, startFourth := begin(other)
	fifth, startFifth := begin(other)
	k.together(startFourth, startFifth)
	equal(t, "status of the one before both", k.stored(third.ID).Status, verify.StatusSuperseded)
	older, newer := fourth, fifth
	if k.destination(other).Latest == fourth.ID {
		older, newer = fifth, fourth
	}
	equal(t, "status of the older of both", k.stored(older.ID).Status, verify.StatusSuperseded)
	equal(t, "status of the newer of both", k.stored(newer.ID).Status, verify.StatusPending)
}

// A start doesn't look where the number's latest verification can't live any more; one that may, it ends.
func startsLookAsFarBackAsCodesLive(t *testing.T, s suite) {
	k := s.open(t)
	to := number(0)
	long := k.start(to, forPurpose("login"), lives(verify.MaxLife))
	k.clock.advance(verify.MaxLife - time.Second)
	next := k.start(to, forPurpose("login"), supersedes)
	equal(t, "status of a code that lives for another second", k.stored(long.ID).Status, verify.StatusSuperseded)
	k.clock.advance(verify.MaxLife + 2*time.Minute)
	last := k.start(to, forPurpose("login"), supersedes)
	equal(t, "status of one that has expired", k.stored(next.ID).Status, verify.StatusPending)
	k.guessed(last, secret, approvedWith(2))
}

// However a guess names the verification, it shares the attempts and counts against the number.
func guessesByNumberAndByIDShareTheAttempts(t *testing.T, s suite) {
	k := s.open(t)
	const attempts, guesses = 5, 24
	v := k.start(number(0), forPurpose("login"), allows(attempts))
	var all sync.WaitGroup
	var spent, over atomic.Int64
	for i := range guesses {
		all.Go(func() {
			var err error
			if i%2 == 0 {
				_, err = k.Check(ctx, wrong(v))
			} else {
				_, err = k.latest(v.To, v.Purpose, "000000")
			}
			switch {
			case err == nil:
				spent.Add(1)
			case errors.Is(err, verify.ErrGuessesSpent):
				over.Add(1)
			default:
				t.Errorf("check: %v", err)
			}
		})
	}
	all.Wait()
	equal(t, "guesses that were evaluated, and refused", []int64{spent.Load(), over.Load()}, []int64{attempts, guesses - attempts})
	equal(t, "the number's failures", k.destination(v.To).Failures, attempts)
	_, err := k.latest(v.To, v.Purpose, secret)
	wantError(t, "the right code after that", err, verify.ErrGuessesSpent)

	// A wait of the number holds for its newest code as well, but for the reserve's one guess.
	for range 15 {
		k.check(wrong(k.start(v.To)), wrongWith(2))
	}
	old := k.start(v.To, forPurpose("login"))
	k.clock.advance(time.Second)
	k.check(wrong(k.start(v.To)), wrongWith(2))
	_, err = k.latest(old.To, old.Purpose, secret)
	wantError(t, "a guess while the number waits", err, verify.ErrTooManyGuesses)
}

func verificationIsReadByItsProject(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(0))
	if _, err := k.Settle(ctx, k.sent(v)); err != nil {
		t.Fatal(err)
	}
	got, deliveries, err := k.Lookup(ctx, project, v.ID)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "verification", got, k.stored(v.ID))
	equal(t, "deliveries", deliveries, k.deliveries(v.ID))
	for what, ask := range map[string]func() (*verify.Verification, []verify.Delivery, error){
		"another project's": func() (*verify.Verification, []verify.Delivery, error) { return k.Lookup(ctx, "q", v.ID) },
		"nobody's":          func() (*verify.Verification, []verify.Delivery, error) { return k.Lookup(ctx, project, verify.ID{1}) },
	} {
		got, deliveries, err := ask()
		wantError(t, what, err, verify.ErrNotFound)
		equal(t, what, []any{got, deliveries}, []any{(*verify.Verification)(nil), []verify.Delivery(nil)})
	}
}

// listed reads all pages of a list.
func (k *kit) listed(l verify.Listing, between ...func()) (ids []verify.ID) {
	k.t.Helper()
	l.Now = k.clock.Now()
	for pages := 0; ; pages++ {
		page, next, err := k.List(ctx, l)
		if err != nil || len(page) > l.Limit || pages > 1000 {
			k.t.Fatalf("page %d: got %d, %v", pages, len(page), err)
		}
		for i := range page {
			ids = append(ids, page[i].ID)
		}
		if next.IsZero() {
			return ids
		}
		l.Before = next
		for _, f := range between {
			f()
		}
	}
}

func verificationsAreListed(t *testing.T, s suite) {
	k := s.open(t)
	var all []*verify.Verification
	start := func(to phone.Number, edits ...func(*verify.Verification)) *verify.Verification {
		k.clock.advance(time.Second)
		v := k.start(to, append(edits, lives(time.Hour))...)
		all = append(all, v)
		return v
	}
	for i := range 30 {
		v := start(number(i%2), forPurpose([]verify.Purpose{"login", "reset", "login"}[i%3]))
		k.start(number(i%2), func(v *verify.Verification) { v.Project = "q" })
		switch i % 5 {
		case 1:
			k.check(right(v), approvedWith(2))
		case 2:
			if err := k.Cancel(ctx, project, v.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	expired := start(number(0), forPurpose("login"))
	k.clock.advance(time.Hour)
	p := k.person(k.application(project), "kola", number(1))
	all = append(all, p.associate()) // it is superseded
	k.clock.advance(time.Second)
	all = append(all, p.associate())
	last := start(number(0), forPurpose("login"), supersedes)

	// The expected list is that of a rule and a sort.
	want := func(l verify.Listing) (ids []verify.ID) {
		l.Now = k.clock.Now()
		for _, v := range slices.Backward(all) {
			if stored := k.stored(v.ID); l.Passes(stored) {
				ids = append(ids, v.ID)
			}
		}
		return ids
	}
	for _, l := range []verify.Listing{
		{}, {Number: number(0)}, {Number: number(1)}, {Number: number(7)},
		{Purpose: "reset"}, {Purpose: "none"}, {Number: number(0), Purpose: "login"},
		{Statuses: []verify.Status{verify.StatusPending}}, {Statuses: []verify.Status{verify.StatusExpired}}, {Statuses: []verify.Status{verify.StatusSuperseded}},
		{Statuses: []verify.Status{verify.StatusApproved, verify.StatusCanceled}, Number: number(1)},
		{From: expired.ID.Time()}, {Until: expired.ID.Time()}, {From: all[3].ID.Time(), Until: all[9].ID.Time()},
		{Number: number(1), From: all[3].ID.Time(), Until: all[9].ID.Time(), Statuses: []verify.Status{verify.StatusExpired}},
	} {
		l.Project = project
		for _, limit := range []int{1, 7, 100} {
			l.Limit = limit
			equal(t, fmt.Sprintf("%+v", l), k.listed(l), want(l))
		}
	}
	equal(t, "those of another project", len(k.listed(verify.Listing{Project: "q", Limit: 100})), 30)
	equal(t, "those of nobody", k.listed(verify.Listing{Project: "r", Limit: 100}), []verify.ID(nil))

	// What is started meanwhile is before the first page, and a cursor stays where it is.
	for _, l := range []verify.Listing{{Project: project, Limit: 5}, {Project: project, Limit: 5, Number: last.To}} {
		before := want(l)
		equal(t, "a list among starts", k.listed(l, func() { start(last.To) }), before)
	}
	// A cursor that names another project's, or another number's, leads nowhere else.
	for _, v := range []*verify.Verification{k.start(number(0), func(v *verify.Verification) { v.Project = "q" }), all[1]} {
		equal(t, "behind a foreign cursor", k.listed(verify.Listing{Project: project, Number: number(0), Before: v.ID, Limit: 5}), []verify.ID(nil))
	}
}

// A page costs no more than its bounds, whatever its filter lets pass and whoever else starts many: it goes on behind
// what it looked at.
func listsLookAtABoundedNumber(t *testing.T, s suite) {
	k := s.open(t)
	const n, lookedAt, lookedPast = 1500, 1000, 5000
	own := k.startMany(n)
	pages := func(l verify.Listing) (pages, listed int) {
		t.Helper()
		l.Project, l.Limit, l.Now = project, 10, k.clock.Now()
		for {
			page, next, err := k.List(ctx, l)
			if err != nil {
				t.Fatal(err)
			}
			pages, listed = pages+1, listed+len(page)
			if next.IsZero() {
				return pages, listed
			}
			l.Before = next
		}
	}
	got, listed := pages(verify.Listing{Purpose: "none"})
	equal(t, "pages of a list that nothing passes, and what passes", []int{got, listed}, []int{n/lookedAt + 1, 0})

	k.clock.advance(time.Second)
	k.startMany(lookedPast+1, func(v *verify.Verification) { v.Project = "q" })
	_, next, err := k.List(ctx, verify.Listing{Project: project, Limit: 10, Now: k.clock.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := k.Verification(ctx, next); !next.IsZero() && err == nil && v.Project != project {
		t.Errorf("a cursor is the id of another project's verification, %v", next)
	}
	got, listed = pages(verify.Listing{From: own[0].ID.Time()})
	equal(t, "pages behind many of another project, and what is listed", []int{got, listed}, []int{n/10 + 1, n})
}
