package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/operator"
)

// An operator is asked before messages to a country stop, and before they go again; both are in the audit log.
func TestACountryIsStoppedAndAllowed(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	ann := &Person{Name: "ann", Role: operator.RoleOperator}
	l.steps(t, ann, "/traffic", "US", "Stop messages to US", "Allow messages to US", "country=US")
	// By the box, for a country without traffic, in small letters.
	if page := l.ask(ann, "GET", "/stop?country=lk", nil).Body.String(); !strings.Contains(page, "Stop messages to LK?") {
		t.Errorf("a country in small letters:\n%s", page)
	}
	want := []string{"operator ann country allow US", "operator ann country stop US fraud since 02:10"}
	if got := audits(t, l); strings.Join(got[:2], "\n") != strings.Join(want, "\n") {
		t.Errorf("audited %q, want %q", got, want)
	}
}

func TestACarrierIsDrainedAndResumed(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	ann := &Person{Name: "ann", Role: operator.RoleOperator}
	l.steps(t, ann, "/carriers", "simulator", "Drain simulator", "Give simulator messages again", "carrier=simulator")
	want := []string{"operator ann carrier resume simulator", "operator ann carrier drain simulator fraud since 02:10"}
	if got := audits(t, l); strings.Join(got[:2], "\n") != strings.Join(want, "\n") {
		t.Errorf("audited %q, want %q", got, want)
	}
}

// steps stops something and allows it again, by the links and the buttons of the pages.
func (l *lobby) steps(t *testing.T, p *Person, list, name, stop, allow, query string) {
	t.Helper()
	to := "/stop?" + query
	if links := hrefs(l.ask(p, "GET", list, nil).Body.String(), "/stop"); len(links) != 1 || links[0] != to {
		t.Fatalf("%s: got links %q, want one to %s", list, links, to)
	}
	before := len(audits(t, l))
	if page := l.ask(p, "GET", to, nil).Body.String(); !strings.Contains(page, ">"+stop+"</button>") {
		t.Errorf("no button %q:\n%s", stop, page)
	}
	form, _ := url.ParseQuery(query)
	form.Set("note", "two\nlines")
	if w := l.ask(p, "POST", "/stop", form); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "The note must be at most 200 printable characters.") {
		t.Errorf("a wrong note: got %d\n%s", w.Code, w.Body)
	}
	if after := len(audits(t, l)); after != before {
		t.Errorf("asking and a wrong note changed something: %d entries of the audit log, were %d", after, before)
	}
	form.Set("note", "fraud since 02:10")
	if w := l.ask(p, "POST", "/stop", form); w.Code != http.StatusSeeOther || w.Header().Get("Location") != list {
		t.Errorf("stop: got %d to %s", w.Code, w.Header().Get("Location"))
	}
	if stops, err := l.Store.Stops(t.Context()); err != nil || len(stops) != 1 || stops[0].Name != name {
		t.Errorf("stopped: got %+v, %v", stops, err)
	}
	rows := strings.Join(rowsOf(l.ask(p, "GET", list, nil).Body.String()), "\n")
	if want := "| " + name + " | 2026-05-04 12:00:00 | operator ann | fraud since 02:10 | Allow…"; !strings.Contains(rows, want) {
		t.Errorf("%s: got\n%s\nwant %s", list, rows, want)
	}
	if page := l.ask(p, "GET", to, nil).Body.String(); !strings.Contains(page, ">"+allow+"</button>") || !strings.Contains(page, "fraud since 02:10") {
		t.Errorf("no button %q:\n%s", allow, page)
	}
	l.Clock.Advance(time.Second) // the newest entry of the audit log is the first
	for range 2 {                // somebody else was quicker
		if w := l.ask(p, "POST", "/allow", form); w.Code != http.StatusSeeOther {
			t.Errorf("allow: got %d", w.Code)
		}
	}
	if stops, err := l.Store.Stops(t.Context()); err != nil || len(stops) != 0 {
		t.Errorf("allowed: got %+v, %v", stops, err)
	}
}

// What can't be stopped isn't, and those who may not stop see no links.
func TestOnlyWhatIsThereIsStopped(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	admin := &Person{Name: "ann", Role: operator.RoleAdmin}
	for _, form := range []url.Values{{}, {"country": {"XX"}}, {"country": {"USA"}}, {"carrier": {"none"}}, {"carrier": {"<b>"}}} {
		for _, method := range []string{"POST /stop", "POST /allow", "GET /stop"} {
			method, path, _ := strings.Cut(method, " ")
			w := l.ask(admin, method, path+"?"+form.Encode(), form)
			if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "That is no country") {
				t.Errorf("%s %s %v: got %d", method, path, form, w.Code)
			}
		}
	}
	// Who may stop is said here once more, beside the table of pages.
	for _, p := range []*Person{nil, {Name: "bob", Role: operator.RoleViewer}, {Name: "bob", Role: operator.RoleSupport}, {Name: "bob", Role: operator.RoleAdmin, Projects: who("test")[0].Projects}} {
		for _, path := range []string{"/stop", "/allow"} {
			if w := l.ask(p, "POST", path, url.Values{"country": {"US"}}); w.Code != http.StatusForbidden {
				t.Errorf("POST %s by %+v: got %d, want 403", path, p, w.Code)
			}
		}
	}
	if stops, err := l.Store.Stops(t.Context()); err != nil || len(stops) != 0 {
		t.Errorf("stopped: got %+v, %v", stops, err)
	}
	l.ask(admin, "POST", "/stop", url.Values{"country": {"LK"}})
	l.ask(admin, "POST", "/stop", url.Values{"carrier": {"simulator"}})
	for _, p := range []*Person{{Name: "bob", Role: operator.RoleSupport}, {Name: "bob", Role: operator.RoleAdmin, Projects: admin.Projects}} {
		for _, path := range []string{"/traffic", "/carriers"} {
			text := l.ask(p, "GET", path, nil).Body.String()
			if links := hrefs(text, "/stop"); (len(links) > 0) != p.Role.AtLeast(operator.RoleOperator) || !strings.Contains(text, "2026-05-04 12:00:00") {
				t.Errorf("%s as %s: got links %q", path, p.Role, links)
			}
		}
	}
	some := &Person{Name: "bob", Role: operator.RoleAdmin, Projects: who("test")[0].Projects}
	if text := l.ask(some, "GET", "/traffic", nil).Body.String(); strings.Contains(text, "LK") || strings.Contains(text, "/stop") {
		t.Errorf("an operator of one project sees what is stopped:\n%s", text)
	}
}
