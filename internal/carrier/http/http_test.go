package http

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/porttest"
	"github.com/countersign/countersign/internal/verify"
)

const (
	testSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	testCode   = "493817"
	testTo     = "+12025550100"
)

var (
	messageID      = verify.ID{0x01, 0x9a, 0x5c, 0x1d, 0xb5, 0x4f, 0x7e, 0xb3, 0x91, 0x9b, 0x25, 0x85, 0xf8, 0x21, 0x79, 0x33}
	verificationID = verify.ID{0x01, 0x9a, 0x5c, 0x1d, 0xb5, 0x4f, 0x7e, 0xb3, 0x91, 0x9b, 0x25, 0x85, 0xf8, 0x21, 0x79, 0x34}
)

// message is one to send, as the given attempt.
func message(attempt int) verify.Message {
	return verify.Message{
		ID: messageID, Verification: verificationID, Channel: verify.ChannelSMS, To: testTo, From: "+12025550199",
		Body: "Your code is " + testCode, Attempt: attempt,
		ExpiresAt: time.Date(2026, 5, 4, 15, 0, 0, 7e6, time.FixedZone("", 2*60*60)),
	}
}

// wantBody is the body of message(attempt), to the letter.
func wantBody(attempt int) string {
	return fmt.Sprintf(`{"id":"019a5c1d-b54f-7eb3-919b-2585f8217933","verification_id":"019a5c1d-b54f-7eb3-919b-2585f8217934",`+
		`"channel":"sms","to":"+12025550100","from":"+12025550199","body":"Your code is 493817","code_expires_at":"2026-05-04T13:00:00.007Z","attempt":%d}`, attempt)
}

// Where the receiver can report, the message says where, and by which name.
func TestAMessageSaysWhereToReport(t *testing.T) {
	t.Parallel()
	server, got := receiver(t, status(http.StatusOK))
	silent := carrierTo(t, server.URL)
	reports := carrierTo(t, server.URL, func(c *Config) { c.StatusURL = "https://verify.example.com/carriers/gateway/status" })
	if !silent.Silent() || reports.Silent() {
		t.Errorf("silent: %v without a URL, %v with one", silent.Silent(), reports.Silent())
	}
	if _, err := reports.Send(t.Context(), message(7)); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSuffix(wantBody(7), "}") + `,"status_url":"https://verify.example.com/carriers/gateway/status","status_token":"019a5c1d-b54f-7eb3-919b-2585f8217934.7"}`
	if all := got.all(); len(all) != 1 || all[0].body != want {
		t.Errorf("got %+v, want %s", all, want)
	}
}

// carrierTo makes a carrier that posts to a URL, with a time limit that no test reaches unless it
// sets another one. The carrier's idle connections are closed when the test ends.
func carrierTo(t testing.TB, to string, change ...func(*Config)) *Carrier {
	t.Helper()
	secret, err := carrier.ParseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Name: "gateway", URL: to, Secret: secret, Timeout: 20 * time.Second, Conns: 8}
	for _, f := range change {
		f(&config)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// within is as much time as the dispatcher gives, where it is little.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// received is what a receiver got.
type received struct {
	mu       sync.Mutex // guards requests
	requests []request
}

type request struct {
	*http.Request
	body string
}

// note reads a request and remembers it.
func (r *received) note(req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		body = []byte(err.Error())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, request{req, string(body)})
}

func (r *received) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.requests...)
}

// receiver starts a server that notes its requests, then answers them as f does.
func receiver(t testing.TB, f http.HandlerFunc) (*httptest.Server, *received) {
	t.Helper()
	got := new(received)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.note(r)
		f(w, r)
	}))
	t.Cleanup(server.Close)
	return server, got
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// decided is what the dispatcher makes of an error.
type decided struct {
	Outcome verify.AttemptOutcome
	Reason  verify.Reason
	After   time.Duration
}

// wantError compares a decision, and makes sure that the error's text tells nothing.
func wantError(t testing.TB, err error, want decided) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want %+v", want)
		return
	}
	d := carrier.Decision(err)
	if got := (decided{d.Outcome, d.Reason, d.After}); got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	wantSilent(t, err)
}

// wantSilent fails where an error's text holds what nobody may read in a log.
func wantSilent(t testing.TB, err error) {
	t.Helper()
	for what, secret := range map[string]string{
		"code": testCode, "number": strings.TrimPrefix(testTo, "+"), "secret": strings.TrimPrefix(testSecret, "whsec_"),
		"body": base64.StdEncoding.EncodeToString([]byte("Your code is " + testCode)), "signature": "v1,", "URL's query": "key=",
	} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds the %s: %v", what, err)
		}
	}
}

var (
	unreachable = decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonUnreachable}
	unknown     = decided{Outcome: verify.AttemptUnknown, Reason: verify.ReasonUnknown}
)

func TestARequestIsExactlyAsDocumented(t *testing.T) {
	t.Parallel()
	server, got := receiver(t, status(200))
	sent, err := carrierTo(t, server.URL+"/messages?key=v").Send(t.Context(), message(1))
	if err != nil || sent != (carrier.Result{}) {
		t.Fatalf("got %+v, %v, want no reference and no error", sent, err)
	}
	if n := len(got.all()); n != 1 {
		t.Fatalf("got %d requests, want 1", n)
	}
	r := got.all()[0]
	if r.Method != "POST" || r.URL.RequestURI() != "/messages?key=v" || r.body != wantBody(1) {
		t.Errorf("got  %s %s %s\nwant POST /messages?key=v %s", r.Method, r.URL.RequestURI(), r.body, wantBody(1))
	}
	if seconds := r.Header.Get("Webhook-Timestamp"); len(seconds) != 10 {
		t.Errorf("got Webhook-Timestamp %q, want Unix seconds", seconds)
	}
	// These two differ each time; the library below judges them.
	r.Header.Set("Webhook-Timestamp", "now")
	r.Header.Set("Webhook-Signature", r.Header.Get("Webhook-Signature")[:3])
	want := http.Header{
		"Content-Length": {fmt.Sprint(len(r.body))}, "Content-Type": {"application/json"}, "User-Agent": {"Countersign"},
		"Webhook-Id": {messageID.String()}, "Webhook-Timestamp": {"now"}, "Webhook-Signature": {"v1,"},
	}
	if diff := gocmp.Diff(want, r.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestAnIndependentLibraryAcceptsTheSignature(t *testing.T) {
	t.Parallel()
	library, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	server, got := receiver(t, status(200))
	c := carrierTo(t, server.URL)
	for attempt := 1; attempt <= 2; attempt++ {
		if _, err := c.Send(t.Context(), message(attempt)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(got.all()); n != 2 {
		t.Fatalf("got %d requests, want 2", n)
	}
	for i, r := range got.all() {
		if err := library.Verify([]byte(r.body), r.Header); err != nil {
			t.Errorf("attempt %d: %v", i+1, err)
		}
		// The id stays, the attempt counts.
		if r.Header.Get("Webhook-Id") != messageID.String() || r.body != wantBody(i+1) {
			t.Errorf("attempt %d: got id %s, body %s\nwant id %s, body %s", i+1, r.Header.Get("Webhook-Id"), r.body, messageID, wantBody(i+1))
		}
		// The check can fail.
		if err := library.Verify([]byte(r.body+" "), r.Header); err == nil {
			t.Error("the library accepts another body")
		}
		other := r.Header.Clone()
		other.Set("Webhook-Id", verificationID.String())
		if err := library.Verify([]byte(r.body), other); err == nil {
			t.Error("the library accepts another id")
		}
		stranger, err := standardwebhooks.NewWebhookRaw(bytes.Repeat([]byte{1}, 32))
		if err != nil {
			t.Fatal(err)
		}
		if err := stranger.Verify([]byte(r.body), r.Header); err == nil {
			t.Error("the library accepts another secret's signature")
		}
	}
}

// Whatever the text, the receiver reads the same one and the signature covers it.
func TestAnyTextArrivesAsItIs(t *testing.T) {
	t.Parallel()
	server, got := receiver(t, status(204))
	c := carrierTo(t, server.URL)
	library, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := message(rapid.IntRange(1, 1000).Draw(rt, "attempt"))
		m.Body = verify.Secret(rapid.String().Draw(rt, "text"))
		m.From = rapid.String().Draw(rt, "from")
		m.To = phone.Number(rapid.StringMatching(`\+[1-9][0-9]{6,14}`).Draw(rt, "to"))
		m.Channel = rapid.SampledFrom([]verify.Channel{verify.ChannelSMS, verify.ChannelVoice}).Draw(rt, "channel")
		if _, err := c.Send(t.Context(), m); err != nil {
			rt.Fatal(err)
		}
		all := got.all()
		r := all[len(all)-1]
		if err := library.Verify([]byte(r.body), r.Header); err != nil {
			rt.Error(err)
		}
		var in map[string]any
		if err := json.Unmarshal([]byte(r.body), &in); err != nil {
			rt.Fatal(err)
		}
		want := map[string]any{
			"id": m.ID.String(), "verification_id": m.Verification.String(), "channel": string(m.Channel), "to": string(m.To),
			"from": m.From, "body": m.Body.Reveal(), "code_expires_at": "2026-05-04T13:00:00.007Z", "attempt": float64(m.Attempt),
		}
		if diff := gocmp.Diff(want, in); diff != "" {
			rt.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestTheStatusDecides(t *testing.T) {
	t.Parallel()
	later := func(d time.Duration) *decided { return &decided{verify.AttemptErrored, verify.ReasonLater, d} }
	slower := func(d time.Duration) *decided { return &decided{verify.AttemptErrored, verify.ReasonThrottled, d} }
	refused := &decided{Outcome: verify.AttemptRefused, Reason: verify.ReasonRefused}
	redirected := &decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonRedirected}
	for _, c := range []struct {
		status     int
		retryAfter string
		want       *decided // nil: sent
	}{
		{200, "", nil}, {201, "", nil}, {202, "", nil}, {204, "", nil}, {299, "", nil}, {200, "60", nil},
		{300, "", redirected}, {304, "", redirected}, {399, "60", redirected},
		{400, "", refused}, {401, "", refused}, {403, "", refused}, {404, "", refused}, {408, "", refused}, {409, "", refused},
		{410, "", refused}, {413, "", refused}, {422, "", refused}, {425, "", refused}, {451, "", refused}, {404, "60", refused},
		{429, "", slower(0)}, {429, "7", slower(7 * time.Second)}, {429, "0", slower(0)}, {429, "soon", slower(0)}, {429, "-5", slower(0)},
		{429, "1.5", slower(0)}, {429, "86400", slower(24 * time.Hour)}, {429, "86401", slower(24 * time.Hour)},
		{429, "99999999999999999999999", slower(24 * time.Hour)}, {429, "-99999999999999999999999", slower(0)},
		{429, "Mon, 04 May 2026 13:00:00", slower(0)}, {429, "Sun, 06 Nov 1994 08:49:37 GMT", slower(0)},
		{429, "Fri, 31 Dec 9999 23:59:59 GMT", slower(24 * time.Hour)},
		{500, "", later(0)}, {501, "", later(0)}, {502, "", later(0)}, {503, "", later(0)}, {503, "120", later(2 * time.Minute)}, {504, "", later(0)}, {599, "3", later(3 * time.Second)},
	} {
		t.Run(fmt.Sprintf("%d %s", c.status, c.retryAfter), func(t *testing.T) {
			t.Parallel()
			server, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(c.status)
			})
			_, err := carrierTo(t, server.URL).Send(t.Context(), message(1))
			switch {
			case c.want != nil:
				wantError(t, err, *c.want)
			case err != nil:
				t.Errorf("got %v, want that it is sent", err)
			}
			if n := len(got.all()); n != 1 {
				t.Errorf("got %d requests, want 1", n)
			}
		})
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	target, reached := receiver(t, status(200))
	for _, code := range []int{301, 302, 303, 307, 308} {
		server, got := receiver(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target.URL+"/elsewhere", code) })
		_, err := carrierTo(t, server.URL).Send(t.Context(), message(1))
		wantError(t, err, decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonRedirected})
		if n := len(got.all()); n != 1 {
			t.Errorf("%d: got %d requests, want 1", code, n)
		}
	}
	if n := len(reached.all()); n != 0 {
		t.Errorf("got %d requests at the redirect's target, want none", n)
	}
}

// What a receiver answers may repeat what it got. None of it may end in an error, and so in a log.
func TestWhatTheReceiverWritesIsNotQuoted(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]decided{
		"HTTP/1.1 400 Your code is 493817\r\nContent-Length: 0\r\n\r\n":                      {Outcome: verify.AttemptRefused, Reason: verify.ReasonRefused},
		"HTTP/1.1 503 no way to +12025550100\r\nContent-Length: 0\r\n\r\n":                   {Outcome: verify.AttemptErrored, Reason: verify.ReasonLater},
		"HTTP/1.1 302 493817\r\nLocation: http://493817/\r\nContent-Length: 0\r\n\r\n":       {Outcome: verify.AttemptErrored, Reason: verify.ReasonRedirected},
		"HTTP/1.1 400 Bad Request\r\nRetry-After: 493817\r\nContent-Length: 6\r\n\r\n493817": {Outcome: verify.AttemptRefused, Reason: verify.ReasonRefused},
		"HTTP/1.1 302 Found\r\nLocation: http://[493817\r\nContent-Length: 0\r\n\r\n":        {Outcome: verify.AttemptErrored, Reason: verify.ReasonRedirected},
		"Your code is 493817\r\n\r\n":                          unknown,
		"HTTP/1.1 493817\r\n\r\n":                              unknown,
		"HTTP/1.1 200 OK\r\nYour code is 493817\r\n\r\n":       unknown,
		"HTTP/1.1 200 OK\r\nContent-Length: 493817x\r\n\r\n":   unknown,
		"HTTP/493817 200 OK\r\n\r\n":                           unknown,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: 493817\r\n\r\n": unknown,
	} {
		server, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, answer)
		})
		_, err := carrierTo(t, server.URL+"?key=value").Send(t.Context(), message(1))
		wantError(t, err, want)
		if n := len(got.all()); n != 1 {
			t.Errorf("%q: got %d requests, want 1", answer, n)
		}
	}
}

// A peer is a raw listener that notes every byte that it gets.
type peer struct {
	net.Listener
	mu  sync.Mutex // guards got
	got bytes.Buffer
}

func (p *peer) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got.String()
}

// Accept implements [net.Listener], so that a peer can stand before an [http.Server] too.
func (p *peer) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	return &peerConn{c, p}, err
}

type peerConn struct {
	net.Conn
	p *peer
}

func (c *peerConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.p.got.Write(b[:n])
	return n, err
}

// listenRaw serves each connection with f, then closes it.
func listenRaw(t testing.TB, f func(net.Conn)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := p.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); f(c) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return p
}

func TestWhatCannotBeReachedCanBeTriedAgain(t *testing.T) {
	t.Parallel()
	hangUp := listenRaw(t, func(net.Conn) {})
	plain, reached := receiver(t, status(200))
	silent := listenRaw(t, func(c net.Conn) { io.Copy(io.Discard, c) }) // takes all, says nothing
	for name, to := range map[string]string{
		"the connection is refused":           "https://" + porttest.Refusing(t),
		"the connection is refused over http": "http://" + porttest.Refusing(t),
		"there is no such name":               "https://receiver.invalid/",
		"it hangs up":                         "https://" + hangUp.Addr().String(),
		"it speaks no TLS":                    strings.Replace(plain.URL, "http:", "https:", 1),
		"it never answers the TLS handshake":  "https://" + silent.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := carrierTo(t, to, func(c *Config) { c.Timeout = time.Second }).Send(t.Context(), message(1))
			wantError(t, err, unreachable)
		})
	}
	if n := len(reached.all()); n != 0 {
		t.Errorf("got %d requests, want none", n)
	}
	for _, p := range []*peer{hangUp, silent} {
		if strings.Contains(p.text(), testCode) {
			t.Errorf("the code went out in clear: %q", p.text())
		}
	}
}

// hang is a handler that answers nothing before the test is over or the client hangs up.
func hang(t *testing.T) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-t.Context().Done():
		}
		panic(http.ErrAbortHandler) // or else it answers 200, which a client that is just giving up may still hear
	}
}

func TestAnAnswerThatDoesNotComeIsUnknown(t *testing.T) {
	t.Parallel()
	server, got := receiver(t, hang(t))
	_, err := carrierTo(t, server.URL).Send(within(t, 3*time.Second), message(1))
	wantError(t, err, unknown)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that it took too long", err)
	}
	if n := len(got.all()); n != 1 {
		t.Errorf("got %d requests, want 1", n)
	}

	_, err = carrierTo(t, listenRaw(t, func(c net.Conn) { io.Copy(io.Discard, c) }).url()).Send(within(t, 3*time.Second), message(1))
	wantError(t, err, unknown)
}

func (p *peer) url() string { return "http://" + p.Addr().String() }

// A request that waits for one of a few connections was not written yet.
func TestATimeoutBeforeTheRequestIsWrittenCanBeTriedAgain(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	server, got := receiver(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })
	c := carrierTo(t, server.URL, func(c *Config) { c.Conns = 1 })
	first := make(chan error)
	go func() {
		_, err := c.Send(t.Context(), message(1))
		first <- err
	}()
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.Send(ctx, message(1))
	wantError(t, err, unreachable)
	close(release)
	if err := <-first; err != nil {
		t.Errorf("the first message: %v", err)
	}
	if n := len(got.all()); n != 1 {
		t.Errorf("got %d requests, want 1", n)
	}
}

func TestACallerCanGiveUp(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 1)
	server, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) { arrived <- struct{}{}; hang(t)(w, r) })
	c := carrierTo(t, server.URL)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Send(ctx, message(1))
	wantError(t, err, unreachable)

	ctx, cancel = context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err = c.Send(ctx, message(1))
	wantError(t, err, unknown)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
}

// hangUp ends a request without an answer.
func hangUp(t *testing.T, w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	conn.Close()
}

func TestAReceiverThatHangsUpMayHaveTheMessage(t *testing.T) {
	t.Parallel()
	server, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) { hangUp(t, w) })
	_, err := carrierTo(t, server.URL).Send(t.Context(), message(1))
	wantError(t, err, unknown)
	if n := len(got.all()); n != 1 {
		t.Errorf("got %d requests, want 1: it may have been taken", n)
	}
}

// A receiver may close a connection that was idle at the moment that we write to it. That is no
// reason to give a message up.
func TestAConnectionThatIsBeingClosedLosesNoMessage(t *testing.T) {
	t.Parallel()
	server, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") // it doesn't say "close"
		conn.Close()
	})
	c := carrierTo(t, server.URL)
	const n = 200
	for i := range n {
		if _, err := c.Send(t.Context(), message(1)); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if len(got.all()) != n {
		t.Errorf("got %d requests, want %d", len(got.all()), n)
	}
}

// The same, at the moment that is hardest to hit: the request is out when the connection goes.
func TestAMessageIsRepeatedOnANewConnection(t *testing.T) {
	t.Parallel()
	var before sync.Map // connections that a message came by
	server, got := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		if _, used := before.LoadOrStore(r.RemoteAddr, true); used {
			hangUp(t, w)
		}
	})
	c := carrierTo(t, server.URL)
	// A connection that isn't idle yet when the next message goes out is passed over, so the messages go on until four
	// of them have met an old one.
	const repeats, most = 4, 1000
	attempt := 0
	for len(got.all())-attempt < repeats && attempt < most {
		attempt++
		if _, err := c.Send(t.Context(), message(attempt)); err != nil {
			t.Errorf("message %d: %v", attempt, err)
		}
	}
	if n := len(got.all()) - attempt; n != repeats {
		t.Errorf("of %d messages, %d were repeated; want %d", attempt, n, repeats)
	}
	bodies := map[string]int{}
	for _, r := range got.all() {
		if id := r.Header.Get("Webhook-Id"); id != messageID.String() {
			t.Errorf("got id %s, want the same in a repeat", id)
		}
		bodies[r.body]++
	}
	for a := 1; a <= attempt; a++ {
		if n := bodies[wantBody(a)]; n != 1 && n != 2 {
			t.Errorf("message %d came %d times, want once or twice", a, n)
		}
		delete(bodies, wantBody(a))
	}
	if len(bodies) > 0 {
		t.Errorf("other messages came: %v", bodies)
	}
}

// Where the receiver takes a message on an old connection and then hangs up, nobody can tell that
// from the case above. It costs one repeat, however many connections there are.
func TestAMessageIsRepeatedOnceAtMost(t *testing.T) {
	t.Parallel()
	const conns = 8
	var dying atomic.Bool
	together := make(chan struct{})
	var waiting atomic.Int64
	server, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if dying.Load() {
			hangUp(t, w)
			return
		}
		if waiting.Add(1) == conns {
			close(together)
		}
		<-together
	})
	c := carrierTo(t, server.URL)
	var all sync.WaitGroup
	for range conns {
		all.Go(func() {
			if _, err := c.Send(t.Context(), message(1)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	dying.Store(true)
	_, err := c.Send(t.Context(), message(1))
	wantError(t, err, unknown)
	if n := len(got.all()) - conns; n < 1 || n > 2 {
		t.Errorf("the message arrived %d times, want 1 or 2", n)
	}
}

func TestAHugeAnswerIsNotRead(t *testing.T) {
	t.Parallel()
	const size = 10 << 20
	var wrote atomic.Int64
	done := make(chan struct{})
	server, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		w.Header().Set("Content-Length", fmt.Sprint(size))
		block := make([]byte, 1<<10)
		for wrote.Load() < size {
			n, err := w.Write(block)
			wrote.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	if _, err := carrierTo(t, server.URL).Send(t.Context(), message(1)); err != nil {
		t.Errorf("got %v, want that it is sent: the answer was 200", err)
	}
	<-done
	if wrote.Load() >= size {
		t.Errorf("all %d bytes of the answer were taken, want %d and what the network holds", size, exchange.MaxAnswer)
	}
}

func TestASlowAnswersStatusCounts(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]*decided{200: nil, 404: {Outcome: verify.AttemptRefused, Reason: verify.ReasonRefused}} {
		server, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(code)
			io.WriteString(w, "so far")
			http.NewResponseController(w).Flush()
			hang(t)(w, r)
		})
		began := time.Now()
		_, err := carrierTo(t, server.URL).Send(within(t, 3*time.Second), message(1))
		switch {
		case want != nil:
			wantError(t, err, *want)
		case err != nil:
			t.Errorf("got %v, want that it is sent: the answer was 200", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v, want about the time limit", took)
		}
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Repeat("x", 10_000)) // read to its end, or the connection would be lost
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := carrierTo(t, server.URL)
	for range 50 {
		if _, err := c.Send(t.Context(), message(1)); err != nil {
			t.Fatal(err)
		}
	}
	// The transport may take a connection back only when the next message has asked for one: a busy machine makes a few.
	if n := conns.Load(); n > 10 {
		t.Errorf("got %d connections for 50 messages, one after the other", n)
	}
}

func TestNoMoreConnectionsThanAllowed(t *testing.T) {
	t.Parallel()
	const allowed, messages = 3, 60
	var open, most, under, mostUnder atomic.Int64
	raise := func(now int64, most *atomic.Int64) {
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
	}
	full := make(chan struct{})
	var once sync.Once
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		now := under.Add(1)
		defer under.Add(-1)
		raise(now, &mostUnder)
		if now == allowed {
			once.Do(func() { close(full) })
		}
		<-full // until as many as are allowed were here at once
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			raise(open.Add(1), &most)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	c := carrierTo(t, server.URL, func(c *Config) { c.Conns = allowed })
	var all sync.WaitGroup
	for range messages {
		all.Go(func() {
			if _, err := c.Send(t.Context(), message(1)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() != allowed || mostUnder.Load() != allowed {
		t.Errorf("got %d connections and %d requests at once, want %d", most.Load(), mostUnder.Load(), allowed)
	}
}

func TestAURLMustKeepTheCodeSecret(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url, want string
		plaintext bool
	}{
		{url: "https://gateway.example/messages"},
		{url: "https://gateway.example:8443"},
		{url: "https://192.0.2.1/"}, {url: "https://[2001:db8::1]:443/"},
		{url: "http://localhost:9000/messages"}, {url: "http://127.0.0.1:9000"}, {url: "http://127.8.9.10"}, {url: "http://[::1]:9000/"}, {url: "http://[::1]"},
		{url: "http://gateway.example/", plaintext: true}, {url: "http://192.0.2.1/", plaintext: true},
		{url: "http://gateway.example/", want: "must be https: over http to another machine"},
		{url: "http://192.0.2.1/", want: "must be https: over http"}, {url: "http://0.0.0.0:80/", want: "must be https: over http"},
		{url: "http://127.0.0.1.example.com/", want: "must be https: over http"}, {url: "http://localhost.example.com/", want: "must be https: over http"},
		{url: "https://key:493817@gateway.example/", want: "must not hold credentials"},
		{url: "https://key@gateway.example/", want: "must not hold credentials"},
		{url: "http://key:493817@127.0.0.1/", want: "must not hold credentials"},
		{url: "http://key:493817@gateway.example/", plaintext: true, want: "must not hold credentials"},
		{url: "", want: "must be an https URL"}, {url: "gateway.example", want: "must be an https URL"}, {url: "//gateway.example", want: "must be an https URL"},
		{url: "https://", want: "must be an https URL"}, {url: "https:///path", want: "must be an https URL"}, {url: "https://:443/", want: "must be an https URL"},
		{url: "http://:9000/", want: "must be an https URL"},
		{url: "ftp://gateway.example/", want: "must be an https URL"}, {url: "unix:///run/gateway", want: "must be an https URL"}, {url: "javascript:493817", want: "must be an https URL"},
		{url: "https://gateway.example:port/493817", want: "must be an https URL"}, {url: "https://gate way/", want: "must be an https URL"},
		{url: "https://key:493817@gateway.example:x/", want: "must be an https URL"}, {url: "https://gateway.example/\x00", want: "must be an https URL"},
	} {
		secret, _ := carrier.ParseSecret(testSecret)
		_, err := New(Config{Name: "gateway", URL: c.url, Secret: secret, Plaintext: c.plaintext, Timeout: time.Second, Conns: 1})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.url, err, cmp.Or(c.want, "no error"))
		}
		if err != nil {
			wantSilent(t, err)
		}
	}
}

// A proxy of the environment would get codes that nobody meant for it. net/http reads the
// environment once for each process, so this runs in one of its own.
func TestAProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	t.Parallel()
	const role = "COUNTERSIGN_TEST_PROXIED"
	if to := os.Getenv(role); to != "" {
		request, err := http.NewRequest("POST", to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if proxy, err := http.ProxyFromEnvironment(request); err != nil || proxy == nil {
			t.Fatalf("got proxy %v, %v: the environment names none, so this proves nothing", proxy, err)
		}
		_, err = carrierTo(t, to, func(c *Config) { c.Plaintext = true }).Send(t.Context(), message(1))
		wantError(t, err, unreachable)
		return
	}
	proxy, got := receiver(t, status(200))
	for _, to := range []string{"http://receiver.invalid/", "https://receiver.invalid/"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAProxyOfTheEnvironmentIsNotUsed$", "-test.count=1")
		cmd.Env = append(os.Environ(), role+"="+to)
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
			cmd.Env = append(cmd.Env, name+"="+proxy.URL)
		}
		cmd.Env = append(cmd.Env, "NO_PROXY=", "no_proxy=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", to, err, out)
		}
	}
	if n := len(got.all()); n != 0 {
		t.Errorf("got %d requests at the proxy, want none", n)
	}
}

func TestTheURLIsNotInErrors(t *testing.T) {
	t.Parallel()
	to := (&url.URL{Scheme: "http", Host: porttest.Refusing(t), Path: "/", RawQuery: "key=a-token-of-the-gateway"}).String()
	_, err := carrierTo(t, to).Send(t.Context(), message(1))
	wantError(t, err, unreachable)
	if err != nil && strings.Contains(err.Error(), "a-token-of-the-gateway") {
		t.Errorf("the error holds the URL's query: %v", err)
	}
}
