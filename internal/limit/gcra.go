// Package limit decides whether one more event, such as a message, is allowed
// now, and if not, how long to wait.
//
// The rules are pure functions: callers pass the state and the time, and store
// the state that comes back. They keep the state under a lock of their own,
// usually a database row's, so replicas that share the row share the limit. A
// [GCRA] remembers one time and smooths; a [Window] remembers each event and is
// exact. Both return the exact wait with a refusal, so that a client learns when
// to try again.
//
// The clocks of replicas differ and can step back. Neither rule ever allows more
// because now is earlier than it was before.
package limit

import (
	"math"
	"time"
)

// A GCRA allows Burst events immediately and one more per Interval after that.
// It is the generic cell rate algorithm: in any span of time d it allows at
// most Burst + d/Interval events.
//
// Its whole state is the theoretical arrival time (TAT): the time at which all
// events so far would have passed, had each taken its Interval. The zero time
// is the state before the first event. Round the TAT up when storing it with
// less precision than now has.
//
// A Burst or an Interval of zero means no limit.
type GCRA struct {
	Burst    int
	Interval time.Duration
}

// Take asks for one event at now. If wait is zero, the event is allowed, and
// the caller must store next before the event happens. Otherwise the state
// stays the same, and the next event is allowed after exactly wait, unless
// another one comes first.
func (g GCRA) Take(tat, now time.Time) (next time.Time, wait time.Duration) {
	if g.none() {
		return tat, 0
	}
	if ahead, slack := tat.Sub(now), g.slack(); ahead > slack {
		return tat, ahead - slack
	}
	// Start from the later of both times. Unused time can't be saved up, and a
	// clock that stepped back can't remove a booked event.
	if now.After(tat) {
		tat = now
	}
	return tat.Add(g.Interval), 0
}

// Idle reports whether the caller may forget tat, because from now on it has
// the same effect as the zero time.
func (g GCRA) Idle(tat, now time.Time) bool {
	return g.none() || !tat.After(now)
}

func (g GCRA) none() bool { return g.Burst <= 0 || g.Interval <= 0 }

// slack returns how far the TAT may be ahead of now while one more event is
// allowed. It is capped at 292 years, so that huge settings don't overflow.
func (g GCRA) slack() time.Duration {
	more := time.Duration(g.Burst - 1)
	if more > math.MaxInt64/g.Interval {
		return math.MaxInt64
	}
	return more * g.Interval
}
