package pgtest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// What a test does to the database that it was lent decides what the next one gets.
func TestALentDatabaseIsLentAgainWithTheRowsOfItsTemplate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		does  func(t *testing.T, conn *pgx.Conn)
		again bool
	}{
		"it changes rows": {func(t *testing.T, conn *pgx.Conn) {
			run(t, conn, `UPDATE thing SET name = 'other'; INSERT INTO thing VALUES (2, 'more', NULL); SET lock_timeout = 7; PREPARE p AS SELECT 1`)
		}, true},
		"it leaves a transaction open": {func(t *testing.T, conn *pgx.Conn) { run(t, conn, `BEGIN; DELETE FROM thing`) }, true},
		"it adds a column":             {func(t *testing.T, conn *pgx.Conn) { run(t, conn, `ALTER TABLE thing ADD COLUMN more TEXT`) }, false},
		"it changes a column's type":   {func(t *testing.T, conn *pgx.Conn) { run(t, conn, `ALTER TABLE thing ALTER COLUMN id TYPE INT`) }, false},
		"it drops a column":            {func(t *testing.T, conn *pgx.Conn) { run(t, conn, `ALTER TABLE thing DROP COLUMN data`) }, false},
		"it sets a default":            {func(t *testing.T, conn *pgx.Conn) { run(t, conn, `ALTER TABLE thing ALTER COLUMN id SET DEFAULT 7`) }, false},
		"it adds a constraint":         {func(t *testing.T, conn *pgx.Conn) { run(t, conn, `ALTER TABLE thing ADD CHECK (false) NOT VALID`) }, false},
		"it adds a table":              {func(t *testing.T, conn *pgx.Conn) { run(t, conn, `CREATE TABLE another (id INT)`) }, false},
		"it adds an index":             {func(t *testing.T, conn *pgx.Conn) { run(t, conn, `CREATE INDEX ON thing (name)`) }, false},
		"it adds a function": {func(t *testing.T, conn *pgx.Conn) {
			run(t, conn, `CREATE FUNCTION one() RETURNS INT LANGUAGE sql AS 'SELECT 1'`)
		}, false},
		"it changes a database setting": {func(t *testing.T, conn *pgx.Conn) {
			run(t, conn, `ALTER DATABASE `+conn.Config().Database+` SET lock_timeout = 7`)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			template := Template(t, name, func(databaseURL string) error {
				return execute(databaseURL, `CREATE TABLE thing (id BIGINT, name TEXT, data BYTEA); INSERT INTO thing VALUES (1, 'it''s', '\x0001')`)
			})
			var lent [2]string
			var there bool // whether the second test's process served the first, or made its database
			var processes []uint32
			for i := range lent {
				t.Run("", func(t *testing.T) {
					lent[i] = Lend(t, template)
					conn := connect(t, lent[i])
					there = slices.Contains(processes, conn.PgConn().PID())
					if err := conn.QueryRow(t.Context(), `SELECT array_agg(pid) FROM pg_stat_activity WHERE datname = current_database()`).Scan(&processes); err != nil {
						t.Fatal(err)
					}
					var id int
					var text string
					var data []byte
					if err := conn.QueryRow(t.Context(), `SELECT id, name, data FROM thing`).Scan(&id, &text, &data); err != nil || id != 1 || text != "it's" || string(data) != "\x00\x01" {
						t.Errorf("got %d %q %x, %v; want the template's row", id, text, data, err)
					}
					var rows, prepared int
					var timeout string
					if err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM thing), (SELECT count(*) FROM pg_prepared_statements WHERE name = 'p'), current_setting('lock_timeout')`).
						Scan(&rows, &prepared, &timeout); err != nil || rows != 1 || prepared != 0 || timeout != "0" {
						t.Errorf("%d rows, %d prepared statements, lock_timeout %s, %v; want 1, 0, 0", rows, prepared, timeout, err)
					}
					if i == 0 {
						tt.does(t, conn)
					}
				})
			}
			if again := lent[0] == lent[1]; again != tt.again {
				t.Errorf("the next test got the same database: %v, want %v", again, tt.again)
			}
			if name == "it changes rows" && !there {
				t.Error("no process of the first test serves the next one")
			}
		})
	}
}

// A database to which somebody is connected isn't lent again.
func TestADatabaseInUseIsNotLentAgain(t *testing.T) {
	t.Parallel()
	template := Template(t, "in use", func(databaseURL string) error { return execute(databaseURL, `CREATE TABLE thing (id INT)`) })
	var first string
	var stays *pgx.Conn
	var err error
	t.Run("leaves", func(t *testing.T) {
		first = Lend(t, template)
		if stays, err = pgx.Connect(context.Background(), first); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("next", func(t *testing.T) {
		if Lend(t, template) == first {
			t.Error("a database was lent again while somebody was connected to it")
		}
	})
	stays.Close(context.Background())
}

// The server carries out the statements of a killed client before the next test gets the database.
func TestALentDatabaseOutlivesAKilledClient(t *testing.T) {
	t.Parallel()
	template := Template(t, "killed", func(databaseURL string) error { return execute(databaseURL, `CREATE TABLE thing (id INT)`) })
	t.Run("is killed", func(t *testing.T) {
		databaseURL := Lend(t, template)
		dies, err := connect(t, databaseURL).PgConn().Hijack() // so that nothing asks the server to cancel what was said
		if err != nil {
			t.Fatal(err)
		}
		dies.Frontend.Send(&pgproto3.Query{String: `DO $$ BEGIN PERFORM pg_sleep(0.5); INSERT INTO thing VALUES (1); END $$`})
		if err := dies.Frontend.Flush(); err != nil {
			t.Fatal(err)
		}
		sees := connect(t, databaseURL)
		for under := 0; under == 0; {
			if err := sees.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()`).Scan(&under); err != nil {
				t.Fatal(err)
			}
		}
		dies.Conn.Close()
	})
	t.Run("next", func(t *testing.T) {
		conn, rows := connect(t, Lend(t, template)), 0
		run(t, conn, `SELECT pg_sleep(1)`)
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM thing`).Scan(&rows); err != nil || rows > 0 {
			t.Errorf("got %d rows, %v; want none", rows, err)
		}
	})
}

// The pool keeps few processes, whatever tests leave it.
func TestThePoolKeepsFewProcesses(t *testing.T) {
	t.Parallel()
	p := &pool{idle: map[string][]*backend{}}
	for i := range 5 * maxIdle {
		end, _ := net.Pipe()
		p.keep(fmt.Sprint("database", i%7), &backend{conn: end})
		n := 0
		for _, all := range p.idle {
			n += len(all)
		}
		if n > maxIdle || n == 0 {
			t.Fatalf("%d of %d are idle", n, i+1)
		}
	}
}

func connect(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, text string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}
