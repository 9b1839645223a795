package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/internal/verify"
)

// What the tests need to see of a store's inside.

const (
	MaxBatch   = maxBatch
	MaxWaiting = maxWaiting
)

// Waiting is how many operations wait for the group after the one that is under way.
func (s *Store) Waiting() int { return len(s.w.ops) }

// Enqueue hands an operation that calls applied to the writer, and doesn't wait for it.
func (s *Store) Enqueue(applied func()) (done <-chan error, err error) {
	o := op{done: make(chan error, 1), apply: func(*rows, time.Time) error { applied(); return nil }}
	return o.done, s.w.enqueue(o)
}

// MigrationLock is the lock of those who change a schema.
func MigrationLock(schema string) int64 { return migrationLock(&Postgres{Schema: schema}) }

// SpeakAsOnCitus has transactions that run alone, and sweeps, use the statements for Citus. PostgreSQL understands them. It is called
// before the store is used.
func (s *Store) SpeakAsOnCitus(schema string) {
	s.citus = func() *citus { return newCitus(schema) }
}

// Pragma reads or sets a pragma on the connection that writes groups.
func (s *Store) Pragma(_ context.Context, text string) (value string, err error) {
	return s.w.hot[0].(*sqliteSession).pragma(text)
}

// Setting reads a setting of PostgreSQL on a connection that writes groups.
func (s *Store) Setting(ctx context.Context, name string) (value string, err error) {
	p := &postgresSession{config: s.w.hot[0].(*postgresSession).config, server: s.w.hot[0].(*postgresSession).server}
	defer p.close()
	if err := p.begin(ctx); err != nil {
		return "", err
	}
	err = p.conn.QueryRow(ctx, "SHOW "+name).Scan(&value)
	return value, err
}

// Discard makes PostgreSQL forget what a connection that writes groups has prepared. No group may be under way.
func (s *Store) Discard(ctx context.Context) error {
	_, err := s.w.hot[0].(*postgresSession).conn.Exec(ctx, "DEALLOCATE ALL", pgx.QueryExecModeSimpleProtocol)
	return err
}

// Attend does what happens each second.
func (s *Store) Attend(ctx context.Context) error {
	s.watch(ctx)
	return s.witness.save()
}

// Watch has PostgreSQL looked at now, as happens each second.
func (s *Store) Watch(ctx context.Context) error {
	if err := s.w.hot[0].(*postgresSession).server.watch(ctx, s.write); err != nil {
		return away("watch", err)
	}
	return nil
}

// Name is the server and the database.
func (p *Postgres) Name() string { return p.name() }

// MaxShared is how many operations of projects wait while several want something.
const MaxShared = maxShared

// Renumber has PostgreSQL's only writer count in rows of another number.
func (s *Store) Renumber(n int) {
	s.writers[0], s.w.hot[0].(*postgresSession).writer = n, n
}

// At has a move fail as by a crash where f does, which is called after each step.
func (w *ProjectMoving) At(f func(step string) error) { w.at = f }

// Settle has a move wait for a shorter time, where no server remembers keys.
func (w *ProjectMoving) Settle(d time.Duration) { w.settle = d }

// Stand has a move be ended sooner that stands still.
func (w *ProjectMoving) Stand(d time.Duration) { w.stand = d }

// Tell has a move give servers a shorter time to say that they serve both databases.
func (w *ProjectMoving) Tell(d time.Duration) { w.tell = d }

// ErrLostTurn refuses to delete what the other database has lost.
var ErrLostTurn = errLostTurn

// ArrivedLease is how long an attempt that is under way at the turn has to be settled.
const ArrivedLease = arrivedLease

// ErrCrash is what a move fails with then.
var ErrCrash = errCrash

// MovedTables says by which condition the rows of each table are a project's; "" is that none are copied.
func MovedTables(p verify.ProjectID) map[string]string {
	all := map[string]string{}
	for _, t := range movedTables {
		all[t.name] = strings.ReplaceAll(ofProject(t.where, p), "FROM leaving", "FROM verification WHERE project = '"+string(p)+"'")
	}
	return all
}

// MovedTable reports whether a table's rows are copied or made, and if not, why they stay.
func MovedTable(name string) (known bool, how int, why string) {
	i := slices.IndexFunc(movedTables, func(t movedTable) bool { return t.name == name })
	if i < 0 {
		return false, 0, ""
	}
	return true, int(movedTables[i].how), movedTables[i].why
}

// SumUsage makes the sums of usage again where a schema is distributed: rows that a test inserts into usage_day run no triggers there.
func SumUsage(ctx context.Context, p *Postgres) error {
	conn, err := p.connectPatiently(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	s := &server{}
	if err := s.configure(ctx, conn); err != nil || s.citus.Load() == nil {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return sumCitusUsage(ctx, tx) })
}

// BeginOf does what a transaction that runs alone does first.
func BeginOf(ctx context.Context, s *Store, tx *sql.Tx, p verify.ProjectID) error {
	return s.beginOf(ctx, tx, p)
}

// Raced reports whether a transaction is run again after an error.
func Raced(err error) bool { return raced(err) }

// The tests ask Citus in the words that groups and moves use.
const (
	CitusStay      = citusStay
	StandbysBehind = standbysBehind
)

// StandsAtMost is how long a move may stand still, in milliseconds, in a transaction of each kind: a short one, one that writes void, and one
// that waits for the other database.
func (w ProjectMoving) StandsAtMost(ctx context.Context) (short, telling, copying string, err error) {
	m, err := openMove(ctx, w)
	if err != nil {
		return "", "", "", err
	}
	defer m.close()
	ask := func(limit *string, set func() error) {
		err = errors.Join(err, m.from.in(ctx, func() error {
			if err := set(); err != nil {
				return err
			}
			return m.from.QueryRow(ctx, `SELECT current_setting('idle_in_transaction_session_timeout') FROM watermark WHERE name = 'void'`).Scan(limit)
		}))
	}
	ask(&short, func() error { return nil })
	ask(&telling, func() error { return m.from.tell(ctx) })
	ask(&copying, func() error { return m.from.standAtMost(ctx, 0) })
	return short, telling, copying, err
}
