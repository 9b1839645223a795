package store

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/verify"
)

// fill makes users by SQL. Each engine has its own way to count.
func fill(t testing.TB, s *Store, application verify.ID, first, n int) {
	t.Helper()
	numbers := `WITH RECURSIVE numbers (i) AS (SELECT $2 + 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < $2 + $3 - 1)`
	if s.postgres {
		numbers = `WITH numbers (i) AS (SELECT generate_series($2::bigint, $2::bigint + $3::bigint - 1))`
	}
	_, err := s.write.Exec(numbers+` INSERT INTO app_user (application, name, address, status, latest, sends, created_at, updated_at, version)
		SELECT $1, 'u' || i, '+1202' || (i * 7919 % 1000003), 1 + i % 3, $1, $4, i, i * 31 % 1000003, i % 5 FROM numbers`, application[:], first, n, []byte{})
	if err != nil {
		t.Fatal(err)
	}
}

func eachEngine(t *testing.T, f func(t *testing.T, s *Store)) {
	for name, options := range map[string]func(t *testing.T) Options{
		"SQLite": func(t *testing.T) Options { return Options{Path: filepath.Join(t.TempDir(), "countersign.db")} },
		"PostgreSQL": func(t *testing.T) Options {
			return Options{Postgres: &Postgres{URL: pgtest.Database(t, ""), Timeout: 10 * time.Second}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(context.Background(), options(t))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			f(t, s)
		})
	}
}

// makeApplication makes a project with an application.
func makeApplication(t testing.TB, s *Store) verify.ID {
	t.Helper()
	ctx := context.Background()
	if err := s.CreateProject(ctx, verify.Project{ID: "p", Name: "p", Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	a := verify.Application{ID: verify.NewID(time.Now()), Project: "p", Name: "shop", Version: 1}
	if err := s.CreateApplication(ctx, a, false, 10); err != nil {
		t.Fatal(err)
	}
	return a.ID
}

// However users are sorted, an index has them in that order: nothing sorts a million to show the first.
func TestUsersAreReadInTheirOrder(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Store) {
		explain := `EXPLAIN QUERY PLAN `
		if s.postgres {
			explain = `EXPLAIN `
		}
		application := makeApplication(t, s)
		fill(t, s, application, 0, 3000)
		for order, column := range userOrders {
			for _, way := range []string{"", " DESC"} {
				names := `SELECT name FROM app_user WHERE application = $1` + userOrder(column, way) + ` LIMIT 10 OFFSET 10`
				rows, err := s.write.Query(explain+names, application[:])
				if err != nil {
					t.Fatal(err)
				}
				plan := planText(t, rows)
				if strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "Sort") || !strings.Contains(plan, "USING COVERING INDEX") && !strings.Contains(plan, "USING PRIMARY KEY") && !strings.Contains(plan, "Index Only Scan") {
					t.Errorf("order %q%s is no index's:\n%s", order, way, plan)
				}
				if rows, err = s.write.Query(explain+userPage(names, userOrder(column, way)), application[:]); err != nil {
					t.Fatal(err)
				}
				if plan := planText(t, rows); !s.postgres && !strings.Contains(plan, "USING PRIMARY KEY (application=? AND name=?)") {
					t.Errorf("the users of a page in order %q%s aren't looked up by name:\n%s", order, way, plan)
				}
			}
		}
	})
}

func planText(t *testing.T, rows *sql.Rows) string {
	t.Helper()
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprint(values[len(values)-1]))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// A total up to the bound is exact. A larger one may be some seconds old, but never less than what a page shows.
func TestTheTotalOfUsers(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx, application := context.Background(), makeApplication(t, s)
		s.counted.patience = time.Minute
		total := func(offset int) (n, all int) {
			t.Helper()
			list, all, err := s.Users(ctx, "p", application, verify.UserFilter{}, verify.Page{Offset: offset, Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			return len(list), all
		}
		fill(t, s, application, 0, countedExactly-1)
		for i := range 3 {
			if _, all := total(0); all != countedExactly-1+i {
				t.Errorf("total: got %d, want %d", all, countedExactly-1+i)
			}
			fill(t, s, application, countedExactly-1+i, 1)
		}
		if _, all := total(0); all != countedExactly+1 {
			t.Errorf("total a moment later: got %d, want the count of a moment ago, %d", all, countedExactly+1)
		}
		if n, all := total(countedExactly); n != 2 || all != countedExactly+2 {
			t.Errorf("last page: got %d users and the total %d, want 2 and %d", n, all, countedExactly+2)
		}
		if n, all := total(countedExactly + 100); n != 0 || all != countedExactly+1 {
			t.Errorf("past the end: got %d users and the total %d, want none and the count of a moment ago", n, all)
		}
	})
}

// While many users are being counted, which nobody waits for, a total is more than a page shows, so that callers read on.
// Then it is exact.
func TestATotalThatIsBeingCountedStopsNobody(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Store) {
		const n = 2*countedExactly + 50
		ctx, application := context.Background(), makeApplication(t, s)
		s.counted.patience = 0
		fill(t, s, application, 0, n)
		busy := make(chan countWish) // nobody counts
		s.counted.wishes, busy = busy, s.counted.wishes
		for _, offset := range []int{0, countedExactly, 2*countedExactly - 100} {
			list, total, err := s.Users(ctx, "p", application, verify.UserFilter{}, verify.Page{Offset: offset, Limit: 100})
			if err != nil || len(list) != 100 || total <= offset+100 || total > n {
				t.Errorf("behind %d: %d users of %d, %v; want 100 of more than are shown, and of %d at most", offset, len(list), total, err, n)
			}
		}
		s.counted.wishes = busy
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			_, total, err := s.Users(ctx, "p", application, verify.UserFilter{}, verify.Page{Limit: 100})
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("total: got %d, %v; want %d in the end", total, err, n)
			}
			if total == n {
				return
			}
		}
	})
}
