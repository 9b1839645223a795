package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3/lock"
)

// Several installations can share a database: each has a schema with tables of its own, and its connections find
// no others.

// searchPath is the setting of PostgreSQL that says in which schemas a session finds tables. It is given with the
// connection, so that nothing that a session does later can lose it.
const searchPath = "search_path"

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// CheckSchemaName says what is wrong with the name of a schema. A name that is right needs no quotes anywhere.
func CheckSchemaName(name string) error {
	if !schemaName.MatchString(name) || strings.HasPrefix(name, "pg_") || name == "information_schema" {
		return errors.New("must be 1 to 63 lower-case letters, digits and underscores, the first one no digit; names that begin with pg_ and information_schema are PostgreSQL's own")
	}
	return nil
}

// CheckSchema says what is wrong with the schema. It connects to nothing.
func (p *Postgres) CheckSchema() error {
	if p.Schema == "" {
		return nil
	}
	if err := CheckSchemaName(p.Schema); err != nil {
		return err
	}
	_, text, _ := strings.Cut(p.URL, "?")
	query, err := url.ParseQuery(text)
	if err != nil {
		return nil // Check says it
	}
	path := cmp.Or(query.Get(searchPath), p.Schema)
	if path != p.Schema || strings.Contains(query.Get("options"), searchPath) {
		return errors.New("differs from the url's search_path: remove search_path from database.url")
	}
	return nil
}

// migrationLock is the number of the lock that one process at a time holds while it changes a schema. Those of other
// schemas don't wait for it. Programs of before took the same lock for all.
func migrationLock(p *Postgres) int64 {
	if p == nil || p.Schema == "" {
		return lock.DefaultLockID
	}
	return advisoryLock("schema", p.Schema)
}

// A foundSchema is what a look for a schema shows.
type foundSchema struct {
	name, user, database string
	exists               bool
	usable               bool // the user may use what is in it
	mayMake              bool // the user may create schemas in this database
}

func lookForSchema(ctx context.Context, conn *pgx.Conn, name string) (f foundSchema, err error) {
	f.name = name
	err = conn.QueryRow(ctx, `SELECT current_user, current_database(), n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
			has_database_privilege(current_database(), 'CREATE')
		FROM (SELECT $1::name AS name) w LEFT JOIN pg_namespace n ON n.nspname = w.name`, name).Scan(&f.user, &f.database, &f.exists, &f.usable, &f.mayMake)
	if err != nil {
		return f, fmt.Errorf("look for schema %s: %w", name, err)
	}
	return f, nil
}

// refusal is an error if the schema can't be used, and we can't make it. It says what to run.
func (f foundSchema) refusal() error {
	user := pgx.Identifier{f.user}.Sanitize()
	switch {
	case f.exists && !f.usable:
		return fmt.Errorf("its user may not use schema %s; run as the owner of the schema: GRANT USAGE, CREATE ON SCHEMA %s TO %s", f.name, quoteSchema(f.name), user)
	case !f.exists && !f.mayMake:
		return fmt.Errorf("there is no schema %s, and its user may not create one; run as the owner of database %s: CREATE SCHEMA %s AUTHORIZATION %s", f.name, f.database, quoteSchema(f.name), user)
	}
	return nil
}

func quoteSchema(name string) string { return pgx.Identifier{name}.Sanitize() }

// makeSchema makes a schema if it is missing. "" is one that the configuration doesn't name: that must be there.
func makeSchema(ctx context.Context, conn *pgx.Conn, name string) error {
	if name == "" {
		return nil
	}
	found, err := lookForSchema(ctx, conn, name)
	if err != nil {
		return err
	}
	if err := found.refusal(); err != nil || found.exists {
		return err
	}
	if _, err := conn.Exec(ctx, distributeSchemas); err != nil {
		return err
	}
	if _, err = conn.Exec(ctx, `CREATE SCHEMA `+quoteSchema(name)); err == nil {
		return nil
	}
	// Another process may have made it meanwhile.
	if found, again := lookForSchema(ctx, conn, name); again == nil && found.exists {
		return found.refusal()
	}
	return fmt.Errorf("create schema %s: %w", name, err)
}
