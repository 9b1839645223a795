package config

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/porttest"
)

// tries runs the tries of a configuration, and returns what they found by what they tried.
func tries(t *testing.T, dir, text string) map[string]Finding {
	t.Helper()
	if _, err := keyset.Create(filepath.Join(dir, "keyset.json")); err != nil {
		t.Fatal(err)
	}
	c, err := Read([]byte(text), filepath.Join(dir, "countersign.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]Finding{}
	for _, try := range c.Tries(time.Now()) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		found[try.What] = try.Run(ctx)
		cancel()
	}
	return found
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTriesOfHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secure := httptest.NewTLSServer(nil)
	defer secure.Close()
	plain := httptest.NewServer(nil)
	defer plain.Close()
	put(t, dir, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	testCertificate(t, dir, "an authority") // for an hour
	put(t, dir, "secret", rightSecret)
	put(t, dir, "token", providerSecret)
	put(t, dir, "api.yaml", "url: "+secure.URL+"/accounts/{{.Account}}\n")
	found := tries(t, dir, fmt.Sprintf(`
public_sender: "+12025550199"
public: {url: "https://%[1]s/path-of-mine"}
tracing: {endpoint: %[2]s}
carriers:
  - {name: trusted, http: {url: "%[3]s/hook?token=of-the-url", secret: {file: secret}, ca_file: ca.pem}}
  - {name: strange, http: {url: "%[3]s/hook?token=of-the-url", secret: {file: secret}}}
  - {name: unencrypted, http: {url: "%[2]s/", secret: {file: secret}}}
  - {name: wrong, http: {url: "https://%[4]s/", secret: {file: secret}}}
  - {name: gone, http: {url: "https://%[1]s/hook?token=of-the-url", secret: {file: secret}}}
  - {name: provider, provider: {preset: twilio, api: api.yaml, account: account-of-mine, secret: {file: token}, ca_file: ca.pem}}
  - {name: smsc, smpp: {addr: "%[1]s", plaintext: true, system_id: x}}
  - {name: old, smpp: {addr: "%[1]s", system_id: x, ca_file: tls.crt}}
`, porttest.Refusing(t), plain.URL, secure.URL, strings.TrimPrefix(plain.URL, "http://")))
	host := strings.TrimPrefix(secure.URL, "https://")
	for what, want := range map[string]Finding{
		"carrier trusted":     {Fine, host + ": reached", ""},
		"carrier strange":     {Broken, "certificate", "carriers[1].http.url: check the name; if the authority"},
		"carrier unencrypted": {Fine, ": reached", ""},
		"carrier wrong":       {Broken, "TLS", "carriers[3].http.url: check the port"},
		"carrier gone":        {Broken, "connection refused", "carriers[4].http.url: check host and port"},
		"carrier provider":    {Fine, host + ": reached; credentials not tried", ""},
		"carrier smsc":        {Broken, "connection refused", "carriers[6].smpp.addr: check host and port"},
		"tracing":             {Fine, ": reached", ""},

		"carrier trusted, authorities":  {Fine, "valid until ", ""},
		"carrier provider, authorities": {Fine, "valid until ", ""},
		"carrier old, authorities":      {Dubious, "expires on ", "carriers[7].smpp.ca_file: renew"},
		"public.url":                    {Dubious, "connection refused", "public.url: check host and port: nothing listens there; or it is there once the server"},
	} {
		got := found[what]
		if got.Status != want.Status || !strings.Contains(got.Result, want.Result) || !strings.HasPrefix(got.Advice, want.Advice) || want.Advice == "" && got.Advice != "" {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
		for _, secret := range []string{"of-the-url", "of-mine", providerSecret, rightSecret} {
			if text := fmt.Sprint(got); strings.Contains(text, secret) {
				t.Errorf("%s shows %q: %s", what, secret, text)
			}
		}
	}
}

func TestTriesOfTheCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	testCertificate(t, dir, "this machine")
	const text = `
public_sender: "+12025550199"
public: {url: "https://127.0.0.1:1", tls: {cert: tls.crt, key: tls.key}}
`
	found := tries(t, dir, text)
	if got := found["public.tls"]; got.Status != Dubious || !strings.HasPrefix(got.Result, "expires on ") || !strings.HasPrefix(got.Advice, "public.tls.cert: renew") {
		t.Errorf("got %+v, want a warning of the end, an hour away", got)
	}
}

func TestValidity(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		from, to time.Duration
		want     FindingStatus
	}{
		{-time.Hour, soon, Fine},
		{-time.Hour, soon - 1, Dubious},
		{-time.Hour, 1, Dubious},
		{-time.Hour, 0, Broken},
		{1, soon, Broken},
		{0, soon, Fine},
	} {
		leaf := &x509.Certificate{NotBefore: now.Add(tt.from), NotAfter: now.Add(tt.to)}
		if got := validity(leaf, now, "key"); got.Status != tt.want || (got.Advice == "") != (tt.want == Fine) {
			t.Errorf("from %v to %v: got %+v, want %s", tt.from, tt.to, got, tt.want)
		}
	}
}
