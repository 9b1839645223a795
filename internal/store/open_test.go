package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

func TestWriterSyncsEachCommitToDisk(t *testing.T) {
	t.Parallel()
	s, err := store.Open(ctx, store.Options{Path: filepath.Join(t.TempDir(), "countersign.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, test := range []struct{ pragma, want string }{
		{"synchronous", "2"}, // FULL
		{"journal_mode", "wal"},
		{"foreign_keys", "1"},
	} {
		if got, err := s.Pragma(ctx, test.pragma); err != nil || got != test.want {
			t.Errorf("%s: got %q, %v; want %q", test.pragma, got, err, test.want)
		}
	}
}

func TestReopenedDatabaseHasKeptAll(t *testing.T) {
	t.Parallel()
	s := openSQLite(t, newFile(t), nil, nil)
	if err := s.CreateProject(ctx, verify.Project{ID: "p", Name: "One", Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	v := pending(time.Now(), "+12025550123")
	if err := s.Start(ctx, v, verify.DefaultLimits, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(ctx, guess(v, "000000")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Settle(ctx, verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1, StartedAt: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	// What there is of everything.
	image := func() (all []any) {
		t.Helper()
		add := func(value any, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, value)
		}
		add(s.Verification(ctx, v.ID))
		add(s.Deliveries(ctx, v.ID))
		add(s.Destinations(ctx))
		add(s.Projects(ctx))
		add(s.Hints(ctx))
		add(s.Swept(ctx))
		return all
	}
	before := image()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openSQLite(t, s.path, nil, nil)
		if d := cmp.Diff(before, image()); d != "" {
			t.Errorf("-before +after\n%s", d)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	raw := openRaw(t, path)
	defer raw.Close()
	if _, err := raw.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(ctx, store.Options{Path: path})
	if err == nil || !strings.Contains(err.Error(), "version 9999") || !strings.Contains(err.Error(), "newer countersign") || !strings.Contains(err.Error(), path) {
		t.Errorf("got error %v, want one that names the file, the version 9999 and a newer countersign", err)
	}
	if _, err := raw.Exec(`DELETE FROM goose_db_version WHERE version_id = 9999`); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(ctx, store.Options{Path: path})
	if err != nil {
		t.Fatalf("open as it was before: %v", err)
	}
	s.Close()
}

// The migration to users only adds: what was there works on, and the program before may still write.
func TestTheSchemaBeforeUsersIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "countersign.db")
	raw := openRaw(t, path)
	defer raw.Close()
	steps, err := goose.NewProvider(goose.DialectSQLite3, raw, os.DirFS("migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := steps.UpTo(ctx, 2); err != nil {
		t.Fatal(err)
	}
	v, later := pending(time.Now(), "+12025550123"), pending(time.Now(), "+12025550124")
	application := verify.NewID(time.Now())
	// In the words of the program before.
	insert := func(v *verify.Verification) {
		t.Helper()
		if _, err := raw.Exec(`INSERT INTO verification (id, project, application, channel, destination, purpose, sender, text,
				format, length, max_attempts, expires_at, key_id, code_mac, previous, status, guesses, ended_at, delivery, reason, attempt, due_at, code_sealed)
			VALUES ($1, 'p', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, zeroblob(16), 0, 0, 0, 1, '', 1, 0, $14)`,
			v.ID[:], application[:], v.Channel, v.To, v.Purpose, v.Sender, v.Text, v.Format, v.Length, v.MaxAttempts, v.ExpiresAt.UnixMilli(), v.KeyID, v.CodeMAC, v.SealedCode); err != nil {
			t.Fatal(err)
		}
	}
	hash := account.HashKey("word")
	for _, row := range []struct {
		text string
		args []any
	}{
		{`INSERT INTO project VALUES ('p', 'One', 'compat', 0, 0, 0, '', 1, $1, 0)`, []any{application[:]}},
		{`INSERT INTO application (id, project, name, format, length, life_ms, attempts, sender) VALUES ($1, 'p', 'default', '', 0, 0, 0, '')`, []any{application[:]}},
		{`INSERT INTO api_key (id, project, name, hash, revoked_at) VALUES ($1, 'p', 'key', $2, 0), ($3, 'p', 'another', x'00', 0)`, []any{v.ID[:], hash[:], later.ID[:]}},
	} {
		if _, err := raw.Exec(row.text, row.args...); err != nil {
			t.Fatal(err)
		}
	}
	insert(v)

	if s, err := store.Open(ctx, store.Options{Path: path}); !errors.Is(err, store.ErrOldSchema) {
		t.Errorf("open without leave to change the schema: got %v, %v; want %v", s, err, store.ErrOldSchema)
	}
	s, err := store.Open(ctx, store.Options{Path: path, Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	insert(later)
	for _, v := range []*verify.Verification{v, later} {
		if out, err := s.Check(ctx, guess(v, string(v.CodeMAC))); err != nil || !out.Approved {
			t.Errorf("check: got %+v, %v", out, err)
		}
	}
	acct, err := s.Account(ctx, hash)
	if err != nil || acct.Application.ID != application || !acct.KeyExpires.IsZero() {
		t.Errorf("account: got %+v, %v", acct, err)
	}
	if all, err := s.Applications(ctx, "p"); err != nil || len(all) > 0 {
		t.Errorf("applications: got %+v, %v; want none but the default one, which isn't shown", all, err)
	}
}

func TestWhatIsNoDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Repeat("This is no database. ", 100))
	for _, test := range []struct {
		name, want string
		path       func(dir string) string
	}{
		{"a text file", "not a database", func(dir string) string {
			path := filepath.Join(dir, "notes.txt")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}},
		{"a file in a directory that is missing", "unable to open database file", func(dir string) string { return filepath.Join(dir, "missing", "countersign.db") }},
		{"a directory", "unable to open database file", func(dir string) string { return dir }},
	} {
		path := test.path(t.TempDir())
		s, err := store.Open(ctx, store.Options{Path: path})
		if err == nil {
			s.Close()
			t.Errorf("%s: got no error", test.name)
		} else if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got error %q, want one that says %q and names the file", test.name, err, test.want)
		}
		if test.name == "a text file" {
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s: it was changed: %d bytes, %v", test.name, len(got), err)
			}
		}
	}
}

func TestFileNamesMayHaveAnyCharacter(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"with space", "what?", "a?mode=memory", "number #1", "100%", "100%25", "a&b=c;d", "plus+", "a:b", "Größe 😀", `it's "q"`, "file:x"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), name)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name)
			for _, want := range []error{nil, verify.ErrExists} { // the second time, it is there
				s, err := store.Open(ctx, store.Options{Path: path})
				if err != nil {
					t.Fatal(err)
				}
				if got := s.CreateProject(ctx, verify.Project{ID: "p"}); !errors.Is(got, want) {
					t.Errorf("create project: got error %v, want %v", got, want)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			var got []string
			entries, err := os.ReadDir(dir)
			for _, e := range entries {
				got = append(got, e.Name())
			}
			if err != nil || !slices.Equal(got, []string{name}) {
				t.Errorf("files: got %q, %v; want %q", got, err, name)
			}
		})
	}
}

func TestProcessesMayMigrateADatabaseAtOnce(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	defer all.Wait()
	for range 5 {
		path := filepath.Join(t.TempDir(), "countersign.db")
		raw, err := sql.Open("sqlite", path+"?_pragma=journal_mode(WAL)")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Exec(`PRAGMA user_version = 1`); err != nil { // makes the file
			t.Fatal(err)
		}
		raw.Close()
		for i := range 3 {
			all.Go(func() {
				s, err := store.Open(ctx, store.Options{Path: path, Migrate: true})
				if err != nil {
					t.Errorf("process %d: %v", i, err)
					return
				}
				defer s.Close()
				if err := s.CreateProject(ctx, verify.Project{ID: verify.ProjectID(fmt.Sprint(i))}); err != nil {
					t.Errorf("process %d: create project: %v", i, err)
				}
			})
		}
	}
}

func TestNoSecretAndNoCodeStandsInTheFiles(t *testing.T) {
	t.Parallel()
	keys, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	s := openSQLite(t, newFile(t), nil, nil)
	secret := account.NewSecret()
	if err := s.CreateProject(ctx, verify.Project{ID: "p", Name: "One", Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	key := account.Key{ID: verify.NewID(time.Now()), Project: "p", Name: "first", Hash: account.HashKey(secret)}
	if err := s.CreateKey(ctx, key); err != nil {
		t.Fatal(err)
	}

	// Twenty characters of our own choice, so that no bytes look like them by chance.
	const code, typed = "KNOWNCODEKNOWNCODE23", "TYPEDCODETYPEDCODE45"
	var all []*verify.Verification
	for i := range 4 {
		v := pending(time.Now(), "+12025550123")
		v.KeyID, v.MaxAttempts = keys.Primary(), 2
		if v.CodeMAC, err = keys.MAC(v.KeyID, v.Binding(), code); err != nil {
			t.Fatal(err)
		}
		if v.SealedCode, err = keys.Seal(v.KeyID, v.Binding(), code); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
		all = append(all, v)
	}
	check := func(v *verify.Verification, text string) {
		t.Helper()
		if _, err := s.Check(ctx, verify.Guess{Project: "p", ID: v.ID, Profile: verify.ProfileCompat, Matches: func(v *verify.Verification) (bool, error) {
			mac, err := keys.MAC(v.KeyID, v.Binding(), text)
			return bytes.Equal(mac, v.CodeMAC), err
		}}); err != nil {
			t.Fatal(err)
		}
	}
	approved, exhausted, canceled, live := all[0], all[1], all[2], all[3]
	check(live, typed)
	search := func(when string) {
		t.Helper()
		data := contents(t, s.path)
		for _, hidden := range []string{secret.Reveal(), strings.TrimPrefix(secret.Reveal(), "cs_"), code, typed} {
			if bytes.Contains(data, []byte(hidden)) {
				t.Errorf("%s: the files hold %q", when, hidden)
			}
		}
		for name, shown := range map[string][]byte{"the key's hash": key.Hash[:], "the live code, sealed": live.SealedCode} {
			if !bytes.Contains(data, shown) {
				t.Errorf("%s: the files don't hold %s: was the right place searched?", when, name)
			}
		}
	}
	search("while all live")
	check(approved, code)
	check(exhausted, typed)
	check(exhausted, typed)
	if err := s.Cancel(ctx, "p", canceled.ID); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, true, false} {
		var wiped bool
		if err := s.raw.QueryRowContext(ctx, `SELECT code_sealed IS NULL FROM verification WHERE id = $1`, all[i].ID[:]).Scan(&wiped); err != nil {
			t.Fatal(err)
		}
		if wiped != want {
			t.Errorf("verification %d: its sealed code is NULL: %v, want %v", i, wiped, want)
		}
	}
	got, err := s.Verification(ctx, live.ID)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := keys.Open(got.KeyID, got.Binding(), got.SealedCode); err != nil || opened != code {
		t.Errorf("the live one's code: got %q, %v; want %q", opened, err, code)
	}
	search("after the ends")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	search("after closing")
}
