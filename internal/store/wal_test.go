package store

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/testsize"
)

// After a flood the log is cut once nobody writes. A reader delays that, and nobody waits for the reader.
func TestTheLogIsCutAtQuietTimes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "countersign.db")
	s, err := Open(context.Background(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	now := time.Now()
	w := &walTrimmer{path: path, quiet: walQuiet}
	look := func(after time.Duration) {
		t.Helper()
		now = now.Add(after)
		if err := w.look(now); err != nil {
			t.Fatal(err)
		}
	}
	application := makeApplication(t, s)
	db, err := sql.Open("sqlite", dsn(path, "query_only(1)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reader, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.QueryRow(`SELECT count(*) FROM app_user`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	fill(t, s, application, 0, 50_000)
	flood := size()
	if flood <= walKept {
		t.Fatalf("the flood's log has only %d bytes", flood)
	}
	look(0)
	look(walQuiet - 1)
	look(1)
	if got := size(); got != flood {
		t.Errorf("beside a reader the log was cut to %d bytes", got)
	}
	fill(t, s, application, 50_000, 1) // it didn't wait
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	look(walQuiet) // somebody wrote meanwhile
	if got := size(); got < flood {
		t.Errorf("while somebody writes the log was cut to %d bytes", got)
	}
	look(walQuiet)
	if got := size(); got > walKept {
		t.Errorf("at a quiet time the log keeps %d of %d bytes", got, flood)
	}
}

// A server cuts the log by itself.
func TestAServerCutsItsLog(t *testing.T) {
	t.Parallel()
	testsize.Full(t, "takes seven seconds")
	path := filepath.Join(t.TempDir(), "countersign.db")
	s, err := Open(context.Background(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill(t, s, makeApplication(t, s), 0, 50_000)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() <= walKept {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log keeps %d bytes", info.Size())
		}
	}
}
