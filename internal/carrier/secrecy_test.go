package carrier_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/http"
	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/carrier/sip"
	"github.com/countersign/countersign/internal/carrier/smpp"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

// What must not be in an error or a log line.
const (
	callee = "2025550123"
	code   = "8412097"
)

// A faulty is a peer that takes connections and breaks them.
type faulty struct {
	addr  string
	roots *x509.CertPool
}

// breaking starts a peer. serve gets each connection, with TLS or without.
func breaking(t *testing.T, secure bool, serve func(net.Conn)) faulty {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := faulty{addr: l.Addr().String(), roots: x509.NewCertPool()}
	if secure {
		lent := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1
		f.roots.AddCert(lent.Certificate())
		l = tls.NewListener(l, &tls.Config{Certificates: lent.TLS.Certificates})
		t.Cleanup(lent.Close)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(5 * time.Second))
				serve(conn)
			})
		}
	})
	return f
}

// No carrier's error or log line holds the number or the code, whatever happens to the connection: a library
// that can't write a message, or can't read an answer, quotes it.
func TestBrokenConnectionsTellNoNumber(t *testing.T) {
	t.Parallel()
	faults := map[string]func(net.Conn){
		"hangs up":          func(net.Conn) {},
		"hangs up later":    func(c net.Conn) { c.Read(make([]byte, 4096)) },
		"repeats the words": echo(""),
		"answers with them": echo("HTTP/1.1 "),
		"a header of them":  echo("HTTP/1.1 200 OK\r\n"),
		"a status of them":  echo("SIP/2.0 "),
	}
	for name, open := range map[string]func(*testing.T, faulty, *slog.Logger) (carrier.Carrier, error){
		"http": func(_ *testing.T, f faulty, _ *slog.Logger) (carrier.Carrier, error) {
			return http.New(http.Config{Name: "way", URL: "https://" + f.addr, RootCAs: f.roots, Secret: bytes.Repeat([]byte("s"), 32), Timeout: 5 * time.Second, Conns: 2})
		},
		"provider": func(_ *testing.T, f faulty, log *slog.Logger) (carrier.Carrier, error) {
			return provider.New(provider.Config{
				Name: "way", Secret: "s", RootCAs: f.roots, Timeout: 5 * time.Second, Conns: 2, Now: time.Now, Log: log,
				Spec: provider.Spec{
					URL: "https://" + f.addr + "/{{path .To}}?text={{query .Text}}", Body: "to={{query .To}}&text={{query .Text}}",
					Headers: []provider.HeaderSpec{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}}, Auth: provider.AuthSpec{Kind: "basic", User: "us"},
				},
			})
		},
		"smpp": func(_ *testing.T, f faulty, log *slog.Logger) (carrier.Carrier, error) {
			return smpp.New(smpp.Config{Name: "way", Addr: f.addr, RootCAs: f.roots, SystemID: "us", BindTimeout: time.Second, Response: time.Second, Log: log})
		},
		"sip": func(t *testing.T, f faulty, log *slog.Logger) (carrier.Carrier, error) {
			return trunk(t, sip.Config{Trunk: f.addr, Transport: sip.TLS, RootCAs: f.roots, Log: log})
		},
	} {
		for fault, serve := range faults {
			t.Run(name+" "+fault, func(t *testing.T) {
				t.Parallel()
				f := breaking(t, true, serve)
				tellsNothing(t, func(log *slog.Logger) (carrier.Carrier, error) { return open(t, f, log) })
			})
		}
	}
	// A datagram that the system refuses to send, since loopback doesn't lead there.
	t.Run("sip can't write", func(t *testing.T) {
		t.Parallel()
		tellsNothing(t, func(log *slog.Logger) (carrier.Carrier, error) {
			return trunk(t, sip.Config{Trunk: "192.0.2.1", Transport: sip.UDP, Log: log})
		})
	})
}

func trunk(t *testing.T, c sip.Config) (carrier.Carrier, error) {
	s, err := speech.New(speech.Config{Times: 1})
	if err != nil {
		t.Fatal(err)
	}
	c.Name, c.Listen, c.Speech, c.First = "way", "127.0.0.1:0", s, time.Second
	return sip.New(c)
}

// echo answers with what it got, after a beginning.
func echo(begin string) func(net.Conn) {
	return func(c net.Conn) {
		got := make([]byte, 4096)
		n, _ := c.Read(got)
		fmt.Fprintf(c, "%s%s\r\n%s %s\r\n\r\n", begin, got[:n], callee, code)
	}
}

func tellsNothing(t *testing.T, open func(*slog.Logger) (carrier.Carrier, error)) {
	t.Helper()
	var mu sync.Mutex
	var written bytes.Buffer
	log := slog.New(slog.NewTextHandler(lockedWriter{&mu, &written}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c, err := open(log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m := verify.Message{
		Verification: verify.NewID(time.Unix(0, 0)), Attempt: 1, To: "+1" + callee, From: "+12025550199", Code: code,
		Channel: verify.ChannelSMS, Body: "Your code is " + code, ExpiresAt: time.Now().Add(time.Minute),
	}
	if _, ok := c.(carrier.Asker); ok {
		m.Channel = verify.ChannelVoice
	}
	_, err = c.Send(ctx, m)
	if err == nil {
		t.Error("a broken connection took the message")
	}
	if c, ok := c.(carrier.Closer); ok {
		c.Close(ctx)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, secret := range []string{callee, code} {
		if said := fmt.Sprint(err) + written.String(); strings.Contains(said, secret) {
			t.Errorf("%s is in the error %q, or in the log:\n%s", secret, err, written.String())
		}
	}
	t.Logf("the error: %v", err)
}

// A lockedWriter is a log that carriers write from several goroutines.
type lockedWriter struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}
