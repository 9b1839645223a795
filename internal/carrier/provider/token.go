package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/verify"
)

const (
	maxToken = 8 << 10 // bytes
	// usualLife is how long a token is used whose answer doesn't say how long it lives, and longestLife how long any.
	usualLife, longestLife = 5 * time.Minute, 24 * time.Hour
)

// tokens holds a token of OAuth 2.0 that requests authenticate with, and gets another one in time. Requests that need one
// concurrently share one question.
// Source: RFC 6749, 4.4, the client credentials grant; RFC 6750, 2.1.
type tokens struct {
	ask func(context.Context) (*http.Request, error)
	do  func(context.Context, func(context.Context) (*http.Request, error)) (*http.Response, error)
	now func() time.Time

	turn  chan struct{} // holds an element while nobody looks at the fields below
	token string
	until time.Time
}

// newTokens returns the tokens of a carrier. The templates see the account only, so that no message chooses where the secret
// goes.
func (c *Carrier) newTokens() (*tokens, error) {
	a, fields := c.Spec.Auth, c.fields(verify.Message{})
	render := func(key, text string) (string, error) {
		t, err := parseTemplates(Spec{URL: text})
		if err != nil {
			return "", fmt.Errorf("%s: not a template", key)
		}
		r, err := t.render(Spec{}, fields)
		if err != nil {
			return "", fmt.Errorf("%s: the template fails", key)
		}
		return r.url, nil
	}
	at, err := render("auth.token_url", a.TokenURL)
	if err == nil {
		err = exchange.CheckURL(at, false)
	}
	if err != nil {
		return nil, fmt.Errorf("auth.token_url: %w", err)
	}
	user, err := render("auth.user", a.User)
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if a.Scope != "" {
		form.Set("scope", a.Scope)
	}
	for i, p := range a.Parameters {
		value, err := render(fmt.Sprintf("auth.parameters[%d].value", i), p.Value)
		if err != nil {
			return nil, err
		}
		form.Set(p.Name, value)
	}
	if a.Client == "body" {
		form.Set("client_id", user)
		form.Set("client_secret", c.Secret.Reveal())
	}
	t := &tokens{do: c.client.Do, now: c.Now, turn: make(chan struct{}, 1)}
	t.turn <- struct{}{}
	t.ask = func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "application/json")
		req.Header.Set("User-Agent", "Countersign")
		if a.Client != "body" { // RFC 6749, 2.3.1: each is escaped first
			req.SetBasicAuth(url.QueryEscape(user), url.QueryEscape(c.Secret.Reveal()))
		}
		return req, nil
	}
	return t, nil
}

// get returns a token that isn't the refused one, and asks for one if there is none.
func (t *tokens) get(ctx context.Context, refused string) (string, error) {
	select {
	case <-t.turn:
		defer func() { t.turn <- struct{}{} }()
	case <-ctx.Done():
		return "", carrier.Because(verify.ReasonUnreachable, ctx.Err())
	}
	if t.token != "" && t.token != refused && t.now().Before(t.until) {
		return t.token, nil
	}
	t.token = ""
	token, life, err := t.fetch(ctx)
	if err != nil {
		return "", err
	}
	t.token, t.until = token, t.now().Add(life-min(time.Minute, life/10))
	return token, nil
}

// fetch asks for a token. Whatever comes of it, no message was sent. Its errors quote nothing of the answer but an error code.
func (t *tokens) fetch(ctx context.Context) (token string, life time.Duration, err error) {
	resp, err := t.do(ctx, t.ask)
	if err != nil {
		return "", 0, carrier.Because(verify.ReasonUnreachable, fmt.Errorf("no token: %w", errors.Unwrap(err)))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, exchange.MaxAnswer))
	if err != nil {
		return "", 0, carrier.Because(verify.ReasonUnreachable, fmt.Errorf("no token: %w", carrier.Broken(err)))
	}
	doc := parse(answer)
	cause := carrier.Coded(cmp.Or(codeAt(doc, "error"), fmt.Sprintf("http:%d", resp.StatusCode)), fmt.Errorf("no token: %w", exchange.Status(resp)))
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return "", 0, carrier.Because(verify.ReasonThrottled, carrier.Later(exchange.RetryAfter(resp.Header.Get("Retry-After"), t.now()), cause))
	case resp.StatusCode >= 500:
		return "", 0, carrier.Later(exchange.RetryAfter(resp.Header.Get("Retry-After"), t.now()), cause)
	case resp.StatusCode/100 == 3:
		return "", 0, carrier.Because(verify.ReasonRedirected, carrier.Misconfigured(cause))
	case resp.StatusCode != http.StatusOK:
		return "", 0, carrier.Misconfigured(cause)
	}
	token = find(doc, "access_token")
	if kind := find(doc, "token_type"); kind != "" && !strings.EqualFold(kind, "bearer") || !isToken(token) {
		return "", 0, carrier.Misconfigured(errors.New("no token: the answer holds no bearer token"))
	}
	life = usualLife
	if seconds, err := strconv.ParseFloat(find(doc, "expires_in"), 64); err == nil {
		life = time.Duration(min(max(seconds, 0), longestLife.Seconds()) * float64(time.Second))
	}
	return token, life, nil
}

// isToken reports whether a text can be in a header.
func isToken(s string) bool {
	return s != "" && len(s) <= maxToken && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
