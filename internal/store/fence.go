package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// A project that moves to another database is fenced in the one that it leaves: nothing of it is decided there any more,
// by any replica. The row in the table project_move is the fence. It stays when the project has moved, for a replica that stood still
// meanwhile. [MoveProject] puts it up.
//
// A group needn't ask for it. The transaction that puts up a fence also writes the watermark "void" anew, whose
// writer each group compares with the one that its connection knows: see postgresSession.load. Then the connection is
// made again, and reads which projects are fenced. A transaction that runs alone, and writes rows of a project, asks.
//
// A group that has read the watermark before may still commit. It holds a lock on that table until then. A transaction that runs alone holds a
// lock on project_move. After the fence is committed, the move waits until all transactions have ended that held one of these locks.
// On Citus the worker has the groups' locks, and a transaction that runs alone locks a row instead: see passFence.

// A fence is the projects that are fenced.
type fence map[verify.ProjectID]bool

// The states of a project's move. Those other than arrived are a fence.
const (
	stateMoving   = "moving"   // away from here
	stateLeaving  = "leaving"  // it is elsewhere: what is left here is being deleted
	stateMoved    = "moved"    // away from here: nothing of it is here any more
	stateArriving = "arriving" // its rows aren't visible here yet
	stateArrived  = "arrived"
)

// isFenced is SQL for whether a project is fenced.
func isFenced(project string) string {
	return `EXISTS (SELECT 1 FROM project_move m WHERE m.project = ` + project + ` AND m.state <> 'arrived')`
}

// readFence reads which projects are fenced, on a connection that has read the epoch before.
func readFence(ctx context.Context, conn *pgx.Conn) (fence, error) {
	rows, err := conn.Query(ctx, `SELECT project FROM project_move WHERE state <> 'arrived'`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	all := fence{}
	var p verify.ProjectID
	_, err = pgx.ForEachRow(rows, []any{&p}, func() error {
		all[p] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read which projects move: %w", err)
	}
	return all, nil
}

// passFence fails with [verify.ErrMoving] if a project is fenced. The transaction must have read nothing before: it locks
// the table first, so that its snapshot isn't older than its lock.
//
// On Citus a transaction's snapshot is always older than its first lock there. So it locks the row that each fence writes:
// that fails if a fence came after the snapshot, and a fence that comes later waits for the transaction. The command that writes a fence
// may stand still, or its commit may be in doubt. Then the transactions of all projects fail here soon, as if others were faster.
func passFence(ctx context.Context, tx *sql.Tx, citus bool, p verify.ProjectID) error {
	lock := `LOCK TABLE project_move IN ACCESS SHARE MODE`
	if citus {
		lock = shareVoidNow
	}
	if _, err := tx.ExecContext(ctx, lock); err != nil {
		return err
	}
	var fenced bool
	if err := tx.QueryRowContext(ctx, `SELECT `+isFenced("$1"), p).Scan(&fenced); err != nil {
		return err
	}
	if fenced {
		return verify.ErrMoving
	}
	return nil
}

// fenced reports whether an operation is about a project that is fenced.
func (r *rows) fenced(o *op) bool {
	if len(r.fence) == 0 {
		return false
	}
	if r.fence[o.project] || r.fence[o.destination.project] || r.fence[r.applications[o.user.application].project] {
		return true
	}
	if v := r.verifications[o.verification]; v != nil && r.fence[v.value.Project] {
		return true
	}
	if u := r.users[o.user]; u != nil { // of an application that is gone
		v := r.verifications[u.value.Current]
		return v != nil && r.fence[v.value.Project]
	}
	return false
}

// fenced reports whether a project was fenced when this process last made a connection for groups.
func (s *Store) fenced(p verify.ProjectID) bool {
	if s.seenFence == nil {
		return false
	}
	f := s.seenFence()
	return f != nil && (*f)[p]
}

// Database names PostgreSQL's database and schema among all, whatever their URL; "" is a file.
func (s *Store) Database() string {
	if s.database == nil {
		return ""
	}
	return s.database()
}

// Holds fails with [verify.ErrNotFound] unless a verification is here, and with [verify.ErrMoving] if its project is fenced.
func (s *Store) Holds(ctx context.Context, id verify.ID) error {
	fenced, err := pool.One(ctx, s.hot, scanValue[bool], `SELECT `+isFenced("v.project")+` FROM verification v WHERE v.id = $1`, id[:])
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return verify.ErrNotFound
	case err != nil:
		return away("look for a verification", err)
	case fenced:
		return verify.ErrMoving
	}
	return nil
}

// Left reports whether a project moves to another database, or has moved there.
func (s *Store) Left(ctx context.Context, p verify.ProjectID) (bool, error) {
	left, err := pool.One(ctx, s.hot, scanValue[bool], `SELECT `+isFenced("$1"), p)
	if err != nil {
		return false, away("look whether a project has moved", err)
	}
	return left, nil
}

// projectOf is the project of a budget, or of a country's limit for a project; "" is all projects.
func projectOf(key verify.ProjectID) verify.ProjectID {
	p, _ := verify.SplitKey(key)
	return p
}

// movedAway reports whether a project has left the database, or is leaving it. "" is any project.
func movedAway(ctx context.Context, conn pgQueryer, p verify.ProjectID) (away bool, err error) {
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM project_move WHERE state <> 'arrived' AND (project = $1 OR $1 = ''))`, pgx.QueryExecModeSimpleProtocol, string(p)).Scan(&away); err != nil {
		return false, fmt.Errorf("look whether a project has moved: %w", err)
	}
	return away, nil
}

// unlessMoving is away for a look-up that may find a project that moves.
func unlessMoving(op string, err error) error {
	if errors.Is(err, verify.ErrMoving) {
		return err
	}
	return away(op, err)
}

// A ProjectMove is where a project of this database goes, or came from.
type ProjectMove struct {
	Project verify.ProjectID
	State   string // moving, leaving, moved, arriving or arrived
	Other   string // the other shard
	BeganAt time.Time
	ID      []byte // of the move, in both shards
}

// Moving reports whether the project is here, but nothing of it is decided.
func (m ProjectMove) Moving() bool { return m.State == stateMoving || m.State == stateLeaving }

// ProjectMoves lists the projects that move or have moved.
func (s *Store) ProjectMoves(ctx context.Context) ([]ProjectMove, error) {
	return readAll(ctx, s.lists, scanMove, `SELECT project, state, other, began_at, id FROM project_move ORDER BY project`)
}

// Arrivals lists the projects that have come here, and are here.
func (s *Store) Arrivals(ctx context.Context) ([]ProjectMove, error) {
	return readAll(ctx, s.lists, scanMove, `SELECT m.project, m.state, m.other, m.began_at, m.id FROM project_move m JOIN project p ON p.id = m.project WHERE m.state = 'arrived'`)
}

func scanMove(row scanner) (m ProjectMove, err error) {
	var began int64
	err = row.Scan(&m.Project, &m.State, &m.Other, &began, &m.ID)
	m.BeganAt = fromMillis(began)
	return m, err
}

// isOlder is SQL for whether a project is here, or was leaving by another move, since before it arrived in another shard by move $2 at time $3.
const isOlder = `(m.state = 'arrived' OR m.state = 'moving' AND m.id <> $2) AND m.began_at < $3`

// Yield fences the projects that are here though they have arrived in another shard since they came here. So it is in a database that has
// lost the fence: it was restored, or its standby was promoted, which lacked it. Yield returns those that weren't fenced.
func (s *Store) Yield(ctx context.Context, to string, arrived []ProjectMove) (yielded []verify.ProjectID, err error) {
	var late []ProjectMove
	for _, m := range arrived {
		here, err := pool.One(ctx, s.lists, scanValue[bool], `SELECT EXISTS (SELECT 1 FROM project p LEFT JOIN project_move m ON m.project = p.id
			WHERE p.id = $1 AND (m.project IS NULL OR `+isOlder+`))`, m.Project, m.ID, millis(m.BeganAt))
		if err != nil {
			return nil, away("look for a project that has left", err)
		}
		if here {
			late = append(late, m)
		}
	}
	if len(late) == 0 || !s.postgres {
		return nil, nil
	}
	err = s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		yielded = nil
		for _, m := range late {
			put, err := tx.ExecContext(ctx, `INSERT INTO project_move AS m (project, state, id, other, began_at) SELECT p.id, 'leaving', $2::bytea, $4::text, $5::bigint FROM project p WHERE p.id = $1
				ON CONFLICT (project) DO UPDATE SET state = excluded.state, id = excluded.id, other = excluded.other, began_at = excluded.began_at
				WHERE `+isOlder, m.Project, m.ID, millis(m.BeganAt), to, millis(now))
			if err != nil {
				return err
			}
			n, err := put.RowsAffected()
			if err != nil {
				return err
			}
			if n == 0 {
				continue // another server was faster
			}
			yielded = append(yielded, m.Project)
			if err := audit(ctx, tx, Audit{ID: verify.NewID(now), Actor: "countersign", Action: "project move", Project: m.Project, Detail: "it is on shard " + to + ", and this shard had forgotten that it left"}); err != nil {
				return err
			}
		}
		if len(yielded) == 0 {
			return nil
		}
		_, err := tx.ExecContext(ctx, `UPDATE watermark SET id = id WHERE name = 'void'`)
		return err
	})
	return yielded, err
}
