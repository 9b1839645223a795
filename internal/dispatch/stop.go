package dispatch

import (
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/verify"
)

// drainedLook is how long a message waits before somebody looks again whether its drained carriers take messages.
const drainedLook = 10 * time.Second

// policyLife is how old what operators have changed may be when a message is sent. It holds within a second on all servers, also on
// one that stood still meanwhile.
const policyLife = time.Second

// Looked says when somebody began to look at what operators have changed, once that was set.
func (d *Dispatcher) Looked(at time.Time) { d.looked.Store(&at) }

// awaitPolicy waits until what operators have changed is known as it was a moment ago, or at least as it was when the wait began: a
// database that is slow delays messages, and stops none. life is how old it may be. It reports false when we shut down meanwhile.
func (d *Dispatcher) awaitPolicy(life time.Duration) bool {
	began := time.Now()
	for !d.knowsPolicy(life) && d.looked.Load().Before(began) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-d.calls.Done():
			return false
		}
	}
	return true
}

// knowsPolicy reports whether what operators have changed is known as it was so long ago.
func (d *Dispatcher) knowsPolicy(life time.Duration) bool {
	at := d.looked.Load()
	return at == nil || time.Since(*at) <= life
}

// SetStops says what operators have stopped, in place of what was said before. What a carrier has already isn't called back;
// what waits for it goes to others.
func (d *Dispatcher) SetStops(all []verify.Stop) {
	countries, watched, carriers := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range all {
		switch s.Kind {
		case verify.StopCountry:
			countries[s.Name] = true
		case verify.Watch:
			watched[s.Name] = true
		case verify.StopCarrier:
			carriers[s.Name] = true
		}
	}
	d.stops.Store(&countries)
	d.watched.Store(&watched)
	for name, l := range d.lines {
		l.drained.Store(carriers[name])
	}
}

// SetLimits says what a message to a country may be at most, in place of what was said before.
func (d *Dispatcher) SetLimits(all []verify.CountryLimit) {
	var dearest map[verify.ProjectID]money.Amount
	for _, l := range all {
		if l.MaxPrice == verify.NoCap {
			continue
		}
		if dearest == nil {
			dearest = map[verify.ProjectID]money.Amount{}
		}
		dearest[l.Key()] = l.MaxPrice
	}
	d.dearest.Store(&dearest)
}

// limitsPrices reports whether a message to some country may come to so much and no more.
func (d *Dispatcher) limitsPrices() bool {
	all := d.dearest.Load()
	return all != nil && *all != nil
}

// tooDear reports whether a message of so many units on a way comes to more than its country's limits allow: to the carrier,
// or to the project.
func (d *Dispatcher) tooDear(w way, m passenger, units int) bool {
	if !d.limitsPrices() || w.channel.ToDevices() {
		return false
	}
	all := d.dearest.Load()
	for _, key := range []verify.ProjectID{verify.CountryKey("", m.country), verify.CountryKey(m.project, m.country)} {
		most, bound := (*all)[key]
		if !bound {
			continue
		}
		now := d.config.Now()
		if max(w.each(m.country, w.channel, now), d.eachPrice(w.line, m.country, w.channel, now)).Times(units) > most {
			return true
		}
	}
	return false
}

// dearNext reports whether v's next message would be too dear on a way. All codes of a length take the same room.
func (d *Dispatcher) dearNext(w way, v *verify.Verification) bool {
	if !d.limitsPrices() {
		return false
	}
	units := Units(w.channel, v.Message(w.channel, verify.Secret(strings.Repeat("0", v.Length))).Body)
	return d.tooDear(w, passenger{project: v.Project, country: v.Reach().Region()}, units)
}

// Rules are the rules with the configuration's weights. Callers must not modify them.
func (d *Dispatcher) Rules() []route.Rule { return d.rules }

// SetWeights says which weights carriers have in place of the configuration's, in place of what was said before. It isn't
// called concurrently.
func (d *Dispatcher) SetWeights(all []verify.Weight) {
	if slices.Equal(all, d.weights) {
		return
	}
	d.weights = all
	d.table.Store(route.New(route.Weigh(d.rules, all)))
}

// noteWatched counts and logs an attempt to a country that operators watch, if its message may have gone out.
func (d *Dispatcher) noteWatched(end *verify.Delivery, country string) {
	all := d.watched.Load()
	if all == nil || !(*all)[country] || end.Outcome != verify.AttemptAccepted && end.Outcome != verify.AttemptUnknown {
		return
	}
	d.config.Log.Info("message to a country that is watched", "country", country, "verification", end.Verification, "attempt", end.Attempt, "carrier", end.Carrier)
	if d.config.Observer != nil {
		d.config.Observer.Watched(country)
	}
}

// stopped reports whether no message may go to a country.
func (d *Dispatcher) stopped(country string) bool {
	countries := d.stops.Load()
	return countries != nil && (*countries)[country]
}
