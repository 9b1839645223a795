package console

import (
	"database/sql"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite" // beside the store, to write many rows quickly

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

// rowsOf are the rows of a page's tables, as texts: cells are divided by "|".
func rowsOf(page string) (all []string) {
	for _, row := range regexp.MustCompile(`(?s)<tr>.*?</tr>`).FindAllString(page, -1) {
		text := regexp.MustCompile(`<(td|th)[^>]*>`).ReplaceAllString(row, " | ")
		all = append(all, strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(text, " ")), " "))
	}
	return all
}

// hrefs are the links of a page, to one path.
func hrefs(page, path string) (all []string) {
	for _, m := range regexp.MustCompile(`href="(`+regexp.QuoteMeta(path)+`\?[^"]*)"`).FindAllStringSubmatch(page, -1) {
		all = append(all, strings.ReplaceAll(m[1], "&amp;", "&"))
	}
	return all
}

func TestHeatIsByCountryAndCarrier(t *testing.T) {
	t.Parallel()
	row := func(country, carrier, currency string, u verify.Usage) verify.UsageRow {
		r := verify.UsageRow{Usage: u}
		r.Country, r.Carrier = country, carrier
		r.Currency = "EUR"
		if currency != "" {
			r.Currency = "CHF"
		}
		return r
	}
	h := heatOf([]verify.UsageRow{
		row("DE", "", "", verify.Usage{Started: 10, Approved: 4}),
		row("DE", "a", "", verify.Usage{Messages: 10, Delivered: 9, Converted: 4, Times: verify.Times{3: 9}, Cost: 800_000}),
		row("DE", "b", "", verify.Usage{Messages: 5}),
		row("DE", "a", "x", verify.Usage{Messages: 10, Delivered: 10, Cost: 100_000}),
		row("US", "", "", verify.Usage{Started: 50}),
		row("US", "a", "", verify.Usage{Messages: 40, Delivered: 20, Cost: 400_000}),
		row("US", "", "", verify.Usage{Messages: 1}),
	}, filter{span: "24h"})
	if len(h.Carriers) != 3 || h.Carriers[0].Name != "no known carrier" || h.Carriers[1].Name != "a" || h.Carriers[2].Name != "b" {
		t.Errorf("carriers: got %+v", h.Carriers)
	}
	if len(h.Countries) != 2 || h.Countries[0].Country != "US" {
		t.Fatalf("countries: got %+v", h.Countries)
	}
	us, de := h.Countries[0], h.Countries[1]
	if us.Messages != 41 || us.Approved != "0 %" || us.Cost != "0.40 EUR" || us.Each != "" {
		t.Errorf("US: got %+v", us)
	}
	if de.Messages != 25 || de.Approved != "40 %" || de.Cost != "0.10 CHF + 0.80 EUR" || de.Each != "0.025 CHF + 0.20 EUR" {
		t.Errorf("DE: got %+v", de)
	}
	if c := de.Cells[1]; c.Approved != "20 %" || c.Each != "0.025 CHF + 0.20 EUR" || c.Handset != "p50 4.0 s, p95 4.9 s" || de.Handset != c.Handset || us.Handset != "" {
		t.Errorf("DE by a: got %+v, %q", c, de.Handset)
	}
	for _, c := range []struct {
		got              heatCell
		class, delivered string
		sent             int
	}{
		{us.Cells[0], "none", "0 %", 1}, {us.Cells[1], "h0", "50 %", 40}, {us.Cells[2], "", "", 0},
		{de.Cells[0], "", "", 0}, {de.Cells[1], "h4", "95 %", 20}, {de.Cells[2], "none", "0 %", 5}, // b sends no receipts
	} {
		if c.got.Class != c.class || c.got.Delivered != c.delivered || c.got.Sent != c.sent || (c.got.Link == "") != (c.sent == 0) {
			t.Errorf("got %+v, want %s %s of %d", c.got, c.class, c.delivered, c.sent)
		}
	}
	if want := "66 messages to 2 countries by 3 carriers: 59 % delivered, 7 % of 60 starts approved."; h.Summary != want {
		t.Errorf("summary: got %q, want %q", h.Summary, want)
	}
	for share, want := range map[int]string{0: "h0", 69: "h0", 70: "h1", 85: "h2", 90: "h3", 94: "h4", 100: "h4"} {
		if got := warmth(share, 100, 1); got != want {
			t.Errorf("%d %%: got %s, want %s", share, got, want)
		}
	}
}

// Which country has the lowest share approved, and what it cost, stands above the table. Chance decides nothing.
func TestTheLowestConversionIsSaid(t *testing.T) {
	t.Parallel()
	for want, totals := range map[string]map[string]*total{
		"": {"DE": {Usage: verify.Usage{Started: fewStarts - 1}}, "": {Usage: verify.Usage{Started: 1000}}},
		"Lowest share approved: LK, 25 % of 20 starts, at a cost of 1.50 EUR.": {
			"US": {Usage: verify.Usage{Started: 1000, Approved: 900}}, "LK": {Usage: verify.Usage{Started: 20, Approved: 5}, costs: costs{"EUR": 1_500_000}}, "ZW": {Usage: verify.Usage{Started: 2}},
		},
		"Lowest share approved: AT, 0 % of 30 starts, at a cost of 0.": {"AT": {Usage: verify.Usage{Started: 30}}, "BE": {Usage: verify.Usage{Started: 40}}},
	} {
		if got := lowest(totals); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Each cell leads to the rows behind it, which add up to it, and the time stays.
func TestACellLeadsToItsRows(t *testing.T) {
	t.Parallel()
	l := newLobby(t) // one to US by the simulator
	german := l.Start("+4930123456", "")
	l.Await("the message", func() bool { return l.Verification(german).Delivery == verify.DeliverySent })
	ann := &Person{Name: "ann", Role: operator.RoleViewer}
	page := l.ask(ann, "GET", "/traffic?range=7d", nil).Body.String()
	want := []string{"| Country | Messages | simulator | Started | Approved | To handset | Cost | Cost per approval", "| DE | 1 | 0 % of 1 approved 0 % | 1 | 0 % | | |", "| US | 1 | 0 % of 1 approved 0 % | 1 | 0 % | | |"}
	if got := rowsOf(page); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("traffic: got\n%s", strings.Join(got, "\n"))
	}
	cells := 0
	for _, to := range hrefs(page, "/traffic/rows") {
		u, _ := url.Parse(to)
		if u.Query().Get("range") != "7d" {
			t.Errorf("%s loses the time", to)
		}
		if !u.Query().Has("country") || !u.Query().Has("carrier") {
			continue
		}
		cells++
		w := l.ask(ann, "GET", to, nil)
		rows := rowsOf(w.Body.String())
		if len(rows) != 2 || rows[1] != "| 2026-05-04 | Test | sms | 1 | 0 0 % | | 0 0 % |" || !strings.Contains(w.Body.String(), "<h1>"+u.Query().Get("country")+" by simulator</h1>") {
			t.Errorf("%s: got %d\n%s", to, w.Code, strings.Join(rows, "\n"))
		}
		days := hrefs(w.Body.String(), "/traffic/rows")
		if len(days) != 1 {
			t.Fatalf("%s: got links %q, want one to the day", to, days)
		}
		if rows := rowsOf(l.ask(ann, "GET", days[0], nil).Body.String()); len(rows) != 2 || rows[1] != "| 2026-05-04 12:00 | Test | sms | 1 | 0 0 % | | 0 0 % |" {
			t.Errorf("%s: got\n%s", days[0], strings.Join(rows, "\n"))
		}
	}
	if cells != 2 {
		t.Errorf("got %d cells with a link, want 2", cells)
	}
	if rows := rowsOf(l.ask(ann, "GET", "/traffic/rows?country=US", nil).Body.String()); len(rows) != 3 || rows[1] != "| 2026-05-04 12:00 | Test | – | sms | 1 | 0 | 0 – | | 0 0 % |" {
		t.Errorf("a country: got\n%s", strings.Join(rows, "\n"))
	}
}

// The figures of the page of usage lead to their rows as well.
func TestUsageLeadsToItsRows(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	ann := &Person{Name: "ann", Role: operator.RoleViewer}
	for path, want := range map[string][]string{
		"/usage?project=test":            {"country=US", "until="}, // and the day
		"/usage?project=test&by=carrier": {"carrier=simulator", "until="},
	} {
		links := hrefs(l.ask(ann, "GET", path, nil).Body.String(), "/traffic/rows")
		if len(links) != len(want) {
			t.Fatalf("%s: got links %q, want %d", path, links, len(want))
		}
		for i, to := range links {
			w := l.ask(ann, "GET", to, nil)
			if rows := rowsOf(w.Body.String()); !strings.Contains(to, want[i]) || !strings.Contains(to, "project=test") || w.Code != http.StatusOK || len(rows) < 2 {
				t.Errorf("%s: got %d, %q", to, w.Code, rows)
			}
		}
	}
}

// The two lists of the page of usage are the same whether they come from one query, or from two where one would be too much.
func TestUsageIsTheSameByOneQueryOrTwo(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	db, err := sql.Open("sqlite", filepath.Join(l.Data, "countersign.db")+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fill := func(carriers int) {
		t.Helper()
		if _, err := db.Exec(`INSERT OR IGNORE INTO usage_hour (project, hour, application, purpose, channel, country, carrier, currency, writer, started, messages, segments, minutes, delivered, approved, cost, price)
			WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i + 1 < $1)
			SELECT 'test', $2 - 24 * (i % 2), x'01000000000000000000000000000000', 'mfa', 'sms', 'US', printf('c%05d', i / 2), CASE i % 4 WHEN 0 THEN 'CHF' ELSE 'EUR' END, 1, 0, 1, 1, 0, 1, 0, 2500000, 0 FROM s`, carriers, countersigntest.Start.Unix()/3600); err != nil {
			t.Fatal(err)
		}
	}
	ann := Person{Name: "ann", Role: operator.RoleViewer}
	ask := func() (days, sums []verify.UsageRow) {
		t.Helper()
		d := desk{l.System, admin.New(l.Store), slog.New(slog.DiscardHandler), &recents{}}
		q := verify.UsageQuery{From: countersigntest.Start.AddDate(0, 0, -29), Until: countersigntest.Start.Add(time.Hour), By: []verify.UsagePart{verify.PartCarrier}}
		days, sums, err := d.byStepAndPart(t.Context(), ann, verify.StepDay, q)
		if err != nil {
			t.Fatal(err)
		}
		want, err := d.rows(t.Context(), ann, q)
		if diff := cmp.Diff(want, sums); diff != "" || err != nil {
			t.Errorf("by carrier (-alone +with the days): %v\n%s", err, diff)
		}
		return days, sums
	}
	fill(9)
	if days, sums := ask(); len(days) <= 9 || len(sums) < 9 {
		t.Errorf("got %d days and %d sums, want those of one query", len(days), len(sums))
	}
	fill(verify.MaxUsageRows + 10) // more than one query lists by day, and fewer by carrier
	days, sums := ask()
	if len(days) > 4 || len(sums) < 5000 {
		t.Errorf("got %d days and %d sums, want those of two queries", len(days), len(sums))
	}
}

func TestTheTimeRangeStandsInTheURL(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.Clock.Advance(3 * time.Hour)
	ann := &Person{Name: "ann", Role: operator.RoleViewer}
	for query, found := range map[string]bool{
		"":          true,
		"range=1h":  false,
		"range=24h": true,
		"range=30d": true,
		"from=2026-05-04T12:00:00Z&until=2026-05-04T13:00:00Z":               true,
		"from=2026-05-04T14:00:00%2B02:00&until=2026-05-04T15:00:00%2B02:00": true,
		"from=2026-05-04T13:00:00Z&until=2026-05-04T14:00:00Z":               false,
		"project=test": true,
	} {
		for _, path := range []string{"/traffic?", "/traffic/rows?"} {
			w := l.ask(ann, "GET", path+query, nil)
			if got := len(rowsOf(w.Body.String())) > 1; w.Code != http.StatusOK || got != found {
				t.Errorf("%s%s: got %d, rows %t, want %t", path, query, w.Code, got, found)
			}
		}
	}
	for query, want := range map[string]int{
		"range=1y": http.StatusUnprocessableEntity, "from=2026-05-04T12:00:00Z": http.StatusUnprocessableEntity, "from=x&until=y": http.StatusUnprocessableEntity,
		"from=2026-05-04T12:00:00Z&until=2026-05-04T12:00:00Z": http.StatusUnprocessableEntity, "from=2020-05-04T12:00:00Z&until=2026-05-04T12:00:00Z": http.StatusUnprocessableEntity,
	} {
		for _, path := range []string{"/traffic?", "/traffic/rows?"} {
			if w := l.ask(ann, "GET", path+query, nil); w.Code != want || !strings.Contains(w.Body.String(), "That is no time range") {
				t.Errorf("%s%s: got %d, want %d", path, query, w.Code, want)
			}
		}
	}
}

// Another project's traffic is as absent: by its name, and in the sums.
func TestTrafficIsOfThePersonsProjects(t *testing.T) {
	t.Parallel()
	l := newLobby(t)
	l.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat, PublicText: true, AnySender: true}, account.NewSecret())
	bob := &Person{Name: "bob", Role: operator.RoleAdmin, Projects: []verify.ProjectID{"other"}}
	for _, path := range []string{"/traffic?", "/traffic/rows?", "/traffic/rows?country=US&carrier=simulator&"} {
		one, two := l.ask(bob, "GET", path+"project=test", nil), l.ask(bob, "GET", path+"project=none", nil)
		if one.Code != http.StatusNotFound || one.Code != two.Code || one.Body.String() != two.Body.String() {
			t.Errorf("%sproject=test: got %d, and %d for an absent one", path, one.Code, two.Code)
		}
		if page := l.ask(bob, "GET", path, nil).Body.String(); len(rowsOf(page)) != 0 || strings.Contains(page, `"test"`) {
			t.Errorf("%s: another project's traffic:\n%s", path, page)
		}
	}
}

// What a carrier is called, and what stands in the URL, is text.
func TestTrafficEscapesNames(t *testing.T) {
	t.Parallel()
	for _, name := range payloads {
		h := heatOf([]verify.UsageRow{{UsageKey: verify.UsageKey{Country: name, Carrier: name}, Usage: verify.Usage{Messages: 1}}}, filter{span: "24h"})
		w := &strings.Builder{}
		if err := trafficPage().Execute(w, view{Data: h}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(name, "<\"'") && strings.Contains(w.String(), name) {
			t.Errorf("%q stands there as it came", name)
		}
	}
	l := newLobby(t)
	for _, name := range payloads {
		w := l.ask(&Person{Name: "ann", Role: operator.RoleViewer}, "GET", "/traffic/rows?"+url.Values{"country": {name}, "carrier": {name}}.Encode(), nil)
		if text := w.Body.String(); w.Code != http.StatusOK || strings.ContainsAny(name, "<\"'") && strings.Contains(text, name) || strings.Count(text, "<script") != 1 {
			t.Errorf("%q: got %d, or it stands there as it came", name, w.Code)
		}
	}
}
