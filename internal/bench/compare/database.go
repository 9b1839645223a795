package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"
)

// A database is what the server under test keeps its data in.
type database struct {
	config     string  // what the server's configuration says of it
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
	d := &database{config: "\ndatabase:\n  url: " + strconv.Quote(u.String()) + "\n"}
	if d.db, err = sql.Open("pgx", u.String()); err != nil {
		return nil, err
	}
	var backend int
	if err := d.db.QueryRow("SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return nil, err
	}
	stat, err := readStat(strconv.Itoa(backend))
	if err != nil {
		return nil, fmt.Errorf("is the server on this machine? %w", err)
	}
	d.postmaster = stat.parent
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
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		stat, err := readStat(p.Name())
		switch {
		case errors.Is(err, os.ErrNotExist): // it has ended
		case err != nil:
			return 0, err
		case p.Name() == strconv.Itoa(d.postmaster):
			seconds += stat.own + stat.ended
		case stat.parent == d.postmaster:
			seconds += stat.own
		}
	}
	return seconds, nil
}

// A stat is what /proc/PID/stat says of a process (proc(5)).
type stat struct {
	parent     int
	own, ended float64 // CPU seconds, its own and of its children that have ended
}

func readStat(pid string) (s stat, err error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return s, err
	}
	// The name, in parentheses, may hold spaces.
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks [4]float64 // utime, stime, cutime, cstime
	for i := range ticks {
		if ticks[i], err = strconv.ParseFloat(f[11+i], 64); err != nil {
			return s, err
		}
	}
	s.own, s.ended = (ticks[0]+ticks[1])/100, (ticks[2]+ticks[3])/100
	s.parent, err = strconv.Atoi(f[1])
	return s, err
}
