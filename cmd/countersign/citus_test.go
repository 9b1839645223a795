package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
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
)

// The promises of replicas on PostgreSQL, on Citus: by the coordinator, and by the worker that holds the schema.

// makeSchema makes a schema with tables, and returns the worker that holds it.
func makeSchema(t *testing.T, c *pgtest.Citus, schema string) (worker int) {
	t.Helper()
	if err := storetest.Tables(c.URL(), schema); err != nil {
		t.Fatal(err)
	}
	return c.Holder(t, schema)
}

func TestReplicasOnCitusRaceForGuessesAndCodes(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCitus(t)
	worker := makeSchema(t, c, "verify_a")
	in := installOn(t, c.URL(), "schema: verify_a")
	servers := in.serveReplicas(replicas - 1)
	in.connect(c.URLBy(c.Workers[worker]), "verify_a")
	raceForGuesses(t, in, append(servers, in.serve()), 50)
}

// onCitus has replicas go by both ways in turn. The worker is shut down first, then the coordinator.
func onCitus(t *testing.T) site {
	t.Helper()
	c := pgtest.NewCitus(t)
	worker := c.Workers[makeSchema(t, c, "verify_a")]
	p := site{url: pgtest.InSchema(c.URL(), "verify_a"), servers: []*pgtest.Cluster{worker, c.Coordinator}}
	for _, server := range []*pgtest.Cluster{c.Coordinator, worker} {
		wire := pgtest.NewWire(t, server)
		p.wires, p.ways = append(p.wires, wire), append(p.ways, wire.URL(pgtest.InSchema(c.URLBy(server), "verify_a")))
	}
	return p
}

func TestKilledReplicasAndServersOfCitusKeepTheirPromises(t *testing.T) {
	t.Parallel()
	killReplicas(t, onCitus(t), conditions{})
}

// A schema moves from worker to worker while clients go on.
func TestASchemaOfCitusMovesUnderLoad(t *testing.T) {
	t.Parallel()
	moves := testsize.Times(10)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	cluster := pgtest.NewCitus(t)
	worker := makeSchema(t, cluster, "verify_a")
	ways := []string{cluster.URL(), cluster.URLBy(cluster.Workers[worker]), cluster.URLBy(cluster.Workers[1-worker])}
	operator := install(t, theProgram(t), nil)
	operator.connect(cluster.URL(), "verify_a")
	c := newCrowd(t, seed, replicas)
	c.stored = func() map[string]storedVerification { return storedIn(t, pgtest.InSchema(cluster.URL(), "verify_a")) }
	receiver := httptest.NewServer(c.phones)
	defer receiver.Close()
	data := t.TempDir()
	for i, way := range ways {
		c.servers[i].Store(devReplica(t, data, pgtest.InSchema(way, "verify_a"), receiver.URL, i+1))
	}
	stop, longest := c.drive(seed), c.longestOutage()
	for range moves {
		c.live(rnd)
		moveSchema(operator, "verify_a")
		before := c.approved.Load()
		c.await(func() bool { return c.approved.Load() > before }) // nobody goes on if all is void
	}
	stop()
	without, refusing := longest()
	t.Logf("%d moves: a replica started nothing for %v at most, and answered 503 for %v at most", moves, without, refusing)
	c.settle()
	c.judge(moves)
	countedRight(t, data, store.Options{Postgres: &store.Postgres{URL: cluster.URL(), Schema: "verify_a", Writers: 1, Conns: 2, Timeout: 15 * time.Second}})
	if odd := oddAttempts(t, pgtest.InSchema(cluster.URL(), "verify_a")); len(odd) > 0 {
		t.Errorf("attempts that aren't stored as their verifications say:\n%s", strings.Join(odd, "\n"))
	}
	if all := operator.run("audit", "list", "--config", "countersign.yaml"); strings.Contains(all, "void") {
		t.Errorf("something was void:\n%s", all)
	}
}

// moveSchema moves a schema to the other worker. Citus refuses that while transactions still see what the move before left there.
func moveSchema(in *installation, name string) {
	in.t.Helper()
	var said []byte
	if !within(patience, func() (done bool) {
		cmd := in.binary("schema", "move", "--config", "countersign.yaml", name)
		cmd.Dir = in.dir
		var err error
		if said, err = cmd.CombinedOutput(); err != nil && !bytes.Contains(said, []byte("could not be cleaned up")) {
			in.t.Fatalf("schema move: %v %s", err, said)
		}
		return err == nil
	}) {
		in.t.Fatalf("schema move: %s", said)
	}
}

// oddAttempts lists the verifications of which not every attempt has its end.
func oddAttempts(t *testing.T, databaseURL string) (odd []string) {
	t.Helper()
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT encode(v.id, 'hex') || ' ' || v.attempt || ' attempts, delivery ' || v.delivery || ' ' || v.reason || ', due ' || v.due_at || ': ' ||
			coalesce(string_agg(d.attempt || ' ' || d.carrier || ' ' || d.outcome || ' ' || d.reason || ' ' || d.started_at || ' ' || d.ended_at, ', ' ORDER BY d.attempt), '')
		FROM verification v LEFT JOIN delivery d ON d.verification = v.id
		GROUP BY v.id HAVING count(d.attempt) FILTER (WHERE d.ended_at > 0) <> v.attempt OR bool_or(d.carrier = '')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		odd = append(odd, line)
	}
	return odd
}

// longestOutage starts a verification at each server again and again, until the function that it returns is called. That
// function says for how long a server started none at most, and for how long its answers were 503.
func (c *crowd) longestOutage() (longest func() (without, refusing time.Duration)) {
	done := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex // guards most
	var most struct{ without, refusing time.Duration }
	for i := range c.servers {
		all.Go(func() {
			var asked, refused time.Time // when the first start since the last success was asked for, and refused
			for {
				select {
				case <-done:
					return
				case <-time.After(20 * time.Millisecond):
				}
				now := time.Now()
				if asked.IsZero() {
					asked = now
				}
				resp, body, err := c.servers[i].Load().post("sms", fmt.Sprintf(`{"to":%q}`, newNumber()))
				switch {
				case err == nil && resp.StatusCode == http.StatusServiceUnavailable:
					if refused.IsZero() {
						refused = now
					}
					continue
				case err != nil || resp.StatusCode != http.StatusOK:
					c.t.Errorf("start: got %v %s, %v", resp, body, err)
				}
				mu.Lock()
				most.without = max(most.without, time.Since(asked))
				if !refused.IsZero() {
					most.refusing = max(most.refusing, time.Since(refused))
				}
				mu.Unlock()
				asked, refused = time.Time{}, time.Time{}
			}
		})
	}
	return func() (without, refusing time.Duration) {
		close(done)
		all.Wait()
		return most.without, most.refusing
	}
}

// The promoted standby of a worker lacks the last commits: that is void, and nothing of the other worker.
func TestAPromotedWorkerOfCitusAcceptsNoUsedCode(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCitus(t)
	worker, spared := makeSchema(t, c, "verify_a"), makeSchema(t, c, "verify_b")
	if worker == spared {
		t.Fatal("one worker holds both schemas: this shows nothing")
	}
	in, others := installOn(t, c.URL(), "schema: verify_a"), installOn(t, c.URL(), "schema: verify_b")
	servers, other := in.serveReplicas(replicas), others.serveReplicas(1)[0]
	id, code := startOn(others, other, newNumber(), 5)
	standby := c.Standby(t, worker)
	failOver(t, in, servers, failover{c.Workers[worker], standby, pgtest.InSchema(c.URLBy(standby), "verify_a"), func() { c.Replace(t, worker, standby) }})
	if got := guessSurely(other, id, code); got != "right" {
		t.Errorf("a code of the other worker's schema: got %s, want right", got)
	}
}

// One server of Citus is away, and then one says nothing. Schemas that don't need it go on. The others' requests are
// answered 503 in time, and nothing is approved or sent.
func TestServersOfCitusThatAreAway(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCitus(t)
	worker, other := makeSchema(t, c, "verify_a"), makeSchema(t, c, "verify_b")
	wire := pgtest.NewWire(t, c.Coordinator)
	a, b := installOn(t, wire.URL(c.URL()), "schema: verify_a", briefly), installOn(t, c.URLBy(c.Workers[other]), "schema: verify_b", briefly)
	needy, direct := a.serveReplicas(1)[0], b.serveReplicas(1)[0]
	b.connect(c.URL(), "verify_b")
	neighbour := b.serve()
	goOn := func(t *testing.T, p *process) {
		t.Helper()
		b.t = t
		id, code := startOn(b, p, newNumber(), 5)
		if got := guessSurely(p, id, code); got != "right" {
			t.Errorf("a code of a schema that doesn't need the server: got %s, want right", got)
		}
	}
	for _, outage := range []struct {
		name        string
		begin, end  func()
		coordinator bool
	}{
		{"the worker is away", func() { c.Workers[worker].Kill(t) }, func() { c.Workers[worker].Start(t) }, false},
		{"the worker says nothing", func() { c.Cut(worker, true) }, func() { c.Cut(worker, false) }, false},
		{"the coordinator is away", func() { c.Coordinator.Kill(t) }, func() { c.Coordinator.Start(t) }, true},
		{"the coordinator says nothing", func() { wire.Cut(true) }, func() { wire.Cut(false) }, true},
	} {
		t.Run(outage.name, func(t *testing.T) {
			a.t = t
			id, code := startOn(a, needy, newNumber(), 5)
			stored, messages := len(storedIn(t, pgtest.InSchema(c.URL(), "verify_a"))), a.receiver.count()
			outage.begin()
			began := time.Now()
			var asked, slow atomic.Int64
			var clients sync.WaitGroup
			for i := range 20 {
				clients.Go(func() {
					for time.Since(began) < lossTime() {
						path, body := "sms", fmt.Sprintf(`{"to":%q}`, newNumber())
						if i%2 == 0 {
							path, body = id+"/verify", fmt.Sprintf(`{"token":%q}`, code)
						}
						asked.Add(1)
						at := time.Now()
						resp, text, err := needy.post(path, body)
						if took := time.Since(at); took > promised {
							slow.Add(1)
							t.Errorf("%s took %v, want at most %v", path, took, promised)
						}
						if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
							t.Errorf("%s: got %v %s, %v; want 503 with Retry-After", path, resp, text, err)
						}
					}
				})
			}
			if !within(20*time.Second, func() bool { return !needy.ready(t) }) {
				t.Error("it says that it is ready")
			}
			if outage.coordinator {
				goOn(t, direct)
			} else {
				goOn(t, neighbour)
				if !neighbour.ready(t) {
					t.Error("a server of the other worker's schema says that it isn't ready")
				}
			}
			clients.Wait()
			if got := a.receiver.count(); got != messages {
				t.Errorf("%d messages were sent meanwhile", got-messages)
			}
			outage.end()
			if !within(patience, func() bool { return needy.ready(t) }) {
				t.Fatal("it isn't ready again")
			}
			if got := len(storedIn(t, pgtest.InSchema(c.URL(), "verify_a"))); got != stored {
				t.Errorf("%d verifications were started meanwhile", got-stored)
			}
			if got := guessSurely(needy, id, code); got != "right" {
				t.Errorf("the code afterwards: got %s, want right", got)
			}
			t.Logf("%d requests, %d of them slower than %v", asked.Load(), slow.Load(), promised)
		})
	}
}

func TestMigrateMovesAnInstallationToCitus(t *testing.T) {
	t.Parallel()
	url, schema := pgtest.CitusURL(t), fmt.Sprintf("migrated_%d", os.Getpid())
	t.Cleanup(func() {
		db, err := sql.Open("pgx", url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("DROP SCHEMA IF EXISTS " + schema + " CASCADE"); err != nil {
			t.Error(err)
		}
	})
	migrateInto(t, url, schema)
}
