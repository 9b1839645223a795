package sip

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier/sip/siptest"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// What follows is done with phones and trunks that others wrote: see siptest.

// slow says that the machine is ours: "make calls" sets it.
const slow = "COUNTERSIGN_TEST_SLOW"

// The prompts that are embedded say what they should: the voice of each language, asked again now,
// says the same. (Where letters have names of their own in the renderer's table, only digits are asked; of Korean's,
// those that the voice says as it reads the figures.)
func TestThePromptsSayWhatTheyShould(t *testing.T) {
	testsize.Full(t, "takes a minute of CPU")
	t.Parallel()
	siptest.Need(t, "espeak-ng")
	const digits = "0123456789"
	for locale, tt := range map[string]struct{ voice, characters string }{
		"ar": {"ar", digits}, "de": {"de", siptest.Alphabet}, "en": {"en-us", siptest.Alphabet}, "es": {"es", siptest.Alphabet}, "fr": {"fr", siptest.Alphabet},
		"hi": {"hi", digits}, "id": {"id", siptest.Alphabet}, "it": {"it", siptest.Alphabet}, "nl": {"nl", siptest.Alphabet}, "pl": {"pl", siptest.Alphabet},
		"pt": {"pt-br", siptest.Alphabet}, "ru": {"ru", digits}, "tr": {"tr", siptest.Alphabet},
		"cs": {"cs", siptest.Alphabet}, "da": {"da", siptest.Alphabet}, "el": {"el", digits}, "es-419": {"es-419", siptest.Alphabet}, "fi": {"fi", siptest.Alphabet},
		"hu": {"hu", siptest.Alphabet}, "ko": {"ko", "234569"}, "nb": {"nb", siptest.Alphabet}, "ro": {"ro", siptest.Alphabet}, "sv": {"sv", siptest.Alphabet},
		"uk": {"uk", digits}, "vi": {"vi", digits},
	} {
		t.Run(locale, func(t *testing.T) {
			t.Parallel()
			s, err := speech.New(speech.Config{Times: 1})
			if err != nil {
				t.Fatal(err)
			}
			got := siptest.NewMatcher(t, tt.voice, tt.characters).Recognise(speech.Linear(s.Script(t.Context(), locale, nil, tt.characters).Code))
			if !strings.HasSuffix(got, tt.characters) {
				t.Errorf("heard %q, want %s at its end", got, tt.characters)
			}
		})
	}
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
	testsize.Full(t, "talks to a softphone in real time")
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

// All characters, in two languages, each twice.
func TestASoftphoneHearsAllCharacters(t *testing.T) {
	if os.Getenv(slow) == "" {
		t.Skip("NOT RUN: it takes more than a minute; run: make calls")
	}
	t.Parallel()
	for locale, voice := range map[string]string{"en": "en-us", "de": "de"} {
		t.Run(locale, func(t *testing.T) {
			t.Parallel()
			for _, code := range []string{siptest.Alphabet[:18], siptest.Alphabet[18:]} {
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
		b := siptest.Start(t, string(message.To), account)
		ended := make(chan Call, 1)
		c := trunk(t, fmt.Sprintf("127.0.0.1:%d", b.Port), func(c *Config) {
			c.Transport, c.Talk = transport, maxTalk
			c.Ended = func(r Call) { ended <- r }
			says(t, c, 2)
			if transport == TLS {
				c.Trunk = fmt.Sprintf("127.0.0.1:%d", b.Port+1)
				c.RootCAs = x509.NewCertPool()
				pem, err := os.ReadFile(filepath.Join(b.Dir, "certificate.pem"))
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
		return r, b.Heard(voice, code.Reveal())
	})
}

// A person presses 1 and hears it again.
func TestASoftphonePressesAKey(t *testing.T) {
	testsize.Full(t, "talks to a softphone in real time")
	t.Parallel()
	undisturbed(t, func() (Call, error) {
		b := siptest.Start(t, string(message.To), "answermode=auto;audio_codecs=PCMU/8000/1")
		ended := make(chan Call, 1)
		c := trunk(t, fmt.Sprintf("127.0.0.1:%d", b.Port), func(c *Config) {
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
				b.Command("sndcode", "1")
				time.Sleep(3 * time.Second)
			}
		}()
		err := (<-out).err
		<-answered
		r := <-ended
		if err != nil || !r.Said || r.Keys != 2 {
			return r, fmt.Errorf("the call ended with %v and %d keys, want 2", err, r.Keys)
		}
		return r, b.Heard("en-us", "29")
	})
}

// A person presses 1, or 9, and has answered.
func TestASoftphoneAnswersAQuestion(t *testing.T) {
	testsize.Full(t, "talks to a softphone in real time")
	t.Parallel()
	for key, verdict := range map[string]verify.Verdict{"1": verify.VerdictApproves, "9": verify.VerdictRejects} {
		undisturbed(t, func() (Call, error) {
			b := siptest.Start(t, string(message.To), "answermode=auto;audio_codecs=PCMU/8000/1")
			ended := make(chan Call, 1)
			c := trunk(t, fmt.Sprintf("127.0.0.1:%d", b.Port), func(c *Config) { c.Ended = func(r Call) { ended <- r } })
			out := ask(t.Context(), c)
			pressed := make(chan struct{})
			go func() {
				defer close(pressed)
				time.Sleep(3 * time.Second) // somebody listens for a while
				b.Command("sndcode", key)
			}()
			got := <-out
			<-pressed
			r := <-ended
			if got.verdict != verdict || r.Keys != 1 {
				return r, fmt.Errorf("%s: got the verdict %v (%v) after %d keys, want %v after one", key, got.verdict, got.err, r.Keys, verdict)
			}
			return r, nil
		})
	}
}

// A softphone that is killed in the middle of a call is noticed at its end: it doesn't answer the BYE.
func TestASoftphoneDies(t *testing.T) {
	testsize.Full(t, "talks to a softphone in real time")
	t.Parallel()
	b := siptest.Start(t, string(message.To), "answermode=auto;audio_codecs=PCMU/8000/1")
	ended := make(chan Call, 1)
	c := trunk(t, fmt.Sprintf("127.0.0.1:%d", b.Port), func(c *Config) { c.Ended = func(r Call) { ended <- r } })
	m := message
	m.Code = "1234567890"
	out := send(t.Context(), c, m)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for talking, end := false, time.Now().Add(patience); !talking && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
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
	b.Kill()
	want(t, out, verify.AttemptErrored, verify.ReasonLost)
	if r := <-ended; r.Status != 200 {
		t.Errorf("recorded %+v", r)
	}
}

// What trunks say, said by sipp: each outcome, and how long it took.
func TestTrunksOfSipp(t *testing.T) {
	t.Parallel()
	const acked = `<recv request="ACK"/>`
	const password = "correct horse"
	challenge := func(status, header string) string {
		return siptest.Answering(status, header+`: Digest realm="trunk", nonce="47ebe028cda119c35d4877b383027d28da013815", algorithm=MD5, qop="auth"`+"\n")
	}
	checked := `<recv request="INVITE"><action>
<verifyauth assign_to="right" username="alice" password="` + password + `"/>
</action></recv><nop test="right" next="10"/>` +
		siptest.Answering("403 Forbidden", "") + acked + `<nop next="20"/><label id="10"/>` + siptest.Answering("486 Busy Here", "") + acked + `<label id="20"/>`
	shown := `<recv request="INVITE"><action>
<ereg regexp="Digest .*username=.alice.*response=" search_in="hdr" header="Proxy-Authorization:" check_it="true" assign_to="1"/>
</action></recv><Reference variables="1"/>` + siptest.Answering("486 Busy Here", "") + acked
	for name, tt := range map[string]struct {
		script  []string
		change  func(*Config)
		outcome verify.AttemptOutcome
		reason  verify.Reason
		least   time.Duration
		most    time.Duration
	}{
		"busy": {
			script:  []string{siptest.Invited, siptest.Answering("486 Busy Here", ""), acked},
			outcome: verify.AttemptErrored, reason: verify.ReasonBusy,
		},
		"no answer": {
			script: []string{siptest.Invited, siptest.Answering("180 Ringing", ""), `<recv request="CANCEL"/>`,
				"<send><![CDATA[\nSIP/2.0 200 OK\n" + siptest.Within + "Content-Length: 0\n\n]]></send>",
				"<send><![CDATA[\nSIP/2.0 487 Request Terminated\n[last_Via:]\n[last_From:]\n[last_To:];tag=x\n[last_Call-ID:]\nCSeq: 1 INVITE\nContent-Length: 0\n\n]]></send>", acked},
			change:  func(c *Config) { c.Ring = 2 * time.Second },
			outcome: verify.AttemptErrored, reason: verify.ReasonNoAnswer, least: 2 * time.Second,
		},
		"early hang-up": {
			script: []string{`<recv request="INVITE"><action><ereg regexp=".*" search_in="hdr" header="From:" assign_to="caller"/></action></recv>`,
				siptest.Answering("180 Ringing", ""), siptest.Taken(9), siptest.ASecond,
				"<send retrans=\"500\"><![CDATA[\nBYE sip:x@127.0.0.1 SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n" +
					"From: <sip:" + "+12025550100@127.0.0.1>;tag=[pid]-[call_number]\nTo: [$caller]\n[last_Call-ID:]\nCSeq: 7 BYE\nMax-Forwards: 70\nContent-Length: 0\n\n]]></send>",
				`<recv response="200"/>`},
			outcome: verify.AttemptRefused, reason: verify.ReasonHungUp, least: time.Second,
		},
		"401": {
			script: []string{siptest.Invited, challenge("401 Unauthorized", "WWW-Authenticate"), acked, checked},
			change: func(c *Config) { c.Username, c.Password = "alice", password },
			// sipp found the credentials right, and went on.
			outcome: verify.AttemptErrored, reason: verify.ReasonBusy,
		},
		"401, wrong password": {
			script:  []string{siptest.Invited, challenge("401 Unauthorized", "WWW-Authenticate"), acked, checked},
			change:  func(c *Config) { c.Username, c.Password = "alice", "wrong" },
			outcome: verify.AttemptRefused, reason: verify.ReasonForbidden,
		},
		"407": { // sipp 3.6 can't check these; see TestChallengesAreAnswered
			script:  []string{siptest.Invited, challenge("407 Proxy Authentication Required", "Proxy-Authenticate"), acked, shown},
			change:  func(c *Config) { c.Username, c.Password = "alice", password },
			outcome: verify.AttemptErrored, reason: verify.ReasonBusy,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := siptest.StartSipp(t, 1, tt.script...)
			c := trunk(t, s.Addr(), tt.change)
			got := want(t, send(t.Context(), c, message), tt.outcome, tt.reason)
			t.Logf("took %v", got.took)
			if most := tt.least + 10*time.Second; got.took < tt.least || got.took > most {
				t.Errorf("it took %v, want %v to %v", got.took, tt.least, most)
			}
			s.Content()
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
		testsize.Full(t, "measures calls in real time")
		t.Parallel()
	}
	sink := listenUDP(t)
	sink.SetReadBuffer(4 << 20)
	s := siptest.StartSipp(t, calls, siptest.Invited, siptest.Answering("180 Ringing", ""), siptest.Taken(port(sink)), siptest.HungUp)
	var late atomic.Int64
	c := trunk(t, s.Addr(), func(c *Config) {
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
		want(t, out, verify.AttemptAccepted, verify.NoReason)
	}
	took := time.Since(began)
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	s.Content()
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
