package sip

import (
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/verify"
)

var emptyPool = x509.NewCertPool()

func listenOn(t *testing.T, ip string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// lines is a message that is right, line by line.
func lines(method string, n int) []string {
	first := method + " sip:otp@127.0.0.1 SIP/2.0"
	if method == "SIP/2.0" { // an answer
		first, method = "SIP/2.0 200 OK", "INVITE"
	}
	return []string{
		first,
		fmt.Sprintf("Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK%d", n),
		"From: <sip:a@127.0.0.1>;tag=1", "To: <sip:otp@127.0.0.1>;tag=2", fmt.Sprintf("Call-ID: %d@x", n),
		"CSeq: 1 " + method, "Max-Forwards: 70", "Contact: <sip:a@127.0.0.1>", "Record-Route: <sip:127.0.0.1;lr>", "Content-Length: 0",
	}
}

func joined(lines []string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n") }

var methods = strings.Fields("BYE INVITE OPTIONS ACK CANCEL INFO REGISTER NOTIFY FOO UPDATE REFER PRACK SIP/2.0")

// malformed returns n broken messages: the systematic ones first, then random ones. Among them are
// answers, as a hostile trunk could send.
func malformed(n int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	var all [][]byte
	for _, m := range methods {
		for i := range lines(m, 0) {
			for _, broken := range []string{"", strings.Split(lines(m, 0)[i], ":")[0] + ":", "\x00\xff", strings.Repeat("x", 5000)} {
				l := lines(m, len(all))
				l[i] = broken
				if broken == "" {
					l = append(l[:i], l[i+1:]...)
				}
				all = append(all, joined(l))
			}
		}
	}
	for len(all) < n {
		l := lines(methods[random.IntN(len(methods))], len(all))
		if random.IntN(3) == 0 {
			l[0] = fmt.Sprintf("SIP/2.0 %d OK", random.IntN(1000))
		}
		b := joined(l)
		for range 1 + random.IntN(5) {
			i := random.IntN(len(b))
			switch random.IntN(4) {
			case 0:
				b[i] = byte(random.IntN(256))
			case 1:
				b = append(b[:i], b[min(len(b), i+1+random.IntN(20)):]...)
			case 2:
				b = append(b[:i:i], append([]byte{byte(random.IntN(256)), ';', '<', ':'}[random.IntN(4):], b[i:]...)...)
			default:
				j := random.IntN(len(b))
				b = append(b, b[min(i, j):max(i, j)]...)
			}
			if len(b) == 0 {
				b = []byte("\r\n\r\n")
			}
		}
		all = append(all, b)
	}
	return all
}

// In the middle of a call come 20 000 broken datagrams from the trunk. Nothing of it is noticed.
func TestBrokenDatagramsHurtNobody(t *testing.T) {
	t.Parallel()
	n := 20_000
	if testing.Short() {
		n = 2_000
	}
	p := newPeer(t)
	c := p.trunk(func(c *Config) { c.Talk = maxTalk; says(t, c, 5) }) // so that the call outlasts them on any machine
	m := message
	m.Code = "7777777777"
	out := send(t.Context(), c, m)
	invite := p.answer()

	enemy := listenUDP(t) // at the trunk's address
	to := c.listen
	for i, m := range malformed(n) {
		if _, err := enemy.WriteToUDPAddrPort(m, to); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 { // not faster than they are taken, or they would be lost on the way
			ping(t, enemy, to, i)
		}
	}
	ping(t, enemy, to, n)
	packet := rtp(mu, 1, 1, make([]byte, frame))
	at := described(t, invite.Body()).at
	for i := range packet[:header] {
		packet[i] ^= 0xff
		p.soundTo(at, packet[:i])
		p.soundTo(at, packet)
	}
	p.heard(c.Speech.Script(t.Context(), "", nil, "7777777777").Once/frame + 2)
	p.bye(invite)
	want(t, out, verify.AttemptAccepted, verify.NoReason)
}

// ping asks whether the carrier lives until it says so.
func ping(t *testing.T, from *net.UDPConn, to netip.AddrPort, n int) {
	t.Helper()
	l := lines("OPTIONS", n)
	l[1] = fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=z9hG4bKping%d;rport", from.LocalAddr(), n)
	l[4] = fmt.Sprintf("Call-ID: ping%d", n)
	buf := make([]byte, maxMessage)
	for range 200 { // one that is lost costs a fifth of a second
		if _, err := from.WriteToUDPAddrPort(joined(l), to); err != nil {
			t.Fatal(err)
		}
		from.SetReadDeadline(time.Now().Add(patience / 200))
		for {
			k, err := from.Read(buf)
			if err != nil {
				break
			}
			if got := string(buf[:k]); strings.HasPrefix(got, "SIP/2.0 200 ") && strings.Contains(got, l[4]) {
				return
			}
		}
	}
	t.Fatal("the carrier doesn't live any more")
}

// Broken streams end their connection, and nothing else.
func TestBrokenStreamsHurtNobody(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(func(c *Config) { c.Transport = TCP })
	for deadline := time.Now().Add(patience); !c.trusts(loopback); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the trunk isn't known")
		}
	}
	for i, m := range malformed(600) {
		conn, err := net.Dial("tcp", c.listen.String())
		if err != nil {
			t.Fatal(err)
		}
		cut := len(m) * (i % 3) / 3
		conn.Write(m[:cut])
		conn.Write(m[cut:])
		conn.(*net.TCPConn).CloseWrite()
		conn.(*net.TCPConn).SetLinger(0) // or the ports would be taken for a minute
		if i%5 == 0 {
			conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			conn.Read(make([]byte, 100))
		}
		conn.Close()
	}
	conn, err := net.Dial("tcp", c.listen.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	whole := joined(lines("OPTIONS", 1))
	for _, part := range [][]byte{[]byte("\r\n\r\n"), whole[:20], whole[20:100], whole[100:]} { // in pieces
		if _, err := conn.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, maxMessage)
	for got := ""; !strings.Contains(got, "SIP/2.0 200 "); {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("no answer to OPTIONS: %v, after %q", err, got)
		}
		got += string(buf[:n])
	}
}

// Whatever passes the guard can be read by all who read it.
func FuzzGuard(f *testing.F) {
	for _, m := range malformed(800) {
		f.Add(m)
	}
	f.Add(joined(lines("SIP/2.0", 1)))
	c := &Carrier{Config: Config{Transport: UDP, Username: "a", Password: "b"}, ports: newPorts(loopback, [2]uint16{4000, 4009}), calls: map[string]*call{}, trusted: map[netip.Addr]bool{}, phones: map[netip.Addr]int{}}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !wellFormed(data) {
			return
		}
		m, err := parser.ParseSIP(data)
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *wire.Request:
			c.replyTo(m)
			infoKey(m)
		case *wire.Response:
			g := c.newLeg(m, netip.MustParseAddrPort("192.0.2.1:5060"), "", nil)
			defer g.close()
			g.ack()
			g.build(wire.BYE, 2)
			retryAfter(m)
			granted(m, wire.Uri{Host: "192.0.2.1"}, time.Hour)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add(offer(netip.MustParseAddrPort("192.0.2.1:4000"), 1, make([]byte, keyLength), bothWays, mu, aLaw, keys))
	f.Add([]byte("c=IN IP6 ::1\nm=audio 4000 RTP/AVP 0\n"))
	f.Fuzz(func(t *testing.T, sdp []byte) {
		s, err := read(sdp)
		if err == nil && (!s.at.IsValid() || s.at.Port() == 0 || s.codec != mu && s.codec != aLaw || s.keys > 127) {
			t.Errorf("got %+v", s)
		}
	})
}

func FuzzParseRTP(f *testing.F) {
	f.Add(rtp(mu, 1, 2, make([]byte, frame)))
	f.Add([]byte("\xb1\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x04"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, _, body, ok := parseRTP(p); ok && len(body) > len(p)-header {
			t.Errorf("%d bytes hold a body of %d", len(p), len(body))
		}
	})
}
