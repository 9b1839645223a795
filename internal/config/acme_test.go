package config

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/internal/yamlconf"
)

// Only Certify asks the authority: strangers can neither wait for it nor spend what it allows.
func TestAHandshakeAsksNoAuthority(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	authority := httptest.NewUnstartedServer(http.NotFoundHandler())
	authority.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			asked.Add(1)
		}
	}
	authority.StartTLS()
	defer authority.Close()
	c := &Loaded{dir: t.TempDir()}
	c.Public.TLS.ACME = acmeConfig{Domains: []string{"verify.example.com"}, Directory: authority.URL}
	var p yamlconf.Problems
	if !c.checkACME(&p) || len(p.List) > 0 {
		t.Fatalf("got %v", p.List)
	}
	for _, name := range []string{"verify.example.com", "other.example.com", ""} {
		if got, err := c.TLS.GetCertificate(&tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}); err == nil {
			t.Errorf("%q: got a certificate for %q, want none", name, got.Leaf.DNSNames)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the authority was asked %d times, want never", n)
	}
}
