package speech

import (
	"bytes"
	"embed"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:generate go run ./render

//go:embed assets/*.prompts
var assets embed.FS

// The prompts that are no characters.
const (
	intro   = "intro"   // "Your verification code is"
	again   = "again"   // "Once again"
	repeat  = "repeat"  // "Press 1 to hear it again"
	confirm = "confirm" // "To hear your code, press 1"
	asked   = "asked"   // "You have a verification request"
	approve = "approve" // "To approve it, press 1"
	reject  = "reject"  // "If this wasn't you, press 9 or hang up"
	thanks  = "thanks"  // "Thank you"
	capital = "capital" // before an upper-case letter, where there are lower-case ones
	as      = "as"      // "as in", between a letter and its spelling word
	word    = "word-"   // and a letter: its spelling word
)

// A voice is what a locale's prompts sound like, by name, in µ-law. Characters go by themselves, in
// upper case.
type voice map[string][]byte

// voices are all that there are, by locale. They are read when the first call is made: most programs make none.
var voices = sync.OnceValue(load)

// load reads the assets. They are part of the program: a fault in them is one of the program.
func load() map[string]voice {
	files, err := assets.ReadDir("assets")
	if err != nil {
		panic(err)
	}
	all := map[string]voice{}
	for _, f := range files {
		data, err := assets.ReadFile(path.Join("assets", f.Name()))
		if err != nil {
			panic(err)
		}
		v, err := parse(data)
		if err != nil {
			panic(fmt.Errorf("speech: %s: %w", f.Name(), err))
		}
		all[strings.TrimSuffix(f.Name(), ".prompts")] = v
	}
	return all
}

// parse reads a file of prompts: a line with the name and the length of each, an empty line, then
// all samples in that order.
func parse(data []byte) (voice, error) {
	head, samples, ok := bytes.Cut(data, []byte("\n\n"))
	if !ok {
		return nil, fmt.Errorf("no end of the names")
	}
	v := voice{}
	for _, line := range strings.Split(string(head), "\n") {
		name, length, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(length)
		if _, twice := v[name]; err != nil || n < 1 || n > len(samples) || name == "" || twice {
			return nil, fmt.Errorf("prompt %q: length %q", name, length)
		}
		v[name], samples = samples[:n:n], samples[n:]
	}
	if len(samples) > 0 {
		return nil, fmt.Errorf("%d samples too many", len(samples))
	}
	return v, nil
}

// Encode writes a file of prompts in the form that is embedded.
func Encode(prompts map[string][]byte) []byte {
	names := make([]string, 0, len(prompts))
	for name := range prompts {
		names = append(names, name)
	}
	slices.Sort(names)
	var head, samples bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&head, "%s %d\n", name, len(prompts[name]))
		samples.Write(prompts[name])
	}
	head.WriteByte('\n')
	return append(head.Bytes(), samples.Bytes()...)
}

// Locales are the languages that there are prompts for, sorted.
func Locales() []string {
	names := make([]string, 0, len(voices()))
	for name := range voices() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Match finds the prompts for a BCP 47 tag, by its language: "pt-BR" and "pt_br" are "pt".
func Match(locale string) (string, bool) {
	language, _, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(locale), "_", "-"), "-")
	_, ok := voices()[language]
	return language, ok
}
