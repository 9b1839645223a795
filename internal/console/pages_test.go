package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/logtest"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

const callee = "+12025550100"

// A lobby is the pages over a system with a verification.
type lobby struct {
	t *testing.T
	*countersigntest.Kit
	pages http.Handler
	log   bytes.Buffer
	id    string    // of the verification
	app   verify.ID // of ada and her device, where l.withUser has made them
}

func newLobby(t *testing.T) *lobby {
	t.Helper()
	l := lobbyOf(t, countersigntest.Options{})
	l.verification()
	return l
}

// verification starts one, whose message a carrier takes.
func (l *lobby) verification() {
	l.t.Helper()
	l.id = l.Start(callee, "")
	l.Await("the message", func() bool { return l.Verification(l.id).Delivery == verify.DeliverySent })
}

// lobbyOf is a lobby without a verification.
func lobbyOf(t *testing.T, o countersigntest.Options) *lobby {
	t.Helper()
	l := &lobby{t: t, Kit: countersigntest.New(t, o)}
	l.pages = Pages(l.System, slog.New(slog.NewTextHandler(&l.log, nil)))
	return l
}

// ask makes a request as a person; nil is nobody.
func (l *lobby) ask(p *Person, method, path string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if p != nil {
		r = r.WithContext(WithPerson(context.Background(), *p))
	}
	w := httptest.NewRecorder()
	l.pages.ServeHTTP(w, r)
	return w
}

// who are people of each role, who see all projects or one.
func who(projects ...verify.ProjectID) (all []*Person) {
	for _, r := range operator.Roles {
		all = append(all, &Person{Name: "ann", Role: r, Projects: projects})
	}
	return all
}

// requestFor is a request for a page, which finds something there.
func (l *lobby) requestFor(p page) (method, path string, form url.Values) {
	method, path, _ = strings.Cut(p.pattern, " ")
	if id, err := verify.ParseID(l.id); err == nil && strings.Contains(path, "{id}") {
		if _, err := l.Store.Verification(l.t.Context(), id); errors.Is(err, verify.ErrNotFound) { // another request has erased it
			l.verification()
		}
	}
	path = strings.NewReplacer("{$}", "", "{id}", l.id, "{project}", "test").Replace(path)
	switch p.pattern {
	case "GET /stop", "GET /weights":
		path += "?country=LK"
	case "GET /test":
		path += "?carrier=simulator"
	}
	form = url.Values{"q": {callee}, "country": {"LK"}, "note": {"why"}, "application": {l.app.Base62()}, "user": {"ada"}, "device": {l.app.String()}}
	if path == "/test" {
		form = url.Values{"carrier": {"simulator"}, "to": {"nobody"}} // a message would be followed for minutes
	}
	return method, path, form
}

// Each page and action is for its role and those above, and for nobody else.
func TestEachPageIsForItsRoles(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.withUser("ada")
	for _, p := range all {
		method, path, form := l.requestFor(p)
		for _, person := range append(who(), who("test")...) {
			want := http.StatusOK
			if path == "/user/erased" {
				l.associate("ada", callee) // the one before may have deleted her
			}
			if strings.HasSuffix(path, "/erased") && path != "/user/erased" {
				_, path, _ = l.requestFor(p)
			}
			if path == "/test" && method == "POST" {
				want = http.StatusUnprocessableEntity
			}
			if path == "/stop" || path == "/allow" || path == "/weights" && method == "POST" {
				want = http.StatusSeeOther
			}
			if !person.Role.AtLeast(p.role) || p.whole && len(person.Projects) > 0 {
				want = http.StatusForbidden
			}
			if got := l.ask(person, method, path, form).Code; got != want {
				t.Errorf("%s %s as %s of %v: got %d, want %d", method, path, person.Role, person.Projects, got, want)
			}
		}
		for name, person := range map[string]*Person{"nobody": nil, "no role": {Name: "ann"}, "an unknown role": {Name: "ann", Role: "root"}} {
			if got := l.ask(person, method, path, form).Code; got != http.StatusForbidden {
				t.Errorf("%s %s as %s: got %d, want 403", method, path, name, got)
			}
		}
		other := map[string]string{"GET": "POST", "POST": "GET"}[method]
		served := slices.ContainsFunc(all, func(q page) bool { return q.pattern == other+strings.TrimPrefix(p.pattern, method) })
		path, _, _ = strings.Cut(path, "?")
		if got := l.ask(who()[3], other, path, form).Code; got == http.StatusOK && !served {
			t.Errorf("%s %s: got 200", other, path)
		}
	}
	for i, want := range []string{"Now Find Traffic Carriers Usage Texts Projects", "Now Find Traffic Carriers Usage Texts Projects", "Now Find Traffic Carriers Usage Texts Projects Audit", "Now Find Traffic Carriers Usage Texts Projects Audit"} {
		page := l.ask(who()[i], "GET", "/", nil).Body.String()
		var got []string
		for _, m := range menu {
			if strings.Contains(page, ">"+m.Name+"</a>") {
				got = append(got, m.Name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("the menu of a %s: %q, want %q", operator.Roles[i], got, want)
		}
	}
}

// A project that a person doesn't see answers as what isn't there, on every page.
func TestAnotherProjectIsAsAbsent(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat, PublicText: true, AnySender: true}, account.NewSecret())
	stranger := &Person{Name: "bob", Role: operator.RoleAdmin, Projects: []verify.ProjectID{"other"}}
	absent := "01a22623-8d1e-7636-996d-26cf7d02a2eb"
	for _, action := range []string{"GET /verification/%s", "POST /verification/%s/reveal", "POST /verification/%s/reset", "POST /verification/%s/export"} {
		method, path, _ := strings.Cut(action, " ")
		one, two := l.ask(stranger, method, fmt.Sprintf(path, l.id), nil), l.ask(stranger, method, fmt.Sprintf(path, absent), nil)
		if one.Code != http.StatusNotFound || one.Code != two.Code || one.Body.String() != two.Body.String() {
			t.Errorf("%s: got %d and %d for an absent one, or another body", action, one.Code, two.Code)
		}
	}
	for _, entry := range audits(t, l) {
		if strings.Contains(entry, "reveal") || strings.Contains(entry, "reset") || strings.Contains(entry, "export") {
			t.Errorf("audited %s, which didn't happen", entry)
		}
	}
	for _, page := range []*httptest.ResponseRecorder{l.ask(stranger, "GET", "/", nil), l.ask(stranger, "GET", "/usage", nil), l.ask(stranger, "GET", "/projects", nil), l.ask(stranger, "POST", "/find", url.Values{"q": {callee}})} {
		text := page.Body.String()
		if page.Code != http.StatusOK || strings.Contains(text, l.id) || strings.Contains(text, ">Test<") || strings.Contains(text, `"test"`) {
			t.Errorf("got %d and a page that tells of another project:\n%s", page.Code, text)
		}
	}
	if got := l.ask(stranger, "GET", "/usage?project=test", nil).Code; got != http.StatusNotFound {
		t.Errorf("another project's usage: got %d, want 404", got)
	}
}

func audits(t *testing.T, l *lobby) (lines []string) {
	t.Helper()
	entries, err := l.Store.Audits(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		lines = append(lines, e.Actor+" "+e.Action+" "+e.Detail)
	}
	return lines
}

// A whole number is seen by those who reveal it, which is audited, and a code by nobody.
func TestNumbersAreMaskedAndCodesNeverShown(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.withUser("ada")
	code := l.Code(callee, l.id)
	whole := strings.TrimPrefix(callee, "+")
	ann := &Person{Name: "ann", Role: operator.RoleAdmin}
	for _, p := range all {
		method, path, form := l.requestFor(p)
		text := l.ask(ann, method, path, form).Body.String()
		if revealed := strings.HasSuffix(path, "/reveal") || strings.HasSuffix(path, "/export") && path != "/audit/export"; strings.Contains(text, whole) != revealed {
			t.Errorf("%s %s: shows the whole number: %t", method, path, !revealed)
		}
		if strings.Contains(logtest.Meant(text), code) {
			t.Errorf("%s %s: shows the code", method, path)
		}
	}
	got := strings.Join(audits(t, l), "\n")
	if want := "operator ann verification reveal " + l.id + ", number +*******0100"; strings.Count(got, want) != 1 {
		t.Errorf("audited:\n%s\nwant once %s", got, want)
	}
	if strings.Contains(got+l.log.String(), whole) || strings.Contains(logtest.Meant(got+l.log.String()), code) {
		t.Error("the audit log or the log has the number or the code")
	}
}

// A number is found in any spelling, and an id leads to its page.
func TestFind(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	ann := &Person{Name: "ann", Role: operator.RoleViewer}
	for _, q := range []string{callee, "+1 (202) 555-0100", "  +1-202-555-0100 "} {
		w := l.ask(ann, "POST", "/find", url.Values{"q": {q}})
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "/verification/"+l.id) || !strings.Contains(w.Body.String(), "0 wrong guesses") {
			t.Errorf("%q: got %d:\n%s", q, w.Code, w.Body)
		}
	}
	if w := l.ask(ann, "POST", "/find", url.Values{"q": {" " + l.id + "\n"}}); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/verification/"+l.id {
		t.Errorf("an id: got %d to %s", w.Code, w.Header().Get("Location"))
	}
	if w := l.ask(ann, "POST", "/find", url.Values{"q": {"+12025550199"}}); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "No project that you see knows this number") {
		t.Errorf("an unknown number: got %d", w.Code)
	}
	for _, q := range []string{"", "somebody", "12", "<script>", "\x00", "\xff", strings.Repeat("9", 4000)} {
		if w := l.ask(ann, "POST", "/find", url.Values{"q": {q}}); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%.20q: got %d, want 422", q, w.Code)
		}
	}
}

// A number is shown in the projects with its newest verifications, and those that a person doesn't see aren't counted.
func TestFindShowsTheNewestProjects(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	const others = shownProjects + 2
	var some []verify.ProjectID
	for i := range others {
		p := verify.Project{ID: verify.ProjectID(fmt.Sprintf("p%02d", i)), Name: fmt.Sprintf("Project %02d", i), Profile: verify.ProfileCompat, PublicText: true, AnySender: true}
		key := account.NewSecret()
		l.AddProject(p, key)
		some = append(some, p.ID)
		l.Clock.Advance(time.Minute)
		acct, err := l.Accounts.Authenticate(t.Context(), p.ID, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.System.Verify.Start(t.Context(), acct, verify.StartRequest{To: callee, Channel: verify.ChannelSMS}); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		person      *Person
		want, first string
	}{
		"all projects": {&Person{Name: "ann", Role: operator.RoleViewer}, "3 more projects know this number", "Project 21"},
		"some":         {&Person{Name: "ann", Role: operator.RoleViewer, Projects: some[:shownProjects+1]}, "1 more projects know this number", "Project 20"},
		"few":          {&Person{Name: "ann", Role: operator.RoleViewer, Projects: some[:2]}, "", "Project 01"},
	} {
		page := l.ask(tt.person, "POST", "/find", url.Values{"q": {callee}}).Body.String()
		want := min(shownProjects, max(len(tt.person.Projects), 2))
		if len(tt.person.Projects) == 0 {
			want = shownProjects
		}
		if n := strings.Count(page, "<section"); n != want || !strings.Contains(page, tt.want) || tt.want == "" && strings.Contains(page, "more projects") {
			t.Errorf("%s: got %d projects, want %d, and %q:\n%s", name, n, want, tt.want, page)
		}
		now := l.ask(tt.person, "GET", "/", nil).Body.String()
		if tt.want != "" != strings.Contains(now, "more projects</a> started less") {
			t.Errorf("%s: the first page:\n%s", name, now)
		}
		if i, j := strings.Index(page, "<h2>"), strings.Index(page, "<h2>"+tt.first); i != j {
			t.Errorf("%s: %s isn't the first one", name, tt.first)
		}
	}
}

func TestListsAreShort(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]string{0: "[] 3", 2: "[a b] 1", 3: "[a b c] 0", 4: "[a b c] 0"} {
		first, others := firstOf([]string{"a", "b", "c"}, most)
		if got := fmt.Sprint(first, others); got != want {
			t.Errorf("at most %d: got %s, want %s", most, got, want)
		}
	}
	rows := trafficRows{More: 7, Rows: []trafficRow{{}}}
	var page strings.Builder
	if err := trafficRowsPage().Execute(&page, view{Data: rows}); err != nil || !strings.Contains(page.String(), "7 more rows are older. Choose a project") {
		t.Errorf("the page doesn't say that there are more: %v", err)
	}
}

// Rows behind the traffic are the newest; a link leads to more.
func TestMoreRowsBehindTheTraffic(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	from := l.Clock.Now().UTC().Truncate(time.Hour)
	for range shownRows/5 + 1 { // five countries are at least five rows an hour
		for _, to := range []string{"+12025550111", "+4930123456", "+33123456789", "+442079460000", "+390612345678"} {
			l.Start(to, "")
		}
		l.Clock.Advance(time.Hour)
	}
	ann := &Person{Name: "ann", Role: operator.RoleViewer}
	all := url.Values{"from": {from.Format(time.RFC3339)}, "until": {l.Clock.Now().UTC().Add(time.Hour).Truncate(time.Hour).Format(time.RFC3339)}}
	short := l.ask(ann, "GET", "/traffic/rows?"+all.Encode(), nil).Body.String()
	to := slices.DeleteFunc(hrefs(short, "/traffic/rows"), func(to string) bool { return !strings.Contains(to, "more=yes") })
	if len(to) != 1 || len(rowsOf(short)) != 1+shownRows {
		t.Fatalf("got %d rows and links to more %q, want %d and one", len(rowsOf(short))-1, to, shownRows)
	}
	long := l.ask(ann, "GET", to[0], nil).Body.String()
	if got := rowsOf(long); len(got) <= 1+shownRows || !slices.Equal(got[:1+shownRows], rowsOf(short)) || strings.Contains(long, "more rows are older") {
		t.Errorf("got %d rows, want all of them, and the newest first", len(got)-1)
	}
}

// A page says what became of a message, and what was used.
func TestThePagesTellTheStory(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.Check(l.id, "000000")
	l.Check(l.id, l.Code(callee, l.id))
	ann := &Person{Name: "ann", Role: operator.RoleViewer, SignedIn: true}
	for path, want := range map[string][]string{
		"/verification/" + l.id: {">approved<", "Started", "Attempt 1: sms by", "Attempt 1: accepted", "Approved", "2 of ", "6 characters, never shown", "/sign-in/sessions"},
		"/usage":                {"1 verifications started in the last 30 days, at most 1 on one day.", ">US<", "100 %", "<polyline"},
		"/usage?by=carrier":     {"By Carrier"},
		"/projects":             {"/usage?project=test"},
		"/":                     {"The last 24 hours", "100 %"},
	} {
		text := l.ask(ann, "GET", path, nil).Body.String()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q in:\n%s", path, w, text)
			}
		}
	}
	for _, path := range []string{"/verification/x", "/verification/01a22623-8d1e-7636-996d-26cf7d02a2eb", "/usage?by=password", "/nothing"} {
		if got := l.ask(ann, "GET", path, nil).Code; got != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, got)
		}
	}
}

// payloads would be markup where a text isn't escaped for its place.
var payloads = func() (all []string) {
	for _, p := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `<svg/onload=alert(1)>`, `</title><script>1</script>`,
		`{{.Title}}`, `javascript:alert(1)`, `<!--<script>`, `&lt;script&gt;`, `</table><iframe src=//x>`,
	} {
		all = append(all, p, strings.ToUpper(p), "a "+p, p+strings.Repeat("<b>", 3))
	}
	return all
}()

// What callers and carriers fill in appears as text on every page.
func TestForeignTextsAreText(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	ann := &Person{Name: "<u>ann", Role: operator.RoleAdmin}
	books := admin.New(l.Store)
	for i, payload := range payloads {
		l.AddProject(verify.Project{ID: verify.ProjectID(fmt.Sprintf("p%d", i)), Name: payload, Profile: verify.ProfileCompat, PublicText: true, AnySender: true}, account.NewSecret())
		if _, err := books.CreateKey(t.Context(), admin.User(payload), admin.NewKey{Project: "test", Name: payload}); err != nil {
			t.Fatalf("a key with the name %q: %v", payload, err)
		}
	}
	words := regexp.MustCompile(`^[^{}$]*$`) // a text with braces is refused
	var texts []verify.Text
	for i, payload := range payloads {
		if words.MatchString(payload) && len(texts) < 30 {
			texts = append(texts, verify.Text{Locale: fmt.Sprintf("x%c-x%c", 'a'+i/26, 'a'+i%26), Channel: verify.ChannelSMS, Text: "{code} " + payload})
		}
		if _, err := books.TopUp(t.Context(), admin.User(payload), "test", 1_000_000, payload); err != nil {
			t.Fatal(err)
		}
		if err := l.Store.Stop(t.Context(), verify.Stop{Kind: verify.StopCarrier, Name: payload, Actor: payload, Note: payload}); err != nil {
			t.Fatal(err)
		}
		if err := l.Store.CreateTemplate(t.Context(), verify.MessageTemplate{ID: verify.NewID(l.Clock.Now()), Project: "test", Designation: payload, Name: fmt.Sprint(i, payload), Pattern: payload, CreatedAt: l.Clock.Now(), UpdatedAt: l.Clock.Now(), Version: 1}, 1000); err != nil {
			t.Fatal(err)
		}
		if err := l.Store.CreateApplication(t.Context(), verify.Application{ID: verify.NewID(l.Clock.Now()), Project: "test", Name: fmt.Sprint(i, payload), Version: 1}, true, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Store.CreateText(t.Context(), verify.TextTemplate{ID: verify.NewID(l.Clock.Now()), Project: "test", Name: "foreign", Texts: texts, Version: 1}, 1000); err != nil {
		t.Fatal(err)
	}
	l.withUser("ada")
	for i, payload := range payloads {
		device := verify.Device{
			ID: verify.NewID(l.Clock.Now()), Application: l.app, User: "ada", Kind: verify.DeviceKind(payload), Name: payload, Locale: payload,
			Fingerprint: []byte(payload), Sealed: []byte{1},
		}
		if err := l.Store.AddDevice(t.Context(), l.ada(), device, 1000, verify.ID{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(payload, "/") { // no name has one
			l.associate(payload, fmt.Sprintf("+120255502%02d", i))
		}
	}
	if err := l.Store.Stop(t.Context(), verify.Stop{Kind: verify.StopCountry, Name: "<u>", Actor: payloads[0], Note: payloads[1]}); err != nil {
		t.Fatal(err)
	}
	paths := []string{"/usage?by=project", "/texts?project=test", "/texts?" + url.Values{"template": {payloads[0]}}.Encode(), "/stop?" + url.Values{"carrier": {payloads[0]}}.Encode(), "/stop?country=%3Cu%3E"}
	for _, p := range all {
		if method, path, _ := l.requestFor(p); method == "GET" {
			paths = append(paths, path)
		}
	}
	named := func(name string) url.Values {
		return url.Values{"application": {l.app.Base62()}, "user": {name}, "q": {name}}
	}
	asked := map[string]*httptest.ResponseRecorder{}
	for _, path := range paths {
		asked[path] = l.ask(ann, "GET", path, nil)
	}
	for _, path := range []string{"/user", "/user/erase"} {
		asked["of ada: "+path] = l.ask(ann, "POST", path, named("ada"))
	}
	for _, payload := range payloads {
		for _, path := range []string{"/find", "/user", "/user/erase", "/user/erased"} {
			asked[path+" "+payload] = l.ask(ann, "POST", path, named(payload))
		}
	}
	for path, w := range asked {
		text := w.Body.String()
		for _, payload := range append(payloads, "<u>ann") {
			if strings.ContainsAny(payload, "<\"'") && strings.Contains(text, payload) {
				t.Errorf("%s: %q stands there as it came", path, payload)
			}
		}
		if strings.Count(text, "<script") != 1 || strings.Contains(text, "<img") || strings.Contains(text, "<iframe") {
			t.Errorf("%s: markup came in", path)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
	for path, fields := range map[string]int{"of ada: /user": 3 * 30, "of ada: /user/erase": 2 * 30, "/find " + payloads[4]: 1} {
		if n := strings.Count(asked[path].Body.String(), "&lt;"); n < fields {
			t.Errorf("%s: %d texts are escaped, want at least %d: this shows nothing", path, n, fields)
		}
	}
	if text := l.ask(ann, "GET", "/projects", nil).Body.String(); !strings.Contains(text, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the projects' names aren't there: this shows nothing")
	}
	for path, fields := range map[string]int{"/projects/test": 3 * 10, "/texts?project=test": 10, "/carriers": 30} {
		if n := strings.Count(l.ask(ann, "GET", path, nil).Body.String(), "&lt;"); n < fields {
			t.Errorf("%s: %d texts are escaped, want at least %d: this shows nothing", path, n, fields)
		}
	}
}

// dev's console is for browsers on this machine, that mean it, and no other site can act through them.
func TestDevsConsoleIsForThisMachine(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	open := Open(l.System, slog.New(slog.DiscardHandler))
	for name, tt := range map[string]struct {
		edit func(r *http.Request)
		want int
	}{
		"this machine":             {func(*http.Request) {}, http.StatusOK},
		"another machine":          {func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5" }, http.StatusForbidden},
		"a name that leads here":   {func(r *http.Request) { r.Host = "evil.example:8082" }, http.StatusMisdirectedRequest},
		"another site's form":      {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, http.StatusForbidden},
		"an old browser elsewhere": {func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, http.StatusForbidden},
	} {
		r := httptest.NewRequest("POST", "http://127.0.0.1:8082/verification/"+l.id+"/reset", nil)
		r.RemoteAddr = "127.0.0.1:4711"
		tt.edit(r)
		w := httptest.NewRecorder()
		open.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s: got %d, want %d", name, w.Code, tt.want)
		}
	}
}

// A page is small, with all that it is made of.
func TestTheFirstPageIsSmall(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	size := l.ask(&Person{Name: "ann", Role: operator.RoleViewer}, "GET", "/", nil).Body.Len()
	for _, file := range []string{"console.css", "console.js", "icon.svg"} {
		text, err := static.ReadFile("static/" + file)
		if err != nil {
			t.Fatal(err)
		}
		size += len(text)
	}
	if size > 80<<10 {
		t.Errorf("the first page takes %d bytes, want at most 80 KB", size)
	}
}
