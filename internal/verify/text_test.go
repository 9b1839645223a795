package verify

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestATemplateHasTheTextForEach(t *testing.T) {
	t.Parallel()
	x := TextTemplate{Texts: []Text{
		{Text: "any"},
		{Locale: "de", Text: "de"},
		{Locale: "pt-BR", Text: "pt-BR"},
		{Channel: ChannelVoice, Text: "voice"},
		{Channel: ChannelVoice, Locale: "de", Text: "voice de"},
		{Purpose: "payment", Text: "payment"},
		{Purpose: "payment", Locale: "DE-at", Text: "payment de-AT"},
		{Purpose: "reset", Channel: ChannelSMS, Locale: "fr", Text: "reset sms fr"},
	}}
	for _, tt := range []struct {
		purpose Purpose
		channel Channel
		locale  string
		want    string
	}{
		{"login", ChannelSMS, "", "any"},
		{"login", ChannelSMS, "en", "any"},
		{"login", ChannelSMS, "de", "de"},
		{"login", ChannelSMS, "de-CH", "de"},
		{"login", ChannelSMS, "den", "any"},
		{"login", ChannelSMS, "pt", "pt-BR"},
		{"login", ChannelSMS, "pt-br", "pt-BR"},
		{"login", ChannelSMS, "pt-PT", "any"},
		{"login", ChannelVoice, "en", "voice"},
		{"login", ChannelVoice, "de-DE", "voice de"},
		{"login", ChannelVoice, "pt-BR", "pt-BR"},   // people must understand it
		{"payment", ChannelSMS, "de-CH", "payment"}, // and be told of a payment
		{"payment", ChannelVoice, "de-AT", "payment de-AT"},
		{"reset", ChannelSMS, "fr", "reset sms fr"},
		{"reset", ChannelSMS, "en", "any"},
		{"reset", ChannelVoice, "fr", "voice"},
	} {
		got := "none"
		if best := x.choose(tt.purpose, tt.channel, tt.locale); best != nil {
			got = best.Text
		}
		if got != tt.want {
			t.Errorf("for %s by %s in %q: got %s, want %s", tt.purpose, tt.channel, tt.locale, got, tt.want)
		}
	}
	if x := (&TextTemplate{Texts: []Text{{Locale: "de"}, {Channel: ChannelVoice}, {Purpose: "login"}}}).choose("reset", ChannelSMS, "fr"); x != nil {
		t.Errorf("got a text for %+v, want none", x)
	}
}

func TestATemplateThatCanNotGoOutIsNotStored(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.acct.Project.AnyLink = false
	for _, tt := range []struct{ text, want string }{
		{"{code}", ""},
		{strings.Repeat("x", 500-6) + "{code}", "too long"}, // 4 segments
		{strings.Repeat("x", 3*153-6) + "{code}", ""},
		{strings.Repeat("ж", 3*67-5) + "{code}", "4 segments of UCS-2"},
		{"", "has no {code}"},
		{"code", "has no {code}"},
		{"{token} {code}", "has {token}, which nothing fills in"},
		{"{code}\x01", "control character"},
		{"{code} {amount}", "both {amount} and {payee}"},
		{"{code} evil.example", "names a web site"},
		{strings.Repeat("x", 1601), "too long (maximum is 1600"},
	} {
		_, err := e.CreateText(t.Context(), e.acct, TextTemplate{Name: "t", Texts: []Text{{Text: tt.text}}})
		if tt.want == "" && err != nil || tt.want != "" && !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%.30q of %d: got %v, want %q", tt.text, len(tt.text), err, tt.want)
		}
	}
	for _, tt := range []struct {
		template TextTemplate
		want     []string // fields
	}{
		{TextTemplate{Name: "Aé", Texts: []Text{{Text: "{code}"}}}, []string{"name"}},
		{TextTemplate{Name: "", Texts: nil}, []string{"name", "texts"}},
		{TextTemplate{Name: "a", Texts: make([]Text, 65)}, []string{"texts"}},
		{TextTemplate{Name: "a", Texts: []Text{{Text: "{code}"}, {Purpose: "A", Channel: "fax", Locale: "x", Text: "{code}"}}}, []string{"texts[1].purpose", "texts[1].channel", "texts[1].locale"}},
		{TextTemplate{Name: "a", Texts: []Text{{Locale: "de", Text: "{code}"}, {Locale: "DE", Text: "{code}"}}}, []string{"texts[1]"}},
		{TextTemplate{Name: "a", Texts: manyTexts(64, 256)}, nil},
		{TextTemplate{Name: "a", Texts: manyTexts(64, 257)}, []string{"texts"}},
	} {
		_, err := e.CreateText(t.Context(), e.acct, tt.template)
		var refused *Error
		var got []string
		if errors.As(err, &refused) {
			for _, p := range refused.Problems {
				got = append(got, string(p.Field)+p.Element)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%.80v: got problems of %v, want %v", tt.template, got, tt.want)
		}
	}
}

// manyTexts are n texts of so many bytes.
func manyTexts(n, size int) (all []Text) {
	for i := range n {
		all = append(all, Text{Purpose: Purpose(fmt.Sprint("p", i)), Text: "{code}" + strings.Repeat("x", size-6)})
	}
	return all
}
