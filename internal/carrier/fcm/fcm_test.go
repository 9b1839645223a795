package fcm_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
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
	"github.com/countersign/countersign/internal/carrier/fcm"
	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/verify"
)

const (
	project = "shop-1"
	email   = "push@shop-1.iam.gserviceaccount.com"
	keyID   = "f00d"
)

// google is a stand-in for Google's authorization server and for FCM. It checks requests as RFC 7523, Google's "Using
// OAuth 2.0 for server to server applications" and FCM's reference of projects.messages have them.
type google struct {
	*httptest.Server
	public *rsa.PublicKey
	file   []byte // the service account, as the Firebase console hands it out

	mu       sync.Mutex // guards the next
	answers  map[string]func(w http.ResponseWriter)
	exchange func(w http.ResponseWriter) // instead of an access token
	access   string                      // that is good
	granted  int
	life     int // seconds
	got      []message
	bodies   [][]byte
}

type message struct {
	Token        string
	Data         map[string]string
	Notification *struct{ Title, Body string }
	Android      struct {
		Priority, TTL, CollapseKey string
	}
	APNS struct {
		Headers map[string]string
		Payload struct{ APS map[string]any }
	}
}

var privateKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newGoogle(t *testing.T) *google {
	t.Helper()
	private, err := privateKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	g := &google{public: &private.PublicKey, answers: map[string]func(http.ResponseWriter){}, life: 3599}
	g.Server = httptest.NewUnstartedServer(g)
	g.EnableHTTP2 = true
	g.StartTLS()
	t.Cleanup(g.Close)
	g.file, err = json.Marshal(map[string]string{
		"type": "service_account", "project_id": project, "client_email": email, "private_key_id": keyID, "token_uri": g.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// refuse answers as FCM does.
func refuse(status int, code string, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":{"code":%d,"message":"493817","status":"X","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest"},`+
			`{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"%s"}]}}`, status, code)
	}
}

func (g *google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch r.URL.Path {
	case "/token":
		g.token(w, r)
	case "/v1/projects/" + project + "/messages:send":
		g.send(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (g *google) token(w http.ResponseWriter, r *http.Request) {
	if g.exchange != nil {
		g.exchange(w)
		return
	}
	if err := g.checkAssertion(r); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant", "error_description": err.Error()})
		return
	}
	g.granted++
	g.access = "ya29." + rand.Text()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":"%s","expires_in":%d,"token_type":"Bearer"}`, g.access, g.life)
}

func (g *google) checkAssertion(r *http.Request) error {
	if r.Method != "POST" || r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return fmt.Errorf("grant_type %q", r.FormValue("grant_type"))
	}
	parts := strings.Split(r.FormValue("assertion"), ".")
	if len(parts) != 3 {
		return errors.New("no JWT")
	}
	var header struct{ Alg, Typ, Kid string }
	var claims struct {
		Iss, Scope, Aud string
		Iat, Exp        int64
	}
	h, err1 := base64.RawURLEncoding.DecodeString(parts[0])
	c, err2 := base64.RawURLEncoding.DecodeString(parts[1])
	s, err3 := base64.RawURLEncoding.DecodeString(parts[2])
	if err := errors.Join(err1, err2, err3, json.Unmarshal(h, &header), json.Unmarshal(c, &claims)); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(g.public, crypto.SHA256, sum[:], s); err != nil {
		return err
	}
	now := time.Now().Unix()
	if header.Alg != "RS256" || header.Typ != "JWT" || header.Kid != keyID || claims.Iss != email || claims.Aud != g.URL+"/token" ||
		!strings.Contains(claims.Scope, "https://www.googleapis.com/auth/firebase.messaging") ||
		claims.Exp-claims.Iat > 3600 || claims.Exp < now || claims.Iat > now+60 {
		return fmt.Errorf("header %+v, claims %+v", header, claims)
	}
	return nil
}

func (g *google) send(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in struct{ Message message }
	switch {
	case err != nil || r.Method != "POST" || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		w.WriteHeader(http.StatusBadRequest)
		return
	case r.Header.Get("Authorization") != "Bearer "+g.access:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case len(body) > 4096 || json.Unmarshal(body, &in) != nil || in.Message.Token == "" || in.Message.Android.Priority != "HIGH" || len(in.Message.Android.CollapseKey) != 32:
		refuse(400, "INVALID_ARGUMENT")(w)
		return
	}
	seconds, err := strconv.Atoi(strings.TrimSuffix(in.Message.Android.TTL, "s"))
	if err != nil || seconds < 0 || seconds > 28*86400 {
		refuse(400, "INVALID_ARGUMENT")(w)
		return
	}
	if answer := g.answers[in.Message.Token]; answer != nil {
		answer(w)
		return
	}
	g.got, g.bodies = append(g.got, in.Message), append(g.bodies, body)
	fmt.Fprintf(w, `{"name":"projects/%s/messages/%d"}`, project, len(g.got))
}

func (g *google) messages() []message {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got
}

func (g *google) answer(token string, f func(http.ResponseWriter)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers[token] = f
}

const generous = 30 * time.Second

func (g *google) service(t *testing.T, text bool) *fcm.Service {
	t.Helper()
	account, err := fcm.ParseAccount(g.file)
	if err != nil {
		t.Fatal(err)
	}
	return fcm.New(g.app(account, text, generous))
}

func (g *google) app(account *fcm.Account, text bool, timeout time.Duration) fcm.App {
	roots := x509.NewCertPool()
	roots.AddCert(g.Certificate())
	return fcm.App{Name: "com.example.shop", Account: account, Text: text, URL: g.URL, RootCAs: roots, Timeout: timeout, Conns: 4}
}

func receiver(token string) *verify.Receiver {
	d := &verify.Receiver{ID: verify.NewID(time.Now()), Kind: verify.DeviceFCM, Locale: "fr-CA"}
	d.App, d.Token, d.Sign = "com.example.shop", token, []byte("key")
	return d
}

func newMessage(body string) *verify.Message {
	now := time.Now()
	return &verify.Message{
		ID: verify.NewID(now), Verification: verify.NewID(now), Application: verify.NewID(now), User: "ada", Locale: "de",
		Body: verify.Secret(body), Code: "493817", ExpiresAt: now.Add(5 * time.Minute),
	}
}

func TestAPushWakesTheApp(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	m := newMessage("Your code is 493817")
	wakes, tells := g.service(t, false), g.service(t, true)
	for _, s := range []*fcm.Service{wakes, wakes, tells} {
		if err := s.Push(t.Context(), m, receiver("a")); err != nil {
			t.Fatal(err)
		}
	}
	got := g.messages()
	if len(got) != 3 || g.granted != 2 {
		t.Fatalf("FCM took %d messages and granted %d tokens, want 3 and one for each service", len(got), g.granted)
	}
	if text := string(g.bodies[0]); strings.Contains(text, "493817") || got[0].Notification != nil || got[0].Data["verification_id"] != m.Verification.String() || got[0].Data["kind"] != "code" {
		t.Errorf("the wake-up is %s", text)
	}
	if n := got[2].Notification; n == nil || n.Body != "Your code is 493817" || n.Title != "Votre code" || got[2].Data["code"] != "493817" {
		t.Errorf("the text is %s", g.bodies[2])
	}
	for _, r := range got {
		ttl, err := strconv.Atoi(strings.TrimSuffix(r.Android.TTL, "s"))
		if r.Android.CollapseKey != got[0].Android.CollapseKey || err != nil || ttl < 200 || ttl > 300 || r.APNS.Headers["apns-priority"] != "10" ||
			r.APNS.Headers["apns-expiration"] != strconv.FormatInt(m.ExpiresAt.Unix(), 10) {
			t.Errorf("message %+v", r)
		}
	}

	// Google never learns what is asked.
	m.ByPrompt, m.Code, m.Body = true, "", "Is this you?"
	m.Question = &verify.Question{Challenge: "c", Asker: "Secret Shop", Payment: verify.Payment{Amount: "5 EUR", Payee: "Secret Payee"}}
	if err := tells.Push(t.Context(), m, receiver("b")); err != nil {
		t.Fatal(err)
	}
	if text := string(g.bodies[3]); strings.Contains(text, "Secret") || !strings.Contains(text, `"kind":"prompt"`) {
		t.Errorf("the prompt is %s", text)
	}
}

// The longest text that a template can make gives way to the code.
func TestALongTextFits(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	for _, body := range []string{strings.Repeat("𝔸", 1600), strings.Repeat("<", 1600), strings.Repeat("x", 4096)} {
		if err := g.service(t, true).Push(t.Context(), newMessage(body), receiver("a")); err != nil {
			t.Errorf("a body of %d bytes: %v", len(body), err)
		}
	}
	if got := g.messages(); len(got) != 3 || got[2].Notification.Body != "493817" {
		t.Errorf("FCM took %+v", got)
	}
}

// What FCM refuses, and what happens next.
func TestRefusals(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	s := g.service(t, false)
	for _, test := range []struct {
		name    string
		answer  func(http.ResponseWriter)
		outcome verify.AttemptOutcome
		reason  verify.Reason
		gone    bool
		after   time.Duration
	}{
		{"a gone device", refuse(404, "UNREGISTERED"), verify.AttemptRefused, verify.ReasonNoDevice, true, 0},
		{"no such project", func(w http.ResponseWriter) { w.WriteHeader(404) }, verify.AttemptRefused, verify.ReasonMisconfigured, false, 0},
		{"a bad token", refuse(400, "INVALID_ARGUMENT"), verify.AttemptRefused, verify.ReasonRefused, false, 0},
		{"another sender's", refuse(403, "SENDER_ID_MISMATCH"), verify.AttemptRefused, verify.ReasonMisconfigured, false, 0},
		{"throttled", refuse(429, "QUOTA_EXCEEDED", "Retry-After", "17"), verify.AttemptErrored, verify.ReasonThrottled, false, 17 * time.Second},
		{"busy", refuse(503, "UNAVAILABLE", "Retry-After", "3"), verify.AttemptErrored, verify.ReasonLater, false, 3 * time.Second},
		{"broken", refuse(500, "INTERNAL"), verify.AttemptErrored, verify.ReasonLater, false, 0},
		{"Apple's key", refuse(401, "THIRD_PARTY_AUTH_ERROR"), verify.AttemptRefused, verify.ReasonMisconfigured, false, 0},
		{"no JSON", func(w http.ResponseWriter) { w.WriteHeader(400); io.WriteString(w, "<html>493817") }, verify.AttemptRefused, verify.ReasonRefused, false, 0},
	} {
		g.answer("c", test.answer)
		err := s.Push(t.Context(), newMessage("x"), receiver("c"))
		d := carrier.Decision(err)
		if d.Outcome != test.outcome || d.Reason != test.reason || errors.Is(err, push.ErrGone) != test.gone || d.After != test.after || strings.Contains(err.Error(), "493817") {
			t.Errorf("%s: %v: outcome %v, reason %v, gone %v, after %v; want %+v", test.name, err, d.Outcome, d.Reason, errors.Is(err, push.ErrGone), d.After, test)
		}
	}
	if g.granted != 1 {
		t.Errorf("%d access tokens were granted, want one", g.granted)
	}
}

// A token that was revoked is replaced, once. One that grows old is replaced before it ends.
func TestAccessTokensAreRenewed(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	s := g.service(t, false)
	send := func() {
		t.Helper()
		if err := s.Push(t.Context(), newMessage("x"), receiver("a")); err != nil {
			t.Error(err)
		}
	}
	send()
	g.mu.Lock()
	g.access = "another"
	g.mu.Unlock()
	send()
	if g.granted != 2 {
		t.Errorf("%d tokens were granted, want 2: one was revoked", g.granted)
	}
	g.answer("a", func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) })
	if err := s.Push(t.Context(), newMessage("x"), receiver("a")); carrier.Decision(err).Reason != verify.ReasonMisconfigured || g.granted != 3 {
		t.Errorf("always 401: %v, %d tokens; want that the push is given up after one more token", err, g.granted)
	}
	g.answer("a", nil)

	g.mu.Lock()
	g.life = 0
	g.granted = 0
	g.mu.Unlock()
	fresh := g.service(t, false)
	for range 2 {
		if err := fresh.Push(t.Context(), newMessage("x"), receiver("a")); err != nil {
			t.Error(err)
		}
	}
	if g.granted != 2 {
		t.Errorf("%d tokens without a life were granted for two messages, want 2", g.granted)
	}
}

// A hundred pushes that begin concurrently ask for one token.
func TestOneTokenIsAskedForOnce(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	s := g.service(t, false)
	var pushes sync.WaitGroup
	for range 100 {
		pushes.Go(func() {
			if err := s.Push(t.Context(), newMessage("x"), receiver("a")); err != nil {
				t.Error(err)
			}
		})
	}
	pushes.Wait()
	if g.granted != 1 || len(g.messages()) != 100 {
		t.Errorf("%d tokens, %d messages; want 1 and 100", g.granted, len(g.messages()))
	}
}

func TestATokenThatCantBeHad(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		exchange func(http.ResponseWriter)
		reason   verify.Reason
	}{
		"a revoked key": {func(w http.ResponseWriter) { w.WriteHeader(400); io.WriteString(w, `{"error":"invalid_grant"}`) }, verify.ReasonMisconfigured},
		"busy":          {func(w http.ResponseWriter) { w.WriteHeader(503) }, verify.ReasonLater},
		"no token":      {func(w http.ResponseWriter) { io.WriteString(w, `{"id_token":"x"}`) }, verify.ReasonError},
		"no JSON":       {func(w http.ResponseWriter) { io.WriteString(w, `<html>`) }, verify.ReasonError},
		"a new line":    {func(w http.ResponseWriter) { io.WriteString(w, `{"access_token":"x\r\nHost: y"}`) }, verify.ReasonError},
	} {
		g := newGoogle(t)
		g.exchange = test.exchange
		if err := g.service(t, false).Push(t.Context(), newMessage("x"), receiver("a")); carrier.Decision(err).Reason != test.reason || len(g.messages()) != 0 {
			t.Errorf("%s: %v, want %v", name, err, test.reason)
		}
		account, err := fcm.ParseAccount(g.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := fcm.Try(t.Context(), g.app(account, false, generous)); err == nil {
			t.Errorf("%s: config check --connect finds nothing", name)
		}
	}
}

func TestAHangingServiceIsGivenUp(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	release := make(chan struct{})
	hanging := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(release) })
	account, err := fcm.ParseAccount([]byte(strings.ReplaceAll(string(g.file), g.URL, hanging.URL)))
	if err != nil {
		t.Fatal(err)
	}
	app := g.app(account, false, 300*time.Millisecond)
	app.RootCAs.AddCert(hanging.Certificate())
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	// Without a token nothing was sent, so the next carrier may have the message at once.
	if err := fcm.New(app).Push(ctx, newMessage("x"), receiver("a")); carrier.Decision(err).Outcome != verify.AttemptErrored || ctx.Err() != nil {
		t.Errorf("got %v, want that nothing was sent", err)
	}
}

func TestDevicesThatCantBeServed(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	other, keyless := receiver("a"), receiver("b")
	other.App, keyless.Sign = "com.example.other", nil
	for name, d := range map[string]*verify.Receiver{"of another app": other, "without a key": keyless} {
		if err := g.service(t, false).Push(t.Context(), newMessage("x"), d); carrier.Decision(err).Reason != verify.ReasonNoDevice || errors.Is(err, push.ErrGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := g.service(t, true).Push(t.Context(), newMessage("x"), keyless); err != nil {
		t.Errorf("the text to one without a key: %v", err)
	}
}

func TestAccountsAreReadAsGoogleWritesThem(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	for _, wrong := range []string{
		"", "{}", "[]", strings.ReplaceAll(string(g.file), "service_account", "authorized_user"), strings.ReplaceAll(string(g.file), "https:", "http:"),
		strings.ReplaceAll(string(g.file), "BEGIN PRIVATE KEY", "BEGIN"), strings.ReplaceAll(string(g.file), project, ""), strings.ReplaceAll(string(g.file), "https://", "https://x:y@"),
	} {
		if _, err := fcm.ParseAccount([]byte(wrong)); err == nil || strings.Contains(err.Error(), "MII") {
			t.Errorf("%.40q: %v", wrong, err)
		}
	}
}

// Google's own client passes the stand-in as ours does, and is told the same; and Google's types know every field that
// ours sends.
func TestAnotherClientIsAnsweredTheSame(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("../push/testdata/control")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := command(t, dir, nil, "go", "mod", "download"); err != nil {
		if os.Getenv("COUNTERSIGN_TEST_REQUIRE") != "" {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Skip("NOT RUN: the modules of other push clients can't be downloaded; try: go mod download, in internal/carrier/push/testdata/control")
	}
	g := newGoogle(t)
	g.answer("gone", refuse(404, "UNREGISTERED"))
	temp := t.TempDir()
	ca, account := filepath.Join(temp, "ca.pem"), filepath.Join(temp, "account.json")
	if err := errors.Join(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Certificate().Raw}), 0o600), os.WriteFile(account, g.file, 0o600)); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, dir, nil, "go", "run", ".", "fcm", g.URL, ca, account, "live", "gone")
	if want := "200\n404\n"; err != nil || out != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
	if err := g.service(t, true).Push(t.Context(), newMessage("Your code is 493817"), receiver("a")); err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	ours := g.bodies[len(g.bodies)-1]
	g.mu.Unlock()
	if out, err := command(t, dir, ours, "go", "run", ".", "decode"); err != nil || out != "decoded\n" {
		t.Errorf("our message %s: %q, %v", ours, out, err)
	}
}

func command(t *testing.T, dir string, in []byte, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.WaitDelay, cmd.Stdin = dir, time.Second, strings.NewReader(string(in))
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
