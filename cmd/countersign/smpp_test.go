package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/smsctest"
	"github.com/countersign/countersign/internal/verify"
)

// installSMPP makes an installation whose first carrier is an SMSC, and whose second is the one that
// every test has.
func installSMPP(t *testing.T, addr string) *installation {
	t.Helper()
	file := filepath.Join(t.TempDir(), "smsc.secret")
	if err := os.WriteFile(file, []byte(smsctest.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return install(t, thisBinary, func(text string) string {
		text = strings.Replace(text, "\ncarriers:\n", "\ncarriers:\n"+fmt.Sprintf(`  - name: smsc
    smpp: {addr: %q, plaintext: true, system_id: %s, password: {file: %q}, binds: 2, window: 5}
`, addr, smsctest.SystemID, file), 1)
		return strings.Replace(text, "  sms:\n", "  sms:\n    - smsc\n", 1)
	})
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
	smsc := smsctest.Start(t, "../../internal/carrier/smpp/testdata/smsc")
	in := installSMPP(t, smsc.Addr)
	p := in.serve()
	bothBound(t, p)
	id, answer, err := in.ask(p, "sms", `{"to":"+12025550100"}`)
	if err != nil || id == "" {
		t.Fatalf("start: %s, %v", answer, err)
	}
	in.wantDelivery(id, verify.Pending, verify.Delivered, "")
	sent := smsc.Messages()
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
	for _, secret := range []string{smsctest.Password, code, "+12025550100", "12025550100"} {
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
	in := installSMPP(t, l.Addr().String())
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
