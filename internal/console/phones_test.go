package console

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier/sim"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// A fakeDesk knows one verification.
type fakeDesk struct {
	v       verify.Snapshot
	started []string
	typed   []string
	err     error
}

func (d *fakeDesk) Start(_ context.Context, to string, c verify.Channel) (verify.ID, error) {
	d.started = append(d.started, fmt.Sprint(to, " by ", c))
	return d.v.Verification.ID, d.err
}

func (d *fakeDesk) Check(_ context.Context, id verify.ID, typed verify.Secret) error {
	d.typed = append(d.typed, typed.Reveal())
	return d.err
}

func (d *fakeDesk) Look(_ context.Context, id verify.ID) (verify.Snapshot, error) {
	if id != d.v.Verification.ID {
		return verify.Snapshot{}, verify.ErrNotFound
	}
	return d.v, nil
}

func (d *fakeDesk) Invite(context.Context) (verify.Secret, error) { return "JBSW-Y3DP-EHPK", d.err }

func (d *fakeDesk) Ask(_ context.Context, from verify.Client) (verify.ID, error) {
	d.started = append(d.started, "asked from "+from.IP)
	d.v.Verification.Prompt.Number = 47
	return d.v.Verification.ID, d.err
}

func newDesk(s verify.Status) *fakeDesk {
	d := &fakeDesk{}
	d.v.Status = s
	d.v.Verification.ID, d.v.Verification.To = verify.NewID(noon), "+12025550101"
	d.v.Verification.MaxAttempts, d.v.Verification.Guesses, d.v.Verification.ExpiresAt = 3, 1, noon.Add(time.Hour)
	return d
}

func ask(s *sim.Simulator, d Desk, method, path, form, site, host, remote string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form))
	r.Host, r.RemoteAddr = host, remote
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if site != "" {
		r.Header.Set("Sec-Fetch-Site", site)
	}
	w := httptest.NewRecorder()
	Phones(s, d).ServeHTTP(w, r)
	return w
}

const here, local = "127.0.0.1:40000", "localhost:8080"

func look(s *sim.Simulator, d Desk, path string) *httptest.ResponseRecorder {
	return ask(s, d, "GET", path, "", "", local, here)
}

func send(t *testing.T, s *sim.Simulator, to phone.Number, c verify.Channel, body, code string) verify.Message {
	t.Helper()
	m := verify.Message{
		ID: verify.NewID(noon), Verification: verify.NewID(noon), Channel: c,
		To: to, From: "+12025550199", Body: verify.Secret(body), Code: verify.Secret(code), Attempt: 1,
	}
	s.Send(t.Context(), m)
	return m
}

func TestPhonesShowTheirMessages(t *testing.T) {
	t.Parallel()
	s, d := sim.New(func() time.Time { return noon }), newDesk(verify.StatusPending)
	w := look(s, d, "/simulator")
	if page := w.Body.String(); w.Code != 200 || !strings.Contains(page, "Three steps") {
		t.Errorf("an empty page doesn't say how to begin: %d\n%s", w.Code, page)
	}
	call := send(t, s, "+12025550101", verify.ChannelVoice, "Your code is 493817", "493817")
	for range 2 { // two attempts of one message
		m := call
		m.To, m.ID = sim.UnreachableNumber, verify.ID{1}
		s.Send(t.Context(), m)
	}
	send(t, s, sim.RefusedNumber, verify.ChannelSMS, "Your code is 555555", "555555")
	send(t, s, "+12025550102", verify.ChannelSMS, "<script>alert(1)</script> 1234", "1234")
	w = look(s, d, "/simulator")
	page := w.Body.String()
	for what, want := range map[string]string{
		"the code, to be copied":     `<button type="button" data-copy="493817">`,
		"the code in its text":       `Your code is <b>493817</b>`,
		"the sound of the call":      `src="/simulator/messages/` + call.ID.String() + `/audio"`,
		"a number that refuses":      `<span class="pill bad">refuses</span>`,
		"the attempts at a number":   "is tried again. (2 attempts)",
		"a text as text":             "&lt;script&gt;alert(1)&lt;/script&gt;",
		"what the numbers stand for": "unreachable: tried again",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s: %s", what, want)
		}
	}
	if strings.Contains(page, "555555") || strings.Contains(page, "<script>") {
		t.Error("the page shows a code that no phone got, or runs what a text says")
	}
	csp := w.Header().Get("Content-Security-Policy")
	for _, directive := range []string{"default-src 'none'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, directive) || strings.Contains(csp, "unsafe") {
			t.Errorf("the policy %q lacks %q, or allows what is unsafe", csp, directive)
		}
	}
	for range shown {
		send(t, s, "+12025550103", verify.ChannelSMS, "more", "")
	}
	if page := look(s, d, "/simulator").Body.String(); !strings.Contains(page, "4 older messages are at") {
		t.Error("the page doesn't say that it leaves messages out")
	}
}

func TestAPersonStartsAndChecks(t *testing.T) {
	t.Parallel()
	s, d := sim.New(func() time.Time { return noon }), newDesk(verify.StatusPending)
	id := d.v.Verification.ID.String()
	post := func(path string, form url.Values) *httptest.ResponseRecorder {
		return ask(s, d, "POST", path, form.Encode(), "same-origin", local, here)
	}
	w := post("/simulator/start", url.Values{"to": {" +12025550101 "}, "channel": {"voice"}})
	if to := w.Header().Get("Location"); w.Code != 303 || !strings.Contains(to, "v="+id) || fmt.Sprint(d.started) != "[+12025550101 by voice]" {
		t.Fatalf("start: got %d, %s, started %v", w.Code, to, d.started)
	}
	page := look(s, d, w.Header().Get("Location")).Body.String()
	if !strings.Contains(page, "2 of 3 guesses are left") || !strings.Contains(page, `value="`+id+`"`) || !strings.Contains(page, `value="voice" selected`) {
		t.Errorf("the page doesn't ask for the code:\n%s", page)
	}
	if w := post("/simulator/check", url.Values{"id": {id}, "code": {" 1234 "}}); w.Code != 303 || fmt.Sprint(d.typed) != "[1234]" {
		t.Errorf("check: got %d, typed %v", w.Code, d.typed)
	}

	d.err = &verify.Error{Kind: verify.KindLimited, Code: "x", Message: "too many <messages>"}
	if w := post("/simulator/start", url.Values{"to": {"+12025550101"}}); w.Code != 422 || !strings.Contains(w.Body.String(), "too many &lt;messages&gt;") {
		t.Errorf("a refused start: got %d\n%s", w.Code, w.Body)
	}
	d.err = errors.New("disk: secret path")
	if w := post("/simulator/check", url.Values{"id": {id}, "code": {"1"}}); w.Code != 422 || strings.Contains(w.Body.String(), "secret path") {
		t.Errorf("a failed check: got %d\n%s", w.Code, w.Body)
	}
	if w := post("/simulator/check", url.Values{"id": {"nobody"}, "code": {"1"}}); w.Code != 422 {
		t.Errorf("no id: got %d, want 422", w.Code)
	}
	for status, want := range map[verify.Status]string{verify.StatusApproved: "The code was right", verify.StatusExpired: "has ended"} {
		if page := look(s, newDesk(status), "/simulator?v="+newDesk(status).v.Verification.ID.String()).Body.String(); strings.Contains(page, want) {
			t.Errorf("a verification that the desk doesn't know is shown as %v", status)
		}
		d := newDesk(status)
		if page := look(s, d, "/simulator?v="+d.v.Verification.ID.String()).Body.String(); !strings.Contains(page, want) || !strings.Contains(page, "disabled") {
			t.Errorf("%v: the page lacks %q, or asks for a code", status, want)
		}
	}
}

func TestPhonesAnswerThisMachineOnly(t *testing.T) {
	t.Parallel()
	s, d := sim.New(func() time.Time { return noon }), newDesk(verify.StatusPending)
	send(t, s, "+12025550101", verify.ChannelSMS, "493817", "493817")
	for _, tt := range []struct {
		method, path, site, host, remote string
		want                             int
	}{
		{"GET", "/simulator", "", local, here, 200},
		{"GET", "/simulator/messages", "", local, here, 200},
		{"GET", "/simulator", "", "evil.example", here, 403},
		{"GET", "/simulator", "", local, "192.0.2.1:1", 403},
		{"GET", "/simulator/messages", "", local, "192.0.2.1:1", 403},
		{"POST", "/simulator/start", "cross-site", local, here, 403},
		{"POST", "/simulator/check", "cross-site", local, here, 403},
		{"POST", "/simulator/start", "same-origin", "evil.example", here, 403},
		{"PUT", "/simulator/start", "same-origin", local, here, 404},
		{"GET", "/simulator/none", "", local, here, 404},
	} {
		w := ask(s, d, tt.method, tt.path, "to=%2B12025550101", tt.site, tt.host, tt.remote)
		if w.Code != tt.want || w.Code == 403 && strings.Contains(w.Body.String(), "493817") {
			t.Errorf("%s %s (%s, %s, %s): got %d, want %d", tt.method, tt.path, tt.site, tt.host, tt.remote, w.Code, tt.want)
		}
	}
	if len(d.started)+len(d.typed) != 0 {
		t.Errorf("a refused form started %v, checked %v", d.started, d.typed)
	}
}

func TestAssetsHoldNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"console.css", "console.js"} {
		w := httptest.NewRecorder()
		Assets().ServeHTTP(w, httptest.NewRequest("GET", Prefix+name, nil))
		if text := w.Body.String(); w.Code != 200 || text == "" || strings.Contains(text, "://") || strings.Contains(text, "eval(") {
			t.Errorf("%s: got %d, %d bytes, or it names another host", name, w.Code, len(text))
		}
	}
}

// A person registers their own browser and asks it, and the page shows a push as a phone would.
func TestPhonesShowPushes(t *testing.T) {
	t.Parallel()
	s, d := sim.New(func() time.Time { return noon }), newDesk(verify.StatusPending)
	if w := ask(s, d, "POST", "/simulator/browser", "", "same-origin", local, here); w.Code != 303 || w.Header().Get("Location") != "/device/#JBSW-Y3DP-EHPK" {
		t.Errorf("registering: got %d to %q", w.Code, w.Header().Get("Location"))
	}
	if w := ask(s, d, "POST", "/simulator/browser", "", "cross-site", local, here); w.Code != 403 {
		t.Errorf("registering from another site: got %d, want 403", w.Code)
	}
	w := ask(s, d, "POST", "/simulator/ask", "", "same-origin", local, here)
	if w.Code != 303 || len(d.started) != 1 || d.started[0] != "asked from 127.0.0.1" {
		t.Errorf("asking: got %d, %v", w.Code, d.started)
	}
	m := verify.Message{
		ID: verify.NewID(noon), Channel: verify.ChannelPush, To: "+12025550101", Asker: "Shop", ByPrompt: true,
		Question: &verify.Question{Asker: "Shop", Purpose: "payment", Payment: verify.Payment{Amount: "49.90 EUR", Payee: "Cheese"}, Client: verify.Client{Device: "laptop", Place: "Munich"}, Choices: []int{18, 47, 93}},
	}
	s.Show(m)
	s.Show(m) // on another device
	page := look(s, d, w.Header().Get("Location")).Body.String()
	for _, want := range []string{"Pick 47 on the device", "from Shop", "Shop: is this you? For payment. Amount 49.90 EUR. To Cheese. From laptop, Munich. Pick 18, 47, 93."} {
		if strings.Count(page, want) != 1 {
			t.Errorf("the page doesn't say once %q:\n%s", want, page)
		}
	}
}
