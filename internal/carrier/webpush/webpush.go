// Package webpush pushes messages to browsers and apps with UnifiedPush.
// A push is a POST to the device's endpoint (RFC 8030), whose body only the device can decrypt (RFC 8291), signed with
// the server's VAPID key (RFC 8292). Apps with UnifiedPush, by ntfy and others, take the same requests. The content is
// the message's notice.
//
// Endpoints come from outside, so the carrier calls only https and public addresses, follows no redirects, and reads
// little of an answer. A service that fails says nothing of the carrier: no device can close it for others.
package webpush

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/notice"
	"github.com/countersign/countersign/internal/verify"
)

// Config describes how push services are called.
type Config struct {
	Key *Key
	// Contact is how push services reach the operator: a mailto: or https: URL.
	Contact string
	// Private allows endpoints at private addresses and on this machine. Anybody who registers a device can then make
	// the server call them.
	Private bool
	RootCAs *x509.CertPool // nil means the system's
	Timeout time.Duration  // for one device, from dialing to the end of the answer
	Conns   int            // maximum number of connections to a service
}

// A Service pushes to devices whose push services speak RFC 8030. It implements [push.Service].
type Service struct {
	Config
	topics push.Topic
	tokens tokens
	client *exchange.Client
	now    func() time.Time
}

// Check returns all faults of a configuration.
func (c Config) Check() (all []carrier.Fault) {
	u, err := url.Parse(c.Contact)
	mail := err == nil && u.Scheme == "mailto" && strings.Contains(u.Opaque, "@")
	site := err == nil && u.Scheme == "https" && u.Hostname() != ""
	if !mail && !site {
		all = append(all, carrier.Fault{Field: "contact", Message: "must be a mailto: or https: URL by which push services reach you, such as mailto:ops@example.com"})
	}
	return all
}

// New returns a service. It doesn't connect yet.
func New(c Config) (*Service, error) {
	if err := carrier.Faulty("webpush", c.Check()); err != nil {
		return nil, err
	}
	guard := public
	if c.Private {
		guard = nil
	}
	client := exchange.New(exchange.Options{Dial: c.Timeout, Conns: c.Conns, Roots: c.RootCAs, Guard: guard})
	return &Service{Config: c, topics: push.NewTopic(c.Key.secret), client: client, now: time.Now}, nil
}

// PublicKey is the key for which browsers subscribe.
func (c *Service) PublicKey() string { return c.Key.Public() }

// Push implements [push.Service].
func (c *Service) Push(ctx context.Context, m *verify.Message, d *verify.Receiver) error {
	text, err := notice.Within(m, maxText)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	endpoint, err := url.Parse(d.Endpoint)
	if err != nil || endpoint.Scheme != "https" {
		return carrier.Refused(errors.New("the device's endpoint isn't an https URL"))
	}
	body, err := encrypt(d.Subscription, text)
	if err != nil {
		return carrier.Refused(err)
	}
	authorization, err := c.tokens.authorize(c.Key, endpoint, c.Contact, c.now())
	if err != nil {
		return err
	}
	resp, err := c.client.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.Endpoint, bytes.NewReader(body))
		if err == nil {
			req.Header.Set("Authorization", authorization)
			req.Header.Set("Content-Encoding", "aes128gcm")
			req.Header.Set("Content-Type", "application/octet-stream")
			req.Header.Set("TTL", strconv.Itoa(push.TTL(m.ExpiresAt, c.now())))
			req.Header.Set("Urgency", "high")
			req.Header.Set("Topic", c.topics.Of(m))
			req.Header.Set("User-Agent", "Countersign")
		}
		return req, err
	})
	if errors.Is(err, errPrivate) {
		return carrier.Refused(errPrivate)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, exchange.MaxAnswer))
	return decide(resp, c.now())
}

// decide maps a service's status to the error that tells what to do next (RFC 8030 §5, §7.3).
func decide(resp *http.Response, now time.Time) error {
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone {
		return push.Gone(exchange.Status(resp))
	}
	return push.Decide(resp, now)
}

// errPrivate is the error of an endpoint whose name leads to an address that isn't public.
var errPrivate = errors.New("the device's endpoint is at an address that isn't public")

// special are networks that [netip.Addr]'s methods don't name and that aren't public, or that lead to others by what
// they embed.
var special = func() (all []netip.Prefix) {
	for _, text := range strings.Fields("0.0.0.0/8 100.64.0.0/10 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 " +
		"::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 fec0::/10 5f00::/16") {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}()

// public fails for an address that isn't a public one. It is asked about the address that is dialed, after its name was
// resolved.
func public(a netip.Addr) error {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return errPrivate
	}
	for _, p := range special {
		if p.Contains(a) {
			return errPrivate
		}
	}
	return nil
}
