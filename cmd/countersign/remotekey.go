package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/verify"
)

// asksServerAboutKeys ends the help of commands about keys.
const asksServerAboutKeys = `Without a database, by flag or variable, but with an API key in the variable COUNTERSIGN_TOKEN, it asks a running server by its API: then it is about the keys of that key's project. The key needs the scope manage.
It exits with 0; with 1 if the server or the database refuses or doesn't answer; and with 2 if the command line is wrong.`

// Help explains more than a line can.
func (keyCreate) Help() string {
	return asksServerAboutKeys + ` A server makes no key that can do more, or works longer, than the one that asks.`
}

// Help explains more than a line can.
func (keyList) Help() string { return asksServerAboutKeys }

// Help explains more than a line can.
func (keyRevoke) Help() string { return asksServerAboutKeys }

func (c *keyCreate) createRemote(w world) error {
	if c.Consumer {
		return usageError("--consumer: needs the database, by --config or --data")
	}
	ends, err := instant(c.Expires, time.Now())
	if err != nil {
		return usageError(fmt.Sprintf("--expires %q: %v", c.Expires, err))
	}
	n := api.NewKey{Name: c.Name, Scopes: c.Scope}
	if len(n.Scopes) == 0 {
		n.Scopes = verify.DefaultScopes.Words()
	}
	if !ends.IsZero() {
		n.ExpiresAt = &ends
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	k, err := client.CreateKey(w.ctx, n)
	if err != nil {
		return c.explain(err)
	}
	if c.JSON {
		return printJSON(w, k)
	}
	fmt.Fprintln(w.stderr, "Secrets are shown this once; only their hashes are stored.")
	return printOne(w, false, row{{"KEY", "", k.ID}, {"TOKEN", "", k.Secret}})
}

func (c *keyList) listRemote(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	all := []api.Key{}
	for k, err := range client.Keys(w.ctx) {
		if err != nil {
			return c.explain(err)
		}
		all = append(all, k)
	}
	if c.JSON {
		return printJSON(w, all)
	}
	at := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return stamp(*t)
	}
	return printRows(w, false, all, func(k api.Key) row {
		return row{
			{"KEY", "", k.ID}, {"NAME", "", k.Name}, {"CREATED", "", k.CreatedAt}, {"REVOKED", "", at(k.RevokedAt)},
			{"EXPIRES", "", at(k.ExpiresAt)}, {"LAST USED", "", at(k.LastUsedAt)}, {"SCOPES", "", strings.Join(k.Scopes, " ")},
		}
	})
}

func (c *keyRevoke) revokeRemote(w world, id string) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var p *api.Problem
	if err := client.RevokeKey(w.ctx, id); errors.As(err, &p) && p.Status == 404 {
		return fmt.Errorf("key %s: %s", id, p.Detail)
	} else if err != nil {
		return c.explain(err)
	}
	return printDone(w, c.JSON, row{{"", "id", id}}, "Revoked key %s.", id)
}
