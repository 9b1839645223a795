package smpp

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// The wait before attempt n+1 in a row is between half of firstWait·2^(n-1) and all of it.
	firstWait, lastWait = 500 * time.Millisecond, time.Minute
	// A bind that stays up this long resets the backoff.
	stable = 5 * time.Second
)

// A gate limits how often a carrier tries to bind to an SMSC that refuses binds, or accepts and
// drops them. Without failures, it is open. After a failure, only one bind at a time may try,
// after growing waits. The others follow when that bind has been stable.
type gate struct {
	probe chan struct{} // holds a token while a bind probes

	mu    sync.Mutex // guards fails
	fails int        // number of failures in a row
}

func newGate() *gate { return &gate{probe: make(chan struct{}, 1)} }

// A try is one attempt to bind. It ends once, well or badly.
type try struct {
	g       *gate
	probing bool
	once    sync.Once
}

// enter waits until the next attempt may start.
func (g *gate) enter(ctx context.Context) (*try, error) {
	if g.failed() == 0 {
		return &try{g: g}, ctx.Err()
	}
	select {
	case g.probe <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n := g.failed()
	if n == 0 { // the previous probe succeeded
		<-g.probe
		return &try{g: g}, ctx.Err()
	}
	if err := sleep(ctx, backoff(n)); err != nil {
		<-g.probe
		return nil, err
	}
	return &try{g: g, probing: true}, nil
}

func (g *gate) failed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fails
}

// end records the result of the attempt; later calls do nothing. Attempts that fail together
// while nobody probes count as one failure.
func (t *try) end(well bool) {
	t.once.Do(func() {
		t.g.mu.Lock()
		switch {
		case well:
			t.g.fails = 0
		case t.probing:
			t.g.fails++
		default:
			t.g.fails = max(t.g.fails, 1)
		}
		t.g.mu.Unlock()
		if t.probing {
			<-t.g.probe
		}
	})
}

// leave ends the attempt without a result: it says nothing about the SMSC.
func (t *try) leave() {
	t.once.Do(func() {
		if t.probing {
			<-t.g.probe
		}
	})
}

// backoff returns the wait after n failures. It has jitter, so that replicas that failed
// together don't return together.
func backoff(n int) time.Duration {
	d := min(firstWait<<min(n-1, 20), lastWait)
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
