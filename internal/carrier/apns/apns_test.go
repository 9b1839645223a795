package apns_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/apns"
	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/verify"
)

const (
	team  = "ABCDE12345"
	keyID = "ABC123DEFG"
	topic = "com.example.shop"
)

// apple is a stand-in for Apple's service. It checks requests as Apple's documentation has them ("Sending notification
// requests to APNs", "Establishing a token-based connection to APNs").
type apple struct {
	*httptest.Server
	public *ecdsa.PublicKey
	file   []byte // the key, as Apple hands it out

	mu      sync.Mutex // guards the next
	answers map[string]func(w http.ResponseWriter)
	got     []request
	tokens  map[string]bool // of the team, as they were seen
	least   time.Time       // tokens that were made before are called expired
}

type request struct {
	device, topic, collapse string
	expires                 time.Time
	body                    []byte
	protocol                int
}

func newApple(t *testing.T) *apple {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	a := &apple{public: &private.PublicKey, answers: map[string]func(http.ResponseWriter){}, tokens: map[string]bool{}}
	a.file = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	a.Server = httptest.NewUnstartedServer(a)
	a.EnableHTTP2 = true
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

func refuse(status int, reason string, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, `{"reason":"`+reason+`"}`)
	}
}

func (a *apple) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	device := strings.TrimPrefix(r.URL.Path, "/3/device/")
	body, err := io.ReadAll(r.Body)
	if status, reason := a.check(r, device, body); err != nil || status != 0 {
		refuse(status, reason)(w)
		return
	}
	if answer := a.answers[device]; answer != nil {
		answer(w)
		return
	}
	until, _ := strconv.ParseInt(r.Header.Get("apns-expiration"), 10, 64)
	a.got = append(a.got, request{device, r.Header.Get("apns-topic"), r.Header.Get("apns-collapse-id"), time.Unix(until, 0), body, r.ProtoMajor})
}

// check returns Apple's status and reason for a request that is wrong.
func (a *apple) check(r *http.Request, device string, body []byte) (int, string) {
	var payload struct {
		APS map[string]any `json:"aps"`
	}
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "bearer ")
	switch {
	case r.ProtoMajor != 2:
		return 505, "HTTPVersion"
	case r.Method != "POST":
		return 405, "MethodNotAllowed"
	case len(device) != 64:
		return 400, "BadDeviceToken"
	case !bearer:
		return 403, "MissingProviderToken"
	case r.Header.Get("apns-topic") != topic:
		return 400, "DeviceTokenNotForTopic"
	case r.Header.Get("apns-push-type") != "alert":
		return 400, "InvalidPushType"
	case r.Header.Get("apns-priority") != "10" && r.Header.Get("apns-priority") != "5":
		return 400, "BadPriority"
	case len(r.Header.Get("apns-collapse-id")) > 64:
		return 400, "BadCollapseId"
	case len(body) == 0:
		return 400, "PayloadEmpty"
	case len(body) > 4096:
		return 413, "PayloadTooLarge"
	case json.Unmarshal(body, &payload) != nil || payload.APS["alert"] == nil:
		return 400, "BadMessage"
	}
	if until, err := strconv.ParseInt(r.Header.Get("apns-expiration"), 10, 64); err != nil || until < time.Now().Unix()-5 {
		return 400, "BadExpirationDate"
	}
	return a.checkToken(token)
}

func (a *apple) checkToken(token string) (int, string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return 403, "InvalidProviderToken"
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss string
		Iat int64
	}
	h, err1 := base64.RawURLEncoding.DecodeString(parts[0])
	c, err2 := base64.RawURLEncoding.DecodeString(parts[1])
	s, err3 := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err1 != nil || err2 != nil || err3 != nil || json.Unmarshal(h, &header) != nil || json.Unmarshal(c, &claims) != nil ||
		header.Alg != "ES256" || header.Kid != keyID || claims.Iss != team || len(s) != 64 ||
		!ecdsa.Verify(a.public, sum[:], new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:])) {
		return 403, "InvalidProviderToken"
	}
	made := time.Unix(claims.Iat, 0)
	if time.Since(made) > time.Hour || made.After(time.Now().Add(time.Minute)) || made.Before(a.least) {
		return 403, "ExpiredProviderToken"
	}
	a.tokens[token] = true
	return 0, ""
}

func (a *apple) requests() []request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got
}

func (a *apple) service(t *testing.T, text bool, timeout time.Duration) *apns.Service {
	t.Helper()
	key, err := apns.ParseKey(a.file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	return apns.New(apns.App{Name: topic, Team: team, KeyID: keyID, Key: key, Text: text, URL: a.URL, RootCAs: roots, Timeout: timeout, Conns: 4})
}

const generous = 30 * time.Second

func receiver(name string) *verify.Receiver {
	d := &verify.Receiver{ID: verify.NewID(time.Now()), Kind: verify.DeviceAPNS}
	d.App, d.Token, d.Sign = topic, strings.Repeat(name, 64), []byte("key")
	return d
}

func message(body string) *verify.Message {
	now := time.Now()
	return &verify.Message{
		ID: verify.NewID(now), Verification: verify.NewID(now), Application: verify.NewID(now), User: "ada", Locale: "de",
		Body: verify.Secret(body), Code: "493817", ExpiresAt: now.Add(5 * time.Minute),
	}
}

func TestAPushWakesTheApp(t *testing.T) {
	t.Parallel()
	a := newApple(t)
	m := message("Your code is 493817")
	wakes := a.service(t, false, generous)
	if err := wakes.Push(t.Context(), m, receiver("a")); err != nil {
		t.Fatal(err)
	}
	tells := a.service(t, true, generous)
	if err := tells.Push(t.Context(), m, receiver("b")); err != nil {
		t.Fatal(err)
	}
	got := a.requests()
	if len(got) != 2 {
		t.Fatalf("Apple took %d messages, want 2", len(got))
	}
	if text := string(got[0].body); strings.Contains(text, "493817") || !strings.Contains(text, m.Verification.String()) || !strings.Contains(text, `"mutable-content":1`) || !strings.Contains(text, "Ihr Code") {
		t.Errorf("the wake-up is %s", text)
	}
	if text := string(got[1].body); !strings.Contains(text, `"Your code is 493817"`) || !strings.Contains(text, `"code":"493817"`) {
		t.Errorf("the text is %s", text)
	}
	for _, r := range got {
		if r.topic != topic || r.collapse != got[0].collapse || len(r.collapse) != 32 || !r.expires.Equal(m.ExpiresAt.Truncate(time.Second)) || r.protocol != 2 {
			t.Errorf("request %+v", r)
		}
	}
	if len(a.tokens) != 2 { // of two keys in memory
		t.Errorf("%d tokens were made for two services, want one each", len(a.tokens))
	}

	// Apple never learns what is asked.
	m.ByPrompt, m.Code, m.Body = true, "", "Is this you?"
	m.Question = &verify.Question{Challenge: "c", Asker: "Secret Shop", Payment: verify.Payment{Amount: "5 EUR", Payee: "Secret Payee"}}
	if err := tells.Push(t.Context(), m, receiver("b")); err != nil {
		t.Fatal(err)
	}
	if text := string(a.requests()[2].body); strings.Contains(text, "Secret") || !strings.Contains(text, `"kind":"prompt"`) || !strings.Contains(text, "Sind Sie das?") {
		t.Errorf("the prompt is %s", text)
	}
}

// The longest text that a template can make gives way to the code.
func TestALongTextFits(t *testing.T) {
	t.Parallel()
	a := newApple(t)
	for _, body := range []string{strings.Repeat("𝔸", 1600), strings.Repeat("<", 1600), strings.Repeat("x", 4096)} {
		if err := a.service(t, true, generous).Push(t.Context(), message(body), receiver("a")); err != nil {
			t.Errorf("a body of %d bytes: %v", len(body), err)
		}
	}
	if got := a.requests(); len(got) != 3 || !strings.Contains(string(got[2].body), `"body":"493817"`) {
		t.Errorf("Apple took %d messages, want 3; the last is %s", len(got), got[len(got)-1].body)
	}
}

// What Apple refuses, and what happens next.
func TestRefusals(t *testing.T) {
	t.Parallel()
	a := newApple(t)
	service := a.service(t, false, generous)
	for _, test := range []struct {
		name    string
		answer  func(http.ResponseWriter)
		outcome verify.AttemptOutcome
		reason  verify.Reason
		gone    bool
		after   time.Duration
	}{
		{"a gone device", refuse(410, "Unregistered"), verify.AttemptRefused, verify.ReasonNoDevice, true, 0},
		{"an expired token", refuse(410, "ExpiredToken"), verify.AttemptRefused, verify.ReasonNoDevice, true, 0},
		{"a bad token", refuse(400, "BadDeviceToken"), verify.AttemptRefused, verify.ReasonMisconfigured, false, 0},
		{"another app's", refuse(400, "DeviceTokenNotForTopic"), verify.AttemptRefused, verify.ReasonMisconfigured, false, 0},
		{"our key", refuse(403, "InvalidProviderToken"), verify.AttemptRefused, verify.ReasonMisconfigured, false, 0},
		{"throttled", refuse(429, "TooManyRequests", "Retry-After", "17"), verify.AttemptErrored, verify.ReasonThrottled, false, 17 * time.Second},
		{"too many keys", refuse(429, "TooManyProviderTokenUpdates"), verify.AttemptRefused, verify.ReasonMisconfigured, false, 0},
		{"busy", refuse(503, "ServiceUnavailable", "Retry-After", "3"), verify.AttemptErrored, verify.ReasonLater, false, 3 * time.Second},
		{"broken", refuse(500, "InternalServerError"), verify.AttemptErrored, verify.ReasonLater, false, 0},
		{"too large", refuse(413, "PayloadTooLarge"), verify.AttemptRefused, verify.ReasonRefused, false, 0},
		{"no JSON", func(w http.ResponseWriter) { w.WriteHeader(400); io.WriteString(w, "<html>493817") }, verify.AttemptRefused, verify.ReasonRefused, false, 0},
	} {
		a.mu.Lock()
		a.answers[receiver("c").Token] = test.answer
		a.mu.Unlock()
		err := service.Push(t.Context(), message("x"), receiver("c"))
		d := carrier.Decision(err)
		if d.Outcome != test.outcome || d.Reason != test.reason || errors.Is(err, push.ErrGone) != test.gone || d.After != test.after || strings.Contains(err.Error(), "493817") {
			t.Errorf("%s: %v: outcome %v, reason %v, gone %v, after %v; want %+v", test.name, err, d.Outcome, d.Reason, errors.Is(err, push.ErrGone), d.After, test)
		}
	}
}

// A device that was registered again after Apple last saw it go is kept.
func TestADeviceThatCameBackIsKept(t *testing.T) {
	t.Parallel()
	a := newApple(t)
	d := receiver("d")
	for since, gone := range map[time.Duration]bool{-time.Minute: false, time.Minute: true} {
		at := d.ID.Time().Add(since).UnixMilli()
		a.mu.Lock()
		a.answers[d.Token] = func(w http.ResponseWriter) {
			w.WriteHeader(410)
			fmt.Fprintf(w, `{"reason":"Unregistered","timestamp":%d}`, at)
		}
		a.mu.Unlock()
		if err := a.service(t, false, generous).Push(t.Context(), message("x"), d); err == nil || errors.Is(err, push.ErrGone) != gone {
			t.Errorf("Apple saw it go %v after it was registered: %v; want gone %v", since, err, gone)
		}
	}
}

func TestAHangingServiceIsGivenUp(t *testing.T) {
	t.Parallel()
	a := newApple(t)
	release, asked := make(chan struct{}), make(chan struct{}, 1)
	t.Cleanup(func() { close(release) })
	hung := receiver("e")
	slow := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-release
	}))
	slow.EnableHTTP2 = true
	slow.StartTLS()
	t.Cleanup(func() { slow.CloseClientConnections() })
	key, err := apns.ParseKey(a.file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(slow.Certificate())
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	for patience := 300 * time.Millisecond; ; patience *= 2 { // a busy machine hasn't made the connection by then
		s := apns.New(apns.App{Name: topic, Team: team, KeyID: keyID, Key: key, URL: slow.URL, RootCAs: roots, Timeout: patience, Conns: 4})
		err := s.Push(ctx, message("x"), hung)
		if ctx.Err() != nil {
			t.Fatalf("nothing reached the service in time: %v", err)
		}
		select {
		case <-asked:
			if carrier.Decision(err).Outcome != verify.AttemptUnknown {
				t.Errorf("got %v, want that it may have been sent", err)
			}
			return
		default:
		}
	}
}

func TestDevicesThatCantBeServed(t *testing.T) {
	t.Parallel()
	a := newApple(t)
	other, keyless := receiver("a"), receiver("b")
	other.App, keyless.Sign = "com.example.other", nil
	for name, d := range map[string]*verify.Receiver{"of another app": other, "without a key": keyless} {
		if err := a.service(t, false, generous).Push(t.Context(), message("x"), d); carrier.Decision(err).Reason != verify.ReasonNoDevice || errors.Is(err, push.ErrGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.service(t, true, generous).Push(t.Context(), message("x"), keyless); err != nil {
		t.Errorf("the text to one without a key: %v", err)
	}
}

func TestKeysAreReadAsAppleWritesThem(t *testing.T) {
	t.Parallel()
	a := newApple(t)
	for _, wrong := range [][]byte{nil, []byte("x"), a.file[:80], bytes.ReplaceAll(a.file, []byte("PRIVATE"), []byte("PUBLIC"))} {
		if _, err := apns.ParseKey(wrong); wrong == nil && err == nil || err != nil && strings.Contains(err.Error(), "MIG") {
			t.Errorf("a wrong key: %v", err)
		}
	}
}

// sideshow's client passes the stand-in as ours does, and is told the same.
func TestAnotherClientIsAnsweredTheSame(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("../push/testdata/control")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := command(t, dir, "go", "mod", "download"); err != nil {
		if os.Getenv("COUNTERSIGN_TEST_REQUIRE") != "" {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Skip("NOT RUN: the modules of other push clients can't be downloaded; try: go mod download, in internal/carrier/push/testdata/control")
	}
	a := newApple(t)
	a.answers[strings.Repeat("c", 64)] = refuse(410, "Unregistered")
	temp := t.TempDir()
	ca, key := filepath.Join(temp, "ca.pem"), filepath.Join(temp, "key.p8")
	if err := errors.Join(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}), 0o600), os.WriteFile(key, a.file, 0o600)); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, dir, "go", "run", ".", "apns", a.URL, ca, key, team, topic, strings.Repeat("a", 64), strings.Repeat("c", 64), "short")
	if want := "200 \n410 Unregistered\n400 BadDeviceToken\n"; err != nil || out != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
	out, err = command(t, dir, "go", "run", ".", "apns", a.URL, ca, key, "ZZZZZ99999", topic, strings.Repeat("a", 64))
	if want := "403 InvalidProviderToken\n"; err != nil || out != want {
		t.Errorf("another team: got %q, %v; want %q", out, err, want)
	}
	if got := a.requests(); len(got) != 1 {
		t.Errorf("Apple took %d messages, want 1", len(got))
	}
}

func command(t *testing.T, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
