package smpp

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// trying tries an account whose SMSC does what the script says.
func trying(t *testing.T, change func(*Config), script func(k *kit)) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &kit{T: t}
		k.dials = make(chan net.Conn, 10)
		c := Config{Name: "smsc", Addr: "smsc.example:2775", SystemID: "countersign", Password: password}
		if change != nil {
			change(&c)
		}
		done := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		go func() { done <- unbound(ctx, c, pipes(k.dials)).try(ctx) }()
		script(k)
		err = <-done
	})
	return err
}

func TestATryBindsAndUnbinds(t *testing.T) {
	t.Parallel()
	err := trying(t, nil, func(k *kit) {
		p := k.accept()
		hello := p.read(bindTransceiver)
		if got := p.deliver(dlr("id-1", "DELIVRD")); got != statusTemporary {
			k.Errorf("got %v for a receipt, want to have it again", got)
		}
		p.answer(hello, statusOK, "smsc\x00")
		p.answer(p.read(unbind), statusOK, "")
		p.ended()
	})
	if err != nil {
		t.Error(err)
	}
}

func TestATryOfAPairBindsBoth(t *testing.T) {
	t.Parallel()
	err := trying(t, func(c *Config) { c.Mode = Pair }, func(k *kit) {
		receiver := k.accept()
		receiver.answer(receiver.read(bindReceiver), statusOK, "smsc\x00")
		transmitter := k.accept()
		transmitter.answer(transmitter.read(bindTransmitter), statusOK, "smsc\x00")
		for _, p := range []*peer{receiver, transmitter} {
			p.answer(p.read(unbind), statusOK, "")
			p.ended()
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestATryTellsARefusalFromSilence(t *testing.T) {
	t.Parallel()
	refused := trying(t, nil, func(k *kit) {
		p := k.accept()
		p.answer(p.read(bindTransceiver), 0x0E, "")
		p.ended()
	})
	if refused == nil || carrier.Decision(refused).Reason != verify.ReasonMisconfigured || !strings.Contains(refused.Error(), "answered the bind with") || reveals(refused.Error()) {
		t.Errorf("refused: got %v, want a misconfiguration without the password", refused)
	}
	silent := trying(t, nil, func(k *kit) {
		p := k.accept()
		p.read(bindTransceiver)
		p.ended()
	})
	if silent == nil || carrier.Decision(silent).Reason == verify.ReasonMisconfigured {
		t.Errorf("silent: got %v, want an error that isn't a misconfiguration", silent)
	}
}
