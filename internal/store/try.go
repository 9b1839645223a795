package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// A Trial is what [Try] found.
type Trial struct {
	Engine string // such as PostgreSQL 17.2
	Name   string // of the database
	Schema int64  // its version; 0 where there is no schema yet
	Wanted int64  // the version of this program
}

// Try opens a database as [Open] does, but changes nothing: it makes no file and brings no schema up to date.
// It fails if the database can't be used, also if it can't be written.
func Try(ctx context.Context, o Options) (t Trial, err error) {
	t = Trial{Name: o.name(), Engine: "SQLite"}
	if o.Postgres != nil {
		err = t.postgres(ctx, o)
	} else {
		err = t.sqlite(ctx, o)
	}
	if err == nil && t.Schema > t.Wanted {
		err = tooNew(t.Schema, t.Wanted)
	}
	return t, err
}

func (t *Trial) postgres(ctx context.Context, o Options) error {
	c, err := o.Postgres.config()
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var present, mayCreate bool
	const look = `SELECT split_part(current_setting('server_version'), ' ', 1), to_regclass('goose_db_version') IS NOT NULL,
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)`
	if err := conn.QueryRow(ctx, look).Scan(&t.Engine, &present, &mayCreate); err != nil {
		return err
	}
	if name := o.Postgres.Schema; name != "" {
		found, err := lookForSchema(ctx, conn, name)
		if err == nil {
			err = found.refusal()
		}
		if err != nil {
			return err
		}
		mayCreate = mayCreate || !found.exists
	}
	t.Engine = "PostgreSQL " + t.Engine
	if present {
		if err := conn.QueryRow(ctx, readVersion).Scan(&t.Schema); err != nil {
			return err
		}
	}
	db := stdlib.OpenDB(*c) // connects to nothing
	defer db.Close()
	if t.Wanted, err = wanted(db, goose.DialectPostgres); err != nil {
		return err
	}
	switch {
	case t.Schema == t.Wanted:
		return unmoved(ctx, conn)
	case t.Schema < t.Wanted && !mayCreate && o.Postgres.Schema != "":
		return fmt.Errorf("its user may not create tables in schema %s: make it the owner of the schema", o.Postgres.Schema)
	case t.Schema < t.Wanted && !mayCreate:
		return errMayNotCreate
	}
	return nil
}

// errMayNotCreate refuses a database whose schema we would have to change, and can't.
var errMayNotCreate = errors.New("its user may not create tables: make it the owner of the database")

// readVersion reads the schema's version, in both engines.
const readVersion = `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`

func (t *Trial) sqlite(ctx context.Context, o Options) error {
	switch _, err := os.Stat(o.Path); {
	case errors.Is(err, fs.ErrNotExist):
		return mayMake(filepath.Dir(o.Path))
	case err != nil:
		return err
	}
	db, err := sql.Open("sqlite", fileURI(o.Path)+"?mode=rw&_pragma=busy_timeout(1000)")
	if err != nil {
		return err
	}
	defer db.Close()
	if t.Wanted, err = wanted(db, goose.DialectSQLite3); err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil { // fails where the file can't be written
		return err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	var present bool
	if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'goose_db_version'").Scan(&present); err != nil || !present {
		return err
	}
	if err := conn.QueryRowContext(ctx, readVersion).Scan(&t.Schema); err != nil {
		return err
	}
	if t.Schema != t.Wanted {
		return nil
	}
	m, err := readMark(ctx, conn)
	return errors.Join(err, m.refusal())
}

// mayMake fails if a folder isn't there, and can't be made, or can't be written.
func mayMake(folder string) error {
	for {
		info, err := os.Stat(folder)
		switch {
		case errors.Is(err, fs.ErrNotExist) && folder != filepath.Dir(folder):
			folder = filepath.Dir(folder)
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s is not a folder", folder)
		}
		return writable(folder)
	}
}

// writable fails if no file can be made in a folder.
func writable(folder string) error {
	f, err := os.CreateTemp(folder, ".countersign-try-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// wanted is the version of this program's schema.
func wanted(db *sql.DB, dialect goose.Dialect) (int64, error) {
	s, err := newSchema(db, dialect, Options{})
	if err != nil {
		return 0, err
	}
	all := s.provider.ListSources()
	return all[len(all)-1].Version, nil
}
