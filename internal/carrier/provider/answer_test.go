package provider

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// An asker returns the words of calls, and records the requests for them.
type asker struct {
	asked []string
	err   error
}

func (a *asker) words(_ context.Context, name string, v verify.ID, attempt int) (verify.Message, error) {
	a.asked = append(a.asked, name+" "+carrier.Token(v, attempt))
	if a.err != nil {
		return verify.Message{}, a.err
	}
	return message(), nil
}

func TestACallIsToldWhatToSay(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	c := configOf(t, "plivo-voice", nil)
	c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	way, h, got := reports(t, c)
	a := new(asker)
	way.OnAnswer(a.words)
	target := way.fields(message()).Answer
	const form = "CallUUID=a&CallStatus=in-progress&Event=StartApp&To=12025550100"
	said := strings.ReplaceAll(spoken, "Say", "Speak")
	ask := func(what, target string, change func(*http.Request), status int, want string) {
		t.Helper()
		a.asked = nil
		r := reportFrom("plivo-voice", target, form, testNow)
		if change != nil {
			change(r)
		}
		w := ask(h, r)
		if w.Code != status || want != "" && w.Body.String() != want || status != 200 && strings.Contains(w.Body.String(), "4, 9") {
			t.Errorf("%s: got %d %s, want %d %s", what, w.Code, w.Body, status, want)
		}
		if status == 200 && (w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/xml") {
			t.Errorf("%s: got the headers %v", what, w.Header())
		}
		if proven := status == 200 || status == 503; !proven && a.asked != nil {
			t.Errorf("%s: asked for the words of %v", what, a.asked)
		}
	}
	ask("the provider", target, nil, 200, `<Response>`+said+`<Wait length="1"/>`+said+`</Response>`)
	if len(a.asked) != 1 || a.asked[0] != "way "+testToken {
		t.Errorf("asked for the words of %v", a.asked)
	}
	ask("nobody who signs", target, func(r *http.Request) { r.Header.Del("X-Plivo-Signature-V3") }, 403, "")
	ask("another attempt's URL", target, func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, ".1", ".2", 1) }, 403, "")
	ask("another carrier's URL", strings.Replace(target, "/way/", "/other/", 1), nil, 403, "")
	ask("no attempt", target[:strings.Index(target, "?")], nil, 200, way.Spec.Answer.None)
	ask("something else", target[:strings.Index(target, "?")]+"?m=x", nil, 200, way.Spec.Answer.None)
	a.err = verify.ErrNotFound
	ask("a dead code", target, nil, 200, `<Response><Hangup/></Response>`)
	a.err = errTest
	ask("no database", target, nil, 503, "")
	if got.receipts != nil {
		t.Errorf("got receipts %v", got.receipts)
	}
	wantSilent(t, strings.ReplaceAll(log.String(), "callback's secret", ""))
	if strings.Contains(log.String(), testToken) {
		t.Errorf("the log has the URL's token: %s", &log)
	}

	// A provider that gets the words in the request may not ask for them.
	_, h, _ = reports(t, configOf(t, "plivo", nil))
	ask("a carrier of texts", target, nil, 404, "")
}

func TestACallThatAsksNeedsItsAnswer(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*Config){
		"public URL":      func(c *Config) { c.Public = "" },
		"type":            func(c *Config) { c.Spec.Answer.Type = "" },
		"none":            func(c *Config) { c.Spec.Answer.None = "" },
		"check":           func(c *Config) { c.Spec.Callback = CallbackSpec{} },
		"URL in the body": func(c *Config) { c.Spec.Body = `{"to":{{json .To}}}` },
		"text":            func(c *Config) { c.Spec.Answer.Body = `<Response/>` },
		"escaped text":    func(c *Config) { c.Spec.Answer.Body = `<Response>{{.Text}}</Response>` },
		"template":        func(c *Config) { c.Spec.Answer.Body = `{{` },
		"field":           func(c *Config) { c.Spec.Answer.Body = `{{.Code}}` },
	} {
		c := configOf(t, "plivo-voice", nil)
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), "answer") && !strings.Contains(err.Error(), "callback") {
			t.Errorf("without its %s: got %v", what, err)
		}
	}
}
