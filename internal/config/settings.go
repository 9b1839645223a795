package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/face/syniverse"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// checkSenders checks the senders' names, each of which must be one sender's.
func (c *Loaded) checkSenders(p *yamlconf.Problems) {
	seen := map[string]bool{}
	for i, s := range c.Senders {
		key := fmt.Sprintf("senders[%d]", i)
		p.Check(key, s.ID != "" || s.Channel != "", "must have an id, a channel, or both")
		for field, name := range map[string]string{"id": s.ID, "channel": s.Channel} {
			const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_"
			p.Check(key+"."+field, len(name) <= 64 && strings.Trim(name, allowed) == "", "must be 1 to 64 of A-Z a-z 0-9 . - _")
			p.Check(key+"."+field, name == "" || !seen[field+":"+name], "is the name of another sender")
			seen[field+":"+name] = true
		}
		checkSender(p, key+".from", s.From)
	}
}

// settings are what the configuration decides for all projects.
// Settings are what the domain takes of the configuration.
func (c *Loaded) Settings() verify.Settings {
	s := verify.Settings{
		PublicSender: c.PublicSender, Senders: map[string]verify.Sender{}, StrictSenders: c.StrictSenders,
		Locale: c.Locale, MaxSegments: c.MaxSegments, UniqueNames: c.Syniverse.UniqueNames, Failover: c.After(), Prices: c.prices, TrialPrefix: c.TrialPrefix, PublicURL: c.Public.URL,
		MaxApplications: c.ProjectLimits.Applications, MaxTemplates: c.ProjectLimits.Templates, MaxDevices: c.ProjectLimits.Devices, MaxKept: c.ProjectLimits.KeptAnswers,
		UserLimits: verify.UserLimits{
			Interval: time.Duration(c.UserLimits.Interval), Max: c.UserLimits.Max, Period: time.Duration(c.UserLimits.Period),
		},
	}
	if c.places != nil {
		s.Place = c.places.Of
	}
	for _, sender := range c.Senders {
		from := sender.From
		if n, err := phone.Parse(from); err == nil {
			from = string(n) // as projects have theirs
		}
		if sender.ID != "" {
			s.Senders["sender_id:"+sender.ID] = verify.Sender{From: from, Public: sender.Public}
		}
		if sender.Channel != "" {
			s.Senders["channel:"+sender.Channel] = verify.Sender{From: from, Public: sender.Public}
		}
	}
	return s
}

// refusals are the answers that can be set, by their keys.
func (c *syniverseConfig) refusals() map[string]*string {
	return map[string]*string{"wrong": &c.Wrong, "expired": &c.Expired, "none": &c.None, "exhausted": &c.Exhausted}
}

// SyniverseOptions are what Syniverse's face takes of the configuration, which was checked.
func (c *Loaded) SyniverseOptions() syniverse.Options {
	answer := func(text string) syniverse.Refusal {
		r, _ := parseRefusal(text)
		return r
	}
	s := &c.Syniverse
	return syniverse.Options{
		NoAlias: !s.Alias, ISODates: s.ISODates,
		Refusals: syniverse.Refusals{
			Wrong: answer(s.Wrong), Expired: answer(s.Expired), None: answer(s.None), Exhausted: answer(s.Exhausted),
		},
	}
}

// parseRefusal reads a status and an error_code.
func parseRefusal(text string) (syniverse.Refusal, error) {
	status, code, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.Atoi(status)
	r := syniverse.Refusal{Status: n, Code: strings.TrimSpace(code)}
	if err != nil || n < 400 || n > 499 || r.Code == "" || len(r.Code) > 64 {
		return syniverse.Refusal{}, errors.New("not a status and an error_code")
	}
	return r, nil
}
