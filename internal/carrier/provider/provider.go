// Package provider is the carrier for providers' HTTP APIs. A [Spec] describes an API as data: its
// request, the meaning of its answers, and its reports about messages. Presets describe widely used
// providers; operators describe others in the configuration.
//
// A request without an answer may have been carried out, so it is [carrier.Unknown] and not repeated.
// Errors never quote a provider's words, because those may contain the code.
package provider

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/verify"
)

// Config describes one provider.
type Config struct {
	Name string
	Spec Spec // including the preset's keys

	Account, User, Host, Region, Profile string // for templates, see [Fields]

	Secret         verify.Secret // authenticates requests
	CallbackSecret verify.Secret // checks reports; a public key for telnyx
	// Public is the URL under which providers reach us. Without it there are no callbacks.
	Public string

	RootCAs *x509.CertPool // replace the system's, if set
	Timeout time.Duration  // for one message, from dialling to the end of the answer
	Conns   int            // maximum number of connections
	Now     func() time.Time
	Log     *slog.Logger
}

// A Carrier sends messages through one provider. It implements
// [carrier.Carrier].
type Carrier struct {
	Config
	templates *templates
	read      reader
	sign      signer
	tokens    *tokens // nil unless requests need one
	prove     proof   // nil without callbacks
	used      *used   // signatures of the provider
	client    *exchange.Client
	receive   func(context.Context, carrier.Receipt) error
	words     func(ctx context.Context, carrier string, v verify.ID, attempt int) (verify.Message, error)
	refused   atomic.Bool // the provider's last answer was one that an operator must act on
}

// New returns a carrier, or an error if the configuration is invalid. It doesn't connect yet.
func New(c Config) (*Carrier, error) {
	c.Spec.Channel = cmp.Or(c.Spec.Channel, string(verify.ChannelSMS))
	c.Spec.Method = cmp.Or(c.Spec.Method, http.MethodPost)
	c.Spec.Auth.Kind = cmp.Or(c.Spec.Auth.Kind, "none")
	c.Spec.Auth.User = cmp.Or(c.Spec.Auth.User, "{{.Account}}")
	c.Spec.Answers = cmp.Or(c.Spec.Answers, "json")
	if err := c.Spec.check(); err != nil {
		return nil, err
	}
	if err := c.findRegion(); err != nil {
		return nil, err
	}
	if c.CallbackSecret == "" && c.Spec.Callback.Shared && c.Spec.Callback.Check != "path" { // the secret of requests must not be in a URL
		c.CallbackSecret = c.Secret
	}
	p := &Carrier{Config: c, client: exchange.New(exchange.Options{Dial: c.Timeout, Conns: c.Conns, Roots: c.RootCAs})}
	var err error
	if p.templates, err = parseTemplates(c.Spec); err != nil {
		return nil, err
	}
	if err := p.templates.try(c.Spec, p.fields(verify.Message{})); err != nil {
		return nil, err
	}
	if p.sign, err = newSigner(c.Spec.Auth, c); err != nil {
		return nil, err
	}
	if p.read, err = c.Spec.reader(); err != nil {
		return nil, err
	}
	if c.Spec.Auth.Kind == "oauth2" {
		if p.tokens, err = p.newTokens(); err != nil {
			return nil, err
		}
	}
	if p.Receives() {
		if p.prove, err = newProof(c.Spec.Callback.Check, c.Spec.Channel, c.CallbackSecret); err != nil {
			return nil, carrier.Fault{Field: "callback_secret", Message: err.Error()}
		}
		p.used = newUsed(maxUsed)
	} else if c.Spec.Answer.Body != "" {
		return nil, errors.New("answer: needs public.url, where the provider asks for the words, and the secret that the provider signs with")
	}
	return p, nil
}

// findRegion takes the region from the secret, where the provider's keys name it.
func (c *Config) findRegion() error {
	if c.Region != "" || c.Spec.Region == "" {
		return nil
	}
	pattern, err := regexp.Compile(c.Spec.Region)
	if err != nil || pattern.NumSubexp() != 1 {
		return errors.New("region: must be a regular expression with one group")
	}
	found := pattern.FindStringSubmatch(c.Secret.Reveal())
	if found == nil || len(found[1]) > maxRegion || strings.Trim(found[1], "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return carrier.Fault{Field: "region", Message: "must not be empty: the secret names none"}
	}
	c.Region = found[1]
	return nil
}

// maxRegion is the length of the longest region in a secret. It becomes a part of a URL, so that little of a secret can.
const maxRegion = 8

// Check says what is wrong with a configuration: a field of the account's, or else "api", the description.
func (c Config) Check() []carrier.Fault {
	_, err := New(c)
	var f carrier.Fault
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &f):
		f = carrier.Fault{Field: "api", Message: err.Error()}
	}
	return []carrier.Fault{f}
}

// Name implements [carrier.Carrier].
func (c *Carrier) Name() string { return c.Config.Name }

// Limit implements [carrier.Limiter].
func (c *Carrier) Limit() time.Duration { return c.Timeout }

// Receives reports whether the provider can report on messages.
func (c *Carrier) Receives() bool {
	return c.Spec.Callback.Check != "" && c.CallbackSecret != "" && c.Public != ""
}

// Silent implements [carrier.Silencer].
func (c *Carrier) Silent() bool { return !c.Receives() }

// OnReceipt sets the function that stores receipts. Call it before the first request
// comes in.
func (c *Carrier) OnReceipt(receive func(context.Context, carrier.Receipt) error) {
	c.receive = receive
}

// OnAnswer sets the function that returns the words of an attempt's call: see [Handler]. Call it
// before the first request comes in.
func (c *Carrier) OnAnswer(words func(ctx context.Context, carrier string, v verify.ID, attempt int) (verify.Message, error)) {
	c.words = words
}

// fields returns the values of a message for the templates.
func (c *Carrier) fields(m verify.Message) Fields {
	now := c.Now()
	f := Fields{
		To: string(m.To), From: m.From, Text: m.Body.Reveal(), ID: m.ID.String(), Token: carrier.Token(m.Verification, m.Attempt), ShortToken: carrier.ShortToken(m.Verification, m.Attempt),
		TTL: max(1, int(m.ExpiresAt.Sub(now)/time.Second)), now: now,
		Account: c.Account, User: c.User, Host: c.Host, Region: c.Region, Profile: c.Profile,
	}
	f.Spoken = spell(f.Text, m.Code.Reveal())
	if code := m.To.CountryCode(); code > 0 {
		f.CountryCode = strconv.Itoa(code)
		f.National = strings.TrimPrefix(f.To, "+"+f.CountryCode)
	}
	if c.Spec.Auth.Kind == "body" {
		f.Secret = c.Secret.Reveal()
	}
	if c.Receives() {
		f.Callback = c.publicURL("status", f.Token)
		if c.Spec.Answer.Body != "" {
			f.Answer = c.publicURL("answer", f.Token)
		}
	}
	return f
}

// spell separates the characters of the code, because a voice would otherwise read
// it as a number or a word.
func spell(text, code string) string {
	if code == "" {
		return text
	}
	return strings.ReplaceAll(text, code, strings.Join(strings.Split(code, ""), ", "))
}

// Send implements [carrier.Carrier].
func (c *Carrier) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	if string(m.Channel) != c.Spec.Channel {
		return carrier.Result{}, carrier.Blaming(verify.BlameUs, carrier.Because(verify.ReasonMisconfigured, carrier.Refused(fmt.Errorf("this carrier is for %s, not %s", c.Spec.Channel, m.Channel))))
	}
	r, err := c.templates.render(c.Spec, c.fields(m))
	if err != nil {
		key, _, _ := strings.Cut(err.Error(), ":")
		return carrier.Result{}, c.noted(carrier.Blaming(verify.BlameUs, carrier.Misconfigured(fmt.Errorf("the template %s fails for this message", key))))
	}
	resp, err := c.request(ctx, r)
	if err != nil {
		return carrier.Result{}, c.noted(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, exchange.MaxAnswer))
	var doc any
	if err == nil {
		doc = c.read(answer)
	}
	ref, err := c.judge(resp, doc, m)
	return carrier.Result{Ref: ref}, c.noted(err)
}

// request makes a request. With tokens, it makes another one if the provider doesn't take the token that it had: it may be
// revoked, and a request that was answered 401 wasn't carried out.
func (c *Carrier) request(ctx context.Context, r *rendered) (*http.Response, error) {
	if c.tokens == nil {
		return c.post(ctx, r, "")
	}
	token, err := c.tokens.get(ctx, "")
	if err != nil {
		return nil, err
	}
	resp, err := c.post(ctx, r, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	other, err := c.tokens.get(ctx, token)
	if err != nil || other == token { // then the refusal stands
		return resp, nil
	}
	resp.Body.Close()
	return c.post(ctx, r, other)
}

// post makes one request. token is empty unless requests need one.
func (c *Carrier) post(ctx context.Context, r *rendered, token string) (*http.Response, error) {
	return c.client.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, c.Spec.Method, r.url, bytes.NewReader(r.body))
		if err != nil {
			return nil, errors.New("the URL can't be used") // the error's text may hold the message
		}
		req.Header = r.header.Clone()
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		return req, c.sign(req, r.user, r.body, c.Now())
	})
}

// judge decides what an answer means, by the rules.
func (c *Carrier) judge(resp *http.Response, doc any, m verify.Message) (ref string, err error) {
	for _, rule := range slices.Concat(c.Spec.Rules, usual) {
		matched, ok := rule.fits(resp.StatusCode, doc)
		if !ok {
			continue
		}
		cause := exchange.Status(resp)
		if matched != "" {
			cause = fmt.Errorf("%w, with %s %s", cause, rule.Path, matched)
		}
		if code := c.Spec.errorCode(rule, doc); code != "" {
			cause = carrier.Coded(code, cause)
		}
		switch rule.Then {
		case "accepted":
			return safeRef(find(doc, c.Spec.Ref), m.Body.Reveal()), nil
		case "retry":
			err = carrier.Later(exchange.RetryAfter(resp.Header.Get("Retry-After"), c.Now()), cause)
		case "refused":
			err = carrier.Refused(cause)
		case "misconfigured":
			err = carrier.Misconfigured(cause)
		default:
			err = carrier.Unknown(cause)
		}
		if rule.Reason != "" {
			err = carrier.Because(carrier.Reasons[rule.Reason], err)
		}
		return "", err
	}
	panic("provider: the last of the usual rules fits everything")
}

// noted logs that an operator must act, once until the provider accepts a
// message again.
func (c *Carrier) noted(err error) error {
	if err == nil {
		if c.refused.Swap(false) {
			c.Log.Info("the provider accepts messages again", "carrier", c.Config.Name)
		}
		return nil
	}
	reason := carrier.Decision(err).Reason
	if remedy := remedies[reason]; remedy != "" && !c.refused.Swap(true) {
		c.Log.Error("the provider takes no messages from us until somebody acts: "+remedy, "carrier", c.Config.Name, "reason", reason, "err", err)
	}
	return err
}

// remedies say what to do about the reasons that last until an operator acts.
var remedies = map[verify.Reason]string{
	verify.ReasonMisconfigured: "compare account, secret and URL with the provider's console, and whether the account may send there",
	verify.ReasonNoCredit:      "the account has no money left",
	verify.ReasonRedirected:    "the URL has changed; it is not followed, as nobody configured the new one",
}

// maxRef is the longest allowed id of a provider, in bytes.
const maxRef = 128

// safeRef returns the provider's id of a message, or "" if it isn't safe to store and log. The id must
// not contain anything that may be the code: a word of the text that has a digit or no lower-case
// letter. Without an id, the token still identifies the message in reports.
func safeRef(ref, text string) string {
	if len(ref) > maxRef || strings.Trim(ref, letters+"-_.:+/=@") != "" {
		return ""
	}
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !strings.ContainsRune(letters, r) }) {
		suspect := word == strings.ToUpper(word) || strings.ContainsAny(word, "0123456789")
		if suspect && len(word) >= 4 && strings.Contains(ref, word) {
			return ""
		}
	}
	return ref
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
