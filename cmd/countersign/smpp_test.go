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
// every test has. smpp and carrier are more of its settings.
func installSMPP(t *testing.T, addr, smpp, carrier string) *installation {
	t.Helper()
	file := filepath.Join(t.TempDir(), "smsc.secret")
	if err := os.WriteFile(file, []byte(smsctest.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return install(t, theProgram(t), func(text string) string {
		text = strings.Replace(text, "\ncarriers:\n", "\ncarriers:\n"+fmt.Sprintf(`  - name: smsc
    smpp: {addr: %q, plaintext: true, system_id: %s, password: {file: %q}, binds: 2, window: 5%s}
    %s
`, addr, smsctest.SystemID, file, smpp, carrier), 1)
		return strings.Replace(text, "  sms:\n", "  sms:\n    - smsc\n", 1)
	})
}

// bothBound waits until the metrics say that both binds are up.
func bothBound(t *testing.T, p *process) {
	t.Helper()
	if !within(patience, func() bool {
		return strings.Contains(get(t, p.Ops+"/metrics"), `countersign_binds_up{carrier="smsc"} 2`+"\n")
	}) {
		t.Fatalf("the metrics never say that both binds are up\n%s", p.stderr)
	}
}

func TestACodeLeavesOverSMPPAndItsReceiptComesBack(t *testing.T) {
	t.Parallel()
	smsc := smsctest.Start(t, "../../internal/carrier/smpp/testdata/smsc")
	in := installSMPP(t, smsc.Addr, "", "")
	p := in.serve()
	bothBound(t, p)
	id, answer, err := in.ask(p, "sms", `{"to":"+12025550100"}`)
	if err != nil || id == "" {
		t.Fatalf("start: %s, %v", answer, err)
	}
	in.wantDelivery(id, verify.StatusPending, verify.DeliveryDelivered, "")
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
	go accept(l, func(conn net.Conn) {
		agree(conn, func(_ net.Conn, command uint32) bool { asked <- command; return true })
	})
	in := installSMPP(t, l.Addr().String(), "", "")
	p := in.serve()
	want := func(command uint32) {
		t.Helper()
		select {
		case got := <-asked:
			if got != command {
				t.Errorf("the SMSC was asked %#x, want %#x", got, command)
			}
		case <-time.After(patience):
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

// A response that got lost leaves no id: the receipt is known by the number alone. The database knows
// nothing of that id either, and must not keep the receipt for it.
func TestTheReceiptOfALostResponseFindsItsMessage(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	submitted := make(chan net.Conn, 100)
	go accept(l, func(conn net.Conn) {
		agree(conn, func(conn net.Conn, command uint32) bool {
			const submitSM = 0x04
			if command == submitSM {
				submitted <- conn
			}
			return command != submitSM
		})
	})
	// A busy machine has these times to answer the other requests, and to bring the receipt.
	in := installSMPP(t, l.Addr().String(), ", response: 3s", "unknown_timeout: 10m")
	p := in.serve()
	bothBound(t, p)
	id, answer, err := in.ask(p, "sms", `{"to":"+12025550100"}`)
	if err != nil || id == "" {
		t.Fatalf("start: %s, %v", answer, err)
	}
	in.wantDelivery(id, verify.StatusPending, verify.DeliverySent, "unknown")
	body := "\x00\x01\x0112025550100\x00\x03\x0012345\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00"
	text := "id:4711 sub:001 dlvrd:001 stat:DELIVRD err:000 text:Your code"
	body += string(rune(len(text))) + text
	conn := <-submitted
	const deliverSM = 0x05
	binary.Write(conn, binary.BigEndian, [4]uint32{uint32(16 + len(body)), deliverSM, 0, 1})
	io.WriteString(conn, body)
	in.wantDelivery(id, verify.StatusPending, verify.DeliveryDelivered, "")
}

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go serve(conn)
	}
}

// agree says yes to whatever an SMSC is asked on a connection, if asked says so.
func agree(conn net.Conn, asked func(net.Conn, uint32) bool) {
	defer conn.Close()
	var head [4]uint32 // length, command, status, sequence
	for binary.Read(conn, binary.BigEndian, &head) == nil {
		if _, err := io.CopyN(io.Discard, conn, int64(head[0])-16); err != nil {
			return
		}
		const response, unbind = 1 << 31, 0x06
		if head[1]&response != 0 || !asked(conn, head[1]) {
			continue
		}
		name := "smsc\x00"
		if head[1] == unbind {
			name = ""
		}
		head = [4]uint32{uint32(16 + len(name)), head[1] | response, 0, head[3]}
		binary.Write(conn, binary.BigEndian, head)
		io.WriteString(conn, name)
	}
}
