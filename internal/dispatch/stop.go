package dispatch

import (
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// drainedLook is how long a message waits before somebody looks again whether its drained carriers take messages.
const drainedLook = 10 * time.Second

// stops are what operators have stopped.
type stops map[verify.Stop]bool // of kind and name only

// SetStops says what operators have stopped, in place of what was said before. What a carrier has already isn't called back;
// what waits for it goes to others.
func (d *Dispatcher) SetStops(all []verify.Stop) {
	set := stops{}
	for _, s := range all {
		set[verify.Stop{Kind: s.Kind, Name: s.Name}] = true
	}
	d.stops.Store(&set)
	for name, l := range d.lines {
		l.drained.Store(set[verify.Stop{Kind: verify.StopCarrier, Name: name}])
	}
}

// stopped reports whether no message may go to a country.
func (d *Dispatcher) stopped(country string) bool {
	set := d.stops.Load()
	return set != nil && (*set)[verify.Stop{Kind: verify.StopCountry, Name: country}]
}
