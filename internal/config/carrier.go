package config

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// A kind is one kind of carrier.
type kind struct {
	name string // as "where there is NAME" has it
	key  string // refused beside another kind, in carriers[]
	// given reports whether a carrier is of this kind.
	given func(*carrierConfig) bool
	// check notes what is wrong with a carrier, whose key is given. It doesn't connect.
	check func(c *Loaded, p *yamlconf.Problems, carrier string, cc *carrierConfig) way
	// calls is how many calls of a carrier are made concurrently; nil: as its concurrency says.
	calls func(*carrierConfig) int
	// minutes says that a call takes minutes, as do its costs. No message waits behind calls: another
	// carrier is quicker, and so is somebody who is told to come again.
	minutes bool
	// pushes says that the carrier pushes to devices. Carriers may be of several kinds that do, so that a message goes to
	// all devices of its user.
	pushes bool
}

// kinds are all kinds of carriers. Of several that are given, the first one is meant and the others are wrong.
var kinds = []*kind{
	{name: "a provider", key: "provider", given: func(cc *carrierConfig) bool { return cc.Provider.given() }, check: (*Loaded).checkProvider},
	{name: "smpp", key: "smpp", given: func(cc *carrierConfig) bool { return cc.SMPP.given() }, check: (*Loaded).checkSMPP, calls: smppCalls},
	{name: "sip", key: "sip", given: func(cc *carrierConfig) bool { return cc.SIP.given() }, check: (*Loaded).checkSIP, calls: sipCalls, minutes: true},
	{name: "webpush", key: "webpush", given: func(cc *carrierConfig) bool { return cc.WebPush.given() }, check: (*Loaded).checkPush, pushes: true},
	{name: "fcm", key: "fcm", given: func(cc *carrierConfig) bool { return slices.ContainsFunc(cc.FCM, fcmConfig.given) }, check: (*Loaded).checkPush, pushes: true},
	{name: "apns", key: "apns", given: func(cc *carrierConfig) bool { return slices.ContainsFunc(cc.APNS, apnsConfig.given) }, check: (*Loaded).checkPush, pushes: true},
	postsJSON,
}

// postsJSON is the kind of a carrier of which no kind is given.
var postsJSON = &kind{name: "http", key: "http.url", given: func(cc *carrierConfig) bool { return cc.HTTP.URL != "" }, check: (*Loaded).checkHTTP}

// A way is what a carrier is made from. It was checked.
type way interface {
	// channel is what the carrier is for; "" is any.
	channel() verify.Channel
	// open makes the carrier. What it can do beside sending is noted in made.
	open(log *outage.Log, made *Carriers) (carrier.Carrier, error)
	// try tries whether it can be reached, without a message. at is the carrier's key.
	try(ctx context.Context, at string) Finding
}

// kind is what a carrier is.
func (cc *carrierConfig) kind() *kind {
	for _, k := range kinds {
		if k.given(cc) {
			return k
		}
	}
	return postsJSON
}

func (c *Loaded) checkCarrier(p *yamlconf.Problems, key string, cc *carrierConfig, names map[string]bool) {
	p.Check(key+".name", cc.Name != "" && len(cc.Name) <= 64 && strings.Trim(cc.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == "", "must be 1 to 64 of a-z 0-9 - _")
	p.Check(key+".name", !names[cc.Name], "is the name of another carrier")
	names[cc.Name] = true
	p.Check(key+".concurrency", cc.Concurrency >= 1 && cc.Concurrency <= 1024, "must be 1 to 1024")
	p.Check(key+".queue", cc.Queue >= 1 && cc.Queue <= 100000, "must be 1 to 100000")
	c.costs = append(c.costs, checkCosts(p, key, cc))
	checkUse(p, key, cc)
	c.ways = append(c.ways, c.checkWay(p, key, cc))
}

// checkWay checks how a carrier's messages leave, which is by one kind.
func (c *Loaded) checkWay(p *yamlconf.Problems, key string, cc *carrierConfig) way {
	own := cc.kind()
	for _, other := range kinds {
		p.Check(key+"."+other.key, other == own || own.pushes && other.pushes || !other.given(cc), "must be empty where there is %s: a carrier is one of the two", own.name)
	}
	p.Check(key+".provider", cc.Provider.given() || !cc.Provider.stray(), "needs a preset or api")
	return own.check(c, p, key, cc)
}

// serves reports whether a carrier can be one of a channel's.
func (c *Loaded) serves(name, channel string) bool {
	for i, way := range c.ways {
		if own := way.channel(); c.Carriers[i].Name == name && own != "" {
			return channel == string(own)
		}
	}
	return channel != string(verify.ChannelPush)
}

// checkUse checks how a carrier is used, of whatever kind it is.
func checkUse(p *yamlconf.Problems, key string, cc *carrierConfig) {
	// Below, a message's turn comes after its lease.
	p.Check(key+".rate", cc.Rate == 0 || cc.Rate >= 0.1 && cc.Rate <= 10000, "must be 0.1 to 10000 in a second, or 0 for no limit")
	if cc.ReceiptTimeout != 0 {
		checkDuration(p, key+".receipt_timeout", cc.ReceiptTimeout, time.Second, time.Hour)
	}
	if cc.UnknownTimeout != 0 {
		checkDuration(p, key+".unknown_timeout", cc.UnknownTimeout, time.Second, time.Hour)
	}
	seen := map[string]bool{}
	for i, pool := range cc.Senders {
		at := fmt.Sprintf("%s.senders[%d]", key, i)
		checkCountry(p, at+".country", pool.Country)
		p.Check(at+".country", !seen[pool.Country], "must not be repeated")
		seen[pool.Country] = true
		p.Check(at+".from", len(pool.From) > 0, "must name one at least")
		for j, from := range pool.From {
			checkSender(p, fmt.Sprintf("%s.from[%d]", at, j), from)
		}
	}
}

// Line is how the carrier of a name is used, without the carrier itself, and whether its costs are of a minute.
func (c *Loaded) Line(name string) (l dispatch.Line, minutes bool) {
	i := slices.IndexFunc(c.Carriers, func(cc carrierConfig) bool { return cc.Name == name })
	return c.line(i, nil), c.Carriers[i].kind().minutes
}

// line is how a carrier is used.
func (c *Loaded) line(i int, out carrier.Carrier) dispatch.Line {
	l := c.Carriers[i].line(out)
	l.Costs = c.costs[i]
	return l
}

func (cc *carrierConfig) line(out carrier.Carrier) dispatch.Line {
	l := dispatch.Line{
		Carrier: out, Queue: cc.queue(), Concurrency: cc.calls(), Rate: cc.Rate, ReceiptTimeout: time.Duration(cc.ReceiptTimeout), UnknownTimeout: time.Duration(cc.UnknownTimeout),
		Senders: map[string][]string{},
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

// calls is how many calls of a carrier are made at once.
func (cc *carrierConfig) calls() int {
	if k := cc.kind(); k.calls != nil {
		return k.calls(cc)
	}
	return cc.Concurrency
}

// queue is how many messages may be here.
func (cc *carrierConfig) queue() int {
	if cc.kind().minutes {
		return min(cc.Queue, cc.calls())
	}
	return cc.Queue
}
