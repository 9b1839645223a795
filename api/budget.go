package api

import (
	"context"
	"net/http"
	"time"
)

// A Budget is what a project may spend, and what it has spent. Days and months are those of UTC.
type Budget struct {
	Hour    BudgetHour   `json:"hour" doc:"This hour."`
	Day     BudgetPeriod `json:"day" doc:"This day."`
	Month   BudgetPeriod `json:"month" doc:"This month."`
	Balance *Money       `json:"balance,omitempty" doc:"What is left of what was paid in, if the project is prepaid."`

	Reached []BudgetMark `json:"reached" nullable:"false" doc:"The caps of which at least half is used."`
}

// A BudgetHour is how many messages a project may start in an hour, and how many it has started.
type BudgetHour struct {
	Messages    int  `json:"messages" doc:"Messages that a carrier has, may have, or was about to get. One that no carrier took still counts."`
	MaxMessages *int `json:"max_messages,omitempty" doc:"How many there may be, if that is bounded."`
}

// A BudgetMark says which part of a cap was used up last, and when.
type BudgetMark struct {
	Cap     string    `json:"cap" enum:"hour_messages,day_messages,month_messages,day_amount,month_amount,balance" doc:"The cap."`
	Percent int       `json:"percent" enum:"50,80,100" doc:"The part: 50, 80 or 100 percent."`
	At      time.Time `json:"at" doc:"When it was used up."`
}

// A BudgetPeriod is what a project may spend in a day or a month, and what it has spent. Of a project without a budget nothing
// is counted.
type BudgetPeriod struct {
	Messages    int    `json:"messages" doc:"Messages that a carrier has, may have, or is about to get."`
	MaxMessages *int   `json:"max_messages,omitempty" doc:"How many there may be, if that is bounded."`
	Amount      *Money `json:"amount,omitempty" doc:"What the project is charged, if the server has prices."`
	MaxAmount   *Money `json:"max_amount,omitempty" doc:"How much that may be, if it is bounded."`
}

// Budget reads the budget of the key's project.
func (c *Client) Budget(ctx context.Context) (Budget, error) {
	var b Budget
	err := c.call(ctx, http.MethodGet, "/v1/budget", nil, &b)
	return b, err
}
