package speech

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/testsize"
)

// TestMain lets the test be the engine of a Speaker as well: see testEngine.
func TestMain(m *testing.M) {
	if os.Getenv("SPEECH_TEST_ENGINE") != "" {
		os.Exit(runEngine())
	}
	os.Exit(m.Run())
}

// phrases are what a locale must have beside characters.
var phrases = []string{intro, again, repeat, confirm, asked, approve, reject, thanks, capital}

func TestEveryLocaleCanSayEveryCode(t *testing.T) {
	t.Parallel()
	names := slices.Clone(phrases)
	for _, c := range strings.ToUpper(code.Complex.Alphabet()) + "01IO" {
		if !slices.Contains(names, string(c)) {
			names = append(names, string(c))
		}
	}
	for _, want := range strings.Fields("ar cs da de el en es fi fr hi hu id it ja ko nb nl pl pt ro ru sv tr uk vi zh") {
		if !slices.Contains(Locales(), want) {
			t.Errorf("there are no prompts for %s", want)
		}
	}
	for locale := range voices {
		for _, name := range names {
			if n := len(voices[locale]()[name]); n < Rate/20 || n > 4*Rate {
				t.Errorf("%s: %q takes %d samples", locale, name, n)
			}
		}
	}
}

// No prompt is another's copy, within a locale: a renderer that said the same word twice would make
// codes that nobody can type.
func TestPromptsDiffer(t *testing.T) {
	t.Parallel()
	for locale := range voices {
		seen := map[string]string{}
		for name, sound := range voices[locale]() {
			if strings.HasPrefix(name, word) {
				continue
			}
			if other, ok := seen[string(sound)]; ok {
				t.Errorf("%s: %q and %q sound the same", locale, name, other)
			}
			seen[string(sound)] = name
		}
	}
}

// heard takes a call apart into the prompts that it is made of. Pauses are not told.
func heard(t *testing.T, locale string, sound []byte) string {
	t.Helper()
	var names []string
	for len(sound) > 0 {
		best := ""
		for name, prompt := range voices[locale]() {
			// The race detector looks at all that is compared: at a few bytes, mostly.
			if start := prompt[:min(len(prompt), 80)]; !bytes.HasPrefix(sound, start) {
				continue
			}
			if bytes.HasPrefix(sound, prompt) && len(prompt) > len(voices[locale]()[best]) {
				best = name
			}
		}
		switch {
		case best != "":
			names, sound = append(names, best), sound[len(voices[locale]()[best]):]
		case sound[0] == Silence:
			sound = sound[1:]
		default:
			t.Fatalf("%s: after %q comes something that is no prompt", locale, names)
		}
	}
	return strings.Join(names, " ")
}

func speaker(t *testing.T, c Config) *Speaker {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestACallSaysTheCodeCharacterByCharacter(t *testing.T) {
	t.Parallel()
	testsize.Alone(t, "listens to sounds")
	for _, tt := range []struct {
		locale, code string
		config       Config
		want         string
	}{
		{"en", "493817", Config{}, "intro 4 9 3 8 1 7 again intro 4 9 3 8 1 7"},
		{"de", "00", Config{Times: 1}, "intro 0 0"},
		{"pt-BR", "25", Config{Times: 3}, "intro 2 5 again intro 2 5 again intro 2 5"},
		{"fr_ca", "AZ7", Config{Times: 1}, "intro A Z 7"},
		{"en", "aB!c", Config{Times: 1}, "intro A capital B ! C"},
		{"en", "AB1", Config{Times: 1, Spell: true}, "intro A as word-A B as word-B 1"},
		{"it", "AB", Config{Times: 1, Spell: true}, "intro A B"}, // it has no such words
		{"de-CH", "2B2", Config{Times: 1, Zwo: true}, "intro zwo B zwo"},
		{"en", "2", Config{Times: 1, Zwo: true}, "intro 2"}, // nor this one
		{"es-MX", "21", Config{Times: 1}, "intro 2 1"}, {"no", "1", Config{Times: 1}, "intro 1"},
	} {
		s := speaker(t, tt.config)
		script := s.Script(t.Context(), tt.locale, nil, tt.code)
		name, _ := Match(tt.locale)
		if got := heard(t, name, script.Code); got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.locale, tt.code, got, tt.want)
		}
		once, _, _ := strings.Cut(tt.want, " again")
		if got := heard(t, name, script.Code[:script.Once]); got != once {
			t.Errorf("%s %s: once: got %q, want %q", tt.locale, tt.code, got, once)
		}
		if got := heard(t, name, script.Again) + "|" + heard(t, name, script.Confirm); got != "repeat|confirm" {
			t.Errorf("%s: got %q", tt.locale, got)
		}
	}
}

func TestAQuestionSaysWhichKeysThereAre(t *testing.T) {
	t.Parallel()
	testsize.Alone(t, "listens to sounds")
	s := speaker(t, Config{})
	for _, locale := range append(Locales(), "pt-BR", "es-AR", "nn-NO", "xx", "") {
		name, ok := Match(locale)
		if !ok {
			name = "en"
		}
		q := s.Question(t.Context(), locale, "")
		if got := heard(t, name, q.Ask) + "|" + heard(t, name, q.Thanks); got != "asked approve reject|thanks" {
			t.Errorf("%s: got %q", locale, got)
		}
		if len(q.Ask)%Frame != 0 || len(q.Thanks)%Frame != 0 || len(q.Ask) > 12*Rate {
			t.Errorf("%s: %d and %d samples, want whole frames and at most 12 s", locale, len(q.Ask), len(q.Thanks))
		}
		if n := strings.Count(requestIn(name), asker); n != 1 {
			t.Errorf("%s: a request names who asks %d times", name, n)
		}
	}
}

// Who asks is said by an engine, in the words of the locale; the keys by prompts, whatever the name is.
func TestAQuestionNamesWhoAsks(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/log"
	var log bytes.Buffer
	s := speaker(t, Config{Engine: testEngine(t, file), Log: slog.New(slog.NewTextHandler(&log, nil))})
	v := voices["de"]()
	keys := append(append(pause(nil, aroundCode), v[approve]...), append(pause(nil, aroundCode), v[reject]...)...)
	for _, name := range []string{"The Shop", "The Shop", "{name} Ltd"} {
		q := s.Question(t.Context(), "de-AT", name)
		who, _, ok := bytes.Cut(q.Ask, keys)
		if least := len(beeps(6)) - 2*Rate/10; !ok || len(who) < lead+least || bytes.Contains(who, v[asked]) {
			t.Errorf("%s: the name takes %d samples, want at least %d; keys behind it: %t", name, len(who), lead+least, ok)
		}
	}
	for _, name := range []string{strings.Repeat("very ", 50) + "long", "break", ""} {
		if got := heard(t, "de", s.Question(t.Context(), "de", name).Ask); got != "asked approve reject" {
			t.Errorf("%.20q: got %q", name, got)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(got, []byte("\n")); n != 4 || !strings.HasPrefix(string(got), `[--voice=de] "Sie haben eine Bestätigungsanfrage von The Shop"`+"\n") {
		t.Errorf("the engine was asked %d times, want 4:\n%s", n, got)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || strings.Contains(log.String(), "very") {
		t.Errorf("got %d lines of the log, want one without the name:\n%s", n, log.String())
	}
}

func TestAnUnknownLocaleSpeaksTheConfiguredOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ configured, asked, want string }{
		{"", "", "en"}, {"", "xx", "en"}, {"de-AT", "", "de"}, {"de", "sw-KE", "de"}, {"de", "es-MX", "es-MX"},
	} {
		s := speaker(t, Config{Locale: tt.configured, Times: 1})
		got := s.Script(t.Context(), tt.asked, nil, "1").Code
		if want := s.Script(t.Context(), tt.want, nil, "1").Code; !bytes.Equal(got, want) {
			t.Errorf("configured %q, asked for %q: not %s", tt.configured, tt.asked, tt.want)
		}
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{}, ""},
		{Config{Locale: "pt-BR", Times: 5, Engine: []string{"espeak-ng"}}, ""},
		{Config{Locale: "tlh"}, `locale: there are prompts for ar cs da de`},
		{Config{Times: 6}, "times: must be from 1 to 5"},
		{Config{Times: -1}, "times: must be from 1 to 5"},
		{Config{Engine: []string{""}}, "engine: must name a program"},
	} {
		field, problem := tt.c.Check()
		got := strings.TrimPrefix(field+": "+problem, ": ")
		if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%+v: got %s, want %s", tt.c, got, tt.want)
		}
	}
}

// testEngine is a Speaker's engine that beeps as many times as its text has words, and writes what it was
// given to a file.
func testEngine(t *testing.T, log string) []string {
	t.Helper()
	return []string{"env", "SPEECH_TEST_ENGINE=" + log, os.Args[0], "--voice={locale}"}
}

func runEngine() int {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 1
	}
	f, err := os.OpenFile(os.Getenv("SPEECH_TEST_ENGINE"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	fmt.Fprintf(f, "%v %q\n", os.Args[1:], in)
	if err := f.Close(); err != nil {
		return 1
	}
	if strings.Contains(string(in), "break") {
		return 1
	}
	os.Stdout.Write(WAV(beeps(len(strings.Fields(string(in))))))
	return 0
}

// beeps is n short tones, each of 100 ms with as much silence behind it.
func beeps(n int) []byte {
	var pcm []int16
	for range n {
		for i := range Rate / 10 {
			pcm = append(pcm, int16(9000*math.Sin(2*math.Pi*440*float64(i)/Rate)))
		}
		pcm = append(pcm, make([]int16, Rate/10)...)
	}
	return MuLaw(pcm)
}

func TestACallersTextIsSpokenOnceByTheEngineWithoutTheCode(t *testing.T) {
	t.Parallel()
	log := t.TempDir() + "/log"
	s := speaker(t, Config{Times: 1, Engine: testEngine(t, log)})
	around := []string{"Hello from Example. Use ", "[[_:]] , please."}
	var first Script
	for i, code := range []string{"493817", "111111", "222222"} {
		script := s.Script(t.Context(), "de", around, code)
		if i == 0 {
			first = script
		}
		before := len(beeps(5)) - 2*Rate/10
		if n := len(script.Code) - len(voices["de"]().say(code, Config{})); n < lead+before {
			t.Errorf("%s: the text took %d samples, want at least %d", code, n, lead+before)
		}
		if !bytes.Contains(script.Code, voices["de"]().say(code, Config{})) {
			t.Errorf("the call doesn't say %s", code)
		}
	}
	if bytes.Contains(first.Code, voices["de"]()[intro]) {
		t.Error("the standard phrase is in it as well")
	}
	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	want := `[--voice=de] "Hello from Example. Use"` + "\n" + `[--voice=de] "  _:   , please."` + "\n"
	if string(got) != want {
		t.Errorf("the engine was given\n%s, want\n%s", got, want)
	}
}

// What docs/voice.md tells operators to configure works.
func TestEspeakSpeaksACallersText(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("espeak-ng"); err != nil {
		const missing = "NOT RUN: there is no espeak-ng on PATH; install it: apt-get install espeak-ng"
		if os.Getenv("COUNTERSIGN_TEST_REQUIRE") == "all" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	var log bytes.Buffer
	s := speaker(t, Config{
		Times: 1, Engine: strings.Fields("espeak-ng -v {locale} --stdin --stdout"), Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	script := s.Script(t.Context(), "fr", []string{"Bonjour de la part de la société Exemple. Votre code : ", "."}, "42")
	code := voices["fr"]().say("42", Config{})
	before, _, ok := bytes.Cut(script.Code, code)
	if !ok || len(before) < 3*Rate || len(before) > 10*Rate || log.Len() > 0 {
		t.Errorf("%d samples before the code (found: %v), log %q", len(before), ok, log.String())
	}
}

func TestWhereATextCantBeSpokenTheStandardPhraseIsAndThatIsLoggedOnce(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string][]string{
		"no engine":       nil,
		"no such program": {"/nonexistent/engine"},
		"it fails":        testEngine(t, t.TempDir()+"/log"),
		"not a WAV":       {"cat"},
		"without end":     {"cat", "/dev/zero"},
		"silent":          {"true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			s := speaker(t, Config{Times: 1, Engine: engine, Log: slog.New(slog.NewTextHandler(&log, nil))})
			for range 3 {
				script := s.Script(t.Context(), "en", []string{"break ", ""}, "42")
				if got := heard(t, "en", script.Code); got != "intro 4 2" {
					t.Errorf("got %q", got)
				}
			}
			if n := strings.Count(log.String(), "\n"); n != 1 || strings.Contains(log.String(), "break") {
				t.Errorf("got %d lines, want one without the text:\n%s", n, log.String())
			}
		})
	}
}

// Not parallel: it sets the environment.
func TestAnEngineGetsNoSecrets(t *testing.T) {
	t.Setenv("COUNTERSIGN_KEYSET", "secret")
	t.Setenv("LC_ALL", "C")
	got := t.TempDir() + "/environment"
	s := speaker(t, Config{Times: 1, Engine: []string{"sh", "-c", "env > " + got}})
	s.Script(t.Context(), "en", []string{"Hello ", ""}, "1")
	all, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	if env := string(all); strings.Contains(env, "secret") || !strings.Contains(env, "PATH=") || !strings.Contains(env, "LC_ALL=C") {
		t.Errorf("the engine was given\n%s, want PATH and LC_ALL and no secret", env)
	}
}

func TestAnEngineThatHangsIsEndedWithTheCall(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := speaker(t, Config{Times: 1, Engine: []string{"sleep", "60"}})
	if got := heard(t, "en", s.Script(ctx, "en", []string{"Hello ", ""}, "1").Code); got != "intro 1" {
		t.Errorf("got %q", got)
	}
}

// Anchors of G.711's tables, and what follows for all values.
func TestG711(t *testing.T) {
	t.Parallel()
	for b, want := range map[byte]int16{0xff: 0, 0x7f: 0, 0x80: 32124, 0x00: -32124, 0xfe: 8, 0x8f: 16764} {
		if got := muToLinear(b); got != want {
			t.Errorf("µ-law %#02x: got %d, want %d", b, got, want)
		}
	}
	for b, want := range map[byte]int16{0xd5: 8, 0x55: -8, 0xaa: 32256, 0x2a: -32256} {
		if got := aToLinear(b); got != want {
			t.Errorf("A-law %#02x: got %d, want %d", b, got, want)
		}
	}
	for i := range 256 {
		b := byte(i)
		if got := linearToMu(muToLinear(b)); got != b && b != 0x7f { // two zeros
			t.Errorf("µ-law %#02x becomes %#02x", b, got)
		}
		if got := linearToA(aToLinear(b)); got != b {
			t.Errorf("A-law %#02x becomes %#02x", b, got)
		}
		mu := muToLinear(b)
		a := aToLinear(ALaw(nil, []byte{b})[0])
		if diff := math.Abs(float64(mu) - float64(a)); diff > math.Abs(float64(mu))/16+8 {
			t.Errorf("µ-law %#02x is %d, as A-law %d", b, mu, a)
		}
	}
	for x := math.MinInt16; x <= math.MaxInt16; x++ {
		if got := muToLinear(MuLaw([]int16{int16(x)})[0]); math.Abs(float64(got)-float64(x)) > math.Abs(float64(x))/32+8 && x > -32500 && x < 32500 {
			t.Fatalf("%d becomes %d in µ-law", x, got)
		}
	}
}

func aToLinear(b byte) int16 {
	b ^= 0x55
	x, exp := int(b&0x0f)<<4+8, b>>4&7
	if exp > 0 {
		x = (x + 0x100) << (exp - 1)
	}
	if b&0x80 == 0 {
		x = -x
	}
	return int16(x)
}

func TestWAVIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	mu := voices["en"]()["7"]
	pcm, err := ReadWAV(WAV(mu))
	if err != nil {
		t.Fatal(err)
	}
	if len(pcm) != len(mu) {
		t.Fatalf("got %d samples, want %d", len(pcm), len(mu))
	}
	// The rate is the same, so only the filter's loss near 4 kHz may show.
	var signal, noise float64
	for i, s := range Linear(mu) {
		signal += float64(s) * float64(s)
		noise += (float64(s) - float64(pcm[i])) * (float64(s) - float64(pcm[i]))
	}
	if noise > signal/20 {
		t.Errorf("the noise is %.1f %% of the signal", 100*noise/signal)
	}
}

// A tone keeps its pitch and its loudness when it is resampled, and what 8 kHz can't carry goes
// instead of coming back as another tone.
func TestResample(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rate, hertz int
		kept        bool
	}{{22050, 1000, true}, {44100, 440, true}, {48000, 3000, true}, {16000, 2000, true}, {22050, 5000, false}, {44100, 9000, false}} {
		in := make([]float64, tt.rate)
		for i := range in {
			in[i] = 10000 * math.Sin(2*math.Pi*float64(tt.hertz)*float64(i)/float64(tt.rate))
		}
		out := resample(in, tt.rate)
		if len(out) < Rate-1 || len(out) > Rate {
			t.Errorf("%d: a second has %d samples", tt.rate, len(out))
		}
		crossings, power := 0, 0.0
		for i := Rate / 4; i < Rate*3/4; i++ { // not the edges
			if out[i-1] < 0 && out[i] >= 0 {
				crossings++
			}
			power += float64(out[i]) * float64(out[i]) / (Rate / 2)
		}
		loud := math.Sqrt(2 * power)
		if tt.kept && (loud < 9500 || loud > 10500 || crossings < tt.hertz/2-2 || crossings > tt.hertz/2+2) {
			t.Errorf("%d Hz at %d: loudness %.0f, %d waves in half a second", tt.hertz, tt.rate, loud, crossings)
		}
		if !tt.kept && loud > 300 {
			t.Errorf("%d Hz at %d: loudness %.0f is left", tt.hertz, tt.rate, loud)
		}
	}
}

func FuzzReadWAV(f *testing.F) {
	file := WAV(beeps(1)[:80])
	f.Add(file)
	binary.LittleEndian.PutUint32(file[40:], math.MaxUint32) // as a pipe's
	f.Add(file)
	f.Add(file[:44])
	f.Add(file[:30])
	f.Fuzz(func(t *testing.T, file []byte) {
		pcm, err := ReadWAV(file)
		if err == nil && len(pcm) > len(file) {
			t.Errorf("%d bytes became %d samples", len(file), len(pcm))
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a 1\nb 2\n\nxyz"))
	f.Add([]byte("a 9\n\nxyz"))
	f.Fuzz(func(t *testing.T, file []byte) {
		v, err := parse(file)
		if err != nil {
			return
		}
		again, err := parse(Encode(v))
		if err != nil || len(again) != len(v) {
			t.Errorf("what was read can't be written: %v", err)
		}
	})
}
