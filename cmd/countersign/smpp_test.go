package main

import (
	"bufio"
	"encoding/json"
	"fmt"
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

// A testSMSC is npm's smpp, which somebody else wrote, in a process of its own.
type testSMSC struct {
	t         *testing.T
	addr, log string
}

// newSMSC starts one that sends a receipt of each message.
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
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	s := &testSMSC{t: t, addr: free.Addr().String(), log: filepath.Join(t.TempDir(), "log")}
	_, port, _ := net.SplitHostPort(s.addr)
	cmd := exec.Command("node", dir+"/smsc.js")
	cmd.Env = append(os.Environ(), "PORT="+port, "LOG="+s.log)
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
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("the SMSC didn't start: %q, %v", line, err)
	}
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

func TestACodeLeavesOverSMPPAndItsReceiptComesBack(t *testing.T) {
	t.Parallel()
	smsc := newSMSC(t)
	in := smsc.install()
	p := in.serve()
	if !within(20*time.Second, func() bool {
		return strings.Contains(get(t, p.Ops+"/metrics"), `countersign_binds_up{carrier="smsc"} 2`+"\n")
	}) {
		t.Fatalf("the metrics never say that both binds are up\n%s", p.stderr)
	}
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
