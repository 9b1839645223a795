package provider

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

const (
	testCode       = "493817"
	testTo         = "+12025550100"
	testSecret     = "an-api-secret-of-tests"
	testKey        = "0123456789abcdef0123456789abcdef" // of callbacks
	testWebhookKey = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	testPublic     = "https://verify.example.com"
	testToken      = "019a5c1d-b54f-7eb3-919b-2585f8217934.1"
)

var (
	testNow        = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	messageID      = verify.ID{0x01, 0x9a, 0x5c, 0x1d, 0xb5, 0x4f, 0x7e, 0xb3, 0x91, 0x9b, 0x25, 0x85, 0xf8, 0x21, 0x79, 0x33}
	verificationID = verify.ID{0x01, 0x9a, 0x5c, 0x1d, 0xb5, 0x4f, 0x7e, 0xb3, 0x91, 0x9b, 0x25, 0x85, 0xf8, 0x21, 0x79, 0x34}
)

// message is one to send. Its text has what JSON, forms and XML must escape.
func message() verify.Message {
	return verify.Message{
		ID: messageID, Verification: verificationID, Channel: verify.ChannelSMS, To: testTo, From: "+12025550199",
		Body: "Your \"code\" & more: " + testCode, Code: testCode, Attempt: 1, ExpiresAt: testNow.Add(10 * time.Minute),
	}
}

// messageFor is the same on a carrier's channel.
func messageFor(c Config) verify.Message {
	m := message()
	if c.Spec.Channel == "voice" {
		m.Channel = verify.ChannelVoice
	}
	return m
}

// received is what a provider got.
type received struct {
	mu       sync.Mutex // guards requests
	requests []request
}

type request struct {
	*http.Request
	body string
}

func (r *received) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.requests...)
}

// providerServer starts a provider with TLS that notes requests, then answers as f does.
func providerServer(t testing.TB, f http.HandlerFunc) (*httptest.Server, *received) {
	t.Helper()
	got := new(received)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got.mu.Lock()
		got.requests = append(got.requests, request{r, string(body)})
		got.mu.Unlock()
		f(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, got
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// configOf is a preset's configuration that goes to a server of this test.
func configOf(t testing.TB, preset string, server *httptest.Server) Config {
	t.Helper()
	p, ok := PresetNamed(preset)
	if !ok {
		t.Fatalf("there is no preset %s", preset)
	}
	c := Config{
		Name: "way", Spec: p, Account: "AC0123", Secret: testSecret, CallbackSecret: testKey, Public: testPublic,
		Region: "eu-west-1", Profile: "", Timeout: 20 * time.Second, Conns: 8, Now: func() time.Time { return testNow }, Log: slog.New(slog.DiscardHandler),
	}
	switch preset {
	case "bird-channels", "syniverse", "syniverse-voice":
		c.Profile = "a-channel"
	case "linkmobility":
		c.User, c.Region, c.Profile = "api-user", "COOL", "BVldZyQt"
	case "bandwidth":
		c.User, c.Profile = "api-user", "93de2206"
	case "bird":
		c.Secret, c.CallbackSecret, c.Region = "bk_eu1_"+testSecret, testWebhookKey, ""
	case "azure":
		c.Secret = verify.Secret(base64.StdEncoding.EncodeToString([]byte(testSecret)))
	case "telnyx":
		c.CallbackSecret = telnyxPublic
	case "telnyx-voice":
		c.CallbackSecret, c.User = telnyxPublic, "1494"
	case "vonage-messages", "vonage-voice":
		c.Secret = testRSA(t)
	}
	c.Host = "provider.example"
	if server != nil {
		c.Host = server.Listener.Addr().String()
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AddCert(server.Certificate())
	}
	return c
}

func carrierOf(t testing.TB, c Config) *Carrier {
	t.Helper()
	out, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.client.CloseIdleConnections)
	return out
}

// decided is what the dispatcher makes of an error.
type decided struct {
	Outcome verify.AttemptOutcome
	Reason  verify.Reason
	After   time.Duration
}

var (
	unreachable   = decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonUnreachable}
	unknown       = decided{Outcome: verify.AttemptUnknown, Reason: verify.ReasonUnknown}
	misconfigured = decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonMisconfigured}
	noCredit      = decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonNoCredit}
	throttled     = decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonThrottled}
	later         = decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonLater}
)

func refused(reason verify.Reason) decided {
	return decided{Outcome: verify.AttemptRefused, Reason: reason}
}

// wantError compares a decision, and makes sure that the error's text tells nothing.
func wantError(t testing.TB, err error, want decided) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want %+v", want)
		return
	}
	d := carrier.Decision(err)
	if got := (decided{d.Outcome, d.Reason, d.After}); got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	wantSilent(t, err.Error())
}

// wantSilent fails where a text holds what nobody may read in a log.
func wantSilent(t testing.TB, text string) {
	t.Helper()
	for what, secret := range map[string]string{
		"code": testCode, "number": strings.TrimPrefix(testTo, "+"), "secret": testSecret, "callbacks' secret": testKey, "text": "more:",
	} {
		if strings.Contains(text, secret) {
			t.Errorf("the %s stands in %s", what, text)
		}
	}
}

func TestTheFirstRuleThatFitsDecides(t *testing.T) {
	t.Parallel()
	spec := Spec{
		URL: "https://{{.Host}}/send", Body: `{"to":{{json .To}},"text":{{json .Text}}}`, Headers: []HeaderSpec{{"Content-Type", "application/json"}}, Ref: "messages.0.id",
		Rules: []RuleSpec{
			{Status: []string{"200"}, Path: "messages.0.state", Values: []string{"3", "true", "late"}, Then: "retry", Reason: verify.ReasonNetwork.String()},
			{Path: "messages.0.state", Values: []string{"bad"}, Then: "refused", Reason: verify.ReasonBlocked.String()},
			{Path: "messages.0.state", Values: []string{"bad"}, Then: "accepted"}, // never reached
			{Status: []string{"400", "5xx"}, Path: "error", Then: "misconfigured"},
			{Status: []string{"202"}, Then: "unknown"},
		},
	}
	for _, tt := range []struct {
		status int
		body   string
		ref    string
		want   *decided
	}{
		{200, `{"messages":[{"id":"m-1","state":"ok"}]}`, "m-1", nil},
		{200, `{"messages":[{"id":17,"state":"ok"}]}`, "17", nil},
		{200, `{"messages":[{"id":12345678901234567890}]}`, "12345678901234567890", nil},
		{200, `{"messages":[]}`, "", nil},
		{200, `not JSON`, "", nil},
		{200, ``, "", nil},
		{200, `{"messages":[{"id":"a b"}]}`, "", nil},
		{200, `{"messages":[{"id":"` + testCode + `"}]}`, "", nil},
		{200, `{"messages":[{"id":"x-` + testCode + `-y"}]}`, "", nil},
		{200, `{"messages":[{"id":"` + strings.Repeat("x", 129) + `"}]}`, "", nil},
		{200, `{"messages":[{"state":3}]}`, "", &decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonNetwork}},
		{200, `{"messages":[{"state":true}]}`, "", &decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonNetwork}},
		{201, `{"messages":[{"state":"late"}]}`, "", nil},
		{200, `{"messages":[{"state":"bad"}]}`, "", &decided{Outcome: verify.AttemptRefused, Reason: verify.ReasonBlocked}},
		{500, `{"messages":[{"state":"bad"}]}`, "", &decided{Outcome: verify.AttemptRefused, Reason: verify.ReasonBlocked}},
		{400, `{"error":"` + testCode + `"}`, "", &misconfigured},
		{503, `{"error":1}`, "", &misconfigured},
		{400, `{"error":""}`, "", &decided{Outcome: verify.AttemptRefused, Reason: verify.ReasonRefused}},
		{202, `{}`, "", &unknown},
		{302, ``, "", &decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonRedirected}},
		{401, ``, "", &misconfigured}, {403, ``, "", &misconfigured}, {404, ``, "", &misconfigured},
		{402, ``, "", &noCredit}, {429, ``, "", &throttled}, {408, ``, "", &later}, {502, ``, "", &later},
		{422, ``, "", &decided{Outcome: verify.AttemptRefused, Reason: verify.ReasonRefused}},
	} {
		t.Run(fmt.Sprint(tt.status, tt.body), func(t *testing.T) {
			t.Parallel()
			server, got := providerServer(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "https://elsewhere.example/"+testCode)
				answer(tt.status, tt.body)(w, r)
			})
			c := configOf(t, "twilio", server)
			c.Spec = spec
			r, err := carrierOf(t, c).Send(t.Context(), message())
			if r.Ref != tt.ref {
				t.Errorf("got the reference %q, want %q", r.Ref, tt.ref)
			}
			switch {
			case tt.want != nil:
				wantError(t, err, *tt.want)
			case err != nil:
				t.Errorf("got %v, want that it is sent", err)
			}
			if n := len(got.all()); n != 1 {
				t.Errorf("got %d requests, want 1", n)
			}
		})
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	server, _ := providerServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
	})
	_, err := carrierOf(t, configOf(t, "twilio", server)).Send(t.Context(), message())
	wantError(t, err, decided{verify.AttemptErrored, verify.ReasonThrottled, 7 * time.Second})
}

// A request that was written may have been carried out; one that never left was not.
func TestWhatBecameOfARequest(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-t.Context().Done():
		}
		panic(http.ErrAbortHandler) // or else it answers 200, which a client that is just giving up may still hear
	}
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   decided
	}{
		"no answer in time": {hang, unknown},
		"it hangs up":       {hangUp, unknown},
		"an unreadable answer": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			defer conn.Close()
			io.WriteString(conn, "Your code is "+testCode+"\r\n\r\n")
		}, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, got := providerServer(t, tt.answer)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := carrierOf(t, configOf(t, "twilio", server)).Send(ctx, message())
			wantError(t, err, tt.want)
			if n := len(got.all()); n != 1 {
				t.Errorf("got %d requests, want 1", n)
			}
		})
	}
	server, _ := providerServer(t, hang)
	c := configOf(t, "twilio", server)
	c.RootCAs = x509.NewCertPool() // the provider doesn't prove itself
	_, err := carrierOf(t, c).Send(t.Context(), message())
	wantError(t, err, unreachable)
	server.Close()
	c = configOf(t, "twilio", server)
	_, err = carrierOf(t, c).Send(t.Context(), message())
	wantError(t, err, unreachable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = carrierOf(t, configOf(t, "twilio", server)).Send(ctx, message())
	wantError(t, err, unreachable)
}

// A provider that breaks down over a message on a connection that was used before may have sent it, and
// knows no id of ours by which it would drop a repeat.
func TestAMessageIsNeverRepeated(t *testing.T) {
	t.Parallel()
	first := true
	server, got := providerServer(t, func(w http.ResponseWriter, r *http.Request) {
		if !first {
			panic(http.ErrAbortHandler)
		}
		first = false
		answer(201, `{"sid":"SM1"}`)(w, r)
	})
	c := carrierOf(t, configOf(t, "twilio", server))
	if _, err := c.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	_, err := c.Send(t.Context(), message())
	wantError(t, err, unknown)
	if n := len(got.all()); n != 2 {
		t.Errorf("got %d requests, want 2", n)
	}
}

// A status came, and then nothing: the status counts where it is enough, and is no promise where it isn't.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	t.Parallel()
	half := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, body)
		}
	}
	server, _ := providerServer(t, half(`{"sid":"SM1"`))
	if r, err := carrierOf(t, configOf(t, "twilio", server)).Send(t.Context(), message()); err != nil || r.Ref != "" {
		t.Errorf("twilio: got %q, %v, want that it is sent", r.Ref, err)
	}
	server, _ = providerServer(t, half(`{"messages":[{"status":"0"}]}`))
	_, err := carrierOf(t, configOf(t, "vonage", server)).Send(t.Context(), message())
	wantError(t, err, unknown)
	server, _ = providerServer(t, answer(200, `{"messages":[{"status":"0"}],"rest":"`+strings.Repeat("x", 1<<20)+`"}`))
	_, err = carrierOf(t, configOf(t, "vonage", server)).Send(t.Context(), message())
	wantError(t, err, unknown)
}

// A call is no text message, nor the other way round, whatever the routes say.
func TestACarrierIsForOneChannel(t *testing.T) {
	t.Parallel()
	server, got := providerServer(t, answer(201, `{"sid":"SM1"}`))
	for preset, channel := range map[string]verify.Channel{"twilio": verify.ChannelVoice, "twilio-voice": verify.ChannelSMS} {
		m := message()
		m.Channel = channel
		_, err := carrierOf(t, configOf(t, preset, server)).Send(t.Context(), m)
		wantError(t, err, refused(verify.ReasonMisconfigured))
	}
	if n := len(got.all()); n != 0 {
		t.Errorf("got %d requests, want none", n)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	target, reached := providerServer(t, answer(200, ""))
	for _, code := range []int{301, 302, 303, 307, 308} {
		server, _ := providerServer(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target.URL, code) })
		_, err := carrierOf(t, configOf(t, "twilio", server)).Send(t.Context(), message())
		wantError(t, err, decided{Outcome: verify.AttemptErrored, Reason: verify.ReasonRedirected})
	}
	if n := len(reached.all()); n != 0 {
		t.Errorf("got %d requests at the redirect's target, want none", n)
	}
}

// The operator reads once what to do, however many messages meet it, and again after it has worked.
func TestTheOperatorIsToldOnceThatSomebodyMustAct(t *testing.T) {
	t.Parallel()
	status := 401
	server, _ := providerServer(t, func(w http.ResponseWriter, r *http.Request) { answer(status, `{"message":"`+testCode+`"}`)(w, r) })
	c := configOf(t, "twilio", server)
	var written bytes.Buffer
	c.Log = slog.New(slog.NewTextHandler(&written, nil))
	way := carrierOf(t, c)
	send := func(want int, word string) {
		t.Helper()
		way.Send(t.Context(), message())
		if got := strings.Count(written.String(), word); got != want {
			t.Errorf("got %d lines with %s, want %d:\n%s", got, word, want, &written)
		}
	}
	send(1, "level=ERROR")
	send(1, "level=ERROR")
	status = 400
	send(1, "level=ERROR")
	status = 201
	send(1, "accepts messages again")
	send(1, "accepts messages again")
	status = 402
	send(2, "level=ERROR")
	wantSilent(t, written.String())
	for _, want := range []string{"compare account, secret and URL", "has no money left", "carrier=way"} {
		if !strings.Contains(written.String(), want) {
			t.Errorf("the log doesn't say %q:\n%s", want, &written)
		}
	}
}

func TestAConfigurationIsTriedAtTheStart(t *testing.T) {
	t.Parallel()
	form := []HeaderSpec{{"Content-Type", "application/x-www-form-urlencoded"}}
	asJSON := []HeaderSpec{{"Content-Type", "application/json; charset=utf-8"}}
	right := Spec{URL: "https://{{.Host}}/", Headers: form, Body: "to={{query .To}}&text={{query .Text}}"}
	for want, change := range map[string]func(*Config){
		"":                                         func(*Config) {},
		"body: not a template":                     func(c *Config) { c.Spec.Body = "{{.To" },
		"body: the template fails":                 func(c *Config) { c.Spec.Body = "{{.Number}}" },
		"url: must be an https URL":                func(c *Config) { c.Spec.URL = "{{.Host}}/send" },
		"url: must be https: over":                 func(c *Config) { c.Spec.URL = "http://gateway.example/" },
		"url: must not hold cred":                  func(c *Config) { c.Spec.URL = "https://{{.Account}}:x@gateway.example/" },
		"url: a message must not":                  func(c *Config) { c.Spec.URL = "https://{{digits .To}}.example/" },
		"url: the query can't":                     func(c *Config) { c.Spec.URL = "https://gateway.example/?to={{query .To}}&text=%zz" },
		"body: not a form":                         func(c *Config) { c.Spec.Body = "to={{query .To}}&text={{query .Text}}&rate=100%" },
		"body: doesn't contain the text correctly": func(c *Config) { c.Spec.Body = "to={{query .To}}&text={{.Text}}" },
		"body: not JSON":                           func(c *Config) { c.Spec.Headers, c.Spec.Body = asJSON, `{"to":{{json .To}},"text":"{{.Text}}"}` },
		"body: doesn't contain the text":           func(c *Config) { c.Spec.Body = "to={{query .To}}&text={{query (digits .To)}}" },
		"body: doesn't contain the number":         func(c *Config) { c.Spec.Body = "text={{query .Text}}" },
		"headers[0].value: must":                   func(c *Config) { c.Spec.Headers = []HeaderSpec{{"X-Text", "{{.Text}}"}} },
		"headers[0].name: must be a header's name": func(c *Config) { c.Spec.Headers = []HeaderSpec{{"X-Text:", "1"}} },
		"auth.header: must be a header's name":     func(c *Config) { c.Spec.Auth.Kind, c.Spec.Auth.Header = "header", "X Key" },
		"channel: must be one of":                  func(c *Config) { c.Spec.Channel = "fax" },
		"auth.kind: must be one of":                func(c *Config) { c.Spec.Auth.Kind = "digest" },
		"auth.header: must not":                    func(c *Config) { c.Spec.Auth.Kind = "header" },
		"secret: must not be empty":                func(c *Config) { c.Spec.Auth.Kind, c.Secret = "basic", "" },
		"secret: must be one line":                 func(c *Config) { c.Spec.Auth.Kind, c.Secret = "bearer", testSecret+"\nX-Evil: 1" },
		"secret: must be a private":                func(c *Config) { c.Spec.Auth.Kind = "jwt" },
		"region: aws signs for":                    func(c *Config) { c.Spec.Auth.Kind, c.Region = "aws", "" },
		"rules[0].then: must be":                   func(c *Config) { c.Spec.Rules = []RuleSpec{{Then: "sent"}} },
		"rules[0].reason: must be":                 func(c *Config) { c.Spec.Rules = []RuleSpec{{Then: "refused", Reason: "no luck"}} },
		"rules[0].status: must be":                 func(c *Config) { c.Spec.Rules = []RuleSpec{{Then: "refused", Status: []string{"4x"}}} },
		"rules[0].values: need a":                  func(c *Config) { c.Spec.Rules = []RuleSpec{{Then: "refused", Values: []string{"1"}}} },
		"callback.check: must be":                  func(c *Config) { c.Spec.Callback.Check = "md5" },
		"callback: needs status":                   func(c *Config) { c.Spec.Callback.Check = "path" },
		"callback.reasons[0]":                      func(c *Config) { c.Spec.Callback.Reasons = []ReasonSpec{{Reason: "bad luck"}} },
		"callback_secret: must be 24": func(c *Config) {
			c.Spec.Callback, c.CallbackSecret = CallbackSpec{Check: "path", Ref: "id", Status: "s", Delivered: []string{"d"}}, "short"
		},
		"callback_secret: must be the public key": func(c *Config) {
			c.Spec.Callback = CallbackSpec{Check: "telnyx", Ref: "id", Status: "s", Delivered: []string{"d"}}
		},
	} {
		c := configOf(t, "twilio", nil)
		c.Spec = right
		change(&c)
		_, err := New(c)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if err != nil {
			wantSilent(t, err.Error())
		}
	}
}

// What is configured goes before the preset, key by key.
func TestAPresetCanBeChanged(t *testing.T) {
	t.Parallel()
	p, _ := PresetNamed("twilio")
	server, got := providerServer(t, answer(400, `{"code":21211}`))
	c := configOf(t, "twilio", server)
	c.Spec = Spec{
		URL: "https://{{.Host}}/other", Headers: []HeaderSpec{{"Content-Type", "application/x-www-form-urlencoded"}, {"X-Tenant", "{{.Account}}"}},
		Rules: []RuleSpec{{Path: "code", Values: []string{"21211"}, Then: "refused", Reason: "blocked"}}, Auth: AuthSpec{Kind: "bearer"},
		Callback: CallbackSpec{Reasons: []ReasonSpec{{"spam_filtered", []string{"30003"}}}},
	}.Over(p)
	way := carrierOf(t, c)
	_, err := way.Send(t.Context(), message())
	wantError(t, err, refused(verify.ReasonBlocked))
	r := got.all()[0]
	if r.URL.Path != "/other" || r.Header.Get("X-Tenant") != "AC0123" || r.Header.Get("Authorization") != "Bearer "+testSecret || !strings.Contains(r.body, "ValidityPeriod=600") {
		t.Errorf("got %s %v %s", r.URL, r.Header, r.body)
	}
	if reason := way.Spec.Callback.reason("30003", ""); reason != verify.ReasonSpamFiltered {
		t.Errorf("got %s, want the reason that was configured", reason)
	}
	if reason := way.Spec.Callback.reason("30007", ""); reason != verify.ReasonSpamFiltered {
		t.Errorf("got %s, want the preset's reason", reason)
	}
	if again, _ := PresetNamed("twilio"); len(again.Rules) != len(p.Rules) || !cmp.Equal(again, p) {
		t.Error("the preset itself was changed")
	}
}

func TestTemplateFunctions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{{json "a\"b"}}`: `"a\"b"`, `{{query "a b&+"}}`: "a+b%26%2B", `{{path "a/b c"}}`: "a%2Fb%20c", `{{xml "<&>"}}`: "&lt;&amp;&gt;",
		`{{digits "+12025550100"}}`: "12025550100", `{{digits "Shop"}}`: "Shop", `{{number "Shop"}} {{number "+1"}}`: "false true",
		`{{spaced ", " "Code 493817, 24"}}`: "Code 4, 9, 3, 8, 1, 7, 24", `{{gsm "ñ€"}} {{gsm "ш"}}`: "true false",
		`{{between 5 10 3}} {{between 5 10 7}} {{between 5 10 70}}`: "5 7 10", `{{times 1000 .TTL}}`: "90000", `{{.ExpiresWithin 60}}`: "2026-05-04T12:01:00.000Z", `{{.ExpiresWithin 600}}`: "2026-05-04T12:01:30.000Z",
	} {
		tmpl, err := parseTemplates(Spec{Body: text})
		if err != nil {
			t.Fatal(err)
		}
		r, err := tmpl.render(Spec{}, Fields{TTL: 90, now: testNow})
		if err != nil || string(r.body) != want {
			t.Errorf("%s: got %q, %v, want %q", text, r.body, err, want)
		}
	}
}

// A voice reads letters as a word, and digits as a number, unless they stand apart. Other numbers are left
// to it.
func TestACodeIsSpelled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, code, want string }{
		{"Your code is KXQPWM.", "KXQPWM", "Your code is K, X, Q, P, W, M."},
		{"A7B9 is your code for Shop 1234: A7B9", "A7B9", "A, 7, B, 9 is your code for Shop 1234: A, 7, B, 9"},
		{"A test call.", "", "A test call."},
	} {
		m := message()
		m.Body, m.Code = verify.Secret(tt.text), verify.Secret(tt.code)
		if got := (&Carrier{Config: Config{Now: time.Now}}).fields(m).Spoken; got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

// A template that fails for one message only must not tell of it.
func TestAFailingTemplateIsSilent(t *testing.T) {
	t.Parallel()
	server, got := providerServer(t, answer(200, ""))
	c := configOf(t, "twilio", server)
	c.Spec.Body = `To={{query .To}}&Body={{query .Text}}{{if eq .To "` + testTo + `"}}{{if .Attempt}}{{end}}{{end}}`
	if _, err := New(c); err == nil {
		t.Error("a field that doesn't exist was not noticed at the start")
	}
	c.Spec.Body = `To={{query .To}}&Body={{query .Text}}{{if eq .TTL 599}}{{index .Text 9999}}{{end}}`
	way := carrierOf(t, c)
	m := message()
	m.ExpiresAt = testNow.Add(599 * time.Second)
	_, err := way.Send(t.Context(), m)
	wantError(t, err, misconfigured)
	if len(got.all()) != 0 {
		t.Error("something was sent")
	}
}

func TestAnIDIsNotTheCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, ref, want string }{
		{"Your code is 493817", "SM493817", ""}, {"Your code is 493817", "SM49381", "SM49381"}, {"Your code is ABKQ", "id-ABKQ", ""},
		{"Your code is a3bk9", "xa3bk9x", ""}, {"Your code is 493817", "code-Your", "code-Your"}, {"Votre code : 4938", "4938", ""},
		{"Your code is 493817", "", ""}, {"x", "a\nb", ""}, {"x", "ä", ""}, {"x", "A-_.:+/=@0", "A-_.:+/=@0"},
	} {
		if got := safeRef(tt.ref, tt.text); got != tt.want {
			t.Errorf("safeRef(%q, %q) = %q, want %q", tt.ref, tt.text, got, tt.want)
		}
	}
}

var errTest = errors.New("the database is away")
