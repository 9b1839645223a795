package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// What one project has waiting for a commit leaves others their places, and keeps them waiting for a few
// groups only. It is told to wait.
func TestAFloodLeavesOthersTheirPlacesInTheWriter(t *testing.T) {
	t.Parallel()
	g := &groups{begun: make(chan struct{}, store.MaxWaiting), held: make(chan struct{})}
	s, err := store.Open(ctx, store.Options{Path: newFile(t), Commit: g.commit})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	release := sync.OnceFunc(func() { close(g.held) })
	defer release()

	var all sync.WaitGroup
	defer all.Wait()
	results := make(chan error, 4*store.MaxShared)
	start := func(p verify.ProjectID, n int) {
		v := pending(time.Now(), phone.Number(fmt.Sprintf("+1202%07d", n)))
		v.Project = p
		all.Go(func() { results <- s.Start(ctx, v, verify.Limits{}, time.Minute) })
	}
	start("quiet", 0)
	<-g.begun
	for n := range store.MaxShared {
		start("flood", n)
	}
	for range store.MaxShared / 2 { // all that is beyond its half
		select {
		case err := <-results:
			if !errors.Is(err, verify.ErrShareSpent) {
				t.Fatalf("got %v, want %v", err, verify.ErrShareSpent)
			}
		case <-time.After(10 * time.Second):
			release()
			t.Fatalf("all of a flood waits, want what is beyond its share refused with %v", verify.ErrShareSpent)
		}
	}
	guesses := func(p verify.ProjectID) error {
		v := pending(time.Now(), "+12025550123")
		v.Project = p
		_, err := s.Check(ctx, guess(v, "1"))
		return err
	}
	for what, ask := range map[string]func() error{
		"a check": func() error { return guesses("flood") },
		"an application": func() error {
			return s.CreateApplication(ctx, verify.Application{ID: verify.NewID(time.Now()), Project: "flood"}, false, 10)
		},
		"a user's removal": func() error { return s.DeleteUser(ctx, verify.UserKey{Project: "flood"}) },
	} {
		done := make(chan error, 1)
		all.Go(func() { done <- ask() })
		var err error
		select {
		case err = <-done:
		case <-time.After(10 * time.Second):
		}
		if !errors.Is(err, verify.ErrShareSpent) {
			t.Errorf("%s of the project that floods: got %v, want %v", what, err, verify.ErrShareSpent)
		}
	}
	for n := range store.MaxShared/2 - 1 {
		start("quiet", n+1)
	}
	release()
	all.Wait()
	close(results)
	served := 0
	for err := range results {
		if err != nil {
			t.Errorf("one that has its share: %v", err)
		}
		served++
	}
	if served != store.MaxShared {
		t.Errorf("%d were served, want all of both shares, %d", served, store.MaxShared)
	}
}
