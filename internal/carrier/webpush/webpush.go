// Package webpush is the carrier for browsers and apps: it pushes messages to the devices of an application's user.
// A push is a POST to the device's endpoint (RFC 8030), whose body only the device can decrypt (RFC 8291), signed with
// the server's VAPID key (RFC 8292). Apps with UnifiedPush, by ntfy and others, take the same requests.
//
// The content is JSON in UTF-8:
//
//	{"id":"…","verification_id":"…","body":"Your code is 493817","code":"493817",
//	 "expires_at":"2026-05-04T13:00:00.000Z"}
//
// A message that asks for an approval has no code, but a prompt: what to show, and the challenge to sign an answer for.
//
// Endpoints come from outside, so the carrier calls only https and public addresses, follows no redirects, and reads
// little of an answer. A service that fails says nothing of the carrier: no device can close it for others.
package webpush

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/verify"
)

// Config describes the carrier.
type Config struct {
	Name string
	Key  *Key
	// Contact is how push services reach the operator: a mailto: or https: URL.
	Contact string
	// Private allows endpoints at private addresses and on this machine. Anybody who registers a device can then make
	// the server call them.
	Private bool
	RootCAs *x509.CertPool // nil means the system's
	Timeout time.Duration  // for one device, from dialing to the end of the answer
	Conns   int            // maximum number of connections to a service
}

// A Carrier pushes to devices. It implements [carrier.Pusher].
type Carrier struct {
	Config
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

// New returns a carrier. It doesn't connect yet.
func New(c Config) (*Carrier, error) {
	if err := carrier.Faulty(c.Name, c.Check()); err != nil {
		return nil, err
	}
	guard := public
	if c.Private {
		guard = nil
	}
	client := exchange.New(exchange.Options{Dial: c.Timeout, Conns: c.Conns, Roots: c.RootCAs, Guard: guard})
	return &Carrier{Config: c, client: client, now: time.Now}, nil
}

// Name implements [carrier.Carrier].
func (c *Carrier) Name() string { return c.Config.Name }

// A payload is what a device decrypts.
type payload struct {
	ID             string  `json:"id"`
	VerificationID string  `json:"verification_id"`
	Body           string  `json:"body"`
	Code           string  `json:"code,omitempty"`
	ExpiresAt      string  `json:"expires_at"` // RFC 3339, UTC, milliseconds
	Prompt         *prompt `json:"prompt,omitempty"`
}

// A prompt is what a device shows to ask its person, and what it needs for the answer.
type prompt struct {
	Challenge string `json:"challenge"`
	Choices   []int  `json:"choices,omitempty"` // without any, the person types the number
	Asker     string `json:"asker"`
	Purpose   string `json:"purpose"`
	Amount    string `json:"amount,omitempty"`
	Payee     string `json:"payee,omitempty"`
	IP        string `json:"client_ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	StartedAt string `json:"started_at"`
}

// stamp writes a time as contents have it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// content is what the devices of a message decrypt. Characters of HTML stay as they are, for a push holds little.
func content(m *verify.Message) ([]byte, error) {
	p := payload{ID: m.ID.String(), VerificationID: m.Verification.String(), Body: m.Body.Reveal(), Code: m.Code.Reveal(), ExpiresAt: stamp(m.ExpiresAt)}
	if q := m.Question; q != nil {
		p.Prompt = &prompt{
			Challenge: q.Challenge, Choices: q.Choices, Asker: q.Asker, Purpose: string(q.Purpose), Amount: q.Amount, Payee: q.Payee,
			IP: q.IP, UserAgent: q.UserAgent, StartedAt: stamp(q.StartedAt),
		}
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(p)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// errNoDevices is for a message without devices: a trial's, say.
var errNoDevices = carrier.Because(verify.ReasonNoDevice, carrier.Refused(errors.New("the message is for no user with a device")))

// Send implements [carrier.Carrier]. Without devices, nothing can be sent: see [Carrier.Push].
func (c *Carrier) Send(context.Context, verify.Message) (carrier.Result, error) {
	return carrier.Result{}, errNoDevices
}

// Push implements [carrier.Pusher]. It pushes to all devices concurrently.
func (c *Carrier) Push(ctx context.Context, m verify.Message, to []verify.Receiver) (used, gone []verify.ID, err error) {
	text, err := content(&m)
	if err != nil {
		return nil, nil, err
	}
	errs := make([]error, len(to))
	var pushes sync.WaitGroup
	for i := range to {
		pushes.Go(func() { errs[i] = c.push(ctx, &m, &to[i], text) })
	}
	pushes.Wait()
	for i, err := range errs {
		switch {
		case err == nil:
			used = append(used, to[i].ID)
		case errors.Is(err, errGone):
			gone = append(gone, to[i].ID)
		}
	}
	return used, gone, outcome(errs)
}

// outcome is what came of all pushes together. It is success if a service took one. Otherwise it is the error of a push
// that a service may have taken, or else of one that may succeed later.
func outcome(errs []error) error {
	var worst error
	for _, err := range errs {
		if err == nil {
			return nil
		}
		if worst == nil || rank(err) > rank(worst) {
			worst = err
		}
	}
	if worst == nil {
		return errNoDevices
	}
	return carrier.Blaming(verify.BlameUs, worst)
}

func rank(err error) int {
	switch carrier.Decision(err).Outcome {
	case verify.Unknown:
		return 2
	case verify.Errored:
		return 1
	}
	return 0
}

// errGone is the error of a device that its service doesn't know any more.
var errGone = errors.New("the push service says that the device is gone")

// push pushes to one device.
func (c *Carrier) push(ctx context.Context, m *verify.Message, d *verify.Receiver, text []byte) error {
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
	authorization, err := c.Key.authorize(endpoint, c.Contact, c.now())
	if err != nil {
		return err
	}
	resp, err := c.client.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.Endpoint, bytes.NewReader(body))
		if err == nil {
			req.Header.Set("Authorization", authorization)
			req.Header.Set("Content-Encoding", "aes128gcm")
			req.Header.Set("Content-Type", "application/octet-stream")
			req.Header.Set("TTL", strconv.Itoa(c.ttl(m.ExpiresAt)))
			req.Header.Set("Urgency", "high")
			req.Header.Set("Topic", c.topic(m))
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

// ttl is for how many seconds a service keeps a message for a device that is away: as long as the code lives.
func (c *Carrier) ttl(until time.Time) int { return max(0, int(until.Sub(c.now())/time.Second)) }

// topic is the same for all messages of a user, so that a newer one replaces the older, also where the service still
// keeps it. It tells the service nothing of the user.
func (c *Carrier) topic(m *verify.Message) string {
	mac := hmac.New(sha256.New, c.Key.topics)
	mac.Write(m.Application[:])
	mac.Write([]byte(m.User))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:24]) // 32 characters, as many as may be
}

// decide maps a service's status to the error that tells what to do next (RFC 8030 §5, §7.3).
func decide(resp *http.Response, now time.Time) error {
	code := resp.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	err := exchange.Status(resp)
	after := exchange.RetryAfter(resp.Header.Get("Retry-After"), now)
	switch {
	case code == http.StatusNotFound, code == http.StatusGone:
		return carrier.Because(verify.ReasonNoDevice, carrier.Refused(errors.Join(errGone, err)))
	case code == http.StatusTooManyRequests:
		return carrier.Because(verify.ReasonThrottled, carrier.Later(after, err))
	case code >= 500:
		return carrier.Later(after, err)
	case code == http.StatusUnauthorized, code == http.StatusForbidden: // of our VAPID key, or of the device's
		return carrier.Because(verify.ReasonMisconfigured, carrier.Refused(err))
	case code >= 400:
		return carrier.Refused(err)
	default: // a redirect, which we don't follow
		return carrier.Because(verify.ReasonRedirected, carrier.Refused(err))
	}
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
