package webpush

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/notice"
	"github.com/countersign/countersign/internal/verify"
)

func decode(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 8291, Appendix A.
func TestTheExampleOfRFC8291(t *testing.T) {
	t.Parallel()
	sender, err := ecdh.P256().NewPrivateKey(decode(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := encryptWith(verify.Subscription{
		Key:  decode(t, "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
		Auth: decode(t, "BTBZMqHH6r4Tts7J_aSIgg"),
	}, []byte("When I grow up, I want to be a watermelon"), sender, decode(t, "DGv6ra1nlYgDCS1FRnbzlw"), 0)
	const want = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_" +
		"yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	if encoded := base64.RawURLEncoding.EncodeToString(got); err != nil || encoded != want {
		t.Errorf("got %s, %v; want %s", encoded, err, want)
	}
}

func TestAContentHasABound(t *testing.T) {
	t.Parallel()
	device, err := ecdh.P256().GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	to := verify.Subscription{Key: device.PublicKey().Bytes(), Auth: make([]byte, 16)}
	short, err := encrypt(to, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	longer, err := encrypt(to, []byte(strings.Repeat("x", padTo)))
	if err != nil || len(short) != len(longer) {
		t.Errorf("contents of 1 and %d bytes have bodies of %d and %d, %v; want that they look alike", padTo, len(short), len(longer), err)
	}
	if body, err := encrypt(to, make([]byte, maxText)); err != nil || len(body) != 4096 {
		t.Errorf("the longest: %d bytes, %v", len(body), err)
	}
	if _, err := encrypt(to, make([]byte, maxText+1)); err == nil {
		t.Error("one byte too many was encrypted")
	}
}

func TestOnlyPublicAddressesAreCalled(t *testing.T) {
	t.Parallel()
	for _, text := range strings.Fields("8.8.8.8 1.1.1.1 172.32.0.1 2606:4700:4700::1111 2a00:1450:4001:81b::200e ::ffff:8.8.8.8") {
		if err := public(netip.MustParseAddr(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range strings.Fields("127.0.0.1 127.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 0.1.2.3 224.0.0.1 255.255.255.255 240.0.0.1 198.18.0.1 192.0.0.8 " +
		":: ::1 fe80::1 fe80::1%eth0 fc00::1 fd12::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: 2001::1 2001:db8::1 fec0::1") {
		if public(netip.MustParseAddr(text)) == nil {
			t.Errorf("%s is called", text)
		}
	}
}

func TestAVAPIDKeyIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	text, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(text)
	if err != nil || len(decode(t, key.Public())) != 65 {
		t.Fatalf("key: %v", err)
	}
	for _, wrong := range []string{"", "x", strings.ReplaceAll(string(text), "PRIVATE", "PUBLIC"), string(text[:60])} {
		if _, err := ParseKey([]byte(wrong)); err == nil || strings.Contains(err.Error(), "MIGH") {
			t.Errorf("a wrong key: %v", err)
		}
	}
	a, err := new(tokens).authorize(key, &url.URL{Scheme: "https", Host: "push.example.net:8443", Path: "/SECRET"}, "mailto:a@example.com", time.Unix(1000, 0))
	if err != nil {
		t.Fatal(err)
	}
	claims := decode(t, strings.Split(a, ".")[1])
	if want := `{"aud":"https://push.example.net:8443","exp":44200,"sub":"mailto:a@example.com"}`; string(claims) != want {
		t.Errorf("claims: got %s, want %s", claims, want)
	}
}

// A token is used for an hour, by the requests to one origin only, and a clock that was set back makes a new one. Devices
// choose their services, so few are kept.
func TestTokensAreUsedAgain(t *testing.T) {
	t.Parallel()
	text, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	var kept tokens
	at := func(host string, after time.Duration) string {
		t.Helper()
		header, err := kept.authorize(key, &url.URL{Scheme: "https", Host: host, Path: "/" + rand.Text()}, "mailto:a@example.com", time.Unix(1e9, 0).Add(after))
		if err != nil {
			t.Fatal(err)
		}
		if claims := decode(t, strings.Split(header, ".")[1]); !strings.Contains(string(claims), `"aud":"https://`+host+`"`) {
			t.Errorf("the token for %s says %s", host, claims)
		}
		return header
	}
	first := at("a.example", 0)
	if at("a.example", tokenUse-time.Second) != first {
		t.Error("a token isn't used again")
	}
	at("b.example", 0)
	if at("a.example", tokenUse) == first || at("a.example", -time.Second) == first {
		t.Error("an old token, or one of the future, is used again")
	}
	for i := range 2 * maxOrigins {
		at(fmt.Sprint(i, ".example"), 0)
		if len(kept.kept) > maxOrigins {
			t.Fatalf("%d tokens are kept", len(kept.kept))
		}
	}
}

// Whatever a start may say fits into a push.
func TestTheLongestPromptFits(t *testing.T) {
	t.Parallel()
	most := func(n int) string { return strings.Repeat("𝔸", n) }
	m := verify.Message{
		ID: verify.NewID(time.Now()), Verification: verify.NewID(time.Now()), ExpiresAt: time.Now(), ByPrompt: true,
		Body: verify.Secret(strings.Repeat("x", 120)),
		Question: &verify.Question{
			Challenge: strings.Repeat("x", 43), Choices: []int{10, 11, 12}, Asker: most(255), Purpose: verify.Purpose(strings.Repeat("x", 32)),
			Payment: verify.Payment{Amount: "123456789012.1234 EUR", Payee: most(64)},
			Client:  verify.Client{IP: "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", UserAgent: most(512), Device: most(100), Place: most(100)}, StartedAt: time.Now(),
		},
	}
	for name, m := range map[string]verify.Message{
		"prompt": m,
		"code":   {ID: m.ID, Verification: m.Verification, Code: verify.Secret(most(36)), Body: verify.Secret(most(1600))},
	} {
		text, err := notice.Within(&m, maxText)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > maxText {
			t.Errorf("the %s has %d bytes, and a push may have %d", name, len(text), maxText)
		}
	}
}
