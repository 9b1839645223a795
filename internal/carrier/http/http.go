// Package http is the carrier for whoever can take an HTTP request: it posts each message as JSON
// to one URL, signed as Standard Webhooks says, and understands the status of the answer.
//
//	POST /messages HTTP/1.1
//	Content-Type: application/json
//	Webhook-Id: f3ed8db6-b54f-8eb3-919b-2585f8217933
//	Webhook-Timestamp: 1795297000
//	Webhook-Signature: v1,<base64 of HMAC-SHA256 of "id.timestamp.body">
//
//	{"id":"…","verification_id":"…","channel":"sms","to":"+12025550100","from":"+12025550199",
//	 "body":"Your code is 493817","code_expires_at":"2026-05-04T13:00:00.000Z","attempt":1}
//
// 2xx means that the receiver has it. 429 and 5xx mean later, after Retry-After if there is one;
// every other 4xx means never. The id is the same in all attempts, so that a receiver can drop
// repeats. Source: standardwebhooks.com, "Standard Webhooks" specification, Metadata and Signatures.
package http

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// Config describes one receiver.
type Config struct {
	Name   string
	URL    string // https, or http to a loopback address or where Plaintext allows it
	Secret Secret // signs the requests
	// Plaintext allows http to other machines. Everybody on the way can then read the codes.
	Plaintext bool
	// RootCAs are trusted instead of the system's, if set.
	RootCAs *x509.CertPool
	Timeout time.Duration // of one message, from dialling to the answer's end
	Conns   int           // connections at once
}

// A Secret signs requests: 24 to 64 bytes.
type Secret []byte

// ParseSecret reads a secret in Standard Webhooks' form, whsec_ and base64. It never quotes it.
func ParseSecret(s string) (Secret, error) {
	b64, ok := strings.CutPrefix(strings.TrimSpace(s), "whsec_")
	key, err := base64.StdEncoding.DecodeString(b64)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("must be whsec_ and the base64 of 24 to 64 bytes")
	}
	return key, nil
}

// Encode writes a secret in the form that ParseSecret reads.
func (s Secret) Encode() verify.Secret {
	return verify.Secret("whsec_" + base64.StdEncoding.EncodeToString(s))
}

// CheckURL says what is wrong with a receiver's URL, if anything.
func CheckURL(s string, plaintext bool) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must be an https URL")
	case u.User != nil:
		return errors.New("must not hold credentials")
	case u.Scheme == "http" && !web.Loopback(u.Host) && !plaintext:
		return errors.New("must be https: over http to another machine everybody on the way reads the codes")
	}
	return nil
}

// A Carrier posts to one URL. It implements [carrier.Carrier].
type Carrier struct {
	Config
	client *http.Client
}

// New returns a carrier. It doesn't connect yet.
func New(c Config) (*Carrier, error) {
	if err := CheckURL(c.URL, c.Plaintext); err != nil {
		return nil, fmt.Errorf("carrier %s: url: %w", c.Name, err)
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: c.Timeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: c.Timeout,
		ForceAttemptHTTP2:   true,
		MaxConnsPerHost:     c.Conns,
		MaxIdleConnsPerHost: c.Conns,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
	return &Carrier{c, &http.Client{
		Transport: transport,
		// Following a redirect would take the code to a place that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name implements [carrier.Carrier].
func (c *Carrier) Name() string { return c.Config.Name }

// payload is the request's body.
type payload struct {
	ID             string `json:"id"`
	VerificationID string `json:"verification_id"`
	Channel        string `json:"channel"`
	To             string `json:"to"`
	From           string `json:"from"`
	Body           string `json:"body"`
	CodeExpiresAt  string `json:"code_expires_at"` // RFC 3339, UTC, milliseconds
	Attempt        int    `json:"attempt"`
}

// maxAnswer is how much of an answer is read, so that its connection can be used again.
const maxAnswer = 64 << 10

// Send implements [carrier.Carrier].
func (c *Carrier) Send(ctx context.Context, m verify.Message) (ref string, err error) {
	body, err := json.Marshal(payload{
		ID: m.ID.String(), VerificationID: m.Verification.String(), Channel: string(m.Channel), To: string(m.To), From: m.From,
		Body: m.Body.Reveal(), CodeExpiresAt: m.ExpiresAt.UTC().Format("2006-01-02T15:04:05.000Z07:00"), Attempt: m.Attempt,
	})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	resp, x, err := c.post(ctx, m.ID.String(), body)
	if err != nil && x.stale() && ctx.Err() == nil {
		resp, x, err = c.post(ctx, m.ID.String(), body)
	}
	switch {
	case err != nil && x.written.Load():
		return "", carrier.Unknown(silent(err))
	case err != nil:
		return "", carrier.Because("unreachable", bare(err))
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return "", decide(resp)
}

// An exchange is what happened to one request, so far.
type exchange struct{ reused, written, answered atomic.Bool }

// stale reports whether the request met a connection that the receiver was closing after a while
// without work. Then it is made once more. net/http would do so too for a request that may be
// repeated, but as often as there are idle connections, and a receiver that breaks down over a
// message after sending it would send it that often.
func (x *exchange) stale() bool { return x.reused.Load() && x.written.Load() && !x.answered.Load() }

// post makes one request.
func (c *Carrier) post(ctx context.Context, id string, body []byte) (*http.Response, *exchange, error) {
	x := new(exchange)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			secure, ok := info.Conn.(*tls.Conn)
			http2 := ok && secure.ConnectionState().NegotiatedProtocol == "h2" // it says what it took
			x.reused.Store(info.Reused && !http2)
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				x.written.Store(true)
			}
		},
		GotFirstResponseByte: func() { x.answered.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return nil, x, err
	}
	c.sign(req, id, time.Now(), body)
	resp, err := c.client.Do(req)
	return resp, x, err
}

// bare drops the URL, whose query may hold a token.
func bare(err error) error {
	var located *url.Error
	if errors.As(err, &located) {
		return located.Err
	}
	return err
}

// silent drops also what the receiver wrote, which net/http quotes where it can't read it: it may
// have repeated the code.
func silent(err error) error {
	err = bare(err)
	var network *net.OpError
	for _, known := range []error{context.DeadlineExceeded, context.Canceled, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	if errors.As(err, &network) {
		return network
	}
	return errors.New("the receiver's answer can't be read")
}

// sign sets the headers of Standard Webhooks.
func (c *Carrier) sign(req *http.Request, id string, now time.Time, body []byte) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, c.Secret)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", timestamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Countersign")
}

// decide maps a status to what happens next. The words after it are the receiver's: they may repeat
// the code.
func decide(resp *http.Response) error {
	err := fmt.Errorf("the receiver answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests, code >= 500:
		return carrier.Later(retryAfter(resp.Header.Get("Retry-After"), time.Now()), err)
	case code >= 400:
		return carrier.Refused(err)
	default: // a redirect, which we don't follow
		return carrier.Because("redirected", err)
	}
}

// retryAfter reads the header in both of its forms (RFC 9110 §10.2.3); 0 if it says nothing.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, 86400)) * time.Second // where it is out of range, it is the largest
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), 24*time.Hour)
	}
	return 0
}
