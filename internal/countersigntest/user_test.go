package countersigntest_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

var sixDigits = regexp.MustCompile(`[0-9]{6}`)

// codesSentTo waits until a number has got n messages, and returns their codes, the newest first.
func codesSentTo(k *countersigntest.Kit, to string, n int) (codes []string) {
	k.Await(fmt.Sprintf("%d messages to %s", n, to), func() bool { return len(k.Sim.Messages(phone.Number(to))) >= n })
	for _, m := range k.Sim.Messages(phone.Number(to)) {
		codes = append(codes, sixDigits.FindString(m.Body))
	}
	return codes
}

// onEach runs a test on each engine. options are those of a server on an empty database.
func onEach(t *testing.T, test func(t *testing.T, options func() countersigntest.Options)) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, func() countersigntest.Options { return countersigntest.Options{} })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, func() countersigntest.Options { return countersigntest.Options{Database: storetest.Lent(t)} })
	})
}

func TestParallelValidatesSucceedOnce(t *testing.T) { onEach(t, parallelValidatesSucceedOnce) }

func parallelValidatesSucceedOnce(t *testing.T, options func() countersigntest.Options) {
	k := countersigntest.New(t, options())
	ctx, acct := context.Background(), k.Account()
	app, err := k.Verify.CreateApplication(ctx, acct, verify.Application{Name: "Shop"})
	if err != nil {
		t.Fatal(err)
	}
	at(8, func(worker int) {
		for i := range testsize.Times(80) / 8 {
			to, user := number(worker*100_000+i), fmt.Sprint(worker, "-", i)
			if err := k.Verify.Associate(ctx, acct, app.ID, user, verify.AssociateRequest{Address: to}); err != nil {
				t.Errorf("associate: %v", err)
				return
			}
			for _, login := range []bool{false, true} {
				if login {
					if err := k.Verify.LoginStart(ctx, acct, app.ID, user, verify.LoginRequest{}); err != nil {
						t.Errorf("login: %v", err)
						return
					}
				}
				n := 1
				if login {
					n = 2
				}
				code := verify.Secret(codesSentTo(k, to, n)[0])
				var right, none atomic.Int64
				at(parallel, func(int) {
					switch out, err := k.Verify.Validate(ctx, acct, app.ID, user, code, false); {
					case err == nil && out.Approved:
						right.Add(1)
					case errors.Is(err, verify.ErrNoCode):
						none.Add(1)
					default:
						t.Errorf("validate: got %+v, %v", out, err)
					}
				})
				if right.Load() != 1 || none.Load() != parallel-1 {
					t.Errorf("login %t: %d right, %d without a code; want 1 and the rest", login, right.Load(), none.Load())
				}
			}
		}
	})
}

// People log in, get their codes and type them while their application, or they, are deleted. Once the
// deletion has returned, no code that was ever sent validates, and nobody has a live one.
func TestDeletionDuringALoginLeavesNothingThatValidates(t *testing.T) {
	onEach(t, deletionDuringALoginLeavesNothingThatValidates)
}

func deletionDuringALoginLeavesNothingThatValidates(t *testing.T, options func() countersigntest.Options) {
	for _, deletes := range []string{"user", "application", "address"} {
		k := countersigntest.New(t, options())
		ctx, acct := context.Background(), k.Account()
		for round := range testsize.Times(5) {
			app, err := k.Verify.CreateApplication(ctx, acct, verify.Application{Name: "Shop"})
			if err != nil {
				t.Fatal(err)
			}
			const users = 8
			people := make([]string, users)
			var busy, gone sync.WaitGroup
			for i := range users {
				people[i] = number(round*users + i)
				if err := k.Verify.Associate(ctx, acct, app.ID, people[i], verify.AssociateRequest{Address: people[i]}); err != nil {
					t.Fatal(err)
				}
				code := codesSentTo(k, people[i], 1)[0]
				if out, err := k.Verify.Validate(ctx, acct, app.ID, people[i], verify.Secret(code), false); err != nil || !out.Approved {
					t.Fatalf("validate: got %+v, %v", out, err)
				}
				busy.Go(func() {
					for range 20 {
						if k.Verify.LoginStart(ctx, acct, app.ID, people[i], verify.LoginRequest{}) != nil {
							return // gone
						}
						k.Verify.Validate(ctx, acct, app.ID, people[i], verify.Secret(sixDigits.FindString(k.Sim.Messages(phone.Number(people[i]))[0].Body)), false)
					}
				})
				switch deletes {
				case "user":
					gone.Go(func() { wantNil(t, k.Verify.DeleteUser(ctx, acct, app.ID, people[i])) })
				case "address":
					gone.Go(func() { wantNil(t, k.Verify.Dissociate(ctx, acct, app.ID, people[i])) })
				}
			}
			if deletes == "application" {
				gone.Go(func() { wantNil(t, k.Verify.DeleteApplication(ctx, acct, app.ID, 0)) })
			}
			gone.Wait()
			for _, user := range people {
				for _, code := range codesSentTo(k, user, 1) {
					if out, err := k.Verify.Validate(ctx, acct, app.ID, user, verify.Secret(code), false); out.Approved || err == nil {
						t.Errorf("after the deletion of the %s: got %+v, %v", deletes, out, err)
					}
				}
			}
			busy.Wait()
			for _, to := range people {
				d, err := k.Store.Destination(ctx, acct.Project.ID, phone.Number(to))
				if err != nil {
					t.Fatal(err)
				}
				history, err := k.Store.History(ctx, d, 100)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range history {
					if got := v.StatusAt(k.Clock.Now()); got == verify.StatusPending {
						t.Errorf("after the deletion of the %s, a verification is %v", deletes, got)
					}
				}
			}
		}
	}
}

func wantNil(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// What a server that died has left of a deleted application is gone when the next one has started.
func TestAServersStartFinishesDeletions(t *testing.T) { onEach(t, aServersStartFinishesDeletions) }

func aServersStartFinishesDeletions(t *testing.T, options func() countersigntest.Options) {
	o := options()
	o.Data = t.TempDir()
	var dying atomic.Bool
	dies := o
	dies.Unattended, dies.Commit = true, func(_ int, commit func() error) error {
		if dying.Load() {
			return errors.New("the disk is gone")
		}
		return commit()
	}
	first := countersigntest.New(t, dies)
	ctx, acct := context.Background(), first.Account()
	app, err := first.Verify.CreateApplication(ctx, acct, verify.Application{Name: "Shop"})
	if err != nil {
		t.Fatal(err)
	}
	to := number(0)
	if err := first.Verify.Associate(ctx, acct, app.ID, "kola", verify.AssociateRequest{Address: to}); err != nil {
		t.Fatal(err)
	}
	codesSentTo(first, to, 1)
	d, err := first.Store.Destination(ctx, acct.Project.ID, phone.Number(to))
	if err != nil {
		t.Fatal(err)
	}
	first.Await("the message's settlement", func() bool { v := first.Verification(d.Latest.String()); return !v.Open() }) // it would be tried for ever
	// Its row goes, and then the server can't write any more.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := first.Store.DeleteApplication(gone, acct.Project.ID, app.ID, 0); err != nil {
		t.Fatal(err)
	}
	dying.Store(true)
	if v := first.Verification(d.Latest.String()); v.Status != verify.StatusPending || v.SealedCode == nil {
		t.Fatalf("the deletion was finished: this tests nothing")
	}
	if err := first.Close(ctx); err != nil {
		t.Fatal(err)
	}
	second := countersigntest.New(t, o)
	second.Await("the end of the deletion", func() bool {
		v := second.Verification(d.Latest.String())
		return v.Status == verify.StatusCanceled && v.SealedCode == nil
	})
}
