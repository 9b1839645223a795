package webpush_test

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	pushcarrier "github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/carrier/webpush"
	"github.com/countersign/countersign/internal/verify"
)

// peer starts npm's web-push-testing, behind a proxy that speaks TLS, and returns the proxy.
func peer(t *testing.T) *httptest.Server {
	t.Helper()
	missing := ""
	if _, err := exec.LookPath("node"); err != nil {
		missing = "NOT RUN: there is no node on PATH; install it: apt-get install nodejs"
	} else if _, err := os.Stat("testdata/peer/node_modules/web-push-testing"); err != nil {
		missing = "NOT RUN: there is no web-push-testing; install it: npm ci --prefix internal/carrier/webpush/testdata/peer"
	}
	if missing != "" {
		if os.Getenv("COUNTERSIGN_TEST_REQUIRE") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	cmd := exec.CommandContext(t.Context(), "node", "testdata/peer/peer.js")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	to := &url.URL{Scheme: "http", Host: "localhost:" + strings.TrimSpace(port)}
	s := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(to))
	t.Cleanup(s.Close)
	return s
}

// ask posts to the peer, and reads the data of its answer.
func ask[T any](t *testing.T, s *httptest.Server, path string, body any) (data T) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Client().Post(s.URL+path, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %s", path, resp.Status)
	}
	var answer struct{ Data T }
	if !strings.HasPrefix(path, "/expire") {
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
	}
	return answer.Data
}

// A push service that isn't ours takes our pushes, checks their VAPID token against the subscription's key, and decrypts
// them; it refuses another key's, and we notice that a subscription has expired.
func TestAnotherPushServiceDecrypts(t *testing.T) {
	t.Parallel()
	s := peer(t)
	service := func() *webpush.Service {
		text, err := webpush.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		key, err := webpush.ParseKey(text)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		c, err := webpush.New(webpush.Config{Key: key, Contact: "mailto:ops@example.com", Private: true, RootCAs: roots, Timeout: time.Minute, Conns: 1})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ours, others := service(), service()
	subscribed := ask[struct {
		Endpoint, ClientHash string
		Keys                 struct{ P256dh, Auth string }
	}](t, s, "/subscribe", map[string]any{"userVisibleOnly": "true", "applicationServerKey": ours.PublicKey()})
	at, err := url.Parse(subscribed.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	key, err := b64.DecodeString(strings.TrimRight(subscribed.Keys.P256dh, "="))
	if err != nil {
		t.Fatal(err)
	}
	auth, err := b64.DecodeString(strings.TrimRight(subscribed.Keys.Auth, "="))
	if err != nil {
		t.Fatal(err)
	}
	d := &verify.Receiver{Kind: verify.DeviceWebPush, Subscription: verify.Subscription{Endpoint: s.URL + at.Path, Key: key, Auth: auth}}
	now := time.Now()
	m := &verify.Message{ID: verify.NewID(now), Verification: verify.NewID(now), Body: "Your code is 493817", Code: "493817", ExpiresAt: now.Add(time.Hour)}
	if err := ours.Push(t.Context(), m, d); err != nil {
		t.Fatal(err)
	}
	got := ask[struct{ Messages []string }](t, s, "/get-notifications", map[string]string{"clientHash": subscribed.ClientHash})
	var content content
	if len(got.Messages) != 1 || json.Unmarshal([]byte(got.Messages[0]), &content) != nil || content.Code != "493817" {
		t.Errorf("the peer decrypted %q", got.Messages)
	}
	if err := others.Push(t.Context(), m, d); err == nil || errors.Is(err, pushcarrier.ErrGone) {
		t.Errorf("with another key: got %v, want that the peer refuses it", err)
	}
	ask[any](t, s, "/expire-subscription/"+subscribed.ClientHash, map[string]string{})
	if err := ours.Push(t.Context(), m, d); !errors.Is(err, pushcarrier.ErrGone) {
		t.Errorf("after its end: got %v, want %v", err, pushcarrier.ErrGone)
	}
}
