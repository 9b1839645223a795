// Package speech makes the sound of calls that speak codes. It joins recorded prompts that are
// embedded in the program. All speech is G.711 µ-law at 8000 samples per second, the format of
// telephony.
//
// A code is spoken character by character, with pauses, as many times as configured. The package
// render made the prompts with espeak-ng, so operators don't have to install anything. Only an
// application's own text needs an engine: a command that turns text into speech. The engine never
// receives a code.
package speech

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Config configures a [Speaker]. Zero fields take their defaults.
type Config struct {
	Locale string   // if the message's locale has no prompts; default "en"
	Times  int      // how many times the code is said: 1 to 5, default 2
	Spell  bool     // say "A as in Alpha", if the locale has such words: see [Spells]
	Zwo    bool     // say "zwo" for 2, in locales that have such a word
	Engine []string // the command that speaks texts, with its arguments; optional
	// Recordings is a folder of the operator's own prompts; see [readRecordings]. Optional.
	Recordings string
	Log        *slog.Logger
}

const maxTimes = 5

// Check returns the name of an invalid field, in lower case, and the problem with it. Both are empty if the
// configuration is valid.
func (c Config) Check() (field, problem string) {
	if c.Locale != "" {
		if _, ok := Match(c.Locale); !ok {
			return "locale", "there are prompts for " + strings.Join(Locales(), " ")
		}
	}
	if c.Times < 0 || c.Times > maxTimes {
		return "times", fmt.Sprintf("must be from 1 to %d", maxTimes)
	}
	if len(c.Engine) > 0 && c.Engine[0] == "" {
		return "engine", "must name a program"
	}
	if _, err := readRecordings(c.Recordings); err != nil {
		return "recordings", err.Error()
	}
	return "", ""
}

// A Speaker makes the sound of calls. It is safe for concurrent use.
type Speaker struct {
	Config
	voices map[string]func() voice // by locale
	engine *engine                 // may be nil
	spoken *lru.Cache[text, []byte]
	mute   sync.Once // logs only the first text that can't be spoken
}

// A text is a text that an engine spoke. It never contains a code.
type text struct{ locale, words string }

// maxTexts bounds the number of cached texts. Each takes at most maxSpoken bytes,
// and all of them 15 MB.
const maxTexts = 64

// New returns a speaker.
func New(c Config) (*Speaker, error) {
	if field, problem := c.Check(); problem != "" {
		return nil, fmt.Errorf("%s: %s", field, problem)
	}
	if c.Times == 0 {
		c.Times = 2
	}
	if c.Locale == "" {
		c.Locale = "en"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	spoken, err := lru.New[text, []byte](maxTexts)
	if err != nil {
		return nil, err // New fails only for a size below 1
	}
	own, err := readRecordings(c.Recordings)
	if err != nil {
		return nil, fmt.Errorf("recordings: %w", err)
	}
	s := &Speaker{Config: c, voices: own, spoken: spoken}
	if len(c.Engine) > 0 {
		s.engine = &engine{command: c.Engine}
	}
	return s, nil
}

// A Script is the sound of one call. Its parts are whole frames.
type Script struct {
	Confirm []byte // "To hear your code, press 1"
	Code    []byte // the text with the code in it, as many times as configured
	Once    int    // the length of the first time, up to the end of the code's text
	Again   []byte // "Press 1 to hear it again"
}

// All returns the whole call as the person hears it without pressing a key.
func (s Script) All() []byte {
	all := make([]byte, 0, len(s.Code)+len(s.Again))
	return append(append(all, s.Code...), s.Again...)
}

// Script returns the sound of one call. around holds the texts before, between and after the
// places of the code, in order. With fewer than two texts, the call speaks the standard phrase.
func (s *Speaker) Script(ctx context.Context, locale string, around []string, code string) Script {
	name, v := s.voice(locale)
	if len(around) > 1 {
		spoken, err := s.speak(ctx, name, around)
		if err == nil {
			return v.script(spoken, code, s.Config)
		}
		s.silent(err)
	}
	return v.script([][]byte{v[intro], nil}, code, s.Config)
}

// voice returns the prompts of a locale, or of the configured locale if there
// are none.
func (s *Speaker) voice(locale string) (name string, v voice) {
	name, ok := Match(locale)
	if !ok {
		name, _ = Match(s.Locale)
	}
	return name, s.voices[name]()
}

// silent logs the first text that can't be spoken.
func (s *Speaker) silent(err error) {
	s.mute.Do(func() {
		s.Log.Warn("an application's own text can't be spoken, so its calls use the standard phrase", "err", err)
	})
}

// Pauses, in samples.
const (
	lead         = Rate // before the first word, because a connection takes a moment to pass sound, and a hand to get to the ear
	betweenChars = Rate * 35 / 100
	aroundCode   = Rate * 45 / 100
	betweenTimes = Rate * 8 / 10
)

// script joins a text's parts with the code between them, repeated as often as configured.
// It is a pure function.
func (v voice) script(parts [][]byte, code string, c Config) Script {
	said := v.say(code, c)
	var once []byte
	for i, p := range parts {
		if i > 0 {
			once = pause(append(pause(once, aroundCode), said...), aroundCode)
		}
		once = append(once, p...)
	}
	var all Script
	all.Code = pause(nil, lead)
	for i := range c.Times {
		if i > 0 {
			all.Code = pause(append(pause(all.Code, betweenTimes), v[again]...), aroundCode)
		}
		all.Code = append(all.Code, once...)
		if i == 0 {
			all.Once = len(all.Code)
		}
	}
	all.Code = whole(all.Code)
	all.Again = whole(append(pause(nil, betweenTimes), v[repeat]...))
	all.Confirm = whole(append(pause(nil, lead), v[confirm]...))
	return all
}

// whole pads speech to whole frames, so that parts can be sent one after the other.
func whole(s []byte) []byte { return pause(s, (Frame-len(s)%Frame)%Frame) }

// say speaks a code's characters one by one. If the code has lower-case letters, "capital" is
// said before each upper-case one. A character without a prompt is left out; no code format has
// one.
func (v voice) say(code string, c Config) []byte {
	var said []byte
	upper := strings.ToUpper(code)
	mixed := upper != code
	for i := range len(code) {
		name := upper[i : i+1]
		if i > 0 {
			said = pause(said, betweenChars)
		}
		if mixed && code[i] >= 'A' && code[i] <= 'Z' {
			said = pause(append(said, v[capital]...), Rate/20)
		}
		if name == "2" && c.Zwo && v[zwo] != nil {
			name = zwo
		}
		said = append(said, v[name]...)
		if w := v[word+name]; c.Spell && w != nil {
			said = append(pause(append(pause(said, Rate/10), v[as]...), Rate/20), w...)
		}
	}
	return said
}

func pause(s []byte, samples int) []byte {
	for range samples {
		s = append(s, Silence)
	}
	return s
}
