package speech

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/share"
)

// An engine turns texts into speech. It is a command that reads text from its standard input and writes a
// WAV file of 16-bit PCM to its standard output, such as
//
//	espeak-ng -v {locale} --stdin --stdout
//
// {locale} stands for the language of the prompts. The text is never an argument, because every user of
// the machine can read a process's arguments. The command's environment holds only variables that programs
// commonly need, and none of our secrets.
type engine struct {
	command []string
	turns   turns
}

const (
	maxEngines  = 2               // run concurrently
	engineLimit = 5 * time.Second // for one text
	maxSpoken   = 30 * Rate       // for one text
	maxWAV      = 16 << 20
)

var errNoEngine = errors.New("no speech engine is configured")

// speak returns the parts of a text as speech. Parts may be empty.
func (s *Speaker) speak(ctx context.Context, locale string, parts []string) ([][]byte, error) {
	spoken := make([][]byte, len(parts))
	for i, p := range parts {
		t := text{locale, strings.TrimSpace(p)}
		if !strings.ContainsFunc(t.words, wordy) {
			continue
		}
		sound, ok := s.spoken.Get(t)
		if !ok {
			if s.engine == nil {
				return nil, errNoEngine
			}
			var err error
			if sound, err = s.engine.speak(ctx, t); err != nil {
				return nil, err
			}
			s.spoken.Add(t, sound)
		}
		spoken[i] = sound
	}
	return spoken, nil
}

// wordy reports whether an engine should pronounce a character. Without this check, engines
// would name a full stop that stands alone behind a code.
func wordy(r rune) bool {
	return !strings.ContainsRune(" \t\r\n.,;:!?-–—()\"'„“”«»…。、！？", r)
}

// unmarked removes brackets from texts, because engines read the content of [[ ]]
// as phonemes.
var unmarked = strings.NewReplacer("[", " ", "]", " ")

// speak runs the command for one text.
func (e *engine) speak(ctx context.Context, t text) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	if err := e.turns.wait(ctx); err != nil {
		return nil, fmt.Errorf("speech engine: %w", err)
	}
	defer e.turns.end()
	args := make([]string, len(e.command)-1)
	for i, a := range e.command[1:] {
		args[i] = strings.ReplaceAll(a, "{locale}", t.locale)
	}
	cmd := exec.CommandContext(ctx, e.command[0], args...)
	cmd.WaitDelay = time.Second
	cmd.Env = surroundings()
	cmd.Stdin = strings.NewReader(unmarked.Replace(t.words))
	var out bytes.Buffer
	cmd.Stdout = &limited{&out, maxWAV}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("speech engine: %w", err) // the command's own words may repeat the text
	}
	pcm, err := ReadWAV(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("speech engine: %w", err)
	}
	if pcm = Trim(pcm); len(pcm) == 0 || len(pcm) > maxSpoken {
		return nil, fmt.Errorf("speech engine: spoke for %v", time.Duration(len(pcm))*time.Second/Rate)
	}
	return MuLaw(pcm), nil
}

// For names the client for whom a text is spoken. Clients that wait for the engine take
// turns.
func For(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, whoKey{}, who)
}

type whoKey struct{}

// turns limits the number of engines that run concurrently. Waiting clients take turns, however many texts
// one of them has.
type turns struct {
	mu      sync.Mutex // guards the fields below
	running int
	waiting share.Queue[*waiter]
}

type waiter struct {
	turn chan struct{} // closed when it is the waiter's turn
	gone bool          // the waiter gave up
}

func (t *turns) wait(ctx context.Context) error {
	t.mu.Lock()
	if t.running < maxEngines {
		t.running++
		t.mu.Unlock()
		return nil
	}
	w := &waiter{turn: make(chan struct{})}
	who, _ := ctx.Value(whoKey{}).(string)
	t.waiting.Add(who, w)
	t.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-w.turn: // the turn came in the meantime
		t.pass()
	default:
		w.gone = true
	}
	return ctx.Err()
}

func (t *turns) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass gives a turn to the next waiter. Callers hold mu.
func (t *turns) pass() {
	for {
		w, ok := t.waiting.Next()
		switch {
		case !ok:
			t.running--
			return
		case !w.gone:
			close(w.turn)
			return
		}
	}
}

// surroundings returns the variables of our environment that an engine may see.
func surroundings() (all []string) {
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains([]string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "LD_LIBRARY_PATH"}, name) || strings.HasPrefix(name, "LC_") {
			all = append(all, pair)
		}
	}
	return all
}

// limited fails a command that writes too much.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errors.New("too much")
	}
	return l.w.Write(p)
}

// quiet is the loudest sample that counts as silence, of 32 767.
const quiet = 64

// Trim cuts the silence before and after words to at most 10 ms.
func Trim(pcm []int16) []int16 {
	loud := func(s int16) bool { return s > quiet || s < -quiet }
	from, to := 0, len(pcm)
	for from < to && !loud(pcm[from]) {
		from++
	}
	for to > from && !loud(pcm[to-1]) {
		to--
	}
	if from == to {
		return nil
	}
	const margin = Rate / 100
	return pcm[max(0, from-margin):min(len(pcm), to+margin)]
}
