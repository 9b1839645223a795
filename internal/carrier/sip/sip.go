// Package sip is the carrier that calls phones over a SIP trunk, a telephone connection over the
// internet, and says the code.
//
// One [Carrier] is one trunk. The parser, transports and transactions of the signalling (RFC 3261)
// are those of emiago/sipgo. The dialogs above them and the media (RTP, G.711, SRTP) are
// implemented here. Dialogs of libraries wait for a dead trunk, and leave a phone ringing that is
// answered while the call is cancelled. Their tickers also drift; see docs/decisions/0032-sip.md.
//
// [Carrier.Send] returns when the call is over. It succeeds if the phone was answered and the code
// was said to its end at least once. Signalling and media are accepted only from the trunk's
// addresses and from the phone that it connects. Media is sent only there, because it is the code.
package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// A Carrier makes calls over one trunk. It implements [carrier.Asker].
type Carrier struct {
	Config
	agent  *sipgo.UserAgent
	client *sipgo.Client
	reads  *streams       // filters the connections
	listen netip.AddrPort // the address of the signalling
	ports  *ports
	places chan struct{} // one token for each call

	stopped context.Context // done when we shut down
	stop    context.CancelFunc
	close   func() error   // closes the signalling socket
	served  sync.WaitGroup // the listeners

	mu      sync.Mutex // guards the fields below
	refused bool       // the trunk refuses our credentials, and that was logged
	calls   map[string]*call
	ended   sync.WaitGroup // calls and the registration; no Add after stopped
	trusted map[netip.Addr]bool
	phones  map[netip.Addr]int           // the addresses at which calls were answered, with the number of calls
	dead    map[netip.AddrPort]time.Time // the trunk's addresses that didn't answer, and when
}

// A Call is the record of one call.
type Call struct {
	Trunk        string
	Verification verify.ID
	Attempt      int
	verify.Call
	Reason  verify.Reason
	Said    bool           // the code was said to its end at least once
	Verdict verify.Verdict // of a call that asked for a key
	Late    time.Duration  // the sum of the pauses of this machine that were longer than a receiver's buffer
}

// New opens a trunk's sockets, and starts to register if that is configured. It doesn't wait for
// the trunk, which may be away. The caller must close it.
func New(c Config) (*Carrier, error) {
	if err := carrier.Faulty(c.Name, c.Check()); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	listen := netip.MustParseAddrPort(c.Listen) // checked
	t := &Carrier{
		Config: c, ports: newPorts(listen.Addr(), c.Ports), places: make(chan struct{}, c.Calls),
		reads: newStreams(), close: func() error { return nil }, calls: map[string]*call{}, trusted: map[netip.Addr]bool{}, phones: map[netip.Addr]int{}, dead: map[netip.AddrPort]time.Time{},
	}
	t.stopped, t.stop = context.WithCancel(context.Background())
	if err := t.start(listen); err != nil {
		t.stop()
		return nil, fmt.Errorf("carrier %s: %w", c.Name, err)
	}
	return t, nil
}

// quiet is the library's log, which is discarded because it holds whole messages with
// numbers.
var quiet = slog.New(slog.DiscardHandler)

func init() { // the library has no other way to set these
	wire.SetDefaultLogger(quiet)
	// An INVITE with two credentials may exceed the size of a packet. The library would refuse to
	// send it, and a trunk on UDP has no alternative. Fragmented packets do arrive.
	wire.UDPMTUSize = maxMessage
}

// start makes the user agent and starts to listen.
func (c *Carrier) start(listen netip.AddrPort) error {
	host, _ := split(c.Trunk)
	domain, _ := split(c.Domain)
	agent, err := sipgo.NewUA(
		sipgo.WithUserAgent("Countersign"), sipgo.WithUserAgentHostname(domain),
		sipgo.WithUserAgenTLSConfig(&tls.Config{RootCAs: c.RootCAs, ServerName: host, MinVersion: tls.VersionTLS12}),
		sipgo.WithUserAgentTransportLayerOptions(
			wire.WithTransportLayerLogger(quiet), wire.WithTransportLayerReadFilter(c.reads.filter)),
		sipgo.WithUserAgentTransactionLayerOptions(
			wire.WithTransactionLayerLogger(quiet), wire.WithTransactionLayerUnhandledResponseHandler(c.stray),
			wire.WithTransactionLayerTerminateOnConnClose()),
	)
	if err != nil {
		return err
	}
	c.agent = agent
	server, err := sipgo.NewServer(agent, sipgo.WithServerLogger(quiet))
	if err != nil {
		return err
	}
	server.OnNoRoute(c.serveRequest)
	if c.client, err = sipgo.NewClient(agent, sipgo.WithClientLogger(quiet)); err != nil {
		return err
	}
	if err := c.bind(server, listen); err != nil {
		return err
	}
	c.ended.Go(func() { // resolve the trunk, so that its messages are accepted before the first call
		ctx, cancel := context.WithTimeout(c.stopped, c.First)
		defer cancel()
		c.resolve(ctx)
	})
	if c.Register {
		c.ended.Go(c.register)
	}
	return nil
}

// network restricts a protocol to an address's family.
func network(proto string, a netip.Addr) string {
	if a.Is4() {
		return proto + "4"
	}
	return proto
}

// bind opens the signalling socket. With TLS there is none: we have no certificate, so the trunk
// uses the connection that we make.
func (c *Carrier) bind(server *sipgo.Server, listen netip.AddrPort) error {
	switch c.Transport {
	case UDP:
		conn, err := net.ListenUDP(network("udp", listen.Addr()), net.UDPAddrFromAddrPort(listen))
		if err != nil {
			return err
		}
		c.listen = conn.LocalAddr().(*net.UDPAddr).AddrPort()
		ready := make(chan struct{}) // closed when the library uses the socket instead of opening its own
		c.served.Go(func() { server.ServeUDP(&datagrams{PacketConn: conn, hears: c.hears, ready: ready}) })
		c.close = conn.Close
		<-ready
	case TCP:
		l, err := net.ListenTCP(network("tcp", listen.Addr()), net.TCPAddrFromAddrPort(listen))
		if err != nil {
			return err
		}
		c.listen = l.Addr().(*net.TCPAddr).AddrPort()
		c.served.Go(func() { server.ServeTCP(&connections{l, c.hears}) })
		c.close = l.Close
	}
	return nil
}

// Name implements [carrier.Carrier].
func (c *Carrier) Name() string { return c.Config.Name }

// Close hangs up, waits until the calls end or ctx is done, and closes the sockets.
func (c *Carrier) Close(ctx context.Context) {
	c.mu.Lock()
	c.stop()
	c.mu.Unlock()
	ended := make(chan struct{})
	go func() { c.ended.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	c.shut()
}

// shut closes the sockets.
func (c *Carrier) shut() {
	c.stop()
	c.close()
	c.served.Wait()
	c.agent.Close()
}

// Send implements [carrier.Carrier]. It returns when the call is over.
func (c *Carrier) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	return c.call(ctx, m)
}

// Ask implements [carrier.Asker]. It returns when the call is over.
func (c *Carrier) Ask(ctx context.Context, m verify.Message) (carrier.Result, error) {
	return c.call(ctx, m)
}

// call makes a call from beginning to end.
func (c *Carrier) call(ctx context.Context, m verify.Message) (carrier.Result, error) {
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	default:
		return carrier.Result{}, full(errors.New("the limit of concurrent calls is reached"))
	}
	call := newCall(c, m)
	if !c.add(call) {
		return carrier.Result{}, carrier.Because(verify.ReasonInterrupted, errors.New("shut down"))
	}
	defer c.remove(call)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.stopped, cancel)()

	err := call.make(ctx, m)
	if err != nil {
		call.Reason = carrier.Decision(err).Reason
	}
	c.noteRefusal(call.Reason, err)
	c.report(&call.Call)
	return carrier.Result{Ref: call.id, Delivered: err == nil, Verdict: call.Verdict, Call: call.Call.Call}, err
}

// noteRefusal logs once that the trunk refuses our credentials, until it takes them again.
func (c *Carrier) noteRefusal(reason verify.Reason, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reason == verify.ReasonAuth && !c.refused {
		c.Log.Error("the trunk takes no calls from us until somebody acts", "carrier", c.Name(), "reason", verify.ReasonMisconfigured, "err", err)
	}
	c.refused = reason == verify.ReasonAuth
}

func (c *Carrier) report(r *Call) {
	c.Log.Info("call ended", "carrier", c.Name(), "verification", r.Verification, "attempt", r.Attempt,
		"status", r.Status, "reason", r.Reason, "ring", r.Ring.Round(time.Millisecond), "talk", r.Talk.Round(time.Millisecond),
		"said", r.Said, "keys", r.Keys, "verdict", r.Verdict, "hung_up", r.HungUp, "late", r.Late.Round(time.Millisecond))
	if c.Ended != nil {
		c.Ended(*r)
	}
}

// add registers a call. It reports false if we are shutting down.
func (c *Carrier) add(call *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped.Err() != nil {
		return false
	}
	c.calls[call.id] = call
	c.ended.Add(1)
	return true
}

func (c *Carrier) remove(call *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, call.id)
	c.ended.Done()
}

// enter accepts signalling from the address of a phone that answered, until
// leave.
func (c *Carrier) enter(phone netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phones[phone]++
}

func (c *Carrier) leave(phone netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phones[phone]--; c.phones[phone] == 0 {
		delete(c.phones, phone)
	}
}

// find returns the call that a request belongs to, or nil. The Call-ID and both tags must match,
// because a Call-ID alone isn't secret.
func (c *Carrier) find(r *wire.Request) *call {
	c.mu.Lock()
	call := c.calls[string(*r.CallID())]
	c.mu.Unlock()
	if call == nil || !call.within(r) {
		return nil
	}
	return call
}

// maxTrusted bounds the number of remembered addresses of a trunk.
const maxTrusted = 256

// trust adds an address to the trunk's.
func (c *Carrier) trust(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.trusted) >= maxTrusted {
		clear(c.trusted)
	}
	c.trusted[a.Unmap()] = true
}

// trusts reports whether an address is the trunk's or a peer's.
func (c *Carrier) trusts(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range c.Peers {
		if p.Contains(a) {
			return true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trusted[a]
}

// hears reports whether signalling from an address is accepted: from the trunk's, or from that of a
// phone in a call.
func (c *Carrier) hears(a netip.Addr) bool {
	if c.trusts(a) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phones[a.Unmap()] > 0
}

// here returns our address as the trunk sees it.
func (c *Carrier) here(trunk netip.AddrPort) (netip.Addr, error) {
	if c.Advertise != "" {
		return netip.MustParseAddr(c.Advertise), nil // checked
	}
	if !c.ports.ip.IsUnspecified() {
		return c.ports.ip, nil
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(trunk)) // a UDP dial sends nothing
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// serveRequest answers the trunk's requests. The library calls it in its own
// goroutines.
func (c *Carrier) serveRequest(r *wire.Request, tx wire.ServerTransaction) {
	defer c.survive()
	if r.IsAck() {
		if call := c.find(r); call != nil {
			call.acceptAnswer(r)
		}
		return
	}
	said := c.replyTo(r)
	answer := wire.NewResponseFromRequest(r, said.status, said.reason, said.sdp)
	if said.sdp != nil {
		answer.AppendHeader(wire.NewHeader("Content-Type", sdpType))
	}
	if said.contact != "" {
		answer.AppendHeader(wire.NewHeader("Contact", said.contact))
	}
	if said.status == 405 || r.Method == wire.OPTIONS {
		answer.AppendHeader(wire.NewHeader("Allow", allowed))
	}
	tx.Respond(answer)
}

// survive recovers from a panic, so that a message can't end the process.
func (c *Carrier) survive() {
	if p := recover(); p != nil {
		what := fmt.Sprintf("%T", p) // its words may quote the message
		if err, ok := p.(runtime.Error); ok {
			what = err.Error()
		}
		c.Log.Error("a SIP message caused a panic", "carrier", c.Name(), "panic", what, "stack", string(debug.Stack()))
	}
}

const allowed = "ACK, BYE, CANCEL, INFO, INVITE, OPTIONS, UPDATE"

// A reply is the response to a request.
type reply struct {
	status  int
	reason  string
	sdp     []byte
	contact string // our address, if the request refreshes it
}

var ok = reply{status: 200, reason: "OK"}

// replyTo returns the response to a request other than ACK.
func (c *Carrier) replyTo(r *wire.Request) reply {
	call := c.find(r)
	switch {
	case r.Method == wire.OPTIONS: // the trunk checks that we are alive
		return ok
	case call == nil && (r.Method == wire.INVITE || r.Method == wire.REGISTER || r.Method == wire.MESSAGE):
		return reply{status: 403, reason: "Forbidden"} // we accept no calls
	case call == nil:
		return reply{status: 481, reason: "Call/Transaction Does Not Exist"}
	}
	switch r.Method {
	case wire.BYE:
		call.cut.Store(cutOff(r))
		call.hangUp()
		return ok
	case wire.INFO:
		if key, ok := infoKey(r); ok {
			call.press(key, infos)
		}
		return ok
	case wire.INVITE, wire.UPDATE: // refreshes the session, or changes the media
		return call.acceptOffer(r)
	}
	return reply{status: 405, reason: "Method Not Allowed"}
}

// infoKey returns the key in an INFO. Two bodies are common: application/dtmf-relay with a line
// Signal=5, and application/dtmf with the key alone. 10 and 11 stand for star and hash.
func infoKey(r *wire.Request) (byte, bool) {
	kind := r.GetHeader("Content-Type")
	if kind == nil || !strings.HasPrefix(strings.ToLower(kind.Value()), "application/dtmf") {
		return 0, false
	}
	for line := range strings.Lines(string(r.Body())) {
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			name, value = "signal", line
		}
		if !strings.EqualFold(strings.TrimSpace(name), "signal") {
			continue
		}
		switch value = strings.ToUpper(strings.TrimSpace(value)); {
		case value == "10":
			return '*', true
		case value == "11":
			return '#', true
		case len(value) == 1 && strings.Contains(keyNames, value):
			return value[0], true
		}
	}
	return 0, false
}
