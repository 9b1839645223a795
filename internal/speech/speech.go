// Package speech says codes: it makes the sound of a call from prompts that are part of the
// program. All speech is G.711 µ-law, 8000 samples a second, as telephony carries it.
//
// A code is spoken character by character, with pauses, and as often as configured. The prompts were
// spoken by espeak-ng when the program was made (see the package render below), so nothing has to be
// installed. Only a text of the caller's own needs an engine: a command that turns text into
// speech. It never gets to know a code.
package speech

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Config says how a [Speaker] speaks. What is left zero takes its default.
type Config struct {
	Locale string   // where a message names none that there are prompts for; default "en"
	Times  int      // the code is said so often: 1 to 5, default 2
	Spell  bool     // "A as in Alpha", where the locale has such words: see [Spells]
	Engine []string // speaks texts: see [Engine]. Optional
	Log    *slog.Logger
}

const maxTimes = 5

// Check names a field of a configuration, in small letters, and says what is wrong with it. Both are empty
// if nothing is.
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
	return "", ""
}

// Spells reports whether there are spelling words for a locale.
func Spells(locale string) bool {
	name, _ := Match(locale)
	return voices()[name][as] != nil
}

// A Speaker makes the sound of calls. It is safe for concurrent use.
type Speaker struct {
	Config
	engine *engine // may be nil
	spoken *lru.Cache[text, []byte]
	mute   sync.Once // logs that texts can't be spoken
}

// A text is what an engine spoke. Never a code.
type text struct{ locale, words string }

// maxTexts is how many spoken texts are kept: at most maxSpoken each, 15 MB in all.
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
		return nil, err // only for a size below 1
	}
	s := &Speaker{Config: c, spoken: spoken}
	if len(c.Engine) > 0 {
		s.engine = &engine{command: c.Engine}
	}
	return s, nil
}

// A Script is the sound of one call. Its parts are whole frames.
type Script struct {
	Confirm []byte // "To hear your code, press 1"
	Code    []byte // the text with the code in it, as often as configured
	Once    int    // how much of Code says the code once, to the end
	Again   []byte // "Press 1 to hear it again"
}

// All is what a call says that nobody interrupts: exactly what is sent.
func (s Script) All() []byte {
	all := make([]byte, 0, len(s.Code)+len(s.Again))
	return append(append(all, s.Code...), s.Again...)
}

// Script makes the sound of one call. Around is the text before, between and after the places of
// the code, in their order; with less than two of them the call says the standard phrase.
func (s *Speaker) Script(ctx context.Context, locale string, around []string, code string) Script {
	name, v := s.voice(locale)
	if len(around) > 1 {
		spoken, err := s.speak(ctx, name, around)
		if err == nil {
			return v.script(spoken, code, s.Times, s.Spell)
		}
		s.silent(err)
	}
	return v.script([][]byte{v[intro], nil}, code, s.Times, s.Spell)
}

// voice is the one that speaks a locale, or else the configured one.
func (s *Speaker) voice(locale string) (name string, v voice) {
	name, ok := Match(locale)
	if !ok {
		name, _ = Match(s.Locale)
	}
	return name, voices()[name]
}

// silent logs that a text can't be spoken, the first time.
func (s *Speaker) silent(err error) {
	s.mute.Do(func() {
		s.Log.Warn("a caller's own text can't be spoken, calls say the standard phrase instead", "err", err)
	})
}

// Pauses, in samples.
const (
	lead         = Rate / 2 // before the first word: connections take a moment to let sound through
	betweenChars = Rate * 35 / 100
	aroundCode   = Rate * 45 / 100
	betweenTimes = Rate * 8 / 10
)

// script says a text with the code between its parts, a number of times. It is a pure function.
func (v voice) script(parts [][]byte, code string, times int, spell bool) Script {
	said := v.say(code, spell)
	var once []byte
	for i, p := range parts {
		if i > 0 {
			once = pause(append(pause(once, aroundCode), said...), aroundCode)
		}
		once = append(once, p...)
	}
	var all Script
	all.Code = pause(nil, lead)
	for i := range times {
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

// whole ends speech with a whole frame, so that parts can be sent one behind the other.
func whole(s []byte) []byte { return pause(s, (Frame-len(s)%Frame)%Frame) }

// say says a code's characters one by one. Where some are in lower case, the upper-case ones are
// announced. A character that has no name is left out; no format of code has one.
func (v voice) say(code string, spell bool) []byte {
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
		said = append(said, v[name]...)
		if w := v[word+name]; spell && w != nil {
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
