package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// ranges are the times that people choose from: each until now.
var ranges = []struct {
	value, name string
	length      time.Duration
}{
	{"1h", "This hour and the last", time.Hour},
	{"24h", "Last 24 hours", 24 * time.Hour},
	{"7d", "Last 7 days", 7 * 24 * time.Hour},
	{"30d", "Last 30 days", 30 * 24 * time.Hour},
}

// longestRange bounds what one page reads.
const longestRange = 400 * 24 * time.Hour

var errRange = errors.New("that is no time range: from and until must be times such as 2026-05-04T12:00:00Z, at most 400 days apart")

// A filter is what the URL of a page of traffic names: project, and range, or from and until.
type filter struct {
	project     verify.ProjectID // "": all that the person sees
	span        string           // of ranges; "": from and until
	from, until time.Time
}

// filterOf reads a filter. A project that the person doesn't see is one that isn't there.
func (d desk) filterOf(r *http.Request, p Person) (f filter, err error) {
	q := r.URL.Query()
	f.project = verify.ProjectID(q.Get("project"))
	if f.project != "" && !p.sees(f.project) {
		return f, verify.ErrNotFound
	}
	if q.Get("from") != "" || q.Get("until") != "" {
		var errFrom, errUntil error
		f.from, errFrom = time.Parse(time.RFC3339, q.Get("from"))
		f.until, errUntil = time.Parse(time.RFC3339, q.Get("until"))
		if errFrom != nil || errUntil != nil || !f.from.Before(f.until) || f.until.Sub(f.from) > longestRange {
			return f, errRange
		}
		f.from, f.until = f.from.UTC(), f.until.UTC()
		return f, nil
	}
	f.span = cmp.Or(q.Get("range"), "24h")
	current := d.books.Now().UTC().Truncate(time.Hour)
	for _, x := range ranges {
		if x.value == f.span {
			f.from, f.until = current.Add(-x.length), current.Add(time.Hour)
			if x.length > hourly { // of whole days: their sums are quick to read
				f.from = f.from.Truncate(24 * time.Hour)
			}
			return f, nil
		}
	}
	return f, errRange
}

// query is the filter in a URL, with more parts: name, value, and so on.
func (f filter) query(more ...string) string {
	q := url.Values{}
	if f.project != "" {
		q.Set("project", string(f.project))
	}
	if f.span != "" {
		q.Set("range", f.span)
	} else {
		q.Set("from", f.from.Format(time.RFC3339))
		q.Set("until", f.until.Format(time.RFC3339))
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return q.Encode()
}

// day is the filter for one of its days.
func (f filter) day(begin time.Time) filter {
	f.span = ""
	if f.from.Before(begin) {
		f.from = begin
	}
	if end := begin.Add(24 * time.Hour); end.Before(f.until) {
		f.until = end
	}
	return f
}

// usage asks for what was used in the time of the filter.
func (f filter) usage(by ...verify.UsagePart) verify.UsageQuery {
	return verify.UsageQuery{Project: f.project, From: f.from, Until: f.until, By: by}
}

// A period is what the forms of both pages show of a filter.
type period struct {
	Projects, Ranges []choice
	From, Until      string // "": a range was chosen
	Text             string
}

func (d desk) period(ctx context.Context, p Person, f filter) (s period, err error) {
	projects, err := d.visible(ctx, p)
	s.Projects = []choice{{"", "All projects", f.project == ""}}
	for _, x := range projects {
		s.Projects = append(s.Projects, choice{string(x.ID), cmp.Or(x.Name, string(x.ID)), x.ID == f.project})
	}
	for _, x := range ranges {
		s.Ranges = append(s.Ranges, choice{x.value, x.name, x.value == f.span})
	}
	if f.span == "" {
		s.From, s.Until = f.from.Format(time.RFC3339), f.until.Format(time.RFC3339)
	}
	s.Text = at(f.from) + " to " + at(f.until) + " UTC"
	return s, err
}

// costs are amounts by currency.
type costs map[money.Currency]money.Amount

func (c costs) String() string { return c.each(1) }

// each is the cost of one of n; "" where there is none.
func (c costs) each(n int) string {
	var all []string
	for _, currency := range slices.Sorted(maps.Keys(c)) {
		if c[currency] != 0 && n > 0 {
			all = append(all, priced(c[currency]/money.Amount(n), currency))
		}
	}
	return strings.Join(all, " + ")
}

// A total is what was used in a country, by a carrier, or both.
type total struct {
	verify.Usage // without money
	costs
}

func (t *total) add(u verify.UsageRow) {
	if t.costs == nil {
		t.costs = costs{}
	}
	if u.Cost != 0 {
		t.costs[u.Currency] += u.Cost
	}
	u.Cost, u.Price = 0, 0
	t.Usage.Add(u.Usage)
}

// heat is what the page of traffic shows.
type heat struct {
	period
	Carriers  []link
	Countries []heatRow
	Summary   string
	Lowest    string // the country with the smallest share approved; "": too few starts
	MayStop   bool
	Stopped   []stopping // countries
}

// A heatRow is a country. Starts and approvals are the verifications', so they are of no carrier.
type heatRow struct {
	Country, Link     string
	Weigh             string // to the page that changes its route's weights, likewise
	Stop              string // to the page that stops messages to it; "": no country, or not for this person
	Started, Messages int
	Cells             []heatCell
	Approved, Handset string
	Cost, Each        string // of all messages, and for each approval
}

// A heatCell is a carrier's messages to a country.
type heatCell struct {
	Link, Class, Delivered string
	Approved, Handset      string
	Cost, Each             string
	Sent                   int
}

// traffic shows what each carrier delivered to each country: GET /traffic?project=ID&range=24h.
func (d desk) traffic(w http.ResponseWriter, r *http.Request, p Person) error {
	f, err := d.filterOf(r, p)
	if err != nil {
		return err
	}
	rows, err := d.rows(r.Context(), p, f.usage(verify.PartCountry, verify.PartCarrier))
	if err != nil {
		return err
	}
	h := heatOf(rows, f)
	if h.period, err = d.period(r.Context(), p, f); err != nil {
		return err
	}
	if p.mayStop() {
		h.MayStop = true
		for i := range h.Countries {
			if phone.IsRegion(h.Countries[i].Country) {
				h.Countries[i].Stop = stopLink(verify.StopCountry, h.Countries[i].Country)
				h.Countries[i].Weigh = "/weights?" + url.Values{"country": {h.Countries[i].Country}, "project": {string(f.project)}}.Encode()
			}
		}
	}
	if len(p.Projects) == 0 {
		if h.Stopped, err = d.stopsOf(r.Context(), verify.StopCountry); err != nil {
			return err
		}
	}
	d.show(w, r, http.StatusOK, trafficPage, "Traffic", h)
	return nil
}

// heatOf sorts usage by country and carrier: the countries with the most messages first.
func heatOf(rows []verify.UsageRow, f filter) (h heat) {
	type cell struct{ country, carrier string }
	cells, countries, carriers := map[cell]*total{}, map[string]*total{}, map[string]*total{}
	for _, u := range rows {
		totalOf(countries, u.Country).add(u)
		if u.Messages > 0 || u.Carrier != "" {
			totalOf(carriers, u.Carrier).add(u)
			totalOf(cells, cell{u.Country, u.Carrier}).add(u)
		}
	}
	names := slices.Sorted(maps.Keys(carriers))
	for _, name := range names {
		h.Carriers = append(h.Carriers, link{Name: cmp.Or(name, "no known carrier"), Path: "/traffic/rows?" + f.query("carrier", name)})
	}
	var all total
	h.Lowest = lowest(countries)
	for country, t := range countries {
		row := heatRow{
			Country: cmp.Or(country, "unknown"), Link: "/traffic/rows?" + f.query("country", country), Started: t.Started, Messages: t.Messages,
			Approved: share(t.Approved, t.Started), Handset: toHandset(&t.Times), Cost: t.String(), Each: t.each(t.Approved),
		}
		for _, name := range names {
			c, ok := cells[cell{country, name}]
			if !ok {
				row.Cells = append(row.Cells, heatCell{})
				continue
			}
			row.Cells = append(row.Cells, heatCell{
				Link: "/traffic/rows?" + f.query("country", country, "carrier", name), Sent: c.Messages, Cost: c.String(), Each: c.each(c.Converted),
				Approved: share(c.Converted, c.Messages), Handset: toHandset(&c.Times),
				Class: warmth(c.Delivered, c.Messages, carriers[name].Delivered), Delivered: share(c.Delivered, c.Messages),
			})
		}
		h.Countries = append(h.Countries, row)
		all.Started, all.Messages, all.Delivered, all.Approved = all.Started+t.Started, all.Messages+t.Messages, all.Delivered+t.Delivered, all.Approved+t.Approved
	}
	slices.SortFunc(h.Countries, func(a, b heatRow) int {
		return cmp.Or(b.Messages-a.Messages, b.Started-a.Started, cmp.Compare(a.Country, b.Country))
	})
	h.Summary = fmt.Sprintf("%s to %s by %s: %s delivered, %s of %s approved.",
		counted(all.Messages, "message", "messages"), counted(len(h.Countries), "country", "countries"), counted(len(names), "carrier", "carriers"),
		share(all.Delivered, all.Messages), share(all.Approved, all.Started), counted(all.Started, "start", "starts"))
	return h
}

// fewStarts says little about a country: of fewer, chance decides what share is approved.
const fewStarts = 20

// lowest says which country has the smallest share approved, and what it cost.
func lowest(countries map[string]*total) string {
	found := ""
	for _, country := range slices.Sorted(maps.Keys(countries)) {
		t := countries[country]
		if worst := countries[found]; t.Started >= fewStarts && country != "" && (found == "" || t.Approved*worst.Started < worst.Approved*t.Started) {
			found = country
		}
	}
	if found == "" {
		return ""
	}
	t := countries[found]
	return fmt.Sprintf("Lowest share approved: %s, %s of %d starts, at a cost of %s.", found, share(t.Approved, t.Started), t.Started, cmp.Or(t.String(), "0"))
}

// counted writes how many things there are, in the word for one or for several.
func counted(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", several)
}

// totalOf is the total of a key, which it adds if need be.
func totalOf[K comparable](totals map[K]*total, key K) *total {
	if totals[key] == nil {
		totals[key] = &total{}
	}
	return totals[key]
}

// warmth is the class of a cell: from h0, the worst, to h4. A carrier of which nothing is known to arrive sends no
// receipts, most likely: it has no colour.
func warmth(delivered, messages, carriers int) string {
	if messages == 0 || carriers == 0 {
		return "none"
	}
	for i, from := range []int{94, 90, 85, 70} {
		if 100*delivered >= from*messages {
			return "h" + strconv.Itoa(4-i)
		}
	}
	return "h0"
}

// trafficRows is what the page behind a cell shows.
type trafficRows struct {
	period
	Title   string
	Country *string      // nil: all
	Carrier *string      // nil: all; else the rows have no starts and approvals
	Rows    []trafficRow // the newest first
	More    int          // older ones that aren't shown
	Longer  string       // where more of them are; "": nowhere
	Back    string
}

type trafficRow struct {
	Time, Link                         string // to the hours of a day; "": it is an hour
	Project, Country, Carrier, Channel string
	usageLine
}

// shownRows is how many rows are shown at first, and mostRows how many to those who want more.
const shownRows, mostRows = 100, 1000

// hourly is the longest time whose rows are of single hours.
const hourly = 49 * time.Hour

// rowsBehind lists what stands behind a cell, a row or a column of the traffic: GET /traffic/rows?country=US&carrier=a.
func (d desk) rowsBehind(w http.ResponseWriter, r *http.Request, p Person) error {
	f, err := d.filterOf(r, p)
	if err != nil {
		return err
	}
	q := f.usage(verify.PartProject, verify.PartCountry, verify.PartCarrier, verify.PartChannel)
	q.Step, q.Only = verify.StepHour, map[verify.UsagePart]string{}
	if f.until.Sub(f.from) > hourly {
		q.Step = verify.StepDay
	}
	t, more := trafficRows{Title: "All traffic"}, []string(nil)
	for part, into := range map[verify.UsagePart]**string{verify.PartCountry: &t.Country, verify.PartCarrier: &t.Carrier} {
		if name := string(part); r.URL.Query().Has(name) {
			value := r.URL.Query().Get(name)
			q.Only[part], *into = value, &value
			more = append(more, name, value)
		}
	}
	rows, err := d.rows(r.Context(), p, q)
	if err != nil {
		return err
	}
	if t.period, err = d.period(r.Context(), p, f); err != nil {
		return err
	}
	names := map[string]string{}
	for _, x := range t.Projects {
		names[x.Value] = x.Name
	}
	slices.SortStableFunc(rows, func(a, b verify.UsageRow) int { return b.Begin.Compare(a.Begin) })
	most := shownRows
	if r.URL.Query().Has("more") {
		most = mostRows
	}
	if rows, t.More = firstOf(rows, most); t.More > 0 && most < mostRows {
		t.Longer = "/traffic/rows?" + f.query(append(more, "more", "yes")...)
	}
	for _, u := range rows {
		line := trafficRow{Project: cmp.Or(names[string(u.Project)], string(u.Project)), Country: cmp.Or(u.Country, "unknown"), Carrier: cmp.Or(u.Carrier, "–"), Channel: string(u.Channel), usageLine: lineOf("", u)}
		if line.Time = u.Begin.Format("2006-01-02 15:04"); q.Step == verify.StepDay {
			line.Time = u.Begin.Format(time.DateOnly)
			line.Link = "/traffic/rows?" + f.day(u.Begin).query(more...)
		}
		t.Rows = append(t.Rows, line)
	}
	t.name()
	t.Back = "/traffic?" + f.query()
	d.show(w, r, http.StatusOK, trafficRowsPage, t.Title, t)
	return nil
}

// name says what the rows are of.
func (t *trafficRows) name() {
	switch {
	case t.Country != nil && t.Carrier != nil:
		t.Title = cmp.Or(*t.Country, "unknown countries") + " by " + cmp.Or(*t.Carrier, "no known carrier")
	case t.Country != nil:
		t.Title = cmp.Or(*t.Country, "unknown countries")
	case t.Carrier != nil:
		t.Title = "By " + cmp.Or(*t.Carrier, "no known carrier")
	}
}
