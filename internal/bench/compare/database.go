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

// A database is the database of the server under test.
type database struct {
	url        string    // "" for SQLite
	conn       *pgx.Conn // nil for SQLite, which is a file of the installation
	postmaster int
	filled     bool // by an earlier run
}

// kept is the number of rows from which a database is reused by the next run. A smaller one is quick
// to fill, and remains of earlier runs would matter in it.
const kept = 1_000_000

// openDatabase makes an empty database, or reuses one that an earlier run filled, which the database's
// comment records.
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
	d.postmaster, err = postmasterOf(d.conn)
	return d, err
}

func filledWith(rows int) string { return fmt.Sprintf("filled with %d rows", rows) }

func (d *database) fill(ctx context.Context, in *installation, rows int) error {
	if d.conn == nil {
		return fillSQLite(filepath.Join(in.dir, "data", "countersign.db"), project, rows)
	}
	if !d.filled {
		if err := fillPostgres(ctx, d.conn, project, rows); err != nil {
			return err
		}
		if _, err := d.conn.Exec(ctx, fmt.Sprintf("COMMENT ON DATABASE countersign_bench_%d IS '%s'", rows, filledWith(rows))); err != nil {
			return err
		}
	}
	_, err := d.conn.Exec(ctx, "CHECKPOINT") // so that the runs don't pay for the writes of the filling
	return err
}

func (d *database) close(ctx context.Context) {
	if d.conn != nil {
		d.conn.Close(ctx)
	}
}

// cpu returns the CPU time that PostgreSQL has used, in seconds. SQLite runs in the server's own process.
func (d *database) cpu() (seconds float64, err error) {
	if d.conn == nil {
		return 0, nil
	}
	return cpuOf(d.postmaster)
}

// cpuOf returns the CPU time of a PostgreSQL server, in seconds, including processes that have ended.
func cpuOf(postmaster int) (seconds float64, err error) {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue // not a process
		}
		stat, err := bench.ReadStat(pid)
		switch {
		case errors.Is(err, os.ErrNotExist): // the process has ended
		case err != nil:
			return 0, err
		case pid == postmaster:
			seconds += stat.Own + stat.Ended
		case stat.Parent == postmaster:
			seconds += stat.Own
		}
	}
	return seconds, nil
}

// postmasterOf returns the process of a connection's server, which must be on this machine.
func postmasterOf(conn *pgx.Conn) (pid int, err error) {
	stat, err := bench.ReadStat(int(conn.PgConn().PID()))
	if err != nil {
		return 0, fmt.Errorf("is the server on this machine? %w", err)
	}
	return stat.Parent, nil
}
