package config

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign/countersign/internal/keyset"
)

// Every small example is right as it is printed, once its secret and a keyset are there.
func TestEveryBeginningIsRight(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, name := range Beginnings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, b := t.TempDir(), Beginning{Carrier: name}.Example()
			if _, err := keyset.Create(filepath.Join(dir, "keyset.json")); err != nil {
				t.Fatal(err)
			}
			secret := []byte("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
			switch spec := b.spec(); {
			case spec.Auth.Kind == "jwt":
				secret = private
			case spec.Auth.Key == "base64":
				secret = []byte("MDEyMzQ1Njc4OWFiY2RlZg==")
			case spec.Region != "":
				secret = []byte("bk_us1_0123456789abcdef")
			}
			if err := os.WriteFile(filepath.Join(dir, b.Secret), secret, 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := Read([]byte(b.Text()), filepath.Join(dir, "countersign.yaml"))
			if err != nil {
				t.Fatalf("%v in\n%s", err, b.Text())
			}
			for _, channel := range b.Channels() {
				if got := c.Fallback()[channel]; len(got) != 1 || got[0] != b.Name() {
					t.Errorf("the carriers of %s are %v, want %s", channel, got, b.Name())
				}
			}
		})
	}
}
