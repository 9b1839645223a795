package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"

	"github.com/countersign/countersign/internal/verify"
)

// backupStep is how many pages are copied between two reports of progress.
const backupStep = 1000

// Backup writes a consistent copy of the database to a new file while others read and write: what
// was committed when it began. It calls progress with the pages copied so far and in all.
func (s *Store) Backup(ctx context.Context, path string, progress func(done, all int)) error {
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
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
		return errors.Join(err, b.Finish())
	})
}

// VoidPending cancels every pending verification, because what was restored doesn't know the
// guesses that were spent since it was saved. It returns how many there were.
func (s *Store) VoidPending(_ context.Context, actor string) (n int64, err error) {
	err = s.alone(func(ctx context.Context, tx *sql.Conn, now time.Time) error {
		result, err := tx.ExecContext(ctx, `UPDATE verification SET status = $1, ended_at = $2, code_sealed = NULL,
			delivery = CASE WHEN delivery IN ($3, $4) THEN $5 ELSE delivery END,
			reason   = CASE WHEN delivery IN ($3, $4) THEN 'canceled' ELSE reason END,
			due_at   = 0
			WHERE status = $6`, verify.Canceled, millis(now), verify.Queued, verify.Sending, verify.Failed, verify.Pending)
		if err != nil {
			return err
		}
		if n, err = result.RowsAffected(); err != nil {
			return err
		}
		return audit(ctx, tx, now, Audit{Actor: actor, Action: "restore", Detail: fmt.Sprintf("voided %d pending verifications", n)})
	})
	return n, err
}

// Intact has SQLite check every page and index of the file.
func (s *Store) Intact(ctx context.Context) error {
	var verdict string
	if err := s.read.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("the database is damaged: %s", verdict)
	}
	return nil
}
