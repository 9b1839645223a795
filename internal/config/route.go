package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// channels are those that a route matches. Only carriers that push serve it, so a route must name it.
func (r *routeConfig) channels() []string {
	if len(r.Channels) == 0 {
		return []string{string(verify.ChannelSMS), string(verify.ChannelVoice)}
	}
	return r.Channels
}

// checkRoute checks a route, whose carriers must be there, and able to take all that it matches.
func (c *Loaded) checkRoute(p *yamlconf.Problems, key string, r *routeConfig, carriers map[string]bool) {
	each := func(field string, list []string, ok func(string) bool, message string) {
		for i, s := range list {
			p.Check(fmt.Sprintf("%s.%s[%d]", key, field, i), ok(s), "%s", message)
		}
	}
	each("channels", r.Channels, func(s string) bool {
		return s == string(verify.ChannelSMS) || s == string(verify.ChannelVoice) || s == string(verify.ChannelPush)
	}, "must be sms, voice or push")
	each("countries", r.Countries, phone.IsRegion, "must be a country in two letters, such as US")
	each("prefixes", r.Prefixes, func(s string) bool {
		digits, plus := strings.CutPrefix(s, "+")
		return plus && digits != "" && strings.Trim(digits, "0123456789") == ""
	}, "must be a plus and digits")
	each("projects", r.Projects, func(s string) bool { return verify.ProjectID(s).Valid() }, "must be a project's id")
	each("applications", r.Applications, func(s string) bool { _, err := verify.ParseAnyID(s); return err == nil }, "must be an application's id")
	seen := map[string]bool{}
	channels := r.channels()
	for i, choice := range r.Carriers {
		at := fmt.Sprintf("%s.carriers[%d]", key, i)
		p.Check(at+".name", carriers[choice.Name], "there is no carrier %q", choice.Name)
		p.Check(at+".name", !seen[choice.Name], "stands in this route twice")
		seen[choice.Name] = true
		p.Check(at+".weight", choice.Weight >= 0 && choice.Weight <= 1000, "must be 0 to 1000")
		for _, channel := range channels {
			p.Check(at+".name", c.serves(choice.Name, channel), "%q isn't for %s: a route has a list of channels; SMPP is for sms, SIP for voice, webpush, fcm and apns for push, and a provider's preset or api says its own", choice.Name, channel)
		}
	}
}

// Rules are the routes, which were checked.
func (c *Loaded) Rules() []route.Rule {
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
			id, _ := verify.ParseAnyID(s)
			rule.Applications = append(rule.Applications, id)
		}
		for _, choice := range r.Carriers {
			rule.Carriers = append(rule.Carriers, route.Choice{Carrier: choice.Name, Weight: choice.Weight})
		}
		all = append(all, rule)
	}
	return all
}

// Fallback are the carriers of what no rule matches, by channel.
func (c *Loaded) Fallback() map[verify.Channel][]string {
	return map[verify.Channel][]string{verify.ChannelSMS: c.Channels.SMS, verify.ChannelVoice: c.Channels.Voice, verify.ChannelPush: c.Channels.Push}
}

// checkFailover checks by which channels messages go on.
func checkFailover(p *yamlconf.Problems, key string, then []string, others ...string) {
	for i, s := range then {
		at := fmt.Sprintf("%s[%d]", key, i)
		p.Check(at, slices.Contains(others, s), "must be %s: there is no other channel", strings.Join(others, " or "))
		p.Check(at, !slices.Contains(then[:i], s), "must not be repeated")
	}
}

// After are the channels by which messages go on.
func (c *Loaded) After() map[verify.Channel][]verify.Channel {
	all := map[verify.Channel][]verify.Channel{}
	for from, then := range map[verify.Channel][]string{verify.ChannelSMS: c.Failover.SMS, verify.ChannelVoice: c.Failover.Voice, verify.ChannelPush: c.Failover.Push} {
		for _, s := range then {
			all[from] = append(all[from], verify.Channel(s))
		}
	}
	return all
}
