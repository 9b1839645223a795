package v1_test

import (
	"context"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Close()
	os.Exit(code)
}

func onBothEngines(t *testing.T, test func(t *testing.T, o countersigntest.Options)) {
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, countersigntest.Options{}) })
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, countersigntest.Options{Database: storetest.Lent(t)})
	})
}

func (k kit) client() *api.Client {
	k.t.Helper()
	secret := account.NewSecret()
	if err := k.Store.CreateKey(k.t.Context(), account.Key{ID: verify.NewID(k.Clock.Now()), Project: "test", Scopes: verify.AllScopes, Hash: account.HashKey(secret)}); err != nil {
		k.t.Fatal(err)
	}
	return &api.Client{URL: k.URL, Key: secret.Reveal(), MaxWait: -1}
}

// ifMatch makes a change with If-Match, and returns the status and the header ETag.
func (k kit) ifMatch(method, path, tag, body string) (int, string) {
	k.t.Helper()
	req, err := http.NewRequest(method, k.URL+path, strings.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+k.client().Key)
	req.Header.Set("Content-Type", "application/json")
	if tag != "" {
		req.Header.Set("If-Match", tag)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("ETag")
}

// userCode waits for the message of a user's verification and returns the code in it.
func (k kit) userCode(to, verification string) (code string) {
	k.t.Helper()
	k.Await("the message of "+verification, func() bool {
		for _, m := range k.Sim.Messages(phone.Number(to)) {
			if m.Verification == verification {
				code = regexp.MustCompile(`\b[0-9]{6}\b`).FindString(m.Body)
			}
		}
		return code != ""
	})
	return code
}

func TestAnApplicationFromCreationToDeletion(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		ctx, c := context.Background(), k.client()
		made, err := c.CreateApplication(ctx, api.NewApplication{Name: "shop", CodeLength: new(8), Channels: []string{"voice", "sms"}})
		if err != nil {
			t.Fatal(err)
		}
		want := api.Application{ID: made.ID, Name: "shop", CodeLength: 8, CodeFormat: "numeric", ValidFor: 600, MaxAttempts: 5, Channels: []string{"voice", "sms"},
			CreatedAt: countersigntest.Start, UpdatedAt: countersigntest.Start}
		if diff := cmp.Diff(want, made); diff != "" {
			t.Errorf("create (-want +got):\n%s", diff)
		}
		k.Advance(time.Second)
		want.Name, want.ValidFor, want.UpdatedAt = "store", 60, countersigntest.Start.Add(time.Second)
		got, err := c.ChangeApplication(ctx, made.ID, api.ApplicationChange{Name: new("store"), ValidFor: new(60)})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("change: %v (-want +got):\n%s", err, diff)
		}

		path := "/v1/applications/" + made.ID
		for _, test := range []struct {
			method, tag, body string
			status            int
			etag              string
		}{
			{"GET", "", "", 200, `"2"`},
			{"PATCH", `"1"`, `{"name":"late"}`, 412, ""},
			{"PATCH", `W/"2"`, `{"name":"weak"}`, 412, ""},
			{"PATCH", `"1", "2"`, `{"name":"third"}`, 200, `"3"`},
			{"PATCH", `*`, `{"name":"fourth"}`, 200, `"4"`},
			{"DELETE", `"3"`, "", 412, ""},
			{"DELETE", `"4"`, "", 204, ""},
			{"DELETE", "", "", 404, ""},
			{"PATCH", `"1"`, `{"name":"gone"}`, 404, ""},
		} {
			if status, etag := k.ifMatch(test.method, path, test.tag, test.body); status != test.status || etag != test.etag {
				t.Errorf("%s with If-Match %s: got %d, ETag %s; want %d, %s", test.method, test.tag, status, etag, test.status, test.etag)
			}
		}

		p := read[api.Problem](t, k.call("", "POST", "/v1/applications", `{"name":"","code_length":0,"valid_for":29,"max_attempts":21,"channels":["fax"],"prefix":"12345678901234567"}`, 422))
		if diff := cmp.Diff([]api.FieldProblem{
			{Field: "channels", Message: "has an unknown method"},
			{Field: "code_length", Message: "must be greater than or equal to 4"},
			{Field: "max_attempts", Message: "must be less than or equal to 20"},
			{Field: "name", Message: "can't be blank"},
			{Field: "prefix", Message: "is too long (maximum is 16 characters)"},
			{Field: "valid_for", Message: "must be greater than or equal to 30"},
		}, p.Errors); diff != "" {
			t.Errorf("problems (-want +got):\n%s", diff)
		}

		var names string
		for _, name := range []string{"a", "b", "c"} {
			k.Advance(time.Second)
			k.call("", "POST", "/v1/applications", `{"name":"`+name+`"}`, 201)
		}
		for path := "/v1/applications?limit=2"; path != ""; {
			p := read[api.ApplicationPage](t, k.call("", "GET", path, "", 200))
			for _, a := range p.Applications {
				names += a.Name
			}
			if path = ""; p.Next != "" {
				path = "/v1/applications?limit=2&after=" + p.Next
				names += ","
			}
		}
		if names != "ab,c" {
			t.Errorf("got the pages %s, want ab,c", names)
		}
	})
}

func TestAUserFromAssociationToRemoval(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		ctx, c := context.Background(), k.client()
		app, err := c.CreateApplication(ctx, api.NewApplication{Name: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		is := func(what string, got api.User, err error, want api.User) {
			t.Helper()
			want.User, want.CreatedAt, want.Verification = "ada", countersigntest.Start, got.Verification
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
			}
		}
		check := func(code string, want api.CheckResult) {
			t.Helper()
			got, err := c.CheckUser(ctx, app.ID, "ada", code)
			want.ID, want.AttemptsRemaining = got.ID, got.AttemptsRemaining
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("check: %v (-want +got):\n%s", err, diff)
			}
		}
		at := func(d time.Duration) *time.Time { return new(countersigntest.Start.Add(d)) }

		ada, err := c.Associate(ctx, app.ID, api.NewUser{User: "ada", Number: to})
		is("associate", ada, err, api.User{Number: to, Status: "pending", UpdatedAt: countersigntest.Start})
		code := k.userCode(to, ada.Verification)
		check(countersigntest.Wrong(code), api.CheckResult{Status: "pending", Reason: "wrong_code"})
		k.Advance(time.Minute)
		check(code, api.CheckResult{Valid: true, Status: "approved"})
		check(code, api.CheckResult{Status: "approved", Reason: "already_approved"})
		k.Advance(time.Minute)
		ada, err = c.User(ctx, app.ID, "ada")
		is("validated", ada, err, api.User{Number: to, Status: "validated", VerifiedAt: at(time.Minute), VerifiedAge: new(60), UpdatedAt: *at(time.Minute)})

		// A login shows it again.
		ada, err = c.Login(ctx, app.ID, "ada", api.Login{})
		is("login", ada, err, api.User{Number: to, Status: "validated", VerifiedAt: at(time.Minute), VerifiedAge: new(60), UpdatedAt: *at(time.Minute)})
		check(k.userCode(to, ada.Verification), api.CheckResult{Valid: true, Status: "approved"})
		ada, err = c.User(ctx, app.ID, "ada")
		is("logged in", ada, err, api.User{Number: to, Status: "validated", VerifiedAt: at(2 * time.Minute), VerifiedAge: new(0), UpdatedAt: *at(time.Minute)})

		// Syniverse's face sees the same user.
		id, err := verify.ParseID(app.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status, _, answer := k.Call("", "GET", "applications/"+id.Base62()+"/users/ada", ""); status != 200 || !strings.Contains(answer, `"status":"VALIDATED"`) {
			t.Errorf("Syniverse's face: got %d %s", status, answer)
		}

		if err := c.RemoveNumber(ctx, app.ID, "ada"); err != nil {
			t.Fatal(err)
		}
		ada, err = c.User(ctx, app.ID, "ada")
		is("without a number", ada, err, api.User{Status: "initial", UpdatedAt: *at(2 * time.Minute)})
		users := "/v1/applications/" + app.ID + "/users"
		if p := read[api.Problem](t, k.call("", "POST", users+"/ada/login", `{}`, 409)); p.Code != "not_validated" {
			t.Errorf("a login without a number: %+v", p)
		}
		if p := read[api.Problem](t, k.call("", "POST", users+"/ada/check", `{"code":"123456"}`, 409)); p.Code != "no_code" {
			t.Errorf("a check without a code: %+v", p)
		}
		p := read[api.Problem](t, k.call("", "POST", users, `{"user":"a/b","number":"+1202","channel":"voice"}`, 422))
		if len(p.Errors) != 1 || p.Errors[0].Field != "user" {
			t.Errorf("a bad name: %+v", p)
		}
		p = read[api.Problem](t, k.call("", "POST", users, `{"user":"b","number":"voice:+12025550100"}`, 422))
		if len(p.Errors) != 1 || p.Errors[0].Field != "number" {
			t.Errorf("a bad number: %+v", p)
		}

		for _, name := range []string{"bob", "Carl", "dan é"} {
			if _, err := c.Associate(ctx, app.ID, api.NewUser{User: name, Number: other}); err != nil {
				t.Fatal(err)
			}
		}
		var names []string
		for path := users + "?limit=2"; path != ""; {
			p := read[api.UserPage](t, k.call("", "GET", path, "", 200))
			for _, u := range p.Users {
				names = append(names, u.User)
			}
			if path = ""; p.Next != "" {
				path = users + "?limit=2&after=" + p.Next
			}
		}
		if diff := cmp.Diff([]string{"Carl", "ada", "bob", "dan é"}, names); diff != "" {
			t.Errorf("pages (-want +got):\n%s", diff)
		}
		names = nil
		for u, err := range c.Users(ctx, app.ID, "pending") {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, u.User)
		}
		if diff := cmp.Diff([]string{"Carl", "bob", "dan é"}, names); diff != "" {
			t.Errorf("pending (-want +got):\n%s", diff)
		}
		if err := c.DeleteUser(ctx, app.ID, "ada"); err != nil {
			t.Fatal(err)
		}
		k.call("", "GET", users+"/ada", "", 404)
	})
}
