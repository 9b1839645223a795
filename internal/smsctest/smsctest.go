// Package smsctest gives tests an SMSC that somebody else wrote from the same specification: npm's
// smpp, in a process of its own. Where it isn't installed a test is reported as not run, unless
// COUNTERSIGN_TEST_REQUIRE says that it must.
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

// Who it lets in.
const (
	SystemID = "countersign"
	Password = "pa55word"
)

// A Server is an SMSC. It ends with its test.
type Server struct {
	Addr string

	t        *testing.T
	dir, log string
	env      []string
	port     string // "0" before the first start
	cmd      *exec.Cmd
}

// Start starts an SMSC. dir is the path to internal/carrier/smpp/testdata/smsc; see the program there
// for what the environment can tell it.
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

// Restart kills it, as kill -9 does, and lets it come back at the same address.
func (s *Server) Restart() {
	s.t.Helper()
	s.kill()
	s.start()
}

// A Message is one submit_sm that the SMSC took.
type Message struct {
	Text, From, To string // addresses with their TON and NPI
	Validity       time.Time
	UDH            []string
	Coding         int
}

// Messages are what the SMSC took, in that order, in all its lives.
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
