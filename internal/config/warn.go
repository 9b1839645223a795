package config

import (
	"fmt"
	"slices"
)

// Warnings say what is allowed, but can't be what the operator wants: a configuration that sends nothing.
func (c *Loaded) Warnings() (all []string) {
	if len(c.Channels.SMS)+len(c.Channels.Voice)+len(c.Channels.Push)+len(c.Routes) == 0 {
		all = append(all, "channels: no channel has a carrier, so every start is answered 503; name a carrier in channels.sms or channels.voice")
	}
	used := slices.Concat(c.Channels.SMS, c.Channels.Voice, c.Channels.Push)
	for _, r := range c.Routes {
		for _, choice := range r.Carriers {
			used = append(used, choice.Name)
		}
	}
	for i, carrier := range c.Carriers {
		if !slices.Contains(used, carrier.Name) {
			all = append(all, fmt.Sprintf("carriers[%d]: %s is in no channel and in no route, so it sends nothing", i, carrier.Name))
		}
	}
	return all
}
