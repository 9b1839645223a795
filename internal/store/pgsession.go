package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// identities are what never changes of the verifications that came by last, so that a group needn't ask
// for it. What changes is read and locked anew each time: others write it, too.
type identities = lru.Cache[verify.ID, *verify.Verification]

func newIdentities() *identities {
	known, _ := lru.New[verify.ID, *verify.Verification](maxCached) // fails only for sizes below 1
	return known
}

// remember keeps a verification that is known to be committed.
func (s *postgresSession) remember(v verify.Verification) {
	v.SealedCode = nil // not that: it shall be gone with the write that ends it
	s.known.Add(v.ID, &v)
}

// recall returns what is known of verifications, and those of which nothing is.
func (s *postgresSession) recall(ids []verify.ID) (known map[verify.ID]*verify.Verification, unknown []verify.ID) {
	known = make(map[verify.ID]*verify.Verification, len(ids))
	for _, id := range ids {
		v, ok := s.known.Get(id)
		if !ok {
			unknown = append(unknown, id)
			continue
		}
		if v.User != "" {
			s.users = true
		}
		known[id] = v
	}
	return known, unknown
}

// A postgresSession runs groups on a connection of its own, with one statement for each table and
// kind, whose parameters are arrays. A group costs two round trips: what it reads, and what it writes.
// The connection is made when it is needed, and again after it broke.
type postgresSession struct {
	config *pgx.ConnConfig
	server *server
	conn   *pgx.Conn
	epoch  int64 // in which the connection may work: see load
	fence  fence // as it is in that epoch
	known  *identities
	writer int  // its number, for what it counts
	users  bool // verifications of users have come by: look their users up with them

	bundle bundle // what the group under way asks, then what it writes
	fresh  int    // from which of the writes on rows are inserted that another may insert as well

	planned time.Time // when its plans were thrown away

	// shares are what its writer may spend by itself, as its last commits left it. Only a division takes it back, which is rare:
	// then the database refuses to commit what spends it.
	shares map[budgetKey]verify.Spending
}

// planLife is how long a connection keeps its plans. One that was made while a table had few rows may
// read all of it, and would do so when it has millions.
const planLife = time.Second

// apart is false when the server didn't answer, or not in time: it won't answer each of them either.
func (s *postgresSession) apart(err error) bool {
	return raced(err) || refused(err) || !errors.Is(err, verify.ErrNoStore)
}

func (s *postgresSession) close() error {
	if s.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return s.conn.Close(ctx)
}

func (s *postgresSession) writerNumber() int { return s.writer }

// begin only connects: the word itself travels with what load asks.
func (s *postgresSession) begin(ctx context.Context) error {
	if s.conn != nil && !s.conn.IsClosed() {
		if s.server.clock.doubtful() {
			return s.server.askTime(ctx, s.conn)
		}
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return err
	}
	if s.epoch, err = s.server.admit(ctx, conn); err != nil {
		conn.Close(ctx)
		return err
	}
	fenced, err := readFence(ctx, conn)
	if err != nil {
		conn.Close(ctx)
		return err
	}
	s.fence = fenced
	s.server.fence.Store(&fenced) // others read it when we have another one
	s.conn = conn
	s.bundle.connected(s.server.citus.Load() != nil)
	return nil
}

// send sends the bundle. What the server has prepared may have become useless: then it is prepared anew.
func (s *postgresSession) send(ctx context.Context) (tag pgconn.CommandTag, succeeded int, err error) {
	tag, succeeded, err = s.bundle.send(ctx, s.conn.PgConn())
	if code := pgCode(err); code == codeNotSupported || code == codeNoStatement {
		s.conn.Close(ctx)
		err = fmt.Errorf("%w: %w", errRaced, err)
	}
	return tag, succeeded, err
}

// commit sends all that the group writes, and COMMIT with it. The server carries out nothing after a
// statement that failed: then the group is known not to have happened.
func (s *postgresSession) commit(ctx context.Context, r *rows) error {
	b := &s.bundle
	b.add("COMMIT", nil)
	last := len(b.asks) - 1
	switch tag, n, err := s.send(ctx); {
	case err == nil && tag.String() != "COMMIT":
		return fmt.Errorf("commit: the server answered %s", tag)
	case err == nil:
	case pgCode(err) == "" || n >= last:
		return err
	case r.guessed && pgCode(err) == codeDivision:
		return &poisonError{fmt.Errorf("%w: %v", errRaced, err)}
	case n >= s.fresh && taken(err):
		return &poisonError{fmt.Errorf("%w: %v", errRaced, err)}
	default:
		return &poisonError{err}
	}
	for _, v := range r.verifications {
		if !v.stored && v.dirty {
			s.remember(v.value)
		}
	}
	s.rememberShares(r)
	return nil
}

// maxShares bounds how many shares a session remembers.
const maxShares = 4096

// rememberShares notes what a group has left of its writer's shares.
func (s *postgresSession) rememberShares(r *rows) {
	for k, row := range r.shares {
		if k.writer != s.writer {
			continue
		}
		if s.shares == nil || len(s.shares) >= maxShares {
			s.shares = map[budgetKey]verify.Spending{}
		}
		s.shares[k] = row.free
	}
}

// guessShares has a group spend what is remembered, if that is known of all rows that pay.
func (s *postgresSession) guessShares(r *rows, keys []budgetKey) bool {
	for _, k := range keys {
		free, ok := s.shares[k]
		if !ok || free.Messages <= 0 {
			return false
		}
		if r.shares == nil {
			r.shares = map[budgetKey]*spent{}
		}
		r.shares[k] = &spent{project: k.project, day: k.day, writer: k.writer, free: free}
	}
	r.guessed = true
	return true
}

func (s *postgresSession) rollback(context.Context) {
	s.shares = nil // whatever went wrong
	if s.conn == nil || s.conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.server.timeout) // the transaction's may be over
	defer cancel()
	if _, err := s.conn.Exec(ctx, "ROLLBACK"); err != nil {
		s.conn.Close(ctx)
	}
}

// Locks are taken in the order of DESIGN.md, destinations before verifications, each sorted by key and
// by one statement: transactions of different writers can't deadlock. A verification's destination never
// changes, so it is looked up before it is locked.
var (
	pgReplan = `DISCARD PLANS`
	pgBegin  = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`
	// See Store.announceSweep. It must stand before pgMarks.
	pgGate  = `LOCK TABLE sweep_gate IN ROW EXCLUSIVE MODE`
	pgMarks = `SELECT name, id, xmin FROM watermark WHERE name IN ('announced', 'void')`
	// Relatives of PostgreSQL have no xmin.
	pgPlainMarks = `SELECT name, id FROM watermark WHERE name IN ('announced', 'void')`

	// An application that is looked at must not be deleted before we commit.
	pgLockApplications = `SELECT id, project, imports FROM application WHERE version > 0 AND id IN (
			SELECT application FROM verification WHERE id = ANY ($1::bytea[]) AND app_user <> ''
			UNION SELECT unnest($2::bytea[]))
		ORDER BY id FOR KEY SHARE`
	pgLockUsers = `WITH k AS (
			SELECT application, app_user AS name FROM verification WHERE id = ANY ($1::bytea[]) AND app_user <> ''
			UNION SELECT unnest($2::bytea[]), unnest($3::text[]))
		SELECT ` + userLayout.of("u") + `
		FROM k JOIN app_user u ON u.application = k.application AND u.name = k.name
		ORDER BY u.application, u.name FOR UPDATE OF u`

	pgReadIdentities = `SELECT ` + identityLayout.names() + ` FROM verification WHERE id = ANY ($1::bytea[])`

	// Most groups name no user, and guess only at what is known: then there is less to look for.
	pgLockKnownDestinations = `WITH k AS (SELECT unnest($1::text[]) AS project, unnest($2::text[]) AS number` + pgLockDestination
	pgLockDestinations      = pgNamedDestinations + pgLockDestination
	pgLockVerifications     = `SELECT ` + changeLayout.names() + ` FROM verification WHERE id = ANY ($1::bytea[]) ORDER BY id FOR UPDATE`
	pgLockUsersDestinations = pgNamedDestinations + `
			UNION SELECT v.project, v.destination FROM (SELECT unnest($4::bytea[]) AS application, unnest($5::text[]) AS name) n
				JOIN app_user u ON u.application = n.application AND u.name = n.name JOIN verification v ON v.id = u.latest` + pgLockDestination
	pgLockUsersVerifications = `SELECT ` + verificationLayout.names() + ` FROM verification WHERE id IN (
			SELECT unnest($1::bytea[])
			UNION SELECT u.latest FROM (SELECT unnest($2::bytea[]) AS application, unnest($3::text[]) AS name) n
				JOIN app_user u ON u.application = n.application AND u.name = n.name)
		ORDER BY id FOR UPDATE`
	pgNamedDestinations = `WITH k AS (
			SELECT project, destination AS number FROM verification WHERE id = ANY ($1::bytea[])
			UNION SELECT unnest($2::text[]), unnest($3::text[])`
	pgLockDestination = `)
		SELECT ` + destinationLayout.of("d") + `
		FROM k JOIN destination d ON d.project = k.project AND d.number = k.number
		ORDER BY d.project, d.number FOR UPDATE OF d`

	pgLockPhones   = `SELECT ` + phoneLayout.names() + ` FROM phone WHERE number = ANY ($1::text[]) ORDER BY number FOR UPDATE`
	pgUpdatePhones = `UPDATE phone p SET ` + phoneLayout[1:].set("n") + ` FROM (SELECT ` + phoneLayout.named() + `) n WHERE p.number = n.number`
	pgInsertPhones = `INSERT INTO phone (` + phoneLayout.names() + `) SELECT ` + phoneLayout.arrays()

	pgLockKept   = `SELECT ` + keptLayout.names() + ` FROM kept_answer WHERE name = ANY ($1::bytea[]) ORDER BY name FOR UPDATE`
	pgUpdateKept = `UPDATE kept_answer k SET ` + keptLayout[1:].set("n") + ` FROM (SELECT ` + keptLayout.named() + `) n WHERE k.name = n.name`
	pgInsertKept = `INSERT INTO kept_answer (` + keptLayout.names() + `) SELECT ` + keptLayout.arrays()

	pgUpdateDestinations = `UPDATE destination d SET ` + destinationLayout[2:].set("n") + ` FROM (SELECT ` + destinationLayout.named() + `) n
		WHERE d.project = n.project AND d.number = n.number`
	pgInsertDestinations  = `INSERT INTO destination (` + destinationLayout.names() + `) SELECT ` + destinationLayout.arrays()
	pgInsertVerifications = `INSERT INTO verification (` + verificationLayout.names() + `) SELECT ` + verificationLayout.arrays()
	pgUpdateUsers         = `UPDATE app_user u SET ` + userLayout[2:].set("n") + ` FROM (SELECT ` + userLayout.named() + `) n
		WHERE u.application = n.application AND u.name = n.name`
	pgInsertUsers = `INSERT INTO app_user (` + userLayout.names() + `) SELECT ` + userLayout.arrays()
	pgDeleteUsers = `DELETE FROM app_user u USING (SELECT unnest($1::bytea[]) AS application, unnest($2::text[]) AS name) n
		WHERE u.application = n.application AND u.name = n.name`
	pgUpdateVerifications = `UPDATE verification v SET ` + stateLayout.set("n") + ` FROM (SELECT ` + changeLayout.named() + `) n WHERE v.id = n.id`
	pgInsertDeliveries    = `INSERT INTO delivery (` + endedLayout.names() + `) SELECT ` + endedLayout.arrays() + endDelivery
	pgInsertCalls         = `INSERT INTO delivery (` + endedCallLayout.names() + `) SELECT ` + endedCallLayout.arrays() + endDelivery
	// The verification's lock, which is taken before, is its attempts' lock too.
	pgSelectAttempts = selectDeliveries + ` WHERE (verification, attempt) IN (SELECT unnest($1::bytea[]), unnest($2::bigint[]))`
	pgInsertReceipts = `INSERT INTO delivery (` + receivedLayout.names() + `, ` + endLayout.names() + `)
		SELECT ` + receivedLayout.names() + `, ` + endLayout.zeros() + ` FROM (SELECT ` + receivedLayout.named() + `) r` + receiveDelivery
	pgInsertAudits = `INSERT INTO audit (` + auditLayout.names() + `) SELECT ` + auditLayout.arrays()
	pgInsertHints  = `INSERT INTO retry (due, id) SELECT unnest($1::bigint[]), unnest($2::bytea[]) ON CONFLICT DO NOTHING`
	pgAddUsed      = `INSERT INTO usage_hour AS u (` + usedLayout.names() + `) SELECT ` + usedLayout.arrays() + addUsed
	pgDeleteHints  = `DELETE FROM retry r USING (SELECT unnest($1::bigint[]) AS due, unnest($2::bytea[]) AS id) n WHERE r.due = n.due AND r.id = n.id`
)

// wants are the keys that a group names.
type wants struct {
	ids     []verify.ID // of verifications
	guessed []verify.ID // those of them whose destinations we need

	destinations []destinationKey // of starts

	users   []userKey
	current []userKey // those of them whose current verification we need
	guesser []userKey // and its destination
}

func wantsOf(group []op) (w wants) {
	for i := range group {
		o := &group[i]
		if o.destination != (destinationKey{}) {
			w.destinations = append(w.destinations, o.destination)
		}
		w.ids = append(w.ids, o.others...)
		if !o.verification.IsZero() {
			w.ids = append(w.ids, o.verification)
			if o.withDestination {
				w.guessed = append(w.guessed, o.verification)
			}
		}
		if o.user == (userKey{}) {
			continue
		}
		w.users = append(w.users, o.user)
		if o.withCurrent {
			w.current = append(w.current, o.user)
		}
		if o.withCurrent && o.withDestination {
			w.guesser = append(w.guesser, o.user)
		}
	}
	return w
}

// find adds the destinations of guesses at what is known.
func (w *wants) find(known map[verify.ID]*verify.Verification) {
	unknown := w.guessed[:0]
	for _, id := range w.guessed {
		if v := known[id]; v != nil {
			w.destinations = append(w.destinations, destinationKey{v.Project, v.To})
		} else {
			unknown = append(unknown, id)
		}
	}
	w.guessed = unknown
}

// Keys as parameters.

func (b *bundle) ids(all []verify.ID) *table {
	t := b.table(oidBytea)
	for i := range all {
		t.blob(all[i][:])
		t.end()
	}
	return t
}

func (b *bundle) users(all []userKey) *table {
	t := b.table(oidBytea, oidText)
	for i := range all {
		t.blob(all[i].application[:])
		t.text(all[i].name)
		t.end()
	}
	return t
}

// destinations are sorted, each once.
func (b *bundle) destinations(all []destinationKey) *table {
	t := b.table(oidText, oidText)
	slices.SortFunc(all, destinationKey.compare)
	for _, k := range slices.Compact(all) {
		t.text(string(k.project))
		t.text(string(k.number))
		t.end()
	}
	return t
}

func (b *bundle) phones(all []phone.Number) *table {
	t := b.table(oidText)
	for _, n := range all {
		t.text(string(n))
		t.end()
	}
	return t
}

func (b *bundle) names(all []verify.RequestName) *table {
	t := b.table(oidBytea)
	for i := range all {
		t.blob(all[i][:])
		t.end()
	}
	return t
}

func (b *bundle) budgets(all []budgetKey) *table {
	t := b.table(oidText, oidInt8, oidInt8)
	for _, k := range all {
		t.text(string(k.project))
		t.number(int64(k.day))
		t.number(int64(k.writer))
		t.end()
	}
	return t
}

func (b *bundle) attempts(all []attemptKey) *table {
	t := b.table(oidBytea, oidInt8)
	for i := range all {
		t.blob(all[i].verification[:])
		t.number(int64(all[i].attempt))
		t.end()
	}
	return t
}

// load also compares the epoch with the connection's. It is another one when somebody has voided what was
// there, has restored a dump into the tables that we use, or has put up or taken down a fence: then we look at the server
// again before we decide anything. While tables are being restored there is none.
func (s *postgresSession) load(ctx context.Context, group []op) (*rows, error) {
	r, w, b := newRows(len(group), s.writer), wantsOf(group), &s.bundle
	r.fence = s.fence
	known, unknown := s.recall(w.ids)
	b.reset()
	ids := b.ids(w.ids)
	if s.stale() {
		s.planned = time.Now()
		b.add(pgReplan, nil)
	}
	b.add(pgBegin, nil)
	if s.server.citus.Load() != nil {
		b.add(citusStay, nil)
	}
	if w.destinations != nil {
		s.addGate()
	}
	if s.epoch != 0 {
		b.add(pgMarks, r.readMark)
	} else {
		b.add(pgPlainMarks, r.readPlainMark)
	}
	looked := s.users || w.users != nil
	if looked && len(w.ids)+len(w.users) > 0 {
		b.add(pgLockApplications, r.readApplication, ids, b.ids(applicationIDs(w.users)))
		b.add(pgLockUsers, r.readUser, ids, b.users(w.users))
	}
	switch w.find(known); {
	case len(w.guesser) > 0:
		b.add(pgLockUsersDestinations, r.readDestination, b.ids(w.guessed), b.destinations(w.destinations), b.users(w.guesser))
	case len(w.guessed) > 0:
		b.add(pgLockDestinations, r.readDestination, b.ids(w.guessed), b.destinations(w.destinations))
	case len(w.destinations) > 0:
		b.add(pgLockKnownDestinations, r.readDestination, b.destinations(w.destinations))
	}
	if numbers := phoneNumbers(group); numbers != nil {
		b.add(pgLockPhones, r.readPhone, b.phones(numbers))
	}
	switch {
	case len(w.current) > 0:
		b.add(pgLockUsersVerifications, r.readVerification, ids, b.users(w.current))
	case len(w.ids) > 0:
		if unknown != nil {
			b.add(pgReadIdentities, func(c *cells) error { return readUnknown(c, known) }, b.ids(unknown))
		}
		b.add(pgLockVerifications, func(c *cells) error { return r.readKnown(c, known) }, ids)
	}
	if names := keptNames(group); names != nil {
		b.add(pgLockKept, r.readKept, b.names(names))
	}
	switch keys := budgetKeys(group, s.writer); {
	case keys == nil:
	case granted(group):
		b.add(pgLockSpent, func(c *cells) error { return r.readShare(c) }, b.budgets(keys))
	case !s.guessShares(r, keys):
		r.shares = nil
		b.add(pgTakeSpent, func(c *cells) error { return r.readShare(c) }, b.budgets(keys))
	}
	if keys := attemptKeys(group); keys != nil {
		b.add(pgSelectAttempts, r.readAttempt, b.attempts(keys))
	}
	if _, _, err := s.send(ctx); err != nil {
		return nil, err
	}
	if r.epoch != s.epoch {
		s.conn.Close(ctx)
		return nil, errRaced
	}
	if keys := r.lateKeys(group); keys != nil {
		b.reset()
		b.add(pgSelectAttempts, r.readAttempt, b.attempts(keys))
		if _, _, err := s.send(ctx); err != nil {
			return nil, err
		}
	}
	for id, v := range r.verifications {
		if !s.known.Contains(id) {
			s.remember(v.value)
		}
		if !looked && v.value.User != "" {
			s.users = true // from now on: until here there were none, and that saved looking for them
			return nil, errRaced
		}
	}
	return r, nil
}

// addGate locks the gate, as those who start something do.
func (s *postgresSession) addGate() {
	if c := s.server.citus.Load(); c != nil {
		s.bundle.add(c.gate, nil)
		return
	}
	s.bundle.add(pgGate, nil)
}

// stale reports whether plans are to be made anew. CockroachDB does that by itself.
func (s *postgresSession) stale() bool {
	return time.Since(s.planned) > planLife && s.conn.PgConn().ParameterStatus("crdb_version") == ""
}

// Each reads one row.

func (r *rows) readMark(c *cells) error {
	void := r.readMarkID(c)
	if writer := c.xid(); void {
		r.epoch = writer
	}
	return nil
}

func (r *rows) readPlainMark(c *cells) error {
	r.readMarkID(c)
	return nil
}

// readMarkID reads a watermark and reports whether it is "void".
func (r *rows) readMarkID(c *cells) (void bool) {
	switch c.text() {
	case "announced":
		c.id(&r.swept)
	case "void":
		c.id(&r.void)
		return true
	}
	return false
}

func (r *rows) readAttempt(c *cells) error {
	a := &row[verify.Delivery]{stored: true}
	err := deliveryLayout.read(c, &a.value)
	r.attempts[attemptKey{a.value.Verification, a.value.Attempt}] = a
	return err
}

func (r *rows) readPhone(c *cells) error {
	p := row[verify.Phone]{stored: true}
	err := phoneLayout.read(c, &p.value)
	*r.phone(p.value.Number) = p
	return err
}

func (r *rows) readKept(c *cells) error {
	k := &row[verify.Kept]{stored: true}
	err := keptLayout.read(c, &k.value)
	r.keepAnswer(k)
	return err
}

func (r *rows) readApplication(c *cells) error {
	var id verify.ID
	c.id(&id)
	r.applications[id] = home{verify.ProjectID(c.text()), c.number()}
	return nil
}

func (r *rows) readUser(c *cells) error {
	u := &row[verify.User]{stored: true}
	err := userLayout.read(c, &u.value)
	r.users[userKey{u.value.Application, u.value.Name}] = u
	return err
}

func (r *rows) readDestination(c *cells) error {
	d := &row[verify.Destination]{stored: true}
	err := destinationLayout.read(c, &d.value)
	r.destinations[destinationKey{d.value.Project, d.value.Number}] = d
	return err
}

func (r *rows) readVerification(c *cells) error {
	v := &row[verify.Verification]{stored: true}
	err := verificationLayout.read(c, &v.value)
	r.verifications[v.value.ID] = v
	return err
}

// readUnknown reads what never changes of a verification.
func readUnknown(c *cells, known map[verify.ID]*verify.Verification) error {
	v := new(verify.Verification)
	err := identityLayout.read(c, v)
	known[v.ID] = v
	return err
}

// readKnown reads what changes of a verification, when its rest is known.
func (r *rows) readKnown(c *cells, known map[verify.ID]*verify.Verification) error {
	var id verify.ID
	c.id(&id)
	if known[id] == nil {
		return errRaced // it was committed between the two statements
	}
	v := *known[id]
	err := stateLayout.read(c, &v)
	r.verifications[id] = &row[verify.Verification]{value: v, stored: true}
	return err
}

// save notes what commit will write. New rows of destinations, users, phones and kept answers come last: another may be
// inserting the same ones, and who waits for him holds locks that he may wait for. See newRowWait.
func (s *postgresSession) save(_ context.Context, r *rows) error {
	b := &s.bundle
	b.reset()
	destinations, users, phones, kept := b.table(), b.table(), b.table(), b.table()
	if err := errors.Join(b.saveDestinations(r, destinations), b.saveUsers(r, users), b.savePhones(r, phones), b.saveKept(r, kept),
		b.saveVerifications(r), b.saveDeliveries(r), b.saveReceipts(r), b.saveAudits(r)); err != nil {
		return err
	}
	b.saveHints(r)
	if err := b.saveUsed(r.sortedUsed(s.writer)); err != nil {
		return err
	}
	guessed, sure := b.table(), b.table()
	if err := b.saveSpent(r, guessed, sure); err != nil {
		return err
	}
	b.addRows(pgAddSpent, sure)
	s.fresh = len(b.asks)
	if guessed.rows+destinations.rows+users.rows+phones.rows+kept.rows > 0 {
		b.add(newRowWait, nil)
	}
	b.addRows(pgSpendGuessed, guessed) // they aren't locked: while their budget is divided, look again
	b.addRows(pgInsertDestinations, destinations)
	b.addRows(pgInsertPhones, phones)
	b.addRows(pgInsertUsers, users)
	b.addRows(pgInsertKept, kept)
	return nil
}

// newRowWait bounds how long an insert waits for somebody who inserts the same row: he may be waiting for
// us. Whatever comes of it, the group is then run again, and finds his row or inserts its own. It is far
// less than deadlock_timeout, so that the server needn't look for a circle.
const newRowWait = `SET LOCAL lock_timeout = 40`

// addRow adds a row's columns to a table.
func addRow[T any](t *table, l layout[T], v *T) error {
	if err := l.write(t, v); err != nil {
		return err
	}
	t.end()
	return nil
}

func (b *bundle) saveDestinations(r *rows, inserted *table) error {
	updated := b.table()
	for _, d := range dirty(r.destinations, destinationKey.compare) {
		t := inserted
		if d.stored {
			t = updated
		}
		if err := addRow(t, destinationLayout, &d.value); err != nil {
			return err
		}
	}
	b.addRows(pgUpdateDestinations, updated)
	return nil
}

func (b *bundle) savePhones(r *rows, inserted *table) error {
	updated := b.table()
	for _, p := range dirty(r.phones, cmp.Compare[phone.Number]) {
		t := inserted
		if p.stored {
			t = updated
		}
		if err := addRow(t, phoneLayout, &p.value); err != nil {
			return err
		}
	}
	b.addRows(pgUpdatePhones, updated)
	return nil
}

func (b *bundle) saveKept(r *rows, inserted *table) error {
	updated := b.table()
	for _, k := range dirty(r.kept, compareNames) {
		t := inserted
		if k.stored {
			t = updated
		}
		if err := addRow(t, keptLayout, &k.value); err != nil {
			return err
		}
	}
	b.addRows(pgUpdateKept, updated)
	return nil
}

func (b *bundle) saveUsers(r *rows, inserted *table) error {
	updated, deleted := b.table(), b.table()
	for _, k := range slices.SortedFunc(maps.Keys(r.users), userKey.compare) {
		u, t := r.users[k], inserted
		switch {
		case u.gone && u.stored:
			deleted.blob(k.application[:])
			deleted.text(k.name)
			deleted.end()
			continue
		case u.gone || !u.dirty:
			continue
		case u.stored:
			t = updated
		}
		if err := addRow(t, userLayout, &u.value); err != nil {
			return err
		}
	}
	b.addRows(pgUpdateUsers, updated)
	b.addRows(pgDeleteUsers, deleted)
	return nil
}

func (b *bundle) saveVerifications(r *rows) error {
	updated, inserted := b.table(), b.table()
	for _, v := range dirty(r.verifications, compareIDs) {
		t, l := inserted, verificationLayout
		if v.stored {
			t, l = updated, changeLayout
		}
		if err := addRow(t, l, &v.value); err != nil {
			return err
		}
	}
	b.addRows(pgUpdateVerifications, updated)
	b.addRows(pgInsertVerifications, inserted)
	return nil
}

func (b *bundle) saveDeliveries(r *rows) error {
	ends, calls := b.table(), b.table()
	for i := range r.deliveries {
		d, t := &r.deliveries[i], ends
		if more(d) {
			t = calls
		}
		if err := addRow(t, ended(d), d); err != nil {
			return err
		}
	}
	b.addRows(pgInsertDeliveries, ends)
	b.addRows(pgInsertCalls, calls)
	return nil
}

// saveReceipts comes after saveDeliveries: each sets its own columns, whoever makes the row.
func (b *bundle) saveReceipts(r *rows) error {
	t := b.table()
	for _, a := range dirty(r.attempts, attemptKey.compare) {
		if err := addRow(t, receivedLayout, &a.value); err != nil {
			return err
		}
	}
	b.addRows(pgInsertReceipts, t)
	return nil
}

func (b *bundle) saveAudits(r *rows) error {
	t := b.table()
	for i := range r.audits {
		if err := addRow(t, auditLayout, &r.audits[i]); err != nil {
			return err
		}
	}
	b.addRows(pgInsertAudits, t)
	return nil
}

// saveHints inserts before it deletes: while it waits for the sweeper, which inserts in the same
// order, it holds nothing that the sweeper could wait for. A hint that is dropped and left again stays.
func (b *bundle) saveHints(r *rows) {
	inserted, deleted := b.table(), b.table()
	hints := sortedHints(r.hints)
	for _, h := range hints {
		inserted.hint(h)
	}
	for _, h := range sortedHints(r.drops) {
		if _, again := slices.BinarySearchFunc(hints, h, hint.compare); !again {
			deleted.hint(h)
		}
	}
	b.addRows(pgInsertHints, inserted)
	b.addRows(pgDeleteHints, deleted)
}

// saveUsed adds to rows that nobody else writes.
func (b *bundle) saveUsed(all []used) error {
	t := b.table()
	for i := range all {
		if err := addRow(t, usedLayout, &all[i]); err != nil {
			return err
		}
	}
	b.addRows(pgAddUsed, t)
	return nil
}

// saveSpent adds to rows that only an allotment writes as well: to sure, but for shares that the group has guessed.
func (b *bundle) saveSpent(r *rows, guessed, sure *table) error {
	all := r.sortedSpent()
	for i := range all {
		t := sure
		if r.guessed && r.shares[all[i].key()] != nil {
			t = guessed
		}
		if err := addRow(t, spentLayout, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

func sortedHints(all []hint) []hint {
	slices.SortFunc(all, hint.compare)
	return slices.CompactFunc(all, func(a, b hint) bool { return a.compare(b) == 0 })
}

func (h hint) compare(o hint) int {
	if c := h.due.Compare(o.due); c != 0 {
		return c
	}
	return compareIDs(h.id, o.id)
}

func compareIDs(a, b verify.ID) int { return bytes.Compare(a[:], b[:]) }

// dirty are the rows that changed, in the order of their keys.
func dirty[K comparable, T any](all map[K]*row[T], compare func(a, b K) int) []*row[T] {
	var keys []K
	for k, r := range all {
		if r.dirty {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, compare)
	changed := make([]*row[T], len(keys))
	for i, k := range keys {
		changed[i] = all[k]
	}
	return changed
}
