package sip

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/logtest"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

// TestMain lets many tests run at once, however few the processors: they wait for calls to end.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "24") // before the command line is read
	os.Exit(m.Run())
}

// patience is how long a test waits for what must come.
const patience = 80 * time.Second

var loopback = netip.MustParseAddr("127.0.0.1")

// A peer is a trunk that does what the test says, message by message. What real ones do is in
// real_test.go.
type peer struct {
	t     *testing.T
	conn  *net.UDPConn
	sound *net.UDPConn

	closed chan struct{}
	once   sync.Once

	requests  chan *wire.Request // without repetitions, and without acknowledgements
	acks      chan *wire.Request
	responses chan *wire.Response

	mu       sync.Mutex // guards packets
	packets  [][]byte
	arrivals chan struct{} // one token at least after packets grew
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	p := &peer{
		t: t, conn: listenUDP(t), sound: listenUDP(t), arrivals: make(chan struct{}, 1), closed: make(chan struct{}),
		requests: make(chan *wire.Request, 100), acks: make(chan *wire.Request, 100), responses: make(chan *wire.Response, 100),
	}
	var reading sync.WaitGroup
	reading.Go(p.readSound)
	reading.Go(p.read)
	t.Cleanup(func() { // who reads may be about to say something of the test
		p.close()
		reading.Wait()
	})
	return p
}

func (p *peer) close() {
	p.once.Do(func() {
		close(p.closed)
		p.conn.Close()
		p.sound.Close()
	})
}

func (p *peer) readSound() {
	buf := make([]byte, 2048)
	for {
		n, err := p.sound.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.packets = append(p.packets, append([]byte(nil), buf[:n]...))
		p.mu.Unlock()
		select {
		case p.arrivals <- struct{}{}:
		default:
		}
	}
}

// read sorts what comes.
func (p *peer) read() {
	seen := map[string]bool{}
	buf := make([]byte, maxMessage)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := parser.ParseSIP(append([]byte(nil), buf[:n]...))
		if err != nil || !wellFormed(buf[:n]) {
			p.t.Errorf("the carrier sent something broken: %v\n%s", err, buf[:n])
			continue
		}
		switch m := m.(type) {
		case *wire.Response:
			put(p, p.responses, m)
		case *wire.Request:
			m.SetSource(from.String())
			branch, _ := m.Via().Params.Get("branch")
			id := branch + string(m.Method)
			switch {
			case m.IsAck():
				put(p, p.acks, m)
			case seen[id]:
			default:
				seen[id] = true
				put(p, p.requests, m)
			}
		}
	}
}

// put keeps a message until the test wants it, or is over.
func put[M any](p *peer, to chan<- M, m M) {
	select {
	case to <- m:
	case <-p.t.Context().Done():
	}
}

func listenUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func port(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

// heard waits until n packets of sound have come, and returns all so far.
func (p *peer) heard(n int) [][]byte {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		all := p.packets
		p.mu.Unlock()
		if len(all) >= n {
			return all
		}
		select {
		case <-p.arrivals:
		case <-deadline:
			p.t.Fatalf("%d packets of sound came, want %d", len(all), n)
		}
	}
}

// expect waits for a request.
func (p *peer) expect(method wire.RequestMethod) *wire.Request {
	p.t.Helper()
	from := p.requests
	if method == wire.ACK {
		from = p.acks
	}
	select {
	case r := <-from:
		if r.Method != method {
			p.t.Fatalf("got %s, want %s:\n%s", r.Method, method, r)
		}
		return r
	case <-time.After(patience):
		p.t.Fatalf("no %s came", method)
	}
	panic("unreachable")
}

// tag is the peer's in every call.
const tag = "peer"

// reply answers a request, with headers of the form "Name: value".
func (p *peer) reply(r *wire.Request, status int, body string, headers ...string) {
	p.t.Helper()
	res := wire.NewResponseFromRequest(r, status, "So be it", []byte(body))
	if status > 100 {
		res.To().Params.Remove("tag")
		res.To().Params.Add("tag", tag)
	}
	if body != "" {
		res.AppendHeader(wire.NewHeader("Content-Type", sdpType))
	}
	res.AppendHeader(wire.NewHeader("Contact", fmt.Sprintf("<sip:peer@127.0.0.1:%d>", port(p.conn))))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		res.AppendHeader(wire.NewHeader(name, value))
	}
	p.write(res.String(), r.Source())
}

func (p *peer) write(message, to string) {
	p.t.Helper()
	addr := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))
	if _, err := p.conn.WriteTo([]byte(message), addr); err != nil && !errors.Is(err, net.ErrClosed) {
		p.t.Error(err)
	}
}

// sdp offers both laws, in an order, to where the peer hears.
func (p *peer) sdp(types ...int) string {
	if types == nil {
		types = []int{mu, aLaw, keys}
	}
	return string(offer(netip.AddrPortFrom(loopback, uint16(port(p.sound))), 1, nil, bothWays, types...))
}

// answer takes a call: it rings, is answered and acknowledged.
func (p *peer) answer(types ...int) *wire.Request {
	p.t.Helper()
	invite := p.expect(wire.INVITE)
	p.reply(invite, 180, "")
	p.reply(invite, 200, p.sdp(types...))
	p.expect(wire.ACK)
	return invite
}

// ask makes a request of the peer's own within the call.
func (p *peer) ask(method wire.RequestMethod, invite *wire.Request, seq uint32, kind, body string) {
	p.t.Helper()
	p.write(p.request(method, invite, seq, kind, body).String(), invite.Source())
}

func (p *peer) request(method wire.RequestMethod, invite *wire.Request, seq uint32, kind, body string) *wire.Request {
	r := wire.NewRequest(method, invite.Contact().Address)
	via := &wire.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP", Host: "127.0.0.1", Port: port(p.conn)}
	via.Params.Add("branch", wire.GenerateBranch())
	r.AppendHeader(via)
	from := &wire.FromHeader{Address: invite.To().Address}
	from.Params.Add("tag", tag)
	r.AppendHeader(from)
	r.AppendHeader(&wire.ToHeader{Address: invite.From().Address, Params: invite.From().Params})
	r.AppendHeader(wire.HeaderClone(invite.CallID()))
	r.AppendHeader(&wire.CSeqHeader{SeqNo: seq, MethodName: method})
	r.AppendHeader(wire.NewHeader("Contact", fmt.Sprintf("<sip:peer@127.0.0.1:%d>", port(p.conn))))
	if kind != "" {
		r.AppendHeader(wire.NewHeader("Content-Type", kind))
	}
	r.SetBody([]byte(body))
	return r
}

// bye hangs up, and waits until the carrier has noticed.
func (p *peer) bye(invite *wire.Request) { p.ask(wire.BYE, invite, 100, "", "") }

// status waits for an answer to one of the peer's requests.
func (p *peer) status() *wire.Response {
	p.t.Helper()
	select {
	case r := <-p.responses:
		return r
	case <-time.After(patience):
		p.t.Fatal("no answer came")
	}
	panic("unreachable")
}

// trunk makes a carrier whose trunk is a peer.
func trunk(t *testing.T, addr string, change func(*Config)) *Carrier {
	t.Helper()
	s, err := speech.New(speech.Config{Times: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Name: "trunk", Trunk: addr, Listen: "127.0.0.1:0", Ports: [2]uint16{21000, 29999},
		Speech: s, Log: slog.New(slog.NewTextHandler(logtest.Log{T: t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	k, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		k.Close(ctx)
	})
	return k
}

func (p *peer) trunk(change func(*Config)) *Carrier {
	p.t.Helper()
	return trunk(p.t, p.conn.LocalAddr().String(), change)
}

var message = verify.Message{
	Verification: verify.NewID(time.Unix(0, 0)), Channel: verify.ChannelVoice,
	To: "+12025550100", From: "+12025550199", Code: "7", Attempt: 1,
}

// outcome is what a Send returned.
type outcome struct {
	ref  string
	err  error
	took time.Duration
}

// send starts a call.
func send(ctx context.Context, c *Carrier, m verify.Message) <-chan outcome {
	out := make(chan outcome, 1)
	go func() {
		began := time.Now()
		r, err := c.Send(ctx, m)
		out <- outcome{r.Ref, err, time.Since(began)}
	}()
	return out
}

// want waits for the end of a call, and compares.
func want(t *testing.T, got <-chan outcome, o verify.AttemptOutcome, reason verify.Reason) outcome {
	t.Helper()
	out := endOf(t, got)
	compare(t, out, o, reason)
	return out
}

// endOf waits for the end of a call.
func endOf(t *testing.T, got <-chan outcome) outcome {
	t.Helper()
	select {
	case out := <-got:
		return out
	case <-time.After(patience):
		t.Fatal("the call doesn't end")
	}
	panic("unreachable")
}

// compare compares the end of a call.
func compare(t *testing.T, out outcome, o verify.AttemptOutcome, reason verify.Reason) {
	t.Helper()
	if o == verify.AttemptAccepted {
		if out.err != nil {
			t.Fatalf("got %v, want accepted", out.err)
		}
		return
	}
	var e *carrier.Error
	if !errors.As(out.err, &e) || e.Outcome != o || e.Reason != reason {
		t.Fatalf("got %+v (%v), want %v %s", carrier.Decision(out.err), out.err, o, reason)
	}
}
