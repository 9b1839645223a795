package store_test

import (
	"bytes"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// rounds is how often a test that restores does so: once, or as often as COUNTERSIGN_TEST_LONG says.
func rounds() int {
	n, err := strconv.Atoi(os.Getenv("COUNTERSIGN_TEST_LONG"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// A copying is a way to get back what a database was.
type copying struct {
	name string
	// save saves the database; what it returns brings that back and returns where it then is.
	save      func(t *testing.T, c *pgtest.Cluster, database string) (restore func() (database string))
	elsewhere bool   // in another database than before
	physical  bool   // the server's files, so that nothing in them can tell
	notices   string // the one that looks first
}

// Who notices that a database was restored.
const (
	alive = "the replica that decided last"
	idle  = "a replica that only looked on"
	fresh = "a replica that starts then"
)

func copyings() []copying {
	dumped := func(restored func(t *testing.T, c *pgtest.Cluster, database, file string) string) func(*testing.T, *pgtest.Cluster, string) func() string {
		return func(t *testing.T, c *pgtest.Cluster, database string) func() string {
			file := c.Dump(t, database)
			return func() string { return restored(t, c, database, file) }
		}
	}
	files := func(save func(*pgtest.Cluster, testing.TB) string) func(*testing.T, *pgtest.Cluster, string) func() string {
		return func(t *testing.T, c *pgtest.Cluster, database string) func() string {
			folder := save(c, t)
			return func() string {
				c.Kill(t)
				c.Replace(t, folder)
				c.Start(t)
				return database
			}
		}
	}
	return []copying{
		{"dump into the same database", dumped(func(t *testing.T, c *pgtest.Cluster, database, file string) string {
			c.Restore(t, file, database, "--clean")
			return database
		}), false, false, alive},
		{"dump into the same database at once", dumped(func(t *testing.T, c *pgtest.Cluster, database, file string) string {
			c.Restore(t, file, database, "--clean", "--single-transaction")
			return database
		}), false, false, idle},
		{"rows of a dump into the same tables", dumped(func(t *testing.T, c *pgtest.Cluster, database, file string) string {
			for _, table := range strings.Fields(query[string](t, c.URL(database), `SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'`)) {
				c.Exec(t, database, "TRUNCATE "+table+" CASCADE")
			}
			c.Restore(t, file, database, "--data-only", "--disable-triggers", "--superuser=countersign")
			return database
		}), false, false, alive},
		{"dump into a new database", dumped(func(t *testing.T, c *pgtest.Cluster, _, file string) string {
			other := databaseName(t, c.Database(t, ""))
			c.Restore(t, file, other)
			return other
		}), true, false, fresh},
		{"dump in place of the database", dumped(func(t *testing.T, c *pgtest.Cluster, database, file string) string {
			c.Exec(t, "postgres", "DROP DATABASE "+database+" WITH (FORCE)")
			c.Exec(t, "postgres", "CREATE DATABASE "+database)
			c.Restore(t, file, database)
			return database
		}), false, false, idle},
		{"copy within the server", func(t *testing.T, c *pgtest.Cluster, database string) func() string {
			c.Exec(t, "postgres", "ALTER DATABASE "+database+" ALLOW_CONNECTIONS false") // or a replica is there again
			c.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+database+"'")
			c.Exec(t, "postgres", "CREATE DATABASE copy_of_"+database+" TEMPLATE "+database)
			c.Exec(t, "postgres", "ALTER DATABASE "+database+" ALLOW_CONNECTIONS true")
			return func() string {
				c.Exec(t, "postgres", "DROP DATABASE "+database+" WITH (FORCE)")
				c.Exec(t, "postgres", "ALTER DATABASE copy_of_"+database+" RENAME TO "+database)
				return database
			}
		}, false, false, alive},
		{"base backup", files((*pgtest.Cluster).BaseBackup), false, true, idle},
		{"snapshot", files((*pgtest.Cluster).Snapshot), false, true, fresh},
	}
}

func databaseName(t *testing.T, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// answered runs f until the database answers.
func answered(t *testing.T, f func() error) error {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		err := f()
		if !errors.Is(err, verify.ErrNoStore) {
			return err
		}
		if time.Now().After(end) {
			t.Fatalf("the database doesn't answer: %v", err)
		}
	}
}

// What was used or guessed after a copy was made is void when the copy is brought back: for the replicas
// that lived through it, and for those that start then.
func TestRestoredDatabaseIsVoid(t *testing.T) {
	t.Parallel()
	shared := sync.OnceValue(func() *pgtest.Cluster { return pgtest.New(t) })
	for i, how := range copyings() {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			if i > 0 && how.name != "base backup" {
				testsize.Quarter(t, "restores a database in one more way")
			}
			cluster := shared
			if how.physical {
				cluster = func() *pgtest.Cluster { return pgtest.New(t) }
			}
			c := cluster()
			for round := range rounds() {
				who := []string{alive, idle, fresh}[(slices.Index([]string{alive, idle, fresh}, how.notices)+round)%3]
				if how.elsewhere {
					who = fresh
				}
				restoredOnce(t, c, how, who)
			}
		})
	}
}

// restoredOnce has codes used and guessed at after a copy was made, brings the copy back, and lets one
// replica look.
func restoredOnce(t *testing.T, c *pgtest.Cluster, how copying, who string) {
	t.Helper()
	database := databaseName(t, c.Database(t, ""))
	memory := filepath.Join(t.TempDir(), "witness.json")
	remembers := func(o *store.Options) { o.Witness = memory }
	decided, looked := replica(t, c.URL(database), remembers), replica(t, c.URL(database))
	used, guessed, waiting := pending(time.Now(), number(0)), pending(time.Now(), number(1)), pending(time.Now(), number(2))
	for _, v := range []*verify.Verification{used, guessed, waiting} {
		if err := decided.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	enrolment := invite(t, decided)
	restore := how.save(t, c, database)
	if err := answered(t, func() error { _, err := decided.Check(ctx, guess(used, "483920")); return err }); err != nil {
		t.Fatal(err)
	}
	for range guessed.MaxAttempts {
		err := answered(t, func() error { _, err := decided.Check(ctx, guess(guessed, "000000")); return err })
		if err != nil && !errors.Is(err, verify.ErrGuessesSpent) { // by one that got no answer
			t.Fatal(err)
		}
	}
	if err := answered(t, func() error { return looked.Watch(ctx) }); err != nil {
		t.Fatal(err)
	}
	if err := decided.Attend(ctx); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*store.Store{alive: decided, idle: looked} {
		if name != who {
			s.Close()
		}
	}
	restored := restore()
	s := map[string]*store.Store{alive: decided, idle: looked}[who]
	switch {
	case who == fresh && how.physical: // it must remember
		s = replica(t, c.URL(restored), remembers)
	case who == fresh:
		s = replica(t, c.URL(restored))
	}
	for _, v := range []*verify.Verification{used, guessed, waiting} {
		err := answered(t, func() error { _, err := s.Check(ctx, guess(v, "483920")); return err })
		if !errors.Is(err, verify.ErrCanceled) {
			t.Errorf("%s: check after the restore: got error %v, want %v", who, err, verify.ErrCanceled)
		}
	}
	if err := answered(t, func() error { _, _, err := s.Enrolment(ctx, enrolment); return err }); !errors.Is(err, verify.ErrNoEnrolment) {
		t.Errorf("%s: an enrolment after the restore: got error %v, want %v", who, err, verify.ErrNoEnrolment)
	}
	// Once is enough: what starts now lives.
	v := pending(time.Now(), number(5))
	if err := answered(t, func() error { return s.Start(ctx, v, verify.Limits{}, time.Minute) }); err != nil {
		t.Fatal(err)
	}
	other := replica(t, c.URL(restored))
	if out, err := other.Check(ctx, guess(v, "483920")); err != nil || !out.Approved {
		t.Errorf("check of a new one: got %+v, %v; want it approved", out, err)
	}
	s.Close()
	other.Close()
}

// invite makes a user with an enrolment, and returns its hash.
func invite(t *testing.T, s *store.Store) (hash []byte) {
	t.Helper()
	now := time.Now()
	app := verify.Application{ID: verify.NewID(now), Project: "p", Name: "shop", Version: 1}
	user := verify.User{Application: app.ID, Name: "ada", Address: string(number(9)), NumberKey: number(9), Status: verify.UserValidated, CreatedAt: now, UpdatedAt: now}
	hash = bytes.Repeat([]byte{1}, 32)
	steps := []func() error{
		func() error {
			return s.CreateProject(ctx, verify.Project{ID: "p", Name: "p", Profile: verify.ProfileCompat})
		},
		func() error { return s.CreateApplication(ctx, app, false, 1) },
		func() error {
			_, err := s.ImportUsers(ctx, "p", app.ID, []verify.User{user}, make([]error, 1), verify.ID{7})
			return err
		},
		func() error {
			return s.AddEnrolment(ctx, verify.UserKey{Project: "p", Application: app.ID, Name: "ada"}, verify.Enrolment{Hash: hash, ExpiresAt: now.Add(time.Hour), By: verify.ID{7}})
		},
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if _, _, err := s.Enrolment(ctx, hash); err != nil {
		t.Fatal(err)
	}
	return hash
}

// A crash loses nothing, and neither does anything that rewrites the tables.
func TestRestartVoidsNothing(t *testing.T) {
	t.Parallel()
	c := pgtest.New(t)
	database := databaseName(t, c.Database(t, ""))
	s := replica(t, c.URL(database))
	for i := range 2 * rounds() {
		v := pending(time.Now(), number(i))
		if err := answered(t, func() error { return s.Start(ctx, v, verify.Limits{}, time.Minute) }); err != nil {
			t.Fatal(err)
		}
		if err := answered(t, func() error { return s.Watch(ctx) }); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			for _, text := range []string{"VACUUM FREEZE", "VACUUM FULL server", "VACUUM FULL watermark", "VACUUM FULL verification", "REINDEX DATABASE " + database, "CLUSTER server USING server_pkey"} {
				c.Exec(t, database, text)
			}
		}
		c.Kill(t)
		c.Start(t)
		for name, s := range map[string]*store.Store{"alive": s, "new": replica(t, c.URL(database))} {
			err := answered(t, func() error { _, err := s.Check(ctx, guess(v, "000000")); return err })
			if err != nil {
				t.Errorf("%s replica: check after the crash: got error %v, want a wrong guess", name, err)
			}
		}
		if got, err := s.Audits(ctx, 10); err != nil || len(got) != 0 {
			t.Errorf("audit: got %v, %v; want nothing", got, err)
		}
	}
}

// Replicas that try to get in while a dump is being restored can't take a part for the whole.
func TestHalfRestoredDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	c := pgtest.New(t)
	database := databaseName(t, c.Database(t, ""))
	s := replica(t, c.URL(database))
	if err := s.Start(ctx, pending(time.Now(), number(0)), verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text  string
		whole bool
	}{
		{"ALTER TABLE verification DROP CONSTRAINT verification_pkey", false}, // as pg_restore makes it last
		{"ALTER TABLE verification ADD PRIMARY KEY (id)", true},
		{"ALTER TABLE server RENAME CONSTRAINT server_pkey TO other", false},
		{"ALTER TABLE server RENAME CONSTRAINT other TO server_pkey", true},
		{"ALTER TABLE watermark RENAME CONSTRAINT watermark_pkey TO other", false},
		{"ALTER TABLE watermark RENAME CONSTRAINT other TO watermark_pkey", true},
		{"UPDATE watermark SET name = 'avoid' WHERE name = 'void'", false},
		{"UPDATE watermark SET name = 'void' WHERE name = 'avoid'", true},
	} {
		c.Exec(t, database, test.text)
		other, err := store.Open(ctx, store.Options{Postgres: &store.Postgres{URL: c.URL(database), Timeout: time.Minute}})
		if test.whole != (err == nil) || !test.whole && !strings.Contains(err.Error(), "isn't complete") {
			t.Errorf("after %s: open: got error %v; want one that it isn't complete: %v", test.text, err, !test.whole)
		}
		if err == nil {
			other.Close()
		}
		// A connection that is up looks at the row in each group.
		if strings.Contains(test.text, "void") {
			if err := s.Start(ctx, pending(time.Now(), number(1)), verify.Limits{}, time.Minute); test.whole != (err == nil) {
				t.Errorf("after %s: start on a connection that was up: got error %v", test.text, err)
			}
		}
	}
}

// An operator voids what is pending beside replicas, of which none decides on it any more. What starts then lives.
func TestVoidBesideReplicas(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	s, other := replica(t, url), replica(t, url)
	first := pending(time.Now().Add(-time.Second), number(0)) // the mark isn't ahead of the time
	if err := s.Start(ctx, first, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if n, err := other.VoidPending(ctx, "operator", "void"); err != nil || n != 1 {
		t.Errorf("void: got %d, %v; want 1", n, err)
	}
	if got := query[bool](t, url, `SELECT id = (SELECT id FROM verification ORDER BY id DESC LIMIT 1) FROM watermark WHERE name = 'void'`); !got {
		t.Error("the mark isn't at the newest verification")
	}
	if _, err := s.Check(ctx, guess(first, "483920")); !errors.Is(err, verify.ErrCanceled) {
		t.Errorf("check: got error %v, want %v", err, verify.ErrCanceled)
	}
	if got, err := s.Verification(ctx, first.ID); err != nil || got.Status != verify.StatusCanceled || got.SealedCode != nil {
		t.Errorf("verification: got %+v, %v; want it canceled and wiped", got, err)
	}
	next := pending(time.Now(), number(1))
	if err := s.Start(ctx, next, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Check(ctx, guess(next, "483920")); err != nil || !out.Approved {
		t.Errorf("check of a new one: got %+v, %v; want it approved", out, err)
	}
	if n, err := other.VoidPending(ctx, "operator", "void"); err != nil || n != 0 {
		t.Errorf("void again: got %d, %v; want 0", n, err)
	}
}

// saved opens an SQLite file with a witness, has a code used and another guessed at after a copy was made,
// and puts the copy in the file's place.
func putBack(t *testing.T, path string, o store.Options) (used, guessed *verify.Verification) {
	t.Helper()
	o.Path = path
	s, err := store.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	used, guessed = pending(time.Now(), number(0)), pending(time.Now(), number(1))
	for _, v := range []*verify.Verification{used, guessed} {
		if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := s.Backup(ctx, copied, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	for _, g := range []verify.Guess{guess(used, "483920"), guess(guessed, "000000")} {
		if _, err := s.Check(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(copied, path); err != nil {
		t.Fatal(err)
	}
	return used, guessed
}

func TestOlderFileIsVoid(t *testing.T) {
	t.Parallel()
	for range rounds() {
		path := newFile(t)
		o := store.Options{Path: path, Witness: path + ".witness"}
		used, guessed := putBack(t, path, o)
		for range 2 {
			s, err := store.Open(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []*verify.Verification{used, guessed} {
				if _, err := s.Check(ctx, guess(v, "483920")); !errors.Is(err, verify.ErrCanceled) {
					t.Errorf("check in the older file: got error %v, want %v", err, verify.ErrCanceled)
				}
			}
			if all, err := s.Audits(ctx, 10); err != nil || len(all) != 1 || all[0].Action != "void" || all[0].Actor != "countersign" {
				t.Errorf("audit: got %+v, %v; want one void", all, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What a server remembers is in its database as long as that is the same, however the server ended.
func TestSameFileIsNotVoid(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	o := store.Options{Path: path, Witness: path + ".witness"}
	now := time.Now()
	o.Now = func() time.Time { return now }
	v := pending(now, number(0))
	v.MaxAttempts = 20
	for i := range 6 {
		s, err := store.Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			err = s.Start(ctx, v, verify.Limits{}, time.Minute)
		} else {
			_, err = s.Check(ctx, guess(v, "000000"))
		}
		if err != nil {
			t.Errorf("open %d: %v", i, err)
		}
		if err := s.Attend(ctx); err != nil {
			t.Fatal(err)
		}
		switch i {
		case 2: // a power cut leaves half of the file
			err = os.WriteFile(o.Witness, []byte(`{"decisions":[{`), 0o600)
		case 3:
			err = os.Remove(o.Witness)
		case 4: // retention deletes what is remembered
			now = now.Add(time.Hour)
			if _, err := s.Retain(ctx, now); err != nil {
				t.Fatal(err)
			}
			v = pending(now, number(1))
			err = s.Start(ctx, v, verify.Limits{}, time.Minute)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A server whose file was replaced under it promises nothing any more: it would be lost.
func TestFileThatWasReplacedIsRefused(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	s, err := store.Open(ctx, store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Start(ctx, pending(time.Now(), number(0)), verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	copied := path + ".copy"
	if err := s.Backup(ctx, copied, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(copied, path); err != nil {
		t.Fatal(err)
	}
	if err := s.Attend(ctx); err != nil {
		t.Fatal(err)
	}
	err = s.Start(ctx, pending(time.Now(), number(1)), verify.Limits{}, time.Minute)
	if !errors.Is(err, verify.ErrNoStore) || !strings.Contains(err.Error(), "was moved, deleted or replaced") {
		t.Errorf("start: got error %v, want one that says what happened", err)
	}
	if err := s.Ready(ctx); err == nil {
		t.Error("it says that it is ready")
	}
}
