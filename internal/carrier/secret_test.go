package carrier

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

const testSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func TestASecretHasOneForm(t *testing.T) {
	t.Parallel()
	of := func(n int) string {
		return "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, n))
	}
	for text, ok := range map[string]bool{
		testSecret: true, of(24): true, of(32): true, of(64): true, " " + of(24) + "\n": true, of(24) + "\r\n": true,
		of(23): false, of(65): false, of(0): false, "": false, "whsec_": false, "\n": false,
		strings.TrimPrefix(of(32), "whsec_"):           false, // a key of another kind
		strings.Replace(of(32), "whsec_", "WHSEC_", 1): false,
		strings.Replace(of(32), "whsec_", "whpk_", 1):  false,
		strings.ReplaceAll(of(32), "+", "-"):           false, // base64url
		strings.TrimRight(of(32), "="):                 false,
		of(32) + "=":                                   false,
		of(32) + " " + of(32):                          false,
		"whsec_" + of(32):                              false,
		"whsec_" + strings.Repeat("ä", 32):             false,
	} {
		key, err := ParseSecret(text)
		if (err == nil) != ok {
			t.Errorf("ParseSecret(%q): got %v, want ok = %v", text, err, ok)
		}
		if err != nil && (key != nil || err.Error() != "must be whsec_ and the base64 of 24 to 64 bytes") {
			t.Errorf("ParseSecret(%q): got %v, %v, want no key and what it must be", text, key, err)
		}
		if err == nil && key.Encode().Reveal() != strings.TrimSpace(text) {
			t.Errorf("ParseSecret(%q).Encode() = %q", text, key.Encode().Reveal())
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	for _, s := range []string{testSecret, "", "whsec_", "whsec_====", "whsec_" + strings.Repeat("A", 88), "whsec_\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseSecret(text)
		if err != nil {
			return
		}
		if len(key) < 24 || len(key) > 64 {
			t.Errorf("ParseSecret(%q) has %d bytes", text, len(key))
		}
		if again, err := ParseSecret(key.Encode().Reveal()); err != nil || !bytes.Equal(again, key) {
			t.Errorf("ParseSecret(%q) doesn't survive Encode: %v", text, err)
		}
	})
}
