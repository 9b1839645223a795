package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
)

type migrateCommand struct {
	output
	Abort bool   `help:"Undo the mark on the file instead, so that a server can use it again."`
	From  string `required:"" help:"What to move: sqlite: and the database file, or its folder." placeholder:"sqlite:PATH"`
	To    string `help:"Where to: postgres: and a configuration file that names the database, or the rest of a URL without a password (PGPASSWORD holds it)." placeholder:"postgres:FILE|//URL"`
}

// Help explains more than a line can.
func (migrateCommand) Help() string {
	return `Moves a whole installation into an empty PostgreSQL database. Stop the server before. The file is marked: no
server and no command uses it while it moves, or afterwards. If this is stopped, run it again: it goes on from
where it was. Or use --abort, with --from only: the file can then be used again, and the database must be emptied
before another move. The keyset isn't in the file: keep using the same one.`
}

// Run implements the command.
func (c *migrateCommand) Run(w world) error {
	path, err := c.source()
	if err != nil {
		return err
	}
	if c.Abort != (c.To == "") {
		return usageError("give --to, or --abort without it")
	}
	var to *store.Postgres
	if !c.Abort {
		if to, err = c.target(); err != nil {
			return err
		}
	}
	release, err := holdFolder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer release()
	if c.Abort {
		return c.abort(w, path)
	}
	tables, err := store.Move(w.ctx, path, to, w.progress("moved", "rows"))
	if err != nil {
		return fmt.Errorf("migrate %s: %w", path, remedied(err))
	}
	toRow := func(m store.Moved) row { return row{{"TABLE", "table", m.Table}, {"ROWS", "rows", m.Rows}} }
	err = printDone(w, c.JSON, row{{"", "file", path}, {"", "tables", objects(tables, toRow)}},
		"Moved %s. Name the PostgreSQL database in the configuration (database.url), keep the keyset, and start the server.", path)
	if err != nil || c.JSON {
		return err
	}
	return printRows(w, false, tables, toRow)
}

func (c *migrateCommand) abort(w world, path string) error {
	a, err := store.AbortMove(w.ctx, path, string(actor()))
	if err != nil {
		return fmt.Errorf("migrate --abort: %w", err)
	}
	facts := row{{"", "file", path}, {"", "to", a.To}, {"", "moved", a.Moved}, {"", "voided", a.Voided}}
	if a.Moved {
		return printDone(w, c.JSON, facts, "A server can use %s again. It is as old as the move: voided %d pending verifications. Start no server on the database %s any more; drop it.", path, a.Voided, a.To)
	}
	return printDone(w, c.JSON, facts, "A server can use %s again. The database %s is half filled: drop it, and create it empty before you move again.", path, a.To)
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
		pg := &store.Postgres{URL: c.To, Timeout: 10 * time.Second} // nobody waits for an answer meanwhile
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
