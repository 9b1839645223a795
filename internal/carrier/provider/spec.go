package provider

import (
	"embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// Source is this file: the comments below are the reference of the keys.
//
//go:embed spec.go
var Source []byte

// Spec is what sets one provider's API apart from another's. The files in preset/ are such, and a file of
// the operator's changes one key by key, or stands alone.
//
// The words "a template" mean Go's text/template over [Fields], with the functions of [functions].
type Spec struct {
	// Needs are those of account, user, host, region and profile that must be configured.
	Needs []string `yaml:"needs"`
	// Channel is sms or voice. Without a preset it is sms.
	Channel string `yaml:"channel"`
	// Method of the request. Without a preset it is POST.
	Method string `yaml:"method"`
	// URL is where messages go, a template: https, or http to this machine.
	URL string `yaml:"url"`
	// Headers of the request besides those of auth. Giving any replaces all of the preset's.
	Headers []HeaderSpec `yaml:"headers"`
	// Body of the request, a template.
	Body string `yaml:"body"`
	// Auth is how the request proves who we are.
	Auth AuthSpec `yaml:"auth"`
	// Rules say what an answer means. The first that fits decides; the preset's come after these, and
	// after those what HTTP's statuses usually mean.
	Rules []RuleSpec `yaml:"rules"`
	// Ref is the path of the provider's id of the message in a JSON answer, such as messages.0.id.
	Ref string `yaml:"ref"`
	// Answer is what a provider is told that asks for the words of a call when somebody takes it.
	Answer AnswerSpec `yaml:"answer"`
	// Callback is how the provider tells us later what became of a message.
	Callback CallbackSpec `yaml:"callback"`
}

// HeaderSpec is a header of requests.
type HeaderSpec struct {
	// Name of the header.
	Name string `yaml:"name"`
	// Value of the header, a template.
	Value string `yaml:"value"`
}

// AuthSpec is how requests prove who we are.
type AuthSpec struct {
	// Kind is none, basic, bearer, header, jwt (RS256, as Vonage wants it: the secret is a private key,
	// PEM) or aws (Signature Version 4).
	Kind string `yaml:"kind"`
	// User of basic, issuer of jwt, access key of aws; a template. Without it, the account.
	User string `yaml:"user"`
	// Header that holds the secret, for the kind header.
	Header string `yaml:"header"`
	// Prefix of the secret in that header, such as "App ".
	Prefix string `yaml:"prefix"`
	// Service that aws signs for.
	Service string `yaml:"service"`
}

// RuleSpec says what an answer means.
type RuleSpec struct {
	// Status of the answers that it is about, such as 400 or 4xx. None: all.
	Status []string `yaml:"status"`
	// Path of a value in a JSON answer, such as errors.0.code. Without it, the status is enough.
	Path string `yaml:"path"`
	// Values that may stand there. None: anything may, but something must.
	Values []string `yaml:"values"`
	// Then is accepted, retry (it wasn't sent; later), refused (never here), misconfigured (an operator
	// must act; others take over) or unknown (it may have been sent).
	Then string `yaml:"then"`
	// Reason of a failure, one of those in docs/providers.md. Optional.
	Reason string `yaml:"reason"`
}

// AnswerSpec is the answer to a request for the words of a call, which proves where it comes from as
// reports do.
type AnswerSpec struct {
	// Type is its media type, such as application/xml.
	Type string `yaml:"type"`
	// Body is the answer, a template. Without it, nobody may ask.
	Body string `yaml:"body"`
	// None is the answer where there is nothing to say: the code was used, or has died. No template.
	None string `yaml:"none"`
}

// CallbackSpec is how a provider reports what became of a message. Values are found by path in JSON,
// or by name in a form.
type CallbackSpec struct {
	// Check is how a report proves where it comes from: twilio, telnyx, vonage, plivo, or path: the
	// secret is a part of the URL. Without it there are no reports.
	Check string `yaml:"check"`
	// Shared says that reports are signed with the secret of requests, unless there is a callback_secret.
	Shared bool `yaml:"shared"`
	// Each is the path of a list, where one request brings several reports.
	Each string `yaml:"each"`
	// Ref is the path of the provider's id of the message.
	Ref string `yaml:"ref"`
	// Token is the path of what a request gave as .Token, where the report repeats that.
	Token string `yaml:"token"`
	// Status is the path of the status.
	Status string `yaml:"status"`
	// Delivered are the statuses of a message that arrived.
	Delivered []string `yaml:"delivered"`
	// Failed are the statuses of one that never will. Reports with others are passed over.
	Failed []string `yaml:"failed"`
	// Code is the path of what explains a failure.
	Code string `yaml:"code"`
	// Reasons say what codes, or else statuses, mean. The preset's come after these.
	Reasons []ReasonSpec `yaml:"reasons"`
}

// ReasonSpec gives codes of a provider a reason of ours.
type ReasonSpec struct {
	// Reason is one of those in docs/providers.md.
	Reason string `yaml:"reason"`
	// Codes that mean it.
	Codes []string `yaml:"codes"`
}

//go:embed preset/*.yaml
var files embed.FS

var presets = sync.OnceValue(func() map[string]Spec {
	all := map[string]Spec{}
	entries, err := files.ReadDir("preset")
	if err != nil {
		panic(err) // it is embedded
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

// Presets are the names of the providers that we know, sorted.
func Presets() []string {
	var names []string
	for name := range presets() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// PresetNamed returns one of [Presets].
func PresetNamed(name string) (Spec, bool) {
	s, ok := presets()[name]
	return s, ok
}

// PresetText is the file of one of [Presets].
func PresetText(name string) (string, error) {
	text, err := files.ReadFile("preset/" + name + ".yaml")
	return string(text), err
}

// Over lays what s says over what it leaves open.
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
	set(&out.Channel, s.Channel)
	set(&out.Method, s.Method)
	set(&out.URL, s.URL)
	set(&out.Body, s.Body)
	set(&out.Ref, s.Ref)
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

// usual is what HTTP's statuses mean where no rule says otherwise.
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
	authKinds  = []string{"none", "basic", "bearer", "header", "jwt", "aws"}
	checkKinds = []string{"", "twilio", "telnyx", "vonage", "plivo", "path"}
	outcomes   = []string{"accepted", "retry", "refused", "misconfigured", "unknown"}
)

// reasons are those that rules and callbacks may name, by their words.
var reasons = func() map[string]verify.Reason {
	all := map[string]verify.Reason{}
	for _, r := range []verify.Reason{
		verify.ReasonUnreachable, verify.ReasonInvalidNumber, verify.ReasonInvalidSender, verify.ReasonBlocked,
		verify.ReasonSpamFiltered, verify.ReasonInvalidMessage, verify.ReasonNoCredit, verify.ReasonThrottled,
		verify.ReasonExpired, verify.ReasonNetwork, verify.ReasonMisconfigured, verify.ReasonRedirected, verify.ReasonUnknown,
		verify.ReasonBusy, verify.ReasonNoAnswer, verify.ReasonDeclined,
	} {
		all[r.String()] = r
	}
	return all
}()

// reasonWords are their words, sorted.
var reasonWords = slices.Sorted(maps.Keys(reasons))

// check says what is wrong with the parts that are no templates.
func (s Spec) check() error {
	one := func(key, value string, of []string) error {
		if slices.Contains(of, value) {
			return nil
		}
		return fmt.Errorf("%s: must be one of %s", key, strings.Join(of, ", "))
	}
	errs := []error{one("channel", s.Channel, []string{string(verify.SMS), string(verify.Voice)}), one("auth.kind", s.Auth.Kind, authKinds), one("callback.check", s.Callback.Check, checkKinds)}
	if s.Auth.Kind == "header" && s.Auth.Header == "" {
		errs = append(errs, fmt.Errorf("auth.header: must not be empty"))
	}
	for i, need := range s.Needs {
		errs = append(errs, one(fmt.Sprintf("needs[%d]", i), need, []string{"account", "user", "host", "region", "profile"}))
	}
	for i, r := range s.Rules {
		key := fmt.Sprintf("rules[%d]", i)
		errs = append(errs, one(key+".then", r.Then, outcomes))
		if r.Reason != "" {
			errs = append(errs, one(key+".reason", r.Reason, reasonWords))
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
		errs = append(errs, one(fmt.Sprintf("callback.reasons[%d].reason", i), r.Reason, reasonWords))
	}
	if a := s.Answer; a.Body != "" && (a.Type == "" || a.None == "" || s.Callback.Check == "") {
		errs = append(errs, fmt.Errorf("answer: needs type and none, and callback.check to know who asks"))
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

// statusPattern reports whether a text is 100 to 599, or one digit of those and xx.
func statusPattern(s string) bool {
	if len(s) != 3 || s[0] < '1' || s[0] > '5' {
		return false
	}
	return s[1:] == "xx" || strings.Trim(s[1:], "0123456789") == ""
}
