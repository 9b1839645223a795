package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io"
	"log"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// fillStep is the number of rows per transaction.
const fillStep = 100_000

// columns are the columns that a started verification sets.
const columns = `id, project, application, channel, destination, purpose, sender, text,
	format, length, max_attempts, expires_at, key_id, code_mac, previous, status, guesses, ended_at, delivery, reason, attempt, due_at, code_sealed`

// fillSQLite makes n pending verifications, each for a number of its own, with ids from the last hour.
// It writes the tables directly, because the API would take as long as the bench itself.
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

// fillPostgres does the same for PostgreSQL, with one COPY for each table. One transaction empties and
// fills the tables, so the rows can be frozen immediately, and no vacuum has to visit them again.
func fillPostgres(ctx context.Context, conn *pgx.Conn, project string, n int) error {
	if n == 0 {
		return nil
	}
	began := time.Now()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, "TRUNCATE verification, destination"); err != nil {
		return err
	}
	zero, expires := strings.Repeat("00", 16), began.Add(24*time.Hour).UnixMilli()
	ids := made{first: began.Add(-time.Hour).UnixMilli(), rows: n}
	for _, table := range []struct {
		text string
		row  func(b []byte, i int) []byte
	}{
		{"COPY verification (" + columns + ") FROM STDIN (FREEZE)", func(b []byte, i int) []byte {
			return fmt.Appendf(b, "%s\t%s\t\\\\x%s\tsms\t%s\tmfa\t+12025550199\tYour Personal Authorization Code is: {code}\tnumeric\t6\t3\t%d\t1\t\\\\x%x\t\\\\x%s\t0\t0\t0\t2\t\t1\t0\t\\\\x%x\n",
				ids.id(i), project, zero, ids.number(i), expires, ids.random(i, 32), zero, ids.random(i, 22))
		}},
		{"COPY destination (project, number, tat, sends, failures, wait_until, latest) FROM STDIN (FREEZE)", func(b []byte, i int) []byte {
			return fmt.Appendf(b, "%s\t%s\t%d\t\\\\x\t0\t0\t%s\n", project, ids.number(i), ids.first, ids.id(i))
		}},
	} {
		in, out := io.Pipe()
		go func() {
			var b []byte
			for i := range n {
				if b = table.row(b, i); len(b) > 64<<10 || i == n-1 {
					if _, err := out.Write(b); err != nil {
						return // the other end returns the reason
					}
					b = b[:0]
				}
				if (i+1)%(1000*1000) == 0 {
					log.Printf("filled %s with %d of %d rows in %v", strings.Fields(table.text)[1], i+1, n, time.Since(began).Round(time.Second))
				}
			}
			out.Close()
		}()
		tag, err := conn.PgConn().CopyFrom(ctx, in, table.text)
		in.Close()
		if err != nil {
			return err
		}
		if tag.RowsAffected() != int64(n) {
			return fmt.Errorf("%s: made %d rows, want %d", table.text, tag.RowsAffected(), n)
		}
	}
	if _, err := tx.Exec(ctx, "UPDATE watermark SET id = (SELECT id FROM verification ORDER BY id DESC LIMIT 1) WHERE name = 'sweep'"); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE")
	return err
}

// made describes the rows of a fill. The times of their ids are spread evenly over
// an hour.
type made struct {
	first int64 // milliseconds
	rows  int
}

func (m made) id(i int) string {
	random := m.random(i, 10)
	random[0], random[2] = 0x70|random[0]&0x0f, 0x80|random[2]&0x3f
	return fmt.Sprintf("\\\\x%012x%x", m.first+int64(i)*3540000/int64(m.rows), random)
}

func (m made) number(i int) string { return fmt.Sprintf("+1303%07d", i) }

// random returns n ≤ 32 bytes for the i-th row. They are always the same, because
// two tables refer to them.
func (made) random(i, n int) []byte {
	sum := sha256.Sum256(strconv.AppendInt(nil, int64(i), 10))
	return sum[:n]
}
