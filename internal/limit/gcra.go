// Package limit decides whether one more may be sent, and if not, when.
//
// The rules are pure: state and time in, state and answer out. Whoever keeps
// the state does so under its own lock (a row's, usually), so two replicas that
// share the row share the limit. A [GCRA] remembers one time and smooths; a
// [Window] remembers each event and is exact. Both answer a refusal with the
// exact wait, so that a caller can be told when to come back instead of trying.
//
// Clocks of replicas differ and step back. Neither rule ever allows more because
// now is earlier than it was before.
package limit

import (
	"math"
	"time"
)

// A GCRA allows Burst events at once and one more per Interval after that: the
// generic cell rate algorithm. In any span of time d it allows at most
// Burst + d/Interval events.
//
// Its whole state is the theoretical arrival time (TAT): when the events so far
// would have been through, had each taken its Interval. The zero time is the
// state in which nothing has happened. Where less than now's precision is
// stored, store the TAT rounded up.
//
// A Burst or an Interval of zero means no limit.
type GCRA struct {
	Burst    int
	Interval time.Duration
}

// Take asks for one event at now. A wait of zero means that it is allowed, and
// that next must be stored before it happens. Otherwise nothing changes, and
// one will be allowed after exactly wait, if no other comes first.
func (g GCRA) Take(tat, now time.Time) (next time.Time, wait time.Duration) {
	if g.none() {
		return tat, 0
	}
	if ahead, slack := tat.Sub(now), g.slack(); ahead > slack {
		return tat, ahead - slack
	}
	// From the later of both: an unused past can't be saved up, and a clock
	// that stepped back can't take a booked event away.
	if now.After(tat) {
		tat = now
	}
	return tat.Add(g.Interval), 0
}

// Idle reports whether tat no longer matters, so that it can be forgotten:
// from here on it answers like the zero time.
func (g GCRA) Idle(tat, now time.Time) bool {
	return g.none() || !tat.After(now)
}

func (g GCRA) none() bool { return g.Burst <= 0 || g.Interval <= 0 }

// slack is how far the TAT may be ahead of now for one more to be allowed.
// Absurd settings end at 292 years instead of wrapping around.
func (g GCRA) slack() time.Duration {
	more := time.Duration(g.Burst - 1)
	if more > math.MaxInt64/g.Interval {
		return math.MaxInt64
	}
	return more * g.Interval
}
