package manual_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/docs"
	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

// A vendor is one vendor's description, held to a server's answers.
type vendor struct {
	t        *testing.T
	compiler *jsonschema.Compiler
	file     string
	paths    map[string]map[string]struct {
		Responses map[string]struct{ Content map[string]any }
	}
	answered map[string]bool
}

func newVendor(t *testing.T, file string) *vendor {
	t.Helper()
	text, err := docs.Files.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	v := &vendor{t: t, compiler: jsonschema.NewCompiler(), file: file, answered: map[string]bool{}}
	v.compiler.AssertFormat()
	if err := v.compiler.AddResource(file, doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &struct{ Paths any }{&v.paths}); err != nil {
		t.Fatal(err)
	}
	return v
}

// is compares an answer to an operation with the description, which must close its schemas here: the vendors do.
func (v *vendor) is(method, pattern string, want, status int, kind, body string) {
	v.t.Helper()
	v.answered[method+" "+pattern] = true
	if status != want {
		v.t.Errorf("%s %s: got %d %s, want %d", method, pattern, status, body, want)
	}
	response, ok := v.paths[pattern][strings.ToLower(method)].Responses[strconv.Itoa(status)]
	switch {
	case !ok:
		v.t.Errorf("%s %s: %d isn't described: %s", method, pattern, status, body)
		return
	case len(response.Content) == 0:
		if body != "" {
			v.t.Errorf("%s %s: %d has a body: %s", method, pattern, status, body)
		}
		return
	case response.Content[kind] == nil:
		v.t.Errorf("%s %s: %d has the type %s", method, pattern, status, kind)
		return
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1").Replace
	schema, err := v.compiler.Compile(v.file + "#/paths/" + escape(pattern) + "/" + strings.ToLower(method) + "/responses/" + strconv.Itoa(status) + "/content/application~1json/schema")
	if err != nil {
		v.t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		v.t.Errorf("%s %s: %d %s: %v", method, pattern, status, body, err)
	}
}

// all checks that every described operation was tried.
func (v *vendor) all() {
	for path, methods := range v.paths {
		for method := range methods {
			if !v.answered[strings.ToUpper(method)+" "+path] {
				v.t.Errorf("%s %s wasn't tried", method, path)
			}
		}
	}
}

func TestSignalWiresAnswersAreDescribed(t *testing.T) {
	t.Parallel()
	k, v := countersigntest.New(t, countersigntest.Options{}), newVendor(t, "openapi-signalwire.json")
	const prefix, verifies = "/api/relay/rest/mfa/", "/api/relay/rest/mfa/{id}/verify"
	post := func(pattern, path, body string, want int) string {
		status, answer := k.Post(path, body)
		v.is("POST", pattern, want, status, "application/json", answer)
		return answer
	}
	const to = "+12025550100"
	started := post(prefix+"sms", "sms", `{"to":"`+to+`"}`, 200)
	post(prefix+"call", "call", `{"to":"+12025550101","token_length":8,"allow_alphas":true}`, 200)
	post(prefix+"sms", "sms", `{"token_length":21}`, 422)
	post(prefix+"sms", "sms", `{`, 400)
	id := started[len(`{"id":"`):][:36]
	code := k.Code(to, id)
	post(verifies, id+"/verify", `{"token":"`+countersigntest.Wrong(code)+`"}`, 200)
	post(verifies, id+"/verify", `{}`, 422)
	post(verifies, id+"/verify", `{"token":"`+code+`"}`, 200)
	post(verifies, id+"/verify", `{"token":"`+code+`"}`, 404)
	v.all()
}

func TestSyniversesAnswersAreDescribed(t *testing.T) {
	t.Parallel()
	k, v := countersigntest.New(t, countersigntest.Options{}), newVendor(t, "openapi-syniverse.json")
	values := strings.NewReplacer()
	call := func(method, pattern, body string, want int) string {
		status, header, answer := k.Call("", method, values.Replace(pattern), body)
		v.is(method, pattern, want, status, header.Get("Content-Type"), answer)
		return answer
	}
	created := func(answer string) string {
		var c struct{ ID string }
		if err := json.Unmarshal([]byte(answer), &c); err != nil {
			t.Fatal(err)
		}
		return c.ID
	}
	const apps, templates, to = "/mfa/v1/applications", "/scg-external-api/api/v1/messaging/message_templates", "+12025550142"
	const app, user, template = apps + "/{application}", apps + "/{application}/users/{user}", templates + "/{template}"
	made := created(call("POST", apps, `{"name":"Shop","auth_code_length":"6","description":"x"}`, 200))
	text := created(call("POST", templates, `{"name":"t","pattern":"$validation_code"}`, 200))
	values = strings.NewReplacer("{application}", made, "{user}", "kola", "{template}", text)
	call("POST", apps, `{"auth_code_length":21}`, 400)
	call("GET", apps, "", 200)
	call("GET", app, "", 200)
	call("POST", app, `{"description":"y","version_number":1}`, 204)
	call("PUT", app, `{"name":"Shop","version_number":2}`, 204)
	call("PUT", app, `{"name":"Shop","version_number":2}`, 409)
	call("GET", user, "", 404)
	call("POST", user+"/associate", `{"address":"`+to+`"}`, 204)
	call("GET", app+"/users", "", 200)
	call("GET", user, "", 200)
	code := "000000"
	k.Await("the code", func() bool {
		for _, m := range k.Sim.Messages(to) {
			code = m.Body[:6]
			return true
		}
		return false
	})
	call("POST", user+"/validate", `{"validation_code":"`+countersigntest.Wrong(code)+`"}`, 409)
	call("POST", user+"/validate", `{"validation_code":"`+code+`"}`, 204)
	call("GET", user, "", 200)
	call("POST", user+"/login_start", `{}`, 204)
	call("DELETE", user+"/associate", "", 204)
	call("POST", user+"/login_start", `{}`, 409)
	call("DELETE", user, "", 204)
	call("GET", templates, "", 200)
	call("GET", template, "", 200)
	call("POST", template, `{"name":"u","version_number":1}`, 204)
	call("PUT", template, `{"name":"v","pattern":"$code","version_number":2}`, 204)
	call("DELETE", template, "", 204)
	call("GET", template, "", 404)
	call("DELETE", app, "", 204)

	for _, path := range []string{"/saop-rest-data/v1/apptoken-refresh", "/v1/apptoken-refresh", "/apptoken-refresh"} {
		for query, want := range map[string]int{"": 400, "?consumerkey=x&consumersecret=y&oldtoken=z": 500} {
			status, header, answer := k.Call(account.NewSecret(), http.MethodGet, path+query, "")
			v.is("GET", path, want, status, header.Get("Content-Type"), answer)
		}
	}
	status, header, answer := k.Call(verify.Secret("wrong"), "GET", apps, "")
	v.is("GET", apps, 401, status, header.Get("Content-Type"), answer)
	v.all()
}
