package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// The answer to a request that has a key is a row. The event that answers the request writes it in the same
// transaction. Of two events of one request, the second finds the row; where both run concurrently, the row's key is
// unique, and the second fails, is run again, and finds the row then.

// The first column is the key.
var keptLayout = layout[verify.Kept]{
	nameColumn("name", func(k *verify.Kept) *verify.RequestName { return &k.Name }),
	textColumn("project", func(k *verify.Kept) *verify.ProjectID { return &k.Project }),
	idColumn("id", func(k *verify.Kept) *verify.ID { return &k.ID }),
	numberColumn("key_id", func(k *verify.Kept) *uint32 { return &k.KeyID }),
	blobColumn("request", func(k *verify.Kept) *[]byte { return &k.Request }),
	blobColumn("sealed", func(k *verify.Kept) *[]byte { return &k.Sealed }),
	timeColumn("expires_at", func(k *verify.Kept) *time.Time { return &k.ExpiresAt }),
}

var (
	selectKept = `SELECT ` + keptLayout.names() + ` FROM kept_answer WHERE name = $1`
	insertKept = `INSERT INTO kept_answer (` + keptLayout.names() + `) VALUES (` + keptLayout.dollars() + `)`
	upsertKept = insertKept + ` ON CONFLICT (name) DO UPDATE SET ` + keptLayout[1:].set("excluded")
)

func nameColumn[T any](name string, at func(*T) *verify.RequestName) field[T] {
	return field[T]{name, blobKind,
		func(c fields, v *T) error { copy(at(v)[:], c.blob()); return nil },
		func(p parameters, v *T) error { p.blob(at(v)[:]); return nil }}
}

func compareNames(a, b verify.RequestName) int { return bytes.Compare(a[:], b[:]) }

// A keeping commits the answer to a request together with an operation, which makes it from what it has made.
type keeping struct {
	once *verify.Once
	made any
}

// keep returns what the operation of an event has to do for the request of a context: nil where that has no key, or
// is answered by another event. made points to what the operation makes.
func keep(ctx context.Context, made any) *keeping {
	if once := verify.OnceOf(ctx); once != nil && once.AnsweredBy(made) {
		return &keeping{once, made}
	}
	return nil
}

// applyOnce applies an operation, unless its request was carried out before. An operation that fails keeps nothing.
func (r *rows) applyOnce(o *op, now time.Time) error {
	name := o.keep.once.Name
	known := r.kept[name]
	if known != nil && known.value.Lives(now) {
		return &verify.Repeated{Kept: known.value}
	}
	if err := o.apply(r, now); err != nil {
		return err
	}
	r.keepAnswer(&row[verify.Kept]{value: o.kept(now), stored: known != nil && known.stored, dirty: true})
	return nil
}

// kept is the answer that is kept to the request of an operation, once that was applied.
func (o *op) kept(now time.Time) verify.Kept {
	k := o.keep.once.Keep(o.keep.made, now)
	k.Project = o.project
	return k
}

func (r *rows) keepAnswer(k *row[verify.Kept]) {
	if r.kept == nil {
		r.kept = map[verify.RequestName]*row[verify.Kept]{}
	}
	r.kept[k.value.Name] = k
}

// aloneOnce does so with an operation that has a transaction of its own. Unlike those in groups, it costs the project no
// message, so the answers are counted: else a key could fill the disk with them.
func (o *op) aloneOnce(ctx context.Context, tx *sql.Tx, now time.Time) error {
	name := o.keep.once.Name
	known, err := keptLayout.scan(tx.QueryRowContext(ctx, selectKept, name[:]))
	switch {
	case err == nil && known.Lives(now):
		return &verify.Repeated{Kept: known}
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	}
	if err := countKept(ctx, tx, o.project, o.keep.once.Most, now); err != nil {
		return err
	}
	insert := insertKept // not over the answer of another replica
	if err == nil {
		insert = upsertKept
	}
	if err := o.alone(ctx, tx, now); err != nil {
		return err
	}
	kept := o.kept(now)
	_, err = tx.ExecContext(ctx, insert, keptLayout.arguments(&kept)...)
	return err
}

// countKept counts one more answer, or fails with [verify.ErrTooManyKept] if the project has most of the last 24 hours,
// or more. The count is by hour, so an answer counts for up to an hour longer than it is kept.
func countKept(ctx context.Context, tx *sql.Tx, p verify.ProjectID, most int, now time.Time) error {
	const perHour = int64(time.Hour / time.Millisecond)
	at := millis(now)
	var n, oldest int64
	if err := tx.QueryRowContext(ctx, `SELECT CAST(coalesce(sum(n), 0) AS BIGINT), coalesce(min(hour), 0) FROM kept_count WHERE project = $1 AND hour >= $2`,
		p, (at-verify.KeptFor.Milliseconds())/perHour).Scan(&n, &oldest); err != nil {
		return err
	}
	if n >= int64(most) {
		return verify.ErrTooManyKept.After(fromMillis((oldest + 1) * perHour).Add(verify.KeptFor).Sub(now))
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO kept_count (project, hour, n) VALUES ($1, $2, 1) ON CONFLICT (project, hour) DO UPDATE SET n = kept_count.n + 1`, p, at/perHour)
	return err
}

// aloneKeeping is aloneFor for an event that answers a request with a key. made points to what it makes.
func (s *Store) aloneKeeping(ctx context.Context, p verify.ProjectID, made any, f func(ctx context.Context, tx *sql.Tx, now time.Time) error) error {
	return s.w.do(op{project: p, keep: keep(ctx, made), alone: f})
}

// keptNames are those that a group names, sorted, each once.
func keptNames(group []op) []verify.RequestName {
	var all []verify.RequestName
	for i := range group {
		if k := group[i].keep; k != nil {
			all = append(all, k.once.Name)
		}
	}
	slices.SortFunc(all, compareNames)
	return slices.Compact(all)
}

// Kept implements [verify.KeptStore].
func (s *Store) Kept(ctx context.Context, name verify.RequestName) (*verify.Kept, error) {
	k, err := pool.One(ctx, s.hot, keptLayout.scan, selectKept, name[:])
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, away("look for a kept answer", err)
	}
	return &k, nil
}

// Keep implements [verify.KeptStore].
func (s *Store) Keep(ctx context.Context, p verify.ProjectID, answer *[]byte) error {
	return s.aloneKeeping(ctx, p, answer, func(context.Context, *sql.Tx, time.Time) error { return nil })
}

// forgetAnswers deletes the answers that are no longer kept. It writes only where there are some.
func (s *Store) forgetAnswers(ctx context.Context) error {
	free := s.free() // of groups that are about to put another answer in their place
	return inSteps(ctx, func(most int) (more bool, err error) {
		before := millis(s.now())
		_, err = pool.One(ctx, s.upkeep, scanValue[int], `SELECT 1 FROM kept_answer WHERE expires_at < $1 LIMIT 1`, before)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, away("look for answers to forget", err)
		}
		err = s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
			gone, err := tx.ExecContext(ctx, `DELETE FROM kept_answer WHERE expires_at < $1
				AND name IN (SELECT name FROM kept_answer WHERE expires_at < $1 ORDER BY expires_at LIMIT $2`+free+`)`, before, most)
			if err != nil {
				return err
			}
			n, err := gone.RowsAffected()
			if more = n > 0; err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `DELETE FROM kept_count WHERE hour < $1`, (before-2*verify.KeptFor.Milliseconds())/time.Hour.Milliseconds())
			return err
		})
		return more, err
	})
}
