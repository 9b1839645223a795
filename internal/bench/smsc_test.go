package bench

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/smpp"
	"github.com/countersign/countersign/internal/verify"
)

// The SMPP carrier, which works with other SMSCs too, gets its messages and receipts through.
func TestTheSMPPCarrierSendsToTheSMSC(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type message struct{ to, text string }
	got := make(chan message, 1)
	s := &SMSC{}
	s.onMessage(func(to, text string) { got <- message{to, text} })
	go s.Serve(l)
	c, err := smpp.New(smpp.Config{Name: "smsc", Addr: l.Addr().String(), Plaintext: true, SystemID: "bench"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	defer c.Close(ctx)
	receipts := make(chan carrier.Receipt, 1)
	c.OnReceipt(func(_ context.Context, r carrier.Receipt) error { receipts <- r; return nil })
	m := verify.Message{
		Verification: verify.NewID(time.Now()), Attempt: 1, Channel: verify.ChannelSMS, To: "+12025550100", From: "ACME",
		Body: "Your code is 493817", ExpiresAt: time.Now().Add(time.Hour),
	}
	r, err := c.Send(ctx, m)
	if err != nil || r.Ref != "1" {
		t.Fatalf("send: %q, %v", r.Ref, err)
	}
	if got, want := <-got, (message{"+12025550100", "Your code is 493817"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := <-receipts, (carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Ref: "1", Delivered: true}); got != want {
		t.Errorf("got the receipt %+v, want %+v", got, want)
	}
}

func TestASubmitThatEndsTooSoonIsNone(t *testing.T) {
	t.Parallel()
	whole := []byte("\x00\x01\x01" + "12025550199\x00\x01\x01" + "12025550100\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x04code")
	if m, err := parseSubmit(whole); err != nil || m != (submitted{from: "12025550199", to: "12025550100", text: "code", receipt: true}) {
		t.Fatalf("got %+v, %v", m, err)
	}
	for n := range whole {
		if m, err := parseSubmit(whole[:n]); err == nil {
			t.Errorf("%d bytes: got %+v, want an error", n, m)
		}
	}
}
