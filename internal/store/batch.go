package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/share"
	"github.com/countersign/countersign/internal/verify"
)

// maxBatch bounds a group, so that its first caller doesn't wait for thousands of others.
// maxWaiting bounds what waits for the next one; what comes then is told to come again.
// maxShared bounds what the projects have waiting while several want something, so that nobody waits for
// more than a few groups of another.
const (
	maxBatch   = 256
	maxWaiting = 8192
	maxShared  = 4 * maxBatch
)

// An op is one event for the batch. It names the rows that it needs; apply then decides on them
// without touching the database. It changes nothing when it returns an error, and may run twice.
type op struct {
	verification    verify.ID
	others          []verify.ID    // verifications that it may end as well
	withDestination bool           // also load that verification's destination
	attempt         int            // also load what is recorded of that attempt of it
	settles         int            // load it where that attempt of it has no lease any more, see [rows.lateKeys]
	destination     destinationKey // of a verification that doesn't exist yet
	phone           phone.Number   // also load who holds it
	user            userKey
	withCurrent     bool // also load that user's current verification
	apply           func(r *rows, now time.Time) error

	// alone runs by itself in a transaction of its own, instead of all the above.
	alone func(ctx context.Context, tx *sql.Tx, now time.Time) error
	// of is whose rows alone writes, where that isn't the project whose wish it is.
	of verify.ProjectID
	// committed has each statement of alone see what was committed before it, where an engine can tell.
	committed bool

	pays []*payment // of a message that it starts; nil: nothing bounds it

	keep *keeping // of a request that has a key; nil: it has none

	project verify.ProjectID // whose wish it is; "" is our own, which needs no share

	at   time.Time // when it was handed in
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

// A writer takes operations and commits them in groups, on as many lanes as it has sessions.
//
// The fewer groups, the fewer commits. So what arrives while a lane commits waits for that lane, unless
// it is a crowd, which is worth a commit of its own beside that; or the lane takes unusually long.
type writer struct {
	begin  func(ctx context.Context, o *op) (*sql.Tx, error) // of what runs alone
	limit  time.Duration                                     // of a transaction; 0: none
	now    func() time.Time
	commit func(ops int, commit func() error) error
	seen   Observer

	witness   *witness // of what groups decided
	abandoned *abandoned

	hot    []session    // one for each lane
	mu     sync.RWMutex // guards closed, and sends on ops against close(ops)
	closed bool
	ops    chan op
	places *share.Places // of the projects, in ops and in groups that are being committed
	lanes  sync.WaitGroup
	outage atomic.Pointer[outage] // of the last transaction; nil if it didn't fail of one

	turn struct { // of several lanes; one alone takes none
		sync.Mutex            // guards busy here and of the lanes
		free       *sync.Cond // signaled when busy has become less, or a crowd waits
		busy       int        // lanes that have a turn
	}
}

const (
	crowd   = 128                   // operations that wait, for each lane that is busy
	tooLong = 50 * time.Millisecond // for a lane's turn: then the others take no notice of it
)

// A lane is one of the writer's goroutines, with a session of its own.
type lane struct {
	*writer
	number  int
	session session     // for groups
	down    error       // of the last transaction, if the database was away
	busy    bool        // it has a turn
	slow    *time.Timer // ends its turn
}

// newWriter starts a writer on sessions that it closes in the end.
func newWriter(hot []session, begin func(ctx context.Context, o *op) (*sql.Tx, error), limit time.Duration, o Options, remember *witness, a *abandoned) *writer {
	w := &writer{witness: remember, abandoned: a, hot: hot, begin: begin, limit: limit, now: o.Now, commit: o.Commit, seen: o.Observer, ops: make(chan op, maxWaiting), places: share.New(maxWaiting, maxShared)}
	w.turn.free = sync.NewCond(&w.turn)
	for i, s := range hot {
		l := &lane{writer: w, number: i, session: s}
		l.slow = time.AfterFunc(tooLong, l.leaveTurn)
		l.slow.Stop()
		w.lanes.Go(l.run)
	}
	return w
}

// close lets the writer finish what it has taken.
func (w *writer) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.ops)
	}
	w.mu.Unlock()
	w.lanes.Wait()
}

// do hands an operation to the writer and waits until it is committed or has failed. It takes no
// context: an operation that has been taken happens, whoever hangs up.
func (w *writer) do(o op) error {
	if who := string(o.project); who != "" {
		switch w.places.Take(who, time.Now()) {
		case share.Spent:
			return verify.ErrShareSpent
		case share.Full:
			return verify.ErrBusy
		}
		defer w.places.Give(who)
	}
	o.done = make(chan error, 1)
	if err := w.enqueue(o); err != nil {
		return err
	}
	err := <-o.done
	if err == nil && o.keep != nil {
		o.keep.once.Committed()
	}
	return err
}

// doAll hands operations to the writer together, and waits for all that it takes.
func (w *writer) doAll(ops []op) (err error) {
	for i := range ops {
		ops[i].done = make(chan error, 1)
		if err = w.enqueue(ops[i]); err != nil {
			ops = ops[:i]
			break
		}
	}
	for _, o := range ops {
		err = errors.Join(err, <-o.done)
	}
	return err
}

func (w *writer) enqueue(o op) error {
	o.at = time.Now()
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return verify.ErrNoStore
	}
	select {
	case w.ops <- o:
		if len(w.hot) > 1 && len(w.ops) >= crowd {
			w.turn.Lock()
			w.turn.free.Signal()
			w.turn.Unlock()
		}
		return nil
	default:
		return verify.ErrBusy
	}
}

// run commits whatever has arrived while it was committing.
func (l *lane) run() {
	defer l.session.close() // everything is committed: its error changes nothing
	batch := make([]op, 0, maxBatch)
	for {
		first, ok := l.first()
		if !ok {
			return
		}
		batch = append(batch[:0], first)
		for n := 0; len(batch) > n; { // as long as others are about to hand in an operation
			n = len(batch)
			runtime.Gosched()
			batch = l.more(batch)
		}
		l.runBatch(batch)
		clear(batch) // let the closures go
	}
}

// first waits for the lane's turn and for an operation. It reports false when there will be none.
func (l *lane) first() (o op, ok bool) {
	if len(l.hot) == 1 {
		o, ok = <-l.ops
		return o, ok
	}
	l.endTurn()
	for {
		if only := l.takeTurn(); only {
			o, ok = <-l.ops
		} else {
			select {
			case o, ok = <-l.ops:
			default: // another took the crowd away
				l.endTurn()
				continue
			}
		}
		if !ok {
			l.endTurn()
			return o, ok
		}
		l.slow.Reset(tooLong)
		return o, ok
	}
}

// takeTurn waits until the lane may begin a group, and reports whether no other is busy with one.
func (l *lane) takeTurn() (only bool) {
	t := &l.turn
	t.Lock()
	defer t.Unlock()
	for t.busy > 0 && len(l.ops) < crowd*t.busy {
		t.free.Wait()
	}
	t.busy++
	l.busy = true
	return t.busy == 1
}

// endTurn ends the lane's turn, if it hasn't ended by itself.
func (l *lane) endTurn() {
	l.slow.Stop()
	l.leaveTurn()
}

// leaveTurn lets another lane begin.
func (l *lane) leaveTurn() {
	l.turn.Lock()
	defer l.turn.Unlock()
	if l.busy {
		l.busy = false
		l.turn.busy--
		l.turn.free.Signal()
	}
}

// more adds what is waiting.
func (l *lane) more(batch []op) []op {
	for len(batch) < maxBatch {
		select {
		case o, ok := <-l.ops:
			if !ok {
				return batch
			}
			batch = append(batch, o)
		default:
			return batch
		}
	}
	return batch
}

// patient answers, while the database is away, those operations that have waited for long enough:
// they would wait for one transaction after the other that fails. It returns the others.
func (l *lane) patient(batch []op) []op {
	if l.down == nil || l.limit == 0 {
		return batch
	}
	since := time.Now().Add(-l.limit / 2)
	return slices.DeleteFunc(batch, func(o op) bool {
		if late := o.at.Before(since); !late {
			return false
		}
		o.done <- l.down
		return true
	})
}

// runBatch carries out operations in order, in groups between those that run alone.
func (l *lane) runBatch(batch []op) {
	for {
		if batch = l.patient(batch); len(batch) == 0 {
			return
		}
		n := slices.IndexFunc(batch, func(o op) bool { return o.alone != nil })
		switch {
		case n < 0:
			l.runGroup(batch)
			return
		case n == 0:
			batch[0].done <- l.again(func() error { return l.runAlone(batch[0]) })
			batch = batch[1:]
		default:
			l.runGroup(batch[:n])
			batch = batch[n:]
		}
	}
}

// runGroup commits operations together. If one of them poisons the group, each is run by itself, so
// that the bad one fails alone. A commit that fails is not repeated: it may have happened.
func (l *lane) runGroup(group []op) {
	var results []error
	run := func() (err error) {
		results, err = l.transact(group)
		return err
	}
	err := l.again(run)
	var poison *poisonError
	switch {
	case err == nil:
		for i, o := range group {
			o.done <- results[i]
		}
	case errors.As(err, &poison) && len(group) > 1 && l.session.apart(err):
		for i := range group {
			l.runGroup(group[i : i+1])
		}
	default:
		for _, o := range group {
			o.done <- err
		}
	}
}

// again runs a transaction again that failed before its commit only because others ran beside it, each
// time a little later.
func (l *lane) again(transaction func() error) (err error) {
	for try := range maxTries {
		if err = transaction(); err == nil || !raced(err) {
			break
		}
		time.Sleep(time.Duration(try) * time.Millisecond)
	}
	l.note(err)
	return err
}

// note takes down what the end of a transaction says of the database. What others' locks did to it says nothing.
func (l *lane) note(err error) {
	var slow *slowError
	if errors.As(err, &slow) || raced(err) {
		return
	}
	l.down = nil
	var out *outage
	if errors.Is(err, verify.ErrNoStore) {
		l.down, out = err, &outage{err, time.Now()}
	}
	l.outage.Store(out)
}

// A slowError ended what ran alone, in a transaction that had begun: its statements took too long, perhaps because
// another transaction held a lock. The database may be fine.
type slowError struct{ error }

func (e *slowError) Unwrap() error { return e.error }

// A poisonError failed a group before its commit: nothing has happened.
type poisonError struct{ error }

func (e *poisonError) Unwrap() error { return e.error }

// transact loads, decides, writes and commits. The operations' own errors are in its results; its
// error means that none of them is known to have happened.
func (l *lane) transact(group []op) (results []error, err error) {
	ctx, cancel := within(context.Background(), l.limit)
	defer cancel()
	if err := l.session.begin(ctx); err != nil {
		return nil, away("begin", err)
	}
	committing := false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in batch: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			l.session.rollback(ctx)
			if !committing {
				err = &poisonError{err}
			}
		}
	}()

	r, err := l.session.load(ctx, group)
	if err != nil {
		return nil, away("load", err)
	}
	now := l.instant() // read with the locks held, so that time and order of decisions agree
	r.cancelVoid(now)
	l.abandoned.cancel(r, now)
	results = make([]error, len(group))
	for i, o := range group {
		switch {
		case r.fenced(&o):
			results[i] = verify.ErrMoving
		case o.keep != nil:
			results[i] = r.applyOnce(&o, now)
		default:
			results[i] = o.apply(r, now)
		}
	}
	if r.guessed && r.lacked { // others may have got more meanwhile
		return nil, errRaced
	}
	if err := l.session.save(ctx, r); err != nil {
		return nil, away("save", err)
	}
	committing = true
	if err := l.finish(len(group), func() error { return l.session.commit(ctx, r) }); err != nil {
		var poison *poisonError
		if !errors.As(err, &poison) {
			err = fmt.Errorf("%w: %w", errUncertain, err)
		}
		return nil, err
	}
	if r.decided != nil {
		l.witness.keep(l.number, &r.decided.value)
	}
	return results, nil
}

// runAlone runs an operation in a transaction of its own.
func (l *lane) runAlone(o op) (err error) {
	ctx, cancel := within(context.Background(), l.limit)
	defer cancel()
	tx, err := l.begin(ctx, &o)
	if err != nil {
		switch {
		case errors.Is(err, verify.ErrMoving):
			return err
		case raced(err): // by who writes a fence
			return fmt.Errorf("%w: begin: %w", verify.ErrBusy, err)
		}
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
	run := o.alone
	if o.keep != nil {
		run = o.aloneOnce
	}
	if err := run(ctx, tx, l.instant()); err != nil {
		switch {
		case taken(err):
			return fmt.Errorf("%w: %w", errRaced, err)
		case overran(err):
			return &slowError{away("run", err)}
		case unanswered(err):
			return away("run", err)
		}
		return err
	}
	return l.finish(1, tx.Commit)
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
	if broken(err) || refused(err) {
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s: %w: %w", op, verify.ErrNoStore, err)
}

// rows are what a group works on: each row it needs, once, and what it wants written.
type rows struct {
	applications  map[verify.ID]home // only for looking
	users         map[userKey]*row[verify.User]
	verifications map[verify.ID]*row[verify.Verification]
	destinations  map[destinationKey]*row[verify.Destination]
	phones        map[phone.Number]*row[verify.Phone]      // nil if there are none
	attempts      map[attemptKey]*row[verify.Delivery]     // that were asked for; only their receipts change
	deliveries    []verify.Delivery                        // that ended
	kept          map[verify.RequestName]*row[verify.Kept] // nil if there are none
	hints, drops  []hint
	audits        []Audit              // of what devices said
	used          []used               // what the operations used, each key once
	writer        int                  // whose rows count what the group uses and spends
	shares        map[budgetKey]*spent // what may be spent, of the rows that pay
	guessed       bool                 // that is what the session left, and may have been taken back since: the commit finds out
	lacked        bool                 // it wasn't enough for somebody
	spent         []spent              // what the operations have spent, each key once

	fence fence // projects of which nothing may be decided here

	swept verify.ID // the sweeper doesn't come by up to here any more
	void  verify.ID // what was made up to here is void
	epoch int64     // PostgreSQL's transaction that set void

	decided *row[verify.Verification] // last: it was started, guessed at or ended
}

// A home is the application of users.
type home struct {
	project verify.ProjectID
	imports int64 // so far, where numbers are unique
}

type attemptKey struct {
	verification verify.ID
	attempt      int
}

func (k attemptKey) compare(o attemptKey) int {
	if c := bytes.Compare(k.verification[:], o.verification[:]); c != 0 {
		return c
	}
	return cmp.Compare(k.attempt, o.attempt)
}

type row[T any] struct {
	value  T
	stored bool
	dirty  bool
	gone   bool // it is to be deleted
}

// A hint says that somebody should look at a verification's message at a time.
type hint struct {
	due time.Time
	id  verify.ID
}

// verification returns a verification, or nil. What an operation before has done to its user shows.
func (r *rows) verification(id verify.ID) *row[verify.Verification] {
	v := r.verifications[id]
	if v != nil {
		v.value.Superseded = r.superseded(&v.value)
	}
	return v
}

// owned returns a project's verification. One of another project doesn't exist.
func (r *rows) owned(id verify.ID, p verify.ProjectID) (*row[verify.Verification], error) {
	v := r.verification(id)
	if v == nil || v.value.Project != p || v.value.Erased() {
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

// cancelVoid cancels what is void before anybody decides on it.
func (r *rows) cancelVoid(now time.Time) {
	for id, v := range r.verifications {
		if compareIDs(id, r.void) <= 0 && !r.fence[v.value.Project] && v.value.Cancel(now) == nil {
			v.dirty = true
		}
	}
}

func (r *rows) insert(v verify.Verification) {
	r.decided = &row[verify.Verification]{value: v, dirty: true}
	r.verifications[v.ID] = r.decided
	r.use(v.UsageKey(), v.StartUsage())
}

// What a group needs follows from what it names: a verification has a destination, and may have a
// user; a user has an application, and a current verification. An engine that locks rows looks these
// names up first, for they never change but for the current one, and then locks in the order that the
// design asks for.

// verificationIDs are those that a group names, sorted, each once.
func verificationIDs(group []op) []verify.ID {
	var ids []verify.ID
	for _, o := range group {
		if !o.verification.IsZero() {
			ids = append(ids, o.verification)
		}
		ids = append(ids, o.others...)
	}
	return sortedIDs(ids)
}

// userKeys are those that a group names, itself or by its verifications, sorted, each once.
func (r *rows) userKeys(group []op) []userKey {
	var keys []userKey
	for _, o := range group {
		if o.user != (userKey{}) {
			keys = append(keys, o.user)
		}
		if v := r.verifications[o.verification]; v != nil && v.value.User != "" {
			keys = append(keys, userOf(&v.value))
		}
	}
	slices.SortFunc(keys, userKey.compare)
	return slices.Compact(keys)
}

// applicationIDs are those of users, which are sorted by them.
func applicationIDs(users []userKey) []verify.ID {
	ids := make([]verify.ID, len(users))
	for i, k := range users {
		ids[i] = k.application
	}
	return slices.Compact(ids)
}

// currentIDs are those of the current verifications of a group's users, sorted, each once, but for
// those that were named themselves.
func (r *rows) currentIDs(group []op) []verify.ID {
	var ids []verify.ID
	for _, o := range group {
		if u := r.users[o.user]; u != nil && o.withCurrent && !u.value.Current.IsZero() && r.verifications[u.value.Current] == nil {
			ids = append(ids, u.value.Current)
		}
	}
	return sortedIDs(ids)
}

// destinationKeys are those that a group names, itself or by its verifications and its users' current
// ones, sorted, each once.
func (r *rows) destinationKeys(group []op) []destinationKey {
	var keys []destinationKey
	for _, o := range group {
		if o.destination != (destinationKey{}) {
			keys = append(keys, o.destination)
		}
		id := o.verification
		if u := r.users[o.user]; u != nil && o.withCurrent {
			id = u.value.Current
		}
		if v := r.verifications[id]; v != nil && o.withDestination {
			keys = append(keys, destinationKey{v.value.Project, v.value.To})
		}
	}
	slices.SortFunc(keys, destinationKey.compare)
	return slices.Compact(keys)
}

// phoneNumbers are those that a group names, sorted, each once.
func phoneNumbers(group []op) []phone.Number {
	var all []phone.Number
	for i := range group {
		if n := group[i].phone; n != "" {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func sortedIDs(ids []verify.ID) []verify.ID {
	slices.SortFunc(ids, func(a, b verify.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// attemptKeys are those that a group names, sorted, each once.
func attemptKeys(group []op) []attemptKey {
	var keys []attemptKey
	for _, o := range group {
		if o.attempt > 0 {
			keys = append(keys, attemptKey{o.verification, o.attempt})
		}
	}
	slices.SortFunc(keys, attemptKey.compare)
	return slices.Compact(keys)
}

// lateKeys are the attempts that the group settles whose messages aren't on their way any more. Something may be known of
// them: a receipt was faster, or a server that stood still has lost its lease, and the attempt was ended for it. Few groups
// have such attempts, so that they are read when it is known which.
func (r *rows) lateKeys(group []op) []attemptKey {
	var keys []attemptKey
	for _, o := range group {
		v := r.verifications[o.verification]
		if o.settles > 0 && v != nil && v.value.Attempt == o.settles && v.value.Delivery != verify.DeliverySending {
			keys = append(keys, attemptKey{o.verification, o.settles})
		}
	}
	slices.SortFunc(keys, attemptKey.compare)
	return slices.Compact(keys)
}

func newRows(n, writer int) *rows {
	return &rows{
		writer:        writer,
		attempts:      map[attemptKey]*row[verify.Delivery]{},
		applications:  map[verify.ID]home{},
		users:         map[userKey]*row[verify.User]{},
		verifications: make(map[verify.ID]*row[verify.Verification], n),
		destinations:  make(map[destinationKey]*row[verify.Destination], n),
	}
}

// ended records an attempt's end. An attempt ends once: a report that is made again says so, and its operation has
// loaded what is known of the attempt.
func (r *rows) ended(v *verify.Verification, d verify.Delivery) {
	k := attemptKey{d.Verification, d.Attempt}
	if r.end(k) != nil {
		return
	}
	known := r.attempts[k]
	if known != nil && !known.value.EndedAt.IsZero() {
		return
	}
	r.deliveries = append(r.deliveries, d)
	u := v.EndUsage(&d)
	if known != nil { // its receipt was faster
		d.Receipt, d.ReceiptAt = known.value.Receipt, known.value.ReceiptAt
		u.Add(d.ReceiptUsage())
	}
	r.use(v.MessageKey(&d), u)
	if v.Bear(&d) {
		r.use(v.BearerKey(), verify.Usage{Converted: 1})
	}
	r.letGo(v, &d)
}

// end returns the end of an attempt that this group has recorded, or nil.
func (r *rows) end(k attemptKey) *verify.Delivery {
	for i := range r.deliveries {
		if d := &r.deliveries[i]; d.Attempt == k.attempt && d.Verification == k.verification {
			return d
		}
	}
	return nil
}

// attempt returns what is known of an attempt that the operation asked for.
func (r *rows) attempt(k attemptKey) *row[verify.Delivery] {
	a := r.attempts[k]
	if a == nil {
		a = &row[verify.Delivery]{value: verify.Delivery{Verification: k.verification, Attempt: k.attempt}}
		r.attempts[k] = a
	}
	if d := r.end(k); d != nil && a.value.EndedAt.IsZero() {
		ended := *d
		ended.Receipt, ended.ReceiptAt, ended.ReceiptReason, ended.ReceiptCode = a.value.Receipt, a.value.ReceiptAt, a.value.ReceiptReason, a.value.ReceiptCode
		a.value = ended
	}
	return a
}

func (r *rows) drop(h hint) { r.drops = append(r.drops, h) }
func (r *rows) hint(h hint) { r.hints = append(r.hints, h) }
