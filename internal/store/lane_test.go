package store

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A fakeSession holds each group in its commit until it is let go on.
type fakeSession struct{ let chan struct{} }

func (f *fakeSession) begin(context.Context) error               { return nil }
func (f *fakeSession) load(context.Context, []op) (*rows, error) { return newRows(0, 0), nil }
func (f *fakeSession) save(context.Context, *rows) error         { return nil }
func (f *fakeSession) commit(_ context.Context, _ *rows) error   { <-f.let; return nil }
func (f *fakeSession) rollback(context.Context)                  {}
func (f *fakeSession) apart(error) bool                          { return true }
func (f *fakeSession) writerNumber() int                         { return 0 }
func (f *fakeSession) close() error                              { return nil }

// Three lanes, and what they do with operations that arrive while they are busy. The bubble's Wait
// returns when nobody can go on: who has not begun by then waits for something.
func TestALaneBeginsBesideOthersOnlyForACrowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		var mu sync.Mutex // guards groups
		var groups []int
		w := newWriter([]session{&fakeSession{let}, &fakeSession{let}, &fakeSession{let}}, nil, 0, Options{
			Now: time.Now,
			Commit: func(ops int, commit func() error) error {
				mu.Lock()
				groups = append(groups, ops)
				mu.Unlock()
				return commit()
			},
		}, &witness{}, new(abandoned))
		var done []chan error
		add := func(n int) {
			t.Helper()
			for range n {
				o := op{done: make(chan error, 1), apply: func(*rows, time.Time) error { return nil }}
				if err := w.enqueue(o); err != nil {
					t.Fatal(err)
				}
				done = append(done, o.done)
			}
			synctest.Wait()
		}
		want := func(when string, all ...int) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if d := cmp.Diff(all, groups); d != "" {
				t.Fatalf("%s: groups: -want +got\n%s", when, d)
			}
		}
		add(1)
		want("when one operation arrives", 1)
		add(crowd - 1)
		want("when less than a crowd waits", 1)
		add(1)
		want("when a crowd waits", 1, crowd)
		add(2*crowd - 1)
		want("when less than two crowds wait for two lanes", 1, crowd)
		add(1)
		want("when two crowds wait", 1, crowd, 2*crowd)
		add(1)
		want("when all lanes are busy", 1, crowd, 2*crowd)
		let <- struct{}{}
		synctest.Wait()
		want("when a lane is free and two are busy", 1, crowd, 2*crowd)
		time.Sleep(tooLong) // the bubble's
		synctest.Wait()
		want("when the others take too long", 1, crowd, 2*crowd, 1)
		for range 3 {
			let <- struct{}{}
			synctest.Wait()
		}
		for i, d := range done {
			select {
			case err := <-d:
				if err != nil {
					t.Errorf("operation %d: %v", i, err)
				}
			default:
				t.Errorf("operation %d isn't done", i)
			}
		}

		// Afterwards an operation alone is committed at once, and nothing keeps a lane from ending.
		groups = slices.Delete(groups, 0, len(groups))
		add(1)
		want("when all is done", 1)
		go w.close()
		let <- struct{}{}
		w.lanes.Wait()
	})
}
