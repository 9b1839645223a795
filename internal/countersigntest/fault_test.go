package countersigntest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// flaky makes some commits fail, and some fail although they happened.
type flaky struct {
	mu  sync.Mutex // guards rnd and on
	rnd *rand.Rand
	on  bool
}

func (f *flaky) commit(_ int, commit func() error) error {
	f.mu.Lock()
	fate := 9
	if f.on {
		fate = f.rnd.IntN(10)
	}
	f.mu.Unlock()
	switch fate {
	case 0:
		return errors.New("disk error")
	case 1:
		commit()
		return errors.New("disk error, yet it happened")
	}
	return commit()
}

func (f *flaky) set(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

// Whatever commits do, no verification has more guesses than it may, none is approved twice, and
// what was answered is stored.
func TestGuessesAreExactWhileCommitsFail(t *testing.T) {
	t.Parallel()
	const attempts = 5
	f := &flaky{rnd: rand.New(rand.NewPCG(7, 7))}
	k := countersigntest.New(t, countersigntest.Options{Commit: f.commit})
	type started struct{ id, code string }
	all := make([]started, testsize.Times(60))
	for i := range all {
		id := k.Start(number(i), fmt.Sprintf(`"max_attempts":%d`, attempts))
		all[i] = started{id, k.Code(number(i), id)}
	}
	f.set(true)
	var faults tally
	for _, s := range all {
		var c tally
		at(20, func(n int) {
			typed := s.code
			if n%5 != 0 {
				typed = countersigntest.Wrong(s.code)
			}
			c.add(k.Check(s.id, typed))
		})
		faults.other.Add(c.other.Load())
		v := k.Verification(s.id)
		answered := c.right.Load() + c.wrong.Load()
		if v.Guesses > attempts || answered > int64(v.Guesses) {
			t.Errorf("%v; stored %d guesses, at most %d are allowed", &c, v.Guesses, attempts)
		}
		if c.right.Load() > 1 || c.right.Load() == 1 && v.Status != verify.StatusApproved {
			t.Errorf("%v; stored as %v", &c, v.Status)
		}
	}
	if faults.other.Load() == 0 {
		t.Error("no commit failed: the test shows nothing")
	}
	f.set(false)
}

// A client that hangs up after asking is charged all the same, or guessing would be free.
func TestClientThatHangsUpIsCharged(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards hold
	var hold chan struct{}
	held := make(chan struct{}, 100)
	k := countersigntest.New(t, countersigntest.Options{Unattended: true, Commit: func(_ int, commit func() error) error {
		mu.Lock()
		wait := hold
		mu.Unlock()
		if wait != nil {
			held <- struct{}{}
			<-wait
		}
		return commit()
	}})
	const to = "+12025550100"
	id := k.Start(to, `"max_attempts":3`)
	code := k.Code(to, id)
	k.Await("the delivery's end", func() bool { return !k.Verification(id).Open() })

	release := make(chan struct{})
	mu.Lock()
	hold = release
	mu.Unlock()
	ctx, hangUp := context.WithCancel(context.Background())
	gone := make(chan error)
	go func() {
		req, err := k.Request(ctx, id+"/verify", `{"token":"`+countersigntest.Wrong(code)+`"}`)
		if err == nil {
			_, err = http.DefaultClient.Do(req)
		}
		gone <- err
	}()
	<-held // the guess is in the commit
	hangUp()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatalf("the client got %v", err)
	}
	mu.Lock()
	hold = nil
	mu.Unlock()
	close(release)
	k.Await("the charge", func() bool { return k.Verification(id).Guesses == 1 })
}

// A server whose disk is full says that it isn't ready, for all it can read.
func TestNotReadyWhileCommitsFail(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	k := countersigntest.New(t, countersigntest.Options{Unattended: true, Commit: func(_ int, commit func() error) error {
		if full.Load() {
			return errors.New("database or disk is full")
		}
		return commit()
	}})
	ready := func() int {
		answer := httptest.NewRecorder()
		k.Operations().ServeHTTP(answer, httptest.NewRequest("GET", "/readyz", nil))
		return answer.Code
	}
	if got := ready(); got != 200 {
		t.Errorf("before: got %d, want 200", got)
	}
	full.Store(true)
	if err := k.Store.Record(t.Context(), store.Audit{Action: "test"}); !errors.Is(err, verify.ErrNoStore) {
		t.Errorf("a write: got %v, want %v", err, verify.ErrNoStore)
	}
	if got := ready(); got != 503 {
		t.Errorf("while the disk is full: got %d, want 503", got)
	}
	full.Store(false)
	k.Await("readiness", func() bool { return ready() == 200 })
}
