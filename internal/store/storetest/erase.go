package storetest

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// A number is forgotten in the project that is named, with its verifications and in its users. What is counted stays: usage, messages of
// the last day and wrong guesses. So nobody gets new ones by it.
func anErasedNumberIsForgotten(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	ada, bob := k.person(a, "ada", number(1)), k.person(a, "bob", number(2))
	approved := ada.associate()
	ada.validates()
	k.settle(k.charged(approved, "c"))
	bob.associate()
	k.clock.advance(time.Second)
	pending := k.start(number(1), paid)
	k.settle(k.charged(pending, "d"))
	if _, err := k.Check(ctx, wrong(pending)); err != nil {
		t.Fatal(err)
	}
	other := k.start(number(1), func(v *verify.Verification) { v.Project = "another" })
	if before := k.destination(number(1)); before.Failures != 1 || len(before.Sends) != 1 {
		t.Fatalf("before: got %+v, want a wrong guess and a message that count: this shows nothing", before)
	}
	before, usage := *k.destination(number(1)), k.used(verify.UsageQuery{By: verify.UsageParts})

	e, err := k.EraseDestination(ctx, project, number(1), "operator")
	if err != nil || e.Verifications != 2 || e.Users != 1 || !e.Limited {
		t.Fatalf("erase: got %+v, %v; want 2 verifications, a user, and limits that count", e, err)
	}
	for _, v := range []*verify.Verification{approved, pending} {
		k.gone(v.ID)
		if out, err := k.Check(ctx, right(v)); err == nil { // a writer that remembers v says how it ended
			t.Errorf("a right code: got %+v, want an error", out)
		}
		for _, d := range k.deliveries(v.ID) {
			equal(t, "the carrier's reference", d.Ref, "")
		}
	}
	ada.is(verify.UserInitial, "", verify.ID{}, 3)
	if got, err := k.User(ctx, bob.key); err != nil || got.NumberKey != number(2) {
		t.Errorf("another number's user: got %+v, %v", got, err)
	}
	k.stored(other.ID)
	want := before
	want.Latest = verify.ID{}
	equal(t, "the number's row", *k.destination(number(1)), want)
	equal(t, "the project's list", len(k.listed(verify.Listing{Project: project, Limit: 10})), 1) // bob's
	equal(t, "the number's list", len(k.listed(verify.Listing{Project: project, Number: number(1), Limit: 10})), 0)
	equal(t, "usage", k.used(verify.UsageQuery{By: verify.UsageParts}), usage)
	k.countedRight("after it")
	all, err := k.Audits(ctx, 1)
	if err != nil || len(all) != 1 || all[0].Actor != "operator" || all[0].Action != "destination erase" || all[0].Project != project || all[0].Detail != number(1).Masked()+", verifications: 2, users: 1" {
		t.Errorf("audit: got %+v, %v", all, err)
	}

	limits := verify.Limits{Daily: 2}
	next := k.fresh(number(1))
	if err := k.Start(ctx, next, limits, lease); err != nil {
		t.Fatalf("the second message of a day: %v", err)
	}
	equal(t, "the verification before it", k.stored(next.ID).Previous, verify.ID{})
	wantError(t, "the third message of a day", k.Start(ctx, k.fresh(number(1)), limits, lease), verify.ErrTooManySends)
}

// While a carrier is being given a message, and where nothing is known of a number, nothing changes. A number that nothing counts for any
// more has no row left.
func anErasureIsWholeOrRefused(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(1), paid)
	before := *k.destination(number(1))
	refused := func(what string, p verify.ProjectID, n phone.Number, want error) {
		t.Helper()
		_, err := k.EraseDestination(ctx, p, n, "operator")
		wantError(t, what, err, want)
		if all, err := k.Audits(ctx, 10); err != nil || len(all) != 0 {
			t.Errorf("%s: audit: got %+v, %v", what, all, err)
		}
	}
	refused("a message under way", project, number(1), verify.ErrUnderWay)
	equal(t, "the number's row", *k.destination(number(1)), before)
	equal(t, "the verification", k.stored(v.ID).To, v.To)
	refused("another project's number", "another", number(1), verify.ErrNoNumber)
	refused("an unknown number", project, number(2), verify.ErrNoNumber)

	k.settle(k.charged(v, "c"))
	k.clock.advance(48 * time.Hour)
	k.sweep()
	if e, err := k.EraseDestination(ctx, project, number(1), "operator"); err != nil || e.Verifications != 1 || e.Limited {
		t.Fatalf("erase: got %+v, %v; want a verification, and no limit that counts", e, err)
	}
	if d := k.destination(number(1)); d != nil {
		t.Errorf("the number's row: got %+v, want none", d)
	}
	_, err := k.EraseDestination(ctx, project, number(1), "operator")
	wantError(t, "again", err, verify.ErrNoNumber)
	k.countedRight("after it")
}
