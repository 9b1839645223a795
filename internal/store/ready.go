package store

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// outageLasts is how long a transaction that failed says that the next would fail too. After that it
// is tried.
const outageLasts = time.Second

// An outage is a transaction that failed because of the database, not of what it was to do.
type outage struct {
	err error
	at  time.Time
}

// A probe is a transaction that only finds out whether there can be one. At most one is under way.
type probe struct {
	mu      sync.Mutex   // guards pending
	pending <-chan error // of one that was handed to the writer; nil: none
}

// Ready reports whether the database can be written, as far as is known, and read, for a readiness
// probe. A disk that is full can be read still. During an outage nothing is read: an impatient caller
// would open a connection each time, and never get as far as the write that ends the outage.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	if _, err := pool.One(ctx, s.hot, scanValue[int], "SELECT 1 FROM watermark"); err != nil {
		return away("ask database", err)
	}
	return nil
}

// writable reports how the last transaction ended. If it failed a while ago and none has been tried
// since, for who isn't ready is asked for nothing, one is tried that changes nothing of use.
func (s *Store) writable(ctx context.Context) error {
	out := s.w.outage.Load()
	if out == nil {
		return nil
	}
	s.probe.mu.Lock()
	defer s.probe.mu.Unlock()
	if s.probe.pending == nil {
		if out = s.w.outage.Load(); out == nil || time.Since(out.at) < outageLasts {
			return out.reason()
		}
		o := op{alone: writeProbe, done: make(chan error, 1)}
		if err := s.w.enqueue(o); err != nil {
			return err
		}
		s.probe.pending = o.done
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	select {
	case err := <-s.probe.pending:
		s.probe.pending = nil
		return err
	case <-ctx.Done(): // the disk hangs: no second one is put behind the first
		return away("write", ctx.Err())
	}
}

// reason is why there is an outage, if there is one.
func (o *outage) reason() error {
	if o == nil {
		return nil
	}
	return o.err
}

// writeProbe writes a row that nobody reads, with a new value: SQLite doesn't write what is there.
func writeProbe(ctx context.Context, tx *sql.Tx, now time.Time) error {
	id := verify.NewID(now)
	_, err := tx.ExecContext(ctx, `INSERT INTO watermark (name, id) VALUES ('probe', $1) ON CONFLICT (name) DO UPDATE SET id = excluded.id`, id[:])
	return err
}
