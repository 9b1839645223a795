package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// holder is the URL of the worker that holds a schema.
func holder(t *testing.T, coordinator, schema string) string {
	t.Helper()
	u, err := url.Parse(coordinator)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = query[string](t, coordinator, `SELECT DISTINCT nodename || ':' || nodeport FROM citus_shards WHERE table_name = ($1 || '.verification')::regclass`, schema)
	return u.String()
}

var schemas atomic.Int64

// newSchema names a schema that isn't there, and is dropped when the test ends.
func newSchema(t *testing.T, url string) (name string) {
	t.Helper()
	name = fmt.Sprintf("test_%d_%d", os.Getpid(), schemas.Add(1))
	t.Cleanup(func() { execute(t, url, "DROP SCHEMA IF EXISTS "+name+" CASCADE") })
	return name
}

// newHeldSchema makes a schema with tables, and returns its name and the URL of the worker that holds it.
func newHeldSchema(t *testing.T, url string) (name, worker string) {
	t.Helper()
	name = newSchema(t, url)
	fillSchema(t, url, name)
	return name, holder(t, url, name)
}

func TestCitusIsAStore(t *testing.T) {
	t.Parallel()
	url := pgtest.CitusURL(t)
	testsize.Full(t, "takes minutes")
	pool := &schemaPool{t: t, url: url}
	storetest.Run(t, func(t *testing.T, now func() time.Time, commit storetest.Commit) storetest.Store {
		l := pool.lend(t)
		return l.open(t, now, commit)
	})
}

// A schemaPool lends empty schemas to subtests. Citus takes seconds to make the tables of a schema, and a fraction of a
// second to empty them.
type schemaPool struct {
	t   *testing.T
	url string

	mu  sync.Mutex // guards all
	all []*lentSchema
}

type lentSchema struct {
	url   string
	to    *testing.T   // nil: nobody
	users atomic.Int64 // stores that are open on it
}

// lend lends a schema to a subtest until it ends. One that the subtest has already, and has closed, serves again.
func (p *schemaPool) lend(t *testing.T) *lentSchema {
	t.Helper()
	if l := p.find(t); l != nil {
		emptySchema(t, l.url)
		return l
	}
	schema := newSchema(p.t, p.url)
	fillSchema(t, p.url, schema)
	l := &lentSchema{url: pgtest.InSchema(p.url, schema), to: t}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, l)
	t.Cleanup(func() { p.giveBack(l) })
	return l
}

func (p *schemaPool) find(t *testing.T) *lentSchema {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.all {
		if l.to == t && l.users.Load() == 0 {
			return l
		}
	}
	for _, l := range p.all {
		if l.to == nil {
			l.to = t
			t.Cleanup(func() { p.giveBack(l) })
			return l
		}
	}
	return nil
}

func (p *schemaPool) giveBack(l *lentSchema) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.to = nil
}

func (l *lentSchema) open(t *testing.T, now func() time.Time, commit storetest.Commit) storetest.Store {
	t.Helper()
	l.users.Add(1)
	return &lentStore{postgres: openPostgres(t, l.url, now, commit), of: l}
}

// A lentStore is a store on a lent schema.
type lentStore struct {
	*postgres
	of     *lentSchema
	closed sync.Once
}

func (s *lentStore) Close() error {
	defer s.closed.Do(func() { s.of.users.Add(-1) })
	return s.postgres.Close()
}

func (s *lentStore) Again(t *testing.T, now func() time.Time, commit storetest.Commit) storetest.Store {
	t.Helper()
	return s.of.open(t, now, commit)
}

// emptySchema leaves a schema as it was made: with its version, and where it is.
func emptySchema(t *testing.T, in string) {
	t.Helper()
	execute(t, in, "TRUNCATE "+query[string](t, in, `SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
		WHERE schemaname = current_schema() AND tablename NOT IN ('goose_db_version', 'server', 'watermark')`))
	execute(t, in, `UPDATE watermark SET id = '\x00000000000000000000000000000000'`)
}

// A worker that would acknowledge commits before they are on disk is refused, for what we set doesn't reach it.
func TestAWorkerThatMayLoseCommitsIsRefused(t *testing.T) {
	t.Parallel()
	url := pgtest.CitusURL(t)
	schema, worker := newHeldSchema(t, url)
	role := "lossy_" + schema
	execute(t, url, "CREATE ROLE "+role+" LOGIN SUPERUSER")
	t.Cleanup(func() { execute(t, url, "DROP ROLE "+role) })
	open := func() error {
		s, err := store.Open(ctx, store.Options{Postgres: &store.Postgres{URL: as(t, url, role), Schema: schema, Timeout: time.Minute}})
		if err == nil {
			s.Close()
		}
		return err
	}
	set := func(to string) {
		execute(t, worker, "SET citus.enable_ddl_propagation = off; ALTER ROLE "+role+" SET synchronous_commit = "+to)
	}
	set("off")
	if err := open(); err == nil || !strings.Contains(err.Error(), "worker of Citus that holds schema "+schema+" has synchronous_commit = off") {
		t.Errorf("got error %v, want one that names the worker and synchronous_commit", err)
	}
	set("on")
	if err := open(); err != nil {
		t.Error(err)
	}
}

// as is the URL with another user.
func as(t *testing.T, databaseURL, user string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(user)
	return u.String()
}

// What a promoted standby of a worker may lack is void for the schemas that the worker holds, and for no others. A server
// sees such a standby by its timeline, wherever it is connected.
func TestAFailoverOfAWorkerVoidsItsSchemas(t *testing.T) {
	t.Parallel()
	url := pgtest.CitusURL(t)
	mine, others := newSchema(t, url), newSchema(t, url)
	a, b := schemaReplica(t, url, mine), schemaReplica(t, url, others)
	for _, name := range []string{mine, others} {
		at := holder(t, url, name)
		if got, want := query[string](t, pgtest.InSchema(url, name), `SELECT system FROM server WHERE name = 'primary'`), query[string](t, at, `SELECT system_identifier::text FROM pg_control_system()`); got != want {
			t.Fatalf("schema %s is known to be on %s, want %s, the worker that holds it", name, got, want)
		}
	}
	waiting := map[*store.Store]*verify.Verification{a: pending(time.Now(), number(1)), b: pending(time.Now(), number(1))}
	for s, v := range waiting {
		if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	direct := schemaReplica(t, holder(t, url, mine), mine)
	if err := direct.Watch(ctx); err != nil {
		t.Fatal(err)
	}
	if got := voids(t, url, mine); got != 0 {
		t.Errorf("a server that is connected to the worker voids what was started through the coordinator")
	}
	execute(t, pgtest.InSchema(url, mine), `UPDATE server SET timeline = '000000FF' WHERE name = 'primary'`)
	for _, s := range []*store.Store{a, b} {
		if err := s.Watch(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Check(ctx, guess(waiting[a], "483920")); !errors.Is(err, verify.ErrCanceled) {
		t.Errorf("check in the worker's schema: got error %v, want %v", err, verify.ErrCanceled)
	}
	if out, err := b.Check(ctx, guess(waiting[b], "483920")); err != nil || !out.Approved {
		t.Errorf("check in the other schema: got %+v, %v; want it approved", out, err)
	}
}

// Replicas that are connected by both ways share limits and guesses as those on one PostgreSQL do.
func TestReplicasOnCitusShareLimitsAndGuesses(t *testing.T) {
	t.Parallel()
	url := pgtest.CitusURL(t)
	schema, direct := newHeldSchema(t, url)
	shareLimitsAndGuesses(t, [3]*store.Store{schemaReplica(t, url, schema), schemaReplica(t, direct, schema), schemaReplica(t, url, schema)})
}

// A sweep waits for a start whichever way each is connected: see store.announceSweep.
func TestASweepWaitsForStartsByBothWays(t *testing.T) {
	t.Parallel()
	url := pgtest.CitusURL(t)
	schema, worker := newHeldSchema(t, url)
	for name, ways := range map[string][2]string{"by the coordinator": {url, worker}, "by the worker": {worker, url}} {
		var by atomic.Int64
		now := func(o *store.Options) {
			o.Now = func() time.Time { return time.Now().Add(time.Duration(by.Load())) }
			o.Postgres.Writers = 1
		}
		begun, let := make(chan struct{}), make(chan struct{})
		var held atomic.Bool
		starts := schemaReplica(t, ways[0], schema, now, func(o *store.Options) {
			o.Commit = func(ops int, commit func() error) error {
				if held.CompareAndSwap(true, false) {
					close(begun)
					<-let
				}
				return commit()
			}
		})
		sweeps := schemaReplica(t, ways[1], schema, now)
		if err := sweeps.Start(ctx, pending(time.Now(), number(1)), verify.Limits{}, time.Second); err != nil { // there is something to sweep
			t.Fatal(err)
		}
		held.Store(true)
		started := make(chan error, 1)
		go func() { started <- starts.Start(ctx, pending(time.Now(), number(2)), verify.Limits{}, time.Second) }()
		<-begun
		by.Add(int64(time.Minute))
		short, cancel := context.WithTimeout(ctx, time.Second)
		if err := sweeps.Sweep(short); err == nil {
			t.Errorf("%s: a sweep passed a start that hadn't committed", name)
		}
		cancel()
		close(let)
		if err := <-started; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := sweeps.Sweep(ctx); err != nil {
			t.Errorf("%s: a sweep afterwards: %v", name, err)
		}
	}
}

// A schema moves to the other worker and back while a server works on it: what is pending works on, and nothing is void.
func TestASchemaMovesUnderAServer(t *testing.T) {
	t.Parallel()
	url := pgtest.CitusURL(t)
	p := &store.Postgres{URL: url, Schema: newSchema(t, url), Timeout: time.Minute}
	made, err := store.CreateSchema(ctx, p, "operator")
	if err != nil {
		t.Fatal(err)
	}
	if all, err := store.Schemas(ctx, p); err != nil || made.Node == "" || made.Version == 0 {
		t.Errorf("created %+v among %+v, %v", made, all, err)
	}
	s := schemaReplica(t, url, p.Schema)
	at := made.Node
	for i := range 2 {
		waiting := pending(time.Now(), number(i))
		if err := s.Start(ctx, waiting, verify.Limits{}, time.Minute); err != nil {
			t.Fatal(err)
		}
		m, err := store.MoveSchema(ctx, p, "", "operator", func(int, int) {})
		if err != nil {
			t.Fatal(err)
		}
		if m.From != at || m.To == at {
			t.Errorf("moved from %s to %s, want from %s", m.From, m.To, at)
		}
		at = m.To
		if _, err := store.MoveSchema(ctx, p, at, "operator", func(int, int) {}); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("a move to where it is: got error %v", err)
		}
		if err := answered(t, func() error { return s.Watch(ctx) }); err != nil {
			t.Fatal(err)
		}
		if err := answered(t, func() error {
			out, err := s.Check(ctx, guess(waiting, "483920"))
			if err == nil && !out.Approved {
				t.Errorf("check after the move: got %+v", out)
			}
			return err
		}); err != nil {
			t.Errorf("check after the move: %v", err)
		}
	}
	if n := voids(t, url, p.Schema); n != 0 {
		t.Errorf("the audit log says %d times that all is void, want 0", n)
	}
	if n := query[int](t, pgtest.InSchema(url, p.Schema), `SELECT count(*) FROM audit WHERE action = 'schema move'`); n < 2 {
		t.Errorf("the audit log has %d moves, want 2 at least", n)
	}
	if _, err := store.MoveSchema(ctx, p, "192.0.2.1:5432", "operator", func(int, int) {}); err == nil || !strings.Contains(err.Error(), "no active worker") {
		t.Errorf("a move to a server that isn't there: got error %v", err)
	}
}

// A move waits for transactions that have read. They would write on the other worker what they decided, over what others
// wrote there meanwhile.
func TestAMoveOnCitusWaitsForThoseWhoHaveRead(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCitus(t) // another test's move would be taken for this one's
	p := &store.Postgres{URL: c.URL(), Schema: "a", Timeout: time.Minute}
	fillSchema(t, p.URL, p.Schema)
	approve := func(s *store.Store, v *verify.Verification) error {
		_, err := s.Check(ctx, guess(v, "483920"))
		return err
	}
	create := func(s *store.Store, v *verify.Verification) error {
		return s.CreateApplication(ctx, verify.Application{ID: verify.NewID(time.Now()), Project: v.Project, Name: "shop", Version: 1}, false, 1)
	}
	for _, test := range []struct {
		name   string
		direct bool // by the worker
		decide func(s *store.Store, v *verify.Verification) error
		second error
	}{
		{"a group, by the coordinator", false, approve, verify.ErrApproved},
		{"a group, by the worker", true, approve, verify.ErrApproved},
		{"alone, by the coordinator", false, create, verify.ErrTooManyApplications},
		{"alone, by the worker", true, create, verify.ErrTooManyApplications},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := c.URL()
			if test.direct {
				url = c.URLBy(c.Workers[c.Holder(t, p.Schema)])
			}
			read, let := make(chan struct{}), make(chan struct{})
			var holds atomic.Bool
			patient := func(o *store.Options) { o.Postgres.Timeout = time.Minute }
			first := schemaReplica(t, url, p.Schema, patient, func(o *store.Options) {
				o.Commit = func(_ int, commit func() error) error {
					if holds.CompareAndSwap(true, false) {
						close(read)
						<-let
					}
					return commit()
				}
			})
			second := schemaReplica(t, c.URL(), p.Schema, patient)
			v := pending(time.Now(), number(1))
			v.Project = verify.ProjectID(test.name)
			if err := first.CreateProject(ctx, verify.Project{ID: v.Project, Name: test.name, Profile: verify.ProfileCompat}); err != nil {
				t.Fatal(err)
			}
			if err := first.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
				t.Fatal(err)
			}
			decided, moved := make(chan error, 2), make(chan error, 1)
			go func() {
				_, err := store.MoveSchema(ctx, p, "", "operator", func(int, int) {})
				moved <- err
			}()
			// PostgreSQL itself waits for transactions that run when the copying begins.
			await(t, "the move copies nothing", func() bool {
				return anywhere(t, c, `SELECT EXISTS (SELECT FROM pg_subscription WHERE subenabled AND subname LIKE 'citus_shard_move%')`)
			})
			holds.Store(true)
			go func() { decided <- test.decide(first, v) }()
			<-read
			await(t, "the move neither ends nor waits", func() bool {
				return len(moved) > 0 || anywhere(t, c, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)`)
			})
			if len(moved) > 0 {
				t.Error("the move didn't wait for a transaction that had read")
			}
			go func() { decided <- test.decide(second, v) }()
			if len(moved) > 0 {
				decided <- <-decided // the other one has nobody to wait for
			}
			close(let)
			if err := <-moved; err != nil {
				t.Error(err)
			}
			one, two := <-decided, <-decided
			if one != nil {
				one, two = two, one
			}
			if one != nil || !errors.Is(two, test.second) {
				t.Errorf("got errors %v and %v, want one of them nil, and %v", one, two, test.second)
			}
		})
	}
}

// anywhere reports whether a query says yes on one of the servers.
func anywhere(t *testing.T, c *pgtest.Citus, text string) bool {
	t.Helper()
	for _, server := range append([]*pgtest.Cluster{c.Coordinator}, c.Workers...) {
		if query[bool](t, c.URLBy(server), text) {
			return true
		}
	}
	return false
}

func await(t *testing.T, otherwise string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(otherwise)
		}
	}
}

// A move that somebody makes by hand may be a restore as well: it voids.
func TestASchemaMovedByHandIsVoid(t *testing.T) {
	t.Parallel()
	url := pgtest.CitusURL(t)
	schema := newSchema(t, url)
	s := schemaReplica(t, url, schema)
	waiting := pending(time.Now(), number(1))
	if err := s.Start(ctx, waiting, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	execute(t, url, fmt.Sprintf(`SELECT citus_schema_move('%s', nodename, nodeport) FROM pg_dist_node WHERE shouldhaveshards AND noderole = 'primary'
		AND (nodename, nodeport) NOT IN (SELECT nodename, nodeport FROM citus_shards WHERE table_name = '%[1]s.verification'::regclass) LIMIT 1`, schema))
	if err := answered(t, func() error { return s.Watch(ctx) }); err != nil {
		t.Fatal(err)
	}
	if err := answered(t, func() error { _, err := s.Check(ctx, guess(waiting, "483920")); return err }); !errors.Is(err, verify.ErrCanceled) {
		t.Errorf("check: got error %v, want %v", err, verify.ErrCanceled)
	}
}
