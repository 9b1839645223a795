package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// database are the flags of every command that works on a data folder, also while a server runs on it.
type database struct {
	Data string `required:"" help:"Folder of the database." env:"COUNTERSIGN_DATA" placeholder:"DIR"`
	JSON bool   `name:"json" help:"Print JSON, for programs."`
}

// with runs f on the folder's database. Only some commands make one that isn't there: after a typing
// error in DIR an empty list would mislead.
func (d database) with(ctx context.Context, create bool, f func(*store.Store) error) error {
	if _, err := os.Stat(filepath.Join(d.Data, system.DatabaseFile)); err != nil && !create {
		return fmt.Errorf("there is no database in %s (create a project first)", d.Data)
	}
	st, err := system.OpenStore(ctx, d.Data, store.Options{})
	if err != nil {
		return err
	}
	return errors.Join(f(st), st.Close())
}

type projectCommand struct {
	Create projectCreate `cmd:"" help:"Create a project."`
	List   projectList   `cmd:"" help:"List all projects."`
}

type projectCreate struct {
	database
	Name         string        `arg:"" help:"Name, for people: 1 to 100 characters."`
	ID           string        `name:"id" help:"Project id (default: a new UUID)." placeholder:"ID"`
	Profile      string        `default:"compat" enum:"compat,standard" help:"Policy: compat keeps the hosted vendors' bounds, standard NIST SP 800-63B-4's (default ${default})."`
	Sender       []string      `help:"Number that requests may send from, E.164; may be repeated (default: any)." placeholder:"NUMBER"`
	PublicText   bool          `help:"Allow requests with a text of their own and no sender."`
	SendBurst    int           `default:"${burst}" help:"Messages to one number at once, 0 for no limit (default ${default})."`
	SendInterval time.Duration `default:"${interval}" help:"After that, one each so often (default ${default})."`
	SendDaily    int           `default:"${daily}" help:"Messages to one number in any 24 hours, 0 for no limit (default ${default})."`
}

func (c *projectCreate) Run(w world) error {
	p, err := c.project()
	if err != nil {
		return err
	}
	return c.with(w.ctx, true, func(st *store.Store) error {
		if err := st.CreateProject(w.ctx, p); err != nil {
			return err
		}
		return printRows(w, c.JSON, []string{"PROJECT", "NAME", "POLICY"}, []verify.Project{p}, projectRow)
	})
}

// project checks the flags, all of them.
func (c *projectCreate) project() (verify.Project, error) {
	p := verify.Project{
		ID: verify.ProjectID(c.ID), Name: c.Name, Profile: verify.Profile(c.Profile), PublicText: c.PublicText,
		Limits: verify.Limits{Burst: c.SendBurst, Interval: c.SendInterval, Daily: c.SendDaily},
	}
	if c.ID == "" {
		p.ID = verify.ProjectID(uuid.NewString())
	}
	var wrong []string
	if !p.ID.Valid() {
		wrong = append(wrong, "--id: must be 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	if n := len([]rune(p.Name)); n < 1 || n > 100 {
		wrong = append(wrong, "name: must be 1 to 100 characters")
	}
	for _, s := range c.Sender {
		n, err := phone.Parse(s)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("--sender %q: %v", s, err))
		}
		p.Senders = append(p.Senders, n)
	}
	if l := p.Limits; l.Burst < 0 || l.Burst > 1000 || l.Daily < 0 || l.Daily > 1000 {
		wrong = append(wrong, "--send-burst, --send-daily: must be 0 to 1000")
	}
	if i := p.Limits.Interval; i < time.Second || i > 24*time.Hour {
		wrong = append(wrong, "--send-interval: must be 1s to 24h")
	}
	if wrong != nil {
		return p, usageError(strings.Join(wrong, "; "))
	}
	return p, nil
}

type projectList struct{ database }

func (c *projectList) Run(w world) error {
	return c.with(w.ctx, false, func(st *store.Store) error {
		all, err := st.Projects(w.ctx)
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, []string{"PROJECT", "NAME", "POLICY"}, all, projectRow)
	})
}

func projectRow(p verify.Project) row {
	return row{{"id", string(p.ID)}, {"name", p.Name}, {"policy", string(p.Profile)}}
}

type keyCommand struct {
	Create keyCreate `cmd:"" help:"Create an API key. Its secret is shown once."`
	List   keyList   `cmd:"" help:"List a project's keys."`
	Revoke keyRevoke `cmd:"" help:"Revoke a key: it stops working within a second."`
}

type keyCreate struct {
	database
	Project string `required:"" help:"Project id." placeholder:"ID"`
	Name    string `default:"key" help:"What the key is for (default ${default})."`
}

func (c *keyCreate) Run(w world) error {
	return c.with(w.ctx, false, func(st *store.Store) error {
		secret := verify.NewKey()
		k := verify.Key{ID: verify.NewID(time.Now()), Project: verify.ProjectID(c.Project), Name: c.Name, Hash: verify.HashKey(secret)}
		if err := st.CreateKey(w.ctx, k); err != nil {
			return err
		}
		if !c.JSON {
			fmt.Fprintln(w.stderr, "The token is shown this once; only its hash is stored.")
		}
		return printRows(w, c.JSON, []string{"KEY", "PROJECT", "TOKEN"}, []verify.Key{k}, func(k verify.Key) row {
			return row{{"id", k.ID.String()}, {"project", string(k.Project)}, {"token", secret.Reveal()}}
		})
	})
}

type keyList struct {
	database
	Project string `required:"" help:"Project id." placeholder:"ID"`
}

func (c *keyList) Run(w world) error {
	return c.with(w.ctx, false, func(st *store.Store) error {
		all, err := st.Keys(w.ctx, verify.ProjectID(c.Project))
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, []string{"KEY", "NAME", "CREATED", "REVOKED"}, all, func(k verify.Key) row {
			revoked := ""
			if !k.RevokedAt.IsZero() {
				revoked = k.RevokedAt.UTC().Format(time.RFC3339)
			}
			return row{{"id", k.ID.String()}, {"name", k.Name}, {"created_at", k.ID.Time().UTC().Format(time.RFC3339)}, {"revoked_at", revoked}}
		})
	})
}

type keyRevoke struct {
	database
	Key string `arg:"" help:"Key id, as 'key list' shows it."`
}

func (c *keyRevoke) Run(w world) error {
	id, err := verify.ParseID(c.Key)
	if err != nil {
		return usageError("key: must be a key's id, as 'countersign key list' shows it (not its token)")
	}
	return c.with(w.ctx, false, func(st *store.Store) error { return st.RevokeKey(w.ctx, id) })
}

// A row is one line of a table, or one JSON object: names and values.
type row [][2]string

// printRows writes a table for people, or an array of JSON objects for programs.
func printRows[T any](w world, asJSON bool, header []string, all []T, toRow func(T) row) error {
	if asJSON {
		objects := make([]map[string]string, 0, len(all))
		for _, v := range all {
			o := map[string]string{}
			for _, field := range toRow(v) {
				o[field[0]] = field[1]
			}
			objects = append(objects, o)
		}
		return json.NewEncoder(w.stdout).Encode(objects)
	}
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(header, "\t"))
	for _, v := range all {
		var cells []string
		for _, field := range toRow(v) {
			cells = append(cells, field[1])
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}
