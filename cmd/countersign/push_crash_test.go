package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/carrier/webpush"
	"github.com/countersign/countersign/internal/testsize"
)

// A handset is a device with a key of its own.
type handset struct {
	id  string
	key *ecdsa.PrivateKey
}

// sign signs a text as docs/push.md says.
func (d *handset) sign(t *testing.T, lines ...string) string {
	t.Helper()
	var text bytes.Buffer
	for i, line := range lines {
		if i > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(line)
	}
	sum := sha256.Sum256(text.Bytes())
	r, s, err := ecdsa.Sign(rand.Reader, d.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// device sends what a device says, and returns the answer. An error is of the connection.
func (p *process) device(to string, body any) (answer map[string]any, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := httpClient.Post(p.URL+"/device/v1/"+to, "application/json", bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return answer, json.NewDecoder(resp.Body).Decode(&answer)
}

// An approval that a device was told of outlives kill -9, and is told to one check. One whose answer got lost is there, or
// the device sends it again.
func TestAnApprovalOutlivesTheServer(t *testing.T) {
	t.Parallel()
	vapid, err := webpush.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	program := theProgram(t)
	in := install(t, func(args ...string) *exec.Cmd {
		cmd := program(args...)
		cmd.Env = append(cmd.Env, "PUSH_KEY="+string(vapid))
		return cmd
	}, func(string) string {
		return `
keyset: {file: keyset.json}
public_sender: Shop
public: {listen: "127.0.0.1:0"}
operations: {listen: "127.0.0.1:0"}
carriers:
  - name: gateway
    http: {url: "http://127.0.0.1:1/", secret: {file: gateway.secret}}
  - name: push
    webpush: {vapid_key: {env: PUSH_KEY}, contact: "mailto:ops@example.com"}
channels: {sms: [gateway], push: [push]}
`
	})
	var made texts
	in.decode(&made, "key", "create", "--config", "countersign.yaml", "--json", "--project", in.project, "--scope", "manage", "--scope", "verify:start", "--scope", "verify:check", "--scope", "applications")
	in.token = made["token"]
	p := in.serve()
	client := func() *api.Client { return &api.Client{URL: p.URL, Key: in.token, MaxWait: -1} }
	app, err := client().CreateApplication(t.Context(), api.NewApplication{Name: "Shop", Channels: []string{"push"}})
	if err != nil {
		t.Fatal(err)
	}
	lost, kept := 0, 0
	for round := range testsize.Times(20) {
		user := fmt.Sprintf("user%d", round)
		if _, err := client().ImportUsers(t.Context(), app.ID, []api.ImportedUser{{User: user, Number: fmt.Sprintf("+1202555%04d", 100+round)}}); err != nil {
			t.Fatal(err)
		}
		d := registerHandset(t, client(), app.ID, user)
		v, err := client().StartFor(t.Context(), app.ID, user, api.UserVerification{Mode: api.Approve})
		if err != nil {
			t.Fatal(err)
		}
		notice, err := p.device("messages", map[string]string{"verification_id": v.ID, "device_id": d.id, "signature": d.sign(t, "countersign fetch 1", v.ID, d.id)})
		if err != nil {
			t.Fatal(err)
		}
		challenge := notice["prompt"].(map[string]any)["challenge"].(string)
		says := map[string]string{
			"verification_id": v.ID, "device_id": d.id, "challenge": challenge, "answer": v.Show,
			"signature": d.sign(t, "countersign answer 1", v.ID, d.id, challenge, v.Show),
		}
		told := make(chan bool, 1)
		running := *p
		go func() {
			got, err := running.device("answers", says)
			told <- err == nil && got["accepted"] == true
		}()
		if round%2 == 0 { // after the answer, but before the check
			accepted := <-told
			told <- accepted
		} else {
			time.Sleep(time.Duration(round%7) * time.Millisecond) // at some moment of it
		}
		p.kill()
		p = in.serve()
		accepted := <-told
		r, err := client().Outcome(t.Context(), v.ID, 0)
		switch {
		case err != nil:
			t.Fatal(err)
		case accepted:
			kept++
			if !r.Valid || r.Status != "approved" {
				t.Errorf("the device was told of an approval, and the check %+v", r)
			}
		case r.Status == "pending":
			lost++
			if got, err := p.device("answers", says); err != nil || got["accepted"] != true {
				t.Errorf("the answer once more: %v, %v", got, err)
			}
			if r, err = client().Outcome(t.Context(), v.ID, 0); err != nil || !r.Valid {
				t.Errorf("after the second answer: %+v, %v", r, err)
			}
		case !r.Valid:
			t.Errorf("the device wasn't told, and the check %+v", r)
		}
		if r, err := client().Outcome(t.Context(), v.ID, 0); err != nil || r.Valid || r.Reason != "already_approved" {
			t.Errorf("a second check: %+v, %v", r, err)
		}
		if got, err := p.device("answers", says); err != nil || got["accepted"] != false || got["reason"] != "ended" {
			t.Errorf("the answer after its end: %v, %v", got, err)
		}
	}
	t.Logf("%d approvals were told to devices and outlived kill -9; %d answers were lost and sent again", kept, lost)
}

// Without public.devices, nothing is below /device/.
func TestDevicesCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	for _, off := range []bool{false, true} {
		in := install(t, theProgram(t), func(text string) string {
			if off {
				return strings.Replace(text, "  devices: true", "  devices: false", 1)
			}
			return text
		})
		p := in.serve()
		for path, want := range map[string]int{"/device/": 200, "/device/worker.js": 200, "/device/v1/settings": 503} {
			if off {
				want = 404
			}
			resp, err := httpClient.Get(p.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("off %v, %s: %d, want %d", off, path, resp.StatusCode, want)
			}
		}
	}
}

func registerHandset(t *testing.T, c *api.Client, app, user string) *handset {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	made, err := c.RegisterDevice(t.Context(), app, user, api.NewDevice{
		Kind: api.WebPush, Endpoint: "https://127.0.0.1:1/" + user, P256dh: encode(receiver.PublicKey().Bytes()), Auth: encode(make([]byte, 16)), Key: encode(point),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &handset{made.ID, key}
}
