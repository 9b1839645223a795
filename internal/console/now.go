package console

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// shownHours is how many hours the charts show, beside the one that isn't over.
const shownHours = 24

// An overview is what the first page shows.
type overview struct {
	Hour, Then string // the hour of the tiles, and the day that they are compared with
	Tiles      []tile
	Hours      []usageLine // the newest first
	Projects   []usageLine // in the last 24 hours: those that started the most
	More       int         // projects that aren't shown
	Whole      bool        // for people who see all projects
	Needs      []system.Need
}

// A tile is one figure: of the last hour that is over, and of the last 24 hours.
type tile struct {
	Name, Value, Change, Tone, Day, Link string
	Line, Foot                           string // the points of its SVG, 240 by 36, and those that close its area; "": nothing to draw
	Summary                              string
}

// now shows the last hour, the last day, and what waits for an operator.
func (d desk) now(w http.ResponseWriter, r *http.Request, p Person) error {
	current := d.books.Now().UTC().Truncate(time.Hour)
	first := current.Add(-shownHours * time.Hour)
	day := verify.UsageQuery{From: first, Until: current.Add(time.Hour), By: []verify.UsagePart{verify.PartProject}}
	rows, sums, err := d.byStepAndPart(r.Context(), p, verify.StepHour, day)
	if err != nil {
		return err
	}
	const week = 7 * 24 * time.Hour
	old, err := d.rows(r.Context(), p, verify.UsageQuery{From: current.Add(-time.Hour - week), Until: current.Add(-week), Step: verify.StepHour})
	if err != nil {
		return err
	}
	projects, err := d.usageLines(r.Context(), p, day, sums)
	if err != nil {
		return err
	}
	hours, before := newSeries(rows, first, shownHours+1), newSeries(old, current.Add(-time.Hour-week), 1)
	slices.SortStableFunc(projects, func(a, b usageLine) int { return b.Started - a.Started })
	projects, more := firstOf(projects, shownProjects)
	o := overview{
		Hour: current.Add(-time.Hour).Format("15:04") + " to " + current.Format("15:04"), Then: current.Add(-time.Hour-week).Weekday().String() + " last week",
		Tiles: hours.tiles(before), Hours: hours.lines(), Projects: projects, More: more, Whole: len(p.Projects) == 0,
	}
	if o.Whole {
		o.Needs = d.server.Needs(r.Context())
	}
	d.show(w, r, http.StatusOK, nowPage, "Now", o)
	return nil
}

// firstOf are the first elements, at most so many, and how many others there are.
func firstOf[T any](all []T, most int) (first []T, others int) {
	n := min(len(all), most)
	return all[:n], len(all) - n
}

// A series is what was used in each of some hours.
type series struct {
	first      time.Time
	hours      []verify.Usage // without money
	costs      map[money.Currency][]int
	currencies []money.Currency // of the costs, sorted
}

// newSeries sorts rows into n hours from first on.
func newSeries(rows []verify.UsageRow, first time.Time, n int) series {
	s := series{first: first, hours: make([]verify.Usage, n), costs: map[money.Currency][]int{}}
	for _, row := range rows {
		i := int(row.Begin.Sub(first) / time.Hour)
		if i < 0 || i >= n {
			continue
		}
		if row.Cost != 0 {
			if s.costs[row.Currency] == nil {
				s.costs[row.Currency] = make([]int, n)
				s.currencies = append(s.currencies, row.Currency)
			}
			s.costs[row.Currency][i] += int(row.Cost)
		}
		row.Cost, row.Price = 0, 0
		s.hours[i].Add(row.Usage)
	}
	slices.Sort(s.currencies)
	return s
}

// over are the hours that are over: all but the last one.
func over[T any](hours []T) []T { return hours[:len(hours)-1] }

// latest is the last hour that is over.
func latest[T any](hours []T) T { return hours[len(hours)-2] }

func sum(all []int) (total int) {
	for _, n := range all {
		total += n
	}
	return total
}

// hour is the filter for one of the hours.
func (s *series) hour(i int) filter {
	begin := s.first.Add(time.Duration(i) * time.Hour)
	return filter{from: begin, until: begin.Add(time.Hour)}
}

// of is a count of each hour.
func (s *series) of(count func(verify.Usage) int) []int {
	all := make([]int, len(s.hours))
	for i, u := range s.hours {
		all[i] = count(u)
	}
	return all
}

func started(u verify.Usage) int   { return u.Started }
func messages(u verify.Usage) int  { return u.Messages }
func delivered(u verify.Usage) int { return u.Delivered }
func approved(u verify.Usage) int  { return u.Approved }

// tiles draws the figures beside those of one hour before. Costs are left out where nobody configured any.
func (s *series) tiles(before series) []tile {
	all := []tile{
		s.count("Started", started, before),
		s.share("Delivered", delivered, messages, "messages", before),
		s.share("Approved", approved, started, "starts", before),
	}
	for _, c := range s.currencies {
		all = append(all, s.cost(c, before))
	}
	for i := range all {
		all[i].Link = "/traffic?" + s.hour(len(s.hours)-2).query()
	}
	return all
}

func (s *series) count(name string, of func(verify.Usage) int, before series) tile {
	all := s.of(of)
	t := tile{Name: name, Value: strconv.Itoa(latest(all)), Change: changed(latest(all), before.of(of)[0])}
	t.Day = fmt.Sprintf("%d in %d h, %d in this hour", sum(over(all)), shownHours, all[len(all)-1])
	t.draw(floats(over(all)))
	t.Summary = fmt.Sprintf("An hour had %d to %d in the last %d hours.", slices.Min(over(all)), slices.Max(over(all)), shownHours)
	return t
}

func (s *series) share(name string, part, whole func(verify.Usage) int, of string, before series) tile {
	parts, wholes := s.of(part), s.of(whole)
	t := tile{Name: name, Value: share(latest(parts), latest(wholes)), Day: share(sum(over(parts)), sum(over(wholes))) + fmt.Sprintf(" of %d %s in %d h", sum(over(wholes)), of, shownHours)}
	t.Change, t.Tone = points(latest(parts), latest(wholes), before.of(part)[0], before.of(whole)[0])
	var percents []float64 // of the hours that have any
	for i := range over(parts) {
		if wholes[i] > 0 {
			percents = append(percents, 100*float64(parts[i])/float64(wholes[i]))
		}
	}
	t.draw(percents)
	t.Summary = fmt.Sprintf("No hour of the last %d had any.", shownHours)
	if len(percents) > 0 {
		t.Summary = fmt.Sprintf("An hour had %.0f to %.0f %% in the last %d hours.", slices.Min(percents), slices.Max(percents), shownHours)
	}
	return t
}

func (s *series) cost(c money.Currency, before series) tile {
	all := s.costs[c]
	t := tile{Name: "Cost", Value: priced(money.Amount(latest(all)), c), Day: fmt.Sprintf("%s in %d h", priced(money.Amount(sum(over(all))), c), shownHours)}
	then := 0
	if b := before.costs[c]; b != nil {
		then = b[0]
	}
	t.Change = changed(latest(all), then)
	t.draw(floats(over(all)))
	t.Summary = fmt.Sprintf("An hour cost %s to %s in the last %d hours.", priced(money.Amount(slices.Min(over(all))), c), priced(money.Amount(slices.Max(over(all))), c), shownHours)
	return t
}

// noComparison is said where there was nothing a week ago.
const noComparison = "nothing last week"

// changed compares two counts.
func changed(now, then int) string {
	switch percent := int(100 * (float64(now) - float64(then)) / float64(max(then, 1))); {
	case then == 0:
		return noComparison
	case percent > 0:
		return fmt.Sprintf("%d %% more", percent)
	case percent < 0:
		return fmt.Sprintf("%d %% less", -percent)
	}
	return "as last week"
}

// points compares two shares. More is better.
func points(part, whole, thenPart, thenWhole int) (text, tone string) {
	if whole == 0 || thenWhole == 0 {
		return noComparison, ""
	}
	switch d := 100 * (float64(part)/float64(whole) - float64(thenPart)/float64(thenWhole)); {
	case d >= 0.5:
		return fmt.Sprintf("%.0f points more", d), "up"
	case d <= -0.5:
		return fmt.Sprintf("%.0f points less", -d), "down"
	}
	return "as last week", ""
}

func floats(all []int) []float64 {
	out := make([]float64, len(all))
	for i, n := range all {
		out[i] = float64(n)
	}
	return out
}

// draw makes the line of some values from 0 on, the oldest first.
func (t *tile) draw(values []float64) {
	if len(values) < 2 || slices.Max(values) <= 0 {
		return
	}
	var b strings.Builder
	most := slices.Max(values)
	for i, v := range values {
		fmt.Fprintf(&b, "%.1f,%.1f ", 240*float64(i)/float64(len(values)-1), 34-32*v/most)
	}
	t.Line, t.Foot = strings.TrimSpace(b.String()), "240,36 0,36"
}

// lines are the hours as a table, the newest first, a line for each currency.
func (s *series) lines() (all []usageLine) {
	for i := range slices.Backward(s.hours) {
		hour := s.hour(i)
		name := hour.from.Format("2 Jan 15:04")
		if i == len(s.hours)-1 {
			name += ", not over"
		}
		l, paid := lineOf(name, verify.UsageRow{Usage: s.hours[i]}), costs{}
		for c, amounts := range s.costs {
			paid[c] = money.Amount(amounts[i])
		}
		l.Link, l.Cost = "/traffic/rows?"+hour.query(), paid.String()
		all = append(all, l)
	}
	return all
}
