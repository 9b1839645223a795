package store

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Remedy says what to change about a PostgreSQL that can't be reached or refuses us, by the configuration's keys. It
// returns "" for other errors, which say it themselves.
func Remedy(err error) string {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return remedies[refusal.Code]
	}
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var network net.Error
	switch {
	case errors.As(err, &name):
		return "database.url: check the host's name"
	case errors.As(err, &certificate):
		return "database.url: check the host's name, and sslrootcert if the authority is your own"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return "database.url: check host and port: PostgreSQL doesn't listen there"
	case errors.Is(err, errNoPrimary):
		return "database.url: name the primary, or all hosts: this server takes no writes"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "database.url: check host and port, and whether a firewall lets this machine through"
	}
	return ""
}

// remedies are what to do about codes of PostgreSQL.
var remedies = map[string]string{
	"28P01": "database.password: compare it with the password of the user that database.url names",
	"28000": "database.url: check the user, and whether pg_hba.conf lets it in from this machine",
	"3D000": "database.url: check the database's name, or create that database",
	"42501": "database.url: make its user the owner of the database",
	"53300": "database.connections: lower it, or let PostgreSQL have more (max_connections)",
}
