package storetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/logtest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// Users are found by number or by name in all applications, and nobody finds those of other projects than the ones they ask for.
func usersAreFoundInAllApplications(t *testing.T, s suite) {
	k := s.open(t)
	a, b, c := k.application(project), k.application(project, func(a *verify.Application) { a.Name = "other" }), k.application("p2")
	for _, p := range []*person{k.person(a, "ada", number(0)), k.person(b, "eve", number(0)), k.person(c, "ada", number(0)), k.person(a, "bob", number(1))} {
		p.associate()
	}
	k.person(a, "ada", number(0)).validates()
	for what, tt := range map[string]struct {
		search store.UserSearch
		most   int
		want   string
	}{
		"by number":                   {store.UserSearch{Number: number(0).Key()}, 9, "p2:ada p:ada p:eve"},
		"by name":                     {store.UserSearch{Name: "ada"}, 9, "p2:ada p:ada"},
		"by both":                     {store.UserSearch{Name: "eve", Number: number(0).Key()}, 9, "p:eve"},
		"in a project":                {store.UserSearch{Name: "ada", Among: []verify.ProjectID{"p2"}}, 9, "p2:ada"},
		"in two projects":             {store.UserSearch{Name: "ada", Among: []verify.ProjectID{"p2", project}}, 9, "p2:ada p:ada"},
		"in an application":           {store.UserSearch{Name: "ada", Application: a.ID}, 9, "p:ada"},
		"in another project's":        {store.UserSearch{Name: "ada", Application: a.ID, Among: []verify.ProjectID{"p2"}}, 9, ""},
		"the first ones":              {store.UserSearch{Number: number(0).Key()}, 2, "2"},
		"a number that nobody has":    {store.UserSearch{Number: number(7).Key()}, 9, ""},
		"a name that nobody has":      {store.UserSearch{Name: "Ada"}, 9, ""},
		"in a project that isn't one": {store.UserSearch{Name: "ada", Among: []verify.ProjectID{"p3"}}, 9, ""},
	} {
		found, err := k.FindUsers(ctx, tt.search, tt.most)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var got []string
		for _, u := range found {
			name := "p2:"
			if u.Project == project {
				name = "p:"
			}
			got = append(got, name+u.Name)
			whole, err := k.User(ctx, u.Key())
			if err != nil {
				t.Fatal(err)
			}
			equal(t, what, u.User, whole)
		}
		if tt.want == "2" && len(got) == 2 {
			continue
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: got %q, want %q", what, text, tt.want)
		}
	}
}

// A user whom an operator deletes is gone as one whom their project deletes, and the entry of the audit log is there, which doesn't
// name them.
func anOperatorDeletesAUser(t *testing.T, s suite) {
	k := s.open(t)
	ada := k.person(k.application(project), "ada", number(0))
	v := ada.associate()
	ada.adds(1)
	stranger := ada.key
	stranger.Project = "other"
	wantError(t, "another project's", k.DeleteUserBy(ctx, stranger, "operator ann"), verify.ErrNoApplication)
	wantError(t, "delete", k.DeleteUserBy(ctx, ada.key, "operator ann"), nil)
	wantError(t, "a second time", k.DeleteUserBy(ctx, ada.key, "operator ann"), verify.ErrNoUser)
	if left, err := k.DevicesOfOtherKeys(ctx, 1, verify.ID{}, 9); err != nil || len(left) > 0 {
		t.Errorf("devices: got %+v, %v, want none", left, err)
	}
	if got, err := k.Verification(ctx, v.ID); err != nil || got.Status != verify.StatusCanceled {
		t.Errorf("their verification: got %+v, %v, want it canceled", got, err)
	}
	audits, err := k.Audits(ctx, 9)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, a := range audits {
		if a.Action == "user remove" {
			if n++; a.Actor != "operator ann" || a.Project != project || !strings.Contains(a.Detail, ada.key.Application.Base62()) || strings.Contains(logtest.Meant(a.Detail), "ada") {
				t.Errorf("audited %+v", a)
			}
		}
	}
	if n != 1 {
		t.Errorf("audited %d times, want once", n)
	}
}
