package http

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// An authority signs certificates for one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate for this machine, as changed.
func (a *authority) sign(change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "a receiver"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func roots(pool *x509.CertPool) func(*Config) { return func(c *Config) { c.RootCAs = pool } }

// secureReceiver starts a TLS server. The peer sees what arrives in cipher text.
func secureReceiver(t *testing.T, config *tls.Config, f http.HandlerFunc) (*httptest.Server, *received, *peer) {
	t.Helper()
	got := new(received)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.note(r)
		f(w, r)
	}))
	raw := &peer{Listener: server.Listener}
	server.Listener = raw
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, got, raw
}

func TestNothingGoesToAPeerThatDoesNotProveItself(t *testing.T) {
	t.Parallel()
	trusted, stranger := newAuthority(t), newAuthority(t)
	old := func(most uint16) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{trusted.sign(nil)}, MinVersion: tls.VersionTLS10, MaxVersion: most}
	}
	with := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	for name, c := range map[string]struct {
		server *tls.Config
		trust  *x509.CertPool
	}{
		"an unknown authority":           {with(stranger.sign(nil)), trusted.pool()},
		"an authority of nobody's":       {with(trusted.sign(nil)), x509.NewCertPool()},
		"not one of the system's":        {with(trusted.sign(nil)), nil},
		"another machine's name":         {with(trusted.sign(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"other.example"}, nil })), trusted.pool()},
		"another machine's address":      {with(trusted.sign(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 2)} })), trusted.pool()},
		"only a common name":             {with(trusted.sign(func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames, c.IPAddresses = "127.0.0.1", nil, nil })), trusted.pool()},
		"expired":                        {with(trusted.sign(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), trusted.pool()},
		"not valid yet":                  {with(trusted.sign(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })), trusted.pool()},
		"a certificate for clients only": {with(trusted.sign(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), trusted.pool()},
		"TLS 1.0 at most":                {old(tls.VersionTLS10), trusted.pool()},
		"TLS 1.1 at most":                {old(tls.VersionTLS11), trusted.pool()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, got, raw := secureReceiver(t, c.server, status(200))
			_, err := carrierTo(t, server.URL, roots(c.trust)).Send(t.Context(), message(1))
			wantError(t, err, unreachable)
			if n := len(got.all()); n != 0 {
				t.Errorf("got %d requests, want none", n)
			}
			if raw.text() == "" {
				t.Error("the peer got no handshake either, so this proves nothing")
			}
			for _, part := range []string{testCode, "Your code", "+12025550100", "/messages", "POST"} {
				if strings.Contains(raw.text(), part) {
					t.Errorf("the peer got %q: %q", part, raw.text())
				}
			}
		})
	}
}

// The servers of the test above work for who trusts them: they are refused for the right reason.
func TestAPeerThatProvesItselfGetsTheMessage(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		for _, host := range []string{"127.0.0.1", "localhost"} {
			server, got, raw := secureReceiver(t, &tls.Config{Certificates: []tls.Certificate{a.sign(nil)}, MaxVersion: version}, status(200))
			to := strings.Replace(server.URL, "127.0.0.1", host, 1)
			if _, err := carrierTo(t, to, roots(a.pool())).Send(t.Context(), message(1)); err != nil {
				t.Errorf("%s, %s: %v", name, host, err)
			}
			all := got.all()
			if len(all) != 1 || all[0].body != wantBody(1) || all[0].TLS.Version != version {
				t.Errorf("%s, %s: got %d requests, want the message once", name, host, len(all))
			}
			if strings.Contains(raw.text(), testCode) {
				t.Errorf("%s: the code went out in clear", name)
			}
		}
	}
	old := &tls.Config{Certificates: []tls.Certificate{a.sign(nil)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server, _, _ := secureReceiver(t, old, status(200))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS10}}}
	resp, err := client.Post(server.URL, "text/plain", nil)
	if err != nil {
		t.Fatalf("a client that takes TLS 1.1: %v", err)
	}
	resp.Body.Close()
	client.CloseIdleConnections()
}

func TestHTTP2IsSpokenWhereItIsOffered(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	got := new(received)
	var conns atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.note(r)
		switch n := len(got.all()); {
		case n == 11:
			w.WriteHeader(422)
		case n == 12:
			panic(http.ErrAbortHandler) // resets the stream, after it was read
		case n == 13:
			hang(t)(w, r)
		}
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{a.sign(nil)}}
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	c := carrierTo(t, server.URL, roots(a.pool()))
	for range 10 {
		if _, err := c.Send(t.Context(), message(1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range got.all() {
		if r.Proto != "HTTP/2.0" || r.body != wantBody(1) {
			t.Errorf("got %s %s, want HTTP/2.0 %s", r.Proto, r.body, wantBody(1))
		}
	}
	_, err := c.Send(t.Context(), message(1))
	wantError(t, err, decided{Outcome: 1, Reason: verify.ReasonRefused})
	_, err = c.Send(t.Context(), message(1))
	wantError(t, err, unknown)
	_, err = c.Send(within(t, 3*time.Second), message(1))
	wantError(t, err, unknown)
	if n := len(got.all()); n != 13 {
		t.Errorf("got %d requests, want 13: none repeated", n)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("got %d connections, want 1", n)
	}
}
