package store

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store/pool"
)

// described is a column as a layout or a database has it.
type described struct {
	name string
	kind columnKind
}

func describe[T any](l layout[T]) (all []described) {
	for _, f := range l {
		all = append(all, described{f.name, f.kind})
	}
	return all
}

// A column that a migration adds and no layout has would be read and written by nobody.
func TestLayoutsHaveAllColumns(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tables := map[string][]described{
		"verification": describe(verificationLayout), "destination": describe(destinationLayout), "delivery": describe(deliveryLayout),
		"phone": describe(phoneLayout), "app_user": describe(userLayout), "message_template": describe(templateLayout), "text_template": describe(textLayout),
		"kept_answer": describe(keptLayout), "device": describe(deviceLayout),
		"operator": describe(operatorLayout), "operator_session": describe(sessionLayout), "sign_in_source": describe(sourceLayout),
	}
	kinds := map[string]columnKind{"TEXT": textKind, "INTEGER": numberKind, "BLOB": blobKind, "text": textKind, "bigint": numberKind, "bytea": blobKind}
	for name, engine := range map[string]struct {
		open func() Options
		ask  string
	}{
		"SQLite": {
			func() Options { return Options{Path: filepath.Join(t.TempDir(), "countersign.db")} },
			`SELECT name, type FROM pragma_table_info($1)`,
		},
		"PostgreSQL": {
			func() Options { return Options{Postgres: &Postgres{URL: pgtest.Database(t, ""), Timeout: time.Minute}} },
			`SELECT column_name, data_type FROM information_schema.columns WHERE table_name = $1`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(ctx, engine.open())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for table, want := range tables {
				got, err := pool.All(ctx, s.upkeep, func(row scanner) (d described, err error) {
					var kind string
					err = row.Scan(&d.name, &kind)
					known, ok := kinds[kind]
					if !ok {
						t.Errorf("%s.%s is %s, which no kind of column is", table, d.name, kind)
					}
					d.kind = known
					return d, err
				}, engine.ask, table)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range got {
					if !slices.Contains(want, d) {
						t.Errorf("%s.%s is in no layout, or as another kind", table, d.name)
					}
				}
				if len(got) != len(want) {
					t.Errorf("%s has %d columns, its layout %d", table, len(got), len(want))
				}
			}
		})
	}
}
