package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// imports imports users, all of whom are fine.
func (k *kit) imports(a verify.Application, users ...verify.User) ([]verify.Imported, error) {
	for i := range users {
		u := &users[i]
		u.NumberKey = phone.Number(u.Address)
		u.Application, u.Status, u.VerifiedAt, u.CreatedAt, u.UpdatedAt, u.Version = a.ID, verify.UserValidated, start, k.clock.Now(), k.clock.Now(), 1
	}
	return k.ImportUsers(ctx, a.Project, a.ID, users, make([]error, len(users)), verify.ID{})
}

// user reads the user.
func (p *person) user() verify.User {
	p.t.Helper()
	u, err := p.User(ctx, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return u
}

func anImportCreatesAndChangesNothing(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	ada, bob := k.person(a, "ada", number(0)), k.person(a, "bob", number(1))
	ada.associate() // pending
	bob.associate()
	wantError(t, "dissociate", k.Dissociate(ctx, bob.key), nil)
	before := []verify.User{ada.user(), bob.user()}

	eve := verify.User{Name: "eve", Address: string(number(2))}
	differs := verify.Imported{Err: verify.ErrUserDiffers}
	got, err := k.imports(a, verify.User{Name: "ada", Address: string(number(0))}, verify.User{Name: "bob", Address: string(number(1))}, eve, eve, verify.User{Name: "eve", Address: string(number(3))})
	wantError(t, "import", err, nil)
	equal(t, "import", got, []verify.Imported{differs, differs, {Created: true}, {}, differs})
	equal(t, "those who were there", []verify.User{ada.user(), bob.user()}, before)

	k.clock.advance(lease)
	got, err = k.imports(a, eve)
	wantError(t, "import again", err, nil)
	equal(t, "import again", got, []verify.Imported{{}})
	login := k.person(a, "eve", number(2))
	if u := login.user(); u.Status != verify.UserValidated || !u.VerifiedAt.Equal(start) || u.Version != 1 {
		t.Errorf("imported: %+v", u)
	}
	login.login()

	_, err = k.imports(verify.Application{ID: a.ID, Project: "other"}, eve)
	wantError(t, "import into another project's", err, verify.ErrNoApplication)
	audits, err := k.Audits(ctx, 10)
	if err != nil || len(audits) != 1 || audits[0].Action != "user import" || !strings.HasPrefix(audits[0].Detail, "1 users ") {
		t.Errorf("written down: %+v, %v", audits, err)
	}
}

// Of many imports of the same users, together with associations of them, each user is made once.
func importsRace(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project)
	const rounds, users = 4, 12
	var mu sync.Mutex // guards created
	created := map[string]int{}
	var wg sync.WaitGroup
	for round := range rounds {
		wg.Go(func() {
			all := make([]verify.User, users)
			for i := range all {
				all[i] = verify.User{Name: fmt.Sprintf("user %d", (i+round)%users), Address: string(number(i))}
			}
			got, err := k.imports(a, all...)
			if err != nil {
				t.Errorf("import: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for i, r := range got {
				if r.Created {
					created[all[i].Name]++
				}
			}
		})
	}
	wg.Wait()
	if len(created) != users {
		t.Errorf("created %d users, want %d", len(created), users)
	}
	for name, n := range created {
		if n != 1 {
			t.Errorf("%s was created %d times", name, n)
		}
	}
}
