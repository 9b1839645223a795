package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // also registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
	direct "zombiezen.com/go/sqlite"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// writing is what every connection that writes sets. secure_delete: a sealed code that is wiped is
// overwritten, not only no longer pointed to. journal_size_limit: a log that a long reader, such as a
// backup, kept from being reset is cut to 64 MiB once it is.
var writing = []string{"synchronous(FULL)", "foreign_keys(1)", "secure_delete(fast)", "journal_size_limit(67108864)"}

// busyTimeout is how long a statement waits while another process writes.
const busyTimeout = 5 * time.Second

// openSQLite opens a file: one connection for the groups, one for what writes alone, and those that read.
func (s *Store) openSQLite(ctx context.Context, o Options) ([]session, error) {
	var err error
	if s.write, err = sql.Open("sqlite", dsn(o.Path, writing...)+"&_txlock=immediate"); err != nil {
		return nil, err
	}
	s.write.SetMaxOpenConns(1)
	// Making a new file WAL doesn't wait for another process that does the same.
	for try := 1; ; try++ {
		if err = durable(func(pragma string) (value string, err error) {
			err = s.write.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&value)
			return value, err
		}); err == nil || try == maxTries {
			break
		}
		time.Sleep(time.Duration(try) * 10 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	if o.Migrate { // a server starts; other commands needn't wait for this
		if err := undamaged(ctx, s.write); err != nil {
			return nil, err
		}
	}
	tables, err := newSchema(s.write, goose.DialectSQLite3, o)
	if err != nil {
		return nil, err
	}
	if err := tables.update(ctx); err != nil {
		return nil, err
	}
	if !o.moved {
		if m, err := readMark(ctx, s.write); err != nil || m != nil {
			return nil, errors.Join(err, m.refusal())
		}
	}
	var read [3]*sql.DB
	for i := range read {
		if read[i], err = sql.Open("sqlite", dsn(o.Path, "query_only(1)")); err != nil { // it connects to nothing yet
			return nil, err
		}
	}
	s.hot = pool.New(read[0], 4, o.ReadLimit).Prepared()
	s.lists = pool.New(read[1], listConns, o.ReadLimit)
	s.upkeep = pool.New(read[2], 1, o.ReadLimit)
	hot, err := newSQLiteSession(o.Path)
	if err != nil {
		return nil, err
	}
	opened, err := os.Stat(o.Path)
	if err != nil {
		return []session{hot}, err
	}
	log := &walTrimmer{path: o.Path, quiet: walQuiet}
	s.watch = func(ctx context.Context) {
		if now, err := os.Stat(o.Path); err != nil || !os.SameFile(opened, now) {
			hot.gone.Store(true)
			return
		}
		if err := log.look(time.Now()); err != nil && s.log != nil {
			s.log.WarnContext(ctx, "the database's log isn't cut at a quiet time, will try again", "err", err)
		}
	}
	return []session{hot}, nil
}

// errReplaced refuses to go on with a file that has no name any more: what it holds is lost in the end.
var errReplaced = errors.New("the database's file was moved, deleted or replaced while the server ran: stop the server, look at the file, and start it again")

// dsn names the file and what every connection to it sets first.
func dsn(path string, pragmas ...string) string {
	q := url.Values{"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)"}, pragmas...)}
	return fileURI(path) + "?" + q.Encode()
}

func fileURI(path string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() }

// durable reads back what a commit's durability rests on: a driver that dropped a pragma, or a file
// system without shared memory, would otherwise lose spent guesses at the next power cut.
func durable(read func(pragma string) (string, error)) error {
	for _, want := range []struct{ pragma, value, name string }{
		{"journal_mode", "wal", "WAL"},
		{"synchronous", "2", "FULL"},
	} {
		got, err := read(want.pragma)
		if err != nil {
			return err
		}
		if got != want.value {
			return fmt.Errorf("%s is %q and can't be set to %s: is this a network file system?", want.pragma, got, want.name)
		}
	}
	return nil
}

// damageLimit is how long a start looks for damage. A large file isn't read to its end.
const damageLimit = time.Second

// undamaged has SQLite look through a file's pages. It fails if one is damaged: later, only what needs that
// page would.
func undamaged(ctx context.Context, db *sql.DB) error {
	limited, cancel := context.WithTimeout(ctx, damageLimit)
	defer cancel()
	var verdict string
	err := db.QueryRowContext(limited, "PRAGMA quick_check(1)").Scan(&verdict)
	var e *sqlite.Error
	switch {
	case ctx.Err() == nil && limited.Err() != nil:
		return nil
	case errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CORRUPT:
		verdict = e.Error()
	case err != nil:
		return fmt.Errorf("look for damage: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("%w; put a backup in its place with countersign restore", damage(verdict))
	}
	return nil
}

func damage(verdict string) error {
	return fmt.Errorf("the database is damaged: %s", verdict)
}

// broken reports whether an error of SQLite is a constraint's, that would be broken again.
func broken(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT ||
		direct.ErrCode(err).ToPrimary() == direct.ResultConstraint
}

// maxCached is how many rows of a kind are kept: what a settlement, and most checks, ask for.
const maxCached = 8192

// A sqliteSession goes to SQLite directly, for database/sql doubles what a statement costs.
//
// It keeps the rows that it wrote last. They are what is on disk as long as nobody else has written,
// which SQLite tells (PRAGMA data_version), and no transaction of ours has failed.
type sqliteSession struct {
	conn *direct.Conn

	beginNow, commitNow, rollbackNow, dataVersion              *direct.Stmt
	selectVerification, insertVerification, updateVerification *direct.Stmt
	selectDestination, insertDestination, updateDestination    *direct.Stmt
	selectHome, selectUser, upsertUser, deleteUser             *direct.Stmt
	selectDelivery, insertDelivery, insertCall, insertReceipt  *direct.Stmt
	selectPhone, upsertPhone, selectKept, upsertKept           *direct.Stmt
	insertHint, deleteHint, selectSwept, upsertUsed            *direct.Stmt
	insertAudit                                                *direct.Stmt
	selectSpent, upsertSpent                                   *direct.Stmt

	gone atomic.Bool // the file isn't where it was opened any more

	version       int64 // of the data that the rows below were written to
	verifications *simplelru.LRU[verify.ID, *verify.Verification]
	destinations  *simplelru.LRU[destinationKey, *verify.Destination]
}

func newSQLiteSession(path string) (*sqliteSession, error) {
	conn, err := direct.OpenConn(fileURI(path), direct.OpenReadWrite, direct.OpenURI)
	if err != nil {
		return nil, err
	}
	s := &sqliteSession{conn: conn}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	s.verifications, _ = simplelru.NewLRU[verify.ID, *verify.Verification](maxCached, nil) // fails only for sizes below 1
	s.destinations, _ = simplelru.NewLRU[destinationKey, *verify.Destination](maxCached, nil)
	return s, nil
}

// apart is true also for a full disk: then a group that needs less room may find it.
func (s *sqliteSession) apart(error) bool { return true }

// writerNumber is 0: the file has one writer at a time.
func (s *sqliteSession) writerNumber() int { return 0 }

func (s *sqliteSession) close() error { return s.conn.Close() }

// pragma reads or sets a pragma.
func (s *sqliteSession) pragma(text string) (value string, err error) {
	stmt, _, err := s.conn.PrepareTransient("PRAGMA " + text)
	if err != nil {
		return "", err
	}
	defer stmt.Finalize()
	if ok, err := stmt.Step(); err != nil || !ok {
		return "", err
	}
	return stmt.ColumnText(0), nil
}

func (s *sqliteSession) prepare() error {
	s.conn.SetBusyTimeout(busyTimeout)
	for _, p := range writing {
		if _, err := s.pragma(p); err != nil {
			return err
		}
	}
	if err := durable(s.pragma); err != nil {
		return err
	}
	for stmt, text := range map[**direct.Stmt]string{
		&s.beginNow:           `BEGIN IMMEDIATE`,
		&s.commitNow:          `COMMIT`,
		&s.rollbackNow:        `ROLLBACK`,
		&s.dataVersion:        `PRAGMA data_version`,
		&s.selectVerification: selectVerification,
		&s.insertVerification: `INSERT INTO verification (` + verificationLayout.names() + `) VALUES (` + verificationLayout.dollars() + `)`,
		&s.updateVerification: `UPDATE verification SET ` + stateLayout.setMarks(1) + ` WHERE id = ?1`,
		&s.selectDestination:  selectDestination,
		&s.insertDestination:  `INSERT INTO destination (` + destinationLayout.names() + `) VALUES (` + destinationLayout.dollars() + `)`,
		&s.updateDestination:  `UPDATE destination SET ` + destinationLayout[2:].setMarks(2) + ` WHERE project = ?1 AND number = ?2`,
		&s.selectHome:         selectHome,
		&s.selectUser:         selectUser,
		&s.upsertUser:         upsertUser,
		&s.deleteUser:         deleteUser,
		&s.selectPhone:        selectPhone,
		&s.upsertPhone:        upsertPhone,
		&s.selectKept:         selectKept,
		&s.upsertKept:         upsertKept,
		&s.selectDelivery:     selectDelivery,
		&s.insertDelivery:     insertDelivery,
		&s.insertCall:         insertCall,
		&s.insertReceipt:      insertReceipt,
		&s.insertHint:         insertHint,
		&s.insertAudit:        insertAudit,
		&s.deleteHint:         deleteHint,
		&s.upsertUsed:         upsertUsed,
		&s.selectSpent:        selectSpent,
		&s.upsertSpent:        upsertSpent,
		&s.selectSwept:        `SELECT id FROM watermark WHERE name = 'sweep'`,
	} {
		var err error
		if *stmt, err = s.conn.Prepare(text); err != nil {
			return fmt.Errorf("prepare %q: %w", text, err)
		}
	}
	return nil
}

func (s *sqliteSession) begin(ctx context.Context) error {
	if s.gone.Load() {
		return errReplaced
	}
	if err := exec(s.beginNow); err != nil {
		return err
	}
	var version int64
	if _, err := one(s.dataVersion, func(q *direct.Stmt) { version = q.ColumnInt64(0) }); err != nil {
		s.rollback(ctx)
		return err
	}
	if version != s.version {
		s.forget()
	}
	s.version = version
	return nil
}

func (s *sqliteSession) commit(_ context.Context, r *rows) error {
	if err := exec(s.commitNow); err != nil {
		return err
	}
	for id, v := range r.verifications {
		if v.dirty {
			s.verifications.Add(id, &v.value)
		}
	}
	for k, d := range r.destinations {
		if d.dirty {
			s.destinations.Add(k, &d.value)
		}
	}
	return nil
}

func (s *sqliteSession) rollback(context.Context) {
	exec(s.rollbackNow)
	s.forget() // a commit may have failed half-way
}

func (s *sqliteSession) forget() {
	s.verifications.Purge()
	s.destinations.Purge()
}

// load has nothing to lock: the transaction has the whole file.
func (s *sqliteSession) load(_ context.Context, group []op) (*rows, error) {
	r := newRows(len(group), s.writerNumber())
	if _, err := one(s.selectSwept, func(q *direct.Stmt) { q.ColumnBytes(0, r.swept[:]) }); err != nil {
		return nil, err
	}
	if err := s.loadVerifications(r, verificationIDs(group)); err != nil {
		return nil, err
	}
	if err := s.loadUsers(r, r.userKeys(group)); err != nil {
		return nil, err
	}
	if err := s.loadVerifications(r, r.currentIDs(group)); err != nil {
		return nil, err
	}
	for _, k := range r.destinationKeys(group) {
		if known, ok := s.destinations.Get(k); ok {
			r.destinations[k] = &row[verify.Destination]{value: *known, stored: true}
			continue
		}
		s.selectDestination.BindText(1, string(k.project))
		s.selectDestination.BindText(2, string(k.number))
		d := &row[verify.Destination]{stored: true}
		var damaged error
		ok, err := one(s.selectDestination, func(q *direct.Stmt) { damaged = destinationLayout.read(&columns{Stmt: q}, &d.value) })
		if err != nil || damaged != nil {
			return nil, errors.Join(err, damaged)
		}
		if ok {
			r.destinations[k] = d
		}
	}
	if err := s.loadPhones(r, phoneNumbers(group)); err != nil {
		return nil, err
	}
	if err := s.loadKept(r, keptNames(group)); err != nil {
		return nil, err
	}
	if err := s.loadShares(r, budgetKeys(group, r.writer)); err != nil {
		return nil, err
	}
	return r, s.loadAttempts(r, slices.Concat(attemptKeys(group), r.lateKeys(group)))
}

func (s *sqliteSession) loadShares(r *rows, keys []budgetKey) error {
	for _, k := range keys {
		s.selectSpent.BindText(1, string(k.project))
		s.selectSpent.BindInt64(2, int64(k.day))
		s.selectSpent.BindInt64(3, int64(k.writer))
		if _, err := one(s.selectSpent, func(q *direct.Stmt) { r.readShare(&columns{Stmt: q}) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqliteSession) loadKept(r *rows, names []verify.RequestName) error {
	for _, name := range names {
		s.selectKept.BindBytes(1, name[:])
		if _, err := one(s.selectKept, func(q *direct.Stmt) {
			k := &row[verify.Kept]{stored: true}
			keptLayout.read(&columns{Stmt: q}, &k.value)
			r.keepAnswer(k)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqliteSession) loadPhones(r *rows, numbers []phone.Number) error {
	for _, n := range numbers {
		s.selectPhone.BindText(1, string(n))
		if _, err := one(s.selectPhone, func(q *direct.Stmt) { phoneLayout.read(&columns{Stmt: q}, &r.phone(n).value) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqliteSession) loadAttempts(r *rows, keys []attemptKey) error {
	for _, k := range keys {
		s.selectDelivery.BindBytes(1, k.verification[:])
		s.selectDelivery.BindInt64(2, int64(k.attempt))
		if _, err := one(s.selectDelivery, func(q *direct.Stmt) {
			a := &row[verify.Delivery]{stored: true}
			deliveryLayout.read(&columns{Stmt: q}, &a.value)
			r.attempts[k] = a
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqliteSession) loadVerifications(r *rows, ids []verify.ID) error {
	for _, id := range ids {
		if known, ok := s.verifications.Get(id); ok {
			r.verifications[id] = &row[verify.Verification]{value: *known, stored: true}
			continue
		}
		s.selectVerification.BindBytes(1, id[:])
		v := &row[verify.Verification]{stored: true}
		var damaged error
		ok, err := one(s.selectVerification, func(q *direct.Stmt) { damaged = verificationLayout.read(&columns{Stmt: q}, &v.value) })
		if err != nil || damaged != nil {
			return errors.Join(err, damaged)
		}
		if ok {
			r.verifications[id] = v
		}
	}
	return nil
}

// loadUsers reads users and whose applications theirs are.
func (s *sqliteSession) loadUsers(r *rows, keys []userKey) error {
	for _, id := range applicationIDs(keys) {
		s.selectHome.BindBytes(1, id[:])
		if _, err := one(s.selectHome, func(q *direct.Stmt) { r.applications[id] = home{verify.ProjectID(q.ColumnText(0)), q.ColumnInt64(1)} }); err != nil {
			return err
		}
	}
	for _, k := range keys {
		s.selectUser.BindBytes(1, k.application[:])
		s.selectUser.BindText(2, k.name)
		var damaged error
		if _, err := one(s.selectUser, func(q *direct.Stmt) {
			u := &row[verify.User]{stored: true}
			damaged = userLayout.read(&columns{Stmt: q}, &u.value)
			r.users[k] = u
		}); err != nil || damaged != nil {
			return errors.Join(err, damaged)
		}
	}
	return nil
}

func (s *sqliteSession) save(_ context.Context, r *rows) error {
	for _, d := range r.destinations {
		if d.dirty {
			if err := s.saveDestination(&d.value, d.stored); err != nil {
				return err
			}
		}
	}
	for _, p := range r.phones {
		if p.dirty {
			if err := write(s.upsertPhone, phoneLayout, &p.value); err != nil {
				return err
			}
		}
	}
	for _, k := range r.kept {
		if k.dirty {
			if err := write(s.upsertKept, keptLayout, &k.value); err != nil {
				return err
			}
		}
	}
	for k, u := range r.users {
		if err := s.saveUser(k, u); err != nil {
			return err
		}
	}
	for _, v := range r.verifications {
		if v.dirty {
			if err := s.saveVerification(&v.value, v.stored); err != nil {
				return err
			}
		}
	}
	for i := range r.deliveries {
		if err := s.saveDelivery(&r.deliveries[i]); err != nil {
			return err
		}
	}
	for _, a := range r.attempts {
		if a.dirty {
			if err := s.saveReceipt(&a.value); err != nil {
				return err
			}
		}
	}
	for i := range r.audits {
		if err := write(s.insertAudit, auditLayout, &r.audits[i]); err != nil {
			return err
		}
	}
	for i := range r.used { // of writer 0: the file has one at a time
		if err := write(s.upsertUsed, usedLayout, &r.used[i]); err != nil {
			return err
		}
	}
	for i := range r.spent {
		if err := write(s.upsertSpent, spentLayout, &r.spent[i]); err != nil {
			return err
		}
	}
	for _, h := range r.drops {
		if err := bindHint(s.deleteHint, h); err != nil {
			return err
		}
	}
	for _, h := range r.hints {
		if err := bindHint(s.insertHint, h); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqliteSession) saveVerification(v *verify.Verification, stored bool) error {
	if stored {
		return write(s.updateVerification, changeLayout, v)
	}
	return write(s.insertVerification, verificationLayout, v)
}

func (s *sqliteSession) saveDestination(d *verify.Destination, stored bool) error {
	if stored {
		return write(s.updateDestination, destinationLayout, d)
	}
	return write(s.insertDestination, destinationLayout, d)
}

func (s *sqliteSession) saveUser(k userKey, u *row[verify.User]) error {
	switch {
	case u.gone && !u.stored, !u.gone && !u.dirty:
		return nil
	case u.gone:
		b := binder{Stmt: s.deleteUser}
		b.blob(k.application[:])
		b.text(k.name)
		return exec(b.Stmt)
	}
	return write(s.upsertUser, userLayout, &u.value)
}

func (s *sqliteSession) saveDelivery(d *verify.Delivery) error {
	if more(d) {
		return write(s.insertCall, endedCallLayout, d)
	}
	return write(s.insertDelivery, endedLayout, d)
}

func (s *sqliteSession) saveReceipt(d *verify.Delivery) error {
	return write(s.insertReceipt, receivedLayout, d)
}

func bindHint(q *direct.Stmt, h hint) error {
	q.BindInt64(1, millis(h.due))
	q.BindBytes(2, h.id[:])
	return exec(q)
}

// write runs a statement whose parameters are a row's columns.
func write[T any](q *direct.Stmt, l layout[T], v *T) error {
	if err := l.write(&binder{Stmt: q}, v); err != nil {
		return err
	}
	return exec(q)
}

// exec runs a statement that returns no rows, or none of interest.
func exec(q *direct.Stmt) error {
	_, err := one(q, nil)
	return err
}

// one runs a statement and reads its first row, if there is one.
func one(q *direct.Stmt, read func(*direct.Stmt)) (ok bool, err error) {
	ok, err = q.Step()
	if ok && read != nil {
		read(q)
	}
	if again := q.Reset(); err == nil {
		err = again
	}
	return ok, err
}

// A binder sets a statement's parameters in their order.
type binder struct {
	*direct.Stmt
	n int
}

func (b *binder) next() int      { b.n++; return b.n }
func (b *binder) text(s string)  { b.BindText(b.next(), s) }
func (b *binder) number(n int64) { b.BindInt64(b.next(), n) }
func (b *binder) blob(p []byte) {
	if p == nil {
		b.BindNull(b.next())
		return
	}
	b.BindBytes(b.next(), p)
}

// columns reads a row's columns in their order.
type columns struct {
	*direct.Stmt
	n int
}

func (c *columns) next() int        { c.n++; return c.n - 1 }
func (c *columns) text() string     { return c.ColumnText(c.next()) }
func (c *columns) number() int64    { return c.ColumnInt64(c.next()) }
func (c *columns) id(id *verify.ID) { c.ColumnBytes(c.next(), id[:]) }
func (c *columns) blob() []byte {
	i := c.next()
	n := c.ColumnLen(i)
	if n == 0 {
		return nil
	}
	p := make([]byte, n)
	c.ColumnBytes(i, p)
	return p
}
