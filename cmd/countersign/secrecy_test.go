package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unicode"

	"github.com/google/uuid"
)

// A leak is a secret that was found where it may not be.
type leak struct{ what, form, around string }

// A searcher knows secrets by what they are, and finds them in any of their forms.
type searcher map[string]string

// forms are the ways in which a text may be written down.
func forms(secret string) map[string]string {
	all := map[string]string{
		"as it is":        secret,
		"in hex":          hex.EncodeToString([]byte(secret)),
		"in a URL":        url.QueryEscape(secret),
		"in a URL's path": url.PathEscape(secret),
		"in a Go string":  strings.Trim(fmt.Sprintf("%q", secret), `"`),
		"as bytes":        strings.Trim(fmt.Sprint([]byte(secret)), "[]"),
	}
	if text, err := json.Marshal(secret); err == nil {
		all["in JSON"] = strings.Trim(string(text), `"`)
	}
	// Base64 depends on where in the encoded text the secret begins. What its neighbours decide is
	// left out.
	for before := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
		core := encoded[(before*8+5)/6 : (before+len(secret))*8/6]
		all[fmt.Sprintf("in base64, %d from its start", before)] = core
		all[fmt.Sprintf("in base64url, %d from its start", before)] = strings.NewReplacer("+", "-", "/", "_").Replace(core)
	}
	return all
}

// bare drops case and all that people and programs put between digits or letters.
func bare(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune("-.()_/", r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// find returns the secrets that a text holds, each in one of the forms that it has there.
func (s searcher) find(text string) (leaks []leak) {
	lower, spaced := strings.ToLower(text), bare(text)
	for what, secret := range s {
		written := forms(secret)
		written["with something in between"] = ""
		for form, w := range written {
			in, w := lower, strings.ToLower(w)
			if w == "" {
				in, w = spaced, bare(secret)
			}
			if i := strings.Index(in, w); i >= 0 {
				leaks = append(leaks, leak{what, form, in[max(0, i-100):min(len(in), i+100)]})
				break
			}
		}
	}
	return leaks
}

// without is a searcher that doesn't know some of the secrets.
func (s searcher) without(prefix string) searcher {
	less := searcher{}
	for what, secret := range s {
		if !strings.HasPrefix(what, prefix) {
			less[what] = secret
		}
	}
	return less
}

func TestTheSearcherFindsWhatWasPlanted(t *testing.T) {
	t.Parallel()
	s := searcher{"the code": "K3XWPQ9M4T7RHDAE2FGV", "the number": "12025550151", "the token": "cs_5r-Zq/x+8=", "the key": "\x00\xfe\"secret\\key\x80 of bytes"}
	const before, after = `{"time":"2026-05-04T13:00:00Z","msg":"`, `"}` + "\n"
	if got := s.find(before + "nothing" + after); len(got) != 0 {
		t.Errorf("found %+v where there is nothing", got)
	}
	for what, secret := range s {
		planted := forms(secret)
		planted["in capital hex"] = strings.ToUpper(hex.EncodeToString([]byte(secret)))
		planted["in small letters"] = strings.ToLower(secret)
		for n := range 3 { // in the middle of a longer text that was encoded
			planted[fmt.Sprintf("in base64 of more, %d", n)] = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("y", n) + secret + "and so on"))
			planted[fmt.Sprintf("in base64url of more, %d", n)] = base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("y", n) + secret))
		}
		if what == "the code" || what == "the number" {
			planted["spaced"] = strings.Join(strings.Split(secret, ""), " ")
			planted["in groups"] = secret[:1] + " (" + secret[1:4] + ") " + secret[4:7] + "-" + secret[7:]
			planted["with dots"] = secret[:1] + "." + secret[1:4] + "." + secret[4:]
		}
		for form, written := range planted {
			found := s.find(before + written + after)
			if !slices.ContainsFunc(found, func(l leak) bool { return l.what == what }) {
				t.Errorf("%s, %s (%q): got %+v, want it found", what, form, written, found)
			}
		}
	}
}

// A clumsy receiver takes messages and does with each number what its last digits say.
type clumsy struct {
	t  *testing.T
	mu sync.Mutex // guards got
	// got are the bodies of the requests, by verification.
	got map[string][]receivedMessage
}

// The last three digits of a number that the clumsy receiver mistreats.
const (
	isRefused    = "401"
	isLater      = "402"
	isHungUp     = "403"
	isEchoed     = "404" // in the words after the status
	isGarbled    = "405" // answered with what was received, which is no HTTP
	isRedirected = "406" // to where the code stands in the URL
	isHanging    = "407"
)

func (c *clumsy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m receivedMessage
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		c.t.Error(err)
		return
	}
	c.mu.Lock()
	c.got[m.VerificationID] = append(c.got[m.VerificationID], m)
	c.mu.Unlock()
	raw := func(answer string) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			c.t.Error(err)
			return
		}
		io.WriteString(conn, answer)
		conn.Close()
	}
	switch m.To[len(m.To)-3:] {
	case isRefused:
		http.Error(w, m.Body+" is refused for "+m.To, http.StatusUnprocessableEntity)
	case isLater:
		w.Header().Set("Retry-After", "1")
		http.Error(w, m.Body, http.StatusServiceUnavailable)
	case isHungUp:
		raw("")
	case isEchoed:
		raw("HTTP/1.1 400 " + m.Body + " for " + m.To + "\r\nContent-Length: 0\r\n\r\n")
	case isGarbled:
		raw(m.Body + " for " + m.To + "\r\n\r\n")
	case isRedirected:
		http.Redirect(w, r, "/?"+url.QueryEscape(m.Body+m.To), http.StatusTemporaryRedirect)
	case isHanging:
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // or else it answers 200, which a server that is just giving up may still hear
	default:
		fmt.Fprint(w, m.Body)
	}
}

func (c *clumsy) message(id string) (m receivedMessage) {
	c.t.Helper()
	if !within(patience, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if all := c.got[id]; len(all) > 0 {
			m = all[0]
		}
		return m.Body != ""
	}) {
		c.t.Fatalf("no message of %s arrived", id)
	}
	return m
}

// exported keeps what was sent to an OpenTelemetry collector.
type exported struct {
	mu sync.Mutex // guards all
	bytes.Buffer
}

func (e *exported) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ReadFrom(r.Body)
}

func (e *exported) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.String()
}

// ofKeyset are the bytes of each key of a keyset file.
func ofKeyset(t *testing.T, file string) (keys []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Key []struct{ KeyData struct{ Value []byte } }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Key {
		if len(k.KeyData.Value) < 32 {
			t.Fatalf("a key of %d bytes", len(k.KeyData.Value))
		}
		keys = append(keys, string(k.KeyData.Value[len(k.KeyData.Value)-32:])) // the message's last field
	}
	return keys
}

// A server lives through everything that goes wrong. Nothing that it shows to anybody holds a code,
// a token, a key, a secret or a whole number.
func TestNothingThatIsShownHoldsASecret(t *testing.T) {
	t.Parallel()
	gateway := &clumsy{t: t, got: map[string][]receivedMessage{}}
	out := httptest.NewServer(gateway)
	defer out.Close()
	defer out.CloseClientConnections()
	traces := new(exported)
	collector := httptest.NewServer(traces)
	defer collector.Close()
	const urlToken = "the-gateways-own-token-in-a-query"
	in := install(t, theProgram(t), func(string) string {
		return fmt.Sprintf(`
public: {listen: "127.0.0.1:0"}
operations: {listen: "127.0.0.1:0"}
public_sender: "+12025550199"
carriers:
- name: gateway
  http: {url: "%s/messages?key=%s", secret: {file: gateway.secret}, timeout: 2s}
- name: dead
  http: {url: "https://127.0.0.1:1/messages?key=%s", secret: {file: gateway.secret}}
channels: {sms: [gateway], voice: [dead, gateway]}
break_after: 1000 # how many tries fail in a row depends on the time
log: {level: debug}
tracing: {endpoint: "%s", sample: 1}
`, out.URL, urlToken, urlToken, collector.URL)
	})
	in.run("project", "policy", "--config", "countersign.yaml", "--sender", "+12025550198", in.project)
	whsec, err := os.ReadFile(filepath.Join(in.dir, "gateway.secret"))
	if err != nil {
		t.Fatal(err)
	}
	secretText := strings.TrimPrefix(strings.TrimSpace(string(whsec)), "whsec_")
	secretBytes, err := base64.StdEncoding.DecodeString(secretText)
	if err != nil {
		t.Fatal(err)
	}
	secrets := searcher{
		"token": in.token, "token of the gateway": urlToken, "signing secret": secretText, "signing secret's bytes": string(secretBytes),
		"number of ours": "12025550199",
	}
	config := in.run("config", "print") // now: later on the keyset is damaged
	p := in.serve()

	var asked int
	var answers strings.Builder
	ask := func(path, body string, change ...func(*http.Request)) (status int, answer string) {
		t.Helper()
		req, err := http.NewRequest("POST", p.URL+"/api/relay/rest/mfa/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(in.project, in.token)
		req.Header.Set("Content-Type", "application/json")
		for _, f := range change {
			f(req)
		}
		resp, answer, err := do(req)
		if err != nil {
			t.Fatal(err)
		}
		asked++
		resp.Header.Write(&answers)
		answers.WriteString(answer + "\n")
		return resp.StatusCode, answer
	}
	// Long codes: six digits may stand in a log by chance.
	start := func(path, to, fields string) (id string) {
		t.Helper()
		secrets["number "+to] = strings.TrimPrefix(to, "+")
		status, answer := ask(path, fmt.Sprintf(`{"to":%q,"token_length":20,"allow_alphas":true%s}`, to, fields))
		var started struct{ ID string }
		if err := json.Unmarshal([]byte(answer), &started); err != nil || status != 200 {
			t.Fatalf("start to %s: %d %s", to, status, answer)
		}
		return started.ID
	}
	codeOf := func(id string) string {
		t.Helper()
		m := gateway.message(id)
		code := codeIn(m.Body)
		if len(code) != 20 {
			t.Fatalf("got the code %q in %q", code, m.Body)
		}
		secrets["code of "+m.To] = code
		return code
	}
	check := func(id, token string, status int, want string) {
		t.Helper()
		if got, answer := ask(id+"/verify", fmt.Sprintf(`{"token":%q}`, token)); got != status || want != "" && answer != want {
			t.Errorf("check: got %d %s, want %d %s", got, answer, status, want)
		}
	}

	// What goes right, and wrong guesses.
	id := start("sms", "+12025550310", "")
	secrets["guess"] = "GUESSEDWRONGANDTYPED"
	check(id, secrets["guess"], 200, wrongBody)
	check(id, codeOf(id), 200, approvedBody)
	check(id, secrets["code of +12025550310"], 404, "")
	spent := start("sms", "+442079460311", `,"max_attempts":1`)
	check(spent, secrets["guess"], 200, wrongBody)
	check(spent, codeOf(spent), 404, "")
	secrets["number of the sender"] = "12025550198"
	codeOf(start("sms", "+12025550312", `,"message":"Code of the shop:","from":"+12025550198"`))

	// A call, by way of a carrier that isn't there.
	call := start("call", "+12025550313", "")
	check(call, codeOf(call), 200, approvedBody)

	// Carriers that refuse, fail, and repeat what they got.
	for _, last := range []string{isRefused, isLater, isHungUp, isEchoed, isGarbled, isRedirected, isHanging} {
		codeOf(start("sms", "+12025550"+last, `,"valid_for":30`))
	}

	// While one message is under way, the process is looked at.
	metrics := get(t, p.Ops+"/metrics")
	var profiles strings.Builder
	for _, page := range []string{"goroutine?debug=2", "goroutine?debug=1", "heap?debug=1", "allocs?debug=1", "", "symbol"} {
		profiles.WriteString(get(t, p.Ops+"/debug/pprof/"+page))
	}
	if !strings.Contains(profiles.String(), "carrier/http.(*Carrier).Send") {
		t.Error("no message was under way while the goroutines were looked at")
	}
	if resp, err := httpClient.Get(p.Ops + "/debug/pprof/cmdline"); err != nil || resp.StatusCode != 404 {
		t.Errorf("/debug/pprof/cmdline: got %v, %v, want 404", resp, err)
	} else {
		resp.Body.Close()
	}

	// Requests that are wrong in all ways.
	const personal, strange = "+12025550352", "cs_of-somebody-else-altogether"
	secrets["number in a bad request"], secrets["token of somebody else"] = personal[1:], strange
	for _, r := range []struct {
		path, body string
		change     func(*http.Request)
	}{
		{"sms", `{"to":"` + personal + `","token_length":3}`, nil},
		{"sms", `{"to":"` + personal, nil},
		{"sms", `to=` + personal, nil},
		{"sms", `{"to":"` + personal + `x","from":"` + personal + `"}`, nil},
		{"sms", `{"to":"` + personal + `","token_length":"` + personal + `","` + personal + `":"` + strange + `"}`, nil},
		{"call", `{"to":"` + personal + `"}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain; number="+personal) }},
		{"sms?to=" + personal + "&token=" + strange, `{"to":5}`, nil},
		{"sms", `{"to":"` + personal + `"}`, func(r *http.Request) { r.SetBasicAuth("nobody", strange) }},
		{personal + "/verify", `{"token":"1"}`, nil},
		{"to/" + personal, `{}`, nil},
		{"sms", `{}`, func(r *http.Request) {
			r.Header.Set("User-Agent", personal)
			r.Header.Set("X-Forwarded-For", personal)
			r.Header.Set("X-Request-Id", personal)
		}},
		{"sms", `{"to":"` + personal + `"}`, func(r *http.Request) { r.SetBasicAuth(personal, strange) }},
		{"sms", `{"to":"` + personal + `"}`, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+strange) }},
		{"sms", `{}`, func(r *http.Request) {
			r.Header.Set("X-Request-Id", personal)
			r.Header.Set("Referer", "https://shop.example/?to="+personal)
			r.Header.Set("Cookie", "token="+strange)
		}},
		{"sms", `{"to":"` + personal + `"}`, func(r *http.Request) { r.Method = "PUT" }},
		{"sms", strings.Repeat(personal, 100_000), nil},
		{uuid.NewString() + "/verify", `{"token":"` + secrets["guess"] + `"}`, nil},
		{id + "/verify", `{"token":{"` + secrets["guess"] + `":1}}`, nil},
		{"elsewhere", personal, nil},
	} {
		if r.change == nil {
			r.change = func(*http.Request) {}
		}
		if status, answer := ask(r.path, r.body, r.change); status < 400 {
			t.Errorf("%s %s: got %d %s, want a refusal", r.path, r.body[:min(len(r.body), 100)], status, answer)
		}
	}

	// The keys change, and later somebody makes the file unreadable.
	keyset := filepath.Join(in.dir, "keyset.json")
	in.run("keyset", "add", "keyset.json")
	for i, key := range ofKeyset(t, keyset) {
		secrets[fmt.Sprintf("key %d", i)] = key
	}
	var keys []struct {
		ID      uint32
		Primary bool
	}
	in.decode(&keys, "keyset", "list", "--json", "keyset.json")
	in.run("keyset", "promote", "keyset.json", fmt.Sprint(keys[1].ID))
	says := func(what string, times int) {
		t.Helper()
		if !within(patience, func() bool { return strings.Count(p.stderr.String(), what) >= times }) {
			t.Fatalf("the log doesn't say %s %d times:\n%s", what, times, p.stderr)
		}
	}
	p.cmd.Process.Signal(syscall.SIGHUP)
	says(`"msg":"reloaded"`, 1)
	rotated := start("sms", "+12025550314", "")
	check(rotated, codeOf(rotated), 200, approvedBody)
	if err := os.WriteFile(keyset, []byte(`{"primaryKeyId":1,"key":[{"keyData":{"value":"`+strange+`"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd.Process.Signal(syscall.SIGHUP)
	says(`not reloaded`, 1)

	says(`"reason":"unknown"`, 6) // hung up, garbled and hanging, each when it fails and when it is settled
	says(`"reason":"unreachable"`, 1)
	says(`"msg":"request"`, asked)
	says(`"msg":"attempt settled"`, 11)
	metrics += get(t, p.Ops+"/metrics")
	p.cmd.Process.Signal(syscall.SIGTERM)
	says(`"msg":"stopping"`, 1)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}

	log := p.stderr.String()
	if got := strings.Count(log, `"msg":"request"`); got != asked {
		t.Errorf("got %d request lines in the log, want one for each of %d requests", got, asked)
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log has a line that is no JSON: %s", line)
		}
	}
	for _, status := range []string{"200", "400", "401", "404", "405", "413", "415", "422"} {
		if !strings.Contains(log, `"status":`+status) || !strings.Contains(metrics, `status="`+status+`"`) {
			t.Errorf("no request was answered %s, so this shows less than it should", status)
		}
	}
	if traces.text() == "" {
		t.Error("no traces were exported")
	}
	if len(secrets) < 30 {
		t.Errorf("got %d secrets: were all noted?", len(secrets))
	}
	var database strings.Builder
	files, err := filepath.Glob(filepath.Join(in.dir, "data", "*"))
	if err != nil || len(files) == 0 {
		t.Errorf("no database: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		database.Write(text)
	}
	for where, shown := range map[string]struct {
		text    string
		secrets searcher
	}{
		"the log":      {log, secrets},
		"/metrics":     {metrics, secrets},
		"a profile":    {profiles.String(), secrets},
		"a trace":      {traces.text(), secrets},
		"config":       {config + in.run("audit", "list", "--config", "countersign.yaml") + in.run("key", "list", "--config", "countersign.yaml", "--project", in.project), secrets.without("number of ours").without("token of the gateway")},
		"an answer":    {answers.String(), secrets.without("number ")}, // an answer repeats the request's number
		"the database": {database.String(), secrets.without("number ")},
	} {
		for _, l := range shown.secrets.find(shown.text) {
			t.Errorf("%s holds the %s, %s: %q", where, l.what, l.form, l.around)
		}
		// The same search, in the same place, finds what is put there.
		for _, what := range []string{"token", "guess", "key 1", "code of +12025550310"} {
			planted := shown.text[:len(shown.text)/2] + base64.StdEncoding.EncodeToString([]byte(shown.secrets[what])) + shown.text[len(shown.text)/2:]
			if !slices.ContainsFunc(shown.secrets.find(planted), func(l leak) bool { return l.what == what }) {
				t.Errorf("%s: the %s was planted, and not found", where, what)
			}
		}
	}
	// A number in its parts is one all the same.
	if found := regexp.MustCompile(`\+[0-9][0-9 ().-]{6,}[0-9]`).FindString(log + metrics); found != "" {
		t.Errorf("the log or the metrics hold what looks like a number: %s", found)
	}
}
