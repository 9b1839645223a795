package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// maxBatch bounds a group, so that its first caller doesn't wait for thousands of others.
// maxWaiting bounds what waits for the next one; what comes then is told to come again.
const (
	maxBatch   = 256
	maxWaiting = 8192
)

// An op is one event for the batch. It names the rows that it needs; apply then decides on them
// without touching the database. It changes nothing when it returns an error, and may run twice.
type op struct {
	verification    verify.ID
	withDestination bool           // also load that verification's destination
	destination     destinationKey // of a verification that doesn't exist yet
	apply           func(r *rows, now time.Time) error

	// alone runs by itself in a transaction of its own, instead of all the above.
	alone func(ctx context.Context, tx *sql.Conn, now time.Time) error

	done chan error
}

type destinationKey struct {
	project verify.ProjectID
	number  phone.Number
}

func (k destinationKey) compare(o destinationKey) int {
	if c := strings.Compare(string(k.project), string(o.project)); c != 0 {
		return c
	}
	return strings.Compare(string(k.number), string(o.number))
}

// A writer owns the one connection that writes, and commits operations in groups.
type writer struct {
	conn   *sql.Conn
	sql    hotStmts
	now    func() time.Time
	commit func(ops int, commit func() error) error
	seen   Observer
	swept  verify.ID // the sweeper's watermark; only run's goroutine touches it

	mu      sync.RWMutex // guards closed, and sends on ops against close(ops)
	closed  bool
	ops     chan op
	stopped chan struct{}
}

func newWriter(ctx context.Context, db *sql.DB, o Options) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn, now: o.Now, commit: o.Commit, seen: o.Observer, ops: make(chan op, maxWaiting), stopped: make(chan struct{})}
	var swept []byte
	err = conn.QueryRowContext(ctx, `SELECT id FROM watermark WHERE name = 'sweep'`).Scan(&swept)
	if err := errors.Join(err, w.sql.prepare(ctx, conn)); err != nil {
		conn.Close()
		return nil, err
	}
	copy(w.swept[:], swept)
	go w.run()
	return w, nil
}

// close lets the writer finish what it has taken.
func (w *writer) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.ops)
	}
	w.mu.Unlock()
	<-w.stopped
}

// do hands an operation to the writer and waits until it is committed or has failed. It takes no
// context: an operation that has been taken happens, whoever hangs up.
func (w *writer) do(o op) error {
	o.done = make(chan error, 1)
	if err := w.enqueue(o); err != nil {
		return err
	}
	return <-o.done
}

func (w *writer) enqueue(o op) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return verify.ErrNoStore
	}
	select {
	case w.ops <- o:
		return nil
	default:
		return verify.ErrBusy
	}
}

// run commits whatever has arrived while it was committing.
func (w *writer) run() {
	defer close(w.stopped)
	defer w.conn.Close()
	defer w.sql.close()
	batch := make([]op, 0, maxBatch)
	for first := range w.ops {
		batch = append(batch[:0], first)
		for len(batch) < maxBatch && len(w.ops) > 0 {
			batch = append(batch, <-w.ops) // we are the only receiver: it is there
		}
		w.runBatch(batch)
		clear(batch) // let the closures go
	}
}

// runBatch carries out operations in order, in groups between those that run alone.
func (w *writer) runBatch(batch []op) {
	for len(batch) > 0 {
		n := slices.IndexFunc(batch, func(o op) bool { return o.alone != nil })
		switch {
		case n < 0:
			w.runGroup(batch)
			return
		case n == 0:
			batch[0].done <- w.runAlone(batch[0])
			batch = batch[1:]
		default:
			w.runGroup(batch[:n])
			batch = batch[n:]
		}
	}
}

// runGroup commits operations together. If one of them poisons the group, each is run by itself, so
// that the bad one fails alone. A commit that fails is not repeated: it may have happened.
func (w *writer) runGroup(group []op) {
	results, err := w.transact(group)
	var poison *poisonError
	switch {
	case err == nil:
		for i, o := range group {
			o.done <- results[i]
		}
	case errors.As(err, &poison) && len(group) > 1:
		for i := range group {
			w.runGroup(group[i : i+1])
		}
	default:
		for _, o := range group {
			o.done <- err
		}
	}
}

// A poisonError failed a group before its commit: nothing has happened.
type poisonError struct{ error }

func (e *poisonError) Unwrap() error { return e.error }

// transact loads, decides, writes and commits. The operations' own errors are in its results; its
// error means that none of them is known to have happened.
func (w *writer) transact(group []op) (results []error, err error) {
	ctx := context.Background()
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	committing := false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in batch: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			w.rollback(ctx)
			if !committing {
				err = &poisonError{err}
			}
		}
	}()

	r, err := w.sql.load(ctx, group)
	if err != nil {
		return nil, away("load", err)
	}
	now := w.instant() // read with the locks held, so that time and order of decisions agree
	results = make([]error, len(group))
	for i, o := range group {
		results[i] = o.apply(r, now)
	}
	if err := w.sql.save(ctx, r); err != nil {
		return nil, away("save", err)
	}
	committing = true
	if err := w.finish(ctx, len(group)); err != nil {
		return nil, err
	}
	return results, nil
}

// runAlone runs an operation in a transaction of its own.
func (w *writer) runAlone(o op) (err error) {
	ctx := context.Background()
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in transaction: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			w.rollback(ctx)
		}
	}()
	if err := o.alone(ctx, w.conn, w.instant()); err != nil {
		return err
	}
	return w.finish(ctx, 1)
}

// instant is now, to the precision in which times are stored: what is decided is what is read back.
func (w *writer) instant() time.Time { return w.now().Truncate(time.Millisecond) }

func (w *writer) begin(ctx context.Context) error {
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return away("begin", err)
	}
	return nil
}

func (w *writer) finish(ctx context.Context, ops int) error {
	began := time.Now()
	err := w.commit(ops, func() error {
		_, err := w.sql.commit.ExecContext(ctx)
		return err
	})
	if err != nil {
		return away("commit", err)
	}
	if w.seen != nil {
		w.seen.Committed(ops, time.Since(began))
	}
	return nil
}

// rollback ends a transaction that may have ended by itself: its error says nothing.
func (w *writer) rollback(ctx context.Context) { w.conn.ExecContext(ctx, "ROLLBACK") }

// away marks an error of the database as such: callers are told to come again, the log gets all. A
// broken constraint is no such error: it would be broken the next time as well.
func away(op string, err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT {
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s: %w: %w", op, verify.ErrNoStore, err)
}

// rows are what a group works on: each row it needs, once, and what it wants written.
type rows struct {
	verifications map[verify.ID]*row[verify.Verification]
	destinations  map[destinationKey]*row[verify.Destination]
	deliveries    []verify.Delivery
	hints, drops  []hint
}

type row[T any] struct {
	value  T
	stored bool
	dirty  bool
}

// A hint says that somebody should look at a verification's message at a time.
type hint struct {
	due time.Time
	id  verify.ID
}

// owned returns a project's verification. One of another project doesn't exist.
func (r *rows) owned(id verify.ID, p verify.ProjectID) (*row[verify.Verification], error) {
	v := r.verifications[id]
	if v == nil || v.value.Project != p {
		return nil, verify.ErrNotFound
	}
	return v, nil
}

// destination returns a row that the operation asked for, a fresh one where there is none yet.
func (r *rows) destination(k destinationKey) *row[verify.Destination] {
	d := r.destinations[k]
	if d == nil {
		d = &row[verify.Destination]{value: verify.Destination{Project: k.project, Number: k.number}}
		r.destinations[k] = d
	}
	return d
}

func (r *rows) insert(v verify.Verification) {
	r.verifications[v.ID] = &row[verify.Verification]{value: v, dirty: true}
}

func (r *rows) ended(d verify.Delivery) { r.deliveries = append(r.deliveries, d) }
func (r *rows) drop(h hint)             { r.drops = append(r.drops, h) }
func (r *rows) hint(h hint)             { r.hints = append(r.hints, h) }

// load reads the rows that a group names, each kind sorted by key. (An engine that locks rows locks
// the destinations first; a verification's destination never changes, so it can be looked up before.)
func (s *hotStmts) load(ctx context.Context, group []op) (*rows, error) {
	r := &rows{
		verifications: make(map[verify.ID]*row[verify.Verification], len(group)),
		destinations:  make(map[destinationKey]*row[verify.Destination], len(group)),
	}
	var ids []verify.ID
	var keys []destinationKey
	for _, o := range group {
		if !o.verification.IsZero() {
			ids = append(ids, o.verification)
		}
		if o.destination != (destinationKey{}) {
			keys = append(keys, o.destination)
		}
	}
	slices.SortFunc(ids, func(a, b verify.ID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range slices.Compact(ids) {
		v, err := scanVerification(s.selectVerification.QueryRowContext(ctx, id[:]))
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r.verifications[id] = &row[verify.Verification]{value: v, stored: true}
	}
	for _, o := range group {
		if v := r.verifications[o.verification]; v != nil && o.withDestination {
			keys = append(keys, destinationKey{v.value.Project, v.value.To})
		}
	}
	slices.SortFunc(keys, destinationKey.compare)
	for _, k := range slices.Compact(keys) {
		d, err := scanDestination(s.selectDestination.QueryRowContext(ctx, k.project, k.number))
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r.destinations[k] = &row[verify.Destination]{value: d, stored: true}
	}
	return r, nil
}

// save writes each row that changed, once.
func (s *hotStmts) save(ctx context.Context, r *rows) error {
	for _, d := range r.destinations {
		if d.dirty {
			if err := s.saveDestination(ctx, &d.value, d.stored); err != nil {
				return err
			}
		}
	}
	for _, v := range r.verifications {
		if v.dirty {
			if err := s.saveVerification(ctx, &v.value, v.stored); err != nil {
				return err
			}
		}
	}
	for _, d := range r.deliveries {
		if _, err := s.insertDelivery.ExecContext(ctx, d.Verification[:], d.Attempt, d.Carrier, d.Outcome, d.Reason, d.Ref, millis(d.StartedAt), millis(d.EndedAt)); err != nil {
			return err
		}
	}
	for _, h := range r.drops {
		if _, err := s.deleteHint.ExecContext(ctx, millis(h.due), h.id[:]); err != nil {
			return err
		}
	}
	for _, h := range r.hints {
		if _, err := s.insertHint.ExecContext(ctx, millis(h.due), h.id[:]); err != nil {
			return err
		}
	}
	return nil
}
