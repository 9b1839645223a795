package sip

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/verify"
)

// A zone is what a name server of a test knows. Names end with a dot.
type zone struct {
	srv map[string][]net.SRV
	a   map[string][]string
}

// resolver starts a name server for a zone.
func (z zone) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	conn := listenUDP(t)
	go func() {
		buf := make([]byte, 1024)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			conn.WriteTo(z.answer(buf[:n]), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", conn.LocalAddr().String())
	}}
}

// answer answers a query (RFC 1035 §4).
func (z zone) answer(query []byte) []byte {
	name, at := "", 12
	for n := int(query[at]); n != 0; n = int(query[at]) {
		name += string(query[at+1:at+1+n]) + "."
		at += 1 + n
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	var records [][]byte
	switch kind {
	case 1:
		for _, a := range z.a[name] {
			records = append(records, netip.MustParseAddr(a).AsSlice())
		}
	case 33:
		for _, s := range z.srv[name] {
			data := binary.BigEndian.AppendUint16(nil, s.Priority)
			data = binary.BigEndian.AppendUint16(data, s.Weight)
			data = binary.BigEndian.AppendUint16(data, s.Port)
			for label := range strings.SplitSeq(s.Target, ".") {
				data = append(append(data, byte(len(label))), label...)
			}
			records = append(records, data)
		}
	}
	code := byte(0)
	if z.a[name] == nil && z.srv[name] == nil {
		code = 3 // no such name
	}
	out := append([]byte{query[0], query[1], 0x84, code, 0, 1, 0, byte(len(records)), 0, 0, 0, 0}, query[12:at+5]...)
	for _, r := range records {
		out = append(out, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 1, 0, byte(len(r)))
		out = append(out, r...)
	}
	return out
}

// Of several addresses of a trunk, one is dead: the next one gets the call, and gets further ones at once until the
// dead one had its minute.
func TestTheNextAddressOfATrunkGetsTheCall(t *testing.T) {
	t.Parallel()
	const first = 3 * time.Second
	dead, alive := newPeer(t), newPeer(t)
	z := zone{
		srv: map[string][]net.SRV{"_sip._udp.trunk.test.": {
			{Target: "b.trunk.test.", Port: uint16(port(alive.conn)), Priority: 20},
			{Target: "gone.trunk.test.", Port: 5060, Priority: 5},
			{Target: "a.trunk.test.", Port: uint16(port(dead.conn)), Priority: 10},
		}},
		a: map[string][]string{"a.trunk.test.": {"127.0.0.1"}, "b.trunk.test.": {"127.0.0.1"}},
	}
	c := trunk(t, "trunk.test", func(c *Config) { c.First, c.Resolver = first, z.resolver(t) })
	call := func() outcome {
		t.Helper()
		out := send(t.Context(), c, message)
		invite := alive.expect(wire.INVITE)
		if invite.Recipient.Host != "trunk.test" || invite.Recipient.Port != 0 {
			t.Errorf("called %s", invite.Recipient.String())
		}
		alive.reply(invite, 486, "")
		alive.expect(wire.ACK)
		return want(t, out, verify.AttemptErrored, verify.ReasonBusy)
	}
	got := call()
	dead.expect(wire.INVITE)
	t.Logf("answered after %v, with first: %v", got.took, first)
	if got.took < first || got.took > first+10*time.Second {
		t.Errorf("it took %v, want little more than %v", got.took, first)
	}
	call()
	if len(dead.requests) > 0 {
		t.Error("the dead address was tried again at once")
	}
	c.mu.Lock()
	for at, died := range c.dead {
		c.dead[at] = died.Add(-deadFor)
	}
	c.mu.Unlock()
	out := send(t.Context(), c, message)
	dead.reply(dead.expect(wire.INVITE), 503, "") // it lives, but can't
	alive.reply(alive.expect(wire.INVITE), 603, "")
	want(t, out, verify.AttemptRefused, verify.ReasonDeclined)
}

func TestAddressesOfATrunk(t *testing.T) {
	t.Parallel()
	z := zone{
		srv: map[string][]net.SRV{
			"_sip._udp.trunk.test.":  {{Target: "b.test.", Port: 5070, Priority: 2}, {Target: "a.test.", Port: 5060, Priority: 1}},
			"_sips._tcp.trunk.test.": {{Target: "b.test.", Port: 5071}},
		},
		a: map[string][]string{"trunk.test.": {"192.0.2.9"}, "a.test.": {"192.0.2.1", "192.0.2.2"}, "b.test.": {"192.0.2.1"}},
	}
	for _, tt := range []struct {
		trunk     string
		transport Transport
		want      string
	}{
		{"trunk.test", UDP, "[192.0.2.1:5060 192.0.2.2:5060 192.0.2.1:5070]"},
		{"trunk.test", TCP, "[192.0.2.9:5060]"},
		{"trunk.test", TLS, "[192.0.2.1:5071]"},
		{"trunk.test:5080", UDP, "[192.0.2.9:5080]"},
		{"b.test", TLS, "[192.0.2.1:5061]"},
		{"192.0.2.5", UDP, "[192.0.2.5:5060]"},
		{"[2001:db8::1]:5070", UDP, "[[2001:db8::1]:5070]"},
		{"nowhere.test", UDP, "[] the trunk's name can't be looked up"},
	} {
		c := &Carrier{
			Config: Config{Trunk: tt.trunk, Transport: tt.transport, Resolver: z.resolver(t)}, ports: newPorts(loopback, [2]uint16{20000, 20999}),
			trusted: map[netip.Addr]bool{}, dead: map[netip.AddrPort]time.Time{},
		}
		all, err := c.resolve(t.Context())
		got := fmt.Sprint(all)
		if err != nil {
			got += " " + err.Error()
		}
		if got != tt.want {
			t.Errorf("%s by %s: got %s, want %s", tt.trunk, tt.transport, got, tt.want)
		}
		for _, at := range all {
			if !c.trusts(at.Addr()) {
				t.Errorf("%s by %s: %v isn't listened to", tt.trunk, tt.transport, at)
			}
		}
	}
}

// A registration goes to the next address as well.
func TestARegistrationFindsTheLivingAddress(t *testing.T) {
	t.Parallel()
	dead, alive := newPeer(t), newPeer(t)
	z := zone{
		srv: map[string][]net.SRV{"_sip._udp.trunk.test.": {
			{Target: "a.test.", Port: uint16(port(dead.conn)), Priority: 1}, {Target: "a.test.", Port: uint16(port(alive.conn)), Priority: 2},
		}},
		a: map[string][]string{"a.test.": {"127.0.0.1"}},
	}
	trunk(t, "trunk.test", func(c *Config) {
		login(c)
		c.Register, c.First, c.Resolver = true, 300*time.Millisecond, z.resolver(t)
	})
	dead.expect(wire.REGISTER)
	r := alive.expect(wire.REGISTER)
	alive.reply(r, 200, "", "Expires: 3600")
}
