package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/porttest"
	"github.com/countersign/countersign/internal/testsize"
)

// runAs makes this test binary behave as the program when a test starts it again.
const runAs = "COUNTERSIGN_TEST_RUN_AS"

// patience is how long a test waits for what must come, on a machine that is loaded many times over.
// What must come in time is held by limits of its own.
const patience = 4 * time.Minute

// noRaceSleep spares a second at the end of each process that a test starts under -race.
const noRaceSleep = "atexit_sleep_ms=0"

// TestMain lets more tests run at once than there are processors: they wait for leases to end and for
// processes.
func TestMain(m *testing.M) {
	if role := os.Getenv(runAs); role != "" {
		if role == crashRole {
			adjustDev = crashConfig
		}
		main()
	}
	flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0))) // before the command line is read
	os.Setenv("GORACE", noRaceSleep+" "+os.Getenv("GORACE"))
	os.Setenv("GOGC", "400") // garbage is a third of the start of the thousands of programs that the tests run
	testscript.Main(tidy{m}, map[string]func(){"countersign": main})
}

// tidy removes what the tests share when they are over.
type tidy struct{ *testing.M }

func (m tidy) Run() int {
	defer func() { os.RemoveAll(filepath.Dir(built)); pgtest.Close() }()
	return m.M.Run()
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testsize.Alone(t, "runs hundreds of short programs")
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: scriptCommands, Setup: func(e *testscript.Env) error {
		e.Setenv("PATH", filepath.Dir(theProgram(t)().Path)+string(filepath.ListSeparator)+e.Getenv("PATH"))
		e.Setenv("GORACE", os.Getenv("GORACE"))
		e.Setenv("GOGC", os.Getenv("GOGC"))
		e.Setenv("ADDR", porttest.Address(t)) // for a script that serves
		return nil
	}})
}

// texts are the members of a JSON object that are strings.
type texts map[string]string

func (t *texts) UnmarshalJSON(text []byte) error {
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*t = texts{}
	for name, value := range all {
		if s, ok := value.(string); ok {
			(*t)[name] = s
		}
	}
	return nil
}

// A process is the real program, started by a test.
type process struct {
	t        testing.TB
	cmd      *exec.Cmd
	values   map[string]string // the values in the greeting, by name: "API", "Token", ...
	curl     []string          // the lines to paste
	greeting string            // up to these lines
	stderr   *lockedBuffer
	Project  string
	Token    string
	URL      string // of the server, without a path
	Ops      string
}

// startDev starts "countersign dev" on free ports and waits for its greeting.
// The process is killed when the test ends.
func startDev(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	program := os.Args[0] // which has what a test's role does
	if len(env) == 0 {
		program = theProgram(t)().Path
	}
	return startProgram(t, program, env, args...)
}

// startProgram does the same with another version of the program.
func startProgram(t testing.TB, program string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, values: map[string]string{}, stderr: new(lockedBuffer)}
	p.cmd = exec.Command(program, append([]string{"dev", "--addr", "127.0.0.1:0"}, args...)...)
	p.cmd.Env = append(append(os.Environ(), runAs+"=dev"), env...)
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill() })
	late := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if p.values["Data"] == "" {
			p.greeting += lines.Text() + "\n"
		}
		if name, value, ok := strings.Cut(line, "  "); ok {
			p.values[name] = strings.TrimSpace(value)
		}
		if strings.HasPrefix(line, "curl ") {
			p.curl = append(p.curl, line)
		}
		if strings.HasPrefix(line, "Stop with") {
			p.Project, p.Token = p.values["Project"], p.values["Token"]
			p.URL, _, _ = strings.Cut(p.values["API"], "/v1/")
			p.Ops = strings.TrimSuffix(p.values["Operations"], "/healthz")
			go io.Copy(io.Discard, stdout)
			return p
		}
	}
	p.cmd.Wait()
	t.Fatalf("countersign dev %v ended before its greeting: %v\n%s", args, p.cmd.ProcessState, p.stderr)
	return nil
}

// kill ends the process at once, as a power cut would.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// stop ends the process as an operator would, and returns how it ended.
func (p *process) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.cmd.Wait()
}

// post sends JSON with the process's credentials, and returns the answer with its body read.
func (p *process) post(path, body string) (*http.Response, string, error) {
	req, err := http.NewRequest("POST", p.URL+"/api/relay/rest/mfa/"+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.SetBasicAuth(p.Project, p.Token)
	req.Header.Set("Content-Type", "application/json")
	return do(req)
}

// postOnce sends JSON to a path of /v1, with a key that makes it be carried out once; "" is none.
func (p *process) postOnce(key, path, body string) (*http.Response, string, error) {
	req, err := http.NewRequest("POST", p.URL+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Authorization", "Bearer "+p.Token)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return do(req)
}

func do(req *http.Request) (*http.Response, string, error) {
	resp, err := httpClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp, string(data), err
}

// httpClient keeps enough connections for a test that asks from many goroutines.
var httpClient = &http.Client{
	Timeout:   30 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 256},
}

// A simMessage is one message at the simulator.
type simMessage struct {
	ID           string    `json:"id"`
	Verification string    `json:"verification_id"`
	Channel      string    `json:"channel"`
	To           string    `json:"to"`
	From         string    `json:"from"`
	Body         string    `json:"body"`
	CreatedAt    time.Time `json:"created_at"`
}

// messages reads what the simulator sent to a number, newest first.
func (p *process) messages(to string) []simMessage {
	p.t.Helper()
	resp, err := httpClient.Get(p.URL + "/simulator/messages?to=" + strings.ReplaceAll(to, "+", "%2B"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var all struct{ Messages []simMessage }
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		p.t.Fatalf("simulator answered %v: %v", resp.Status, err)
	}
	return all.Messages
}

// message waits until the simulator has sent a verification's message.
func (p *process) message(to, verification string) simMessage {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		for _, m := range p.messages(to) {
			if m.Verification == verification {
				return m
			}
		}
	}
	p.t.Fatalf("the simulator has no message of verification %s", verification)
	return simMessage{}
}

// lockedBuffer is a buffer that a process writes while a test reads.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var _ fmt.Stringer = (*lockedBuffer)(nil)

func TestAStrangersFileLeadsToItsOwner(t *testing.T) {
	t.Parallel()
	if got := whoMay(fmt.Errorf("open: %w", fs.ErrPermission)); !strings.Contains(got, "You are "+string(actor())) || !strings.Contains(got, "sudo -u OWNER") {
		t.Errorf("got %q", got)
	}
	if got := whoMay(fs.ErrNotExist); got != "" {
		t.Errorf("of another error: got %q", got)
	}
}
