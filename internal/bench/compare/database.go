package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/internal/bench"
)

// A database is what the server under test keeps its data in.
type database struct {
	url        string    // "": SQLite
	conn       *pgx.Conn // nil: SQLite, a file of the installation
	postmaster int
	filled     bool // by a run before
}

// kept is from how many rows on a database is used again by the next run. A smaller one is made faster
// than what the runs before have left in it would matter.
const kept = 1_000_000

// openDatabase makes an empty one, or takes the one that a run before has filled: it says so in its comment.
func openDatabase(ctx context.Context, rows int) (*database, error) {
	if *server == "" {
		return &database{}, nil
	}
	admin, err := pgx.Connect(ctx, *server)
	if err != nil {
		return nil, err
	}
	defer admin.Close(ctx)
	d, name := &database{}, fmt.Sprintf("countersign_bench_%d", rows)
	err = admin.QueryRow(ctx, `SELECT coalesce(shobj_description(oid, 'pg_database'), '') = $2 FROM pg_database WHERE datname = $1`, name, filledWith(rows)).Scan(&d.filled)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	if d.filled = d.filled && rows >= kept; !d.filled {
		for _, text := range []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", "CREATE DATABASE " + name} {
			if _, err := admin.Exec(ctx, text); err != nil {
				return nil, err
			}
		}
	}
	u, err := url.Parse(*server)
	if err != nil {
		return nil, err
	}
	u.Path = "/" + name
	d.url = u.String()
	if d.conn, err = pgx.Connect(ctx, d.url); err != nil {
		return nil, err
	}
	stat, err := bench.ReadStat(int(d.conn.PgConn().PID()))
	if err != nil {
		return nil, fmt.Errorf("is the server on this machine? %w", err)
	}
	d.postmaster = stat.Parent
	return d, nil
}

func filledWith(rows int) string { return fmt.Sprintf("filled with %d rows", rows) }

func (d *database) fill(ctx context.Context, in *installation, rows int) error {
	if d.conn == nil {
		return fillSQLite(filepath.Join(in.dir, "data", "countersign.db"), in.project, rows)
	}
	if !d.filled {
		if err := fillPostgres(ctx, d.conn, in.project, rows); err != nil {
			return err
		}
		if _, err := d.conn.Exec(ctx, fmt.Sprintf("COMMENT ON DATABASE countersign_bench_%d IS '%s'", rows, filledWith(rows))); err != nil {
			return err
		}
	}
	_, err := d.conn.Exec(ctx, "CHECKPOINT") // what filling has left to write isn't the runs'
	return err
}

func (d *database) close(ctx context.Context) {
	if d.conn != nil {
		d.conn.Close(ctx)
	}
}

// cpu is how long PostgreSQL has worked so far, in seconds: all of its processes, also those that
// have ended. SQLite works in the server's own.
func (d *database) cpu() (seconds float64, err error) {
	if d.conn == nil {
		return 0, nil
	}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue // no process
		}
		stat, err := bench.ReadStat(pid)
		switch {
		case errors.Is(err, os.ErrNotExist): // it has ended
		case err != nil:
			return 0, err
		case pid == d.postmaster:
			seconds += stat.Own + stat.Ended
		case stat.Parent == d.postmaster:
			seconds += stat.Own
		}
	}
	return seconds, nil
}
