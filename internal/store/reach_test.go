package store_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
)

// What passes by itself is waited for at a start; all else ends the program.
func TestWhatPassesIsToldFromWhatStaysWrong(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	answer := func(code string) error { return &pgconn.PgError{Code: code} }
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":                        {nil, false},
		"connection refused":             {refused, true},
		"no socket":                      {&net.OpError{Op: "dial", Net: "unix", Err: syscall.ENOENT}, true},
		"no such host, yet":              {&net.DNSError{Err: "no such host", IsNotFound: true}, true},
		"no answer in time":              {fmt.Errorf("connect: %w", context.DeadlineExceeded), true},
		"hung up on":                     {fmt.Errorf("receive: %w", io.ErrUnexpectedEOF), true},
		"starting up":                    {answer("57P03"), true},
		"shutting down":                  {answer("57P01"), true},
		"too many connections":           {answer("53300"), true},
		"its disk is full":               {answer("53100"), true},
		"a table is locked":              {answer("55P03"), true},
		"a wrong password":               {answer("28P01"), false},
		"not let in":                     {answer("28000"), false},
		"no such database":               {answer("3D000"), false},
		"not permitted":                  {answer("42501"), false},
		"a certificate of somebody else": {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false},
		"our certificate isn't taken":    {&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, false},
		"no such file":                   {&fs.PathError{Op: "open", Err: syscall.ENOENT}, false},
		"anything else":                  {errors.New("its schema is version 9"), false},
		"one host away, one not ours":    {errors.Join(refused, answer("28P01")), true},
		"two hosts not ours":             {errors.Join(answer("28P01"), answer("28P01")), false},
	} {
		if got := store.Passing(test.err); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// What an engine itself says, where it can be made to.
func TestAReadOnlyServerAndAFullFilePass(t *testing.T) {
	t.Parallel()
	full, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	full.SetMaxOpenConns(1)
	_, err = full.Exec(`PRAGMA max_page_count = 1; CREATE TABLE one (a TEXT); CREATE TABLE two (a TEXT)`)
	if !store.Passing(err) {
		t.Errorf("a file without room: %v doesn't pass", err)
	}

	url := storetest.Database(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name string
	if err := db.QueryRow(`SELECT current_database()`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`ALTER DATABASE ` + name + ` SET default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(ctx, store.Options{Postgres: &store.Postgres{URL: url, Timeout: time.Minute}})
	if !store.Passing(err) {
		t.Errorf("a server that takes no writes: %v doesn't pass", err)
	}
}
