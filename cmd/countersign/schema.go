package main

import (
	"github.com/countersign/countersign/internal/store"
)

type migrateCommands struct {
	Move   migrateCommand `cmd:"" default:"withargs" help:"Move an installation from SQLite to PostgreSQL."`
	Schema schemaCommand  `cmd:"" help:"Bring a database's schema up to date, also while servers run on it."`
}

type schemaCommand struct{ database }

// Help explains more than a line can.
func (schemaCommand) Help() string {
	return `A new server does this when it starts. Run it before to do so at a time of your choice: servers of the version
before go on working. On PostgreSQL it waits for transactions that read the tables, such as a dump's, and
lets everybody else through meanwhile.`
}

// Run implements the command.
func (c *schemaCommand) Run(w world) error {
	if err := c.each(w.ctx, store.Options{Migrate: true}, func(store.Shard, *store.Store) error { return nil }); err != nil {
		return err
	}
	return printDone(w, c.JSON, row{{"", "schema", "current"}}, "The schema is up to date.")
}
