package sip

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/sip/siptest"
	"github.com/countersign/countersign/internal/porttest"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

var _ carrier.Carrier = (*Carrier)(nil)

func TestAnAnsweredCallSaysTheCode(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]int{"µ-law": mu, "A-law": aLaw} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			ended := make(chan Call, 1)
			c := p.trunk(func(c *Config) { c.Ended = func(r Call) { ended <- r } })
			out := send(t.Context(), c, message)
			invite := p.answer(kind, keys)
			p.reply(p.expect(wire.BYE), 200, "")
			got := want(t, out, verify.AttemptAccepted, verify.NoReason)
			if got.ref != string(*invite.CallID()) {
				t.Errorf("the reference is %q, want the Call-ID %q", got.ref, *invite.CallID())
			}
			if u := invite.Recipient.User + " " + invite.From().Address.User; u != "+12025550100 +12025550199" {
				t.Errorf("called %s", u)
			}
			script := c.Speech.Script(t.Context(), "", nil, "7").All()
			if kind == aLaw {
				script = speech.ALaw(nil, script)
			}
			if sound := listen(t, p.heard(1), kind); !bytes.HasPrefix(sound, script) {
				t.Error("what was sent is not the script")
			}
			if r := <-ended; !r.Said || r.HungUp || r.Status != 200 || r.Reason != verify.NoReason || r.Talk < 3*time.Second || r.Ring > r.Talk {
				t.Errorf("recorded %+v", r)
			}
		})
	}
}

// listen puts packets together, and checks what RFC 3550 wants of them.
func listen(t *testing.T, packets [][]byte, kind int) []byte {
	t.Helper()
	var sound []byte
	for i, p := range packets {
		got, stamp, body, ok := parseRTP(p)
		if !ok || got != kind || len(body) != frame {
			t.Fatalf("packet %d: kind %d, %d bytes", i, got, len(body))
		}
		if marked := p[1]&0x80 != 0; marked != (i == 0) {
			t.Errorf("packet %d: marker %v", i, marked)
		}
		if i > 0 {
			last := packets[i-1]
			if binary.BigEndian.Uint16(p[2:]) != binary.BigEndian.Uint16(last[2:])+1 ||
				stamp != binary.BigEndian.Uint32(last[4:])+frame || !bytes.Equal(p[8:12], last[8:12]) {
				t.Fatalf("packet %d doesn't follow the one before it: % x, % x", i, last[:header], p[:header])
			}
		}
		sound = append(sound, body...)
	}
	return sound
}

func TestAnswersThatAreNoAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status  int
		outcome verify.AttemptOutcome
		reason  verify.Reason
		after   time.Duration
		whose   verify.Blame
		cause   string // the answer's Reason
	}{
		{486, verify.AttemptErrored, verify.ReasonBusy, busyWait, verify.BlameMessage, ""},
		{600, verify.AttemptErrored, verify.ReasonBusy, busyWait, verify.BlameMessage, ""},
		{480, verify.AttemptErrored, verify.ReasonNoAnswer, busyWait, verify.BlameMessage, ""},
		{408, verify.AttemptErrored, verify.ReasonNoAnswer, busyWait, verify.BlameMessage, ""},
		{603, verify.AttemptRefused, verify.ReasonDeclined, 0, verify.BlameMessage, ""},
		{404, verify.AttemptRefused, verify.ReasonInvalidNumber, 0, verify.BlameMessage, ""},
		{403, verify.AttemptRefused, verify.ReasonForbidden, 0, verify.BlameMessage, ""},
		{401, verify.AttemptRefused, verify.ReasonAuth, 0, verify.BlameCarrier, ""}, // we have no credentials
		{488, verify.AttemptRefused, verify.ReasonNoMedia, 0, verify.BlameMessage, ""},
		{503, verify.AttemptErrored, verify.ReasonUnavailable, 7 * time.Second, verify.BlameCarrier, ""}, // as it says
		{500, verify.AttemptErrored, verify.ReasonUnavailable, 7 * time.Second, verify.BlameCarrier, ""},
		{502, verify.AttemptErrored, verify.ReasonUnavailable, 7 * time.Second, verify.BlameMessage, `Q.850;cause=27;text="destination out of order"`},
		{500, verify.AttemptErrored, verify.ReasonUnavailable, 7 * time.Second, verify.BlameMessage, `q.850 ; text="x" ; cause=31`},
		{503, verify.AttemptErrored, verify.ReasonUnavailable, 7 * time.Second, verify.BlameCarrier, "Q.850;cause=34"}, // no circuit
		{503, verify.AttemptErrored, verify.ReasonUnavailable, 7 * time.Second, verify.BlameCarrier, "SIP;cause=20"},
		{480, verify.AttemptErrored, verify.ReasonBusy, busyWait, verify.BlameMessage, `Q.850;cause=17;text="User busy"`},
		{500, verify.AttemptErrored, verify.ReasonNoAnswer, busyWait, verify.BlameMessage, `SIP;cause=480, Q.850;cause=19;text="a, b"`},
		{503, verify.AttemptRefused, verify.ReasonInvalidNumber, 0, verify.BlameMessage, "Q.850;cause=1"},
		{480, verify.AttemptRefused, verify.ReasonDeclined, 0, verify.BlameMessage, "Q.850;cause=21"},
		{404, verify.AttemptErrored, verify.ReasonUnavailable, 7 * time.Second, verify.BlameCarrier, "Q.850;cause=38"}, // not the number's fault
		{486, verify.AttemptErrored, verify.ReasonBusy, busyWait, verify.BlameMessage, "Q.850;cause=16"},
		{429, verify.AttemptErrored, verify.ReasonUnavailable, 7 * time.Second, verify.BlameUs, ""},
		{302, verify.AttemptErrored, verify.ReasonRedirected, 0, verify.BlameMessage, ""},
		{420, verify.AttemptRefused, verify.ReasonRefused, 0, verify.BlameMessage, ""},
	} {
		t.Run(fmt.Sprint(tt.status, tt.cause), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			out := send(t.Context(), p.trunk(nil), message)
			invite := p.expect(wire.INVITE)
			headers := []string{"Retry-After: 7 (soon)"}
			if tt.cause != "" {
				headers = append(headers, "Reason: "+tt.cause)
			}
			p.reply(invite, tt.status, "", headers...)
			ack := p.expect(wire.ACK)
			if *ack.CallID() != *invite.CallID() {
				t.Error("the acknowledgement is of another call")
			}
			got := want(t, out, tt.outcome, tt.reason)
			if after := carrier.Decision(got.err).After; after != tt.after {
				t.Errorf("after %v, want %v", after, tt.after)
			}
			if whose := carrier.Decision(got.err).Whose(); whose != tt.whose {
				t.Errorf("a failure of %v, want %v", whose, tt.whose)
			}
			if strings.Contains(got.err.Error(), "2025550100") {
				t.Errorf("the error holds the number: %v", got.err)
			}
		})
	}
}

// A trunk that says nothing is given up within its time, not the library's half minute, so that
// another carrier gets its turn.
func TestADeadTrunkIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, transport := range []Transport{UDP, TCP, TLS} {
		t.Run(string(transport), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t) // nobody reads; and nobody listens on TCP
			c := p.trunk(func(c *Config) { c.Transport, c.First = transport, 300*time.Millisecond })
			got := want(t, send(t.Context(), c, message), verify.AttemptErrored, verify.ReasonUnreachable)
			if got.took > 10*time.Second {
				t.Errorf("it took %v", got.took)
			}
		})
	}
}

// A trunk that was given up comes back to life with a phone that rings, or is answered: nobody may
// be called by nobody.
func TestALateAnswerIsHungUp(t *testing.T) {
	t.Parallel()
	for _, status := range []int{180, 200} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			c := p.trunk(func(c *Config) { c.First = 200 * time.Millisecond })
			out := send(t.Context(), c, message)
			invite := p.expect(wire.INVITE)
			want(t, out, verify.AttemptErrored, verify.ReasonUnreachable)
			if status == 180 {
				p.reply(invite, 180, "")
				cancel := p.expect(wire.CANCEL)
				if cancel.Via().Value() != invite.Via().Value() || *cancel.CallID() != *invite.CallID() ||
					cancel.CSeq().SeqNo != invite.CSeq().SeqNo || cancel.To().Params.Has("tag") {
					t.Errorf("it isn't the invitation that is cancelled:\n%s", cancel)
				}
				p.reply(cancel, 200, "")
				return
			}
			p.reply(invite, 200, p.sdp())
			p.expect(wire.ACK)
			p.reply(p.expect(wire.BYE), 200, "")
		})
	}
}

func TestAPhoneThatIsNotAnsweredIsCancelled(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(func(c *Config) { c.Ring = time.Second })
	out := send(t.Context(), c, message)
	invite := p.expect(wire.INVITE)
	p.reply(invite, 180, "")
	p.reply(p.expect(wire.CANCEL), 200, "")
	p.reply(invite, 487, "")
	p.expect(wire.ACK)
	want(t, out, verify.AttemptErrored, verify.ReasonNoAnswer)
}

// A trunk may say a hundred times that it rings.
func TestRingingMayBeSaidOften(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := send(t.Context(), p.trunk(nil), message)
	invite := p.expect(wire.INVITE)
	for range 30 {
		p.reply(invite, 180, "")
	}
	p.reply(invite, 486, "")
	p.expect(wire.ACK)
	want(t, out, verify.AttemptErrored, verify.ReasonBusy)
}

// The phone is answered in the moment in which it is cancelled: the call is taken and hung up.
func TestAnAnswerThatCrossesTheCancelIsHungUp(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(func(c *Config) { c.Ring = time.Second })
	out := send(t.Context(), c, message)
	invite := p.expect(wire.INVITE)
	p.reply(invite, 180, "")
	cancel := p.expect(wire.CANCEL)
	p.reply(invite, 200, p.sdp())
	p.reply(cancel, 481, "")
	p.expect(wire.ACK)
	p.reply(p.expect(wire.BYE), 200, "")
	want(t, out, verify.AttemptErrored, verify.ReasonNoAnswer)
}

// An answer that comes again was not acknowledged, as far as the trunk knows.
func TestARepeatedAnswerIsAcknowledgedAgain(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := send(t.Context(), p.trunk(nil), message)
	invite := p.answer()
	p.reply(invite, 200, p.sdp())
	p.expect(wire.ACK)
	p.heard(20)
	if len(p.requests) > 0 {
		t.Errorf("and then came\n%s", <-p.requests)
	}
	p.bye(invite)
	want(t, out, verify.AttemptRefused, verify.ReasonHungUp)
}

func TestWhoHangsUpEarlyHasNotHeardTheCode(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := send(t.Context(), p.trunk(nil), message)
	invite := p.answer()
	p.heard(20)
	p.bye(invite)
	if r := p.status(); r.StatusCode != 200 {
		t.Errorf("the BYE was answered %d", r.StatusCode)
	}
	want(t, out, verify.AttemptRefused, verify.ReasonHungUp)
}

// A trunk wants its provisional responses acknowledged, each once, and describes its sound in one of them only.
func TestReliableRingingIsAcknowledged(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := send(t.Context(), p.trunk(nil), message)
	invite := p.expect(wire.INVITE)
	if h := invite.GetHeader("Supported"); h == nil || h.Value() != "100rel" {
		t.Errorf("the invitation supports %v", h)
	}
	p.reply(invite, 100, "")
	for i, body := range []string{p.sdp(), ""} {
		ring := func() { p.reply(invite, 183-3*i, body, "Require: 100rel", fmt.Sprintf("RSeq: %d", 7+i)) }
		ring()
		prack := p.expect(wire.PRACK)
		ring() // again, before the acknowledgement came
		if h := prack.GetHeader("RAck"); h == nil || h.Value() != fmt.Sprintf("%d %d INVITE", 7+i, invite.CSeq().SeqNo) {
			t.Errorf("acknowledged by\n%s", prack)
		}
		if to, _ := prack.To().Params.Get("tag"); to != tag || prack.Recipient.User != "peer" || prack.CSeq().SeqNo != invite.CSeq().SeqNo+1+uint32(i) {
			t.Errorf("acknowledged by\n%s", prack)
		}
		p.reply(prack, 200, "")
	}
	p.reply(invite, 200, "")
	p.expect(wire.ACK)
	bye := p.expect(wire.BYE)
	if bye.CSeq().SeqNo != invite.CSeq().SeqNo+3 {
		t.Errorf("the BYE's number is %d", bye.CSeq().SeqNo)
	}
	p.reply(bye, 200, "")
	want(t, out, verify.AttemptAccepted, verify.NoReason)
}

// A nonce that grew old isn't always said to be stale.
func TestAnotherNonceIsTriedOnce(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := send(t.Context(), p.trunk(login), message)
	p.reply(p.expect(wire.INVITE), 407, "", `Proxy-Authenticate: Digest realm="a", nonce="1"`)
	p.reply(p.expect(wire.INVITE), 407, "", `Proxy-Authenticate: Digest realm="a", nonce="2"`)
	p.reply(p.expect(wire.INVITE), 486, "")
	want(t, out, verify.AttemptErrored, verify.ReasonBusy)
}

// The telephone network, not the callee, ends a call before the code was said.
func TestACallThatTheNetworkCutsIsLost(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := send(t.Context(), p.trunk(nil), message)
	invite := p.answer()
	if strings.Contains(invite.GetHeader("Supported").Value(), "timer") {
		t.Error("the call promises to refresh a session, which it never does")
	}
	p.heard(20)
	bye := p.request(wire.BYE, invite, 100, "", "")
	bye.AppendHeader(wire.NewHeader("Reason", "Q.850;cause=41"))
	p.write(bye.String(), invite.Source())
	want(t, out, verify.AttemptErrored, verify.ReasonLost)
}

func TestWhoHangsUpAfterTheCodeHasHeardIt(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(nil)
	out := send(t.Context(), c, message)
	invite := p.answer()
	p.heard(c.Speech.Script(t.Context(), "", nil, "7").Once/frame + 2)
	p.bye(invite)
	want(t, out, verify.AttemptAccepted, verify.NoReason)
}

// A key that is pressed asks for the code again, by an event of RTP or by INFO; an event is repeated in
// many packets and counts once, and so does a key that is told by both.
func TestOneHearsItAgain(t *testing.T) {
	t.Parallel()
	eventOf := func(kind int) func(p *peer, invite *wire.Request) {
		return func(p *peer, invite *wire.Request) {
			to := described(t, invite.Body()).at
			for i := range 6 {
				p.soundTo(to, rtp(kind, uint16(i), 4711, []byte{1, byte(i/5) << 7, 0, byte(i)}))
			}
		}
	}
	event := eventOf(keys)
	toneIn := func(kind int) func(p *peer, invite *wire.Request) {
		return func(p *peer, invite *wire.Request) {
			sound := tonesOf('1', 100*time.Millisecond)
			for i := 0; i+frame <= len(sound); i += frame {
				body := speech.MuLaw(sound[i : i+frame])
				if kind == aLaw {
					body = speech.ALaw(nil, body)
				}
				p.soundTo(described(t, invite.Body()).at, rtp(kind, uint16(i/frame), uint32(i), body))
			}
		}
	}
	answers := map[string][]int{ // of the trunk, if it doesn't take what we offer
		"RTP, of the answer's type":                   {mu, 96},
		"RTP, of our type, another one in the answer": {mu, 96},
		"RTP, of our type, none in the answer":        {mu},
		"tones":                                       {mu},
		"A-law tones":                                 {mu, aLaw},
	}
	for name, press := range map[string]func(p *peer, invite *wire.Request){
		"RTP":                       event,
		"RTP, of the answer's type": eventOf(96),
		"RTP, of our type, another one in the answer": event,
		"RTP, of our type, none in the answer":        event,
		"tones":                                       toneIn(mu),
		"A-law tones":                                 toneIn(aLaw),
		"a tone, and its event": func(p *peer, invite *wire.Request) {
			toneIn(mu)(p, invite)
			event(p, invite)
		},
		"INFO dtmf-relay": func(p *peer, invite *wire.Request) {
			p.ask(wire.INFO, invite, 7, "application/dtmf-relay", "Signal= 1\r\nDuration=160\r\n")
		},
		"INFO dtmf": func(p *peer, invite *wire.Request) { p.ask(wire.INFO, invite, 7, "application/dtmf", "1") },
		"both": func(p *peer, invite *wire.Request) {
			event(p, invite)
			p.ask(wire.INFO, invite, 7, "application/dtmf", "1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			ended := make(chan Call, 1)
			c := p.trunk(func(c *Config) { c.Ended = func(r Call) { ended <- r } })
			out := send(t.Context(), c, message)
			invite := p.answer(answers[name]...)
			script := c.Speech.Script(t.Context(), "", nil, "7")
			p.heard(len(script.All())/frame + 1)
			press(p, invite)
			packets := p.heard((len(script.All())+script.Once)/frame + 30)
			p.bye(invite)
			want(t, out, verify.AttemptAccepted, verify.NoReason)
			sound := listen(t, packets, mu)
			if n := bytes.Count(sound, script.Code[Rate:script.Once-frame]); n != 2 {
				t.Errorf("the code was said %d times, want twice", n)
			}
			if r := <-ended; r.Keys != 1 || !r.HungUp {
				t.Errorf("recorded %+v", r)
			}
		})
	}
}

// A key's packets may overtake those of the next one. A clock that begins anew is no late packet.
func TestKeysThatAreOvertaken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		stamps []uint32
		want   string
	}{
		"in order":  {[]uint32{100, 100, 900, 900, 1700}, "135"},
		"overtaken": {[]uint32{100, 900, 100, 900}, "12"},
		"around":    {[]uint32{1<<32 - 100, 700, 1<<32 - 100, 700}, "12"},
		"anew":      {[]uint32{1_000_000, 5}, "12"},
	} {
		var pressed []byte
		m := &media{pressed: func(key byte, _ way) { pressed = append(pressed, key) }}
		for i, stamp := range tt.stamps {
			m.event(stamp, []byte{byte(1 + i), 0, 0, 1})
		}
		if string(pressed) != tt.want {
			t.Errorf("%s: pressed %s, want %s", name, pressed, tt.want)
		}
	}
}

const Rate = speech.Rate

// described reads the carrier's own description.
func described(t *testing.T, sdp []byte) side {
	t.Helper()
	s, err := read(sdp)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rtp(kind int, seq uint16, stamp uint32, body []byte) []byte {
	p := make([]byte, header, header+len(body))
	p[0], p[1] = 2<<6, byte(kind)
	binary.BigEndian.PutUint16(p[2:], seq)
	binary.BigEndian.PutUint32(p[4:], stamp)
	p[8] = 1
	return append(p, body...)
}

func (p *peer) soundTo(to netip.AddrPort, packet []byte) {
	if _, err := p.sound.WriteToUDPAddrPort(packet, to); err != nil {
		p.t.Error(err)
	}
}

func TestWithRequireKeypressTheCodeWaitsForAKey(t *testing.T) {
	t.Parallel()
	t.Run("of all calls", func(t *testing.T) {
		t.Parallel()
		codeWaitsForAKey(t, func(c *Config) { c.RequireKeypress = true }, message)
	})
	wanted := message
	wanted.AfterKey = true
	t.Run("of this call", func(t *testing.T) {
		t.Parallel()
		codeWaitsForAKey(t, func(*Config) {}, wanted)
	})
}

func codeWaitsForAKey(t *testing.T, edit func(*Config), message verify.Message) {
	p := newPeer(t)
	c := p.trunk(edit)
	out := send(t.Context(), c, message)
	invite := p.answer()
	script := c.Speech.Script(t.Context(), "", nil, "7")
	before := listen(t, p.heard(len(script.Confirm)/frame+5), mu)
	p.ask(wire.INFO, invite, 7, "application/dtmf", "5")
	after := listen(t, p.heard(len(before)/frame+script.Once/frame+10), mu)
	p.bye(invite)
	want(t, out, verify.AttemptAccepted, verify.NoReason)
	if !bytes.HasPrefix(before, script.Confirm) || bytes.Contains(before, script.Code[Rate:Rate*2]) {
		t.Error("before the key something else was said")
	}
	if !bytes.Contains(after[len(before):], script.Code[Rate:script.Once-frame]) {
		t.Error("after the key the code wasn't said")
	}
}

func TestWithSkipKeypressACodeIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(func(c *Config) { c.SkipKeypress = true })
	wanted := message
	wanted.AfterKey = true
	out := send(t.Context(), c, wanted)
	invite := p.answer()
	script := c.Speech.Script(t.Context(), "", nil, "7")
	heard := listen(t, p.heard(script.Once/frame+10), mu)
	p.bye(invite)
	want(t, out, verify.AttemptAccepted, verify.NoReason)
	if bytes.HasPrefix(heard, script.Confirm) || !bytes.Contains(heard, script.Code[Rate:script.Once-frame]) {
		t.Error("the code wasn't said at once")
	}
}

func TestAnAnsweringMachineHearsNoCode(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(func(c *Config) { c.RequireKeypress = true })
	out := send(t.Context(), c, message)
	p.answer()
	p.reply(p.expect(wire.BYE), 200, "")
	want(t, out, verify.AttemptRefused, verify.ReasonNoKey)
	sound := listen(t, p.heard(1), mu)
	script := c.Speech.Script(t.Context(), "", nil, "7")
	if bytes.Count(sound, script.Confirm) != confirmTimes {
		t.Errorf("it was asked %d times", bytes.Count(sound, script.Confirm))
	}
	if bytes.Contains(sound, script.Code[Rate:Rate*2]) {
		t.Error("the code's text was said")
	}
}

// challenged answers like a trunk that wants credentials, and checks them.
func challenged(t *testing.T, p *peer, status int, chal *digest.Challenge, user, password string) (*wire.Request, bool) {
	t.Helper()
	invite := p.expect(wire.INVITE)
	ask, answer := "WWW-Authenticate", "Authorization"
	if status == 407 {
		ask, answer = "Proxy-Authenticate", "Proxy-Authorization"
	}
	p.reply(invite, status, "", ask+": "+chal.String())
	p.expect(wire.ACK)
	again := p.expect(wire.INVITE)
	if again.CSeq().SeqNo != invite.CSeq().SeqNo+1 || *again.CallID() != *invite.CallID() {
		t.Errorf("not the same invitation, one further:\n%s", again)
	}
	h := again.GetHeader(answer)
	if h == nil {
		t.Fatalf("no %s:\n%s", answer, again)
	}
	creds, err := digest.ParseCredentials(h.Value())
	if err != nil {
		t.Fatal(err)
	}
	o := digest.Options{Method: "INVITE", URI: again.Recipient.String(), Username: user, Password: password, Cnonce: creds.Cnonce, Count: creds.Nc}
	known := *chal
	if plain, ok := strings.CutSuffix(chal.Algorithm, "-sess"); ok { // RFC 7616 §3.4.2
		if creds.Algorithm != chal.Algorithm {
			t.Errorf("credentials by %s, want %s", creds.Algorithm, chal.Algorithm)
		}
		sum := func(s string) string {
			if plain == "MD5" {
				return fmt.Sprintf("%x", md5.Sum([]byte(s)))
			}
			return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
		}
		o.A1 = sum(sum(user+":"+chal.Realm+":"+password) + ":" + chal.Nonce + ":" + creds.Cnonce)
		known.Algorithm, known.QOP = plain, []string{"auth"}
	}
	right, err := digest.Digest(&known, o)
	if err != nil {
		t.Fatal(err)
	}
	return again, creds.Response == right.Response && creds.Username == user && creds.URI == again.Recipient.String()
}

func login(c *Config) { c.Username, c.Password = "alice", "correct horse" }

func TestChallengesAreAnswered(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 407} {
		for name, chal := range map[string]*digest.Challenge{
			"MD5":          {Realm: "trunk", Nonce: "n1"},
			"md5 auth":     {Realm: "trunk", Nonce: "n1", Algorithm: "md5", QOP: []string{"auth"}},
			"SHA-256":      {Realm: "trunk", Nonce: "n1", Algorithm: "SHA-256", QOP: []string{"auth", "auth-int"}},
			"MD5-sess":     {Realm: "trunk", Nonce: "n1", Algorithm: "MD5-sess", QOP: []string{"auth"}},
			"SHA-256-sess": {Realm: "trunk", Nonce: "n1", Algorithm: "SHA-256-sess", QOP: []string{"auth-int", " auth"}},
			"with opaque":  {Realm: "trunk", Nonce: "n1", Algorithm: "MD5", Opaque: "o", QOP: []string{"auth"}},
		} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				t.Parallel()
				p := newPeer(t)
				out := send(t.Context(), p.trunk(login), message)
				invite, right := challenged(t, p, status, chal, "alice", "correct horse")
				if !right {
					t.Errorf("the credentials are wrong:\n%s", invite)
				}
				p.reply(invite, 486, "")
				p.expect(wire.ACK)
				want(t, out, verify.AttemptErrored, verify.ReasonBusy)
			})
		}
	}
}

// The trunk and whoever is behind it may both ask, and a nonce may have grown old meanwhile.
func TestSeveralChallengesAreAnswered(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := send(t.Context(), p.trunk(login), message)
	invite, _ := challenged(t, p, 407, &digest.Challenge{Realm: "a", Nonce: "1"}, "alice", "correct horse")
	p.reply(invite, 407, "", `Proxy-Authenticate: Digest realm="a", nonce="2", stale=true`)
	p.expect(wire.ACK)
	invite = p.expect(wire.INVITE)
	p.reply(invite, 401, "", `WWW-Authenticate: Digest realm="b", nonce="3"`)
	p.expect(wire.ACK)
	invite = p.expect(wire.INVITE)
	if len(invite.GetHeaders("Proxy-Authorization")) != 1 || len(invite.GetHeaders("Authorization")) != 1 {
		t.Errorf("want credentials for both:\n%s", invite)
	}
	p.reply(invite, 486, "")
	want(t, out, verify.AttemptErrored, verify.ReasonBusy)
}

func TestWrongCredentialsAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		second string
		realm  string
	}{
		"wrong password": {second: `WWW-Authenticate: Digest realm="trunk", nonce="2"`},
		"another realm":  {realm: "elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			out := send(t.Context(), p.trunk(func(c *Config) { login(c); c.Realm = tt.realm }), message)
			p.reply(p.expect(wire.INVITE), 401, "", `WWW-Authenticate: Digest realm="trunk", nonce="1"`)
			if tt.second != "" { // a nonce that is only another one may be tried once
				p.reply(p.expect(wire.INVITE), 401, "", tt.second)
				p.reply(p.expect(wire.INVITE), 401, "", strings.Replace(tt.second, `"2"`, `"3"`, 1))
			}
			got := want(t, out, verify.AttemptRefused, verify.ReasonAuth)
			if strings.Contains(got.err.Error(), "horse") {
				t.Errorf("the error holds the password: %v", got.err)
			}
		})
	}
}

// The trunk disappears: its answer to the BYE is missing, and what came of the call depends on what had been
// said when it was last heard.
func TestATrunkThatDiesInMidCall(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		hears   bool // whether the trunk sends sound before it disappears
		after   bool // whether it disappears after the code was said
		key     bool // whether the call asks for a key
		outcome verify.AttemptOutcome
	}{
		"before the code was said":              {hears: true, outcome: verify.AttemptErrored},
		"after it was said":                     {hears: true, after: true, outcome: verify.AttemptAccepted},
		"nobody knows when":                     {outcome: verify.AttemptUnknown},
		"before a key was asked for":            {key: true, outcome: verify.AttemptErrored},
		"before a key was asked for, but heard": {key: true, hears: true, outcome: verify.AttemptErrored},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				p := newPeer(t)
				c := p.trunk(func(c *Config) { c.RequireKeypress = tt.key })
				out := send(t.Context(), c, message)
				invite := p.answer()
				if tt.after {
					p.heard(c.Speech.Script(t.Context(), "", nil, "7").Once/frame + 2)
				}
				if tt.hears {
					p.soundTo(described(t, invite.Body()).at, rtp(mu, 1, 1, make([]byte, frame)))
				}
				p.expect(wire.BYE)
				// On a busy machine the sound may come so late that the code has begun.
				end := endOf(t, out)
				if tt.hears && !tt.after && carrier.Decision(end.err).Outcome == verify.AttemptUnknown {
					continue
				}
				compare(t, end, tt.outcome, verify.ReasonLost)
				return
			}
			t.Error("the machine was too slow, five times")
		})
	}
}

// A phone that sends nothing, at a trunk that doesn't answer requests in the call or knows no call there,
// hears the code to its end.
func TestSilenceEndsNoCall(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(func(c *Config) { says(t, c, 3) })
	m := message
	m.Code = "777777"
	out := send(t.Context(), c, m)
	p.answer()
	script := c.Speech.Script(t.Context(), "", nil, "777777").All()
	if len(script) < int(2*quietTime*Rate/time.Second) {
		t.Fatal("the call is too short to be silent for long")
	}
	bye := p.expect(wire.BYE) // and no other request before it
	p.reply(bye, 200, "")
	want(t, out, verify.AttemptAccepted, verify.NoReason)
	if !bytes.HasPrefix(listen(t, p.heard(1), mu), script) {
		t.Error("not the whole code was said")
	}
}

// The trunk challenges requests within the call as well; each has a number of its own.
func TestAHangUpMayBeChallenged(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := send(ctx, p.trunk(login), message)
	p.answer()
	p.heard(10)
	cancel()
	bye := p.expect(wire.BYE)
	p.reply(bye, 407, "", `Proxy-Authenticate: Digest realm="trunk", nonce="1", qop="auth"`)
	again := p.expect(wire.BYE)
	if again.GetHeader("Proxy-Authorization") == nil || again.CSeq().SeqNo <= bye.CSeq().SeqNo {
		t.Errorf("got\n%s", again)
	}
	p.reply(again, 200, "")
	want(t, out, verify.AttemptErrored, verify.ReasonInterrupted)
}

func TestTheShutdownHangsUp(t *testing.T) {
	t.Parallel()
	t.Run("while it rings", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		c := p.trunk(nil)
		out := send(t.Context(), c, message)
		invite := p.expect(wire.INVITE)
		p.reply(invite, 180, "")
		closed := make(chan struct{})
		go func() { c.Close(t.Context()); close(closed) }()
		p.reply(p.expect(wire.CANCEL), 200, "")
		p.reply(invite, 487, "")
		want(t, out, verify.AttemptErrored, verify.ReasonInterrupted)
		<-closed
		want(t, send(t.Context(), c, message), verify.AttemptErrored, verify.ReasonInterrupted)
	})
	t.Run("while it speaks", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		c := p.trunk(nil)
		out := send(t.Context(), c, message)
		p.answer()
		p.heard(10)
		closed := make(chan struct{})
		go func() { c.Close(t.Context()); close(closed) }()
		p.reply(p.expect(wire.BYE), 200, "")
		want(t, out, verify.AttemptErrored, verify.ReasonInterrupted)
		<-closed
	})
}

func TestWhoSendsMayStop(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := send(ctx, p.trunk(nil), message)
	p.answer()
	p.heard(10)
	cancel()
	p.reply(p.expect(wire.BYE), 200, "")
	want(t, out, verify.AttemptErrored, verify.ReasonInterrupted)
}

// Who has no more time hasn't stopped: the next try is somebody else's turn.
func TestACallThatTakesTooLongInAllIsTheTrunksFailure(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	out := send(ctx, c, message)
	invite := p.expect(wire.INVITE)
	p.reply(invite, 180, "")
	p.reply(p.expect(wire.CANCEL), 200, "")
	p.reply(invite, 487, "")
	want(t, out, verify.AttemptErrored, verify.ReasonUnavailable)
}

func TestATalkHasALimit(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := send(t.Context(), p.trunk(func(c *Config) { c.Talk = time.Second }), message)
	p.answer()
	p.reply(p.expect(wire.BYE), 200, "")
	want(t, out, verify.AttemptRefused, verify.ReasonTooLong)
}

func TestCallsAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(func(c *Config) { c.Calls = 1 })
	out := send(t.Context(), c, message)
	invite := p.expect(wire.INVITE)
	want(t, send(t.Context(), c, message), verify.AttemptErrored, verify.ReasonFull)
	p.reply(invite, 486, "")
	want(t, out, verify.AttemptErrored, verify.ReasonBusy)
	out = send(t.Context(), c, message)
	p.reply(p.expect(wire.INVITE), 603, "")
	want(t, out, verify.AttemptRefused, verify.ReasonDeclined)
}

// What is played is a code: a stranger who finds the port must not get it, whatever he sends there.
// The trunk itself may move.
func TestSoundFollowsTheTrunkAndNobodyElse(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(nil)
	out := send(t.Context(), c, message)
	invite := p.answer()
	p.heard(5)
	to := described(t, invite.Body()).at

	stranger := listenOn(t, "127.0.0.2")
	for range 5 {
		if _, err := stranger.WriteToUDPAddrPort(rtp(mu, 1, 1, make([]byte, frame)), to); err != nil {
			t.Fatal(err)
		}
	}
	moved := newPeer(t) // at the trunk's address, behind another port: NAT
	p.heard(len(p.heard(1)) + 20)
	moved.soundTo(to, rtp(mu, 1, 1, make([]byte, frame)))
	moved.heard(5)

	buf := make([]byte, maxPacket)
	stranger.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := stranger.Read(buf); err == nil {
		t.Errorf("the stranger got %d bytes of the call", n)
	}
	p.bye(invite)
	want(t, out, verify.AttemptRefused, verify.ReasonHungUp)
}

// Who isn't the trunk is not listened to: he can't end calls, nor press keys.
func TestStrangersAreNotListenedTo(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(nil)
	out := send(t.Context(), c, message)
	invite := p.answer()
	stranger := listenOn(t, "127.0.0.2")
	bye := func() string { return p.request(wire.BYE, invite, 50, "", "").String() }
	if _, err := stranger.WriteToUDPAddrPort([]byte(bye()), c.listen); err != nil {
		t.Fatal(err)
	}
	// From the trunk, but of no call that there is.
	p.write(strings.Replace(bye(), "tag="+tag, "tag=guessed", 1), invite.Source())
	if r := p.status(); r.StatusCode != 481 {
		t.Errorf("a BYE with a wrong tag was answered %d, want 481", r.StatusCode)
	}
	p.heard(c.Speech.Script(t.Context(), "", nil, "7").Once/frame + 2)
	p.bye(invite)
	want(t, out, verify.AttemptAccepted, verify.NoReason)
}

// A new address of the other side counts for requests of ours.
func TestTheOtherSideMayMove(t *testing.T) {
	t.Parallel()
	for _, method := range []wire.RequestMethod{wire.INVITE, wire.UPDATE} {
		t.Run(string(method), func(t *testing.T) {
			t.Parallel()
			p, moved := newPeer(t), newPeer(t)
			out := send(t.Context(), p.trunk(nil), message)
			invite := p.answer()
			r := p.request(method, invite, 10, sdpType, p.sdp())
			r.RemoveHeader("Contact")
			r.AppendHeader(wire.NewHeader("Contact", fmt.Sprintf("<sip:moved@127.0.0.1:%d>", port(moved.conn))))
			p.write(r.String(), invite.Source())
			if r := p.status(); r.StatusCode != 200 {
				t.Errorf("it was answered %d", r.StatusCode)
			}
			bye := moved.expect(wire.BYE)
			if bye.Recipient.User != "moved" {
				t.Errorf("the BYE is for %s", bye.Recipient.String())
			}
			moved.reply(bye, 200, "")
			want(t, out, verify.AttemptAccepted, verify.NoReason)
		})
	}
}

// A session timer is refreshed, or the sound is moved, by an invitation or an UPDATE in the call.
func TestTheOtherSideMayOfferAgain(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(nil)
	out := send(t.Context(), c, message)
	invite := p.answer()
	p.heard(5)

	p.ask(wire.UPDATE, invite, 10, "", "")
	if r := p.status(); r.StatusCode != 200 || len(r.Body()) > 0 || r.Contact() == nil {
		t.Errorf("an empty UPDATE was answered %d with %q", r.StatusCode, r.Body())
	}
	moved := newPeer(t)
	p.ask(wire.INVITE, invite, 11, sdpType, moved.sdp(aLaw))
	r := p.status()
	if r.StatusCode != 200 || r.Contact() == nil {
		t.Fatalf("an offer was answered\n%s", r)
	}
	if s := described(t, r.Body()); s.codec != aLaw || s.keys != -1 {
		t.Errorf("the answer to A-law without keys: %+v", s)
	}
	moved.heard(5)

	p.ask(wire.INVITE, invite, 20, "", "") // the offer is ours then
	if s := described(t, p.status().Body()); s.codec != mu || s.keys != keys {
		t.Errorf("our offer: %+v", s)
	}
	further := newPeer(t)
	p.ask(wire.ACK, invite, 20, sdpType, further.sdp())
	further.heard(5)

	// Several sections get as many, of which one is taken.
	offered := strings.Replace(further.sdp(), "m=audio", "m=image 9 udptl t38\r\nm=audio 0 RTP/AVP 18\r\nm=audio", 1) + "m=video 9000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
	p.ask(wire.INVITE, invite, 21, sdpType, offered)
	var lines []string
	for line := range strings.Lines(string(p.status().Body())) {
		if strings.HasPrefix(line, "m=") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) != 4 || lines[0] != "m=image 0 udptl t38" || lines[1] != "m=audio 0 RTP/AVP 18" || !strings.HasSuffix(lines[2], " RTP/AVP 0 101") ||
		strings.HasPrefix(lines[2], "m=audio 0") || lines[3] != "m=video 0 RTP/AVP 96" {
		t.Errorf("four sections were answered by %q", lines)
	}
	p.ask(wire.ACK, invite, 21, "", "")

	p.ask(wire.OPTIONS, invite, 22, "", "")
	if r := p.status(); r.StatusCode != 200 {
		t.Errorf("OPTIONS were answered %d", r.StatusCode)
	}
	p.ask(wire.REFER, invite, 23, "", "")
	if r := p.status(); r.StatusCode != 405 || r.GetHeader("Allow") == nil {
		t.Errorf("REFER was answered %d", r.StatusCode)
	}
	// Last, since it is said again as long as nobody acknowledges it.
	p.ask(wire.INVITE, invite, 24, sdpType, "v=0\r\nm=video 1 RTP/AVP 99\r\n")
	if r := p.status(); r.StatusCode != 488 {
		t.Errorf("an offer of a film was answered %d", r.StatusCode)
	}
	p.bye(invite)
	want(t, out, verify.AttemptRefused, verify.ReasonHungUp)
}

// Who holds the call hears nothing, and misses nothing.
func TestWhoHoldsTheCallMissesNothing(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(nil)
	out := send(t.Context(), c, message)
	invite := p.answer()
	p.heard(50)
	music := listenOn(t, "127.0.0.1")
	p.ask(wire.INVITE, invite, 10, sdpType, string(offer(music.LocalAddr().(*net.UDPAddr).AddrPort(), 1, nil, sendOnly, mu, keys)))
	if r := p.status(); r.StatusCode != 200 || described(t, r.Body()).way != recvOnly {
		t.Errorf("a hold was answered\n%s", r)
	}
	music.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	buf := make([]byte, maxPacket)
	var late [][]byte // one may have been on its way
	for {
		n, err := music.Read(buf)
		if err != nil {
			break
		}
		late = append(late, bytes.Clone(buf[:n]))
	}
	if len(late) > 1 {
		t.Errorf("who held the call was spoken to, in %d packets", len(late))
	}
	p.ask(wire.INVITE, invite, 11, sdpType, p.sdp())
	if r := p.status(); r.StatusCode != 200 || described(t, r.Body()).way != bothWays {
		t.Errorf("the end of a hold was answered\n%s", r)
	}
	script := c.Speech.Script(t.Context(), "", nil, "7")
	packets := slices.Concat(p.heard(script.Once/frame+2), late)
	slices.SortFunc(packets, func(a, b []byte) int {
		return int(int32(binary.BigEndian.Uint32(a[4:]) - binary.BigEndian.Uint32(b[4:])))
	})
	var sound []byte
	for _, packet := range packets {
		sound = append(sound, packet[header:]...)
	}
	p.bye(invite)
	want(t, out, verify.AttemptAccepted, verify.NoReason)
	if !bytes.HasPrefix(sound, script.Code[:script.Once]) {
		t.Error("something is missing of what was said before and after the hold")
	}
}

// The description may come with the ringing, and the answer then without one.
func TestEarlyMedia(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := send(t.Context(), p.trunk(nil), message)
	invite := p.expect(wire.INVITE)
	p.reply(invite, 183, p.sdp(aLaw))
	for i := range 3 { // the library may hand two answers that come together over in any order
		p.ask(wire.OPTIONS, invite, uint32(i), "", "")
		p.status()
	}
	p.soundTo(described(t, invite.Body()).at, rtp(aLaw, 1, 1, make([]byte, frame))) // a ringing tone
	p.reply(invite, 200, "")
	p.expect(wire.ACK)
	listen(t, p.heard(5), aLaw)
	p.bye(invite)
	want(t, out, verify.AttemptRefused, verify.ReasonHungUp)
}

func TestAnAnswerWithoutSoundIsHungUp(t *testing.T) {
	t.Parallel()
	for name, sdp := range map[string]string{
		"no codec of ours":        "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 18\r\n",
		"no sound":                "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 0 RTP/AVP 0\r\n",
		"where we can't reach it": "v=0\r\nc=IN IP6 ::1\r\nm=audio 4000 RTP/AVP 0\r\n", // our socket has IPv4
		"nothing":                 "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			out := send(t.Context(), p.trunk(nil), message)
			p.reply(p.expect(wire.INVITE), 200, sdp)
			p.expect(wire.ACK)
			p.reply(p.expect(wire.BYE), 200, "")
			want(t, out, verify.AttemptRefused, verify.ReasonNoMedia)
		})
	}
}

// media is sound that goes to the peer, without a call.
func (p *peer) media() *media {
	p.t.Helper()
	m, err := newMedia(newPorts(loopback, [2]uint16{21000, 29999}), false, func(netip.Addr) bool { return false }, func(byte, way) {})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(m.close)
	if err := m.connect(side{at: netip.AddrPortFrom(loopback, uint16(port(p.sound))), codec: mu, keys: keys}); err != nil {
		p.t.Fatal(err)
	}
	return m
}

// What can't be sent, nobody hears: the call isn't delivered.
func TestSoundThatCannotBeSentIsNotSaid(t *testing.T) {
	t.Parallel()
	m := newPeer(t).media()
	synctest.Test(t, func(t *testing.T) {
		k := &talk{call: &call{media: m, over: make(chan struct{})}, due: time.Now(), seenAt: time.Now()}
		steps := func(n int) (err error) {
			for i := 0; i < n && err == nil; i++ {
				err = k.step(t.Context(), nil)
			}
			return err
		}
		reaches := m.to
		m.to = netip.MustParseAddrPort("[::1]:9")
		if err := steps(maxUnsent - 1); err != nil {
			t.Errorf("a short trouble: %v", err)
		}
		m.to = reaches
		if err := steps(1); err != nil {
			t.Error(err)
		}
		m.to = netip.MustParseAddrPort("[::1]:9")
		if err := steps(maxUnsent); err != errLost {
			t.Errorf("after %d packets that couldn't be sent: %v, want %v", maxUnsent, err, errLost)
		}
	})
}

// Requests within the call follow the route that the answer's proxies recorded, in reverse.
func TestRecordedRoutesAreFollowed(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	proxy := newPeer(t)
	out := send(t.Context(), p.trunk(nil), message)
	invite := p.expect(wire.INVITE)
	p.reply(invite, 200, p.sdp(), "Record-Route: <sip:far.example;lr>", fmt.Sprintf("Record-Route: <sip:127.0.0.1:%d;lr>", port(proxy.conn)))
	ack := proxy.expect(wire.ACK)
	var routes []string
	for _, h := range ack.GetHeaders("Route") {
		routes = append(routes, h.Value())
	}
	if got := strings.Join(routes, " "); got != fmt.Sprintf("<sip:127.0.0.1:%d;lr> <sip:far.example;lr>", port(proxy.conn)) {
		t.Errorf("the route is %s", got)
	}
	if ack.Recipient.User != "peer" {
		t.Errorf("the acknowledgement is for %s", ack.Recipient.String())
	}
	p.bye(invite)
	want(t, out, verify.AttemptRefused, verify.ReasonHungUp)
}

// Trunks find the account by From, or the caller by another header, and want numbers in their own form.
func TestCallersAndNumbersAsTheTrunkWantsThem(t *testing.T) {
	t.Parallel()
	account := Config{Username: "alice", Password: "x"}
	with := func(c Config, change func(*Config)) Config { change(&c); return c }
	for name, tt := range map[string]struct {
		config Config
		sender string
		want   []string // the request's address, From, and what else names the caller
	}{
		"a number":     {Config{}, "+12025550199", []string{"+12025550100@trunk.example", "<sip:+12025550199@trunk.example>"}},
		"without plus": {Config{NoPlus: true, Prefix: "77*"}, "+12025550199", []string{"77*12025550100@trunk.example", "<sip:12025550199@trunk.example>"}},
		"a default":    {Config{From: "+4930123456", NoPlus: true}, "Example", []string{"12025550100@trunk.example", "<sip:4930123456@trunk.example>"}},
		"nobody":       {Config{}, "Exa>mple", []string{"+12025550100@trunk.example", "<sip:anonymous@trunk.example>"}},
		"a telephone": {Config{UserPhone: true}, "+12025550199",
			[]string{"+12025550100@trunk.example;user=phone", "<sip:+12025550199@trunk.example;user=phone>"}},

		"an account": {account, "+12025550199",
			[]string{"+12025550100@trunk.example", "<sip:alice@trunk.example>", "P-Asserted-Identity: <sip:+12025550199@trunk.example>"}},
		"an account without a number": {with(account, func(c *Config) { c.Username = "a@b" }), "Example",
			[]string{"+12025550100@trunk.example", "<sip:a%40b@trunk.example>"}},
		"an account with a user of its own in From": {with(account, func(c *Config) { c.FromUser = "bob" }), "+12025550199",
			[]string{"+12025550100@trunk.example", "<sip:bob@trunk.example>", "P-Asserted-Identity: <sip:+12025550199@trunk.example>"}},
		"a user in From without a password": {Config{FromUser: "bob", CallerID: PPI}, "+12025550199",
			[]string{"+12025550100@trunk.example", "<sip:bob@trunk.example>", "P-Preferred-Identity: <sip:+12025550199@trunk.example>"}},
		"an account, and the number in From": {with(account, func(c *Config) { c.CallerID = InFrom }), "+12025550199",
			[]string{"+12025550100@trunk.example", "<sip:+12025550199@trunk.example>"}},
		"an account, the number in From, but there is none": {with(account, func(c *Config) { c.CallerID = InFrom }), "Example",
			[]string{"+12025550100@trunk.example", "<sip:alice@trunk.example>"}},
		"RPID": {with(account, func(c *Config) { c.CallerID, c.UserPhone = RPID, true }), "+12025550199",
			[]string{"+12025550100@trunk.example;user=phone", "<sip:alice@trunk.example>",
				"Remote-Party-ID: <sip:+12025550199@trunk.example;user=phone>;party=calling;screen=yes;privacy=off"}},

		"withheld": {with(account, func(c *Config) { c.Privacy = true }), "+12025550199",
			[]string{"+12025550100@trunk.example", "<sip:alice@trunk.example>", "P-Asserted-Identity: <sip:+12025550199@trunk.example>", "Privacy: id"}},
		"withheld, RPID": {with(account, func(c *Config) { c.Privacy, c.CallerID = true, RPID }), "+12025550199",
			[]string{"+12025550100@trunk.example", "<sip:alice@trunk.example>",
				"Remote-Party-ID: <sip:+12025550199@trunk.example>;party=calling;screen=yes;privacy=full", "Privacy: id"}},
		"withheld without an account": {Config{Privacy: true, CallerID: PAI}, "+12025550199",
			[]string{"+12025550100@trunk.example", `"Anonymous" <sip:anonymous@anonymous.invalid>`, "P-Asserted-Identity: <sip:+12025550199@trunk.example>", "Privacy: id"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			c := p.trunk(func(c *Config) {
				s, trunk := c.Speech, c.Trunk
				l, n, ports := c.Listen, c.Name, c.Ports
				*c = tt.config
				c.Speech, c.Trunk, c.Listen, c.Name, c.Ports, c.Domain = s, trunk, l, n, ports, "trunk.example"
			})
			m := message
			m.From = tt.sender
			out := send(t.Context(), c, m)
			invite := p.expect(wire.INVITE)
			if invite.Recipient.String() != invite.To().Address.String() {
				t.Errorf("To is %s, the request is for %s", invite.To(), invite.Recipient.String())
			}
			from, _, _ := strings.Cut(invite.From().Value(), ";tag=")
			got := []string{strings.TrimPrefix(invite.Recipient.String(), "sip:"), from}
			for _, h := range []string{"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Privacy"} {
				for _, h := range invite.GetHeaders(h) {
					got = append(got, h.Name()+": "+h.Value())
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			p.reply(invite, 486, "")
			want(t, out, verify.AttemptErrored, verify.ReasonBusy)
		})
	}
}

// An exchange that finds the account by From, as Asterisk does, knows us by the account's name only. It
// challenges strangers as well, whatever they answer. Its refusal tells the operator what From was.
func TestAnExchangeFindsTheAccountByFrom(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*Config)
		wrong  string // what the error says, if the call is refused
	}{
		"by the username": {login, ""},
		"by another name": {func(c *Config) { login(c); c.AuthUsername, c.Username = c.Username, "trunk-7"; c.FromUser = "alice" }, ""},
		"by a number":     {func(c *Config) { login(c); c.CallerID = InFrom }, "From was sip:+*******0199@127.0.0.1"},
		"unknown":         {func(c *Config) { login(c); c.FromUser = "bob" }, "From was sip:bob@127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			out := send(t.Context(), p.trunk(tt.change), message)
			served := make(chan struct{})
			go func() {
				defer close(served)
				p.asterisk("alice", "correct horse")
			}()
			if tt.wrong == "" {
				want(t, out, verify.AttemptErrored, verify.ReasonBusy)
			} else if got := want(t, out, verify.AttemptRefused, verify.ReasonAuth); !strings.Contains(got.err.Error(), tt.wrong) {
				t.Errorf("the error is %q, want %q in it", got.err, tt.wrong)
			}
			p.close()
			<-served
		})
	}
}

// asterisk serves invitations until the peer is closed: those of its account are answered 486 after the
// right password, and all others are challenged.
func (p *peer) asterisk(account, password string) {
	for n := 0; ; n++ {
		var r *wire.Request
		select {
		case r = <-p.requests:
		case <-p.closed:
			return
		}
		if h := r.GetHeader("Authorization"); h != nil && r.From().Address.User == account {
			creds, err := digest.ParseCredentials(h.Value())
			if err != nil {
				p.t.Error(err)
				return
			}
			right, err := digest.Digest(&digest.Challenge{Realm: "asterisk", Nonce: creds.Nonce, QOP: []string{"auth"}}, digest.Options{
				Method: string(r.Method), URI: r.Recipient.String(), Username: account, Password: password, Cnonce: creds.Cnonce, Count: creds.Nc,
			})
			if err == nil && right.Response == creds.Response {
				p.reply(r, 486, "")
				continue
			}
		}
		p.reply(r, 401, "", fmt.Sprintf(`WWW-Authenticate: Digest realm="asterisk", nonce="%d", algorithm=MD5, qop="auth"`, n))
	}
}

// A proxy takes addresses with its own port for its own, as Kamailio does, and no others.
func TestAddressesKeepThePort(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		trunk     string
		transport Transport
		domain    string
		want      string
	}{
		{"sip.example.com", UDP, "", "sip.example.com"},
		{"sip.example.com:5060", TCP, "", "sip.example.com"},
		{"sip.example.com:5061", TLS, "", "sip.example.com"},
		{"sip.example.com:5070", UDP, "", "sip.example.com:5070"},
		{"sip.example.com:5060", TLS, "", "sip.example.com:5060"},
		{"192.0.2.1:5070", UDP, "", "192.0.2.1:5070"},
		{"2001:db8::1", UDP, "", "[2001:db8::1]"},
		{"[2001:db8::1]:5070", UDP, "", "[2001:db8::1]:5070"},
		{"192.0.2.1:5070", UDP, "example.com", "example.com"},
		{"192.0.2.1:5070", UDP, "example.com:5080", "example.com:5080"},
	} {
		c := Config{Trunk: tt.trunk, Transport: tt.transport, Domain: tt.domain}.withDefaults()
		if u := c.uri("x"); u.String() != "sip:x@"+tt.want {
			t.Errorf("%s by %s, domain %q: got %s, want %s", tt.trunk, tt.transport, tt.domain, u.String(), tt.want)
		}
	}

	p := newPeer(t)
	c := p.trunk(func(c *Config) { login(c); c.Register = true })
	own := fmt.Sprintf("127.0.0.1:%d", port(p.conn))
	register := p.expect(wire.REGISTER)
	if got := register.Recipient.String() + " " + register.To().Address.String(); got != "sip:"+own+" sip:alice@"+own {
		t.Errorf("registered as %s", got)
	}
	p.reply(register, 200, "")
	out := send(t.Context(), c, message)
	invite := p.expect(wire.INVITE)
	for _, u := range []wire.Uri{invite.Recipient, invite.To().Address, invite.From().Address} {
		if got := domainOf(&wire.Request{Recipient: u}); got != own {
			t.Errorf("%s isn't at %s", u.String(), own)
		}
	}
	p.reply(invite, 404, "")
	if got := want(t, out, verify.AttemptRefused, verify.ReasonInvalidNumber); !strings.Contains(got.err.Error(), "404 for a number at "+own) {
		t.Errorf("the error is %q", got.err)
	}
	p.takesBack(c, register)
}

func TestCheckNamesAllThatIsWrong(t *testing.T) {
	t.Parallel()
	s, err := speech.New(speech.Config{})
	if err != nil {
		t.Fatal(err)
	}
	good := Config{Name: "t", Trunk: "sip.example.com", Speech: s}
	for _, trunk := range []string{"sip.example.com:5080", "192.0.2.1", "2001:db8::1", "[2001:db8::1]:5060"} {
		c := good
		c.Trunk = trunk
		if wrong := c.Check(); wrong != nil {
			t.Errorf("trunk %s: %v", trunk, wrong)
		}
	}
	for want, change := range map[string]func(*Config){
		"trunk: must be a host":         func(c *Config) { c.Trunk = "" },
		"trunk: must be a host, or":     func(c *Config) { c.Trunk = "example.com:0" },
		"transport: must be":            func(c *Config) { c.Transport = "sctp" },
		"username: must be given":       func(c *Config) { c.Username = "a" },
		"register: needs":               func(c *Config) { c.Register = true },
		"username: has a character":     func(c *Config) { c.Username, c.Password = "a>b", "x" },
		"prefix: may have":              func(c *Config) { c.Prefix = "+" },
		"from: must be a number":        func(c *Config) { c.From = "Example" },
		"caller_id: must be from, pai":  func(c *Config) { c.CallerID = "cli" },
		"from_user: contradicts":        func(c *Config) { c.CallerID, c.FromUser = InFrom, "alice" },
		"from_user: has a character":    func(c *Config) { c.FromUser = "a>b" },
		"auth_username: needs":          func(c *Config) { c.AuthUsername = "a" },
		"privacy: needs caller_id pai":  func(c *Config) { c.Privacy = true },
		"domain: must be a host, or":    func(c *Config) { c.Domain = "example.com:x" },
		"listen: must be":               func(c *Config) { c.Listen = ":5060" },
		"advertise: must be":            func(c *Config) { c.Advertise = "example.com" },
		"ports: must be":                func(c *Config) { c.Ports = [2]uint16{80, 90} },
		"ports: must be a range":        func(c *Config) { c.Ports = [2]uint16{20000, 20001} },
		"calls: must be from 1 to 500":  func(c *Config) { c.Calls = 501 },
		"the talk at most 1m25s":        func(c *Config) { c.Talk = 2 * time.Minute },
		"talk: must be positive":        func(c *Config) { c.Ring = -1 },
		"speech: must be set":           func(c *Config) { c.Speech = nil },
		"ca_file: only with tls":        func(c *Config) { c.RootCAs = emptyPool },
		"cert_file: only with tls":      func(c *Config) { c.Certificate = new(tls.Certificate) },
		"skip_srtp: only with tls":      func(c *Config) { c.SkipSRTP = true },
		"t: trunk: must be a host, or ": func(c *Config) { c.Trunk = "a b" },
	} {
		c := good
		change(&c)
		if err := carrier.Faulty(c.Name, c.Check()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestDescriptions(t *testing.T) {
	t.Parallel()
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, keyLength))
	const start = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\n"
	for name, tt := range map[string]struct {
		sdp  string
		want string
	}{
		"session's address": {start + "c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n", "192.0.2.1:4000 0 -1"},
		"media's address":   {start + "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8 0\r\nc=IN IP4 192.0.2.2\r\n", "192.0.2.2:4000 8 -1"},
		"keys":              {start + "c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 9 0 96\na=rtpmap:96 Telephone-Event/8000\n", "192.0.2.1:4000 0 96"},
		"the first sound":   {start + "c=IN IP4 192.0.2.1\r\nm=video 1 RTP/AVP 99\r\nm=audio 4000 RTP/AVP 0\r\nm=audio 5000 RTP/AVP 8\r\nc=IN IP4 192.0.2.7\r\n", "192.0.2.1:4000 0 -1"},
		"IPv6":              {start + "c=IN IP6 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n", "[2001:db8::1]:4000 0 -1"},
		"SRTP":              {start + "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:" + key + "\r\na=crypto:2 " + suite + " inline:" + key + "|2^20|1:4\r\n", "192.0.2.1:4000 0 -1 key"},
		"SRTP without key":  {start + "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 0\r\n", ""},
		"SRTP, short key":   {start + "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:1 " + suite + " inline:QUJD\r\n", ""},
		"a key in the open": {start + "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\na=crypto:1 " + suite + " inline:" + key + "\r\n", "192.0.2.1:4000 0 -1"},
		"no address":        {start + "m=audio 4000 RTP/AVP 0\r\n", ""},
		"a name":            {start + "c=IN IP4 example.com\r\nm=audio 4000 RTP/AVP 0\r\n", ""},
		"refused":           {start + "c=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n", ""},
		"other codec":       {start + "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 18\r\n", ""},
		"other profile":     {start + "c=IN IP4 192.0.2.1\r\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n", ""},
		"nothing":           {"", ""},
		"held":              {start + "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n", "192.0.2.1:4000 0 -1 sendonly"},
		"held as a whole":   {start + "c=IN IP4 192.0.2.1\r\na=inactive\r\nm=audio 4000 RTP/AVP 0\r\n", "192.0.2.1:4000 0 -1 inactive"},
		"held as of old":    {start + "c=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n", "0.0.0.0:4000 0 -1 inactive"},
		"a film's way":      {start + "c=IN IP4 192.0.2.1\r\nm=video 1 RTP/AVP 99\r\nc=IN IP4 192.0.2.7\r\na=inactive\r\nm=audio 4000 RTP/AVP 0\r\n", "192.0.2.1:4000 0 -1"},
		"to many":           {start + "c=IN IP4 224.2.1.1/127\r\nm=audio 4000 RTP/AVP 0\r\n", ""},
		"to all":            {start + "c=IN IP4 255.255.255.255\r\nm=audio 4000 RTP/AVP 0\r\n", ""},
	} {
		s, err := read([]byte(tt.sdp))
		got := ""
		if err == nil {
			got = fmt.Sprint(s.at, s.codec, s.keys)
			if s.key != nil {
				got += " key"
			}
			if s.way != bothWays {
				got += " " + s.way
			}
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// Who is registered says so again before the time is over, and takes it back at the shutdown.
func TestRegistration(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(func(c *Config) { login(c); c.Register = true; c.Domain = "example.com" })
	r := p.expect(wire.REGISTER)
	if r.Recipient.String() != "sip:example.com" || r.To().Address.String() != "sip:alice@example.com" || r.GetHeader("Expires").Value() != "3600" {
		t.Errorf("got\n%s", r)
	}
	p.reply(r, 401, "", `WWW-Authenticate: Digest realm="trunk", nonce="1"`)
	again := p.expect(wire.REGISTER)
	if again.GetHeader("Authorization") == nil || again.CSeq().SeqNo != r.CSeq().SeqNo+1 || *again.CallID() != *r.CallID() {
		t.Errorf("after the challenge:\n%s", again)
	}
	p.reply(again, 200, "", "Expires: 3600")

	out := send(t.Context(), c, message) // a call doesn't mind
	p.reply(p.expect(wire.INVITE), 486, "")
	want(t, out, verify.AttemptErrored, verify.ReasonBusy)

	p.takesBack(c, again)
}

// takesBack shuts down, and wants the registration of a request to be taken back.
func (p *peer) takesBack(c *Carrier, registered *wire.Request) {
	p.t.Helper()
	closed := make(chan struct{})
	go func() { c.Close(p.t.Context()); close(closed) }()
	last := p.expect(wire.REGISTER)
	if last.GetHeader("Expires").Value() != "0" || last.CSeq().SeqNo <= registered.CSeq().SeqNo {
		p.t.Errorf("at the shutdown:\n%s", last)
	}
	p.reply(last, 200, "")
	<-closed
}

// A shutdown comes before the answer: the trunk may have us registered, and that is taken back, by a
// request that it can't take for the one before.
func TestARegistrationUnderWayIsTakenBack(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(func(c *Config) { login(c); c.Register = true })
	p.takesBack(c, p.expect(wire.REGISTER))
}

func TestARegistrationIsRenewedInTime(t *testing.T) {
	t.Parallel()
	for granted, want := range map[time.Duration]time.Duration{
		time.Hour: 48 * time.Minute, 20 * time.Second: 16 * time.Second, time.Second: registerMin, 0: registerMin,
	} {
		if got := renewal(granted); got != want {
			t.Errorf("%v: renewed after %v, want %v", granted, got, want)
		}
	}
}

func TestHowLongARegistrationHolds(t *testing.T) {
	t.Parallel()
	const ours, other = "<sip:alice@192.0.2.1:5060;transport=udp>", "<sip:alice@10.9.9.9:5060>"
	for _, tt := range []struct {
		headers []string
		want    time.Duration
	}{
		{nil, time.Hour},
		{[]string{"Expires: 120"}, 2 * time.Minute},
		{[]string{"Expires: 120", "Contact: " + ours + ";q=1;Expires=60"}, time.Minute},
		{[]string{"Expires: soon"}, time.Hour},
		{[]string{"Contact: " + ours + `;q=0.5;expires="60"`}, time.Minute},
		{[]string{"Contact: " + ours + ";expires=60", "Contact: " + other + ";expires=3500"}, time.Minute},
		{[]string{"Contact: " + other + ";expires=3500", "Contact: " + ours + ";expires=60"}, time.Minute},
		{[]string{"Contact: " + ours + ";expires=60, " + other + ";expires=3500"}, time.Minute},
		{[]string{`Contact: "a, \"b" ` + other + ";expires=30, " + ours + ";expires=60"}, time.Minute},
		{[]string{"Expires: 90", "Contact: " + other + ";expires=30, " + ours}, 90 * time.Second},
		{[]string{"Contact: <sip:alice@203.0.113.7:40000>;expires=60, " + other + ";expires=3500"}, time.Minute}, // ours, as the trunk sees it
	} {
		r := wire.NewResponse(200, "OK")
		for _, h := range tt.headers {
			name, value, _ := strings.Cut(h, ": ")
			r.AppendHeader(wire.NewHeader(name, value))
		}
		if got := granted(r, wire.Uri{User: "alice", Host: "192.0.2.1", Port: 5060}, time.Hour); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.headers, got, tt.want)
		}
	}
}

// A trunk that finds an hour too short gets the time that it names, at once and from then on.
func TestARegistrationMayHaveToBeLonger(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.trunk(func(c *Config) { login(c); c.Register = true })
	first := p.expect(wire.REGISTER)
	p.reply(first, 423, "", "Min-Expires: 7200")
	again := p.expect(wire.REGISTER)
	if h := again.GetHeaders("Expires"); len(h) != 1 || h[0].Value() != "7200" || again.CSeq().SeqNo <= first.CSeq().SeqNo {
		t.Errorf("after the 423:\n%s", again)
	}
	p.reply(again, 401, "", `WWW-Authenticate: Digest realm="trunk", nonce="1"`)
	proved := p.expect(wire.REGISTER)
	if h := proved.GetHeaders("Expires"); len(h) != 1 || h[0].Value() != "7200" {
		t.Errorf("after the challenge:\n%s", proved)
	}
	p.reply(proved, 200, "", "Expires: 1") // so that it is due again soon
	if h := p.expect(wire.REGISTER).GetHeader("Expires"); h.Value() != "7200" {
		t.Errorf("the renewal asks for %s", h.Value())
	}
}

// Credentials that the trunk refuses are an operator's work: one line says so, with what was sent.
func TestRefusedCredentialsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	log := &logLines{got: make(chan string, 100)}
	c := p.trunk(func(c *Config) { login(c); c.Register = true; c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	refuse := func(method wire.RequestMethod) {
		p.reply(p.expect(method), 401, "", `WWW-Authenticate: Digest realm="trunk", nonce="1"`)
		p.reply(p.expect(method), 401, "", `WWW-Authenticate: Digest realm="trunk", nonce="1"`)
	}
	refuse(wire.REGISTER)
	log.next(t, `level=ERROR msg="the trunk refuses the registration until somebody acts" carrier=trunk reason=misconfigured err="the trunk refuses our credentials; From was sip:alice@`)
	for range 2 {
		out := send(t.Context(), c, message)
		refuse(wire.INVITE)
		want(t, out, verify.AttemptRefused, verify.ReasonAuth)
	}
	log.next(t, `level=ERROR msg="the trunk takes no calls from us until somebody acts" carrier=trunk reason=misconfigured`)
	refuse(wire.REGISTER) // the next try
	c.Close(t.Context())
	close(log.got)
	for line := range log.got {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN") {
			t.Errorf("and then: %s", line)
		}
	}
}

// logLines is a log for tests that wait for lines.
type logLines struct{ got chan string }

func (l *logLines) Write(b []byte) (int, error) {
	l.got <- string(b)
	return len(b), nil
}

// next waits for a line, and passes over those of ended calls.
func (l *logLines) next(t *testing.T, want string) {
	t.Helper()
	for {
		select {
		case got := <-l.got:
			if strings.Contains(got, want) {
				return
			}
			if !strings.Contains(got, "call ended") {
				t.Fatalf("logged %s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s wasn't logged", want)
		}
	}
}

// A certificate of nobody that we trust ends the call before the number is said to anybody.
func TestATrunkWithAWrongCertificateIsNotSpokenTo(t *testing.T) {
	t.Parallel()
	both := []byte(siptest.Certificate(t))
	cert, err := tls.X509KeyPair(both, both)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	said := make(chan []byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		buf := make([]byte, 1)
		n, _ := conn.Read(buf)
		said <- buf[:n]
	}()
	c := trunk(t, l.Addr().String(), func(c *Config) { c.Transport = TLS })
	want(t, send(t.Context(), c, message), verify.AttemptErrored, verify.ReasonUnreachable)
	if got := <-said; len(got) > 0 {
		t.Error("something was said to it")
	}
}

// A trunk asks for our certificate, and one has no SRTP: what the invitation offers.
func TestATrunkWithTLSGetsWhatItWants(t *testing.T) {
	t.Parallel()
	both := []byte(siptest.Certificate(t))
	cert, err := tls.X509KeyPair(both, both)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(both)
	for name, skip := range map[string]bool{"RTP/SAVP": false, "RTP/AVP": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			got := make(chan string, 1)
			go func() {
				defer close(got)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				buf := make([]byte, maxMessage)
				for n := 0; n < len(buf); {
					more, err := conn.Read(buf[n:])
					if n += more; err != nil || bytes.Contains(buf[:n], []byte("a=sendrecv")) {
						got <- string(buf[:n])
						return
					}
				}
			}()
			c := trunk(t, l.Addr().String(), func(c *Config) { c.Transport, c.RootCAs, c.Certificate, c.SkipSRTP = TLS, roots, &cert, skip })
			out := send(t.Context(), c, message)
			if invite := <-got; !strings.Contains(invite, " "+name+" 0 8 101") || strings.Contains(invite, "a=crypto") == skip {
				t.Errorf("want %s in the invitation:\n%s", name, invite)
			}
			want(t, out, verify.AttemptErrored, verify.ReasonUnreachable)
		})
	}
}

// With TLS, sound is encrypted or there is none: not in the clear because the other side would have it
// so, and nothing is taken that isn't the other side's.
func TestSoundIsEncryptedWithTLS(t *testing.T) {
	t.Parallel()
	rng := newPorts(loopback, [2]uint16{21000, 29999})
	pressed := make(chan byte, 1)
	open := func(keysTo func(byte)) *media {
		m, err := newMedia(rng, true, func(netip.Addr) bool { return true }, func(key byte, _ way) { keysTo(key) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.close)
		return m
	}
	ours, theirs := open(func(byte) {}), open(func(key byte) { pressed <- key })
	if err := ours.connect(side{at: netip.AddrPortFrom(loopback, theirs.port()), codec: mu, keys: keys}); !errors.Is(err, errMedia) {
		t.Errorf("an answer in the clear: got %v, want %v", err, errMedia)
	}
	meet := func(m, peer *media) {
		if err := m.connect(side{at: netip.AddrPortFrom(loopback, peer.port()), codec: mu, keys: keys, key: peer.key}); err != nil {
			t.Fatal(err)
		}
	}
	meet(ours, theirs)
	meet(theirs, ours)

	plain := rtp(keys, 1, 1, []byte{1, 0, 0, 1})
	if theirs.take(plain, netip.AddrPortFrom(loopback, ours.port())) {
		t.Error("a packet in the clear was taken")
	}
	sealed, err := ours.seal.EncryptRTP(nil, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, plain[header:]) || len(sealed) != len(plain)+10 {
		t.Errorf("sealed % x", sealed)
	}
	if !theirs.take(sealed, netip.AddrPortFrom(loopback, ours.port())) || <-pressed != '1' {
		t.Error("a sealed packet wasn't taken")
	}
	if theirs.take(sealed, netip.AddrPortFrom(loopback, ours.port())) {
		t.Error("a packet was taken twice")
	}
	sealed[header] ^= 1
	if theirs.take(sealed, netip.AddrPortFrom(loopback, ours.port())) {
		t.Error("a packet that was tampered with was taken")
	}
	if err := ours.send(bytes.Repeat([]byte{0x55}, frame)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); theirs.heard.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what is sent doesn't arrive")
		}
	}
}

// Each packet is sent at its time, to the nanosecond. What comes late makes nothing behind it late. After
// the machine stood still for longer, the plan moves by just that, the call says by how much, and what is
// left is said at its pace, not in a burst.
func TestPacketsKeepTheirTime(t *testing.T) {
	t.Parallel()
	const packets, before = 200, 100
	for name, tt := range map[string]struct{ pause, late, next time.Duration }{
		"no pause":      {0, 0, frameTime},
		"a short pause": {maxLate, 0, 0},
		"a long pause":  {time.Second + frameTime, time.Second, frameTime},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newPeer(t).media()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				k := &talk{call: &call{media: m, over: make(chan struct{})}, due: began, seenAt: began}
				var last, gap time.Duration // when the last was sent; what was between the two after the pause
				for i := range packets {
					if i == before {
						time.Sleep(tt.pause)
					}
					if err := k.step(t.Context(), nil); err != nil {
						t.Fatal(err)
					}
					at := time.Since(began)
					if i == before+1 {
						gap = at - last
					}
					last = at
				}
				if plan := (packets-1)*frameTime + tt.late; last != plan || k.Late != tt.late || gap != tt.next {
					t.Errorf("%d packets took %v, want %v; late by %v, want %v; the one after the pause came %v behind it, want %v",
						packets, last, plan, k.Late, tt.late, gap, tt.next)
				}
			})
		})
	}
}

// Credentials for a trunk with a long nonce, or for two, don't fit into one packet of a network: they
// are sent all the same.
func TestCredentialsMayBeLong(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	out := send(t.Context(), p.trunk(login), message)
	chal := &digest.Challenge{Realm: "trunk", Nonce: strings.Repeat("n", 1000), Algorithm: "SHA-256", QOP: []string{"auth"}}
	invite, right := challenged(t, p, 407, chal, "alice", "correct horse")
	if !right || len(invite.String()) < 1500 {
		t.Errorf("%d bytes with credentials that are right: %v", len(invite.String()), right)
	}
	p.reply(invite, 486, "")
	want(t, out, verify.AttemptErrored, verify.ReasonBusy)
}

// Where one call is answered is not where others are: a phone whose trunk lets it name its own address
// would else be sent the codes of other people.
func TestThePhoneOfOneCallIsAStrangerToOthers(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(nil)
	phone := listenOn(t, "127.0.0.2")
	own, hangUp := context.WithCancel(t.Context())
	first := send(own, c, message)
	p.reply(p.expect(wire.INVITE), 200, p.sdp(), "Contact: <sip:phone@"+phone.LocalAddr().String()+">")
	buf := make([]byte, maxMessage)
	if n, err := phone.Read(buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("ACK ")) {
		t.Fatalf("the phone got %q, %v, want the acknowledgement", buf[:n], err)
	}
	p.heard(5)

	second := send(t.Context(), c, message)
	invite := p.answer()
	to := described(t, invite.Body()).at
	for range 5 {
		if _, err := phone.WriteToUDPAddrPort(rtp(mu, 1, 1, make([]byte, frame)), to); err != nil {
			t.Fatal(err)
		}
	}
	p.heard(len(p.heard(1)) + 20)
	phone.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := phone.Read(buf); err == nil {
		t.Errorf("the phone of another call got %d bytes of the sound", n)
	}
	p.bye(invite)
	want(t, second, verify.AttemptRefused, verify.ReasonHungUp)

	hangUp()
	want(t, first, verify.AttemptErrored, verify.ReasonInterrupted)
	if c.hears(netip.MustParseAddr("127.0.0.2")) {
		t.Error("after its call the phone is still listened to")
	}
}

// A trunk that rings several phones may let two be answered: the second one is hung up.
func TestASecondPhoneIsHungUp(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	c := p.trunk(nil)
	out := send(t.Context(), c, message)
	invite := p.answer()
	p.heard(5)
	other := wire.NewResponseFromRequest(invite, 200, "So be it", []byte(p.sdp()))
	other.To().Params.Remove("tag")
	other.To().Params.Add("tag", "second")
	other.AppendHeader(wire.NewHeader("Content-Type", sdpType))
	other.AppendHeader(wire.NewHeader("Contact", fmt.Sprintf("<sip:second@127.0.0.1:%d>", port(p.conn))))
	p.write(other.String(), invite.Source())
	for _, method := range []wire.RequestMethod{wire.ACK, wire.BYE} {
		r := p.expect(method)
		if to, _ := r.To().Params.Get("tag"); to != "second" || r.Recipient.User != "second" {
			t.Errorf("the %s is for %s, %s", method, r.Recipient.String(), to)
		}
		if method == wire.BYE {
			p.reply(r, 200, "")
		}
	}
	p.heard(c.Speech.Script(t.Context(), "", nil, "7").Once/frame + 2)
	p.bye(invite)
	want(t, out, verify.AttemptAccepted, verify.NoReason)
}

// A connected is a request that came by a connection.
type connected struct {
	*wire.Request
	conn    net.Conn
	answers <-chan *wire.Response // to what is asked there
}

// settle waits until what was said by the connection has been heard. The library hands over in any order
// what comes together.
func (r connected) settle(t *testing.T) {
	t.Helper()
	for i := range 3 {
		fmt.Fprintf(r.conn, "OPTIONS sip:us@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK%d\r\nFrom: <sip:peer@127.0.0.1>;tag=a\r\n"+
			"To: <sip:us@127.0.0.1>\r\nCall-ID: settle\r\nCSeq: %d OPTIONS\r\nContent-Length: 0\r\n\r\n", i+1, i+1)
		<-r.answers
	}
}

func (r connected) reply(t *testing.T, status int) {
	t.Helper()
	if _, err := r.conn.Write([]byte(wire.NewResponseFromRequest(r.Request, status, "So be it", nil).String())); err != nil {
		t.Fatal(err)
	}
}

// What came by connections.
type came <-chan connected

// next waits for a request.
func (c came) next(t *testing.T) connected {
	t.Helper()
	select {
	case r := <-c:
		return r
	case <-time.After(patience):
		t.Fatal("no request came")
	}
	panic("unreachable")
}

// listenTCP is a trunk that takes connections, and what comes by them.
func listenTCP(t *testing.T) (addr string, requests came) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan connected, 10)
	read := func(conn net.Conn) {
		reads, answers := newStreams(), make(chan *wire.Response, 10)
		buf := make([]byte, maxMessage)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			whole, err := reads.filter(wire.TransportReadProps{Transport: "TCP", LocalAddr: conn.LocalAddr(), RemoteAddr: conn.RemoteAddr()}, buf[:n])
			for err == nil && len(whole) > 0 {
				end, _ := length(whole)
				if m, err := parser.ParseSIP(whole[:end]); err == nil {
					switch m := m.(type) {
					case *wire.Request:
						if !m.IsAck() {
							got <- connected{m, conn, answers}
						}
					case *wire.Response:
						answers <- m
					}
				}
				whole = whole[end:]
			}
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go read(conn)
		}
	}()
	return l.Addr().String(), got
}

// A trunk on a connection says nothing of one call, but goes on with others: they keep the connection.
func TestOneCallThatIsNotAnsweredLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	addr, requests := listenTCP(t)
	c := trunk(t, addr, func(c *Config) { c.Transport, c.First = TCP, 2*time.Second })
	rings := send(t.Context(), c, message)
	first := requests.next(t)
	first.reply(t, 180)
	silent := send(t.Context(), c, message)
	requests.next(t)
	first.reply(t, 180) // it still rings
	want(t, silent, verify.AttemptErrored, verify.ReasonUnreachable)
	first.reply(t, 486)
	want(t, rings, verify.AttemptErrored, verify.ReasonBusy)
}

// A connection breaks while a phone rings: another carrier gets the call, so this phone must stop.
func TestAPhoneThatRingsBehindABrokenConnectionIsCancelled(t *testing.T) {
	t.Parallel()
	addr, requests := listenTCP(t)
	c := trunk(t, addr, func(c *Config) { c.Transport = TCP })
	out := send(t.Context(), c, message)
	invite := requests.next(t)
	invite.reply(t, 180)
	invite.settle(t)
	invite.conn.(*net.TCPConn).CloseWrite()
	cancel := requests.next(t)
	if cancel.Method != wire.CANCEL || cancel.Via().Value() != invite.Via().Value() {
		t.Errorf("got\n%s", cancel)
	}
	if cancel.conn == invite.conn { // it was swallowed
		cancel = requests.next(t)
	}
	cancel.reply(t, 200)
	want(t, out, verify.AttemptErrored, verify.ReasonUnreachable)
}

// Without a port for its sound a call isn't made, and takes nobody's place.
func TestPortsForSoundRunOut(t *testing.T) {
	t.Parallel()
	first := porttest.Row(t, 4)
	var taken []*net.UDPConn
	for _, n := range []int{0, 2} {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback.AsSlice(), Port: first + n})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		taken = append(taken, conn)
	}
	p := newPeer(t)
	c := p.trunk(func(c *Config) { c.Ports, c.Calls = [2]uint16{uint16(first), uint16(first + 3)}, 1 })
	for range 3 {
		want(t, send(t.Context(), c, message), verify.AttemptErrored, verify.ReasonFull)
	}
	taken[1].Close()
	for range 3 { // each gives its port back
		out := send(t.Context(), c, message)
		p.reply(p.expect(wire.INVITE), 486, "")
		want(t, out, verify.AttemptErrored, verify.ReasonBusy)
	}
}
