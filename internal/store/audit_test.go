package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// No change of an operator's is there without the entry that says who made it.
func TestWithoutItsAuditNothingChanges(t *testing.T) {
	t.Parallel()
	for _, engine := range []struct {
		name, driver, refuse, allow string
		open                        func(t *testing.T) (s *store.Store, source string)
	}{
		{
			"SQLite", "sqlite", `CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no audit'); END`, `DROP TRIGGER refuse`,
			func(t *testing.T) (*store.Store, string) {
				path := newFile(t)
				return openSQLite(t, path, nil, nil).Store, path + "?_pragma=busy_timeout(5000)"
			},
		},
		{
			"PostgreSQL", "pgx", `ALTER TABLE audit ADD CONSTRAINT refuse CHECK (false) NOT VALID`, `ALTER TABLE audit DROP CONSTRAINT refuse`,
			func(t *testing.T) (*store.Store, string) {
				url := storetest.Lent(t)
				return replica(t, url), url
			},
		},
	} {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			s, source := engine.open(t)
			raw, err := sql.Open(engine.driver, source)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			do := func(text string) {
				t.Helper()
				if _, err := raw.Exec(text); err != nil {
					t.Fatal(err)
				}
			}
			p, k := verify.Project{ID: "p", Name: "One", Profile: verify.ProfileCompat}, account.Key{ID: verify.NewID(time.Now()), Project: "p", Name: "k", Hash: account.HashKey("k")}
			renamed := p
			renamed.Name = "Two"
			ann := operator.Operator{ID: verify.NewID(time.Now()), Name: "ann", Role: operator.RoleViewer, CreatedAt: time.Now()}
			v := pending(time.Now(), number(1))
			if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
				t.Fatal(err)
			}
			for _, change := range []struct {
				action string
				do     func(store.Audit) error
				made   func() bool
			}{
				{"project create", func(by store.Audit) error { return s.CreateProject(ctx, p, by) }, func() bool {
					all, err := s.Projects(ctx)
					return err == nil && len(all) == 1
				}},
				{"project policy", func(by store.Audit) error { return s.UpdateProject(ctx, renamed, by) }, func() bool {
					all, err := s.Projects(ctx)
					return err == nil && all[0].Name == "Two"
				}},
				{"key create", func(by store.Audit) error { return s.CreateKey(ctx, k, by) }, func() bool {
					all, err := s.Keys(ctx, "p")
					return err == nil && len(all) == 1
				}},
				{"key revoke", func(by store.Audit) error { _, err := s.RevokeKey(ctx, k.ID, by); return err }, func() bool {
					all, err := s.Keys(ctx, "p")
					return err == nil && !all[0].RevokedAt.IsZero()
				}},
				{"operator create", func(by store.Audit) error { return s.CreateOperator(ctx, ann, by) }, func() bool {
					_, err := s.OperatorNamed(ctx, "ann")
					return err == nil
				}},
				{"operator role", func(by store.Audit) error {
					_, err := s.ChangeOperator(ctx, "ann", func(o *operator.Operator) (store.Audit, error) { o.Role = operator.RoleAdmin; return by, nil })
					return err
				}, func() bool {
					o, err := s.OperatorNamed(ctx, "ann")
					return err == nil && o.Role == operator.RoleAdmin
				}},
				{"operator remove", func(by store.Audit) error { return s.RemoveOperator(ctx, "ann", by) }, func() bool {
					_, err := s.OperatorNamed(ctx, "ann")
					return errors.Is(err, operator.ErrNoOperator)
				}},
				{"void", func(by store.Audit) error { _, err := s.VoidPending(ctx, by.Actor, by.Action); return err }, func() bool {
					_, err := s.Check(ctx, guess(v, "000000"))
					return errors.Is(err, verify.ErrCanceled)
				}},
				{store.ProjectDeleted, func(by store.Audit) error { _, err := s.DeleteProject(ctx, p.ID, true, 0, by); return err }, func() bool {
					all, err := s.Projects(ctx)
					return err == nil && len(all) == 0
				}},
			} {
				by := store.Audit{Actor: "me", Action: change.action, Detail: "d"}
				do(engine.refuse)
				if err := change.do(by); err == nil || !strings.Contains(err.Error(), "write audit") {
					t.Errorf("%s without its audit: got error %v, want one", change.action, err)
				}
				if change.made() {
					t.Errorf("%s was made without its audit", change.action)
				}
				do(engine.allow)
				if err := change.do(by); err != nil || !change.made() {
					t.Errorf("%s: got error %v, made %t", change.action, err, change.made())
				}
			}
			// What isn't made isn't written down either.
			if err := s.CreateProject(ctx, p, store.Audit{Actor: "me", Action: "again"}); !errors.Is(err, verify.ErrExists) {
				t.Errorf("create again: got error %v, want %v", err, verify.ErrExists)
			}
			all, err := s.Audits(ctx, 10)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range slices.Backward(all) {
				got = append(got, a.Actor+": "+a.Action+" "+string(a.Project)+" "+a.Detail)
			}
			want := []string{"me: project create p d", "me: project policy p d", "me: key create p d", "me: key revoke p d", "me: operator create  d", "me: operator role  d", "me: operator remove  d", "me: void  voided 1 pending verifications", `me: project delete p "Two", 1 keys`}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A void that is stopped halfway has voided as many as its entry says, and not one less.
func TestAStoppedVoidSaysHowManyItVoided(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	s := openSQLite(t, path, nil, nil)
	const n = 501 // more than one step
	begun := time.Now()
	started := make(chan error)
	all := make([]*verify.Verification, n)
	for i := range all {
		all[i] = pending(begun.Add(time.Duration(i)*time.Millisecond-time.Second), number(i))
		go func() { started <- s.Start(ctx, all[i], verify.Limits{}, time.Minute) }()
	}
	for range all {
		if err := <-started; err != nil {
			t.Fatal(err)
		}
	}
	raw := openRaw(t, path)
	defer raw.Close()
	last := all[n-1].ID
	if _, err := raw.Exec(fmt.Sprintf(`CREATE TRIGGER stop BEFORE UPDATE ON verification WHEN NEW.id = x'%x' BEGIN SELECT RAISE(ABORT, 'stop'); END`, last[:])); err != nil {
		t.Fatal(err)
	}
	voided, err := s.VoidPending(ctx, "me", "void")
	if voided != n-1 || err == nil {
		t.Errorf("got %d voided and error %v, want %d and one", voided, err, n-1)
	}
	if _, err := raw.Exec(`DROP TRIGGER stop`); err != nil {
		t.Fatal(err)
	}
	if voided, err = s.VoidPending(ctx, "me", "void"); voided != 1 || err != nil {
		t.Errorf("void again: got %d, %v; want 1", voided, err)
	}
	var got []string
	entries, err := s.Audits(ctx, 10)
	for _, a := range slices.Backward(entries) {
		got = append(got, a.Detail)
	}
	if want := []string{"voided 500 pending verifications", "voided 1 pending verifications"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("audit: got %q, %v; want %q", got, err, want)
	}
}
