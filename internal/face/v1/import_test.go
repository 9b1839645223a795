package v1_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

// Somebody who leaves another service keeps their users: these log in, and confirm nothing again.
func TestImportedUsersLogIn(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		c := k.client()
		a, err := c.CreateApplication(t.Context(), api.NewApplication{Name: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		then := k.Clock.Now().Add(-1000 * time.Hour).UTC().Truncate(time.Second)
		future := k.Clock.Now().Add(time.Hour)
		given := []api.ImportedUser{
			{User: "grace", Number: to, VerifiedAt: &then},
			{User: "grace", Number: to},
			{User: "grace", Number: other},
			{User: "a/b", Number: "12"},
			{User: "alan", Number: other, VerifiedAt: &future},
			{User: "edsger", Number: other},
		}
		keyed := api.WithIdempotencyKey(t.Context(), "moving-day")
		got, err := c.ImportUsers(keyed, a.ID, given)
		if err != nil {
			t.Fatal(err)
		}
		invalid := func(user string, errors ...api.FieldProblem) api.ImportOutcome {
			return api.ImportOutcome{User: user, Outcome: "refused", Code: "invalid", Detail: verify.ErrInvalid.Message, Errors: errors}
		}
		want := api.ImportResult{Created: 2, Unchanged: 1, Refused: 3, Users: []api.ImportOutcome{
			{User: "grace", Outcome: "created"},
			{User: "grace", Outcome: "unchanged"},
			{User: "grace", Outcome: "refused", Code: "user_differs", Detail: verify.ErrUserDiffers.Message},
			invalid("a/b", api.FieldProblem{Field: "user", Message: "has a slash or a control character"}, api.FieldProblem{Field: "number", Message: "is not an E.164 number: + and 7 to 15 digits"}),
			invalid("alan", api.FieldProblem{Field: "verified_at", Message: "is in the future"}),
			{User: "edsger", Outcome: "created"},
		}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("import (-want +got):\n%s", diff)
		}
		if again, err := c.ImportUsers(keyed, a.ID, given); err != nil || cmp.Diff(want, again) != "" {
			t.Errorf("with the same key, the answer isn't the same: %+v, %v", again, err)
		}
		again, err := c.ImportUsers(t.Context(), a.ID, given)
		if err != nil || again.Created != 0 || again.Unchanged != 3 || again.Refused != 3 {
			t.Errorf("again, with another key: %+v, %v; want nothing created", again, err)
		}

		u, err := c.User(t.Context(), a.ID, "grace")
		if err != nil || u.Status != api.UserValidated || u.VerifiedAt == nil || !u.VerifiedAt.Equal(then) || *u.VerifiedAge != 3600*1000 {
			t.Errorf("imported: %+v, %v", u, err)
		}
		if u, err = c.Login(t.Context(), a.ID, "grace", api.Login{}); err != nil {
			t.Fatal(err)
		}
		r, err := c.CheckUser(t.Context(), a.ID, "grace", k.userCode(to, u.Verification))
		if err != nil || !r.Valid {
			t.Errorf("their login: %+v, %v", r, err)
		}
	})
}

func TestAnImportIsBounded(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	c := k.client()
	a, err := c.CreateApplication(t.Context(), api.NewApplication{Name: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	many := make([]api.ImportedUser, verify.MaxImport+1)
	for i := range many {
		many[i] = api.ImportedUser{User: fmt.Sprint(i), Number: to}
	}
	var p *api.Problem
	for _, users := range [][]api.ImportedUser{many, {}} {
		if _, err := c.ImportUsers(t.Context(), a.ID, users); !errors.As(err, &p) || p.Status != 422 || len(p.Errors) != 1 || p.Errors[0].Field != "users" {
			t.Errorf("%d users: %v", len(users), err)
		}
	}
	if r, err := c.ImportUsers(t.Context(), a.ID, many[1:]); err != nil || r.Created != verify.MaxImport {
		t.Errorf("as many as there may be: %d created, %v", r.Created, err)
	}
}

// Whoever has a key can't fill the disk by requests that cost nothing. The bound is the project's, and what costs a
// message isn't counted.
func TestKeptAnswersToFreeRequestsAreBounded(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o countersigntest.Options) {
		o.Settings.MaxKept = 3
		k := newKit(t, o)
		const stranger = "the-key-of-another-project"
		k.AddProject(verify.Project{ID: "other", Name: "other", Profile: verify.ProfileCompat, AnySender: true}, stranger)
		keys := 0
		post := func(token verify.Secret, path, body string, status int) http.Header {
			t.Helper()
			keys++
			got, header, answer := k.CallWith(http.Header{"Idempotency-Key": {fmt.Sprint("key-", keys)}}, token, "POST", path, body)
			if got != status {
				t.Errorf("POST %s, key %d: got %d %s, want %d", path, keys, got, answer, status)
			}
			return header
		}
		app := k.user("ada")
		users, devices := "/v1/applications/"+app+"/imports", "/v1/applications/"+app+"/users/ada/devices"
		const grace = `{"users":[{"user":"grace","number":"` + other + `"}]}`
		post("", users, grace, 200)
		k.Advance(90 * time.Minute)
		post("", users, grace, 200) // also one that changes nothing
		post("", devices, exampleDevice(""), 201)
		header := post("", "/v1/applications", `{"name":"one more"}`, 429)
		post("", devices, exampleDevice(""), 429)
		if seconds, err := strconv.Atoi(header.Get("Retry-After")); err != nil || seconds < 22*3600 || seconds > 24*3600 {
			t.Errorf("Retry-After: %q, want until the first answer is forgotten", header.Get("Retry-After"))
		} else {
			post("", "/v1/verifications", `{"to":"`+to+`"}`, 201)
			post(stranger, "/v1/applications", `{"name":"theirs"}`, 201)
			k.call("", "POST", "/v1/applications", `{"name":"without a key"}`, 201)
			k.Advance(time.Duration(seconds-1) * time.Second)
			post("", "/v1/applications", `{"name":"too early"}`, 429)
			k.Advance(time.Second)
		}
		post("", "/v1/applications", `{"name":"in time"}`, 201)
		post("", "/v1/applications", `{"name":"too many"}`, 429)
	})
}
