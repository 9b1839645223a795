package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/porttest"
	"github.com/countersign/countersign/internal/testsize"
)

// pebble is Let's Encrypt's ACME server for tests, with a DNS in which every name is this machine.
type pebble struct {
	directory string
	authority string // the file that says who pebble is
	root      *x509.CertPool
	stop      func()
}

// startPebble starts one that asks for names at a port of this machine.
func startPebble(t *testing.T, tlsPort int) *pebble {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/", "github.com/letsencrypt/pebble/v2/cmd/pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv")
	build.Dir = filepath.Join("testdata", "acme")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build pebble: %v\n%s", err, text)
	}
	testCertificate(t, dir, "pebble")
	p := &pebble{authority: filepath.Join(dir, "tls.crt")}
	port := porttest.Row(t, 4)
	api, management, dns, dnsManagement := porttest.At(port), porttest.At(port+1), porttest.At(port+2), porttest.At(port+3)
	p.directory = "https://" + api + "/dir"
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": api, "managementListenAddress": management, "certificate": p.authority, "privateKey": filepath.Join(dir, "tls.key"),
		"httpPort": tlsPort, "tlsPort": tlsPort, "profiles": map[string]any{"default": map[string]any{"description": "of the test", "validityPeriod": 7 * 24 * 3600}},
	}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "pebble.json"), config, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	said := new(lockedBuffer)
	names := exec.Command(filepath.Join(dir, "pebble-challtestsrv"), "-dnsserver", dns, "-management", dnsManagement, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	server := exec.Command(filepath.Join(dir, "pebble"), "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", dns)
	server.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20")
	for _, cmd := range []*exec.Cmd{names, server} {
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	p.stop = func() {
		for _, cmd := range []*exec.Cmd{names, server} {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(func() { names.Process.Kill(); server.Process.Kill() })
	ours, err := os.ReadFile(p.authority)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ours)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	if !within(patience, func() bool {
		resp, err := client.Get("https://" + management + "/roots/0")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		p.root = x509.NewCertPool()
		return err == nil && p.root.AppendCertsFromPEM(text)
	}) {
		t.Fatalf("pebble doesn't answer:\n%s", said)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("pebble:\n%s", said)
		}
	})
	return p
}

// A server gets its certificate from an authority by itself, and uses it again after a restart, without the authority.
func TestACertificateFromAnAuthority(t *testing.T) {
	t.Parallel()
	testsize.Full(t, "builds an ACME server")
	const name = "verify.example.com"
	port := porttest.Row(t, 1)
	p := startPebble(t, port)
	in := install(t, theProgram(t), func(text string) string {
		before, public, _ := strings.Cut(text, "\npublic:\n")
		public = strings.Replace(public, `listen: "127.0.0.1:0"`, fmt.Sprintf("listen: %q", porttest.At(port)), 1)
		public = strings.Replace(public, "      domains: []\n", "      domains: ["+name+"]\n", 1)
		public = strings.Replace(public, `directory: "https://acme-v02.api.letsencrypt.org/directory"`, fmt.Sprintf("directory: %q\n      ca_file: %q", p.directory, p.authority), 1)
		return before + "\npublic:\n" + strings.Replace(public, "      ca_file: \"\"\n", "", 1)
	})
	if text := in.run("config", "check", "--connect"); !strings.Contains(text, "public.tls.acme") || !strings.Contains(text, "the server gets its certificate there") {
		t.Errorf("config check --connect: got\n%s", text)
	}

	greet := func(server string) (*x509.Certificate, error) {
		conn, err := tls.Dial("tcp", porttest.At(port), &tls.Config{RootCAs: p.root, ServerName: server})
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0], nil
	}
	s := in.serve()
	var first *x509.Certificate
	if !within(patience, func() (ok bool) {
		var err error
		first, err = greet(name)
		return err == nil
	}) {
		t.Fatalf("no certificate comes:\n%s", s.stderr)
	}
	if first.VerifyHostname(name) != nil || first.NotAfter.IsZero() {
		t.Errorf("got a certificate for %q", first.DNSNames)
	}
	for _, other := range []string{"other.example.com", "verify.example.org"} {
		if got, err := greet(other); err == nil {
			t.Errorf("%s: got a certificate for %q, want none", other, got.DNSNames)
		}
	}
	files, err := filepath.Glob(filepath.Join(in.dir, "data", "acme", "*"))
	if err != nil || len(files) != 2 {
		t.Errorf("got %q, %v, want the account's key and a certificate", files, err)
	}
	for _, file := range append(files, filepath.Join(in.dir, "data", "acme")) {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: got %v, %v, want a file for its owner only", file, info, err)
		}
	}
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: p.root, ServerName: name}}}
	req, err := http.NewRequest("POST", "https://"+porttest.At(port)+"/v1/verifications", strings.NewReader(`{"to":"+12025550100"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+in.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated || resp.ProtoMajor != 2 {
		t.Errorf("a start: got %s by %s, want 201 by HTTP/2.0", resp.Status, resp.Proto)
	}
	if err := s.stop(); err != nil {
		t.Errorf("stopped: %v\n%s", err, s.stderr)
	}

	p.stop()
	s = in.serve()
	var second *x509.Certificate
	if !within(patience, func() bool { second, err = greet(name); return err == nil }) || !second.Equal(first) {
		t.Errorf("after the restart: got %v, want the same certificate\n%s", err, s.stderr)
	}
}

// Without the authority there is no certificate, and the log says why; the operations listener answers.
func TestAnAuthorityThatIsAwayIsLogged(t *testing.T) {
	t.Parallel()
	away := porttest.Refusing(t)
	in := install(t, theProgram(t), func(text string) string {
		text = strings.Replace(text, "      domains: []\n", "      domains: [verify.example.com]\n", 1)
		return strings.Replace(text, `directory: "https://acme-v02.api.letsencrypt.org/directory"`, fmt.Sprintf(`directory: "https://%s/dir"`, away), 1)
	})
	p := in.serve()
	if !within(patience, func() bool { return strings.Contains(p.stderr.String(), `"msg":"the authority makes no certificate"`) }) {
		t.Errorf("the log doesn't say that there is no certificate:\n%s", p.stderr)
	}
	if got := get(t, p.Ops+"/readyz"); got != "ready\n" {
		t.Errorf("readyz: got %q", got)
	}
	if err := p.stop(); err != nil {
		t.Errorf("stopped: %v\n%s", err, p.stderr)
	}
}
