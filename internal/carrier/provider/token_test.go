package provider

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// An authority gives tokens at /token and takes messages with them at /send.
type authority struct {
	asked, sent atomic.Int32
	revoked     atomic.Int32                     // tokens up to this number are refused
	token       func(http.ResponseWriter, int32) // answers the nth question; nil: with the token t-n
}

func (a *authority) serve(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			n := a.asked.Add(1)
			if a.token != nil {
				a.token(w, n)
				return
			}
			fmt.Fprintf(w, `{"access_token":"t-%d","token_type":"Bearer","expires_in":3600}`, n)
			return
		}
		a.sent.Add(1)
		for n := a.revoked.Load(); n >= 0; n-- {
			if r.Header.Get("Authorization") == fmt.Sprintf("Bearer t-%d", n) {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		}
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer t-") {
			t.Errorf("a message came with %q", r.Header.Get("Authorization"))
		}
		w.WriteHeader(http.StatusAccepted)
	}
}

// tokenCarrier is a carrier that needs the authority's tokens.
func tokenCarrier(t *testing.T, a *authority, change func(*Config)) (*Carrier, *received) {
	t.Helper()
	server, got := providerServer(t, a.serve(t))
	c := configOf(t, "telnyx", server)
	c.Spec = Spec{
		URL: server.URL + "/send", Headers: []HeaderSpec{{Name: "Content-Type", Value: jsonType}}, Body: `{"to":{{json .To}},"text":{{json .Text}}}`,
		Auth: AuthSpec{Kind: "oauth2", TokenURL: server.URL + "/token"},
	}
	if change != nil {
		change(&c)
	}
	return carrierOf(t, c), got
}

func TestATokenIsAskedForOnce(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	c, got := tokenCarrier(t, &authority{}, func(c *Config) {
		c.Secret = "se/cret+1"
		c.Now = func() time.Time { return testNow.Add(time.Duration(now.Load())) }
		c.Spec.Auth.Scope, c.Spec.Auth.Parameters = "sms", []HeaderSpec{{Name: "audience", Value: "https://{{.Account}}.example"}}
	})
	var sending sync.WaitGroup
	for range 20 {
		sending.Go(func() {
			if _, err := c.Send(t.Context(), message()); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	questions := func() (all []request) {
		for _, r := range got.all() {
			if r.URL.Path == "/token" {
				all = append(all, r)
			}
		}
		return all
	}
	all := questions()
	if len(all) != 1 {
		t.Fatalf("20 messages asked for %d tokens, want 1", len(all))
	}
	user, password, _ := all[0].BasicAuth()
	if want := "audience=https%3A%2F%2FAC0123.example&grant_type=client_credentials&scope=sms"; all[0].body != want || user != "AC0123" || password != "se%2Fcret%2B1" {
		t.Errorf("got %s by %s %s, want %s", all[0].body, user, password, want)
	}
	now.Store(int64(58 * time.Minute))
	c.Send(t.Context(), message())
	if n := len(questions()); n != 1 {
		t.Errorf("a token of an hour was asked for again after 58 minutes")
	}
	now.Store(int64(59*time.Minute + time.Second))
	c.Send(t.Context(), message())
	if n := len(questions()); n != 2 {
		t.Errorf("%d tokens in 59 minutes, want a second one before the first one's end", n)
	}
}

// Some providers want the client in the body.
func TestAClientInTheBody(t *testing.T) {
	t.Parallel()
	c, got := tokenCarrier(t, &authority{}, func(c *Config) { c.Spec.Auth.Client = "body" })
	if _, err := c.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	r := got.all()[0]
	if want := "client_id=AC0123&client_secret=" + testSecret + "&grant_type=client_credentials"; r.body != want || r.Header.Get("Authorization") != "" {
		t.Errorf("got %s, %v; want %s", r.body, r.Header, want)
	}
}

// A token that was revoked is replaced, and the message sent: with 401 it wasn't. That happens once, so that an account that
// may not send doesn't go round and round.
func TestARevokedTokenIsReplaced(t *testing.T) {
	t.Parallel()
	a := &authority{}
	c, _ := tokenCarrier(t, a, nil)
	if _, err := c.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	a.revoked.Store(1)
	if _, err := c.Send(t.Context(), message()); err != nil || a.asked.Load() != 2 || a.sent.Load() != 3 {
		t.Errorf("got %v after %d tokens and %d messages, want one more of each", err, a.asked.Load(), a.sent.Load())
	}
	a.revoked.Store(100)
	_, err := c.Send(t.Context(), message())
	wantError(t, err, misconfigured)
	if a.asked.Load() != 3 || a.sent.Load() != 5 {
		t.Errorf("%d tokens and %d messages, want 3 and 5", a.asked.Load(), a.sent.Load())
	}
}

// Without a token nothing is sent, whatever the authority says or doesn't; what it says stays out of errors and the log.
func TestWithoutATokenNothingIsSent(t *testing.T) {
	t.Parallel()
	say := func(status int, body string) func(http.ResponseWriter, int32) {
		return func(w http.ResponseWriter, _ int32) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	for name, tt := range map[string]struct {
		token   func(http.ResponseWriter, int32)
		outcome verify.AttemptOutcome
		reason  verify.Reason
		code    string
	}{
		"a wrong client":  {say(401, `{"error":"invalid_client","error_description":"`+testSecret+`"}`), verify.AttemptErrored, verify.ReasonMisconfigured, "invalid_client"},
		"a wrong scope":   {say(400, `{"error":"invalid_scope"}`), verify.AttemptErrored, verify.ReasonMisconfigured, "invalid_scope"},
		"an error":        {say(503, ``), verify.AttemptErrored, verify.ReasonLater, "http:503"},
		"too many":        {say(429, ``), verify.AttemptErrored, verify.ReasonThrottled, "http:429"},
		"a redirect":      {say(307, ``), verify.AttemptErrored, verify.ReasonRedirected, "http:307"},
		"a page":          {say(200, `<html>`), verify.AttemptErrored, verify.ReasonMisconfigured, ""},
		"another kind":    {say(200, `{"access_token":"t-1","token_type":"mac"}`), verify.AttemptErrored, verify.ReasonMisconfigured, ""},
		"two lines":       {say(200, `{"access_token":"t-1\r\nX-Evil: 1"}`), verify.AttemptErrored, verify.ReasonMisconfigured, ""},
		"a book":          {say(200, `{"access_token":"`+strings.Repeat("t", maxToken+1)+`"}`), verify.AttemptErrored, verify.ReasonMisconfigured, ""},
		"a broken answer": {func(http.ResponseWriter, int32) { panic(http.ErrAbortHandler) }, verify.AttemptErrored, verify.ReasonUnreachable, ""},
		"half an answer": {func(w http.ResponseWriter, _ int32) {
			fmt.Fprint(w, `{"access_token":"t-`)
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, verify.AttemptErrored, verify.ReasonUnreachable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			a := &authority{token: tt.token}
			c, _ := tokenCarrier(t, a, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
			_, err := c.Send(t.Context(), message())
			if d := carrier.Decision(err); err == nil || d.Outcome != tt.outcome || d.Reason != tt.reason || d.Code != tt.code {
				t.Errorf("got %v, %s, %q: %v", d.Outcome, d.Reason, d.Code, err)
			}
			if a.sent.Load() != 0 {
				t.Error("a message was sent")
			}
			if said := fmt.Sprint(err) + log.String(); strings.Contains(said, testSecret) || strings.Contains(said, "t-1") || strings.Contains(said, "elsewhere") {
				t.Errorf("%s", said)
			}
		})
	}
}

// Somebody who gives up doesn't wait for another one's token.
func TestATokenIsWaitedForAsLongAsTheMessageMay(t *testing.T) {
	t.Parallel()
	asked, ended := make(chan struct{}), make(chan struct{})
	a := &authority{token: func(http.ResponseWriter, int32) { close(asked); <-ended }}
	c, _ := tokenCarrier(t, a, nil)
	first, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() { c.Send(first, message()) })
	<-asked
	short, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	_, err := c.Send(short, message())
	if d := carrier.Decision(err); d.Outcome != verify.AttemptErrored || d.Reason != verify.ReasonUnreachable {
		t.Errorf("got %v", err)
	}
	cancel()
	close(ended)
	sending.Wait()
}

func TestTokensOnlyComeFromHTTPS(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]string{
		"http://id.example/token": "auth.token_url: must be https", "https://u:p@id.example/": "auth.token_url: must not hold credentials",
		"file:///etc/passwd": "auth.token_url: must be an https URL", "{{.To": "auth.token_url: not a template", "https://{{.To}}/token": "auth.token_url: must be an https URL", "": "auth.token_url: must not be empty",
	} {
		c := configOf(t, "telnyx", nil)
		c.Spec.Auth = AuthSpec{Kind: "oauth2", TokenURL: at}
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", at, err, want)
		}
	}
}
