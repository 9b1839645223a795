package console

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// A door is the sign-in with a page behind it, over a database of its own.
type door struct {
	t       *testing.T
	admin   *admin.Service
	handler http.Handler
	mu      sync.Mutex // guards now
	now     time.Time
	log     bytes.Buffer
	secrets []string // that no page's address, log or audit may have
	seed    string
}

func newDoor(t *testing.T) *door {
	d := &door{t: t, now: noon}
	st, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "countersign.db"), Now: d.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	d.admin = admin.New(st)
	s := NewSignIn(operator.New(st, keys, d.clock), slog.New(slog.NewTextHandler(&d.log, nil)), "https://console.example")
	mux := http.NewServeMux()
	mux.Handle("/sign-in", s.Handler())
	mux.Handle("/sign-in/", s.Handler())
	mux.Handle("/", s.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := PersonOf(r.Context())
		fmt.Fprintf(w, "%s %s %v %t", p.Name, p.Role, p.Projects, ok)
	})))
	d.handler = mux
	return d
}

func (d *door) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *door) wait(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(by)
}

// ask makes a request from a site ("same-origin", "cross-site") with a session.
func (d *door) ask(method, path, session, site string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://console.example"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", site)
	r.RemoteAddr = "192.0.2.1:5"
	if session != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-countersign", Value: session})
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	for _, s := range d.secrets {
		if strings.Contains(w.Header().Get("Location"), s) {
			d.t.Errorf("%s %s: a secret in an address", method, path)
		}
	}
	return w
}

func (d *door) post(path string, form url.Values) *httptest.ResponseRecorder {
	return d.ask("POST", path, "", "same-origin", form)
}

// sees is who the page behind the door says that a session is.
func (d *door) sees(session string) string {
	w := d.ask("GET", "/", session, "none", nil)
	if w.Code == http.StatusSeeOther {
		return w.Header().Get("Location")
	}
	return w.Body.String()
}

func cookie(w *httptest.ResponseRecorder) *http.Cookie {
	for _, c := range w.Result().Cookies() {
		return c
	}
	return &http.Cookie{}
}

var seedOf = regexp.MustCompile(`<code>([A-Z2-7]{32})</code>`)

const secretWord = "correct horse battery"

// join sets up an operator by a link and returns their session.
func (d *door) join(name string, role operator.Role) (session string) {
	d.t.Helper()
	_, link, err := d.admin.CreateOperator(d.t.Context(), "me", name, role, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	page := d.post("/sign-in/set-up", url.Values{"token": {link.Reveal()}})
	found := seedOf.FindStringSubmatch(page.Body.String())
	if page.Code != http.StatusOK || found == nil || !strings.Contains(page.Body.String(), "<svg role") {
		d.t.Fatalf("set-up: got %d %s", page.Code, page.Body)
	}
	d.seed = found[1]
	d.secrets = append(d.secrets, link.Reveal(), d.seed, secretWord)
	form := url.Values{"token": {link.Reveal()}, "password": {secretWord}, "code": {d.code()}}
	done := d.post("/sign-in/set-up", form)
	if done.Code != http.StatusSeeOther {
		d.t.Fatalf("set-up: got %d %s", done.Code, done.Body)
	}
	if again := d.post("/sign-in/set-up", form); again.Code != http.StatusForbidden || cookie(again).Value != "" {
		d.t.Errorf("the link again: got %d", again.Code)
	}
	d.secrets = append(d.secrets, cookie(done).Value)
	d.wait(time.Minute)
	return cookie(done).Value
}

func (d *door) code() string {
	seed, err := operator.ParseSeed(d.seed)
	if err != nil {
		d.t.Fatal(err)
	}
	return operator.CodeAt(seed, d.clock())
}

func (d *door) right() url.Values {
	return url.Values{"name": {"ann"}, "password": {secretWord}, "code": {d.code()}}
}

func TestPeopleSetUpAndSignIn(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	if got := d.sees(""); got != "/sign-in" {
		t.Errorf("nobody: got %q", got)
	}
	first := d.join("ann", operator.RoleAdmin)
	if got := d.sees(first); got != "ann admin [] true" {
		t.Errorf("after the set-up: got %q", got)
	}
	// A session that somebody planted stays nothing: the sign-in makes a new one.
	w := d.ask("POST", "/sign-in", "cn_planted", "same-origin", d.right())
	c := cookie(w)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" ||
		c.Name != "__Host-countersign" || c.Value == first || c.Value == "cn_planted" {
		t.Errorf("sign-in: got %d %v", w.Code, c)
	}
	if d.sees("cn_planted") != "/sign-in" || d.sees(c.Value) != "ann admin [] true" {
		t.Error("the planted session opens something, or the new one nothing")
	}
	used := d.post("/sign-in", url.Values{"name": {"ann"}, "password": {secretWord}, "code": {d.code()}})
	wrong := d.post("/sign-in", url.Values{"name": {"ann"}, "password": {"x"}, "code": {"1"}})
	asked := regexp.MustCompile(` data-options="[^"]*"`) // a new challenge each time
	if used.Code != http.StatusForbidden || asked.ReplaceAllString(used.Body.String(), "") != asked.ReplaceAllString(wrong.Body.String(), "") {
		t.Errorf("used code: got %d; it must look like a wrong password", used.Code)
	}
	entries, err := d.admin.AuditsBefore(t.Context(), verify.ID{}, 100)
	refusals := 0
	for _, e := range entries {
		if e.Action == "sign-in set-up refused" && e.Detail == "somebody from 192.0.2.1: a link that is wrong or used" {
			refusals++
		}
	}
	if err != nil || refusals != 1 { // join uses its link twice
		t.Errorf("the audit log has %d refused set-ups, want 1, %v", refusals, err)
	}
	page := d.ask("GET", "/sign-in/sessions", c.Value, "none", nil)
	if n := strings.Count(page.Body.String(), "192.0.2.1<"); page.Code != http.StatusOK || n != 2 || page.Header().Get("Cache-Control") != "no-store" || page.Header().Get("Content-Security-Policy") != policy {
		t.Errorf("sessions: got %d with %d", page.Code, n)
	}
	id := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(page.Body.String())
	if d.ask("POST", "/sign-in/sessions/end", c.Value, "same-origin", url.Values{"id": {id[1]}}); d.sees(first) != "/sign-in" {
		t.Error("an ended session works")
	}
	if d.ask("POST", "/sign-in/out", c.Value, "same-origin", nil); d.sees(c.Value) != "/sign-in" {
		t.Error("a session works after the sign-out")
	}
	for _, s := range append(d.secrets, c.Value) {
		if strings.Contains(d.log.String(), s) {
			t.Error("the log has a secret")
		}
	}
}

func TestOtherSitesCannotPost(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	session := d.join("ann", operator.RoleAdmin)
	for _, site := range []string{"cross-site", "same-site"} {
		for _, path := range []string{"/sign-in", "/sign-in/set-up", "/sign-in/out", "/sign-in/sessions/end", "/anything"} {
			if w := d.ask("POST", path, session, site, d.right()); w.Code != http.StatusForbidden || cookie(w).Name != "" {
				t.Errorf("%s POST %s: got %d", site, path, w.Code)
			}
		}
	}
	if d.sees(session) != "ann admin [] true" {
		t.Error("another site signed somebody out")
	}
}

func TestChangesEndOpenSessions(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	session := d.join("ann", operator.RoleAdmin)
	if _, err := d.admin.ChangeRole(t.Context(), "me", "ann", operator.RoleViewer, nil); err != nil {
		t.Fatal(err)
	}
	if got := d.sees(session); got != "/sign-in" {
		t.Errorf("after another role: got %q", got)
	}
	session = cookie(d.post("/sign-in", d.right())).Value
	if got := d.sees(session); got != "ann viewer [] true" {
		t.Errorf("signed in again: got %q", got)
	}
	d.wait(operator.Idle)
	if got := d.sees(session); got != "/sign-in" {
		t.Errorf("an idle session: got %q", got)
	}
}

func TestAnAddressWaits(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.join("ann", operator.RoleAdmin)
	for range 5 {
		d.post("/sign-in", url.Values{"name": {"ann"}, "password": {"x"}, "code": {"1"}})
	}
	if w := d.post("/sign-in", d.right()); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "30" {
		t.Errorf("during the wait: got %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	d.wait(30 * time.Second)
	if w := d.post("/sign-in", d.right()); w.Code != http.StatusSeeOther {
		t.Errorf("after the wait: got %d", w.Code)
	}
	if w := d.post("/sign-in", url.Values{"name": {strings.Repeat("x", maxForm)}}); w.Code != http.StatusForbidden {
		t.Errorf("a large form: got %d", w.Code)
	}
	if w := d.post("/sign-in", url.Values{"name": {`"><script>`}}); strings.Contains(w.Body.String(), "<script>") {
		t.Error("a name is markup")
	}
}

// Requests that another site has forged, or that come with another's or an ended session, change nothing: on every page and
// action of the console, for every role.
func TestForgedAndReplayedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.withUser("ada")
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	operators, books := operator.New(l.Store, keys, l.Clock.Now), admin.New(l.Store)
	site := Site("https://console.example", operators, nil, l.System, slog.New(slog.DiscardHandler))
	ann, ended := member(t, l, operators, "ann").Reveal(), member(t, l, operators, "bob").Reveal()
	if _, err := books.SignOut(t.Context(), "me", "bob"); err != nil {
		t.Fatal(err)
	}
	type request struct {
		method, path string
		form         url.Values
	}
	var actions []request
	for _, p := range all {
		if method, path, form := l.requestFor(p); method == "POST" && path != "/find" { // which changes nothing
			actions = append(actions, request{method, path, form})
		}
	}
	for _, path := range []string{"/sign-in/out", "/sign-in/sessions/end", "/sign-in/passkeys/add", "/sign-in/passkeys/remove"} {
		actions = append(actions, request{"POST", path, url.Values{"id": {"x"}, "name": {"x"}, "password": {secretWord}, "passkey": {"{}"}}})
	}
	before := len(audits(t, l))
	accepted, tried := 0, 0
	for _, a := range actions {
		for what, edit := range map[string]func(r *http.Request){
			"another site's form":          func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
			"a page below the same domain": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
			"an old browser, elsewhere":    func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
			"an opaque origin":             func(r *http.Request) { r.Header.Set("Origin", "null") },
			"a session that ended":         func(r *http.Request) { cookieOf(r, ended) },
			"a session that nobody has":    func(r *http.Request) { cookieOf(r, "cn_"+strings.Repeat("A", 43)) },
			"no session":                   func(r *http.Request) { cookieOf(r, "") },
			"a session under another name": func(r *http.Request) { r.Header.Set("Cookie", "countersign="+ann) },
			"another host's name":          func(r *http.Request) { r.Host = "evil.example" },
			"a method that browsers can't": func(r *http.Request) { r.Method = "PUT" },
			"the same as a link: GET":      func(r *http.Request) { r.Method = "GET"; r.URL.RawQuery = a.form.Encode() },
			"HEAD, which some let through": func(r *http.Request) { r.Method = "HEAD"; r.URL.RawQuery = a.form.Encode() },
		} {
			r := httptest.NewRequest(a.method, "https://console.example"+a.path, strings.NewReader(a.form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			r.RemoteAddr = "192.0.2.1:5"
			cookieOf(r, ann)
			if strings.Contains(what, "old browser") || strings.Contains(what, "opaque") {
				r.Header.Del("Sec-Fetch-Site")
			}
			edit(r)
			w := httptest.NewRecorder()
			site.ServeHTTP(w, r)
			tried++
			if after := len(audits(t, l)); after != before {
				accepted++
				t.Errorf("%s to %s %s: got %d, and something is in the audit log", what, a.method, a.path, w.Code)
				before = after
			}
			if w.Code == http.StatusSeeOther && w.Header().Get("Location") != "/sign-in" {
				accepted++
				t.Errorf("%s to %s %s: leads to %s", what, a.method, a.path, w.Header().Get("Location"))
			}
		}
	}
	t.Logf("%d of %d accepted", accepted, tried)
	// The same requests of the page itself do something: else this shows nothing.
	for _, a := range actions[:10] {
		r := httptest.NewRequest(a.method, "https://console.example"+a.path, strings.NewReader(a.form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		cookieOf(r, ann)
		w := httptest.NewRecorder()
		if site.ServeHTTP(w, r); w.Code != http.StatusOK && w.Code != http.StatusSeeOther && (a.path != "/test" || w.Code != http.StatusUnprocessableEntity) { // which has a wrong number
			t.Errorf("%s of the page itself: got %d", a.path, w.Code)
		}
	}
}

// cookieOf replaces the session of a request.
func cookieOf(r *http.Request, session string) {
	r.Header.Del("Cookie")
	if session != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-countersign", Value: session})
	}
}
