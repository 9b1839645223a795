package main

import (
	"context"
	"fmt"
	"log"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"
)

// A layout is a server with a project in each of some schemas.
type layout struct {
	name    string
	plain   bool // on PostgreSQL without Citus
	alone   bool // by database.schema, not by database.shards
	schemas int
	workers int  // that hold them
	direct  bool // the server connects to the worker, not to the coordinator

	in     *installation
	prefix string // of the schemas' names

	rates, rateRatios, server, coordinator, held, groups, databaseRatios []float64
}

// A node is a server of Citus, or PostgreSQL without it.
type node struct {
	url        string
	host       string
	port       int
	postmaster int
}

// compareCitus compares the server on schemas of Citus to the server on a schema of PostgreSQL. They take turns in one run, each
// time with a server that was just started. The first -concurrency is that of each schema.
func compareCitus(binaries string) error {
	ctx := context.Background()
	plain, coordinator, workers, err := nodes(ctx)
	if err != nil {
		return err
	}
	sinkAddr, err := freeAddress()
	if err != nil {
		return err
	}
	all := []*layout{
		{name: "PostgreSQL, database.schema", plain: true, alone: true, schemas: 1},
		{name: "PostgreSQL, 1 shard", plain: true, schemas: 1},
		{name: "PostgreSQL, 4 shards", plain: true, schemas: 4},
		{name: "Citus, 1 shard, by its worker", schemas: 1, workers: 1, direct: true},
		{name: "Citus, 1 shard", schemas: 1, workers: 1},
		{name: "Citus, 2 shards, 1 worker", schemas: 2, workers: 1},
		{name: "Citus, 4 shards, 1 worker", schemas: 4, workers: 1},
		{name: "Citus, 2 shards, 2 workers", schemas: 2, workers: 2},
		{name: "Citus, 4 shards, 2 workers", schemas: 4, workers: 2},
	}
	for i, l := range all {
		l.prefix = fmt.Sprintf("bench_%d_", i)
		if err := l.install(ctx, binaries, sinkAddr, plain, coordinator, workers); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		defer os.RemoveAll(l.in.dir)
	}
	for range *rounds {
		var base outcome
		for i, l := range all {
			if err := l.round(i, &base, sinkAddr, plain, coordinator, workers); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
		}
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| where\t| verifications/s\t| to PostgreSQL's\t| server's CPU µs\t| coordinator's\t| PostgreSQL's or the workers'\t| databases' to PostgreSQL's\t| groups for each verification\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, l := range all {
		fmt.Fprintf(t, "| %s\t| %.0f\t| %.2f\t| %.0f\t| %.0f\t| %.0f\t| %.2f\t| %.2f\t|\n",
			l.name, median(l.rates), median(l.rateRatios), median(l.server), median(l.coordinator), median(l.held), median(l.databaseRatios), median(l.groups))
	}
	return t.Flush()
}

// nodes finds the servers and their processes.
func nodes(ctx context.Context) (plain, coordinator node, workers []node, err error) {
	at := func(address string) (n node, err error) {
		conn, err := pgx.Connect(ctx, address)
		if err != nil {
			return n, err
		}
		defer conn.Close(ctx)
		n.url = address
		n.postmaster, err = postmasterOf(conn)
		return n, err
	}
	if plain, err = at(*server); err != nil {
		return plain, coordinator, nil, fmt.Errorf("-postgres: %w", err)
	}
	if coordinator, err = at(*citus); err != nil {
		return plain, coordinator, nil, fmt.Errorf("-citus: %w", err)
	}
	conn, err := pgx.Connect(ctx, *citus)
	if err != nil {
		return plain, coordinator, nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT nodename, nodeport FROM pg_dist_node WHERE noderole = 'primary' AND groupid > 0 ORDER BY groupid LIMIT 2")
	if err != nil {
		return plain, coordinator, nil, err
	}
	type address struct {
		Host string
		Port int
	}
	addresses, err := pgx.CollectRows(rows, pgx.RowToStructByPos[address])
	if err != nil {
		return plain, coordinator, nil, err
	}
	for _, a := range addresses {
		u, err := url.Parse(*citus)
		if err != nil {
			return plain, coordinator, nil, err
		}
		u.Host = a.Host + ":" + strconv.Itoa(a.Port)
		w, err := at(u.String())
		if err != nil {
			return plain, coordinator, nil, fmt.Errorf("worker %s: %w", u.Host, err)
		}
		w.host, w.port = a.Host, a.Port
		workers = append(workers, w)
	}
	if len(workers) < 2 {
		return plain, coordinator, nil, fmt.Errorf("-citus: the coordinator has %d workers, want 2", len(workers))
	}
	return plain, coordinator, workers, nil
}

func (l *layout) install(ctx context.Context, binaries, sinkAddr string, plain, coordinator node, workers []node) error {
	admin := coordinator.url
	if l.plain {
		admin = plain.url
	}
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var shards strings.Builder
	var commands [][]string
	for i := range l.schemas {
		schema := l.prefix + strconv.Itoa(i)
		if _, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+schema+" CASCADE"); err != nil {
			return err
		}
		fmt.Fprintf(&shards, "    - name: %s\n      schema: %s\n", schema, schema)
		create := []string{"project", "create", "--id", schema}
		if !l.alone {
			create = append(create, "--shard", schema)
		}
		commands = append(commands, append(create, schema),
			[]string{"key", "create", "--json", "--project", schema})
	}
	on := func(address string) edit {
		return func(config string) (string, error) {
			config, err := posting(sinkAddr, address)(config)
			if err != nil {
				return "", err
			}
			if l.alone {
				return replacing("\n  schema: \"\"\n", "\n  schema: "+l.prefix+"0\n")(config)
			}
			return replacing("\n  shards: []\n", "\n  shards:\n"+shards.String())(config)
		}
	}
	if l.in, err = install(binaries, on(admin), commands...); err != nil || l.plain {
		return err
	}
	for i := range l.schemas {
		w := workers[i%l.workers]
		if err := put(ctx, conn, l.prefix+strconv.Itoa(i), w); err != nil {
			return err
		}
	}
	if !l.direct {
		return nil
	}
	name := l.in.dir + "/countersign.yaml"
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	config, err := replacing(strconv.Quote(admin), strconv.Quote(workers[0].url))(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(name, []byte(config), 0o644)
}

// put moves a schema to a worker, unless it is there.
func put(ctx context.Context, conn *pgx.Conn, schema string, w node) error {
	var port int
	if err := conn.QueryRow(ctx, "SELECT DISTINCT nodeport FROM citus_shards WHERE table_name = ($1 || '.verification')::regclass", schema).Scan(&port); err != nil || port == w.port {
		return err
	}
	_, err := conn.Exec(ctx, "SELECT citus_schema_move($1::regnamespace, $2, $3, 'block_writes')", schema, w.host, w.port)
	return err
}

func (l *layout) round(i int, base *outcome, sinkAddr string, plain, coordinator node, workers []node) error {
	s, err := l.in.serve()
	if err != nil {
		return err
	}
	defer s.stop()
	concurrency := numbers(*atOnce)[0] * l.schemas // groups of one size everywhere
	// The first run makes connections and plans.
	if _, err := drive(l.in, &database{}, []*program{s}, sinkAddr, concurrency); err != nil {
		return err
	}
	holders := workers
	if l.plain {
		holders = []node{plain}
	}
	used := func() (passing, held, groups float64, err error) {
		if groups, err = s.groups(); err != nil {
			return 0, 0, 0, err
		}
		if !l.plain {
			if passing, err = cpuOf(coordinator.postmaster); err != nil {
				return 0, 0, 0, err
			}
		}
		for _, n := range holders {
			seconds, err := cpuOf(n.postmaster)
			if err != nil {
				return 0, 0, 0, err
			}
			held += seconds
		}
		return passing, held, groups, nil
	}
	passing, held, groups, err := used()
	if err != nil {
		return err
	}
	r, err := drive(l.in, &database{}, []*program{s}, sinkAddr, concurrency)
	if err != nil {
		return err
	}
	passed, holds, grouped, err := used()
	if err != nil {
		return err
	}
	each := 1e6 / float64(r.Verifications)
	passing, held, groups = (passed-passing)*each, (holds-held)*each, (grouped-groups)/float64(r.Verifications)
	r.databaseCPU = passing + held
	if i == 0 {
		*base = r
	}
	l.rates, l.rateRatios = append(l.rates, r.PerSecond), append(l.rateRatios, r.PerSecond/base.PerSecond)
	l.server, l.coordinator, l.held = append(l.server, r.cpu), append(l.coordinator, passing), append(l.held, held)
	l.groups, l.databaseRatios = append(l.groups, groups), append(l.databaseRatios, r.databaseCPU/base.databaseCPU)
	log.Printf("%-32s %6.0f/s, %4.0f µs CPU, %4.0f of the coordinator, %4.0f of PostgreSQL or the workers", l.name, r.PerSecond, r.cpu, passing, held)
	return nil
}
