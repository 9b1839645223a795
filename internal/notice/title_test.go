package notice

import (
	"testing"

	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/wording"
)

// Notifications have titles in all languages of calls, of which payments have all. A device's own language comes first.
func TestTitlesHaveTheLanguagesOfCalls(t *testing.T) {
	t.Parallel()
	for _, language := range wording.Languages() {
		if have := titles[language]; have.code == "" || have.prompt == "" || have.code == have.prompt {
			t.Errorf("%s: %+v", language, have)
		}
	}
	if len(titles) != len(wording.Languages()) {
		t.Errorf("there are %d titles, and %d languages", len(titles), len(wording.Languages()))
	}
	for locale, want := range map[string]string{"": "Ihr Code", "xx": "Your code", "nn-NO": "Koden din", "es-419": "Su código", "FR-ca": "Votre code"} {
		if got := Title(&verify.Message{Locale: "de"}, &verify.Receiver{Locale: locale}); got != want {
			t.Errorf("of a device with the locale %q: got %q, want %q", locale, got, want)
		}
	}
	if got := Title(&verify.Message{ByPrompt: true}, &verify.Receiver{Locale: "cs"}); got != "Jste to vy?" {
		t.Errorf("of a prompt: %q", got)
	}
}
