package smpp

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/sms"
	"github.com/countersign/countersign/internal/smsctest"
	"github.com/countersign/countersign/internal/verify"
)

// The tests of this file talk to npm's smpp, which somebody else wrote from the same specification.

// npm starts an SMSC, see testdata/smsc/smsc.js for what it can be told.
func npm(t *testing.T, env ...string) *smsctest.Server {
	t.Helper()
	return smsctest.Start(t, "testdata/smsc", env...)
}

// A client is a carrier whose receipts are counted.
type client struct {
	*Carrier
	receipts sync.Map // verification → how many
	total    atomic.Int64
	unknown  atomic.Int64 // receipts of which the carrier knows no more than the SMSC's id
	came     chan struct{}
}

// newClient makes a client of an SMSC.
func newClient(t *testing.T, addr string, configure func(*Config)) *client {
	t.Helper()
	config := Config{Name: "npm", Addr: addr, Plaintext: true, SystemID: smsctest.SystemID, Password: smsctest.Password}
	if configure != nil {
		configure(&config)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	k := &client{Carrier: c, came: make(chan struct{}, 1)}
	c.OnReceipt(func(_ context.Context, r carrier.Receipt) error {
		if r.Verification.IsZero() || !r.Delivered {
			k.unknown.Add(1)
			return verify.ErrNotFound
		}
		n, _ := k.receipts.LoadOrStore(r.Verification, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		k.total.Add(1)
		select {
		case k.came <- struct{}{}:
		default:
		}
		return nil
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c.Close(ctx)
	})
	return k
}

// wait waits until n receipts came.
func (k *client) wait(t *testing.T, n int64) {
	t.Helper()
	late := time.After(time.Minute)
	for k.total.Load() < n {
		select {
		case <-k.came:
		case <-late:
			t.Fatalf("%d of %d receipts, and %d that nobody knew", k.total.Load(), n, k.unknown.Load())
		}
	}
}

// text is a message to the nth number.
func text(n int, body string) verify.Message {
	return verify.Message{
		Verification: verify.NewID(time.Now()), Channel: verify.ChannelSMS, To: phone.Number(fmt.Sprintf("+1202555%04d", n)), From: "12345",
		Body: verify.Secret(body), ExpiresAt: time.Now().Add(10*time.Minute + 500*time.Millisecond), Attempt: 1,
	}
}

func TestNPMReadsWhatWeWrite(t *testing.T) {
	t.Parallel()
	for _, receipts := range []string{"text", "tlv", "both", "early"} {
		for _, mode := range []Mode{Transceiver, Pair} {
			t.Run(receipts+" "+string(mode), func(t *testing.T) {
				t.Parallel()
				s := npm(t, "RECEIPTS="+receipts)
				k := newClient(t, s.Addr, func(c *Config) { c.Mode = mode })
				bodies := []string{
					"Your code is 493817",
					"@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà",
					"^{}\\[~]|€",
					"Ваш код 493817 😀",
					strings.Repeat("a", 152) + "€" + strings.Repeat("[b]", 40),
					strings.Repeat("ж", 66) + "😀" + strings.Repeat("ш", 70),
				}
				for i, body := range bodies {
					if r, err := k.Send(t.Context(), text(i, body)); err != nil || r.Ref == "" {
						t.Errorf("%q: got %q, %v", body, r.Ref, err)
					}
				}
				got := s.Messages()
				for i, body := range bodies {
					parts := sms.Segments(body)
					checkParts(t, i, body, got[:parts])
					got = got[parts:]
				}
				if len(got) != 0 {
					t.Errorf("%d more than were sent", len(got))
				}
				k.wait(t, int64(len(bodies)))
				if n := k.unknown.Load(); n != 0 {
					t.Errorf("%d receipts that nobody knew", n)
				}
			})
		}
	}
}

// checkParts compares what a stranger read with what we sent.
func checkParts(t *testing.T, n int, body string, parts []smsctest.Message) {
	t.Helper()
	enc, _ := sms.Measure(body)
	read := ""
	for i, p := range parts {
		read += p.Text
		if want := map[sms.Encoding]int{sms.GSM7: 0, sms.UCS2: 8}[enc]; p.Coding != want {
			t.Errorf("%q: coding %d, want %d", body, p.Coding, want)
		}
		if want := fmt.Sprintf("1 1 1202555%04d", n); p.From != "3 0 12345" || p.To != want {
			t.Errorf("%q: from %s to %s, want from 3 0 12345 to %s", body, p.From, p.To, want)
		}
		if life := time.Until(p.Validity); life < 9*time.Minute || life > 10*time.Minute {
			t.Errorf("%q: valid for %v, want 10 minutes", body, life)
		}
		if len(parts) == 1 {
			if len(p.UDH) != 0 {
				t.Errorf("%q: got header %v", body, p.UDH)
			}
			continue
		}
		element, err := hex.DecodeString(strings.Join(p.UDH, ""))
		if err != nil || len(p.UDH) != 1 || len(element) != 5 || !bytes.Equal(element[:2], []byte{0, 3}) || element[3] != byte(len(parts)) || element[4] != byte(i+1) {
			t.Errorf("%q: part %d has header %v", body, i+1, p.UDH)
		}
	}
	if read != body {
		t.Errorf("got  %q\nwant %q", read, body)
	}
}

func TestNPMRefusesAWrongPassword(t *testing.T) {
	t.Parallel()
	s := npm(t)
	k := newClient(t, s.Addr, func(c *Config) { c.Password = "wr0ng" })
	_, err := k.Send(t.Context(), text(0, "Your code is 493817"))
	if d := carrier.Decision(err); err == nil || d.Reason.String() != "misconfigured" || !strings.Contains(err.Error(), "ESME_RINVPASWD") {
		t.Errorf("got %v", err)
	}
}

// sendAll sends n messages, so many at once, each again while it wasn't sent, as the dispatcher
// would. It calls after with what came of each.
func (k *client) sendAll(t *testing.T, n, atOnce int, after func(i int, err error)) {
	t.Helper()
	var work sync.WaitGroup
	next := new(atomic.Int64)
	for range atOnce {
		work.Go(func() {
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				m := text(i, fmt.Sprintf("message %d", i))
				for begun := time.Now(); ; {
					_, err := k.Send(t.Context(), m)
					d := carrier.Decision(err)
					if err == nil || d.Outcome != verify.AttemptErrored || time.Since(begun) > time.Minute {
						after(i, err)
						break
					}
					sleep(t.Context(), max(d.After, 10*time.Millisecond))
				}
			}
		})
	}
	work.Wait()
}

// taken counts how often an SMSC took each message.
func taken(s *smsctest.Server) map[string]int {
	n := map[string]int{}
	for _, one := range s.Messages() {
		n[one.Text]++
	}
	return n
}

func TestNPMThrottles(t *testing.T) {
	t.Parallel()
	s := npm(t, "THROTTLE=50")
	k := newClient(t, s.Addr, func(c *Config) { c.Window = 20 })
	const n = 300
	k.sendAll(t, n, 20, func(i int, err error) {
		if err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	})
	k.wait(t, n)
	taken := taken(s)
	for text, times := range taken {
		if times != 1 {
			t.Errorf("%s was taken %d times", text, times)
		}
	}
	if len(taken) != n {
		t.Errorf("%d messages were taken, want %d", len(taken), n)
	}
}

// An SMSC dies in mid-window and comes back. Each message has one outcome, and that is the truth: what
// was accepted was taken once, what is unknown at most once.
func TestNPMIsKilledInMidWindow(t *testing.T) {
	t.Parallel()
	s := npm(t)
	k := newClient(t, s.Addr, func(c *Config) { c.Window = 50; c.Binds = 2 })
	const n = 1000
	var accepted atomic.Int64
	var killed sync.Once
	outcomes := make([]error, n)
	counts := make([]int, n)
	died := make(chan struct{})
	k.sendAll(t, n, 100, func(i int, err error) {
		outcomes[i] = err
		counts[i]++
		if accepted.Add(1) >= 300 {
			killed.Do(func() {
				s.Restart()
				close(died)
			})
		}
	})
	<-died
	taken := taken(s)
	unknown := 0
	for i, err := range outcomes {
		times := taken[fmt.Sprintf("message %d", i)]
		switch d := carrier.Decision(err); {
		case counts[i] != 1:
			t.Errorf("message %d has %d outcomes", i, counts[i])
		case err == nil && times != 1:
			t.Errorf("message %d: accepted, and taken %d times", i, times)
		case err != nil && d.Outcome != verify.AttemptUnknown:
			t.Errorf("message %d: %v", i, err)
		case err != nil && times > 1:
			t.Errorf("message %d: unknown, and taken %d times", i, times)
		case err != nil:
			unknown++
		}
	}
	if unknown == 0 {
		t.Error("nothing was under way when the SMSC died")
	}
	t.Logf("%d of %d messages were unknown, %d binds", unknown, n, k.Stats().Binds)
}

// Every receipt is matched, whatever the window.
func TestNPMRates(t *testing.T) {
	n := 500
	if os.Getenv("COUNTERSIGN_TEST_SLOW") != "" {
		n = 20_000
	}
	for _, window := range []int{1, 10, 100, 200} {
		s := npm(t, "LOG=")
		k := newClient(t, s.Addr, func(c *Config) { c.Window = window })
		begun := time.Now()
		k.sendAll(t, n, window, func(i int, err error) {
			if err != nil {
				t.Errorf("window %d, message %d: %v", window, i, err)
			}
		})
		sent := time.Since(begun)
		k.wait(t, int64(n))
		t.Logf("window %d: %d messages, %.0f/s; with their receipts %.0f/s", window, n,
			float64(n)/sent.Seconds(), float64(n)/time.Since(begun).Seconds())
		k.receipts.Range(func(id, times any) bool {
			if got := times.(*atomic.Int64).Load(); got != 1 {
				t.Errorf("window %d: %d receipts for %v", window, got, id)
			}
			return true
		})
		if got := k.unknown.Load(); got != 0 {
			t.Errorf("window %d: %d receipts that nobody knew", window, got)
		}
	}
}
