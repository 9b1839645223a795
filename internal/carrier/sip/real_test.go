package sip

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/porttest"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

// What follows is done with phones and trunks that others wrote: baresip, a softphone, and sipp, which
// plays trunks from scripts.

const (
	// requireAll says that what a test needs from outside must be there: CI sets it.
	requireAll = "COUNTERSIGN_TEST_REQUIRE"
	// slow says that the machine is ours: "make calls" sets it.
	slow = "COUNTERSIGN_TEST_SLOW"
)

// need leaves a test out where its programs aren't installed.
func need(t *testing.T, programs ...string) {
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

// A softphone is a running baresip that answers.
type softphone struct {
	t       *testing.T
	cmd     *exec.Cmd
	dir     string
	sip     int // its port; TLS has the next one
	control int
	exited  chan struct{}
}

// baresip's settings. Its account is the number that is called.
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

// startBaresip runs a softphone whose account has the given parameters.
func startBaresip(t *testing.T, account string) *softphone {
	t.Helper()
	need(t, "baresip", "espeak-ng")
	first := porttest.Row(t, 24)
	b := &softphone{t: t, dir: t.TempDir(), sip: first, control: first + 2, exited: make(chan struct{})}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("config", fmt.Sprintf(baresipConfig, b.sip, b.control, b.dir, first+4, first+23))
	write("accounts", fmt.Sprintf("<sip:%s@127.0.0.1>;regint=0;%s\n", message.To, account))
	write("silence.wav", string(speech.WAV(slices.Repeat([]byte{speech.Silence}, 90*speech.Rate))))
	write("certificate.pem", certificate(t))
	b.cmd = exec.Command("baresip", "-f", b.dir)
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.cmd.Stderr = b.cmd.Stdout
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.stop() })
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
		t.Fatal("baresip doesn't start")
	case <-time.After(patience):
		t.Fatal("baresip isn't ready")
	}
	return b
}

// stop ends the softphone: then its recordings are complete.
func (b *softphone) stop() {
	b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
	case <-time.After(patience):
		b.cmd.Process.Kill()
		b.t.Error("baresip doesn't end")
	}
}

// command makes the softphone do something.
func (b *softphone) command(name, params string) {
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

// recording is what the softphone heard.
func (b *softphone) recording() []int16 {
	b.t.Helper()
	b.stop()
	files, err := filepath.Glob(filepath.Join(b.dir, "dump-*-dec.wav"))
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

// certificate is one for 127.0.0.1, with its key.
func certificate(t *testing.T) string {
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

// says makes a carrier say the code so often.
func says(t *testing.T, c *Config, times int) {
	t.Helper()
	s, err := speech.New(speech.Config{Times: times})
	if err != nil {
		t.Fatal(err)
	}
	c.Speech = s
}

// A person who answers hears the code, in order and twice. All digits, in calls that are encrypted and
// in calls that aren't.
func TestASoftphoneHearsTheCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code      verify.Secret
		transport Transport
		account   string
	}{
		{"4938", UDP, "answermode=auto;audio_codecs=PCMU/8000/1"},
		{"1702", TCP, "answermode=auto;audio_codecs=PCMA/8000/1"},
		{"6550", TLS, "answermode=auto;mediaenc=srtp-mand"},
	} {
		t.Run(string(tt.transport), func(t *testing.T) {
			t.Parallel()
			hear(t, tt.code, "en", "en-us", tt.transport, tt.account)
		})
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// All characters, in two languages, each twice.
func TestASoftphoneHearsAllCharacters(t *testing.T) {
	if os.Getenv(slow) == "" {
		t.Skip("NOT RUN: it takes more than a minute; run: make calls")
	}
	t.Parallel()
	for locale, voice := range map[string]string{"en": "en-us", "de": "de"} {
		t.Run(locale, func(t *testing.T) {
			t.Parallel()
			for _, code := range []string{alphabet[:18], alphabet[18:]} {
				hear(t, verify.Secret(code), locale, voice, UDP, "answermode=auto;audio_codecs=PCMU/8000/1")
			}
		})
	}
}

// stoodStill is from which sum of pauses on a call that went wrong says nothing about us.
const stoodStill = 200 * time.Millisecond

// undisturbed makes a call, and makes it again if it went wrong while the machine stood still: the
// recording has gaps then. A machine that is too busy for each of them is no failure, unless it is ours.
// That packets keep their time when they can is held by TestPacketsKeepTheirTime, on any machine.
func undisturbed(t *testing.T, try func() (Call, error)) {
	t.Helper()
	const tries = 3
	for range tries {
		r, err := try()
		switch {
		case err == nil:
			return
		case r.Late < stoodStill:
			t.Fatalf("%v; recorded %+v", err, r)
		}
		t.Logf("the machine stood still for %v: %v", r.Late, err)
	}
	if os.Getenv(slow) != "" {
		t.Fatalf("the machine stood still in %d calls", tries)
	}
	t.Skipf("NOT RUN: this machine is too busy to talk in time, %d times; run: make calls", tries)
}

// hear calls a softphone, and recognises in its recording what was said.
func hear(t *testing.T, code verify.Secret, locale, voice string, transport Transport, account string) {
	t.Helper()
	undisturbed(t, func() (Call, error) {
		b := startBaresip(t, account)
		ended := make(chan Call, 1)
		c := trunk(t, fmt.Sprintf("127.0.0.1:%d", b.sip), func(c *Config) {
			c.Transport, c.Talk = transport, maxTalk
			c.Ended = func(r Call) { ended <- r }
			says(t, c, 2)
			if transport == TLS {
				c.Trunk = fmt.Sprintf("127.0.0.1:%d", b.sip+1)
				c.RootCAs = x509.NewCertPool()
				pem, err := os.ReadFile(filepath.Join(b.dir, "certificate.pem"))
				if err != nil || !c.RootCAs.AppendCertsFromPEM(pem) {
					t.Fatalf("certificate: %v", err)
				}
			}
		})
		m := message
		m.Code, m.Locale = code, locale
		_, err := c.Send(t.Context(), m)
		r := <-ended
		if err != nil || !r.Said || r.Status != 200 {
			return r, fmt.Errorf("the call ended with %v", err)
		}
		return r, b.heard(voice, code.Reveal())
	})
}

// heard reports whether a code is in the recording, twice.
func (b *softphone) heard(voice, code string) error {
	b.t.Helper()
	got := newMatcher(b.t, voice, alphabet).recognise(b.t, b.recording())
	b.t.Logf("heard %s", got)
	if strings.Count(got, code) != 2 {
		return fmt.Errorf("heard %q, want %s in it twice", got, code)
	}
	return nil
}

// A person presses 1 and hears it again.
func TestASoftphonePressesAKey(t *testing.T) {
	t.Parallel()
	undisturbed(t, func() (Call, error) {
		b := startBaresip(t, "answermode=auto;audio_codecs=PCMU/8000/1")
		ended := make(chan Call, 1)
		c := trunk(t, fmt.Sprintf("127.0.0.1:%d", b.sip), func(c *Config) {
			c.RequireKeypress = true
			c.Ended = func(r Call) { ended <- r }
		})
		m := message
		m.Code = "29"
		answered := make(chan struct{})
		out := send(t.Context(), c, m)
		go func() { // somebody who presses 1 whenever he has listened for a while
			defer close(answered)
			for range 2 {
				time.Sleep(3 * time.Second)
				b.command("sndcode", "1")
				time.Sleep(3 * time.Second)
			}
		}()
		err := (<-out).err
		<-answered
		r := <-ended
		if err != nil || !r.Said || r.Keys != 2 {
			return r, fmt.Errorf("the call ended with %v and %d keys, want 2", err, r.Keys)
		}
		return r, b.heard("en-us", "29")
	})
}

// A softphone that is killed in the middle of a call is noticed: it says nothing any more.
func TestASoftphoneDies(t *testing.T) {
	t.Parallel()
	b := startBaresip(t, "answermode=auto;audio_codecs=PCMU/8000/1")
	ended := make(chan Call, 1)
	c := trunk(t, fmt.Sprintf("127.0.0.1:%d", b.sip), func(c *Config) { c.Ended = func(r Call) { ended <- r } })
	m := message
	m.Code = "12345678901234567890"
	out := send(t.Context(), c, m)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for talking := false; !talking; time.Sleep(10 * time.Millisecond) {
			c.mu.Lock()
			for _, call := range c.calls {
				call.mu.Lock()
				talking = call.leg != nil && call.media.heard.Load() > 0
				call.mu.Unlock()
			}
			c.mu.Unlock()
		}
	}()
	<-heard
	b.cmd.Process.Kill()
	want(t, out, verify.Errored, Lost)
	if r := <-ended; r.Said || r.Status != 200 {
		t.Errorf("recorded %+v", r)
	}
}

// Parts of sipp's scripts.
const (
	sippStart = `<?xml version="1.0" encoding="UTF-8"?><scenario name="trunk">`
	sippEnd   = `</scenario>`
	invited   = `<recv request="INVITE"/>`
	headers   = `[last_Via:]
[last_From:]
[last_To:];tag=[pid]-[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
`
	// The second of two answers in a dialog has the tag in its To already.
	within = `[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
`
)

// answering is an answer of a script.
func answering(status, more string) string {
	return "<send><![CDATA[\nSIP/2.0 " + status + "\n" + headers + more + "Content-Length: 0\n\n]]></send>"
}

// taken answers the phone, with sound at a port, and waits for the acknowledgement.
func taken(port int) string {
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

// again takes further acknowledgements: sipp repeats an answer whose acknowledgement comes late. It
// must stand before a recv.
const again = `<recv request="ACK" optional="true"/>`

// aSecond passes. In a <pause> sipp would take no further acknowledgement; no INFO comes.
const aSecond = `<recv request="ACK" optional="true" timeout="1000" ontimeout="30"/><recv request="INFO"/><label id="30"/>`

const hungUp = again + `<recv request="BYE"/><send><![CDATA[
SIP/2.0 200 OK
` + within + `Content-Length: 0

]]></send>`

// A sipp plays a trunk from a script.
type sipp struct {
	t    *testing.T
	cmd  *exec.Cmd
	port int
	done chan error
}

// startSipp plays a script for a number of calls.
func startSipp(t *testing.T, calls int, parts ...string) *sipp {
	t.Helper()
	need(t, "sipp")
	dir := t.TempDir()
	script := filepath.Join(dir, "trunk.xml")
	if err := os.WriteFile(script, []byte(sippStart+strings.Join(parts, "")+sippEnd), 0o600); err != nil {
		t.Fatal(err)
	}
	first := porttest.Row(t, 2)
	s := &sipp{t: t, port: first, done: make(chan error, 1)}
	s.cmd = exec.Command("sipp", "-sf", script, "-i", "127.0.0.1", "-p", fmt.Sprint(first), "-cp", fmt.Sprint(first+1),
		"-mi", "127.0.0.1", "-m", fmt.Sprint(calls), "-l", "1000", "-nostdin", "-timeout", "60s", "-timeout_error", "-recv_timeout", "40000",
		"-trace_err", "-error_file", filepath.Join(dir, "errors"))
	s.cmd.Dir = dir
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		if text, err := os.ReadFile(filepath.Join(dir, "errors")); err == nil && t.Failed() {
			t.Logf("sipp: %s", text)
		}
	})
	return s
}

// content waits until sipp is through, and whether all went by its script.
func (s *sipp) content() {
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

func (s *sipp) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// What trunks say, said by sipp: each outcome, and how long it took.
func TestTrunksOfSipp(t *testing.T) {
	t.Parallel()
	const acked = `<recv request="ACK"/>`
	const password = "correct horse"
	challenge := func(status, header string) string {
		return answering(status, header+`: Digest realm="trunk", nonce="47ebe028cda119c35d4877b383027d28da013815", algorithm=MD5, qop="auth"`+"\n")
	}
	checked := `<recv request="INVITE"><action>
<verifyauth assign_to="right" username="alice" password="` + password + `"/>
</action></recv><nop test="right" next="10"/>` +
		answering("403 Forbidden", "") + acked + `<nop next="20"/><label id="10"/>` + answering("486 Busy Here", "") + acked + `<label id="20"/>`
	shown := `<recv request="INVITE"><action>
<ereg regexp="Digest .*username=.alice.*response=" search_in="hdr" header="Proxy-Authorization:" check_it="true" assign_to="1"/>
</action></recv><Reference variables="1"/>` + answering("486 Busy Here", "") + acked
	for name, tt := range map[string]struct {
		script  []string
		change  func(*Config)
		outcome verify.DeliveryOutcome
		reason  string
		least   time.Duration
		most    time.Duration
	}{
		"busy": {
			script:  []string{invited, answering("486 Busy Here", ""), acked},
			outcome: verify.Errored, reason: Busy,
		},
		"no answer": {
			script: []string{invited, answering("180 Ringing", ""), `<recv request="CANCEL"/>`,
				"<send><![CDATA[\nSIP/2.0 200 OK\n" + within + "Content-Length: 0\n\n]]></send>",
				"<send><![CDATA[\nSIP/2.0 487 Request Terminated\n[last_Via:]\n[last_From:]\n[last_To:];tag=x\n[last_Call-ID:]\nCSeq: 1 INVITE\nContent-Length: 0\n\n]]></send>", acked},
			change:  func(c *Config) { c.Ring = 2 * time.Second },
			outcome: verify.Errored, reason: NoAnswer, least: 2 * time.Second,
		},
		"early hang-up": {
			script: []string{`<recv request="INVITE"><action><ereg regexp=".*" search_in="hdr" header="From:" assign_to="caller"/></action></recv>`,
				answering("180 Ringing", ""), taken(9), aSecond,
				"<send retrans=\"500\"><![CDATA[\nBYE sip:x@127.0.0.1 SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n" +
					"From: <sip:" + "+12025550100@127.0.0.1>;tag=[pid]-[call_number]\nTo: [$caller]\n[last_Call-ID:]\nCSeq: 7 BYE\nMax-Forwards: 70\nContent-Length: 0\n\n]]></send>",
				`<recv response="200"/>`},
			outcome: verify.Refused, reason: HungUp, least: time.Second,
		},
		"401": {
			script: []string{invited, challenge("401 Unauthorized", "WWW-Authenticate"), acked, checked},
			change: func(c *Config) { c.Username, c.Password = "alice", password },
			// sipp found the credentials right, and went on.
			outcome: verify.Errored, reason: Busy,
		},
		"401, wrong password": {
			script:  []string{invited, challenge("401 Unauthorized", "WWW-Authenticate"), acked, checked},
			change:  func(c *Config) { c.Username, c.Password = "alice", "wrong" },
			outcome: verify.Refused, reason: Forbidden,
		},
		"407": { // sipp 3.6 can't check these; see TestChallengesAreAnswered
			script:  []string{invited, challenge("407 Proxy Authentication Required", "Proxy-Authenticate"), acked, shown},
			change:  func(c *Config) { c.Username, c.Password = "alice", password },
			outcome: verify.Errored, reason: Busy,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSipp(t, 1, tt.script...)
			c := trunk(t, s.addr(), tt.change)
			got := want(t, send(t.Context(), c, message), tt.outcome, tt.reason)
			t.Logf("took %v", got.took)
			if most := tt.least + 10*time.Second; got.took < tt.least || got.took > most {
				t.Errorf("it took %v, want %v to %v", got.took, tt.least, most)
			}
			s.content()
		})
	}
}

// Many calls at once, each with its packets at their time. What is measured is printed: how evenly
// they come, and what a call costs. What must hold on any machine is that no call falls behind, as it does
// with a ticker, which leaves out what it is late for.
func TestCallsAtOnceKeepTime(t *testing.T) {
	calls := 20
	if os.Getenv(slow) != "" {
		calls = 100
	} else {
		t.Parallel()
	}
	sink := listenUDP(t)
	sink.SetReadBuffer(4 << 20)
	s := startSipp(t, calls, invited, answering("180 Ringing", ""), taken(port(sink)), hungUp)
	var late atomic.Int64
	c := trunk(t, s.addr(), func(c *Config) {
		c.Calls = calls
		c.Ended = func(r Call) { late.Add(int64(r.Late)) }
	})
	arrived := collect(t, sink)

	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	began := time.Now()
	var all []<-chan outcome
	for range calls {
		all = append(all, send(t.Context(), c, message))
	}
	for _, out := range all {
		want(t, out, verify.Accepted, "")
	}
	took := time.Since(began)
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	s.content()
	streams := arrived()

	if len(streams) != calls {
		t.Fatalf("%d streams of sound arrived, want %d", len(streams), calls)
	}
	var gaps, slips []time.Duration
	lost := 0
	for _, times := range streams {
		n := len(times)
		plan := time.Duration(n-1) * frameTime
		slips = append(slips, times[n-1].at.Sub(times[0].at)-plan)
		lost += int(times[n-1].seq-times[0].seq) + 1 - n
		for i := 1; i < n; i++ {
			gaps = append(gaps, (times[i].at.Sub(times[i-1].at) - frameTime).Abs())
		}
	}
	slices.Sort(gaps)
	slices.Sort(slips)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	t.Logf("%d calls at once, %d packets, %d lost, in %v: off by %v (median), %v (99 %%), %v (most); a stream's slip %v (median), %v (most); CPU %v a call, this test's with it",
		calls, len(gaps)+calls, lost, took.Round(time.Millisecond), gaps[len(gaps)/2], gaps[len(gaps)*99/100], gaps[len(gaps)-1],
		slips[len(slips)/2], slips[len(slips)-1], (cpu / time.Duration(calls)).Round(time.Microsecond))
	// A machine that stood still puts a plan off, and says so.
	unaccounted := -time.Duration(late.Load())
	for _, s := range slips {
		unaccounted += s
	}
	if unaccounted /= time.Duration(calls); unaccounted > time.Second/4 {
		t.Errorf("calls fell behind by %v each, beside pauses of %v", unaccounted, time.Duration(late.Load())/time.Duration(calls))
	}
}

// An arrival is a packet of sound.
type arrival struct {
	seq uint16
	at  time.Time
}

// collect notes when packets come, by stream, and echoes them, as who talks would: the function that it
// returns says what came so far.
func collect(t *testing.T, sink *net.UDPConn) func() map[string][]arrival {
	t.Helper()
	var mu sync.Mutex
	streams := map[string][]arrival{}
	go func() {
		buf := make([]byte, maxPacket)
		for {
			n, from, err := sink.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			now := time.Now()
			if n < header {
				continue
			}
			mu.Lock()
			id := string(buf[8:12])
			streams[id] = append(streams[id], arrival{uint16(buf[2])<<8 | uint16(buf[3]), now})
			mu.Unlock()
			sink.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	return func() map[string][]arrival {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(streams) // what still comes goes to the original
	}
}
