package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/pool"
	"github.com/countersign/countersign/internal/verify"
)

// The first column is the key.
var phoneLayout = layout[verify.Phone]{
	textColumn("number", func(p *verify.Phone) *phone.Number { return &p.Number }),
	idColumn("verification", func(p *verify.Phone) *verify.ID { return &p.Verification }),
	numberColumn("attempt", func(p *verify.Phone) *int { return &p.Attempt }),
	timeColumn("since", func(p *verify.Phone) *time.Time { return &p.Since }),
	timeColumn("until", func(p *verify.Phone) *time.Time { return &p.Until }),
}

var (
	selectPhone = `SELECT ` + phoneLayout.names() + ` FROM phone WHERE number = $1`
	upsertPhone = `INSERT INTO phone (` + phoneLayout.names() + `) VALUES (` + phoneLayout.dollars() + `)
		ON CONFLICT (number) DO UPDATE SET ` + phoneLayout[1:].set("excluded")
)

// phone returns a row that the operation asked for, a fresh one where there is none yet.
func (r *rows) phone(n phone.Number) *row[verify.Phone] {
	p := r.phones[n]
	if p == nil {
		p = &row[verify.Phone]{value: verify.Phone{Number: n}}
		if r.phones == nil {
			r.phones = map[phone.Number]*row[verify.Phone]{}
		}
		r.phones[n] = p
	}
	return p
}

// withPhone lets f decide on a destination together with its phone, if it makes a call.
func (r *rows) withPhone(d *verify.Destination, call bool, f func() error) error {
	if !call {
		return f()
	}
	p := r.phone(d.Number)
	d.Phone = &p.value
	defer func() { d.Phone = nil }()
	before := p.value
	err := f()
	p.dirty = p.dirty || p.value != before
	return err
}

// Hold goes on holding a phone for a call: see [verify.Phone.Hold].
func (s *Store) Hold(_ context.Context, to phone.Number, id verify.ID, attempt int, d time.Duration) (ours bool, err error) {
	err = s.w.do(op{phone: to, apply: func(r *rows, now time.Time) error {
		p := r.phone(to)
		ours = p.value.Hold(id, attempt, d, now)
		p.dirty = p.dirty || ours
		return nil
	}})
	return ours && err == nil, err
}

// releasePhones deletes what holds no phone any more. It writes only where there is something, and locks in the order in which
// groups do.
func (s *Store) releasePhones(ctx context.Context) error {
	for ctx.Err() == nil {
		before := millis(s.now().Add(-time.Minute))
		_, err := pool.One(ctx, s.upkeep, scanValue[int], `SELECT 1 FROM phone WHERE until < $1 LIMIT 1`, before)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil
		case err != nil:
			return away("look for phones that nobody holds", err)
		}
		if err := s.alone(func(ctx context.Context, tx *sql.Tx, _ time.Time) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM phone WHERE until < $1 AND number IN (SELECT number FROM phone WHERE until < $1 ORDER BY number LIMIT $2`+s.locked()+`)`,
				before, retainStep)
			return err
		}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// limitsLife is how long a project's limits are believed, as keys are.
const limitsLife = time.Second

// A limitCache remembers the limits of projects. However many messages of a project are claimed together, one
// reads its limits for all.
type limitCache struct {
	read  func(ctx context.Context, p verify.ProjectID) (knownLimits, error)
	known *lru.Cache[verify.ProjectID, knownLimits]
	reads singleflight.Group
}

type knownLimits struct {
	limits verify.Limits
	bound  bool // the project has a budget
	at     time.Time
}

func newLimitCache(read func(context.Context, verify.ProjectID) (knownLimits, error)) *limitCache {
	c := &limitCache{read: read}
	c.known, _ = lru.New[verify.ProjectID, knownLimits](maxCached) // fails only for sizes below 1
	return c
}

// of are a project's limits, and whether it has a budget, for a message that nobody starts at the moment. A project isn't
// deleted.
func (c *limitCache) of(ctx context.Context, p verify.ProjectID) (l verify.Limits, bound bool, err error) {
	if known, ok := c.known.Get(p); ok && time.Since(known.at) < limitsLife {
		return known.limits, known.bound, nil
	}
	read, err, _ := c.reads.Do(string(p), func() (any, error) {
		l, err := c.read(ctx, p)
		if err == nil {
			l.at = time.Now()
			c.known.Add(p, l)
		}
		return l, err
	})
	known := read.(knownLimits)
	return known.limits, known.bound, err
}

func (s *Store) readLimits(ctx context.Context, p verify.ProjectID) (knownLimits, error) {
	l, err := pool.One(ctx, s.hot, scanLimits, `SELECT send_burst, send_interval_ms, send_daily, bound FROM project WHERE id = $1`, p)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return l, away("load limits", err)
	}
	return l, nil
}

func scanLimits(row scanner) (l knownLimits, err error) {
	var interval int64
	err = row.Scan(&l.limits.Burst, &interval, &l.limits.Daily, &l.bound)
	l.limits.Interval = span(interval)
	return l, err
}
