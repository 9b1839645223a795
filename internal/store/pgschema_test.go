package store_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// cutSchema undoes [pgtest.InSchema].
func cutSchema(databaseURL string) (without, schema string) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	schema = q.Get("search_path")
	q.Del("search_path")
	u.RawQuery = q.Encode()
	return u.String(), schema
}

// fillSchema makes a schema with tables.
func fillSchema(t *testing.T, url, schema string) {
	t.Helper()
	if err := storetest.Tables(url, schema); err != nil {
		t.Fatal(err)
	}
}

// schemaReplica opens one schema of a database.
func schemaReplica(t *testing.T, url, schema string, edits ...func(*store.Options)) *store.Store {
	t.Helper()
	return replica(t, url, append(edits, func(o *store.Options) { o.Postgres.Schema = schema })...)
}

func execute(t *testing.T, url, text string) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func TestNamesOfSchemas(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"a": true, "_a1": true, "user": true, "public": true, strings.Repeat("a", 63): true,
		"": false, "A": false, "1a": false, "a-b": false, "a.b": false, "a,b": false, `"a"`: false, "ä": false, "a\n": false,
		"pg_a": false, "information_schema": false, strings.Repeat("a", 64): false,
	} {
		if err := store.CheckSchemaName(name); (err == nil) != ok {
			t.Errorf("%q: got error %v, want it accepted: %v", name, err, ok)
		}
	}
}

func TestTheSchemaAndTheURLAgree(t *testing.T) {
	t.Parallel()
	for query, ok := range map[string]bool{
		"": true, "?search_path=a": true, "?search_path=a,public": false, "?search_path=b": false, "?sslmode=disable": true,
		"?options=-csearch_path%3Da": false, "?options=-cwork_mem%3D1MB": true,
	} {
		p := store.Postgres{URL: "postgres://u@localhost/db" + query, Schema: "a"}
		if err := p.CheckSchema(); (err == nil) != ok {
			t.Errorf("%s: got error %v, want it accepted: %v", query, err, ok)
		}
	}
}

// Every connection of every kind looks into the schema alone, also where the database's own path says something else.
func TestEachConnectionKeepsToItsSchema(t *testing.T) {
	t.Parallel()
	c := pgtest.New(t)
	database := c.Database(t, "")
	c.Exec(t, "postgres", "ALTER DATABASE "+databaseName(t, database)+" SET search_path = elsewhere, public")
	s := schemaReplica(t, database, "a")
	v := pending(time.Now(), number(1))
	if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"list": listed(s), "sweep": s.Sweep(ctx), "watch": s.Watch(ctx)} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := query[string](t, database, `SELECT string_agg(DISTINCT schemaname, ' ') FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'`); got != "a" {
		t.Errorf("tables are in the schemas %q, want a", got)
	}
}

func listed(s *store.Store) error {
	_, err := s.Projects(ctx)
	return err
}

// Two servers in two schemas of one database: neither sees what the other has, waits for what the other does, or
// voids what the other must.
func TestTwoSchemasAreTwoInstallations(t *testing.T) {
	t.Parallel()
	c := pgtest.New(t)
	database := c.Database(t, "")
	var by atomic.Int64 // how far the clocks are ahead, both alike
	now := func() time.Time { return time.Now().Add(time.Duration(by.Load())) }
	at := func(o *store.Options) { o.Now = now }
	a, b := schemaReplica(t, database, "a", at), schemaReplica(t, database, "b", at)
	started := func(s *store.Store, i int) *verify.Verification {
		t.Helper()
		v := pending(now(), number(i))
		if err := s.Start(ctx, v, verify.Limits{Burst: 1, Interval: time.Hour}, time.Second); err != nil {
			t.Fatal(err)
		}
		return v
	}
	approved := func(s *store.Store, v *verify.Verification) {
		t.Helper()
		if out, err := s.Check(ctx, guess(v, "483920")); err != nil || !out.Approved {
			t.Errorf("check: got %+v, %v; want it approved", out, err)
		}
	}
	of := map[*store.Store]*verify.Verification{a: started(a, 1), b: started(b, 1)} // each has its own limit on the number
	for s, other := range map[*store.Store]*store.Store{a: b, b: a} {
		if _, err := other.Check(ctx, guess(of[s], "483920")); !errors.Is(err, verify.ErrNotFound) {
			t.Errorf("a check of the other's: got error %v, want %v", err, verify.ErrNotFound)
		}
	}

	t.Run("messages", func(t *testing.T) {
		// A start that a crash leaves behind in one is found by that one's sweeper. The other's waits for no
		// start of the first.
		execute(t, pgtest.InSchema(database, "a"), "DELETE FROM retry")
		execute(t, pgtest.InSchema(database, "b"), "DELETE FROM retry")
		held := hold(t, pgtest.InSchema(database, "a"), "LOCK TABLE sweep_gate IN ROW EXCLUSIVE MODE")
		by.Add(int64(time.Minute))
		short, cancel := context.WithTimeout(ctx, 5*time.Second) // less than it would wait for a start
		defer cancel()
		if err := b.Sweep(short); err != nil {
			t.Errorf("sweep beside a start in the other schema: %v", err)
		}
		held()
		by.Add(int64(time.Minute))
		if due := dueIDs(t, b); !slices.Equal(due, []verify.ID{of[b].ID}) {
			t.Errorf("b finds %v due, want its own %v", due, of[b].ID)
		}
		if due := dueIDs(t, a); len(due) != 0 {
			t.Errorf("a finds %v due, though only b has swept", due)
		}
		if err := a.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		by.Add(int64(time.Minute))
		if due := dueIDs(t, a); !slices.Equal(due, []verify.ID{of[a].ID}) {
			t.Errorf("a finds %v due, want its own %v", due, of[a].ID)
		}
	})
	t.Run("void", func(t *testing.T) {
		if n, err := a.VoidPending(ctx, "operator", "void"); err != nil || n != 1 {
			t.Errorf("void: got %d, %v; want 1", n, err)
		}
		approved(b, of[b])
	})
	t.Run("restore", func(t *testing.T) {
		waiting := started(a, 3)
		file := c.Dump(t, databaseName(t, database))
		mine, others := started(a, 2), started(b, 2)
		c.Restore(t, file, databaseName(t, database), "--clean", "--schema=a")
		if err := answered(t, func() error { return a.Watch(ctx) }); err != nil {
			t.Fatal(err)
		}
		if err := b.Watch(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Check(ctx, guess(mine, "483920")); !errors.Is(err, verify.ErrNotFound) {
			t.Errorf("check of what the dump lacks: got error %v, want %v", err, verify.ErrNotFound)
		}
		if _, err := a.Check(ctx, guess(waiting, "483920")); !errors.Is(err, verify.ErrCanceled) {
			t.Errorf("check of what the dump has: got error %v, want %v", err, verify.ErrCanceled)
		}
		approved(b, others)
		if a, b := voids(t, database, "a"), voids(t, database, "b"); a != 2 || b != 0 {
			t.Errorf("%d and %d entries of the audit log say that all is void, want 2 (by hand and by the restore) and 0", a, b)
		}
	})
}

func voids(t *testing.T, database, schema string) int {
	t.Helper()
	return query[int](t, pgtest.InSchema(database, schema), `SELECT count(*) FROM audit WHERE action = 'void'`)
}

func dueIDs(t *testing.T, s *store.Store) (ids []verify.ID) {
	t.Helper()
	due, _, err := s.Due(ctx, verify.Hint{}, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range due {
		ids = append(ids, o.Verification.ID)
	}
	return ids
}

// hold runs a statement in a transaction, which lasts until release.
func hold(t *testing.T, url, text string) (release func()) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin()
	if err == nil {
		_, err = tx.Exec(text)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return func() {
		tx.Rollback()
		db.Close()
	}
}

// A server's witness tells schemas of a database apart: what was decided in one isn't missing in another.
func TestAnotherSchemaIsAnotherDatabase(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t, "")
	memory := filepath.Join(t.TempDir(), "witness.json")
	remembers := func(o *store.Options) { o.Witness = memory }
	b := schemaReplica(t, database, "b")
	waiting := pending(time.Now(), number(1))
	if err := b.Start(ctx, waiting, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	a := schemaReplica(t, database, "a", remembers)
	if err := a.Start(ctx, pending(time.Now(), number(1)), verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	again := schemaReplica(t, database, "b", remembers)
	if out, err := again.Check(ctx, guess(waiting, "483920")); err != nil || !out.Approved {
		t.Errorf("check: got %+v, %v; want it approved", out, err)
	}
}

// A change of one schema doesn't wait for a change of another.
func TestSchemasAreChangedBesideEachOther(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t, "")
	for _, lock := range []int64{store.MigrationLock(""), store.MigrationLock("a")} {
		db, err := sql.Open("pgx", database)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		conn, err := db.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", lock); err != nil {
			t.Fatal(err)
		}
	}
	short, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := store.Open(short, store.Options{Postgres: &store.Postgres{URL: database, Schema: "b", Timeout: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// Several servers that start at the same time on a database without the schema.
func TestServersMakeTheSchemaTogether(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t, "")
	errs := make(chan error)
	const n = 4
	for range n {
		go func() {
			s, err := store.Open(ctx, store.Options{Postgres: &store.Postgres{URL: database, Schema: "a", Writers: 1, Conns: 4, Timeout: time.Minute}})
			if err == nil {
				err = s.Close()
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// A role that may not make the schema, or not use it, is told what to run; and that works.
func TestASchemaThatTheRoleMayNotMake(t *testing.T) {
	t.Parallel()
	c := pgtest.New(t)
	database := c.Database(t, "")
	name := databaseName(t, database)
	c.Exec(t, name, "CREATE ROLE app LOGIN")
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("user", "app")
	u.RawQuery = q.Encode()
	o := store.Options{Postgres: &store.Postgres{URL: u.String(), Schema: "user", Timeout: time.Minute}} // a word of SQL
	refused := func() (advice string) {
		t.Helper()
		_, err := store.Open(ctx, o)
		_, tried := store.Try(ctx, o)
		if err == nil || tried == nil || store.Passing(err) || !strings.HasSuffix(err.Error(), tried.Error()) {
			t.Fatalf("got error %v, and %v by a try; want one of both that doesn't pass", err, tried)
		}
		_, advice, _ = strings.Cut(err.Error(), "; run as the owner of ")
		_, advice, _ = strings.Cut(advice, ": ")
		return advice
	}
	c.Exec(t, name, "CREATE SCHEMA \"user\"")
	advice := refused()
	if want := `GRANT USAGE, CREATE ON SCHEMA "user" TO "app"`; advice != want {
		t.Fatalf("got the advice %q, want %q", advice, want)
	}
	c.Exec(t, name, advice)
	if got, err := store.Try(ctx, o); err != nil || got.Schema != 0 {
		t.Errorf("try of an empty schema: got %+v, %v", got, err)
	}
	c.Exec(t, name, "DROP SCHEMA \"user\"")
	advice = refused()
	if want := `CREATE SCHEMA "user" AUTHORIZATION "app"`; advice != want {
		t.Fatalf("got the advice %q, want %q", advice, want)
	}
	c.Exec(t, name, advice)
	s, err := store.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	c.Exec(t, name, "GRANT CREATE ON DATABASE "+name+" TO app")
	o.Postgres.Schema = "made"
	if got, err := store.Try(ctx, o); err != nil || got.Schema != 0 {
		t.Errorf("try of a schema that can be made: got %+v, %v", got, err)
	}
	if got := query[int](t, database, `SELECT count(*) FROM pg_namespace WHERE nspname = 'made'`); got != 0 {
		t.Error("the try made the schema")
	}
}

// An installation moves into a schema beside another one.
func TestAMoveIntoASchema(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t, "")
	fillSchema(t, database, "")
	to := &store.Postgres{URL: database, Schema: "a", Timeout: time.Minute}
	path := fill(t, 10)
	if _, err := store.Move(ctx, path, to, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	if a, public := query[int](t, pgtest.InSchema(database, "a"), `SELECT count(*) FROM verification`), query[int](t, database, `SELECT count(*) FROM verification`); a == 0 || public != 0 {
		t.Errorf("%d verifications are in the schema and %d in public, want all in the schema", a, public)
	}
	refused(t, path, ", schema a")
}
