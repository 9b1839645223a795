// Package http is the carrier for any receiver of HTTP requests. It posts each message as JSON to
// one URL, signed as the Standard Webhooks specification says, and decides by the answer's
// status.
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
// 2xx means that the receiver has the message. 429 and 5xx mean "try again later", after Retry-After
// if it is present. Every other 4xx means "never try again". The id is the same in all attempts, so
// that a receiver can drop repeats. Source: standardwebhooks.com, "Standard Webhooks" specification,
// Metadata and Signatures.
//
// Where the receiver can reach us, the body also holds "status_url" and "status_token": there it reports what became
// of the message. See [provider.Own].
package http

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"hash"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/verify"
)

// Config describes one receiver.
type Config struct {
	Name   string
	URL    string         // https; http only to a loopback address or with Plaintext
	Secret carrier.Secret // signs the requests
	// Plaintext allows http to other machines. Anybody on the way can then read the codes.
	Plaintext bool
	// RootCAs, if set, replace the system's.
	RootCAs *x509.CertPool
	Timeout time.Duration // for one message, from dialling to the end of the answer
	Conns   int           // maximum number of connections
	// StatusURL is where the receiver reports what became of a message. Empty: nowhere.
	StatusURL string
}

// A Carrier posts to one URL. It implements [carrier.Carrier].
type Carrier struct {
	Config
	client *exchange.Client
	macs   sync.Pool // of hash.Hash with the secret; a used one has already hashed it
}

// Check returns all faults of a configuration.
func (c Config) Check() []carrier.Fault {
	if err := exchange.CheckURL(c.URL, c.Plaintext); err != nil {
		return []carrier.Fault{{Field: "url", Message: err.Error()}}
	}
	return nil
}

// New returns a carrier. It doesn't connect yet.
func New(c Config) (*Carrier, error) {
	if err := carrier.Faulty(c.Name, c.Check()); err != nil {
		return nil, err
	}
	return &Carrier{
		Config: c, client: exchange.New(exchange.Options{Dial: c.Timeout, Conns: c.Conns, Roots: c.RootCAs, Repeat: true}),
		macs: sync.Pool{New: func() any { return hmac.New(sha256.New, c.Secret) }},
	}, nil
}

// Name implements [carrier.Carrier].
func (c *Carrier) Name() string { return c.Config.Name }

// Silent implements [carrier.Silencer].
func (c *Carrier) Silent() bool { return c.StatusURL == "" }

// Limit implements [carrier.Limiter].
func (c *Carrier) Limit() time.Duration { return c.Timeout }

// A payload is the body of a request.
type payload struct {
	ID             string `json:"id"`
	VerificationID string `json:"verification_id"`
	Channel        string `json:"channel"`
	To             string `json:"to"`
	From           string `json:"from"`
	Body           string `json:"body"`
	CodeExpiresAt  string `json:"code_expires_at"` // RFC 3339, UTC, milliseconds
	Attempt        int    `json:"attempt"`
	StatusURL      string `json:"status_url,omitempty"`
	StatusToken    string `json:"status_token,omitempty"` // names the attempt in a report
}

// Send implements [carrier.Carrier].
func (c *Carrier) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	p := payload{
		ID: m.ID.String(), VerificationID: m.Verification.String(), Channel: string(m.Channel), To: string(m.To), From: m.From,
		Body: m.Body.Reveal(), CodeExpiresAt: m.ExpiresAt.UTC().Format("2006-01-02T15:04:05.000Z07:00"), Attempt: m.Attempt,
	}
	if c.StatusURL != "" {
		p.StatusURL, p.StatusToken = c.StatusURL, carrier.Token(m.Verification, m.Attempt)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return carrier.Result{}, err
	}
	resp, err := c.client.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
		if err == nil {
			c.sign(req, m.ID.String(), time.Now(), body)
		}
		return req, err
	})
	if err != nil {
		return carrier.Result{}, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, exchange.MaxAnswer))
	return carrier.Result{}, decide(resp)
}

// sign sets the headers of Standard Webhooks.
func (c *Carrier) sign(req *http.Request, id string, now time.Time, body []byte) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	mac := c.macs.Get().(hash.Hash)
	defer c.macs.Put(mac)
	mac.Reset()
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", timestamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Countersign")
}

// decide maps the answer's status to the error that tells the dispatcher what
// to do next.
func decide(resp *http.Response) error {
	code := resp.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	err := exchange.Status(resp)
	after := exchange.RetryAfter(resp.Header.Get("Retry-After"), time.Now())
	switch {
	case code == http.StatusTooManyRequests:
		return carrier.Because(verify.ReasonThrottled, carrier.Later(after, err))
	case code >= 500:
		return carrier.Later(after, err)
	case code >= 400:
		return carrier.Refused(err)
	default: // a redirect, which we don't follow
		return carrier.Because(verify.ReasonRedirected, err)
	}
}
