package storetest

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/wording"
)

func projectsAreKeptAsGiven(t *testing.T, s suite) {
	k := s.open(t)
	list := func(want ...verify.Project) {
		t.Helper()
		got, err := k.Projects(ctx)
		if err != nil {
			t.Fatalf("projects: %v", err)
		}
		equal(t, "projects", got, want)
	}
	list()
	b := verify.Project{
		ID: "p-1", Name: "Beta", Profile: verify.ProfileCompat,
		Limits:  verify.Limits{Burst: 3, Interval: 1500 * time.Millisecond, Daily: 7},
		Senders: []string{string(number(1)), "ACME"}, AnyLink: true, PublicText: true,
		Style:     wording.Style{Transliterate: true, WebOTP: "example.com", AndroidHash: "FA+9qCX9VSu"},
		Countries: []string{"US", "001"}, Kinds: []phone.Kind{phone.UAN, phone.SharedCost},
	}
	a := verify.Project{ID: "p-2", Name: "Alpha", Profile: verify.ProfileStandard, Limits: verify.DefaultLimits, AnySender: true, OnlyNumbers: []phone.Number{number(4), number(5)}, LinkHosts: []string{"example.com", "example.org"}}
	wantError(t, "update before creation", k.UpdateProject(ctx, b), verify.ErrNoProject)
	for _, p := range []verify.Project{b, a} {
		wantError(t, "create", k.CreateProject(ctx, p), nil)
	}
	list(a, b)
	wantError(t, "create again", k.CreateProject(ctx, verify.Project{ID: a.ID, Name: "Other"}), verify.ErrExists)
	list(a, b)

	a.Name, a.Profile, a.Senders, a.PublicText, a.Limits = "Gamma", verify.ProfileCompat, []string{string(number(2))}, true, verify.Limits{}
	a.AnySender, a.LinkHosts, b.AnyLink = false, nil, false
	b.Senders, b.PublicText, b.Style, b.Countries, b.Kinds = nil, false, wording.Style{}, nil, nil
	a.Countries, a.Kinds = []string{verify.AnyCountry}, []phone.Kind{phone.Premium}
	a.Style = wording.Style{WebOTP: "example.org"}
	wantError(t, "update", k.UpdateProject(ctx, a), nil)
	wantError(t, "update", k.UpdateProject(ctx, b), nil)
	list(b, a)
	k.reopen(t)
	list(b, a)
}

func keyOpensItsProjectUntilRevoked(t *testing.T, s suite) {
	k := s.open(t)
	p := verify.Project{ID: project, Name: "One", Profile: verify.ProfileCompat, Limits: verify.DefaultLimits, Senders: []string{string(number(0))}}
	q := verify.Project{ID: "q", Name: "Two", Profile: verify.ProfileStandard}
	word := account.NewSecret()
	key := account.Key{ID: verify.NewID(start), Project: project, Name: "first", Hash: account.HashKey(word)}
	wantError(t, "create a key before its project", k.CreateKey(ctx, key), verify.ErrNoProject)
	wantError(t, "create project", k.CreateProject(ctx, p), nil)
	wantError(t, "create project", k.CreateProject(ctx, q), nil)

	opens := func(secret verify.Secret, want verify.Project) {
		t.Helper()
		a, err := k.Account(ctx, account.HashKey(secret))
		if err != nil {
			t.Fatalf("account: %v", err)
		}
		equal(t, "project", a.Project, want)
		if a.Application.ID.IsZero() {
			t.Error("the application has no id")
		}
		a.Application.ID = verify.ID{}
		equal(t, "application", a.Application, verify.Application{Project: want.ID, Name: "default"})
	}
	closed := func(secret verify.Secret) {
		t.Helper()
		_, err := k.Account(ctx, account.HashKey(secret))
		wantError(t, "account", err, verify.ErrUnauthenticated)
	}
	list := func(p verify.ProjectID, want ...account.Key) {
		t.Helper()
		got, err := k.Keys(ctx, p)
		if err != nil {
			t.Fatalf("keys: %v", err)
		}
		for i := range want {
			want[i].Hash = account.KeyHash{}
		}
		equal(t, "keys", got, want)
	}

	closed(word)
	wantError(t, "create key", k.CreateKey(ctx, key), nil)
	opens(word, p)
	closed(word + "x")
	list(project, key)
	list("q")

	again := key
	again.ID, again.Name = verify.NewID(start.Add(time.Second)), "again"
	wantError(t, "the same secret again", k.CreateKey(ctx, again), verify.ErrExists)
	again.Project = "q"
	wantError(t, "the same secret for another project", k.CreateKey(ctx, again), verify.ErrExists)
	opens(word, p)
	list(project, key)

	second := account.Key{ID: verify.NewID(start.Add(2 * time.Second)), Project: project, Name: "second", Hash: account.HashKey("another")}
	wantError(t, "a second key", k.CreateKey(ctx, second), nil)
	list(project, key, second)
	p.Name = "One and only"
	wantError(t, "update project", k.UpdateProject(ctx, p), nil)
	opens("another", p)

	// A project that may use any sender is told which are others'.
	third := verify.Project{ID: "r", Name: "Three", Profile: verify.ProfileCompat, Senders: []string{"SHOP"}}
	wantError(t, "a third project", k.CreateProject(ctx, third), nil)
	p.AnySender = true
	wantError(t, "allow any sender", k.UpdateProject(ctx, p), nil)
	p.Taken = third.Senders
	opens("another", p)
	p.AnySender, p.Taken = false, nil
	wantError(t, "allow its own only", k.UpdateProject(ctx, p), nil)

	k.clock.advance(time.Minute)
	whose, err := k.RevokeKey(ctx, key.ID)
	wantError(t, "revoke", err, nil)
	equal(t, "whose key it was", whose, verify.ProjectID(project))
	wantError(t, "revoke again", revoke(k, key.ID), verify.ErrNoAPIKey)
	wantError(t, "revoke none", revoke(k, verify.NewID(start)), verify.ErrNoAPIKey)
	closed(word)
	opens("another", p)
	key.RevokedAt = k.clock.Now()
	list(project, key, second)
	k.reopen(t)
	closed(word)

	// A revoked secret may be given again, also to another project.
	wantError(t, "the revoked secret again", k.CreateKey(ctx, again), nil)
	opens(word, q)
	list("q", again)
	list(project, second)
	wantError(t, "revoke by the old id", revoke(k, key.ID), verify.ErrNoAPIKey)
}

// revoke revokes a key, wherever it belongs.
func revoke(s Store, key verify.ID) error {
	_, err := s.RevokeKey(ctx, key)
	return err
}

func revocationWorksInAnotherProcess(t *testing.T, s suite) {
	k := s.open(t)
	other := k.Again(t, k.clock.Now, k.gate.commit)
	defer other.Close()
	wantError(t, "create project", k.CreateProject(ctx, verify.Project{ID: project, Name: "One", Profile: verify.ProfileCompat}), nil)
	key := account.Key{ID: verify.NewID(start), Project: project, Hash: account.HashKey(secret)}
	wantError(t, "create key", k.CreateKey(ctx, key), nil)
	for _, s := range []Store{k, other} {
		if _, err := s.Account(ctx, key.Hash); err != nil {
			t.Errorf("account: %v", err)
		}
	}
	wantError(t, "revoke", revoke(other, key.ID), nil)
	for _, s := range []Store{k, other} {
		_, err := s.Account(ctx, key.Hash)
		wantError(t, "account", err, verify.ErrUnauthenticated)
	}
}

// Both write, and see what the other wrote, whatever they remember of what they wrote themselves.
func processesSeeWhatEachOtherWrote(t *testing.T, s suite) {
	k := s.open(t)
	other := k.Again(t, k.clock.Now, k.gate.commit)
	defer other.Close()
	v := k.start(number(0))
	for range 2 {
		if _, err := other.Check(ctx, wrong(v)); err != nil {
			t.Fatal(err)
		}
		equal(t, "guesses", k.stored(v.ID).Guesses, func() int { w, _ := other.Verification(ctx, v.ID); return w.Guesses }())
	}
	k.check(wrong(v), wrongWith(0))
	_, err := other.Check(ctx, right(v))
	wantError(t, "check", err, verify.ErrGuessesSpent)

	w := k.start(number(1))
	wantError(t, "cancel", other.Cancel(ctx, w.Project, w.ID), nil)
	_, err = k.Check(ctx, right(w))
	wantError(t, "check of what another process canceled", err, verify.ErrCanceled)
	if d, err := k.Destination(ctx, project, number(0)); err != nil || d.Failures != 3 {
		t.Errorf("destination: got %d failures, %v; want 3", d.Failures, err)
	}
}
