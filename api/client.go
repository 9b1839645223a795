package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

// A Client calls the API of one server. Its fields must not change while calls are made; many goroutines may
// make calls concurrently.
type Client struct {
	URL string // the server's, such as https://verify.example.com
	Key string // an API key of the project

	// MaxWait is how long a call waits in all to try again: where the server says when, with 409, 429 or 503, and where
	// an answer got lost. Beyond that the call returns the error. 0 is 10 seconds, and a negative one never waits.
	MaxWait time.Duration
	// HTTP makes the requests; nil is one with a timeout of 45 seconds that follows no redirects: a check may
	// wait for 30.
	HTTP *http.Client
}

var defaultHTTP = &http.Client{
	Timeout:       45 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 4 << 20

// WithIdempotencyKey gives the request of a call a key of the caller's own: 1 to 255 visible ASCII characters. The
// server carries out one request of a key, and answers the same request with the same answer for 24 hours, so that the
// caller may make the call again, also from another process. Without one, each call that changes something makes a
// random key for its own tries.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyOfRequest{}, key)
}

type keyOfRequest struct{}

// keyFor returns the key of a call's request, or "" if it needs none.
func keyFor(ctx context.Context, method string) string {
	if method != http.MethodPost {
		return ""
	}
	if key, ok := ctx.Value(keyOfRequest{}).(string); ok {
		return key
	}
	return rand.Text()
}

// Start starts a verification. Where the server refuses with 503, it has started none, or starts it when the call is
// made again with the same key: see [WithIdempotencyKey].
func (c *Client) Start(ctx context.Context, v NewVerification) (started Verification, err error) {
	return started, c.call(ctx, http.MethodPost, "/v1/verifications", v, &started)
}

// Verification reads a verification with its deliveries.
func (c *Client) Verification(ctx context.Context, id string) (v Verification, err error) {
	return v, c.call(ctx, http.MethodGet, "/v1/verifications/"+url.PathEscape(id), nil, &v)
}

// Check spends a guess at a verification.
func (c *Client) Check(ctx context.Context, id, code string) (r CheckResult, err error) {
	return c.CheckFor(ctx, id, Check{Code: code})
}

// CheckFor spends a guess at a verification, for a purpose or a payment.
func (c *Client) CheckFor(ctx context.Context, id string, check Check) (r CheckResult, err error) {
	return r, c.call(ctx, http.MethodPost, "/v1/verifications/"+url.PathEscape(id)+"/check", check, &r)
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
	query := url.Values{}
	for name, value := range map[string]string{"to": f.To, "status": f.Status, "purpose": f.Purpose, "from": stamp(f.From), "until": stamp(f.Until)} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return pages(ctx, c, "/v1/verifications", query, func(p *Page) ([]Verification, string) { return p.Verifications, p.Next })
}

// pages ranges over all pages of a list. It stops after an error.
func pages[P, T any](ctx context.Context, c *Client, path string, query url.Values, of func(*P) (entries []T, next string)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := maps.Clone(query) // each ranging begins with the first page
		for {
			var page P
			if err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
				var none T
				yield(none, err)
				return
			}
			entries, next := of(&page)
			for _, v := range entries {
				if !yield(v, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			query.Set("after", next)
		}
	}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// call makes a call, again where the server says so or its answer got lost. All tries of a request that changes
// something have one key, so it is carried out once. A refusal is a [*Problem].
func (c *Client) call(ctx context.Context, method, path string, body, answer any) error {
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return err
		}
	}
	key, left := keyFor(ctx, method), cmp.Or(c.MaxWait, 10*time.Second)
	lost := false // an answer
	for try := range maxTries {
		err := c.once(ctx, method, path, key, sent, answer)
		lost = lost || isLost(err)
		var p *Problem
		wait := firstWait << try
		switch {
		case errors.As(err, &p):
			wait = p.RetryAfter
		case !lost || answered(err):
			return err
		}
		if wait <= 0 || wait > left || try == maxTries-1 {
			return err
		}
		left -= wait
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
	return nil // never: the last try returns
}

// After a lost answer a call tries again soon, and then waits twice as long each time.
const (
	firstWait = 100 * time.Millisecond
	maxTries  = 32
)

// isLost reports whether a request may have arrived although no answer came.
func isLost(err error) bool {
	var network *net.OpError
	switch {
	case errors.As(err, &network):
		return network.Op != "dial"
	case errors.Is(err, context.Canceled):
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded)
}

// answered reports whether a try got an answer, or is given up.
func answered(err error) bool {
	var network *net.OpError
	return err == nil || !isLost(err) && !errors.As(err, &network)
}

func (c *Client) once(ctx context.Context, method, path, key string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
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
	if answer == nil {
		return nil
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
	if p.Status == http.StatusConflict || p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			p.RetryAfter = time.Duration(seconds) * time.Second
		}
	}
	return &p
}
