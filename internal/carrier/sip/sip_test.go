package sip

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/verify"
)

func TestAnAnsweredCallSaysTheCode(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	var ended []Call
	c := p.trunk(func(c *Config) { c.Ended = func(r Call) { ended = append(ended, r) } })
	out := send(t.Context(), c, message)
	invite := p.answer()
	script := c.Speech.Script(t.Context(), "", nil, "7")
	bye := p.expect(wire.BYE)
	p.reply(bye, 200, "")
	got := want(t, out, verify.Accepted, "")
	if got.ref != string(*invite.CallID()) {
		t.Errorf("the reference is %q, want the Call-ID %q", got.ref, *invite.CallID())
	}
	if u := invite.Recipient.User + " " + invite.From().Address.User; u != "+12025550100 +12025550199" {
		t.Errorf("called %s", u)
	}
	sound := listen(t, p.heard(1), mu)
	if !bytes.HasPrefix(sound, script.All()) {
		t.Error("what was sent is not the script")
	}
	if len(ended) != 1 || !ended[0].Said || ended[0].Status != 200 || ended[0].Talk < ended[0].Ring {
		t.Errorf("recorded %+v", ended)
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

var _ = strings.Cut
