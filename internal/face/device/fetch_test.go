package device_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/notice"
	"github.com/countersign/countersign/internal/verify"
)

// A fetch is a device's request for what a push woke it for.
type fetch struct {
	Verification string `json:"verification_id"`
	Device       string `json:"device_id"`
	Signature    string `json:"signature"`
}

// fetch signs one as docs/push.md says.
func (d device) fetch(t *testing.T, verification string) fetch {
	t.Helper()
	sum := sha256.Sum256([]byte("countersign fetch 1\n" + verification + "\n" + d.id))
	r, s, err := ecdsa.Sign(rand.Reader, d.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return fetch{verification, d.id, b64.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))}
}

// fetched is the status and the text of an answer.
func (k kit) fetched(f fetch) (int, string) {
	k.t.Helper()
	text, err := json.Marshal(f)
	if err != nil {
		k.t.Fatal(err)
	}
	resp, err := http.Post(k.URL+"/device/v1/messages", "application/json", strings.NewReader(string(text)))
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(answer))
}

// wants is what a push of a verification would have told a device that decrypts.
func (k kit) wants(id string) string {
	k.t.Helper()
	k.Await("the push of "+id, func() bool { return len(k.pushes.of(id)) > 0 })
	m := k.pushes.of(id)[0].Message
	text, err := notice.Within(&m, 1<<20)
	if err != nil {
		k.t.Fatal(err)
	}
	return string(text)
}

func (k kit) login(user string) string {
	k.t.Helper()
	k.Clock.Advance(31 * time.Second)
	v, err := k.client.StartFor(k.t.Context(), k.app, user, api.UserVerification{Channel: "push"})
	if err != nil {
		k.t.Fatal(err)
	}
	return v.ID
}

// What a push woke a device for is what it would have been told: a code, or a prompt.
func TestADeviceFetchesItsMessage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		d := k.enrol(k.client, k.app, "ada")
		code := k.login("ada")
		if status, got := k.fetched(d.fetch(t, code)); status != 200 || got != k.wants(code) || !strings.Contains(got, `"code":"`) {
			t.Errorf("a code: got %d %s, want %s", status, got, k.wants(code))
		}
		k.Clock.Advance(31 * time.Second)
		asked := k.start("ada", api.UserVerification{Purpose: "payment", Amount: "49.90 EUR", Payee: "Example Shop"})
		status, got := k.fetched(d.fetch(t, asked.ID))
		if status != 200 || got != k.wants(asked.ID) || strings.Contains(got, `"code":"`) || !strings.Contains(got, `"payee":"Example Shop"`) {
			t.Errorf("a prompt: got %d %s, want %s", status, got, k.wants(asked.ID))
		}
		// After a wrong number it has the next challenge, and no choices.
		k.send(d.sign(t, asked.ID, k.question(asked.ID).Challenge, wrong(asked.Show)))
		var n notice.Notice
		if _, got := k.fetched(d.fetch(t, asked.ID)); json.Unmarshal([]byte(got), &n) != nil || n.Prompt == nil || n.Prompt.Challenge == k.question(asked.ID).Challenge || n.Prompt.Choices != nil {
			t.Errorf("after a wrong number: %s", got)
		}
		if a := k.send(d.sign(t, asked.ID, n.Prompt.Challenge, asked.Show)); !a.Accepted {
			t.Errorf("the right number: %+v", a)
		}
		// The first was superseded, the second approved.
		for _, id := range []string{code, asked.ID} {
			if status, got := k.fetched(d.fetch(t, id)); status != 404 || !strings.Contains(got, "no_prompt") {
				t.Errorf("%s after its end: %d %s", id, status, got)
			}
		}
	})
}

// Nobody but the user's devices fetches a message, and nothing that isn't for devices is fetched.
func TestOnlyTheUsersDevicesFetch(t *testing.T) {
	t.Parallel()
	k := newKitOfAda(t, countersigntest.Options{}, "push,sms")
	k.user(k.client, k.app, "bob", "+12025550101")
	other, theirs := k.project("other", "push")
	k.user(other, theirs, "ada", "+12025550100")
	d, bobs, foreign := k.enrol(k.client, k.app, "ada"), k.enrol(k.client, k.app, "bob"), k.enrol(other, theirs, "ada")
	removed := k.enrol(k.client, k.app, "ada")
	if err := k.client.RemoveDevice(t.Context(), k.app, "ada", removed.id); err != nil {
		t.Fatal(err)
	}
	id := k.login("ada")
	good := d.fetch(t, id)
	signedByBob := bobs.fetch(t, id)
	signedByBob.Device = d.id
	flipped := good
	flipped.Signature = "A" + good.Signature[1:]
	if flipped == good {
		flipped.Signature = "B" + good.Signature[1:]
	}
	anAnswer := d.sign(t, id, "", "deny")
	nowhere := d.fetch(t, verify.NewID(k.Clock.Now()).String())
	for name, f := range map[string]fetch{
		"another user's device": bobs.fetch(t, id), "another tenant's": foreign.fetch(t, id), "a removed one": removed.fetch(t, id), "another's signature": signedByBob,
		"a changed signature": flipped, "the signature of an answer": {id, d.id, anAnswer.Signature}, "no verification": nowhere,
	} {
		if status, got := k.fetched(f); status != 404 || !strings.Contains(got, `"no_prompt"`) {
			t.Errorf("%s: %d %s", name, status, got)
		}
	}
	for name, f := range map[string]fetch{"no signature": {id, d.id, ""}, "no id": {"x", d.id, good.Signature}} {
		if status, _ := k.fetched(f); status != 422 {
			t.Errorf("%s: %d, want 422", name, status)
		}
	}
	k.Clock.Advance(31 * time.Second)
	bySMS, err := k.client.StartFor(t.Context(), k.app, "ada", api.UserVerification{Channel: "sms"})
	if err != nil {
		t.Fatal(err)
	}
	if status, got := k.fetched(d.fetch(t, bySMS.ID)); status != 404 {
		t.Errorf("a code that goes by SMS only: %d %s", status, got)
	}
	if status, _ := k.fetched(good); status != 404 {
		t.Errorf("a superseded code: %d", status)
	}
	again := k.login("ada")
	k.Clock.Advance(time.Hour)
	if status, _ := k.fetched(d.fetch(t, again)); status != 404 {
		t.Errorf("an expired code: %d", status)
	}
}

// An app has a token in place of a subscription. The same token is one device, and another user's takes it over.
func TestAnAppIsRegisteredByItsToken(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKitOfAda(t, o, "push")
		k.user(k.client, k.app, "bob", "+12025550101")
		apple := api.NewDevice{Kind: api.APNS, Token: strings.Repeat("aB", 32), App: "com.example.shop"}
		google := api.NewDevice{Kind: api.FCM, Token: "abc:APA91-x_y", App: "com.example.shop"}
		for _, n := range []api.NewDevice{apple, google, apple, {Kind: api.APNS, Token: strings.ToLower(apple.Token), App: apple.App}} {
			k.Clock.Advance(time.Second)
			if _, err := k.client.RegisterDevice(t.Context(), k.app, "ada", n); err != nil {
				t.Fatal(err)
			}
		}
		all, err := k.client.Devices(t.Context(), k.app, "ada")
		if err != nil || len(all) != 2 || all[0].Kind != "fcm" || all[1].Kind != "apns" {
			t.Errorf("ada has %+v, %v", all, err)
		}
		if _, err := k.client.RegisterDevice(t.Context(), k.app, "bob", google); err != nil {
			t.Fatal(err)
		}
		if all, err := k.client.Devices(t.Context(), k.app, "ada"); err != nil || len(all) != 1 {
			t.Errorf("after bob registered her token, ada has %+v, %v", all, err)
		}
		for name, n := range map[string]api.NewDevice{
			"token": {Kind: api.APNS, Token: "x", App: "a"}, "app": {Kind: api.FCM, Token: "x"}, "endpoint": {Kind: api.FCM, Token: "x", App: "a", Endpoint: "https://push.example.net/x"},
			"kind": {Kind: "telex"},
		} {
			if _, err := k.client.RegisterDevice(t.Context(), k.app, "ada", n); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("a wrong %s: %v", name, err)
			}
		}
	})
}
