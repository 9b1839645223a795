// Package wording makes the texts of messages: it fills templates and marks the code's place, writes in a
// project's style, spells codes for voices, and says why a text can't go out. It holds the texts that carriers
// have approved.
//
// A text is framed when it has a place for the code: {code} in a caller's own text, and a mark in one that was made from
// a template. No template and no value in it holds a control character, so a template with "{code}" in it
// says "{code}".
package wording

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/countersign/countersign/internal/code"
)

// A Medium is how a text reaches a person.
type Medium int

const (
	Written Medium = iota
	Spoken
)

// A Default is a text of ours for both media, which carriers have approved.
type Default struct{ Written, Spoken string }

// In is the text for a medium.
func (d Default) In(m Medium) string {
	if m == Spoken {
		return d.Spoken
	}
	return d.Written
}

var (
	// Approved is framed. It is the default of requests, and all that a public sender says for them.
	Approved = Default{
		Written: "Your Personal Authorization Code is: " + Placeholder,
		Spoken:  "Your Personal Authorization Code is " + Placeholder,
	}
	// Association and Login are templates for users.
	Association = Default{
		Written: "$validation_code is your $display_name verification code.",
		Spoken:  "Your $display_name verification code is: $validation_code. Again, it is: $validation_code.",
	}
	Login = Default{
		Written: "$validation_code is your $display_name login code.",
		Spoken:  "Your $display_name login code is: $validation_code. Again, it is: $validation_code.",
	}
)

// ends are the lines that a style writes at the end of a text message.
var ends = regexp.MustCompile(`(\n[A-Za-z0-9+/]{11})?(\n@[a-z0-9.-]+ #(\{code\}|\x01))?$`)

// Over is a framed text for the other medium, in which the text wasn't written: without the lines for phones, and
// what carriers have approved in the words that they have approved there.
func Over(m Medium, text string) string {
	text = ends.ReplaceAllString(text, "")
	if text == Approved.Written || text == Approved.Spoken {
		return Approved.In(m)
	}
	if m == Written {
		return strings.ReplaceAll(text, SpellMark, CodeMark)
	}
	return strings.ReplaceAll(text, CodeMark, SpellMark)
}

// Ours reports whether a framed text is what one of our templates for calls makes of some display name.
func Ours(text string) bool {
	return slices.ContainsFunc([]Default{Association, Login}, func(d Default) bool {
		before, after, _ := strings.Cut(strings.ReplaceAll(d.Spoken, "$"+codeNames[0], SpellMark), "$display_name")
		rest, begins := strings.CutPrefix(text, before)
		return begins && strings.HasSuffix(rest, after)
	})
}

// What stands for the code in a framed text: see the package's comment.
const (
	Placeholder = "{code}"
	CodeMark    = "\x01" // the code itself
	SpellMark   = "\x02" // the code spelled
)

// IsMarked reports whether a framed text was made from a template, so that its marks are the code's places.
func IsMarked(text string) bool { return strings.ContainsAny(text, CodeMark+SpellMark) }

// markOf is what stands for the code itself in a framed text.
func markOf(text string) string {
	if IsMarked(text) {
		return CodeMark
	}
	return Placeholder
}

// Frame turns a caller's text into one with the placeholder: where the caller put {code} or {{code}}, else at
// its end after white space.
func Frame(text string) string {
	text = strings.ReplaceAll(text, "{{code}}", Placeholder)
	switch {
	case strings.Contains(text, Placeholder):
		return text
	case strings.TrimRightFunc(text, unicode.IsSpace) != text:
		return text + Placeholder
	}
	return text + " " + Placeholder
}

// Fill puts a code, its prefix included, into its places in a framed text.
func Fill(text, code string, f code.Format) string {
	if markOf(text) == Placeholder {
		return strings.ReplaceAll(text, Placeholder, code)
	}
	return strings.NewReplacer(CodeMark, code, SpellMark, spell(code, f)).Replace(text)
}

// Marked is a framed text with a [CodeMark] wherever Fill puts the code.
func Marked(text string) string {
	if markOf(text) == Placeholder {
		return strings.ReplaceAll(text, Placeholder, CodeMark)
	}
	return strings.ReplaceAll(text, SpellMark, CodeMark)
}

// symbols are what a voice calls the symbols of codes.
var symbols = map[rune]string{
	'!': "exclamation mark", '#': "hash", '$': "dollar", '%': "percent", '&': "ampersand",
	'*': "asterisk", '+': "plus", '=': "equals", '?': "question mark", '@': "at",
}

// spell writes a code so that a voice reads it one character at a time. Where case counts it says it.
func spell(text string, f code.Format) string {
	var said []string
	for _, r := range text {
		name, isSymbol := symbols[r]
		switch {
		case isSymbol:
			said = append(said, name)
		case unicode.IsSpace(r):
		case f == code.Complex && unicode.IsUpper(r):
			said = append(said, "capital "+string(r))
		default:
			said = append(said, string(r))
		}
	}
	return strings.Join(said, ", ")
}

// Longest is a code of a format and length that takes as much room as any. All characters of a code are
// one septet in GSM 03.38; spelled, this one is as long as any.
func Longest(f code.Format, length int) string {
	c := "0"
	if f == code.Complex {
		c = "!"
	}
	return strings.Repeat(c, length)
}
