package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// everything is all rows of an installation's tables, as text, but for what is PostgreSQL's own.
func everything(t *testing.T, driver, name string) (all []string) {
	t.Helper()
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list := func(text string, args ...any) (rows [][]any) {
		t.Helper()
		found, err := db.Query(text, args...)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		defer found.Close()
		columns, err := found.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for found.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := found.Scan(into...); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, values)
		}
		return rows
	}
	tables := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('goose_db_version', 'sqlite_sequence', 'moving') ORDER BY 1`
	columns := `SELECT name FROM pragma_table_info($1) ORDER BY 1`
	if driver == "pgx" {
		tables = `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'
			AND table_name NOT IN ('goose_db_version', 'server', 'sweep_gate', 'moving') ORDER BY 1`
		columns = `SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY 1`
	}
	for _, table := range list(tables) {
		var names []string
		for _, column := range list(columns, table[0]) {
			names = append(names, column[0].(string))
		}
		where := ""
		if table[0] == "watermark" {
			where = " WHERE name = 'sweep'"
		}
		rows := list(fmt.Sprintf("SELECT %s FROM %s%s", strings.Join(names, ", "), table[0], where))
		for _, row := range rows {
			for i, v := range row {
				if truth, ok := v.(bool); ok {
					row[i] = map[bool]int64{false: 0, true: 1}[truth]
				}
			}
			all = append(all, fmt.Sprint(table[0], names, row))
		}
	}
	slices.Sort(all)
	return all
}

// fill makes an installation with something in every table, and n verifications more.
func fill(t *testing.T, n int) (path string) {
	t.Helper()
	path = newFile(t)
	s := openSQLite(t, path, nil, nil)
	defer s.Close()
	demand := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	demand(s.CreateProject(ctx, verify.Project{ID: "p", Name: "One", Profile: verify.ProfileCompat, PublicText: true}))
	demand(s.CreateKey(ctx, account.Key{ID: verify.NewID(time.Now()), Project: "p", Hash: account.HashKey("k")}))
	demand(s.Record(ctx, store.Audit{Actor: "a", Action: "b", Project: "p", Detail: "c"}))
	demand(s.CreateText(ctx, verify.TextTemplate{ID: verify.NewID(time.Now()), Project: "p", Name: "t", Texts: []verify.Text{{Text: "{code}"}}, Version: 1}, 1))
	demand(s.CreateTemplate(ctx, verify.MessageTemplate{ID: verify.NewID(time.Now()), Project: "p", Name: "t", Pattern: "{code}", Version: 1}, 1))
	app := verify.Application{ID: verify.NewID(time.Now()), Project: "p", Name: "app", Version: 1}
	demand(s.CreateApplication(ctx, app, true, 1))
	user := pending(time.Now(), number(0))
	user.Application, user.User = app.ID, "somebody"
	demand(s.StartUser(ctx, user, verify.UserStart{Associate: true, Address: string(number(0)), Lease: time.Minute}))
	demand(s.AddDevice(ctx, verify.UserKey{Project: "p", Application: app.ID, Name: "somebody"}, verify.Device{
		ID: verify.NewID(time.Now()), Application: app.ID, User: "somebody", Kind: verify.DeviceWebPush, Fingerprint: []byte{1}, KeyID: 7, Sealed: []byte{2},
	}, 1, verify.ID{}))
	demand(s.AddEnrolment(ctx, verify.UserKey{Project: "p", Application: app.ID, Name: "somebody"}, verify.Enrolment{Hash: []byte{1}, ExpiresAt: time.Now()}))
	_, err := s.HoldKeys(keyset.Holder{Prints: []keyset.Print{{ID: 7}}}, func([]keyset.Holder) uint32 { return 7 })
	demand(err)
	_, err = s.raw.Exec(`INSERT INTO deleted_application (id) VALUES (x'00')`)
	demand(err)
	_, err = s.raw.Exec(`INSERT INTO operator VALUES (x'01', 'ann', 'admin', '', 1, 'h', 2, x'03', 4, 5, 6, x'07', 8, 'x y')`)
	demand(err)
	_, err = s.raw.Exec(`INSERT INTO operator_session VALUES (x'02', x'01', x'03', 4, 5, 6, 'a', 'b');
		INSERT INTO operator_passkey VALUES (x'04', x'01', x'05', '{}', 'key', 6, 7, x'08')`)
	demand(err)
	_, err = s.raw.Exec(`INSERT INTO kept_answer (name, id, key_id, request, sealed, expires_at) VALUES (x'01', x'02', 7, x'03', x'04', 5);
		INSERT INTO kept_count (project, hour, n) VALUES ('p', 1, 2)`)
	demand(err)
	_, err = s.raw.Exec(`INSERT INTO usage_day (project, day, application, purpose, channel, country, carrier, currency, started, messages, segments, minutes, delivered, approved, cost, price) VALUES ('p', 20000, x'01', '', 'sms', 'US', 'c', '', 1, 1, 1, 0, 1, 1, 0, 0)`)
	demand(err)
	_, err = s.raw.Exec(`INSERT INTO budget VALUES ('p', 1, 2, 3, 4, 1, 'EUR', 5, 6, '', 7, 'a', 'b', 'day_messages 20000 1 100 7', 8);
		INSERT INTO spending VALUES ('p', 20000, 0, 1, 2, 3, 4, 480000, 1, 5, 6, 7);
		INSERT INTO weight VALUES ('sms', 'c', 1, 2, 'a', 'b');
		INSERT INTO stop VALUES ('country', 'RU', 1, 'a', 'b');
		INSERT INTO ledger VALUES ('p', x'01', 'top-up', 5, 'a', 'b')`)
	demand(err)
	for i := range n {
		v := pending(time.Now(), number(i))
		if i == 1 {
			v.Channel, v.Calling = verify.ChannelVoice, time.Minute
		}
		demand(s.Start(ctx, v, verify.Limits{Daily: 5}, time.Minute))
		st := verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1, Carrier: "c", Ref: "r", StartedAt: time.Now()}}
		if i%2 == 0 {
			st.Outcome, st.Retry = verify.AttemptErrored, true
		}
		_, err := s.Settle(ctx, st)
		demand(err)
		if i%3 == 0 {
			_, err := s.Check(ctx, guess(v, "483920"))
			demand(err)
		}
	}
	_, err = s.raw.Exec(`UPDATE watermark SET id = (SELECT min(id) FROM verification) WHERE name = 'sweep'`)
	demand(err)
	return path
}

func TestMoveCopiesAllAndGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	const n = 5000 // more than two steps
	path, url := fill(t, n), pgtest.Database(t, "")
	to := &store.Postgres{URL: url, Timeout: time.Minute}

	// It is stopped in the middle of the verifications, and again a step later.
	stops := 0
	for _, limit := range []int{n + n/2, n + n/2 + 2001} {
		stopped, stop := context.WithCancel(ctx)
		_, err := store.Move(stopped, path, to, func(done, all int) {
			if done >= limit {
				stop()
			}
		})
		stop()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("move: got error %v, want %v", err, context.Canceled)
		}
		stops++
		if s, err := store.Open(ctx, store.Options{Postgres: to}); err == nil || !strings.Contains(err.Error(), "half moved from "+path) {
			t.Errorf("open what is half moved: got error %v, want one that names the file", err)
			if err == nil {
				s.Close()
			}
		}
		if _, err := store.Move(ctx, fill(t, 1), to, func(int, int) {}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("move another one there: got error %v, want one that names the file", err)
		}
	}
	first, last, rows := 0, 0, 0
	tables, err := store.Move(ctx, path, to, func(done, all int) {
		if first == 0 {
			first = done
		}
		last, rows = done, all
	})
	if err != nil {
		t.Fatal(err)
	}
	if first < n+n/2 || last != rows {
		t.Errorf("progress: got from %d to %d of %d, want from where it stopped to all", first, last, rows)
	}
	sum := 0
	for _, m := range tables {
		if m.Rows == 0 {
			t.Errorf("table %s had no rows: this shows nothing of it", m.Table)
		}
		sum += m.Rows
	}
	if sum != rows {
		t.Errorf("it says that it moved %d rows, want %d", sum, rows)
	}
	if d := cmp.Diff(everything(t, "sqlite", path), everything(t, "pgx", url)); d != "" {
		t.Errorf("rows: -before +after\n%.2000s", d)
	}
	if _, err := store.Move(ctx, path, to, func(int, int) {}); err == nil || !strings.Contains(err.Error(), "has moved to the database "+to.Name()) {
		t.Errorf("move again: got error %v, want that it has moved, and where", err)
	}
	if _, err := store.Move(ctx, fill(t, 1), to, func(int, int) {}); err == nil || !strings.Contains(err.Error(), "isn't empty") {
		t.Errorf("move another one there: got error %v, want that the database isn't empty", err)
	}

	s := replica(t, url)
	if a, err := s.Account(ctx, account.HashKey("k")); err != nil || !a.Project.PublicText {
		t.Errorf("account: got %+v, %v; want the project's, with texts of its own", a, err)
	}
}

func TestMoveLetsNobodyWriteMeanwhile(t *testing.T) {
	t.Parallel()
	path := fill(t, 10)
	other := openSQLite(t, path, nil, nil)
	defer other.Close()
	if _, err := other.Pragma(ctx, "busy_timeout = 20"); err != nil {
		t.Fatal(err)
	}
	tried := false
	_, err := store.Move(ctx, path, &store.Postgres{URL: pgtest.Database(t, ""), Timeout: time.Minute}, func(int, int) {
		tried = true
		if err := other.Start(ctx, pending(time.Now(), number(1)), verify.Limits{}, time.Minute); !errors.Is(err, verify.ErrNoStore) {
			t.Errorf("start meanwhile: got error %v, want %v", err, verify.ErrNoStore)
		}
	})
	if err != nil || !tried {
		t.Errorf("move: %v, tried to write meanwhile: %v", err, tried)
	}
}

// stopped moves a file and stops in the middle.
func stopped(t *testing.T, path string, to *store.Postgres, after int) {
	t.Helper()
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	_, err := store.Move(stopping, path, to, func(done, _ int) {
		if done >= after {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("move: got error %v, want %v", err, context.Canceled)
	}
}

// refused demands that nobody can use a file that moves.
func refused(t *testing.T, path, says string) {
	t.Helper()
	if s, err := store.Open(ctx, store.Options{Path: path}); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "countersign migrate --abort") {
		t.Errorf("open: got error %v, want one that says %q and how to undo it", err, says)
		if err == nil {
			s.Close()
		}
	}
	raw := openRaw(t, path)
	defer raw.Close()
	for _, text := range []string{`UPDATE verification SET guesses = 0`, `DELETE FROM api_key`, `INSERT INTO audit VALUES (x'01', '', '', '', '')`} {
		if _, err := raw.Exec(text); err == nil || !strings.Contains(err.Error(), "moves to PostgreSQL") {
			t.Errorf("%s: got error %v, want it refused", text, err)
		}
	}
}

// A file that goes on after its move was stopped isn't mixed with what was copied before: a code that was used
// meanwhile would be unused there, and a key that was revoked would work.
func TestMoveGoesOnFromTheSameStateOnly(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "moves an installation in one more way")
	const n = 3000
	path, url := fill(t, n), pgtest.Database(t, "")
	to := &store.Postgres{URL: url, Timeout: time.Minute}
	stopped(t, path, to, n)
	refused(t, path, "is moving to the database "+to.Name())
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := store.AbortMove(ctx, path, "operator")
	if err != nil || a.Moved || a.Voided != 0 || a.To != to.Name() {
		t.Fatalf("abort: got %+v, %v; want a half move, and nothing voided", a, err)
	}
	if _, err := store.AbortMove(ctx, path, "operator"); !errors.Is(err, store.ErrNotMoving) {
		t.Errorf("abort again: got error %v, want %v", err, store.ErrNotMoving)
	}
	s := openSQLite(t, path, nil, nil)
	v := pending(time.Now(), number(n+1))
	if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := store.Move(ctx, path, to, func(int, int) {}); err == nil || !strings.Contains(err.Error(), "went on since") {
			t.Fatalf("move after the file went on: got error %v, want that it went on", err)
		}
	}
	// Into an empty database it moves whole, and so does the other state.
	empty := pgtest.Database(t, "")
	if _, err := store.Move(ctx, path, &store.Postgres{URL: empty, Timeout: time.Minute}, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(everything(t, "sqlite", path), everything(t, "pgx", empty)); d != "" {
		t.Errorf("rows: -before +after\n%.2000s", d)
	}
	for _, ending := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, copied, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Move(ctx, path, to, func(int, int) {}); err != nil {
		t.Errorf("move from the state in which it was stopped: %v", err)
	}
}

// Who goes back to a file that has moved gets what it was then: what was used in the other database since
// must not be used again.
func TestAbortOfAWholeMoveVoidsWhatIsPending(t *testing.T) {
	t.Parallel()
	path, to := fill(t, 0), &store.Postgres{URL: pgtest.Database(t, ""), Timeout: time.Minute}
	s := openSQLite(t, path, nil, nil)
	v := pending(time.Now(), number(1))
	if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Move(ctx, path, to, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	if out, err := replica(t, to.URL).Check(ctx, guess(v, "483920")); err != nil || !out.Approved {
		t.Fatalf("check in the other database: got %+v, %v; want it approved", out, err)
	}
	refused(t, path, "has moved to the database "+to.Name())
	a, err := store.AbortMove(ctx, path, "operator")
	if err != nil || !a.Moved || a.Voided != 2 { // the other is its user's
		t.Errorf("abort: got %+v, %v; want a whole move, and two voided", a, err)
	}
	again := openSQLite(t, path, nil, nil)
	defer again.Close()
	if _, err := again.Check(ctx, guess(v, "483920")); !errors.Is(err, verify.ErrCanceled) {
		t.Errorf("check in the file: got error %v, want %v", err, verify.ErrCanceled)
	}
	if all, err := again.Audits(ctx, 1); err != nil || len(all) != 1 || all[0].Action != "migrate abort" || all[0].Actor != "operator" {
		t.Errorf("audit: got %+v, %v; want who aborted the move", all, err)
	}
}

// openRaw opens a SQLite file past the store, and waits while somebody else has its lock.
func openRaw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	return db
}
