package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// The pages of the audit log, one behind the other, have each entry once, and so has its export.
func TestTheAuditLogIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	ann := &Person{Name: "ann", Role: operator.RoleOperator}
	const entries = 2*shownAudits + 7
	for i := range entries {
		l.Clock.Advance(time.Millisecond) // entries of the same instant are in any order
		if err := l.Store.Record(t.Context(), store.Audit{Actor: "bob", Action: "test", Detail: fmt.Sprintf("<entry> %d.", i)}); err != nil {
			t.Fatal(err)
		}
	}
	seen, pages := map[string]int{}, 0
	for path := "/audit"; path != ""; pages++ {
		page := l.ask(ann, "GET", path, nil)
		for _, row := range rowsOf(page.Body.String()) {
			if _, detail, ok := strings.Cut(row, "entry&gt; "); ok {
				seen[strings.TrimSuffix(detail, " |")]++
			}
		}
		path = ""
		if links := hrefs(page.Body.String(), "/audit"); len(links) > 0 {
			path = links[0]
		}
	}
	if pages < 3 || len(seen) != entries {
		t.Errorf("got %d entries on %d pages, want %d", len(seen), pages, entries)
	}
	for detail, n := range seen {
		if n != 1 {
			t.Errorf("entry %s is there %d times", detail, n)
		}
	}
	l.Clock.Advance(time.Millisecond)
	w := l.ask(ann, "POST", "/audit/export", nil)
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	var newest, next struct{ Actor, Action, Detail string }
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &newest), json.Unmarshal([]byte(lines[1]), &next)); err != nil {
		t.Fatalf("%v: %s", err, lines[0])
	}
	if newest.Actor != "operator ann" || newest.Action != "audit export" || next.Detail != fmt.Sprintf("<entry> %d.", entries-1) || len(lines) < entries+1 {
		t.Errorf("export: got %+v, %+v and %d lines, want the export first and at least %d", newest, next, len(lines), entries+1)
	}
	if got := w.Header().Get("Content-Disposition"); !strings.HasPrefix(got, "attachment") {
		t.Errorf("the export is shown: %q", got)
	}
	if got := l.ask(ann, "GET", "/audit?before=yesterday", nil).Code; got != http.StatusNotFound {
		t.Errorf("before what is no entry: got %d, want 404", got)
	}
}

// What one person asked is shown to others for a while. A failure isn't, and neither is the answer to another question.
func TestUsageIsAskedOnceForMany(t *testing.T) {
	t.Parallel()
	var r recents
	asked, fails := 0, true
	ask := func(_ context.Context, q verify.UsageQuery) ([]verify.UsageRow, error) {
		if asked++; fails {
			return nil, verify.ErrBusy
		}
		return []verify.UsageRow{{Usage: verify.Usage{Started: asked}}}, nil
	}
	now := time.UnixMilli(1_777_888_999_000)
	look := func(after time.Duration, q verify.UsageQuery, want int) {
		t.Helper()
		rows, err := r.usage(t.Context(), now.Add(after), q, ask)
		if err != nil || len(rows) != 1 || rows[0].Started != want {
			t.Errorf("after %v: got %+v, %v, want the answer %d", after, rows, err, want)
		}
	}
	one := verify.UsageQuery{Project: "a", From: now.Add(-23 * time.Hour), Until: now}
	if _, err := r.usage(t.Context(), now, one, ask); !errors.Is(err, verify.ErrBusy) {
		t.Errorf("a failure: got %v", err)
	}
	fails = false
	look(0, one, 2)
	look(10*time.Second-1, one, 2)
	look(0, verify.UsageQuery{Project: "b", From: now, Until: now}, 3)
	look(0, verify.UsageQuery{Among: []verify.ProjectID{"a"}, From: now, Until: now}, 4)
	look(10*time.Second, one, 5)
	day := verify.UsageQuery{Project: "a", From: now.Add(-24 * time.Hour), Until: now}
	look(0, day, 6)
	look(30*time.Second-1, day, 6)
	look(30*time.Second, day, 7)
	for i := range 2 * maxRecent {
		look(0, verify.UsageQuery{Project: "c", From: now.Add(time.Duration(i) * time.Hour)}, 8+i)
	}
	if len(r.all) > maxRecent {
		t.Errorf("%d answers are kept, want at most %d", len(r.all), maxRecent)
	}
}

// Weights are changed from the page of traffic: it shows how often each carrier comes first, before and after.
func TestWeightsAreChangedFromTraffic(t *testing.T) {
	t.Parallel()
	l := asked(t)
	ann := &Person{Name: "ann", Role: operator.RoleOperator}
	links := hrefs(l.ask(ann, "GET", "/traffic?range=7d", nil).Body.String(), "/weights")
	if len(links) == 0 || !strings.Contains(links[0], "country=US") {
		t.Fatalf("got links %q, want one to the weights of US", links)
	}
	before := len(audits(t, l))
	page := l.ask(ann, "GET", links[0]+"&weight-broke=1&weight-simulator=9", nil).Body.String()
	want := []string{"| Carrier | Configured | Now | Before | Weight | After", "| broke | 0 | 0 | keeps its place | | first in 1 of 10", "| simulator | 0 | 0 | keeps its place | | first in 9 of 10"}
	if got := rowsOf(page); strings.Join(got, "\n") != strings.Join(want, "\n") || len(audits(t, l)) != before {
		t.Errorf("preview: got\n%s", strings.Join(got, "\n"))
	}
	l.Clock.Advance(time.Millisecond) // the audit log is in the order of time
	form := map[string][]string{"country": {"US"}, "weight-broke": {"1"}, "weight-simulator": {"9"}, "note": {"broke is slow"}}
	w := l.ask(ann, "POST", "/weights", form)
	if w.Code != http.StatusSeeOther {
		t.Fatalf("change: got %d\n%s", w.Code, w.Body)
	}
	page = l.ask(ann, "GET", w.Header().Get("Location"), nil).Body.String()
	if got := rowsOf(page); len(got) != 3 || got[2] != "| simulator | 0 | 9 | first in 9 of 10 |" {
		t.Errorf("afterwards: got\n%s", strings.Join(got, "\n"))
	}
	if got := audits(t, l)[0]; got != "operator ann route weight channels=sms: broke=1 simulator=9 broke is slow" {
		t.Errorf("audited %q", got)
	}
	for field, value := range map[string]string{"weight-broke": "1001", "weight-simulator": "many", "note": "two\nlines"} {
		wrong := map[string][]string{"country": {"US"}, "weight-broke": {"2"}, field: {value}}
		if w := l.ask(ann, "POST", "/weights", wrong); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `role="alert"`) {
			t.Errorf("%s %q: got %d", field, value, w.Code)
		}
	}
	if w := l.ask(ann, "POST", "/weights", map[string][]string{"country": {"US"}, "reset": {"1"}}); w.Code != http.StatusSeeOther {
		t.Errorf("reset: got %d", w.Code)
	}
	if weights, err := l.Store.Weights(t.Context()); err != nil || len(weights) != 0 {
		t.Errorf("after the reset: got %+v, %v", weights, err)
	}
	if got := l.ask(ann, "GET", "/weights?country=nowhere", nil).Code; got != http.StatusUnprocessableEntity {
		t.Errorf("no country: got %d, want 422", got)
	}
}

// A test message's steps are written when they happen, not at the end.
func TestATestMessageIsFollowed(t *testing.T) {
	t.Parallel()
	l := asked(t)
	ann := &Person{Name: "ann", Role: operator.RoleOperator}
	for carrier, want := range map[string]string{"broke": "No money", "simulator": "Accepted"} {
		ctx, cancel := context.WithCancel(WithPerson(t.Context(), *ann))
		defer cancel()
		w := &stepped{ResponseRecorder: httptest.NewRecorder(), leave: cancel} // the simulator reports nothing of its phones
		form := "carrier=" + carrier + "&to=%2B12025550177"
		l.Clock.Advance(time.Millisecond)
		r := httptest.NewRequest("POST", "/test", strings.NewReader(form)).WithContext(ctx)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		l.pages.ServeHTTP(w, r)
		page := w.Body.String()
		if !strings.Contains(strings.ToLower(page), strings.ToLower(want)) || !strings.Contains(page, ">Sending<") || !strings.HasSuffix(strings.TrimSpace(page), "</html>") || strings.Contains(page, "+12025550177") || strings.Contains(page, stepsHere) {
			t.Errorf("%s: got %d\n%s", carrier, w.Code, page)
		}
		if w.flushes < 3 {
			t.Errorf("%s: %d flushes, want one before the steps and one for each", carrier, w.flushes)
		}
		if got := audits(t, l)[0]; !strings.HasPrefix(got, "operator ann carrier test "+carrier+" to +*") || strings.Contains(got, "5550177") {
			t.Errorf("audited %q", got)
		}
	}
	if w := l.ask(ann, "POST", "/test", map[string][]string{"carrier": {"simulator"}, "to": {"nobody"}}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("no number: got %d, want 422", w.Code)
	}
}

type stepped struct {
	*httptest.ResponseRecorder
	mu      sync.Mutex // guards flushes
	flushes int
	leave   func() // called when the message is accepted or isn't
}

func (s *stepped) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flushes++; s.flushes == 3 {
		s.leave()
	}
}
