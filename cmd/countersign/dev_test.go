package main

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/carrier/sim"
	"github.com/countersign/countersign/internal/verify"
)

// paste runs a line in a shell, as somebody who copied it from the greeting.
func paste(t *testing.T, line string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("sh", "-c", line)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, &stderr)
	}
	return string(out)
}

func TestTheGreetingsLinesWorkWhenPasted(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl on this machine")
	}
	for name, env := range map[string][]string{
		"a generated token":          nil,
		"a token that a shell reads": {`COUNTERSIGN_DEV_TOKEN=it's "$HOME" \ ` + "`id`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startDev(t, env)
			if len(p.curl) != 9 {
				t.Fatalf("got %d curl lines, want 9:\n%s", len(p.curl), strings.Join(p.curl, "\n"))
			}
			start, read, check := p.curl[0], p.curl[1], p.curl[2]
			parts := regexp.MustCompile(`"id":"([^"]+)","to":"\+12025550100","channel":"sms"`).FindStringSubmatch(paste(t, start))
			if parts == nil {
				t.Fatalf("%s\nstarts nothing", start)
			}
			p.message("+12025550100", parts[1]) // so that it is there
			message := regexp.MustCompile(`"verification_id":"` + parts[1] + `".*"body":"Your Personal Authorization Code is: (\d{6})"`)
			found := message.FindStringSubmatch(paste(t, read))
			if found == nil {
				t.Fatalf("%s\nshows no message that matches %v", read, message)
			}
			if got := paste(t, strings.ReplaceAll(check, "CODE", found[1])); !strings.Contains(got, `"valid":true,"status":"approved"`) {
				t.Errorf("%s\ngot  %s\nwant that it is right", check, got)
			}

			start, check = p.curl[3], p.curl[4]
			parts = started.FindStringSubmatch(paste(t, start))
			if parts == nil || parts[2] != "+12025550102" || parts[3] != "sms" {
				t.Fatalf("%s\ngot  %q\nwant %v", start, parts, started)
			}
			code := codeInBody.FindString(p.message("+12025550102", parts[1]).Body)
			check = strings.ReplaceAll(strings.ReplaceAll(check, "ID/verify", parts[1]+"/verify"), "CODE", code)
			if got, want := paste(t, check), `{"success":true}`; got != want {
				t.Errorf("%s\ngot  %s\nwant %s", check, got, want)
			}

			create, associate, read, validate := p.curl[5], p.curl[6], p.curl[7], p.curl[8]
			made := base62ID.FindStringSubmatch(paste(t, create))
			if made == nil {
				t.Fatalf("%s\nanswers no id", create)
			}
			if got := paste(t, strings.ReplaceAll(associate, "/APP/", "/"+made[1]+"/")); got != "204\n" {
				t.Fatalf("%s\ngot  %s\nwant 204", associate, got)
			}
			u := person{process: p.in(t), to: "+12025550101"}
			u.code() // so that it is there
			found = regexp.MustCompile(`"body":"(\d{6}) is your Shop verification code\."`).FindStringSubmatch(paste(t, read))
			if found == nil {
				t.Fatalf("%s\nshows no message", read)
			}
			validate = strings.ReplaceAll(strings.ReplaceAll(validate, "/APP/", "/"+made[1]+"/"), "CODE", found[1])
			if got := paste(t, validate); got != "204\n" {
				t.Errorf("%s\ngot  %s\nwant 204", validate, got)
			}
		})
	}
}

// fails runs the program with a command line that must end by itself, and returns what it says.
func fails(t *testing.T, args ...string) (exit int, stderr string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), runAs+"=command")
	var said bytes.Buffer
	cmd.Stderr = &said
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	var exited *exec.ExitError
	if !errors.As(err, &exited) || !exited.Exited() {
		t.Fatalf("countersign %v: got %v, want that it fails\n%s", args, err, &said)
	}
	return exited.ExitCode(), said.String()
}

func TestDevServesThisMachineOnly(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--addr", "--ops-addr"} {
		for _, addr := range []string{"0.0.0.0:0", ":8080", ":0", "[::]:0", "192.0.2.1:0", "example.com:0", "127.0.0.1", "localhost"} {
			data := filepath.Join(t.TempDir(), "data")
			exit, said := fails(t, "dev", "--data", data, flag+"="+addr)
			if exit != 2 || !strings.Contains(said, flag+" "+addr) || !strings.Contains(said, "loopback") {
				t.Errorf("%s %s: got exit %d, %s\nwant exit 2 and why", flag, addr, exit, said)
			}
			if _, err := os.Stat(data); err == nil {
				t.Errorf("%s %s: refused, and yet it made a database", flag, addr)
			}
		}
	}

	p := startDev(t, nil)
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{p.URL, p.Ops} {
		host, port, err := net.SplitHostPort(strings.TrimPrefix(u, "http://"))
		if err != nil || host != "127.0.0.1" {
			t.Errorf("got %s, want an address at 127.0.0.1", u)
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				c, err := net.DialTimeout("tcp", net.JoinHostPort(n.IP.String(), port), 2*time.Second)
				if err == nil {
					c.Close()
					t.Errorf("%s is open at %s too", u, n.IP)
				}
			}
		}
	}
}

func TestAPortInUseIsToldWithItsFlag(t *testing.T) {
	t.Parallel()
	p := startDev(t, nil)
	for flag, u := range map[string]string{"--addr": p.URL, "--ops-addr": p.Ops} {
		addr := strings.TrimPrefix(u, "http://")
		args := []string{"dev", "--addr", "127.0.0.1:0", flag, addr}
		if flag == "--addr" {
			args = []string{"dev", flag, addr}
		}
		exit, said := fails(t, args...)
		if exit != 1 || !strings.Contains(said, addr+" is in use") || !strings.Contains(said, flag) {
			t.Errorf("%s %s: got exit %d, %s\nwant exit 1, that it is in use, and the flag", flag, addr, exit, said)
		}
	}
}

// stopInTime stops a process and fails the test unless it ends well, in the time it is given.
func (p *process) stopInTime() {
	p.t.Helper()
	began := time.Now()
	if err := p.stop(); err != nil {
		p.t.Errorf("stopped: %v\n%s", err, p.stderr)
	}
	if took := time.Since(began); took > 10*time.Second {
		p.t.Errorf("stopping took %v, want 10s at most", took)
	}
}

func TestAVerificationOutlivesARestart(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "made", "by dev")
	args := []string{"--data", data, "--project", "demo", "--token", "a-given-token-of-some-length"}
	p := startDev(t, nil, args...)
	if p.Project != "demo" || p.Token != "a-given-token-of-some-length" || p.values["Data"] != data {
		t.Errorf("got project %s, token %s, data %s, want the given ones", p.Project, p.Token, p.values["Data"])
	}
	id, code := p.start(`"max_attempts":2`)
	p.want(p.check(id, otherThan(code)), 200, wrongBody)
	used, usedCode := p.start("")
	p.want(p.check(used, usedCode), 200, approvedBody)
	// A carrier still works on this one when the stop comes.
	slow := p.isStart(p.ask(request{path: "sms", body: with(string(sim.SlowNumber), "")}), "sms", string(sim.SlowNumber))
	p.stopInTime()

	p = startDev(t, nil, args...)
	p.want(p.check(used, usedCode), 404, notFound)
	p.want(p.check(id, code), 200, approvedBody)
	if r := p.record(slow); r.Delivery != verify.DeliverySent || r.Attempt != 1 {
		t.Errorf("the message under way at the stop: got %v after %d attempts, want sent after 1", r.Delivery, r.Attempt)
	}
	p.stopInTime()
	for _, name := range []string{"countersign.db", "keyset.json"} {
		info, err := os.Stat(filepath.Join(data, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v, want a file for its owner only", name, info, err)
		}
	}
}

func TestWithoutAFolderNothingIsLeft(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	p := startDev(t, []string{"TMPDIR=" + temp})
	if data := p.values["Data"]; filepath.Dir(data) != temp {
		t.Errorf("got the data in %s, want a folder in %s", data, temp)
	}
	if found, err := os.ReadDir(temp); err != nil || len(found) != 1 {
		t.Errorf("while it runs: got %v, %v, want one folder", found, err)
	}
	p.start("")
	p.stopInTime()
	if found, err := os.ReadDir(temp); err != nil || len(found) != 0 {
		t.Errorf("after it: got %v, %v, want nothing", found, err)
	}
}

func TestAGeneratedTokenIsKeptWithItsFolder(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	works := func(p *process) bool {
		return p.ask(request{path: uuid.NewString() + "/verify", body: `{"token":"1"}`}).status != http.StatusUnauthorized
	}
	first := startDev(t, nil, "--data", data)
	if !works(first) || !strings.HasPrefix(first.Token, "cs_") {
		t.Fatalf("the generated token %s doesn't work", first.Token)
	}
	first.stopInTime()
	second := startDev(t, nil, "--data", data)
	if second.Project != first.Project || second.Token != first.Token {
		t.Errorf("got project %s and token %s, want those of the first run: %s and %s", second.Project, second.Token, first.Project, first.Token)
	}
	if !works(second) {
		t.Error("the kept token doesn't work in the second run")
	}
	second.stopInTime()
	if info, err := os.Stat(filepath.Join(data, "dev.token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kept token's file: got %v, %v, want one for its owner only", info, err)
	}

	// Without the file there is a new token, and the old one ends.
	if err := os.Remove(filepath.Join(data, "dev.token")); err != nil {
		t.Fatal(err)
	}
	renewed := startDev(t, nil, "--data", data)
	if renewed.Token == first.Token || !works(renewed) || works(renewed.as(renewed.Project, first.Token)) {
		t.Errorf("without the file: got token %s, want another one that works, and the old one revoked", renewed.Token)
	}
	renewed.stopInTime()

	// A given one stays, beside the generated one.
	const given = "given-by-the-environment"
	for range 2 {
		third := startDev(t, []string{"COUNTERSIGN_DEV_TOKEN=" + given}, "--data", data)
		if third.Token != given || !works(third) {
			t.Errorf("the token of the environment: got %s, works %v", third.Token, works(third))
		}
		third.stopInTime()
	}
	fourth := startDev(t, nil, "--data", data)
	if !works(fourth) || !works(fourth.as(fourth.Project, given)) {
		t.Error("a given token doesn't work beside a generated one")
	}
}

func TestOperationsAnswersHealthChecksOnly(t *testing.T) {
	t.Parallel()
	p := startDev(t, nil, "--ops-addr", "127.0.0.1:0")
	for u, want := range map[string]int{
		p.Ops + "/healthz": 200, p.Ops + "/readyz": 200, p.Ops + "/simulator": 404, p.Ops + "/api/relay/rest/mfa/sms": 404,
		p.URL + "/healthz": 404, p.URL + "/readyz": 404, p.URL + "/metrics": 404, p.URL + "/debug/pprof/": 404,
	} {
		resp, err := httpClient.Get(u)
		if err != nil {
			t.Error(err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", u, resp.StatusCode, want)
		}
	}
}

func TestTheLogHoldsNoSecretAndNoNumber(t *testing.T) {
	t.Parallel()
	p := startDev(t, nil, "--verbose", "--data", t.TempDir())
	secrets := map[string]string{"the token": p.Token, "another's token": "cs_of-somebody-else-altogether"}
	// Long codes: six digits may stand in a log by chance.
	const fields = `"token_length":20,"allow_alphas":true,"valid_for":2,"max_attempts":1`
	for name, to := range map[string]string{
		"a number": "+12025550151", "a second": "+442079460018", "refused": string(sim.RefusedNumber), "unreachable": string(sim.UnreachableNumber),
		"slow": string(sim.SlowNumber), "failed receipt": string(sim.FailedReceiptNumber),
	} {
		secrets["the number: "+name] = strings.TrimPrefix(to, "+")
		id := p.isStart(p.ask(request{path: "sms", body: with(to, fields)}), "sms", to)
		if name == "a number" || name == "a second" {
			code := codeIn(p.message(to, id).Body)
			guess := "GUESSEDWRONGANDTYPED"
			secrets["the code: "+name], secrets["a guess"] = code, guess
			if name == "a second" {
				p.want(p.check(id, guess), 200, wrongBody)
			}
			p.check(id, code)
		}
	}
	const personal = "+12025550152"
	secrets["a number in a bad request"] = "12025550152"
	for _, r := range []request{
		{path: "sms", body: with(personal, `"token_length":3`)}, {path: "sms", body: `{"to":"` + personal}, {path: "sms", body: `to=` + personal},
		{path: "sms", body: `{"to":"` + personal + `x"}`}, {path: "call", body: with(personal, ""), contentType: "text/plain"},
		{path: "sms", body: with(personal, ""), authorize: func(r *http.Request) { r.SetBasicAuth("nobody", secrets["another's token"]) }},
		{path: "sms?to=" + personal + "&token=" + p.Token, body: with(personal, "")},
	} {
		p.ask(r)
	}
	p.messages(personal)
	p.stopInTime()

	log := p.stderr.String()
	for _, line := range []string{"msg=request ", "status=401", "status=422", `msg="carrier failed"`, "msg=stopping"} {
		if !strings.Contains(log, line) {
			t.Errorf("the log has no %q, so it proves nothing:\n%s", line, log)
		}
	}
	for what, secret := range secrets {
		if i := strings.Index(log, secret); i >= 0 {
			t.Errorf("the log holds %s: %s", what, log[max(0, i-200):min(len(log), i+200)])
		}
	}
	// A number in its parts is one all the same.
	if found := regexp.MustCompile(`\+[0-9][0-9 ().-]{6,}[0-9]`).FindString(log); found != "" {
		t.Errorf("the log holds what looks like a number: %s", found)
	}
}

// The commonest mistake with curl: the answer is the vendor's, which doesn't say it, so the log does.
func TestJSONSentAsAFormGetsAHint(t *testing.T) {
	t.Parallel()
	p := startDev(t, nil)
	const hint = `hint="the body is JSON: send it with Content-Type: application/json"`
	for _, contentType := range []string{"application/json", "application/x-www-form-urlencoded"} {
		p.ask(request{path: "sms", body: `{"to":"+12025550100"}`, contentType: contentType})
	}
	if !within(patience, func() bool { return strings.Contains(p.stderr.String(), hint) }) {
		t.Errorf("the log has no hint:\n%s", p.stderr)
	}
	if n := strings.Count(p.stderr.String(), hint); n != 1 {
		t.Errorf("the log has %d hints, want one, for the form:\n%s", n, p.stderr)
	}
}

// dev's project has no send limits. A change of one of them asks for no other.
func TestALimitOfDevsProjectCanBeSet(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startDev(t, nil, "--data", data)
	exit, stdout, stderr := runHere(t, "project", "policy", "--data", data, "--send-burst", "3", p.Project)
	if exit != 0 || !regexp.MustCompile(`(?m)^send-burst +3$`).MatchString(stdout) || !regexp.MustCompile(`(?m)^send-interval +2m0s$`).MatchString(stdout) {
		t.Errorf("got exit %d\n%s%s\nwant the burst, and the interval of a new project", exit, stdout, stderr)
	}
}
