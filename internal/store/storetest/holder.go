package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// Numbers that are one user's at most.

func unique(a *verify.Application) { a.UniqueNumbers = true }

// asks associates the user in an application whose numbers are unique.
func (p *person) asks() error {
	_, err := p.begin(verify.UserStart{Associate: true, Unique: true})
	return err
}

// taken demands that the user doesn't get the number, and is told to wait for so long; 0: for good.
func (p *person) taken(what string, wait time.Duration) {
	p.t.Helper()
	err := p.asks()
	wantError(p.t, what, err, verify.ErrNumberTaken)
	var known *verify.Error
	if errors.As(err, &known) {
		equal(p.t, what+": wait", known.RetryAfter, wait)
	}
	_, err = p.User(ctx, p.key)
	wantError(p.t, what+": user", err, verify.ErrNoUser)
}

func aUniqueNumberIsOneUsers(t *testing.T, s suite) {
	k := s.open(t)
	a, to := k.application(project, unique), number(0)
	ada, bob := k.person(a, "ada", to), k.person(a, "bob", to)
	wantError(t, "the first", ada.asks(), nil)
	k.clock.advance(time.Minute)
	bob.taken("while another's code lives", time.Hour)
	wantError(t, "another number", k.person(a, "eve", number(1)).asks(), nil)
	wantError(t, "in another application", k.person(k.application(project, unique), "bob", to).asks(), nil)
	wantError(t, "the same user again", ada.asks(), nil)
	k.clock.advance(time.Hour - time.Millisecond)
	bob.taken("in the last instant of another's code", time.Minute+time.Millisecond)
	ada.validates()
	k.clock.advance(time.Hour)
	bob.taken("once it is another's", 0)
	ada.login()

	wantError(t, "the same user, who has it", ada.asks(), nil)
	k.clock.advance(2 * time.Hour) // nobody has shown again that it is hers
	bob.taken("once its user's second code has ended", 0)
	wantError(t, "its user, another time", ada.asks(), nil)
	k.clock.advance(2 * time.Hour)
	bob.taken("once its user's third code has ended", 0)
	_, err := ada.begin(verify.UserStart{})
	wantError(t, "a login of a user who hasn't shown again that it is theirs", err, verify.ErrNotValidated)
	wantError(t, "dissociate", k.Dissociate(ctx, ada.key), nil)

	wantError(t, "a user who only asks", ada.asks(), nil)
	k.clock.advance(time.Hour + time.Minute - time.Millisecond)
	bob.taken("in the last instant in which a check of another's code may be committed", time.Millisecond)
	k.clock.advance(time.Millisecond)
	wantError(t, "once nobody's code lives", bob.asks(), nil)
	_, err = ada.types(secret)
	wantError(t, "the code of who only asked", err, verify.ErrExpired)
	bob.validates()
	wantError(t, "the one who only asked", ada.asks(), verify.ErrNumberTaken)
	wantError(t, "dissociate", k.Dissociate(ctx, bob.key), nil)
	wantError(t, "once it was given back", ada.asks(), nil)
	ada.validates()
	wantError(t, "delete", k.DeleteUser(ctx, ada.key), nil)
	wantError(t, "once its user is gone", bob.asks(), nil)
	bob.to = number(2)
	wantError(t, "another number for the same user", bob.asks(), nil)
	wantError(t, "the number that they left", ada.asks(), nil)

	// Where numbers aren't unique, several may have one.
	eve := k.person(a, "zoe", to)
	eve.associate()
}

// However many ask for a number concurrently, one of them may show that it is theirs.
func ofManyWhoAskForANumberOneHasIt(t *testing.T, s suite) {
	k := s.open(t)
	a := k.application(project, unique)
	const rounds, users = 4, 16
	for round := range rounds {
		to := number(round)
		var all sync.WaitGroup
		var won atomic.Int32
		for i := range users {
			p := k.person(a, fmt.Sprintf("u%d-%d", round, i), to)
			all.Go(func() {
				for {
					err := p.asks()
					switch {
					case errors.Is(err, verify.ErrBusy):
						continue
					case err == nil:
						won.Add(1)
					case !errors.Is(err, verify.ErrNumberTaken):
						t.Errorf("associate: %v", err)
					}
					return
				}
			})
		}
		all.Wait()
		equal(t, "users who may have it", won.Load(), int32(1))
	}
}

// An import is committed after an association has looked, and before the group of the association.
func anImportComesBetweenALookAndAnAssociation(t *testing.T, s suite) {
	k := s.open(t)
	a, to := k.application(project, unique), number(0)
	ada, bob := k.person(a, "ada", to), k.person(a, "bob", to)
	var err error
	var made []verify.Imported
	k.together(func() { made, err = k.imports(a, verify.User{Name: "ada", Address: string(to)}) }, func() { bob.taken("after an import", 0) })
	wantError(t, "import", err, nil)
	equal(t, "import", made, []verify.Imported{{Created: true}})
	ada.login()

	eve := verify.User{Name: "eve", Address: string(to)}
	made, err = k.imports(a, eve, verify.User{Name: "zoe", Address: string(number(1))}, verify.User{Name: "max", Address: string(number(1))}, verify.User{Name: "ada", Address: string(to)})
	wantError(t, "import", err, nil)
	taken := verify.Imported{Err: verify.ErrNumberTaken}
	equal(t, "import", made, []verify.Imported{taken, {Created: true}, taken, {}})
}

// However many imports bring a user with one number concurrently, beside associations, one user has it.
func importsRaceForUniqueNumbers(t *testing.T, s suite) {
	k := s.open(t)
	a, to := k.application(project, unique), number(0)
	var all sync.WaitGroup
	var won atomic.Int32
	for i := range 8 {
		all.Go(func() {
			made, err := k.imports(a, verify.User{Name: fmt.Sprintf("i%d", i), Address: string(to)}, verify.User{Name: fmt.Sprintf("o%d", i), Address: string(number(1 + i))})
			if err != nil || !made[1].Created {
				t.Errorf("import: %+v, %v", made, err)
			} else if made[0].Created {
				won.Add(1)
			}
		})
		all.Go(func() {
			err := k.person(a, fmt.Sprintf("a%d", i), to).asks()
			for errors.Is(err, verify.ErrBusy) {
				err = k.person(a, fmt.Sprintf("a%d", i), to).asks()
			}
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, verify.ErrNumberTaken) {
				t.Errorf("associate: %v", err)
			}
		})
	}
	all.Wait()
	equal(t, "users who have it", won.Load(), int32(1))
}

// A right code that came in time may be committed after its time, while another user asks for the number: the look still
// sees a user whose code has ended.
func aNumberIsValidatedWhileItsCodeEnds(t *testing.T, s suite) {
	k := s.open(t)
	a, to := k.application(project, unique), number(0)
	ada, bob := k.person(a, "ada", to), k.person(a, "bob", to)
	wantError(t, "the first", ada.asks(), nil)
	k.clock.advance(time.Hour - time.Millisecond)
	h := k.gate.hold()
	var all sync.WaitGroup
	all.Go(ada.validates)
	await(t, "the commit to hold", h.begun)
	k.clock.advance(time.Millisecond)
	arrived := k.Waiting()
	var err error
	done := make(chan struct{})
	all.Go(func() {
		defer close(done)
		err = bob.asks()
	})
	until(t, "the association's arrival", func() bool {
		select {
		case <-done:
			return true
		default:
			return k.Waiting() > arrived
		}
	})
	close(h.let)
	all.Wait()
	wantError(t, "while another's right code is committed", err, verify.ErrNumberTaken)
	_, err = k.User(ctx, bob.key)
	wantError(t, "user", err, verify.ErrNoUser)
	ada.login()
}

func usersAreFoundByTheirNumber(t *testing.T, s suite) {
	k := s.open(t)
	a, to := k.application(project), number(0)
	for i, n := range []phone.Number{to, number(1), to} {
		k.person(a, fmt.Sprintf("u%d", i), n).associate()
	}
	names := func(status verify.UserStatus, n phone.Number, after string) (all []string) {
		t.Helper()
		found, err := k.UsersAfter(ctx, project, a.ID, status, n, after, 10)
		wantError(t, "list", err, nil)
		for _, u := range found {
			all = append(all, u.Name)
		}
		return all
	}
	equal(t, "of a number", names(0, to, ""), []string{"u0", "u2"})
	equal(t, "behind a name", names(0, to, "u0"), []string{"u2"})
	equal(t, "of a status", names(verify.UserValidated, to, ""), []string(nil))
	equal(t, "of all numbers", names(0, "", ""), []string{"u0", "u1", "u2"})
	equal(t, "of nobody's", names(0, number(3), ""), []string(nil))
}
