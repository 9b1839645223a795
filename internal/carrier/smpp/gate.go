package smpp

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// The wait before attempt n+1 in a row is between half of and the whole of firstWait·2^(n-1).
	firstWait, lastWait = 500 * time.Millisecond, time.Minute
	// A bind that lasts this long wasn't in vain.
	stable = 5 * time.Second
)

// A gate keeps the binds of a carrier from hammering an SMSC that doesn't want them, or that takes
// them and drops them. While all is well it is open. After a failure one bind at a time may try,
// after waits that grow; the others follow when its bind has proved stable.
type gate struct {
	probe chan struct{} // whoever has put its token in is the one

	mu    sync.Mutex // guards fails
	fails int        // in a row
}

func newGate() *gate { return &gate{probe: make(chan struct{}, 1)} }

// A try is one attempt to bind, until it has ended well or badly.
type try struct {
	g       *gate
	probing bool
	once    sync.Once
}

// enter waits until another attempt is decent.
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
	if n == 0 { // the one before us made it
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

// end says how the attempt went; only the first word counts. Of those that failed together before
// anybody was probing, all count as one.
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

// backoff is the wait after n failures, with jitter, so that replicas that failed together don't
// return together.
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
