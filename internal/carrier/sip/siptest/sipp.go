package siptest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/porttest"
)

// Parts of sipp's scripts.
const (
	sippStart = `<?xml version="1.0" encoding="UTF-8"?><scenario name="trunk">`
	sippEnd   = `</scenario>`
	Invited   = `<recv request="INVITE"/>`
	headers   = `[last_Via:]
[last_From:]
[last_To:];tag=[pid]-[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
`
	// The second of two answers in a dialog has the tag in its To already.
	Within = `[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
`
)

// Answering returns a response for a script.
func Answering(status, more string) string {
	return "<send><![CDATA[\nSIP/2.0 " + status + "\n" + headers + more + "Content-Length: 0\n\n]]></send>"
}

// Taken answers the phone, with media at a port, and waits for the ACK.
func Taken(port int) string {
	return "<send retrans=\"500\"><![CDATA[\nSIP/2.0 200 OK\n" + headers + fmt.Sprintf(`Content-Type: application/sdp
Content-Length: [len]

v=0
o=trunk 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio %d RTP/AVP 0
a=rtpmap:0 PCMU/8000
`, port) + `]]></send><recv request="ACK"/>`
}

// again accepts further ACKs, because sipp repeats an answer whose ACK comes late. It must be
// before a recv.
const again = `<recv request="ACK" optional="true"/>`

// ASecond waits for a second. In a <pause>, sipp would accept no further ACK. The INFO
// never comes.
const ASecond = `<recv request="ACK" optional="true" timeout="1000" ontimeout="30"/><recv request="INFO"/><label id="30"/>`

// HungUp waits for the BYE and answers it.
const HungUp = again + `<recv request="BYE"/><send><![CDATA[
SIP/2.0 200 OK
` + Within + `Content-Length: 0

]]></send>`

// A Sipp is a sipp process that plays a trunk from a script.
type Sipp struct {
	t    testing.TB
	cmd  *exec.Cmd
	port int
	done chan error
}

// StartSipp plays a script for a number of calls.
func StartSipp(t testing.TB, calls int, parts ...string) *Sipp {
	t.Helper()
	Need(t, "sipp")
	dir := t.TempDir()
	script := filepath.Join(dir, "trunk.xml")
	if err := os.WriteFile(script, []byte(sippStart+strings.Join(parts, "")+sippEnd), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Sipp{t: t}
	porttest.Try(t, 2, func(first int) error { return s.start(dir, script, first, calls) })
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		if text, err := os.ReadFile(filepath.Join(dir, "errors")); err == nil && t.Failed() {
			t.Logf("sipp: %s", text)
		}
	})
	return s
}

// start starts sipp and waits until it listens.
func (s *Sipp) start(dir, script string, first, calls int) error {
	s.port, s.done = first, make(chan error, 1)
	s.cmd = exec.Command("sipp", "-sf", script, "-i", "127.0.0.1", "-p", fmt.Sprint(first), "-cp", fmt.Sprint(first+1),
		"-mi", "127.0.0.1", "-m", fmt.Sprint(calls), "-l", "1000", "-nostdin", "-timeout", "60s", "-timeout_error", "-recv_timeout", "40000",
		"-trace_err", "-error_file", filepath.Join(dir, "errors"))
	s.cmd.Dir = dir
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := s.done
	ended := make(chan struct{})
	go func(cmd *exec.Cmd) {
		done <- cmd.Wait()
		close(ended)
	}(s.cmd)
	// Reading the system's list of sockets takes no port, unlike trying to
	// listen.
	for end := time.Now().Add(patience); time.Now().Before(end); {
		select {
		case <-ended:
			return errors.New("sipp ended before it listened")
		case <-time.After(20 * time.Millisecond):
		}
		sockets, err := os.ReadFile("/proc/net/udp")
		if err != nil || strings.Contains(string(sockets), fmt.Sprintf(" 0100007F:%04X ", first)) {
			return nil
		}
	}
	return errors.New("sipp doesn't listen")
}

// Content waits until sipp is finished, and reports an error unless all calls
// followed the script.
func (s *Sipp) Content() {
	s.t.Helper()
	select {
	case err := <-s.done:
		if err != nil {
			s.t.Errorf("sipp: %v", err)
		}
	case <-time.After(patience):
		s.t.Error("sipp isn't through")
	}
}

func (s *Sipp) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }
