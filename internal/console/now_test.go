package console

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

// tilesOf are the texts of the first page's tiles: "Started 2 100 % more ...".
func tilesOf(page string) (all []string) {
	for _, tile := range regexp.MustCompile(`(?s)<a class="card tile".*?</a>`).FindAllString(page, -1) {
		all = append(all, strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(tile, " ")), " "))
	}
	return all
}

// The first page has the last hour that is over beside the same hour of last week, and the day around it.
func TestNowShowsTheLastHour(t *testing.T) {
	t.Parallel()
	l := newLobby(t) // one started, which isn't approved
	l.Clock.Advance(7 * 24 * time.Hour)
	for _, number := range []string{"+12025550101", "+12025550102"} {
		id := l.Start(number, "")
		parsed, err := verify.ParseID(id)
		if err != nil {
			t.Fatal(err)
		}
		l.Await("the message", func() bool { return l.Verification(id).Delivery == verify.DeliverySent })
		l.Check(id, l.Code(number, id))
		if err := l.Dispatch.Receive(t.Context(), carrier.Receipt{Verification: parsed, Attempt: 1, Carrier: "simulator", Delivered: true}); err != nil {
			t.Error(err)
		}
	}
	ann := &Person{Name: "ann", Role: operator.RoleViewer}
	page := l.ask(ann, "GET", "/", nil).Body.String()
	if got := tilesOf(page); len(got) != 3 || !strings.HasPrefix(got[0], "Started 0 nothing last week · 0 in 24 h, 2 in this hour") {
		t.Errorf("before the hour is over: got %q", got)
	}
	l.Clock.Advance(time.Hour)
	page = l.ask(ann, "GET", "/", nil).Body.String()
	got := tilesOf(page)
	for i, want := range []string{
		"Started 2 100 % more · 2 in 24 h, 0 in this hour An hour had 0 to 2 in the last 24 hours.",
		"Delivered 100 % 100 points more · 100 % of 2 messages in 24 h An hour had 100 to 100 % in the last 24 hours.",
		"Approved 100 % 100 points more · 100 % of 2 starts in 24 h An hour had 100 to 100 % in the last 24 hours.",
	} {
		if i >= len(got) || got[i] != want {
			t.Errorf("tile %d: got %q\nwant %q", i, got, want)
		}
	}
	for _, want := range []string{"12:00 to 13:00 UTC, beside the same hour of Monday last week", "<polyline", "11 May 13:00, not over", "The charts as a table", ">Test</a>", "Nothing. The server is ready"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in:\n%s", want, page)
		}
	}
}

// Costs have a tile for each currency.
func TestNowShowsCosts(t *testing.T) {
	t.Parallel()
	first := countersigntest.Start
	rows := []verify.UsageRow{
		{Begin: first, UsageKey: verify.UsageKey{Currency: "EUR"}, Usage: verify.Usage{Messages: 1, Cost: 30_000}},
		{Begin: first.Add(time.Hour), UsageKey: verify.UsageKey{Currency: "EUR"}, Usage: verify.Usage{Messages: 2, Cost: 60_000}},
		{Begin: first.Add(time.Hour), UsageKey: verify.UsageKey{Currency: "CHF"}, Usage: verify.Usage{Messages: 1, Cost: 10_000}},
	}
	hours, before := newSeries(rows, first, 3), newSeries(rows[:1], first, 1)
	tiles := hours.tiles(before)
	if len(tiles) != 5 || tiles[3].Value != "0.01 CHF" || tiles[4].Value != "0.06 EUR" || tiles[4].Change != "100 % more" || tiles[3].Change != noComparison || tiles[4].Line != "0.0,18.0 240.0,2.0" {
		t.Errorf("got %+v", tiles)
	}
	if lines := hours.lines(); len(lines) != 3 || lines[1].Cost != "0.01 CHF + 0.06 EUR" || lines[1].Messages != 3 {
		t.Errorf("got %+v", lines)
	}
	if got := priced(money.Amount(5), ""); got != "0.000005" {
		t.Errorf("without a currency: got %q", got)
	}
}

// failing is a carrier that fails each message in one way.
type failing struct {
	name string
	err  error
}

func (f failing) Name() string { return f.name }

func (f failing) Send(context.Context, verify.Message) (carrier.Result, error) {
	return carrier.Result{}, f.err
}

// The first page shows what waits for an operator, to people who see all projects.
func TestNowSaysWhatNeedsSomebody(t *testing.T) {
	t.Parallel()
	broke := failing{"<b>broke", carrier.Coded("E402", carrier.Because(verify.ReasonNoCredit, errors.New("no money")))}
	l := lobbyOf(t, countersigntest.Options{Carriers: []carrier.Carrier{broke}, MaxMessages: 1, BreakAfter: -1})
	l.Start(callee, "")
	l.Await("the failure", func() bool { return l.Carriers()[0].Failed != nil })
	whole, part := &Person{Name: "ann", Role: operator.RoleViewer}, &Person{Name: "bob", Role: operator.RoleAdmin, Projects: []verify.ProjectID{"test"}}
	page := l.ask(whole, "GET", "/", nil).Body.String()
	if !strings.Contains(page, "&lt;b&gt;broke: no credit") || !strings.Contains(page, "top it up") || !strings.Contains(page, `dot bad`) {
		t.Errorf("the carrier without money isn't there:\n%s", page)
	}
	if page := l.ask(part, "GET", "/", nil).Body.String(); strings.Contains(page, "broke") || strings.Contains(page, "Needs you") {
		t.Errorf("an operator of one project sees the carriers:\n%s", page)
	}
}

// The figures of an operator of some projects are those of these projects.
func TestNowCountsTheProjectsOfAPerson(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat, PublicText: true, AnySender: true}, account.NewSecret())
	l.Clock.Advance(time.Hour)
	for project, want := range map[verify.ProjectID]string{"test": "Started 1 ", "other": "Started 0 "} {
		got := tilesOf(l.ask(&Person{Name: "bob", Role: operator.RoleAdmin, Projects: []verify.ProjectID{project}}, "GET", "/", nil).Body.String())
		if len(got) != 3 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: got %q, want %q", project, got, want)
		}
	}
}
