package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/store"
)

type schemasCommand struct {
	Create schemaCreate `cmd:"" help:"Create a schema for another installation in the same database."`
	List   schemaList   `cmd:"" help:"List the schemas of the database that hold an installation."`
	Move   schemaMove   `cmd:"" help:"Move a schema to another worker of Citus, while servers work on it."`
}

// findPostgres is the PostgreSQL of a configuration. name, if given, takes the place of its schema.
func (d database) findPostgres(name string) (*store.Postgres, error) {
	_, all, err := d.findAll()
	if err != nil {
		return nil, err
	}
	pg := all[0].Postgres
	if i := slices.IndexFunc(all, func(s store.Shard) bool { return sharded(all) && s.Schema == name }); i >= 0 {
		pg = all[i].Postgres
	}
	if pg == nil {
		return nil, errors.New("only PostgreSQL has schemas: this database is an SQLite file")
	}
	if name == "" {
		return pg, nil
	}
	if err := store.CheckSchemaName(name); err != nil {
		return nil, usageError(fmt.Sprintf("NAME: %v", err))
	}
	pg.Schema = name
	if err := pg.CheckSchema(); err != nil {
		return nil, fmt.Errorf("schema %s: %w", name, err)
	}
	return pg, nil
}

type schemaCreate struct {
	database
	Name string `arg:"" help:"Name: lower-case letters, digits and underscores, at most 63."`
}

// Help explains more than a line can.
func (schemaCreate) Help() string {
	return `Makes the schema and its tables in the database that the configuration names, and on Citus puts it on the worker that holds
least. Then name it as database.schema in the configuration of the installation that shall use it.

  countersign schema create verify_b --config countersign.yaml`
}

// Run implements the command.
func (c *schemaCreate) Run(w world) error {
	pg, err := c.findPostgres(c.Name)
	if err != nil {
		return err
	}
	s, err := store.CreateSchema(w.ctx, pg, string(actor()))
	if err != nil {
		return fmt.Errorf("schema create: %w", remedied(err))
	}
	where := ""
	if s.Node != "" {
		where = " on " + s.Node
	}
	return printDone(w, c.JSON, schemaRow(s), "Created schema %s%s. Name it in a configuration: database.schema.", s.Name, where)
}

type schemaList struct{ database }

// Help explains more than a line can.
func (schemaList) Help() string {
	return `Lists the schemas that the database's user may use: where each is, how large, how many verifications it keeps, and the
version of its tables.

  countersign schema list --config countersign.yaml`
}

// Run implements the command.
func (c *schemaList) Run(w world) error {
	pg, err := c.findPostgres("")
	if err != nil {
		return err
	}
	all, err := store.Schemas(w.ctx, pg)
	if err != nil {
		return fmt.Errorf("schema list: %w", remedied(err))
	}
	return printRows(w, c.JSON, all, schemaRow)
}

func schemaRow(s store.SchemaState) row {
	return row{{"SCHEMA", "schema", s.Name}, {"NODE", "node", s.Node}, {"BYTES", "bytes", s.Bytes}, {"VERIFICATIONS", "verifications", s.Verifications}, {"VERSION", "version", s.Version}}
}

type schemaMove struct {
	database
	Name string `arg:"" help:"Schema to move."`
	To   string `help:"Worker to move it to (default: the one that holds least)." placeholder:"HOST:PORT"`
}

// Help explains more than a line can.
func (schemaMove) Help() string {
	return `Has Citus copy the schema to another worker (citus_schema_move), which takes wal_level = logical on both. Servers work on
meanwhile. At the end Citus holds up writes for as long as the last ones take to be copied: requests of that moment may be
answered 503. Nothing is void after that, as it would be if the schema were moved by hand.

  countersign schema move verify_b --to 192.0.2.12:5432 --config countersign.yaml`
}

// Run implements the command.
func (c *schemaMove) Run(w world) error {
	pg, err := c.findPostgres(c.Name)
	if err != nil {
		return err
	}
	m, err := store.MoveSchema(w.ctx, pg, c.To, string(actor()), w.progress("moved", "bytes"))
	if err != nil {
		return fmt.Errorf("schema move: %w", remedied(err))
	}
	return printDone(w, c.JSON, row{{"", "schema", c.Name}, {"", "from", m.From}, {"", "to", m.To}}, "Moved schema %s from %s to %s.", c.Name, m.From, m.To)
}
