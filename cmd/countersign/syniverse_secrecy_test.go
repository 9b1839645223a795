package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A user's story, its failures and a token's refreshes, on a server that logs and traces all it can.
// Nothing that it shows holds a code, a token, a consumer's secret, an address or a user's id, though
// paths and queries hold some of them.
func TestNothingThatSyniversesAPIShowsHoldsASecret(t *testing.T) {
	t.Parallel()
	traces := new(exported)
	collector := httptest.NewServer(traces)
	t.Cleanup(collector.Close)
	in := install(t, theProgram(t), func(config string) string {
		return strings.NewReplacer(`level: "info"`, `level: "debug"`, `endpoint: ""`, `endpoint: "`+collector.URL+`"`, "sample: 0.01", "sample: 1",
			"interval: 30s", "interval: 0s").Replace(config)
	})
	var key texts
	in.decode(&key, "key", "create", "--config", "countersign.yaml", "--json", "--project", in.project, "--consumer")
	const user, address, stranger = "kola.of.the.shop@example.com", "+1 (202) 555-0177", "cs_of-somebody-else-altogether"
	secrets := searcher{
		"token": in.token, "token to refresh": key["token"], "consumer secret": key["consumer_secret"], "token of somebody else": stranger,
		"user id": user, "user address": "12025550177", "guess": "GUESSEDWRONGANDTYPED",
	}
	p := in.serve()

	asked := 0
	var answers strings.Builder
	ask := func(method, path, body string, status int, change ...func(*http.Request)) string {
		t.Helper()
		a := p.mfa(method, path, body, change...)
		asked++
		a.header.Write(&answers)
		answers.WriteString(a.body + "\n")
		if a.status != status {
			t.Errorf("%s %s: got %d %s, want %d", method, path, a.status, a.body, status)
		}
		return a.body
	}
	// Long codes: six digits may stand in a log by chance.
	var app struct{ ID string }
	if err := json.Unmarshal([]byte(ask("POST", "applications", `{"name":"Shop","auth_code_length":20,"auth_token_type":"ALPHANUMERIC"}`, 200)), &app); err != nil {
		t.Fatal(err)
	}
	path := "applications/" + app.ID + "/users/" + url.PathEscape(user)
	received := 0
	code := func() string {
		t.Helper()
		received++
		var m receivedMessage
		if !within(patience, func() bool {
			in.receiver.mu.Lock()
			defer in.receiver.mu.Unlock()
			if len(in.receiver.got) >= received {
				m = in.receiver.got[received-1]
			}
			return m.Body != ""
		}) {
			t.Fatalf("message %d didn't arrive", received)
		}
		code, _, _ := strings.Cut(m.Body, " ")
		if len(code) != 20 {
			t.Fatalf("got the code %q in %q", code, m.Body)
		}
		secrets[fmt.Sprintf("code %d", received)] = code
		return code
	}
	validate := func(code string, status int) {
		t.Helper()
		ask("POST", path+"/validate", fmt.Sprintf(`{"validation_code":%q}`, code), status)
	}
	associate := fmt.Sprintf(`{"address":%q}`, address)

	ask("POST", path+"/associate", associate, 204)
	validate(secrets["guess"], 409)
	validate(code(), 204)
	validate(secrets["code 1"], 409)
	ask("POST", path+"/login_start", "", 204)
	for range 5 {
		validate(secrets["guess"], 409)
	}
	validate(code(), 429)
	ask("POST", path+"/login_start", `{"display_name":"The Shop"}`, 204)
	live := code()
	ask("GET", path, "", 200)
	ask("GET", "applications/"+app.ID+"/users?id="+url.QueryEscape(user)+"&user_address="+url.QueryEscape(address), "", 200)

	// What is wrong in all ways.
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	ask("POST", path+"/associate", `{"address":"`+address, 400)
	ask("POST", path+"/associate", `{"address":"`+address+`x"}`, 400)
	ask("POST", path+"/validate", `{"validation_code":{"`+live+`":1}}`, 400)
	ask("POST", path+"/validate?validation_code="+live, `{}`, 400)
	ask("POST", path+"/validate", live, 415, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain; code="+live) })
	ask("PUT", path+"/validate", live, 405)
	ask("GET", path+"/"+live, "", 404)
	ask("GET", path+"%2F"+live, "", 400)
	ask("GET", "users/"+user, "", 404)
	ask("GET", path, "", 401, bearer(stranger))
	ask("GET", path, "", 401, bearer(live))
	ask("GET", "applications?limit="+live, "", 400)
	ask("POST", path+"/associate", strings.Repeat(address, 10_000), 413)

	// A token's refreshes have everything in their queries.
	refresh := func(change url.Values, status int) string {
		t.Helper()
		q := url.Values{"consumerkey": {key["consumer_key"]}, "consumersecret": {key["consumer_secret"]}, "oldtoken": {key["token"]}, "validity": {"900"}}
		for name, value := range change {
			q[name] = value
		}
		return ask("GET", "/saop-rest-data/v1/apptoken-refresh?"+q.Encode(), "", status)
	}
	refresh(url.Values{"consumersecret": {stranger}}, 500)
	refresh(url.Values{"consumerkey": {stranger}}, 500)
	refresh(url.Values{"validity": {live}}, 400)
	var token struct{ AccessToken string }
	if err := json.Unmarshal([]byte(refresh(url.Values{"oldtoken": {stranger}}, 200)), &token); err != nil || token.AccessToken == "" {
		t.Fatalf("no token: %v", err)
	}
	secrets["token answered"] = token.AccessToken
	ask("GET", path, "", 200, bearer(token.AccessToken))

	// With one code still live, somebody looks at everything.
	in.run("backup", "--config", "countersign.yaml", "copy.db")
	backup, err := os.ReadFile(filepath.Join(in.dir, "copy.db"))
	if err != nil {
		t.Fatal(err)
	}
	database := in.databaseFiles() + string(backup)
	listed := in.run("key", "list", "--config", "countersign.yaml", "--project", in.project) + in.run("audit", "list", "--config", "countersign.yaml")
	metrics := get(t, p.Ops+"/metrics")
	profile := get(t, p.Ops+"/debug/pprof/goroutine?debug=2")
	validate(live, 204)
	ask("DELETE", path, "", 204)
	ask("DELETE", "applications/"+app.ID, "", 204)
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}

	log := p.stderr.String()
	if got := strings.Count(log, `"msg":"request"`); got != asked {
		t.Errorf("got %d request lines in the log, want one for each of %d requests", got, asked)
	}
	if !strings.Contains(database, user) {
		t.Error("the database doesn't hold the user's id in clear: this isn't where the codes would be")
	}
	if traces.text() == "" || !strings.Contains(metrics, `face="syniverse"`) {
		t.Error("there are no traces, or no metrics of this face, to look at")
	}
	for where, shown := range map[string]struct {
		text    string
		secrets searcher
	}{
		"the log":      {log, secrets},
		"/metrics":     {metrics, secrets},
		"a profile":    {profile, secrets},
		"a trace":      {traces.text(), secrets},
		"a list":       {listed, secrets},
		"an answer":    {answers.String(), secrets.without("user ").without("token answered")},
		"the database": {database, secrets.without("user ")},
	} {
		for _, l := range shown.secrets.find(shown.text) {
			t.Errorf("%s holds the %s, %s: %q", where, l.what, l.form, l.around)
		}
		// The same search, in the same place, finds what is put there.
		for _, what := range []string{"token", "consumer secret", "guess", "code 3"} {
			planted := shown.text[:len(shown.text)/2] + base64.StdEncoding.EncodeToString([]byte(secrets[what])) + shown.text[len(shown.text)/2:]
			if !slices.ContainsFunc(shown.secrets.find(planted), func(l leak) bool { return l.what == what }) {
				t.Errorf("%s: the %s was planted, and not found", where, what)
			}
		}
	}
	if found := regexp.MustCompile(`\+[0-9][0-9 ().-]{6,}[0-9]`).FindString(log + metrics); found != "" {
		t.Errorf("the log or the metrics hold what looks like a number: %s", found)
	}
}
