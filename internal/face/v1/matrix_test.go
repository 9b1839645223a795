package v1_test

import (
	"crypto/rand"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/face/v1"
	"github.com/countersign/countersign/internal/verify"
)

// The number in the examples of the API's types, of which the matrix makes bodies.
const exampleNumber = "+12025550123"

// A thing is what the wildcard behind a path's segment names.
type thing struct {
	make   func(k kit, path string) (name string) // makes one with the kit's own key, at that path
	absent string                                 // a name that nothing has
	none   string                                 // a name that nothing can have
}

// things are all of them. A new segment with a wildcard behind it needs an entry; a new operation needs none.
var things = map[string]thing{
	"verifications": {
		make: func(k kit, path string) string {
			return read[api.Verification](k.t, k.call("", "POST", path, `{"to":"`+exampleNumber+`"}`, 201)).ID
		},
		absent: "01900000-0000-7000-8000-000000000000", none: "x",
	},
	"applications": {
		make: func(k kit, path string) string {
			return read[api.Application](k.t, k.call("", "POST", path, `{"name":"shop"}`, 201)).ID
		},
		absent: "01900000-0000-7000-8000-000000000000", none: "x",
	},
	"users": {
		make: func(k kit, path string) string {
			return read[api.User](k.t, k.call("", "POST", path, `{"user":"ada","number":"`+exampleNumber+`"}`, 201)).User
		},
		absent: "nobody", none: "nobody else",
	},
	"devices": {
		make: func(k kit, path string) string {
			return read[api.Device](k.t, k.call("", "POST", path, exampleDevice(""), 201)).ID
		},
		absent: "01900000-0000-7000-8000-000000000000", none: "x",
	},
	"templates": {
		make: func(k kit, path string) string {
			return read[api.Template](k.t, k.call("", "POST", path, `{"name":"`+strings.ToLower(rand.Text())+`","texts":[{"text":"{code}"}]}`, 201)).ID
		},
		absent: "01900000-0000-7000-8000-000000000000", none: "x",
	},
	"keys": {
		make: func(k kit, path string) string {
			return read[api.Key](k.t, k.call("", "POST", path, `{"name":"x","scopes":["read"]}`, 201)).ID
		},
		absent: "01900000-0000-7000-8000-000000000000", none: "x",
	},
}

// paths fills the wildcards of a path: with own things, with names that nothing has, and with names that nothing can
// have. Own things are made on the way.
func (k kit) paths(pattern string) (own, absent, none string) {
	var segments, gone, never []string
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		if !strings.HasPrefix(part, "{") {
			segments, gone, never = append(segments, part), append(gone, part), append(never, part)
			continue
		}
		t, ok := things[parts[i-1]]
		if !ok {
			k.t.Fatalf("%s: the matrix knows no %s: add them to things", pattern, parts[i-1])
		}
		segments = append(segments, t.make(k, strings.Join(segments, "/")))
		gone, never = append(gone, t.absent), append(never, t.none)
	}
	return strings.Join(segments, "/"), strings.Join(gone, "/"), strings.ReplaceAll(strings.Join(never, "/"), " ", "%20")
}

// body is a request with all that is required, of the types' examples.
func body(r v1.Route) string {
	if r.FromQuery || r.Method == "GET" || r.Method == "DELETE" {
		return ""
	}
	var members []string
	for i := range r.In.NumField() {
		f := r.In.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		example := f.Tag.Get("example")
		if options != "" && (r.In != reflect.TypeFor[api.NewDevice]() || example == "") { // a device needs what its kind has
			continue
		}
		if f.Type.Kind() == reflect.String {
			example = `"` + example + `"`
		}
		members = append(members, `"`+name+`":`+example)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// asked is an answer without what differs between any two.
type asked struct {
	status int
	header http.Header
	body   string
}

func (k kit) ask(key verify.Secret, r v1.Route, path string) asked {
	k.t.Helper()
	status, header, answer := k.Call(key, r.Method, path, body(r))
	if problem := outside(r.Method, path, status, header, answer); problem != "" {
		k.t.Errorf("%s %s: the answer %d %s isn't described: %s", r.Method, path, status, answer, problem)
	}
	header = maps.Clone(header)
	header.Del("X-Request-Id")
	header.Del("Date")
	return asked{status, header, answer}
}

// addKey makes a key of the kit's project.
func (k kit) addKey(scopes verify.Scopes) verify.Secret {
	k.t.Helper()
	secret := account.NewSecret()
	if err := k.Store.CreateKey(k.t.Context(), account.Key{ID: verify.NewID(k.Clock.Now()), Project: "test", Scopes: scopes, Hash: account.HashKey(secret)}); err != nil {
		k.t.Fatal(err)
	}
	return secret
}

// The matrix is made from the table of operations: each one with each scope, by a key of the project and by one of
// another project, about a thing of the project, one that isn't there, and a name that nothing can have.
func TestTheAuthorisationMatrix(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	const stranger = "the-key-of-another-project"
	k.AddProject(verify.Project{ID: "other", Name: "other", Profile: verify.ProfileCompat, AnySender: true}, stranger)
	keys := map[verify.Scopes]verify.Secret{0: k.addKey(0)}
	for scope := verify.ScopeStart; scope <= verify.ScopeManage; scope <<= 1 {
		keys[scope], keys[verify.AllScopes&^scope] = k.addKey(scope), k.addKey(verify.AllScopes&^scope)
	}
	for _, r := range v1.Routes() {
		if r.Needs == 0 {
			t.Errorf("%s %s says no scope that it needs: add .needing(verify.Scope…)", r.Method, r.Path)
			continue
		}
		own, absent, none := k.paths(r.Path)
		named := own != absent
		if got := k.ask("wrong", r, own); got.status != 401 || read[api.Problem](t, got.body).Code != "unauthenticated" {
			t.Errorf("%s %s with a wrong key: %+v", r.Method, r.Path, got)
		}

		// A key without the scope learns nothing about the path.
		for scopes, key := range keys {
			if scopes.Has(r.Needs) {
				if got := k.ask(key, r, absent); got.status == 401 || got.status == 403 || got.status >= 500 || named && got.status != 404 {
					t.Errorf("%s %s by a key with %q: %+v", r.Method, r.Path, scopes, got)
				}
				continue
			}
			got := k.ask(key, r, own)
			p := read[api.Problem](t, got.body)
			if got.status != 403 || p.Code != "forbidden" || !strings.Contains(p.Detail, (r.Needs&^scopes).String()) {
				t.Errorf("%s %s by a key with %q: %+v, want a refusal that names %q", r.Method, r.Path, scopes, got, r.Needs&^scopes)
			}
			for _, path := range []string{absent, none} {
				if other := k.ask(key, r, path); !reflect.DeepEqual(got, other) {
					t.Errorf("%s %s by a key with %q: one that is there is answered %+v, %s %+v", r.Method, r.Path, scopes, got, path, other)
				}
			}
		}

		if named {
			foreign, gone, never := k.ask(stranger, r, own), k.ask(stranger, r, absent), k.ask(stranger, r, none)
			if gone.status != 404 || !reflect.DeepEqual(foreign, gone) || !reflect.DeepEqual(gone, never) {
				t.Errorf("%s %s: another's is answered %+v, an absent one %+v, and a name that nothing has %+v; want one 404", r.Method, r.Path, foreign, gone, never)
			}
		}
		// What was refused has done nothing: what is the project's is still there for it.
		if got := k.ask("", r, own); got.status == 401 || got.status == 403 || got.status == 404 || got.status >= 500 {
			t.Errorf("%s %s about its own: %+v", r.Method, r.Path, got)
		}
	}
}

// A project without anything sees nothing of another's in any list.
func TestListsHaveNothingOfOthers(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	const stranger = "the-key-of-another-project"
	k.AddProject(verify.Project{ID: "other", Name: "other", Profile: verify.ProfileCompat, AnySender: true}, stranger)
	var made []string
	for segment, thing := range things {
		if segment != "users" && segment != "devices" {
			made = append(made, thing.make(k, "/v1/"+segment))
		}
	}
	for _, r := range v1.Routes() {
		if r.Method != "GET" || strings.Contains(r.Path, "{") {
			continue
		}
		got := k.ask(stranger, r, r.Path)
		for _, name := range made {
			if strings.Contains(got.body, name) {
				t.Errorf("%s: another project sees %s in %s", r.Path, name, got.body)
			}
		}
	}
}

// Another project's number is answered by a check as an unknown one is, and so is a verification of it.
func TestAForeignNumberIsAnUnknownOne(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	const stranger = "the-key-of-another-project"
	k.AddProject(verify.Project{ID: "other", Name: "other", Profile: verify.ProfileCompat, AnySender: true}, stranger)
	mine := k.start(to, "")
	check := func(to string) string {
		return k.call(stranger, "POST", "/v1/checks", `{"to":"`+to+`","code":"123456"}`, 404)
	}
	if foreign, gone := check(to), check(other); foreign != gone {
		t.Errorf("another's number is answered %s, an unknown one %s", foreign, gone)
	}
	if v := k.read(mine.ID); v.Status != "pending" || v.AttemptsRemaining != 3 {
		t.Errorf("after all of that: %+v, want it pending with its three guesses", v)
	}
}
