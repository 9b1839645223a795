package api

import (
	"context"
	"net/http"
)

// Kinds of senders.
const (
	Number = "number"
	Name   = "name"
)

// Senders are what a project's messages may come from.
type Senders struct {
	Senders []Sender `json:"senders" nullable:"false" doc:"The server's public sender first, then the project's own."`
	Any     bool     `json:"any" doc:"Whether messages may also come from every number and name that isn't another project's."`
}

// A Sender is a number, or a name such as ACME, that messages come from.
type Sender struct {
	Sender   string   `json:"sender" example:"ACME" doc:"A number in E.164, a short code, or a name of 1 to 11 letters and digits."`
	Kind     string   `json:"kind" enum:"number,name" doc:"Short codes are names."`
	Channels []string `json:"channels" nullable:"false" doc:"How messages may come from it: calls come from numbers only."`
	Public   bool     `json:"public" doc:"Whether it is the server's, which is used where a start names none."`
	OwnText  bool     `json:"own_text" doc:"Whether it says texts and templates of yours."`
}

// Senders lists what the project's messages may come from.
func (c *Client) Senders(ctx context.Context) (s Senders, err error) {
	return s, c.call(ctx, http.MethodGet, "/v1/senders", nil, &s)
}
