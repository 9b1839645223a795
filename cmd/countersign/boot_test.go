package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/store/storetest"
)

// ask gets a URL, and returns the answer with its body.
func ask(t testing.TB, url string) (*http.Response, string) {
	t.Helper()
	resp, err := httpClient.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// checkWaiting checks what a server answers that waits for its database.
func (p *process) checkWaiting() {
	p.t.Helper()
	if resp, body := ask(p.t, p.Ops+"/healthz"); resp.StatusCode != 200 {
		p.t.Errorf("healthz: got %s %s, want 200", resp.Status, body)
	}
	if resp, body := ask(p.t, p.Ops+"/readyz"); resp.StatusCode != 503 || !strings.Contains(body, "the database is away") {
		p.t.Errorf("readyz: got %s %s, want 503 and a sentence about the database", resp.Status, body)
	}
	if resp, body := ask(p.t, p.Ops+"/metrics"); resp.StatusCode != 200 || !strings.Contains(body, "go_goroutines") {
		p.t.Errorf("metrics: got %s, want 200", resp.Status)
	}
	for path, want := range map[string]string{
		"/api/relay/rest/mfa/sms":        `{"error":"Service Unavailable"}`,
		"/mfa/v1/applications":           `{"error_code":"503","error_description":"the database is away"}`,
		"/apptoken-refresh":              `{"errorCode":3,"moreInfo":"the database is away","userMsg":"Try again later."}`,
		"/carriers/twilio/status?m=some": "not now\n",
	} {
		if resp, body := ask(p.t, p.URL+path); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || body != want {
			p.t.Errorf("%s: got %s %s, want 503 with Retry-After and %s", path, resp.Status, body, want)
		}
	}
}

const (
	saidAway = `"msg":"the database is away"`
	saidBack = `"msg":"the database is back"`
)

// A server that is started before its database waits for it, and needs nobody then.
func TestServeWaitsForItsDatabase(t *testing.T) {
	t.Parallel()
	cluster := pgtest.New(t)
	in := installOn(t, cluster.Database(t, ""))
	cluster.Kill(t)
	p := in.serveUntil("the database is away")
	for began := time.Now(); time.Since(began) < 3*openAgain; time.Sleep(openAgain / 10) {
		p.checkWaiting()
	}
	if n := strings.Count(p.stderr.String(), saidAway); n != 1 {
		t.Errorf("the log says %d times that the database is away, want once:\n%s", n, p.stderr)
	}
	cluster.Start(t)
	if !within(patience, func() bool { return p.ready(t) }) {
		t.Fatalf("it isn't ready:\n%s", p.stderr)
	}
	id, code := startOn(in, p, newNumber(), 3)
	if got := guessSurely(p, id, code); got != "right" {
		t.Errorf("a code afterwards: got %s, want right", got)
	}
	if !within(patience, func() bool { return strings.Contains(p.stderr.String(), saidBack) }) {
		t.Error("the log doesn't say that the database is back")
	}
	if n := strings.Count(p.stderr.String(), saidBack); n != 1 {
		t.Errorf("the log says %d times that the database is back, want once", n)
	}
}

// A database that doesn't answer at all holds up neither health checks nor the end.
func TestServeWaitsForASilentDatabase(t *testing.T) {
	t.Parallel()
	direct := storetest.Lent(t)
	wire := pgtest.WireTo(t, direct)
	in := installOn(t, wire.URL(direct), briefly)
	wire.Cut(true)
	p := in.serveUntil("the database is away")
	p.checkWaiting()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v, want status 0:\n%s", err, p.stderr)
	}
	if took := time.Since(began); took > drainFor {
		t.Errorf("it ended after %v, want less than %v", took, drainFor)
	}
}

// What waiting doesn't mend ends the program, with a sentence.
func TestServeEndsWhereWaitingIsOfNoUse(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t, "")
	in := installOn(t, database)
	edited := func(edit func(*url.URL)) string {
		u, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		edit(u)
		return u.String()
	}
	for name, test := range map[string]struct{ url, says string }{
		"no such database": {edited(func(u *url.URL) { u.Path = "/nowhere" }), `database "nowhere" does not exist`},
		"no such user": {edited(func(u *url.URL) {
			u.User = nil
			q := u.Query()
			q.Set("user", "nobody")
			u.RawQuery = q.Encode()
		}), `role "nobody" does not exist`},
	} {
		in.rewrite(func(text string) string {
			return strings.Replace(text, strconv.Quote(database), strconv.Quote(test.url), 1)
		})
		if status, said := in.fail("serve"); status != 1 || !strings.Contains(said, test.says) {
			t.Errorf("%s: got status %d and %q, want 1 and %q", name, status, said, test.says)
		}
		in.rewrite(func(text string) string {
			return strings.Replace(text, strconv.Quote(test.url), strconv.Quote(database), 1)
		})
	}
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`); err != nil {
		t.Fatal(err)
	}
	if status, said := in.fail("serve"); status != 1 || !strings.Contains(said, "run a newer countersign") {
		t.Errorf("a newer schema: got status %d and %q, want 1 and the advice to run a newer program", status, said)
	}
}

// fail runs a command that must end by itself, and returns its exit status and what it says.
func (in *installation) fail(args ...string) (status int, said string) {
	in.t.Helper()
	cmd := in.binary(args...)
	cmd.Dir = in.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		in.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// A replica that was given another keyset isn't ready, says why, and neither makes codes nor denies right ones.
func TestReplicaWithAnotherKeysetIsNotReady(t *testing.T) {
	t.Parallel()
	database := storetest.Lent(t)
	in := installOn(t, database)
	good := in.serve()
	id, code := startOn(in, good, newNumber(), 3)
	stranger := installOn(t, database).serve()
	stranger.Project, stranger.Token = good.Project, good.Token

	if resp, body := ask(t, stranger.Ops+"/readyz"); resp.StatusCode != 503 || !strings.Contains(body, "the keyset lacks key") {
		t.Errorf("the stranger's readyz: got %s %s, want 503 and a sentence about the keyset", resp.Status, body)
	}
	if resp, body, err := stranger.post("sms", fmt.Sprintf(`{"to":%q}`, newNumber())); err != nil || resp.StatusCode != 503 {
		t.Errorf("a start there: got %v %s, %v; want 503", resp, body, err)
	}
	if got := guessOn(stranger, id, code); got != "503 Service Unavailable" {
		t.Errorf("the right code there: got %s, want 503", got)
	}
	if !good.ready(t) {
		t.Error("the other server isn't ready")
	}
	if got := guessSurely(good, id, code); got != "right" {
		t.Errorf("the right code on the other server: got %s", got)
	}
	if said := stranger.stderr.String(); strings.Count(said, "not ready: the keyset lacks key") != 1 {
		t.Errorf("the log doesn't say once what is wrong:\n%s", said)
	}
}

// A keyset that was lost and made anew can't check the codes that are out.
func TestLostKeysetIsNotReady(t *testing.T) {
	t.Parallel()
	in := install(t, theProgram(t), nil)
	p := in.serve()
	if !p.ready(t) {
		t.Error("it isn't ready")
	}
	startOn(in, p, newNumber(), 3)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(in.dir, "keyset.json")); err != nil {
		t.Fatal(err)
	}
	in.run("keyset", "create", "keyset.json")
	p = in.serve()
	if resp, body := ask(t, p.Ops+"/readyz"); resp.StatusCode != 503 || !strings.Contains(body, "countersign void") {
		t.Errorf("readyz: got %s %s, want 503 and what to do", resp.Status, body)
	}
	in.run("void", "--config", "countersign.yaml")
	if !within(patience, func() bool { return p.ready(t) }) {
		t.Errorf("it isn't ready after those codes were voided:\n%s", p.stderr)
	}
	id, code := startOn(in, p, newNumber(), 3)
	if got := guessOn(p, id, code); got != "right" {
		t.Errorf("a new code: got %s", got)
	}
}

func TestServeWarnsOfADatabaseThatCouldBeAnybody(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	in := install(t, theProgram(t), nil)
	config := filepath.Join(in.dir, "countersign.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for mode, warned := range map[string]bool{"require": true, "verify-full": false} {
		// It ends before it connects: its port is taken.
		remote := strings.Replace(string(text), `listen: "127.0.0.1:0"`, fmt.Sprintf("listen: %q", taken.Addr()), 1)
		remote = strings.Replace(remote, "\n  url: \"\"\n", "\n  url: \"postgres://u@192.0.2.1/db?sslmode="+mode+"\"\n", 1)
		if err := os.WriteFile(config, []byte(remote), 0o600); err != nil {
			t.Fatal(err)
		}
		status, said := in.fail("serve")
		if status != 1 || !strings.Contains(said, "is in use by another program") || strings.Contains(said, "certificate isn't checked") != warned {
			t.Errorf("sslmode=%s: got status %d and %q, want 1, and a warning of the certificate: %t", mode, status, said, warned)
		}
	}
}
