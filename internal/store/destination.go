package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// Destination reads what a project remembers of a phone, whichever form of its number is given, or fails
// with [verify.ErrNoNumber]. A row from before there were keys stands under the form itself, and counts where the key
// has no row: only verifications of that time use it.
func (s *Store) Destination(ctx context.Context, p verify.ProjectID, n phone.Number) (verify.Destination, error) {
	for _, form := range slices.Compact([]phone.Number{n.Key(), n}) {
		d, err := pool.One(ctx, s.hot, destinationLayout.scan, selectDestination, p, form)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return d, away("load destination", err)
		}
		return d, nil
	}
	return verify.Destination{}, verify.ErrNoNumber
}

// DestinationsOf reads what each project remembers of a phone, as [Store.Destination] does for one. It is one question:
// the key of the table begins with the project, so the database looks the number up in each of them.
func (s *Store) DestinationsOf(ctx context.Context, n phone.Number) ([]verify.Destination, error) {
	rows, err := pool.All(ctx, s.lists, destinationLayout.scan, `SELECT `+destinationLayout.names()+` FROM destination
		WHERE project IN (SELECT id FROM project) AND number IN ($1, $2) ORDER BY project`, n.Key(), n)
	if err != nil {
		return nil, away("look a number up", err)
	}
	var all []verify.Destination
	for _, d := range rows {
		switch last := len(all) - 1; {
		case last < 0 || all[last].Project != d.Project:
			all = append(all, d)
		case d.Number == n.Key():
			all[last] = d
		}
	}
	return all, nil
}

// chainFrom is a WITH clause for the table chain: the ids of a number's verifications, from one to those before it, with their
// places in that order. first selects the first id and the place 1; condition is one for going on.
func chainFrom(first, condition string) string {
	return `WITH RECURSIVE chain (listed, nth) AS (` + first + ` UNION ALL SELECT v.previous, c.nth + 1 FROM chain c JOIN verification v ON v.id = c.listed` + condition + `)`
}

// selectHistory goes from a verification to those of the same number before it, $2 in all.
var selectHistory = chainFrom(`SELECT id, 1 FROM verification WHERE id = $1`, ` WHERE c.nth < $2`) +
	` SELECT ` + verificationLayout.of("v") + ` FROM chain JOIN verification v ON v.id = listed ORDER BY nth`

// History reads a number's verifications, the newest first, at most n. It ends before one that is past its retention or erased.
func (s *Store) History(ctx context.Context, d verify.Destination, n int) ([]verify.Verification, error) {
	if d.Latest.IsZero() || n < 1 {
		return nil, nil
	}
	all, err := pool.All(ctx, s.hot, verificationLayout.scan, selectHistory, d.Latest[:], n)
	if err != nil {
		return nil, away("load history", err)
	}
	if i := slices.IndexFunc(all, func(v verify.Verification) bool { return v.Erased() }); i >= 0 {
		all = all[:i]
	}
	read := make([]*verify.Verification, len(all))
	for i := range all {
		read[i] = &all[i]
	}
	return all, s.supersessions(ctx, s.hot, read)
}

// ResetDestination forgets a phone's wrong guesses because an operator or the project says so, and writes down
// who that was, in one transaction. It fails with [verify.ErrNoNumber]. Before there were keys, a form of a
// number had a row of its own, which is forgotten too.
func (s *Store) ResetDestination(_ context.Context, p verify.ProjectID, n phone.Number, actor string) error {
	return s.aloneOf(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		rows, failures := 0, 0
		for _, form := range slices.Compact([]phone.Number{n.Key(), n}) {
			d, err := destinationLayout.scan(tx.QueryRowContext(ctx, selectDestination, p, form))
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			rows, failures = rows+1, failures+d.Failures
			d.Clear()
			if _, err := tx.ExecContext(ctx, `UPDATE destination SET failures = $3, wait_until = $4 WHERE project = $1 AND number = $2`,
				p, form, d.Failures, millis(d.WaitUntil)); err != nil {
				return err
			}
		}
		if rows == 0 {
			return verify.ErrNoNumber
		}
		by := Audit{Actor: actor, Action: "destination reset", Detail: fmt.Sprintf("%s after %d wrong guesses", n.Masked(), failures)}
		return audits(ctx, tx, now, p, []Audit{by})
	})
}

// ResetSends forgets the messages to a number, so that a project's send limits begin again for it. Wrong guesses stay.
// It fails with [verify.ErrNoNumber].
func (s *Store) ResetSends(_ context.Context, p verify.ProjectID, n phone.Number, by ...Audit) error {
	return s.aloneOf(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		result, err := tx.ExecContext(ctx, `UPDATE destination SET tat = 0, sends = $4 WHERE project = $1 AND number IN ($2, $3)`, p, n.Key(), n, []byte{})
		if err != nil {
			return err
		}
		switch rows, err := result.RowsAffected(); {
		case err != nil:
			return err
		case rows == 0:
			return verify.ErrNoNumber
		}
		return audits(ctx, tx, now, p, by)
	})
}

// An Audit is one thing that an operator did.
type Audit struct {
	ID      verify.ID // its time is when
	Actor   string
	Action  string
	Project verify.ProjectID
	Detail  string // never a whole number, a code or a secret
}

// auditLayout has all columns. The first is the key.
var auditLayout = layout[Audit]{
	idColumn("id", func(a *Audit) *verify.ID { return &a.ID }),
	textColumn("actor", func(a *Audit) *string { return &a.Actor }),
	textColumn("action", func(a *Audit) *string { return &a.Action }),
	textColumn("project", func(a *Audit) *verify.ProjectID { return &a.Project }),
	textColumn("detail", func(a *Audit) *string { return &a.Detail }),
}

var insertAudit = `INSERT INTO audit (` + auditLayout.names() + `) VALUES (` + auditLayout.dollars() + `)`

// Record writes down what an operator did that changes nothing.
func (s *Store) Record(_ context.Context, a Audit) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		a.ID = verify.NewID(now)
		return audit(ctx, tx, a)
	})
}

// audits writes down who made a change to a project.
func audits(ctx context.Context, tx *sql.Tx, now time.Time, p verify.ProjectID, by []Audit) error {
	for _, a := range by {
		a.ID, a.Project = verify.NewID(now), p
		if err := audit(ctx, tx, a); err != nil {
			return err
		}
	}
	return nil
}

// audit writes an entry, or what has become of the one with its id.
func audit(ctx context.Context, tx *sql.Tx, a Audit) error {
	if _, err := tx.ExecContext(ctx, insertAudit+` ON CONFLICT (id) DO UPDATE SET detail = excluded.detail`, auditLayout.arguments(&a)...); err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	return nil
}

// Audits lists what operators did, the newest first, at most n.
func (s *Store) Audits(ctx context.Context, n int) ([]Audit, error) {
	return s.AuditsBefore(ctx, verify.ID{}, n)
}

// AuditsBefore lists what they did before an entry; before the zero id, all of it.
func (s *Store) AuditsBefore(ctx context.Context, before verify.ID, n int) ([]Audit, error) {
	if before.IsZero() {
		before = verify.ID(bytes.Repeat([]byte{0xff}, len(before)))
	}
	return readAll(ctx, s.lists, auditLayout.scan, `SELECT `+auditLayout.names()+` FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2`, before[:], n)
}
