package main

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

// SIPConfig is a trunk, and what is said by it.
type SIPConfig struct {
	// Trunk is a host, or host:port. Without a port the name's SRV records decide, then 5060, or 5061 with
	// TLS.
	Trunk string `yaml:"trunk"`
	// Transport is tls, where the sound is encrypted as well, or tcp or udp: then everybody on the way can
	// listen to the codes, and each start warns of it.
	Transport string `yaml:"transport" default:"udp"`
	// CAFile holds the certificates to trust instead of the system's, PEM. With tls. Optional.
	CAFile string `yaml:"ca_file"`
	// Username answers the trunk's challenges (digest). Optional.
	Username string `yaml:"username"`
	// Password goes with it. It is not written here: this says where it is.
	Password PasswordConfig `yaml:"password"`
	// Realm is whom the password is for: challenges of others are refused. Optional.
	Realm string `yaml:"realm"`
	// Register registers, for trunks that want it, and takes it back when the server stops.
	Register bool `yaml:"register" default:"false"`
	// Domain is that of the addresses in From and To. Without it, the trunk's host. Optional.
	Domain string `yaml:"domain"`
	// From is the caller's number, where a message's sender is no number. Optional.
	From string `yaml:"from"`
	// Plus writes numbers with their plus: +12025550100.
	Plus bool `yaml:"plus" default:"true"`
	// Prefix goes before the called number: digits and stars. Optional.
	Prefix string `yaml:"prefix"`
	// Listen is the address and port for signalling; port 0 is any.
	Listen string `yaml:"listen" default:"0.0.0.0:0"`
	// Advertise is this server's IP address as the trunk sees it, behind NAT. Optional.
	Advertise string `yaml:"advertise"`
	// Ports are the UDP ports for sound, two for each call.
	Ports string `yaml:"ports" default:"20000-20999"`
	// Peers are networks that may send signalling and sound beside the trunk's host, such as
	// 192.0.2.0/24. Optional.
	Peers []string `yaml:"peers"`
	// Calls are how many there may be at once: 1 to 1024, and one for two ports. More are passed by, or
	// answered 503.
	Calls int `yaml:"calls" default:"50"`
	// First is the time until the trunk says anything: 1s to 30s.
	First yamlconf.Duration `yaml:"first" default:"4s"`
	// Ring is the time until the phone is answered: 1s to 2m.
	Ring yamlconf.Duration `yaml:"ring" default:"30s"`
	// Talk is the time from then to the end: 5s to 85s.
	Talk yamlconf.Duration `yaml:"talk" default:"60s"`
	// RequireKeypress says the code only after a key was pressed: answering machines press none.
	RequireKeypress bool `yaml:"require_keypress" default:"false"`
	// Locale is the language where a message has none: docs/voice.md has the list.
	Locale string `yaml:"locale" default:"en"`
	// Times is how often the code is said: 1 to 5.
	Times int `yaml:"times" default:"2"`
	// Spell says "A as in Alpha", in the languages that have such words.
	Spell bool `yaml:"spell" default:"false"`
	// Engine is a program, with its arguments, that reads a caller's own text and writes a WAV file.
	// {locale} becomes the language. It never gets a code. Optional.
	Engine []string `yaml:"engine"`
}

// given reports whether a carrier is a trunk.
func (c *SIPConfig) given() bool {
	return c.Trunk+c.Username+c.Domain+c.From != "" || c.Password != PasswordConfig{}
}

// sipKeys are the keys of what the carrier calls otherwise.
var sipKeys = map[string]string{"root CAs": "ca_file", "username and password": "username", "times": "talk"}

// checkSIP notes what is wrong with a trunk; most of it the carrier itself knows.
func (c *loadedConfig) checkSIP(p *yamlconf.Problems, key string, cc *CarrierConfig) *sip.Config {
	s := &cc.SIP
	way := &sip.Config{
		Name: cc.Name, Trunk: s.Trunk, Transport: sip.Transport(s.Transport), Username: s.Username, Realm: s.Realm, Register: s.Register,
		Domain: s.Domain, From: s.From, NoPlus: !s.Plus, Prefix: s.Prefix, Listen: s.Listen, Advertise: s.Advertise, Calls: s.Calls,
		First: time.Duration(s.First), Ring: time.Duration(s.Ring), Talk: time.Duration(s.Talk), RequireKeypress: s.RequireKeypress,
	}
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
