package store

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Reading is what the clocks of a machine show at an instant.
type Reading struct {
	Wall time.Time     // may be wrong, and may step
	Mono time.Duration // since some instant: never steps, but stands still while the machine is suspended
}

var began = time.Now()

// ReadMachine reads this machine's clocks.
func ReadMachine() Reading {
	now := time.Now()
	return Reading{now.Round(0), now.Sub(began)}
}

const (
	// maxSkew is how far a machine's clock may be from the database's while the server takes starts.
	maxSkew = 5 * time.Second
	// maxStep is how much a comparison may differ from what the one before it predicts. Beyond that, one of the
	// clocks has stepped, or the machine was suspended.
	maxStep = time.Second
	// maxGap is how long ago the last comparison may be when the leases of other replicas are judged. They aren't
	// judged either for a time, settling, after a step, a gap or the first comparison. It outlasts a call of a
	// carrier that begins before its replica has noticed the step, and is shorter than a lease.
	maxGap, settling = 10 * time.Second, 15 * time.Second
)

// A clock tells the time that replicas agree on: of leases, hints, ids, limits and the ends of codes. It is
// the database's, which each replica asks every second. In between, the machine's monotonic clock measures how
// much has passed. What the machine's wall clock shows, and whether it steps, decides nothing.
type clock struct {
	fixed   func() time.Time // the time, where there is no other machine to agree with; else nil
	machine func() Reading
	mono    func() time.Duration // of the machine

	mu   sync.Mutex // guards writes of last
	last atomic.Pointer[comparison]
}

// A comparison is what a replica knows of the database's clock. It never changes.
type comparison struct {
	at       Reading
	time     time.Time     // of the database at that instant
	skew     time.Duration // how far the machine's wall clock was ahead
	broke    time.Duration // when the comparisons were last interrupted, by the monotonic clock
	compared bool          // the database was asked
}

// newClock returns a clock that shows the machine's time until it is compared.
func newClock(fixed func() time.Time, machine func() Reading) *clock {
	c := &clock{fixed: fixed, machine: ReadMachine, mono: func() time.Duration { return time.Since(began) }}
	if machine != nil {
		c.machine, c.mono = machine, func() time.Duration { return machine().Mono }
	}
	at := c.machine()
	c.last.Store(&comparison{at: at, time: at.Wall, broke: at.Mono})
	return c
}

// clock returns the clock for a database. SQLite's has no other machine to agree with.
func (o Options) clock() *clock {
	switch {
	case o.Now != nil || o.Postgres != nil:
		return newClock(o.Now, o.Machine)
	case o.Machine != nil:
		return newClock(func() time.Time { return o.Machine().Wall }, o.Machine)
	}
	return newClock(time.Now, nil)
}

// now is the time. It is called several times for each request, so it takes no lock.
func (c *clock) now() time.Time {
	if c.fixed != nil {
		return c.fixed()
	}
	last := c.last.Load()
	return last.time.Add(c.mono() - last.at.Mono)
}

// compare takes the database's answer, and what the machine's clocks showed before and after the question. The
// answer was right at some instant in between, so there is a margin. Within it, nothing moves.
func (c *clock) compare(asked, answered Reading, said time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, margin := c.last.Load(), (answered.Mono-asked.Mono)/2
	at := Reading{asked.Wall.Add(margin), asked.Mono + margin}
	stepped := (answered.Wall.Sub(asked.Wall) - (answered.Mono - asked.Mono)).Abs() > maxStep
	if c.fixed != nil || last.compared && (margin > maxStep || at.Mono < last.at.Mono || stepped) {
		return // of no use, too vague, overtaken, or of a clock that stepped meanwhile
	}
	next := &comparison{at: at, time: said, skew: at.Wall.Sub(said), broke: last.broke, compared: true}
	if last.compared {
		predicted := last.time.Add(at.Mono - last.at.Mono)
		off := said.Sub(predicted).Abs()
		if off > maxStep+margin || at.Mono-last.at.Mono > maxGap {
			next.broke = at.Mono
		}
		if off <= margin {
			next.time = predicted
		}
	}
	c.last.Store(next)
}

// doubtful reports whether the machine's two clocks have parted since the last comparison. Either the wall
// clock stepped, or the machine was suspended and now is behind.
func (c *clock) doubtful() bool {
	if c.fixed != nil {
		return false
	}
	at, last := c.machine(), c.last.Load()
	return (at.Wall.Sub(last.at.Wall) - (at.Mono - last.at.Mono)).Abs() > maxStep
}

// judges reports whether the leases of other replicas can be judged. A database that was away has kept the
// others from renewing, and a clock that stepped makes leases look ended that hold.
func (c *clock) judges() bool {
	if c.fixed != nil {
		return true
	}
	mono, last := c.mono(), c.last.Load()
	return last.compared && mono-last.at.Mono <= maxGap && mono-last.broke >= settling
}

// wrong reports whether the machine's wall clock is too far from the database's.
func (c *clock) wrong() bool { return c.skew().Abs() > maxSkew }

// skew is how far the machine's wall clock was ahead of the database's when they were last compared.
func (c *clock) skew() time.Duration { return c.last.Load().skew }

// Now is the time by which everything is decided: with PostgreSQL the database's, with SQLite the machine's.
func (s *Store) Now() time.Time { return s.clock.now() }

// ClockOffset is how far the machine's clock is ahead of the database's.
func (s *Store) ClockOffset() time.Duration { return s.clock.skew() }

// Clock tells how far the machine's clock is ahead of the database's, and an error if that is too far. Then nothing
// starts; all else goes on by the database's time.
func (s *Store) Clock() (time.Duration, error) {
	skew, direction := s.clock.skew(), "ahead of"
	if skew.Abs() <= maxSkew {
		return skew, nil
	}
	if skew < 0 {
		direction = "behind"
	}
	return skew, fmt.Errorf("this machine's clock is %.1f s %s the database's: synchronize both with NTP; nothing starts until they agree within %v",
		skew.Abs().Seconds(), direction, maxSkew)
}

// JudgesLeases reports whether a lease of another replica that looks ended may be taken over.
func (s *Store) JudgesLeases() bool { return s.clock.judges() }
