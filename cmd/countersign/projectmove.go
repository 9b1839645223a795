package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type projectMove struct {
	database
	Project string `arg:"" help:"Project's id or name."`
	To      string `help:"Shard to move it to, one of database.shards." placeholder:"SHARD"`
	Abort   bool   `help:"Undo a move that was stopped, before the project was in the other shard."`
}

// Help explains more than a line can.
func (projectMove) Help() string {
	return `Moves a project with all that belongs to it to another one of database.shards: keys, applications, users, verifications, limits,
usage, budgets and ledger. Other projects go on. The project's own requests are answered 503 with Retry-After for some seconds, at least one.
Messages that are on their way arrive, and none is sent twice. The audit logs of both shards have the move.

If the command is stopped, run it again: it goes on. Until the project is in the other shard, --abort undoes it. All servers must have
both shards in their configuration, and the version of this program: while one runs that hasn't, the command refuses.

  countersign project move Shop --to b --config countersign.yaml`
}

// Run implements the command.
func (c *projectMove) Run(w world) error {
	if c.Shard != "" {
		return usageError("--shard: leave it out, the command finds the project; --to names the shard to move it to")
	}
	_, all, err := c.findAll()
	if err != nil {
		return err
	}
	if len(all) < 2 {
		return errors.New("project move needs a configuration with several database.shards, in PostgreSQL: docs/scale.md says how to make shards")
	}
	move, there, err := c.find(w, all)
	if err != nil {
		return err
	}
	if there {
		return printDone(w, c.JSON, row{{"", "project", move.Project}, {"", "to", c.To}, {"", "rows", 0}}, "Project %s is on shard %s.", move.Project, c.To)
	}
	if c.Abort {
		if err := store.AbortProjectMove(w.ctx, move); err != nil {
			return fmt.Errorf("project move: %w", remedied(err))
		}
		return printDone(w, c.JSON, row{{"", "project", move.Project}, {"", "shard", move.From.Name}}, "Project %s stays on shard %s.", move.Project, move.From.Name)
	}
	move.Progress = func(step string) {
		if said := map[string]string{"fenced": "The project's requests are answered 503.", "turned": "The project is on shard " + c.To + ", and works. Deleting what is left on shard " + move.From.Name + "."}[step]; said != "" {
			fmt.Fprintln(w.stderr, said)
		}
	}
	done, err := store.MoveProject(w.ctx, move)
	if err != nil {
		return fmt.Errorf("project move: %w", remedied(err))
	}
	return printDone(w, c.JSON, row{{"", "project", move.Project}, {"", "from", move.From.Name}, {"", "to", c.To}, {"", "rows", done.Rows}, {"", "fenced_seconds", done.Fenced}},
		"Moved project %s from shard %s to shard %s: %d rows. Its requests were answered 503 for %.1f s.", move.Project, move.From.Name, c.To, done.Rows, done.Fenced.Seconds())
}

// find finds the project, and the shards that it leaves and goes to. It reports whether the project is where it shall go, and
// nothing of it is left elsewhere.
func (c *projectMove) find(w world, all []store.Shard) (m store.ProjectMoving, there bool, err error) {
	m.Actor = string(actor())
	var ids []verify.ProjectID
	places, moves := map[verify.ProjectID][]store.Shard{}, map[verify.ProjectID]store.ProjectMove{}
	leaving := map[verify.ProjectID]store.Shard{}
	away := c.each(w.ctx, store.Options{}, func(s store.Shard, st *store.Store) error {
		projects, err := st.Projects(w.ctx)
		if err != nil {
			return err
		}
		for _, p := range projects {
			if string(p.ID) != c.Project && p.Name != c.Project {
				continue
			}
			if !slices.Contains(ids, p.ID) {
				ids = append(ids, p.ID)
			}
			if !p.Moving {
				places[p.ID] = append(places[p.ID], s)
			}
		}
		known, err := st.ProjectMoves(w.ctx)
		for _, k := range known {
			if k.Moving() {
				leaving[k.Project], moves[k.Project] = s, k
			}
		}
		return err
	})
	if i := slices.Index(ids, verify.ProjectID(c.Project)); i >= 0 { // an id that is another project's name
		ids = ids[i : i+1]
	}
	switch {
	case len(ids) > 1:
		return m, false, fmt.Errorf("%d projects are called %q; name one by its id: %v", len(ids), c.Project, ids)
	case len(ids) == 0 && away != nil:
		return m, false, away
	case len(ids) == 0:
		return m, false, fmt.Errorf("project %s: %w", c.Project, verify.ErrNoProject)
	}
	m.Project = ids[0]
	from, begun := leaving[m.Project]
	here := places[m.Project]
	if other := moves[m.Project].Other; begun && len(here) > 0 && here[0].Name != other {
		here = append(here, from) // not where it went from there
	}
	switch {
	case len(here) > 1: // one was brought back to before the project left it
		return m, false, fmt.Errorf("shards %s each have the project: start a server, which compares them, and run the command again when it has logged which one gives it up", names(here))
	case !begun && len(here) == 0:
		return m, false, fmt.Errorf("project %s: it has left its shard, and is on none of %s", m.Project, names(all))
	case !begun:
		from = here[0]
	}
	m.From = from
	if c.Abort && c.To == "" {
		if !begun {
			return m, false, fmt.Errorf("project %s isn't being moved; to take back a move that was killed before it began, say --to as well", m.Project)
		}
		c.To = moves[m.Project].Other
	}
	i := slices.IndexFunc(all, func(s store.Shard) bool { return s.Name == c.To })
	switch {
	case c.To == "":
		return m, false, usageError("--to: name the shard to move the project to, one of " + names(all))
	case i < 0:
		return m, false, usageError(fmt.Sprintf("--to: there is no shard %q; there are %s", c.To, names(all)))
	}
	m.To = all[i]
	return m, !begun && from.Name == c.To, nil
}
