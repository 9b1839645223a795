package main

import (
	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type projectUsage struct {
	database
	Project string `arg:"" help:"Project's id or name."`
	By      string `help:"What to count each key's starts by: country, channel, address (of the client) or application." enum:"country,channel,address,application" default:"country"`
}

// Help explains more than a line can.
func (projectUsage) Help() string {
	return `Says what each key of a project has started in the last hour and in the last 24 hours. A key that was stolen
stands out by countries that the project doesn't send to, or by addresses that aren't its own:

  countersign project usage 'My shop'
  countersign project usage --by address 'My shop'

End it with countersign key revoke. Starts of before an update of the server have no key and no address.`
}

// Run implements the command.
func (c *projectUsage) Run(w world) error {
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		all, err := admin.New(st).Usage(w.ctx, p.ID, admin.Sight(c.By))
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, all, c.row)
	})
}

var usageHeadings = map[string]string{"country": "COUNTRY", "channel": "CHANNEL", "address": "ADDRESS", "application": "APPLICATION"}

func (c *projectUsage) row(u admin.Usage) row {
	return row{
		{"KEY", "key", u.Key}, {"NAME", "name", u.Name}, {usageHeadings[c.By], c.By, u.What},
		{"LAST HOUR", "hour", u.Hour}, {"LAST DAY", "day", u.Day}, {"LATEST", "latest", u.Last},
	}
}
