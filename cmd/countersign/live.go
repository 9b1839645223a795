package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/verify"
)

// A liveChange is something that an operator has changed while servers run: it holds beside the configuration, or in place of a
// part of it.
type liveChange struct {
	kind, name, value string
	at                time.Time
	actor, note       string
}

func (c liveChange) row() row {
	return row{{"KIND", "kind", c.kind}, {"NAME", "name", c.name}, {"VALUE", "value", c.value}, {"SINCE", "since", c.at}, {"ACTOR", "actor", c.actor}, {"NOTE", "note", c.note}}
}

// liveChanges lists all of them.
func liveChanges(ctx context.Context, a *admin.Service) (all []liveChange, err error) {
	stops, err := a.Stops(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range stops {
		kind := string(s.Kind)
		if s.Kind == verify.Watch {
			kind = string(verify.StopCountry)
		}
		all = append(all, liveChange{kind, s.Name, s.Kind.State(), s.At, s.Actor, s.Note})
	}
	limits, err := a.CountryLimits(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range limits {
		name := l.Country
		if l.Project != "" {
			name += " of " + string(l.Project)
		}
		all = append(all, liveChange{"limit", name, limitText(l), l.At, l.Actor, l.Note})
	}
	weights, err := a.Weights(ctx)
	for _, w := range weights {
		all = append(all, liveChange{"weight", weightName(w.Route, w.Carrier), strconv.Itoa(w.Weight), w.At, w.Actor, w.Note})
	}
	return all, err
}

// limitText says what a limit bounds, in the words of its flags.
func limitText(l verify.CountryLimit) string {
	var all []string
	if l.MaxPrice != verify.NoCap {
		all = append(all, "max-price "+l.MaxPrice.String())
	}
	if l.HourMessages != verify.NoCap {
		all = append(all, fmt.Sprintf("hour-messages %d", l.HourMessages))
	}
	if l.DayMessages != verify.NoCap {
		all = append(all, fmt.Sprintf("day-messages %d", l.DayMessages))
	}
	return strings.Join(all, ", ")
}

type routeWeight struct {
	database
	Route   string   `arg:"" help:"Route: its place in the configuration, from 0 on, as route explain prints it."`
	Weights []string `arg:"" optional:"" help:"Carrier and its weight, 0 to 1000; 0 leaves it its place." placeholder:"CARRIER=WEIGHT"`
	Reset   bool     `help:"Have the configuration's weights hold again."`
	Note    string   `help:"Why: the list and the audit log say it. At most 200 printable characters." placeholder:"TEXT"`
}

// Help explains more than a line can.
func (routeWeight) Help() string {
	return `Changes how often the carriers of a route come first, on all servers within a second and without a restart. It holds in place
of the configuration's weights until --reset. The change belongs to the route's conditions, wherever that stands in the
file; a route with other conditions is another one.

  countersign route weight 0 gateway=9 other=1 --note 'other is slow'
  countersign route weight 0 --reset`
}

func (c *routeWeight) Run(w world) error {
	if !c.byConfig() {
		return usageError("--config: name the configuration, whose routes these are")
	}
	conf, err := loadConfig(c.resolve().Config)
	if err != nil {
		return err
	}
	rules := conf.Rules()
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(c.Route, "routes["), "]"))
	if err != nil || n < 0 || n >= len(rules) {
		return usageError(fmt.Sprintf("there is no route %q: the configuration has %d, from 0 on", c.Route, len(rules)))
	}
	rule := &rules[n]
	if c.Reset {
		if len(c.Weights) > 0 {
			return usageError("--reset: takes no weights")
		}
		if err := c.everywhere(w.ctx, func(a *admin.Service) error { return a.ResetWeights(w.ctx, actor(), rule.Name()) }); err != nil {
			return fmt.Errorf("routes[%d]: %w", n, err)
		}
		return printDone(w, c.JSON, row{{"", "route", rule.Name()}, {"", "reset", true}}, "routes[%d] has the configuration's weights again.", n)
	}
	weights, err := carrierWeights(rule, c.Weights)
	if err != nil {
		return err
	}
	if err := c.everywhere(w.ctx, func(a *admin.Service) error { return a.SetWeights(w.ctx, actor(), rule.Name(), weights, c.Note) }); err != nil {
		return inFlags(err)
	}
	return printDone(w, c.JSON, row{{"", "route", rule.Name()}, {"", "weights", weights}}, "routes[%d] (%s): %s", n, rule.Name(), strings.Join(c.Weights, " "))
}

// carrierWeights reads weights for carriers of a rule.
func carrierWeights(rule *route.Rule, given []string) (map[string]int, error) {
	if len(given) == 0 {
		return nil, usageError("name a carrier and its weight, such as gateway=3")
	}
	weights := map[string]int{}
	for _, s := range given {
		carrier, text, _ := strings.Cut(s, "=")
		weight, err := strconv.Atoi(text)
		if err != nil {
			return nil, usageError(fmt.Sprintf("%q: must be a carrier and its weight, such as gateway=3", s))
		}
		if !slices.ContainsFunc(rule.Carriers, func(c route.Choice) bool { return c.Carrier == carrier }) {
			return nil, usageError(fmt.Sprintf("%q: the route has no carrier %q", s, carrier))
		}
		weights[carrier] = weight
	}
	return weights, nil
}

// A policy is what holds for messages beside the configuration, as a server would read it now.
type policy struct {
	stops   []verify.Stop
	limits  []verify.CountryLimit
	used    map[verify.ProjectID]verify.Spent // of the limits that count messages, by key
	weights []verify.Weight
}

// readPolicy reads it from the database that the configuration names, if there is one.
func readPolicy(ctx context.Context, path, shard string) (p policy, err error) {
	err = database{Config: path, Shard: shard}.administer(ctx, func(a *admin.Service) error {
		if p.stops, err = a.Stops(ctx); err != nil {
			return err
		}
		if p.limits, err = a.CountryLimits(ctx); err != nil {
			return err
		}
		p.used = map[verify.ProjectID]verify.Spent{}
		for _, l := range p.limits {
			if !l.Counts() {
				continue
			}
			if p.used[l.Key()], err = a.CountryUse(ctx, l); err != nil {
				return err
			}
		}
		p.weights, err = a.Weights(ctx)
		return err
	})
	return p, err
}

// stopped is what an operator has stopped under a name, or nil.
func (p *policy) stopped(kind verify.StopKind, name string) *verify.Stop {
	i := slices.IndexFunc(p.stops, func(s verify.Stop) bool { return s.Kind == kind && s.Name == name })
	if i < 0 {
		return nil
	}
	return &p.stops[i]
}

// since says who changed something and when.
func since(at time.Time, actor, note string) string {
	text := fmt.Sprintf("since %s by %s", at.UTC().Format(time.RFC3339), actor)
	if note != "" {
		text += ": " + note
	}
	return text
}

// refusals say why starts to a number are refused now, whatever carrier there is.
func (p *policy) refusals(e *verify.Envelope) (all []string) {
	country := e.To.Region()
	if s := p.stopped(verify.StopCountry, country); s != nil {
		all = append(all, fmt.Sprintf("country_stopped: %s is stopped %s", country, since(s.At, s.Actor, s.Note)))
	}
	for _, l := range p.limitsOf(e.Project, country) {
		used := p.used[l.Key()]
		for _, most := range []struct {
			name      string
			used, cap int
		}{{"hour", used.Hour.Messages, l.HourMessages}, {"day", used.Day.Messages, l.DayMessages}} {
			if most.cap != verify.NoCap && most.used >= most.cap {
				all = append(all, fmt.Sprintf("country_message_limit: %d of %d messages of this %s have gone to %s; the limit holds %s", most.used, most.cap, most.name, country, since(l.At, l.Actor, l.Note)))
			}
		}
	}
	return all
}

// limitsOf are the limits for a project's messages to a country.
func (p *policy) limitsOf(project verify.ProjectID, country string) (all []verify.CountryLimit) {
	for _, l := range p.limits {
		if l.Country == country && (l.Project == "" || l.Project == project) {
			all = append(all, l)
		}
	}
	return all
}

// against says why a carrier is passed by, "" if it isn't.
func (p *policy) against(conf *config.Loaded, e *verify.Envelope, line *dispatch.Line, carrier string, text verify.Secret, now time.Time) string {
	if s := p.stopped(verify.StopCarrier, carrier); s != nil {
		return "drained " + since(s.At, s.Actor, s.Note)
	}
	for _, l := range p.limitsOf(e.Project, e.To.Region()) {
		comes := max(line.Cost(e.To.Region(), e.Channel, text, now), conf.MessagePrice(e.Channel, e.To.Region(), carrier, text, now))
		if l.MaxPrice != verify.NoCap && comes > l.MaxPrice {
			return fmt.Sprintf("country_price_limit: %v is more than %v, %s", comes, l.MaxPrice, since(l.At, l.Actor, l.Note))
		}
	}
	return ""
}

// orphans are the weights whose route or carrier the configuration doesn't have: they change nothing.
func orphans(rules []route.Rule, all []liveChange) (gone []string) {
	there := map[string]bool{}
	for i := range rules {
		for _, c := range rules[i].Carriers {
			there[weightName(rules[i].Name(), c.Carrier)] = true
		}
	}
	for _, c := range all {
		if c.kind == "weight" && !there[c.name] {
			gone = append(gone, c.name)
		}
	}
	return gone
}

func weightName(route, carrier string) string { return route + ": " + carrier }
