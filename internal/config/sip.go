package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier/sip"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/yamlconf"
)

// sipKeys are the keys of what the carrier calls otherwise.
var sipKeys = map[string]string{"root CAs": "ca_file", "username and password": "username", "times": "talk"}

// checkSIP notes what is wrong with a trunk; most of it the carrier itself knows.
func (c *Loaded) checkSIP(p *yamlconf.Problems, key string, cc *carrierConfig) *sip.Config {
	s := &cc.SIP
	way := &sip.Config{
		Name: cc.Name, Trunk: s.Trunk, Transport: sip.Transport(s.Transport), Username: s.Username, Realm: s.Realm, Register: s.Register,
		Domain: s.Domain, From: s.From, NoPlus: !s.Plus, Prefix: s.Prefix, Listen: s.Listen, Advertise: s.Advertise, Calls: s.Calls,
		First: time.Duration(s.First), Ring: time.Duration(s.Ring), Talk: time.Duration(s.Talk), RequireKeypress: s.RequireKeypress, SkipKeypress: s.SkipKeypress,
	}
	p.Check(key+".skip_keypress", !s.SkipKeypress || !s.RequireKeypress, "contradicts require_keypress")
	checkDuration(p, key+".first", s.First, time.Second, 30*time.Second)
	checkDuration(p, key+".ring", s.Ring, time.Second, 2*time.Minute)
	checkDuration(p, key+".talk", s.Talk, 5*time.Second, 85*time.Second)
	p.Check(key+".times", s.Times >= 1 && s.Times <= 5, "must be 1 to 5")
	p.Check(key+".calls", s.Calls >= 1 && s.Calls <= maxCalls, "must be 1 to %d", maxCalls)
	first, last, _ := strings.Cut(s.Ports, "-")
	for i, text := range []string{first, last} {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
		p.Check(key+".ports", err == nil && n != 0, "must be two ports, such as 20000-20999")
		way.Ports[i] = uint16(n)
	}
	for i, text := range s.Peers {
		network, err := netip.ParsePrefix(text)
		p.Check(fmt.Sprintf("%s.peers[%d]", key, i), err == nil, "must be a network, such as 192.0.2.0/24")
		way.Peers = append(way.Peers, network)
	}
	var err error
	if way.Password, err = c.password(s.Password); err != nil {
		p.Check(key+".password", false, "%v", err)
		way.Password = "x" // what the carrier says of its absence would be told twice
	}
	way.RootCAs = c.authorities(p, key+".ca_file", s.CAFile)
	way.Speech, err = speech.New(speech.Config{Locale: s.Locale, Times: s.Times, Spell: s.Spell, Engine: s.Engine})
	if err != nil {
		in, text, _ := strings.Cut(err.Error(), ": ")
		in, _, _ = strings.Cut(in, " ")
		if p.Fine(key + "." + in) {
			p.Check(key+"."+in, false, "%s", text)
		}
		way.Speech = new(speech.Speaker) // or its absence would be told as well
	}
	if err := way.Check(); err != nil {
		for text := range strings.Lines(strings.TrimPrefix(err.Error(), "carrier "+cc.Name+": ")) {
			in, what, _ := strings.Cut(strings.TrimSpace(text), ": ")
			if name := sipKeys[in]; name != "" {
				in = name
			}
			if in == "username" && strings.HasPrefix(what, "one") {
				what = "must be given together with a password"
			}
			if p.Fine(key+"."+in) && !(in == "calls" && !p.Fine(key+".ports")) {
				p.Check(key+"."+in, false, "%s", what)
			}
		}
	}
	return way
}
