package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/countersign/countersign/internal/verify"
)

// backupStep is how many pages are copied between two reports of progress.
const backupStep = 1000

// Backup writes a consistent copy of the database to a new file while others read and write: what
// was committed when it began. It calls progress with the pages copied so far and in all.
func (s *Store) Backup(ctx context.Context, path string, progress func(done, all int)) error {
	if s.postgres {
		return errors.New("this database is PostgreSQL's: back it up with its own tools, pg_basebackup or pg_dump")
	}
	return s.upkeep.Unlimited(ctx, func(conn *sql.Conn) error { return backup(ctx, conn, path, progress) })
}

func backup(ctx context.Context, conn *sql.Conn, path string, progress func(done, all int)) error {
	// A read transaction pins what is copied: without it, every write of others would start the
	// copy anew, and under load it would never end.
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	var one int
	if err := conn.QueryRowContext(ctx, "SELECT 1 FROM watermark").Scan(&one); err != nil {
		return err
	}
	return conn.Raw(func(raw any) error {
		b, err := raw.(interface {
			NewBackup(path string) (*sqlite.Backup, error)
		}).NewBackup(fileURI(path))
		if err != nil {
			return err
		}
		for more := true; more; {
			if err = ctx.Err(); err != nil {
				break
			}
			if more, err = b.Step(backupStep); err != nil {
				break
			}
			progress(b.PageCount()-b.Remaining(), b.PageCount())
		}
		if ended := b.Finish(); err == nil { // it repeats the error of a step
			err = ended
		}
		var refused *sqlite.Error
		if errors.As(err, &refused) && refused.Code()&0xff == sqlite3.SQLITE_FULL {
			return fmt.Errorf("write %s: %w", path, syscall.ENOSPC)
		}
		return err
	})
}

// VoidPending cancels every pending verification, because a database that was restored doesn't know the
// guesses that were spent since it was saved. It forgets enrolments too, which may have been used since. It writes down who did it, and returns how many there were.
// Others may work on the database meanwhile.
func (s *Store) VoidPending(_ context.Context, actor, action string) (voided int, err error) {
	return s.voidPending(Audit{Actor: actor, Action: action}, nil)
}

// voidPending does so in steps. Each step commits the audit's entry with it, so that the entry says how many
// there were also if the steps are stopped halfway. The last step commits finally, if there is one.
func (s *Store) voidPending(entry Audit, finally func(ctx context.Context, tx *sql.Tx) error) (voided int, err error) {
	entry.ID = verify.NewID(s.now())
	count := func(ctx context.Context, tx *sql.Tx, n int) error {
		entry.Detail = fmt.Sprintf("voided %d pending verifications", n)
		return audit(ctx, tx, entry)
	}
	if s.markVoid != nil {
		if err := s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
			if err := s.markVoid(ctx, tx, now); err != nil {
				return err
			}
			return count(ctx, tx, 0)
		}); err != nil {
			return 0, err
		}
	}
	if err := s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		_, err := tx.ExecContext(ctx, forgetEnrolments)
		return err
	}); err != nil {
		return 0, err
	}
	after := oldestPending(s.now())
	for !after.IsZero() {
		var last verify.ID
		var n int
		if err := s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) (err error) { // may run again
			if last, n, err = voidSome(ctx, tx, after, "", now); err != nil {
				return err
			}
			if last.IsZero() && finally != nil {
				if err := finally(ctx, tx); err != nil {
					return err
				}
			}
			return count(ctx, tx, voided+n)
		}); err != nil {
			return voided, err
		}
		after, voided = last, voided+n
	}
	return voided, nil
}

// oldestPending is before all verifications that may be pending. What was started before it has ended by itself, also by
// a clock that is a day off.
func oldestPending(now time.Time) verify.ID {
	return verify.FirstID(now.Add(-verify.MaxLife - 24*time.Hour))
}

// voidSome looks at some verifications behind after, and cancels those that are pending, of one project or, with "", of
// all. It returns the last one, or zero when there was none.
func voidSome(ctx context.Context, tx *sql.Tx, after verify.ID, of verify.ProjectID, now time.Time) (last verify.ID, n int, err error) {
	step, err := query(ctx, tx, scanID, `SELECT id FROM verification WHERE id > $1 ORDER BY id LIMIT $2`, after[:], retainStep)
	if err != nil || len(step) == 0 {
		return last, 0, err
	}
	last = step[len(step)-1]
	pending, err := query(ctx, tx, verificationLayout.scan, `SELECT `+verificationLayout.names()+` FROM verification
		WHERE id > $1 AND id <= $2 AND status = $3 AND ($4 = '' OR project = $4) ORDER BY id`, after[:], last[:], verify.StatusPending, of)
	if err != nil {
		return last, 0, err
	}
	for i := range pending {
		v := &pending[i]
		if v.Cancel(now) != nil {
			continue // its time had ended it
		}
		n++
		if _, err := tx.ExecContext(ctx, `UPDATE verification SET status = $2, ended_at = $3, delivery = $4, reason = $5, due_at = $6, code_sealed = $7
			WHERE id = $1`, v.ID[:], v.Status, millis(v.EndedAt), v.Delivery, v.Reason.String(), millis(v.DueAt), v.SealedCode); err != nil {
			return last, n, err
		}
	}
	return last, n, nil
}

// Intact has SQLite check every page and index of the file.
func (s *Store) Intact(ctx context.Context) error {
	var verdict string
	if err := s.upkeep.Unlimited(ctx, func(conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict)
	}); err != nil {
		return err
	}
	if verdict != "ok" {
		return damage(verdict)
	}
	return nil
}
