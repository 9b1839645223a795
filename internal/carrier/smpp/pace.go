package smpp

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

const (
	// The pause after the nth answer in a row that we are too fast is firstPause·2^(n-1).
	firstPause, lastPause = 250 * time.Millisecond, 30 * time.Second
	// A pause that is longer isn't waited for: another carrier may be quicker.
	patience = time.Second
	// slack is how much of an unused rate may be caught up with: timers aren't more exact than that.
	slack = 10 * time.Millisecond
)

var (
	errSlower = errors.New("the SMSC wants us to be slower")
	errRate   = errors.New("the carrier's rate is used up")
)

// A pace is how fast a carrier may submit: at most a rate, and not at all for a while after the SMSC
// said that it was too fast.
type pace struct {
	interval time.Duration // 0 is no limit

	mu    sync.Mutex // guards all below
	next  time.Time  // when the next one may go
	until time.Time  // when the pause is over
	level int        // of the pause
}

// wait waits for our turn. Its error is a decision: nothing was sent.
func (p *pace) wait(ctx context.Context) error {
	limit := time.Duration(math.MaxInt64)
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end)
	}
	d, err := p.reserve(time.Now(), limit)
	if err != nil || d <= 0 {
		return err
	}
	if err := sleep(ctx, d); err != nil {
		return carrier.Because(verify.ReasonThrottled, err)
	}
	return nil
}

// reserve takes the next turn and returns how far away it is, unless that is too far.
func (p *pace) reserve(now time.Time, limit time.Duration) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := p.until.Sub(now); left > min(limit, patience) {
		return 0, carrier.Because(verify.ReasonThrottled, carrier.Later(left, errSlower))
	}
	turn := later(now, p.until)
	if p.interval == 0 {
		return turn.Sub(now), nil
	}
	next := later(p.next, turn.Add(-slack))
	turn = later(turn, next)
	if d := turn.Sub(now); d > limit {
		return 0, carrier.Because(verify.ReasonThrottled, carrier.Later(d, errRate))
	}
	p.next = next.Add(p.interval)
	return turn.Sub(now), nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// throttled notes that what was submitted at that time was too fast, and returns how long to wait.
// What was under way together counts once.
func (p *pace) throttled(submitted, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !submitted.Before(p.until) {
		p.level++
		p.until = now.Add(min(firstPause<<min(p.level-1, 20), lastPause))
	}
	return p.until.Sub(now)
}

// accepted notes that what was submitted at that time was not too fast.
func (p *pace) accepted(submitted time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !submitted.Before(p.until) {
		p.level = 0
	}
}
