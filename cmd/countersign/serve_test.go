package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/testsize"
)

// A receiver is the HTTP gateway of a test. It takes messages whose signature is right, as an
// independent library says.
type receiver struct {
	*httptest.Server

	mu     sync.Mutex // guards all below
	secret string     // whsec_...
	got    []receivedMessage
}

type receivedMessage struct {
	ID             string `json:"id"`
	VerificationID string `json:"verification_id"`
	Channel        string
	To, From, Body string
	StatusURL      string `json:"status_url"`
	StatusToken    string `json:"status_token"`
}

func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	check, err := standardwebhooks.NewWebhook(r.secret)
	if err == nil {
		err = check.Verify(body, req.Header)
	}
	var m receivedMessage
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.got = append(r.got, m)
}

// message waits for a verification's message.
func (r *receiver) message(t testing.TB, verification string) receivedMessage {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		r.mu.Lock()
		got := r.got
		r.mu.Unlock()
		if i := slices.IndexFunc(got, func(m receivedMessage) bool { return m.VerificationID == verification }); i >= 0 {
			return got[i]
		}
	}
	t.Fatalf("no message of %s arrived", verification)
	return receivedMessage{}
}

// An installation is a folder made as the example configuration says.
type installation struct {
	t        testing.TB
	dir      string
	binary   func(args ...string) *exec.Cmd
	receiver *receiver
	project  string
	token    string
}

// theProgram runs the program. With the race detector, that is the test binary, which it watches. Otherwise it is one without
// the tests, which starts in three quarters of the time.
func theProgram(t testing.TB) func(args ...string) *exec.Cmd {
	t.Helper()
	name := os.Args[0]
	if !testsize.Race {
		name = plainBinary(t)
	}
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), runAs+"=serve")
		return cmd
	}
}

// install follows the comment at the top of the example configuration, on free ports. edit changes
// the file before it is used; nil leaves it. It needs no program: to start five takes longer than what they do.
func install(t testing.TB, binary func(args ...string) *exec.Cmd, edit func(string) string) *installation {
	t.Helper()
	return follow(t, binary, edit, (*installation).prepare)
}

// follow does the same. run is how each command is run.
func follow(t testing.TB, binary func(args ...string) *exec.Cmd, edit func(string) string, run func(in *installation, args ...string) string) *installation {
	t.Helper()
	in := &installation{t: t, dir: t.TempDir(), binary: binary, receiver: newReceiver(t)}
	text := run(in, "config", "example", "--all")
	text = strings.NewReplacer(
		`":8080"`, `"127.0.0.1:0"`, `"127.0.0.1:8081"`, `"127.0.0.1:0"`,
		"http://127.0.0.1:9000/messages", in.receiver.URL+"/messages",
	).Replace(text)
	if edit != nil {
		text = edit(text)
	}
	if err := os.WriteFile(filepath.Join(in.dir, "countersign.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, url, _ := strings.Cut(text, "\n  url: "); strings.HasPrefix(url, `""`) { // of the section database
		data := filepath.Join(in.dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		storetest.File(t, filepath.Join(data, system.DatabaseFile))
	}
	run(in, "keyset", "create", "keyset.json")
	run(in, "secret", "create", "gateway.secret")
	secret, err := os.ReadFile(filepath.Join(in.dir, "gateway.secret"))
	if err != nil {
		t.Fatal(err)
	}
	in.receiver.mu.Lock()
	in.receiver.secret = strings.TrimSpace(string(secret))
	in.receiver.mu.Unlock()
	in.project = in.made("id", run(in, "project", "create", "--config", "countersign.yaml", "--json", "My project"))
	in.token = in.made("token", run(in, "key", "create", "--config", "countersign.yaml", "--json", "--project", in.project))
	return in
}

// made returns a member of what a command with --json has said that it made.
func (in *installation) made(member, said string) string {
	in.t.Helper()
	var all texts
	if err := json.Unmarshal([]byte(said), &all); err != nil || all[member] == "" {
		in.t.Fatalf("%s: %v in %s", member, err, said)
	}
	return all[member]
}

// prepare runs a command in this process and returns what it prints. It knows the files of an installation.
func (in *installation) prepare(args ...string) string {
	in.t.Helper()
	here := slices.Clone(args)
	for i, a := range here {
		if a == "countersign.yaml" || a == "keyset.json" || a == "gateway.secret" {
			here[i] = filepath.Join(in.dir, a)
		}
	}
	var stdout, stderr bytes.Buffer
	if exit := run(world{in.t.Context(), strings.NewReader(""), &stdout, &stderr}, here); exit != 0 {
		in.t.Fatalf("countersign %s: exit %d\n%s", strings.Join(args, " "), exit, &stderr)
	}
	return stdout.String()
}

// run runs a command in the folder and returns what it prints.
func (in *installation) run(args ...string) string {
	in.t.Helper()
	cmd := in.binary(args...)
	cmd.Dir = in.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		in.t.Fatalf("countersign %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return stdout.String()
}

func (in *installation) decode(into any, args ...string) {
	in.t.Helper()
	if err := json.Unmarshal([]byte(in.run(args...)), into); err != nil {
		in.t.Fatalf("countersign %s: %v", strings.Join(args, " "), err)
	}
}

// serve starts "countersign serve" and waits until it is ready.
func (in *installation) serve() *process {
	in.t.Helper()
	return in.serveUntil("serving")
}

// serveUntil starts it and waits until its log has a message, one that says where it listens.
func (in *installation) serveUntil(message string) *process {
	in.t.Helper()
	p := &process{t: in.t, stderr: new(lockedBuffer), Project: in.project, Token: in.token}
	p.cmd = in.binary("serve")
	p.cmd.Dir = in.dir
	log, err := p.cmd.StderrPipe()
	if err != nil {
		in.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(p.kill)
	late := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewReader(io.TeeReader(log, p.stderr))
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			in.t.Fatalf("serve ended: %v\n%s", err, p.stderr)
		}
		var said struct {
			Msg, Version, Public, Operations string
			TLS                              bool
		}
		if json.Unmarshal(line, &said) != nil || said.Msg != message {
			continue
		}
		if message == "serving" && said.Version != version() {
			in.t.Errorf("the log says version %q, want %q", said.Version, version())
		}
		p.URL, p.Ops = "http://"+said.Public, "http://"+said.Operations
		if said.TLS {
			p.URL = "https://" + said.Public
		}
		go io.Copy(io.Discard, lines)
		return p
	}
}

// curlAs asks with curl, as a newcomer would.
func (p *process) curlAs(t *testing.T, path, body string) string {
	t.Helper()
	out, err := exec.Command("curl", "-sS", "-u", p.Project+":"+p.Token, "-H", "Content-Type: application/json", "-d", body,
		p.URL+"/api/relay/rest/mfa/"+path).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	return string(out)
}

var codeInBody = regexp.MustCompile(`\d{6}$`)

// The static binary, an empty folder, and the steps that the example configuration names.
func TestNewcomerServesAVerification(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("NOT RUN: this story needs curl")
	}
	in := follow(t, func(args ...string) *exec.Cmd { return exec.Command(plainBinary(t), args...) }, nil, (*installation).run)
	if got := in.run("config", "check"); got != "countersign.yaml is right.\n" {
		t.Errorf("config check: %q", got)
	}
	p := in.serve()
	var started struct {
		ID      string
		Success bool
	}
	answer := p.curlAs(t, "sms", `{"to":"+12025550100"}`)
	if err := json.Unmarshal([]byte(answer), &started); err != nil || !started.Success {
		t.Fatalf("start answered %s", answer)
	}
	m := in.receiver.message(t, started.ID)
	if m.To != "+12025550100" || m.From != "+12025550199" || !strings.HasPrefix(m.Body, "Your Personal Authorization Code is: ") {
		t.Errorf("the receiver got %+v", m)
	}
	if got := p.curlAs(t, started.ID+"/verify", `{"token":"`+codeInBody.FindString(m.Body)+`"}`); got != `{"success":true}` {
		t.Errorf("verify answered %s", got)
	}
	metrics := get(t, p.Ops+"/metrics")
	for _, want := range []string{
		`countersign_starts_total{channel="sms",result="ok"} 1`,
		`countersign_checks_total{result="right"} 1`,
		`countersign_approvals_total{channel="sms"} 1`,
		`countersign_sends_total{carrier="gateway",country="US",outcome="accepted"} 1`,
		`countersign_handover_seconds_count{carrier="gateway"} 1`,
		`countersign_queue_messages{carrier="gateway"} 0`,
		`countersign_requests_total{face="signalwire",route="POST /api/relay/rest/mfa/sms",status="200"} 1`,
		`countersign_requests_total{face="signalwire",route="POST /api/relay/rest/mfa/{id}/verify",status="200"} 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics don't say %s", want)
		}
	}
	if got := get(t, p.Ops+"/readyz"); got != "ready\n" {
		t.Errorf("readyz: %q", got)
	}
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}
}

// rewrite changes the configuration file.
func (in *installation) rewrite(edit func(string) string) {
	in.t.Helper()
	file := filepath.Join(in.dir, "countersign.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		in.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(edit(string(text))), 0o644); err != nil {
		in.t.Fatal(err)
	}
}

func get(t testing.TB, url string) string {
	t.Helper()
	resp, err := httpClient.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("GET %s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}

// testCertificate writes a certificate for 127.0.0.1 and its key, and returns it as a pool.
func testCertificate(t testing.TB, dir, name string) (pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		// As a renewal should be: each file whole or not at all.
		temp := filepath.Join(dir, file+".new")
		if err := os.WriteFile(temp, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temp, filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

func withTLS(certs string) func(string) string {
	return func(config string) string {
		config = strings.Replace(config, `cert: ""`, `cert: "`+filepath.Join(certs, "tls.crt")+`"`, 1)
		return strings.Replace(config, `key: ""`, `key: "`+filepath.Join(certs, "tls.key")+`"`, 1)
	}
}

func TestTLSRefusesOldVersionsAndPlaintext(t *testing.T) {
	t.Parallel()
	certs := t.TempDir()
	pool := testCertificate(t, certs, "first")
	p := install(t, theProgram(t), withTLS(certs)).serve()
	addr := strings.TrimPrefix(p.URL, "https://")
	for version, works := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, MinVersion: version, MaxVersion: version, NextProtos: []string{"h2"}})
		if works != (err == nil) {
			t.Errorf("%s: %v, want it to work: %v", tls.VersionName(version), err, works)
		}
		if err == nil {
			if got := conn.ConnectionState().NegotiatedProtocol; got != "h2" {
				t.Errorf("%s speaks %q, want h2", tls.VersionName(version), got)
			}
			conn.Close()
		}
	}
	resp, err := httpClient.Post("http://"+addr+"/api/relay/rest/mfa/sms", "application/json", strings.NewReader(`{}`))
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != 400 || resp.Header.Get("Location") != "" {
			t.Errorf("plain http is answered %s", resp.Status)
		}
	}
}

// A renewed certificate and a rotated keyset are taken over without a failed request.
func TestCertificateAndKeysChangeUnderLoad(t *testing.T) {
	t.Parallel()
	certs := t.TempDir()
	testCertificate(t, certs, "first")
	in := install(t, theProgram(t), withTLS(certs))
	p := in.serve()

	done := make(chan struct{})
	var clients sync.WaitGroup
	var requests, failed, approved atomic.Int64
	for i := range 4 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				// A new connection each time, so that each sees the certificate of its moment.
				c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
				ask := func(path, body string) (string, bool) {
					req, _ := http.NewRequest("POST", p.URL+"/api/relay/rest/mfa/"+path, strings.NewReader(body))
					req.SetBasicAuth(p.Project, p.Token)
					req.Header.Set("Content-Type", "application/json")
					requests.Add(1)
					resp, err := c.Do(req)
					if err != nil {
						failed.Add(1)
						t.Errorf("request: %v", err)
						return "", false
					}
					defer resp.Body.Close()
					answer, _ := io.ReadAll(resp.Body)
					if resp.StatusCode != 200 {
						failed.Add(1)
						t.Errorf("request: %s %s", resp.Status, answer)
					}
					return string(answer), resp.StatusCode == 200
				}
				answer, ok := ask("sms", fmt.Sprintf(`{"to":"+1202%d%06d"}`, 2+i, n))
				if !ok {
					continue
				}
				var started struct{ ID string }
				json.Unmarshal([]byte(answer), &started)
				m := in.receiver.message(t, started.ID)
				if answer, _ := ask(started.ID+"/verify", `{"token":"`+codeInBody.FindString(m.Body)+`"}`); answer == `{"success":true}` {
					approved.Add(1)
				}
			}
		})
	}
	waitFor := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("waited in vain for %s\n%s", what, p.stderr)
				return
			}
		}
	}
	pending, _, err := in.ask(p, "sms", `{"to":"+12025550100"}`)
	if err != nil {
		t.Fatal(err)
	}

	second := testCertificate(t, certs, "second")
	addr := strings.TrimPrefix(p.URL, "https://")
	waitFor("the second certificate", func() bool {
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: second})
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	in.run("keyset", "add", "keyset.json")
	reloads := func() int { return strings.Count(p.stderr.String(), `"msg":"reloaded","what":"keyset"`) }
	waitFor("the added key", func() bool { return reloads() >= 1 })
	var keys []struct{ ID uint32 }
	in.decode(&keys, "keyset", "list", "keyset.json", "--json")
	in.run("keyset", "promote", "keyset.json", fmt.Sprint(keys[1].ID))
	waitFor("the promoted key", func() bool { return reloads() >= 2 })
	after := approved.Load()
	waitFor("approvals with the new key", func() bool { return approved.Load() > after+5 })
	close(done)
	clients.Wait()

	// What the old key made is still checked.
	m := in.receiver.message(t, pending)
	if _, answer, err := in.ask(p, pending+"/verify", `{"token":"`+codeInBody.FindString(m.Body)+`"}`); answer != `{"success":true}` {
		t.Errorf("a code of the old key: %s, %v", answer, err)
	}
	t.Logf("%d requests, %d approvals, %d failed", requests.Load(), approved.Load(), failed.Load())
}

// ask asks over TLS, and returns the answer's id, if it has one.
func (in *installation) ask(p *process, path, body string) (id, answer string, err error) {
	req, err := http.NewRequestWithContext(context.Background(), "POST", p.URL+"/api/relay/rest/mfa/"+path, strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.SetBasicAuth(p.Project, p.Token)
	req.Header.Set("Content-Type", "application/json")
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer c.CloseIdleConnections()
	resp, err := c.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	var started struct{ ID string }
	json.Unmarshal(text, &started)
	return started.ID, string(text), err
}
