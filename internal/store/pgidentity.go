package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/countersign/countersign/internal/verify"
)

// A server compares each new connection with what is known before the connection is used.
//
// A standby that is promoted, a dump that is restored, and a copy of the server's files may all lack the
// last commits: a code that was used would work again, and a guess that was spent would be there again. So
// the database holds its [identity], and each process remembers the highest [position] that it has seen and
// has a [witness] of its decisions. A connection that finds another identity, an earlier position, or a
// decision that is lost, voids all verifications before anything else: it moves the watermark "void" to the
// newest one. What is lost altogether isn't there and can't be used.
type server struct {
	timeout  time.Duration
	lossless bool // a standby has all: another timeline voids nothing, unless commits were exposed
	clock    *clock
	log      *slog.Logger
	witness  *witness
	citus    atomic.Pointer[citus] // nil: the schema isn't distributed
	fence    atomic.Pointer[fence] // as a connection has seen it last; nil: none has

	mu      sync.Mutex // guards the following
	seen    position
	name    string    // of the database and the schema, among all; "": it has none
	exposed string    // the timeline on which no standby was synchronous when we last looked; "": one was
	warned  time.Time // when that was last logged
}

func newServer(p *Postgres, o Options, c *clock, w *witness) *server {
	return &server{timeout: p.timeout(), lossless: p.SynchronousStandby, clock: c, log: o.Log, witness: w}
}

// An identity says which database this is, and which writing of it.
type identity struct {
	system   string // the server's identifier, which it gets when its files are made
	timeline string // changes with each promotion and each recovery to a point in time

	// incarnation is the OIDs of the database and of the table of verifications, and the transaction that
	// wrote the row in which the identity is stored. A restore makes the table and the row again, and a copy
	// within the server has another OID. The row keeps its transaction when it is frozen or its table rewritten.
	incarnation string
}

// A position is how far a server has come. A server's log only grows, also across a crash: what has been
// flushed is there again. So one that is back at an earlier position was restored from a copy.
type position struct {
	system, timeline string
	flushed          int64
}

// before reports whether a server is back before a position that was seen earlier.
func (p position) before(earlier position) bool {
	return p.system == earlier.system && p.timeline == earlier.timeline && p.flushed < earlier.flushed
}

// A sight is what one look at a server shows.
type sight struct {
	is, was identity
	at      position
	name    string // of the database and the schema, also when the schema has moved
	epoch   int64  // the transaction that wrote the watermark "void"
	synced  bool   // commits wait for a standby
	micros  int64  // the server's time
	void    []byte // the watermark "void"

	// With Citus: the shard that holds the verifications, and where [MoveSchema] is moving it. See [sight.moved].
	shard string
	next  identity
}

// database names the database and the schema among all. Clusters of Citus number their shards alike.
func (f sight) database() string {
	if f.shard != "" {
		return f.is.system + "." + f.name
	}
	return f.name
}

// errIncomplete refuses a database in which tables are missing or not loaded yet.
var errIncomplete = errors.New("the database isn't complete: it is being restored, or a restore was stopped")

// databaseTime is what the server's clock shows, in microseconds.
const databaseTime = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// lookAt asks a server who it is. A restore makes a table's primary key after it has loaded the table: until
// then there would be too little to void.
const lookAt = `SELECT c.system_identifier::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
		concat_ws('.', d.oid, to_regclass('verification')::oid, s.xmin), s.system, s.timeline, s.incarnation,
		(pg_current_wal_flush_lsn() - '0/0')::bigint, concat_ws('.', c.system_identifier, d.oid, nullif(current_schema(), 'public')), w.xmin::text::bigint,
		coalesce(current_setting('synchronous_standby_names', true), '') <> '', ` + databaseTime + `, w.id
	FROM pg_control_system() c, pg_database d, server s, watermark w
	WHERE d.datname = current_database() AND s.name = 'primary' AND w.name = 'void'
		AND to_regclass('verification_pkey') IS NOT NULL AND to_regclass('watermark_pkey') IS NOT NULL AND to_regclass('server_pkey') IS NOT NULL`

type pgQueryer interface {
	QueryRow(ctx context.Context, text string, args ...any) pgx.Row
}

func (s *server) look(ctx context.Context, conn pgQueryer) (sight, error) {
	if s.citus.Load() != nil {
		return lookCitus(ctx, conn)
	}
	return look(ctx, conn)
}

func look(ctx context.Context, conn pgQueryer) (s sight, err error) {
	err = conn.QueryRow(ctx, lookAt, pgx.QueryExecModeSimpleProtocol).Scan(&s.is.system, &s.is.timeline, &s.is.incarnation,
		&s.was.system, &s.was.timeline, &s.was.incarnation, &s.at.flushed, &s.name, &s.epoch, &s.synced, &s.micros, &s.void)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return s, errIncomplete
	case err != nil:
		return s, fmt.Errorf("ask the server who it is: %w", err)
	}
	s.at.system, s.at.timeline = s.is.system, s.is.timeline
	return s, nil
}

// recognize compares a connection's server with what is known, and voids what it must. It returns the epoch
// in which the connection may work, see postgresSession.load; 0 is any, on relatives of PostgreSQL that have
// no such functions, and no such failover.
func (s *server) recognize(ctx context.Context, conn *pgx.Conn) (epoch int64, err error) {
	// What is remembered is read before the server is asked: others may get further meanwhile.
	s.mu.Lock()
	seen := s.seen
	s.mu.Unlock()
	asked := s.clock.machine()
	found, err := s.look(ctx, conn)
	if unknownFunction(err) {
		return 0, s.askTime(ctx, conn)
	}
	if err != nil {
		return 0, err
	}
	s.clock.compare(asked, s.clock.machine(), time.UnixMicro(found.micros))
	if found.moved() {
		if found, err = s.follow(ctx, conn); err != nil {
			return 0, err
		}
	}
	why := s.changed(found)
	changed := why != ""
	if why == "" && found.at.before(seen) {
		why = "the server is back at an earlier position: its files were restored from a copy"
	}
	lost, err := s.lost(ctx, conn, found)
	if err != nil {
		return 0, err
	}
	if why == "" && lost {
		why = "the database lacks what was decided last: it is an older copy"
	}
	if why != "" {
		if found, err = s.settle(ctx, conn, why, changed); err != nil {
			return 0, err
		}
		s.witness.clear()
	}
	if ahead := verify.FirstID(s.clock.now()); bytes.Compare(found.void, ahead[:]) > 0 {
		if found, err = s.lower(ctx, conn, found.void); err != nil {
			return 0, err
		}
	}
	s.witness.of(found.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name = found.database()
	s.expose(found)
	if why != "" || !found.at.before(s.seen) {
		s.seen = found.at
	}
	return found.epoch, nil
}

// database is the name of the database and the schema, as a connection has found it last.
func (s *server) database() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name
}

// askTime asks the server for its time only.
func (s *server) askTime(ctx context.Context, conn pgQueryer) error {
	var micros int64
	asked := s.clock.machine()
	text := `SELECT ` + databaseTime
	if s.citus.Load() != nil {
		text = citusTime
	}
	if err := conn.QueryRow(ctx, text, pgx.QueryExecModeSimpleProtocol).Scan(&micros); err != nil {
		return fmt.Errorf("ask the server for its time: %w", err)
	}
	s.clock.compare(asked, s.clock.machine(), time.UnixMicro(micros))
	return nil
}

// lost reports whether a decision that was committed isn't there.
func (s *server) lost(ctx context.Context, conn *pgx.Conn, found sight) (bool, error) {
	for _, d := range s.witness.decisions(found.name, s.clock.now()) {
		var status verify.Status
		var guesses int
		err := conn.QueryRow(ctx, `SELECT status, guesses FROM verification WHERE id = $1`, pgx.QueryExecModeSimpleProtocol, d.ID[:]).Scan(&status, &guesses)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return false, fmt.Errorf("look for the last decision: %w", err)
		}
		if err != nil {
			gone, err := movedAway(ctx, conn, d.Project)
			if err != nil {
				return false, err
			}
			if gone {
				continue
			}
		}
		if d.lost(err == nil, status, guesses) {
			return true, nil
		}
	}
	return false, nil
}

// expose remembers, and logs once a minute, that no standby has all commits although the configuration says
// so. Hold mu.
func (s *server) expose(f sight) {
	s.exposed = ""
	if !s.lossless || f.synced {
		return
	}
	s.exposed = f.is.timeline
	if now := s.clock.now(); s.log != nil && now.Sub(s.warned) >= time.Minute {
		s.warned = now
		s.log.Error("database.synchronous_standby is true, but the server's synchronous_standby_names is empty: a failover voids what is pending; set one of them right")
	}
}

// forgives reports whether a standby that was promoted lacks no commit.
func (s *server) forgives(promoted string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lossless && (s.exposed == "" || s.exposed == promoted)
}

// changed says what differs from the identity that is stored; "" is nothing.
func (s *server) changed(f sight) string {
	switch {
	case f.is.system != f.was.system:
		return "the database is on another server than before"
	case f.is.incarnation != f.was.incarnation:
		return "the database was restored from a dump or copied"
	case f.is.timeline != f.was.timeline && !s.forgives(f.is.timeline):
		return "a standby was promoted, or the server was recovered to a point in time"
	}
	return ""
}

// settle stores the identity that a server now has, and voids all that may have been lost.
func (s *server) settle(ctx context.Context, conn *pgx.Conn, why string, changed bool) (found sight, err error) {
	voided := false
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM server WHERE name = 'primary' FOR UPDATE`); err != nil {
			return err
		}
		if found, err = s.look(ctx, tx); err != nil {
			return err
		}
		if changed && s.changed(found) == "" {
			return nil // another connection was faster
		}
		if err := s.store(ctx, tx, found.is); err != nil || found.unknown() {
			return err
		}
		voided, err = s.void(ctx, tx, why)
		return err
	})
	if err != nil {
		return found, fmt.Errorf("void what may have been lost: %w", err)
	}
	if voided && s.log != nil {
		s.log.ErrorContext(ctx, "all pending verifications are void: commits may have been lost", "why", why)
	}
	return s.look(ctx, conn)
}

// unknown reports whether there is nothing to compare with yet: the database is new, or it was used on this
// server by a program that didn't store its incarnation.
func (f sight) unknown() bool {
	return f.was.system == "" || f.was.incarnation == "" && f.is.system == f.was.system && f.is.timeline == f.was.timeline
}

// store writes an identity.
func (s *server) store(ctx context.Context, tx pgx.Tx, is identity) error {
	if s.citus.Load() != nil {
		return storeCitus(ctx, tx)
	}
	_, err := tx.Exec(ctx, `UPDATE server SET system = $1, timeline = $2,
			incarnation = concat_ws('.', (SELECT oid FROM pg_database WHERE datname = current_database()), to_regclass('verification')::oid, mod(txid_current(), 4294967296))
		WHERE name = 'primary'`, is.system, is.timeline)
	return err
}

// void voids what is there, forgets enrolments, and writes down why. It reports whether there was anything.
func (s *server) void(ctx context.Context, tx pgx.Tx, why string) (bool, error) {
	if _, err := tx.Exec(ctx, forgetEnrolments); err != nil {
		return false, err
	}
	moved, err := tx.Exec(ctx, pgVoid)
	if err != nil || moved.RowsAffected() == 0 {
		return false, err
	}
	id := verify.NewID(s.clock.now())
	_, err = tx.Exec(ctx, `INSERT INTO audit (id, actor, action, project, detail) VALUES ($1, 'countersign', 'void', '', $2)`, id[:], why)
	return true, err
}

// pgVoid voids every verification that is there, whatever the clocks say: the mark is the newest one.
const pgVoid = `UPDATE watermark w SET id = v.id FROM (SELECT id FROM verification ORDER BY id DESC LIMIT 1) v WHERE w.name = 'void' AND w.id < v.id`

// lower brings the void mark back to the time, of which it lies ahead when some clock was ahead, or the database's
// was set back: nothing could start until the time has passed it. What it voids beyond is canceled before.
func (s *server) lower(ctx context.Context, conn *pgx.Conn, mark []byte) (found sight, err error) {
	for more := true; more; {
		more = false
		err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
			held, err := tx.Exec(ctx, `SELECT FROM watermark WHERE name = 'void' AND id = $1 FOR UPDATE`, mark)
			if err != nil || held.RowsAffected() == 0 {
				return err // another connection was faster, and something may have started there since
			}
			now := s.clock.now()
			to := verify.FirstID(now)
			ahead, err := tx.Exec(ctx, pgVoidAhead, to[:], millis(now), aheadStep, mark)
			if more = ahead.RowsAffected() == aheadStep; err != nil || more {
				return err
			}
			_, err = tx.Exec(ctx, `UPDATE watermark SET id = $1 WHERE name = 'void'`, to[:])
			return err
		})
		if err != nil {
			return found, fmt.Errorf("bring the void mark back to the time: %w", err)
		}
	}
	return s.look(ctx, conn)
}

// pgVoidAhead does to rows what verify.Verification.Cancel does, a step of them in well less than a transaction may take.
const (
	pgVoidAhead = `UPDATE verification SET ` + voided + `
		WHERE status = 0 AND id IN (SELECT id FROM verification WHERE id > $1 AND id <= $4 AND status = 0 ORDER BY id LIMIT $3)`
	voided = `status = 3, ended_at = $2, code_sealed = NULL,
			reason = CASE delivery WHEN 0 THEN 'canceled' ELSE reason END,
			due_at = CASE delivery WHEN 0 THEN 0 ELSE due_at END,
			delivery = CASE delivery WHEN 0 THEN 4 ELSE delivery END`
	aheadStep = 5000
)

// watch looks at the server on a connection of the pool.
func (s *server) watch(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(raw any) error {
		conn := raw.(*stdlib.Conn).Conn()
		if _, err := s.recognize(ctx, conn); err != nil {
			return err
		}
		fenced, err := readFence(ctx, conn) // also where no group looks
		if err == nil {
			s.fence.Store(&fenced)
		}
		return err
	})
}
