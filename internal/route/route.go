// Package route chooses the carriers for a message and their order. The choice is a pure function of
// the rules and the message's envelope. Another replica that takes the message over after a crash
// therefore finds the same order.
package route

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// A Rule lists the carriers for the messages that it matches. An empty condition matches every
// message, but a push: a rule for pushes names the channel.
type Rule struct {
	Channels     []verify.Channel
	Countries    []string // see [phone.Number.Region]
	Prefixes     []string // of the number, with the plus
	Projects     []verify.ProjectID
	Applications []verify.ID

	Carriers []Choice // the preferred one first
}

// A Choice is a carrier of a rule. Carriers with a weight change places among themselves from
// message to message. Each comes first as often as its share of the weights.
type Choice struct {
	Carrier string
	Weight  int // 0: the carrier keeps its place
}

// Matches reports whether the rule applies to a message.
func (r *Rule) Matches(e *verify.Envelope) bool {
	return r.matchesBesides(e) &&
		(len(r.Countries) == 0 || slices.Contains(r.Countries, e.To.Region())) &&
		(len(r.Prefixes) == 0 || slices.ContainsFunc(r.Prefixes, func(p string) bool { return strings.HasPrefix(string(e.To), p) }))
}

// matchesBesides reports whether the rule would apply to a message if its number were another.
func (r *Rule) matchesBesides(e *verify.Envelope) bool {
	if e.Channel.ToDevices() && len(r.Channels) == 0 { // only a carrier of pushes takes one
		return false
	}
	return has(r.Channels, e.Channel) && has(r.Projects, e.Project) && has(r.Applications, e.Application)
}

func has[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

// Name names the rule by its conditions, so that it keeps its name when other rules come and go.
func (r *Rule) Name() string {
	var all []string
	add := func(name string, values []string) {
		if len(values) > 0 {
			all = append(all, name+"="+strings.Join(values, ","))
		}
	}
	add("channels", texts(r.Channels))
	add("countries", r.Countries)
	add("prefixes", r.Prefixes)
	add("projects", texts(r.Projects))
	var applications []string
	for _, id := range r.Applications {
		applications = append(applications, id.String())
	}
	add("applications", applications)
	return cmp.Or(strings.Join(all, " "), "any")
}

func texts[T ~string](all []T) []string {
	list := make([]string, len(all))
	for i, s := range all {
		list[i] = string(s)
	}
	return list
}

// Weigh returns the rules with other weights in place of some of theirs. A weight for a rule or a carrier that isn't there
// changes nothing.
func Weigh(rules []Rule, weights []verify.Weight) []Rule {
	all := slices.Clone(rules)
	for i := range all {
		name := all[i].Name()
		for _, w := range weights {
			at := slices.IndexFunc(all[i].Carriers, func(c Choice) bool { return c.Carrier == w.Carrier })
			if w.Route != name || at < 0 {
				continue
			}
			all[i].Carriers = slices.Clone(all[i].Carriers)
			all[i].Carriers[at].Weight = w.Weight
		}
	}
	return all
}

// A Table is a list of rules. The first rule that matches a message applies, even if none of
// its carriers can take the message.
type Table struct {
	rules  []Rule
	orders [][]string // of the rules without weights; nil for the others
}

// New returns a table of rules.
func New(rules []Rule) *Table {
	t := &Table{rules: rules, orders: make([][]string, len(rules))}
	for i := range rules {
		if !slices.ContainsFunc(rules[i].Carriers, func(c Choice) bool { return c.Weight > 0 }) {
			t.orders[i] = names(rules[i].Carriers)
		}
	}
	return t
}

// Route returns the carriers for a message, the preferred one first, and the index of the rule that
// matched. If no rule matches, there are no carriers, and the index is -1. Callers must not modify
// the list.
func (t *Table) Route(e *verify.Envelope) (carriers []string, rule int) {
	for i := range t.rules {
		switch {
		case !t.rules[i].Matches(e):
		case t.orders[i] != nil:
			return t.orders[i], i
		default:
			return names(draw(t.rules[i].Carriers, e.Verification)), i
		}
	}
	return nil, -1
}

// ServesOthers reports whether the table has carriers for the message if its number were another.
func (t *Table) ServesOthers(e *verify.Envelope) bool {
	for i := range t.rules {
		r := &t.rules[i]
		switch {
		case !r.matchesBesides(e):
		case len(r.Carriers) > 0:
			return true
		case len(r.Countries)+len(r.Prefixes) == 0: // it applies to all that are left
			return false
		}
	}
	return false
}

func names(all []Choice) []string {
	list := make([]string, len(all))
	for i, c := range all {
		list[i] = c.Carrier
	}
	return list
}

// draw reorders the choices with a weight; the others keep their places. The order depends only on a
// hash of the verification's id. Each weighted choice gets a number from an exponential distribution
// with its weight as the rate, and the smallest number comes first. Removing a carrier from the list
// therefore doesn't change the order of the others for any message.
func draw(all []Choice, id verify.ID) []Choice {
	type drawn struct {
		Choice
		at float64
	}
	var lots []drawn
	for _, c := range all {
		if c.Weight > 0 {
			u := (float64(hash(string(id[:]), c.Carrier)>>11) + 0.5) / (1 << 53)
			lots = append(lots, drawn{c, -math.Log(u) / float64(c.Weight)})
		}
	}
	slices.SortStableFunc(lots, func(a, b drawn) int { return cmp.Compare(a.at, b.at) })
	order := slices.Clone(all)
	for i := range order {
		if order[i].Weight > 0 {
			order[i], lots = lots[0].Choice, lots[1:]
		}
	}
	return order
}

// Sticky chooses one entry of a pool for a number, always the same one. When an entry is added or
// removed, only the numbers that move to it or away from it change.
func Sticky(pool []string, to phone.Number) (chosen string) {
	var highest uint64
	for _, s := range pool {
		if h := hash(string(to), s); chosen == "" || h > highest {
			chosen, highest = s, h
		}
	}
	return chosen
}

// hash returns the FNV-1a hash of two texts, mixed once more so that every bit depends on all
// input bits.
func hash(a, b string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{a, "\x00", b} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
