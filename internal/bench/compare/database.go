package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"

	"github.com/countersign/countersign/internal/bench"
)

// A database is what the server under test keeps its data in.
type database struct {
	url        string  // "": SQLite
	db         *sql.DB // nil: SQLite, a file of the installation
	postmaster int
}

// openDatabase makes an empty one.
func openDatabase(rows int) (*database, error) {
	if *server == "" {
		return &database{}, nil
	}
	admin, err := sql.Open("pgx", *server)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	name := fmt.Sprintf("countersign_bench_%d", rows)
	for _, text := range []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", "CREATE DATABASE " + name} {
		if _, err := admin.Exec(text); err != nil {
			return nil, err
		}
	}
	u, err := url.Parse(*server)
	if err != nil {
		return nil, err
	}
	u.Path = "/" + name
	d := &database{url: u.String()}
	if d.db, err = sql.Open("pgx", d.url); err != nil {
		return nil, err
	}
	var backend int
	if err := d.db.QueryRow("SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return nil, err
	}
	stat, err := bench.ReadStat(backend)
	if err != nil {
		return nil, fmt.Errorf("is the server on this machine? %w", err)
	}
	d.postmaster = stat.Parent
	return d, nil
}

func (d *database) fill(in *installation, rows int) error {
	if d.db == nil {
		return fillSQLite(filepath.Join(in.dir, "data", "countersign.db"), in.project, rows)
	}
	return fillPostgres(d.db, in.project, rows)
}

// cpu is how long PostgreSQL has worked so far, in seconds: all of its processes, also those that
// have ended. SQLite works in the server's own.
func (d *database) cpu() (seconds float64, err error) {
	if d.db == nil {
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
