package console

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

// A device holds one passkey, and signs what a test wants (WebAuthn 6.1, 6.5).
type device struct {
	t                *testing.T
	key              *ecdsa.PrivateKey
	id, user         []byte
	origin, rp, kind string
	flags            byte // without that of an attested credential
	count            uint32
}

const (
	touched  byte = 1
	attested byte = 0x40
)

func newDevice(t *testing.T) *device {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &device{t: t, key: key, id: []byte("a credential id!"), origin: "https://console.example", rp: "console.example", flags: touched}
}

// options are what a page asks a device with.
func (d *door) options(page *httptest.ResponseRecorder) (challenge string, user []byte) {
	d.t.Helper()
	text := regexp.MustCompile(`data-options="([^"]*)"`).FindStringSubmatch(page.Body.String())
	var asked struct {
		Challenge string
		User      struct{ ID string }
	}
	if text == nil || json.Unmarshal([]byte(html.UnescapeString(text[1])), &asked) != nil {
		d.t.Fatalf("got %d %s", page.Code, page.Body)
	}
	user, err := base64.RawURLEncoding.DecodeString(asked.User.ID)
	if err != nil {
		d.t.Fatal(err)
	}
	return asked.Challenge, user
}

func (v *device) clientData(kind, challenge string) []byte {
	text, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": v.origin, "crossOrigin": false})
	if err != nil {
		v.t.Fatal(err)
	}
	return text
}

func (v *device) authData(flags byte) []byte {
	rp := sha256.Sum256([]byte(v.rp))
	return binary.BigEndian.AppendUint32(append(rp[:], flags), v.count)
}

// make answers a page that adds a passkey.
func (v *device) make(challenge string, user []byte) string {
	v.user = user
	point, err := v.key.PublicKey.Bytes()
	if err != nil {
		v.t.Fatal(err)
	}
	x, y := point[1:33], point[33:]
	data := append(v.authData(v.flags|attested), make([]byte, 16)...)
	data = append(append(data, 0, byte(len(v.id))), v.id...)
	data = append(append(append(data, "\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20"...), x...), "\x22\x58\x20"...)
	data = append(data, y...)
	object := append([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"), byte(len(data)))
	return v.answer(map[string][]byte{"clientDataJSON": v.clientData("webauthn.create", challenge), "attestationObject": append(object, data...)})
}

// sign answers a page that signs in.
func (v *device) sign(challenge string) string {
	kind := "webauthn.get"
	if v.kind != "" {
		kind = v.kind
	}
	v.count++
	client, data := v.clientData(kind, challenge), v.authData(v.flags)
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(append(bytes.Clone(data), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, v.key, sum[:])
	if err != nil {
		v.t.Fatal(err)
	}
	return v.answer(map[string][]byte{"clientDataJSON": client, "authenticatorData": data, "signature": signature, "userHandle": v.user})
}

func (v *device) answer(response map[string][]byte) string {
	b64, coded := base64.RawURLEncoding, map[string]string{}
	for name, value := range response {
		coded[name] = b64.EncodeToString(value)
	}
	text, err := json.Marshal(map[string]any{"id": b64.EncodeToString(v.id), "rawId": b64.EncodeToString(v.id), "type": "public-key", "response": coded})
	if err != nil {
		v.t.Fatal(err)
	}
	return string(text)
}

// What a device signs counts for this console, this person and this sign-in only, and a copy of the device is noticed.
func TestADeviceSignsForOneSignIn(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	session := d.join("ann", operator.RoleAdmin)
	v := newDevice(t)
	adding, user := d.options(d.ask("GET", "/sign-in/sessions", session, "none", nil))
	add := func(origin string) int {
		v.origin = origin
		return d.ask("POST", "/sign-in/passkeys/add", session, "same-origin", url.Values{"name": {"laptop"}, "password": {secretWord}, "passkey": {v.make(adding, user)}}).Code
	}
	if got := add("https://evil.example"); got != http.StatusUnprocessableEntity {
		t.Errorf("a passkey that another site asked for: got %d", got)
	}
	if got := add("https://console.example"); got != http.StatusSeeOther {
		t.Fatalf("add a passkey: got %d", got)
	}
	signIn := func(signed string) bool {
		w := d.post("/sign-in", url.Values{"name": {"ann"}, "password": {secretWord}, "passkey": {signed}})
		d.wait(25 * time.Hour) // the waits of the address and of the operator
		return w.Code == http.StatusSeeOther
	}
	fresh := func() string {
		challenge, _ := d.options(d.ask("GET", "/sign-in", "", "none", nil))
		return challenge
	}
	if !signIn(v.sign(fresh())) {
		t.Fatal("the device doesn't sign in")
	}
	adding, _ = d.options(d.ask("GET", "/sign-in/sessions", d.again(), "none", nil))
	if signIn(v.sign(adding)) {
		t.Error("a challenge for a new passkey signs in")
	}
	old := fresh()
	d.wait(operator.ChallengeLife)
	if signIn(v.sign(old)) {
		t.Error("an old challenge signs in")
	}
	for what, change := range map[string]func(*device){
		"another site's answer":        func(v *device) { v.origin = "https://evil.example" },
		"another console's address":    func(v *device) { v.rp = "evil.example" },
		"an answer to another request": func(v *device) { v.kind = "webauthn.create" },
		"nobody at the device":         func(v *device) { v.flags = 0 },
		"another person's handle":      func(v *device) { v.user = make([]byte, 16) },
		"another key":                  func(v *device) { v.key = newDevice(t).key },
	} {
		other := *v
		if change(&other); signIn(other.sign(fresh())) {
			t.Errorf("%s signs in", what)
		}
	}
	clone := *v
	if !signIn(v.sign(fresh())) {
		t.Error("the device doesn't sign in any more")
	}
	if signIn(clone.sign(fresh())) {
		t.Error("a copy of the device signs in")
	}
	entries, err := d.admin.AuditsBefore(t.Context(), verify.ID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for _, e := range entries {
		log.WriteString(e.Detail + "\n")
	}
	if got := strings.Count(log.String(), string(operator.ClonedPasskey)); got != 1 {
		t.Errorf("the audit log tells of %d copies, want 1:\n%s", got, log.String())
	}
}

// again signs ann in with a code.
func (d *door) again() (session string) {
	d.t.Helper()
	w := d.post("/sign-in", d.right())
	if w.Code != http.StatusSeeOther {
		d.t.Fatalf("sign in again: got %d", w.Code)
	}
	return cookie(w).Value
}

// However the configuration writes the console's address, devices know it as browsers write it.
func TestPasskeysKnowTheAddressAsBrowsersWriteIt(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]string{
		"https://Console.Example":      "console.example https://console.example",
		"https://console.example:443":  "console.example https://console.example",
		"https://console.example:8443": "console.example https://console.example:8443",
		"http://localhost:80":          "localhost http://localhost",
		"http://localhost:8082":        "localhost http://localhost:8082",
	} {
		w := relyingParty(at)
		if got := w.Config.RPID + " " + w.Config.RPOrigins[0]; got != want {
			t.Errorf("%s: got %s, want %s", at, got, want)
		}
	}
	for _, at := range []string{"http://127.0.0.1:8082", "http://[::1]:8082"} {
		if relyingParty(at) != nil {
			t.Errorf("%s: devices know it, and it has no name", at)
		}
	}
}
