package sip

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/srtp/v3"

	"github.com/countersign/countersign/internal/speech"
)

const (
	frame     = speech.Frame // samples per packet
	frameTime = frame * time.Second / speech.Rate
	header    = 12 // bytes of RTP before the samples
	// maxLate is how late a packet may be without moving the schedule of the following ones. After
	// a longer delay the schedule moves, because no receiver has a buffer for the burst.
	maxLate   = 100 * time.Millisecond
	maxPacket = 1500
)

// ports are the sockets for media: the even ports of a range, as RTP requires.
type ports struct {
	ip   netip.Addr
	low  int
	n    int // number of even ports
	next atomic.Uint32
}

func newPorts(ip netip.Addr, rng [2]uint16) *ports {
	low := (int(rng[0]) + 1) &^ 1
	return &ports{ip: ip, low: low, n: (int(rng[1]) - low + 2) / 2}
}

var errPorts = errors.New("no free port for sound")

// open binds the next free port.
func (p *ports) open() (*net.UDPConn, error) {
	for range p.n {
		port := p.low + 2*int(p.next.Add(1)%uint32(p.n))
		c, err := net.ListenUDP(network("udp", p.ip), net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.ip, uint16(port))))
		if err == nil {
			return c, nil
		}
	}
	return nil, errPorts
}

// A media is the RTP of one call over one socket (RFC 3550).
type media struct {
	conn    *net.UDPConn
	ip      netip.Addr            // of the socket
	trusted func(netip.Addr) bool // the addresses that may send us anything
	pressed func(key byte, by way)
	heard   atomic.Int64 // when the last packet came, Unix nanoseconds; 0 before the first
	bad     atomic.Int64 // packets that were dropped
	reader  sync.WaitGroup

	key  []byte        // our SRTP key, or nil
	seal *srtp.Context // for packets we send, or nil

	mu   sync.Mutex // guards the fields below
	peer side
	to   netip.AddrPort // where to send: the peer's announced address, until it sends from another one
	open *srtp.Context  // for packets the peer sends, or nil
	// The time of the last key, and whether there was one.
	lastEvent uint32
	anyEvent  bool
	tones     tones

	// Only the sending goroutine uses the fields below.
	ssrc, stamp uint32
	seq         uint16
	started     bool
	packet      []byte
}

// newMedia opens a call's socket, and makes a key if the call is encrypted.
func newMedia(p *ports, encrypted bool, trusted func(netip.Addr) bool, pressed func(byte, way)) (*media, error) {
	conn, err := p.open()
	if err != nil {
		return nil, err
	}
	var random [4 + 4 + 2]byte
	rand.Read(random[:])
	m := &media{
		conn: conn, ip: p.ip, trusted: trusted, pressed: pressed,
		ssrc: binary.BigEndian.Uint32(random[:]), stamp: binary.BigEndian.Uint32(random[4:]),
		seq:    binary.BigEndian.Uint16(random[8:]),
		packet: make([]byte, header, maxPacket),
	}
	if encrypted {
		m.key = make([]byte, keyLength)
		rand.Read(m.key)
		if m.seal, err = cipher(m.key); err != nil {
			conn.Close()
			return nil, err
		}
	}
	m.reader.Go(m.read)
	return m, nil
}

// replays is the size of the window in which repeated packets are recognised (RFC
// 3711 §3.3.2).
const replays = 64

func cipher(key []byte) (*srtp.Context, error) {
	c, err := srtp.CreateContext(key[:16], key[16:], srtp.ProtectionProfileAes128CmHmacSha1_80, srtp.SRTPReplayProtection(replays))
	if err != nil {
		return nil, fmt.Errorf("srtp: %w", err)
	}
	return c, nil
}

// port returns the port that we receive on.
func (m *media) port() uint16 { return m.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// connect applies the peer's session description, at the beginning or later.
func (m *media) connect(peer side) error {
	if (peer.key != nil) != (m.key != nil) {
		return errMedia // one side is encrypted and the other isn't
	}
	if m.ip.Is4() && !peer.at.Addr().Is4() {
		return errMedia // our socket can't reach it
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if peer.key != nil && string(peer.key) != string(m.peer.key) {
		open, err := cipher(peer.key)
		if err != nil {
			return err
		}
		m.open = open
	}
	if m.peer.at != peer.at {
		m.to = peer.at
	}
	m.peer = peer
	return nil
}

// held reports whether the other side has put the call on hold.
func (m *media) held() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peer.holds()
}

// close closes the socket and waits for the reader.
func (m *media) close() {
	m.conn.Close()
	m.reader.Wait()
}

// read handles packets until the socket is closed.
func (m *media) read() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := m.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || !m.take(buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())) {
			m.bad.Add(1)
		}
	}
}

// take handles one packet. From then on we send to the packet's source, because behind a NAT that
// is the address that works. The source must be trusted; otherwise anybody who finds the port would
// receive the code.
func (m *media) take(p []byte, from netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.peer.at.IsValid() || from.Addr() != m.peer.at.Addr() && !m.trusted(from.Addr()) {
		return false
	}
	if m.open != nil {
		plain, err := decrypt(m.open, p)
		if err != nil {
			return false
		}
		p = plain
	}
	kind, stamp, body, ok := parseRTP(p)
	if !ok {
		return false
	}
	switch kind {
	case mu:
		m.tones.hear(speech.Linear(body), m.tone)
	case aLaw:
		m.tones.hear(speech.LinearA(body), m.tone)
	case comfort:
	case m.peer.keys, keys: // what we offered counts even if the answer has another type, or none (RFC 3264 §5.1)
		m.event(stamp, body)
	default:
		return false
	}
	m.to = from
	m.heard.Store(time.Now().UnixNano())
	return true
}

// decrypt recovers from panics of the library, because anybody can send packets with a forged
// address.
func decrypt(c *srtp.Context, p []byte) (plain []byte, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("srtp: broken packet")
		}
	}()
	return c.DecryptRTP(nil, p, nil)
}

// comfort is the payload type of comfort noise (RFC 3389), which some send unasked.
const comfort = 13

// parseRTP parses a packet (RFC 3550 §5.1).
func parseRTP(p []byte) (kind int, stamp uint32, body []byte, ok bool) {
	if len(p) < header || p[0]>>6 != 2 {
		return 0, 0, nil, false
	}
	at := header + 4*int(p[0]&0x0f)
	if p[0]&0x10 != 0 { // with an extension
		if len(p) < at+4 {
			return 0, 0, nil, false
		}
		at += 4 + 4*int(binary.BigEndian.Uint16(p[at+2:]))
	}
	end := len(p)
	if p[0]&0x20 != 0 { // with padding
		end -= int(p[end-1])
	}
	if at > end {
		return 0, 0, nil, false
	}
	return int(p[1] & 0x7f), binary.BigEndian.Uint32(p[4:]), p[at:end], true
}

// keyNames maps event codes to keys (RFC 4733 §3.2).
const keyNames = "0123456789*#ABCD"

// lateEvent is how far before the latest key a packet counts as overtaken on its way. A packet
// further back means that the clock was reset.
const lateEvent = 5 * speech.Rate

// event handles a key. Its packets repeat while it is held, all with the time at which it
// was pressed. The first packet counts, so that a lost last packet doesn't matter. Callers
// hold mu.
func (m *media) event(stamp uint32, body []byte) {
	if len(body) < 4 || int(body[0]) >= len(keyNames) || m.anyEvent && m.lastEvent-stamp < lateEvent {
		return
	}
	m.anyEvent, m.lastEvent = true, stamp
	m.pressed(keyNames[body[0]], events)
}

func (m *media) tone(key byte) { m.pressed(key, inBand) }

// send sends one frame of µ-law, padded with silence.
func (m *media) send(sound []byte) error {
	m.mu.Lock()
	to, codec := m.to, m.peer.codec
	m.mu.Unlock()
	p := m.packet[:header]
	p[0], p[1] = 2<<6, byte(codec)
	if !m.started {
		m.started = true
		p[1] |= 0x80 // marks the first packet after silence
	}
	binary.BigEndian.PutUint16(p[2:], m.seq)
	binary.BigEndian.PutUint32(p[4:], m.stamp)
	binary.BigEndian.PutUint32(p[8:], m.ssrc)
	p = append(p, sound...)
	for len(p) < header+frame {
		p = append(p, speech.Silence)
	}
	if codec == aLaw {
		speech.ALaw(p[:header], p[header:])
	}
	m.seq++
	m.stamp += frame
	if m.seal != nil {
		var err error
		if p, err = m.seal.EncryptRTP(nil, p, nil); err != nil {
			return err
		}
	}
	_, err := m.conn.WriteToUDPAddrPort(p, to)
	return err
}
