package provider

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
)

// A signature of a canonical text, as Azure Communication Services wants it (learn.microsoft.com, "Sign an HTTP request with
// C#"), computed here by itself.
func TestASignatureOfACanonicalText(t *testing.T) {
	t.Parallel()
	server, got := providerServer(t, answer(202, ``))
	host := server.Listener.Addr().String()
	key := []byte("0123456789abcdef0123456789abcdef")
	c := configOf(t, "telnyx", server)
	c.Secret = verifySecret(base64.StdEncoding.EncodeToString(key))
	c.Spec = Spec{
		URL: "https://" + host + "/sms?api-version=2026-01-23", Headers: []HeaderSpec{{Name: "Content-Type", Value: jsonType}}, Body: `{"to":{{json .To}},"text":{{json .Text}}}`,
		Auth: AuthSpec{
			Kind: "hmac", Key: "base64", Canonical: "{{.Method}}\n{{.Target}}\n{{.Date}};{{.Host}};{{sha256base64 .Body}}",
			Headers: []HeaderSpec{
				{"x-ms-date", "{{.Date}}"}, {"x-ms-content-sha256", "{{sha256base64 .Body}}"},
				{"Authorization", "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={{.Signature}}"},
			},
		},
	}
	if _, err := carrierOf(t, c).Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	r := got.all()[0]
	sum := sha256.Sum256([]byte(r.body))
	hash := base64.StdEncoding.EncodeToString(sum[:])
	m := hmac.New(sha256.New, key)
	m.Write([]byte("POST\n/sms?api-version=2026-01-23\nMon, 04 May 2026 12:00:00 GMT;" + host + ";" + hash))
	want := "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=" + base64.StdEncoding.EncodeToString(m.Sum(nil))
	if r.Header.Get("Authorization") != want || r.Header.Get("X-Ms-Content-Sha256") != hash || r.Header.Get("X-Ms-Date") != "Mon, 04 May 2026 12:00:00 GMT" {
		t.Errorf("got %v, want %s", r.Header, want)
	}
}

// A signature of a time and a random text, in hexadecimal, as Solapi wants it.
func TestASignatureOfANonce(t *testing.T) {
	t.Parallel()
	server, got := providerServer(t, answer(200, `{}`))
	c := configOf(t, "telnyx", server)
	c.Spec.Auth = AuthSpec{
		Kind: "hmac", Encoding: "hex", Canonical: "{{.Time}}{{.Nonce}}",
		Headers: []HeaderSpec{{"Authorization", "HMAC-SHA256 apiKey={{.Account}}, date={{.Time}}, salt={{.Nonce}}, signature={{.Signature}}"}},
	}
	out := carrierOf(t, c)
	var salts []string
	for range 2 {
		if _, err := out.Send(t.Context(), message()); err != nil {
			t.Fatal(err)
		}
	}
	form := regexp.MustCompile(`^HMAC-SHA256 apiKey=AC0123, date=(2026-05-04T12:00:00\.000Z), salt=([0-9a-f]{32}), signature=([0-9a-f]{64})$`)
	for _, r := range got.all() {
		is := form.FindStringSubmatch(r.Header.Get("Authorization"))
		if is == nil {
			t.Fatalf("got %s", r.Header.Get("Authorization"))
		}
		m := hmac.New(sha256.New, []byte(testSecret))
		m.Write([]byte(is[1] + is[2]))
		if want := hex.EncodeToString(m.Sum(nil)); is[3] != want {
			t.Errorf("got the signature %s, want %s", is[3], want)
		}
		salts = append(salts, is[2])
	}
	if salts[0] == salts[1] {
		t.Error("two messages have one salt")
	}
}

func TestSignaturesAreChecked(t *testing.T) {
	t.Parallel()
	good := AuthSpec{Kind: "hmac", Canonical: "{{.Body}}", Headers: []HeaderSpec{{"X-Signature", "{{.Signature}}"}}}
	for want, change := range map[string]func(*AuthSpec){
		"auth.canonical: must not be empty":                  func(a *AuthSpec) { a.Canonical = "" },
		"auth.headers: must not be empty":                    func(a *AuthSpec) { a.Headers = nil },
		"auth.hash: must be one of":                          func(a *AuthSpec) { a.Hash = "md4" },
		"auth.key: must be one of":                           func(a *AuthSpec) { a.Key = "pem" },
		"auth.encoding: must be one of":                      func(a *AuthSpec) { a.Encoding = "base32" },
		"auth.canonical: not a template":                     func(a *AuthSpec) { a.Canonical = "{{" },
		"auth.canonical: the template fails":                 func(a *AuthSpec) { a.Canonical = "{{.Text}}" },
		"auth.headers[0].value: the template fails":          func(a *AuthSpec) { a.Headers = []HeaderSpec{{"X-Signature", "{{.To}}"}} },
		"auth.headers[0].value: must be one line":            func(a *AuthSpec) { a.Headers = []HeaderSpec{{"X-Signature", "{{.Body}}"}} },
		"auth.headers[0].name: must be a header's name":      func(a *AuthSpec) { a.Headers = []HeaderSpec{{"X Signature", "{{.Signature}}"}} },
		"secret: must be hex":                                func(a *AuthSpec) { a.Key = "hex" },
		"auth.kind: must be one of none, basic, key, bearer": func(a *AuthSpec) { a.Kind = "digest" },
	} {
		c := configOf(t, "telnyx", nil)
		c.Spec.Auth = good
		change(&c.Spec.Auth)
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), testSecret) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
