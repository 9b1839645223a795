package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// forgetEnrolments is for a database that may be older than it was: a code that was used since would work again, for
// somebody who has found it.
const forgetEnrolments = `DELETE FROM enrolment`

// AddEnrolment implements [verify.EnrolmentStore].
func (s *Store) AddEnrolment(_ context.Context, k verify.UserKey, e verify.Enrolment) error {
	return s.aloneFor(k.Project, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if err := lockUser(ctx, tx, k); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO enrolment (application, app_user, hash, expires_at, api_key) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (application, app_user) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at, api_key = excluded.api_key`,
			k.Application[:], k.Name, e.Hash, millis(e.ExpiresAt), e.By[:]); err != nil {
			return err
		}
		return audits(ctx, tx, now, k.Project, []Audit{{Actor: keyActor(e.By), Action: "device invite", Detail: "a user of application " + k.Application.String()}})
	})
}

// Enrolment implements [verify.EnrolmentStore].
func (s *Store) Enrolment(ctx context.Context, hash []byte) (verify.UserKey, *verify.Application, error) {
	var k verify.UserKey
	k, err := pool.One(ctx, s.hot, func(row scanner) (k verify.UserKey, err error) {
		var id []byte
		var moving bool
		err = row.Scan(&id, &k.Name, &k.Project, &moving)
		if err == nil && moving {
			err = verify.ErrMoving
		}
		copy(k.Application[:], id)
		return k, err
	}, `SELECT e.application, e.app_user, a.project, `+isFenced("a.project")+` FROM enrolment e JOIN application a ON a.id = e.application AND a.version > 0
		WHERE e.hash = $1 AND e.expires_at > $2`, hash, millis(s.now()))
	if errors.Is(err, sql.ErrNoRows) {
		return k, nil, verify.ErrNoEnrolment
	}
	if err != nil {
		return k, nil, unlessMoving("look for an enrolment", err)
	}
	app, err := s.Application(ctx, k.Project, k.Application)
	if errors.Is(err, verify.ErrNoApplication) {
		err = verify.ErrNoEnrolment
	}
	return k, &app, err
}

// Enrol implements [verify.EnrolmentStore].
func (s *Store) Enrol(_ context.Context, k verify.UserKey, hash []byte, d verify.Device, most int) error {
	err := s.aloneFor(k.Project, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if err := lockUser(ctx, tx, k); err != nil {
			return err
		}
		by, err := scanID(tx.QueryRowContext(ctx, `DELETE FROM enrolment WHERE hash = $1 AND application = $2 AND app_user = $3 AND expires_at > $4 RETURNING api_key`,
			hash, k.Application[:], k.Name, millis(now)))
		if errors.Is(err, sql.ErrNoRows) {
			return verify.ErrNoEnrolment
		}
		if err != nil {
			return err
		}
		return addDevice(ctx, tx, now, k, d, most, "device enrol", by)
	})
	if errors.Is(err, verify.ErrNoUser) || errors.Is(err, verify.ErrNoApplication) {
		return verify.ErrNoEnrolment
	}
	return err
}
