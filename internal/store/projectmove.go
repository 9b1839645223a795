package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/verify"
)

// MoveProject moves a project from one PostgreSQL to another one, or from one schema to another one:
//
//  1. It puts up a [fence] in the database that the project leaves, and waits for the transactions that may not know of it.
//  2. It copies the project's rows in one transaction of the other database. Its commit is the turn: from then on the project is
//     there, and not before.
//  3. It writes down in the first database that the project is elsewhere, and deletes the rows there. The fence stays.
//
// Each step can be repeated. Until the turn, [AbortProjectMove] takes the fence down again. When a row has been deleted, nobody copies
// the rest, also if the other database has lost the turn since.
//
// Two locks keep a move that stands still, or has lost a connection, from copying what went on meanwhile. It holds the row of the move
// in the first database while it reads, and the one in the other database from before that until the turn. To abort takes both.

// moveHow says what becomes of a table's rows.
type moveHow int

const (
	moveStays  moveHow = iota // they are the database's
	moveCopied                // they go: nobody else has the like
	moveMerged                // they go, where they aren't there: some may be left of an earlier stay, or are others' as well
	moveMade                  // they are made of other rows there
)

// A movedTable says which rows of a table are a project's.
type movedTable struct {
	name  string
	how   moveHow
	where string // in the words of SQL; {p} is the project, {ids} are its verifications
	why   string // it isn't copied
}

const ofApplications = `application IN (SELECT id FROM application WHERE project = {p})`

// movedTables are all tables, those first that others refer to.
var movedTables = []movedTable{
	{"project", moveCopied, `id = {p}`, ""},
	{"application", moveCopied, `project = {p}`, ""},
	{"api_key", moveCopied, `project = {p}`, ""},
	{"message_template", moveCopied, `project = {p}`, ""},
	{"text_template", moveCopied, `project = {p}`, ""},
	{"app_user", moveCopied, ofApplications, ""},
	{"device", moveCopied, ofApplications, ""},
	{"enrolment", moveCopied, ofApplications, ""},
	{"destination", moveCopied, `project = {p}`, ""},
	{"verification", moveCopied, `id IN {ids}`, ""},
	{"delivery", moveCopied, `verification IN {ids}`, ""},
	{"made_with", moveMerged, `key_id IN (SELECT key_id FROM verification WHERE id IN {ids})`, ""},
	{"kept_answer", moveMerged, `project IN ({p}, '')`, ""}, // nobody finds those of others: a name has the project in its hash
	{"kept_count", moveCopied, `project = {p}`, ""},
	{"budget", moveCopied, ofBudgets, ""},
	{"spending", moveCopied, ofBudgets, ""},
	{"ledger", moveCopied, `project = {p}`, ""},
	{"audit", moveMerged, `project = {p}`, ""}, // and stays as well
	{"phone", moveMerged, `verification IN {ids}`, ""},
	{"usage_hour", moveCopied, `project = {p}`, ""},
	{"usage_day", moveCopied, `project = {p}`, ""},

	{"retry", moveMade, "", "one hint is left for each open message"},
	{"usage_month", moveMade, "", "the triggers of usage_day add it up"},
	{"usage_sum", moveMade, "", "the triggers of usage_day add it up"},

	{"deleted_application", moveStays, "", "whose it was isn't known any more, and its users are being deleted"},
	{"key_holder", moveStays, "", "the servers of the database"},
	{"moving", moveStays, "", "a move of the whole database"},
	{"operator", moveStays, "", "people, who use the console of one database"},
	{"operator_passkey", moveStays, "", "theirs"},
	{"operator_session", moveStays, "", "theirs"},
	{"project_move", moveStays, "", "the fence"},
	{"server", moveStays, "", "the database's identity"},
	{"sign_in_source", moveStays, "", "addresses from which operators signed in"},
	{"stop", moveStays, "", "countries and carriers, of all projects"},
	{"sweep_gate", moveStays, "", "no rows"},
	{"watermark", moveStays, "", "the database's"},
	{"weight", moveStays, "", "routes, of all projects"},
}

// ofBudgets are a project's, and a country's for the project.
const ofBudgets = `(project = {p} OR starts_with(project, {p} || '/'))`

// ofProject are the words of SQL for a project: COPY takes no parameters.
func ofProject(text string, p verify.ProjectID) string {
	literal := `'` + strings.ReplaceAll(string(p), `'`, `''`) + `'`
	return strings.NewReplacer(`{p}`, literal, `{ids}`, `(SELECT id FROM leaving)`).Replace(text)
}

// settleMove is how long a move waits for servers to forget an account that they remember, with a margin.
const settleMove = account.Remembered + 200*time.Millisecond

// moveLimit bounds how long we wait for a lock, for older transactions, and for standbys.
const moveLimit = 30 * time.Second

// A ProjectMoving says what [MoveProject] shall do.
type ProjectMoving struct {
	Project  verify.ProjectID
	From, To Shard
	Actor    string
	Progress func(step string) // may be nil

	// at is called at each step, which fails with its error as if the process had ended there; nil outside of tests.
	at func(step string) error
	// settle is how long to wait for servers to forget an account that they remember; default settleMove.
	settle time.Duration
	// tell is how long servers have to say that they serve both databases; default serversTell.
	tell time.Duration
	// stand is how long we may stand still in a transaction that doesn't copy; default moveLimit.
	stand time.Duration
}

// serversTell is longer than a server that was just started takes to say which databases it serves.
const serversTell = 10 * time.Second

// A ProjectMoved says what [MoveProject] has done.
type ProjectMoved struct {
	Rows   int           // copied; 0 if that was done before
	Fenced time.Duration // until the turn; 0 if the fence was put up before
}

// ErrTurned refuses to abort a move whose project is in the other database already.
var ErrTurned = errors.New("the project is there already, and works: run the command again without --abort")

// errCrash ends a move in a test as a crash does.
var errCrash = errors.New("crash")

// MoveProject moves a project. It goes on with a move that was stopped. If it fails before the turn, it takes the fence down
// again.
func MoveProject(ctx context.Context, w ProjectMoving) (done ProjectMoved, err error) {
	m, err := openMove(ctx, w)
	if err != nil {
		return done, err
	}
	defer m.close()
	began := time.Now()
	known, err := m.begin(ctx)
	if err != nil {
		return done, err
	}
	if m.leaving {
		return done, m.finish(ctx)
	}
	if done.Rows, err = m.bring(ctx); err != nil {
		if errors.Is(err, errCrash) || known && errors.Is(err, errForeign) {
			return done, err
		}
		return done, errors.Join(err, m.retreat())
	}
	if !known {
		done.Fenced = time.Since(began)
	}
	return done, m.finish(ctx)
}

// finish deletes what is left.
func (m *projectMove) finish(ctx context.Context) error {
	err := m.leave(ctx)
	if err == nil {
		err = m.clear(ctx)
	}
	switch {
	case err == nil, errors.Is(err, errLostTurn), errors.Is(err, errFaster):
	case errors.Is(err, errHeld):
		err = fmt.Errorf("run the command again, to see whether the project is on shard %s, and to delete what is left on shard %s: %w", m.To.Name, m.From.Name, err)
	default:
		err = fmt.Errorf("the project is on shard %s, and works; run the command again, to delete what is left on shard %s: %w", m.To.Name, m.From.Name, err)
	}
	return err
}

// errLostTurn stops a move before it deletes what is nowhere else.
var errLostTurn = errors.New("the other shard has lost the project, because it was restored or its standby was promoted")

// leave writes down that the project is in the other database, if it still is. From then on nothing is copied.
func (m *projectMove) leave(ctx context.Context) error {
	if err := m.to.awaitRow(ctx, m.Project); err != nil {
		return err
	}
	if err := m.turned(ctx); err != nil {
		return err
	}
	if err := m.to.awaitStandbys(ctx); err != nil {
		return err
	}
	err := m.again(ctx, func() error {
		was, err := m.from.readMove(ctx, m.Project, " FOR UPDATE")
		if err != nil {
			return err
		}
		if !m.begun(was) {
			return errFaster
		}
		return m.from.write(ctx, m.Project, moveRow{state: stateLeaving, other: m.To.Name, id: m.id})
	})
	if err != nil {
		return err
	}
	return m.step("left")
}

// begun reports whether a row of the first database says that this move is under way.
func (m *projectMove) begun(r moveRow) bool {
	return r.underWay() && bytes.Equal(r.id, m.id)
}

// errFaster says that another command has ended the move.
var errFaster = errors.New("another command was faster: run this one again")

// turned fails unless the project is in the other database by this move, and no other command has ended it.
func (m *projectMove) turned(ctx context.Context) error {
	here, err := m.from.readMove(ctx, m.Project, "")
	if err != nil {
		return err
	}
	if !m.begun(here) {
		return errFaster
	}
	there, err := m.to.readMove(ctx, m.Project, "")
	if err != nil {
		return err
	}
	has, err := m.to.has(ctx, m.Project)
	if err != nil {
		return err
	}
	if !has || !there.is(stateArrived, m.id) {
		return fmt.Errorf("%w: restore shard %s to a state after the move; shard %s has what isn't deleted yet", errLostTurn, m.To.Name, m.From.Name)
	}
	return nil
}

// retreat takes the fence down after an error.
func (m *projectMove) retreat() error {
	ctx, cancel := context.WithTimeout(context.Background(), doubtLimit+moveLimit)
	defer cancel()
	m.close() // and what is open there
	err := abort(ctx, m.ProjectMoving, m.id)
	switch {
	case errors.Is(err, errOther):
		return nil // the first error says it
	case err == nil:
		return fmt.Errorf("the project stays on shard %s", m.From.Name)
	case errors.Is(err, ErrTurned):
		return fmt.Errorf("the project is on shard %s, and works; run the command again, to delete what is left on shard %s", m.To.Name, m.From.Name)
	}
	return fmt.Errorf("run the command again, or with --abort: its requests are answered 503 until then: %w", err)
}

// A projectMove is one run of [MoveProject].
type projectMove struct {
	ProjectMoving
	from, to *moveEnd
	id       []byte
	leaving  bool           // it was stopped after the turn, when something may have been deleted
	lost     bool           // the other database may have had the project, decided about it, and lost it again
	needs    []keyset.Print // the keys of what is pending, of devices and of kept answers
	deleted  int64          // by this pass of clear
	fenced   time.Time      // since when, at the latest, all servers meet the fence
}

// A moveEnd is one of the two databases.
type moveEnd struct {
	*pgx.Conn
	server *server
	name   string // of the database and the schema, among all
	shard  string
	stand  time.Duration

	identity string // another one after a promotion or a restore that may have lost something
}

func openMove(ctx context.Context, w ProjectMoving) (m *projectMove, err error) {
	if w.From.Postgres == nil || w.To.Postgres == nil {
		return nil, errors.New("only PostgreSQL has shards")
	}
	w.settle, w.tell, w.stand = cmp.Or(w.settle, settleMove), cmp.Or(w.tell, serversTell), cmp.Or(w.stand, moveLimit)
	m = &projectMove{ProjectMoving: w}
	for _, end := range []struct {
		at *(*moveEnd)
		s  Shard
	}{{&m.from, w.From}, {&m.to, w.To}} {
		if *end.at, err = openMoveEnd(ctx, end.s, w.stand); err != nil {
			m.close()
			return nil, fmt.Errorf("shard %s: %w", end.s.Name, err)
		}
	}
	if m.from.name == m.to.name {
		m.close()
		return nil, fmt.Errorf("shards %s and %s are one database", w.From.Name, w.To.Name)
	}
	return m, nil
}

func openMoveEnd(ctx context.Context, s Shard, stand time.Duration) (*moveEnd, error) {
	conn, err := s.connectPatiently(ctx)
	if err != nil {
		return nil, err
	}
	e := &moveEnd{Conn: conn, shard: s.Name, stand: stand, server: newServer(s.Postgres, Options{}, newClock(nil, nil), &witness{})}
	if err := e.prepare(ctx); err != nil {
		conn.Close(ctx)
		return nil, err
	}
	return e, nil
}

// prepare looks at the database as servers do before they use it.
func (e *moveEnd) prepare(ctx context.Context) error {
	if _, err := e.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false), set_config('lock_timeout', $1, false),
			set_config('idle_in_transaction_session_timeout', $2, false), set_config('client_min_messages', 'warning', false),
			set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '4', false)`,
		pgx.QueryExecModeSimpleProtocol, fmt.Sprint(moveLimit.Milliseconds()), fmt.Sprint(e.stand.Milliseconds())); err != nil {
		return err
	}
	if _, err := e.Exec(ctx, `SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')`); err != nil { // not every version has them
		return err
	}
	if err := refuseLossy(ctx, e.Conn, "the server", `SELECT name, setting FROM pg_settings`); err != nil {
		return err
	}
	if there, err := hasCitus(ctx, e.Conn); err != nil {
		return err
	} else if there {
		if err := e.prepareCitus(ctx); err != nil {
			return err
		}
	}
	if err := unmoved(ctx, e.Conn); err != nil {
		return err
	}
	epoch, err := e.server.recognize(ctx, e.Conn)
	if err == nil && epoch == 0 {
		return errors.New("the database isn't PostgreSQL: project move needs its locks")
	}
	if err != nil {
		return err
	}
	found, err := e.server.look(ctx, e.Conn)
	e.name, e.identity = found.database(), strings.Join([]string{found.was.system, found.was.timeline, found.was.incarnation}, " ")
	return err
}

// prepareCitus looks at the worker as well. What a transaction sets for itself shall reach it. Where the worker is the server that we are
// connected to, it is reached in the same way: it couldn't join our temporary tables otherwise.
func (e *moveEnd) prepareCitus(ctx context.Context) error {
	if _, err := e.Exec(ctx, `SELECT set_config('citus.propagate_set_commands', 'local', false), set_config('citus.enable_local_execution', 'off', false),
			set_config('citus.max_intermediate_result_size', '-1', false)`); err != nil {
		return err
	}
	return e.server.configureCitus(ctx, e.Conn)
}

// onCitus reports whether the schema is distributed.
func (e *moveEnd) onCitus() bool { return e.server.citus.Load() != nil }

// enter does what each transaction does first. On Citus the worker has limits of its own, and the schema stays on it.
func (e *moveEnd) enter(ctx context.Context) error {
	if !e.onCitus() {
		return nil
	}
	if _, err := e.Exec(ctx, `SET LOCAL lock_timeout = `+fmt.Sprint(moveLimit.Milliseconds())); err != nil {
		return err
	}
	if _, err := e.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
		return err
	}
	if err := e.standAtMost(ctx, e.stand); err != nil {
		return err
	}
	_, err := e.Exec(ctx, citusStay)
	return err
}

// standAtMost has the database end the transaction if the command sends nothing for longer than a limit; 0 is no limit. The command sends
// nothing to one database while it waits for the other one, too.
func (e *moveEnd) standAtMost(ctx context.Context, limit time.Duration) error {
	_, err := e.Exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = `+fmt.Sprint(limit.Milliseconds()))
	return err
}

// schemaStays fails while Citus moves the schema, and keeps such a move from beginning until the transaction ends.
func (e *moveEnd) schemaStays(ctx context.Context) error {
	if !e.onCitus() {
		return nil
	}
	if _, err := e.Exec(ctx, `SELECT FROM server WHERE name = 'primary' FOR SHARE`); err != nil {
		return err
	}
	var moves bool
	if err := e.QueryRow(ctx, `SELECT EXISTS (SELECT FROM server WHERE name = 'next')`).Scan(&moves); err != nil {
		return err
	}
	if moves {
		return fmt.Errorf("the schema of shard %s is being moved to another worker: wait for that, or run countersign schema move again if it was killed", e.shard)
	}
	return nil
}

func (m *projectMove) close() {
	for _, e := range []*moveEnd{m.from, m.to} {
		if e != nil {
			e.Close(context.Background())
		}
	}
}

// step notes that a step is done.
func (m *projectMove) step(name string) error {
	if m.Progress != nil {
		m.Progress(name)
	}
	if m.at == nil {
		return nil
	}
	if err := m.at(name); err != nil {
		m.close()
		return fmt.Errorf("%w: %w", errCrash, err)
	}
	return nil
}

// A moveRow is the row of a move in one of the databases.
type moveRow struct {
	state, other string
	id           []byte
	target       string // the identity, when the fence was put up, of the database to which the project goes
}

// is reports whether the row says this of this move.
func (r moveRow) is(state string, id []byte) bool { return r.state == state && bytes.Equal(r.id, id) }

// underWay reports whether a move away from the database has begun, and hasn't ended.
func (r moveRow) underWay() bool { return r.state == stateMoving || r.state == stateLeaving }

// has reports whether the database has a project.
func (e *moveEnd) has(ctx context.Context, p verify.ProjectID) (there bool, err error) {
	err = e.QueryRow(ctx, `SELECT EXISTS (SELECT FROM project WHERE id = $1)`, string(p)).Scan(&there)
	return there, err
}

// readMove reads it, or returns none.
func (e *moveEnd) readMove(ctx context.Context, p verify.ProjectID, lock string) (r moveRow, err error) {
	err = e.QueryRow(ctx, `SELECT state, other, id, target FROM project_move WHERE project = $1`+lock, string(p)).Scan(&r.state, &r.other, &r.id, &r.target)
	if errors.Is(err, pgx.ErrNoRows) {
		return moveRow{}, nil
	}
	return r, err
}

// awaitRow waits until no transaction holds the row. On Citus the turn itself may hold it, when a server has failed between the phases of the
// turn's commit. Readers see the old row until that commit ends. Citus ends it within a minute, or immediately when a role that may
// asks the server that began it.
func (e *moveEnd) awaitRow(ctx context.Context, p verify.ProjectID) error {
	limit, pause := moveLimit, 10*gateLook
	if e.onCitus() {
		limit, pause = doubtLimit, time.Second
	}
	for until := time.Now().Add(limit); ; {
		err := e.in(ctx, func() error {
			_, err := e.readMove(ctx, p, " FOR SHARE NOWAIT")
			return err
		})
		if pgCode(err) != codeLockTimeout {
			return err
		}
		if time.Now().After(until) {
			if e.onCitus() {
				return fmt.Errorf("shard %s: %w; or Citus hasn't ended the commit of the turn, which it does within a minute", e.shard, errHeld)
			}
			return errHeld
		}
		if e.onCitus() {
			if _, err := e.Exec(ctx, `SELECT recover_prepared_transactions()`); err != nil && pgCode(err) == "" {
				return err
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// doubtLimit is longer than Citus takes by itself to end a commit that is in doubt, unless citus.recover_2pc_interval says otherwise.
const doubtLimit = 75 * time.Second

// errHeld says that a lock wasn't to be had.
var errHeld = errors.New("another command still moves this project, or one from or to the same shard: wait for it, or stop it")

// in runs f in a transaction.
func (e *moveEnd) in(ctx context.Context, f func() error) error {
	return pgx.BeginTxFunc(ctx, e.Conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(pgx.Tx) error {
		if err := e.enter(ctx); err != nil {
			return err
		}
		return f()
	})
}

// write writes the row.
func (e *moveEnd) write(ctx context.Context, p verify.ProjectID, r moveRow) error {
	_, err := e.Exec(ctx, `INSERT INTO project_move (project, state, id, other, began_at, target) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (project) DO UPDATE SET state = excluded.state, id = excluded.id, other = excluded.other, began_at = excluded.began_at, target = excluded.target`,
		string(p), r.state, r.id, r.other, millis(e.server.clock.now()), r.target)
	return err
}

// tellLimit bounds how long a row may be locked that all projects' operations need on Citus: see [passFence].
const tellLimit = 2 * time.Second

// tell has all groups look at the fence again. It comes last in its transaction.
func (e *moveEnd) tell(ctx context.Context) error {
	if err := e.standAtMost(ctx, tellLimit); err != nil {
		return err
	}
	_, err := e.Exec(ctx, `UPDATE watermark SET id = id WHERE name = 'void'`)
	return err
}

// note writes down in the audit log what becomes of a project.
func (e *moveEnd) note(ctx context.Context, w *ProjectMoving, detail string) error {
	id := verify.NewID(e.server.clock.now())
	_, err := e.Exec(ctx, `INSERT INTO audit (id, actor, action, project, detail) VALUES ($1, $2, 'project move', $3, $4)`, id[:], w.Actor, string(w.Project), detail)
	return err
}

// begin puts up the fence, or finds that of a move that was stopped.
func (m *projectMove) begin(ctx context.Context) (known bool, err error) {
	was, err := m.from.readMove(ctx, m.Project, "")
	switch {
	case err != nil:
		return false, err
	case was.underWay() && was.other != m.To.Name:
		return false, fmt.Errorf("the project is being moved from shard %s to shard %s: say --to %[2]s, or --abort", m.From.Name, was.other)
	case was.underWay():
		m.id, m.leaving, m.lost = was.id, was.state == stateLeaving, was.target != m.to.identity
		return true, nil
	}
	if err := m.check(ctx); err != nil {
		return false, err
	}
	m.id = make([]byte, 16)
	rand.Read(m.id)
	if err := m.expect(ctx); err != nil {
		return false, err
	}
	if err := m.step("expected"); err != nil {
		return false, err
	}
	if err := m.checkOthers(ctx); err != nil { // of two that began at the same time, one at least sees the other
		return false, errors.Join(err, m.unexpect())
	}
	if err := m.putUp(ctx); err != nil {
		if pgCode(err) == codeLockTimeout {
			err = fmt.Errorf("shard %s: %w: %w", m.From.Name, errHeld, err)
		}
		return false, errors.Join(err, m.unexpect())
	}
	return false, m.step("fenced")
}

// unexpect says in the other database that the project doesn't arrive, where no fence was put up. Should there be one all the same, because
// only its answer was lost, the move can be aborted.
func (m *projectMove) unexpect() error {
	ctx, cancel := context.WithTimeout(context.Background(), moveLimit)
	defer cancel()
	_, err := m.to.Exec(ctx, `UPDATE project_move SET state = $1 WHERE project = $2 AND id = $3 AND state = $4`, stateMoved, string(m.Project), m.id, stateArriving)
	return err
}

// expect says in the other database that the project will arrive.
func (m *projectMove) expect(ctx context.Context) error {
	return m.to.in(ctx, func() error {
		if err := m.to.schemaStays(ctx); err != nil {
			return err
		}
		was, err := m.to.readMove(ctx, m.Project, " FOR UPDATE")
		if err != nil {
			return err
		}
		there, err := m.to.has(ctx, m.Project)
		if err != nil {
			return err
		}
		if there || was.underWay() {
			return fmt.Errorf("shard %s has a project %s as well", m.To.Name, m.Project)
		}
		return m.to.write(ctx, m.Project, moveRow{state: stateArriving, other: m.From.Name, id: m.id})
	})
}

// putUp puts up the fence.
func (m *projectMove) putUp(ctx context.Context) error {
	return m.from.in(ctx, func() error {
		if err := m.from.schemaStays(ctx); err != nil {
			return err
		}
		var name string
		err := m.from.QueryRow(ctx, `SELECT name FROM project WHERE id = $1`, string(m.Project)).Scan(&name)
		if errors.Is(err, pgx.ErrNoRows) {
			err = verify.ErrNoProject
		}
		if err != nil {
			return err
		}
		was, err := m.from.readMove(ctx, m.Project, " FOR UPDATE")
		if err != nil {
			return err
		}
		if was.state != "" && was.state != stateArrived {
			return errors.New("another command has begun to move the project: run this one again")
		}
		if err := m.from.write(ctx, m.Project, moveRow{stateMoving, m.To.Name, m.id, m.to.identity}); err != nil {
			return err
		}
		if err := m.from.note(ctx, &m.ProjectMoving, fmt.Sprintf("%q from shard %s to shard %s: begun", name, m.From.Name, m.To.Name)); err != nil {
			return err
		}
		return m.from.tell(ctx)
	})
}

// check fails where a move would lose something.
func (m *projectMove) check(ctx context.Context) error {
	versions := [2]int64{}
	for i, e := range []*moveEnd{m.from, m.to} {
		if err := e.QueryRow(ctx, readVersion).Scan(&versions[i]); err != nil {
			return err
		}
	}
	if versions[0] != versions[1] {
		return fmt.Errorf("the tables of shards %s and %s have versions %d and %d: run countersign migrate schema first", m.From.Name, m.To.Name, versions[0], versions[1])
	}
	if err := m.checkKeys(ctx); err != nil {
		return err
	}
	if err := m.checkOthers(ctx); err != nil {
		return err
	}
	if err := m.awaitServers(ctx); err != nil {
		return err
	}
	if err := m.awaitOlder(ctx, lookLimit); err != nil { // a backup would keep the fence up for nothing
		return err
	}
	return m.checkVoid(ctx, ofProject("SELECT id FROM verification WHERE project = {p}", m.Project))
}

// checkKeys fails if the databases have different keys under one number: what was made with one couldn't be opened.
func (m *projectMove) checkKeys(ctx context.Context) error {
	prints := map[int64][]byte{}
	for _, e := range []*moveEnd{m.from, m.to} {
		rows, err := e.Query(ctx, `SELECT key_id, print FROM made_with`)
		if err != nil {
			return err
		}
		var id int64
		var print []byte
		if _, err := pgx.ForEachRow(rows, []any{&id, &print}, func() error {
			if known, ok := prints[id]; ok && !bytes.Equal(known, print) {
				return fmt.Errorf("shards %s and %s have different keysets", m.From.Name, m.To.Name)
			}
			prints[id] = bytes.Clone(print)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// checkOthers fails while other projects move to where this one is, or from where it goes. Who reads a database keeps out who writes its
// turn there, and each of the two would wait for the other one.
func (m *projectMove) checkOthers(ctx context.Context) error {
	for _, way := range []struct {
		at           *moveEnd
		state, words string
	}{{m.from, stateArriving, "to"}, {m.to, stateMoving, "from"}} {
		others, err := way.at.underWay(ctx, way.state, m.Project)
		if err != nil {
			return err
		}
		if len(others) > 0 {
			return fmt.Errorf("project %s is being moved %s shard %s: run this command again after that", others[0], way.words, way.at.shard)
		}
	}
	return nil
}

// checkOthersHeld does so when the move holds its own rows: of two that hold theirs, one at least sees the other. It keeps no lock.
func (m *projectMove) checkOthersHeld(ctx context.Context) error {
	ends := []*moveEnd{m.from, m.to}
	for _, e := range ends {
		if _, err := e.Exec(ctx, `SAVEPOINT looked`); err != nil {
			return err
		}
	}
	if err := m.checkOthers(ctx); err != nil {
		return err
	}
	for _, e := range ends {
		if _, err := e.Exec(ctx, `ROLLBACK TO SAVEPOINT looked`); err != nil {
			return err
		}
	}
	return nil
}

// moveYoung is for how long a move is taken for one that runs, though it holds no row yet: longer than the waits before that take.
const moveYoung = 3 * time.Minute

// underWay returns the projects but one whose row says a state, and whose moves run: they hold that row, or have just begun.
func (e *moveEnd) underWay(ctx context.Context, state string, but verify.ProjectID) (all []string, err error) {
	ask := func(text string, args ...any) ([]string, error) {
		rows, err := e.Query(ctx, `SELECT project FROM project_move WHERE state = $1 AND project <> $2`+text, append([]any{state, string(but)}, args...)...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if all, err = ask(` ORDER BY project`); err != nil || len(all) == 0 {
		return nil, err
	}
	idle, err := ask(` AND began_at < $3 FOR UPDATE SKIP LOCKED`, millis(e.server.clock.now().Add(-moveYoung)))
	return slices.DeleteFunc(all, func(p string) bool { return slices.Contains(idle, p) }), err
}

// awaitServers fails unless each server that runs on one of the databases serves the other one as well. One of a version that
// knows no fence would go on with the project, and one that can't tell how a message of before ended would have it sent again.
func (m *projectMove) awaitServers(ctx context.Context) error {
	if err := m.need(ctx); err != nil {
		return err
	}
	for until := time.Now().Add(m.tell); ; {
		problem, err := m.unfit(ctx)
		if err != nil || problem == nil {
			return err
		}
		if time.Now().After(until) {
			return problem
		}
		select {
		case <-time.After(10 * gateLook):
		case <-ctx.Done():
			return problem
		}
	}
}

// need reads which keys the project needs.
func (m *projectMove) need(ctx context.Context) error {
	rows, err := m.from.Query(ctx, ofProject(`SELECT key_id, print, used_at FROM made_with WHERE key_id IN (
		SELECT key_id FROM verification WHERE project = {p} AND status = 0 UNION SELECT key_id FROM device WHERE `+ofApplications+` UNION SELECT key_id FROM kept_answer WHERE project = {p})`, m.Project))
	if err != nil {
		return err
	}
	m.needs, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (keyset.Print, error) {
		k, err := scanMadeWith(row)
		return k.Print, err
	})
	return err
}

// unfit says which server the project can't move with. The second error says that we couldn't look.
func (m *projectMove) unfit(ctx context.Context) (problem, err error) {
	for _, way := range [][2]*moveEnd{{m.from, m.to}, {m.to, m.from}} {
		at, other := way[0], way[1]
		servers, err := at.servers(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range servers {
			switch {
			case len(s.Serves) == 0:
				return fmt.Errorf("a server of an older version, which doesn't know that projects move, runs on shard %s, or was killed less than %.0f s ago: update all servers first", at.shard, holderLife.Seconds()), nil
			case at == m.to && len(s.Lacks(m.needs)) > 0:
				return fmt.Errorf("the server on %s serves shard %s, and lacks key %d, which made something of the project: give all servers the same keyset", s.Host, at.shard, s.Lacks(m.needs)[0].ID), nil
			case !slices.Contains(s.Serves, other.name):
				return fmt.Errorf("the server on %s serves shard %s, but not shard %s, or was killed less than %.0f s ago: stop it, or give it both in database.shards", s.Host, at.shard, other.shard, holderLife.Seconds()), nil
			}
		}
	}
	return nil, nil
}

// servers are those that run.
func (e *moveEnd) servers(ctx context.Context) ([]keyset.Holder, error) {
	rows, err := e.Query(ctx, holderRows+` WHERE seen_at > (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1`, holderLife.Milliseconds())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (keyset.Holder, error) { return scanHolder(row) })
}

// checkVoid fails if codes would be void in the other database, because it was restored, or its standby was promoted, while they
// were pending here.
func (m *projectMove) checkVoid(ctx context.Context, ids string) error {
	var void []byte
	if err := m.to.QueryRow(ctx, `SELECT id FROM watermark WHERE name = 'void'`).Scan(&void); err != nil {
		return err
	}
	var n int
	var until int64
	if err := m.from.QueryRow(ctx, `SELECT count(*), coalesce(max(v.expires_at), 0) FROM verification v, watermark w WHERE w.name = 'void'
			AND v.id > w.id AND v.id <= $1 AND v.status = 0 AND v.expires_at > $2 AND v.id IN (`+ids+`)`, void, millis(m.from.server.clock.now())).Scan(&n, &until); err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("what was pending on shard %s was voided lately: %d codes of the project would be void there. Move it after they have ended, at %s", m.To.Name, n, fromMillis(until).UTC().Format(time.DateTime+" UTC"))
	}
	return nil
}

// bring copies the project, if that isn't done, up to the turn.
func (m *projectMove) bring(ctx context.Context) (rows int, err error) {
	m.fenced = time.Now()
	up, err := m.from.readMove(ctx, m.Project, "") // Citus may commit late: others must see the fence before we look who began before
	if err != nil {
		return 0, err
	}
	if !up.is(stateMoving, m.id) {
		return 0, fmt.Errorf("the fence isn't up on shard %s: the move was aborted, or its commit is late", m.From.Name)
	}
	if err := m.checkOthers(ctx); err != nil { // if this move goes on, it wasn't in others' way meanwhile
		return 0, err
	}
	if err := m.awaitOlder(ctx, moveLimit); err != nil {
		return 0, err
	}
	if err := m.from.awaitStandbys(ctx); err != nil {
		return 0, err
	}
	if err := m.awaitServers(ctx); err != nil { // that were started since we looked, and have not known of the fence
		return 0, err
	}
	if err := m.step("alone"); err != nil {
		return 0, err
	}
	if err := m.to.awaitRow(ctx, m.Project); err != nil {
		return 0, err
	}
	source, err := m.from.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return 0, err
	}
	defer source.Rollback(context.WithoutCancel(ctx)) // it writes nothing
	if err := m.from.enter(ctx); err != nil {
		return 0, err
	}
	if err := m.from.standAtMost(ctx, 0); err != nil {
		return 0, err
	}
	if err := m.holdSource(ctx); err != nil {
		return 0, err
	}
	// Servers say every few seconds which keys they use. That it is known of the project's is no harm without it.
	if err := m.to.in(ctx, func() error {
		if err := m.to.standAtMost(ctx, 0); err != nil {
			return err
		}
		_, err := m.tables(ctx, func(t movedTable) bool { return t.name == "made_with" })
		return err
	}); err != nil {
		return 0, err
	}
	err = m.to.in(ctx, func() error {
		turned, err := m.holdTarget(ctx)
		if err != nil || turned {
			return err
		}
		if err := m.checkOthersHeld(ctx); err != nil {
			return err
		}
		if err := m.to.standAtMost(ctx, 0); err != nil {
			return err
		}
		rows, err = m.copy(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	return rows, m.step("turned")
}

// lookLimit is how long transactions may take that end by themselves, those of servers.
const lookLimit = 5 * time.Second

// These list the transactions that hold a lock by which they may have looked at the fence. On Citus each transaction locks the shard of the
// watermarks on its worker before anything else, whichever server it came by: see citusStay.
const (
	pgHolders = `SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted AND pid <> pg_backend_pid()
		AND relation IN ('watermark'::regclass, 'project_move'::regclass) AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	citusHolders = `SELECT DISTINCT l.virtualtransaction FROM pg_lock_status() l, watermark w WHERE w.name = 'void'
		AND l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND l.relation = w.tableoid`
)

// awaitOlder waits until all transactions have ended that may not know of the fence.
func (m *projectMove) awaitOlder(ctx context.Context, limit time.Duration) error {
	holders := pgHolders
	if m.from.onCitus() {
		holders = citusHolders
	}
	over := time.After(limit) // it ends no query: the connection would end with it
	var first []string
	for look := 0; ; look++ {
		rows, err := m.from.Query(ctx, holders)
		if err != nil {
			return err
		}
		now, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if look == 0 {
			first = now
		}
		if first = slices.DeleteFunc(first, func(id string) bool { return !slices.Contains(now, id) }); len(first) == 0 {
			return nil
		}
		select {
		case <-time.After(gateLook):
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return fmt.Errorf("transactions on shard %s don't end that began before: is a backup running, such as pg_dump? Try again after it", m.From.Name)
		}
	}
}

// standbysBehind is a standby that lacks what was flushed up to $1. It reads a row of the schema, so that Citus asks the worker: see citus.go.
// For that it calls what the views pg_stat_replication and pg_replication_slots call.
const standbysBehind = `SELECT coalesce(min(concat_ws(' at ', a.application_name, host(a.client_addr))), '')
	FROM watermark w, pg_stat_get_activity(NULL) a JOIN pg_stat_get_wal_senders() r ON a.pid = r.pid
	WHERE w.name = 'void' AND r.state = 'streaming' AND r.flush_lsn < $1::text::pg_lsn
		AND NOT EXISTS (SELECT FROM pg_get_replication_slots() s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')`

// awaitStandbys waits until the standbys that follow have what was committed: one that is promoted shall know it. A role that may not
// see how far they are doesn't wait.
func (e *moveEnd) awaitStandbys(ctx context.Context) error {
	var at string
	if err := e.QueryRow(ctx, `SELECT pg_current_wal_flush_lsn()::text FROM watermark WHERE name = 'void'`).Scan(&at); err != nil {
		return err
	}
	for until := time.Now().Add(moveLimit); ; {
		var behind string
		if err := e.QueryRow(ctx, standbysBehind, at).Scan(&behind); err != nil || behind == "" {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("the standby %s of shard %s is more than %.0f s behind: run the command again when it follows", behind, e.shard, moveLimit.Seconds())
		}
		select {
		case <-time.After(10 * gateLook):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// holdSource keeps others from aborting the move, and from voiding what is pending, while we read.
func (m *projectMove) holdSource(ctx context.Context) error {
	was, err := m.from.readMove(ctx, m.Project, " FOR SHARE")
	if err != nil {
		return err
	}
	if !was.is(stateMoving, m.id) {
		return errors.New("the move was aborted")
	}
	if _, err := m.from.Exec(ctx, shareVoid); err != nil {
		return err
	}
	_, err = m.from.Exec(ctx, `CREATE TEMP TABLE leaving ON COMMIT DROP AS `+ofProject("SELECT id FROM verification WHERE project = {p}", m.Project))
	if err == nil {
		_, err = m.from.Exec(ctx, `ANALYZE leaving`)
	}
	return err
}

// errForeign says that the other database knows nothing of the move. If that was begun before, it is perhaps another database under the shard's
// name, and nobody but the operator can tell whether the project is in the right one.
var errForeign = errors.New("doesn't know of this move: was it restored, is it another database than before, or has another command begun to move the project there? Where it is the right one, --abort leaves the project where it was")

// holdTarget keeps others from aborting the move until the turn, and reports whether there was one.
func (m *projectMove) holdTarget(ctx context.Context) (turned bool, err error) {
	was, err := m.to.readMove(ctx, m.Project, " FOR UPDATE")
	switch {
	case err != nil:
		return false, err
	case !bytes.Equal(was.id, m.id):
		return false, fmt.Errorf("shard %s %w", m.To.Name, errForeign)
	case was.state == stateArrived:
		return true, nil
	case was.state != stateArriving:
		return false, errors.New("the move was aborted")
	}
	return false, nil
}

// copy copies the rows, and makes the turn with them when servers don't remember any more that the project was in the other database.
func (m *projectMove) copy(ctx context.Context) (rows int, err error) {
	if !m.lost {
		if err := m.checkVoid(ctx, `SELECT id FROM leaving`); err != nil {
			return 0, err
		}
	}
	n, err := m.tables(ctx, func(t movedTable) bool { return !t.shared() })
	if err != nil {
		return 0, err
	}
	rows += n
	if err := m.fit(ctx); err != nil {
		return 0, err
	}
	sending, err := m.among(ctx, `v.delivery = 1`)
	if err != nil {
		return 0, err
	}
	if err := m.step("fitted"); err != nil {
		return 0, err
	}
	select {
	case <-time.After(time.Until(m.fenced.Add(m.settle))):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := m.to.standAtMost(ctx, m.stand); err != nil { // others write what we lock from here on
		return 0, err
	}
	if n, err = m.tables(ctx, func(t movedTable) bool { return t.shared() && t.name != "made_with" }); err != nil {
		return 0, err
	}
	rows += n
	if err := m.sum(ctx); err != nil {
		return 0, err
	}
	if err := m.to.write(ctx, m.Project, moveRow{state: stateArrived, other: m.From.Name, id: m.id}); err != nil {
		return 0, err
	}
	if err := m.to.note(ctx, &m.ProjectMoving, fmt.Sprintf("from shard %s to shard %s: %d rows copied", m.From.Name, m.To.Name, rows)); err != nil {
		return 0, err
	}
	if err := m.lease(ctx, sending); err != nil { // as late as can be: it begins with the turn
		return 0, err
	}
	return rows, m.to.tell(ctx)
}

// sum adds up the usage that has arrived, where Citus lets no triggers do it.
func (m *projectMove) sum(ctx context.Context) error {
	if !m.to.onCitus() {
		return nil
	}
	arrived := ofProject(`(SELECT * FROM usage_day WHERE project = {p}) a`, m.Project)
	for _, text := range []string{citusMonths(arrived), citusSums(arrived)} {
		if _, err := m.to.Exec(ctx, text); err != nil {
			return fmt.Errorf("add up usage: %w", err)
		}
	}
	return nil
}

// shared reports whether the copy locks what other projects write: the sums of their usage, the telephones that they call, and the keys that
// servers say they use.
func (t movedTable) shared() bool {
	return slices.Contains([]string{"made_with", "phone", "usage_hour", "usage_day"}, t.name)
}

// tables copies some tables' rows.
func (m *projectMove) tables(ctx context.Context, some func(movedTable) bool) (rows int, err error) {
	for _, t := range movedTables {
		if t.how != moveCopied && t.how != moveMerged || !some(t) {
			continue
		}
		n, err := m.table(ctx, t)
		if err != nil {
			return 0, fmt.Errorf("copy table %s: %w", t.name, err)
		}
		rows += n
		if err := m.step("copied " + t.name); err != nil {
			return 0, err
		}
	}
	return rows, nil
}

// table copies a table's rows.
func (m *projectMove) table(ctx context.Context, t movedTable) (rows int, err error) {
	found, err := m.from.Query(ctx, `SELECT quote_ident(column_name) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position`, t.name)
	if err != nil {
		return 0, err
	}
	all, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return 0, err
	}
	columns, into := strings.Join(all, ", "), t.name
	if t.how == moveMerged {
		into = "arriving_" + t.name
		if _, err := m.to.Exec(ctx, `CREATE TEMP TABLE `+into+` (LIKE `+t.name+`) ON COMMIT DROP`); err != nil {
			return 0, err
		}
	}
	n, err := m.pipe(ctx, `COPY (SELECT `+columns+` FROM `+t.name+` WHERE `+ofProject(t.where, m.Project)+`) TO STDOUT (FORMAT binary)`,
		`COPY `+into+` (`+columns+`) FROM STDIN (FORMAT binary)`)
	if err != nil || t.how != moveMerged {
		return n, err
	}
	there := `NOTHING`
	switch t.name {
	case "made_with":
		there = `UPDATE SET used_at = greatest(made_with.used_at, excluded.used_at)`
	case "kept_answer": // one of an earlier stay may be left
		there = `UPDATE SET (` + columns + `) = (excluded.` + strings.Join(all, ", excluded.") + `) WHERE kept_answer.expires_at < excluded.expires_at`
	}
	key := map[string]string{"phone": "number", "made_with": "key_id", "kept_answer": "name", "audit": "id"}[t.name]
	_, err = m.to.Exec(ctx, `INSERT INTO `+t.name+` (`+columns+`) SELECT `+columns+` FROM `+into+` ORDER BY `+key+` ON CONFLICT (`+key+`) DO `+there)
	return n, err
}

// pipe has one database send what the other one takes.
func (m *projectMove) pipe(ctx context.Context, out, in string) (rows int, err error) {
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		_, err := m.from.PgConn().CopyTo(ctx, w, out)
		w.CloseWithError(err)
		sent <- err
	}()
	tag, err := m.to.PgConn().CopyFrom(ctx, r, in)
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	return int(tag.RowsAffected()), errors.Join(<-sent, err)
}

// among returns those of the project's verifications in the first database that a condition is true of.
func (m *projectMove) among(ctx context.Context, where string) ([][]byte, error) {
	rows, err := m.from.Query(ctx, `SELECT v.id FROM verification v, watermark w WHERE w.name = 'void' AND v.id IN (SELECT id FROM leaving) AND `+where)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[[]byte])
}

// fit makes the rows fit into the other database: what was void is canceled, and each message that waits gets a hint.
func (m *projectMove) fit(ctx context.Context) error {
	void, err := m.among(ctx, `v.status = 0 AND `+m.isVoid())
	if err != nil {
		return err
	}
	waiting, err := m.among(ctx, `(v.delivery = 0 OR v.delivery = 2 AND v.due_at <> 0)`)
	if err != nil {
		return err
	}
	if _, err := m.to.Exec(ctx, `ANALYZE verification`); err != nil { // what has arrived may be more than all that was there
		return err
	}
	now := millis(m.to.server.clock.now())
	if _, err := m.to.Exec(ctx, `UPDATE verification SET `+voided+` WHERE status = 0 AND id = ANY ($1)`, void, now); err != nil {
		return err
	}
	_, err = m.to.Exec(ctx, `INSERT INTO retry (due, id) SELECT greatest(due_at, $2), id FROM verification
		WHERE id = ANY ($1) AND (delivery = 0 OR delivery = 2 AND due_at <> 0) ORDER BY 1, 2 ON CONFLICT DO NOTHING`, waiting, now)
	return err
}

// lease gives each attempt under way a lease in which whoever has it can settle it in the other database.
func (m *projectMove) lease(ctx context.Context, sending [][]byte) error {
	until := millis(m.to.server.clock.now().Add(arrivedLease))
	if _, err := m.to.Exec(ctx, `UPDATE verification SET due_at = greatest(due_at, $2) WHERE delivery = 1 AND id = ANY ($1)`, sending, until); err != nil {
		return err
	}
	_, err := m.to.Exec(ctx, `INSERT INTO retry (due, id) SELECT due_at, id FROM verification WHERE delivery = 1 AND id = ANY ($1) ORDER BY 1, 2 ON CONFLICT DO NOTHING`, sending)
	return err
}

// isVoid is SQL for which of the project's verifications that are pending in the first database are void: all, where they may have been
// used in the other one.
func (m *projectMove) isVoid() string {
	if m.lost {
		return `true`
	}
	return `v.id <= w.id`
}

// arrivedLease is how long after the turn whoever sends a message has to settle it where it is now.
const arrivedLease = 20 * time.Second

// clear deletes what is left in the database that the project has left.
func (m *projectMove) clear(ctx context.Context) error {
	select { // servers may still look for its keys here, and mustn't find that there are none
	case <-time.After(m.settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	for first := true; first || m.deleted > 0; first = false { // what a fold has written meanwhile is found by the next pass
		m.deleted = 0
		for _, t := range slices.Backward(movedTables) {
			if err := m.turned(ctx); err != nil { // still
				return err
			}
			if err := m.clearTable(ctx, t); err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
			if !first {
				continue
			}
			if err := m.step("cleared " + t.name); err != nil {
				return err
			}
		}
	}
	err := m.whileLeaving(ctx, func() error {
		if err := m.from.write(ctx, m.Project, moveRow{state: stateMoved, other: m.To.Name, id: m.id}); err != nil {
			return err
		}
		return m.from.note(ctx, &m.ProjectMoving, fmt.Sprintf("from shard %s to shard %s: done", m.From.Name, m.To.Name))
	})
	if err != nil {
		return err
	}
	return m.step("done")
}

// again runs a transaction again that others were faster than.
func (m *projectMove) again(ctx context.Context, f func() error) (err error) {
	for range maxTries {
		if err = m.from.in(ctx, f); !raced(err) {
			break
		}
	}
	return err
}

// whileLeaving runs a transaction that deletes what is left. A command that stood still may find that another one has ended the move,
// and that the project has come back.
func (m *projectMove) whileLeaving(ctx context.Context, f func() error) error {
	return m.again(ctx, func() error {
		now, err := m.from.readMove(ctx, m.Project, " FOR UPDATE")
		if err != nil {
			return err
		}
		if !now.is(stateLeaving, m.id) {
			return errFaster
		}
		return f()
	})
}

// clearStep is how many rows are deleted together: others write between two steps.
const clearStep = 2000

// clearTable deletes a table's rows.
func (m *projectMove) clearTable(ctx context.Context, t movedTable) error {
	switch t.name {
	case "audit", "made_with": // they are the database's as well
		return nil
	case "delivery", "phone": // with their verifications
		return nil
	case "verification":
		return m.clearVerifications(ctx)
	case "kept_answer":
		t.where = `project = {p}`
	case "usage_day": // with the hours, which are folded into it
		return nil
	case "usage_hour":
		return m.clearUsage(ctx)
	}
	if t.where == "" {
		return nil
	}
	return m.clearRows(ctx, t.name, ofProject(t.where, m.Project))
}

// clearRows deletes rows in steps.
func (m *projectMove) clearRows(ctx context.Context, table, where string) error {
	for n := int64(1); n > 0; { // fewer than a step may be because others deleted some, or changed them
		if err := m.whileLeaving(ctx, func() error {
			tag, err := m.from.Exec(ctx, `DELETE FROM `+table+` WHERE ctid = ANY (ARRAY(SELECT ctid FROM `+table+` WHERE `+where+` LIMIT $1)) AND `+where, clearStep)
			n = tag.RowsAffected()
			return err
		}); err != nil {
			return err
		}
		m.deleted += n
	}
	return nil
}

// clearUsage deletes what the project has used. The sums of all projects forget it by the triggers of updates: deletions have
// none.
func (m *projectMove) clearUsage(ctx context.Context) error {
	own := ofProject(`project = {p}`, m.Project)
	if err := m.clearRows(ctx, "usage_hour", own); err != nil {
		return err
	}
	zero := usedCountLayout.list(func(_ int, f field[used]) string { return f.name + " = 0" })
	allZero := strings.ReplaceAll(zero, ",", " AND")
	if err := m.unsum(ctx, zero, allZero); err != nil {
		return err
	}
	if err := m.clearRows(ctx, "usage_day", own+` AND `+allZero); err != nil { // none that the sums still have
		return err
	}
	for _, table := range []string{"usage_month", "usage_sum"} {
		if err := m.clearRows(ctx, table, own); err != nil {
			return err
		}
	}
	return m.clearRows(ctx, "usage_sum", `project = '' AND `+allZero)
}

// unsum has the sums of all projects forget the project's days.
func (m *projectMove) unsum(ctx context.Context, zero, allZero string) error {
	for n := int64(1); n > 0; {
		if err := m.whileLeaving(ctx, func() error {
			if m.from.onCitus() {
				return m.from.QueryRow(ctx, citusUnsum, string(m.Project), clearStep).Scan(&n)
			}
			tag, err := m.from.Exec(ctx, `UPDATE usage_day SET `+zero+` WHERE ctid = ANY (ARRAY(
				SELECT ctid FROM usage_day WHERE project = $1 AND NOT (`+allZero+`) LIMIT $2))`, string(m.Project), clearStep)
			n = tag.RowsAffected()
			return err
		}); err != nil {
			return err
		}
		if m.from.onCitus() {
			m.deleted += n
		}
	}
	return nil
}

// clearVerifications deletes the verifications, and what names them. No index knows the project, so it goes through all.
func (m *projectMove) clearVerifications(ctx context.Context) error {
	after := make([]byte, len(verify.ID{}))
	for len(after) > 0 {
		var last []byte
		n := 0
		if err := m.whileLeaving(ctx, func() error {
			rows, err := m.from.Query(ctx, `SELECT id FROM verification WHERE project = $1 AND id > $2 ORDER BY id LIMIT $3`, string(m.Project), after, clearStep)
			if err != nil {
				return err
			}
			ids, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
			if err != nil || len(ids) == 0 {
				last, n = nil, 0
				return err
			}
			last, n = ids[len(ids)-1], len(ids)
			for _, text := range []string{`DELETE FROM retry WHERE id = ANY ($1)`, `DELETE FROM phone WHERE verification = ANY ($1)`, `DELETE FROM delivery WHERE verification = ANY ($1)`, `DELETE FROM verification WHERE id = ANY ($1)`} {
				if _, err := m.from.Exec(ctx, text, ids); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		m.deleted += int64(n)
		after = last
	}
	return nil
}

// AbortProjectMove takes down the fence of a move that was stopped before the turn. It fails with [ErrTurned] after that.
func AbortProjectMove(ctx context.Context, w ProjectMoving) error { return abort(ctx, w, nil) }

// errOther says that the project is being moved by another command.
var errOther = errors.New("another command moves the project")

// abort aborts a move by its id; nil is any.
func abort(ctx context.Context, w ProjectMoving, id []byte) error {
	m, err := openMove(ctx, w)
	if err != nil {
		return err
	}
	defer m.close()
	was, err := m.from.readMove(ctx, m.Project, "")
	if err != nil {
		return err
	}
	switch {
	case id != nil && !bytes.Equal(was.id, id):
		return errOther
	case was.state == stateLeaving:
		return ErrTurned
	case was.state != stateMoving && id == nil:
		return m.forget(ctx)
	case was.state != stateMoving:
		return errOther
	case was.other != m.To.Name:
		return fmt.Errorf("the project is being moved from shard %s to shard %s, not to shard %s", m.From.Name, was.other, m.To.Name)
	}
	m.lost = was.target != m.to.identity
	if err := m.to.awaitRow(ctx, m.Project); err != nil {
		return err
	}
	if err := m.to.in(ctx, func() error { return m.giveUp(ctx, was.id, id == nil) }); err != nil {
		return stillRuns(err)
	}
	return stillRuns(m.from.in(ctx, func() error {
		now, err := m.from.readMove(ctx, m.Project, " FOR UPDATE")
		if err != nil {
			return err
		}
		if !now.is(stateMoving, was.id) {
			return errFaster
		}
		if err := m.voidLost(ctx); err != nil {
			return err
		}
		if err := m.from.write(ctx, m.Project, moveRow{state: stateArrived, other: m.To.Name, id: was.id}); err != nil { // as if it had come back
			return err
		}
		if err := m.from.note(ctx, &m.ProjectMoving, fmt.Sprintf("from shard %s to shard %s: aborted", m.From.Name, m.To.Name)); err != nil {
			return err
		}
		return m.from.tell(ctx)
	}))
}

// forget takes back that the project will arrive, where a command ended before it put up a fence.
func (m *projectMove) forget(ctx context.Context) error {
	if err := m.to.awaitRow(ctx, m.Project); err != nil {
		return err
	}
	return m.to.in(ctx, func() error {
		there, err := m.to.readMove(ctx, m.Project, " FOR UPDATE")
		if err != nil {
			return err
		}
		if there.state != stateArriving || there.other != m.From.Name {
			return fmt.Errorf("the project isn't being moved from shard %s", m.From.Name)
		}
		there.state = stateMoved
		if err := m.to.write(ctx, m.Project, there); err != nil {
			return err
		}
		return m.to.note(ctx, &m.ProjectMoving, fmt.Sprintf("from shard %s to shard %s: aborted before it began", m.From.Name, m.To.Name))
	})
}

// giveUp writes down in the other database that the project doesn't arrive by a move. others is whether another command's move, which has
// begun there since, is given up as well.
func (m *projectMove) giveUp(ctx context.Context, id []byte, others bool) error {
	there, err := m.to.readMove(ctx, m.Project, " FOR UPDATE")
	if err != nil {
		return err
	}
	own := bytes.Equal(there.id, id)
	switch {
	case there.state == stateArrived && own:
		return ErrTurned
	case there.state == stateArriving && !own && !others:
		return nil // another command's: the project arrives by that
	case there.state == stateArrived, there.state == stateMoving, there.state == stateLeaving:
		return fmt.Errorf("shard %s knows of a later move of the project: countersign project list says where it is", m.To.Name)
	}
	return m.to.write(ctx, m.Project, moveRow{state: stateMoved, other: m.From.Name, id: id})
}

// voidLost cancels the codes that may have been used in the other database, as a database does that was restored.
func (m *projectMove) voidLost(ctx context.Context) error {
	if !m.lost {
		return nil
	}
	tag, err := m.from.Exec(ctx, `UPDATE verification SET `+voided+` WHERE project = $1 AND status = 0`, string(m.Project), millis(m.from.server.clock.now()))
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return m.from.note(ctx, &m.ProjectMoving, fmt.Sprintf("%d codes are void: shard %s may have had the project, and lost it", tag.RowsAffected(), m.To.Name))
}

// stillRuns says why a lock wasn't to be had.
func stillRuns(err error) error {
	if pgCode(err) == codeLockTimeout {
		return fmt.Errorf("%w: %w", errHeld, err)
	}
	return err
}
