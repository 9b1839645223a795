package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Client calls the API of one server. Its fields must not change while calls are made; many goroutines may
// make calls concurrently.
type Client struct {
	URL string // the server's, such as https://verify.example.com
	Key string // an API key of the project

	// MaxWait is how long a call waits in all where the server says 429 or 503 and when to try again; beyond
	// that the call returns the [Problem]. 0 is 10 seconds, and a negative one never waits.
	MaxWait time.Duration
	// HTTP makes the requests; nil is one with a timeout of 30 seconds that follows no redirects.
	HTTP *http.Client
}

var defaultHTTP = &http.Client{
	Timeout:       30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 4 << 20

// Start starts a verification. Where the server refuses with 503, it has started none.
func (c *Client) Start(ctx context.Context, v NewVerification) (started Verification, err error) {
	return started, c.call(ctx, http.MethodPost, "/v1/verifications", v, &started)
}

// Verification reads a verification with its deliveries.
func (c *Client) Verification(ctx context.Context, id string) (v Verification, err error) {
	return v, c.call(ctx, http.MethodGet, "/v1/verifications/"+url.PathEscape(id), nil, &v)
}

// Check spends a guess at a verification.
func (c *Client) Check(ctx context.Context, id, code string) (r CheckResult, err error) {
	return r, c.call(ctx, http.MethodPost, "/v1/verifications/"+url.PathEscape(id)+"/check", Check{Code: code}, &r)
}

// CheckNumber spends a guess at the latest verification of a number and purpose.
func (c *Client) CheckNumber(ctx context.Context, check NumberCheck) (r CheckResult, err error) {
	return r, c.call(ctx, http.MethodPost, "/v1/checks", check, &r)
}

// Cancel ends a pending verification.
func (c *Client) Cancel(ctx context.Context, id string) (v Verification, err error) {
	return v, c.call(ctx, http.MethodPost, "/v1/verifications/"+url.PathEscape(id)+"/cancel", nil, &v)
}

// Resend sends the code of a pending verification again, by a channel, or "" for the one of its start.
func (c *Client) Resend(ctx context.Context, id, channel string) (v Verification, err error) {
	return v, c.call(ctx, http.MethodPost, "/v1/verifications/"+url.PathEscape(id)+"/resend", Resend{Channel: channel}, &v)
}

// A Filter selects verifications. The zero Filter lets all pass.
type Filter struct {
	To, Status, Purpose string
	From, Until         time.Time // started at From or later, and before Until
}

// Verifications ranges over the project's verifications, the newest first. It stops after an error.
func (c *Client) Verifications(ctx context.Context, f Filter) iter.Seq2[Verification, error] {
	return func(yield func(Verification, error) bool) {
		query := url.Values{}
		for name, value := range map[string]string{"to": f.To, "status": f.Status, "purpose": f.Purpose, "from": stamp(f.From), "until": stamp(f.Until)} {
			if value != "" {
				query.Set(name, value)
			}
		}
		for {
			var page Page
			if err := c.call(ctx, http.MethodGet, "/v1/verifications?"+query.Encode(), nil, &page); err != nil {
				yield(Verification{}, err)
				return
			}
			for _, v := range page.Verifications {
				if !yield(v, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			query.Set("after", page.Next)
		}
	}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// call makes a call, again where the server says so. A refusal is a [*Problem].
func (c *Client) call(ctx context.Context, method, path string, body, answer any) error {
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return err
		}
	}
	left := cmp.Or(c.MaxWait, 10*time.Second)
	for {
		err := c.once(ctx, method, path, sent, answer)
		var p *Problem
		if !errors.As(err, &p) || p.RetryAfter <= 0 || p.RetryAfter > left {
			return err
		}
		left -= p.RetryAfter
		select {
		case <-ctx.Done():
			return err
		case <-time.After(p.RetryAfter):
		}
	}
}

func (c *Client) once(ctx context.Context, method, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := cmp.Or(c.HTTP, defaultHTTP).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return problem(resp, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("the answer to %s %s isn't one of /v1: %w", method, path, err)
	}
	return nil
}

// problem reads a refusal. What isn't one of /v1, such as a proxy's page, has its status only.
func problem(resp *http.Response, text []byte) *Problem {
	var p Problem
	if json.Unmarshal(text, &p) != nil || p.Code == "" {
		p = Problem{Title: http.StatusText(resp.StatusCode), Code: "unknown", Detail: "the answer isn't one of Countersign's /v1; is the URL right?"}
	}
	p.Status = resp.StatusCode
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			p.RetryAfter = time.Duration(seconds) * time.Second
		}
	}
	return &p
}
