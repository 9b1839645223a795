package config

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/sip"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// given reports whether a carrier is a trunk.
func (c *sipConfig) given() bool {
	return c.Trunk+c.Username+c.Domain+c.From != "" || c.Password != passwordConfig{}
}

// sipCalls is as many calls as a trunk takes.
func sipCalls(cc *carrierConfig) int { return cc.SIP.Calls }

// A sipWay is a trunk.
type sipWay sip.Config

// channel implements [way].
func (w *sipWay) channel() verify.Channel { return verify.ChannelVoice }

// open implements [way].
func (w *sipWay) open(log *outage.Log, _ *Carriers) (carrier.Carrier, error) {
	if !(*sip.Config)(w).Encrypted() {
		log.Warn("calls are not encrypted: everybody on the way to the trunk can listen to the codes; use tls with SRTP where the trunk has it", "carrier", w.Name)
	}
	w.Log, w.Speech.Log = log.Logger, log.Logger
	return sip.New(sip.Config(*w))
}

// checkSIP notes what is wrong with a trunk; most of it the carrier itself knows.
func (c *Loaded) checkSIP(p *yamlconf.Problems, carrier string, cc *carrierConfig) way {
	s, key := &cc.SIP, carrier+".sip"
	p.Check(carrier+".receipt_timeout", cc.ReceiptTimeout == 0, "must be 0s with sip: a call tells what became of it when it ends")
	way := &sip.Config{
		Name: cc.Name, Trunk: s.Trunk, Transport: sip.Transport(s.Transport), SkipSRTP: s.SkipSRTP, Username: s.Username, Realm: s.Realm, Register: s.Register,
		Domain: s.Domain, AuthUsername: s.AuthUsername, FromUser: s.FromUser, From: s.From, CallerID: sip.CallerID(s.CallerID), Privacy: s.Privacy,
		NoPlus: !s.Plus, Prefix: s.Prefix, UserPhone: s.UserPhone, Listen: s.Listen, Advertise: s.Advertise, Calls: s.Calls,
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
	if s.CertFile != "" || s.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.path(s.CertFile), c.path(s.KeyFile))
		p.Check(key+".cert_file", err == nil, "must be a certificate that fits key_file, both in PEM")
		way.Certificate = &pair
	}
	talk := speech.Config{Locale: s.Locale, Times: s.Times, Spell: s.Spell, Zwo: s.Zwo, Engine: s.Engine}
	if s.Recordings != "" {
		talk.Recordings = c.path(s.Recordings)
	}
	if field, problem := talk.Check(); problem != "" {
		p.Check(key+"."+field, false, "%s", problem)
		talk = speech.Config{}
	}
	way.Speech, err = speech.New(talk)
	if err != nil {
		p.Check(key, false, "%v", err)
	}
	for _, f := range way.Check() {
		in := []string{key + "." + f.Field} // what was refused above would be told twice
		if f.Field == "calls" {             // which depends on them
			in = append(in, key+".ports")
		}
		p.Check(in[0], !p.Fine(in...), "%s", f.Message)
	}
	return (*sipWay)(way)
}
