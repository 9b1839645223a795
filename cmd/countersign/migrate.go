package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
)

type migrateCommand struct {
	output
	From string `required:"" help:"What to move: sqlite: and the database file, or its folder." placeholder:"sqlite:PATH"`
	To   string `required:"" help:"Where to: postgres: and a configuration file that names the database, or the rest of a URL without a password (PGPASSWORD holds it)." placeholder:"postgres:FILE|//URL"`
}

// Help explains more than a line can.
func (migrateCommand) Help() string {
	return `Moves a whole installation into an empty PostgreSQL database. Stop the server before: nothing can be
written while this runs, and what is written after it is not moved. If it is stopped, run it again: it
goes on from where it was. The file stays as it is. The keyset isn't in it: keep using the same one.`
}

// Run implements the command.
func (c *migrateCommand) Run(w world) error {
	path, err := c.source()
	if err != nil {
		return err
	}
	to, err := c.target()
	if err != nil {
		return err
	}
	tables, err := store.Move(w.ctx, path, to, func(done, all int) { progress(w.stderr, "moved", "rows", done, all) })
	if err != nil {
		return fmt.Errorf("migrate %s: %w", path, err)
	}
	toRow := func(m store.Moved) row { return row{{"TABLE", "table", m.Table}, {"ROWS", "rows", m.Rows}} }
	err = printDone(w, c.JSON, row{{"", "file", path}, {"", "tables", objects(tables, toRow)}},
		"Moved %s. Name the PostgreSQL database in the configuration (database.url), keep the keyset, and start the server.", path)
	if err != nil || c.JSON {
		return err
	}
	return printRows(w, false, tables, toRow)
}

// source is the file to move, which must be there.
func (c *migrateCommand) source() (string, error) {
	path, ok := strings.CutPrefix(c.From, "sqlite:")
	if !ok || path == "" {
		return "", usageError("--from: must be sqlite: and a path, such as sqlite:/var/lib/countersign")
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path = filepath.Join(path, system.DatabaseFile)
		_, err = os.Stat(path)
	}
	return path, err
}

// target is the database to move into.
func (c *migrateCommand) target() (*store.Postgres, error) {
	rest, ok := strings.CutPrefix(c.To, "postgres:")
	if !ok || rest == "" {
		return nil, usageError("--to: must be postgres: and a configuration file, or a URL, such as postgres:countersign.yaml")
	}
	if strings.HasPrefix(rest, "//") {
		pg := &store.Postgres{URL: c.To}
		if err := pg.Check(); err != nil {
			return nil, usageError(fmt.Sprintf("--to: %v", err))
		}
		return pg, nil
	}
	_, pg, err := database{Config: rest}.find()
	if err == nil && pg == nil {
		err = usageError(fmt.Sprintf("--to: %s names no database.url", rest))
	}
	return pg, err
}
