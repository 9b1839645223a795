package store_test

import (
	"database/sql"
	"os"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// Projects that were made when everything was allowed keep that, on both engines, and so do those that the
// program before makes while it still runs.
func TestProjectsKeepTheSendersAndLinksThatTheyHad(t *testing.T) {
	t.Parallel()
	for engine, at := range map[string]func(t *testing.T) (driver, name, folder string, dialect goose.Dialect, o store.Options){
		"SQLite": func(t *testing.T) (string, string, string, goose.Dialect, store.Options) {
			path := newFile(t)
			return "sqlite", path + "?_pragma=busy_timeout(5000)", "migrations", goose.DialectSQLite3, store.Options{Path: path}
		},
		"PostgreSQL": func(t *testing.T) (string, string, string, goose.Dialect, store.Options) {
			url := storetest.Lent(t)
			return "pgx", url, "migrations/postgres", goose.DialectPostgres, store.Options{Postgres: &store.Postgres{URL: url, Timeout: 10 * time.Second}}
		},
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			driver, name, folder, dialect, o := at(t)
			raw, err := sql.Open(driver, name)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			steps, err := goose.NewProvider(dialect, raw, os.DirFS(folder))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := steps.UpTo(ctx, 11); err != nil {
				t.Fatal(err)
			}
			insert := func(id, senders string) {
				t.Helper()
				_, err := raw.Exec(`INSERT INTO project (id, name, profile, send_burst, send_interval_ms, send_daily, senders, public_text, application, created_at)
					VALUES ($1, $1, 'compat', 0, 0, 0, $2, $3, $4, 0)`, id, senders, false, []byte(id))
				if err != nil {
					t.Fatal(err)
				}
			}
			insert("any", "")
			insert("own", "+12025550111")
			o.Migrate = true
			s, err := store.Open(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			insert("later", "")
			want := map[verify.ProjectID]bool{"any": true, "later": true, "own": false}
			all, err := s.Projects(ctx)
			if err != nil || len(all) != len(want) {
				t.Fatalf("got %d projects, %v; want %d", len(all), err, len(want))
			}
			for _, p := range all {
				if p.AnySender != want[p.ID] || !p.AnyLink || (len(p.Senders) == 0) != want[p.ID] {
					t.Errorf("%s: got any sender %t of %v, any link %t; want any sender %t, any link", p.ID, p.AnySender, p.Senders, p.AnyLink, want[p.ID])
				}
			}
		})
	}
}
