package store_test

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// withBudget makes a project that may send so many messages a day.
func withBudget(t *testing.T, s *store.Store, p verify.ProjectID, most int) {
	t.Helper()
	if err := s.CreateProject(ctx, verify.Project{ID: p, Name: string(p), Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ChangeBudget(ctx, p, func(b *verify.Budget) ([]store.Audit, error) { b.DayMessages = most; return nil, nil }); err != nil {
		t.Fatal(err)
	}
}

// bound is a verification of p that takes of its budget.
func bound(i int) *verify.Verification {
	v := pending(time.Now(), number(i))
	v.Toll.Bound = true
	return v
}

// That a budget can't be read says nothing of its use.
func TestABudgetThatCannotBeReadIsNotUsedUp(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	path := newFile(t)
	s, err := store.Open(ctx, store.Options{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	withBudget(t, s, "p", 1000)
	db := openRaw(t, path)
	defer db.Close()
	if _, err := db.Exec(`DROP TABLE budget`); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(ctx, bound(0), verify.Limits{}, time.Minute); err == nil {
		t.Error("a start without a budget that can be read: got no error")
	}
	s.Close()
	if strings.Contains(log.String(), "budget is being used up") {
		t.Errorf("got the log\n%s\nwant nothing of the budget's use", log.String())
	}
}

// A replica that stops within a transaction holds what it spends. Another that divides the budget waits for it, and nobody
// waits for that one: other projects' starts go on.
func TestAnotherProjectsStartsDoNotWaitForABudget(t *testing.T) {
	t.Parallel()
	url := storetest.Lent(t)
	var armed atomic.Bool
	held, let := make(chan struct{}), make(chan struct{})
	stopped := replica(t, url, func(o *store.Options) {
		o.Postgres.Writers = 1
		o.Commit = func(_ int, commit func() error) error {
			if armed.CompareAndSwap(true, false) {
				close(held)
				<-let
			}
			return commit()
		}
	})
	stopped.Renumber(math.MaxInt32) // its row is locked last
	withBudget(t, stopped, "p", 12)
	quick := replica(t, url)
	for i, s := range []*store.Store{stopped, quick} { // and take a share
		if err := s.Start(ctx, bound(i), verify.Limits{}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	armed.Store(true)
	var all sync.WaitGroup
	all.Go(func() { stopped.Start(ctx, bound(2), verify.Limits{}, time.Minute) })
	<-held
	var next atomic.Int64
	next.Store(10)
	const holding = 15 * time.Second // less than a server may stand still in a transaction
	end := time.Now().Add(holding)
	var others sync.WaitGroup
	done := make(chan struct{})
	for range 4 { // of the budget
		all.Go(func() {
			for time.Now().Before(end) {
				select {
				case <-done:
					return
				default:
					quick.Start(ctx, bound(int(next.Add(1))), verify.Limits{}, time.Minute)
				}
			}
		})
		others.Go(func() {
			for n := 0; n < 50 && time.Now().Before(end); n++ {
				v, began := bound(int(next.Add(1))), time.Now()
				v.Project, v.Toll.Bound = "q", false
				err := quick.Start(ctx, v, verify.Limits{}, time.Minute)
				if d := time.Since(began); err != nil || d > holding/2 {
					t.Errorf("another project's start took %v: %v", d, err)
					return
				}
			}
		})
	}
	others.Wait()
	close(done)
	close(let)
	all.Wait()
}

// Operators are told once that a cap is used up, also where messages that no carrier took are given back and spent again.
func TestABudgetsUseIsToldOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s, err := store.Open(ctx, store.Options{Path: newFile(t), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	withBudget(t, s, "p", 10)
	var started []*verify.Verification
	start := func(n int) {
		t.Helper()
		for range n {
			v := bound(len(started))
			if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
				t.Fatal(err)
			}
			started = append(started, v)
		}
	}
	start(10)
	for _, v := range started[:3] {
		refused := verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1, Outcome: verify.AttemptRefused, Reason: verify.ReasonRefused, StartedAt: time.Now()}}
		if _, err := s.Settle(ctx, refused); err != nil {
			t.Fatal(err)
		}
	}
	start(3)
	s.Close()
	if got := strings.Count(log.String(), "percent=100"); got != 1 {
		t.Errorf("got %d lines that the budget is used up, want one\n%s", got, log.String())
	}
}
