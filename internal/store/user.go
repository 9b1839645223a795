package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// userKey is a user's row.
type userKey struct {
	application verify.ID
	name        string
}

func (k userKey) compare(o userKey) int {
	if c := bytes.Compare(k.application[:], o.application[:]); c != 0 {
		return c
	}
	return strings.Compare(k.name, o.name)
}

func rowOf(k verify.UserKey) userKey { return userKey{k.Application, k.Name} }

// userOf is the row of the user that a verification is for.
func userOf(v *verify.Verification) userKey { return userKey{v.Application, v.User} }

// The first two columns are the key.
var userLayout = layout[verify.User]{
	idColumn("application", func(u *verify.User) *verify.ID { return &u.Application }),
	textColumn("name", func(u *verify.User) *string { return &u.Name }),
	textColumn("address", func(u *verify.User) *string { return &u.Address }),
	textColumn("number", func(u *verify.User) *phone.Number { return &u.NumberKey }),
	numberColumn("status", func(u *verify.User) *verify.UserStatus { return &u.Status }),
	idColumn("latest", func(u *verify.User) *verify.ID { return &u.Current }),
	logColumn("sends", func(u *verify.User) *limit.Log { return &u.Sends }),
	timeColumn("created_at", func(u *verify.User) *time.Time { return &u.CreatedAt }),
	timeColumn("updated_at", func(u *verify.User) *time.Time { return &u.UpdatedAt }),
	numberColumn("version", func(u *verify.User) *int { return &u.Version }),
	timeColumn("verified_at", func(u *verify.User) *time.Time { return &u.VerifiedAt }),
	numberColumn("prompts", func(u *verify.User) *int { return &u.Prompts }),
	timeColumn("denied_at", func(u *verify.User) *time.Time { return &u.DeniedAt }),
}

// What both engines say alike of users. A default application has none.
var (
	selectOwner = `SELECT project FROM application WHERE id = $1 AND version > 0`
	selectHome  = `SELECT project, imports FROM application WHERE id = $1 AND version > 0`
	selectUser  = `SELECT ` + userLayout.names() + ` FROM app_user WHERE application = $1 AND name = $2`
	insertUser  = `INSERT INTO app_user (` + userLayout.names() + `) VALUES (` + userLayout.dollars() + `)`
	upsertUser  = insertUser + `
		ON CONFLICT (application, name) DO UPDATE SET ` + userLayout[2:].set("excluded")
	deleteUser = `DELETE FROM app_user WHERE application = $1 AND name = $2`
)

// StartUser implements [verify.UserStore].
func (s *Store) StartUser(ctx context.Context, v *verify.Verification, req verify.UserStart) error {
	k := userOf(v)
	var begun verify.User
	kept := keep(ctx, &begun)
	if kept == nil {
		kept = keep(ctx, v)
	}
	begin := func(r *rows, started *verify.Verification, d *verify.Destination, now time.Time) error {
		if err := r.has(k.application, v.Project); err != nil {
			return err
		}
		u := verify.User{Application: k.application, Name: k.name, CreatedAt: now}
		if row := r.user(k); row != nil {
			u = row.value
		} else if !req.Associate {
			return verify.ErrNoUser
		}
		if err := u.Begin(started, d, req, now); err != nil {
			return err
		}
		r.put(u)
		begun = u
		return nil
	}
	o := op{user: k, keep: kept}
	if !req.Associate || !req.Unique {
		return s.start(v, o, req.Limits, begin)
	}
	return s.startUnique(ctx, v, o, req.Limits, begin)
}

// CheckUser implements [verify.UserStore].
func (s *Store) CheckUser(ctx context.Context, k verify.UserKey, g verify.Guess) (verify.Outcome, error) {
	var out verify.Outcome
	err := s.changeUser(op{withDestination: true, keep: keep(ctx, &out)}, k, func(r *rows, u *row[verify.User], now time.Time) (err error) {
		v := r.verification(u.value.Current)
		if v == nil {
			return verify.ErrNoCode
		}
		out, err = r.check(v, g, now)
		out.Verification = v.value.ID
		return err
	})
	return out, err
}

// Dissociate implements [verify.UserStore].
func (s *Store) Dissociate(_ context.Context, k verify.UserKey) error {
	return s.changeUser(op{}, k, func(r *rows, u *row[verify.User], now time.Time) error {
		u.value.Dissociate(r.current(u), now)
		u.dirty = true
		return nil
	})
}

// ImportUsers implements [verify.UserStore].
func (s *Store) ImportUsers(ctx context.Context, p verify.ProjectID, application verify.ID, users []verify.User, refused []error, by verify.ID) ([]verify.Imported, error) {
	var results []verify.Imported
	err := s.aloneKeeping(ctx, p, &results, func(ctx context.Context, tx *sql.Tx, now time.Time) (err error) {
		results, err = s.importUsers(ctx, tx, now, p, application, users, refused, keyActor(by))
		return err
	})
	return results, err
}

// ImportUsersBy does so because an operator says so.
func (s *Store) ImportUsersBy(_ context.Context, p verify.ProjectID, application verify.ID, users []verify.User, refused []error, actor string) (results []verify.Imported, err error) {
	err = s.aloneOf(p, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		results, err = s.importUsers(ctx, tx, now, p, application, users, refused, actor)
		return err
	})
	return results, err
}

// importUsers inserts the users that aren't there. Where somebody else inserts one meanwhile, it fails and is run again.
func (s *Store) importUsers(ctx context.Context, tx *sql.Tx, now time.Time, p verify.ProjectID, application verify.ID, users []verify.User, refused []error, actor string) ([]verify.Imported, error) {
	into, err := s.importsInto(ctx, tx, p, application)
	if err != nil {
		return nil, err
	}
	results, created := make([]verify.Imported, len(users)), 0
	for i := range users {
		u := &users[i]
		if refused[i] != nil {
			results[i].Err = refused[i]
			continue
		}
		there, err := userLayout.scan(tx.QueryRowContext(ctx, selectUser, application[:], u.Name))
		switch {
		case err == nil:
			results[i] = there.MeetsImport(u)
			continue
		case !errors.Is(err, sql.ErrNoRows):
			return nil, err
		}
		if results[i].Err, err = into.refuses(u, now); err != nil {
			return nil, err
		}
		if results[i].Err != nil {
			continue
		}
		if _, err := tx.ExecContext(ctx, insertUser, userLayout.arguments(u)...); err != nil {
			return nil, err
		}
		results[i].Created = true
		created++
	}
	if created == 0 {
		return results, nil
	}
	return results, audits(ctx, tx, now, p, []Audit{{Actor: actor, Action: "user import", Detail: fmt.Sprintf("%d users of application %s", created, application.Base62())}})
}

// DeleteUser implements [verify.UserStore].
func (s *Store) DeleteUser(_ context.Context, k verify.UserKey) error {
	return s.changeUser(op{}, k, func(r *rows, u *row[verify.User], now time.Time) error {
		r.remove(u, now)
		return nil
	})
}

// DeleteUserBy does so because an operator says so. The entry of the audit log outlives the user, so it doesn't name them.
func (s *Store) DeleteUserBy(_ context.Context, k verify.UserKey, actor string) error {
	return s.changeUser(op{}, k, func(r *rows, u *row[verify.User], now time.Time) error {
		r.remove(u, now)
		r.audits = append(r.audits, Audit{ID: verify.NewID(now), Project: k.Project, Actor: actor, Action: "user remove", Detail: "a user of application " + k.Application.Base62()})
		return nil
	})
}

// changeUser applies f to a user whose application is there, with his current verification loaded.
func (s *Store) changeUser(o op, k verify.UserKey, f func(*rows, *row[verify.User], time.Time) error) error {
	o.project, o.user, o.withCurrent = k.Project, rowOf(k), true
	o.apply = func(r *rows, now time.Time) error {
		if err := r.has(k.Application, k.Project); err != nil {
			return err
		}
		u := r.user(o.user)
		if u == nil {
			return verify.ErrNoUser
		}
		return f(r, u, now)
	}
	return s.w.do(o)
}

// User implements [verify.UserStore].
func (s *Store) User(ctx context.Context, k verify.UserKey) (verify.User, error) {
	if err := s.owns(ctx, k.Project, k.Application); err != nil {
		return verify.User{}, err
	}
	u, err := pool.One(ctx, s.hot, userLayout.scan, selectUser, k.Application[:], k.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return u, verify.ErrNoUser
	}
	if err != nil {
		return u, away("load user", err)
	}
	return u, nil
}

// A UserSearch looks for users in all applications of some projects.
type UserSearch struct {
	Among       []verify.ProjectID // none: all
	Application verify.ID          // zero: all
	Number      phone.Number       // its key; "": any, also none
	Name        string             // "": any
}

// A FoundUser is a user, with the project of their application.
type FoundUser struct {
	Project verify.ProjectID
	verify.User
}

// Key names the user.
func (u *FoundUser) Key() verify.UserKey {
	return verify.UserKey{Project: u.Project, Application: u.Application, Name: u.Name}
}

// FindUsers looks for users by number, by name or by both, and returns at most n. The keys of users begin with the application, so
// the database looks in each of them.
func (s *Store) FindUsers(ctx context.Context, search UserSearch, n int) ([]FoundUser, error) {
	args := []any{n}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	within, where := "version > 0", ""
	if len(search.Among) > 0 {
		var among []string
		for _, p := range search.Among {
			among = append(among, arg(p))
		}
		within += " AND project IN (" + strings.Join(among, ", ") + ")"
	}
	if !search.Application.IsZero() {
		within += " AND id = " + arg(search.Application[:])
	}
	if search.Number != "" {
		where += " AND number <> '' AND number = " + arg(search.Number) // both, for its index has no empty ones
	}
	if search.Name != "" {
		where += " AND name = " + arg(search.Name)
	}
	users, err := readAll(ctx, s.lists, userLayout.scan, `SELECT `+userLayout.names()+` FROM app_user
		WHERE application IN (SELECT id FROM application WHERE `+within+`)`+where+` ORDER BY application, name LIMIT $1`, args...)
	if err != nil || len(users) == 0 {
		return nil, err
	}
	var applications []verify.ID
	for _, u := range users {
		applications = append(applications, u.Application)
	}
	among, ids := s.among(applications)
	owners, err := readAll(ctx, s.lists, scanApplicationOwner, `SELECT id, project FROM application WHERE id IN `+among, ids)
	if err != nil {
		return nil, err
	}
	var found []FoundUser
	for _, u := range users {
		if i := slices.IndexFunc(owners, func(o applicationOwner) bool { return o.application == u.Application }); i >= 0 { // else it was deleted meanwhile
			found = append(found, FoundUser{owners[i].project, u})
		}
	}
	return found, nil
}

type applicationOwner struct {
	application verify.ID
	project     verify.ProjectID
}

func scanApplicationOwner(row scanner) (o applicationOwner, err error) {
	var id []byte
	err = row.Scan(&id, &o.project)
	copy(o.application[:], id)
	return o, err
}

// owns fails with [verify.ErrNoApplication] unless a project has an application.
func (s *Store) owns(ctx context.Context, p verify.ProjectID, application verify.ID) error {
	owner, err := pool.One(ctx, s.hot, scanValue[verify.ProjectID], selectOwner, application[:])
	if errors.Is(err, sql.ErrNoRows) || err == nil && owner != p {
		return verify.ErrNoApplication
	}
	if err != nil {
		return away("load application", err)
	}
	return nil
}

// userOrders are the columns that users are sorted by.
var userOrders = map[verify.UserOrder]string{
	verify.OrderByCreation: "created_at", verify.OrderByName: "name", verify.OrderByAddress: "address",
	verify.OrderByStatus: "status", verify.OrderByUpdate: "updated_at", verify.OrderByVersion: "version",
}

// userPage reads the users whose names another query finds. A cross join because SQLite keeps the order of
// its tables: else it may read all users in the page's order, and look for each among the names.
func userPage(names, order string) string {
	return `SELECT ` + userLayout.names() + ` FROM (SELECT name AS listed FROM (` + names + `) AS named) AS page CROSS JOIN app_user
		WHERE application = $1 AND name = listed` + order
}

// userOrder is the order of a column, and among users who are equal in it, of names.
func userOrder(column, way string) string {
	return fmt.Sprintf(" ORDER BY %s%s, name%s", column, way, way)
}

// Users implements [verify.UserStore].
func (s *Store) Users(ctx context.Context, p verify.ProjectID, application verify.ID, f verify.UserFilter, page verify.Page) (list []verify.User, total int, err error) {
	column, ok := userOrders[page.Order]
	if !ok {
		return nil, 0, fmt.Errorf("list users: there is no order %q", page.Order)
	}
	if err := s.owns(ctx, p, application); err != nil {
		return nil, 0, err
	}
	done, err := s.takeTurn(ctx, p)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	where, args := ` FROM app_user WHERE application = $1`, []any{application[:]}
	equal := func(column string, zero bool, value any) {
		if !zero {
			args = append(args, value)
			where += fmt.Sprintf(" AND %s = $%d", column, len(args))
		}
	}
	equal("name", f.Name == "", f.Name)
	equal("status", f.Status == 0, f.Status)
	equal("created_at", f.CreatedAt.IsZero(), f.CreatedAt.UnixMilli())
	equal("updated_at", f.UpdatedAt.IsZero(), f.UpdatedAt.UnixMilli())
	way := ""
	if page.Descending {
		way = " DESC"
	}
	// What is skipped is read in an index only: whole users are read of the page alone.
	order := userOrder(column, way)
	names := fmt.Sprintf("SELECT name%s%s LIMIT $%d OFFSET $%d", where, order, len(args)+1, len(args)+2)
	list, err = readAll(ctx, s.lists, userLayout.scan, userPage(names, order), append(slices.Clone(args), page.Limit, page.Offset)...)
	if err != nil {
		return nil, 0, err
	}
	if n := len(list); n < page.Limit && (n > 0 || page.Offset == 0) { // the last one: it says how many there are
		return list, page.Offset + n, nil
	}
	total, all, err := s.countUsers(ctx, where, args)
	if least := atLeast(page, len(list)); !all && least > 0 { // a caller that stops at the total must not stop here
		total = max(total, least+1)
	}
	return list, max(total, atLeast(page, len(list))), err
}

// atLeast is how many entries there must be for a page to have n.
func atLeast(page verify.Page, n int) int {
	if n == 0 {
		return 0
	}
	return page.Offset + n
}

// UsersAfter implements [verify.UserStore].
func (s *Store) UsersAfter(ctx context.Context, p verify.ProjectID, application verify.ID, status verify.UserStatus, n phone.Number, after string, limit int) ([]verify.User, error) {
	if err := s.owns(ctx, p, application); err != nil {
		return nil, err
	}
	done, err := s.takeTurn(ctx, p)
	if err != nil {
		return nil, err
	}
	defer done()
	where, args := "", []any{application[:], after, limit}
	if status != 0 {
		where, args = " AND status = $4", append(args, status)
	}
	if n != "" {
		args = append(args, n)
		where += fmt.Sprintf(" AND number <> '' AND number = $%d", len(args)) // both, for its index has no empty ones
	}
	return readAll(ctx, s.lists, userLayout.scan, `SELECT `+userLayout.names()+` FROM app_user WHERE application = $1 AND name > $2`+where+` ORDER BY name LIMIT $3`, args...)
}

// A count of users up to countedExactly is exact. To count more takes longer than a page, so a goroutine does it, for
// one filter at a time, in small steps between which it rests: counts take a tenth of a processor of the database,
// however many users and servers there are and however many callers list them. Its result is believed for countLasts, or
// countRests times as long as it took, but not for longer than countOld.
const (
	countedExactly = 10_000
	countLasts     = 10 * time.Second
	countRests     = 20
	countOld       = time.Minute
	countsKept     = 1000
	countStep      = 5_000 // users that are counted together
	countShare     = 10    // of counting: a tenth, see restAfter
	countPatience  = 300 * time.Millisecond
)

// A userCount is how many users passed a filter, and until when that is believed.
type userCount struct {
	n     int
	until time.Time
}

// A countWish is a filter whose users are to be counted.
type countWish struct {
	key   string
	where string
	args  []any
	done  chan struct{} // closed when they are, or can't be
}

// userCounts are the large ones of late.
type userCounts struct {
	mu       sync.Mutex // guards counts
	counts   *simplelru.LRU[string, userCount]
	wishes   chan countWish // taken by who counts
	patience time.Duration  // of a caller that asks for what nobody has counted
}

func (c *userCounts) get(key string) (userCount, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts.Get(key)
}

func (c *userCounts) add(key string, n int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Add(key, userCount{n, time.Now().Add(min(max(countLasts, countRests*took), countOld))})
}

// countUsers counts the users that pass a filter, or returns a late count. If there are more than have been counted
// so far, all is false.
func (s *Store) countUsers(ctx context.Context, where string, args []any) (n int, all bool, err error) {
	c := &s.counted
	key := fmt.Sprintf("%s %x", where, args)
	late, ok := c.get(key)
	if ok && time.Now().Before(late.until) {
		return late.n, true, nil
	}
	n, err = pool.One(ctx, s.lists, scanValue[int], fmt.Sprintf(`SELECT count(*) FROM (SELECT 1%s LIMIT %d) AS counted`, where, countedExactly+1), args...)
	if err != nil {
		return 0, false, away("count users", err)
	}
	if n <= countedExactly {
		return n, true, nil
	}
	wish := countWish{key, where, args, make(chan struct{})}
	select {
	case c.wishes <- wish:
	default: // another filter's users are being counted
		return max(n, late.n), ok, nil
	}
	if ok {
		return late.n, true, nil // older than it should be
	}
	patience := time.NewTimer(c.patience)
	defer patience.Stop()
	select {
	case <-wish.done:
	case <-patience.C:
	case <-ctx.Done():
	}
	late, ok = c.get(key)
	return max(n, late.n), ok, nil
}

// countWished counts what callers wish for, until ctx ends.
func (s *Store) countWished(ctx context.Context, wishes <-chan countWish) {
	for {
		select {
		case <-ctx.Done():
			return
		case w := <-wishes:
			began := time.Now()
			if n, err := s.countAll(ctx, w.where, w.args); err == nil {
				s.counted.add(w.key, n, time.Since(began))
			}
			close(w.done)
		}
	}
}

// countAll counts in steps.
func (s *Store) countAll(ctx context.Context, where string, args []any) (n int, err error) {
	text := fmt.Sprintf(`SELECT count(*), coalesce(max(name), '') FROM (SELECT name%s AND name > $%d ORDER BY name LIMIT %d) AS counted`,
		where, len(args)+1, countStep)
	type counted struct {
		n    int
		last string
	}
	for after := ""; ; {
		began := time.Now()
		step, err := pool.One(ctx, s.lists, func(row scanner) (c counted, err error) {
			err = row.Scan(&c.n, &c.last)
			return c, err
		}, text, append(slices.Clone(args), after)...)
		if err != nil {
			return 0, away("count users", err)
		}
		n += step.n
		if step.n < countStep {
			return n, nil
		}
		after = step.last
		rest(ctx, s.restAfter(time.Since(began), countShare))
	}
}

// takeTurn waits for a project's turn to list something. Call done after that.
func (s *Store) takeTurn(ctx context.Context, p verify.ProjectID) (done func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, s.turnWait)
	defer cancel()
	if err := s.turns.take(waiting, p); err != nil {
		return nil, err
	}
	began := time.Now()
	return func() { s.turns.give(p, min(s.restAfter(time.Since(began), listShare), longestRest)) }, nil
}

// supersession finds out whether a verification that was read is still its user's current one.
func (s *Store) supersession(ctx context.Context, v *verify.Verification) error {
	if v.User == "" {
		return nil
	}
	var u verify.User
	latest, err := pool.One(ctx, s.hot, scanID, `SELECT u.latest FROM app_user u JOIN application a ON a.id = u.application
		WHERE u.application = $1 AND u.name = $2`, v.Application[:], v.User)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return away("load user", err)
	}
	u.Current = latest
	v.Superseded = err != nil || u.Supersedes(v)
	return nil
}

// has fails with [verify.ErrNoApplication] unless a project has an application.
func (r *rows) has(application verify.ID, p verify.ProjectID) error {
	if home, ok := r.applications[application]; !ok || home.project != p {
		return verify.ErrNoApplication
	}
	return nil
}

// user returns a user's row, or nil where there is none (any more).
func (r *rows) user(k userKey) *row[verify.User] {
	if u := r.users[k]; u != nil && !u.gone {
		return u
	}
	return nil
}

// put has a user written, who may be new.
func (r *rows) put(u verify.User) {
	k := userKey{u.Application, u.Name}
	r.users[k] = &row[verify.User]{value: u, stored: r.users[k] != nil && r.users[k].stored, dirty: true}
}

// current returns a user's current verification, which will be written, or nil.
func (r *rows) current(u *row[verify.User]) *verify.Verification {
	v := r.verification(u.value.Current)
	if v == nil {
		return nil
	}
	v.dirty = true
	return &v.value
}

// check spends a guess at a verification, and tells its user. What it leaves as it was isn't written:
// the number's row after a success where there were no failures, which is how most guesses end.
func (r *rows) check(v *row[verify.Verification], g verify.Guess, now time.Time) (verify.Outcome, error) {
	d := r.destination(destinationKey{v.value.Project, v.value.To})
	u := r.user(userOf(&v.value))
	check := v.value.Check
	if u != nil {
		check = func(d *verify.Destination, g verify.Guess, now time.Time) (verify.Outcome, error) {
			return u.value.Check(&v.value, d, g, now)
		}
	}
	failures, waitUntil := d.value.Failures, d.value.WaitUntil
	out, err := check(&d.value, g, now)
	if err == nil {
		v.dirty, r.decided = true, v
		d.dirty = d.dirty || d.value.Failures != failures || !d.value.WaitUntil.Equal(waitUntil)
		if out.Approved {
			v.value.ApprovalUsage(r.use)
			if u != nil {
				u.dirty = true
			}
		}
	}
	return out, err
}

// answer records what a callee said, and tells the verification's user.
func (r *rows) answer(v *verify.Verification, s *verify.Settlement, now time.Time) error {
	d := r.destination(destinationKey{v.Project, v.To})
	u := r.user(userOf(v))
	answer := v.Answer
	if u != nil {
		answer = func(d *verify.Destination, s *verify.Settlement, now time.Time) (bool, error) {
			return u.value.Answer(v, d, s, now)
		}
	}
	approved, err := answer(&d.value, s, now)
	if approved {
		d.dirty = true
		v.ApprovalUsage(r.use)
		if u != nil {
			u.dirty = true
		}
	}
	return err
}

// remove deletes a user and cancels his current verification.
func (r *rows) remove(u *row[verify.User], now time.Time) {
	u.value.Drop(r.current(u), now)
	u.gone = true
}

// superseded reports whether a verification isn't its user's current one.
func (r *rows) superseded(v *verify.Verification) bool {
	if v.User == "" {
		return false
	}
	u := r.user(userOf(v))
	_, there := r.applications[v.Application]
	return !there || u == nil || u.value.Supersedes(v)
}
