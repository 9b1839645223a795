package storetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
)

// Database makes an empty PostgreSQL database with all tables, and returns its URL. It is dropped when the test ends.
// Like [File], it is a copy.
func Database(t testing.TB) (databaseURL string) { return SchemaIn(t, "") }

// Lent is a Database for a test that changes nothing but rows: see [pgtest.Lend].
func Lent(t testing.TB) (databaseURL string) { return LentSchema(t, "") }

// LentSchema is the same with the tables in schemas, as SchemaIn makes them.
func LentSchema(t testing.TB, schemas ...string) (databaseURL string) {
	t.Helper()
	return pgtest.Lend(t, template(t, schemas...))
}

// SchemaIn is a Database whose tables are in a schema of their own, or in each of several. An empty name is the schema that
// the user's search_path finds.
func SchemaIn(t testing.TB, schemas ...string) (databaseURL string) {
	t.Helper()
	return pgtest.Database(t, template(t, schemas...))
}

// template makes a database with all tables in each of some schemas, once for all tests.
func template(t testing.TB, schemas ...string) (databaseURL string) {
	t.Helper()
	return pgtest.Template(t, "tables in "+strings.Join(schemas, ", "), func(databaseURL string) error {
		for _, schema := range schemas {
			if err := Tables(databaseURL, schema); err != nil {
				return err
			}
		}
		return nil
	})
}

// Tables makes all tables in a schema.
func Tables(databaseURL, schema string) error {
	s, err := store.Open(context.Background(), store.Options{Postgres: &store.Postgres{URL: databaseURL, Schema: schema, Timeout: time.Minute}})
	if err != nil {
		return err
	}
	return s.Close()
}
