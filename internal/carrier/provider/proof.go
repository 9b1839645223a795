package provider

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// A report is a request in which a provider reports on messages or asks for the
// words of a call.
type report struct {
	*http.Request
	url  string // the public URL of the request, which the provider signs
	body []byte
	form url.Values // of the body

	question bool // asks for the words of a call

	// The results of a proof. marks are values that no other report has, in the form that was signed, so that
	// nobody can spell them differently. If urlOnly is true, the signature covers the URL only, and nothing
	// else in the report is trustworthy.
	marks   []string
	urlOnly bool
}

// signedWhole reports whether a signature over URL and form covers the whole report. Otherwise anybody who
// has seen a signature could move its form into the URL, which the signature doesn't distinguish, and
// write a body of another kind.
func (r *report) signedWhole() bool { return r.form != nil || len(r.body) == 0 }

// A proof reports whether a report comes from the provider and isn't a repeat of an old one, as far as
// the provider's signatures show. It sets the report's marks and urlOnly.
type proof func(r *report, now time.Time) bool

// signed reports whether a request has a signature of any kind that we know. It doesn't look for the
// carrier's own kind, because the answer would reveal that kind.
func signed(h http.Header) bool {
	for _, name := range []string{
		"X-Twilio-Signature", "X-Signalwire-Signature", "Telnyx-Signature-Ed25519", "Authorization",
		"Webhook-Signature", "X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3", "X-Plivo-Signature-V2", "X-Plivo-Signature-Ma-V2",
	} {
		if h.Get(name) != "" {
			return true
		}
	}
	return false
}

// clockSkew is how far a report's own time may be in the past or the future.
const clockSkew = 5 * time.Minute

// newProof returns the check of a kind for a channel. Its errors don't quote the
// key.
func newProof(kind, channel string, key verify.Secret) (proof, error) {
	text := strings.TrimSpace(key.Reveal())
	switch kind {
	case "twilio":
		return func(r *report, _ time.Time) bool { return r.signedWhole() && provesTwilio(r, text) }, nil
	case "telnyx":
		public, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(public) != ed25519.PublicKeySize {
			return nil, errors.New("must be the public key that the console shows: the base64 of 32 bytes")
		}
		return func(r *report, now time.Time) bool { return provesTelnyx(r, public, now) }, nil
	case "vonage":
		return func(r *report, now time.Time) bool { return provesVonage(r, text, now) }, nil
	case "webhook":
		secret, err := carrier.ParseSecret(text)
		if err != nil {
			return nil, err
		}
		return func(r *report, now time.Time) bool { return provesWebhook(r, secret, now) }, nil
	case "telesign":
		apiKey, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(apiKey) == 0 {
			return nil, errors.New("must be the API key as the console shows it: base64")
		}
		return func(r *report, _ time.Time) bool { return provesTelesign(r, apiKey) }, nil
	case "plivo":
		return func(r *report, _ time.Time) bool {
			return r.signedWhole() && (provesPlivo(r, text) || channel != string(verify.ChannelVoice) && provesPlivoURL(r, text))
		}, nil
	}
	if len(text) < 24 || strings.Trim(text, letters+"-_") != "" {
		return nil, errors.New("must be 24 or more letters and digits, as it is a part of the URL; to make one: openssl rand -hex 32")
	}
	return func(r *report, _ time.Time) bool { return same(r.PathValue("key"), text) }, nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// sameMAC compares a MAC with one in base64.
func sameMAC(written string, mac []byte) bool {
	got, err := base64.StdEncoding.DecodeString(written)
	return err == nil && hmac.Equal(got, mac)
}

// provesTwilio checks a signature of Twilio, or of SignalWire's compatible API: HMAC-SHA1 of the URL followed
// by the form's names and values, sorted. The signature holds no time.
// Source: twilio.com/docs/usage/security, "Validating requests";
// developer.signalwire.com/guides/webhook-security.
func provesTwilio(r *report, key string) bool {
	var params strings.Builder
	for _, name := range sortedKeys(r.form) {
		values := slices.Compact(slices.Sorted(slices.Values(r.form[name])))
		for _, v := range values {
			params.WriteString(name + v)
		}
	}
	written := r.Header.Get("X-Twilio-Signature")
	if written == "" {
		written = r.Header.Get("X-Signalwire-Signature")
	}
	return slices.ContainsFunc(withAndWithoutPort(r.url), func(u string) bool {
		m := hmac.New(sha1.New, []byte(key))
		m.Write([]byte(u + params.String()))
		return sameMAC(written, m.Sum(nil))
	})
}

// withAndWithoutPort returns a URL as it is, without its port, and with the default port of its scheme if it has none:
// Twilio signs with and without the port.
func withAndWithoutPort(s string) []string {
	u, err := url.Parse(s)
	if err != nil {
		return []string{s}
	}
	if u.Port() == "" {
		return []string{s, strings.Replace(s, "//"+u.Host, "//"+u.Host+map[string]string{"https": ":443", "http": ":80"}[u.Scheme], 1)}
	}
	return []string{s, strings.Replace(s, "//"+u.Host, "//"+strings.TrimSuffix(u.Host, ":"+u.Port()), 1)}
}

// provesTelnyx checks an Ed25519 signature of the time and the body.
// Source: developers.telnyx.com/docs/messaging/messages/receiving-webhooks, signature verification.
func provesTelnyx(r *report, key ed25519.PublicKey, now time.Time) bool {
	timestamp := r.Header.Get("Telnyx-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	sig, err2 := base64.StdEncoding.DecodeString(r.Header.Get("Telnyx-Signature-Ed25519"))
	r.marks = []string{string(sig)}
	return err == nil && err2 == nil && recent(seconds, now) &&
		ed25519.Verify(key, slices.Concat([]byte(timestamp+"|"), r.body), sig)
}

// provesWebhook checks a signature of Standard Webhooks: HMAC-SHA256 of the id, the time and the body. A sender that
// changes its secret may sign with both.
// Source: standardwebhooks.com, "Standard Webhooks" specification, Signature scheme.
func provesWebhook(r *report, key []byte, now time.Time) bool {
	id, timestamp := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(id + "." + timestamp + "."))
	m.Write(r.body)
	sum := m.Sum(nil)
	return err == nil && id != "" && recent(seconds, now) && slices.ContainsFunc(strings.Fields(r.Header.Get("Webhook-Signature")), func(one string) bool {
		sig, ok := strings.CutPrefix(one, "v1,")
		return ok && sameMAC(sig, sum)
	})
}

// provesTelesign checks a signature of Telesign: HMAC-SHA256 of the body, after the customer's id. The signature holds no time.
// Source: developer.telesign.com/enterprise/docs/authenticate-callbacks.
func provesTelesign(r *report, key []byte) bool {
	written, ok := strings.CutPrefix(r.Header.Get("Authorization"), "TSA ")
	return ok && sameMAC(written[strings.LastIndexByte(written, ':')+1:], mac256(key, string(r.body)))
}

// recent reports whether a time is within clockSkew of now.
func recent(unix int64, now time.Time) bool {
	age := now.Unix() - unix
	skew := int64(clockSkew / time.Second)
	return unix > 0 && age <= skew && age >= -skew
}

// provesVonage checks the token that signs a report of Vonage's newer APIs. It is a JWT with HS256 that
// holds the time and the body's hash.
// Source: developer.vonage.com/en/getting-started/concepts/webhooks, "Decoding signed webhooks".
func provesVonage(r *report, key string, now time.Time) bool {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(bearer, ".")
	if !ok || len(parts) != 3 {
		return false
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var claims struct {
		IssuedAt    int64  `json:"iat"`
		PayloadHash string `json:"payload_hash"`
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !readPart(parts[0], &header) || header.Alg != "HS256" ||
		!hmac.Equal(sig, mac256([]byte(key), parts[0]+"."+parts[1])) || !readPart(parts[1], &claims) {
		return false
	}
	r.marks = []string{parts[0] + "." + parts[1]}
	sum := sha256.Sum256(r.body)
	return recent(claims.IssuedAt, now) && same(strings.ToLower(claims.PayloadHash), hex.EncodeToString(sum[:]))
}

// readPart decodes a part of a JWT.
func readPart(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.NewDecoder(bytes.NewReader(text)).Decode(into) == nil
}

// provesPlivo checks version 3 of Plivo's signature: HMAC-SHA256 of the URL, the form and a nonce. The
// signature holds no time.
//
// Plivo's own libraries disagree on how version 3 joins URL and form: with "?" (Python) or with "." (Go).
// Both are accepted, because both need the key.
// Source: docs.plivo.com/docs/messaging/concepts/signature-validation,
// docs.plivo.com/docs/voice/xml/request/validation.
func provesPlivo(r *report, key string) bool {
	nonce := r.Header.Get("X-Plivo-Signature-V3-Nonce")
	if nonce == "" {
		return false
	}
	r.marks = []string{nonce}
	if older := r.Header.Get("X-Plivo-Signature-V2-Nonce"); older != "" && older != nonce { // otherwise it would still be usable
		r.marks = append(r.marks, older)
	}
	base, query, _ := strings.Cut(r.url, "?")
	var params strings.Builder
	for _, name := range sortedKeys(r.form) {
		params.WriteString(name + r.form.Get(name))
	}
	joined := base + "?" + sortedQuery(query)
	if query != "" {
		joined += "."
	}
	return provesAny(r, key, []string{"X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3"},
		joined+params.String()+"."+nonce, r.url+"."+params.String()+"."+nonce)
}

// provesPlivoURL checks version 2, the one on Plivo's page about messaging. It covers only the URL and a
// nonce. It is accepted only without version 3, which requests about calls always have.
func provesPlivoURL(r *report, key string) bool {
	for _, name := range []string{"X-Plivo-Signature-V3-Nonce", "X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	nonce := r.Header.Get("X-Plivo-Signature-V2-Nonce")
	base, _, _ := strings.Cut(r.url, "?")
	r.marks, r.urlOnly = []string{nonce}, true
	return nonce != "" && provesAny(r, key, []string{"X-Plivo-Signature-V2", "X-Plivo-Signature-Ma-V2"}, base+nonce, r.url+nonce)
}

// provesAny reports whether any of the headers, which may be lists, holds the MAC of any of the texts.
func provesAny(r *report, key string, headers []string, texts ...string) bool {
	for _, name := range headers {
		for written := range strings.SplitSeq(r.Header.Get(name), ",") {
			for _, text := range texts {
				if sameMAC(strings.TrimSpace(written), mac256([]byte(key), text)) {
					return true
				}
			}
		}
	}
	return false
}

// sortedQuery returns a query with its parts sorted.
func sortedQuery(query string) string {
	parts := strings.Split(query, "&")
	slices.Sort(parts)
	return strings.Join(parts, "&")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
