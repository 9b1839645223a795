package dispatch

import "time"

// A breaker keeps messages for one country from a carrier that fails to take them. So many failures
// one after the other open it, for a pause; then one message is let through, as a probe. If the
// carrier takes that, the breaker closes; if not, the next pause is twice as long. A refusal is no
// failure: it is about the number, and the carrier answers.
type breaker struct {
	failures int           // since the carrier last answered
	pause    time.Duration // the latest one; 0: closed
	until    time.Time     // if it is open: no message before
	probing  bool          // the one that was let through hasn't ended
}

const (
	// breakAfter is how many failures open a breaker unless the configuration says otherwise.
	breakAfter            = 5
	firstPause, lastPause = 10 * time.Second, 5 * time.Minute
	// probeTime is how long to wait for a probe's end: it may never begin, if its code dies.
	probeTime = 10 * time.Second
)

// opens is when a message may pass: zero for now.
func (b *breaker) opens(now time.Time) time.Time {
	if b.pause == 0 || !now.Before(b.until) {
		return time.Time{}
	}
	return b.until
}

// pass takes leave for one message, which is the probe if the breaker is open.
func (b *breaker) pass(now time.Time) bool {
	if !b.opens(now).IsZero() {
		return false
	}
	if b.pause > 0 {
		b.until, b.probing = now.Add(probeTime), true
	}
	return true
}

// fail counts a message that the carrier didn't take. What began before the breaker opened, and fails
// now, says nothing new.
func (b *breaker) fail(after int, now time.Time) {
	b.failures++
	switch {
	case b.pause == 0 && b.failures >= after:
		b.pause = firstPause
	case b.probing:
		b.pause = min(2*b.pause, lastPause)
	default:
		return
	}
	b.until, b.probing = now.Add(b.pause), false
}

// state is a word for it: closed, open, or half-open while a probe may pass or is under way.
func (b *breaker) state(now time.Time) string {
	switch {
	case b.pause == 0:
		return "closed"
	case b.probing || !now.Before(b.until):
		return "half-open"
	}
	return "open"
}
