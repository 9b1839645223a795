package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	carrierhttp "github.com/countersign/countersign/internal/carrier/http"
	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/carrier/sip"
	"github.com/countersign/countersign/internal/carrier/smpp"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// A way is what a carrier is made from: one of the four.
type way struct {
	http     *carrierhttp.Config
	provider *provider.Config
	smpp     *smpp.Config
	sip      *sip.Config
}

// channel is what a carrier is for; "" is any.
func (w way) channel() verify.Channel {
	switch {
	case w.provider != nil:
		return verify.Channel(cmp.Or(w.provider.Spec.Channel, string(verify.SMS)))
	case w.smpp != nil:
		return verify.SMS
	case w.sip != nil:
		return verify.Voice
	}
	return ""
}

func (c *Loaded) checkCarrier(p *yamlconf.Problems, key string, cc *carrierConfig, names map[string]bool) {
	p.Check(key+".name", cc.Name != "" && len(cc.Name) <= 64 && strings.Trim(cc.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == "", "must be 1 to 64 of a-z 0-9 - _")
	p.Check(key+".name", !names[cc.Name], "is the name of another carrier")
	names[cc.Name] = true
	p.Check(key+".concurrency", cc.Concurrency >= 1 && cc.Concurrency <= 1024, "must be 1 to 1024")
	p.Check(key+".queue", cc.Queue >= 1 && cc.Queue <= 100000, "must be 1 to 100000")
	checkUse(p, key, cc)
	c.ways = append(c.ways, c.checkWay(p, key, cc))
}

// checkWay checks how a carrier's messages leave, which is one of the four.
func (c *Loaded) checkWay(p *yamlconf.Problems, key string, cc *carrierConfig) way {
	only := func(own, where string) {
		for _, other := range []struct {
			key   string
			given bool
		}{{"http.url", cc.HTTP.URL != ""}, {"smpp", cc.SMPP.given()}, {"sip", cc.SIP.given()}} {
			p.Check(key+"."+other.key, other.key == own || !other.given, "must be empty where there is %s: a carrier is one of the two", where)
		}
	}
	if cc.Provider.given() {
		only("", "a provider")
		return way{provider: c.checkProvider(p, key+".provider", cc)}
	}
	o := &cc.Provider
	stray := o.Account + o.User + o.Host + o.Region + o.Profile
	p.Check(key+".provider", stray == "" && !o.Secret.given() && !o.CallbackSecret.given(), "needs a preset or api")
	if cc.SMPP.given() {
		only("smpp", "smpp")
		return way{smpp: c.checkSMPP(p, key, cc)}
	}
	if cc.SIP.given() {
		only("sip", "sip")
		p.Check(key+".receipt_timeout", cc.ReceiptTimeout == 0, "must be 0s with sip: a call tells what became of it when it ends")
		return way{sip: c.checkSIP(p, key+".sip", cc)}
	}
	return way{http: c.checkHTTP(p, key+".http", cc)}
}

// serves reports whether a carrier can be one of a channel's.
func (c *Loaded) serves(name, channel string) bool {
	for i, way := range c.ways {
		if own := way.channel(); c.Carriers[i].Name == name && own != "" {
			return channel == string(own)
		}
	}
	return true
}

// maxCost bounds what a message costs, in whatever currency; also against infinity.
const maxCost = 1_000_000

// checkUse checks how a carrier is used, of whatever kind it is.
func checkUse(p *yamlconf.Problems, key string, cc *carrierConfig) {
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

// Line is how the carrier of a name is used, without the carrier itself, and whether its costs are of a minute.
func (c *Loaded) Line(name string) (l dispatch.Line, minutes bool) {
	i := slices.IndexFunc(c.Carriers, func(cc carrierConfig) bool { return cc.Name == name })
	return c.Carriers[i].line(nil), c.ways[i].sip != nil
}

// line is how a carrier is used.
func (cc *carrierConfig) line(out carrier.Carrier) dispatch.Line {
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

// maxCalls is how many calls of a carrier there may be at once.
const maxCalls = 1024

// calls is how many calls of a carrier are made at once. Of an SMSC's it is as many as there are places
// in its windows: one more would wait for a place on its own time.
func (cc *carrierConfig) calls() int {
	switch {
	case cc.SMPP.given():
		return cc.SMPP.Binds * cc.SMPP.Window
	case cc.SIP.given():
		return cc.SIP.Calls
	}
	return cc.Concurrency
}

// queue is how many messages may be here. Behind calls, which take a minute, none waits: another carrier
// is quicker, and so is somebody who is told to come again.
func (cc *carrierConfig) queue() int {
	if cc.SIP.given() {
		return min(cc.Queue, cc.SIP.Calls)
	}
	return cc.Queue
}
