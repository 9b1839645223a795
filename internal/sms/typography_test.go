package sms

import (
	"strings"
	"testing"
)

func TestPlain(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "",
		"plain":                  "plain",
		"It’s “your” code":       "It's \"your\" code",
		"Acme – code…":           "Acme - code...",
		"a\u00a0b\u202fc\u200bd": "a b cd",
		"one\u2028two":           "one\ntwo",
		"café à la Größe ñ €":    "café à la Größe ñ €", // in the alphabet already
		"Ç` ok":                  "Ç' ok",
		"“日本”":                   "“日本”", // not enough: nothing is won
		"ê – no":                 "ê – no",
		"it’s 👍":                 "it’s 👍",
		"Acme™ ©":                "AcmeTM (c)",
		strings.Repeat("…", 53):  strings.Repeat("...", 53),
		strings.Repeat("…", 54):  strings.Repeat("…", 54), // three for one would take another segment
	} {
		if got := Plain(text); got != want {
			t.Errorf("Plain(%q) = %q, want %q", text, got, want)
		}
	}
}

// Every replacement is in the alphabet, and no replaced character is.
func TestEveryReplacementIsOfTheAlphabet(t *testing.T) {
	t.Parallel()
	all := pairs(map[string]string{"'": "‘’"})
	if len(all) != 4 {
		t.Fatalf("pairs: %q", all)
	}
	for _, r := range "‘’‚‛′`´ʼ“”„‟″«»‐‑‒–—―−‹›•·‣…×⁄！？，：™©®\u00a0\u00ad\u2000\u200b\u2028\u2060\u3000\ufeff" {
		if encoding(string(r)) == GSM7 {
			t.Errorf("%q is in the alphabet", r)
		}
		plain := Plain(string(r))
		if enc, _ := Measure(plain); enc != GSM7 {
			t.Errorf("Plain(%q) = %q", r, plain)
		}
		if again := Plain(plain); again != plain {
			t.Errorf("Plain(Plain(%q)) = %q", r, again)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("It’s “your” code – 123456…")
	f.Add("“日本”")
	f.Add(strings.Repeat("…", 70))
	f.Fuzz(func(t *testing.T, text string) {
		plain := Plain(text)
		if Segments(plain) > Segments(text) {
			t.Errorf("Plain(%q) takes %d segments, the text %d", text, Segments(plain), Segments(text))
		}
		if Plain(plain) != plain {
			t.Errorf("Plain(%q) changes again", text)
		}
	})
}
