package config

import (
	"slices"
	"strings"
	"text/template"

	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/verify"
)

// A Beginning is what a small configuration with one carrier is made of.
type Beginning struct {
	// Carrier is the preset of a provider, or smpp, sip or http.
	Carrier string
	// Sender is public_sender.
	Sender string
	// Address is that of an SMSC or a trunk, or the URL of a receiver.
	Address string
	// Account is the account at the provider, the SMSC or the trunk.
	Account string
	// User, Host, Region and Profile are a provider's, where it needs them.
	User, Host, Region, Profile string
	// Secret is the file with the carrier's secret.
	Secret string
	// URL is public.url. Optional.
	URL string
	// Postgres is database.url. Optional.
	Postgres string
}

// ways are the carriers that aren't presets.
var ways = []string{"smpp", "sip", "http"}

// Beginnings are the carriers that a [Beginning] can have.
func Beginnings() []string { return append(provider.Presets(), ways...) }

// Example has a value in each place that its carrier needs.
func (b Beginning) Example() Beginning {
	b.Sender = "+12025550199"
	b.Secret = b.Carrier + ".secret"
	switch b.Carrier {
	case "http":
		b.Address, b.Secret = "http://127.0.0.1:9000/messages", "gateway.secret"
	case "smpp":
		b.Address = "smsc.example.com:2775"
	case "sip":
		b.Address, b.Account = "sip.example.com", "account"
	}
	for _, need := range b.Needs() {
		if value := b.Field(need); *value == "" {
			*value = map[string]string{"account": "ACCOUNT", "user": "USER", "host": "account.example.com", "region": "us-east-1", "profile": "PROFILE"}[need]
		}
	}
	if b.asks() {
		b.URL = "https://verify.example.com"
	}
	return b
}

// Needs are which of address, account, user, host, region and profile the carrier can't do without.
func (b Beginning) Needs() []string {
	switch b.Carrier {
	case "smpp":
		return []string{"address", "account"}
	case "sip", "http":
		return []string{"address"}
	}
	return b.spec().Needs
}

// Field is where the value of one of [Beginning.Needs] stands.
func (b *Beginning) Field(need string) *string {
	return map[string]*string{"address": &b.Address, "account": &b.Account, "user": &b.User, "host": &b.Host, "region": &b.Region, "profile": &b.Profile}[need]
}

// Known reports whether there is such a carrier.
func (b Beginning) Known() bool { return slices.Contains(Beginnings(), b.Carrier) }

// Name is the carrier's name in the configuration.
func (b Beginning) Name() string {
	if b.Carrier == "http" {
		return "gateway"
	}
	return b.Carrier
}

// spec is the preset, if it is one.
func (b Beginning) spec() provider.Spec {
	spec, _ := provider.PresetNamed(b.Carrier)
	return spec
}

// asks reports whether the provider asks for the words of calls, so that it must reach this server.
func (b Beginning) asks() bool { return b.spec().Answer.Body != "" }

// Channels are those that the carrier serves.
func (b Beginning) Channels() []verify.Channel {
	switch {
	case b.Carrier == "http":
		return []verify.Channel{verify.ChannelSMS, verify.ChannelVoice}
	case b.Carrier == "sip", b.spec().Channel == string(verify.ChannelVoice):
		return []verify.Channel{verify.ChannelVoice}
	}
	return []verify.Channel{verify.ChannelSMS}
}

// Text is the configuration.
func (b Beginning) Text() string {
	var text strings.Builder
	if err := beginning.Execute(&text, b); err != nil {
		panic(err) // the template is ours
	}
	return text.String()
}

var beginning = template.Must(template.New("").Parse(`# A small configuration of Countersign. "countersign config example --all" prints all keys with their
# meanings, and "countersign config check" says what is wrong with a file.

# The number or name that messages come from, when a request names no other.
public_sender: {{printf "%q" .Sender}}
{{- if .URL}}

# How the outside reaches this server: the provider reports there what became of messages.
public:
  url: {{printf "%q" .URL}}
{{- end}}
{{- if .Postgres}}

database:
  url: {{printf "%q" .Postgres}}
{{- end}}

carriers:
  - name: {{.Name}}
{{- if eq .Carrier "http"}}
    # Your receiver: a message is a signed POST to it.
    http:
      url: {{printf "%q" .Address}}
      secret:
        file: {{printf "%q" .Secret}}
{{- else if eq .Carrier "smpp"}}
    # TLS; an SMSC that speaks none needs "plaintext: true", over a private line or a tunnel.
    smpp:
      addr: {{printf "%q" .Address}}
      system_id: {{printf "%q" .Account}}
      password:
        file: {{printf "%q" .Secret}}
{{- else if eq .Carrier "sip"}}
    sip:
      trunk: {{printf "%q" .Address}}
{{- if .Account}}
      username: {{printf "%q" .Account}}
      password:
        file: {{printf "%q" .Secret}}
{{- end}}
{{- else}}
    provider:
      preset: {{.Carrier}}
{{- if .Account}}
      account: {{printf "%q" .Account}}
{{- end}}{{if .User}}
      user: {{printf "%q" .User}}
{{- end}}{{if .Host}}
      host: {{printf "%q" .Host}}
{{- end}}{{if .Region}}
      region: {{printf "%q" .Region}}
{{- end}}{{if .Profile}}
      profile: {{printf "%q" .Profile}}
{{- end}}
      secret:
        file: {{printf "%q" .Secret}}
{{- end}}

channels:
{{- range .Channels}}
  {{.}}: [{{$.Name}}]
{{- end}}
`))
