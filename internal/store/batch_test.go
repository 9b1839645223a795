package store_test

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// pending is a verification that nobody has started. Its code is in the place of its MAC.
func pending(now time.Time, to phone.Number) *verify.Verification {
	id := verify.NewID(now)
	return &verify.Verification{
		ID: id, Project: "p", Purpose: verify.PurposeMFA,
		Terms: verify.Terms{Channel: verify.ChannelSMS, To: to, Text: "{code}", Length: 6, MaxAttempts: 3, ExpiresAt: id.Time().Add(time.Hour)},
		Code:  verify.Code{CodeMAC: []byte("483920"), SealedCode: []byte("sealed")},
	}
}

func guess(v *verify.Verification, typed string) verify.Guess {
	return verify.Guess{Project: v.Project, ID: v.ID, Profile: verify.ProfileCompat, Matches: func(v *verify.Verification) (bool, error) {
		return string(v.CodeMAC) == typed, nil
	}}
}

// groups counts the operations of each commit. While held is open, commits wait.
type groups struct {
	begun, held chan struct{}

	mu  sync.Mutex // guards ops
	ops []int
}

func (g *groups) commit(ops int, commit func() error) error {
	g.mu.Lock()
	g.ops = append(g.ops, ops)
	g.mu.Unlock()
	if g.begun != nil {
		g.begun <- struct{}{}
		<-g.held
	}
	return commit()
}

func TestGroupsAreBoundedAndAFullQueueIsBusyAtOnce(t *testing.T) {
	t.Parallel()
	g := &groups{begun: make(chan struct{}, store.MaxWaiting), held: make(chan struct{})}
	s, err := store.Open(ctx, store.Options{Path: newFile(t), Commit: g.commit})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	release := sync.OnceFunc(func() { close(g.held) })
	defer release()

	var applied atomic.Int64
	var waiting []<-chan error
	enqueue := func() {
		t.Helper()
		done, err := s.Enqueue(func() { applied.Add(1) })
		if err != nil {
			t.Fatalf("operation %d: %v", len(waiting), err)
		}
		waiting = append(waiting, done)
	}
	enqueue()
	<-g.begun
	for range store.MaxWaiting {
		enqueue()
	}
	v := pending(time.Now(), "+12025550123")
	if err := s.Start(ctx, v, verify.Limits{}, time.Second); !errors.Is(err, verify.ErrBusy) {
		t.Errorf("start with a full queue: got error %v, want %v", err, verify.ErrBusy)
	}
	if err := s.CreateProject(ctx, verify.Project{ID: "p"}); !errors.Is(err, verify.ErrBusy) {
		t.Errorf("create project with a full queue: got error %v, want %v", err, verify.ErrBusy)
	}
	if got := applied.Load(); got != 1 {
		t.Errorf("while the first commit is held, %d operations were applied, want 1", got)
	}

	release()
	for i, done := range waiting {
		if err := <-done; err != nil {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	if got := applied.Load(); got != int64(len(waiting)) {
		t.Errorf("%d operations were applied, want each of %d once", got, len(waiting))
	}
	want := append([]int{1}, slices.Repeat([]int{store.MaxBatch}, store.MaxWaiting/store.MaxBatch)...)
	if d := cmp.Diff(want, g.ops); d != "" {
		t.Errorf("groups: -want +got\n%s", d)
	}
	if err := s.Start(ctx, v, verify.Limits{}, time.Second); err != nil {
		t.Errorf("start afterwards: %v", err)
	}
}

// In the bubble, time passes only while all its goroutines wait for it. So none may wait for time.
func TestLoneOperationOnAnIdleStoreIsCommittedAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "countersign.db")
	synctest.Test(t, func(t *testing.T) {
		g := &groups{}
		s, err := store.Open(ctx, store.Options{Path: path, Commit: g.commit})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		began, v := time.Now(), pending(time.Now(), "+12025550123")
		if err := s.Start(ctx, v, verify.Limits{}, time.Second); err != nil {
			t.Fatal(err)
		}
		if out, err := s.Check(ctx, guess(v, "000000")); err != nil || out.GuessesLeft != 2 {
			t.Errorf("check: got %+v, %v; want 2 left", out, err)
		}
		if _, err := s.Settle(ctx, verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1, StartedAt: began}}); err != nil {
			t.Errorf("settle: %v", err)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("three operations waited for %v, want 0", waited)
		}
		if d := cmp.Diff([]int{1, 1, 1}, g.ops); d != "" {
			t.Errorf("groups: -want +got\n%s", d)
		}
	})
}

func TestLockedDatabaseApprovesNothingAndIsReadStill(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	s := openSQLite(t, path, nil, nil)
	defer s.Close()
	if err := s.CreateProject(ctx, verify.Project{ID: "p", Profile: verify.ProfileCompat}); err != nil {
		t.Fatal(err)
	}
	key := account.Key{ID: verify.NewID(time.Now()), Project: "p", Hash: account.HashKey("k")}
	if err := s.CreateKey(ctx, key); err != nil {
		t.Fatal(err)
	}
	v := pending(time.Now(), "+12025550123")
	if err := s.Start(ctx, v, verify.Limits{}, time.Minute); err != nil {
		t.Fatal(err)
	}

	lock, err := s.raw.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := lock.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pragma(ctx, "busy_timeout = 20"); err != nil {
		t.Fatal(err)
	}
	second := func(_ any, err error) error { return err }
	third := func(_, _ any, err error) error { return err }
	for name, err := range map[string]error{
		"check":          second(s.Check(ctx, guess(v, "483920"))),
		"start":          s.Start(ctx, pending(time.Now(), v.To), verify.Limits{}, time.Minute),
		"cancel":         s.Cancel(ctx, "p", v.ID),
		"settle":         second(s.Settle(ctx, verify.Settlement{Delivery: verify.Delivery{Verification: v.ID, Attempt: 1}})),
		"create project": s.CreateProject(ctx, verify.Project{ID: "q"}),
		"retain":         second(s.Retain(ctx, time.Now())),
	} {
		if !errors.Is(err, verify.ErrNoStore) {
			t.Errorf("%s: got error %v, want %v", name, err, verify.ErrNoStore)
		}
	}
	got, err := s.Verification(ctx, v.ID)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if d := cmp.Diff(v, got); d != "" {
		t.Errorf("verification: -want +got\n%s", d)
	}
	for name, err := range map[string]error{
		"account":    second(s.Account(ctx, key.Hash)),
		"deliveries": second(s.Deliveries(ctx, v.ID)),
		"due":        third(s.Due(ctx, verify.Hint{}, 1, nil)),
		"projects":   second(s.Projects(ctx)),
		"keys":       second(s.Keys(ctx, "p")),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	if err := s.Ready(ctx); !errors.Is(err, verify.ErrNoStore) {
		t.Errorf("ready: got %v, want %v, for nothing can be written", err, verify.ErrNoStore)
	}

	// A lock that goes away in time is waited for.
	if _, err := s.Pragma(ctx, "busy_timeout = 30000"); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		out verify.Outcome
		err error
	}
	answers := make(chan answer)
	go func() {
		out, err := s.Check(ctx, guess(v, "483920"))
		answers <- answer{out, err}
	}()
	if _, err := lock.ExecContext(ctx, "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if a := <-answers; a.err != nil || !a.out.Approved {
		t.Errorf("check after the lock: got %+v, %v; want it approved", a.out, a.err)
	}
}
