package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/sms"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// checkRoute checks a route, whose carriers must be there, and able to take all that it matches.
func (c *loadedConfig) checkRoute(p *yamlconf.Problems, key string, r *RouteConfig, carriers map[string]bool) {
	each := func(field string, list []string, ok func(string) bool, message string) {
		for i, s := range list {
			p.Check(fmt.Sprintf("%s.%s[%d]", key, field, i), ok(s), "%s", message)
		}
	}
	each("channels", r.Channels, func(s string) bool { return s == string(verify.SMS) || s == string(verify.Voice) }, "must be sms or voice")
	each("countries", r.Countries, phone.IsRegion, "must be a country in two letters, such as US")
	each("prefixes", r.Prefixes, func(s string) bool {
		digits, plus := strings.CutPrefix(s, "+")
		return plus && digits != "" && strings.Trim(digits, "0123456789") == ""
	}, "must be a plus and digits")
	each("projects", r.Projects, func(s string) bool { return verify.ProjectID(s).Valid() }, "must be a project's id")
	each("applications", r.Applications, func(s string) bool { _, err := parseApplication(s); return err == nil }, "must be an application's id")
	seen := map[string]bool{}
	channels := r.Channels
	if len(channels) == 0 {
		channels = []string{string(verify.SMS), string(verify.Voice)}
	}
	for i, choice := range r.Carriers {
		at := fmt.Sprintf("%s.carriers[%d]", key, i)
		p.Check(at+".name", carriers[choice.Name], "there is no carrier %q", choice.Name)
		p.Check(at+".name", !seen[choice.Name], "stands in this route twice")
		seen[choice.Name] = true
		p.Check(at+".weight", choice.Weight >= 0 && choice.Weight <= 1000, "must be 0 to 1000")
		for _, channel := range channels {
			p.Check(at+".name", c.serves(choice.Name, channel), "%q isn't for %s: a route has a list of channels; SMPP is for sms, SIP for voice, and a provider's preset or api says its own", choice.Name, channel)
		}
	}
}

// parseApplication reads an application's id, as we write it or as Syniverse's API does.
func parseApplication(s string) (verify.ID, error) {
	if id, ok := verify.ParseBase62(s); ok {
		return id, nil
	}
	return verify.ParseID(s)
}

// maxCost bounds what a message costs, in whatever currency; also against infinity.
const maxCost = 1_000_000

// checkUse checks how a carrier is used, of whatever kind it is.
func checkUse(p *yamlconf.Problems, key string, cc *CarrierConfig) {
	// Below, a message's turn comes after its lease.
	p.Check(key+".rate", cc.Rate == 0 || cc.Rate >= 0.1 && cc.Rate <= 10000, "must be 0.1 to 10000 in a second, or 0 for no limit")
	if cc.ReceiptTimeout != 0 {
		checkDuration(p, key+".receipt_timeout", cc.ReceiptTimeout, time.Second, time.Hour)
	}
	country := func(at, s string, seen map[string]bool) {
		p.Check(at+".country", s == "" || phone.IsRegion(s), "must be a country in two letters, such as US")
		p.Check(at+".country", !seen[s], "stands here twice")
		seen[s] = true
	}
	seen := map[string]bool{}
	for i, c := range cc.Costs {
		at := fmt.Sprintf("%s.costs[%d]", key, i)
		country(at, c.Country, seen)
		p.Check(at+".cost", c.Cost >= 0 && c.Cost <= maxCost, "must be between 0 and %d", maxCost)
	}
	clear(seen)
	for i, pool := range cc.Senders {
		at := fmt.Sprintf("%s.senders[%d]", key, i)
		country(at, pool.Country, seen)
		p.Check(at+".from", len(pool.From) > 0, "must name one at least")
		for j, from := range pool.From {
			checkSender(p, fmt.Sprintf("%s.from[%d]", at, j), from)
		}
	}
}

// rules are the routes, which were checked.
func (c *Config) rules() []route.Rule {
	var all []route.Rule
	for _, r := range c.Routes {
		rule := route.Rule{Countries: r.Countries, Prefixes: r.Prefixes}
		for _, s := range r.Channels {
			rule.Channels = append(rule.Channels, verify.Channel(s))
		}
		for _, s := range r.Projects {
			rule.Projects = append(rule.Projects, verify.ProjectID(s))
		}
		for _, s := range r.Applications {
			id, _ := parseApplication(s)
			rule.Applications = append(rule.Applications, id)
		}
		for _, choice := range r.Carriers {
			rule.Carriers = append(rule.Carriers, route.Choice{Carrier: choice.Name, Weight: choice.Weight})
		}
		all = append(all, rule)
	}
	return all
}

// routes are the carriers of what no rule matches.
func (c *ChannelsConfig) routes() map[verify.Channel][]string {
	return map[verify.Channel][]string{verify.SMS: c.SMS, verify.Voice: c.Voice}
}

// checkFailover checks by which channels messages go on.
func checkFailover(p *yamlconf.Problems, key string, then []string, other string) {
	for i, s := range then {
		at := fmt.Sprintf("%s[%d]", key, i)
		p.Check(at, s == other, "must be %s: there is no other channel", other)
		p.Check(at, !slices.Contains(then[:i], s), "stands here twice")
	}
}

// channels are those by which messages go on.
func (c *FailoverConfig) channels() map[verify.Channel][]verify.Channel {
	all := map[verify.Channel][]verify.Channel{}
	for from, then := range map[verify.Channel][]string{verify.SMS: c.SMS, verify.Voice: c.Voice} {
		for _, s := range then {
			all[from] = append(all[from], verify.Channel(s))
		}
	}
	return all
}

// line is how a carrier is used.
func (cc *CarrierConfig) line(out carrier.Carrier) dispatch.Line {
	l := dispatch.Line{
		Carrier: out, Queue: cc.queue(), Concurrency: cc.calls(), Rate: cc.Rate, ReceiptTimeout: time.Duration(cc.ReceiptTimeout),
		Costs: map[string]float64{}, Senders: map[string][]string{},
	}
	for _, c := range cc.Costs {
		l.Costs[c.Country] = c.Cost
	}
	for _, pool := range cc.Senders {
		for _, from := range pool.From {
			if n, err := phone.Parse(from); err == nil {
				from = string(n)
			}
			l.Senders[pool.Country] = append(l.Senders[pool.Country], from)
		}
	}
	return l
}

type routeCommand struct {
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
		if e.Application, err = parseApplication(c.Application); err != nil {
			return usageError("--application: must be an application's id")
		}
	}
	conf, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	then := conf.Failover.channels()[e.Channel]
	if c.Then != nil {
		then = nil
		for _, s := range c.Then {
			then = append(then, verify.Channel(s))
		}
	}
	rules := dispatch.Rules(conf.rules(), conf.Channels.routes())
	var tried []attempt
	var nobody []string
	for i, channel := range append([]verify.Channel{e.Channel}, then...) {
		e.Channel = channel
		all, where := attempts(conf, rules, &e, c.Text)
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
	if len(tried) == 0 {
		return fmt.Errorf("%s: starts are answered 503", strings.Join(nobody, ", "))
	}
	for _, text := range nobody {
		fmt.Fprintln(w.stderr, text)
	}
	return printRows(w, c.JSON, tried, func(a attempt) row {
		return row{
			{"CHANNEL", "channel", a.channel}, {"CARRIER", "carrier", a.carrier}, {"SENDER", "sender", a.sender}, {"SEGMENTS", "segments", a.segments},
			{"COST", "cost", a.cost}, {"PER", "per", a.per}, {"WHY", "why", a.why},
		}
	})
}

// An attempt is what a carrier would be tried with.
type attempt struct {
	channel                   verify.Channel
	carrier, sender, per, why string
	segments                  any // of an SMS; nil of a call
	cost                      float64
}

// attempts are those that a message's route would make, and where that stands.
func attempts(conf *loadedConfig, rules []route.Rule, e *verify.Envelope, text string) (all []attempt, where string) {
	i := slices.IndexFunc(rules, func(r route.Rule) bool { return r.Matches(e) })
	where = "channels." + string(e.Channel)
	if i < len(conf.Routes) {
		where = fmt.Sprintf("routes[%d]", i)
	}
	country, message := e.To.Region(), verify.Secret(cmp.Or(text, verify.ApprovedText(e.Channel, "000000").Reveal()))
	for _, choice := range rules[i].Carriers {
		n := slices.IndexFunc(conf.Carriers, func(cc CarrierConfig) bool { return cc.Name == choice.Carrier })
		line := conf.Carriers[n].line(nil)
		a := attempt{
			channel: e.Channel, carrier: choice.Carrier, sender: line.Sender(conf.PublicSender, country, e.To),
			cost: line.Cost(country, e.Channel, message),
			per:  per(e.Channel, conf.ways[n]), why: where + because(&rules[i], e) + turn(&rules[i], choice),
		}
		if e.Channel == verify.SMS {
			a.segments = sms.Segments(message.Reveal())
		}
		all = append(all, a)
	}
	return all, where
}

// per is what a cost is of.
func per(c verify.Channel, w way) string {
	switch {
	case c == verify.SMS:
		return "message"
	case w.sip != nil:
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
