package speech

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// record writes a recording.
func record(t *testing.T, dir, file string, wav []byte) {
	t.Helper()
	at := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, wav, 0o600); err != nil {
		t.Fatal(err)
	}
}

// An operator's own recordings are heard in place of the program's prompts, as loud as these; the others stay.
func TestOwnRecordings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, file := range []string{"de/intro.wav", "de/7.wav", "de/a.wav", "de/at.wav", "de/zwo.wav", "de/word-b.wav", "es-419/repeat.wav"} {
		record(t, dir, file, WAV(beeps(i+1)))
	}
	s := speaker(t, Config{Times: 1, Recordings: dir})
	script := s.Script(t.Context(), "de", nil, "7A@1").Code
	own := s.voices["de"]()
	for i, name := range []string{intro, "7", "A", "@", zwo, word + "B"} {
		sound := own[name]
		if n := len(beeps(i+1)) - Rate/10; len(sound) < n-Rate/20 || len(sound) > n+Rate/20 { // its last pause is cut
			t.Errorf("%s takes %d samples, want %d", name, len(sound), n)
		}
		if off := loud(Linear(sound)) - Loudness; off > 1 || off < -1 {
			t.Errorf("%s is off by %.1f dB", name, off)
		}
		if i < 4 && !bytes.Contains(script, sound) {
			t.Errorf("%s isn't heard", name)
		}
	}
	if !bytes.Contains(script, voices["de"]()["1"]) {
		t.Error("a prompt without a recording isn't the program's")
	}
	if got := s.Script(t.Context(), "es-MX", nil, "1").Again; !bytes.Contains(got, s.voices["es-419"]()[repeat]) || bytes.Equal(s.voices["es-419"]()[repeat], voices["es-419"]()[repeat]) {
		t.Error("a recording of a variant isn't heard")
	}
	if !bytes.Equal(s.Script(t.Context(), "en", nil, "7").Code, speaker(t, Config{Times: 1}).Script(t.Context(), "en", nil, "7").Code) {
		t.Error("another language changed")
	}
}

func TestRecordingsThatCantBe(t *testing.T) {
	t.Parallel()
	for file, tt := range map[string]struct {
		wav  []byte
		want string
	}{
		"tlh/intro.wav":     {WAV(beeps(1)), "tlh: must be a folder with the name of one of ar"},
		"de/hello.wav":      {WAV(beeps(1)), "de/hello.wav: is no prompt's name"},
		"de/intro.mp3":      {WAV(beeps(1)), "de/intro.mp3: is no prompt's name"},
		"it/word-a.wav":     {WAV(beeps(1)), "it/word-a.wav: is no prompt's name"}, // it spells nothing
		"de/1.wav":          {[]byte("RIFF"), "de/1.wav: not a WAV file"},
		"de/2.wav":          {WAV(make([]byte, 100)), "de/2.wav: must have 0.05 to 10 s of sound"},
		"de/3.wav":          {WAV(beeps(60)), "de/3.wav: must have 0.05 to 10 s of sound"},
		"de/4.wav/more.wav": {nil, "de/4.wav: can't be read"},
	} {
		dir := t.TempDir()
		record(t, dir, file, tt.wav)
		field, problem := Config{Recordings: dir}.Check()
		if field != "recordings" || !strings.HasPrefix(problem, tt.want) {
			t.Errorf("%s: got %s: %s, want %s", file, field, problem, tt.want)
		}
	}
	if field, problem := (Config{Recordings: "/nonexistent"}).Check(); field != "recordings" || problem != "must be a folder that the server may read" {
		t.Errorf("got %s: %s", field, problem)
	}
	// A pipe isn't waited for.
	pipes := t.TempDir()
	if err := os.Mkdir(filepath.Join(pipes, "de"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(pipes, "de", "6.wav"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, problem := (Config{Recordings: pipes}).Check(); problem != "de/6.wav: can't be read" {
		t.Errorf("a pipe: got %q", problem)
	}
	// Only what is in the folder is read.
	dir, elsewhere := t.TempDir(), t.TempDir()
	record(t, elsewhere, "5.wav", WAV(beeps(1)))
	if err := os.Mkdir(filepath.Join(dir, "de"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(elsewhere, "5.wav"), filepath.Join(dir, "de", "5.wav")); err != nil {
		t.Fatal(err)
	}
	if _, problem := (Config{Recordings: dir}).Check(); problem != "de/5.wav: can't be read" {
		t.Errorf("a link out of the folder: got %q", problem)
	}
}
