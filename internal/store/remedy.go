package store

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Remedy says what to change in the configuration about a PostgreSQL that refuses us, or "".
func Remedy(err error) string {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		return ""
	}
	switch refusal.Code {
	case "28P01":
		return "database.password: compare it with the password of the user that database.url names"
	case "28000":
		return "database.url: check the user, and whether pg_hba.conf lets it in from this machine"
	case "3D000":
		return "database.url: check the database's name, or create that database"
	case "42501":
		return "database.url: make its user the owner of the database"
	case "53300":
		return "database.connections: lower it, or let PostgreSQL have more (max_connections)"
	}
	return ""
}
