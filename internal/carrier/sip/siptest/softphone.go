// Package siptest runs independent phones and trunks in tests: baresip, a softphone, and sipp, which
// plays trunks from scripts. It also recognises codes in the phones' recordings.
package siptest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/porttest"
	"github.com/countersign/countersign/internal/speech"
)

// requireAll is the variable that makes tests fail, rather than skip, if a
// program is missing. CI sets it.
const requireAll = "COUNTERSIGN_TEST_REQUIRE"

// patience is how long a test waits for an event.
const patience = 80 * time.Second

var loopback = netip.MustParseAddr("127.0.0.1")

// Need skips a test if its programs aren't installed.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv(requireAll) == "all" {
			t.Fatalf("%s is not installed", p)
		}
		t.Skipf("NOT RUN: needs %s (Debian: apt-get install sip-tester baresip-core espeak-ng)", p)
	}
}

// A Softphone is a running baresip that answers calls.
type Softphone struct {
	t       testing.TB
	cmd     *exec.Cmd
	Dir     string // holds its files, and certificate.pem
	Port    int    // TLS uses the next one
	control int
	exited  chan struct{}
}

// baresipConfig is baresip's configuration. Its account is the number that is
// called.
const baresipConfig = `poll_method epoll
sip_listen 127.0.0.1:%[1]d
sip_certificate %[3]s/certificate.pem
call_local_timeout 120
call_max_calls 4
audio_source aufile,%[3]s/silence.wav
audio_player aufile,%[3]s/played.wav
audio_alert aufile,%[3]s/alert.wav
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
audio_buffer 20-160
rtp_ports %[4]d-%[5]d
rtcp_mux no
jitter_buffer_delay 1-5
net_interface 127.0.0.1
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module sndfile.so
module srtp.so
module_tmp uuid.so
module_tmp account.so
module_app contact.so
module_app menu.so
module_app ctrl_tcp.so
snd_path %[3]s
ctrl_tcp_listen 127.0.0.1:%[2]d
`

// Start runs a softphone for a number. account holds the account's parameters.
func Start(t testing.TB, number, account string) *Softphone {
	t.Helper()
	Need(t, "baresip", "espeak-ng")
	var b *Softphone
	porttest.Try(t, 24, func(first int) (err error) {
		b, err = start(t, number, account, first)
		return err
	})
	return b
}

func start(t testing.TB, number, account string, first int) (*Softphone, error) {
	t.Helper()
	b := &Softphone{t: t, Dir: t.TempDir(), Port: first, control: first + 2, exited: make(chan struct{})}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(b.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("config", fmt.Sprintf(baresipConfig, b.Port, b.control, b.Dir, first+4, first+23))
	write("accounts", fmt.Sprintf("<sip:%s@127.0.0.1>;regint=0;%s\n", number, account))
	write("silence.wav", string(speech.WAV(slices.Repeat([]byte{speech.Silence}, 90*speech.Rate))))
	write("certificate.pem", Certificate(t))
	b.cmd = exec.Command("baresip", "-f", b.Dir)
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.cmd.Stderr = b.cmd.Stdout
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Stop() })
	ready := make(chan struct{})
	go func() {
		defer close(b.exited)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "baresip is ready") {
				close(ready)
			}
		}
		b.cmd.Wait()
	}()
	select {
	case <-ready:
	case <-b.exited:
		return nil, errors.New("baresip doesn't start")
	case <-time.After(patience):
		t.Fatal("baresip isn't ready")
	}
	return b, nil
}

// Stop ends the softphone, which completes its recordings.
func (b *Softphone) Stop() {
	b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
	case <-time.After(patience):
		b.cmd.Process.Kill()
		b.t.Error("baresip doesn't end")
	}
}

// Command sends a command to the softphone.
func (b *Softphone) Command(name, params string) {
	b.t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.control))
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	text, err := json.Marshal(map[string]string{"command": name, "params": params})
	if err != nil {
		b.t.Fatal(err)
	}
	fmt.Fprintf(conn, "%d:%s,", len(text), text)
	conn.SetReadDeadline(time.Now().Add(patience))
	for answer := ""; !strings.Contains(answer, `"response":true`); {
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			b.t.Fatalf("%s: %v", name, err)
		}
		answer += string(buf[:n])
	}
}

// Recording stops the softphone and returns what it heard.
func (b *Softphone) Recording() []int16 {
	b.t.Helper()
	b.Stop()
	files, err := filepath.Glob(filepath.Join(b.Dir, "dump-*-dec.wav"))
	if err != nil || len(files) != 1 {
		b.t.Fatalf("recordings: %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		b.t.Fatal(err)
	}
	pcm, err := speech.ReadWAV(data)
	if err != nil {
		b.t.Fatal(err)
	}
	return pcm
}

// Certificate returns a certificate for 127.0.0.1 with its key.
func Certificate(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "trunk"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{loopback.AsSlice()}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}

// Heard returns an error unless the recording holds a code twice.
func (b *Softphone) Heard(voice, code string) error {
	b.t.Helper()
	got := NewMatcher(b.t, voice, Alphabet).Recognise(b.Recording())
	b.t.Logf("heard %s", got)
	if strings.Count(got, code) != 2 {
		return fmt.Errorf("heard %q, want %s in it twice", got, code)
	}
	return nil
}

// Kill ends the softphone abruptly, like a power cut.
func (b *Softphone) Kill() { b.cmd.Process.Kill() }

// Alphabet holds the characters that recordings are searched for.
const Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
