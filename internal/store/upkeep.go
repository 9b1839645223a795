package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// sweepLag is how far behind the clock the sweeper reads. Behind it hardly a verification appears any
// more, for Verification.Begin refuses ids that old; one that does leaves a hint: see Store.Start.
const sweepLag = 5 * time.Second

// appearWait is how long a message waits whose row appeared after its lease had ended. Its COMMIT may have
// hung: then the replica that got no answer is about to cancel it, see [abandoned].
const appearWait = 2 * lastLook

// sweepStep and retainStep bound how long other writes wait.
const (
	sweepStep  = 2000
	retainStep = 500
)

// Sweep reads the verifications that were started since the last sweep, once each, and leaves a
// hint for every one whose message is still open: whoever had the lease may have died.
func (s *Store) Sweep(ctx context.Context) error {
	to := verify.FirstID(s.now().Add(-sweepLag))
	for announced := false; ; announced = true {
		if idle, err := s.nothingBefore(ctx, to); err != nil || idle {
			return err
		}
		if !announced && s.announce != nil {
			if err := s.announce(ctx, to); err != nil {
				return away("announce a sweep", err)
			}
		}
		if err := s.sweepSome(to); err != nil {
			return err
		}
	}
}

// sweepSome does one step.
func (s *Store) sweepSome(to verify.ID) error {
	var first time.Time
	err := s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		late, then := int64(0), millis(now.Add(appearWait))
		if s.postgres {
			late = millis(now.Add(-sweepLag))
		}
		step, err := query(ctx, tx, scanID, `SELECT id FROM verification
			WHERE id > (SELECT id FROM watermark WHERE name = 'sweep') AND id < $1 ORDER BY id LIMIT $2`, to[:], sweepStep)
		if err != nil || len(step) == 0 {
			return err
		}
		last := step[len(step)-1]
		first = step[0].Time()
		if _, err := tx.ExecContext(ctx, `INSERT INTO retry (due, id) SELECT CASE WHEN due_at < $2 THEN $3 ELSE due_at END, id FROM verification
			WHERE id > (SELECT id FROM watermark WHERE name = 'sweep') AND id <= $1 AND delivery IN (0, 1)
			ORDER BY 1, 2 ON CONFLICT DO NOTHING`, last[:], late, then); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE watermark SET id = $1 WHERE name = 'sweep'`, last[:])
		return err
	})
	if !first.IsZero() {
		s.sweptFrom.add(first) // an error may hide a commit
	}
	return err
}

// An earliest is the oldest start whose hint a sweep of ours has left since the last look at all hints. A
// sweep that was late leaves hints that were due long ago.
type earliest struct {
	mu sync.Mutex // guards at
	at time.Time  // zero: none
}

func (e *earliest) add(at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at.IsZero() || at.Before(e.at) {
		e.at = at
	}
}

// take forgets it, and returns it if it is before another time.
func (e *earliest) take(other time.Time) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.at.IsZero() && e.at.Before(other) {
		other = e.at
	}
	e.at = time.Time{}
	return other
}

func scanDestinationKey(row scanner) (k destinationKey, err error) {
	err = row.Scan(&k.project, &k.number)
	return k, err
}

func scanID(row scanner) (id verify.ID, err error) {
	var p []byte
	err = row.Scan(&p)
	copy(id[:], p)
	return id, err
}

// nothingBefore spares an idle server the sweeper's writes.
func (s *Store) nothingBefore(ctx context.Context, to verify.ID) (bool, error) {
	_, err := pool.One(ctx, s.upkeep, scanID, `SELECT id FROM verification
		WHERE id > (SELECT id FROM watermark WHERE name = 'sweep') AND id < $1 LIMIT 1`, to[:])
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return false, away("look for rows to sweep", err)
	}
	return false, nil
}

// Due returns the verifications of up to n hints behind another one, whose message somebody should look at
// now. It reads them in a few statements, but for those that the caller remembers; nil remembers none. next is the last
// hint that it read, or zero at the end.
func (s *Store) Due(ctx context.Context, after verify.Hint, n int, remembered func(verify.Hint) (verify.Overdue, bool)) (due []verify.Overdue, next verify.Hint, err error) {
	if from := after.Due; after.ID.IsZero() { // a look begins
		after.Due = s.sweptFrom.take(from)
		defer func() {
			if err != nil && after.Due.Before(from) {
				s.sweptFrom.add(after.Due)
			}
		}()
	}
	hints, err := pool.All(ctx, s.hot, scanHint, `SELECT due, id FROM retry WHERE due <= $1 AND (due, id) > ($2, $3)
		ORDER BY due, id LIMIT $4`, millis(s.now()), millis(after.Due), after.ID[:], n)
	if err != nil {
		return nil, next, away("load due messages", err)
	}
	if len(hints) == 0 {
		return nil, next, nil
	}
	found := make(map[verify.ID]verify.Overdue, len(hints))
	var unknown []verify.ID
	for _, h := range hints {
		if remembered != nil {
			if o, ok := remembered(verify.Hint{Due: h.due, ID: h.id}); ok {
				found[h.id] = o
				continue
			}
		}
		unknown = append(unknown, h.id)
	}
	if err := s.overdue(ctx, unknown, found); err != nil {
		return nil, next, away("load due messages", err)
	}
	var gone []op
	for _, h := range hints {
		o, ok := found[h.id]
		switch {
		case ok && s.fenced(o.Verification.Project): // its messages are the other database's, and this hint goes with them
			continue
		case !ok: // retention was faster
			gone = append(gone, op{apply: func(r *rows, _ time.Time) error { r.drop(h); return nil }})
			continue
		}
		o.Hint = h.due
		due = append(due, o)
	}
	if err := s.w.doAll(gone); err != nil {
		return nil, next, err
	}
	if len(hints) == n {
		next = verify.Hint{Due: hints[n-1].due, ID: hints[n-1].id}
	}
	return due, next, nil
}

// overdue reads what hints are about into found. A row that can't be read doesn't hide the others.
func (s *Store) overdue(ctx context.Context, named []verify.ID, found map[verify.ID]verify.Overdue) error {
	if len(named) == 0 {
		return nil
	}
	among, ids := s.among(named)
	verifications, err := pool.All(ctx, s.hot, readable(verificationLayout.scan), `SELECT `+verificationLayout.names()+` FROM verification WHERE id IN `+among, ids)
	if err != nil {
		return err
	}
	rows, tried := make([]*verify.Verification, len(verifications)), named[:0:0]
	for i := range verifications {
		v := &verifications[i].row
		rows[i] = v
		if v.Attempt != 1 || v.Delivery != verify.DeliverySending { // else no attempt has ended
			tried = append(tried, v.ID)
		}
	}
	deliveries, err := s.ended(ctx, tried)
	if err != nil {
		return err
	}
	if err := s.supersessions(ctx, s.hot, rows); err != nil {
		return err
	}
	for i := range verifications {
		v := rows[i]
		found[v.ID] = verify.Overdue{Verification: v, Damaged: verifications[i].damage}
	}
	for i := range deliveries {
		d := &deliveries[i]
		if o, ok := found[d.row.Verification]; ok {
			o.Deliveries, o.Damaged = append(o.Deliveries, d.row), cmp.Or(o.Damaged, d.damage)
			found[d.row.Verification] = o
		}
	}
	return nil
}

// ended reads the attempts of some verifications that have ended, oldest first.
func (s *Store) ended(ctx context.Context, of []verify.ID) ([]read[verify.Delivery], error) {
	if len(of) == 0 {
		return nil, nil
	}
	among, ids := s.among(of)
	return pool.All(ctx, s.hot, readable(deliveryLayout.scan), selectDeliveries+`
		WHERE verification IN `+among+` AND ended_at <> 0 ORDER BY verification, attempt`, ids)
}

// supersessions finds out which of the verifications that were read are still their users' current ones.
func (s *Store) supersessions(ctx context.Context, p *pool.Pool, all []*verify.Verification) error {
	var named []verify.ID
	for _, v := range all {
		if v.User != "" {
			named = append(named, v.ID)
		}
	}
	if named == nil {
		return nil
	}
	among, ids := s.among(named)
	pairs, err := pool.All(ctx, p, scanLatest, `SELECT v.id, u.latest FROM verification v JOIN application a ON a.id = v.application
		JOIN app_user u ON u.application = v.application AND u.name = v.app_user WHERE v.app_user <> '' AND v.id IN `+among, ids)
	if err != nil {
		return err
	}
	latest := map[verify.ID]verify.ID{}
	for _, pair := range pairs {
		latest[pair[0]] = pair[1]
	}
	for _, v := range all {
		if v.User != "" {
			current, ok := latest[v.ID]
			u := verify.User{Current: current}
			v.Superseded = !ok || u.Supersedes(v)
		}
	}
	return nil
}

// among is a set of ids for IN, and its parameter, in the words of the engine.
func (s *Store) among(named []verify.ID) (set string, ids any) {
	if s.postgres {
		all := make([][]byte, len(named))
		for i := range named {
			all[i] = named[i][:]
		}
		return `(SELECT unnest($1::bytea[]))`, all
	}
	all := make([]string, len(named))
	for i := range named {
		all[i] = hex.EncodeToString(named[i][:])
	}
	return `(SELECT unhex(value) FROM json_each('["' || replace($1, ' ', '","') || '"]'))`, strings.Join(all, " ")
}

// A read row may be damaged: then only its key is known.
type read[T any] struct {
	row    T
	damage error
}

func readable[T any](scan func(scanner) (T, error)) func(scanner) (read[T], error) {
	return func(row scanner) (r read[T], err error) {
		r.row, r.damage = scan(row)
		return r, nil
	}
}

func scanLatest(row scanner) (pair [2]verify.ID, err error) {
	var id, latest []byte
	err = row.Scan(&id, &latest)
	copy(pair[0][:], id)
	copy(pair[1][:], latest)
	return pair, err
}

func scanHint(row scanner) (h hint, err error) {
	var due int64
	var id []byte
	err = row.Scan(&due, &id)
	copy(h.id[:], id)
	h.due = fromMillis(due)
	return h, err
}

// selectHere passes over what is left of a project that has moved to another database.
var selectHere = selectVerification + ` AND NOT EXISTS (SELECT 1 FROM project_move m WHERE m.project = verification.project AND m.state IN ('leaving', 'moved'))`

// Verification reads one verification, of any project, or fails with [verify.ErrNotFound], also where it is erased.
func (s *Store) Verification(ctx context.Context, id verify.ID) (*verify.Verification, error) {
	v, err := s.read(ctx, selectHere, id)
	if err == nil && v.Erased() {
		return nil, verify.ErrNotFound
	}
	return v, err
}

// stored reads a verification as it is stored.
func (s *Store) stored(ctx context.Context, id verify.ID) (*verify.Verification, error) {
	return s.read(ctx, selectVerification, id)
}

func (s *Store) read(ctx context.Context, text string, id verify.ID) (*verify.Verification, error) {
	v, err := pool.One(ctx, s.hot, verificationLayout.scan, text, id[:])
	if errors.Is(err, sql.ErrNoRows) {
		return nil, verify.ErrNotFound
	}
	if err != nil {
		return nil, away("load verification", err)
	}
	if err := s.supersession(ctx, &v); err != nil {
		return nil, err
	}
	return &v, nil
}

// Deliveries reads the attempts of a verification's message that have ended, oldest first.
func (s *Store) Deliveries(ctx context.Context, id verify.ID) ([]verify.Delivery, error) {
	all, err := pool.All(ctx, s.hot, deliveryLayout.scan, selectDeliveries+` WHERE verification = $1 AND ended_at <> 0 ORDER BY attempt`, id[:])
	if err != nil {
		return nil, away("load deliveries", err)
	}
	return all, nil
}

// Retain deletes the verifications that were started before an instant and have ended, and the
// destinations that then have nothing left to remember. It works in small steps, between which
// other writes go on, and returns how many verifications it deleted.
func (s *Store) Retain(ctx context.Context, before time.Time) (deleted int, err error) {
	s.witness.forget(before)
	var after verify.ID
	err = inSteps(ctx, func(most int) (more bool, err error) {
		n, last, err := s.retainSome(after, verify.FirstID(before), most)
		if err != nil || last.IsZero() {
			return false, err
		}
		deleted, after = deleted+n, last
		return true, nil
	})
	if err != nil {
		return deleted, err
	}
	return deleted, errors.Join(s.purge(ctx), s.releasePhones(ctx), s.forgetAnswers(ctx), s.keyNumbers(ctx), s.foldSpending(ctx))
}

// stepTries is how often a step is tried, each time with an eighth of the rows.
const stepTries = 4

// inSteps calls step with how many rows it may look at, until it reports that there are no more. A step
// that the database didn't answer in time is tried again with fewer rows, for otherwise one slow
// step would end the whole work each time. Later steps grow again.
func inSteps(ctx context.Context, step func(most int) (more bool, err error)) error {
	most, failed := retainStep, 0
	for ctx.Err() == nil {
		began := time.Now()
		more, err := step(most)
		switch {
		case err == nil && !more:
			return nil
		case err == nil:
			most, failed = min(2*most, retainStep), 0
			continue
		}
		failed++
		if failed == stepTries || !errors.Is(err, verify.ErrNoStore) && !errors.Is(err, verify.ErrBusy) {
			return err
		}
		most = max(most/8, 1)
		rest(ctx, time.Since(began))
	}
	return ctx.Err()
}

// rest waits, but for at most a second.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(min(d, time.Second)):
	}
}

// retainSome does one step behind after. It returns the last row that it looked at, or zero when
// there was none.
func (s *Store) retainSome(after, before verify.ID, most int) (deleted int, last verify.ID, err error) {
	err = s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		deleted, last = 0, verify.ID{}
		step, err := query(ctx, tx, scanID, `SELECT id FROM verification WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3`,
			after[:], before[:], most)
		if err != nil || len(step) == 0 {
			return err
		}
		last = step[len(step)-1]
		result, err := tx.ExecContext(ctx, `DELETE FROM verification
			WHERE id > $1 AND id <= $2 AND NOT (status = 0 AND expires_at > $3)`, after[:], last[:], millis(now))
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return err
		}
		deleted = int(n)
		_, err = tx.ExecContext(ctx, `DELETE FROM delivery WHERE verification > $1 AND verification <= $2
			AND NOT EXISTS (SELECT 1 FROM verification v WHERE v.id = delivery.verification)`, after[:], last[:])
		return err
	})
	return deleted, last, err
}

// purge deletes the destinations that have nothing left to remember: they are idle, and their latest
// verification is gone.
func (s *Store) purge(ctx context.Context) error {
	var after destinationKey
	return inSteps(ctx, func(most int) (more bool, err error) {
		began := time.Now()
		last, err := s.purgeSome(ctx, after, most)
		if err != nil || last == (destinationKey{}) {
			return false, err
		}
		after = last
		rest(ctx, 4*time.Since(began)) // there may be millions of numbers, and nobody waits for this: take a fifth of a core
		return true, nil
	})
}

// purgeSome does one step behind after. It returns the last row that it looked at, or zero when there was
// none. A step is so many rows that it looks at, not that it finds: nearly all may have to stay, and a
// query that goes on until it has found enough would read millions. It reads beside the writer, which only
// gets what there is to delete.
func (s *Store) purgeSome(ctx context.Context, after destinationKey, most int) (last destinationKey, err error) {
	// PostgreSQL doesn't stop at an upper bound of two columns: LIMIT stops it. If a number is inserted
	// between the two queries, one at the end of the step waits for the next purge.
	var rows = `FROM (SELECT ` + destinationLayout.names() + ` FROM destination
		WHERE (project, number) > ($1, $2) ORDER BY project, number LIMIT $3) step`
	var end = `SELECT project, number ` + rows + ` ORDER BY project DESC, number DESC LIMIT 1`
	var orphans = `SELECT ` + destinationLayout.names() + ` ` + rows + ` WHERE failures = 0
		AND NOT EXISTS (SELECT 1 FROM verification WHERE id = latest) ORDER BY project, number`
	last, err = pool.One(ctx, s.upkeep, scanDestinationKey, end, after.project, after.number, most)
	if errors.Is(err, sql.ErrNoRows) {
		return destinationKey{}, nil
	}
	if err != nil {
		return last, away("look for numbers to forget", err)
	}
	step, err := readAll(ctx, s.upkeep, destinationLayout.scan, orphans, after.project, after.number, most)
	if err != nil || len(step) == 0 {
		return last, err
	}
	return last, s.forgetIdle(step, most)
}

// forgetIdle deletes those of some destinations that are idle, by one statement: each more would be a way
// to the server and back. It has as many places for any step of a size, so that there are few texts.
func (s *Store) forgetIdle(step []verify.Destination, most int) error {
	// Its latest verification is still gone, so nothing was started since it was read.
	places := make([]string, most)
	for i := range places {
		places[i] = fmt.Sprintf("($%d, $%d)", 2*i+1, 2*i+2)
	}
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		idle := slices.DeleteFunc(slices.Clone(step), func(d verify.Destination) bool { return !d.Idle(now) })
		if len(idle) == 0 {
			return nil
		}
		var keys []any
		for i := range most {
			d := &idle[min(i, len(idle)-1)]
			keys = append(keys, d.Project, d.Number)
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM destination WHERE failures = 0 AND (project, number) IN (VALUES `+strings.Join(places, ", ")+`)
			AND NOT EXISTS (SELECT 1 FROM verification WHERE id = destination.latest)`, keys...)
		return err
	})
}
