package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// The latest verification of a number for a purpose has no row and no index of its own, which each start would have to
// write. It is looked up before the operation: from the number's latest verification on, each names the one before. The
// operation then finds out under the number's lock whether that one is still the latest, for else another start came
// between, and it looks again.

// errMoved means that another start of the number came between a look and its operation.
var errMoved = errors.New("the number has a newer verification")

const (
	// lookTries is how often an operation is tried. Each time another start of its number was committed, but for the
	// first try of a start, which hasn't looked.
	lookTries = 20
	// lookBack is how many verifications of a number a look for the latest of a purpose goes back.
	lookBack = 100

	// lookTurns is how many looks read concurrently, of a project one at most: a number may have many verifications,
	// and others need the same connections. maxLooks is how many looks of a project may wait.
	lookTurns = 2
	maxLooks  = 1024
)

// looked is what a look found.
type looked struct {
	latest  verify.ID   // of the number, for whatever purpose; zero: none
	matches []verify.ID // what was looked for, the newest first
	imports int64       // of the user's application so far, where that was looked for
}

// again runs an operation on what a look finds, until nothing comes between.
func again(look func() (looked, error), do func(looked) error) error {
	for range lookTries {
		found, err := look()
		if err != nil {
			return err
		}
		if err = do(found); !errors.Is(err, errMoved) {
			return err
		}
	}
	return verify.ErrTooManySends.After(time.Second) // to one number, in less time than it takes to look
}

// A link is a verification in the chain of its number.
type link struct {
	latest  verify.ID
	id      verify.ID
	matches bool
}

func scanLink(row scanner) (l link, err error) {
	var latest, id []byte
	var n int64
	err = row.Scan(&latest, &id, &n)
	copy(l.latest[:], latest)
	copy(l.id[:], id)
	l.matches = n != 0
	return l, err
}

// chain is the beginning of a question about the verifications of a number, the newest first: of project $1 and number
// $2, those that match $3, a purpose, and are no user's. The number's latest
// verification stands in each row, also where retention has deleted it.
const chain = `WITH RECURSIVE chain (latest, id, previous, status, expires_at, matches, n) AS (
		SELECT d.latest, v.id, v.previous, v.status, v.expires_at, CASE WHEN v.purpose = $3 AND v.app_user = '' THEN 1 ELSE 0 END, 1
		FROM destination d LEFT JOIN verification v ON v.id = d.latest WHERE d.project = $1 AND d.number = $2
		UNION ALL
		SELECT c.latest, v.id, v.previous, v.status, v.expires_at, CASE WHEN v.purpose = $3 AND v.app_user = '' THEN 1 ELSE 0 END, c.n + 1
		FROM chain c JOIN verification v ON v.id = c.previous WHERE `

// lookLatest stops at the first that matches. Of a number without one it returns the last row that it looked at.
const lookLatest = chain + `c.matches = 0 AND c.n < $4) SELECT latest, id, matches FROM chain ORDER BY n DESC LIMIT 1`

// lookPending goes on as long as one may live that comes then.
const lookPending = chain + `c.id > $4) SELECT latest, id, CASE WHEN status = 0 AND expires_at > $5 THEN matches ELSE 0 END FROM chain ORDER BY n`

func (s *Store) look(ctx context.Context, text string, p verify.ProjectID, args ...any) (looked, error) {
	waiting, cancel := within(ctx, s.turnWait)
	defer cancel()
	if err := s.looks.take(waiting, p); err != nil {
		return looked{}, err
	}
	defer s.looks.give(p, 0)
	links, err := pool.All(ctx, s.hot, scanLink, text, append([]any{p}, args...)...)
	if err != nil {
		return looked{}, away("look for a number's verifications", err)
	}
	var found looked
	for _, l := range links {
		found.latest = l.latest
		if l.matches {
			found.matches = append(found.matches, l.id)
		}
	}
	return found, nil
}

// CheckLatest implements [verify.VerificationStore].
func (s *Store) CheckLatest(ctx context.Context, k verify.LatestKey, g verify.Guess) (out verify.Outcome, err error) {
	err = again(func() (looked, error) {
		return s.look(ctx, lookLatest, k.Project, k.Number, k.Purpose, lookBack)
	}, func(found looked) error {
		id := verify.NewID(s.now()) // nobody's: to find nothing takes as long as by an id
		if len(found.matches) > 0 {
			id = found.matches[0]
		}
		return s.w.do(op{
			project: k.Project, verification: id, withDestination: true, keep: keep(ctx, &out),
			apply: func(r *rows, now time.Time) error {
				v, err := r.owned(id, k.Project)
				if err != nil {
					return err
				}
				if r.destination(destinationKey{k.Project, k.Number}).value.Latest != found.latest {
					return errMoved
				}
				if !k.Names(&v.value) {
					return verify.ErrNotFound
				}
				out, err = r.check(v, g, now)
				out.Verification = id
				return err
			},
		})
	})
	return out, err
}

// startLatest commits a new verification that supersedes others. Its first try looks at nothing: most starts are for a
// number without a verification that may live, which the number's own row says.
func (s *Store) startLatest(ctx context.Context, v *verify.Verification, limits verify.Limits, lease time.Duration) error {
	eldest := verify.FirstID(s.now().Add(-verify.MaxLife - time.Minute)) // of those that may live
	unseen := true
	return again(func() (found looked, err error) {
		if unseen {
			unseen = false
			return looked{}, nil
		}
		return s.look(ctx, lookPending, v.Project, v.To, v.Purpose, eldest[:], millis(s.now().Add(-time.Minute)))
	}, func(found looked) error {
		return s.start(v, op{others: found.matches, keep: keep(ctx, v)}, limits, func(r *rows, started *verify.Verification, d *verify.Destination, now time.Time) error {
			if d.Latest != found.latest && compareIDs(d.Latest, eldest) >= 0 {
				return errMoved
			}
			if err := started.Begin(d, limits, lease, now); err != nil {
				return err
			}
			for _, id := range found.matches {
				if older := r.verification(id); older != nil && started.Supersede(&older.value, now) {
					older.dirty = true
				}
			}
			return nil
		})
	})
}

// Lookup implements [verify.VerificationStore].
func (s *Store) Lookup(ctx context.Context, p verify.ProjectID, id verify.ID) (*verify.Verification, []verify.Delivery, error) {
	v, err := pool.One(ctx, s.hot, verificationLayout.scan, selectVerification+` AND project = $2`, id[:], p)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, verify.ErrNotFound
	}
	if err != nil {
		return nil, nil, away("load verification", err)
	}
	if err := s.supersession(ctx, &v); err != nil {
		return nil, nil, err
	}
	deliveries, err := s.Deliveries(ctx, id)
	return &v, deliveries, err
}

// lookedAt is how many of a project's own verifications a page may look at. It bounds what a filter costs that lets
// nearly none pass. lookedPast is how many of other projects' it may pass on the way: an index of each project's own
// would cost each start more than all lists together.
const (
	lookedAt   = 1000
	lookedPast = 5000
)

// List implements [verify.VerificationStore].
func (s *Store) List(ctx context.Context, l verify.Listing) (page []verify.Verification, next verify.ID, err error) {
	done, err := s.takeTurn(ctx, l.Project)
	if err != nil {
		return nil, next, err
	}
	defer done()
	read := s.listProject
	if l.Number != "" {
		read = s.listNumber
	}
	behind := l.Before
	for step, seen := l.Limit+1, 0; seen < lookedAt; seen, step = seen+step, 4*step { // one more says whether there is another page
		step = min(step, lookedAt-seen)
		all, bound, err := read(ctx, &l, behind, step)
		if err != nil {
			return nil, next, err
		}
		rows := make([]*verify.Verification, len(all))
		for i := range all {
			rows[i] = &all[i]
		}
		if err := s.supersessions(ctx, s.lists, rows); err != nil {
			return nil, next, away("list verifications", err)
		}
		for i := range all {
			if len(page) == l.Limit {
				return page, behind, nil
			}
			behind = all[i].ID
			if l.Passes(&all[i]) {
				page = append(page, all[i])
			}
		}
		if len(all) < step { // the end, or a bound
			return page, bound, nil
		}
	}
	return page, behind, nil
}

// listProject reads a project's verifications behind one, by their ids. Where it finds fewer than n because it passed
// so many others, it returns how far it came.
func (s *Store) listProject(ctx context.Context, l *verify.Listing, behind verify.ID, n int) (all []verify.Verification, bound verify.ID, err error) {
	before, from := behind, verify.FirstID(l.From)
	if until := verify.FirstID(l.Until); !l.Until.IsZero() && (before.IsZero() || compareIDs(until, before) < 0) {
		before = until
	}
	if before.IsZero() {
		before = lastID
	}
	bound, err = pool.One(ctx, s.lists, scanID, `SELECT id FROM verification WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT 1 OFFSET $3`,
		before[:], from[:], lookedPast-1)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, bound, away("list verifications", err)
	}
	if !bound.IsZero() { // its instant only: the cursor must not name a stranger's verification
		bound = verify.FirstID(bound.Time())
		from = bound
	}
	all, err = readAll(ctx, s.lists, verificationLayout.scan, `SELECT `+verificationLayout.names()+` FROM verification
		WHERE id < $1 AND id >= $2 AND project = $3 AND destination NOT LIKE 'erased:%' ORDER BY id DESC LIMIT $4`, before[:], from[:], l.Project, n)
	return all, bound, err
}

// lastID is behind all others.
var lastID = verify.FirstID(time.UnixMilli(1<<48 - 1))

// listNumber reads a number's verifications behind one, each of which names the next. It ends with the first that was
// started before the list's beginning.
func (s *Store) listNumber(ctx context.Context, l *verify.Listing, behind verify.ID, n int) (all []verify.Verification, bound verify.ID, err error) {
	from := verify.FirstID(l.From)
	first, args := `SELECT latest AS id FROM destination WHERE project = $1 AND number = $2`, []any{l.Project, l.Number, from[:], n}
	if !behind.IsZero() {
		first, args = `SELECT previous AS id FROM verification WHERE project = $1 AND destination = $2 AND id = $5`, append(args, behind[:])
	}
	all, err = readAll(ctx, s.lists, verificationLayout.scan, `WITH RECURSIVE chain (listed, n) AS (
			SELECT id, 1 FROM (`+first+`) AS head
			UNION ALL SELECT v.previous, c.n + 1 FROM chain c JOIN verification v ON v.id = c.listed WHERE v.id >= $3 AND c.n < $4)
		SELECT `+verificationLayout.names()+` FROM chain JOIN verification ON id = listed WHERE id >= $3 ORDER BY n`, args...)
	return all, bound, err
}
