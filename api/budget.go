package api

import (
	"context"
	"net/http"
)

// A Budget is what a project may spend, and what it has spent. Days and months are those of UTC.
type Budget struct {
	Day     BudgetPeriod `json:"day" doc:"This day."`
	Month   BudgetPeriod `json:"month" doc:"This month."`
	Balance *Money       `json:"balance,omitempty" doc:"What is left of what was paid in, if the project is prepaid."`
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
