package store

import (
	"cmp"
	"context"
	"database/sql"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

var stopLayout = layout[verify.Stop]{
	textColumn("kind", func(s *verify.Stop) *verify.StopKind { return &s.Kind }),
	textColumn("name", func(s *verify.Stop) *string { return &s.Name }),
	timeColumn("at", func(s *verify.Stop) *time.Time { return &s.At }),
	textColumn("actor", func(s *verify.Stop) *string { return &s.Actor }),
	textColumn("note", func(s *verify.Stop) *string { return &s.Note }),
}

var (
	selectStops = `SELECT ` + stopLayout.names() + ` FROM stop ORDER BY kind, name`
	insertStop  = `INSERT INTO stop (` + stopLayout.names() + `) VALUES (` + stopLayout.dollars() + `)
		ON CONFLICT (kind, name) DO UPDATE SET ` + stopLayout[2:].set("excluded")
)

// Stops lists what operators have stopped, by kind and name.
func (s *Store) Stops(ctx context.Context) ([]verify.Stop, error) {
	return readAll(ctx, s.hot, stopLayout.scan, selectStops)
}

// otherwise is what a country may be in place of something.
var otherwise = map[verify.StopKind]verify.StopKind{verify.StopCountry: verify.Watch, verify.Watch: verify.StopCountry}

// Stop stops something, or watches a country, on all servers within a second, and writes that down.
func (s *Store) Stop(_ context.Context, stop verify.Stop, by ...Audit) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		stop.At = now
		if other, ok := otherwise[stop.Kind]; ok {
			if _, err := tx.ExecContext(ctx, `DELETE FROM stop WHERE kind = $1 AND name = $2`, other, stop.Name); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, insertStop, stopLayout.arguments(&stop)...); err != nil {
			return err
		}
		return audits(ctx, tx, now, "", by)
	})
}

// Allow allows again what was stopped, or watches a country no longer, and writes that down. It fails with [verify.ErrNotStopped].
func (s *Store) Allow(_ context.Context, kind verify.StopKind, name string, by ...Audit) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM stop WHERE name = $2 AND kind IN ($1, $3)`, kind, name, cmp.Or(otherwise[kind], kind))
		if err := changedOne(result, err, verify.ErrNotStopped); err != nil {
			return err
		}
		return audits(ctx, tx, now, "", by)
	})
}
