package config

import (
	"cmp"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/yamlconf"
)

// given reports whether it says anything.
func (s providerSecretConfig) given() bool { return s != providerSecretConfig{} }

// stray reports whether an account is given, which is of no use without a provider.
func (c *providerConfig) stray() bool {
	return c.Account+c.User+c.Host+c.Region+c.Profile != "" || c.Secret.given() || c.CallbackSecret.given()
}

// given reports whether a carrier is a provider.
func (c *providerConfig) given() bool { return c.Preset != "" || c.API != "" }

// A providerWay is a provider's account.
type providerWay provider.Config

// channel implements [way].
func (w *providerWay) channel() verify.Channel {
	return verify.Channel(cmp.Or(w.Spec.Channel, string(verify.ChannelSMS)))
}

// open implements [way].
func (w *providerWay) open(log *outage.Log, made *Carriers) (carrier.Carrier, error) {
	w.Log = log.Logger
	p, err := provider.New(provider.Config(*w))
	if err != nil {
		return nil, err
	}
	if !p.Receives() {
		log.Warn("the provider can't report what became of messages: set public.url, and the secret that reports are checked with", "carrier", p.Name())
	}
	made.providers = append(made.providers, p)
	return p, nil
}

// checkProvider notes what is wrong with a provider; what only the carrier itself can tell is tried.
func (c *Loaded) checkProvider(p *yamlconf.Problems, carrier string, cc *carrierConfig) way {
	o, key := &cc.Provider, carrier+".provider"
	checkDuration(p, key+".timeout", o.Timeout, 100*time.Millisecond, 10*time.Second)
	var preset provider.Spec
	if o.Preset != "" {
		var known bool
		preset, known = provider.PresetNamed(o.Preset)
		p.Check(key+".preset", known, "there is no preset %q; there are %s", o.Preset, strings.Join(provider.Presets(), ", "))
	}
	way := &provider.Config{
		Name: cc.Name, Spec: c.providerAPI(p, key+".api", o.API).Over(preset), Account: o.Account, User: o.User, Host: o.Host, Region: o.Region, Profile: o.Profile,
		Public: c.Public.URL, Timeout: time.Duration(o.Timeout), Conns: cc.Concurrency, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
	for _, need := range way.Spec.Needs {
		value := map[string]string{"account": o.Account, "user": o.User, "host": o.Host, "region": o.Region, "profile": o.Profile}[need]
		p.Check(key+"."+need, value != "", "must not be empty: the provider needs it")
	}
	secret := func(of string, s providerSecretConfig) (value verify.Secret) {
		value, err := c.secret(secretConfig(s), theirSecret)
		if err != nil {
			p.Check(key+"."+of, false, "%v", err)
		}
		return verify.Secret(strings.TrimSpace(value.Reveal()))
	}
	if kind := way.Spec.Auth.Kind; o.Secret.given() || kind != "" && kind != "none" {
		way.Secret = secret("secret", o.Secret)
	}
	if o.CallbackSecret.given() {
		way.CallbackSecret = secret("callback_secret", o.CallbackSecret)
		p.Check(key+".callback_secret", c.Public.URL != "", "needs public.url, where the provider reports")
	}
	p.Check(key+".preset", way.Spec.Answer.Body == "" || c.Public.URL != "", "needs public.url, where the provider asks what a call says")
	way.RootCAs = c.authorities(p, key+".ca_file", o.CAFile)
	if slices.ContainsFunc(p.List, func(q yamlconf.Problem) bool { return strings.HasPrefix(q.Key, key) }) {
		return (*providerWay)(way) // that would be told twice
	}
	for _, f := range way.Check() {
		p.Check(key+"."+f.Field, false, "%s", f.Message)
	}
	return (*providerWay)(way)
}

// providerAPI reads a description; without a file it leaves all to the preset.
func (c *Loaded) providerAPI(p *yamlconf.Problems, key, file string) (described provider.Spec) {
	if file == "" {
		return described
	}
	text, err := os.ReadFile(c.path(file))
	if err != nil {
		p.Check(key, false, "%v", err)
		return described
	}
	if problems := yamlconf.Decode(text, &described); len(problems.List) > 0 {
		p.Check(key, false, "%s", problems.Describe(c.path(file)))
	}
	return described
}
