package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// An entry is one line of a table of costs or prices, as the file has it.
type entry struct {
	at, amountKey             string // its key, and that of its amount
	amount                    string
	channel, country, carrier string
	from, until               string
}

// checkEntries makes a table, and notes what is wrong with it.
func checkEntries(p *yamlconf.Problems, all []entry) money.Table {
	rules := make([]money.Rule, len(all))
	for i, e := range all {
		r := &rules[i]
		r.Subject = money.Subject{Channel: e.channel, Country: e.country, Carrier: e.carrier}
		amount, err := money.Parse(e.amount)
		p.Check(e.at+"."+e.amountKey, err == nil, "%v", err)
		r.Each = amount
		p.Check(e.at+".channel", e.channel == "" || e.channel == "sms" || e.channel == "voice", "must be sms or voice")
		checkCountry(p, e.at+".country", e.country)
		r.From, r.Until = checkDay(p, e.at+".from", e.from), checkDay(p, e.at+".until", e.until)
		p.Check(e.at+".until", r.Until.IsZero() || r.From.Before(r.Until), "must be a later day than from")
	}
	table, overlaps := money.NewTable(rules)
	for _, i := range overlaps {
		p.Check(all[i].at, false, "is for the same messages as an earlier entry, at the same time: change one's from or until, or remove it")
	}
	return table
}

// checkCosts reads what a carrier takes.
func checkCosts(p *yamlconf.Problems, key string, cc *carrierConfig) money.Table {
	var all []entry
	for i, c := range cc.Costs {
		all = append(all, entry{at: fmt.Sprintf("%s.costs[%d]", key, i), amountKey: "cost", amount: c.Cost, country: c.Country, from: c.From, until: c.Until})
	}
	return checkEntries(p, all)
}

func checkCountry(p *yamlconf.Problems, key, country string) {
	p.Check(key, country == "" || phone.IsRegion(country), "must be a country in two letters, such as US")
}

// checkDay reads a day, which begins at midnight UTC.
func checkDay(p *yamlconf.Problems, key, text string) (day time.Time) {
	if text == "" {
		return day
	}
	day, err := time.Parse(time.DateOnly, text)
	p.Check(key, err == nil, "must be a day such as 2026-01-31")
	return day
}

// maxTrialPrefix leaves most of a segment to the text.
const maxTrialPrefix = 40

// checkPrices reads what projects are charged. Carriers are those that there are.
func (c *Loaded) checkPrices(p *yamlconf.Problems, carriers map[string]bool) {
	conf := &c.Prices
	var verifications, messages []entry
	for i, v := range conf.Verifications {
		verifications = append(verifications, entry{fmt.Sprintf("prices.verifications[%d]", i), "price", v.Price, v.Channel, v.Country, "", v.From, v.Until})
	}
	for i, m := range conf.Messages {
		at := fmt.Sprintf("prices.messages[%d]", i)
		p.Check(at+".carrier", m.Carrier == "" || carriers[m.Carrier], "there is no carrier %q", m.Carrier)
		messages = append(messages, entry{at, "price", m.Price, m.Channel, m.Country, m.Carrier, m.From, m.Until})
	}
	c.prices = money.Prices{Currency: money.Currency(conf.Currency), Verifications: checkEntries(p, verifications), Messages: checkEntries(p, messages)}
	p.Check("trial_prefix", c.TrialPrefix == "" || verify.IsLabel(c.TrialPrefix, maxTrialPrefix) && !strings.ContainsAny(c.TrialPrefix, "{}"), "must be at most %d printable characters, without { and }", maxTrialPrefix)
	given := len(verifications)+len(messages) > 0
	p.Check("prices.currency", conf.Currency != "" || !given, "must be given with prices: three letters, such as EUR")
	p.Check("prices.currency", conf.Currency == "" || c.prices.Currency.Valid(), "must be three capital letters, such as EUR")
	checkComplete(p, "prices.verifications", c.prices.Verifications)
	checkComplete(p, "prices.messages", c.prices.Messages)
}

// MessagePrice is what a project is charged for a text, or for a call or its first minute.
func (c *Loaded) MessagePrice(channel verify.Channel, country, carrier string, text verify.Secret, now time.Time) money.Amount {
	each, _ := c.prices.Messages.Find(money.Subject{Channel: string(channel), Country: country, Carrier: carrier}, now)
	return each.Times(dispatch.Units(channel, text))
}

// checkComplete makes sure that nothing is free because nobody thought of it.
func checkComplete(p *yamlconf.Problems, key string, t money.Table) {
	if len(t) == 0 {
		return
	}
	for _, channel := range []string{"sms", "voice"} {
		p.Check(key, t.Complete(channel), "must say what %s costs to all other countries, by any carrier and at any time: add an entry without country, carrier, from and until; its price may be 0", channel)
	}
}
