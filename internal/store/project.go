package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// ProjectDeleted is the action of the audit's entry about a project that was deleted. No other project gets its id.
const ProjectDeleted = "project delete"

// ErrPending refuses to delete a project that has verifications under way.
var ErrPending = errors.New("verifications are pending")

// DeleteProject deletes a project and all that is made for it: its keys, applications with their users, templates, and
// what it remembers of numbers. It works in steps, between which other writes go on, and an error leaves a project
// without keys: delete it again.
//
// The first step deletes the keys, together with the audit's entry, and settle is how long servers may still remember
// these. Then it cancels the pending verifications. If there were some before, it does nothing without force, and fails
// with [ErrPending]. Users of applications are left to [Store.FinishDeletions], and verifications to [Store.Retain]. What was
// used, its ledger and the audit log stay. It fails with [verify.ErrNoProject].
func (s *Store) DeleteProject(ctx context.Context, id verify.ProjectID, force bool, settle time.Duration, by Audit) (canceled int, err error) {
	if !force {
		n, err := s.pendingOf(ctx, id)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			return 0, fmt.Errorf("%w: %d", ErrPending, n)
		}
	}
	by.ID, by.Project = verify.NewID(s.now()), id
	if err := s.closeProject(&by); err != nil {
		return 0, fmt.Errorf("delete project %s: %w", id, err)
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settle):
	}
	if canceled, err = s.cancelAll(id, by); err != nil {
		return canceled, err
	}
	for _, step := range []func(ctx context.Context, tx *sql.Tx, most int) (sql.Result, error){
		deleteApplications(id), deleteOf(id, "message_template", "id"), deleteOf(id, "text_template", "id"),
		deleteOf(id, "destination", "number"), deleteOf(id, "kept_count", "hour"),
	} {
		if err := s.deleteInSteps(ctx, id, step); err != nil {
			return canceled, fmt.Errorf("delete project %s: %w", id, err)
		}
	}
	return canceled, s.aloneOf(id, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM budget WHERE project = $1 OR country <> '' AND project = $1 || '/' || country`, id); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `DELETE FROM project WHERE id = $1`, id)
		if err := changedOne(result, err, verify.ErrNoProject); err != nil {
			return fmt.Errorf("delete project %s: %w", id, err)
		}
		return nil
	})
}

// closeProject takes a project's keys, and writes the audit's entry, whose detail then says how many they were.
func (s *Store) closeProject(by *Audit) error {
	return s.aloneOf(by.Project, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		p, err := lockedProject(ctx, tx, by.Project)
		if err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `DELETE FROM api_key WHERE project = $1`, p.ID)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return err
		}
		by.Detail = fmt.Sprintf("%q, %d keys", p.Name, n)
		return audit(ctx, tx, *by)
	})
}

// pendingOf counts a project's pending verifications.
func (s *Store) pendingOf(ctx context.Context, p verify.ProjectID) (n int, err error) {
	const what = "count pending verifications"
	err = eachPage(ctx, s.upkeep, what, "id, project, app_user, status, expires_at", scanPending, idOf, oldestPending(s.now()), func(_ verify.ID, page []verify.Verification) error {
		var own []*verify.Verification
		for i := range page {
			if v := &page[i]; v.Project == p && v.Status == verify.StatusPending && s.now().Before(v.ExpiresAt) {
				own = append(own, v)
			}
		}
		if err := s.supersessions(ctx, s.upkeep, own); err != nil {
			return away(what, err)
		}
		for _, v := range own {
			if !v.Superseded {
				n++
			}
		}
		return nil
	})
	return n, err
}

func scanPending(row scanner) (v verify.Verification, err error) {
	var id []byte
	var expires int64
	err = row.Scan(&id, &v.Project, &v.User, &v.Status, &expires)
	copy(v.ID[:], id)
	v.ExpiresAt = fromMillis(expires)
	return v, err
}

// cancelAll cancels a project's pending verifications in steps, and keeps the audit's entry up to date.
func (s *Store) cancelAll(p verify.ProjectID, by Audit) (canceled int, err error) {
	detail := by.Detail
	for after := oldestPending(s.now()); !after.IsZero(); {
		var last verify.ID
		var n int
		if err := s.aloneOf(p, func(ctx context.Context, tx *sql.Tx, now time.Time) (err error) { // may run again
			if last, n, err = voidSome(ctx, tx, after, p, now); err != nil || n == 0 {
				return err
			}
			by.Detail = fmt.Sprintf("%s, canceled %d pending verifications", detail, canceled+n)
			return audit(ctx, tx, by)
		}); err != nil {
			return canceled, err
		}
		after, canceled = last, canceled+n
	}
	return canceled, nil
}

// deleteInSteps runs a step until it finds nothing.
func (s *Store) deleteInSteps(ctx context.Context, p verify.ProjectID, step func(ctx context.Context, tx *sql.Tx, most int) (sql.Result, error)) error {
	return inSteps(ctx, func(most int) (more bool, err error) {
		err = s.aloneOf(p, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
			result, err := step(ctx, tx, most)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			more = n > 0
			return err
		})
		return more, err
	})
}

// deleteOf deletes some rows of a project in a table.
func deleteOf(p verify.ProjectID, table, key string) func(context.Context, *sql.Tx, int) (sql.Result, error) {
	return func(ctx context.Context, tx *sql.Tx, most int) (sql.Result, error) {
		return tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE project = $1 AND `+key+` IN
			(SELECT `+key+` FROM `+table+` WHERE project = $1 ORDER BY `+key+` LIMIT $2)`, p, most)
	}
}

// deleteApplications deletes some applications of a project, and leaves a note so that their users go as well.
func deleteApplications(p verify.ProjectID) func(context.Context, *sql.Tx, int) (sql.Result, error) {
	const some = `SELECT id FROM application WHERE project = $1 ORDER BY id LIMIT $2`
	return func(ctx context.Context, tx *sql.Tx, most int) (sql.Result, error) {
		if _, err := tx.ExecContext(ctx, `INSERT INTO deleted_application (id) `+some, p, most); err != nil {
			return nil, err
		}
		return tx.ExecContext(ctx, `DELETE FROM application WHERE project = $1 AND id IN (`+some+`)`, p, most)
	}
}
