package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/carrier/webpush"
	"github.com/countersign/countersign/internal/verify"
)

// One carrier reaches all kinds of devices, and what is tried of it shows no secret.
func TestOneCarrierReachesAllKindsOfDevices(t *testing.T) { // not parallel: it sets the environment
	dir := configFolder(t)
	ours, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	vapid, err := webpush.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "shop-1", "client_email": "push@example.com", "private_key_id": "1", "private_key": string(inPEM(t, theirs)),
		"token_uri": "https://127.0.0.1:1/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"vapid.pem": vapid, "apple.p8": inPEM(t, ours), "fcm.json": account, "countersign.yaml": []byte(`
keyset: {file: keyset.json}
public_sender: Shop
carriers:
  - name: gateway
    http: {url: "https://gateway.example.com", secret: {file: gateway.secret}}
  - name: push
    webpush: {vapid_key: {file: vapid.pem}, contact: "mailto:ops@example.com"}
    fcm: [{app: com.example.shop, service_account: {file: fcm.json}}]
    apns: [{app: com.example.shop, team: ABCDE12345, key_id: ABC123DEFG, key: {file: apple.p8}, content: text, url: "https://127.0.0.1:1"}]
channels: {sms: [gateway], push: [push]}
`)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "countersign.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.ways[1].open(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []verify.DeviceKind{verify.DeviceWebPush, verify.DeviceUnifiedPush, verify.DeviceFCM, verify.DeviceAPNS} {
		if made.(*push.Carrier).Service(kind) == nil {
			t.Errorf("no service for %s", kind)
		}
	}
	w := c.ways[1].(*pushWay)
	if w.fcm[0].Text || !w.apns[0].Text || w.fcm[0].URL != "https://fcm.googleapis.com" || w.apns[0].Timeout != 5*time.Second {
		t.Errorf("the apps are %+v and %+v", w.fcm[0], w.apns[0])
	}
	f := w.try(t.Context(), "carriers[1]")
	if f.Status != Broken || !strings.Contains(f.Result, "fcm com.example.shop") || !strings.Contains(f.Advice, "carriers[1].fcm[0].service_account") {
		t.Errorf("what was tried: %+v", f)
	}
	w.fcm = nil
	if f = w.try(t.Context(), "carriers[1]"); f.Status != Broken || !strings.Contains(f.Advice, "carriers[1].apns[0].url") {
		t.Errorf("what was tried of APNs: %+v", f)
	}
}

func inPEM(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
