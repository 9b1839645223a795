package smpp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// A kit is a carrier in a bubble, where time passes only while all wait, and the test as its SMSC.
type kit struct {
	*testing.T
	*Carrier
	dials    chan net.Conn // the SMSC's ends of connections
	receipts chan carrier.Receipt
	patience time.Duration // of who sends

	mu      sync.Mutex // guards all below
	receive func(carrier.Receipt) error
	dialed  []string // addresses
	log     bytes.Buffer
}

const password = "pa55word"

// story runs a test in which the SMSC does what the script says.
func story(t *testing.T, configure func(*Config), script func(k *kit)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kit{T: t, dials: make(chan net.Conn, 100), receipts: make(chan carrier.Receipt, 100), patience: 10 * time.Second}
		c := Config{
			Name: "smsc", Addr: "smsc.example:2775", SystemID: "countersign", Password: password,
			Log: slog.New(slog.NewTextHandler(writer(k.write), &slog.HandlerOptions{Level: slog.LevelDebug})),
		}
		if configure != nil {
			configure(&c)
		}
		if wrong := c.Check(); wrong != nil {
			t.Fatal(wrong)
		}
		k.Carrier = start(c, func(ctx context.Context, addr string) (net.Conn, error) {
			k.mu.Lock()
			k.dialed = append(k.dialed, addr)
			k.mu.Unlock()
			return pipes(k.dials)(ctx, addr)
		})
		k.OnReceipt(func(_ context.Context, r carrier.Receipt) error {
			k.mu.Lock()
			receive := k.receive
			k.mu.Unlock()
			if receive != nil {
				return receive(r)
			}
			k.receipts <- r
			return nil
		})
		script(k)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		k.Close(ctx)
		for {
			select {
			case conn := <-k.dials:
				conn.Close()
				continue
			default:
			}
			break
		}
		k.secrets()
	})
}

// pipes dials whoever takes the other ends.
func pipes(dials chan net.Conn) func(context.Context, string) (net.Conn, error) {
	return func(context.Context, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		dials <- theirs
		return ours, nil
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func (k *kit) write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.log.Write(b)
}

func (k *kit) onReceipt(receive func(carrier.Receipt) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.receive = receive
}

// unlessUnsure knows no message by the SMSC's id.
func (k *kit) unlessUnsure(r carrier.Receipt) error {
	if r.Unsure {
		return verify.ErrNotFound
	}
	k.receipts <- r
	return nil
}

// secrets fails if a log line holds what none may.
func (k *kit) secrets() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if reveals(k.log.String()) {
		k.Errorf("the log holds what none may:\n%s", k.log.String())
	}
}

// reveals reports whether a text holds the password, a code or a number.
func reveals(text string) bool {
	return strings.Contains(text, password) || strings.Contains(text, "493817") || strings.Contains(text, "202555")
}

// forever is how long nothing of what is waited for takes.
const forever = 10 * time.Minute

// A peer is the SMSC's end of one connection.
type peer struct {
	*kit
	conn net.Conn
	in   *bufio.Reader
}

// accept takes the carrier's next connection.
func (k *kit) accept() *peer {
	k.Helper()
	select {
	case conn := <-k.dials:
		return &peer{k, conn, bufio.NewReader(conn)}
	case <-time.After(2 * time.Minute):
		k.Fatal("no connection in 2 minutes")
		return nil
	}
}

// bound takes the next connection and its bind.
func (k *kit) bound() *peer {
	k.Helper()
	p := k.accept()
	p.answer(p.read(bindTransceiver), statusOK, "smsc\x00")
	synctest.Wait() // until the carrier has read it, and sends by this bind
	return p
}

// read reads a PDU, which has to be of a kind; an enquire_link that comes before is answered.
func (p *peer) read(want command) pdu {
	p.Helper()
	for begun := time.Now(); ; {
		got, err := readPDU(p.in)
		if err != nil || time.Since(begun) > forever {
			p.Fatalf("read, want %x: %v", want, err)
		}
		if got.command == enquireLink && want != enquireLink {
			p.answer(got, statusOK, "")
			continue
		}
		if got.command != want {
			p.Fatalf("got %+v, want %x", got, want)
		}
		return got
	}
}

// submitted reads a submit_sm and what it says.
func (p *peer) submitted() (pdu, message) {
	p.Helper()
	got := p.read(submitSM)
	m, err := decodeMessage(got.body)
	if err != nil {
		p.Fatal(err)
	}
	return got, m
}

// ended waits for the end of the connection.
func (p *peer) ended() {
	p.Helper()
	for begun := time.Now(); ; {
		got, err := readPDU(p.in)
		if err != nil {
			return
		}
		if got.command != enquireLink || time.Since(begun) > forever {
			p.Fatalf("got %+v, want the end", got)
		}
	}
}

func (p *peer) write(b []byte) {
	p.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.Fatal(err)
	}
}

func (p *peer) send(c command, s Status, seq uint32, body string) {
	p.Helper()
	p.write(pdu{command: c, status: s, seq: seq, body: []byte(body)}.append(nil))
}

func (p *peer) answer(to pdu, s Status, body string) {
	p.Helper()
	p.send(to.command|response, s, to.seq, body)
}

// deliver sends a deliver_sm and returns the status of its response.
func (p *peer) deliver(m message) Status {
	p.Helper()
	p.send(deliverSM, statusOK, 7, string(m.encode()))
	return p.read(deliverSM | response).status
}

// dlr is a receipt in the form of text.
func dlr(id, stat string) message {
	return message{
		source: address{1, 1, "12025550100"}, dest: address{3, 0, "12345"}, esm: esmReceipt,
		text: fmt.Appendf(nil, "id:%s sub:001 dlvrd:001 submit date:2611211834 done date:2611211834 stat:%s err:000 text:Your code", id, stat),
	}
}

// sms is a message, with an id of its own.
func (k *kit) sms() verify.Message {
	return verify.Message{
		Verification: verify.NewID(time.Now()), Channel: verify.ChannelSMS, To: "+12025550100", From: "+12025550199",
		Body: "Your code is 493817", ExpiresAt: time.Now().Add(10 * time.Minute), Attempt: 1,
	}
}

// An outcome is what Send returned.
type outcome struct {
	ref string
	err error
}

// sending sends a message meanwhile.
func (k *kit) sending(m verify.Message) chan outcome {
	done := make(chan outcome, 1)
	patience := k.patience
	go func() {
		ctx, cancel := context.WithTimeout(k.Context(), patience)
		defer cancel()
		r, err := k.Send(ctx, m)
		done <- outcome{r.Ref, err}
	}()
	return done
}

// want checks what Send returns: a ref, or what is decided and why.
func (k *kit) want(done chan outcome, ref string, o verify.AttemptOutcome, reason verify.Reason) {
	k.Helper()
	got := <-done
	if o == verify.AttemptAccepted {
		if got.err != nil || got.ref != ref {
			k.Errorf("got %q, %v; want %q", got.ref, got.err, ref)
		}
		return
	}
	if got.err == nil {
		k.Errorf("got %q; want %v for %s", got.ref, o, reason)
		return
	}
	if reveals(got.err.Error()) {
		k.Errorf("%v holds what no error may", got.err)
	}
	if d := carrier.Decision(got.err); d.Outcome != o || d.Reason != reason {
		k.Errorf("got %v, %q: %v; want %v, %q", d.Outcome, d.Reason, got.err, o, reason)
	}
}

// receipt checks the next receipt.
func (k *kit) receipt(want carrier.Receipt) {
	k.Helper()
	select {
	case got := <-k.receipts:
		if got != want {
			k.Errorf("got receipt %+v, want %+v", got, want)
		}
	case <-time.After(time.Minute):
		k.Errorf("no receipt, want %+v", want)
	}
}

// noReceipt checks that none was passed on.
func (k *kit) noReceipt() {
	k.Helper()
	synctest.Wait()
	select {
	case got := <-k.receipts:
		k.Errorf("got receipt %+v, want none", got)
	default:
	}
}
