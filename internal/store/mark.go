package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A mark says that an SQLite file is moving to a PostgreSQL database, or has moved. Nobody may use the file
// then: what they wrote would be missing there, and a code that was used there would work here. [Open]
// refuses such a file. Triggers refuse every write to it, by whatever program: so a move that was stopped
// goes on from the state in which it began.
type mark struct {
	to    string    // the database
	token string    // the same stands there: this move, from this state
	since time.Time // when it began
	moved bool      // all has been copied: the other database may be in use
}

// readMark returns nil if there is none.
func readMark(ctx context.Context, db queryer) (*mark, error) {
	rows, err := query(ctx, db, func(row scanner) (pair [2]string, err error) {
		err = row.Scan(&pair[0], &pair[1])
		return pair, err
	}, `SELECT name, last FROM moving`)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	var m mark
	for _, pair := range rows {
		switch name, value := pair[0], pair[1]; name {
		case "to":
			m.to = value
		case "token":
			m.token = value
		case "since":
			if m.since, err = time.Parse(time.RFC3339, value); err != nil {
				return nil, fmt.Errorf("read since when the file moves: %w", err)
			}
		case "moved":
			m.moved = true
		}
	}
	return &m, nil
}

// refusal says why nobody may use the file, and what to do. It is nil without a mark.
func (m *mark) refusal() error {
	if m == nil {
		return nil
	}
	when := m.since.UTC().Format(time.DateTime) + " UTC"
	if m.moved {
		return fmt.Errorf("it has moved to the database %s (begun %s): use that one; to go back to this file, countersign migrate --abort", m.to, when)
	}
	return fmt.Errorf("it is moving to the database %s (begun %s): run countersign migrate again, or undo that with countersign migrate --abort", m.to, when)
}

// begin marks a file as moving to a database, in a state that has a new token.
func (m *mark) begin(ctx context.Context, tx *sql.Tx, to string, now time.Time) error {
	*m = mark{to: to, token: rand.Text(), since: now}
	if err := unmark(ctx, tx); err != nil {
		return err
	}
	for name, value := range map[string]string{"to": to, "token": m.token, "since": now.UTC().Format(time.RFC3339)} {
		if _, err := tx.ExecContext(ctx, `INSERT INTO moving (name, last) VALUES ($1, $2)`, name, value); err != nil {
			return err
		}
	}
	return eachTrigger(func(name, table, write string) error {
		_, err := tx.ExecContext(ctx, `CREATE TRIGGER `+name+` BEFORE `+write+` ON `+table+`
			BEGIN SELECT RAISE(ABORT, 'this file moves to PostgreSQL, or has: use that, or run countersign migrate --abort'); END`)
		return err
	})
}

// unmark lets others use the file.
func unmark(ctx context.Context, tx *sql.Tx) error {
	if err := dropTriggers(ctx, tx); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM moving`)
	return err
}

func dropTriggers(ctx context.Context, tx *sql.Tx) error {
	return eachTrigger(func(name, _, _ string) error {
		_, err := tx.ExecContext(ctx, `DROP TRIGGER IF EXISTS `+name)
		return err
	})
}

// eachTrigger names the triggers that refuse writes to what is moved.
func eachTrigger(f func(name, table, write string) error) error {
	for _, table := range append([]string{"watermark"}, moved...) {
		for _, write := range []string{"INSERT", "UPDATE", "DELETE"} {
			if err := f("moving_"+table+"_"+strings.ToLower(write), table, write); err != nil {
				return err
			}
		}
	}
	return nil
}

// ErrNotMoving says that there is nothing to abort.
var ErrNotMoving = errors.New("it is not moving to another database, and has not")

// An Aborted is a move that was undone.
type Aborted struct {
	To     string // where it went
	Moved  bool   // all had been copied
	Voided int    // pending verifications: what became of them there isn't known here
}

// AbortMove lets a file be used again that was moving to PostgreSQL. If all had been copied the other
// database may have been in use: then what is pending is void.
func AbortMove(ctx context.Context, path, actor string) (a Aborted, err error) {
	s, err := Open(ctx, Options{Path: path, Migrate: true, moved: true})
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	m, err := readMark(ctx, s.write)
	if err != nil {
		return a, err
	}
	if m == nil {
		return a, fmt.Errorf("%s: %w", path, ErrNotMoving)
	}
	a = Aborted{To: m.to, Moved: m.moved}
	// The mark stays until all is void: Open refuses the file for as long. What was copied is of another state now.
	if err := s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		if err := dropTriggers(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE moving SET last = '' WHERE name = 'token'`)
		return err
	}); err != nil {
		return a, err
	}
	by := Audit{Actor: actor, Action: "migrate abort"}
	if m.moved {
		a.Voided, err = s.voidPending(by, unmark)
		return a, err
	}
	by.Detail = "half moved to " + m.to
	return a, s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if err := unmark(ctx, tx); err != nil {
			return err
		}
		by.ID = verify.NewID(now)
		return audit(ctx, tx, by)
	})
}
