package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// States of a channel to a country.
const (
	Available = "available"
	Down      = "down"
	Unserved  = "unserved"
)

// Channels are how a message can go to a number now.
type Channels struct {
	To       string    `json:"to" doc:"The number, in E.164."`
	Country  string    `json:"country" example:"US" doc:"Its country: two letters of ISO 3166, or 001 for none."`
	Channels []Channel `json:"channels" nullable:"false" doc:"All channels."`
}

// A Channel is whether messages go to a country by it.
type Channel struct {
	Channel string     `json:"channel" enum:"sms,voice" doc:"The channel."`
	State   string     `json:"state" enum:"available,down,unserved" doc:"available: a carrier takes messages. down: all carriers have failed lately. unserved: the server has none."`
	RetryAt *time.Time `json:"retry_at,omitempty" doc:"When a carrier that is down is tried again."`
}

// Channels says by which channels a message can go to a number now.
func (c *Client) Channels(ctx context.Context, to string) (all Channels, err error) {
	return all, c.call(ctx, http.MethodGet, "/v1/channels?"+url.Values{"to": {to}}.Encode(), nil, &all)
}
