package sip

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/phone"
)

// A CallerID is the header that tells a trunk the caller's number.
type CallerID string

const (
	InFrom CallerID = "from"
	PAI    CallerID = "pai"  // P-Asserted-Identity (RFC 3325)
	PPI    CallerID = "ppi"  // P-Preferred-Identity (RFC 3325)
	RPID   CallerID = "rpid" // Remote-Party-ID, which older systems read
)

// account returns the user that From names, or "". Trunks such as Asterisk's find the account by it.
func (c *Config) account() string { return cmp.Or(c.FromUser, c.Username) }

// uri returns the address of a user at the trunk. A user "" makes the trunk's own.
func (c *Config) uri(user string) wire.Uri {
	domain, port := split(c.Domain)
	if a, err := netip.ParseAddr(domain); err == nil {
		domain = host(a)
	}
	return wire.Uri{Scheme: "sip", User: user, Host: domain, Port: max(0, port)}
}

// telephone returns the address of a number at the trunk.
func (c *Config) telephone(number string) wire.Uri {
	u := c.uri(number)
	if c.UserPhone {
		u.UriParams = wire.NewParams()
		u.UriParams.Add("user", "phone")
	}
	return u
}

// anonymous is the address of a caller who isn't named (RFC 3323 §4.1.1.3).
var anonymous = wire.Uri{Scheme: "sip", User: "anonymous", Host: "anonymous.invalid"}

// identify adds the headers that name the caller: From, and the one with the number.
func (c *Carrier) identify(r *wire.Request, sender, tag string) {
	number := c.caller(sender)
	from := &wire.FromHeader{}
	switch {
	case c.CallerID == InFrom && number != "", c.account() == "" && number != "" && !c.Privacy:
		from.Address = c.telephone(number)
	case c.account() != "":
		from.Address = c.uri(user(c.account()))
	case c.Privacy:
		from.DisplayName, from.Address = "Anonymous", anonymous
	default:
		from.Address = c.uri(anonymous.User)
	}
	from.Params.Add("tag", tag)
	r.AppendHeader(from)
	if c.Privacy {
		r.AppendHeader(wire.NewHeader("Privacy", "id"))
	}
	if number == "" {
		return
	}
	u := c.telephone(number)
	address := "<" + u.String() + ">"
	switch c.CallerID {
	case PAI:
		r.AppendHeader(wire.NewHeader("P-Asserted-Identity", address))
	case PPI:
		r.AppendHeader(wire.NewHeader("P-Preferred-Identity", address))
	case RPID:
		privacy := "off"
		if c.Privacy {
			privacy = "full"
		}
		r.AppendHeader(wire.NewHeader("Remote-Party-ID", address+";party=calling;screen=yes;privacy="+privacy))
	}
}

// dialled formats a number for the trunk.
func (c *Carrier) dialled(n phone.Number) string {
	s := string(n)
	if c.NoPlus {
		s = strings.TrimPrefix(s, "+")
	}
	return c.Prefix + s
}

// caller returns the caller's number: the message's sender if that is a number, else the configured one,
// else "".
func (c *Carrier) caller(sender string) string {
	if !number(sender) {
		sender = c.From
	}
	if c.NoPlus {
		sender = strings.TrimPrefix(sender, "+")
	}
	return sender
}

// user escapes a name for a URI.
func user(name string) string { return strings.ReplaceAll(name, "@", "%40") }

// shown formats an address for an error. It hides most of a number.
func shown(u wire.Uri) string {
	if number(u.User) {
		u.User = phone.Number(u.User).Masked()
	}
	return u.String()
}

// asFrom adds to an error whom a request named as its sender, because many trunks look up the account by
// that.
func asFrom(r *wire.Request, err error) error {
	return fmt.Errorf("%w; From was %s: check username, password, auth_username, from_user and caller_id", err, shown(r.From().Address))
}

// login returns the user name for challenges.
func (c *Config) login() string { return cmp.Or(c.AuthUsername, c.Username) }

// domainOf returns the domain of a request's address.
func domainOf(r *wire.Request) string {
	u := wire.Uri{Host: r.Recipient.Host, Port: r.Recipient.Port}
	return strings.TrimPrefix(u.String(), "sip:")
}

// split splits host or host:port. The port is 0 if there is none, and -1 if it is invalid. Brackets around
// an IPv6 address are removed.
func split(s string) (string, int) {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil || !strings.Contains(s, ":") {
		return strings.Trim(s, "[]"), 0
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", -1
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return host, -1
	}
	return host, int(n)
}

// standardPort is the port of an address that names none.
func (t Transport) standardPort() int {
	if t == TLS {
		return 5061
	}
	return 5060
}

// domain returns the trunk's host, with its port unless that is the transport's own. An address without a
// port means the standard one (RFC 3261 §19.1.4), so that a trunk at another port wouldn't take it for its
// own address.
func (c *Config) domain() string {
	host, port := split(c.Trunk)
	if port > 0 && port != c.Transport.standardPort() {
		return net.JoinHostPort(host, strconv.Itoa(port))
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
