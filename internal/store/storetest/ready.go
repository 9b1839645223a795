package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A disk that is full can be read: whether a store is ready, what it last wrote decides. It finds out by
// itself that there is room again, also when nobody asks it for anything but that.
func readyIsWhoWroteLast(t *testing.T, s suite) {
	k := s.open(t)
	wantError(t, "ready", k.Ready(ctx), nil)
	k.gate.fail()
	k.gate.fail() // what it tries itself, a second later
	wantError(t, "start", k.Start(ctx, k.fresh(number(0)), verify.Limits{}, lease), errDisk)
	failed := k.gate.count()
	wantError(t, "ready after a start that failed", k.Ready(ctx), errDisk)
	until(t, "the next try", func() bool {
		wantError(t, "ready until it is tried again", k.Ready(ctx), errDisk)
		return k.gate.count() > failed || t.Failed()
	})
	k.readyAgain()
	if tried := k.gate.count() - failed; tried != 2 {
		t.Errorf("it was tried %d times, want once in vain and once more", tried)
	}

	// A group that is committed says so at once.
	k.gate.fail()
	wantError(t, "start", k.Start(ctx, k.fresh(number(1)), verify.Limits{}, lease), errDisk)
	k.start(number(2))
	wantError(t, "ready after a start", k.Ready(ctx), nil)
}

// While a disk hangs, nothing piles up behind what was tried.
func readyTriesOnceWhileTheDiskHangs(t *testing.T, s suite) {
	k := s.open(t)
	k.gate.fail()
	wantError(t, "start", k.Start(ctx, k.fresh(number(0)), verify.Limits{}, lease), errDisk)
	begun, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	k.gate.order(func(commit func() error) error {
		close(begun)
		<-held
		return commit()
	})
	ask := func() error {
		ctx, cancel := context.WithTimeout(ctx, pause)
		defer cancel()
		return k.Ready(ctx)
	}
	until(t, "the try that hangs", func() bool {
		wantError(t, "ready", ask(), verify.ErrNoStore)
		select {
		case <-begun:
			return true
		default:
			return t.Failed()
		}
	})
	for range 3 {
		wantError(t, "ready while it hangs", ask(), verify.ErrNoStore)
	}
	if n := k.Waiting(); n != 0 {
		t.Errorf("%d operations wait behind it, want none", n)
	}
	release()
	k.readyAgain()
}

// pause is between two looks.
const pause = 10 * time.Millisecond

// readyAgain waits until the store is.
func (k *kit) readyAgain() {
	k.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(pause) {
		err := k.Ready(ctx)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			k.t.Fatalf("it isn't ready again: %v", err)
		}
	}
}
