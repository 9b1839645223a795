// Package route decides by which carriers a message goes, and in which order. It is a pure function
// of the rules and of what stands outside on the message, so the order is the same when somebody else
// takes the message over after a crash.
package route

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// A Rule says which carriers take the messages that it matches. What it leaves empty, any message has.
type Rule struct {
	Channels     []verify.Channel
	Countries    []string // see [phone.Number.Region]
	Prefixes     []string // of the number, with the plus
	Projects     []verify.ProjectID
	Applications []verify.ID

	Carriers []Choice // the preferred one first
}

// A Choice is a carrier of a rule. Those with a weight change places among themselves, from message
// to message: each comes first as often as its weight says.
type Choice struct {
	Carrier string
	Weight  int // 0: it keeps its place
}

// Matches reports whether the rule is for a message.
func (r *Rule) Matches(e *verify.Envelope) bool {
	return has(r.Channels, e.Channel) && has(r.Projects, e.Project) && has(r.Applications, e.Application) &&
		(len(r.Countries) == 0 || slices.Contains(r.Countries, e.To.Region())) &&
		(len(r.Prefixes) == 0 || slices.ContainsFunc(r.Prefixes, func(p string) bool { return strings.HasPrefix(string(e.To), p) }))
}

func has[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

// A Table is a list of rules. The first one that matches a message decides, also if none of its
// carriers can take it.
type Table struct {
	rules  []Rule
	orders [][]string // of the rules without weights
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

// Route returns the carriers for a message, the preferred one first, and the number of the rule that
// says so. Without one there are no carriers, and the number is -1. The list must not be changed.
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

func names(all []Choice) []string {
	list := make([]string, len(all))
	for i, c := range all {
		list[i] = c.Carrier
	}
	return list
}

// draw puts the choices with a weight into an order that a hash of the verification's id draws, in
// the places that they have among the others. Each gets a number from an exponential distribution of
// its weight's rate, and the smallest comes first: so a carrier that is taken off the list changes no
// message of the others.
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

// Sticky chooses from a pool for a number, always the same. When the pool changes, only those numbers
// change whose choice it was, or whose it becomes.
func Sticky(pool []string, to phone.Number) (chosen string) {
	var highest uint64
	for _, s := range pool {
		if h := hash(string(to), s); chosen == "" || h > highest {
			chosen, highest = s, h
		}
	}
	return chosen
}

// hash is FNV-1a of two texts, mixed once more so that all of its bits depend on all of theirs.
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
