package dispatch

import (
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// A breaker keeps messages for one country from a carrier that fails. So many failures without an answer
// between them open it, for a pause; then one message is let through, as a probe. If the carrier answers
// that, the breaker closes; if not, the next pause is twice as long.
//
// Only what is the carrier's own failure is counted (verify.BlameCarrier), and of that each number once, and
// of each project at most its share: some carriers fail at one bad number, and callers choose numbers.
// A message whose failure wouldn't count is no probe either. It passes once the pause is over, and if it
// fails, everything stays as it is: so nobody can hold a breaker open with what opened it.
type breaker struct {
	after, share int

	failed map[phone.Number]time.Time // those counted since the carrier last answered: when each was tried last
	counts map[verify.ProjectID]int   // how many of them are a project's

	pause  time.Duration // the latest one; 0: closed
	until  time.Time     // if it is open: no message before
	probe  phone.Number  // the one that was let through and hasn't ended, "" for none
	lapses time.Time     // when that one is replaced
}

const (
	// breakAfter is how many failures open a breaker unless the configuration says otherwise.
	breakAfter            = 5
	firstPause, lastPause = 10 * time.Second, 5 * time.Minute
	// probeTime is how long to wait for a probe's end: it may never begin, if its code dies.
	probeTime = 10 * time.Second
)

// newBreaker returns a breaker that opens after so many failures, of which share may be one project's.
func newBreaker(after, share int) *breaker {
	return &breaker{after: after, share: share, failed: map[phone.Number]time.Time{}, counts: map[verify.ProjectID]int{}}
}

// counted reports whether a failure of a message would count.
func (b *breaker) counted(p verify.ProjectID, n phone.Number) bool {
	_, known := b.failed[n]
	return !known && b.counts[p] < b.share
}

// opens is when a message may pass: zero for now.
func (b *breaker) opens(p verify.ProjectID, n phone.Number, now time.Time) time.Time {
	if b.pause == 0 {
		return time.Time{}
	}
	at := b.until
	if b.counted(p, n) {
		if b.probe != "" {
			at = later(at, b.lapses)
		}
	} else if tried, known := b.failed[n]; known {
		at = later(at, tried.Add(b.pause))
	}
	if !now.Before(at) {
		return time.Time{}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// pass takes leave for one message, which is the probe if the breaker is open.
func (b *breaker) pass(p verify.ProjectID, n phone.Number, now time.Time) {
	if b.pause == 0 {
		return
	}
	if b.counted(p, n) {
		b.probe, b.lapses = n, now.Add(probeTime)
	} else if _, known := b.failed[n]; known {
		b.failed[n] = now
	}
}

// spare gives back the leave of a message that isn't sent, or whose end says nothing of the carrier.
func (b *breaker) spare(n phone.Number) {
	if b.probe == n {
		b.probe = ""
	}
}

// fail counts a message that the carrier failed. What began before the breaker opened, and fails now, says
// nothing new.
func (b *breaker) fail(p verify.ProjectID, n phone.Number, now time.Time) {
	probing := b.probe == n
	b.spare(n)
	if _, known := b.failed[n]; known {
		b.failed[n] = now
	}
	if !b.counted(p, n) || b.pause > 0 && !probing {
		return
	}
	b.failed[n] = now
	b.counts[p]++
	switch {
	case probing:
		b.pause = min(2*b.pause, lastPause)
	case len(b.failed) >= b.after:
		b.pause = firstPause
	default:
		return
	}
	b.until = now.Add(b.pause)
}

// state is a word for it: closed, open, or half-open while a probe may pass or is under way.
func (b *breaker) state(now time.Time) string {
	switch {
	case b.pause == 0:
		return "closed"
	case !now.Before(b.until):
		return "half-open"
	}
	return "open"
}
