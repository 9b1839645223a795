package provider

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// Source is the text of this file. The comments below are the reference of the
// keys.
//
//go:embed spec.go
var Source []byte

// Spec describes one provider's API. Each file in preset/ is a Spec. An operator's file overrides a
// preset key by key, or stands alone.
//
// "A template" below means a Go text/template over [Fields] with [functions].
type Spec struct {
	// Needs lists which of account, user, host, region and profile must be configured.
	Needs []string `yaml:"needs"`
	// Region is a regular expression of which the first group is the region in the secret, for providers whose keys name
	// it. It counts where no region is configured. Optional.
	Region string `yaml:"region"`
	// Channel is sms or voice. Without a preset, the default is sms.
	Channel string `yaml:"channel"`
	// Method of the request. Without a preset, the default is POST.
	Method string `yaml:"method"`
	// URL that messages are sent to, a template. It must be https, or http to
	// this machine.
	URL string `yaml:"url"`
	// Headers of the request, besides those of auth. If there are any, they replace all of
	// the preset's.
	Headers []HeaderSpec `yaml:"headers"`
	// Body of the request, a template.
	Body string `yaml:"body"`
	// Auth says how requests authenticate.
	Auth AuthSpec `yaml:"auth"`
	// Rules say what an answer means. The first rule that fits decides. The preset's rules follow
	// these, and the usual meanings of HTTP statuses come last.
	Rules []RuleSpec `yaml:"rules"`
	// Answers is the form of the API's answers: json, xml or text. Without a preset, the default is json. In XML, a path names elements
	// from the outermost on, and attributes by @: such as response.message.0.@id.
	Answers string `yaml:"answers"`
	// Pattern reads answers of the form text: a regular expression (RE2), whose named groups are what paths name, such as
	// "^OK: (?P<id>[0-9]+)".
	Pattern string `yaml:"pattern"`
	// Code is the path of the provider's error code in an answer. Without it, or without a value there, it is the
	// first value at the paths of rules, or at code, error.code and other usual places.
	Code string `yaml:"code"`
	// Ref is the path of the provider's id of the message in an answer, such as messages.0.id.
	Ref string `yaml:"ref"`
	// Answer is the response to a provider that asks for the words of a call once a person has
	// picked up.
	Answer AnswerSpec `yaml:"answer"`
	// Callback describes how the provider later reports whether a message
	// arrived.
	Callback CallbackSpec `yaml:"callback"`
}

// HeaderSpec describes a header of requests.
type HeaderSpec struct {
	// Name of the header.
	Name string `yaml:"name"`
	// Value of the header, a template.
	Value string `yaml:"value"`
}

// AuthSpec describes how requests authenticate.
type AuthSpec struct {
	// Kind is none, basic, key (basic with the secret as the user and no password), bearer, header, body (the template of
	// the body uses .Secret), jwt (RS256, for Vonage: the secret is a private key in PEM),
	// aws (Signature Version 4), hmac (a signature of a text that canonical describes) or oauth2 (client credentials).
	Kind string `yaml:"kind"`
	// User is the user of basic, the issuer of jwt, the access key of aws or the client of oauth2; a template.
	// The default is the account.
	User string `yaml:"user"`
	// Header that holds the secret, if kind is header.
	Header string `yaml:"header"`
	// Prefix of the secret in that header, such as "App ".
	Prefix string `yaml:"prefix"`
	// Service to sign for, if kind is aws.
	Service string `yaml:"service"`

	// Canonical is the text to sign, if kind is hmac: a template over [Signing].
	Canonical string `yaml:"canonical"`
	// Hash of hmac is sha1, sha256 or sha512. The default is sha256.
	Hash string `yaml:"hash"`
	// Key says how the secret holds the key of hmac: text, base64 or hex. The default is text.
	Key string `yaml:"key"`
	// Encoding of the signature is base64 or hex. The default is base64.
	Encoding string `yaml:"encoding"`
	// Headers that hold the signature, and what was signed with it; templates over [Signing].
	Headers []HeaderSpec `yaml:"headers"`

	// TokenURL is where oauth2 gets its tokens, a template over the account's fields. It must be https.
	TokenURL string `yaml:"token_url"`
	// Scope of the token. Optional.
	Scope string `yaml:"scope"`
	// Client says where the token's request holds the client and its secret: header (basic) or body. The default is header.
	Client string `yaml:"client"`
	// Parameters are further ones of the token's request, such as an audience. Optional.
	Parameters []HeaderSpec `yaml:"parameters"`
}

// RuleSpec gives the meaning of some answers.
type RuleSpec struct {
	// Status of the answers that the rule applies to, such as 400 or 4xx. An
	// empty list means all.
	Status []string `yaml:"status"`
	// Path of a value in an answer, such as errors.0.code. Without a path, the status alone
	// decides.
	Path string `yaml:"path"`
	// Values that the path may have; one such as "*#1120" means all that end so. An empty list means any
	// value, but there must be one.
	Values []string `yaml:"values"`
	// Then is accepted, retry (not sent; try again later), refused (never try this carrier again),
	// misconfigured (an operator must act; other carriers take over) or unknown (it may have been
	// sent).
	Then string `yaml:"then"`
	// Reason of a failure, one of those in docs/providers.md. Optional.
	Reason string `yaml:"reason"`
}

// AnswerSpec is the response to a request for the words of a call. Such requests are proven like
// reports.
type AnswerSpec struct {
	// Type is the response's media type, such as application/xml.
	Type string `yaml:"type"`
	// Body of the response, a template. Without it, such requests are refused.
	Body string `yaml:"body"`
	// None is the response if there is nothing to say, because the code was used or has expired. Not
	// a template.
	None string `yaml:"none"`
}

// CallbackSpec describes how a provider reports on messages. Values are found by path in JSON, or by
// name in a form.
type CallbackSpec struct {
	// Check is the proof of a report's origin: twilio, telnyx, vonage, plivo, telesign, webhook (Standard
	// Webhooks), or path, which means that the secret is part of the URL. Without it there are no
	// reports.
	Check string `yaml:"check"`
	// Shared says that the secret of requests also signs reports, unless there is a callback_secret.
	Shared bool `yaml:"shared"`
	// Each is the path of a list, if one request holds several reports; "." means that the whole body is one, and ","
	// that each field of a form or query is a list with commas.
	Each string `yaml:"each"`
	// Ref is the path of the provider's id of the message.
	Ref string `yaml:"ref"`
	// Token is the path of the request's .Token, if reports repeat it.
	Token string `yaml:"token"`
	// Status is the path of the status.
	Status string `yaml:"status"`
	// Delivered lists the statuses of a message that arrived.
	Delivered []string `yaml:"delivered"`
	// Failed lists the statuses of a message that will never arrive. Reports with any
	// other status are ignored.
	Failed []string `yaml:"failed"`
	// Code is the path of the code that explains a failure.
	Code string `yaml:"code"`
	// Reply is the body of our answer to a report, for providers that want one, such as OK. Optional.
	Reply string `yaml:"reply"`
	// Handshake is the path of a text in a request with which the provider tries the URL. The answer repeats it in the JSON
	// field HandshakeReply. Optional.
	Handshake string `yaml:"handshake"`
	// HandshakeReply is that field.
	HandshakeReply string `yaml:"handshake_reply"`
	// Reasons map codes, or else statuses, to reasons. The preset's reasons follow
	// these.
	Reasons []ReasonSpec `yaml:"reasons"`
}

// ReasonSpec maps codes of a provider to one of our reasons.
type ReasonSpec struct {
	// Reason is one of those in docs/providers.md.
	Reason string `yaml:"reason"`
	// Codes of the provider with this reason.
	Codes []string `yaml:"codes"`
}

//go:embed preset/*.yaml
var files embed.FS

var presets = sync.OnceValue(func() map[string]Spec {
	all := map[string]Spec{}
	entries, err := files.ReadDir("preset")
	if err != nil {
		panic(err) // the files are embedded
	}
	for _, e := range entries {
		text, err := files.ReadFile("preset/" + e.Name())
		if err != nil {
			panic(err)
		}
		var s Spec
		if problems := yamlconf.Decode(text, &s); len(problems.List) > 0 {
			panic(problems.Describe(e.Name()))
		}
		all[strings.TrimSuffix(e.Name(), path.Ext(e.Name()))] = s
	}
	return all
})

// Presets returns the names of the preset providers, sorted.
func Presets() []string {
	var names []string
	for name := range presets() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// PresetNamed returns the preset of that name.
func PresetNamed(name string) (Spec, bool) {
	s, ok := presets()[name]
	return s, ok
}

// PresetText returns the file of the preset of that name.
func PresetText(name string) (string, error) {
	text, err := files.ReadFile("preset/" + name + ".yaml")
	return string(text), err
}

// Over returns base with the keys of s laid over it.
func (s Spec) Over(base Spec) Spec {
	set := func(to *string, value string) {
		if value != "" {
			*to = value
		}
	}
	out := base
	if len(s.Needs) > 0 {
		out.Needs = s.Needs
	}
	set(&out.Region, s.Region)
	set(&out.Channel, s.Channel)
	set(&out.Method, s.Method)
	set(&out.URL, s.URL)
	set(&out.Body, s.Body)
	set(&out.Code, s.Code)
	set(&out.Ref, s.Ref)
	set(&out.Answers, s.Answers)
	set(&out.Pattern, s.Pattern)
	if len(s.Headers) > 0 {
		out.Headers = s.Headers
	}
	if s.Auth.Kind != "" {
		out.Auth = s.Auth
	}
	set(&out.Auth.User, s.Auth.User)
	out.Rules = slices.Concat(s.Rules, base.Rules)
	set(&out.Answer.Type, s.Answer.Type)
	set(&out.Answer.Body, s.Answer.Body)
	set(&out.Answer.None, s.Answer.None)
	c, over := &out.Callback, s.Callback
	set(&c.Check, over.Check)
	set(&c.Each, over.Each)
	set(&c.Ref, over.Ref)
	set(&c.Token, over.Token)
	set(&c.Status, over.Status)
	set(&c.Code, over.Code)
	set(&c.Reply, over.Reply)
	set(&c.Handshake, over.Handshake)
	set(&c.HandshakeReply, over.HandshakeReply)
	c.Shared = c.Shared || over.Shared
	if len(over.Delivered) > 0 {
		c.Delivered = over.Delivered
	}
	if len(over.Failed) > 0 {
		c.Failed = over.Failed
	}
	c.Reasons = slices.Concat(over.Reasons, base.Callback.Reasons)
	return out
}

// usual holds the usual meanings of HTTP statuses, for answers that no rule
// fits.
var usual = []RuleSpec{
	{Status: []string{"2xx"}, Then: "accepted"},
	{Status: []string{"401", "403", "404", "405", "407"}, Then: "misconfigured"},
	{Status: []string{"402"}, Then: "misconfigured", Reason: verify.ReasonNoCredit.String()},
	{Status: []string{"429"}, Then: "retry", Reason: verify.ReasonThrottled.String()},
	{Status: []string{"408", "425", "5xx"}, Then: "retry"},
	{Status: []string{"4xx"}, Then: "refused"},
	{Status: []string{"3xx"}, Then: "misconfigured", Reason: verify.ReasonRedirected.String()},
	{Then: "unknown"},
}

var (
	authKinds  = []string{"none", "basic", "key", "bearer", "header", "body", "jwt", "aws", "hmac", "oauth2"}
	checkKinds = []string{"", "twilio", "telnyx", "vonage", "plivo", "telesign", "webhook", "path"}
	outcomes   = []string{"accepted", "retry", "refused", "misconfigured", "unknown"}
)

// check returns the first error in the parts that aren't templates.
func (s Spec) check() error {
	one := func(key, value string, of []string) error {
		if slices.Contains(of, value) {
			return nil
		}
		return fmt.Errorf("%s: must be one of %s", key, strings.Join(of, ", "))
	}
	errs := []error{one("channel", s.Channel, []string{string(verify.ChannelSMS), string(verify.ChannelVoice)}), one("auth.kind", s.Auth.Kind, authKinds), one("callback.check", s.Callback.Check, checkKinds)}
	if s.Auth.Kind == "header" && s.Auth.Header == "" {
		errs = append(errs, fmt.Errorf("auth.header: must not be empty"))
	} else if s.Auth.Header != "" {
		errs = append(errs, headerName("auth.header", s.Auth.Header))
	}
	for i, h := range s.Headers {
		errs = append(errs, headerName(fmt.Sprintf("headers[%d].name", i), h.Name))
	}
	errs = append(errs, s.Auth.check(one)...)
	errs = append(errs, one("answers", s.Answers, []string{"json", "xml", "text"}))
	if (s.Answers == "text") != (s.Pattern != "") {
		errs = append(errs, errors.New("pattern: belongs to the answers text, and is needed there"))
	}
	if c := s.Callback; (c.Handshake == "") != (c.HandshakeReply == "") {
		errs = append(errs, errors.New("callback.handshake: belongs to handshake_reply"))
	}
	for i, need := range s.Needs {
		errs = append(errs, one(fmt.Sprintf("needs[%d]", i), need, []string{"account", "user", "host", "region", "profile"}))
	}
	for i, r := range s.Rules {
		key := fmt.Sprintf("rules[%d]", i)
		errs = append(errs, one(key+".then", r.Then, outcomes))
		if r.Reason != "" {
			errs = append(errs, one(key+".reason", r.Reason, carrier.ReasonWords))
		}
		for _, status := range r.Status {
			if !statusPattern(status) {
				errs = append(errs, fmt.Errorf("%s.status: must be like 400 or 4xx", key))
			}
		}
		if len(r.Values) > 0 && r.Path == "" {
			errs = append(errs, fmt.Errorf("%s.values: need a path", key))
		}
	}
	for i, r := range s.Callback.Reasons {
		errs = append(errs, one(fmt.Sprintf("callback.reasons[%d].reason", i), r.Reason, carrier.ReasonWords))
	}
	if a := s.Answer; a.Body != "" && (a.Type == "" || a.None == "" || s.Callback.Check == "") {
		errs = append(errs, fmt.Errorf("answer: needs type and none, and callback.check to prove the request"))
	}
	if c := s.Callback; c.Check != "" && (c.Status == "" || c.Ref == "" && c.Token == "" || len(c.Delivered)+len(c.Failed) == 0) {
		errs = append(errs, fmt.Errorf("callback: needs status, ref or token, and delivered or failed"))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// check returns the errors of the kinds that describe more than the secret's place.
func (a AuthSpec) check(one func(key, value string, of []string) error) (errs []error) {
	must := func(ok bool, key string) {
		if !ok {
			errs = append(errs, fmt.Errorf("auth.%s: must not be empty", key))
		}
	}
	switch a.Kind {
	case "hmac":
		must(a.Canonical != "", "canonical")
		must(len(a.Headers) > 0, "headers")
		for i, h := range a.Headers {
			errs = append(errs, headerName(fmt.Sprintf("auth.headers[%d].name", i), h.Name))
		}
		errs = append(errs, one("auth.hash", a.Hash, []string{"", "sha1", "sha256", "sha512"}),
			one("auth.key", a.Key, []string{"", "text", "base64", "hex"}), one("auth.encoding", a.Encoding, []string{"", "base64", "hex"}))
	case "oauth2":
		must(a.TokenURL != "", "token_url")
		errs = append(errs, one("auth.client", a.Client, []string{"", "header", "body"}))
	}
	return errs
}

// headerName returns an error for what can't be a header's name: no request could be made with it.
// Source: RFC 9110, 5.6.2, tokens.
func headerName(key, name string) error {
	const others = "!#$%&'*+-.^_`|~"
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(others, r))
	}) {
		return fmt.Errorf("%s: must be a header's name, such as X-Signature", key)
	}
	return nil
}

// statusPattern reports whether a text is a status from 100 to 599, or a class such
// as 4xx.
func statusPattern(s string) bool {
	if len(s) != 3 || s[0] < '1' || s[0] > '5' {
		return false
	}
	return s[1:] == "xx" || strings.Trim(s[1:], "0123456789") == ""
}
