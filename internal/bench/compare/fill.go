package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// fillStep is how many rows one transaction makes.
const fillStep = 100_000

// columns are those that a started verification fills.
const columns = `id, project, application, channel, destination, purpose, sender, text,
	format, length, max_attempts, expires_at, key_id, code_mac, previous, status, guesses, ended_at, delivery, reason, attempt, due_at, code_sealed`

// fillSQLite makes n pending verifications, each of a number of its own, with ids over the last hour. It
// writes the tables directly: making them by the API would take the bench's own time.
func fillSQLite(path, project string, n int) error {
	if n == 0 {
		return nil
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(OFF)&_pragma=journal_mode(WAL)")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	ctx, began := context.Background(), time.Now()
	first := began.Add(-time.Hour).UnixMilli()
	expires := began.Add(24 * time.Hour).UnixMilli()
	for done := 0; done < n; done += fillStep {
		_, err := db.ExecContext(ctx, `
			CREATE TEMP TABLE IF NOT EXISTS made (id BLOB, number TEXT);
			DELETE FROM made;
			WITH RECURSIVE n (i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2)
			INSERT INTO made SELECT
				unhex(printf('%012x7%s8%s', $3 + i * 3540000 / $4, substr(hex(randomblob(2)), 2), substr(hex(randomblob(8)), 2))),
				printf('+1303%07d', i) FROM n;
			INSERT INTO verification (`+columns+`)
				SELECT id, $5, zeroblob(16), 'sms', number, 'mfa', '+12025550199', 'Your Personal Authorization Code is: {code}',
					'numeric', 6, 3, $6, 1, randomblob(32), zeroblob(16), 0, 0, 0, 2, '', 1, 0, randomblob(22) FROM made ORDER BY id;
			INSERT INTO destination (project, number, tat, sends, failures, wait_until, latest)
				SELECT $5, number, $3, x'', 0, 0, id FROM made ORDER BY number;
			UPDATE watermark SET id = (SELECT max(id) FROM made) WHERE name = 'sweep'`,
			done, min(done+fillStep, n), first, n, project, expires)
		if err != nil {
			return err
		}
		log.Printf("filled %d of %d rows in %v", min(done+fillStep, n), n, time.Since(began).Round(time.Second))
	}
	var count int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM verification").Scan(&count); err != nil {
		return err
	}
	if count != n {
		return fmt.Errorf("made %d rows, want %d", count, n)
	}
	_, err = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

// fillPostgres does the same there.
func fillPostgres(db *sql.DB, project string, n int) error {
	if n == 0 {
		return nil
	}
	ctx, began := context.Background(), time.Now()
	first, expires := began.Add(-time.Hour).UnixMilli(), began.Add(24*time.Hour).UnixMilli()
	for done := 0; done < n; done += fillStep {
		for _, text := range []string{
			`INSERT INTO verification (` + columns + `) SELECT ` + benchID + `, $5, decode(repeat('00', 16), 'hex'), 'sms', ` + benchNumber + `, 'mfa', '+12025550199',
				'Your Personal Authorization Code is: {code}', 'numeric', 6, 3, $6, 1, sha256(i::text::bytea), decode(repeat('00', 16), 'hex'),
				0, 0, 0, 2, '', 1, 0, substr(sha256(i::text::bytea), 1, 22)
			FROM generate_series($1::bigint, $2::bigint - 1) AS i WHERE $3::bigint >= 0 AND $4::bigint > 0`,
			`INSERT INTO destination (project, number, tat, sends, failures, wait_until, latest)
			SELECT $5, ` + benchNumber + `, $3, '', 0, 0, ` + benchID + ` FROM generate_series($1::bigint, $2::bigint - 1) AS i WHERE $4::bigint > 0 AND $6::bigint > 0`,
			`UPDATE watermark SET id = (SELECT id FROM verification ORDER BY id DESC LIMIT 1) WHERE name = 'sweep'
				AND $1::bigint + $2::bigint + $3::bigint + $4::bigint + $6::bigint > 0 AND $5 <> ''`,
		} {
			if _, err := db.ExecContext(ctx, text, done, min(done+fillStep, n), first, n, project, expires); err != nil {
				return err
			}
		}
		log.Printf("filled %d of %d rows in %v", min(done+fillStep, n), n, time.Since(began).Round(time.Second))
	}
	_, err := db.ExecContext(ctx, "VACUUM ANALYZE")
	return err
}

// The id and the number of the i-th row: the times of the ids lie evenly in the last hour.
const (
	benchID     = `decode(lpad(to_hex($3::bigint + i * 3540000 / $4::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15), 'hex')`
	benchNumber = `('+1303' || lpad(i::text, 7, '0'))`
)
