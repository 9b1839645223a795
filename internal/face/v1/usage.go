package v1

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/verify"
)

// A usageFilter asks for usage. It is read from the query, where all is text.
type usageFilter struct {
	From  string `json:"from,omitempty" format:"date-time" doc:"Only verifications started at this time or later, as RFC 3339 has it. It is cut to the hour. By default 30 days ago."`
	Until string `json:"until,omitempty" format:"date-time" doc:"Only those started before this time, cut to the hour. By default the end of this hour."`
	Step  string `json:"step,omitempty" enum:"hour,day,month" doc:"One row for each hour, day or month, of UTC. By default one for the whole time."`
	By    string `json:"by,omitempty" example:"country,channel" doc:"What rows are divided by, with commas between: application, purpose, channel, country and carrier."`
}

// defaultUsage is how far a list goes back unless its caller says.
const defaultUsage = 30 * 24 * time.Hour

func (s *Server) readUsage(c face.Call, in usageFilter) (api.Usage, error) {
	now := s.Service.Now()
	q := verify.UsageQuery{From: now.Add(-defaultUsage), Until: now.Add(time.Hour), Step: verify.UsageStep(in.Step)}
	readTime(&c.In, "from", in.From, &q.From)
	readTime(&c.In, "until", in.Until, &q.Until)
	if in.By != "" {
		for word := range strings.SplitSeq(in.By, ",") {
			part := verify.UsagePart(word)
			switch {
			case part == verify.PartProject || !slices.Contains(verify.UsageParts, part):
				c.In.Wrong("by", "may have application, purpose, channel, country and carrier, with commas between")
			case slices.Contains(q.By, part):
				c.In.Wrong("by", "has a part twice")
			}
			q.By = append(q.By, part)
		}
	}
	if len(c.In.Problems) > 0 {
		return api.Usage{}, s.Invalid(c.In, nil)
	}
	rows, err := s.Service.Usage(c.Context(), c.Account, q)
	if errors.Is(err, verify.ErrTooMuchUsage) {
		c.In.Wrong("by", err.Error())
		return api.Usage{}, s.Invalid(c.In, nil)
	}
	if err != nil {
		return api.Usage{}, err
	}
	page := api.Usage{Rows: make([]api.UsageRow, len(rows))}
	for i := range rows {
		page.Rows[i] = usageRow(&q, &rows[i])
	}
	return page, nil
}

func usageRow(q *verify.UsageQuery, u *verify.UsageRow) api.UsageRow {
	w := api.UsageRow{
		Begin: when(u.Begin), Purpose: string(u.Purpose), Channel: string(u.Channel), Country: u.Country, Carrier: u.Carrier,
		Started: u.Started, Messages: u.Messages, Segments: u.Segments, Minutes: u.Minutes, Delivered: u.Delivered, Approved: u.Approved, Converted: u.Converted,
		Cost: priced(u.Price, u.Currency), ToHandset: toHandset(&u.Times),
	}
	if each, ok := u.PerApproval(u.Price); ok {
		w.PerApproval = priced(each, u.Currency)
	}
	if slices.Contains(q.By, verify.PartApplication) {
		w.Application = uuid.UUID(u.Application).String()
	}
	return w
}

func toHandset(t *verify.Times) *api.ToHandset {
	if *t == (verify.Times{}) {
		return nil
	}
	seconds := func(share float64) float64 {
		d, _ := t.Quantile(share)
		return d.Round(100 * time.Millisecond).Seconds()
	}
	return &api.ToHandset{P50: seconds(0.5), P95: seconds(0.95)}
}
