package speech

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:generate go run ./render

//go:embed assets/*.prompts
var assets embed.FS

// The names of the prompts that aren't characters.
const (
	intro   = "intro"   // "Your verification code is"
	again   = "again"   // "Once again"
	repeat  = "repeat"  // "Press 1 to hear it again"
	confirm = "confirm" // "To hear your code, press 1"
	asked   = "asked"   // "You have a verification request"
	approve = "approve" // "To approve it, press 1"
	reject  = "reject"  // "If this wasn't you, press 9 or hang up"
	thanks  = "thanks"  // "Thank you"
	capital = "capital" // before an upper-case letter, if the code also has lower-case ones
	as      = "as"      // "as in", between a letter and its spelling word
	zwo     = "zwo"     // another word for 2
	word    = "word-"   // followed by a letter: the spelling word of that letter
)

// A voice maps the names of a locale's prompts to their sound in µ-law. The name of a character is
// the character, in upper case.
type voice map[string][]byte

// voices are all voices by locale. Each is read at its first use, because most processes make no calls, and a call
// speaks one language.
var voices = embedded()

func embedded() map[string]func() voice {
	files, err := assets.ReadDir("assets")
	if err != nil {
		panic(err)
	}
	all := map[string]func() voice{}
	for _, f := range files {
		all[strings.TrimSuffix(f.Name(), ".prompts")] = sync.OnceValue(func() voice { return load(f.Name()) })
	}
	return all
}

// load reads embedded prompts. An error in them is a bug, so load panics.
func load(file string) voice {
	data, err := assets.ReadFile(path.Join("assets", file))
	if err != nil {
		panic(err)
	}
	v, err := parse(data)
	if err != nil {
		panic(fmt.Errorf("speech: %s: %w", file, err))
	}
	return v
}

// parse reads a file of prompts: one line with name and length for each prompt, an empty line,
// then all samples in that order.
func parse(data []byte) (voice, error) {
	head, samples, ok := bytes.Cut(data, []byte("\n\n"))
	if !ok {
		return nil, fmt.Errorf("the list of names has no end")
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

// Encode formats prompts as the file that is embedded.
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

// Locales returns the languages that have prompts, sorted.
func Locales() (names []string) {
	for name := range voices {
		if !strings.Contains(name, "-") { // a variant
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// latinAmerica holds the regions of BCP 47 tags that the variant es-419 is for.
var latinAmerica = strings.Fields("419 ar bo cl co cr cu do ec gt hn mx ni pa pe pr py sv us uy ve")

// otherNames are further names of languages: Norwegian has several.
var otherNames = map[string]string{"no": "nb", "nn": "nb"}

// Match returns the locale of the prompts for a BCP 47 tag, by the tag's language: "pt-BR"
// and "pt_br" give "pt". Spanish of Latin America has a variant of its own.
func Match(locale string) (string, bool) {
	parts := strings.Split(strings.ReplaceAll(strings.ToLower(locale), "_", "-"), "-")
	language := cmp.Or(otherNames[parts[0]], parts[0])
	if language == "es" && slices.ContainsFunc(parts[1:], func(p string) bool { return slices.Contains(latinAmerica, p) }) {
		language = "es-419"
	}
	_, ok := voices[language]
	return language, ok
}

// localeTag is the part of BCP 47 that anybody uses.
var localeTag = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}$`)

// Problem says why calls can't be spoken in a locale, "" for nothing. The locale "" is none in particular.
func Problem(locale string) string {
	if _, ok := Match(locale); locale == "" || ok && localeTag.MatchString(locale) {
		return ""
	}
	return fmt.Sprintf("must be a language tag such as de or pt-BR, of one of %s", strings.Join(Locales(), " "))
}
