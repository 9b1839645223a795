package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// A provider is a stand-in for Twilio.
type testProvider struct {
	t      *testing.T
	status chan int        // of its answers
	got    chan url.Values // what was sent
	token  string
}

const testPublicURL = "https://verify.example.com"

// installProvider makes an installation whose first carrier is the stand-in, by way of the preset, and
// whose second is the one that every test has.
func installProvider(t *testing.T, edits ...*strings.Replacer) (*testProvider, *installation) {
	t.Helper()
	p := &testProvider{t: t, status: make(chan int, 100), got: make(chan url.Values, 100), token: "the-auth-token-of-an-account"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if err := r.ParseForm(); err != nil || user != "AC0123" || password != p.token || r.URL.Path != "/Accounts/AC0123/Messages.json" {
			t.Errorf("got %s as %q, %v", r.URL, user, err)
		}
		p.got <- r.PostForm
		w.WriteHeader(<-p.status)
		w.Write([]byte(`{"sid":"SM0123"}`))
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	api := filepath.Join(dir, "twilio.api")
	for file, text := range map[string]string{api: "url: " + server.URL + "/Accounts/{{path .Account}}/Messages.json\n", filepath.Join(dir, "twilio.secret"): p.token + "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := install(t, theProgram(t), func(text string) string {
		before, public, _ := strings.Cut(text, "\npublic:\n")
		text = before + "\npublic:\n" + strings.Replace(public, "  url: \"\"\n", "  url: "+testPublicURL+"\n", 1)
		text = strings.Replace(text, "\ncarriers:\n", "\ncarriers:\n  - name: twilio\n    provider: {preset: twilio, account: AC0123, secret: {file: "+filepath.Join(dir, "twilio.secret")+"}, api: "+api+"}\n", 1)
		text = strings.Replace(text, "  sms:\n", "  sms:\n    - twilio\n", 1)
		for _, edit := range edits {
			text = edit.Replace(text)
		}
		return text
	})
	return p, in
}

// start starts a verification whose message the provider takes.
func (p *testProvider) start(in *installation, server *process) (id string, sent url.Values) {
	p.t.Helper()
	p.status <- http.StatusCreated
	id, answer, err := in.ask(server, "sms", `{"to":"+12025550100"}`)
	if err != nil || !strings.Contains(answer, `"channel":"sms"`) {
		p.t.Fatalf("start: %s, %v", answer, err)
	}
	return id, <-p.got
}

// report tells a server what became of a message, at the URL that the message named, signed.
func (p *testProvider) report(server *process, sent url.Values, token string, report url.Values) int {
	p.t.Helper()
	return p.reportTo(server, sent.Get("StatusCallback"), token, report)
}

func (p *testProvider) reportTo(server *process, target, token string, report url.Values) int {
	p.t.Helper()
	path, ok := strings.CutPrefix(target, testPublicURL)
	if !ok {
		p.t.Fatalf("got the callback %q, want one below %s", target, testPublicURL)
	}
	m := hmac.New(sha1.New, []byte(token))
	m.Write([]byte(target))
	names := make([]string, 0, len(report))
	for name := range report {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		m.Write([]byte(name + report.Get(name)))
	}
	req, err := http.NewRequest("POST", server.URL+path, strings.NewReader(report.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
	resp, text, err := do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	if strings.Contains(text, token) {
		p.t.Errorf("the answer has the token: %s", text)
	}
	return resp.StatusCode
}

// wantDelivery waits until the database says so.
func (in *installation) wantDelivery(id string, status verify.Status, delivery verify.DeliveryState, reason string) {
	in.t.Helper()
	var got storedVerification
	if !within(patience, func() bool {
		got = readVerifications(in.t.(*testing.T), filepath.Join(in.dir, "data"))[id]
		return got.status == int(status) && got.delivery == int(delivery) && got.reason == reason
	}) {
		in.t.Errorf("got %+v, want %v, %v, %q", got, status, delivery, reason)
	}
}

func TestAProvidersReportAdvancesADelivery(t *testing.T) {
	t.Parallel()
	provider, in := installProvider(t)
	p := in.serve()
	id, sent := provider.start(in, p)
	code := codeInBody.FindString(sent.Get("Body"))
	if sent.Get("To") != "+12025550100" || code == "" {
		t.Fatalf("got %v", sent)
	}
	in.wantDelivery(id, verify.StatusPending, verify.DeliverySent, "")

	delivered := url.Values{"MessageSid": {"SM0123"}, "MessageStatus": {"delivered"}}
	failed := url.Values{"MessageSid": {"SM0123"}, "MessageStatus": {"undelivered"}, "ErrorCode": {"30003"}}
	if status := provider.report(p, sent, provider.token+"x", delivered); status != http.StatusForbidden {
		t.Errorf("a forged report: got %d, want 403", status)
	}
	in.wantDelivery(id, verify.StatusPending, verify.DeliverySent, "")
	for _, again := range []url.Values{delivered, delivered, failed} { // twice, and too late
		if status := provider.report(p, sent, provider.token, again); status != http.StatusOK {
			t.Errorf("%v: got %d, want 200", again, status)
		}
		in.wantDelivery(id, verify.StatusPending, verify.DeliveryDelivered, "")
	}
	// No report is a verdict.
	if _, answer, err := in.ask(p, id+"/verify", `{"token":"`+code+`"}`); answer != `{"success":true}` {
		t.Errorf("verify: %s, %v", answer, err)
	}
	provider.report(p, sent, provider.token, failed)
	in.wantDelivery(id, verify.StatusApproved, verify.DeliveryDelivered, "")
	p.kill()
	for _, secret := range []string{provider.token, code, "+12025550100"} {
		if strings.Contains(p.stderr.String(), secret) {
			t.Errorf("the log has %q:\n%s", secret, p.stderr)
		}
	}
}

// What the provider couldn't deliver goes out by the next carrier, with the same code.
func TestAFailedReportMovesOn(t *testing.T) {
	t.Parallel()
	provider, in := installProvider(t)
	p := in.serve()
	id, sent := provider.start(in, p)
	in.wantDelivery(id, verify.StatusPending, verify.DeliverySent, "")
	if status := provider.report(p, sent, provider.token, url.Values{"MessageStatus": {"undelivered"}, "ErrorCode": {"30003"}}); status != http.StatusOK {
		t.Errorf("got %d, want 200", status)
	}
	if got := in.receiver.message(t, id).Body; got != sent.Get("Body") {
		t.Errorf("got %q, want the same text", got)
	}
}

// A provider who signs as itself reports of its own messages only, also when it knows another's URL.
func TestAProviderReportsOfItsOwnMessagesOnly(t *testing.T) {
	t.Parallel()
	const token = "the-auth-token-of-another-account"
	file := filepath.Join(t.TempDir(), "other.secret")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	provider, in := installProvider(t, strings.NewReplacer("\ncarriers:\n", "\ncarriers:\n  - name: other\n    provider: {preset: twilio, account: AC4567, secret: {file: "+file+"}}\n"))
	p := in.serve()
	id, sent := provider.start(in, p)
	in.wantDelivery(id, verify.StatusPending, verify.DeliverySent, "")
	target := strings.Replace(sent.Get("StatusCallback"), "/carriers/twilio/", "/carriers/other/", 1)
	for _, status := range []string{"delivered", "undelivered"} {
		if got := provider.reportTo(p, target, token, url.Values{"MessageSid": {"SM0123"}, "MessageStatus": {status}}); got != http.StatusOK {
			t.Errorf("got %d, want 200, for there is nothing to do again", got)
		}
		in.wantDelivery(id, verify.StatusPending, verify.DeliverySent, "")
	}
	if metrics := get(t, p.Ops+"/metrics"); !strings.Contains(metrics, `countersign_receipts_total{carrier="other",country="",result="unmatched"} 2`+"\n") {
		t.Errorf("the metrics don't count them:\n%s", metrics)
	}
	provider.report(p, sent, provider.token, url.Values{"MessageSid": {"SM0123"}, "MessageStatus": {"delivered"}})
	in.wantDelivery(id, verify.StatusPending, verify.DeliveryDelivered, "")
}

// What no carrier of texts could deliver is said in a call, with the same code, where the operator wants that.
func TestAFailedReportCallsByTheNextChannel(t *testing.T) {
	t.Parallel()
	testsize.Quarter(t, "waits for the minute that must pass between a text and a call")
	provider, in := installProvider(t, strings.NewReplacer("    - twilio\n    - \"gateway\"\n", "    - twilio\n", "  sms: []\n", "  sms: [voice]\n"))
	p := in.serve()
	id, sent := provider.start(in, p)
	in.wantDelivery(id, verify.StatusPending, verify.DeliverySent, "")
	provider.report(p, sent, provider.token, url.Values{"MessageStatus": {"undelivered"}, "ErrorCode": {"30003"}})
	code := codeInBody.FindString(sent.Get("Body"))
	if got := in.receiver.message(t, id); got.Channel != "voice" || codeInBody.FindString(got.Body) != code {
		t.Errorf("got a message by %q, want a call with the same code", got.Channel)
	}
	if _, answer, err := in.ask(p, id+"/verify", `{"token":"`+code+`"}`); answer != `{"success":true}` {
		t.Errorf("verify: %s, %v", answer, err)
	}
}

// Plivo is told to call, asks what to say, and reports how it went: by the preset, at the real server.
func TestACallAsksTheServerWhatToSay(t *testing.T) {
	t.Parallel()
	const token = "the-auth-token-of-an-account"
	type order struct {
		AnswerURL string `json:"answer_url"`
		HangupURL string `json:"hangup_url"`
	}
	orders := make(chan order, 10)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var o order
		if err != nil || json.Unmarshal(body, &o) != nil {
			t.Errorf("got the order %s, %v", body, err)
		}
		orders <- o
		w.WriteHeader(http.StatusCreated)
		w.Write([]byte(`{"message":"call fired","request_uuid":"9834029e","api_id":"97ce"}`))
	}))
	t.Cleanup(api.Close)
	dir := t.TempDir()
	described, secret := filepath.Join(dir, "plivo.api"), filepath.Join(dir, "plivo.secret")
	for file, text := range map[string]string{described: "url: " + api.URL + "/v1/Account/{{path .Account}}/Call/\n", secret: token + "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, in := installProvider(t, strings.NewReplacer(
		"\ncarriers:\n", "\ncarriers:\n  - name: plivo\n    provider: {preset: plivo-voice, account: MA01, secret: {file: "+secret+"}, api: "+described+"}\n",
		"  voice:\n    - \"gateway\"\n", "  voice:\n    - plivo\n"))
	p := in.serve()
	signed := func(target string, form url.Values) (*http.Response, string) {
		t.Helper()
		m, nonce := hmac.New(sha256.New, []byte(token)), rand.Text()
		m.Write([]byte(target + "."))
		for _, name := range slices.Sorted(maps.Keys(form)) {
			m.Write([]byte(name + form.Get(name)))
		}
		m.Write([]byte("." + nonce))
		req, err := http.NewRequest("POST", p.URL+strings.TrimPrefix(target, testPublicURL), strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("X-Plivo-Signature-V3-Nonce", nonce)
		req.Header.Set("X-Plivo-Signature-V3", base64.StdEncoding.EncodeToString(m.Sum(nil)))
		resp, text, err := do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp, text
	}

	id, answer, err := in.ask(p, "call", `{"to":"+12025550100"}`)
	if err != nil || id == "" {
		t.Fatalf("start: %s, %v", answer, err)
	}
	o := <-orders
	resp, text := signed(o.AnswerURL, url.Values{"CallUUID": {"a"}, "CallStatus": {"in-progress"}})
	said := regexp.MustCompile(`(?:[0-9], ){5}[0-9]`).FindString(text)
	if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" || strings.Count(text, said) != 2 || said == "" {
		t.Fatalf("the call says %d %v %s", resp.StatusCode, resp.Header, text)
	}
	if resp, _ := signed(o.HangupURL, url.Values{"CallStatus": {"completed"}, "ALegRequestUUID": {"9834029e"}}); resp.StatusCode != 200 {
		t.Errorf("the report: %s", resp.Status)
	}
	in.wantDelivery(id, verify.StatusPending, verify.DeliveryDelivered, "")
	code := strings.ReplaceAll(said, ", ", "")
	if _, answer, err := in.ask(p, id+"/verify", `{"token":"`+code+`"}`); answer != `{"success":true}` {
		t.Errorf("verify: %s, %v", answer, err)
	}
	if _, text := signed(o.AnswerURL, url.Values{"CallUUID": {"a"}}); text != "<Response><Hangup/></Response>" {
		t.Errorf("after that the call says %s", text)
	}
	p.kill()
	_, names, _ := strings.Cut(o.AnswerURL, "?m=")
	for _, secret := range []string{token, code, said, names, "+12025550100"} {
		if strings.Contains(p.stderr.String(), secret) {
			t.Errorf("the log has %q:\n%s", secret, p.stderr)
		}
	}
}

// Bad credentials cost nobody a code, and the log says what to do.
func TestAMisconfiguredProviderIsPassedOver(t *testing.T) {
	t.Parallel()
	provider, in := installProvider(t)
	p := in.serve()
	for _, to := range []string{"+12025550100", "+12025550101"} {
		provider.status <- http.StatusUnauthorized
		id, answer, err := in.ask(p, "sms", `{"to":"`+to+`"}`)
		if err != nil || id == "" {
			t.Fatalf("start: %s, %v", answer, err)
		}
		<-provider.got
		in.receiver.message(t, id)
	}
	p.kill()
	if n := strings.Count(p.stderr.String(), "compare account, secret and URL with the provider's console"); n != 1 {
		t.Errorf("the log says %d times what to do, want once:\n%s", n, p.stderr)
	}
	if !strings.Contains(p.stderr.String(), `"level":"ERROR"`) {
		t.Errorf("the log has no error:\n%s", p.stderr)
	}
}
