package sip

import (
	"context"
	"fmt"
	"strings"
	"testing"

	wire "github.com/emiago/sipgo/sip"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

type answered struct {
	text string
	err  error
}

// trying tries the peer as a trunk.
func (p *peer) trying(change func(*Config)) <-chan answered {
	p.t.Helper()
	s, err := speech.New(speech.Config{Times: 1})
	if err != nil {
		p.t.Fatal(err)
	}
	c := Config{Name: "trunk", Trunk: fmt.Sprintf("127.0.0.1:%d", port(p.conn)), Listen: "127.0.0.1:0", Ports: [2]uint16{21000, 29999}, Speech: s}
	if change != nil {
		change(&c)
	}
	done := make(chan answered, 1)
	go func() {
		ctx, cancel := context.WithTimeout(p.t.Context(), patience)
		defer cancel()
		text, err := Try(ctx, c)
		done <- answered{text, err}
	}()
	return done
}

func TestATrySendsOptions(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	done := p.trying(nil)
	p.reply(p.expect(wire.OPTIONS), 200, "")
	if got := <-done; got.err != nil || got.text != "answered 200 to OPTIONS" {
		t.Errorf("got %+v", got)
	}
	done = p.trying(nil)
	p.reply(p.expect(wire.OPTIONS), 501, "")
	if got := <-done; got.err != nil {
		t.Errorf("a trunk that doesn't know OPTIONS is there: got %v", got.err)
	}
}

// A running server's registration is at the same trunk: a Contact, or its absence with an Expires, would change it.
func TestATryAsksForRegistrationsAndChangesNone(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	done := p.trying(func(c *Config) { login(c); c.Register = true })
	p.reply(p.expect(wire.REGISTER), 401, "", `WWW-Authenticate: Digest realm="trunk", nonce="1"`)
	register := p.expect(wire.REGISTER)
	if h := register.GetHeader("Authorization"); h == nil || !strings.Contains(h.Value(), `username="alice"`) {
		t.Errorf("no credentials:\n%s", register)
	}
	if register.Contact() != nil || register.GetHeader("Expires") != nil {
		t.Errorf("it changes the registrations:\n%s", register)
	}
	p.reply(register, 200, "")
	if got := <-done; got.err != nil || got.text != "answered 200 to REGISTER" {
		t.Errorf("got %+v", got)
	}
	select {
	case r := <-p.requests:
		t.Errorf("after the answer came:\n%s", r)
	default:
	}
}

func TestATryTellsWhatTheTrunkRefuses(t *testing.T) {
	t.Parallel()
	const challenge = `WWW-Authenticate: Digest realm="trunk", nonce="1"`
	for name, tt := range map[string]struct {
		change  func(*Config)
		method  wire.RequestMethod
		answers []int
		refused bool
	}{
		"wrong password":             {login, wire.OPTIONS, []int{401, 401}, true},
		"no credentials":             {nil, wire.OPTIONS, []int{401}, true},
		"forbidden":                  {nil, wire.OPTIONS, []int{403}, true},
		"out of service":             {nil, wire.OPTIONS, []int{503}, false},
		"no registrations, or fault": {func(c *Config) { login(c); c.Register = true }, wire.REGISTER, []int{500}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			done := p.trying(tt.change)
			for _, status := range tt.answers {
				p.reply(p.expect(tt.method), status, "", challenge)
			}
			got := <-done
			if got.err == nil || (carrier.Decision(got.err).Reason == verify.ReasonMisconfigured) != tt.refused || strings.Contains(got.err.Error(), "correct horse") {
				t.Errorf("got %v, want an error, refused %v", got.err, tt.refused)
			}
		})
	}
}
