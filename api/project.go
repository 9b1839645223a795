package api

import (
	"context"
	"net/http"
)

// A Project is what a project may do, as its operator has decided.
type Project struct {
	ID             string   `json:"id" doc:"The project's id."`
	Name           string   `json:"name" doc:"For people."`
	Policy         string   `json:"policy" enum:"compat,standard" doc:"The bounds of codes: compat keeps the vendors', standard has stricter ones."`
	MinCodeLength  int      `json:"min_code_length" doc:"How many characters a code has at least; some formats need more."`
	MaxCodeLength  int      `json:"max_code_length" doc:"How many characters a code has at most."`
	MaxValidFor    int      `json:"max_valid_for" doc:"How long a code can be used at most, in seconds."`
	MaxMaxAttempts int      `json:"max_max_attempts" doc:"How many guesses a verification may allow at most."`
	SendBurst      int      `json:"send_burst" doc:"Messages to one number that may follow one another; 0 is no limit."`
	SendInterval   int      `json:"send_interval" doc:"After these, one each so many seconds."`
	SendDaily      int      `json:"send_daily" doc:"Messages to one number in any 24 hours; 0 is no limit."`
	AnyCountry     bool     `json:"any_country" doc:"Whether messages may go to every country."`
	Countries      []string `json:"countries" nullable:"false" doc:"Where they may go otherwise: two letters each; 001 is numbers of no country."`
	Kinds          []string `json:"kinds" nullable:"false" doc:"Kinds of numbers that are allowed beside ordinary ones."`
	OnlyNumbers    []string `json:"only_numbers" nullable:"false" doc:"The only numbers that messages may go to, while the project is tried; none: all."`
	Trial          bool     `json:"trial" doc:"Whether the project is being tried: messages go to only_numbers alone, also if there are none. A verification of the purpose trial_number confirms one."`
	Senders        []string `json:"senders" nullable:"false" doc:"Numbers and names that messages may come from, beside the server's public sender."`
	AnySender      bool     `json:"any_sender" doc:"Whether they may come from all that aren't another project's."`
	LinkHosts      []string `json:"link_hosts" nullable:"false" doc:"Web sites that texts may name, with the sites below them."`
	AnyLink        bool     `json:"any_link" doc:"Whether texts may name any web site."`
	OwnText        bool     `json:"own_text" doc:"Whether a text of the caller's may go out by the public sender."`
}

// Project reads what the key's project may do.
func (c *Client) Project(ctx context.Context) (p Project, err error) {
	return p, c.call(ctx, http.MethodGet, "/v1/project", nil, &p)
}
