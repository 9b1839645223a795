package sip

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo"
	wire "github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// A leg is the state needed to reach the phone that answered; RFC 3261 §12 calls it a dialog. All of
// it comes from the response, so a leg can be made even for a response that nobody waits for. Several
// goroutines use a leg, so it holds copies: the library parses a message's headers on demand, and
// stores the result in the message.
type leg struct {
	c        *Carrier
	from, to wire.Header
	id       wire.Header
	remote   string // the phone's tag
	target   wire.Uri
	routes   []string
	hop      netip.AddrPort // where to send requests
	trunk    netip.AddrPort
	contact  string        // ours, if known
	creds    []wire.Header // accepted for the INVITE; an ACK can't be challenged
	invited  uint32        // the INVITE's CSeq
	seq      atomic.Uint32 // the latest request's CSeq
}

// newLeg makes a leg from a response, and accepts signalling from its address until close. contact and
// creds are the INVITE's, if they are known.
func (c *Carrier) newLeg(answer *wire.Response, trunk netip.AddrPort, contact string, creds []wire.Header) *leg {
	g := &leg{
		c: c, trunk: trunk, target: answer.To().Address, contact: contact, creds: creds, invited: answer.CSeq().SeqNo,
		from: wire.HeaderClone(answer.From()), to: wire.HeaderClone(answer.To()), id: wire.HeaderClone(answer.CallID()),
	}
	g.remote, _ = answer.To().Params.Get("tag")
	g.seq.Store(g.invited)
	if contact := answer.Contact(); contact != nil && contact.Address.Host != "" {
		g.target = contact.Address
	}
	for _, h := range slices.Backward(answer.GetHeaders("Record-Route")) {
		g.routes = append(g.routes, h.Value())
	}
	g.hop = g.next()
	c.enter(g.hop.Addr())
	return g
}

func (g *leg) close() { g.c.leave(g.hop.Addr()) }

// credentials returns the credentials of an INVITE.
func credentials(invite *wire.Request) []wire.Header {
	return append(invite.GetHeaders("Authorization"), invite.GetHeaders("Proxy-Authorization")...)
}

// next returns the address for requests: the first one of the route, or the phone. It doesn't look up
// names, because hosts that the trunk's messages name are behind the trunk. It also ignores addresses
// that can't be reached from here. Over TCP and TLS, requests use the connection to the trunk.
func (g *leg) next() netip.AddrPort {
	if g.c.Transport != UDP {
		return g.trunk
	}
	host, port := g.target.Host, g.target.Port
	if len(g.routes) > 0 {
		var route wire.RouteHeader
		if _, err := wire.ParseAddressValue(g.routes[0], &route.Address, nil); err != nil {
			return g.trunk
		}
		host, port = route.Address.Host, route.Address.Port
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil || !public(a) && public(g.trunk.Addr()) || a.IsUnspecified() || port < 0 || port > 1<<16-1 {
		return g.trunk
	}
	if port == 0 {
		port = wire.DefaultUdpPort
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port))
}

func public(a netip.Addr) bool { return !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() }

// ack returns the ACK for the answer.
func (g *leg) ack() *wire.Request {
	r := g.build(wire.ACK, g.invited)
	for _, h := range g.creds {
		r.AppendHeader(wire.HeaderClone(h))
	}
	return r
}

func (g *leg) build(method wire.RequestMethod, seq uint32) *wire.Request {
	r := wire.NewRequest(method, *g.target.Clone())
	for _, route := range g.routes {
		r.AppendHeader(wire.NewHeader("Route", route))
	}
	r.AppendHeader(wire.HeaderClone(g.from))
	r.AppendHeader(wire.HeaderClone(g.to))
	r.AppendHeader(wire.HeaderClone(g.id))
	r.AppendHeader(&wire.CSeqHeader{SeqNo: seq, MethodName: method})
	if g.contact != "" {
		r.AppendHeader(wire.NewHeader("Contact", g.contact))
	}
	g.c.finish(r, g.hop)
	return r
}

// finish adds the headers that every request has, and sets its destination. Over UDP it also sets
// our own address to the one in Contact and Via.
func (c *Carrier) finish(r *wire.Request, to netip.AddrPort) {
	forwards := wire.MaxForwardsHeader(70)
	r.AppendHeader(&forwards)
	r.AppendHeader(wire.NewHeader("User-Agent", "Countersign"))
	r.SetTransport(strings.ToUpper(string(c.Transport)))
	r.SetDestination(to.String())
	if c.Transport == UDP {
		r.Laddr = wire.Addr{IP: c.listen.Addr().AsSlice(), Port: int(c.listen.Port())}
	}
	r.PrependHeader(c.via(to))
	if r.Body() == nil {
		r.SetBody(nil)
	}
}

// via returns the header that names the address for responses. With rport, responses go to the
// address that the request came from, even behind a NAT (RFC 3581).
func (c *Carrier) via(to netip.AddrPort) *wire.ViaHeader {
	v := &wire.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(string(c.Transport))}
	if here, err := c.here(to); err == nil && c.Transport != TLS {
		v.Host, v.Port = host(here), int(c.listen.Port())
	}
	v.Params.Add("branch", wire.GenerateBranch())
	v.Params.Add("rport", "")
	return v
}

// host formats an address for a URI.
func host(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// contact returns the address at which the trunk reaches us during a call. That is our
// socket, or with TLS our end of the connection to the trunk.
func (c *Carrier) contact(ctx context.Context, trunk netip.AddrPort) (string, error) {
	here, err := c.here(trunk)
	if err != nil {
		return "", err
	}
	if c.Transport != TLS {
		return netip.AddrPortFrom(here, c.listen.Port()).String(), nil
	}
	r := wire.NewRequest(wire.OPTIONS, c.uri(""))
	c.finish(r, trunk)
	conn, err := c.agent.TransportLayer().ClientRequestConnection(ctx, r)
	if err != nil {
		return "", carrier.Broken(err)
	}
	defer conn.TryClose()
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return "", err
	}
	return netip.AddrPortFrom(here, local.Port()).String(), nil
}

// prepared tells the library to send a request unchanged.
func prepared(*sipgo.Client, *wire.Request) error { return nil }

// forget closes the connection to a trunk that didn't respond to a request sent at an instant, so that the
// next call makes a new one. If anything was read since then, the connection works, and other calls need
// it.
func (c *Carrier) forget(trunk netip.AddrPort, asked time.Time) {
	if c.Transport == UDP || !c.reads.silent(asked) {
		return
	}
	if conn, err := c.agent.TransportLayer().GetConnection(string(c.Transport), trunk.String()); err == nil {
		conn.Close()
	}
}

// write sends a request that gets no response.
func (c *Carrier) write(r *wire.Request) { c.client.WriteRequest(r, prepared) }

// converse sends a request, with credentials if the trunk asks for them. It returns the status of the
// response, or 0 if there is none.
func (g *leg) converse(ctx context.Context, method wire.RequestMethod) (status int) {
	r := g.build(method, g.seq.Add(1))
	fresh := false
	for range maxChallenges {
		answer, err := g.c.client.Do(ctx, r, prepared)
		if err != nil {
			return 0
		}
		status = answer.StatusCode
		if status != 401 && status != 407 {
			return status
		}
		if r, err = g.c.authorize(r, answer, &fresh); err != nil {
			return status
		}
		r.CSeq().SeqNo = g.seq.Add(1)
	}
	return status
}

// inviteTo returns the INVITE for a message.
func (l *call) inviteTo(m verify.Message) *wire.Request {
	c := l.c
	to := c.telephone(c.dialled(m.To))
	r := wire.NewRequest(wire.INVITE, to)
	id := wire.CallIDHeader(l.id)
	c.identify(r, m.From, l.tag)
	r.AppendHeader(&wire.ToHeader{Address: to})
	r.AppendHeader(&id)
	r.AppendHeader(&wire.CSeqHeader{SeqNo: 1, MethodName: wire.INVITE})
	r.AppendHeader(wire.NewHeader("Contact", l.contact()))
	r.AppendHeader(wire.NewHeader("Allow", allowed))
	r.AppendHeader(wire.NewHeader("Content-Type", sdpType))
	r.SetBody(l.describe(1, bothWays, mu, aLaw, keys))
	l.offers = 1
	c.finish(r, l.trunk)
	return r
}

// cancelling returns the CANCEL of an INVITE. It has the same Via, by which the trunk matches it
// (RFC 3261 §9.1).
func cancelling(invite *wire.Request) *wire.Request {
	r := wire.NewRequest(wire.CANCEL, *invite.Recipient.Clone())
	r.AppendHeader(wire.HeaderClone(invite.Via()))
	r.AppendHeader(wire.HeaderClone(invite.From()))
	r.AppendHeader(wire.HeaderClone(invite.To()))
	r.AppendHeader(wire.HeaderClone(invite.CallID()))
	r.AppendHeader(&wire.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: wire.CANCEL})
	forwards := wire.MaxForwardsHeader(70)
	r.AppendHeader(&forwards)
	r.SetTransport(invite.Transport())
	r.SetDestination(invite.Destination())
	r.Laddr = invite.Laddr
	r.SetBody(nil)
	return r
}

// stray handles a response that nobody waits for, because the trunk responded after we gave up, or a
// second phone answered. It cancels a ringing phone and hangs up on an answered one. Otherwise a
// phone would ring, or a person would listen, for nothing.
func (c *Carrier) stray(r *wire.Response) {
	if r.CSeq() == nil || r.CSeq().MethodName != wire.INVITE || r.StatusCode <= 100 || r.StatusCode >= 300 {
		return
	}
	source, err := netip.ParseAddrPort(r.Source())
	if err != nil {
		return
	}
	defer c.survive()
	source = netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
	ctx, cancel := context.WithTimeout(c.stopped, hangUpWait)
	defer cancel()
	if r.IsSuccess() {
		g := c.newLeg(r, source, "", nil)
		defer g.close()
		c.write(g.ack())
		g.converse(ctx, wire.BYE)
		return
	}
	invite := wire.NewRequest(wire.INVITE, *r.To().Address.Clone())
	via := r.Via().Clone()
	via.Params.Remove("received") // the response added it
	via.Params.Add("rport", "")
	invite.AppendHeader(via)
	invite.AppendHeader(wire.HeaderClone(r.From()))
	to := r.To().AsFrom() // the INVITE had no tag
	invite.AppendHeader(&wire.ToHeader{DisplayName: to.DisplayName, Address: to.Address})
	invite.AppendHeader(wire.HeaderClone(r.CallID()))
	invite.AppendHeader(wire.HeaderClone(r.CSeq()))
	invite.SetTransport(r.Transport())
	invite.SetDestination(source.String())
	if c.Transport == UDP {
		invite.Laddr = wire.Addr{IP: c.listen.Addr().AsSlice(), Port: int(c.listen.Port())}
	}
	c.client.Do(ctx, cancelling(invite), prepared)
}

var (
	errChallenge = errors.New("the trunk asks for credentials by a method that we don't support")
	errPassword  = errors.New("the trunk refuses our credentials")
	errNoLogin   = errors.New("the trunk asks for credentials, but none are configured")
	errRealm     = errors.New("a challenge is for another realm than the configured one")
)

// authorize returns a request again with the response to its challenge (RFC 8760). A second challenge of the
// same kind means that the password is wrong, unless the nonce was too old. Some trunks don't say that it was,
// so one other nonce is tried: fresh remembers that.
func (c *Carrier) authorize(r *wire.Request, answer *wire.Response, fresh *bool) (*wire.Request, error) {
	if c.Username == "" {
		return nil, errNoLogin
	}
	challenge, proof := "WWW-Authenticate", "Authorization"
	if answer.StatusCode == 407 {
		challenge, proof = "Proxy-Authenticate", "Proxy-Authorization"
	}
	chal, err := c.challenge(answer.GetHeaders(challenge))
	if err != nil {
		return nil, err
	}
	if h := r.GetHeader(proof); h != nil && !chal.Stale {
		if *fresh || nonceOf(h) == chal.Nonce {
			return nil, errPassword
		}
		*fresh = true
	}
	proved, err := c.prove(r, chal)
	if err != nil {
		return nil, errChallenge
	}
	next := c.again(r)
	next.RemoveHeader(proof)
	next.AppendHeader(wire.NewHeader(proof, proved))
	return next, nil
}

// nonceOf returns the nonce that credentials answer.
func nonceOf(h wire.Header) string {
	creds, err := digest.ParseCredentials(h.Value())
	if err != nil {
		return ""
	}
	return creds.Nonce
}

// session is the end of the names of algorithms that mix a nonce of ours into the password's hash.
const session = "-SESS"

// prove returns the credentials for a challenge.
func (c *Carrier) prove(r *wire.Request, chal *digest.Challenge) (string, error) {
	o := digest.Options{
		Method: string(r.Method), URI: r.Recipient.String(), Username: c.login(), Password: c.Password.Reveal(),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body())), nil },
	}
	plain, inSession := strings.CutSuffix(chal.Algorithm, session)
	if inSession { // the library can't, but it takes the hash
		o.Cnonce = rand.Text()
		o.A1 = hash(plain, hash(plain, o.Username, chal.Realm, o.Password), chal.Nonce, o.Cnonce)
		chal.Algorithm = plain
	}
	creds, err := digest.Digest(chal, o)
	if err != nil {
		return "", err
	}
	if inSession {
		creds.Algorithm = plain + strings.ToLower(session)
	}
	return creds.String(), nil
}

// hash returns the hash of strings that are joined by colons (RFC 7616 §3.3).
func hash(algorithm string, parts ...string) string {
	s := []byte(strings.Join(parts, ":"))
	switch algorithm {
	case "SHA-256":
		return fmt.Sprintf("%x", sha256.Sum256(s))
	case "SHA-512-256":
		return fmt.Sprintf("%x", sha512.Sum512_256(s))
	}
	return fmt.Sprintf("%x", md5.Sum(s))
}

// again returns a request as a new transaction, with the next number.
func (c *Carrier) again(r *wire.Request) *wire.Request {
	next := r.Clone()
	next.RemoveHeader("Via")
	next.CSeq().SeqNo++
	next.PrependHeader(c.via(netip.MustParseAddrPort(r.Destination())))
	return next
}

// challenge returns the first challenge that we can answer.
func (c *Carrier) challenge(headers []wire.Header) (*digest.Challenge, error) {
	for _, h := range headers {
		chal, err := digest.ParseChallenge(h.Value())
		if err != nil {
			continue
		}
		chal.Algorithm = strings.ToUpper(chal.Algorithm)
		for i, q := range chal.QOP {
			chal.QOP[i] = strings.TrimSpace(q)
		}
		plain := *chal
		plain.Algorithm = strings.TrimSuffix(chal.Algorithm, session)
		if !digest.CanDigest(&plain) {
			continue
		}
		if c.Realm != "" && chal.Realm != c.Realm {
			return nil, errRealm
		}
		return chal, nil
	}
	return nil, errChallenge
}
