package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql migrations/postgres/*.sql
var migrations embed.FS

// A change of a table waits for every transaction that reads it, and all that comes later waits behind
// the change. So a change gives up after schemaLock, lets the others through for schemaPause, and asks again.
const (
	schemaLock  = 200 * time.Millisecond
	schemaPause = time.Second
)

// ErrOldSchema means that a database must be brought up to date before this program can use it.
var ErrOldSchema = errors.New("start the new server, or run countersign migrate schema, to bring it up to date")

// maxTries is how often we try what several processes may do at the same time to a new file.
const maxTries = 10

// A schema is what brings a database up to date.
type schema struct {
	provider *goose.Provider
	change   bool // also a database that others may be using; a new one is always filled
	log      *slog.Logger
}

// newSchema reads the migrations of an engine.
func newSchema(db *sql.DB, dialect goose.Dialect, o Options) (*schema, error) {
	folder, options := "migrations", []goose.ProviderOption{}
	if dialect == goose.DialectPostgres {
		folder = "migrations/postgres"
		one, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock(o.Postgres)), lock.WithLockTimeout(1, math.MaxInt32)) // until ctx ends
		if err != nil {
			return nil, err
		}
		options = append(options, goose.WithSessionLocker(one))
	}
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider(dialect, db, files, options...)
	return &schema{p, o.Migrate, o.Log}, err
}

// update brings the schema up to date, or says why it may not.
func (s *schema) update(ctx context.Context) error {
	var logged, changed time.Time
	seen := int64(-1)
	for try := 1; ; {
		version, err := s.up(ctx)
		if version != seen {
			seen, changed = version, time.Now()
		}
		switch {
		case errors.Is(err, ErrOldSchema) && ctx.Err() == nil && time.Since(changed) < schemaPause:
			time.Sleep(schemaPause / 10) // it may be new, and another process is filling it
		case err == nil || ctx.Err() != nil || errors.Is(err, ErrOldSchema):
			return err
		case pgCode(err) == codeLockTimeout:
			if s.log != nil && time.Since(logged) >= time.Minute {
				s.log.WarnContext(ctx, "waiting to change the database's schema: other transactions are reading its tables", "err", err)
				logged = time.Now()
			}
			select {
			case <-ctx.Done():
			case <-time.After(schemaPause):
			}
		case try == maxTries:
			return err
		default:
			// Another process may be migrating the same database. Then one of our steps fails, for it was
			// done a moment ago; when we look again, we are further.
			try++
		}
	}
}

// up returns the version that it found.
func (s *schema) up(ctx context.Context) (current int64, err error) {
	current, target, err := s.provider.GetVersions(ctx)
	switch {
	case err != nil:
		return current, fmt.Errorf("read schema version: %w", err)
	case current > target:
		return current, tooNew(current, target)
	case current == target:
		return current, nil
	case current > 0 && !s.change:
		return current, fmt.Errorf("its schema is version %d, this program needs %d: %w", current, target, ErrOldSchema)
	}
	if _, err := s.provider.Up(ctx); err != nil {
		return current, fmt.Errorf("migrate: %w", err)
	}
	return current, nil
}

// tooNew refuses a schema that a newer program made.
func tooNew(current, target int64) error {
	return fmt.Errorf("its schema is version %d, this program knows up to %d: run a newer countersign", current, target)
}
