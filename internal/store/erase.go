package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// An Erasure says what was kept of a number.
type Erasure struct {
	Verifications, Users int
	// Limited says that the number's row stays, because wrong guesses or messages of the last day still count.
	Limited bool
}

var (
	updateVerification = `UPDATE verification SET ` + verificationLayout.setDollars() + ` WHERE id = $1`
	selectChain        = chainFrom(`SELECT latest, 1 FROM destination WHERE project = $1 AND number = $2`, ``) + ` SELECT ` + verificationLayout.names() + ` FROM verification WHERE id IN (SELECT listed FROM chain) ORDER BY id`
	selectUsersOf      = `SELECT ` + userLayout.names() + ` FROM app_user WHERE number <> '' AND number = $1
		AND application IN (SELECT id FROM application WHERE project = $2) ORDER BY application, name`
)

// EraseDestination makes what a project keeps of a number anonymous, as [verify.Verification.Erase] does, takes the number from the users
// who have it, and writes the operator's name into the audit log, in one transaction. The number's row, which has its guesses and messages, stays
// for as long as a limit counts them: an erasure must not give new ones. It fails with [verify.ErrNoNumber] and with [verify.ErrUnderWay].
//
// Verifications aren't deleted. Usage is counted again from them, and a database that lacks a young one is taken for an older copy
// of itself.
func (s *Store) EraseDestination(_ context.Context, p verify.ProjectID, n phone.Number, actor string) (e Erasure, err error) {
	err = s.aloneFor(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		e = Erasure{}
		if err := s.eraseUsers(ctx, tx, p, n, &e, now); err != nil {
			return err
		}
		known := e.Users > 0
		forms := []phone.Number{n.Key(), n}
		slices.Sort(forms) // as others lock them
		for _, form := range slices.Compact(forms) {
			d, err := destinationLayout.scan(tx.QueryRowContext(ctx, selectDestination+s.locked(), p, form))
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err == nil {
				known, err = true, s.eraseForm(ctx, tx, d, &e, now)
			}
			if err != nil {
				return err
			}
		}
		if !known {
			return verify.ErrNoNumber
		}
		return audits(ctx, tx, now, p, []Audit{{Actor: actor, Action: "destination erase", Detail: fmt.Sprintf("%s, verifications: %d, users: %d", n.Masked(), e.Verifications, e.Users)}})
	})
	return e, err
}

// eraseUsers takes the number from its users.
func (s *Store) eraseUsers(ctx context.Context, tx *sql.Tx, p verify.ProjectID, n phone.Number, e *Erasure, now time.Time) error {
	users, err := query(ctx, tx, userLayout.scan, selectUsersOf+s.locked(), n.Key(), p)
	for i := range users {
		u := &users[i]
		u.Dissociate(nil, now) // its verification is erased with the number's
		if _, err := tx.ExecContext(ctx, upsertUser, userLayout.arguments(u)...); err != nil {
			return err
		}
	}
	e.Users = len(users)
	return err
}

// eraseForm erases the verifications of a form of the number. The lock of its row keeps others from starting one.
func (s *Store) eraseForm(ctx context.Context, tx *sql.Tx, d verify.Destination, e *Erasure, now time.Time) error {
	all, err := query(ctx, tx, verificationLayout.scan, selectChain+s.locked(), d.Project, d.Number)
	if err != nil {
		return err
	}
	for i := range all {
		v := &all[i]
		if err := v.Erase(now); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, updateVerification, verificationLayout.arguments(v)...); err != nil {
			return err
		}
		// By its reference, the carrier finds the number.
		if _, err := tx.ExecContext(ctx, `UPDATE delivery SET ref = '' WHERE verification = $1 AND ref <> ''`, v.ID[:]); err != nil {
			return err
		}
	}
	e.Verifications += len(all)
	text, args := `DELETE FROM destination WHERE project = $1 AND number = $2`, []any{d.Project, d.Number}
	if !d.Idle(now) {
		e.Limited = true
		text, args = `UPDATE destination SET latest = $3 WHERE project = $1 AND number = $2`, append(args, make([]byte, len(verify.ID{})))
	}
	_, err = tx.ExecContext(ctx, text, args...)
	return err
}
