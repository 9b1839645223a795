package store

import (
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

// Stop stops something on all servers within a second, and writes that down.
func (s *Store) Stop(_ context.Context, stop verify.Stop, by ...Audit) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		stop.At = now
		if _, err := tx.ExecContext(ctx, insertStop, stopLayout.arguments(&stop)...); err != nil {
			return err
		}
		return audits(ctx, tx, now, "", by)
	})
}

// Allow allows again what was stopped, and writes that down. It fails with [verify.ErrNotStopped].
func (s *Store) Allow(_ context.Context, kind verify.StopKind, name string, by ...Audit) error {
	return s.alone(func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM stop WHERE kind = $1 AND name = $2`, kind, name)
		if err := changedOne(result, err, verify.ErrNotStopped); err != nil {
			return err
		}
		return audits(ctx, tx, now, "", by)
	})
}
