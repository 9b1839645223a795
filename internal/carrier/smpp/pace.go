package smpp

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
)

const (
	// The pause after the nth throttling response in a row is firstPause·2^(n-1).
	firstPause, lastPause = 250 * time.Millisecond, 30 * time.Second
	// A message doesn't wait for a pause longer than patience, because another
	// carrier may be quicker.
	patience = time.Second
	// slack is how far behind the rate a message may catch up, because timers aren't more precise.
	slack = 10 * time.Millisecond
)

var (
	errSlower = errors.New("the SMSC is throttling us")
	errRate   = errors.New("the carrier's rate is used up")
)

// A pace limits how fast a carrier submits: to a rate, and with pauses after the SMSC has throttled
// it.
type pace struct {
	interval time.Duration // 0 means no limit

	mu    sync.Mutex // guards the fields below
	next  time.Time  // when the next message may be submitted
	until time.Time  // the end of the pause
	level int        // of the pause, by which it grows
}

// wait waits for the caller's turn. After an error, nothing was sent, and the
// error says what to do next.
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
		return carrier.Because(carrier.ReasonThrottled, err)
	}
	return nil
}

// reserve takes the next turn and returns the time until then. If that is too long,
// it returns an error.
func (p *pace) reserve(now time.Time, limit time.Duration) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := p.until.Sub(now); left > min(limit, patience) {
		return 0, carrier.Because(carrier.ReasonThrottled, carrier.Later(left, errSlower))
	}
	turn := later(now, p.until)
	if p.interval == 0 {
		return turn.Sub(now), nil
	}
	next := later(p.next, turn.Add(-slack))
	turn = later(turn, next)
	if d := turn.Sub(now); d > limit {
		return 0, carrier.Because(carrier.ReasonThrottled, carrier.Later(d, errRate))
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

// throttled records that the SMSC throttled a message submitted at that time, and returns how long
// to wait. Messages that were under way together count as one.
func (p *pace) throttled(submitted, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !submitted.Before(p.until) {
		p.level++
		p.until = now.Add(min(firstPause<<min(p.level-1, 20), lastPause))
	}
	return p.until.Sub(now)
}

// accepted records that the SMSC accepted a message submitted at that time.
func (p *pace) accepted(submitted time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !submitted.Before(p.until) {
		p.level = 0
	}
}
