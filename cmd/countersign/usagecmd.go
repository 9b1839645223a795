package main

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type usageCommand struct {
	database
	Project string   `help:"Only this project's, by its id or name (default: all)."`
	From    string   `help:"Only of verifications started on this day or later, of UTC (default: 30 days ago)." placeholder:"2026-01-31"`
	Until   string   `help:"Only of those started before this day (default: until now)." placeholder:"2026-02-28"`
	Step    string   `help:"A row for each hour, day or month (default: one for the whole time)." enum:",hour,day,month" default:""`
	By      []string `help:"What to divide by, with commas between: project, application, purpose, channel, country, carrier (default: project)." default:"project" placeholder:"PART,..."`
	CSV     bool     `name:"csv" help:"Print CSV, for a spreadsheet."`
	Recount bool     `help:"Count again from the verifications that are still stored, and print what differs. Stop the servers before."`
}

// Help explains more than a line can.
func (usageCommand) Help() string {
	return `Says what projects used, what carriers took for it and what the projects are charged: docs/money.md.

  countersign usage --step month --by project
  countersign usage --project 'My shop' --step day --by country,carrier --from 2026-11-01 --until 2026-12-01 --csv

All that a verification uses counts for the hour in which it started. Verifications are of no carrier; an approval also counts
for the carrier that had the last message. P50 and P95 are seconds until half and 95 % of the messages arrived.`
}

// Run implements the command.
func (c *usageCommand) Run(w world) error {
	q, err := c.query(time.Now())
	if err != nil {
		return err
	}
	d := c.database
	if c.Project != "" {
		if d, err = d.of(w.ctx, c.Project); err != nil {
			return err
		}
	}
	return d.with(w.ctx, false, func(st *store.Store) error {
		if c.Project != "" {
			p, err := admin.New(st).FindProject(w.ctx, c.Project)
			if err != nil {
				return err
			}
			q.Project = p.ID
		}
		if c.Recount {
			return c.recount(w, st, q)
		}
		rows, err := st.Usage(w.ctx, q)
		if err != nil {
			return err
		}
		toRow := func(u verify.UsageRow) row { return usageRow(&q, &u) }
		if c.CSV {
			return printCSV(w, rows, toRow)
		}
		return printRows(w, c.JSON, rows, toRow)
	})
}

func (c *usageCommand) query(now time.Time) (q verify.UsageQuery, err error) {
	q = verify.UsageQuery{From: now.Add(-30 * 24 * time.Hour), Until: now.Add(time.Hour), Step: verify.UsageStep(c.Step)}
	for _, day := range []struct {
		flag, text string
		at         *time.Time
	}{{"from", c.From, &q.From}, {"until", c.Until, &q.Until}} {
		if day.text == "" {
			continue
		}
		if *day.at, err = time.Parse(time.DateOnly, day.text); err != nil {
			return q, usageError("--" + day.flag + " must be a day such as 2026-01-31")
		}
	}
	for _, word := range c.By {
		part := verify.UsagePart(word)
		if !slices.Contains(verify.UsageParts, part) || slices.Contains(q.By, part) {
			return q, usageError("--by has " + strconv.Quote(word) + ": it may have project, application, purpose, channel, country and carrier, each once, with commas between")
		}
		q.By = append(q.By, part)
	}
	return q, nil
}

// usageRow has the time and the parts that the list is divided by, then the counts.
func usageRow(q *verify.UsageQuery, u *verify.UsageRow) row {
	var r row
	if q.Step != verify.StepWhole {
		r = append(r, field{"FROM", "begin", u.Begin})
	}
	for _, part := range q.By {
		value := map[verify.UsagePart]any{
			verify.PartProject: u.Project, verify.PartApplication: uuid.UUID(u.Application).String(), verify.PartPurpose: u.Purpose,
			verify.PartChannel: u.Channel, verify.PartCountry: u.Country, verify.PartCarrier: u.Carrier,
		}[part]
		r = append(r, field{strings.ToUpper(string(part)), string(part), value})
	}
	conversion := ""
	if approved, of := u.Approvals(); of > 0 {
		conversion = fmt.Sprintf("%d.%d %%", approved*100/of, approved*1000/of%10)
	}
	each := ""
	if cost, ok := u.PerApproval(u.Cost); ok {
		each = cost.String()
	}
	return append(r,
		field{"STARTED", "started", u.Started}, field{"MESSAGES", "messages", u.Messages}, field{"SEGMENTS", "segments", u.Segments}, field{"MINUTES", "minutes", u.Minutes},
		field{"DELIVERED", "delivered", u.Delivered}, field{"APPROVED", "approved", u.Approved}, field{"", "converted", u.Converted}, field{"CONVERSION", "", conversion},
		field{"P50", "p50_seconds", toHandset(&u.Times, 0.5)}, field{"P95", "p95_seconds", toHandset(&u.Times, 0.95)},
		field{"COST", "cost", u.Cost.String()}, field{"PER APPROVAL", "cost_per_approval", each}, field{"PRICE", "price", u.Price.String()}, field{"CURRENCY", "currency", u.Currency})
}

// toHandset is the time within which a share of the messages arrived, in seconds; "" if nothing is known to have arrived.
func toHandset(t *verify.Times, share float64) string {
	if *t == (verify.Times{}) {
		return ""
	}
	d, _ := t.Quantile(share)
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64)
}

// printCSV writes the rows under their names for programs.
func printCSV[T any](w world, all []T, toRow func(T) row) error {
	out := csv.NewWriter(w.stdout)
	line := func(r row, cell func(field) string) {
		var cells []string
		for _, f := range r {
			if f.name != "" {
				cells = append(cells, cell(f))
			}
		}
		out.Write(cells) // its error is that of Flush
	}
	var none T
	line(toRow(none), func(f field) string { return f.name })
	for _, v := range all {
		line(toRow(v), func(f field) string { return fmt.Sprint(forPrograms(f.value)) })
	}
	out.Flush()
	return out.Error()
}

// recount prints what a recount finds to differ.
func (c *usageCommand) recount(w world, st *store.Store, q verify.UsageQuery) error {
	differences := 0
	if err := st.Recount(w.ctx, q.From, func(k verify.UsageKey, counted, again verify.Usage) {
		if q.Project == "" || q.Project == k.Project {
			differences++
			fmt.Fprintf(w.stdout, "project %s, hour %s, %s to %s by carrier %q: counted %+v, stored %+v\n",
				k.Project, stamp(verify.HourOf(k.Hour)), k.Channel, k.Country, k.Carrier, counted, again)
		}
	}); err != nil {
		return err
	}
	if differences > 0 {
		return fmt.Errorf("%d sums differ from what is stored", differences)
	}
	_, err := fmt.Fprintln(w.stdout, "The usage is what the stored verifications say.")
	return err
}
