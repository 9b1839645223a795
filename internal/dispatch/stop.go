package dispatch

import (
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// drainedLook is how long a message waits before somebody looks again whether its drained carriers take messages.
const drainedLook = 10 * time.Second

// SetStops says what operators have stopped, in place of what was said before. What a carrier has already isn't called back;
// what waits for it goes to others.
func (d *Dispatcher) SetStops(all []verify.Stop) {
	countries, carriers := map[string]bool{}, map[string]bool{}
	for _, s := range all {
		switch s.Kind {
		case verify.StopCountry:
			countries[s.Name] = true
		case verify.StopCarrier:
			carriers[s.Name] = true
		}
	}
	d.stops.Store(&countries)
	for name, l := range d.lines {
		l.drained.Store(carriers[name])
	}
}

// stopped reports whether no message may go to a country.
func (d *Dispatcher) stopped(country string) bool {
	countries := d.stops.Load()
	return countries != nil && (*countries)[country]
}
