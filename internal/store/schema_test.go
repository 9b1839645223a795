package store_test

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
)

// heard is a log handler that tells of its first record.
type heard struct {
	slog.Handler
	once  sync.Once
	first chan struct{}
}

func (h *heard) Enabled(context.Context, slog.Level) bool { return true }

func (h *heard) Handle(context.Context, slog.Record) error {
	h.once.Do(func() { close(h.first) })
	return nil
}

// A dump reads every table in one transaction. A change of the schema waits for that, and must let
// requests through meanwhile.
func TestASchemaChangeLetsOthersThroughWhileItWaits(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, "")
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	steps, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations/postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := steps.UpTo(ctx, 2); err != nil {
		t.Fatal(err)
	}
	dump, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer dump.Rollback()
	if _, err := dump.Exec(`LOCK TABLE application, verification, delivery IN ACCESS SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	log := &heard{Handler: slog.DiscardHandler, first: make(chan struct{})}
	opening, stop := context.WithCancel(ctx)
	opened := make(chan error, 1)
	defer func() { stop(); <-opened }()
	go func() {
		defer close(opened)
		s, err := store.Open(opening, store.Options{Postgres: &store.Postgres{URL: url, Timeout: 10 * time.Second}, Migrate: true, Log: slog.New(log)})
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	select {
	case <-log.first:
	case err := <-opened:
		t.Fatalf("open: got %v before the dump had ended", err)
	case <-time.After(time.Minute):
		t.Fatal("the change didn't give up: everybody else waits behind it")
	}
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for range 100 {
		if _, err := db.ExecContext(within, `UPDATE application SET name = name`); err != nil {
			t.Fatalf("a request while the change waits: %v", err)
		}
	}
	if err := dump.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("open after the dump: %v", err)
	}
}
