package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// A used is a row of what one writer has counted: see [verify.UsageKey]. Each group adds what its operations used to
// the rows of its own writer, in its own transaction. So the rows are what the group's other rows say, whatever
// fails, and no writer waits for another.
type used struct {
	verify.UsageKey
	writer int
	verify.Usage
}

// newWriterNumber draws a writer's number. Two that draw the same one add to the same rows, which is only slower.
func newWriterNumber() int {
	var p [4]byte
	rand.Read(p[:]) // never fails
	return int(binary.BigEndian.Uint32(p[:]) >> 1)
}

var (
	usedKeyLayout = layout[used]{
		textColumn("project", func(u *used) *verify.ProjectID { return &u.Project }),
		int64Column("hour", func(u *used) *int64 { return &u.Hour }),
		idColumn("application", func(u *used) *verify.ID { return &u.Application }),
		textColumn("purpose", func(u *used) *verify.Purpose { return &u.Purpose }),
		textColumn("channel", func(u *used) *verify.Channel { return &u.Channel }),
		textColumn("country", func(u *used) *string { return &u.Country }),
		textColumn("carrier", func(u *used) *string { return &u.Carrier }),
		textColumn("currency", func(u *used) *money.Currency { return &u.Currency }),
		numberColumn("writer", func(u *used) *int { return &u.writer }),
	}
	usedCountLayout = slices.Concat(layout[used]{
		numberColumn("started", func(u *used) *int { return &u.Started }),
		numberColumn("messages", func(u *used) *int { return &u.Messages }),
		numberColumn("segments", func(u *used) *int { return &u.Segments }),
		numberColumn("minutes", func(u *used) *int { return &u.Minutes }),
		numberColumn("delivered", func(u *used) *int { return &u.Delivered }),
		numberColumn("approved", func(u *used) *int { return &u.Approved }),
		int64Column("cost", func(u *used) *money.Amount { return &u.Cost }),
		int64Column("price", func(u *used) *money.Amount { return &u.Price }),
		numberColumn("converted", func(u *used) *int { return &u.Converted }),
	}, timesLayout())
	usedLayout = slices.Concat(usedKeyLayout, usedCountLayout)

	addUsed    = ` ON CONFLICT (` + usedKeyLayout.names() + `) DO UPDATE SET ` + added(usedCountLayout, "excluded")
	upsertUsed = `INSERT INTO usage_hour AS u (` + usedLayout.names() + `) VALUES (` + usedLayout.dollars() + `)` + addUsed
)

// timesLayout are the columns of [verify.Times]: took_1s, and so on, and took_more.
func timesLayout() (l layout[used]) {
	for i := range (verify.Times{}) {
		name := "took_more"
		if i < len(verify.TimeBounds) {
			name = fmt.Sprintf("took_%ds", int(verify.TimeBounds[i].Seconds()))
		}
		l = append(l, numberColumn(name, func(u *used) *int { return &u.Times[i] }))
	}
	return l
}

// added adds another row to the counts of a row u.
func added[T any](counts layout[T], other string) string {
	return counts.list(func(_ int, f field[T]) string { return f.name + " = u." + f.name + " + " + other + "." + f.name })
}

func int64Column[T any, N ~int64](name string, at func(*T) *N) field[T] {
	return field[T]{name, numberKind,
		func(c fields, v *T) error { *at(v) = N(c.number()); return nil },
		func(p parameters, v *T) error { p.number(int64(*at(v))); return nil }}
}

// use counts what an operation of the group has used.
func (r *rows) use(k verify.UsageKey, u verify.Usage) {
	if u == (verify.Usage{}) {
		return
	}
	for i := range r.used { // most groups have one key or two
		if r.used[i].UsageKey == k {
			r.used[i].Add(u)
			return
		}
	}
	r.used = append(r.used, used{UsageKey: k, Usage: u})
}

// sortedUsed are the rows that a group adds to, in the order of their keys: the order of locks.
func (r *rows) sortedUsed(writer int) []used {
	for i := range r.used {
		r.used[i].writer = writer
	}
	slices.SortFunc(r.used, used.compare)
	return r.used
}

func (u used) compare(o used) int {
	return cmp.Or(cmp.Compare(u.Project, o.Project), cmp.Compare(u.Hour, o.Hour), compareIDs(u.Application, o.Application), cmp.Compare(u.Purpose, o.Purpose),
		cmp.Compare(u.Channel, o.Channel), cmp.Compare(u.Country, o.Country), cmp.Compare(u.Carrier, o.Carrier), cmp.Compare(u.Currency, o.Currency))
}

// Usage implements [verify.UsageStore].
func (s *Store) Usage(ctx context.Context, q verify.UsageQuery) ([]verify.UsageRow, error) {
	done, err := s.takeTurn(ctx, q.Project)
	if err != nil {
		return nil, err
	}
	defer done()
	text, args := s.usageQuery(&q)
	rows, err := pool.All(ctx, s.lists, scanUsage(&q), text, args...)
	if err != nil {
		return nil, away("list usage", err)
	}
	if q.Step == verify.StepMonth {
		rows = byMonth(rows)
	}
	if len(rows) > verify.MaxUsageRows {
		return nil, verify.ErrTooMuchUsage
	}
	return rows, nil
}

// hoursOf is how many hours of the table make a row; a month is made of days.
var hoursOf = map[verify.UsageStep]int{verify.StepHour: 1, verify.StepDay: 24, verify.StepMonth: 24}

// usageQuery is a query's text and its arguments: the beginning, the parts, the currency and the sums, by all but the sums.
func (s *Store) usageQuery(q *verify.UsageQuery) (text string, args []any) {
	step := "0"
	if n := hoursOf[q.Step]; n > 0 {
		step = fmt.Sprintf("hour - hour %% %d", n)
	}
	columns := []string{step + " AS slot"}
	for _, part := range q.By {
		columns = append(columns, string(part))
	}
	columns = append(columns, "currency")
	order := make([]string, len(columns))
	for i := range order {
		order[i] = fmt.Sprint(i + 1)
	}
	group := strings.Join(order, ", ")
	most := verify.MaxUsageRows + 1
	if q.Step == verify.StepMonth {
		most *= 31
	}
	source, args := s.usageSource(q)
	return fmt.Sprintf(`SELECT %s, %s FROM (%s) counted GROUP BY %s ORDER BY %s LIMIT %d`, strings.Join(columns, ", "), sumUsed, source, group, group, most), args
}

// ofEachProject names all projects of a table whose key begins with the project, behind what in fixes of it. The key leads from
// each to its rows; without a project, the rows of all time would be read.
func ofEachProject(table, in string) string {
	return in + fmt.Sprintf(`project IN (WITH RECURSIVE spender (project) AS (SELECT min(project) FROM %[1]s WHERE %[2]sproject > '' UNION ALL
	SELECT (SELECT min(h.project) FROM %[1]s h WHERE %[2]sh.project > u.project) FROM spender u WHERE u.project IS NOT NULL)
	SELECT u.project FROM spender u WHERE u.project IS NOT NULL) AND `, table, in)
}

// A rollup is a table of sums of days or of months: what leads to the rows of a query, and the column with the day.
type rollup struct{ table, where, day string }

// rollups are the smallest tables of days and of months that have all that a query asks for. where is its own condition.
func rollups(q *verify.UsageQuery, where string, each func(table, in string) string) (days, months rollup) {
	asks := func(parts ...verify.UsagePart) bool {
		for _, part := range verify.UsageParts {
			_, only := q.Only[part]
			if (only || slices.Contains(q.By, part)) && !slices.Contains(parts, part) {
				return false
			}
		}
		return true
	}
	const day, month = `unit = 'day' AND `, `unit = 'month' AND `
	days, months = rollup{"usage_day", each("usage_day", ""), "day"}, rollup{"usage_month", each("usage_month", ""), "month"}
	everybody := q.Project == "" && len(q.Among) == 0
	switch {
	case asks(verify.PartProject):
		return rollup{"usage_sum", each("usage_sum", day), "day"}, rollup{"usage_sum", each("usage_sum", month), "day"}
	case everybody && asks(verify.PartChannel, verify.PartCountry, verify.PartCarrier):
		days, months = rollup{"usage_sum", day + `project = '' AND ` + where, "day"}, rollup{"usage_sum", month + `project = '' AND ` + where, "day"}
	}
	const country = `unit = 'country' AND ` // of days
	switch {
	case everybody && asks(verify.PartCountry):
		days = rollup{"usage_sum", country + `project = '' AND ` + where, "day"}
	case asks(verify.PartProject, verify.PartCountry):
		days = rollup{"usage_sum", each("usage_sum", country), "day"}
	}
	return days, months
}

// usageSource are the rows that a query is about: of whole days, those of the days and what isn't folded yet, if the
// query doesn't ask for hours.
func (s *Store) usageSource(q *verify.UsageQuery) (text string, args []any) {
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	where := ""
	if q.Project != "" {
		where = "project = " + arg(q.Project) + " AND "
	} else if len(q.Among) > 0 {
		var among []string
		for _, p := range q.Among {
			among = append(among, arg(p))
		}
		where = "project IN (" + strings.Join(among, ", ") + ") AND "
	}
	for _, part := range verify.UsageParts {
		if value, ok := q.Only[part]; ok {
			where += string(part) + " = " + arg(value) + " AND "
		}
	}
	each := func(table, in string) string { // leads to the rows by a key that begins with the project, behind what in fixes
		if q.Project == "" && len(q.Among) == 0 {
			in = ofEachProject(table, in)
		}
		return in + where
	}
	var arms []string
	arm := func(table, where, hour, unit string, from, until any) {
		columns := []string{hour}
		for _, part := range q.By {
			columns = append(columns, string(part))
		}
		arms = append(arms, fmt.Sprintf("SELECT %s, currency, %s FROM %s WHERE %s%s >= %s AND %[5]s < %[7]s",
			strings.Join(columns, ", "), usedCountLayout.names(), table, where, unit, arg(from), arg(until)))
	}
	hours := func(from, until int64) {
		if from < until {
			arm("usage_hour", each("usage_hour", ""), "hour", "hour", from, until)
		}
	}
	sums := func(r rollup, from, until int) {
		if from < until {
			arm(r.table, r.where, r.day+" * 24 AS hour", r.day, from, until)
		}
	}
	from, until := max(verify.UsageHour(q.From), 0), max(verify.UsageHour(q.Until), 0)
	if until > verify.UsageHour(s.now()) { // nothing has started after now: so the day is a whole one
		until = (until + 23) / 24 * 24
	}
	first, end := (from+23)/24, until/24
	if q.Step == verify.StepHour || first >= end {
		arm("usage_hour", each("usage_hour", ""), "hour", "hour", from, until)
		return arms[0], args
	}
	days, months := rollups(q, where, each)
	firstMonth, endMonth := monthsIn(int(first), int(end))
	if q.Step == verify.StepDay || firstMonth >= endMonth {
		firstMonth, endMonth = int(end), int(end)
	}
	sums(days, int(first), firstMonth)
	sums(months, firstMonth, endMonth)
	sums(days, endMonth, int(end))
	fresh := "usage_hour"
	if !s.postgres {
		fresh += " INDEXED BY usage_fresh" // the primary key leads to all hours of a project
	}
	arm(fresh, where+"writer >= 0 AND ", "hour", "hour", first*24, end*24)
	hours(from, first*24)
	hours(end*24, until)
	return strings.Join(arms, " UNION ALL "), args
}

// monthsIn are the whole months of some days: the first day of the first one, and the day after the last one.
func monthsIn(first, end int) (from, until int) {
	if from = verify.FirstDay(first); from < first {
		from = verify.FirstDay(from + 31)
	}
	return from, verify.FirstDay(end)
}

func scanUsage(q *verify.UsageQuery) func(scanner) (verify.UsageRow, error) {
	return func(row scanner) (u verify.UsageRow, err error) {
		var application []byte
		at := map[verify.UsagePart]any{
			verify.PartProject: &u.Project, verify.PartApplication: &application, verify.PartPurpose: &u.Purpose,
			verify.PartChannel: &u.Channel, verify.PartCountry: &u.Country, verify.PartCarrier: &u.Carrier,
		}
		into := []any{&u.Hour}
		for _, part := range q.By {
			into = append(into, at[part])
		}
		into = append(into, &u.Currency, &u.Started, &u.Messages, &u.Segments, &u.Minutes, &u.Delivered, &u.Approved, &u.Cost, &u.Price, &u.Converted)
		for i := range u.Times {
			into = append(into, &u.Times[i])
		}
		err = row.Scan(into...)
		copy(u.Application[:], application)
		if hoursOf[q.Step] > 0 {
			u.Begin = verify.HourOf(u.Hour)
		}
		u.Hour = 0
		return u, err
	}
}

// byMonth adds up days.
func byMonth(days []verify.UsageRow) (months []verify.UsageRow) {
	type key struct {
		begin time.Time
		verify.UsageKey
	}
	found := map[key]int{}
	for _, day := range days {
		day.Begin = time.Date(day.Begin.Year(), day.Begin.Month(), 1, 0, 0, 0, 0, time.UTC)
		k := key{day.Begin, day.UsageKey}
		i, ok := found[k]
		if !ok {
			i = len(months)
			found[k] = i
			months = append(months, verify.UsageRow{Begin: day.Begin, UsageKey: day.UsageKey})
		}
		months[i].Add(day.Usage)
	}
	return months
}

// Recount counts again what the verifications used that started at an instant or later, and calls differ with each
// key whose rows say something else. It reads all of them in pages, so that nobody waits for it. Beside a server that
// works, what happens meanwhile may differ.
func (s *Store) Recount(ctx context.Context, from time.Time, differ func(k verify.UsageKey, counted, again verify.Usage)) error {
	from = verify.HourOf(verify.UsageHour(from))
	again := map[verify.UsageKey]verify.Usage{}
	add := func(k verify.UsageKey, u verify.Usage) {
		sum := again[k]
		sum.Add(u)
		again[k] = sum
	}
	if err := eachPage(ctx, s.upkeep, "count again", verificationLayout.names(), verificationLayout.scan, idOf, verify.FirstID(from), func(after verify.ID, page []verify.Verification) error {
		last := page[len(page)-1].ID
		ends, err := pool.All(ctx, s.upkeep, deliveryLayout.scan, selectDeliveries+` WHERE verification > $1 AND verification <= $2 AND ended_at <> 0`, after[:], last[:])
		if err != nil {
			return away("count again", err)
		}
		attempts := map[verify.ID][]verify.Delivery{}
		for _, d := range ends {
			attempts[d.Verification] = append(attempts[d.Verification], d)
		}
		for i := range page {
			verify.Recount(&page[i], attempts[page[i].ID], add)
		}
		return nil
	}); err != nil {
		return err
	}
	counted := map[verify.UsageKey]verify.Usage{}
	rows, err := pool.All(ctx, s.upkeep, usedLayout.scan, `SELECT `+usedLayout.names()+` FROM usage_hour WHERE hour >= $1`, verify.UsageHour(from))
	if err != nil {
		return away("count again", err)
	}
	for _, u := range rows {
		sum := counted[u.UsageKey]
		sum.Add(u.Usage)
		counted[u.UsageKey] = sum
		if _, ok := again[u.UsageKey]; !ok {
			again[u.UsageKey] = verify.Usage{}
		}
	}
	for k, u := range again {
		if counted[k] != u {
			differ(k, counted[k], u)
		}
	}
	return nil
}
