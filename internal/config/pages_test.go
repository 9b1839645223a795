package config

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/countersign/countersign/internal/keyset"
)

var fencedYAML = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Whoever pastes the first configuration of a page has a whole one: only the keyset and the secrets are their own.
func TestTheFirstConfigurationOfAPageIsWhole(t *testing.T) {
	t.Setenv("TRUNK_PASSWORD", "secret")
	t.Setenv("TWILIO_TOKEN", "secret")
	for page, secret := range map[string]string{"providers.md": "twilio.secret", "smpp.md": "smsc.secret", "voice.md": ""} {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		found := fencedYAML.FindSubmatch(text)
		if found == nil {
			t.Errorf("%s has no configuration", page)
			continue
		}
		dir := t.TempDir()
		if _, err := keyset.Create(filepath.Join(dir, "keyset.json")); err != nil {
			t.Fatal(err)
		}
		if secret != "" {
			if err := os.WriteFile(filepath.Join(dir, secret), []byte("secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Read(found[1], filepath.Join(dir, "countersign.yaml")); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
}
