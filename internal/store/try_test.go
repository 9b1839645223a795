package store_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
)

func TestATryMakesNoDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got, err := store.Try(ctx, store.Options{Path: filepath.Join(dir, "data", "countersign.db")})
	if err != nil || got.Schema != 0 {
		t.Errorf("got %+v, %v; want a database that can be made", got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Try(ctx, store.Options{Path: filepath.Join(file, "countersign.db")}); err == nil {
		t.Error("a file was taken for a folder")
	}
}

func TestATryOfAFile(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	got, err := store.Try(ctx, store.Options{Path: path})
	if err != nil || got.Schema == 0 || got.Schema != got.Wanted {
		t.Errorf("got %+v, %v; want a schema that is up to date", got, err)
	}
	raw := openRaw(t, path)
	defer raw.Close()
	if _, err := raw.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Try(ctx, store.Options{Path: path}); err == nil || !strings.Contains(err.Error(), "newer countersign") {
		t.Errorf("of a newer schema: got %v", err)
	}
	other := filepath.Join(t.TempDir(), "other.db")
	if err := os.WriteFile(other, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Try(ctx, store.Options{Path: other}); err == nil {
		t.Error("a text was taken for a database")
	}
}

func TestATryRefusesAFileThatMoves(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	raw := openRaw(t, path)
	defer raw.Close()
	if _, err := raw.Exec(`INSERT INTO moving (name, last) VALUES ('to', 'db.example/x'), ('since', '2026-01-02T03:04:05Z'), ('token', 'x')`); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Try(ctx, store.Options{Path: path}); err == nil || !strings.Contains(err.Error(), "db.example/x") {
		t.Errorf("got %v", err)
	}
}

func TestATryOfPostgres(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, "")
	o := store.Options{Postgres: &store.Postgres{URL: url, Timeout: time.Minute}}
	got, err := store.Try(ctx, o)
	if err != nil || got.Schema != 0 || got.Wanted == 0 || !strings.HasPrefix(got.Engine, "PostgreSQL ") {
		t.Errorf("of a new one: got %+v, %v", got, err)
	}
	if got, err = store.Try(ctx, o); err != nil || got.Schema != 0 {
		t.Errorf("the first try left something: got %+v, %v", got, err)
	}
	s, err := store.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err = store.Try(ctx, o); err != nil || got.Schema == 0 || got.Schema != got.Wanted {
		t.Errorf("got %+v, %v; want a schema that is up to date", got, err)
	}
}

func TestARemedyNamesTheKeyOfARefusal(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t, "")
	absent := regexp.MustCompile(`/[a-z0-9_]+\?`).ReplaceAllString(url, "/absent?")
	_, err := store.Try(ctx, store.Options{Postgres: &store.Postgres{URL: absent, Timeout: time.Minute}})
	if got := store.Remedy(err); !strings.HasPrefix(got, "database.url: ") || !strings.Contains(got, "create") {
		t.Errorf("of %v: got %q", err, got)
	}
	if got := store.Remedy(errors.New("else")); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestRemediesNameTheKeyToLookAt(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"database.password: ":                          &pgconn.PgError{Code: "28P01"},
		"database.url: check the user":                 &pgconn.PgError{Code: "28000"},
		"database.url: make its user":                  &pgconn.PgError{Code: "42501"},
		"database.connections: ":                       &pgconn.PgError{Code: "53300"},
		"database.url: check the host's name":          &net.DNSError{Err: "no such host", IsNotFound: true},
		"database.url: check host and port: Postgr":    &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"database.url: check host and port, and wheth": context.DeadlineExceeded,
		"database.url: check the host's name, and ssl": &tls.CertificateVerificationError{Err: errors.New("x")},
	} {
		if got := store.Remedy(fmt.Errorf("open: %w", err)); !strings.HasPrefix(got, want) {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
	if got := store.Remedy(&pgconn.PgError{Code: "XX000"}); got != "" {
		t.Errorf("of a code that isn't known: got %q", got)
	}
}
