package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/internal/verify"
)

// A postgresSession runs groups on a connection of its own, with one statement for each table and
// kind, whose parameters are arrays. Statements that don't need each other's answer share a round
// trip. The connection is made when it is needed, and again after it broke.
type postgresSession struct {
	config *pgx.ConnConfig
	server *server
	conn   *pgx.Conn
}

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
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return err
	}
	if err := s.server.admit(ctx, conn); err != nil {
		conn.Close(ctx)
		return err
	}
	s.conn = conn
	return nil
}

func (s *postgresSession) commit(ctx context.Context, _ *rows) error {
	tag, err := s.conn.Exec(ctx, "COMMIT")
	if err == nil && tag.String() != "COMMIT" {
		err = fmt.Errorf("commit: the server answered %s", tag)
	}
	return err
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

// Locks are taken in the order of DESIGN.md, destinations before verifications, each sorted by key:
// transactions of different writers can't deadlock. A verification's destination never changes, so it
// is looked up before it is locked.
const (
	pgBegin = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`
	// See Store.announceSweep. It must stand before pgMarks.
	pgGate  = `LOCK TABLE sweep_gate IN ROW EXCLUSIVE MODE`
	pgMarks = `SELECT name, id FROM watermark WHERE name IN ('announced', 'void')`

	pgLockDestinations = `WITH k AS (
			SELECT project, destination AS number FROM verification WHERE id = ANY ($1::bytea[])
			UNION SELECT * FROM unnest($2::text[], $3::text[]))
		SELECT d.project, d.number, d.tat, d.sends, d.failures, d.wait_until, d.latest
		FROM k JOIN destination d ON d.project = k.project AND d.number = k.number
		ORDER BY d.project, d.number FOR UPDATE OF d`
	pgLockVerifications = `SELECT ` + verificationColumns + ` FROM verification WHERE id = ANY ($1::bytea[]) ORDER BY id FOR UPDATE`

	pgUpdateDestinations = `UPDATE destination d
		SET tat = n.tat, sends = n.sends, failures = n.failures, wait_until = n.wait_until, latest = n.latest
		FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bytea[])
			AS n (project, number, tat, sends, failures, wait_until, latest)
		WHERE d.project = n.project AND d.number = n.number`
	pgInsertDestinations = `INSERT INTO destination (` + destinationColumns + `)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bytea[])
		ON CONFLICT DO NOTHING`
	pgInsertVerifications = `INSERT INTO verification (` + verificationColumns + `)
		SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
			$9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bytea[], $15::bytea[],
			$16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::text[], $21::bigint[], $22::bigint[], $23::bytea[])`
	pgUpdateVerifications = `UPDATE verification v
		SET status = n.status, guesses = n.guesses, ended_at = n.ended_at, delivery = n.delivery, reason = n.reason,
			attempt = n.attempt, due_at = n.due_at, code_sealed = n.code_sealed
		FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[], $9::bytea[])
			AS n (id, status, guesses, ended_at, delivery, reason, attempt, due_at, code_sealed)
		WHERE v.id = n.id`
	pgInsertDeliveries = `INSERT INTO delivery (verification, attempt, carrier, outcome, reason, ref, started_at, ended_at)
		SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[])
		ON CONFLICT DO NOTHING`
	pgInsertHints = `INSERT INTO retry (due, id) SELECT * FROM unnest($1::bigint[], $2::bytea[]) ON CONFLICT DO NOTHING`
	pgDeleteHints = `DELETE FROM retry r USING unnest($1::bigint[], $2::bytea[]) AS n (due, id) WHERE r.due = n.due AND r.id = n.id`
)

func (s *postgresSession) load(ctx context.Context, group []op) (*rows, error) {
	r := newRows(len(group))
	var projects, numbers []string // of starts
	var guessed [][]byte           // verifications whose destinations we need
	for _, o := range group {
		if o.destination != (destinationKey{}) {
			projects, numbers = append(projects, string(o.destination.project)), append(numbers, string(o.destination.number))
		}
		if o.withDestination {
			guessed = append(guessed, o.verification[:])
		}
	}
	var b pgx.Batch
	b.Queue(pgBegin)
	if projects != nil {
		b.Queue(pgGate)
	}
	b.Queue(pgMarks).Query(r.readMarks)
	if projects != nil || guessed != nil {
		b.Queue(pgLockDestinations, guessed, projects, numbers).Query(r.readDestinations)
	}
	if ids := verificationIDs(group); ids != nil {
		all := make([][]byte, len(ids))
		for i := range ids {
			all[i] = ids[i][:]
		}
		b.Queue(pgLockVerifications, all).Query(r.readVerifications)
	}
	if err := s.send(ctx, &b); err != nil {
		return nil, err
	}
	return r, nil
}

// send sends a batch in one round trip.
func (s *postgresSession) send(ctx context.Context, b *pgx.Batch) error {
	return s.conn.SendBatch(ctx, b).Close()
}

func (r *rows) readMarks(found pgx.Rows) error {
	var name string
	var id []byte
	_, err := pgx.ForEachRow(found, []any{&name, &id}, func() error {
		switch name {
		case "announced":
			copy(r.swept[:], id)
		case "void":
			copy(r.void[:], id)
		}
		return nil
	})
	return err
}

func (r *rows) readDestinations(found pgx.Rows) error {
	for found.Next() {
		d, err := scanDestination(found)
		if err != nil {
			return err
		}
		r.destinations[destinationKey{d.Project, d.Number}] = &row[verify.Destination]{value: d, stored: true}
	}
	return found.Err()
}

func (r *rows) readVerifications(found pgx.Rows) error {
	for found.Next() {
		v, err := scanVerification(found)
		if err != nil {
			return err
		}
		r.verifications[v.ID] = &row[verify.Verification]{value: v, stored: true}
	}
	return found.Err()
}

// save writes new rows in the order of their keys as well: two writers that insert the same ones wait
// for one another, in one direction only.
func (s *postgresSession) save(ctx context.Context, r *rows) error {
	var b pgx.Batch
	raced := false
	if err := saveDestinations(&b, r, &raced); err != nil {
		return err
	}
	saveVerifications(&b, r)
	saveDeliveries(&b, r)
	saveHints(&b, r)
	if b.Len() == 0 {
		return nil
	}
	if err := s.send(ctx, &b); err != nil {
		return err
	}
	if raced {
		return errRaced
	}
	return nil
}

// saveDestinations sets raced when somebody else has inserted one of the new rows meanwhile.
func saveDestinations(b *pgx.Batch, r *rows, raced *bool) error {
	var updated, inserted table
	for _, d := range dirty(r.destinations, destinationKey.compare) {
		sends, err := d.value.Sends.AppendBinary([]byte{})
		if err != nil {
			return err
		}
		t := &inserted
		if d.stored {
			t = &updated
		}
		t.text(string(d.value.Project))
		t.text(string(d.value.Number))
		t.number(millis(d.value.TAT))
		t.bytes(sends)
		t.number(int64(d.value.Failures))
		t.number(millis(d.value.WaitUntil))
		t.bytes(d.value.Latest[:])
		t.end()
	}
	updated.queue(b, pgUpdateDestinations)
	if q := inserted.queue(b, pgInsertDestinations); q != nil {
		q.Exec(func(tag pgconn.CommandTag) error {
			*raced = tag.RowsAffected() != int64(inserted.rows)
			return nil
		})
	}
	return nil
}

func saveVerifications(b *pgx.Batch, r *rows) {
	var updated, inserted table
	for _, row := range dirty(r.verifications, compareIDs) {
		v, t := &row.value, &updated
		if !row.stored {
			t = &inserted
		}
		t.bytes(v.ID[:])
		if !row.stored {
			t.text(string(v.Project))
			t.bytes(v.Application[:])
			t.text(string(v.Channel))
			t.text(string(v.To))
			t.text(string(v.Purpose))
			t.text(v.Sender)
			t.text(v.Text)
			t.text(string(v.Format))
			t.number(int64(v.Length))
			t.number(int64(v.MaxAttempts))
			t.number(millis(v.ExpiresAt))
			t.number(int64(v.KeyID))
			t.bytes(v.CodeMAC)
			t.bytes(v.Previous[:])
		}
		t.number(int64(v.Status))
		t.number(int64(v.Guesses))
		t.number(millis(v.EndedAt))
		t.number(int64(v.Delivery))
		t.text(v.Reason)
		t.number(int64(v.Attempt))
		t.number(millis(v.DueAt))
		t.bytes(v.SealedCode)
		t.end()
	}
	updated.queue(b, pgUpdateVerifications)
	inserted.queue(b, pgInsertVerifications)
}

func saveDeliveries(b *pgx.Batch, r *rows) {
	var t table
	for i := range r.deliveries {
		d := &r.deliveries[i]
		t.bytes(d.Verification[:])
		t.number(int64(d.Attempt))
		t.text(d.Carrier)
		t.number(int64(d.Outcome))
		t.text(d.Reason)
		t.text(d.Ref)
		t.number(millis(d.StartedAt))
		t.number(millis(d.EndedAt))
		t.end()
	}
	t.queue(b, pgInsertDeliveries)
}

// saveHints inserts before it deletes: while it waits for the sweeper, which inserts in the same
// order, it holds nothing that the sweeper could wait for. A hint that is dropped and left again stays.
func saveHints(b *pgx.Batch, r *rows) {
	var inserted, deleted table
	hints := sortedHints(r.hints)
	for _, h := range hints {
		inserted.hint(h)
	}
	for _, h := range sortedHints(r.drops) {
		if _, again := slices.BinarySearchFunc(hints, h, hint.compare); !again {
			deleted.hint(h)
		}
	}
	inserted.queue(b, pgInsertHints)
	deleted.queue(b, pgDeleteHints)
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

// A table is the parameters of a statement on many rows: an array for each column. Its methods add
// the columns of one row in their order, and end it.
type table struct {
	columns []column
	next    int // column of the row under way
	rows    int
}

// A column has one kind of value.
type column struct {
	texts   []string
	numbers []int64
	blobs   [][]byte
}

func (t *table) column() *column {
	if t.next == len(t.columns) {
		t.columns = append(t.columns, column{})
	}
	t.next++
	return &t.columns[t.next-1]
}

// text adds what may come from outside: PostgreSQL takes no byte 0 and nothing but UTF-8.
func (t *table) text(s string) {
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	}
	c := t.column()
	c.texts = append(c.texts, s)
}

func (t *table) number(n int64) {
	c := t.column()
	c.numbers = append(c.numbers, n)
}

// bytes adds a value, or NULL.
func (t *table) bytes(p []byte) {
	c := t.column()
	c.blobs = append(c.blobs, p)
}

func (t *table) hint(h hint) {
	t.number(millis(h.due))
	t.bytes(h.id[:])
	t.end()
}

func (t *table) end() { t.next, t.rows = 0, t.rows+1 }

// queue adds the statement to a batch, unless there are no rows for it.
func (t *table) queue(b *pgx.Batch, text string) *pgx.QueuedQuery {
	if t.rows == 0 {
		return nil
	}
	args := make([]any, len(t.columns))
	for i, c := range t.columns {
		switch {
		case c.texts != nil:
			args[i] = c.texts
		case c.numbers != nil:
			args[i] = c.numbers
		default:
			args[i] = c.blobs
		}
	}
	return b.Queue(text, args...)
}
