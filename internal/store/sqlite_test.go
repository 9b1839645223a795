package store_test

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

func TestSQLiteIsAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, now func() time.Time, commit storetest.Commit) storetest.Store {
		return openSQLite(t, newFile(t), now, commit)
	})
}

// newFile makes an empty database.
func newFile(t *testing.T) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "countersign.db")
	storetest.File(t, path)
	return path
}

// sqlite is a store, and its file as another program sees it.
type sqlite struct {
	*store.Store
	outside
	path string
}

func openSQLite(t *testing.T, path string, now func() time.Time, commit storetest.Commit) *sqlite {
	t.Helper()
	opened, err := store.Open(ctx, store.Options{Path: path, Now: now, Commit: commit})
	if err != nil {
		t.Fatal(err)
	}
	return &sqlite{Store: opened, outside: look(t, "sqlite", path), path: path}
}

func (s *sqlite) Close() error {
	s.raw.Close()
	return s.Store.Close()
}

func (s *sqlite) Again(t *testing.T, now func() time.Time, commit storetest.Commit) storetest.Store {
	t.Helper()
	return openSQLite(t, s.path, now, commit)
}

// outside is a database as another program sees it.
type outside struct {
	raw                        *sql.DB
	destinations, hints, swept *sql.Stmt
}

func look(t *testing.T, driver, name string) (o outside) {
	t.Helper()
	var err error
	if o.raw, err = sql.Open(driver, name); err != nil {
		t.Fatal(err)
	}
	for stmt, text := range map[**sql.Stmt]string{
		&o.destinations: `SELECT project, number, tat, sends, failures, wait_until, latest FROM destination ORDER BY project, number`,
		&o.hints:        `SELECT due, id FROM retry ORDER BY due, id`,
		&o.swept:        `SELECT id FROM watermark WHERE name = 'sweep'`,
	} {
		if *stmt, err = o.raw.Prepare(text); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func (o outside) Destinations(ctx context.Context) (all []verify.Destination, err error) {
	rows, err := o.destinations.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var d verify.Destination
		var tat, wait int64
		var sends, latest []byte
		if err := rows.Scan(&d.Project, &d.Number, &tat, &sends, &d.Failures, &wait, &latest); err != nil {
			return nil, err
		}
		d.TAT, d.WaitUntil, d.Latest = fromMillis(tat), fromMillis(wait), verify.ID(latest)
		if d.Sends, err = limit.ParseLog(sends); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

func (o outside) Hints(ctx context.Context) (all []storetest.Hint, err error) {
	rows, err := o.hints.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var due int64
		var id []byte
		if err := rows.Scan(&due, &id); err != nil {
			return nil, err
		}
		all = append(all, storetest.Hint{Due: fromMillis(due), ID: verify.ID(id)})
	}
	return all, rows.Err()
}

func (o outside) Swept(ctx context.Context) (verify.ID, error) {
	var id []byte
	if err := o.swept.QueryRowContext(ctx).Scan(&id); err != nil {
		return verify.ID{}, err
	}
	return verify.ID(id), nil
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

var ctx = context.Background()

// contents are the bytes of a database's files, as somebody gets them who copies its folder.
func contents(t *testing.T, path string) (all []byte) {
	t.Helper()
	err := filepath.WalkDir(filepath.Dir(path), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, data...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What a backup made the log grow to is given back.
func TestTheLogIsCutAfterALongReader(t *testing.T) {
	t.Parallel()
	s, err := store.Open(ctx, store.Options{Path: newFile(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := s.Pragma(ctx, "journal_size_limit"); err != nil || got != "67108864" {
		t.Errorf("journal_size_limit: got %q, %v; want 64 MiB", got, err)
	}
}
