package provider

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

var (
	telnyxKey    = ed25519.NewKeyFromSeed([]byte(testKey))
	telnyxPublic = verify.Secret(base64.StdEncoding.EncodeToString(telnyxKey.Public().(ed25519.PublicKey)))
)

func reportOf(method, target, contentType, body string, header ...string) *report {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	form, _ := url.ParseQuery(body)
	if contentType != formType {
		form = nil
	}
	return &report{Request: r, url: target, body: []byte(body), form: form}
}

// The vendors' own examples, from twilio.com/docs/usage/security and the tests of Plivo's
// libraries.
func TestVendorsOwnSignatures(t *testing.T) {
	t.Parallel()
	const params = "CallSid=CA1234567890ABCDE&Caller=%2B14158675310&Digits=1234&From=%2B14158675310&To=%2B18005551212"
	const page = "https://mycompany.com/myapp.php?foo=1&bar=2"
	for _, header := range []string{"X-Twilio-Signature", "X-SignalWire-Signature"} {
		if !provesTwilio(reportOf("POST", page, formType, params, header, "GvWf1cFY/Q7PnoempGyD5oXAezc="), "12345") {
			t.Errorf("%s: the example isn't taken", header)
		}
		for name, r := range map[string]*report{
			"another URL":       reportOf("POST", page+"3", formType, params, header, "GvWf1cFY/Q7PnoempGyD5oXAezc="),
			"another parameter": reportOf("POST", page, formType, params+"1", header, "GvWf1cFY/Q7PnoempGyD5oXAezc="),
			"one more":          reportOf("POST", page, formType, params+"&X=1", header, "GvWf1cFY/Q7PnoempGyD5oXAezc="),
			"no signature":      reportOf("POST", page, formType, params),
			"an empty one":      reportOf("POST", page, formType, params, header, ""),
			"not base64":        reportOf("POST", page, formType, params, header, "!"),
		} {
			if provesTwilio(r, "12345") {
				t.Errorf("%s: %s is taken", header, name)
			}
		}
		if provesTwilio(reportOf("POST", page, formType, params, header, "GvWf1cFY/Q7PnoempGyD5oXAezc="), "12346") {
			t.Error("another key's signature is taken")
		}
	}
	v2 := []string{"X-Plivo-Signature-V2-Nonce", "12345", "X-Plivo-Signature-V2", "ehV3IKhLysWBxC1sy8INm0qGoQYdYsHwuoKjsX7FsXc="}
	if !provesPlivoURL(reportOf("POST", "https://answer.url", formType, "a=1", v2...), "my_auth_token") {
		t.Error("Plivo's example isn't taken")
	}
	if provesPlivoURL(reportOf("POST", "https://answer.url", formType, "a=1", v2...), "my_auth_tokens") {
		t.Error("another key's signature is taken")
	}
	if provesPlivoURL(reportOf("POST", "https://answer.url/", formType, "a=1", v2...), "my_auth_token") {
		t.Error("another URL's signature is taken")
	}
}

// Twilio signs the URL with its port or without it, whichever port that is and whether or not public.url has it.
func TestTwilioSignsWithAndWithoutThePort(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		signed, known string
		ok            bool
	}{
		{"https://x.example/a", "https://x.example:443/a", true}, {"https://x.example:443/a", "https://x.example/a", true},
		{"http://x.example/a", "http://x.example:80/a", true}, {"https://x.example:8443/a", "https://x.example:8443/a", true},
		{"https://x.example/a", "https://x.example:8443/a", true}, {"https://x.example:8443/a", "https://x.example/a", false},
		{"https://x.example:8443/a", "https://x.example:443/a", false}, {"https://x.example/a", "https://y.example/a", false},
		{"https://[2001:db8::1]/a", "https://[2001:db8::1]:443/a", true}, {"https://[2001:db8::1]/a", "https://[2001:db8::1]:8443/a", true},
	} {
		m := hmac.New(sha1.New, []byte("k"))
		m.Write([]byte(tt.signed + "a1b2b3"))
		r := reportOf("POST", tt.known, formType, "b=3&b=2&a=1&b=3", "X-Twilio-Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
		if got := provesTwilio(r, "k"); got != tt.ok {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}

func telnyxReport(at time.Time, body string) *report {
	stamp := fmt.Sprint(at.Unix())
	sig := ed25519.Sign(telnyxKey, []byte(stamp+"|"+body))
	return reportOf("POST", "https://x.example/", jsonType, body, "telnyx-timestamp", stamp, "telnyx-signature-ed25519", base64.StdEncoding.EncodeToString(sig))
}

func TestTelnyxSignsTimeAndBody(t *testing.T) {
	t.Parallel()
	key := telnyxKey.Public().(ed25519.PublicKey)
	for _, age := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		if !provesTelnyx(telnyxReport(testNow.Add(-age), `{"a":1}`), key, testNow) {
			t.Errorf("a report of %v ago isn't taken", age)
		}
	}
	old := telnyxReport(testNow.Add(-time.Hour), `{}`)
	changed := telnyxReport(testNow, `{}`)
	changed.body = []byte(`{ }`)
	renewed := telnyxReport(testNow.Add(-time.Hour), `{}`)
	renewed.Header.Set("Telnyx-Timestamp", fmt.Sprint(testNow.Unix()))
	unsigned := telnyxReport(testNow, `{}`)
	unsigned.Header.Del("Telnyx-Signature-Ed25519")
	short := telnyxReport(testNow, `{}`)
	short.Header.Set("Telnyx-Signature-Ed25519", "AAAA")
	for name, r := range map[string]*report{
		"an old report": old, "one of the future": telnyxReport(testNow.Add(301*time.Second), `{}`), "another body": changed, "another time": renewed,
		"no signature": unsigned, "a short one": short,
	} {
		if provesTelnyx(r, key, testNow) {
			t.Errorf("%s is taken", name)
		}
	}
	other := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	if provesTelnyx(telnyxReport(testNow, `{}`), other, testNow) {
		t.Error("another key's signature is taken")
	}
}

// vonageToken signs claims as Vonage does.
func vonageToken(key, header, claims string) string {
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(claims))
	return "Bearer " + signed + "." + enc.EncodeToString(mac256([]byte(key), signed))
}

func TestVonageSignsTimeAndBodyInAToken(t *testing.T) {
	t.Parallel()
	const body, hs256 = `{"status":"delivered"}`, `{"alg":"HS256","typ":"JWT"}`
	sum := sha256.Sum256([]byte(body))
	claims := func(iat time.Time, hash string) string {
		return fmt.Sprintf(`{"iat":%d,"jti":"c5ba8f24","iss":"Vonage","payload_hash":"%s","api_key":"a1b2c3d","application_id":"aaaa"}`, iat.Unix(), hash)
	}
	hash := hex.EncodeToString(sum[:])
	right := vonageToken(testKey, hs256, claims(testNow, hash))
	if !provesVonage(reportOf("POST", "https://x.example/", jsonType, body, "Authorization", right), testKey, testNow) {
		t.Error("a right token isn't taken")
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims(testNow, hash))) + "."
	for name, token := range map[string]string{
		"nothing": "", "no token": "Bearer x", "not a bearer": strings.Replace(right, "Bearer", "Basic", 1), "no algorithm": "Bearer " + none,
		"another algorithm":   vonageToken(testKey, `{"alg":"HS512"}`, claims(testNow, hash)),
		"another key":         vonageToken(testKey+"x", hs256, claims(testNow, hash)),
		"an old one":          vonageToken(testKey, hs256, claims(testNow.Add(-6*time.Minute), hash)),
		"one of the future":   vonageToken(testKey, hs256, claims(testNow.Add(6*time.Minute), hash)),
		"another body's":      vonageToken(testKey, hs256, claims(testNow, hex.EncodeToString(make([]byte, 32)))),
		"one without a hash":  vonageToken(testKey, hs256, claims(testNow, "")),
		"one without claims":  vonageToken(testKey, hs256, `{}`),
		"one that isn't JSON": vonageToken(testKey, hs256, `x`),
		"a changed one":       strings.Replace(right, ".", "A.", 1),
	} {
		if provesVonage(reportOf("POST", "https://x.example/", jsonType, body, "Authorization", token), testKey, testNow) {
			t.Errorf("%s is taken", name)
		}
	}
}

// The signature of RFC 7515 A.1, with a key of bytes, shows that the
// computation is correct.
func TestHS256IsThatOfTheRFC(t *testing.T) {
	t.Parallel()
	key, err := base64.RawURLEncoding.DecodeString("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	if err != nil {
		t.Fatal(err)
	}
	const signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	if got := base64.RawURLEncoding.EncodeToString(mac256(key, signed)); got != "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" {
		t.Errorf("got %s", got)
	}
}

func TestPlivosThirdVersionCoversTheForm(t *testing.T) {
	t.Parallel()
	sign := func(text string) string { return base64.StdEncoding.EncodeToString(mac256([]byte("k"), text)) }
	const page = "https://x.example/status?m=1"
	for name, sig := range map[string]string{
		"alone":          sign("https://x.example/status?m=1.Status1To2.nonce"),
		"one of several": "AAAA," + sign("https://x.example/status?m=1.Status1To2.nonce"),
	} {
		for _, header := range []string{"X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3"} {
			if !provesPlivo(reportOf("POST", page, formType, "To=2&Status=1", "X-Plivo-Signature-V3-Nonce", "nonce", header, sig), "k") {
				t.Errorf("%s: not taken", name)
			}
			if provesPlivo(reportOf("POST", page, formType, "To=2&Status=2", "X-Plivo-Signature-V3-Nonce", "nonce", header, sig), "k") {
				t.Errorf("%s: another form is taken", name)
			}
		}
	}
	if !provesPlivo(reportOf("POST", "https://x.example/status", formType, "To=2", "X-Plivo-Signature-V3-Nonce", "n", "X-Plivo-Signature-V3", sign("https://x.example/status?To2.n")), "k") ||
		!provesPlivo(reportOf("POST", "https://x.example/status", formType, "To=2", "X-Plivo-Signature-V3-Nonce", "n", "X-Plivo-Signature-V3", sign("https://x.example/status.To2.n")), "k") {
		t.Error("a URL without a query isn't taken")
	}
	// If version 3 is present, only version 3 counts.
	v2 := sign("https://x.example/statusn")
	if provesPlivo(reportOf("POST", page, formType, "To=2", "X-Plivo-Signature-V2-Nonce", "n", "X-Plivo-Signature-V2", v2, "X-Plivo-Signature-V3-Nonce", "n", "X-Plivo-Signature-V3", "AAAA"), "k") {
		t.Error("a wrong version 3 is passed over")
	}
	if provesPlivo(reportOf("POST", page, formType, "To=2", "X-Plivo-Signature-V2-Nonce", "n", "X-Plivo-Signature-V2", v2), "k") {
		t.Error("version 2 is taken for version 3")
	}
}

// Version 2 doesn't cover the form, so it counts only for messages, and only without version 3.
func TestPlivosSecondVersionCountsWhereThereIsNoThird(t *testing.T) {
	t.Parallel()
	v2 := base64.StdEncoding.EncodeToString(mac256([]byte(testKey), "https://x.example/statusn"))
	for _, tt := range []struct {
		channel verify.Channel
		more    []string
		want    bool
	}{
		{verify.ChannelSMS, nil, true},
		{verify.ChannelVoice, nil, false},
		{verify.ChannelSMS, []string{"X-Plivo-Signature-V3", "AAAA"}, false},
		{verify.ChannelSMS, []string{"X-Plivo-Signature-Ma-V3", "AAAA"}, false},
		{verify.ChannelSMS, []string{"X-Plivo-Signature-V3-Nonce", "m"}, false},
	} {
		prove, err := newProof("plivo", string(tt.channel), testKey)
		if err != nil {
			t.Fatal(err)
		}
		r := reportOf("POST", "https://x.example/status?m=1", formType, "To=2", append([]string{"X-Plivo-Signature-V2-Nonce", "n", "X-Plivo-Signature-V2", v2}, tt.more...)...)
		if got := prove(r, testNow); got != tt.want || got && !r.urlOnly {
			t.Errorf("%s, %v: got %t (URL only: %t), want %t", tt.channel, tt.more, got, r.urlOnly, tt.want)
		}
	}
}
