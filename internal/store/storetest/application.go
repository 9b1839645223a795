package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/verify"
)

// Applications, templates and consumer keys.

func applicationsAreKeptAsGiven(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	k.clock.advance(time.Second)
	bare := k.application(project, func(a *verify.Application) {
		*a = verify.Application{ID: a.ID, Project: a.Project, Name: a.Name, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt, Version: 1}
	})
	theirs := k.application("q")
	is := func(want verify.Application) {
		t.Helper()
		got, err := k.Application(ctx, want.Project, want.ID)
		if err != nil {
			t.Fatalf("application: %v", err)
		}
		equal(t, "application", got, want)
	}
	lists := func(want ...verify.Application) {
		t.Helper()
		got, err := k.Applications(ctx, project)
		if err != nil {
			t.Fatalf("applications: %v", err)
		}
		equal(t, "applications", got, want)
	}
	is(a)
	is(bare)
	is(theirs)
	lists(a, bare) // and no default one

	gone := func(p verify.ProjectID, a verify.Application) {
		t.Helper()
		_, err := k.Application(ctx, p, a.ID)
		wantError(t, "read", err, verify.ErrNoApplication)
		a.Project, a.Version = p, a.Version+1
		wantError(t, "update", k.UpdateApplication(ctx, a, false), verify.ErrNoApplication)
		wantError(t, "delete", k.DeleteApplication(ctx, p, a.ID, 0), verify.ErrNoApplication)
	}
	gone("q", a)
	gone(project, theirs)
	gone(project, verify.Application{ID: verify.NewID(start)})

	k.clock.advance(time.Second)
	next := a
	next.Name, next.Prefix, next.Channels, next.LoginTemplate, next.UpdatedAt, next.Version = "other", "", []verify.Channel{verify.ChannelSMS}, "", k.clock.Now(), 2
	sent := next
	sent.CreatedAt = time.Time{} // stays as it was, whatever the caller sends
	wantError(t, "update", k.UpdateApplication(ctx, sent, false), nil)
	is(next)
	wantError(t, "the same again", k.UpdateApplication(ctx, next, false), verify.ErrStale)
	skips := next
	skips.Version = 4
	wantError(t, "one version too far", k.UpdateApplication(ctx, skips, false), verify.ErrStale)
	k.reopen(t)
	is(next)
	wantError(t, "delete", k.DeleteApplication(ctx, project, a.ID, 0), nil)
	gone(project, a)
	lists(bare)
}

// What an operator says of calls is written down, and stays whatever an API caller changes.
func anOperatorSaysHowCallsAreMade(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	theirs := k.application("q")
	key := account.HashKey("secret")
	wantError(t, "create key", k.CreateKey(ctx, account.Key{ID: verify.NewID(start), Project: project, Hash: key}), nil)
	all, err := k.AllApplications(ctx, project)
	if err != nil || len(all) != 2 || all[0].Name != "default" || all[1].ID != a.ID {
		t.Fatalf("all applications: got %+v, %v; want the default one and %v", all, err, a.ID)
	}
	opened, err := k.Account(ctx, key)
	if err != nil || opened.Application.ID != all[0].ID {
		t.Fatalf("account: got %+v, %v; want the default application", opened.Application, err)
	}

	set := func(id verify.ID, c verify.CallSettings) {
		t.Helper()
		k.clock.advance(time.Second) // so that they are in order
		_, err := k.ChangeCalls(ctx, project, id, "Ada", func(_ verify.Project, a *verify.Application) error { a.Calls = c; return nil })
		wantError(t, "set", err, nil)
	}
	first := a.Calls
	a.Calls = verify.CallSettings{Locale: "fr-CA", ByKey: true}
	set(a.ID, a.Calls)
	set(all[0].ID, verify.CallSettings{Locale: "it"})
	next := a
	next.Name, next.Version, next.Calls = "other", 2, verify.CallSettings{} // a face knows nothing of them
	wantError(t, "update", k.UpdateApplication(ctx, next, false), nil)
	next.Calls = a.Calls
	k.reopen(t)
	got, err := k.Application(ctx, project, a.ID)
	wantError(t, "read", err, nil)
	equal(t, "application", got, next)
	opened, err = k.Account(ctx, key)
	wantError(t, "account", err, nil)
	equal(t, "calls of the default application", opened.Application.Calls, verify.CallSettings{Locale: "it"})

	for _, id := range []verify.ID{theirs.ID, verify.NewID(start)} {
		_, err := k.ChangeCalls(ctx, project, id, "Ada", func(verify.Project, *verify.Application) error { return nil })
		wantError(t, "set another's", err, verify.ErrNoApplication)
	}
	got, err = k.Application(ctx, "q", theirs.ID)
	wantError(t, "read", err, nil)
	equal(t, "another project's", got, theirs)
	set(a.ID, verify.CallSettings{})
	audits, err := k.Audits(ctx, 10)
	wantError(t, "audits", err, nil)
	var lines []string
	for _, l := range audits {
		lines = append(lines, l.Actor+" "+l.Action+" "+string(l.Project)+" "+l.Detail)
	}
	equal(t, "what was written down", lines, []string{
		"Ada application set p " + a.ID.Base62() + ": locale auto, approve-by-key false; before: locale fr-CA, approve-by-key true",
		"Ada application set p " + all[0].ID.Base62() + ": locale it, approve-by-key false; before: locale auto, approve-by-key false",
		"Ada application set p " + a.ID.Base62() + ": locale fr-CA, approve-by-key true; before: " + first.String(),
	})
}

func applicationsChangeOneAfterTheOther(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	var changed atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			next := a
			next.Version = 2
			if err := k.UpdateApplication(ctx, next, false); err == nil {
				changed.Add(1)
			} else if !errors.Is(err, verify.ErrStale) {
				t.Errorf("update: %v", err)
			}
		})
	}
	all.Wait()
	equal(t, "updates", changed.Load(), int64(1))
}

func applicationsNamesAreUniqueIfAsked(t *testing.T, s suite) {
	k := s.open(t)
	first := k.application(project)
	k.application(project) // the same name
	k.application("q")
	create := func(p verify.ProjectID, name string) error {
		a := first
		a.ID, a.Project, a.Name = verify.NewID(k.clock.Now()), p, name
		return k.CreateApplication(ctx, a, true, plenty)
	}
	wantError(t, "create", create(project, first.Name), verify.ErrDuplicate)
	wantError(t, "create another", create(project, "second"), nil)
	wantError(t, "create theirs", create("q", "second"), nil)
	wantError(t, "the default one's", create(project, "default"), nil)
	next := first
	next.Name, next.Version = "second", 2
	wantError(t, "rename", k.UpdateApplication(ctx, next, true), verify.ErrDuplicate)
	next.Name = "third"
	wantError(t, "rename to a free one", k.UpdateApplication(ctx, next, true), nil)
	next.Version = 3
	wantError(t, "keep the name", k.UpdateApplication(ctx, next, true), nil)

	var made atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if create(project, "wanted") == nil {
				made.Add(1)
			}
		})
	}
	all.Wait()
	equal(t, "made at once", made.Load(), int64(1))
}

// However many create at once, a project has no more than it may. Another project's don't count, nor
// does the default application, and who deletes one has room again.
func aProjectsApplicationsAndTemplatesAreBounded(t *testing.T, s suite) {
	const most = 5
	k := s.open(t)
	k.application("q")
	wantError(t, "create theirs", k.CreateTemplate(ctx, verify.MessageTemplate{ID: verify.NewID(start), Project: "q", Name: "theirs", Version: 1}, most), nil)
	wantError(t, "create project", k.CreateProject(ctx, verify.Project{ID: project, Name: "p", Profile: verify.ProfileCompat}), nil)
	bounded := func(full error, create func(verify.ID) error, remove func(verify.ID) error) {
		t.Helper()
		var mu sync.Mutex
		var made []verify.ID
		var all sync.WaitGroup
		for range 4 * most {
			all.Go(func() {
				id := verify.NewID(start)
				err := create(id)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					made = append(made, id)
				} else if !errors.Is(err, full) {
					t.Errorf("create: got %v, want %v", err, full)
				}
			})
		}
		all.Wait()
		equal(t, "made at once", len(made), most)
		if len(made) == 0 {
			return
		}
		wantError(t, "delete", remove(made[0]), nil)
		wantError(t, "create in its place", create(verify.NewID(start)), nil)
		wantError(t, "create one more", create(verify.NewID(start)), full)
	}
	bounded(verify.ErrTooManyApplications, func(id verify.ID) error {
		return k.CreateApplication(ctx, verify.Application{ID: id, Project: project, Name: "shop", Version: 1}, false, most)
	}, func(id verify.ID) error { return k.DeleteApplication(ctx, project, id, 0) })
	bounded(verify.ErrTooManyTemplates, func(id verify.ID) error {
		return k.CreateTemplate(ctx, verify.MessageTemplate{ID: id, Project: project, Name: id.Base62(), Version: 1}, most)
	}, func(id verify.ID) error { return k.DeleteTemplate(ctx, project, id) })
}

func templatesAreKeptAsGiven(t *testing.T, s suite) {
	k := s.open(t)
	k.application(project)
	k.application("q")
	make := func(p verify.ProjectID, name string) verify.MessageTemplate {
		now := k.clock.Now()
		k.clock.advance(time.Millisecond)
		return verify.MessageTemplate{ID: verify.NewID(now), Project: p, Designation: "TEMPLATE", Name: name, Pattern: "$code", CreatedAt: now, UpdatedAt: now, Version: 1}
	}
	first, second, theirs := make(project, "first"), make(project, "second"), make("q", "first")
	for _, x := range []verify.MessageTemplate{first, second, theirs} {
		wantError(t, "create", k.CreateTemplate(ctx, x, plenty), nil)
	}
	wantError(t, "a name that is taken", k.CreateTemplate(ctx, make(project, "first"), plenty), verify.ErrDuplicate)
	got, err := k.Template(ctx, project, first.ID)
	wantError(t, "read", err, nil)
	equal(t, "template", got, first)
	for _, id := range []verify.ID{first.ID, {}} {
		got, err = k.FindTemplate(ctx, project, id, "first")
		wantError(t, "find", err, nil)
		equal(t, "found", got, first)
	}
	got, err = k.FindTemplate(ctx, project, second.ID, "first") // an id goes before a name
	wantError(t, "find", err, nil)
	equal(t, "found", got, second)
	_, err = k.FindTemplate(ctx, project, theirs.ID, "third")
	wantError(t, "find another project's", err, verify.ErrNoTemplate)
	_, err = k.Template(ctx, project, theirs.ID)
	wantError(t, "another project's", err, verify.ErrNoTemplate)

	next := first
	next.Name, next.Version = "second", 2
	wantError(t, "rename to one that is taken", k.UpdateTemplate(ctx, next), verify.ErrDuplicate)
	next.Name, next.Pattern, next.Designation, next.UpdatedAt = "third", "$token", "VALIDATOR", k.clock.Now()
	wantError(t, "update", k.UpdateTemplate(ctx, next), nil)
	wantError(t, "update again", k.UpdateTemplate(ctx, next), verify.ErrStale)
	stolen := next
	stolen.Project, stolen.Version = "q", 3
	wantError(t, "update another project's", k.UpdateTemplate(ctx, stolen), verify.ErrNoTemplate)
	all, err := k.Templates(ctx, project)
	wantError(t, "list", err, nil)
	equal(t, "templates", all, []verify.MessageTemplate{next, second})
	wantError(t, "delete another project's", k.DeleteTemplate(ctx, "q", next.ID), verify.ErrNoTemplate)
	wantError(t, "delete", k.DeleteTemplate(ctx, project, next.ID), nil)
	wantError(t, "delete again", k.DeleteTemplate(ctx, project, next.ID), verify.ErrNoTemplate)
}

func consumersReplaceTheirSecret(t *testing.T, s suite) {
	k := s.open(t)
	k.application(project)
	key := account.Key{
		ID: verify.NewID(start), Project: project, Name: "refreshed", Hash: account.HashKey("one"),
		Consumer: "ck_1", ConsumerSecret: account.HashKey("consumer"),
	}
	plain := account.Key{ID: verify.NewID(start), Project: project, Name: "plain", Hash: account.HashKey("plain")}
	for _, x := range []account.Key{key, plain} {
		wantError(t, "create key", k.CreateKey(ctx, x), nil)
	}
	opens := func(secret verify.Secret, want error) {
		t.Helper()
		_, err := k.Account(ctx, account.HashKey(secret))
		wantError(t, "account", err, want)
	}
	is := func(want account.Key) {
		t.Helper()
		got, err := k.Consumer(ctx, want.Consumer)
		wantError(t, "consumer", err, nil)
		equal(t, "key", got, want)
	}
	is(key)
	for _, name := range []string{"", "ck_2"} {
		_, err := k.Consumer(ctx, name)
		wantError(t, "consumer "+name, err, verify.ErrUnauthenticated)
	}

	next := key
	next.Hash, next.ExpiresAt = account.HashKey("two"), start.Add(time.Hour)
	wantError(t, "replace", k.ReplaceSecret(ctx, next), nil)
	is(next)
	opens("one", verify.ErrUnauthenticated)
	acct, err := k.Account(ctx, next.Hash)
	wantError(t, "account", err, nil)
	equal(t, "its end", acct.KeyExpires.UTC(), next.ExpiresAt)

	other := next
	other.ConsumerSecret, other.Hash = account.HashKey("wrong"), account.HashKey("three")
	wantError(t, "replace with another consumer secret", k.ReplaceSecret(ctx, other), verify.ErrUnauthenticated)
	wantError(t, "revoke", revoke(k, key.ID), nil)
	next.Hash = account.HashKey("three")
	wantError(t, "replace a revoked one", k.ReplaceSecret(ctx, next), verify.ErrUnauthenticated)
	opens("two", verify.ErrUnauthenticated)
	opens("three", verify.ErrUnauthenticated)
	opens("plain", nil)

	// A key that is made with a revoked one's secret has none of its other settings.
	again := account.Key{ID: verify.NewID(start.Add(time.Second)), Project: project, Name: "again", Hash: account.HashKey("two")}
	wantError(t, "the revoked secret again", k.CreateKey(ctx, again), nil)
	acct, err = k.Account(ctx, again.Hash)
	wantError(t, "account", err, nil)
	equal(t, "its end", acct.KeyExpires, time.Time{})
	_, err = k.Consumer(ctx, "ck_1")
	wantError(t, "consumer", err, verify.ErrUnauthenticated)
}

func aDeletionKeepsToItsVersion(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	a.Version = 2
	wantError(t, "change", k.UpdateApplication(ctx, a, false), nil)
	wantError(t, "delete the version before", k.DeleteApplication(ctx, project, a.ID, 1), verify.ErrStale)
	wantError(t, "delete another project's", k.DeleteApplication(ctx, "other", a.ID, 2), verify.ErrNoApplication)
	wantError(t, "delete", k.DeleteApplication(ctx, project, a.ID, 2), nil)
	wantError(t, "delete again", k.DeleteApplication(ctx, project, a.ID, 2), verify.ErrNoApplication)
	b := k.application(project, func(a *verify.Application) { a.Name = "b" })
	wantError(t, "delete any version", k.DeleteApplication(ctx, project, b.ID, 0), nil)
}
