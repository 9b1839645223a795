package sip

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Payload types. Those of G.711 are fixed (RFC 3551 §6); 101 is the usual one for keys.
const (
	mu   = 0
	aLaw = 8
	keys = 101
)

// suite is the cipher suite that every SRTP implementation supports (RFC 4568
// §6.2.1).
const suite = "AES_CM_128_HMAC_SHA1_80"

// keyLength is the length of the suite's key and salt together.
const keyLength = 16 + 14

// offer returns the description of our side of a call (RFC 8866, RFC 3264): G.711 in both laws, keys as
// events, and only SRTP if there is a key. version numbers the descriptions of one call. way is the
// direction of the media.
func offer(at netip.AddrPort, version int, key []byte, way string, types ...int) []byte {
	family, profile := "IP4", "RTP/AVP"
	if at.Addr().Is6() {
		family = "IP6"
	}
	if key != nil {
		profile = "RTP/SAVP"
	}
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("v=0")
	line("o=- %d %d IN %s %s", at.Port(), version, family, at.Addr())
	line("s=-")
	line("c=IN %s %s", family, at.Addr())
	line("t=0 0")
	line("m=audio %d %s %s", at.Port(), profile, strings.Trim(fmt.Sprint(types), "[]"))
	for _, t := range types {
		switch t {
		case mu:
			line("a=rtpmap:%d PCMU/8000", t)
		case aLaw:
			line("a=rtpmap:%d PCMA/8000", t)
		default:
			line("a=rtpmap:%d telephone-event/8000", t)
			line("a=fmtp:%d 0-15", t)
		}
	}
	if key != nil {
		line("a=crypto:1 %s inline:%s", suite, base64.StdEncoding.EncodeToString(key))
	}
	line("a=ptime:20")
	line("a=" + way)
	return b.Bytes()
}

// A side is the other side's description of itself.
type side struct {
	at    netip.AddrPort // where to send media
	codec int            // mu or aLaw
	keys  int            // the payload type of its keys, or -1
	key   []byte         // for its SRTP, or nil
	way   string         // the direction of the media, as the other side sees it

	sections []string // of an offer: its media lines, which all need one in the answer (RFC 3264 §6)
	chosen   int      // the one that we take
}

// The directions of media (RFC 3264 §5.1), as one side sees them.
const (
	bothWays = "sendrecv"
	sendOnly = "sendonly"
	recvOnly = "recvonly"
	noWay    = "inactive"
)

// holds reports whether the other side has put the call on hold.
func (s side) holds() bool { return s.way == sendOnly || s.way == noWay }

// answer returns the direction as seen from here.
func (s side) answer() string {
	switch s.way {
	case sendOnly:
		return recvOnly
	case recvOnly:
		return sendOnly
	}
	return s.way
}

var errMedia = errors.New("there is no common media format")

// read parses a session description, and chooses its first section that we can take. The description
// may be wrong or hostile; the only result of that is that there is no common media format.
func read(sdp []byte) (side, error) {
	whole := section{side: side{codec: -1, keys: -1, way: bothWays}}
	at := &whole
	var all []section
	var lines []string
	for line := range strings.Lines(string(sdp)) {
		line = strings.TrimRight(line, "\r\n")
		kind, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		switch {
		case kind == "m": // the following lines belong to this section
			all = append(all, section{side: whole.side})
			at = &all[len(all)-1]
			at.begin(strings.Fields(value))
			lines = append(lines, value)
		case kind == "c":
			at.addr = connection(value)
		case kind == "a" && (value == bothWays || value == sendOnly || value == recvOnly || value == noWay):
			at.way = value
		case kind == "a" && at != &whole:
			at.attribute(value)
		}
	}
	for i, section := range all {
		if s, err := section.settle(whole.addr); err == nil {
			s.sections, s.chosen = lines, i
			return s, nil
		}
	}
	return whole.side, errMedia
}

// A section is a part of a description: that of one media, or the beginning, which is about all.
type section struct {
	side
	addr    netip.Addr
	port    uint16
	profile string
}

// begin parses the fields of a media line. A port 0 means that the section can't be taken.
func (s *section) begin(f []string) {
	if len(f) < 4 || f[0] != "audio" {
		return
	}
	if n, err := strconv.ParseUint(f[1], 10, 16); err == nil {
		s.port, s.profile = uint16(n), f[2]
		s.codec = firstCodec(f[3:])
	}
}

// answerTo arranges our description as the answer to an offer: it has a section for each of the offer's, and
// refuses all but the chosen one.
func answerTo(offered side, ours []byte) []byte {
	at := bytes.Index(ours, []byte("m="))
	out := bytes.Clone(ours[:at])
	for i, line := range offered.sections {
		if i == offered.chosen {
			out = append(out, ours[at:]...)
			continue
		}
		f := strings.Fields(line)
		if len(f) < 4 {
			f = []string{"application", "0", "unknown", "0"}
		}
		out = fmt.Appendf(out, "m=%s 0 %s\r\n", f[0], strings.Join(f[2:], " "))
	}
	return out
}

// firstCodec returns the first of our codecs in an order of preference.
func firstCodec(types []string) int {
	for _, t := range types {
		switch t {
		case "0":
			return mu
		case "8":
			return aLaw
		}
	}
	return -1
}

// connection parses "IN IP4 192.0.2.1".
func connection(value string) netip.Addr {
	f := strings.Fields(value)
	if len(f) < 3 || f[0] != "IN" {
		return netip.Addr{}
	}
	host, _, _ := strings.Cut(f[2], "/")
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// attribute parses an attribute of the media.
func (s *side) attribute(value string) {
	name, rest, _ := strings.Cut(value, ":")
	f := strings.Fields(rest)
	switch {
	case name == "rtpmap" && len(f) >= 2 && strings.EqualFold(f[1], "telephone-event/8000"):
		if n, err := strconv.ParseUint(f[0], 10, 7); err == nil && s.keys < 0 {
			s.keys = int(n)
		}
	case name == "crypto" && len(f) >= 3 && f[1] == suite && s.key == nil:
		inline, ok := strings.CutPrefix(f[2], "inline:")
		inline, _, _ = strings.Cut(inline, "|") // drop the key's lifetime and its name among several
		key, err := base64.StdEncoding.DecodeString(inline)
		if ok && err == nil && len(key) == keyLength {
			s.key = key
		}
	}
}

// settle decides whether there can be media.
func (s section) settle(session netip.Addr) (side, error) {
	media := s.addr
	if !media.IsValid() {
		media = session
	}
	secure := strings.HasPrefix(s.profile, "RTP/SAVP")
	plain := strings.HasPrefix(s.profile, "RTP/AVP")
	if !media.IsValid() || s.port == 0 || s.codec < 0 || !secure && !plain || secure && s.key == nil {
		return s.side, errMedia
	}
	switch {
	case media.IsUnspecified(): // how calls were put on hold before there were directions (RFC 2543)
		s.way = noWay
	case !media.IsGlobalUnicast() && !media.IsLoopback() && !media.IsLinkLocalUnicast():
		return s.side, errMedia // the code must reach a single listener
	}
	if plain {
		s.key = nil
	}
	s.at = netip.AddrPortFrom(media, s.port)
	return s.side, nil
}
