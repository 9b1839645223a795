// Package smsctest runs an independent SMSC in tests: npm's smpp, in a process of its own. If it
// isn't installed, a test is reported as not run. It fails instead if COUNTERSIGN_TEST_REQUIRE is
// "all".
package smsctest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The account of the SMSC.
const (
	SystemID = "countersign"
	Password = "pa55word"
)

// A Server is an SMSC that ends with its test.
type Server struct {
	Addr string

	t        *testing.T
	dir, log string
	env      []string
	port     string // "0" before the first start
	cmd      *exec.Cmd
}

// Start starts an SMSC. dir is the path to internal/carrier/smpp/testdata/smsc. The program there
// documents the environment variables that it reads.
func Start(t *testing.T, dir string, env ...string) *Server {
	t.Helper()
	_, missing := exec.LookPath("node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules/smpp")); missing != nil || err != nil {
		const notRun = "NOT RUN: npm's smpp isn't there; install it: npm ci --prefix internal/carrier/smpp/testdata/smsc"
		if os.Getenv("COUNTERSIGN_TEST_REQUIRE") == "all" {
			t.Fatal(notRun)
		}
		t.Skip(notRun)
	}
	s := &Server{t: t, dir: dir, log: filepath.Join(t.TempDir(), "log"), port: "0"}
	s.env = append(append(os.Environ(), "LOG="+s.log), env...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *Server) start() {
	s.t.Helper()
	s.cmd = exec.Command("node", filepath.Join(s.dir, "smsc.js"))
	s.cmd.Env = append(s.env, "PORT="+s.port)
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	port, up := strings.CutPrefix(strings.TrimSpace(line), "up ")
	if !up {
		s.t.Fatalf("the SMSC didn't start: %q, %v", line, err)
	}
	s.port, s.Addr = port, net.JoinHostPort("127.0.0.1", port)
}

func (s *Server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// Restart kills the SMSC, like kill -9, and starts it again at the same
// address.
func (s *Server) Restart() {
	s.t.Helper()
	s.kill()
	s.start()
}

// A Message is one submit_sm that the SMSC accepted.
type Message struct {
	Text, From, To string // addresses with their TON and NPI
	Validity       time.Time
	UDH            []string
	Coding         int
}

// Messages returns the messages that the SMSC accepted, in order, before and
// after restarts.
func (s *Server) Messages() (all []Message) {
	s.t.Helper()
	b, err := os.ReadFile(s.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var m Message
		if err := json.Unmarshal(line, &m); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}
