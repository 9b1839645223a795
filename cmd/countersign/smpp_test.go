package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// What npm's SMSC lets in.
const (
	smscAccount  = "countersign"
	smscPassword = "pa55word"
)

// A testSMSC is an SMSC in a process of its own.
type testSMSC struct {
	t         *testing.T
	addr, log string
}

// newSMSC starts npm's smpp, which somebody else wrote, and which sends a receipt of each message.
func newSMSC(t *testing.T) *testSMSC {
	t.Helper()
	const dir = "../../internal/carrier/smpp/testdata/smsc"
	_, missing := exec.LookPath("node")
	if _, err := os.Stat(dir + "/node_modules/smpp"); missing != nil || err != nil {
		const notRun = "NOT RUN: npm's smpp isn't there; install it: npm ci --prefix internal/carrier/smpp/testdata/smsc"
		if os.Getenv("COUNTERSIGN_TEST_REQUIRE") == "all" {
			t.Fatal(notRun)
		}
		t.Skip(notRun)
	}
	s := &testSMSC{t: t, log: filepath.Join(t.TempDir(), "log")}
	cmd := exec.Command("node", dir+"/smsc.js")
	cmd.Env = append(os.Environ(), "PORT=0", "LOG="+s.log)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	port, up := strings.CutPrefix(strings.TrimSpace(line), "up ")
	if !up {
		t.Fatalf("the SMSC didn't start: %q, %v", line, err)
	}
	s.addr = net.JoinHostPort("127.0.0.1", port)
	return s
}

// install makes an installation whose first carrier is the SMSC, and whose second is the one that every
// test has.
func (s *testSMSC) install() *installation {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "smsc.secret")
	if err := os.WriteFile(file, []byte(smscPassword+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return install(s.t, thisBinary, func(text string) string {
		text = strings.Replace(text, "\ncarriers:\n", "\ncarriers:\n"+fmt.Sprintf(`  - name: smsc
    smpp: {addr: %q, plaintext: true, system_id: %s, password: {file: %q}, binds: 2, window: 5}
`, s.addr, smscAccount, file), 1)
		return strings.Replace(text, "  sms:\n", "  sms:\n    - smsc\n", 1)
	})
}

// A submitted message is what the SMSC says that it took.
type submitted struct{ Text, From, To string }

func (s *testSMSC) submitted() (all []submitted) {
	s.t.Helper()
	text, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var one submitted
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

// bothBound waits until the metrics say that both binds are up.
func bothBound(t *testing.T, p *process) {
	t.Helper()
	if !within(20*time.Second, func() bool {
		return strings.Contains(get(t, p.Ops+"/metrics"), `countersign_binds_up{carrier="smsc"} 2`+"\n")
	}) {
		t.Fatalf("the metrics never say that both binds are up\n%s", p.stderr)
	}
}

func TestACodeLeavesOverSMPPAndItsReceiptComesBack(t *testing.T) {
	t.Parallel()
	smsc := newSMSC(t)
	in := smsc.install()
	p := in.serve()
	bothBound(t, p)
	id, answer, err := in.ask(p, "sms", `{"to":"+12025550100"}`)
	if err != nil || id == "" {
		t.Fatalf("start: %s, %v", answer, err)
	}
	in.wantDelivery(id, verify.Pending, verify.Delivered, "")
	sent := smsc.submitted()
	if len(sent) != 1 || sent[0].From != "1 1 12025550199" || sent[0].To != "1 1 12025550100" {
		t.Fatalf("the SMSC got %+v", sent)
	}
	code := codeInBody.FindString(sent[0].Text)
	if _, answer, err := in.ask(p, id+"/verify", `{"token":"`+code+`"}`); answer != `{"success":true}` {
		t.Errorf("verify: %s, %v", answer, err)
	}
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}
	for _, secret := range []string{smscPassword, code, "+12025550100", "12025550100"} {
		if strings.Contains(p.stderr.String(), secret) {
			t.Errorf("the log has %q:\n%s", secret, p.stderr)
		}
	}
	if !strings.Contains(p.stderr.String(), "carrier is allowed to send its password and codes without TLS") {
		t.Errorf("the log doesn't warn of plaintext:\n%s", p.stderr)
	}
}

// An SMSC counts binds: one that nobody ended may keep the next server out.
func TestSIGTERMUnbinds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked := make(chan uint32, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go agree(conn, asked)
		}
	}()
	in := (&testSMSC{t: t, addr: l.Addr().String()}).install()
	p := in.serve()
	want := func(command uint32) {
		t.Helper()
		select {
		case got := <-asked:
			if got != command {
				t.Errorf("the SMSC was asked %#x, want %#x", got, command)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the SMSC was never asked %#x\n%s", command, p.stderr)
		}
	}
	const bindTransceiver, unbind = 0x09, 0x06
	want(bindTransceiver)
	want(bindTransceiver)
	bothBound(t, p)
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.stderr)
	}
	want(unbind)
	want(unbind)
}

// agree says yes to whatever an SMSC is asked on a connection, and passes on what that is.
func agree(conn net.Conn, asked chan<- uint32) {
	defer conn.Close()
	var head [4]uint32 // length, command, status, sequence
	for binary.Read(conn, binary.BigEndian, &head) == nil {
		if _, err := io.CopyN(io.Discard, conn, int64(head[0])-16); err != nil {
			return
		}
		asked <- head[1]
		name := "smsc\x00"
		if head[1] == 0x06 {
			name = ""
		}
		head = [4]uint32{uint32(16 + len(name)), head[1] | 1<<31, 0, head[3]}
		binary.Write(conn, binary.BigEndian, head)
		io.WriteString(conn, name)
	}
}
