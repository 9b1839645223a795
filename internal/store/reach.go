package store

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
	direct "zombiezen.com/go/sqlite"
)

// Passing reports whether an error of [Open] may pass by itself: the database can't be reached, starts up,
// recovers, is a standby, has no room or no connection left, or is locked. All else stays wrong until somebody
// acts: a wrong password, no such database, a certificate that doesn't verify, a schema that is too new.
//
// Where several hosts were tried, one that may come is enough.
func Passing(err error) bool {
	switch e := err.(type) {
	case nil:
		return false
	case *pgconn.PgError:
		return slices.Contains([]string{classConnection, classRollback, classResources, classOperator, classSystem}, e.Code[:2]) || e.Code == codeLockTimeout
	case *net.OpError:
		var alert tls.AlertError
		return !errors.As(err, &alert) && e.Op != "remote error" && e.Op != "local error" // those are TLS's
	case *net.DNSError:
		return true
	case *sqlite.Error:
		return e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_FULL
	case interface{ Timeout() bool }:
		if e.Timeout() {
			return true
		}
	}
	if slices.Contains([]error{io.EOF, io.ErrUnexpectedEOF, driver.ErrBadConn, errIncomplete, errNoPrimary}, err) {
		return true
	}
	if code := direct.ErrCode(err).ToPrimary(); code == direct.ResultBusy || code == direct.ResultFull {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return Passing(e.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), Passing)
	}
	return false
}

// errNoPrimary means that a server takes no writes: it is a standby.
var errNoPrimary = errors.New("no server takes writes")

// onlyPrimary refuses a connection to a server that takes no writes.
func onlyPrimary(ctx context.Context, c *pgconn.PgConn) error {
	if err := pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, c); err != nil {
		return fmt.Errorf("%w: %w", errNoPrimary, err)
	}
	return nil
}
