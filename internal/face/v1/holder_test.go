package v1_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/logtest"
	"github.com/countersign/countersign/internal/verify"
)

// Where an application's numbers are unique, the second user who asks for one is refused, and the operator of the
// application finds out who has it, and who had it.
func TestANumberThatIsOneUsers(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		ctx, c := t.Context(), k.client()
		app, err := c.CreateApplication(ctx, api.NewApplication{Name: "shop", UniqueNumbers: new(true)})
		if err != nil || !app.UniqueNumbers {
			t.Fatalf("got %+v, %v", app, err)
		}
		ask := func(user string) (api.User, error) {
			return c.Associate(ctx, app.ID, api.NewUser{User: user, Number: to})
		}
		taken := func(what, user string, wait time.Duration) {
			t.Helper()
			_, err := ask(user)
			var p *api.Problem
			if !errors.As(err, &p) || p.Status != 409 || p.Code != "number_taken" || p.RetryAfter != wait {
				t.Errorf("%s: got %v, want 409 number_taken, after %v", what, err, wait)
			}
		}
		ada, err := ask("ada")
		if err != nil {
			t.Fatal(err)
		}
		taken("while her code lives", "bob", 11*time.Minute)
		if r, err := c.CheckUser(ctx, app.ID, "ada", k.userCode(to, ada.Verification)); err != nil || !r.Valid {
			t.Fatalf("her code: %+v, %v", r, err)
		}
		taken("once it is hers", "bob", 0)
		if got := len(k.Sim.Messages(to)); got != 1 {
			t.Errorf("%d messages, want hers alone", got)
		}
		if _, err := c.User(ctx, app.ID, "bob"); err == nil {
			t.Error("the user who was refused was made")
		}

		// Syniverse's face keeps to it too, and its replacement of all settings leaves it as it is.
		id, err := verify.ParseID(app.ID)
		if err != nil {
			t.Fatal(err)
		}
		path := "applications/" + id.Base62()
		if status, _, answer := k.Call("", "POST", path+"/users/bob/associate", `{"address":"+1 202-555-0100"}`); status != 409 || strings.Contains(logtest.Meant(answer), "ada") {
			t.Errorf("by Syniverse's API: got %d %s, want 409", status, answer)
		}
		if status, _, answer := k.Call("", "PUT", path, `{"name":"store","version_number":1}`); status != 204 {
			t.Errorf("replace the application: %d %s", status, answer)
		}
		if app, err = c.Application(ctx, app.ID); err != nil || app.Name != "store" || !app.UniqueNumbers {
			t.Errorf("after Syniverse's replacement: %+v, %v", app, err)
		}
		r, err := c.ImportUsers(ctx, app.ID, []api.ImportedUser{{User: "eve", Number: to}, {User: "ada", Number: to}})
		if err != nil || r.Refused != 1 || r.Unchanged != 1 || r.Users[0].Code != "number_taken" {
			t.Errorf("an import: %+v, %v", r, err)
		}

		having := func(number string) (names []string) {
			t.Helper()
			for u, err := range c.UsersOf(ctx, app.ID, number) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, u.User)
			}
			return names
		}
		if diff := cmp.Diff([]string{"ada"}, having(to)); diff != "" {
			t.Errorf("who has it (-want +got):\n%s", diff)
		}
		if p := read[api.Problem](t, k.call("", "GET", "/v1/applications/"+app.ID+"/users?number=0100", "", 422)); len(p.Errors) != 1 || p.Errors[0].Field != "number" {
			t.Errorf("no number: %+v", p)
		}
		if err := c.RemoveNumber(ctx, app.ID, "ada"); err != nil {
			t.Fatal(err)
		}
		k.Advance(time.Minute)
		if _, err := ask("bob"); err != nil {
			t.Errorf("once she gave it back: %v", err)
		}
		if diff := cmp.Diff([]string{"bob"}, having(to)); diff != "" {
			t.Errorf("who has it then (-want +got):\n%s", diff)
		}
		type had struct{ User, Application, Status string }
		var history []had
		for v, err := range c.Verifications(ctx, api.Filter{To: to}) {
			if err != nil {
				t.Fatal(err)
			}
			history = append(history, had{v.User, v.Application, v.Status})
		}
		if diff := cmp.Diff([]had{{"bob", app.ID, "pending"}, {"ada", app.ID, "approved"}}, history); diff != "" {
			t.Errorf("who had it (-want +got):\n%s", diff)
		}

		// It can be switched off, and on again: then those who have one keep it.
		for _, on := range []bool{false, true} {
			if app, err = c.ChangeApplication(ctx, app.ID, api.ApplicationChange{UniqueNumbers: &on}); err != nil || app.UniqueNumbers != on {
				t.Errorf("set %t: %+v, %v", on, app, err)
			}
			if _, err := ask("eve"); (err == nil) == on {
				t.Errorf("another user where numbers are unique, %t: %v", on, err)
			}
			k.Advance(time.Minute)
		}
	})
}
