package sip

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

// A Transport carries the signalling to a trunk.
type Transport string

const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls" // media is encrypted as well (SRTP), or the call fails
)

// Config configures one trunk. Zero values take their defaults; [Config.Check] reports errors.
type Config struct {
	Name      string
	Trunk     string    // host, or host:port. Without a port: from DNS (SRV), else 5060, or 5061 with TLS
	Transport Transport // default UDP

	// RootCAs, if set, replace the system's. The certificate must be for the trunk's host.
	// TLS only.
	RootCAs *x509.CertPool

	Username string        // for digest authentication. Optional
	Password verify.Secret // with a username
	Realm    string        // the realm of the password; other challenges are refused. Optional
	Register bool          // for trunks that require it; Username is then the registered user
	Domain   string        // of the addresses in From and To, host or host:port; default the trunk's

	// AuthUsername answers challenges if it isn't Username. FromUser is the user in From if it isn't
	// Username. Both are optional.
	AuthUsername, FromUser string

	From     string   // the caller's number for messages whose sender is no number. Optional
	CallerID CallerID // the header with the caller's number; default PAI if From names an account, else InFrom
	Privacy  bool     // asks the network to withhold the caller's number from the callee

	NoPlus    bool   // send numbers without their plus
	Prefix    string // goes before the called number, for example a routing code. Digits and stars. Optional
	UserPhone bool   // marks addresses with numbers by ;user=phone

	Resolver  *net.Resolver  // looks up the trunk; default the system's
	Listen    string         // for signalling, "address:port"; default every address, any port
	Advertise string         // our address as the trunk sees it, if it differs. Optional
	Ports     [2]uint16      // for media, the first and the last; default 20000 to 20999
	Peers     []netip.Prefix // hosts that may send us signalling and media, besides the trunk's. Optional

	Calls int           // concurrently, default 50; at most one for two ports
	First time.Duration // until the trunk's first response; default 4 s
	Ring  time.Duration // until the phone is answered; default 30 s
	Talk  time.Duration // from the answer; default 60 s, at most 85 s

	// RequireKeypress makes all calls wait for a key before they say the code, because answering machines
	// press none. SkipKeypress makes no call wait, even if its message asks for that.
	RequireKeypress, SkipKeypress bool

	Speech *speech.Speaker // required
	Log    *slog.Logger    // Optional
	// Ended is called after every call, from several goroutines. Optional.
	Ended func(Call)
}

const (
	// maxTalk is below the shortest session timer, 90 s (RFC 4028 §4), so that our calls never have
	// to refresh one.
	maxTalk  = 85 * time.Second
	minPorts = 2
	// speakLimit is how long an engine may take to speak an application's text.
	speakLimit = 5 * time.Second
)

// withDefaults returns c with its zero values replaced by the defaults.
func (c Config) withDefaults() Config {
	set(&c.Transport, UDP)
	set(&c.Listen, "0.0.0.0:0")
	set(&c.Resolver, net.DefaultResolver)
	set(&c.Ports, [2]uint16{20000, 20999})
	set(&c.Calls, 50)
	set(&c.First, 4*time.Second)
	set(&c.Ring, 30*time.Second)
	set(&c.Talk, time.Minute)
	set(&c.Domain, c.domain())
	if c.account() != "" {
		set(&c.CallerID, PAI)
	}
	set(&c.CallerID, InFrom)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func set[T comparable](field *T, preset T) {
	var zero T
	if *field == zero {
		*field = preset
	}
}

// Limit implements [carrier.Limiter].
func (c *Carrier) Limit() time.Duration {
	return speakLimit + (1+maxTargets)*c.First + c.Ring + c.Talk + 2*hangUpWait
}

// Check returns all errors in a configuration.
func (c Config) Check() (all []carrier.Fault) {
	c = c.withDefaults()
	wrong := func(field, format string, args ...any) {
		all = append(all, carrier.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
	}

	if host, port := split(c.Trunk); host == "" || port < 0 || strings.ContainsAny(host, " @/;<>\"\r\n") {
		wrong("trunk", "must be a host, or host:port")
	}
	if c.Transport != UDP && c.Transport != TCP && c.Transport != TLS {
		wrong("transport", "must be udp, tcp or tls")
	}
	if c.RootCAs != nil && c.Transport != TLS {
		wrong("ca_file", "only with tls")
	}
	if (c.Username == "") != (c.Password == "") {
		wrong("username", "must be given together with a password")
	}
	if c.Register && c.Username == "" {
		wrong("register", "needs a username")
	}
	if c.AuthUsername != "" && c.Username == "" {
		wrong("auth_username", "needs a username and its password")
	}
	if !slices.Contains([]CallerID{InFrom, PAI, PPI, RPID}, c.CallerID) {
		wrong("caller_id", "must be from, pai, ppi or rpid")
	}
	if c.CallerID == InFrom && c.FromUser != "" {
		wrong("from_user", "contradicts caller_id: from, where From has the caller's number")
	}
	if c.CallerID == InFrom && c.Privacy {
		wrong("privacy", "needs caller_id pai, ppi or rpid: networks don't withhold the number in From")
	}
	if _, port := split(c.Domain); port < 0 {
		wrong("domain", "must be a host, or host:port")
	}
	for _, f := range []struct{ name, value string }{
		{"username", c.Username}, {"auth_username", c.AuthUsername}, {"from_user", c.FromUser}, {"domain", c.Domain},
	} {
		if strings.ContainsFunc(f.value, unfit) {
			wrong(f.name, "has a character that SIP addresses don't have")
		}
	}
	if strings.Trim(c.Prefix, "0123456789*") != "" {
		wrong("prefix", "may have digits and stars")
	}
	if !number(c.From) && c.From != "" {
		wrong("from", "must be a number")
	}
	if _, err := netip.ParseAddrPort(c.Listen); err != nil {
		wrong("listen", "must be an IP address and a port")
	}
	if _, err := netip.ParseAddr(c.Advertise); c.Advertise != "" && err != nil {
		wrong("advertise", "must be an IP address")
	}
	ports := (int(c.Ports[1]) + 1 - int(c.Ports[0])) / 2
	if c.Ports[0] < 1024 || ports < minPorts {
		wrong("ports", "must be a range of at least %d from 1024", 2*minPorts)
	}
	if c.Calls < 1 || c.Calls > ports {
		wrong("calls", "must be from 1 to %d, one for two ports", max(1, ports))
	}
	if c.First < 0 || c.Ring < 0 || c.Talk < 0 || c.Talk > maxTalk {
		wrong("talk", "must be positive, and the talk at most %v", maxTalk)
	}
	if c.Speech == nil {
		wrong("speech", "must be set")
	}
	return all
}

// unfit reports whether a character would end a SIP address or a header. An @ may be in a user
// name, because it is escaped.
func unfit(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`<>"'\,;?`, r) }

// number reports whether s is a number that can be a caller: digits, perhaps after a plus.
func number(s string) bool {
	digits := strings.TrimPrefix(s, "+")
	return digits != "" && len(digits) <= 20 && strings.Trim(digits, "0123456789") == ""
}
