package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// Postgres is a PostgreSQL database, and how much of it we use. Zero values take the defaults.
type Postgres struct {
	URL      string // postgres://user@host/database?sslmode=…
	Password verify.Secret

	// Schema holds the tables, and nothing outside it is looked at. "" is the schema that the URL's search_path,
	// or the user's, names first.
	Schema string

	Writers int // connections that commit groups: default 2
	Conns   int // connections for everything else: default 12; see openPools

	// Timeout bounds a transaction from its first word until its commit has come back, a read, and
	// the making of a connection: default 750 ms. A caller waits for at most 2½ times as long.
	Timeout time.Duration

	// SynchronousStandby says that a standby which is promoted has all that was ever committed.
	// Otherwise a failover voids what is pending: see [server]. A restore does so anyway.
	SynchronousStandby bool
}

// A Shard is one of several databases of a server.
type Shard struct {
	Name string
	*Postgres
}

const (
	defaultWriters = 2
	defaultConns   = 12
	defaultTimeout = 750 * time.Millisecond
)

// openPostgres opens a database: connections for the groups, and a pool for the rest.
func (s *Store) openPostgres(ctx context.Context, o Options) ([]session, error) {
	c, err := o.Postgres.config()
	if err != nil {
		return nil, err
	}
	db, err := preparePostgres(ctx, c, o)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := onOne(ctx, db, func(conn *pgx.Conn) error { return unmoved(ctx, conn) }); err != nil {
		return nil, err
	}
	srv := newServer(o.Postgres, o, s.clock, s.witness)
	writers := cmp.Or(o.Postgres.Writers, defaultWriters)
	s.openPools(func() *sql.DB {
		db := stdlib.OpenDB(*c, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
			_, err := srv.admit(ctx, conn)
			return err
		}))
		db.SetConnMaxIdleTime(time.Minute)
		return db
	}, writers, cmp.Or(o.Postgres.Conns, defaultConns), srv.timeout)
	s.postgres = true
	s.citus = srv.citus.Load
	s.seenFence = srv.fence.Load
	s.database = srv.database
	s.txOptions = sql.TxOptions{Isolation: sql.LevelRepeatableRead}
	s.limit = srv.timeout
	s.announce = s.announceSweep
	s.markVoid = func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		_, err := tx.ExecContext(ctx, pgVoid)
		return err
	}

	sessions, known := make([]session, writers), newIdentities()
	for i := range sessions {
		hot := &postgresSession{config: c, server: srv, known: known, writer: newWriterNumber()}
		sessions[i] = hot
		if err := hot.begin(ctx); err != nil { // the first caller shall not wait for it
			for _, s := range sessions[:i] {
				err = errors.Join(err, s.close())
			}
			return nil, err
		}
	}
	s.watch = func(ctx context.Context) { srv.watch(ctx, s.write) } // whoever works meets its errors too
	return sessions, nil
}

// openPools divides the connections that don't commit groups. Each lane may have a transaction that runs
// alone, beside the sweeper's, and none waits for a read. What is left after those, the lists' and
// the upkeep's is for looking up; each kind has one connection at least.
func (s *Store) openPools(open func() *sql.DB, lanes, conns int, limit time.Duration) {
	const upkeep = 1
	write, lists := lanes+1, min(listConns, 1+conns/8)
	s.write = open()
	s.write.SetMaxOpenConns(write)
	s.write.SetMaxIdleConns(write)
	s.hot = pool.New(open(), max(conns-write-lists-upkeep, 1), limit).Prepared()
	s.lists = pool.New(open(), lists, limit)
	s.turns, s.turnWait = newTurns(lists, maxTurns), limit
	s.upkeep = pool.New(open(), upkeep, limit)
}

// name is the server and the database, and the schema if one is named.
func (p *Postgres) name() string {
	c, err := pgx.ParseConfig(p.URL)
	if err != nil {
		return "" // the error says it
	}
	name := net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) + "/" + c.Database
	if p.Schema != "" {
		name += ", schema " + p.Schema
	}
	return name
}

func (p *Postgres) timeout() time.Duration { return cmp.Or(p.Timeout, defaultTimeout) }

// Check says what is wrong with the URL, without quoting what may be a password. It connects to nothing.
func (p *Postgres) Check() error {
	scheme, rest, _ := strings.Cut(p.URL, "://") // net/url refuses a list of hosts with ports
	if scheme != "postgres" && scheme != "postgresql" {
		return errors.New("must be a URL that begins with postgres://")
	}
	rest, text, _ := strings.Cut(rest, "?")
	query, err := url.ParseQuery(text)
	if err != nil {
		return errors.New("must be a URL: what follows the question mark is wrong")
	}
	user, _, given := strings.Cut(rest, "@")
	if given && strings.Contains(user, ":") || query.Has("password") {
		return errors.New("must not hold the password: others could read it there")
	}
	c, err := p.config()
	if err != nil {
		return err
	}
	if !query.Has("sslmode") && slices.ContainsFunc(hosts(c), remote) {
		return errors.New("must say sslmode for another machine: verify-full, with sslrootcert if its authority is your own")
	}
	return nil
}

// Unverified reports whether a connection to another machine could be to anybody: without TLS, or with
// a certificate that nothing is checked of (sslmode=require).
func (p *Postgres) Unverified() bool {
	c, err := p.config()
	if err != nil {
		return false // Check says it
	}
	anybody := func(host string, c *tls.Config) bool {
		return remote(host) && (c == nil || c.InsecureSkipVerify && c.VerifyPeerCertificate == nil && c.VerifyConnection == nil)
	}
	return anybody(c.Host, c.TLSConfig) || slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return anybody(f.Host, f.TLSConfig) })
}

// hosts are all that a connection may be made to; some may be there twice.
func hosts(c *pgx.ConnConfig) []string {
	all := []string{c.Host}
	for _, f := range c.Fallbacks {
		all = append(all, f.Host)
	}
	return all
}

// remote reports whether a host is another machine.
func remote(host string) bool {
	return !strings.HasPrefix(host, "/") && host != "localhost" && !net.ParseIP(host).IsLoopback()
}

// config reads the URL. Its errors don't quote a password.
func (p *Postgres) config() (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(p.URL)
	if err != nil {
		return nil, err
	}
	if p.Password != "" {
		c.Password = p.Password.Reveal()
	}
	if c.ValidateConnect == nil { // the URL may name several hosts: only the primary decides
		c.ValidateConnect = onlyPrimary
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "countersign"
	}
	if p.Schema != "" {
		c.RuntimeParams[searchPath] = p.Schema
	}
	// One host that says nothing must leave time for the next one.
	addresses := map[string]bool{c.Host + " " + strconv.Itoa(int(c.Port)): true}
	for _, f := range c.Fallbacks {
		addresses[f.Host+" "+strconv.Itoa(int(f.Port))] = true
	}
	c.ConnectTimeout = p.timeout() / time.Duration(len(addresses))
	return c, nil
}

// preparePostgres makes the schema and the tables if they are missing, and brings them up to date. That may take longer
// than anything later, so the connections that it returns have no limits.
func preparePostgres(ctx context.Context, c *pgx.ConnConfig, o Options) (*sql.DB, error) {
	patient := c.Copy()
	patient.RuntimeParams["lock_timeout"] = strconv.FormatInt(schemaLock.Milliseconds(), 10)
	db := stdlib.OpenDB(*patient, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, citusTriggers)
		return err
	}))
	if err := updatePostgres(ctx, db, o); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func updatePostgres(ctx context.Context, db *sql.DB, o Options) error {
	if err := onOne(ctx, db, func(conn *pgx.Conn) error { return makeSchema(ctx, conn, o.Postgres.Schema) }); err != nil {
		return err
	}
	tables, err := newSchema(db, goose.DialectPostgres, o)
	if err != nil {
		return err
	}
	if err := tables.update(ctx); err != nil {
		return err
	}
	return fitCitus(ctx, db)
}

// onOne does something on one connection of a pool, which keeps it.
func onOne(ctx context.Context, db *sql.DB, do func(*pgx.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(driver any) error { return do(driver.(*stdlib.Conn).Conn()) })
}

// unmoved fails while a database is half moved from another one: see [Move].
func unmoved(ctx context.Context, conn *pgx.Conn) error {
	var from string
	switch err := conn.QueryRow(ctx, `SELECT last FROM moving WHERE name = ''`).Scan(&from); {
	case err == nil:
		return fmt.Errorf("it is half moved from %s: run countersign migrate again", from)
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	return nil
}

// admit makes a new connection ready for use: see [server.recognize].
func (s *server) admit(ctx context.Context, conn *pgx.Conn) (epoch int64, err error) {
	if err := s.configure(ctx, conn); err != nil {
		return 0, err
	}
	return s.recognize(ctx, conn)
}

// configure sets what each connection needs, and looks at what the server is set to. What not every
// relative of PostgreSQL knows is only set where it exists. Plans must use the primary keys from the
// first row on, also while a table is empty or small: see planLife for the rest of that. Citus has no generic plan
// for some statements, and chooses.
//
// The simple protocol spares a round trip for each statement: a new connection is waited for.
func (s *server) configure(ctx context.Context, conn *pgx.Conn) error {
	const settings = `SELECT c.there, set_config('synchronous_commit', 'on', false), set_config('statement_timeout', $1, false),
		(SELECT count(set_config(s.name, w.value, false)) FROM pg_settings s JOIN (VALUES
			('idle_in_transaction_session_timeout', $2),
			('transaction_timeout', $2),
			('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('enable_bitmapscan', 'off'), ('jit', 'off'),
			('plan_cache_mode', CASE WHEN c.there THEN 'auto' ELSE 'force_generic_plan' END),
			('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3')
		) AS w (name, value) ON s.name = w.name)
		FROM (SELECT count(*) > 0 AS there FROM pg_extension WHERE extname = 'citus') c`
	once := strconv.FormatInt(s.timeout.Milliseconds(), 10)
	twice := strconv.FormatInt(2*s.timeout.Milliseconds(), 10) // what we have given up ends at the server as well, with its locks
	var citus bool
	if err := conn.QueryRow(ctx, settings, pgx.QueryExecModeSimpleProtocol, once, twice).Scan(&citus, nil, nil, nil); err != nil {
		return fmt.Errorf("set up connection: %w", err)
	}
	if err := refuseLossy(ctx, conn, "the server", `SELECT name, setting FROM pg_settings`); err != nil || !citus {
		return err
	}
	return s.configureCitus(ctx, conn)
}

// refuseLossy fails if the settings that a query reads let commits be lost. It reads the columns name and setting.
func refuseLossy(ctx context.Context, conn *pgx.Conn, who, from string) error {
	wrong := from + ` WHERE name IN ('synchronous_commit', 'fsync', 'full_page_writes') AND setting <> 'on' ORDER BY name`
	var name, value string
	switch err := conn.QueryRow(ctx, wrong, pgx.QueryExecModeSimpleProtocol).Scan(&name, &value); {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("read settings: %w", err)
	}
	return fmt.Errorf("%s has %s = %s: what it says is committed could be lost; set it to on", who, name, value)
}

// announceSweep makes it known that the sweeper will read up to an id, and waits for the starts that
// may not know it. Who starts a verification that is older, from now on, leaves a hint: so no row
// appears behind the sweeper without one, whatever the clocks say and however long a commit takes.
//
// A start locks the gate before it reads the watermark. If it read the old one, it holds that lock
// until its row is visible, and we wait for it here; if it locks later, it reads the new one. We take no
// lock that conflicts: behind one that waits for a slow commit, all other starts would wait too.
func (s *Store) announceSweep(ctx context.Context, to verify.ID) error {
	ctx, cancel := context.WithTimeout(ctx, gateWait)
	defer cancel()
	if _, err := s.write.ExecContext(ctx, `UPDATE watermark SET id = $1 WHERE name = 'announced' AND id < $1`, to[:]); err != nil {
		return err
	}
	first, err := s.startsUnderWay(ctx)
	for left := first; err == nil && slices.ContainsFunc(left, func(id string) bool { return slices.Contains(first, id) }); {
		select {
		case <-time.After(gateLook):
			left, err = s.startsUnderWay(ctx)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return err
}

// startsUnderWay names the transactions that hold the gate.
func (s *Store) startsUnderWay(ctx context.Context) ([]string, error) {
	if c := s.citus(); c != nil {
		return query(ctx, s.write, scanText, c.gated)
	}
	return query(ctx, s.write, scanText, `SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted
		AND relation = 'sweep_gate'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
}

const (
	gateWait = 10 * time.Second // for starts that hang: the server ends them sooner
	gateLook = 10 * time.Millisecond
)

func scanText(row scanner) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}

// The classes and codes of PostgreSQL's errors, https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	classData        = "22"
	classConstraint  = "23"
	classConnection  = "08"
	classRollback    = "40" // a deadlock, or what can't be serialized
	classResources   = "53"
	classOperator    = "57" // a shutdown, or a timeout
	classSystem      = "58"
	codeUnknown      = "40003" // a commit that may have happened
	codeCanceled     = "57014" // by a time limit
	codeUnique       = "23505"
	codeDivision     = "22012" // by zero
	codeLockTimeout  = "55P03"
	codeNoFunction   = "42883"
	codeNotSupported = "0A000" // also: a plan's result would have another type now
	codeNoStatement  = "26000"
	codeNoTable      = "42P01"
)

func pgCode(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func unknownFunction(err error) bool {
	code := pgCode(err)
	return code == codeNoFunction || code == codeNotSupported
}

// errRaced fails a transaction in which another was faster. It works when it is run again.
var errRaced = errors.New("another transaction was faster")

// raced reports whether a transaction failed only because others ran beside it.
func raced(err error) bool {
	code := pgCode(err)
	return errors.Is(err, errRaced) || code == codeLockTimeout || strings.HasPrefix(code, classRollback) && code != codeUnknown
}

// taken reports whether another was faster to take a name that is unique. What runs alone has looked
// before, and says so itself when it is run again.
func taken(err error) bool { return pgCode(err) == codeUnique }

// unanswered reports whether an operation failed because the server couldn't do it now, or wasn't there.
func unanswered(err error) bool {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return slices.Contains([]string{classConnection, classRollback, classResources, classOperator, classSystem}, refusal.Code[:2])
	}
	var network net.Error // a timeout as well
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
}

// overran reports whether an operation failed because it took longer than it may.
func overran(err error) bool {
	var network net.Error
	return pgCode(err) == codeCanceled || errors.As(err, &network) && network.Timeout()
}

// refused reports whether an error is about what was written, that would be refused again.
func refused(err error) bool {
	code := pgCode(err)
	return strings.HasPrefix(code, classData) || strings.HasPrefix(code, classConstraint)
}
