package store

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// A page of a project's list reads that project's rows only, whoever else has started millions.
func TestAProjectsListReadsItsIndex(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]struct {
		open    func() Options
		explain string
		line    func(scanner) (string, error)
	}{
		"SQLite": {
			func() Options { return Options{Path: filepath.Join(t.TempDir(), "countersign.db")} }, "EXPLAIN QUERY PLAN ",
			func(row scanner) (line string, err error) {
				var id, parent, unused int
				err = row.Scan(&id, &parent, &unused, &line)
				return line, err
			},
		},
		"PostgreSQL": {
			func() Options { return Options{Postgres: &Postgres{URL: pgtest.Database(t, ""), Timeout: time.Minute}} }, "EXPLAIN ", scanValue[string],
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), engine.open())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var id verify.ID
			plan, err := pool.All(t.Context(), s.lists, engine.line, engine.explain+selectOfProject, "p", lastID[:], id[:], 10)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(plan, "\n")
			if !strings.Contains(text, "verification_project") || strings.Contains(text, "Sort") || strings.Contains(text, "TEMP B-TREE") {
				t.Errorf("got the plan\n%s\nwant one that reads the index verification_project in order", text)
			}
		})
	}
}
