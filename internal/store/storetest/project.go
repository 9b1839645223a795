package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

var deleting = store.Audit{Actor: "me", Action: store.ProjectDeleted}

// belongings makes all that a project can have, and returns its key, its user and two pending verifications.
func (k *kit) belongings(p verify.ProjectID, i int) (key account.Key, user *person, pending []*verify.Verification) {
	k.t.Helper()
	a := k.application(p)
	key = account.Key{ID: verify.NewID(start), Project: p, Name: "first", Hash: account.HashKey(verify.Secret(p))}
	wantError(k.t, "create key", k.CreateKey(ctx, key), nil)
	now := k.clock.Now()
	wantError(k.t, "create template", k.CreateTemplate(ctx, verify.MessageTemplate{ID: verify.NewID(now), Project: p, Name: "t", Pattern: "{code}", Version: 1}, plenty), nil)
	wantError(k.t, "create text", k.CreateText(ctx, verify.TextTemplate{ID: verify.NewID(now), Project: p, Name: "t", Texts: []verify.Text{{Text: "{code}"}}, Version: 1}, plenty), nil)
	user = k.person(a, "Kola", number(i))
	of := func(v *verify.Verification) { v.Project = p }
	pending = []*verify.Verification{k.start(number(i+1), of), user.associate()}
	k.check(wrong(pending[0]), wrongWith(2)) // a number that remembers a failure stays for ever otherwise
	return key, user, pending
}

func deletedProjectLeavesNothing(t *testing.T, s suite) {
	k := s.open(t)
	key, user, own := k.belongings(project, 0)
	theirKey, them, theirs := k.belongings("q", 10)
	k.clock.advance(time.Minute)

	_, err := k.DeleteProject(ctx, project, false, 0, deleting)
	wantError(t, "delete with pending ones", err, store.ErrPending)
	if !strings.Contains(err.Error(), "2") {
		t.Errorf("got %v, want how many there are", err)
	}
	if _, err := k.Account(ctx, key.Hash); err != nil {
		t.Errorf("after a refusal the key opens nothing: %v", err)
	}

	canceled, err := k.DeleteProject(ctx, project, true, 0, deleting)
	if err != nil || canceled != 2 {
		t.Fatalf("delete: got %d, %v; want 2", canceled, err)
	}
	wantError(t, "finish", k.FinishDeletions(ctx), nil)
	_, err = k.Account(ctx, key.Hash)
	wantError(t, "key", err, verify.ErrUnauthenticated)
	user.every(verify.ErrNoApplication)
	for _, v := range own {
		k.wiped(v)
	}
	if all, err := k.Projects(ctx); err != nil || len(all) != 1 || all[0].ID != "q" {
		t.Errorf("got projects %+v, %v; want q", all, err)
	}
	all, err := k.Destinations(ctx)
	if err != nil || len(all) != 2 || all[0].Project != "q" || all[1].Project != "q" {
		t.Errorf("got numbers %+v, %v; want two of q", all, err)
	}
	if texts, err := k.Texts(ctx, project); err != nil || len(texts) != 0 {
		t.Errorf("got texts %+v, %v", texts, err)
	}
	audits, err := k.Audits(ctx, 1)
	if err != nil || audits[0].Project != project || audits[0].Detail != `"p", 1 keys, canceled 2 pending verifications` {
		t.Errorf("got audit %+v, %v", audits, err)
	}

	// The other project is as it was.
	if _, err := k.Account(ctx, theirKey.Hash); err != nil {
		t.Errorf("the other project's key: %v", err)
	}
	them.validates()
	k.check(right(theirs[0]), approvedWith(1))

	_, err = k.DeleteProject(ctx, project, true, 0, deleting)
	wantError(t, "delete again", err, verify.ErrNoProject)
	wantError(t, "take the id again", k.CreateProject(ctx, verify.Project{ID: project, Name: "New"}), verify.ErrExists)
	k.clock.advance(2 * time.Hour)
	if _, err := k.Retain(ctx, k.clock.Now()); err != nil {
		t.Fatal(err)
	}
	k.gone(own[0].ID)
}

// What was started before is no reason to refuse once it has ended, nor is a user's older code.
func projectWithoutPendingOnesIsDeleted(t *testing.T, s suite) {
	k := s.open(t)
	_, user, own := k.belongings(project, 0)
	wantError(t, "cancel", k.Cancel(ctx, project, own[0].ID), nil)
	user.associate()
	user.validates() // the first code is superseded, and still stored as pending
	canceled, err := k.DeleteProject(ctx, project, false, 0, deleting)
	if err != nil || canceled > 1 {
		t.Errorf("got %d, %v", canceled, err)
	}
}

// A deletion that was stopped leaves a project that nobody can use, and goes on when it is asked for again.
func stoppedProjectDeletionGoesOn(t *testing.T, s suite) {
	k := s.open(t)
	key, _, _ := k.belongings(project, 0)
	k.gate.pass()
	k.gate.fail()
	if _, err := k.DeleteProject(ctx, project, true, 0, deleting); err == nil {
		t.Fatal("no error came of a commit that failed")
	}
	_, err := k.Account(ctx, key.Hash)
	wantError(t, "key", err, verify.ErrUnauthenticated)
	if _, err := k.DeleteProject(ctx, project, true, 0, deleting); err != nil {
		t.Fatal(err)
	}
	if all, err := k.Projects(ctx); err != nil || len(all) != 0 {
		t.Errorf("got projects %+v, %v", all, err)
	}
}
