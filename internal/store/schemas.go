package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/internal/verify"
)

// A SchemaState is a schema with our tables, as it was found in a database.
type SchemaState struct {
	Name          string
	Node          string // the worker of Citus that holds it, as host:port; "": the server that we are connected to
	Bytes         int64  // of tables and indexes
	Verifications int
	Version       int64 // of the tables
}

// A citusNode is a server of Citus that may hold schemas.
type citusNode struct {
	host  string
	port  int
	bytes int64 // of all schemas that it holds
}

func (n citusNode) String() string { return net.JoinHostPort(n.host, strconv.Itoa(n.port)) }

// connectPatiently connects without limits on what a statement may take.
func (p *Postgres) connectPatiently(ctx context.Context) (*pgx.Conn, error) {
	c, err := p.config()
	if err != nil {
		return nil, err
	}
	c.ConnectTimeout = 10 * time.Second
	c.RuntimeParams["statement_timeout"] = "0" // whatever the role's is
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", p.name(), err)
	}
	return conn, nil
}

// hasCitus reports whether the database has the extension.
func hasCitus(ctx context.Context, conn pgQueryer) (there bool, err error) {
	err = conn.QueryRow(ctx, citusThere).Scan(&there)
	return there, err
}

// Schemas are the schemas of a database that hold our tables, by name.
func Schemas(ctx context.Context, p *Postgres) ([]SchemaState, error) {
	conn, err := p.connectPatiently(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT n.nspname::text, (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r')
		FROM pg_namespace n WHERE has_schema_privilege(n.oid, 'USAGE') AND 2 = (
			SELECT count(*) FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r' AND c.relname IN ('goose_db_version', 'verification'))
		ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s SchemaState, err error) {
		return s, row.Scan(&s.Name, &s.Bytes)
	})
	if err != nil {
		return nil, err
	}
	if err := placeSchemas(ctx, conn, all); err != nil {
		return nil, err
	}
	var found []SchemaState
	for _, s := range all {
		in := quoteSchema(s.Name)
		err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM `+in+`.verification), (SELECT coalesce(max(version_id), 0) FROM `+in+`.goose_db_version WHERE is_applied)`).
			Scan(&s.Verifications, &s.Version)
		switch {
		case err == nil:
			found = append(found, s)
		case pgCode(err) != codeNoTable: // it was dropped meanwhile
			return nil, fmt.Errorf("look into schema %s: %w", s.Name, err)
		}
	}
	return found, nil
}

// placeSchemas asks Citus, if it is there, which worker holds each schema, and how large it is there.
func placeSchemas(ctx context.Context, conn *pgx.Conn, all []SchemaState) error {
	if there, err := hasCitus(ctx, conn); err != nil || !there {
		return err
	}
	rows, err := conn.Query(ctx, `SELECT n.nspname::text, s.nodename, s.nodeport, coalesce(sum(s.shard_size), 0)::bigint
		FROM citus_shards s JOIN pg_class c ON c.oid = s.table_name JOIN pg_namespace n ON n.oid = c.relnamespace GROUP BY 1, 2, 3`)
	if err != nil {
		return err
	}
	var name string
	var n citusNode
	_, err = pgx.ForEachRow(rows, []any{&name, &n.host, &n.port, &n.bytes}, func() error {
		if i := slices.IndexFunc(all, func(s SchemaState) bool { return s.Name == name }); i >= 0 {
			all[i].Node, all[i].Bytes = n.String(), n.bytes
		}
		return nil
	})
	return err
}

// citusNodes are the workers, the one that holds least first. What the schema itself takes doesn't count.
func citusNodes(ctx context.Context, conn *pgx.Conn, but string) ([]citusNode, error) {
	rows, err := conn.Query(ctx, `SELECT w.nodename, w.nodeport, (SELECT coalesce(sum(s.shard_size), 0)::bigint
			FROM citus_shards s JOIN pg_class c ON c.oid = s.table_name JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE s.nodename = w.nodename AND s.nodeport = w.nodeport AND n.nspname <> $1)
		FROM pg_dist_node w WHERE w.isactive AND w.shouldhaveshards AND w.noderole = 'primary' ORDER BY 3, 1, 2`, but)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (n citusNode, err error) {
		return n, row.Scan(&n.host, &n.port, &n.bytes)
	})
}

// CreateSchema makes the schema that p names, and its tables. Citus puts it on the worker that holds least.
func CreateSchema(ctx context.Context, p *Postgres, actor string) (s SchemaState, err error) {
	conn, err := p.connectPatiently(ctx)
	if err != nil {
		return s, err
	}
	defer conn.Close(ctx)
	found, err := lookForSchema(ctx, conn, p.Schema)
	if err != nil {
		return s, err
	}
	if found.exists {
		return s, fmt.Errorf("schema %s is there already", p.Schema)
	}
	made, err := Open(ctx, Options{Postgres: p, Migrate: true})
	if err != nil {
		return s, err
	}
	if err := made.Close(); err != nil {
		return s, err
	}
	if err := settleSchema(ctx, conn, p, actor); err != nil {
		return s, err
	}
	all, err := Schemas(ctx, p)
	if err != nil {
		return s, err
	}
	i := slices.IndexFunc(all, func(s SchemaState) bool { return s.Name == p.Schema })
	if i < 0 {
		return s, fmt.Errorf("schema %s was dropped again", p.Schema)
	}
	return all[i], nil
}

// settleSchema moves a new schema to the worker that holds least: Citus puts new ones on each in turn.
func settleSchema(ctx context.Context, conn *pgx.Conn, p *Postgres, actor string) error {
	if there, err := hasCitus(ctx, conn); err != nil || !there {
		return err
	}
	nodes, err := citusNodes(ctx, conn, p.Schema)
	if err != nil || len(nodes) == 0 {
		return err
	}
	at, err := whereSchema(ctx, conn, p.Schema)
	if err != nil || at.String() == nodes[0].String() {
		return err
	}
	_, err = MoveSchema(ctx, p, nodes[0].String(), actor, func(int, int) {})
	return err
}

// whereSchema is the worker that holds a schema.
func whereSchema(ctx context.Context, conn *pgx.Conn, name string) (n citusNode, err error) {
	err = conn.QueryRow(ctx, `SELECT w.nodename, w.nodeport FROM pg_dist_shard s JOIN pg_dist_placement p ON p.shardid = s.shardid
			JOIN pg_dist_node w ON w.groupid = p.groupid AND w.noderole = 'primary'
		WHERE s.logicalrelid = to_regclass($1)`, quoteSchema(name)+".verification").Scan(&n.host, &n.port)
	if err != nil {
		return n, fmt.Errorf("find the worker that holds schema %s: %w", name, err)
	}
	return n, nil
}

// errOneServer refuses a move where there is nowhere to move to.
var errOneServer = errors.New("only Citus moves schemas: this one isn't distributed, and the server that holds it is the only one. Dump it with pg_dump --schema, and restore it on another server")

// A SchemaMove says from which worker to which other one a schema went.
type SchemaMove struct{ From, To string }

// MoveSchema has Citus move the schema that p names to another worker, given as host:port, or, with "", to the one that
// holds least. Servers work on meanwhile, but for a moment at its end. It calls progress with the bytes copied and in all.
//
// The worker tells servers that it isn't the one of before, for which they would void all that is pending. So the move
// is written down before: see [sight.moved].
func MoveSchema(ctx context.Context, p *Postgres, to, actor string, progress func(done, all int)) (m SchemaMove, err error) {
	conn, err := p.connectPatiently(ctx)
	if err != nil {
		return m, err
	}
	defer conn.Close(ctx)
	if found, err := lookForSchema(ctx, conn, p.Schema); err != nil || !found.exists {
		return m, cmp.Or(err, fmt.Errorf("there is no schema %s", p.Schema))
	}
	srv := &server{timeout: 24 * time.Hour, clock: newClock(nil, nil), witness: &witness{}}
	if err := srv.configure(ctx, conn); err != nil {
		return m, err
	}
	if srv.citus.Load() == nil {
		return m, errOneServer
	}
	from, target, err := endsOfMove(ctx, conn, p.Schema, to)
	if err != nil {
		return m, err
	}
	m = SchemaMove{from.String(), target.String()}
	if _, err := srv.recognize(ctx, conn); err != nil {
		return m, err
	}
	if err := srv.announceMove(ctx, conn, target, Audit{Actor: actor, Action: "schema move", Detail: fmt.Sprintf("%s from %s to %s", p.Schema, m.From, m.To)}); err != nil {
		return m, err
	}
	stop := p.watchMove(ctx, progress)
	_, err = conn.Exec(ctx, `SELECT citus_schema_move($1::text::regnamespace, $2::text, $3::int)`, p.Schema, target.host, target.port)
	stop()
	if err != nil {
		return m, errors.Join(fmt.Errorf("move schema %s to %s: %w", p.Schema, target, err), p.retractMove(actor, m))
	}
	_, err = srv.recognize(ctx, conn)
	return m, err
}

// endsOfMove finds the worker that holds a schema, and the one to which it shall go.
func endsOfMove(ctx context.Context, conn *pgx.Conn, name, to string) (from, target citusNode, err error) {
	if from, err = whereSchema(ctx, conn, name); err != nil {
		return from, target, err
	}
	nodes, err := citusNodes(ctx, conn, name)
	if err != nil {
		return from, target, err
	}
	if to == "" {
		nodes = slices.DeleteFunc(nodes, func(n citusNode) bool { return n.String() == from.String() })
		if len(nodes) == 0 {
			return from, target, errors.New("there is no other worker")
		}
		return from, nodes[0], nil
	}
	i := slices.IndexFunc(nodes, func(n citusNode) bool { return n.String() == to })
	switch {
	case i < 0:
		var names []string
		for _, n := range nodes {
			names = append(names, n.String())
		}
		return from, target, fmt.Errorf("%s is no active worker; these are: %s", to, strings.Join(names, ", "))
	case to == from.String():
		return from, target, fmt.Errorf("schema %s is on %s already", name, to)
	}
	return from, nodes[i], nil
}

// announceMove writes down to which worker a schema goes.
func (s *server) announceMove(ctx context.Context, conn *pgx.Conn, target citusNode, entry Audit) error {
	var ok bool
	var text string
	if err := conn.QueryRow(ctx, `SELECT success, result FROM run_command_on_workers(
			$c$SELECT c.system_identifier::text || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) FROM pg_control_system() c$c$)
		WHERE nodename = $1 AND nodeport = $2`, target.host, target.port).Scan(&ok, &text); err != nil {
		return fmt.Errorf("ask %s who it is: %w", target, err)
	}
	if !ok {
		return fmt.Errorf("ask %s who it is: %s", target, text)
	}
	system, timeline, _ := strings.Cut(text, "/")
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM server WHERE name = 'primary' FOR UPDATE`); err != nil {
			return err
		}
		if err := noProjectMoves(ctx, tx); err != nil {
			return err
		}
		found, err := lookCitus(ctx, tx)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO server (name, system, timeline, incarnation) VALUES ('next', $1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET system = excluded.system, timeline = excluded.timeline, incarnation = excluded.incarnation`,
			system, timeline, found.was.String()); err != nil {
			return err
		}
		return s.audit(ctx, tx, entry)
	})
}

// noProjectMoves fails while a project moves from the schema or into it. The end of the schema's move would wait for the copy, and all
// other projects with it.
func noProjectMoves(ctx context.Context, tx pgx.Tx) error {
	var project, other string
	switch err := tx.QueryRow(ctx, `SELECT project, other FROM project_move WHERE state IN ('moving', 'leaving', 'arriving') ORDER BY project LIMIT 1`).Scan(&project, &other); {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case pgCode(err) == codeNoTable:
		return fmt.Errorf("the tables of the schema are of an older version: %w", ErrOldSchema)
	case err != nil:
		return err
	}
	return fmt.Errorf("project %s is being moved between this schema and shard %s: wait, or finish that with countersign project move", project, other)
}

func (s *server) audit(ctx context.Context, tx pgx.Tx, entry Audit) error {
	id := verify.NewID(s.clock.now())
	_, err := tx.Exec(ctx, `INSERT INTO audit (id, actor, action, project, detail) VALUES ($1, $2, $3, '', $4)`, id[:], entry.Actor, entry.Action, entry.Detail)
	return err
}

// retractMove forgets a move that failed, also one that was canceled.
func (p *Postgres) retractMove(actor string, m SchemaMove) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := p.connectPatiently(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	s := &server{clock: newClock(nil, nil)}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM server WHERE name = 'next'`); err != nil {
			return err
		}
		return s.audit(ctx, tx, Audit{Actor: actor, Action: "schema move", Detail: fmt.Sprintf("%s stays on %s: the move to %s failed", p.Schema, m.From, m.To)})
	})
}

// watchMove reports how far a move is, until stop.
func (p *Postgres) watchMove(ctx context.Context, progress func(done, all int)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := p.connectPatiently(ctx)
		if err != nil {
			return // it is only a bar
		}
		defer conn.Close(context.WithoutCancel(ctx))
		for ctx.Err() == nil {
			var done, all int
			if conn.QueryRow(ctx, `SELECT coalesce(sum(least(target_shard_size, source_shard_size)), 0)::bigint, coalesce(sum(source_shard_size), 0)::bigint
				FROM get_rebalance_progress() p JOIN pg_class c ON c.oid = p.table_name JOIN pg_namespace n ON n.oid = c.relnamespace
				WHERE n.nspname = $1`, p.Schema).Scan(&done, &all) == nil && all > 0 {
				progress(done, all)
			}
			select {
			case <-ctx.Done():
			case <-time.After(moveLook):
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

const moveLook = 300 * time.Millisecond
