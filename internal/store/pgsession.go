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
	known  *identities
	users  bool // verifications of users have come by: look their users up with them

	bundle bundle // what the group under way asks, then what it writes
	fresh  int    // from which of the writes on rows are inserted that another may insert as well

	planned time.Time // when its plans were thrown away
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
	s.conn = conn
	s.bundle.connected()
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
	return nil
}

func (s *postgresSession) rollback(context.Context) {
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
const (
	pgReplan = `DISCARD PLANS`
	pgBegin  = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`
	// See Store.announceSweep. It must stand before pgMarks.
	pgGate  = `LOCK TABLE sweep_gate IN ROW EXCLUSIVE MODE`
	pgMarks = `SELECT name, id, xmin FROM watermark WHERE name IN ('announced', 'void')`
	// Relatives of PostgreSQL have no xmin.
	pgPlainMarks = `SELECT name, id FROM watermark WHERE name IN ('announced', 'void')`

	// An application that is looked at must not be deleted before we commit.
	pgLockApplications = `SELECT id, project FROM application WHERE version > 0 AND id IN (
			SELECT application FROM verification WHERE id = ANY ($1::bytea[]) AND app_user <> ''
			UNION SELECT unnest($2::bytea[]))
		ORDER BY id FOR KEY SHARE`
	pgLockUsers = `WITH k AS (
			SELECT application, app_user AS name FROM verification WHERE id = ANY ($1::bytea[]) AND app_user <> ''
			UNION SELECT unnest($2::bytea[]), unnest($3::text[]))
		SELECT u.application, u.name, u.address, u.status, u.latest, u.sends, u.created_at, u.updated_at, u.version
		FROM k JOIN app_user u ON u.application = k.application AND u.name = k.name
		ORDER BY u.application, u.name FOR UPDATE OF u`

	pgReadIdentities = `SELECT ` + identityColumns + ` FROM verification WHERE id = ANY ($1::bytea[])`

	// Most groups name no user, and guess only at what is known: then there is less to look for.
	pgLockKnownDestinations = `WITH k AS (SELECT unnest($1::text[]) AS project, unnest($2::text[]) AS number` + pgLockDestination
	pgLockDestinations      = pgNamedDestinations + pgLockDestination
	pgLockVerifications     = `SELECT id, ` + stateColumns + ` FROM verification WHERE id = ANY ($1::bytea[]) ORDER BY id FOR UPDATE`
	pgLockUsersDestinations = pgNamedDestinations + `
			UNION SELECT v.project, v.destination FROM (SELECT unnest($4::bytea[]) AS application, unnest($5::text[]) AS name) n
				JOIN app_user u ON u.application = n.application AND u.name = n.name JOIN verification v ON v.id = u.latest` + pgLockDestination
	pgLockUsersVerifications = `SELECT ` + verificationColumns + ` FROM verification WHERE id IN (
			SELECT unnest($1::bytea[])
			UNION SELECT u.latest FROM (SELECT unnest($2::bytea[]) AS application, unnest($3::text[]) AS name) n
				JOIN app_user u ON u.application = n.application AND u.name = n.name)
		ORDER BY id FOR UPDATE`
	pgNamedDestinations = `WITH k AS (
			SELECT project, destination AS number FROM verification WHERE id = ANY ($1::bytea[])
			UNION SELECT unnest($2::text[]), unnest($3::text[])`
	pgLockDestination = `)
		SELECT d.project, d.number, d.tat, d.sends, d.failures, d.wait_until, d.latest
		FROM k JOIN destination d ON d.project = k.project AND d.number = k.number
		ORDER BY d.project, d.number FOR UPDATE OF d`

	pgLockPhones   = `SELECT ` + phoneColumns + ` FROM phone WHERE number = ANY ($1::text[]) ORDER BY number FOR UPDATE`
	pgUpdatePhones = `UPDATE phone p SET verification = n.verification, attempt = n.attempt, since = n.since, until = n.until
		FROM (SELECT unnest($1::text[]) AS number, unnest($2::bytea[]) AS verification, unnest($3::bigint[]) AS attempt, unnest($4::bigint[]) AS since,
			unnest($5::bigint[]) AS until) n
		WHERE p.number = n.number`
	pgInsertPhones = `INSERT INTO phone (` + phoneColumns + `)
		SELECT unnest($1::text[]), unnest($2::bytea[]), unnest($3::bigint[]), unnest($4::bigint[]), unnest($5::bigint[])`

	pgUpdateDestinations = `UPDATE destination d
		SET tat = n.tat, sends = n.sends, failures = n.failures, wait_until = n.wait_until, latest = n.latest
		FROM (SELECT unnest($1::text[]) AS project, unnest($2::text[]) AS number, unnest($3::bigint[]) AS tat, unnest($4::bytea[]) AS sends,
			unnest($5::bigint[]) AS failures, unnest($6::bigint[]) AS wait_until, unnest($7::bytea[]) AS latest) n
		WHERE d.project = n.project AND d.number = n.number`
	pgInsertDestinations = `INSERT INTO destination (` + destinationColumns + `)
		SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::bigint[]), unnest($4::bytea[]), unnest($5::bigint[]), unnest($6::bigint[]), unnest($7::bytea[])`
	pgInsertVerifications = `INSERT INTO verification (` + verificationColumns + `)
		SELECT unnest($1::bytea[]), unnest($2::text[]), unnest($3::bytea[]), unnest($4::text[]), unnest($5::text[]), unnest($6::text[]),
			unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::bigint[]), unnest($11::bigint[]), unnest($12::bigint[]),
			unnest($13::bigint[]), unnest($14::bytea[]), unnest($15::bytea[]), unnest($16::text[]), unnest($17::text[]), unnest($18::text[]),
			unnest($19::bigint[]), unnest($20::text[]), unnest($21::text[]), unnest($22::text[]), unnest($23::bytea[]), unnest($24::text[]),
			unnest($25::bigint[]), unnest($26::bigint[]), unnest($27::bigint[]), unnest($28::bigint[]), unnest($29::text[]), unnest($30::bigint[]), unnest($31::bigint[]),
			unnest($32::bytea[])`
	pgUpdateUsers = `UPDATE app_user u
		SET address = n.address, status = n.status, latest = n.latest, sends = n.sends,
			created_at = n.created_at, updated_at = n.updated_at, version = n.version
		FROM (SELECT unnest($1::bytea[]) AS application, unnest($2::text[]) AS name, unnest($3::text[]) AS address, unnest($4::bigint[]) AS status,
			unnest($5::bytea[]) AS latest, unnest($6::bytea[]) AS sends, unnest($7::bigint[]) AS created_at, unnest($8::bigint[]) AS updated_at,
			unnest($9::bigint[]) AS version) n
		WHERE u.application = n.application AND u.name = n.name`
	pgInsertUsers = `INSERT INTO app_user (` + userColumns + `)
		SELECT unnest($1::bytea[]), unnest($2::text[]), unnest($3::text[]), unnest($4::bigint[]), unnest($5::bytea[]), unnest($6::bytea[]),
			unnest($7::bigint[]), unnest($8::bigint[]), unnest($9::bigint[])`
	pgDeleteUsers = `DELETE FROM app_user u USING (SELECT unnest($1::bytea[]) AS application, unnest($2::text[]) AS name) n
		WHERE u.application = n.application AND u.name = n.name`
	pgUpdateVerifications = `UPDATE verification v
		SET status = n.status, guesses = n.guesses, ended_at = n.ended_at, delivery = n.delivery, reason = n.reason,
			attempt = n.attempt, due_at = n.due_at, code_sealed = n.code_sealed
		FROM (SELECT unnest($1::bytea[]) AS id, unnest($2::bigint[]) AS status, unnest($3::bigint[]) AS guesses, unnest($4::bigint[]) AS ended_at,
			unnest($5::bigint[]) AS delivery, unnest($6::text[]) AS reason, unnest($7::bigint[]) AS attempt, unnest($8::bigint[]) AS due_at,
			unnest($9::bytea[]) AS code_sealed) n
		WHERE v.id = n.id`
	pgInsertDeliveries = `INSERT INTO delivery (` + endColumns + `)
		SELECT unnest($1::bytea[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::text[]), unnest($5::bigint[]), unnest($6::text[]),
			unnest($7::text[]), unnest($8::bigint[]), unnest($9::bigint[])
		` + endDelivery
	pgInsertCalls = `INSERT INTO delivery (` + endColumns + `, ` + callColumns + `)
		SELECT unnest($1::bytea[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::text[]), unnest($5::bigint[]), unnest($6::text[]),
			unnest($7::text[]), unnest($8::bigint[]), unnest($9::bigint[]), unnest($10::bigint[]), unnest($11::bigint[]), unnest($12::bigint[]),
			unnest($13::bigint[]), unnest($14::bigint[]), unnest($15::bigint[])
		` + endDelivery
	// The verification's lock, which is taken before, is its attempts' lock too.
	pgSelectAttempts = `SELECT ` + deliveryColumns + ` FROM delivery
		WHERE (verification, attempt) IN (SELECT unnest($1::bytea[]), unnest($2::bigint[]))`
	pgInsertReceipts = `INSERT INTO delivery (verification, attempt, carrier, outcome, reason, ref, started_at, ended_at, receipt, receipt_at, receipt_reason)
		SELECT id, n, '', 0, '', '', 0, 0, receipt, at, why
		FROM (SELECT unnest($1::bytea[]) AS id, unnest($2::bigint[]) AS n, unnest($3::bigint[]) AS receipt, unnest($4::bigint[]) AS at,
			unnest($5::text[]) AS why) r
		` + receiveDelivery
	pgInsertHints = `INSERT INTO retry (due, id) SELECT unnest($1::bigint[]), unnest($2::bytea[]) ON CONFLICT DO NOTHING`
	pgDeleteHints = `DELETE FROM retry r USING (SELECT unnest($1::bigint[]) AS due, unnest($2::bytea[]) AS id) n WHERE r.due = n.due AND r.id = n.id`
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
// there, or has restored a dump into the tables that we use: then we look at the server again before we
// decide anything. While tables are being restored there is none.
func (s *postgresSession) load(ctx context.Context, group []op) (*rows, error) {
	r, w, b := newRows(len(group)), wantsOf(group), &s.bundle
	known, unknown := s.recall(w.ids)
	b.reset()
	ids := b.ids(w.ids)
	if s.stale() {
		s.planned = time.Now()
		b.add(pgReplan, nil)
	}
	b.add(pgBegin, nil)
	if w.destinations != nil {
		b.add(pgGate, nil)
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
	d := readDelivery(c)
	r.attempts[attemptKey{d.Verification, d.Attempt}] = &row[verify.Delivery]{value: d, stored: true}
	return nil
}

func (r *rows) readPhone(c *cells) error {
	p := readPhone(c)
	*r.phone(p.Number) = row[verify.Phone]{value: p, stored: true}
	return nil
}

func (r *rows) readApplication(c *cells) error {
	var id verify.ID
	c.id(&id)
	r.applications[id] = verify.ProjectID(c.text())
	return nil
}

func (r *rows) readUser(c *cells) error {
	u, err := readUser(c)
	r.users[userKey{u.Application, u.Name}] = &row[verify.User]{value: u, stored: true}
	return err
}

func (r *rows) readDestination(c *cells) error {
	d, err := readDestination(c)
	r.destinations[destinationKey{d.Project, d.Number}] = &row[verify.Destination]{value: d, stored: true}
	return err
}

func (r *rows) readVerification(c *cells) error {
	v, err := readVerification(c)
	r.verifications[v.ID] = &row[verify.Verification]{value: v, stored: true}
	return err
}

// readUnknown reads what never changes of a verification.
func readUnknown(c *cells, known map[verify.ID]*verify.Verification) error {
	v, err := readIdentity(c)
	known[v.ID] = &v
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
	readState(c, &v)
	r.verifications[id] = &row[verify.Verification]{value: v, stored: true}
	return nil
}

// save notes what commit will write. New rows of destinations, users and phones come last: another may be
// inserting the same ones, and who waits for him holds locks that he may wait for. See newRowWait.
func (s *postgresSession) save(_ context.Context, r *rows) error {
	b := &s.bundle
	b.reset()
	destinations, users, phones := b.table(), b.table(), b.table()
	if err := errors.Join(b.saveDestinations(r, destinations), b.saveUsers(r, users)); err != nil {
		return err
	}
	b.savePhones(r, phones)
	b.saveVerifications(r)
	b.saveDeliveries(r)
	b.saveReceipts(r)
	b.saveHints(r)
	s.fresh = len(b.asks)
	if destinations.rows+users.rows+phones.rows > 0 {
		b.add(newRowWait, nil)
	}
	b.addRows(pgInsertDestinations, destinations)
	b.addRows(pgInsertPhones, phones)
	b.addRows(pgInsertUsers, users)
	return nil
}

// newRowWait bounds how long an insert waits for somebody who inserts the same row: he may be waiting for
// us. Whatever comes of it, the group is then run again, and finds his row or inserts its own. It is far
// less than deadlock_timeout, so that the server needn't look for a circle.
const newRowWait = `SET LOCAL lock_timeout = 40`

func (b *bundle) saveDestinations(r *rows, inserted *table) error {
	updated := b.table()
	for _, d := range dirty(r.destinations, destinationKey.compare) {
		t := inserted
		if d.stored {
			t = updated
		}
		if err := destinationValues(t, &d.value); err != nil {
			return err
		}
		t.end()
	}
	b.addRows(pgUpdateDestinations, updated)
	return nil
}

func (b *bundle) savePhones(r *rows, inserted *table) {
	updated := b.table()
	for _, p := range dirty(r.phones, cmp.Compare[phone.Number]) {
		t := inserted
		if p.stored {
			t = updated
		}
		phoneValues(t, &p.value)
		t.end()
	}
	b.addRows(pgUpdatePhones, updated)
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
		if err := userValues(t, &u.value); err != nil {
			return err
		}
		t.end()
	}
	b.addRows(pgUpdateUsers, updated)
	b.addRows(pgDeleteUsers, deleted)
	return nil
}

func (b *bundle) saveVerifications(r *rows) {
	updated, inserted := b.table(), b.table()
	for _, row := range dirty(r.verifications, compareIDs) {
		v, t := &row.value, updated
		if row.stored {
			t.blob(v.ID[:])
		} else {
			t = inserted
			verificationIdentity(t, v)
		}
		verificationState(t, v)
		t.end()
	}
	b.addRows(pgUpdateVerifications, updated)
	b.addRows(pgInsertVerifications, inserted)
}

func (b *bundle) saveDeliveries(r *rows) {
	ends, calls := b.table(), b.table()
	for i := range r.deliveries {
		d, t := &r.deliveries[i], ends
		if d.Call.Made() {
			t = calls
		}
		endValues(t, d)
		t.end()
	}
	b.addRows(pgInsertDeliveries, ends)
	b.addRows(pgInsertCalls, calls)
}

// saveReceipts comes after saveDeliveries: each sets its own columns, whoever makes the row.
func (b *bundle) saveReceipts(r *rows) {
	t := b.table()
	for _, a := range dirty(r.attempts, attemptKey.compare) {
		receiptValues(t, &a.value)
		t.end()
	}
	b.addRows(pgInsertReceipts, t)
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
