package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/sms"
	"github.com/countersign/countersign/internal/verify"
)

type routeCommand struct {
	Weight  routeWeight  `cmd:"" help:"Change how often the carriers of a route come first, while servers run."`
	Explain routeExplain `cmd:"" help:"Print which carriers a message to a number would be tried on, in which order, and why."`
}

type routeExplain struct {
	configFile
	Number      string   `arg:"" help:"Number, E.164."`
	Channel     string   `default:"sms" enum:"sms,voice" help:"sms or voice (default ${default})." placeholder:"CHANNEL"`
	Project     string   `help:"Project id (default: none that a route names)." placeholder:"ID"`
	Application string   `help:"Application id (default: none that a route names)." placeholder:"ID"`
	Then        []string `enum:"sms,voice" help:"Channels by which it may go on, as an application's methods (default: as failover says)." placeholder:"CHANNEL"`
	Text        string   `help:"Text with its code (default: the default text)." placeholder:"TEXT"`
	Shard       string   `help:"Which of database.shards has the project: what operators have changed there holds." placeholder:"NAME"`
	output
}

// Run implements the command.
func (c *routeExplain) Run(w world) error {
	to, err := phone.Parse(c.Number)
	if err != nil {
		return usageError(fmt.Sprintf("number: %v", err))
	}
	e := verify.Envelope{Channel: verify.Channel(c.Channel), Project: verify.ProjectID(c.Project), To: to}
	if c.Application != "" {
		if e.Application, err = verify.ParseAnyID(c.Application); err != nil {
			return usageError("--application: must be an application's id")
		}
	}
	conf, err := loadConfig(c.path())
	if err != nil {
		return err
	}
	then := conf.After()[e.Channel]
	if c.Then != nil {
		then = nil
		for _, s := range c.Then {
			then = append(then, verify.Channel(s))
		}
	}
	live, err := readPolicy(w.ctx, c.path(), c.Shard)
	if none := noDatabase(""); err != nil && !errors.As(err, &none) {
		fmt.Fprintln(w.stderr, "what was changed while servers run isn't known:", err)
	}
	if refused := live.refusals(&e); refused != nil {
		return fmt.Errorf("starts are refused: %s", strings.Join(refused, "; "))
	}
	if s := live.stopped(verify.Watch, to.Region()); s != nil {
		fmt.Fprintf(w.stderr, "%s is watched %s\n", s.Name, since(s.At, s.Actor, s.Note))
	}
	rules := route.Weigh(dispatch.Rules(conf.Rules(), conf.Fallback()), live.weights)
	var tried []attempt
	var nobody []string
	for i, channel := range append([]verify.Channel{e.Channel}, then...) {
		e.Channel = channel
		all, where := attempts(conf, rules, &live, &e, c.Text)
		if len(all) == 0 {
			nobody = append(nobody, fmt.Sprintf("%s to %s: %s has no carriers", channel, to.Region(), where))
		}
		for _, a := range all {
			if i > 0 {
				a.why = "then " + a.why
			}
			tried = append(tried, a)
		}
	}
	if len(tried) > 0 && !slices.ContainsFunc(tried, func(a attempt) bool { return a.against == "" }) {
		return fmt.Errorf("starts are refused: no carrier takes the message: %s: %s", tried[0].carrier, tried[0].against)
	}
	if len(tried) == 0 {
		return fmt.Errorf("%s: starts are refused; give a rule for this number carriers", strings.Join(nobody, ", "))
	}
	for _, a := range tried {
		if a.against != "" {
			nobody = append(nobody, fmt.Sprintf("%s is passed by: %s", a.carrier, a.against))
		}
	}
	tried = slices.DeleteFunc(tried, func(a attempt) bool { return a.against != "" })
	for _, text := range nobody {
		fmt.Fprintln(w.stderr, text)
	}
	return printRows(w, c.JSON, tried, func(a attempt) row {
		return row{
			{"CHANNEL", "channel", a.channel}, {"CARRIER", "carrier", a.carrier}, {"SENDER", "sender", a.sender}, {"SEGMENTS", "segments", a.segments},
			{"COST", "", a.cost}, {"", "cost", json.Number(a.cost.String())}, {"PER", "per", a.per}, {"WHY", "why", a.why},
		}
	})
}

// An attempt is what a carrier would be tried with.
type attempt struct {
	channel                   verify.Channel
	carrier, sender, per, why string
	against                   string // why it isn't called; "": nothing is against it
	segments                  any    // of an SMS; nil of a call
	cost                      money.Amount
}

// attempts are those that a message's route would make, and where that stands.
func attempts(conf *config.Loaded, rules []route.Rule, live *policy, e *verify.Envelope, text string) (all []attempt, where string) {
	i := slices.IndexFunc(rules, func(r route.Rule) bool { return r.Matches(e) })
	where = "channels." + string(e.Channel)
	if i < len(conf.Routes) {
		where = fmt.Sprintf("routes[%d]", i)
	}
	country, message := e.To.Region(), verify.Secret(cmp.Or(text, verify.ApprovedText(e.Channel, "000000").Reveal()))
	for _, choice := range rules[i].Carriers {
		line, minutes := conf.Line(choice.Carrier)
		a := attempt{
			channel: e.Channel, carrier: choice.Carrier, sender: line.Sender(conf.PublicSender, country, e.To),
			cost: line.Cost(country, e.Channel, message, time.Now()),
			per:  per(e.Channel, minutes), why: where + because(&rules[i], e) + turn(&rules[i], choice),
			against: live.against(conf, e, &line, choice.Carrier, message, time.Now()),
		}
		if e.Channel.InSegments() {
			a.segments = sms.Segments(message.Reveal())
		}
		all = append(all, a)
	}
	return all, where
}

// per is what a cost is of.
func per(c verify.Channel, minutes bool) string {
	switch {
	case c.InSegments():
		return "message"
	case minutes:
		return "minute"
	}
	return "call"
}

// because says what of a message a rule was looking for.
func because(r *route.Rule, e *verify.Envelope) string {
	var reasons []string
	if len(r.Channels) > 0 {
		reasons = append(reasons, "channel "+string(e.Channel))
	}
	if len(r.Countries) > 0 {
		reasons = append(reasons, "country "+e.To.Region())
	}
	for _, p := range r.Prefixes {
		if strings.HasPrefix(string(e.To), p) {
			reasons = append(reasons, "prefix "+p)
			break
		}
	}
	if len(r.Projects) > 0 {
		reasons = append(reasons, "project "+string(e.Project))
	}
	if len(r.Applications) > 0 {
		reasons = append(reasons, "application "+e.Application.String())
	}
	if reasons == nil {
		return ": any message"
	}
	return ": " + strings.Join(reasons, ", ")
}

// turn says how often a carrier comes first among those that take turns.
func turn(r *route.Rule, c route.Choice) string {
	if c.Weight == 0 {
		return ""
	}
	sum := 0
	for _, other := range r.Carriers {
		sum += other.Weight
	}
	return fmt.Sprintf("; takes turns, first in %d of %d", c.Weight, sum)
}
