// Command render makes the prompts that are embedded in the program. It has espeak-ng speak the
// words of words.go and writes the result to internal/speech/assets. Run it with "go generate
// ./internal/speech" after changing the words. Only this command needs espeak-ng (Debian: apt-get
// install espeak-ng).
package main

import (
	"bytes"
	"fmt"
	"html"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/speech"
)

// Speeds in words per minute.
const (
	phraseSpeed    = 165
	characterSpeed = 150
)

func main() {
	log.SetFlags(0)
	for locale, w := range all {
		prompts, err := w.render()
		if err != nil {
			log.Fatalf("%s: %v", locale, err)
		}
		file := speech.Encode(prompts)
		if err := os.WriteFile(filepath.Join("assets", locale+".prompts"), file, 0o644); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %d prompts, %d bytes\n", locale, len(prompts), len(file))
	}
}

// render speaks all prompts of a locale.
func (w words) render() (map[string][]byte, error) {
	prompts := map[string][]byte{}
	var failed error
	add := func(name, voice, ssml string, speed int) {
		if failed != nil {
			return
		}
		if prompts[name], failed = say(voice, ssml, speed); failed != nil {
			failed = fmt.Errorf("%s: %w", name, failed)
		}
	}
	for name, phrase := range map[string]string{
		"intro": w.intro, "again": w.again, "repeat": w.repeat, "confirm": w.confirm, "capital": w.capital,
		"asked": w.asked, "approve": w.approve, "reject": w.reject, "thanks": w.thanks,
	} {
		add(name, w.voice, html.EscapeString(phrase), phraseSpeed)
	}
	for i, name := range []string{"!", "#", "$", "%", "&", "*", "+", "=", "?", "@"} {
		add(name, w.voice, html.EscapeString(w.symbols[i]), characterSpeed)
	}
	for i := range 10 {
		digit := strconv.Itoa(i)
		if w.digits != nil {
			digit = w.digits[i]
		}
		add(strconv.Itoa(i), w.voice, digit, characterSpeed)
	}
	if w.zwo != "" {
		add("zwo", w.voice, w.zwo, characterSpeed)
	}
	for i := range 26 {
		letter := string(rune('A' + i))
		switch {
		case w.letters != nil:
			add(letter, w.voice, w.letters[i], characterSpeed)
		case w.english:
			add(letter, "en-us", character(letter), characterSpeed)
		default:
			add(letter, w.voice, character(letter), characterSpeed)
		}
		if w.as != "" {
			add("word-"+letter, w.voice, w.spelling[i], phraseSpeed)
		}
	}
	if w.as != "" {
		add("as", w.voice, w.as, phraseSpeed)
	}
	return prompts, failed
}

// character makes espeak-ng say a letter's name; it would read "A" alone as a
// word.
func character(s string) string {
	return `<say-as interpret-as="characters">` + s + `</say-as>`
}

// say returns words as µ-law, without silence around them, all equally loud.
func say(voice, ssml string, speed int) ([]byte, error) {
	cmd := exec.Command("espeak-ng", "-v", voice, "-s", strconv.Itoa(speed), "-m", "--stdin", "--stdout")
	cmd.Stdin = strings.NewReader(ssml)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	pcm, err := speech.ReadWAV(out.Bytes())
	if err != nil {
		return nil, err
	}
	if pcm = speech.Trim(pcm); len(pcm) < speech.Rate/20 {
		return nil, fmt.Errorf("said nothing")
	}
	return speech.MuLaw(speech.Level(pcm)), nil
}
