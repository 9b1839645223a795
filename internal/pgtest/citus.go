package pgtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

const existingCitus = "COUNTERSIGN_TEST_CITUS"

// CitusURL returns the URL of a coordinator of Citus with two workers, on which a test may make schemas. A test for
// which there is none isn't run.
func CitusURL(t testing.TB) (coordinator string) {
	t.Helper()
	coordinator = os.Getenv(existingCitus)
	if coordinator == "" {
		t.Skip("NOT RUN: " + existingCitus + " names no coordinator of Citus")
	}
	return coordinator
}

// CitusDatabase makes a database of its own on the cluster that [CitusURL] names, which is dropped when the test ends. It returns the
// database's URLs by the coordinator, and by each worker.
func CitusDatabase(t testing.TB) (coordinator string, workers []string) {
	t.Helper()
	existing := CitusURL(t)
	makingCitus.Lock() // Citus can't make two at a time
	defer makingCitus.Unlock()
	name := fmt.Sprintf("citus_%d_%d", os.Getpid(), citusDatabases.Add(1))
	var nodes, urls []string
	onNode(t, existing, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT nodename || ':' || nodeport FROM pg_dist_node ORDER BY groupid`)
		if err == nil {
			nodes, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	exec := func(in, text string) {
		t.Helper()
		onNode(t, in, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, text)
			return err
		})
	}
	for _, node := range nodes {
		u, err := url.Parse(existing)
		if err != nil {
			t.Fatal(err)
		}
		u.Host = node
		at := u.String()
		exec(at, "CREATE DATABASE "+name)
		u.Path = "/" + name
		urls = append(urls, u.String())
		defer t.Cleanup(func() { dropCitus(t, at, name) }) // the coordinator's first
		exec(u.String(), "CREATE EXTENSION citus")
	}
	for i, node := range nodes {
		host, port, err := net.SplitHostPort(node)
		if err != nil {
			t.Fatal(err)
		}
		how := "citus_add_node"
		if i == 0 {
			how = "citus_set_coordinator_host"
		}
		exec(urls[0], fmt.Sprintf("SELECT %s('%s', %s)", how, host, port))
	}
	return urls[0], urls[1:]
}

var (
	makingCitus    sync.Mutex
	citusDatabases atomic.Int64
)

// dropCitus drops a database of one server. Citus' maintenance daemon connects to it again and again.
func dropCitus(t testing.TB, at, name string) {
	t.Helper()
	onNode(t, at, func(ctx context.Context, conn *pgx.Conn) (err error) {
		for range 20 {
			if _, err = conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err == nil || !strings.Contains(err.Error(), "being accessed") {
				break
			}
		}
		return err
	})
}

// onNode calls f with a connection to one server.
func onNode(t testing.TB, at string, f func(context.Context, *pgx.Conn) error) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := f(ctx, conn); err != nil {
		t.Fatal(err)
	}
}

// A Citus is a coordinator with two workers, which a test can stop and start. Each schema is on one of the workers.
type Citus struct {
	Coordinator *Cluster
	Workers     []*Cluster
	// wires lead from each server to the workers, in their order.
	wires []*Wire
}

// citusDatabase is the database of each server that Citus uses.
const citusDatabase = "countersign"

// NewCitus starts a coordinator and two workers from the installed programs. It makes a test that [CitusURL] skips
// a skipped one, too: three servers for each test are a lot.
func NewCitus(t testing.TB) *Citus {
	t.Helper()
	CitusURL(t)
	c := &Citus{Coordinator: newCitusNode(t)}
	command := func(format string, args ...any) {
		t.Helper()
		c.Coordinator.Exec(t, citusDatabase, fmt.Sprintf(format, args...))
	}
	command(`SELECT citus_set_coordinator_host('%s', 5432)`, c.Coordinator.dir)
	for range 2 {
		w := newCitusNode(t)
		wire := NewWire(t, w)
		command(`SELECT citus_add_node('%s', %d)`, wire.host(), wire.port())
		c.Workers, c.wires = append(c.Workers, w), append(c.wires, wire)
	}
	return c
}

func newCitusNode(t testing.TB) *Cluster {
	t.Helper()
	n, err := create()
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(n.remove)
	// Wires pass on no encrypted connections.
	if err := n.configure("shared_preload_libraries = 'citus'", "wal_level = logical", "max_connections = 200", "max_prepared_transactions = 200",
		"max_worker_processes = 32", "citus.node_conninfo = 'sslmode=disable'", "citus.local_hostname = '"+n.dir+"'"); err != nil {
		t.Fatal(err)
	}
	if err := n.start(); err != nil {
		if strings.Contains(err.Error(), `could not access file "citus"`) {
			t.Skip("NOT RUN: the installed PostgreSQL has no Citus")
		}
		t.Fatal(err)
	}
	n.Exec(t, "postgres", "CREATE DATABASE "+citusDatabase)
	n.Exec(t, citusDatabase, "CREATE EXTENSION citus")
	return n
}

// URL returns the URL of the database, by way of the coordinator.
func (c *Citus) URL() string { return c.URLBy(c.Coordinator) }

// URLBy returns the URL of the database, by way of one of the servers.
func (c *Citus) URLBy(n *Cluster) string { return n.URL(citusDatabase) }

// Holder returns which of the workers holds a schema.
func (c *Citus) Holder(t testing.TB, schema string) int {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var port int
	if err := conn.QueryRow(ctx, `SELECT DISTINCT nodeport FROM citus_shards WHERE table_name = ($1 || '.verification')::regclass`, schema).Scan(&port); err != nil {
		t.Fatal(err)
	}
	return slices.IndexFunc(c.wires, func(w *Wire) bool { return w.port() == port })
}

// Cut makes a worker silent for the other servers, like a pulled cable, or lets it speak again.
func (c *Citus) Cut(worker int, cut bool) { c.wires[worker].Cut(cut) }

// Standby makes an asynchronous standby of a worker.
func (c *Citus) Standby(t testing.TB, worker int) *Cluster {
	t.Helper()
	s := c.Workers[worker].Standby(t)
	s.Exec(t, "postgres", "ALTER SYSTEM SET citus.local_hostname = '"+s.dir+"'")
	s.Exec(t, "postgres", "SELECT pg_reload_conf()")
	return s
}

// Replace puts another server in the place of a worker: its standby, which was promoted.
func (c *Citus) Replace(t testing.TB, worker int, by *Cluster) {
	t.Helper()
	old, wire := c.wires[worker], NewWire(t, by)
	c.Coordinator.Exec(t, citusDatabase, fmt.Sprintf(`SELECT citus_update_node(nodeid, '%s', %d) FROM pg_dist_node WHERE nodeport = %d`, wire.host(), wire.port(), old.port()))
	c.Workers[worker], c.wires[worker] = by, wire
}
