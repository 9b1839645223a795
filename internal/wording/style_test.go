package wording

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/code"
)

func TestAStyleEndsTemplates(t *testing.T) {
	t.Parallel()
	style := Style{Transliterate: true, WebOTP: "example.com"}
	got := Fill(style.Write(Written, "It’s "+CodeMark+" – for {code}"), "G-123456", code.Numeric)
	if want := "It's G-123456 - for {code}\n@example.com #G-123456"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStylesAreChecked(t *testing.T) {
	t.Parallel()
	for _, right := range []Style{{}, {WebOTP: "example.com"}, {WebOTP: "login.example-1.co.uk"}, {AndroidHash: "FA+9qCX9VSu"}, {Transliterate: true}} {
		if problem := right.Problem(); problem != "" {
			t.Errorf("%+v: %s", right, problem)
		}
	}
	for _, wrong := range []Style{
		{WebOTP: "https://example.com"}, {WebOTP: "example.com/"}, {WebOTP: "EXAMPLE.com"}, {WebOTP: "localhost"}, {WebOTP: "example.com #1"},
		{WebOTP: "-a.com"}, {WebOTP: "a..com"}, {WebOTP: "exämple.com"}, {WebOTP: strings.Repeat("a", 61) + ".com"}, {WebOTP: "example.com\n"},
		{AndroidHash: "FA+9qCX9VS"}, {AndroidHash: "FA+9qCX9VSu="}, {AndroidHash: "FA 9qCX9VSu"},
	} {
		if wrong.Problem() == "" {
			t.Errorf("%+v: no problem", wrong)
		}
	}
}
