package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// sweepLag is how far behind the clock the sweeper reads. Behind it hardly a verification appears any
// more, for Verification.Begin refuses ids that old; one that does leaves a hint: see Store.Start.
const sweepLag = 5 * time.Second

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
	return s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		step, err := query(ctx, tx, scanID, `SELECT id FROM verification
			WHERE id > (SELECT id FROM watermark WHERE name = 'sweep') AND id < $1 ORDER BY id LIMIT $2`, to[:], sweepStep)
		if err != nil || len(step) == 0 {
			return err
		}
		last := step[len(step)-1]
		if _, err := tx.ExecContext(ctx, `INSERT INTO retry (due, id) SELECT due_at, id FROM verification
			WHERE id > (SELECT id FROM watermark WHERE name = 'sweep') AND id <= $1 AND delivery IN (0, 1)
			ORDER BY due_at, id ON CONFLICT DO NOTHING`, last[:]); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE watermark SET id = $1 WHERE name = 'sweep'`, last[:])
		return err
	})
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

// Due returns up to n verifications whose message somebody should look at now.
func (s *Store) Due(ctx context.Context, n int) ([]verify.Overdue, error) {
	hints, err := s.dueHints(ctx, n)
	if err != nil {
		return nil, err
	}
	var due []verify.Overdue
	var gone []hint
	for _, h := range hints {
		v, err := s.Verification(ctx, h.id)
		if errors.Is(err, verify.ErrNotFound) {
			gone = append(gone, h)
			continue
		}
		if err != nil {
			return nil, err
		}
		deliveries, err := s.Deliveries(ctx, h.id)
		if err != nil {
			return nil, err
		}
		due = append(due, verify.Overdue{Hint: h.due, Verification: v, Deliveries: deliveries})
	}
	for _, h := range gone { // retention was faster
		if err := s.w.do(op{apply: func(r *rows, _ time.Time) error { r.drop(h); return nil }}); err != nil {
			return nil, err
		}
	}
	return due, nil
}

func (s *Store) dueHints(ctx context.Context, n int) ([]hint, error) {
	hints, err := pool.All(ctx, s.hot, scanHint, `SELECT due, id FROM retry WHERE due <= $1 ORDER BY due, id LIMIT $2`, millis(s.now()), n)
	if err != nil {
		return nil, away("load due messages", err)
	}
	return hints, nil
}

func scanHint(row scanner) (h hint, err error) {
	var due int64
	var id []byte
	err = row.Scan(&due, &id)
	copy(h.id[:], id)
	h.due = fromMillis(due)
	return h, err
}

// Verification reads one verification, of any project, or fails with [verify.ErrNotFound].
func (s *Store) Verification(ctx context.Context, id verify.ID) (*verify.Verification, error) {
	v, err := pool.One(ctx, s.hot, scanVerification, selectVerification, id[:])
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
	all, err := pool.All(ctx, s.hot, scanDelivery, `SELECT `+deliveryColumns+` FROM delivery WHERE verification = $1 AND ended_at <> 0 ORDER BY attempt`, id[:])
	if err != nil {
		return nil, away("load deliveries", err)
	}
	return all, nil
}

// Retain deletes the verifications that were started before an instant and have ended, and the
// destinations that then have nothing left to remember. It works in small steps, between which
// other writes go on, and returns how many verifications it deleted.
func (s *Store) Retain(ctx context.Context, before time.Time) (deleted int, err error) {
	after := verify.ID{}
	for ctx.Err() == nil {
		n, last, err := s.retainSome(after, verify.FirstID(before))
		if err != nil {
			return deleted, err
		}
		if last.IsZero() {
			return deleted, errors.Join(s.purge(ctx), s.releasePhones(ctx))
		}
		deleted, after = deleted+n, last
	}
	return deleted, ctx.Err()
}

// retainSome does one step behind after. It returns the last row that it looked at, or zero when
// there was none.
func (s *Store) retainSome(after, before verify.ID) (deleted int, last verify.ID, err error) {
	err = s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		deleted, last = 0, verify.ID{}
		step, err := query(ctx, tx, scanID, `SELECT id FROM verification WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3`,
			after[:], before[:], retainStep)
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
	for ctx.Err() == nil {
		began := time.Now()
		last, err := s.purgeSome(ctx, after)
		if err != nil || last == (destinationKey{}) {
			return err
		}
		after = last
		select { // there may be millions of numbers, and nobody waits for this: take a fifth of a core
		case <-ctx.Done():
		case <-time.After(4 * time.Since(began)):
		}
	}
	return ctx.Err()
}

// purgeSome does one step behind after. It returns the last row that it looked at, or zero when there was
// none. A step is so many rows that it looks at, not that it finds: nearly all may have to stay, and a
// query that goes on until it has found enough would read millions. It reads beside the writer, which only
// gets what there is to delete.
func (s *Store) purgeSome(ctx context.Context, after destinationKey) (last destinationKey, err error) {
	// PostgreSQL doesn't stop at an upper bound of two columns: LIMIT stops it. If a number is inserted
	// between the two queries, one at the end of the step waits for the next purge.
	const rows = `FROM (SELECT ` + destinationColumns + ` FROM destination
		WHERE (project, number) > ($1, $2) ORDER BY project, number LIMIT $3) step`
	const end = `SELECT project, number ` + rows + ` ORDER BY project DESC, number DESC LIMIT 1`
	const orphans = `SELECT ` + destinationColumns + ` ` + rows + ` WHERE failures = 0
		AND NOT EXISTS (SELECT 1 FROM verification WHERE id = latest) ORDER BY project, number`
	last, err = pool.One(ctx, s.upkeep, scanDestinationKey, end, after.project, after.number, retainStep)
	if errors.Is(err, sql.ErrNoRows) {
		return destinationKey{}, nil
	}
	if err != nil {
		return last, away("look for numbers to forget", err)
	}
	step, err := readAll(ctx, s.upkeep, scanDestination, orphans, after.project, after.number, retainStep)
	if err != nil || len(step) == 0 {
		return last, err
	}
	return last, s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		for _, d := range step {
			if !d.Idle(now) {
				continue
			}
			// Its latest is still the same, so nothing was started since it was read.
			if _, err := tx.ExecContext(ctx, `DELETE FROM destination WHERE project = $1 AND number = $2 AND latest = $3 AND failures = 0`,
				d.Project, d.Number, d.Latest[:]); err != nil {
				return err
			}
		}
		return nil
	})
}
