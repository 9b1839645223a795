// Package store keeps verifications on disk. It knows no rules: it loads rows, lets the functions
// of package verify decide, and writes what they changed.
//
// Everything that must be exact goes through one writer that commits in groups: what arrived while
// the last group was committing is the next one. So a lone caller never waits, and under load many
// callers share one sync of the disk. See batch.go.
//
// A group is loaded and written in the words of its engine: sqlite.go, and postgres.go with
// pgsession.go, where several connections of several replicas do so at once. The rest is SQL that both
// understand.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// A Store is an open database. It implements [verify.Store].
type Store struct {
	write *sql.DB          // for what runs alone
	now   func() time.Time // the clock's
	clock *clock
	w     *writer
	probe probe

	abandoned abandoned
	sweptFrom earliest // for the next look at hints
	limits    *limitCache
	budgets   budgets
	counting  atomic.Pointer[map[verify.ProjectID]bool] // countries' limits that count messages; nil: none. See [Store.Live]
	reached   Observer                                  // may be nil
	writers   []int                                     // the numbers of the sessions' writers

	// Reads of one kind must not wait for those of another.
	hot    *pool.Pool // what requests, the poller, receipts and /readyz look up by key
	lists  *pool.Pool // lists for API callers and operators
	upkeep *pool.Pool // sweeps, retention, deletions and backups

	turns    *turns        // of the projects that list something
	looks    *turns        // of those that look for a number's verifications
	turnWait time.Duration // for one
	others   atomic.Int32  // servers that ran on the database when [Store.HoldKeys] last looked

	strangers chan struct{} // a place for each look-up of a key that may be nobody's
	counted   userCounts

	// An engine's own, set by whoever opens it.
	postgres  bool
	citus     func() *citus                                              // what it returns is nil unless the schema is distributed
	database  func() string                                              // see [Store.Database]; may be nil
	seenFence func() *fence                                              // as a connection for groups has seen it last; may be nil
	txOptions sql.TxOptions                                              // of what runs alone
	limit     time.Duration                                              // of a transaction; 0: none
	announce  func(ctx context.Context, to verify.ID) error              // before a sweep reads up to an id; may be nil
	markVoid  func(ctx context.Context, tx *sql.Tx, now time.Time) error // voids all that is there, before each is canceled; may be nil

	log       *slog.Logger              // may be nil
	witness   *witness                  // of what was decided
	watch     func(ctx context.Context) // looks after the database, each second; may be nil
	attending sync.WaitGroup
	leave     func() // ends that; may be nil
}

// listConns is how many lists are read at a time.
const listConns = 2

// Options are what [Open] needs.
type Options struct {
	Path     string           // of SQLite's file; it is made if there is none
	Postgres *Postgres        // instead
	Now      func() time.Time // the clock, for tests; nil is the database's: see [Store.Now]
	Machine  func() Reading   // the machine's clocks; nil reads them
	Migrate  bool             // bring an older schema up to date; a new database always gets one

	// ReadLimit bounds a read of SQLite's file: where it takes as long, the disk hangs or the question is too
	// large. Default 5 s. PostgreSQL has its Timeout.
	ReadLimit time.Duration

	// Commit, if set, stands between the store and each commit of ops operations. It is how tests
	// see the groups and make a commit fail, with or without committing.
	Commit func(ops int, commit func() error) error

	// Witness is a file in which the last decisions are remembered, so that an older copy of the database is
	// noticed; "" is none. It is for servers: what only one of them did is in its own.
	Witness string

	moved bool // open also a file that is moving to PostgreSQL, or has: see [mark]

	Observer Observer     // may be nil
	Log      *slog.Logger // gets what an operator must know; may be nil
}

// name names the database for people.
func (o Options) name() string {
	if o.Postgres != nil {
		return o.Postgres.name()
	}
	return o.Path
}

// An Observer counts the groups that were committed.
type Observer interface {
	Committed(ops int, took time.Duration)
	// Reached counts that a budget's use has reached a part of a cap; a country of "" is the project's own budget.
	Reached(p verify.ProjectID, country string, m verify.Mark)
}

// Open opens the database and starts the writer. A schema that is newer than this program is refused,
// and one that is older unless [Options] say to bring it up to date.
func Open(ctx context.Context, o Options) (*Store, error) {
	clock := o.clock()
	o.Now = clock.now
	if o.ReadLimit == 0 {
		o.ReadLimit = 5 * time.Second
	}
	if o.Commit == nil {
		o.Commit = func(_ int, commit func() error) error { return commit() }
	}
	s := &Store{
		now: o.Now, clock: clock, log: o.Log, reached: o.Observer, turns: newTurns(listConns, maxTurns), looks: newTurns(lookTurns, maxLooks), turnWait: o.ReadLimit, strangers: make(chan struct{}, strangers),
		citus:     func() *citus { return nil },
		abandoned: abandoned{all: map[verify.ID]lostAnswer{}, wake: make(chan struct{}, 1), stop: make(chan struct{})},
	}
	s.counted.counts, _ = simplelru.NewLRU[string, userCount](countsKept, nil) // fails only for sizes below 1
	s.counted.wishes, s.counted.patience = make(chan countWish), countPatience
	s.limits = newLimitCache(s.readLimits)
	if err := s.open(ctx, o); err != nil {
		s.Close()
		return nil, fmt.Errorf("open database %s: %w", o.name(), err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) error {
	var err error
	if s.witness, err = newWitness(o.Witness); err != nil {
		return err
	}
	open := s.openSQLite
	if o.Postgres != nil {
		open = s.openPostgres
	}
	hot, err := open(ctx, o)
	if err != nil {
		return err
	}
	for _, session := range hot {
		s.writers = append(s.writers, session.writerNumber())
	}
	s.w = newWriter(hot, s.beginAlone, s.limit, o, s.witness, &s.abandoned)
	s.abandoned.done.Go(s.cancelAbandoned)
	if o.Postgres == nil {
		if err := s.witnessed(ctx); err != nil {
			return err
		}
	}
	attending, leave := context.WithCancel(context.Background())
	s.leave = leave
	s.attending.Go(func() { s.attend(attending) })
	wishes := s.counted.wishes
	s.attending.Go(func() { s.countWished(attending, wishes) })
	return nil
}

// beginAlone begins the transaction of an operation that runs alone. It fails with [verify.ErrMoving] where the operation is
// about a project that is fenced.
func (s *Store) beginAlone(ctx context.Context, o *op) (*sql.Tx, error) {
	options := s.txOptions
	if o.committed && s.postgres {
		options.Isolation = sql.LevelReadCommitted
	}
	tx, err := s.write.BeginTx(ctx, &options)
	if err != nil {
		return nil, err
	}
	if err := s.beginOf(ctx, tx, cmp.Or(o.project, o.of)); err != nil {
		tx.Rollback()
		return nil, err
	}
	return tx, nil
}

// beginOf is what a transaction that runs alone does first.
func (s *Store) beginOf(ctx context.Context, tx *sql.Tx, p verify.ProjectID) error {
	citus := s.citus != nil && s.citus() != nil
	if citus {
		if _, err := tx.ExecContext(ctx, citusStay); err != nil {
			return err
		}
	}
	if p == "" || !s.postgres {
		return nil
	}
	return passFence(ctx, tx, citus, p)
}

// Close carries out what has been taken and closes the database.
func (s *Store) Close() error {
	var errs []error
	if s.w != nil {
		s.abandoned.end()
		s.w.close()
		s.budgets.close()
	}
	if s.leave != nil {
		s.leave()
		s.attending.Wait()
		errs = append(errs, s.witness.save())
	}
	for _, p := range []*pool.Pool{s.hot, s.lists, s.upkeep} {
		if p != nil {
			errs = append(errs, p.Close()) // a second time does nothing
		}
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	return errors.Join(errs...)
}

// within bounds ctx, unless the limit is 0.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// Pool counts the connections that look up what requests need: how many are in use, and how many there may be.
func (s *Store) Pool() (inUse, limit int) { return s.hot.InUse(), s.hot.Size() }

// millis is how a time is stored; a zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// span is a duration as it is stored.
func span(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// Start implements [verify.Store].
func (s *Store) Start(ctx context.Context, v *verify.Verification, limits verify.Limits, lease time.Duration) error {
	if v.Supersedes {
		return s.startLatest(ctx, v, limits, lease)
	}
	return s.start(v, op{keep: keep(ctx, v)}, limits, func(_ *rows, started *verify.Verification, d *verify.Destination, now time.Time) error {
		return started.Begin(d, limits, lease, now)
	})
}

// start commits a new verification that begin has begun.
func (s *Store) start(v *verify.Verification, o op, limits verify.Limits, begin func(*rows, *verify.Verification, *verify.Destination, time.Time) error) error {
	if s.clock.wrong() {
		return verify.ErrClock
	}
	started := *v // the batch may run twice, the caller's copy changes when it is committed
	o.project, o.destination = v.Project, destinationKey{v.Project, v.To}
	if o.keep != nil && o.keep.made == v { // and not the user
		o.keep.made = &started
	}
	if v.Calling > 0 {
		o.phone = v.To
	}
	o.pays = s.payments(v, v.Channel.ToNumber(), v.Toll, v.Fee.Price)
	o.apply = func(r *rows, now time.Time) error {
		started = *v
		if compareIDs(v.ID, r.void) <= 0 { // our clock is behind: wait for it
			return verify.ErrBusy
		}
		if r.verifications[v.ID] != nil { // of the same group; one on disk fails the insert
			return fmt.Errorf("start verification %v: it exists already", v.ID)
		}
		d := r.destination(o.destination)
		if err := r.affords(o.pays, now); err != nil {
			if refused := r.refuses(d.value, started, limits, now); refused != nil {
				return refused
			}
			return err
		}
		if err := r.withPhone(&d.value, v.Calling > 0, func() error { return begin(r, &started, &d.value, now) }); err != nil {
			return err
		}
		d.dirty = true
		r.pay(o.pays, &started, now)
		if !started.Open() { // its code died before: nothing is sent
			r.letGo(&started, &verify.Delivery{Outcome: verify.AttemptDropped})
		}
		r.insert(started)
		stored := &r.verifications[started.ID].value
		stored.Calling, stored.Supersedes, stored.Toll = 0, false, verify.Toll{} // they aren't stored
		// The sweeper won't come by here again: clocks are set back, and differ.
		if started.Open() && compareIDs(started.ID, r.swept) <= 0 {
			r.hint(hint{started.DueAt, started.ID})
		}
		return nil
	}
	err := s.doPaying(o)
	switch {
	case err == nil:
		*v = started
	case errors.Is(err, errUncertain) && started.Open() && o.keep == nil: // by its key, its caller finds it
		s.abandoned.add(&started)
	}
	return err
}

// refuses says why a number's limits refuse a start, before a budget is divided for it. It works on copies.
func (r *rows) refuses(d verify.Destination, v verify.Verification, limits verify.Limits, now time.Time) error {
	return r.withPhone(&d, v.Calling > 0, func() error { return d.Begin(&v, limits, now) })
}

// Check implements [verify.Store].
func (s *Store) Check(ctx context.Context, g verify.Guess) (verify.Outcome, error) {
	var out verify.Outcome
	err := s.w.do(op{
		project: g.Project, verification: g.ID, withDestination: true, keep: keep(ctx, &out),
		apply: func(r *rows, now time.Time) (err error) {
			v, err := r.owned(g.ID, g.Project)
			if err != nil {
				return err
			}
			if !g.Means(&v.value) {
				return verify.ErrNotFound
			}
			out, err = r.check(v, g, now)
			return err
		},
	})
	return out, err
}

// Cancel implements [verify.Store].
func (s *Store) Cancel(ctx context.Context, p verify.ProjectID, id verify.ID) error {
	var canceled verify.Verification
	return s.w.do(op{
		project: p, verification: id, keep: keep(ctx, &canceled),
		apply: func(r *rows, now time.Time) error {
			v, err := r.owned(id, p)
			if err != nil {
				return err
			}
			if err := v.value.Cancel(now); err != nil {
				return err
			}
			v.dirty, r.decided = true, v
			canceled = v.value
			return nil
		},
	})
}

// Resend implements [verify.VerificationStore].
func (s *Store) Resend(ctx context.Context, again verify.Resending) (*verify.Verification, error) {
	if s.clock.wrong() {
		return nil, verify.ErrClock
	}
	seen := again.Verification
	var resent verify.Verification
	names := op{project: seen.Project, withDestination: true, keep: keep(ctx, &resent)}
	if again.By.IsCall() {
		names.phone = seen.To
	}
	names.pays = s.payments(seen, again.By.ToNumber(), again.Toll, 0)
	return s.changeWith(names, seen.ID, func(r *rows, v *verify.Verification, now time.Time) error {
		if v.Project != seen.Project {
			return verify.ErrNotFound
		}
		d, u := r.destination(destinationKey{v.Project, v.To}), r.users[userOf(v)]
		if u == nil {
			u = &row[verify.User]{} // nobody; and nobody writes it
		}
		if err := r.affords(names.pays, now); err != nil { // what is refused anyway divides no budget
			seen, user, number := *v, u.value, d.value
			return cmp.Or(r.withPhone(&number, again.By.IsCall(), func() error { return again.Resend(&seen, &user, &number, now) }), err)
		}
		if err := r.withPhone(&d.value, again.By.IsCall(), func() error { return again.Resend(v, &u.value, &d.value, now) }); err != nil {
			return err
		}
		d.dirty, u.dirty = true, true
		r.pay(names.pays, v, now)
		resent = *v
		return nil
	})
}

// Settle records the end of an attempt: see [verify.Verification.Settle], and of one that asked for a
// key, [verify.Verification.Answer]. It returns the verification as it then is; when it is Sending, the
// caller holds the lease of the next attempt.
func (s *Store) Settle(_ context.Context, st verify.Settlement) (*verify.Verification, error) {
	asked := st.Verdict != verify.NoVerdict
	o := op{withDestination: asked, phone: st.Called, settles: st.Attempt}
	if st.Again {
		o.attempt = st.Attempt
	}
	return s.changeWith(o, st.Verification, func(r *rows, v *verify.Verification, now time.Time) (err error) {
		settled := st
		if asked {
			err = r.answer(v, &settled, now)
		} else {
			err = v.Settle(&settled, now)
		}
		if err != nil {
			return err
		}
		if u := r.users[userOf(v)]; u != nil {
			u.dirty = u.value.Recount(v, &settled) || u.dirty
		}
		r.ended(v, settled.Delivery)
		if st.Called != "" {
			p := r.phone(st.Called)
			p.dirty = p.value.Settle(&settled, now) || p.dirty
		}
		return nil
	})
}

// Claim takes an overdue message's next attempt: see [verify.Overdue.Claim]. It returns no verification if there
// is none to take, and the end of the attempt before if that has lost its lease.
func (s *Store) Claim(ctx context.Context, o verify.Overdue, lease time.Duration) (claimed *verify.Verification, lost *verify.Delivery, err error) {
	limits, bound, err := s.limits.of(ctx, o.Verification.Project)
	if err != nil {
		return nil, nil, err
	}
	names := op{withDestination: o.By != ""}
	if o.By != "" {
		names.pays = s.payments(o.Verification, o.By.ToNumber() && o.Counts(), verify.Toll{Bound: bound, Price: o.Price}, 0)
	}
	if o.By.IsCall() {
		names.phone = o.Verification.To
	}
	took := false
	v, err := s.changeWith(names, o.Verification.ID, func(r *rows, v *verify.Verification, now time.Time) error {
		took = false
		if err := r.affords(names.pays, now); err != nil {
			return err
		}
		defer func() {
			if !took {
				r.giveBack(names.pays, now)
			}
		}()
		if v.Delivery == verify.DeliverySending && !s.clock.judges() {
			return nil
		}
		d := &row[verify.Destination]{}
		if names.withDestination {
			d = r.destination(destinationKey{v.Project, v.To})
		}
		tat, sends := d.value.TAT, d.value.Sends
		if err := r.withPhone(&d.value, o.By.IsCall(), func() error {
			lost, took = o.Claim(v, &d.value, limits, lease, now)
			return nil
		}); err != nil {
			return err
		}
		d.dirty = d.dirty || !d.value.TAT.Equal(tat) || !slices.Equal(d.value.Sends, sends)
		if lost != nil {
			r.ended(v, *lost)
		}
		if took {
			r.pay(names.pays, v, now)
		}
		r.drop(hint{o.Hint, v.ID})
		return nil
	})
	switch {
	case err != nil:
		return nil, nil, err
	case !took:
		return nil, lost, nil
	}
	return v, lost, nil
}

// Renew extends an attempt's lease: see [verify.Verification.Renew].
func (s *Store) Renew(_ context.Context, id verify.ID, attempt int, lease time.Duration) (*verify.Verification, error) {
	return s.change(id, func(_ *rows, v *verify.Verification, now time.Time) error {
		return v.Renew(attempt, lease, now)
	})
}

// Receive lets a carrier's receipt advance a delivery: see [verify.Receipt.Settle]. It returns the
// verification as it then is, and the attempt with its receipt, which is nil if that said nothing new.
func (s *Store) Receive(_ context.Context, receipt verify.Receipt) (*verify.Verification, *verify.Delivery, error) {
	var received *verify.Delivery
	o := op{attempt: receipt.Attempt}
	v, err := s.changeWith(o, receipt.Verification, func(r *rows, v *verify.Verification, now time.Time) error {
		a := r.attempt(attemptKey{receipt.Verification, receipt.Attempt})
		received = nil
		if !receipt.Settle(v, &a.value, now) {
			return errNothingNew
		}
		a.dirty = true
		if !a.value.EndedAt.IsZero() {
			r.use(v.MessageKey(&a.value), a.value.ReceiptUsage())
		}
		copied := a.value
		received = &copied
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return v, received, nil
}

// Find looks for the attempt that a carrier knows by its own id, the newest if it used that twice. It
// fails with [verify.ErrNotFound].
func (s *Store) Find(ctx context.Context, carrier, ref string) (id verify.ID, attempt int, err error) {
	found, err := pool.One(ctx, s.hot, scanAttemptKey, `SELECT verification, attempt FROM delivery
		WHERE carrier = $1 AND ref = $2 AND ref <> '' ORDER BY verification DESC, attempt DESC LIMIT 1`, carrier, ref)
	if errors.Is(err, sql.ErrNoRows) {
		return id, 0, verify.ErrNotFound
	}
	if err != nil {
		return id, 0, away("look for a carrier's id", err)
	}
	return found.verification, found.attempt, nil
}

func scanAttemptKey(row scanner) (k attemptKey, err error) {
	var id []byte
	err = row.Scan(&id, &k.attempt)
	copy(k.verification[:], id)
	return k, err
}

// Postpone puts off looking at an overdue message: see [verify.Overdue.Postpone].
func (s *Store) Postpone(_ context.Context, o verify.Overdue, until time.Time) error {
	_, err := s.change(o.Verification.ID, func(r *rows, v *verify.Verification, now time.Time) error {
		o.Postpone(v, until, now)
		r.drop(hint{o.Hint, v.ID})
		return nil
	})
	return err
}

// change applies f to one verification and returns it as committed. If somebody must look at its
// message again, a hint says when. (A start leaves none: the sweeper watches those.)
func (s *Store) change(id verify.ID, f func(*rows, *verify.Verification, time.Time) error) (*verify.Verification, error) {
	return s.changeWith(op{}, id, f)
}

// errNothingNew says that a change has changed nothing and dropped no hint, so that none is due.
var errNothingNew = errors.New("nothing new")

// changeWith does so in an operation that also loads what o names.
func (s *Store) changeWith(o op, id verify.ID, f func(*rows, *verify.Verification, time.Time) error) (*verify.Verification, error) {
	var out verify.Verification
	o.verification = id
	o.apply = func(r *rows, now time.Time) error {
		row := r.verification(id)
		if row == nil {
			return verify.ErrNotFound
		}
		before, status := stateOf(&row.value), row.value.Status
		err := f(r, &row.value, now)
		if err == errNothingNew {
			out = row.value
			return nil
		}
		if err != nil {
			return err
		}
		if stateOf(&row.value) != before { // who loses a race writes nothing
			row.dirty = true
		}
		if row.value.Status != status {
			r.decided = row
		}
		if row.value.Open() || row.value.Watched() {
			r.hint(hint{row.value.DueAt, id})
		}
		out = row.value
		return nil
	}
	if err := s.doPaying(o); err != nil {
		return nil, err
	}
	return &out, nil
}

// A state is what an operation may change of a verification. A sealed code is only ever wiped.
type state struct {
	status       verify.Status
	guesses      int
	endedAt      time.Time
	delivery     verify.DeliveryState
	reason       verify.Reason
	attempt      int
	dueAt        time.Time
	sealedLength int
	resent       verify.Resent
	held         verify.Held
	bearer       verify.Bearer
	prompt       verify.Prompt
}

func stateOf(v *verify.Verification) state {
	return state{v.Status, v.Guesses, v.EndedAt, v.Delivery, v.Reason, v.Attempt, v.DueAt, len(v.SealedCode), v.Resent, v.Held, v.Bearer, v.Prompt}
}
