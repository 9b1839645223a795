package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// Plans are made when a table is empty or small, and it grows to millions of rows. Each hot statement
// must look its rows up by their keys from the beginning, and a plan that reads a small table whole must
// be given up when that has grown, although no statistics tell.
func TestHotStatementsLookUpByKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, err := Open(ctx, Options{Postgres: &Postgres{URL: pgtest.Database(t, ""), Timeout: 10 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	connect := func() *postgresSession {
		t.Helper()
		p := &postgresSession{config: s.w.hot[0].(*postgresSession).config, server: s.w.hot[0].(*postgresSession).server, known: newIdentities()}
		if err := p.begin(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.close() })
		return p
	}
	explain := func(when string, p *postgresSession, demand bool) {
		t.Helper()
		for i, text := range []string{
			pgLockApplications, pgLockUsers, pgLockDestinations, pgLockKnownDestinations, pgReadIdentities, pgLockVerifications,
			pgLockUsersDestinations, pgLockUsersVerifications,
			pgUpdateDestinations, pgUpdateVerifications, pgUpdateUsers, pgDeleteUsers, pgDeleteHints,
			pgLockKept,
		} {
			n := 1
			for strings.Contains(text, fmt.Sprintf("$%d::", n+1)) {
				n++
			}
			if _, err := p.conn.Exec(ctx, fmt.Sprintf("PREPARE q%d AS %s", i, text)); err != nil && pgCode(err) != "42P05" { // it is
				t.Fatalf("%s: %v", text, err)
			}
			rows, err := p.conn.Query(ctx, fmt.Sprintf("EXPLAIN EXECUTE q%d(%s)", i, strings.TrimSuffix(strings.Repeat("'{}', ", n), ", ")))
			if err != nil {
				t.Fatal(err)
			}
			var plan []string
			for rows.Next() {
				var line string
				if err := rows.Scan(&line); err != nil {
					t.Fatal(err)
				}
				plan = append(plan, line)
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			if !demand {
				continue
			}
			lookups := 0
			for i, line := range plan {
				indexed := strings.Contains(line, "Index Scan")
				if indexed {
					lookups++
				}
				if strings.Contains(line, "Seq Scan") || indexed && (i+1 == len(plan) || !strings.Contains(plan[i+1], "Index Cond")) {
					t.Errorf("%s, %s\nreads a whole table:\n%s", when, text, strings.Join(plan, "\n"))
				}
			}
			if lookups == 0 {
				t.Errorf("%s, %s\nlooks nothing up:\n%s", when, text, strings.Join(plan, "\n"))
			}
		}
	}
	start := func(n int) {
		t.Helper()
		ops := make([]op, n)
		for i := range ops {
			v := verify.Verification{ID: verify.NewID(time.Now()), Project: "p", User: "u", Terms: verify.Terms{To: phone.Number(fmt.Sprintf("+1202%07d", 5550000+i))}, Code: verify.Code{CodeMAC: []byte{}}}
			ops[i] = op{destination: destinationKey{v.Project, v.To}, apply: func(r *rows, _ time.Time) error {
				r.destination(destinationKey{v.Project, v.To}).dirty = true
				r.insert(v)
				r.put(verify.User{Application: v.ID, Name: "u"})
				r.hint(hint{time.Now(), v.ID})
				return nil
			}}
		}
		if err := s.w.doAll(ops); err != nil {
			t.Fatal(err)
		}
		if _, err := s.write.Exec(`INSERT INTO application (id, project, name, format, length, life_ms, attempts, sender)
			SELECT id, 'p', '', '', 0, 0, 0, '' FROM verification ON CONFLICT DO NOTHING`); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CreateProject(ctx, verify.Project{ID: "p"}); err != nil {
		t.Fatal(err)
	}
	explain("without rows", connect(), true)
	start(20)
	if _, err := s.write.Exec("ANALYZE"); err != nil {
		t.Fatal(err)
	}
	p := connect()
	explain("with few rows", p, false)
	start(3000)
	if _, err := p.load(ctx, []op{{verification: verify.NewID(time.Now())}}); err != nil {
		t.Fatal(err)
	}
	p.rollback(ctx)
	explain("when they have become many", p, true)
}
