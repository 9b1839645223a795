package store_test

import (
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// TestPostgresIsAStore runs in a schema of its own. Most other tests use the one that the user's search_path finds.
func TestPostgresIsAStore(t *testing.T) {
	t.Parallel()
	const schema = "verify_a"
	storetest.Run(t, func(t *testing.T, now func() time.Time, commit storetest.Commit) storetest.Store {
		return openPostgres(t, pgtest.InSchema(storetest.LentSchema(t, schema), schema), now, commit)
	})
}

// On Citus each transaction begins with a change of nothing. Those that change a budget work nevertheless.
func TestBudgetsChangeAsOnCitus(t *testing.T) {
	t.Parallel()
	const schema = "verify_a"
	p := openPostgres(t, pgtest.InSchema(storetest.SchemaIn(t, schema), schema), time.Now, nil)
	defer p.Close()
	p.SpeakAsOnCitus(schema)
	withBudget(t, p.Store, "p", 1)
	if err := p.Start(ctx, bound(0), verify.Limits{}, time.Minute); err != nil {
		t.Error(err)
	}
	if err := p.Start(ctx, bound(1), verify.Limits{}, time.Minute); err == nil {
		t.Error("a budget of one message has room for two")
	}
}

// postgres is a store, and its database as another program sees it.
type postgres struct {
	*store.Store
	outside
	url string
}

// openPostgres opens a database, and the schema that its URL names, with one writer, and with time for the commits that a test holds.
func openPostgres(t *testing.T, url string, now func() time.Time, commit storetest.Commit) *postgres {
	t.Helper()
	direct, schema := cutSchema(url)
	opened, err := store.Open(ctx, store.Options{
		Postgres: &store.Postgres{URL: direct, Schema: schema, Writers: 1, Conns: 4, Timeout: time.Minute}, Now: now, Commit: commit,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &postgres{Store: opened, outside: look(t, "pgx", url), url: url}
}

func (p *postgres) Close() error {
	p.raw.Close()
	return p.Store.Close()
}

func (p *postgres) Again(t *testing.T, now func() time.Time, commit storetest.Commit) storetest.Store {
	t.Helper()
	return openPostgres(t, p.url, now, commit)
}
