package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// Where an application's numbers are unique, an association looks for another user who has the number. It looks before
// its operation, as a start for a purpose does: the group of an operation knows the rows that it names, and not those
// that have a number. Whoever gets the number in between has started a verification of it, or was imported. The
// operation finds out under the locks of the number and of the application, and looks again.

// A numberHolder is a user who has a number, of all who have it the one who keeps it for longest. The zero one is nobody.
type numberHolder struct {
	status         verify.UserStatus
	verified, live time.Time // since when the number was shown to be theirs, and until when their code may be used
}

// selectHolder looks for one beside the user $3. The names come first, out of the index of numbers, and in a cross join
// with a limit: else SQLite thinks that an application has few users, and reads all of them.
const selectHolder = `SELECT coalesce(max(u.status), 0), coalesce(max(u.verified_at), 0), coalesce(max(CASE WHEN v.status = 0 THEN v.expires_at ELSE 0 END), 0)
	FROM (SELECT name AS listed FROM app_user WHERE application = $1 AND number <> '' AND number = $2 AND name <> $3
		ORDER BY name LIMIT 10000) AS named
	CROSS JOIN app_user u LEFT JOIN verification v ON v.id = u.latest
	WHERE u.application = $1 AND u.name = listed`

func scanNumberHolder(row scanner) (h numberHolder, err error) {
	var verified, live int64
	err = row.Scan(&h.status, &verified, &live)
	h.verified, h.live = fromMillis(verified), fromMillis(live)
	return h, err
}

// heldOn is how much longer a number is held than its code lives. A right guess that came in time may be committed after
// it, and who looks in between sees neither a code that lives nor a number that was validated.
const heldOn = time.Minute

// refuses says why another user may not have the number, or returns nil.
func (h numberHolder) refuses(now time.Time) error {
	until, forever := verify.HeldUntil(h.status, h.verified, h.live)
	until = until.Add(heldOn)
	switch {
	case forever:
		return verify.ErrNumberTaken
	case now.Before(until):
		return verify.ErrNumberTaken.After(until.Sub(now))
	}
	return nil
}

// startUnique starts a verification of a user whose number no other user of the application may have.
func (s *Store) startUnique(ctx context.Context, v *verify.Verification, o op, limits verify.Limits, begin func(*rows, *verify.Verification, *verify.Destination, time.Time) error) error {
	return again(func() (looked, error) {
		return s.lookForHolder(ctx, v)
	}, func(found looked) error {
		return s.start(v, o, limits, func(r *rows, started *verify.Verification, d *verify.Destination, now time.Time) error {
			if d.Latest != found.latest || r.applications[v.Application].imports != found.imports {
				return errMoved
			}
			return begin(r, started, d, now)
		})
	})
}

// lookForHolder fails with [verify.ErrNumberTaken] if another user has the number of a user's verification. What says
// later whether somebody came between is read first.
func (s *Store) lookForHolder(ctx context.Context, v *verify.Verification) (found looked, err error) {
	waiting, cancel := within(ctx, s.turnWait)
	defer cancel()
	if err := s.looks.take(waiting, v.Project); err != nil {
		return found, err
	}
	defer s.looks.give(v.Project, 0)
	found, err = pool.One(ctx, s.hot, func(row scanner) (l looked, err error) {
		var latest []byte
		err = row.Scan(&latest, &l.imports)
		copy(l.latest[:], latest)
		return l, err
	}, `SELECT d.latest, a.imports FROM (SELECT coalesce(max(imports), 0) AS imports FROM application WHERE id = $1) AS a
		LEFT JOIN destination d ON d.project = $2 AND d.number = $3`, v.Application[:], v.Project, v.To)
	if err != nil {
		return found, away("look for a number's latest verification", err)
	}
	h, err := pool.One(ctx, s.hot, scanNumberHolder, selectHolder, v.Application[:], v.To, v.User)
	if err != nil {
		return found, away("look for a number's user", err)
	}
	return found, h.refuses(s.now())
}

// An importing brings users into an application.
type importing struct {
	ctx         context.Context
	tx          *sql.Tx
	application verify.ID
	unique      bool // its numbers are
	locked      bool // no association comes between any more
	postgres    bool
}

// importsInto begins to bring users into a project's application, which must not be deleted before they are there. It
// fails with [verify.ErrNoApplication].
func (s *Store) importsInto(ctx context.Context, tx *sql.Tx, p verify.ProjectID, application verify.ID) (*importing, error) {
	into := &importing{ctx: ctx, tx: tx, application: application, postgres: s.postgres}
	text := `SELECT unique_numbers FROM application WHERE id = $1 AND project = $2 AND version > 0`
	err := tx.QueryRowContext(ctx, text, application[:], p).Scan(&into.unique)
	if err == nil && s.postgres && !into.unique { // else it is locked later, in another way
		err = tx.QueryRowContext(ctx, text+` FOR SHARE`, application[:], p).Scan(&into.unique)
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, verify.ErrNoApplication
	case err != nil:
		return nil, err
	}
	return into, nil
}

// refuses says why a user may not be brought, or returns nil.
func (i *importing) refuses(u *verify.User, now time.Time) (refused, err error) {
	if !i.unique {
		return nil, nil
	}
	if refused, err = i.held(u, now); refused != nil || err != nil || i.locked {
		return refused, err
	}
	if err := i.lock(); err != nil {
		return nil, err
	}
	return i.held(u, now)
}

// held says whether another user has the number.
func (i *importing) held(u *verify.User, now time.Time) (refused, err error) {
	h, err := scanNumberHolder(i.tx.QueryRowContext(i.ctx, selectHolder, i.application[:], u.NumberKey, u.Name))
	if err != nil {
		return nil, err
	}
	return h.refuses(now), nil
}

// lock keeps associations away until the import is committed, and counts it, so that they look again. It comes before
// the first user who is brought: an import that brings nobody delays nobody.
func (i *importing) lock() error {
	if i.postgres { // an update alone doesn't keep those away who only look at the row
		if _, err := i.tx.ExecContext(i.ctx, `SELECT 1 FROM application WHERE id = $1 FOR UPDATE`, i.application[:]); err != nil {
			return err
		}
	}
	result, err := i.tx.ExecContext(i.ctx, `UPDATE application SET imports = imports + 1 WHERE id = $1 AND unique_numbers`, i.application[:])
	i.locked = err == nil
	return changedOne(result, err, errRaced) // it was changed or deleted since we looked
}

// keyed fails with [verify.ErrNumbersUnready] while a user of an application has a number without a key, because nobody
// would find out that they have it.
func keyed(ctx context.Context, tx *sql.Tx, application verify.ID) error {
	_, err := scanValue[int](tx.QueryRowContext(ctx, `SELECT 1 FROM app_user WHERE application = $1 AND number = '' AND address <> '' LIMIT 1`, application[:]))
	switch {
	case err == nil:
		return verify.ErrNumbersUnready
	case errors.Is(err, sql.ErrNoRows):
		return nil
	}
	return err
}

// keyStep is how many users get the keys of their numbers together.
const keyStep = 100

// keyNumbers fills in the keys of the numbers of users from before there were any, and of those that the program before
// still makes. It takes a fifth of the time, for nobody waits for it.
func (s *Store) keyNumbers(ctx context.Context) error {
	return inSteps(ctx, func(most int) (more bool, err error) {
		began := time.Now()
		keys, err := readAll(ctx, s.upkeep, func(row scanner) (k userKey, err error) {
			var id []byte
			err = row.Scan(&id, &k.name)
			copy(k.application[:], id)
			return k, err
		}, `SELECT application, name FROM app_user WHERE number = '' AND address <> '' ORDER BY application, name LIMIT $1`, min(most, keyStep))
		if err != nil || len(keys) == 0 {
			return false, err
		}
		ops := make([]op, len(keys))
		for i, k := range keys {
			ops[i] = op{user: k, apply: func(r *rows, _ time.Time) error {
				if u := r.user(k); u != nil && u.value.NumberKey == "" {
					u.value.NumberKey = u.value.Number().Key()
					if u.value.NumberKey == "" { // it was a number when it was stored; don't come by again
						u.value.NumberKey = phone.Number(u.value.Address)
					}
					u.dirty = u.value.NumberKey != ""
				}
				return nil
			}}
		}
		err = s.w.doAll(ops)
		if err == nil {
			rest(ctx, 4*time.Since(began))
		}
		return true, err
	})
}
