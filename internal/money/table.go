package money

import (
	"slices"
	"time"
)

// A Rule says what one message, or one verification, costs. What it leaves empty, any message has.
type Rule struct {
	Subject
	From, Until time.Time // it holds from From on and before Until; zero: without a bound
	Each        Amount
}

// A Subject is what the cost of a message depends on.
type Subject struct {
	Channel string
	Country string // two letters of ISO 3166
	Carrier string
}

// Holds reports whether the rule holds at an instant.
func (r *Rule) Holds(at time.Time) bool {
	return !at.Before(r.From) && (r.Until.IsZero() || at.Before(r.Until))
}

// overlaps reports whether there is an instant at which both rules hold.
func (r *Rule) overlaps(o *Rule) bool {
	return (r.Until.IsZero() || o.From.Before(r.Until)) && (o.Until.IsZero() || r.From.Before(o.Until))
}

// A Table finds the rule for a message. If several rules match, the most specific one holds: one that names the
// country, then one that names the carrier, then one that names the channel. An empty Table has no rules.
type Table map[Subject][]Rule

// NewTable makes a table. It returns the indexes of the rules that hold beside an earlier rule for the same
// subject: such a table is ambiguous.
func NewTable(rules []Rule) (t Table, overlaps []int) {
	t = Table{}
	for i, r := range rules {
		if slices.ContainsFunc(t[r.Subject], func(o Rule) bool { return r.overlaps(&o) }) {
			overlaps = append(overlaps, i)
		}
		t[r.Subject] = append(t[r.Subject], r)
	}
	return t, overlaps
}

// Find returns what one message costs at an instant. It reports false if no rule matches.
func (t Table) Find(s Subject, at time.Time) (Amount, bool) {
	if len(t) == 0 {
		return 0, false
	}
	for _, country := range [...]string{s.Country, ""} {
		for _, carrier := range [...]string{s.Carrier, ""} {
			for _, channel := range [...]string{s.Channel, ""} {
				rules := t[Subject{channel, country, carrier}]
				for i := range rules {
					if rules[i].Holds(at) {
						return rules[i].Each, true
					}
				}
			}
		}
	}
	return 0, false
}

// Complete reports whether the table has a rule for each message of a channel, to whatever country, by whatever
// carrier and at whatever time. The rules for the channel alone must say it, or those for any channel alone.
func (t Table) Complete(channel string) bool {
	return gapless(t[Subject{Channel: channel}]) || gapless(t[Subject{}])
}

// gapless reports whether one of the rules holds at any time.
func gapless(rules []Rule) bool {
	if len(rules) == 0 {
		return false
	}
	sorted := slices.SortedFunc(slices.Values(rules), func(a, b Rule) int { return a.From.Compare(b.From) })
	for i := range sorted[1:] {
		if until := sorted[i].Until; !until.IsZero() && until.Before(sorted[i+1].From) {
			return false
		}
	}
	return sorted[0].From.IsZero() && sorted[len(sorted)-1].Until.IsZero()
}

// Prices are what projects are charged.
type Prices struct {
	Currency      Currency // of these, and of what carriers cost
	Verifications Table    // by channel and country
	Messages      Table    // of a segment, a call, or a minute
}
