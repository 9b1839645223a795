package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Citus is an extension of PostgreSQL that spreads schemas over several servers. A distributed schema is held by one of
// them, its worker: all its tables are there, so that each of our transactions is one of that server alone. We reach it
// through the coordinator, or through any other server of the cluster.
//
// Of what we set on a connection, nothing reaches the worker. And what we ask about "the server" must be asked of the
// worker, whichever server we are connected to: a query that reads a table of the schema is sent there whole, with the
// functions that it calls.

// configureCitus finds out whether the schema is distributed, and looks at what its worker is set to.
func (s *server) configureCitus(ctx context.Context, conn *pgx.Conn) error {
	const look = `SELECT EXISTS (` + inDistributed + `), current_schema()`
	var distributed bool
	var schema string
	if err := conn.QueryRow(ctx, look, pgx.QueryExecModeSimpleProtocol).Scan(&distributed, &schema); err != nil {
		return fmt.Errorf("ask Citus for the schema: %w", err)
	}
	if distributed {
		s.citus.Store(newCitus(schema))
		return refuseLossy(ctx, conn, "the worker of Citus that holds schema "+schema,
			`SELECT name, setting FROM (SELECT s.name, s.setting FROM pg_show_all_settings() s, watermark w WHERE w.name = 'void') s`)
	}
	s.citus.Store(nil)
	return nil
}

// citusThere reports whether the database has the extension.
const citusThere = `SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')`

// distributeSchemas has Citus distribute the schemas that the session makes. Without Citus it does nothing.
const distributeSchemas = `SELECT set_config('citus.enable_schema_based_sharding', 'on', false) FROM pg_extension WHERE extname = 'citus'`

// Citus refuses triggers on distributed tables, and runs ours where they can't work: those add up sums of usage, which
// citusFold does itself. Migrations make them, so they are allowed for as long as that takes, and dropped by fitCitus.
const citusTriggers = `SELECT set_config('citus.enable_unsafe_triggers', 'on', false) FROM pg_extension WHERE extname = 'citus'`

// fitCitus makes of a distributed schema, which was brought up to date, one that Citus can work with and move. A table
// without a primary key moves when all of a row is its identity.
func fitCitus(ctx context.Context, db *sql.DB) error {
	distributed, err := isDistributed(ctx, db)
	if err != nil || !distributed {
		return err
	}
	changes, err := query(ctx, db, scanText, `SELECT format('DROP TRIGGER IF EXISTS %I ON usage_day', tgname)
			FROM pg_trigger WHERE tgrelid = to_regclass('usage_day') AND NOT tgisinternal AND tgname LIKE 'usage\_day\_%'
		UNION ALL SELECT format('ALTER TABLE %I REPLICA IDENTITY FULL', c.relname)
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relreplident = 'd'
				AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)`)
	if err != nil {
		return err
	}
	for _, change := range changes {
		if _, err := db.ExecContext(ctx, change); err != nil {
			return fmt.Errorf("%s: %w", change, err)
		}
	}
	return nil
}

// isDistributed reports whether Citus distributes the schema. Only Citus has the table that says so.
func isDistributed(ctx context.Context, db *sql.DB) (distributed bool, err error) {
	var there bool
	if err := db.QueryRowContext(ctx, citusThere).Scan(&there); err != nil || !there {
		return false, err
	}
	err = db.QueryRowContext(ctx, `SELECT EXISTS (`+inDistributed+`)`).Scan(&distributed)
	return distributed, err
}

const inDistributed = `SELECT FROM pg_dist_schema d JOIN pg_namespace n ON n.oid = d.schemaid WHERE n.nspname = current_schema()`

// What the triggers add up elsewhere: usage_month and usage_sum.
var (
	citusFold = pgFoldInto + `,
		folded AS (SELECT *, hour / 24 AS day FROM gone),
		months AS (` + citusMonths("folded") + `),
		sums AS (` + citusSums("folded") + `)
		SELECT count(*) FROM gone`

	citusMonth = `(EXTRACT(EPOCH FROM date_trunc('month', to_timestamp(day * 86400) AT TIME ZONE 'UTC'))::bigint / 86400)`
)

// citusMonths adds rows of days to those of months.
func citusMonths(from string) string {
	const key = `project, month, application, purpose, channel, country, carrier, currency`
	return `INSERT INTO usage_month AS u (` + key + `, ` + usedCountLayout.names() + `) SELECT ` + key + `, ` + sumUsed +
		` FROM (SELECT *, ` + citusMonth + ` AS month FROM ` + from + `) d GROUP BY ` + key + ` ORDER BY ` + key +
		` ON CONFLICT (` + key + `) DO UPDATE SET ` + added(usedCountLayout, "excluded")
}

// citusSums adds rows of days to those of all that a project used, and of what all projects used, by day and by month, and of both by day and country.
func citusSums(from string) string {
	const key = `unit, project, day, channel, country, carrier, currency`
	var parts []string
	for _, project := range []string{`project`, `''`} {
		parts = append(parts, `SELECT 'country' AS unit, `+project+` AS project, day, '' AS channel, country, '' AS carrier, currency, `+usedCountLayout.names()+` FROM `+from)
	}
	for unit, day := range map[string]string{"day": "day", "month": citusMonth} {
		for _, rest := range []string{`project, ` + day + ` AS day, '' AS channel, '' AS country, '' AS carrier`, `'' AS project, ` + day + ` AS day, channel, country, carrier`} {
			parts = append(parts, `SELECT '`+unit+`' AS unit, `+rest+`, currency, `+usedCountLayout.names()+` FROM `+from)
		}
	}
	return `INSERT INTO usage_sum AS u (` + key + `, ` + usedCountLayout.names() + `) SELECT ` + key + `, ` + sumUsed +
		` FROM (` + strings.Join(parts, ` UNION ALL `) + `) d GROUP BY ` + key + ` ORDER BY ` + key +
		` ON CONFLICT (` + key + `) DO UPDATE SET ` + added(usedCountLayout, "excluded")
}

// citusUnsum deletes days of one project, and takes them out of the sums of all projects.
var citusUnsum = `WITH gone AS (DELETE FROM usage_day WHERE ctid = ANY (ARRAY(SELECT ctid FROM usage_day WHERE project = $1 LIMIT $2)) RETURNING *),
		back AS (SELECT ` + dayKeyLayout.names() + `, ` + usedCountLayout.list(func(_ int, f field[used]) string { return "-" + f.name + " AS " + f.name }) + ` FROM gone),
		sums AS (` + citusSums("back") + `)
		SELECT count(*) FROM gone`

// sumCitusUsage makes the sums again of all days.
func sumCitusUsage(ctx context.Context, tx pgx.Tx) error {
	for _, text := range []string{`DELETE FROM usage_month`, citusMonths("usage_day"), `DELETE FROM usage_sum`, citusSums("usage_day")} {
		if _, err := tx.Exec(ctx, text); err != nil {
			return fmt.Errorf("add up usage: %w", err)
		}
	}
	return nil
}

// citusStay has a schema stay where it is until the transaction ends: it changes nothing, and Citus ends a move only when nobody
// is changing the schema. A transaction that only reads first, even FOR UPDATE, doesn't hold up a move. It would lock rows on one
// worker, and write on another what it decided, over what others wrote there meanwhile.
const citusStay = `DELETE FROM watermark WHERE name = ''`

// shareVoid locks the row that is written with each fence and each void, so that neither comes before the transaction ends.
const shareVoid = `SELECT FROM watermark WHERE name = 'void' FOR SHARE`

// shareVoidNow fails where that would wait.
const shareVoidNow = shareVoid + ` NOWAIT`

// A citus has the statements for one distributed schema that other databases have in another form.
type citus struct {
	gate  string // in place of pgGate
	gated string // in place of the query of startsUnderWay
	turn  string // in place of what takeKeyTurn asks
}

// newCitus makes the statements. LOCK TABLE would lock the table on every server of the cluster: it would cost a round
// trip to each, and fail while one of them is away. An advisory lock on the worker does as well.
func newCitus(schema string) *citus {
	gate, turn := advisoryLock("starts", schema), advisoryLock("turn", schema)
	return &citus{
		gate: `SELECT pg_advisory_xact_lock_shared(` + strconv.FormatInt(gate, 10) + `) FROM watermark WHERE name = 'announced'`,
		gated: fmt.Sprintf(`SELECT l.virtualtransaction FROM pg_lock_status() l, watermark w WHERE w.name = 'announced'
			AND l.locktype = 'advisory' AND l.granted AND l.classid::bigint = %d AND l.objid::bigint = %d AND l.objsubid = 1`, uint32(gate>>32), uint32(gate)),
		turn: `SELECT pg_try_advisory_xact_lock(` + strconv.FormatInt(turn, 10) + `), ` + databaseTime + ` FROM watermark WHERE name = 'void'`,
	}
}

// advisoryLock is the number of a lock of a schema. Locks of other schemas have other numbers.
func advisoryLock(of, schema string) int64 {
	h := fnv.New64a()
	h.Write([]byte("countersign " + of + " " + schema))
	return int64(h.Sum64())
}

// pushed has a statement that inserts rows from arrays read a row of the schema, too. Citus then sends it to the worker as
// it is. Without that, Citus makes the rows itself and copies them, which takes longer, and hides the codes of errors.
func pushed(text string) string {
	const row = ` FROM watermark WHERE name = 'void'`
	i := strings.Index(text, "SELECT unnest(")
	if i < 0 || !strings.HasPrefix(text, "INSERT INTO ") {
		return text
	}
	rest := text[i:]
	end := len(rest)
	for _, mark := range []string{" ON CONFLICT", ") r"} {
		if at := strings.Index(rest, mark); at >= 0 {
			end = min(end, at)
		}
	}
	return text[:i] + rest[:end] + row + rest[end:]
}

// takeKeyTurn is [Store.takeKeyTurn]. It doesn't wait either.
func (c *citus) takeKeyTurn(ctx context.Context, tx *sql.Tx) (now time.Time, err error) {
	var mine bool
	var micros int64
	if err := tx.QueryRowContext(ctx, c.turn).Scan(&mine, &micros); err != nil {
		return now, err
	}
	if !mine {
		return now, errRaced
	}
	return time.UnixMicro(micros), nil
}

// citusTime is databaseTime where the schema is distributed: the worker's, for all who use the schema.
const citusTime = `SELECT ` + databaseTime + ` FROM watermark WHERE name = 'void'`

// citusPlace says which database of a cluster it is. Each table is a shard on the worker, whose number stays the same
// when the schema moves, and is another one when the table is made again. Like lookAt, it finds nothing while a restore
// hasn't made the primary keys.
const citusPlace = `SELECT max(shardid)::text FROM pg_dist_shard WHERE logicalrelid = to_regclass('verification')
	AND to_regclass('verification_pkey') IS NOT NULL AND to_regclass('watermark_pkey') IS NOT NULL AND to_regclass('server_pkey') IS NOT NULL`

// citusLook asks the worker who it is. The row "anchor" is written once: the transaction that wrote it tells restored rows
// from those that were there, as the row "primary" does elsewhere, which Citus can't write with its own transaction in it.
const citusLook = `SELECT c.system_identifier::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), coalesce(a.xmin::text, ''),
		s.system, s.timeline, s.incarnation,
		(pg_current_wal_flush_lsn() - '0/0')::bigint, w.xmin::text::bigint,
		coalesce(current_setting('synchronous_standby_names', true), '') <> '', ` + databaseTime + `, w.id,
		coalesce(n.system, ''), coalesce(n.timeline, ''), coalesce(n.incarnation, '')
	FROM pg_control_system() c, watermark w, server s LEFT JOIN server a ON a.name = 'anchor' LEFT JOIN server n ON n.name = 'next'
	WHERE s.name = 'primary' AND w.name = 'void'`

// lookCitus is look where the schema is distributed.
func lookCitus(ctx context.Context, conn pgQueryer) (s sight, err error) {
	var shard *string
	if err := conn.QueryRow(ctx, citusPlace, pgx.QueryExecModeSimpleProtocol).Scan(&shard); err != nil {
		return s, fmt.Errorf("ask Citus for the shard: %w", err)
	}
	if shard == nil {
		return s, errIncomplete
	}
	var anchor string
	err = conn.QueryRow(ctx, citusLook, pgx.QueryExecModeSimpleProtocol).Scan(&s.is.system, &s.is.timeline, &anchor, &s.was.system, &s.was.timeline, &s.was.incarnation,
		&s.at.flushed, &s.epoch, &s.synced, &s.micros, &s.void, &s.next.system, &s.next.timeline, &s.next.incarnation)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return s, errIncomplete
	case err != nil:
		return s, fmt.Errorf("ask the worker who it is: %w", err)
	}
	s.is.incarnation, s.shard, s.name = *shard+"."+anchor, *shard, "citus."+*shard
	s.at.system, s.at.timeline = s.is.system, s.is.timeline
	return s, nil
}

// storeCitus stores the identity that the worker has, in a transaction that has locked the row. What was under way to
// another worker isn't any more.
func storeCitus(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `INSERT INTO server (name, system, timeline, incarnation) VALUES ('anchor', '', '', '') ON CONFLICT DO NOTHING`); err != nil {
		return err
	}
	found, err := lookCitus(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE server SET system = $1, timeline = $2, incarnation = $3 WHERE name = 'primary'`, found.is.system, found.is.timeline, found.is.incarnation); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM server WHERE name = 'next'`)
	return err
}

// moved reports whether a schema is on the worker to which [MoveSchema] was moving it, as it was when that began. The
// row "next" allows it once, and no other change: the worker's timeline must be the one that the move saw, and the
// shard must be the same.
func (f sight) moved() bool {
	return f.next.system != "" && f.is.system != f.was.system && f.is.system == f.next.system && f.is.timeline == f.next.timeline &&
		f.next.incarnation == f.was.String() && strings.HasPrefix(f.was.incarnation, f.shard+".")
}

// String names an identity in the row "next".
func (i identity) String() string { return i.system + "/" + i.timeline + "/" + i.incarnation }

// follow stores the identity that a schema has after a move. Nothing was lost, so that nothing is void.
func (s *server) follow(ctx context.Context, conn *pgx.Conn) (found sight, err error) {
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM server WHERE name = 'primary' FOR UPDATE`); err != nil {
			return err
		}
		if found, err = lookCitus(ctx, tx); err != nil || !found.moved() {
			return err // another connection was faster
		}
		return storeCitus(ctx, tx)
	})
	if err != nil {
		return found, fmt.Errorf("follow the schema to another worker: %w", err)
	}
	return lookCitus(ctx, conn)
}
