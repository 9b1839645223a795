package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// The columns of applications, in the order in which scanApplication and applicationValues take them.
// Those of calls stand last: an update by an API caller leaves them alone.
const applicationColumns = `id, project, name, description, format, length, life_ms, attempts, prefix, channels,
	associate_template, login_template, display_name, sender, created_at, updated_at, version, unique_numbers, locale, by_key`

func applicationValues(a *verify.Application) []any {
	channels := make([]string, len(a.Channels))
	for i, c := range a.Channels {
		channels[i] = string(c)
	}
	return []any{
		a.ID[:], a.Project, a.Name, a.Description, a.Format, a.Length, a.Life.Milliseconds(), a.Attempts, a.Prefix, strings.Join(channels, " "),
		a.AssociateTemplate, a.LoginTemplate, a.DisplayName, a.From, millis(a.CreatedAt), millis(a.UpdatedAt), a.Version,
		a.UniqueNumbers, a.Calls.Locale, a.Calls.ByKey,
	}
}

func scanApplication(row scanner) (a verify.Application, err error) {
	var id []byte
	var life, created, updated int64
	var channels string
	err = row.Scan(&id, &a.Project, &a.Name, &a.Description, &a.Format, &a.Length, &life, &a.Attempts, &a.Prefix, &channels,
		&a.AssociateTemplate, &a.LoginTemplate, &a.DisplayName, &a.From, &created, &updated, &a.Version,
		&a.UniqueNumbers, &a.Calls.Locale, &a.Calls.ByKey)
	copy(a.ID[:], id)
	a.Life, a.CreatedAt, a.UpdatedAt = time.Duration(life)*time.Millisecond, fromMillis(created), fromMillis(updated)
	for _, c := range strings.Fields(channels) {
		a.Channels = append(a.Channels, verify.Channel(c))
	}
	return a, err
}

// CreateApplication implements [verify.ApplicationStore].
func (s *Store) CreateApplication(ctx context.Context, a verify.Application, unique bool, most int) error {
	return s.aloneKeeping(ctx, a.Project, &a, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		if err := lockProject(ctx, tx, a.Project); err != nil {
			return err
		}
		if err := hasRoom(ctx, tx, `SELECT count(*) FROM application WHERE project = $1 AND version > 0`, a.Project, most, verify.ErrTooManyApplications); err != nil {
			return err
		}
		if unique {
			if err := nameIsFree(ctx, tx, &a); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, insertApplication, applicationValues(&a)...)
		return err
	})
}

const insertApplication = `INSERT INTO application (` + applicationColumns + `)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`

// ImportApplication makes an application that has its id from elsewhere, because an operator says so, and writes down
// who it was. One that the project has already stays as it is. It fails with [verify.ErrNoProject], with
// [verify.ErrTooManyApplications] if the project has most, or more, and with [verify.ErrExists] where something else has
// the id, or the users of a deleted application with that id aren't all gone yet.
func (s *Store) ImportApplication(_ context.Context, a verify.Application, most int, actor string) (created bool, err error) {
	err = s.aloneOf(a.Project, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		created = false
		if _, err := lockedProject(ctx, tx, a.Project); err != nil {
			return err
		}
		var mine, others, leaving int
		if err := tx.QueryRowContext(ctx, `SELECT
				(SELECT count(*) FROM application WHERE id = $1 AND project = $2 AND version > 0),
				(SELECT count(*) FROM application WHERE id = $1 AND NOT (project = $2 AND version > 0)),
				(SELECT count(*) FROM deleted_application WHERE id = $1)`, a.ID[:], a.Project).Scan(&mine, &others, &leaving); err != nil {
			return err
		}
		switch {
		case mine > 0:
			return nil
		case others > 0, leaving > 0:
			return verify.ErrExists
		}
		if err := hasRoom(ctx, tx, `SELECT count(*) FROM application WHERE project = $1 AND version > 0`, a.Project, most, verify.ErrTooManyApplications); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, insertApplication, applicationValues(&a)...); err != nil {
			return err
		}
		created = true
		return audits(ctx, tx, now, a.Project, []Audit{{Actor: actor, Action: "application import", Detail: a.ID.Base62()}})
	})
	return created && err == nil, err
}

// UpdateApplication implements [verify.ApplicationStore].
func (s *Store) UpdateApplication(_ context.Context, a verify.Application, unique bool) error {
	return s.aloneFor(a.Project, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		stored, err := scanApplication(tx.QueryRowContext(ctx, selectApplication, a.ID[:], a.Project))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return verify.ErrNoApplication
		case err != nil:
			return err
		case stored.Version != a.Version-1:
			return verify.ErrStale
		}
		if a.UniqueNumbers && !stored.UniqueNumbers {
			if err := keyed(ctx, tx, a.ID); err != nil {
				return err
			}
		}
		if unique {
			if err := lockProject(ctx, tx, a.Project); err != nil {
				return err
			}
			if err := nameIsFree(ctx, tx, &a); err != nil {
				return err
			}
		}
		a.CreatedAt = stored.CreatedAt
		result, err := tx.ExecContext(ctx, `UPDATE application SET project = $2, name = $3, description = $4, format = $5, length = $6, life_ms = $7,
				attempts = $8, prefix = $9, channels = $10, associate_template = $11, login_template = $12, display_name = $13,
				sender = $14, created_at = $15, updated_at = $16, version = $17, unique_numbers = $18
			WHERE id = $1 AND version = $17 - 1`, applicationValues(&a)[:18]...)
		return changedOne(result, err, verify.ErrStale) // where others write beside us
	})
}

// lockProject locks a project, where an engine locks rows, so that nobody else adds to what is counted
// or looked for next.
func lockProject(ctx context.Context, tx *sql.Tx, p verify.ProjectID) error {
	_, err := tx.ExecContext(ctx, `UPDATE project SET id = id WHERE id = $1`, p)
	return err
}

// hasRoom fails with full if a project, which is locked, has most, or more, of what count counts.
func hasRoom(ctx context.Context, tx *sql.Tx, count string, of any, most int, full error) error {
	var n int
	if err := tx.QueryRowContext(ctx, count, of).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return full
	}
	return nil
}

// nameIsFree fails with [verify.ErrDuplicate] if another application of the project, which is locked,
// has the name.
func nameIsFree(ctx context.Context, tx *sql.Tx, a *verify.Application) error {
	var taken bool
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM application WHERE project = $1 AND name = $2 AND id <> $3 AND version > 0)`,
		a.Project, a.Name, a.ID[:]).Scan(&taken)
	if err == nil && taken {
		return verify.ErrDuplicate
	}
	return err
}

const selectApplication = `SELECT ` + applicationColumns + ` FROM application WHERE id = $1 AND project = $2 AND version > 0`

// Application implements [verify.ApplicationStore].
func (s *Store) Application(ctx context.Context, p verify.ProjectID, id verify.ID) (verify.Application, error) {
	a, err := pool.One(ctx, s.hot, scanApplication, selectApplication, id[:], p)
	if errors.Is(err, sql.ErrNoRows) {
		return a, verify.ErrNoApplication
	}
	if err != nil {
		return a, away("load application", err)
	}
	return a, nil
}

// Applications implements [verify.ApplicationStore].
func (s *Store) Applications(ctx context.Context, p verify.ProjectID) ([]verify.Application, error) {
	done, err := s.takeTurn(ctx, p)
	if err != nil {
		return nil, err
	}
	defer done()
	return readAll(ctx, s.lists, scanApplication, `SELECT `+applicationColumns+` FROM application
		WHERE project = $1 AND version > 0 ORDER BY id`, p)
}

// AllApplications lists a project's with its default one, for operators: that one first, then the
// oldest.
func (s *Store) AllApplications(ctx context.Context, p verify.ProjectID) ([]verify.Application, error) {
	return readAll(ctx, s.lists, scanApplication, `SELECT `+applicationColumns+` FROM application
		WHERE project = $1 ORDER BY CASE WHEN version = 0 THEN 0 ELSE 1 END, id`, p)
}

// ChangeCalls has change decide how an application's calls are made, because an operator says so, and writes that and
// who it was in one transaction. change may run more than once. It fails with [verify.ErrNoProject] and
// [verify.ErrNoApplication].
func (s *Store) ChangeCalls(_ context.Context, p verify.ProjectID, id verify.ID, actor string, change func(verify.Project, *verify.Application) error) (a verify.Application, err error) {
	err = s.aloneOf(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		project, err := lockedProject(ctx, tx, p)
		if err != nil {
			return err
		}
		a, err = scanApplication(tx.QueryRowContext(ctx, `SELECT `+applicationColumns+` FROM application WHERE id = $1 AND project = $2`, id[:], p))
		if errors.Is(err, sql.ErrNoRows) {
			err = verify.ErrNoApplication
		}
		if err != nil {
			return err
		}
		before := a.Calls
		if err := change(project, &a); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE application SET locale = $3, by_key = $4 WHERE id = $1 AND project = $2`, id[:], p, a.Calls.Locale, a.Calls.ByKey); err != nil {
			return err
		}
		by := Audit{Actor: actor, Action: "application set", Detail: fmt.Sprintf("%s: %s; before: %s", id.Base62(), a.Calls, before)}
		return audits(ctx, tx, now, p, []Audit{by})
	})
	return a, err
}

// DeleteApplication implements [verify.ApplicationStore]. Once the application is gone, nothing of it
// validates and nothing is sent for it. Its caller waits for the first users to go; [Store.FinishDeletions]
// deletes the others.
func (s *Store) DeleteApplication(ctx context.Context, p verify.ProjectID, id verify.ID, version int) error {
	err := s.aloneFor(p, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		stored, err := scanApplication(tx.QueryRowContext(ctx, selectApplication, id[:], p))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return verify.ErrNoApplication
		case err != nil:
			return err
		case version != 0 && version != stored.Version:
			return verify.ErrStale
		}
		result, err := tx.ExecContext(ctx, `DELETE FROM application WHERE id = $1 AND version = $2`, id[:], stored.Version)
		if err := changedOne(result, err, verify.ErrStale); err != nil { // where others write beside us
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO deleted_application (id) VALUES ($1)`, id[:])
		return err
	})
	if err != nil {
		return err
	}
	for range deleteNow {
		if more, err := s.deleteUsers(ctx, id, deleteStep); err != nil || !more {
			break // the application is gone all the same
		}
	}
	return nil
}

// FinishDeletions deletes the users that deleted applications have left. It takes a fifth of the time, for
// nobody waits for it.
func (s *Store) FinishDeletions(ctx context.Context) error {
	gone, err := readAll(ctx, s.upkeep, scanID, `SELECT id FROM deleted_application ORDER BY id`)
	if err != nil {
		return err
	}
	for _, id := range gone {
		if err := inSteps(ctx, func(most int) (more bool, err error) {
			began := time.Now()
			more, err = s.deleteUsers(ctx, id, min(most, deleteStep))
			if err == nil && more {
				rest(ctx, 4*time.Since(began))
			}
			return more, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// deleteStep is how many users are deleted together: others write between two steps. The caller who
// deletes an application waits for deleteNow steps.
const (
	deleteStep = 100
	deleteNow  = 5
)

// deleteUsers deletes some users of an application that is gone, cancels their live verifications, and
// reports whether there may be more. No new ones come: who makes one looks for the application in the same transaction.
func (s *Store) deleteUsers(ctx context.Context, application verify.ID, most int) (more bool, err error) {
	names, err := readAll(ctx, s.upkeep, scanValue[string], `SELECT name FROM app_user WHERE application = $1 ORDER BY name LIMIT $2`, application[:], most)
	if err != nil {
		return false, err
	}
	if len(names) == 0 {
		return false, s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM deleted_application WHERE id = $1`, application[:])
			return err
		})
	}
	ops := make([]op, len(names))
	for i, name := range names {
		k := userKey{application, name}
		ops[i] = op{user: k, withCurrent: true, apply: func(r *rows, now time.Time) error {
			if u := r.user(k); u != nil {
				r.remove(u, now)
			}
			return nil
		}}
	}
	return true, s.w.doAll(ops)
}
