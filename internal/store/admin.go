package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// Projects, their keys and their settings: written seldom, each in a transaction of its own, and
// also by another process while a server runs on the same file. An audit that is given with a change is
// written in the change's transaction: neither is there without the other.

var projectColumns = `p.id, p.name, p.profile, p.send_burst, p.send_interval_ms, p.send_daily, p.senders, p.public_text,
	p.transliterate, p.webotp, p.android_hash, p.countries, p.number_kinds, COALESCE(p.any_sender, p.senders = ''), p.link_hosts, p.any_link, p.bound, p.only_numbers, p.trial_messages, ` + isFenced("p.id")

// projectDest are the targets of projectColumns; assign what they read with done.
type projectDest struct {
	p          *verify.Project
	intervalMS int64
	senders    string
	countries  string
	kinds      string
	hosts      string
	only       string
}

func (d *projectDest) fields() []any {
	return []any{&d.p.ID, &d.p.Name, &d.p.Profile, &d.p.Limits.Burst, &d.intervalMS, &d.p.Limits.Daily, &d.senders, &d.p.PublicText,
		&d.p.Style.Transliterate, &d.p.Style.WebOTP, &d.p.Style.AndroidHash, &d.countries, &d.kinds,
		&d.p.AnySender, &d.hosts, &d.p.AnyLink, &d.p.Bound, &d.only, &d.p.TrialMessages, &d.p.Moving}
}

func (d *projectDest) done() {
	d.p.Limits.Interval = time.Duration(d.intervalMS) * time.Millisecond
	d.p.OnlyNumbers = split[phone.Number](d.only)
	d.p.Senders, d.p.LinkHosts, d.p.Countries, d.p.Kinds = split[string](d.senders), split[string](d.hosts), split[string](d.countries), split[phone.Kind](d.kinds)
}

// split reads what joined has written: nil where there is nothing.
func split[T ~string](text string) (all []T) {
	for _, s := range strings.Fields(text) {
		all = append(all, T(s))
	}
	return all
}

func joined[T ~string](all []T) string {
	s := make([]string, len(all))
	for i, t := range all {
		s[i] = string(t)
	}
	return strings.Join(s, " ")
}

// Account implements [account.Store].
func (s *Store) Account(ctx context.Context, key account.KeyHash) (verify.Account, error) {
	a, err := pool.One(ctx, s.hot, scanAccount, selectAccount, key[:])
	if errors.Is(err, sql.ErrNoRows) {
		return a, verify.ErrUnauthenticated
	}
	if err != nil {
		return a, unlessMoving("load account", err)
	}
	return a, nil
}

// strangers is how many keys are looked up concurrently that may be nobody's.
const strangers = 2

// StrangersAccount implements [account.Store]. The wait for a place is a part of the read's time.
func (s *Store) StrangersAccount(ctx context.Context, key account.KeyHash) (verify.Account, error) {
	limited, cancel := within(ctx, s.turnWait)
	defer cancel()
	select {
	case s.strangers <- struct{}{}:
		defer func() { <-s.strangers }()
		return s.Account(limited, key)
	case <-limited.Done():
		return verify.Account{}, verify.ErrBusy
	}
}

var selectAccount = `SELECT ` + projectColumns + `, a.id, a.name, a.format, a.length, a.life_ms, a.attempts, a.sender, a.locale, k.id, k.expires_at, k.ends_at, k.scopes, k.used_at,
		CASE WHEN COALESCE(p.any_sender, p.senders = '') THEN (SELECT COALESCE(string_agg(o.senders, ' '), '') FROM project o WHERE o.id <> p.id AND o.senders <> '') ELSE '' END
	FROM api_key k JOIN project p ON p.id = k.project JOIN application a ON a.id = p.application
	WHERE k.hash = $1 AND k.revoked_at = 0`

func scanAccount(row scanner) (a verify.Account, err error) {
	var application, key []byte
	var lifeMS, expires, ends, used int64
	var taken, scopes string
	p, app := projectDest{p: &a.Project}, &a.Application
	err = row.Scan(append(p.fields(),
		&application, &app.Name, &app.Format, &app.Length, &lifeMS, &app.Attempts, &app.From, &app.Calls.Locale, &key, &expires, &ends, &scopes, &used, &taken)...)
	if err == nil && a.Project.Moving {
		err = verify.ErrMoving
	}
	p.done()
	a.Project.Taken = split[string](taken)
	copy(app.ID[:], application)
	copy(a.KeyID[:], key)
	a.Scopes, _ = verify.ParseScopes(strings.Fields(scopes)) // a word that only a newer program knows opens nothing here
	k := account.Key{ExpiresAt: fromMillis(expires), EndsAt: fromMillis(ends)}
	app.Project, a.KeyExpires, a.KeyUsed = a.Project.ID, k.End(), fromMillis(used)
	app.Life = time.Duration(lifeMS) * time.Millisecond
	return a, err
}

// CreateProject makes a project with a default application that leaves everything to the profile.
// It fails with [verify.ErrExists] where the id is taken, or was a deleted project's, whose verifications may be there.
func (s *Store) CreateProject(_ context.Context, p verify.Project, by ...Audit) error {
	return s.aloneOf(p.ID, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if err := createProject(ctx, tx, &p, now); err != nil {
			return err
		}
		return audits(ctx, tx, now, p.ID, by)
	})
}

const selectDeleted = `SELECT EXISTS (SELECT 1 FROM audit WHERE project = $1 AND action = $2)`

// NeverDeleted fails with [verify.ErrExists] if there was a project with an id.
func (s *Store) NeverDeleted(ctx context.Context, id verify.ProjectID) error {
	deleted, err := pool.One(ctx, s.lists, scanValue[bool], selectDeleted, id, ProjectDeleted)
	if err != nil {
		return away("look for a deleted project", err)
	}
	return neverDeleted(id, deleted)
}

func neverDeleted(id verify.ProjectID, deleted bool) error {
	if deleted {
		return fmt.Errorf("create project %s, which was deleted: its id isn't given again: %w", id, verify.ErrExists)
	}
	return nil
}

func createProject(ctx context.Context, tx *sql.Tx, p *verify.Project, now time.Time) error {
	var deleted bool
	if err := tx.QueryRowContext(ctx, selectDeleted, p.ID, ProjectDeleted).Scan(&deleted); err != nil {
		return err
	}
	if err := neverDeleted(p.ID, deleted); err != nil {
		return err
	}
	application := verify.NewID(now)
	result, err := tx.ExecContext(ctx, `INSERT INTO project (id, name, profile, send_burst, send_interval_ms, send_daily, senders, public_text, application, created_at,
			transliterate, webotp, android_hash, any_sender, link_hosts, any_link, countries, number_kinds, only_numbers, trial_messages)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) ON CONFLICT DO NOTHING`,
		p.ID, p.Name, p.Profile, p.Limits.Burst, p.Limits.Interval.Milliseconds(), p.Limits.Daily, joined(p.Senders), p.PublicText, application[:], millis(now),
		p.Style.Transliterate, p.Style.WebOTP, p.Style.AndroidHash, p.AnySender, joined(p.LinkHosts), p.AnyLink, joined(p.Countries), joined(p.Kinds), joined(p.OnlyNumbers), p.TrialMessages)
	if err := changedOne(result, err, verify.ErrExists); err != nil {
		return fmt.Errorf("create project %s: %w", p.ID, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO application (id, project, name, format, length, life_ms, attempts, sender)
		VALUES ($1, $2, 'default', '', 0, 0, 0, '')`, application[:], p.ID)
	return err
}

// UpdateProject changes a project's name and settings, whatever they were, or fails with [verify.ErrNoProject].
func (s *Store) UpdateProject(ctx context.Context, p verify.Project, by ...Audit) error {
	_, err := s.ChangeProject(ctx, p.ID, func(stored *verify.Project) ([]Audit, error) {
		*stored = p
		return by, nil
	})
	return err
}

// ChangeProject has change decide on a project as it is stored, and writes what came of it and the audit, in one
// transaction: of two concurrent changes, each keeps what the other one did. change may run more than once. It
// fails with [verify.ErrNoProject].
func (s *Store) ChangeProject(_ context.Context, id verify.ProjectID, change func(*verify.Project) ([]Audit, error)) (p verify.Project, err error) {
	err = s.aloneOf(id, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if p, err = lockedProject(ctx, tx, id); err != nil {
			return fmt.Errorf("update project %s: %w", id, err)
		}
		by, err := change(&p)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE project SET name = $2, profile = $3, send_burst = $4, send_interval_ms = $5, send_daily = $6, senders = $7, public_text = $8,
				transliterate = $9, webotp = $10, android_hash = $11, any_sender = $12, link_hosts = $13, any_link = $14, countries = $15, number_kinds = $16, only_numbers = $17
			WHERE id = $1`, id, p.Name, p.Profile, p.Limits.Burst, p.Limits.Interval.Milliseconds(), p.Limits.Daily, joined(p.Senders), p.PublicText,
			p.Style.Transliterate, p.Style.WebOTP, p.Style.AndroidHash, p.AnySender, joined(p.LinkHosts), p.AnyLink, joined(p.Countries), joined(p.Kinds), joined(p.OnlyNumbers)); err != nil {
			return fmt.Errorf("update project %s: %w", id, err)
		}
		return audits(ctx, tx, now, id, by)
	})
	return p, err
}

// lockedProject reads a project, and locks it where an engine locks rows. It fails with [verify.ErrNoProject].
func lockedProject(ctx context.Context, tx *sql.Tx, id verify.ProjectID) (verify.Project, error) {
	if err := lockProject(ctx, tx, id); err != nil {
		return verify.Project{}, err
	}
	p, err := scanProject(tx.QueryRowContext(ctx, `SELECT `+projectColumns+` FROM project p WHERE p.id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = verify.ErrNoProject
	}
	return p, err
}

func scanProject(row scanner) (p verify.Project, err error) {
	d := projectDest{p: &p}
	err = row.Scan(d.fields()...)
	d.done()
	return p, err
}

// Projects lists all projects, by name.
func (s *Store) Projects(ctx context.Context) ([]verify.Project, error) {
	return readAll(ctx, s.lists, scanProject, `SELECT `+projectColumns+` FROM project p ORDER BY p.name, p.id`)
}

// CreateKey stores a key of a project. It fails with [verify.ErrNoProject], and with [verify.ErrExists] where
// the same secret is stored already and works.
func (s *Store) CreateKey(_ context.Context, k account.Key, by ...Audit) error {
	return s.aloneOf(k.Project, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		var exists bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM project WHERE id = $1)`, k.Project).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			return fmt.Errorf("create key for project %s: %w", k.Project, verify.ErrNoProject)
		}
		return insertKey(ctx, tx, &k, now, by)
	})
}

// AddKey implements [account.Store].
func (s *Store) AddKey(ctx context.Context, k account.Key, by verify.ID, most int, since time.Time) error {
	return s.aloneKeeping(ctx, k.Project, &k, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if err := lockProject(ctx, tx, k.Project); err != nil {
			return err
		}
		var makers, n int // a server may remember a revoked key for a second, but no key outlives its revocation by making another
		if err := tx.QueryRowContext(ctx, `SELECT count(CASE WHEN id = $3 AND revoked_at = 0 THEN 1 END), count(*) FROM api_key
			WHERE project = $1 AND (revoked_at = 0 OR revoked_at >= $2)`, k.Project, millis(since), by[:]).Scan(&makers, &n); err != nil {
			return err
		}
		switch {
		case makers == 0:
			return verify.ErrUnauthenticated
		case n >= most:
			return verify.ErrTooManyKeys
		}
		return insertKey(ctx, tx, &k, now, []Audit{{Actor: keyActor(by), Action: "key create", Detail: k.Granted()}})
	})
}

func insertKey(ctx context.Context, tx *sql.Tx, k *account.Key, now time.Time, by []Audit) error {
	// Where its end stands as its secret's too, the program before knows it as well.
	result, err := tx.ExecContext(ctx, `INSERT INTO api_key (id, project, name, hash, revoked_at, consumer_key, consumer_secret, expires_at, ends_at, scopes) VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9)
		ON CONFLICT (hash) DO UPDATE SET id = excluded.id, project = excluded.project, name = excluded.name, revoked_at = 0,
			consumer_key = excluded.consumer_key, consumer_secret = excluded.consumer_secret, expires_at = excluded.expires_at,
			ends_at = excluded.ends_at, scopes = excluded.scopes, used_at = 0
		WHERE api_key.revoked_at <> 0`,
		k.ID[:], k.Project, k.Name, k.Hash[:], k.Consumer, k.ConsumerSecret[:], millis(k.End()), millis(k.EndsAt), k.Scopes.String())
	if err := changedOne(result, err, verify.ErrExists); err != nil {
		return fmt.Errorf("create key for project %s: %w", k.Project, err)
	}
	return audits(ctx, tx, now, k.Project, by)
}

// Keys lists a project's keys, oldest first, without their hashes.
func (s *Store) Keys(ctx context.Context, p verify.ProjectID) ([]account.Key, error) {
	return readAll(ctx, s.lists, func(row scanner) (k account.Key, err error) {
		var id []byte
		var revoked, expires, ends, used int64
		var scopes string
		err = row.Scan(&id, &k.Project, &k.Name, &revoked, &k.Consumer, &expires, &ends, &scopes, &used)
		copy(k.ID[:], id)
		k.Scopes, _ = verify.ParseScopes(strings.Fields(scopes))
		k.RevokedAt, k.ExpiresAt, k.EndsAt, k.UsedAt = fromMillis(revoked), fromMillis(expires), fromMillis(ends), fromMillis(used)
		return k, err
	}, `SELECT id, project, name, revoked_at, consumer_key, expires_at, ends_at, scopes, used_at FROM api_key WHERE project = $1 ORDER BY id`, p)
}

// RevokeKey ends a key, in every process within a second, and says whose it was. It fails with [verify.ErrNoAPIKey].
func (s *Store) RevokeKey(ctx context.Context, id verify.ID, by ...Audit) (p verify.ProjectID, err error) {
	if p, err = s.projectOfKey(ctx, id); err != nil {
		return p, fmt.Errorf("revoke key %v: %w", id, err)
	}
	err = s.aloneOf(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		err := tx.QueryRowContext(ctx, `UPDATE api_key SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0 RETURNING project`, id[:], millis(now)).Scan(&p)
		if errors.Is(err, sql.ErrNoRows) {
			err = verify.ErrNoAPIKey
		}
		if err != nil {
			return fmt.Errorf("revoke key %v: %w", id, err)
		}
		return audits(ctx, tx, now, p, by)
	})
	return p, err
}

// RenameKey gives a key another name, and says whose it is. It fails with [verify.ErrNoAPIKey].
func (s *Store) RenameKey(ctx context.Context, id verify.ID, name string, by ...Audit) (p verify.ProjectID, err error) {
	if p, err = s.projectOfKey(ctx, id); err != nil {
		return p, fmt.Errorf("rename key %v: %w", id, err)
	}
	err = s.aloneOf(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		err := tx.QueryRowContext(ctx, `UPDATE api_key SET name = $2 WHERE id = $1 AND revoked_at = 0 RETURNING project`, id[:], name).Scan(&p)
		if errors.Is(err, sql.ErrNoRows) {
			err = verify.ErrNoAPIKey
		}
		if err != nil {
			return fmt.Errorf("rename key %v: %w", id, err)
		}
		return audits(ctx, tx, now, p, by)
	})
	return p, err
}

// projectOfKey says whose a key is, or fails with [verify.ErrNoAPIKey].
func (s *Store) projectOfKey(ctx context.Context, id verify.ID) (verify.ProjectID, error) {
	p, err := pool.One(ctx, s.lists, scanValue[verify.ProjectID], `SELECT project FROM api_key WHERE id = $1`, id[:])
	if errors.Is(err, sql.ErrNoRows) {
		return p, verify.ErrNoAPIKey
	}
	if err != nil {
		return p, away("look for a key", err)
	}
	return p, nil
}

// EndKey implements [account.Store].
func (s *Store) EndKey(_ context.Context, p verify.ProjectID, id, by verify.ID) error {
	return s.aloneFor(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		result, err := tx.ExecContext(ctx, `UPDATE api_key SET revoked_at = $3 WHERE id = $1 AND project = $2 AND revoked_at = 0`, id[:], p, millis(now))
		if err := changedOne(result, err, verify.ErrNoAPIKey); err != nil {
			return err
		}
		return audits(ctx, tx, now, p, []Audit{{Actor: keyActor(by), Action: "key revoke", Detail: id.String()}})
	})
}

// keyActor is how the audit log names a caller.
func keyActor(id verify.ID) string { return "key " + id.String() }

// KeysUsed implements [account.Store].
func (s *Store) KeysUsed(_ context.Context, at map[verify.ID]time.Time) error {
	// Servers go through the keys in one order, or two of them could wait for each other.
	ids := slices.SortedFunc(maps.Keys(at), compareIDs)
	return s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, `UPDATE api_key SET used_at = $2 WHERE id = $1 AND used_at < $2`, id[:], millis(at[id])); err != nil {
				return err
			}
		}
		return nil
	})
}

// Consumer implements [account.Store].
func (s *Store) Consumer(ctx context.Context, consumer string) (k account.Key, err error) {
	k, err = pool.One(ctx, s.hot, scanConsumer, `SELECT id, project, name, hash, revoked_at, consumer_key, consumer_secret, expires_at, ends_at, `+isFenced("project")+`
		FROM api_key WHERE consumer_key = $1 AND consumer_key <> ''`, consumer)
	if errors.Is(err, sql.ErrNoRows) {
		return k, verify.ErrUnauthenticated
	}
	if err != nil {
		return k, unlessMoving("load consumer", err)
	}
	return k, nil
}

func scanConsumer(row scanner) (k account.Key, err error) {
	var id, hash, secret []byte
	var revoked, expires, ends int64
	var moving bool
	err = row.Scan(&id, &k.Project, &k.Name, &hash, &revoked, &k.Consumer, &secret, &expires, &ends, &moving)
	if err == nil && moving {
		err = verify.ErrMoving
	}
	copy(k.ID[:], id)
	copy(k.Hash[:], hash)
	copy(k.ConsumerSecret[:], secret)
	k.RevokedAt, k.ExpiresAt, k.EndsAt = fromMillis(revoked), fromMillis(expires), fromMillis(ends)
	return k, err
}

// ReplaceSecret implements [account.Store].
func (s *Store) ReplaceSecret(_ context.Context, k account.Key) error {
	return s.aloneFor(k.Project, func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
		result, err := tx.ExecContext(ctx, `UPDATE api_key SET hash = $2, expires_at = $3 WHERE id = $1 AND consumer_secret = $4 AND revoked_at = 0`,
			k.ID[:], k.Hash[:], millis(k.ExpiresAt), k.ConsumerSecret[:])
		return changedOne(result, err, verify.ErrUnauthenticated)
	})
}

// alone runs f in a transaction of its own, among the batches.
func (s *Store) alone(f func(ctx context.Context, tx *sql.Tx, now time.Time) error) error {
	return s.aloneFor("", f)
}

// aloneOf does so where f writes rows of a project, because an operator or a server says so. While the project moves to
// another database, it fails with [verify.ErrMoving].
func (s *Store) aloneOf(p verify.ProjectID, f func(ctx context.Context, tx *sql.Tx, now time.Time) error) error {
	return s.w.do(op{of: p, alone: f})
}

// aloneFor does so because a project asks for it, which takes one of its places.
func (s *Store) aloneFor(p verify.ProjectID, f func(ctx context.Context, tx *sql.Tx, now time.Time) error) error {
	return s.w.do(op{project: p, alone: f})
}

// changedOne turns "no row" into an error.
func changedOne(result sql.Result, err, none error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, none)
	}
	return nil
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// query collects all rows of a question.
func query[T any](ctx context.Context, db queryer, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, away("query", err)
	}
	return collect(rows, scan)
}

// readAll reads all rows of a question through a pool.
func readAll[T any](ctx context.Context, p *pool.Pool, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	all, err := pool.All(ctx, p, scan, text, args...)
	if err != nil {
		return nil, away("query", err)
	}
	return all, nil
}

func collect[T any](rows *sql.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, away("read rows", err)
	}
	return all, nil
}
