package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Usage is what a project used.
type Usage struct {
	Rows []UsageRow `json:"rows" nullable:"false" doc:"In the order of time, then of what divides them."`
}

// A UsageRow is the usage of one time and of one of each part that the rows are divided by.
type UsageRow struct {
	Begin       *time.Time `json:"begin,omitempty" doc:"When the hour, the day or the month begins, if the rows are divided by one."`
	Application string     `json:"application,omitempty" format:"uuid" doc:"The application, if the rows are divided by it."`
	Purpose     string     `json:"purpose,omitempty" doc:"The purpose, if the rows are divided by it."`
	Channel     string     `json:"channel,omitempty" doc:"The channel, if the rows are divided by it."`
	Country     string     `json:"country,omitempty" doc:"The country of the number, if the rows are divided by it."`
	Carrier     string     `json:"carrier,omitempty" doc:"The carrier, if the rows are divided by it. The row without one has what is no carrier's: the verifications themselves."`
	Started     int        `json:"started" doc:"Verifications that were started."`
	Messages    int        `json:"messages" doc:"Messages that a carrier has, or may have."`
	Segments    int        `json:"segments" doc:"The segments of the texts among them."`
	Minutes     int        `json:"minutes" doc:"The minutes that were begun of calls that the server made itself."`
	Delivered   int        `json:"delivered" doc:"Messages that arrived, as their carriers reported."`
	Approved    int        `json:"approved" doc:"Verifications that a right code approved."`
	Converted   int        `json:"converted" doc:"Verifications that were approved and whose last message the carrier had. Beside a carrier's messages, it is the carrier's conversion."`
	Cost        *Money     `json:"cost,omitempty" doc:"What the project is charged, if the server has prices. Amounts of several currencies are in several rows."`
	PerApproval *Money     `json:"cost_per_approval,omitempty" doc:"The cost divided by the approvals, if there were any: by approved, or by converted in the row of a carrier."`
	ToHandset   *ToHandset `json:"time_to_handset,omitempty" doc:"How long messages took until their carriers reported them as delivered, or until their calls were answered. It is missing where nothing is known to have arrived."`
}

// ToHandset says how long messages took. The server counts them in ten spans of time, so the times are estimates.
type ToHandset struct {
	P50 float64 `json:"p50" doc:"Half of the messages arrived within so many seconds. 60 stands for a minute and more."`
	P95 float64 `json:"p95" doc:"95 % arrived within so many seconds. 60 stands for a minute and more."`
}

// A UsageFilter says which usage to read.
type UsageFilter struct {
	From, Until time.Time // of the starts, cut to the hour; zero: the last 30 days
	Step        string    // "hour", "day", "month", or "" for the whole time
	By          []string  // "application", "purpose", "channel", "country", "carrier"
}

// Usage reads what the key's project used.
func (c *Client) Usage(ctx context.Context, f UsageFilter) ([]UsageRow, error) {
	query := url.Values{}
	for name, value := range map[string]string{"from": stamp(f.From), "until": stamp(f.Until), "step": f.Step, "by": strings.Join(f.By, ",")} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var u Usage
	err := c.call(ctx, http.MethodGet, "/v1/usage?"+query.Encode(), nil, &u)
	return u.Rows, err
}
