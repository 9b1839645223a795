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
	alone func(ctx context.Context, tx *sql.Tx, now time.Time) error

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

// A writer is the only one that writes, and commits operations in groups.
type writer struct {
	hot    session // for groups
	db     *sql.DB // for what runs alone
	now    func() time.Time
	commit func(ops int, commit func() error) error
	seen   Observer
	swept  verify.ID // the sweeper's watermark; only run's goroutine touches it

	mu      sync.RWMutex // guards closed, and sends on ops against close(ops)
	closed  bool
	ops     chan op
	stopped chan struct{}
}

// newWriter starts a writer on a session that it closes in the end.
func newWriter(ctx context.Context, hot session, db *sql.DB, o Options) (*writer, error) {
	w := &writer{hot: hot, db: db, now: o.Now, commit: o.Commit, seen: o.Observer, ops: make(chan op, maxWaiting), stopped: make(chan struct{})}
	var swept []byte
	if err := db.QueryRowContext(ctx, `SELECT id FROM watermark WHERE name = 'sweep'`).Scan(&swept); err != nil {
		return nil, errors.Join(err, hot.close())
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
	defer w.hot.close() // everything is committed: its error changes nothing
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
	if err := w.hot.begin(ctx); err != nil {
		return nil, away("begin", err)
	}
	committing := false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in batch: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			w.hot.rollback(ctx)
			if !committing {
				err = &poisonError{err}
			}
		}
	}()

	r, err := w.hot.load(ctx, group)
	if err != nil {
		return nil, away("load", err)
	}
	now := w.instant() // read with the locks held, so that time and order of decisions agree
	results = make([]error, len(group))
	for i, o := range group {
		results[i] = o.apply(r, now)
	}
	if err := w.hot.save(ctx, r); err != nil {
		return nil, away("save", err)
	}
	committing = true
	if err := w.finish(len(group), func() error { return w.hot.commit(ctx, r) }); err != nil {
		return nil, err
	}
	return results, nil
}

// runAlone runs an operation in a transaction of its own.
func (w *writer) runAlone(o op) (err error) {
	ctx := context.Background()
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return away("begin", err)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in transaction: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			tx.Rollback() // it may have ended by itself: the error says nothing
		}
	}()
	if err := o.alone(ctx, tx, w.instant()); err != nil {
		return err
	}
	return w.finish(1, tx.Commit)
}

// instant is now, to the precision in which times are stored: what is decided is what is read back.
func (w *writer) instant() time.Time { return w.now().Truncate(time.Millisecond) }

func (w *writer) finish(ops int, commit func() error) error {
	began := time.Now()
	if err := w.commit(ops, commit); err != nil {
		return away("commit", err)
	}
	if w.seen != nil {
		w.seen.Committed(ops, time.Since(began))
	}
	return nil
}

// away marks an error of the database as such: callers are told to come again, the log gets all. A
// broken constraint is no such error: it would be broken the next time as well.
func away(op string, err error) error {
	if broken(err) {
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

// verificationIDs are those that a group names, sorted, each once.
func verificationIDs(group []op) []verify.ID {
	var ids []verify.ID
	for _, o := range group {
		if !o.verification.IsZero() {
			ids = append(ids, o.verification)
		}
	}
	slices.SortFunc(ids, func(a, b verify.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// destinationKeys are those that a group names, itself or by its verifications, sorted, each once.
func (r *rows) destinationKeys(group []op) []destinationKey {
	var keys []destinationKey
	for _, o := range group {
		if o.destination != (destinationKey{}) {
			keys = append(keys, o.destination)
		}
		if v := r.verifications[o.verification]; v != nil && o.withDestination {
			keys = append(keys, destinationKey{v.value.Project, v.value.To})
		}
	}
	slices.SortFunc(keys, destinationKey.compare)
	return slices.Compact(keys)
}

func newRows(n int) *rows {
	return &rows{
		verifications: make(map[verify.ID]*row[verify.Verification], n),
		destinations:  make(map[destinationKey]*row[verify.Destination], n),
	}
}

func (r *rows) ended(d verify.Delivery) { r.deliveries = append(r.deliveries, d) }
func (r *rows) drop(h hint)             { r.drops = append(r.drops, h) }
func (r *rows) hint(h hint)             { r.hints = append(r.hints, h) }
