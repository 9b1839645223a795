package sip

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/emiago/sipgo/sip"
)

// The functions below filter input before the library sees it. A panic in the library would end
// one of its goroutines, and with it the process. Only complete messages from the trunk pass,
// which can be parsed and have the headers that the library relies on.

var parser = wire.NewParser()

// maxMessage is the size of the longest accepted SIP message.
const maxMessage = 32 << 10

// wellFormed reports whether data is one SIP message with all mandatory headers.
func wellFormed(data []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	m, err := parser.ParseSIP(bytes.Clone(data))
	if err != nil {
		return false
	}
	switch m := m.(type) {
	case *wire.Request:
		return complete(m.Via(), m.From(), m.To(), m.CallID(), m.CSeq()) &&
			m.CSeq().MethodName == m.Method && m.Recipient.Host != ""
	case *wire.Response:
		return complete(m.Via(), m.From(), m.To(), m.CallID(), m.CSeq()) &&
			m.StatusCode >= 100 && m.StatusCode < 700
	}
	return false
}

// complete reports whether a message has the mandatory headers (RFC 3261 §8.1.1).
func complete(via *wire.ViaHeader, from *wire.FromHeader, to *wire.ToHeader, id *wire.CallIDHeader, seq *wire.CSeqHeader) bool {
	if via == nil || from == nil || to == nil || id == nil || seq == nil || *id == "" || via.Host == "" {
		return false
	}
	branch, ok := via.Params.Get("branch")
	return ok && strings.HasPrefix(branch, wire.RFC3261BranchMagicCookie) && len(branch) > len(wire.RFC3261BranchMagicCookie)
}

// datagrams reads messages from accepted addresses only.
type datagrams struct {
	net.PacketConn
	hears func(netip.Addr) bool
	ready chan struct{} // closed when reading begins
	once  sync.Once
}

func (d *datagrams) ReadFrom(buf []byte) (int, net.Addr, error) {
	d.once.Do(func() { close(d.ready) })
	for {
		n, from, err := d.PacketConn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return n, from, err
		}
		if err != nil {
			continue // of one datagram; the library would stop reading
		}
		if a, ok := from.(*net.UDPAddr); ok && d.hears(a.AddrPort().Addr()) && wellFormed(buf[:n]) {
			return n, from, nil
		}
	}
}

// connections accepts connections from accepted addresses only.
type connections struct {
	net.Listener
	hears func(netip.Addr) bool
}

func (l *connections) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if a, ok := c.RemoteAddr().(*net.TCPAddr); ok && l.hears(a.AddrPort().Addr()) {
			return c, nil
		}
		c.Close()
	}
}

// streams holds the incomplete message on each connection.
type streams struct {
	heard atomic.Int64 // when anything was last read, Unix nanoseconds

	mu   sync.Mutex // guards the fields below
	part map[stream][]byte
}

// silent reports whether nothing has been read since an instant.
func (s *streams) silent(since time.Time) bool { return s.heard.Load() < since.UnixNano() }

type stream struct{ local, remote string }

// maxStreams bounds the number of remembered connections. A connection that is forgotten in the
// middle of a message fails and is made again.
const maxStreams = 256

func newStreams() *streams { return &streams{part: map[stream][]byte{}} }

var errStream = errors.New("not SIP")

// filter returns the complete messages in the data read from a connection. An error ends the
// connection, because after an invalid message the beginning of the next one is unknown.
func (s *streams) filter(from wire.TransportReadProps, data []byte) ([]byte, error) {
	if from.Transport == "UDP" { // each datagram is one message: see datagrams
		return data, nil
	}
	s.heard.Store(time.Now().UnixNano())
	id := stream{from.LocalAddr.String(), from.RemoteAddr.String()}
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := append(s.part[id], data...)
	delete(s.part, id)
	var whole []byte
	for {
		rest = bytes.TrimLeft(rest, "\r\n\x00") // keep-alives between messages
		n, ok := length(rest)
		if n > maxMessage || !ok && len(rest) > maxMessage {
			return nil, errStream
		}
		if !ok || n > len(rest) {
			break
		}
		if !wellFormed(rest[:n]) {
			return nil, errStream
		}
		whole = append(whole, rest[:n]...)
		rest = rest[n:]
	}
	if len(rest) > 0 {
		if len(s.part) >= maxStreams {
			clear(s.part)
		}
		s.part[id] = bytes.Clone(rest)
	}
	return whole, nil
}

// length returns the length of the message that data begins with. It reports false while its headers
// are incomplete.
func length(data []byte) (n int, ok bool) {
	head, _, ok := bytes.Cut(data, []byte("\r\n\r\n"))
	if !ok {
		return 0, false
	}
	n = len(head) + 4
	for line := range bytes.Lines(head) {
		name, value, _ := strings.Cut(string(line), ":")
		if name = strings.TrimSpace(name); !strings.EqualFold(name, "Content-Length") && !strings.EqualFold(name, "l") {
			continue
		}
		body, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
		if err != nil {
			return maxMessage + 1, true
		}
		return n + int(body), true
	}
	return n, true
}
