package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier/exchange"
	carrierhttp "github.com/countersign/countersign/internal/carrier/http"
	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/carrier/sip"
	"github.com/countersign/countersign/internal/carrier/smpp"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
	"github.com/countersign/countersign/internal/yamlconf"
)

// Config is what "countersign serve" reads from its YAML file. The comments below are its
// reference: "config example", "config print" and docs/configuration.md show them.
//
// Paths are relative to the file's folder. Durations are written as 10s, 2m or 720h.
type Config struct {
	// Data is the folder of the database. It is made if need be, for its owner only.
	Data string `yaml:"data" default:"data"`

	// Database is a PostgreSQL instead, for several replicas of this server. See docs/operate.md.
	Database DatabaseConfig `yaml:"database"`

	// Keyset holds the keys that make the stored codes useless to whoever copies the database.
	// Make one with "countersign keyset create".
	Keyset KeysetConfig `yaml:"keyset"`

	// Public is where clients reach the API.
	Public PublicConfig `yaml:"public"`

	// Operations is where health checks, metrics and profiles are served. It asks for no
	// credentials: keep it away from the outside.
	Operations OperationsConfig `yaml:"operations"`

	// PublicSender is the number or name that messages come from when a request names no other:
	// E.164, or 1 to 11 letters and digits.
	PublicSender string `yaml:"public_sender" example:"+12025550199"`

	// Senders are what the applications of Syniverse's API may name as message_from, beside numbers
	// and names. Optional.
	Senders []SenderConfig `yaml:"senders"`

	// StrictSenders refuses applications that name another sender_id or channel. Else these send from
	// public_sender, so that a configuration made for Syniverse works here.
	StrictSenders bool `yaml:"strict_senders" default:"false"`

	// MaxSegments is how many SMS segments an application's template may take, with its code: 1 to 10.
	MaxSegments int `yaml:"max_segments" default:"3"`

	// Locale is the language of the calls of applications that name none, such as de or pt-BR. Without
	// it the number's country decides, see docs/voice.md. Optional.
	Locale string `yaml:"locale"`

	// UserLimits bound the codes sent to one user of an application, beside its project's limits for a
	// number.
	UserLimits UserLimitsConfig `yaml:"user_limits"`

	// ProjectLimits bound what the API callers of one project may make.
	ProjectLimits ProjectLimitsConfig `yaml:"project_limits"`

	// Syniverse is how Syniverse's API is served.
	Syniverse SyniverseConfig `yaml:"syniverse"`

	// Carriers are the ways out, each with a name of its own.
	Carriers []CarrierConfig `yaml:"carriers"`

	// Routes say which carriers take a message: the first one that matches it decides. What none
	// matches goes as channels say. "countersign route explain NUMBER" shows what comes of them.
	Routes []RouteConfig `yaml:"routes"`

	// Channels say which carriers serve a channel, the preferred one first. A channel without
	// carriers answers 503.
	Channels ChannelsConfig `yaml:"channels"`

	// Failover says by which channels a message goes on that none of its channel's carriers gets there.
	// Applications of Syniverse's API have methods that say it themselves. Optional.
	Failover FailoverConfig `yaml:"failover"`

	// MaxMessages is how many messages one verification may cost, when a carrier loses one or is
	// silent: 1 to 10. What may have been sent counts.
	MaxMessages int `yaml:"max_messages" default:"3"`

	// BreakAfter is how many hand-overs in a row must fail until messages to that country pass a
	// carrier by, for 10s at first: 1 to 1000.
	BreakAfter int `yaml:"break_after" default:"5"`

	// Retention is how long verifications are kept after their start: 24h to 87600h.
	Retention yamlconf.Duration `yaml:"retention" default:"720h"`

	// Log is what is written to standard error.
	Log LogConfig `yaml:"log"`

	// Tracing sends OpenTelemetry traces.
	Tracing TracingConfig `yaml:"tracing"`
}

// DatabaseConfig is a PostgreSQL database.
type DatabaseConfig struct {
	// URL names it, such as postgres://countersign@db.example.com/countersign?sslmode=verify-full. It
	// may name several hosts, of which the primary is taken. Without it, the database is a file in
	// the data folder. Optional.
	URL string `yaml:"url"`
	// Password of the URL's user. It is not written here: this says where it is. Optional.
	Password PasswordConfig `yaml:"password"`
	// Writers is how many connections commit starts and checks: 1 to 64.
	Writers int `yaml:"writers" default:"2"`
	// Connections is how many there may be for everything else: 1 to 256. Look-ups, lists and upkeep each have some of their own.
	Connections int `yaml:"connections" default:"12"`
	// Timeout of a transaction, of a read, and of a new connection: 100ms to 10s. A request fails
	// within 2½ times as long when the database is away.
	Timeout yamlconf.Duration `yaml:"timeout" default:"750ms"`
	// SynchronousStandby says that whichever standby is promoted has all that was ever committed.
	// Otherwise a failover voids what is pending, for its guesses may be lost.
	SynchronousStandby bool `yaml:"synchronous_standby" default:"false"`
}

// PasswordConfig says where a password is: give one of the two.
type PasswordConfig struct {
	// File is a file that only its owner can read.
	File string `yaml:"file"`
	// Env is the name of an environment variable.
	Env string `yaml:"env"`
}

// KeysetConfig says where the keys are.
type KeysetConfig struct {
	// File is a Tink keyset in JSON that only its owner can read.
	File string `yaml:"file" default:"keyset.json"`
	// Env is the name of an environment variable that holds the keyset instead. Optional.
	Env string `yaml:"env"`
}

// PublicConfig is the public listener.
type PublicConfig struct {
	// Listen is the address to listen on, host:port.
	Listen string `yaml:"listen" default:":8080"`
	// URL is how the outside reaches this listener, such as https://verify.example.com, with the path that
	// a proxy may strip. Providers report there what became of messages, and some sign it. Optional.
	URL string `yaml:"url"`
	// TLS makes it https. Without it, put a proxy that speaks TLS in front. Optional.
	TLS TLSConfig `yaml:"tls"`
	// MaxConnections is how many connections there may be at once: 1 to 1000000. More are closed at once.
	// Each takes up to 25 KB.
	MaxConnections int `yaml:"max_connections" default:"4096"`
	// MaxPerAddress is how many of them one address may have, or one IPv6 network of 64 bits: 1 to 1000000.
	// Behind a trusted proxy it is how many requests a client may have under way; more are answered 429.
	MaxPerAddress int `yaml:"max_per_address" default:"1024"`
	// TrustedProxies are networks of proxies in front, such as 192.0.2.0/24: what they say of a client's
	// address is believed. A proxy that isn't listed counts as one client. Optional.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// ClientHeader is the header in which a trusted proxy adds the address of its client.
	ClientHeader string `yaml:"client_header" default:"X-Forwarded-For"`
}

// TLSConfig names a certificate. Both files are read again when they change.
type TLSConfig struct {
	// Cert is the file of the certificate chain, PEM.
	Cert string `yaml:"cert"`
	// Key is the file of its private key, PEM.
	Key string `yaml:"key"`
}

// OperationsConfig is the operations listener.
type OperationsConfig struct {
	// Listen is the address to listen on, host:port.
	Listen string `yaml:"listen" default:"127.0.0.1:8081"`
	// MaxConnections is how many connections there may be at once: 1 to 1000000.
	MaxConnections int `yaml:"max_connections" default:"256"`
}

// SenderConfig is what messages come from.
type SenderConfig struct {
	// ID is the sender's name: applications write it as sender_id:ID, or bare. 1 to 64 of A-Z a-z 0-9 . - _.
	ID string `yaml:"id"`
	// Channel is its name as a channel: applications write channel:CHANNEL. Give one of the two, or both.
	Channel string `yaml:"channel" example:"gqKlekr-S22CJul_aE4XFQ"`
	// From is the number or name that messages come from: E.164, or 1 to 11 letters and digits.
	From string `yaml:"from" example:"+12025550198"`
	// Public makes it one that projects share: it says the default texts only, except for projects with
	// public-text. Without it, a project must have this one among its own senders, or be allowed any.
	Public bool `yaml:"public" default:"false"`
}

// UserLimitsConfig bounds what one user is sent.
type UserLimitsConfig struct {
	// Interval is the time from one code to the next: 0s for no limit, up to 1h.
	Interval yamlconf.Duration `yaml:"interval" default:"30s"`
	// Max is how many codes there may be in any period: 0 for no limit, up to 1000.
	Max int `yaml:"max" default:"5"`
	// Period is that period: not below the interval, up to 24h.
	Period yamlconf.Duration `yaml:"period" default:"10m"`
}

// ProjectLimitsConfig bounds what the API callers of one project may make. What is there stays when a
// bound falls below it.
type ProjectLimitsConfig struct {
	// Applications is how many applications there may be at once: 1 to 100000. One takes up to 20 KB.
	Applications int `yaml:"applications" default:"1000"`
	// Templates is how many message templates there may be at once: 1 to 100000. One takes up to 8 KB.
	Templates int `yaml:"templates" default:"1000"`
}

// SyniverseConfig is Syniverse's API: see docs/syniverse.md.
type SyniverseConfig struct {
	// Alias serves the operations under /scg-external-api/api/v1 as well as under /mfa/v1.
	Alias bool `yaml:"alias" default:"true"`
	// ISODates writes dates as 2026-11-21T21:27:02.500Z, and not as milliseconds since 1970.
	ISODates bool `yaml:"iso_dates" default:"false"`
	// UniqueNames refuses a second application of a project with the same name: 409, "1011".
	UniqueNames bool `yaml:"unique_names" default:"false"`
	// Wrong is the answer to a wrong code: an HTTP status from 400 to 499, and an error_code. Syniverse
	// publishes neither this one nor those below.
	Wrong string `yaml:"wrong" default:"409 2001"`
	// Expired is the answer to a code whose time is over.
	Expired string `yaml:"expired" default:"409 2002"`
	// None is the answer where no code is live, or it was used.
	None string `yaml:"none" default:"409 2002"`
	// Exhausted is the answer where no guesses are left.
	Exhausted string `yaml:"exhausted" default:"429 2004"`
}

// CarrierConfig is one way out.
type CarrierConfig struct {
	// Name is the carrier's name in channels, records and metrics: a-z 0-9 - and _.
	Name string `yaml:"name" example:"gateway"`
	// HTTP posts each message as JSON, signed as Standard Webhooks says. This, provider, smpp or sip.
	HTTP HTTPCarrierConfig `yaml:"http"`
	// Provider sends through the API of a provider: docs/providers.md. This, http, smpp or sip.
	Provider ProviderConfig `yaml:"provider"`
	// SMPP binds to an SMSC: docs/smpp.md. This, http, provider or sip.
	SMPP SMPPConfig `yaml:"smpp"`
	// SIP calls phones over a trunk and says the code: docs/voice.md. This, http, provider or smpp.
	SIP SIPConfig `yaml:"sip"`
	// Concurrency is how many calls are made at once: 1 to 1024. With smpp it is binds times window
	// instead, with sip its calls.
	Concurrency int `yaml:"concurrency" default:"64"`
	// Queue is how many messages may wait or be under way before starts are answered 503: 1 to 100000.
	// With sip no more than its calls: nobody waits until another call is over.
	Queue int `yaml:"queue" default:"1024"`
	// Rate is how many messages a second this server hands over: 0.1 to 10000, 0 for no limit. No more
	// messages wait than can leave within 10 s.
	Rate float64 `yaml:"rate" default:"0"`
	// ReceiptTimeout is how long to wait for a message's receipt before another carrier gets it, once;
	// and twice that where the carrier's answer got lost: 1s to 1h, 0s for ever. Set it only where
	// receipts come back from this carrier.
	ReceiptTimeout yamlconf.Duration `yaml:"receipt_timeout" default:"0s"`
	// Costs are those of a segment, of a call, or with sip of a minute that was begun, for metrics and
	// "route explain". Optional.
	Costs []CostConfig `yaml:"costs"`
	// Senders are what messages come from instead of public_sender. Optional.
	Senders []PoolConfig `yaml:"senders"`
}

// CostConfig is the cost of messages to a country.
type CostConfig struct {
	// Country is the country's two letters; without it, this is for all others.
	Country string `yaml:"country" example:"US"`
	// Cost is in whatever currency the operator counts.
	Cost float64 `yaml:"cost" default:"0"`
}

// PoolConfig is what messages to a country come from.
type PoolConfig struct {
	// Country is the country's two letters; without it, this is for all others.
	Country string `yaml:"country" example:"US"`
	// From are numbers in E.164, short codes, or names of 1 to 11 letters and digits. One phone always
	// sees the same one.
	From []string `yaml:"from" example:"+12025550199"`
}

// RouteConfig is which carriers take the messages that it matches. What it leaves out, any message has.
type RouteConfig struct {
	// Channels are sms and voice.
	Channels []string `yaml:"channels" example:"sms"`
	// Countries are two letters each.
	Countries []string `yaml:"countries" example:"US"`
	// Prefixes are beginnings of numbers, with the plus.
	Prefixes []string `yaml:"prefixes" example:"+1"`
	// Projects are their ids.
	Projects []string `yaml:"projects" example:"PROJECT"`
	// Applications are their ids, as Syniverse's API shows them, or as UUIDs.
	Applications []string `yaml:"applications"`
	// Carriers are those that take them, the preferred one first. None: they are refused with 503.
	Carriers []ChoiceConfig `yaml:"carriers"`
}

// ChoiceConfig is a carrier of a route.
type ChoiceConfig struct {
	// Name is the carrier's.
	Name string `yaml:"name" example:"gateway"`
	// Weight makes the carriers that have one take turns, in its proportion: 1 to 1000, 0 to stay in
	// its place.
	Weight int `yaml:"weight" default:"0"`
}

// HTTPCarrierConfig is a receiver of HTTP requests.
type HTTPCarrierConfig struct {
	// URL is where messages are posted: https, or http to this machine.
	URL string `yaml:"url" example:"http://127.0.0.1:9000/messages"`
	// Secret signs the requests. It is not written here: this says where it is.
	Secret SecretConfig `yaml:"secret"`
	// Timeout of one request: 100ms to 10s.
	Timeout yamlconf.Duration `yaml:"timeout" default:"5s"`
	// CAFile holds the certificates to trust instead of the system's, PEM. Optional.
	CAFile string `yaml:"ca_file"`
	// Plaintext allows http to other machines: everybody on the way can then read the codes. Each
	// start warns of it.
	Plaintext bool `yaml:"plaintext" default:"false"`
}

// ProviderConfig is a provider's account.
type ProviderConfig struct {
	// Preset is a provider that is known: africastalking, aws, bird, infobip, messagebird, plivo,
	// signalwire, sinch, telnyx, twilio, vonage or vonage-messages; for calls plivo-voice,
	// signalwire-voice, telnyx-voice, twilio-voice or vonage-voice. Any other is described in api.
	Preset string `yaml:"preset"`
	// Account is the account's id, or whatever the provider calls it.
	Account string `yaml:"account"`
	// User is the id of an API key, where that isn't the account's; of telnyx-voice, a TeXML application's.
	// Else optional.
	User string `yaml:"user"`
	// Host is the provider's host, where accounts have hosts of their own. Else optional.
	Host string `yaml:"host"`
	// Region is the provider's region, where it has some.
	Region string `yaml:"region"`
	// Profile is a messaging service, messaging profile, channel or configuration set; for calls the
	// language that is spoken. Optional for most.
	Profile string `yaml:"profile"`
	// Secret is what the provider knows us by: a token, a password or a private key.
	Secret ProviderSecretConfig `yaml:"secret"`
	// CallbackSecret is what reports about messages are checked with. Optional; where it isn't that of
	// requests, there are no reports without it.
	CallbackSecret ProviderSecretConfig `yaml:"callback_secret"`
	// Timeout of one request: 100ms to 10s.
	Timeout yamlconf.Duration `yaml:"timeout" default:"5s"`
	// CAFile holds the certificates to trust instead of the system's, PEM. Optional.
	CAFile string `yaml:"ca_file"`
	// API is a file that describes the API of a provider without a preset, or what differs from the
	// preset. To begin with one: countersign config preset. Optional.
	API string `yaml:"api"`
}

// ProviderSecretConfig says where a secret is: give one of the two. The provider's console shows it.
type ProviderSecretConfig struct {
	// File is a file that only its owner can read.
	File string `yaml:"file"`
	// Env is the name of an environment variable.
	Env string `yaml:"env"`
}

// given reports whether it says anything.
func (s ProviderSecretConfig) given() bool { return s != ProviderSecretConfig{} }

// given reports whether a carrier is a provider.
func (c *ProviderConfig) given() bool { return c.Preset != "" || c.API != "" }

// SMPPConfig is an account at an SMSC.
type SMPPConfig struct {
	// Addr is where the SMSC listens, host:port.
	Addr string `yaml:"addr"`
	// Plaintext connects without TLS: everybody on the way can then read the password and the codes. It
	// is for a private line or a tunnel. Each start warns of it.
	Plaintext bool `yaml:"plaintext" default:"false"`
	// CAFile holds the certificates to trust instead of the system's, PEM. Optional.
	CAFile string `yaml:"ca_file"`
	// SystemID is the account: 1 to 15 characters.
	SystemID string `yaml:"system_id"`
	// Password is the account's. It is not written here: this says where it is. Optional.
	Password PasswordConfig `yaml:"password"`
	// SystemType is what some SMSCs ask for, up to 12 characters. Optional.
	SystemType string `yaml:"system_type"`
	// Service is the service_type of each message, up to 5 characters. Optional.
	Service string `yaml:"service"`
	// Mode is transceiver, or pair for an SMSC that wants a receiver and a transmitter.
	Mode string `yaml:"mode" default:"transceiver"`
	// Binds are how many transceivers, or pairs, this server keeps up: 1 to 64.
	Binds int `yaml:"binds" default:"1"`
	// Window is how many messages of each bind may be without a response: 1 to 1000, and times binds up
	// to 1024.
	Window int `yaml:"window" default:"10"`
	// Rate is how many parts of messages a second all binds together submit: up to 100000, 0 for no
	// limit. The carrier's own rate counts whole messages.
	Rate int `yaml:"rate" default:"0"`
	// BindTimeout is the time from dialling to the response to the bind: 100ms to 1m.
	BindTimeout yamlconf.Duration `yaml:"bind_timeout" default:"10s"`
	// Response is the time to the response to anything else: 100ms to 9s, for a call may take 10s.
	Response yamlconf.Duration `yaml:"response" default:"8s"`
	// Enquire is the time between two enquire_link: 1s to 1h, 0s for none.
	Enquire yamlconf.Duration `yaml:"enquire" default:"30s"`
	// Inactivity is the time without a word of the SMSC's until the connection is made anew: 1s to 24h,
	// and more than enquire and response together.
	Inactivity yamlconf.Duration `yaml:"inactivity" default:"90s"`
	// International is the type of number and the numbering plan of all destinations, and of senders
	// that are such numbers.
	International string `yaml:"international" default:"1 1"`
	// Short is the same of senders that are numbers of up to 8 digits.
	Short string `yaml:"short" default:"3 0"`
	// Alphanumeric is the same of senders that are names.
	Alphanumeric string `yaml:"alphanumeric" default:"5 0"`
	// Validity tells the SMSC how long the code lives. Some don't take that in its relative form.
	Validity bool `yaml:"validity" default:"true"`
	// Receipts asks for a receipt of each message.
	Receipts bool `yaml:"receipts" default:"true"`
	// ReceiptID is how receipts write the ids of responses: same, hex-then-decimal or decimal-then-hex.
	ReceiptID string `yaml:"receipt_id" default:"same"`
	// Refuse are statuses that refuse a message for good, such as "0x410", whatever docs/smpp.md says of
	// them. Optional.
	Refuse []string `yaml:"refuse"`
}

// given reports whether a carrier is an SMSC.
func (c *SMPPConfig) given() bool {
	return c.Addr+c.SystemID+c.SystemType+c.Service != "" || c.Password != PasswordConfig{}
}

// SIPConfig is a trunk, and what is said by it.
type SIPConfig struct {
	// Trunk is a host, or host:port. Without a port the name's SRV records decide, then 5060, or 5061 with
	// TLS.
	Trunk string `yaml:"trunk"`
	// Transport is tls, where the sound is encrypted as well, or tcp or udp: then everybody on the way can
	// listen to the codes, and each start warns of it.
	Transport string `yaml:"transport" default:"udp"`
	// CAFile holds the certificates to trust instead of the system's, PEM. With tls. Optional.
	CAFile string `yaml:"ca_file"`
	// Username answers the trunk's challenges (digest). Optional.
	Username string `yaml:"username"`
	// Password goes with it. It is not written here: this says where it is.
	Password PasswordConfig `yaml:"password"`
	// Realm is whom the password is for: challenges of others are refused. Optional.
	Realm string `yaml:"realm"`
	// Register registers, for trunks that want it, and takes it back when the server stops.
	Register bool `yaml:"register" default:"false"`
	// Domain is that of the addresses in From and To. Without it, the trunk's host. Optional.
	Domain string `yaml:"domain"`
	// From is the caller's number, where a message's sender is no number. Optional.
	From string `yaml:"from"`
	// Plus writes numbers with their plus: +12025550100.
	Plus bool `yaml:"plus" default:"true"`
	// Prefix goes before the called number: digits and stars. Optional.
	Prefix string `yaml:"prefix"`
	// Listen is the address and port for signalling; port 0 is any.
	Listen string `yaml:"listen" default:"0.0.0.0:0"`
	// Advertise is this server's IP address as the trunk sees it, behind NAT. Optional.
	Advertise string `yaml:"advertise"`
	// Ports are the UDP ports for sound, two for each call.
	Ports string `yaml:"ports" default:"20000-20999"`
	// Peers are networks that may send signalling and sound beside the trunk's host, such as
	// 192.0.2.0/24. Optional.
	Peers []string `yaml:"peers"`
	// Calls are how many there may be at once: 1 to 1024, and one for two ports. More are passed by, or
	// answered 503.
	Calls int `yaml:"calls" default:"50"`
	// First is the time until the trunk says anything: 1s to 30s.
	First yamlconf.Duration `yaml:"first" default:"4s"`
	// Ring is the time until the phone is answered: 1s to 2m.
	Ring yamlconf.Duration `yaml:"ring" default:"30s"`
	// Talk is the time from then to the end: 5s to 85s.
	Talk yamlconf.Duration `yaml:"talk" default:"60s"`
	// RequireKeypress says the code only after a key was pressed, in all calls: answering machines press
	// none. In those of projects with the policy standard it is so anyway.
	RequireKeypress bool `yaml:"require_keypress" default:"false"`
	// SkipKeypress says the code at once in those as well.
	SkipKeypress bool `yaml:"skip_keypress" default:"false"`
	// Locale is the language where a message has none: docs/voice.md has the list.
	Locale string `yaml:"locale" default:"en"`
	// Times is how often the code is said: 1 to 5.
	Times int `yaml:"times" default:"2"`
	// Spell says "A as in Alpha", in the languages that have such words.
	Spell bool `yaml:"spell" default:"false"`
	// Engine is a program, with its arguments, that reads a caller's own text and writes a WAV file.
	// {locale} becomes the language. It never gets a code. Optional.
	Engine []string `yaml:"engine"`
}

// given reports whether a carrier is a trunk.
func (c *SIPConfig) given() bool {
	return c.Trunk+c.Username+c.Domain+c.From != "" || c.Password != PasswordConfig{}
}

// SecretConfig says where a secret is: give one of the two. Make one with "countersign secret create".
type SecretConfig struct {
	// File is a file that only its owner can read.
	File string `yaml:"file" example:"gateway.secret"`
	// Env is the name of an environment variable.
	Env string `yaml:"env"`
}

// ChannelsConfig maps channels to carriers.
type ChannelsConfig struct {
	// SMS are the names of the carriers of text messages.
	SMS []string `yaml:"sms" example:"gateway"`
	// Voice are the names of the carriers of calls.
	Voice []string `yaml:"voice" example:"gateway"`
}

// FailoverConfig maps channels to those by which a message goes on. Without them nobody is called, or
// sent a text, who didn't ask for that.
type FailoverConfig struct {
	// SMS are the channels after sms: voice, or none.
	SMS []string `yaml:"sms"`
	// Voice are the channels after voice: sms, or none.
	Voice []string `yaml:"voice"`
}

// LogConfig is how we log: one line for each request, numbers masked, codes never.
type LogConfig struct {
	// Level is debug, info, warn or error.
	Level string `yaml:"level" default:"info"`
	// Format is json or text.
	Format string `yaml:"format" default:"json"`
}

// TracingConfig is where traces go.
type TracingConfig struct {
	// Endpoint is the URL of an OTLP/HTTP collector, such as http://127.0.0.1:4318. Optional.
	Endpoint string `yaml:"endpoint"`
	// Sample is the share of requests that are traced: 0 to 1.
	Sample float64 `yaml:"sample" default:"0.01"`
}

// A loadedConfig is a configuration that was found right, with what its files and variables hold.
type loadedConfig struct {
	Config
	dir  string // of the file
	ways []way  // as the carriers
	keys *keyset.Set
	cert *certificate    // nil: no TLS
	pg   *store.Postgres // nil: a file in the data folder
	// clients bound the public listener's.
	clients web.Limits
	// reloads are what may change while we run, as it was before it was loaded.
	reloads []reloader
}

// A way is what a carrier is made from: one of the four.
type way struct {
	http     *carrierhttp.Config
	provider *provider.Config
	smpp     *smpp.Config
	sip      *sip.Config
}

// channel is what a carrier is for; "" is any.
func (w way) channel() verify.Channel {
	switch {
	case w.provider != nil:
		return verify.Channel(cmp.Or(w.provider.Spec.Channel, string(verify.SMS)))
	case w.smpp != nil:
		return verify.SMS
	case w.sip != nil:
		return verify.Voice
	}
	return ""
}

// loadConfig reads a file. All that is wrong with it is in the error, a line each.
func loadConfig(path string) (*loadedConfig, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError(fmt.Sprintf("%v\nTo begin with one: countersign config example > %s", err, path))
	}
	if err != nil {
		return nil, usageError(err.Error())
	}
	c := &loadedConfig{dir: filepath.Dir(path)}
	problems := yamlconf.Decode(text, &c.Config)
	c.check(&problems)
	if len(problems.List) > 0 {
		return nil, usageError(problems.Describe(path))
	}
	return c, nil
}

// path resolves a path of the file.
func (c *loadedConfig) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// check notes all that is wrong. A key whose value could not be read was noted before.
func (c *loadedConfig) check(p *yamlconf.Problems) {
	p.Check("data", c.Data != "", "must not be empty")
	c.checkDatabase(p)
	c.checkKeyset(p)
	checkAddress(p, "public.listen", c.Public.Listen)
	checkPublicURL(p, c.Public.URL)
	c.checkClients(p)
	checkAddress(p, "operations.listen", c.Operations.Listen)
	p.Check("operations.listen", c.Operations.Listen != c.Public.Listen || strings.HasSuffix(c.Public.Listen, ":0"), "must not be that of public.listen")
	c.checkCertificate(p)
	checkSender(p, "public_sender", c.PublicSender)
	c.checkSenders(p)
	p.Check("max_segments", c.MaxSegments >= 1 && c.MaxSegments <= 10, "must be 1 to 10")
	if problem := localeProblem(c.Locale); problem != "" {
		p.Check("locale", false, "%s", problem)
	}
	checkDuration(p, "user_limits.interval", c.UserLimits.Interval, 0, time.Hour)
	checkDuration(p, "user_limits.period", c.UserLimits.Period, time.Duration(c.UserLimits.Interval), 24*time.Hour)
	p.Check("user_limits.max", c.UserLimits.Max >= 0 && c.UserLimits.Max <= 1000, "must be 0 to 1000")
	p.Check("project_limits.applications", c.ProjectLimits.Applications >= 1 && c.ProjectLimits.Applications <= 100000, "must be 1 to 100000")
	p.Check("project_limits.templates", c.ProjectLimits.Templates >= 1 && c.ProjectLimits.Templates <= 100000, "must be 1 to 100000")
	for key, text := range c.Syniverse.refusals() {
		_, err := parseRefusal(*text)
		p.Check("syniverse."+key, err == nil, "must be a status from 400 to 499 and an error_code, such as 409 2001")
	}
	checkDuration(p, "retention", c.Retention, 24*time.Hour, 87600*time.Hour)
	p.Check("log.level", slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level), "must be debug, info, warn or error")
	p.Check("log.format", slices.Contains([]string{"json", "text"}, c.Log.Format), "must be json or text")
	p.Check("tracing.sample", c.Tracing.Sample >= 0 && c.Tracing.Sample <= 1, "must be 0 to 1")
	if e := c.Tracing.Endpoint; e != "" {
		u, err := url.Parse(e)
		p.Check("tracing.endpoint", err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https"), "must be an http or https URL")
	}
	names := map[string]bool{}
	for i := range c.Carriers {
		c.checkCarrier(p, fmt.Sprintf("carriers[%d]", i), &c.Carriers[i], names)
	}
	checkFailover(p, "failover.sms", c.Failover.SMS, "voice")
	checkFailover(p, "failover.voice", c.Failover.Voice, "sms")
	p.Check("max_messages", c.MaxMessages >= 1 && c.MaxMessages <= 10, "must be 1 to 10")
	p.Check("break_after", c.BreakAfter >= 1 && c.BreakAfter <= 1000, "must be 1 to 1000")
	for i := range c.Routes {
		c.checkRoute(p, fmt.Sprintf("routes[%d]", i), &c.Routes[i], names)
	}
	for _, channel := range []struct {
		key      string
		carriers []string
	}{{"channels.sms", c.Channels.SMS}, {"channels.voice", c.Channels.Voice}} {
		for i, name := range channel.carriers {
			at := fmt.Sprintf("%s[%d]", channel.key, i)
			p.Check(at, names[name], "there is no carrier %q", name)
			p.Check(at, c.serves(name, strings.TrimPrefix(channel.key, "channels.")), "%q isn't for this channel: SMPP is for sms, SIP for voice, and a provider's preset or api says its own", name)
		}
	}
}

// maxConnections is more than a machine has files for.
const maxConnections = 1_000_000

// checkClients reads what bounds the listeners' clients.
func (c *loadedConfig) checkClients(p *yamlconf.Problems) {
	for key, n := range map[string]int{
		"public.max_connections": c.Public.MaxConnections, "public.max_per_address": c.Public.MaxPerAddress, "operations.max_connections": c.Operations.MaxConnections,
	} {
		p.Check(key, n >= 1 && n <= maxConnections, "must be 1 to %d", maxConnections)
	}
	c.clients = web.Limits{Total: c.Public.MaxConnections, PerAddress: c.Public.MaxPerAddress, Header: c.Public.ClientHeader}
	for i, text := range c.Public.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		p.Check(fmt.Sprintf("public.trusted_proxies[%d]", i), err == nil && network.Bits() > 0, "must be a network such as 192.0.2.0/24 or 2001:db8::/64, and not all addresses")
		c.clients.Proxies = append(c.clients.Proxies, network.Masked())
	}
	letters := strings.Trim(c.Public.ClientHeader, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")
	p.Check("public.client_header", c.Public.ClientHeader != "" && letters == "", "must be the name of a header")
}

// checkDatabase finds the database, and doesn't connect to it.
func (c *loadedConfig) checkDatabase(p *yamlconf.Problems) {
	d := c.Database
	p.Check("database.writers", d.Writers >= 1 && d.Writers <= 64, "must be 1 to 64")
	p.Check("database.connections", d.Connections >= 1 && d.Connections <= 256, "must be 1 to 256")
	checkDuration(p, "database.timeout", d.Timeout, 100*time.Millisecond, 10*time.Second)
	password, err := c.password(d.Password)
	if err != nil {
		p.Check("database.password", false, "%v", err)
	}
	if d.URL == "" {
		p.Check("database.password", d.Password == PasswordConfig{}, "is given without a url")
		return
	}
	c.pg = &store.Postgres{
		URL: d.URL, Password: password, Writers: d.Writers, Conns: d.Connections,
		Timeout: time.Duration(d.Timeout), SynchronousStandby: d.SynchronousStandby,
	}
	if err := c.pg.Check(); err != nil {
		p.Check("database.url", false, "%v", err)
	}
}

// password reads a password, if there is one.
func (c *loadedConfig) password(s PasswordConfig) (verify.Secret, error) {
	switch {
	case s == PasswordConfig{}:
		return "", nil
	case s.File != "" && s.Env != "":
		return "", errors.New("give one of file and env")
	case s.Env != "":
		return variable(s.Env)
	}
	text, err := c.secretFile(s.File)
	return verify.Secret(strings.TrimRight(text.Reveal(), "\r\n")), err
}

// checkKeyset loads the keys, or says how to make them.
func (c *loadedConfig) checkKeyset(p *yamlconf.Problems) {
	path := c.path(c.Keyset.File)
	if c.Keyset.Env == "" {
		c.mayChange("keyset", c.reloadKeys, path)
	}
	var err error
	c.keys, err = c.loadKeys()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Check("keyset.file", false, "there is none at %s; if this is a new installation, make one and keep a copy in a safe place: countersign keyset create %s", path, path)
	case err != nil:
		p.Check("keyset", false, "%v", err)
	}
}

func (c *loadedConfig) loadKeys() (*keyset.Set, error) {
	if c.Keyset.Env == "" {
		return keyset.Load(c.path(c.Keyset.File))
	}
	text, err := variable(c.Keyset.Env)
	if err != nil {
		return nil, fmt.Errorf("%w; it must hold what 'countersign keyset create FILE' writes", err)
	}
	return keyset.Parse([]byte(text.Reveal()))
}

// checkCertificate loads the public listener's certificate.
func (c *loadedConfig) checkCertificate(p *yamlconf.Problems) {
	t := c.Public.TLS
	if t.Cert == "" && t.Key == "" {
		return
	}
	p.Check("public.tls.cert", t.Cert != "", "must be given together with key")
	p.Check("public.tls.key", t.Key != "", "must be given together with cert")
	checkFile(p, "public.tls.cert", c.path(t.Cert))
	checkFile(p, "public.tls.key", c.path(t.Key))
	c.cert = &certificate{certFile: c.path(t.Cert), keyFile: c.path(t.Key)}
	c.mayChange("certificate", c.cert.load, c.cert.certFile, c.cert.keyFile)
	if err := c.cert.load(); err != nil && p.Fine("public.tls.cert", "public.tls.key") {
		p.Check("public.tls", false, "%v", err)
	}
}

// mayChange notes files that are loaded again when they change. Call it before loading them.
func (c *loadedConfig) mayChange(what string, load func() error, files ...string) {
	c.reloads = append(c.reloads, reloader{what: what, load: load, files: files, last: changes(files)})
}

// variable reads an environment variable. Its errors don't quote what may be the secret itself, put
// where the variable's name belongs.
func variable(name string) (verify.Secret, error) {
	if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return "", errors.New("env must be the name of an environment variable: A-Z 0-9 _")
	}
	value := os.Getenv(name)
	if value == "" {
		return "", fmt.Errorf("the environment variable %s is not set", name)
	}
	return verify.Secret(value), nil
}

func (c *loadedConfig) checkCarrier(p *yamlconf.Problems, key string, cc *CarrierConfig, names map[string]bool) {
	p.Check(key+".name", cc.Name != "" && len(cc.Name) <= 64 && strings.Trim(cc.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == "", "must be 1 to 64 of a-z 0-9 - _")
	p.Check(key+".name", !names[cc.Name], "is the name of another carrier")
	names[cc.Name] = true
	p.Check(key+".concurrency", cc.Concurrency >= 1 && cc.Concurrency <= 1024, "must be 1 to 1024")
	p.Check(key+".queue", cc.Queue >= 1 && cc.Queue <= 100000, "must be 1 to 100000")
	checkUse(p, key, cc)
	c.ways = append(c.ways, c.checkWay(p, key, cc))
}

// checkWay checks how a carrier's messages leave, which is one of the four.
func (c *loadedConfig) checkWay(p *yamlconf.Problems, key string, cc *CarrierConfig) way {
	only := func(own, where string) {
		for _, other := range []struct {
			key   string
			given bool
		}{{"http.url", cc.HTTP.URL != ""}, {"smpp", cc.SMPP.given()}, {"sip", cc.SIP.given()}} {
			p.Check(key+"."+other.key, other.key == own || !other.given, "must be empty where there is %s: a carrier is one of the two", where)
		}
	}
	if cc.Provider.given() {
		only("", "a provider")
		return way{provider: c.checkProvider(p, key+".provider", cc)}
	}
	o := &cc.Provider
	stray := o.Account + o.User + o.Host + o.Region + o.Profile
	p.Check(key+".provider", stray == "" && !o.Secret.given() && !o.CallbackSecret.given(), "needs a preset or api")
	if cc.SMPP.given() {
		only("smpp", "smpp")
		return way{smpp: c.checkSMPP(p, key, cc)}
	}
	if cc.SIP.given() {
		only("sip", "sip")
		p.Check(key+".receipt_timeout", cc.ReceiptTimeout == 0, "must be 0s with sip: a call tells what became of it when it ends")
		return way{sip: c.checkSIP(p, key+".sip", cc)}
	}
	return way{http: c.checkHTTP(p, key+".http", cc)}
}

// serves reports whether a carrier can be one of a channel's.
func (c *loadedConfig) serves(name, channel string) bool {
	for i, way := range c.ways {
		if own := way.channel(); c.Carriers[i].Name == name && own != "" {
			return channel == string(own)
		}
	}
	return true
}

func (c *loadedConfig) checkHTTP(p *yamlconf.Problems, key string, cc *CarrierConfig) *carrierhttp.Config {
	h := &cc.HTTP
	checkDuration(p, key+".timeout", h.Timeout, 100*time.Millisecond, 10*time.Second)
	if err := exchange.CheckURL(h.URL, h.Plaintext); err != nil {
		p.Check(key+".url", false, "%v", err)
	}
	way := &carrierhttp.Config{Name: cc.Name, URL: h.URL, Plaintext: h.Plaintext, Timeout: time.Duration(h.Timeout), Conns: cc.Concurrency}
	text, err := c.secret(h.Secret, ownSecret)
	if err == nil {
		way.Secret, err = carrierhttp.ParseSecret(text.Reveal())
	}
	if err != nil {
		p.Check(key+".secret", false, "%v", err)
	}
	way.RootCAs = c.authorities(p, key+".ca_file", h.CAFile)
	return way
}

// checkProvider notes what is wrong with a provider; what only the carrier itself can tell is tried.
func (c *loadedConfig) checkProvider(p *yamlconf.Problems, key string, cc *CarrierConfig) *provider.Config {
	o := &cc.Provider
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
	secret := func(of string, s ProviderSecretConfig) (value verify.Secret) {
		value, err := c.secret(SecretConfig(s), theirSecret)
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
		return way // that would be told twice
	}
	if _, err := provider.New(*way); err != nil {
		// It begins with the key: the account's, or else the description's.
		in, text, _ := strings.Cut(err.Error(), ": ")
		if !slices.Contains([]string{"secret", "callback_secret", "region"}, in) {
			in, text = "api", err.Error()
		}
		p.Check(key+"."+in, false, "%s", text)
	}
	return way
}

// providerAPI reads a description; without a file it leaves all to the preset.
func (c *loadedConfig) providerAPI(p *yamlconf.Problems, key, file string) (described provider.Spec) {
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

// authorities reads the certificates to trust; nil for the system's.
func (c *loadedConfig) authorities(p *yamlconf.Problems, key, file string) *x509.CertPool {
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(c.path(file))
	pool := x509.NewCertPool()
	p.Check(key, err == nil && pool.AppendCertsFromPEM(pem), "must be a readable file with PEM certificates")
	return pool
}

// How to come by a secret: one of ours, in a file; one of a provider's.
const (
	ownSecret   = "to make one: countersign secret create %s"
	theirSecret = "the provider's console shows it"
)

// secret reads a secret from where the configuration says, or says how to come by one. Its errors don't
// quote it.
func (c *loadedConfig) secret(s SecretConfig, hint string) (verify.Secret, error) {
	switch {
	case (s.File == "") == (s.Env == ""):
		return "", errors.New("give one of file and env; " + strings.Replace(hint, "%s", "FILE", 1))
	case s.Env != "":
		return variable(s.Env)
	case strings.HasPrefix(s.File, "whsec_"):
		return "", errors.New("file must be the name of a file, not the secret itself")
	}
	text, err := c.secretFile(s.File)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; %s", err, strings.NewReplacer("%s", c.path(s.File), "make one", "make it").Replace(hint))
	}
	return text, err
}

// secretFile reads a file that only its owner can read.
func (c *loadedConfig) secretFile(name string) (verify.Secret, error) {
	path := c.path(name)
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if err := keyset.Private(path, info); err != nil {
		return "", err
	}
	value, err := os.ReadFile(path)
	return verify.Secret(value), err
}

func checkAddress(p *yamlconf.Problems, key, addr string) {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	p.Check(key, err == nil, "must be host:port, or :port for all addresses; a port is 0 to 65535")
}

// checkPublicURL accepts http for a proxy that speaks no TLS within a network.
func checkPublicURL(p *yamlconf.Problems, s string) {
	u, err := url.Parse(s)
	p.Check("public.url", s == "" || err == nil && u.Hostname() != "" && (u.Scheme == "https" || u.Scheme == "http") && u.User == nil && u.RawQuery == "" && u.Fragment == "",
		"must be an https URL, without credentials or a query")
}

func checkFile(p *yamlconf.Problems, key, path string) {
	f, err := os.Open(path)
	if err != nil {
		p.Check(key, false, "%v", err)
		return
	}
	f.Close()
}

func checkDuration(p *yamlconf.Problems, key string, d yamlconf.Duration, low, high time.Duration) {
	p.Check(key, time.Duration(d) >= low && time.Duration(d) <= high, "must be %v to %v", yamlconf.Duration(low), yamlconf.Duration(high))
}

// checkSender accepts a number, or an alphanumeric sender (3GPP TS 23.040 §9.1.2.5: 11 characters).
func checkSender(p *yamlconf.Problems, key, s string) {
	_, err := phone.Parse(s)
	letters := strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ") == ""
	p.Check(key, err == nil || letters && len(s) >= 1 && len(s) <= 11, "must be an E.164 number, or 1 to 11 letters and digits")
}
