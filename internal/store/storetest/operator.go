package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// A clock that is set back makes ids behind the sweeper's watermark. Their messages must be found
// all the same if whoever sends them dies.
func aClockSetBackForgetsNoMessage(t *testing.T, s suite) {
	k := s.open(t)
	if _, err := k.Settle(ctx, k.sent(k.start(number(1)))); err != nil {
		t.Fatal(err)
	}
	k.clock.advance(time.Hour)
	if err := k.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	k.clock.advance(-2 * time.Hour)
	lost := k.start(number(2))
	k.clock.advance(lease)
	if err := k.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if due := k.due(); len(due) != 1 || due[0].Verification.ID != lost.ID {
		t.Errorf("due at the lease's end: got %+v, want %v", due, lost.ID)
	}
}

func aRestoreVoidsWhatIsPending(t *testing.T, s suite) {
	k := s.open(t)
	const n = 600 // more than one step
	pending := k.startMany(n)
	expired := k.start(number(n), lives(time.Second))
	approved := k.start(number(n + 1))
	if out, err := k.Check(ctx, right(approved)); err != nil || !out.Approved {
		t.Fatalf("check: got %+v, %v", out, err)
	}
	k.clock.advance(time.Second)
	voided, err := k.VoidPending(ctx, "operator", "void")
	if voided != n || err != nil {
		t.Errorf("void: got %d, %v; want %d", voided, err, n)
	}
	for _, v := range pending {
		if _, err := k.Check(ctx, right(v)); err != verify.ErrCanceled {
			t.Fatalf("check of a voided one: %v, want %v", err, verify.ErrCanceled)
		}
	}
	if got := k.stored(pending[0].ID); got.SealedCode != nil {
		t.Error("a voided one keeps its sealed code")
	}
	equal(t, "status of the expired one", k.stored(expired.ID).Status, verify.StatusPending)
	equal(t, "status of the approved one", k.stored(approved.ID).Status, verify.StatusApproved)
	if all, err := k.Audits(ctx, 10); err != nil || len(all) != 1 || all[0].Actor != "operator" || all[0].Action != "void" || all[0].Detail != "voided 600 pending verifications" {
		t.Errorf("audit: got %+v, %v", all, err)
	}
}

func aNumbersHistoryIsItsVerifications(t *testing.T, s suite) {
	k := s.open(t)
	var want []verify.ID
	for range 3 {
		want = append([]verify.ID{k.start(number(1)).ID}, want...)
		k.start(number(2))
		k.clock.advance(time.Minute)
	}
	d, err := k.Destination(ctx, project, number(1))
	if err != nil {
		t.Fatal(err)
	}
	history := func(n int) (got []verify.ID) {
		t.Helper()
		all, err := k.History(ctx, d, n)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			got = append(got, v.ID)
		}
		return got
	}
	equal(t, "history", history(10), want)
	equal(t, "the newest two", history(2), want[:2])
	if _, err := k.Destination(ctx, "another", number(1)); err != verify.ErrNoNumber {
		t.Errorf("another project's: %v, want %v", err, verify.ErrNoNumber)
	}
}

// A number is found in each project that knows it, as one by one.
func aNumberIsLookedUpInAllProjects(t *testing.T, s suite) {
	k := s.open(t)
	const form phone.Number = "+541112345678"
	if form.Key() == form {
		t.Fatalf("%s is its own key: this shows nothing", form)
	}
	var want []verify.Destination
	for i, id := range []verify.ProjectID{"a", "b", "c", "d"} {
		if err := k.CreateProject(ctx, verify.Project{ID: id, Name: string(id), Profile: verify.ProfileCompat}); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			continue // knows nothing
		}
		v := k.fresh(form.Key())
		v.Project = id
		if err := k.Start(ctx, v, verify.Limits{}, lease); err != nil {
			t.Fatal(err)
		}
		d, err := k.Destination(ctx, id, form)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, d)
	}
	for _, n := range []phone.Number{form, form.Key()} {
		got, err := k.DestinationsOf(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "found by "+string(n), fmt.Sprint(got), fmt.Sprint(want))
	}
	if got, err := k.DestinationsOf(ctx, number(9)); len(got) != 0 || err != nil {
		t.Errorf("a number that nobody knows: got %v, %v", got, err)
	}
}

// Messages are forgotten in the project that is named and for the number that is named; wrong guesses stay.
func aResetOfSendsKeepsGuesses(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(1))
	k.start(number(2))
	if _, err := k.Check(ctx, wrong(v)); err != nil {
		t.Fatal(err)
	}
	entry := store.Audit{Actor: "operator", Action: "destination reset", Detail: "its messages"}
	if err := k.ResetSends(ctx, "another", number(1), entry); err != verify.ErrNoNumber {
		t.Errorf("another project's: %v, want %v", err, verify.ErrNoNumber)
	}
	before := *k.destination(number(1))
	if err := k.ResetSends(ctx, project, number(1), entry); err != nil {
		t.Fatal(err)
	}
	want := before
	want.TAT, want.Sends = time.Time{}, nil
	if len(before.Sends) != 1 || before.Failures != 1 {
		t.Errorf("before the reset: got %+v, want a message and a wrong guess", before)
	}
	if got := *k.destination(number(1)); len(got.Sends) != 0 || !got.TAT.IsZero() || got.Failures != before.Failures || got.Latest != before.Latest {
		t.Errorf("after the reset: got %+v, want %+v", got, want)
	}
	equal(t, "messages to another number", len(k.destination(number(2)).Sends), 1)
	all, err := k.Audits(ctx, 10)
	if err != nil || len(all) != 1 || all[0].Project != project || all[0].Detail != entry.Detail {
		t.Errorf("audit: got %+v, %v; want one entry", all, err)
	}
}

func aResetIsWrittenDown(t *testing.T, s suite) {
	k := s.open(t)
	v := k.start(number(1))
	if _, err := k.Check(ctx, wrong(v)); err != nil {
		t.Fatal(err)
	}
	if err := k.ResetDestination(ctx, "another", number(1), "operator"); err != verify.ErrNoNumber {
		t.Errorf("another project's: %v, want %v", err, verify.ErrNoNumber)
	}
	if err := k.ResetDestination(ctx, project, number(1), "operator"); err != nil {
		t.Fatal(err)
	}
	d, err := k.Destination(ctx, project, number(1))
	if err != nil || d.Failures != 0 || !d.WaitUntil.IsZero() {
		t.Errorf("after the reset: got %+v, %v", d, err)
	}
	equal(t, "guesses of the verification", k.stored(v.ID).Guesses, 1) // those stay spent
	all, err := k.Audits(ctx, 10)
	if err != nil || len(all) != 1 {
		t.Fatalf("audit: got %+v, %v; want one entry", all, err)
	}
	got := all[0]
	got.ID = verify.ID{}
	equal(t, "audit", got, store.Audit{Actor: "operator", Action: "destination reset", Project: project, Detail: number(1).Masked() + " after 1 wrong guesses"})
}
