package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type projectUsage struct {
	database
	ID string `arg:"" name:"project" help:"Project id."`
	By string `help:"What to count each key's starts by: country, channel, address (of the client) or application." enum:"country,channel,address,application" default:"country"`
}

// Help explains more than a line can.
func (projectUsage) Help() string {
	return `Says what each key of a project has started in the last hour and in the last 24 hours. A key that was stolen
stands out by countries that the project doesn't send to, or by addresses that aren't its own:

  countersign project usage --config countersign.yaml 3db70d26-b366-4714-897b-f1ec9588ad06
  countersign project usage --config countersign.yaml --by address 3db70d26-b366-4714-897b-f1ec9588ad06

End it with countersign key revoke. Starts of before an update of the server have no key and no address.`
}

// A usage is how often a key has started something.
type usage struct {
	key       verify.ID
	name      string // of the key
	what      string
	hour, day int
	last      time.Time
}

// Run implements the command.
func (c *projectUsage) Run(w world) error {
	return c.with(w.ctx, false, func(st *store.Store) error {
		p, err := one(w.ctx, st, c.ID)
		if err != nil {
			return err
		}
		keys, err := st.Keys(w.ctx, p.ID)
		if err != nil {
			return err
		}
		all, err := c.count(w, st, p.ID, st.Now())
		if err != nil {
			return err
		}
		for i := range all {
			all[i].name = "unknown"
			if k := slices.IndexFunc(keys, func(k verify.Key) bool { return k.ID == all[i].key }); k >= 0 {
				all[i].name = keys[k].Name
			}
		}
		return printRows(w, c.JSON, all, c.row)
	})
}

// count counts the starts of a day, the most of the last hour first.
func (c *projectUsage) count(w world, st *store.Store, p verify.ProjectID, now time.Time) ([]usage, error) {
	type group struct {
		key  verify.ID
		what string
	}
	groups := map[group]*usage{}
	err := st.EachStart(w.ctx, p, now.Add(-24*time.Hour), func(s store.Started) {
		g := group{s.Key, c.what(&s)}
		u := groups[g]
		if u == nil {
			u = &usage{key: g.key, what: g.what}
			groups[g] = u
		}
		u.day++
		if u.last = s.ID.Time(); now.Sub(u.last) < time.Hour {
			u.hour++
		}
	})
	var all []usage
	for _, u := range groups {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b usage) int {
		return cmp.Or(cmp.Compare(b.hour, a.hour), cmp.Compare(b.day, a.day), cmp.Compare(a.what, b.what), slices.Compare(a.key[:], b.key[:]))
	})
	return all, err
}

func (c *projectUsage) what(s *store.Started) string {
	switch c.By {
	case "channel":
		return string(s.Channel)
	case "address":
		return cmp.Or(s.Address, "unknown")
	case "application":
		return uuid.UUID(s.Application).String()
	}
	return cmp.Or(s.To.Region(), "unknown")
}

var usageHeadings = map[string]string{"country": "COUNTRY", "channel": "CHANNEL", "address": "ADDRESS", "application": "APPLICATION"}

func (c *projectUsage) row(u usage) row {
	return row{
		{"KEY", "key", u.key}, {"NAME", "name", u.name}, {usageHeadings[c.By], c.By, u.what},
		{"LAST HOUR", "hour", u.hour}, {"LAST DAY", "day", u.day}, {"LATEST", "latest", u.last},
	}
}
