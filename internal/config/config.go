package config

import (
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
	Database databaseConfig `yaml:"database"`

	// Keyset holds the keys that make the stored codes useless to whoever copies the database.
	// Make one with "countersign keyset create".
	Keyset keysetConfig `yaml:"keyset"`

	// Public is where clients reach the API.
	Public publicConfig `yaml:"public"`

	// Operations is where health checks, metrics and profiles are served. It asks for no
	// credentials: keep it away from the outside.
	Operations operationsConfig `yaml:"operations"`

	// Console is where operators look at numbers, verifications and usage in a browser: docs/console.md. Optional.
	Console consoleConfig `yaml:"console"`

	// PublicSender is the number or name that messages come from when a request names no other:
	// E.164, or 1 to 11 letters and digits.
	PublicSender string `yaml:"public_sender" example:"+12025550199"`

	// Senders are what the applications of Syniverse's API may name as message_from, beside numbers
	// and names. Optional.
	Senders []senderConfig `yaml:"senders"`

	// StrictSenders refuses applications that name another sender_id or channel. Else these send from
	// public_sender, so that a configuration made for Syniverse works here.
	StrictSenders bool `yaml:"strict_senders" default:"false"`

	// MaxSegments is how many SMS segments an application's template may take, with its code: 1 to 10.
	MaxSegments int `yaml:"max_segments" default:"3"`

	// Locale is the language of the calls of applications that name none, such as de or pt-BR. Without
	// it the number's country decides, see docs/voice.md. Optional.
	Locale string `yaml:"locale"`

	// GeoIP is a database of places in MaxMind's format, such as GeoLite2-City.mmdb, read at start: prompts
	// then say in words where the browser is that asks, see docs/push.md. Optional.
	GeoIP string `yaml:"geoip"`

	// UserLimits bound the codes sent to one user of an application, beside its project's limits for a
	// number.
	UserLimits userLimitsConfig `yaml:"user_limits"`

	// ProjectLimits bound what the API callers of one project may make.
	ProjectLimits projectLimitsConfig `yaml:"project_limits"`

	// Syniverse is how Syniverse's API is served.
	Syniverse syniverseConfig `yaml:"syniverse"`

	// Prices are what projects are charged: docs/money.md. Optional.
	Prices pricesConfig `yaml:"prices"`

	// TrialPrefix stands before the texts of projects that are being tried: at most 40 printable characters. Carriers that send
	// approved texts only refuse it. Optional.
	TrialPrefix string `yaml:"trial_prefix" example:"Trial:"`

	// Carriers are the ways out, each with a name of its own.
	Carriers []carrierConfig `yaml:"carriers"`

	// Routes say which carriers take a message: the first one that matches it decides. What none
	// matches goes as channels say. "countersign route explain NUMBER" shows what comes of them.
	Routes []routeConfig `yaml:"routes"`

	// Channels say which carriers serve a channel, the preferred one first. A channel without
	// carriers answers 503.
	Channels channelsConfig `yaml:"channels"`

	// Failover says by which channels a message goes on that none of its channel's carriers gets there.
	// Applications of Syniverse's API have methods that say it themselves. Optional.
	Failover failoverConfig `yaml:"failover"`

	// MaxMessages is how many messages one verification may cost, without resends, when a carrier loses one or is
	// silent: 1 to 10. What may have been sent counts.
	MaxMessages int `yaml:"max_messages" default:"3"`

	// BreakAfter is how many hand-overs in a row must fail until messages to that country pass a
	// carrier by, for 10s at first: 1 to 1000.
	BreakAfter int `yaml:"break_after" default:"5"`

	// Retention is how long verifications are kept after their start: 168h, as long as a code may live, to 87600h.
	Retention yamlconf.Duration `yaml:"retention" default:"720h"`

	// Log is what is written to standard error.
	Log logConfig `yaml:"log"`

	// Tracing sends OpenTelemetry traces.
	Tracing tracingConfig `yaml:"tracing"`
}

// databaseConfig is a PostgreSQL database.
type databaseConfig struct {
	// URL names it, such as postgres://countersign@db.example.com/countersign?sslmode=verify-full. It
	// may name several hosts, of which the primary is taken. Without it, the database is a file in
	// the data folder. Optional.
	URL string `yaml:"url"`
	// Schema of that database which holds the tables, such as verify_a: several installations can share a database.
	// It is made if it is missing. Without it, the first schema of the user's search_path does: public. Optional.
	Schema string `yaml:"schema"`
	// Password of the URL's user. It is not written here: this says where it is. Optional.
	Password passwordConfig `yaml:"password"`
	// Writers is how many connections commit starts and checks: 1 to 64.
	Writers int `yaml:"writers" default:"2"`
	// Connections is how many there may be for everything else: 1 to 256. Look-ups, lists and upkeep each have some of their own.
	// Each shard has as many writers and connections.
	Connections int `yaml:"connections" default:"12"`
	// Timeout of a transaction, of a read, and of a new connection: 100ms to 10s. A request fails
	// within 2½ times as long when the database is away.
	Timeout yamlconf.Duration `yaml:"timeout" default:"750ms"`
	// SynchronousStandby says that whichever standby is promoted has all that was ever committed.
	// Otherwise a failover voids what is pending, for its guesses may be lost.
	SynchronousStandby bool `yaml:"synchronous_standby" default:"false"`
	// Shards are several schemas or databases instead of one: each holds the projects that were created there, and one server
	// serves them all. See docs/scale.md. Optional.
	Shards []shardConfig `yaml:"shards" examples:"none"`
}

// shardConfig is a schema or a database of several.
type shardConfig struct {
	// Name is what commands, logs and metrics call it: 1 to 32 lower-case letters, digits, dashes and underscores.
	Name string `yaml:"name"`
	// URL names its database. Without it, database.url does, with its password. Optional.
	URL string `yaml:"url"`
	// Schema of that database which holds its tables, as database.schema. Optional.
	Schema string `yaml:"schema"`
	// Password of the user of this URL. Optional.
	Password passwordConfig `yaml:"password"`
}

// passwordConfig says where a password is: give one of the two.
type passwordConfig struct {
	// File is a file that only its owner can read.
	File string `yaml:"file"`
	// Env is the name of an environment variable.
	Env string `yaml:"env"`
}

// keysetConfig says where the keys are.
type keysetConfig struct {
	// File is a Tink keyset in JSON that only its owner can read.
	File string `yaml:"file" default:"keyset.json"`
	// Env is the name of an environment variable that holds the keyset instead. Optional.
	Env string `yaml:"env"`
}

// publicConfig is the public listener.
type publicConfig struct {
	// Listen is the address to listen on, host:port.
	Listen string `yaml:"listen" default:":8080"`
	// URL is how the outside reaches this listener, such as https://verify.example.com, with the path that
	// a proxy may strip. Providers report there what became of messages, and some sign it. Optional.
	URL string `yaml:"url"`
	// TLS makes it https. Without it, put a proxy that speaks TLS in front. Optional.
	TLS tlsConfig `yaml:"tls"`
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
	// Devices serves the authenticator, and what users' devices ask, below /device/: docs/push.md. Without it, nobody
	// approves on a device, and no app fetches what a push woke it for.
	Devices bool `yaml:"devices" default:"true"`
}

// tlsConfig names a certificate, or says who makes one. Both files are read again when they change.
type tlsConfig struct {
	// Cert is the file of the certificate chain, PEM.
	Cert string `yaml:"cert"`
	// Key is the file of its private key, PEM.
	Key string `yaml:"key"`
	// ACME gets the certificate from an authority, such as Let's Encrypt, and renews it. Instead of cert and key. Optional.
	ACME acmeConfig `yaml:"acme"`
}

// acmeConfig says for which names an authority makes a certificate. It asks for them at this listener, which must be
// reachable at port 443 of each name.
type acmeConfig struct {
	// Domains are the names, such as verify.example.com. Naming one accepts the authority's terms.
	Domains []string `yaml:"domains"`
	// Email is where the authority writes when something is wrong with a certificate. Optional.
	Email string `yaml:"email"`
	// Directory is the authority's ACME URL.
	Directory string `yaml:"directory" default:"https://acme-v02.api.letsencrypt.org/directory"`
	// CAFile holds the certificates to trust instead of the system's, PEM, for an authority of your own. Optional.
	CAFile string `yaml:"ca_file"`
}

// operationsConfig is the operations listener.
type operationsConfig struct {
	// Listen is the address to listen on, host:port.
	Listen string `yaml:"listen" default:"127.0.0.1:8081"`
	// MaxConnections is how many connections there may be at once: 1 to 1000000.
	MaxConnections int `yaml:"max_connections" default:"256"`
}

// consoleConfig is where the console is served.
type consoleConfig struct {
	// Listen is the address to listen on, host:port, such as 127.0.0.1:8082. Without it there is no
	// console. An address that other machines reach needs an https url, which is a proxy's in front.
	Listen string `yaml:"listen"`
	// URL is how browsers reach it, such as https://console.example.com. Without it, browsers on this
	// machine ask the address above.
	URL string `yaml:"url"`
	// OIDC lets people sign in by a provider of OpenID Connect, beside those with a password: docs/operators.md. Optional.
	OIDC oidcConfig `yaml:"oidc"`
}

// oidcConfig is a provider of OpenID Connect. Register this console there, with the redirect URI
// URL/sign-in/oidc/callback, where URL is console.url.
type oidcConfig struct {
	// Issuer is the provider's URL, below which /.well-known/openid-configuration is. Without it there is no provider.
	Issuer string `yaml:"issuer"`
	// ClientID is what the provider calls this console.
	ClientID string `yaml:"client_id"`
	// ClientSecret is what the provider gave with it. Optional: PKCE protects sign-ins in any case.
	ClientSecret providerSecretConfig `yaml:"client_secret"`
	// Scopes are asked for beside openid. None: profile.
	Scopes []string `yaml:"scopes" example:"groups"`
	// NameClaim is the claim by which operators are called, of the ID token or of the userinfo endpoint. It names nobody: the issuer and sub do.
	NameClaim string `yaml:"name_claim" default:"preferred_username"`
	// Claim is the claim whose values grants name: a text, or a list of texts.
	Claim string `yaml:"claim" default:"groups"`
	// Grants say what people may do. The first one counts whose value a person's claim has. Without one
	// they get no session.
	Grants []grantConfig `yaml:"grants"`
	// CAFile holds the certificates to trust instead of the system's, PEM. Optional.
	CAFile string `yaml:"ca_file"`
}

// grantConfig is what people may do.
type grantConfig struct {
	// Value of the claim.
	Value string `yaml:"value"`
	// Role is viewer, support, operator or admin.
	Role string `yaml:"role"`
	// Projects are the ids of those that they may see. None: all.
	Projects []string `yaml:"projects"`
}

// senderConfig is what messages come from.
type senderConfig struct {
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

// userLimitsConfig bounds what one user is sent.
type userLimitsConfig struct {
	// Interval is the time from one code to the next: 0s for no limit, up to 1h.
	Interval yamlconf.Duration `yaml:"interval" default:"30s"`
	// Max is how many codes there may be in any period: 0 for no limit, up to 1000.
	Max int `yaml:"max" default:"5"`
	// Period is that period: not below the interval, up to 24h.
	Period yamlconf.Duration `yaml:"period" default:"10m"`
}

// projectLimitsConfig bounds what the API callers of one project may make. What is there stays when a
// bound falls below it.
type projectLimitsConfig struct {
	// Applications is how many applications there may be at once: 1 to 100000. One takes up to 20 KB.
	Applications int `yaml:"applications" default:"1000"`
	// Templates is how many message templates there may be at once: 1 to 100000. One takes up to 8 KB.
	Templates int `yaml:"templates" default:"1000"`
	// Devices is how many devices one user of an application may have: 1 to 50. One takes up to 4 KB.
	Devices int `yaml:"devices" default:"5"`
	// KeptAnswers is how many answers to requests with an Idempotency-Key are kept in 24 hours, but for those to requests
	// that cost a message: 100 to 1000000. One takes up to 40 KB.
	KeptAnswers int `yaml:"kept_answers" default:"10000"`
}

// pricesConfig is what projects are charged. The entry that names the country goes before the others, then the one
// that names the carrier, then the one that names the channel.
type pricesConfig struct {
	// Currency is that of all prices, and of the carriers' costs: three letters, such as EUR.
	Currency string `yaml:"currency" example:"EUR"`
	// Verifications are prices of a verification that was started. Optional.
	Verifications []verificationPriceConfig `yaml:"verifications"`
	// Messages are prices of what a carrier has, or may have: of a segment, of a call, or with sip of a minute that
	// was begun. Optional.
	Messages []messagePriceConfig `yaml:"messages"`
}

// verificationPriceConfig is the price of a verification. What it leaves out, any verification has.
type verificationPriceConfig struct {
	// Price is an amount such as 0.04. 0 is for nothing.
	Price string `yaml:"price" example:"0.04"`
	// Channel is sms or voice. Optional.
	Channel string `yaml:"channel"`
	// Country is the country's two letters. Optional.
	Country string `yaml:"country"`
	// From is the first day of this price, such as 2026-01-31: it begins at midnight UTC. Optional.
	From string `yaml:"from"`
	// Until is the day at whose beginning it ends. Optional.
	Until string `yaml:"until"`
}

// messagePriceConfig is the price of a message. What it leaves out, any message has.
type messagePriceConfig struct {
	// Price is an amount such as 0.0125. 0 is for nothing.
	Price string `yaml:"price" example:"0.0125"`
	// Channel is sms or voice. Optional.
	Channel string `yaml:"channel"`
	// Country is the country's two letters. Optional.
	Country string `yaml:"country"`
	// Carrier is the name of one of the carriers. Optional.
	Carrier string `yaml:"carrier"`
	// From is the first day of this price, such as 2026-01-31: it begins at midnight UTC. Optional.
	From string `yaml:"from"`
	// Until is the day at whose beginning it ends. Optional.
	Until string `yaml:"until"`
}

// syniverseConfig is Syniverse's API: see docs/syniverse.md.
type syniverseConfig struct {
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

// carrierConfig is one way out.
type carrierConfig struct {
	// Name is the carrier's name in channels, records and metrics: a-z 0-9 - and _.
	Name string `yaml:"name" example:"gateway"`
	// HTTP posts each message as JSON, signed as Standard Webhooks says. This, provider, smpp or sip.
	HTTP httpCarrierConfig `yaml:"http"`
	// Provider sends through the API of a provider: docs/providers.md. This, http, smpp or sip.
	Provider providerConfig `yaml:"provider"`
	// SMPP binds to an SMSC: docs/smpp.md. This, http, provider or sip.
	SMPP smppConfig `yaml:"smpp"`
	// SIP calls phones over a trunk and says the code: docs/voice.md. This, http, provider or smpp.
	SIP sipConfig `yaml:"sip"`
	// WebPush pushes to browsers of applications' users: docs/push.md. This, http, provider, smpp or sip.
	WebPush webPushConfig `yaml:"webpush"`
	// FCM are Firebase projects, to whose apps messages are pushed: docs/push.md. Beside webpush and apns, or alone.
	FCM []fcmConfig `yaml:"fcm"`
	// APNS are apps for Apple's devices, to which messages are pushed: docs/push.md. Beside webpush and fcm, or alone.
	APNS []apnsConfig `yaml:"apns"`
	// Concurrency is how many calls are made at once: 1 to 1024. With smpp it is binds times window
	// instead, with sip its calls.
	Concurrency int `yaml:"concurrency" default:"64"`
	// Queue is how many messages may wait or be under way before starts are answered 503: 1 to 100000.
	// With sip no more than its calls: nobody waits until another call is over.
	Queue int `yaml:"queue" default:"1024"`
	// Rate is how many messages a second this server hands over: 0.1 to 10000, 0 for no limit. No more
	// messages wait than can leave within 10 s.
	Rate float64 `yaml:"rate" default:"0"`
	// ReceiptTimeout is how long to wait for a message's receipt before another carrier gets it, once:
	// 1s to 1h, 0s for ever. Set it only where receipts come back from this carrier.
	ReceiptTimeout yamlconf.Duration `yaml:"receipt_timeout" default:"0s"`
	// UnknownTimeout is how long to wait for word of a text or a push whose answer got lost, before the next carrier
	// gets it: 1s to 1h. 0s waits for twice receipt_timeout, as calls always do.
	UnknownTimeout yamlconf.Duration `yaml:"unknown_timeout" default:"3s"`
	// Costs are what the carrier takes for a segment, for a call, or with sip for a minute that was begun. Optional.
	Costs []costConfig `yaml:"costs"`
	// Senders are what messages come from instead of public_sender. Optional.
	Senders []poolConfig `yaml:"senders"`
}

// costConfig is the cost of messages to a country.
type costConfig struct {
	// Country is the country's two letters; without it, this is for all others.
	Country string `yaml:"country" example:"US"`
	// Cost is in the currency of prices, or without prices in whatever currency the operator counts.
	Cost string `yaml:"cost" default:"0"`
	// From is the first day of this cost, such as 2026-01-31: it begins at midnight UTC. Optional.
	From string `yaml:"from"`
	// Until is the day at whose beginning it ends. Optional.
	Until string `yaml:"until"`
}

// poolConfig is what messages to a country come from.
type poolConfig struct {
	// Country is the country's two letters; without it, this is for all others.
	Country string `yaml:"country" example:"US"`
	// From are numbers in E.164, short codes, or names of 1 to 11 letters and digits. One phone always
	// sees the same one.
	From []string `yaml:"from" example:"+12025550199"`
}

// routeConfig is which carriers take the messages that it matches. What it leaves out, any message has.
type routeConfig struct {
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
	// Carriers are those that take them, the preferred one first. None: starts are refused, with 422 over
	// SignalWire's API and /v1 if other numbers are served.
	Carriers []choiceConfig `yaml:"carriers"`
}

// choiceConfig is a carrier of a route.
type choiceConfig struct {
	// Name is the carrier's.
	Name string `yaml:"name" example:"gateway"`
	// Weight makes the carriers that have one take turns, in its proportion: 1 to 1000, 0 to stay in
	// its place.
	Weight int `yaml:"weight" default:"0"`
}

// httpCarrierConfig is a receiver of HTTP requests.
type httpCarrierConfig struct {
	// URL is where messages are posted: https, or http to this machine.
	URL string `yaml:"url" example:"http://127.0.0.1:9000/messages"`
	// Secret signs the requests. It is not written here: this says where it is.
	Secret secretConfig `yaml:"secret"`
	// Timeout of one request: 100ms to 10s.
	Timeout yamlconf.Duration `yaml:"timeout" default:"5s"`
	// CAFile holds the certificates to trust instead of the system's, PEM. Optional.
	CAFile string `yaml:"ca_file"`
	// Plaintext allows http to other machines: everybody on the way can then read the codes. Each
	// start warns of it.
	Plaintext bool `yaml:"plaintext" default:"false"`
}

// providerConfig is a provider's account.
type providerConfig struct {
	// Preset is a provider that is known: 46elks, africastalking, aws, azure, bandwidth, bird, bird-channels, bulksms, cm,
	// gatewayapi, infobip, linkmobility, messagebird, plivo, signalwire, sinch, smsapi, solapi, syniverse, telesign, telnyx,
	// twilio, unifonic, vonage, vonage-messages or zenvia; for calls infobip-voice, plivo-voice, signalwire-voice, sinch-voice, syniverse-voice,
	// telnyx-voice, twilio-voice or vonage-voice. Any other is described in api.
	Preset string `yaml:"preset"`
	// Account is the account's id, or whatever the provider calls it.
	Account string `yaml:"account"`
	// User is the name or id that requests authenticate with, where that isn't the account; of telnyx-voice, a TeXML application's id.
	// Else optional.
	User string `yaml:"user"`
	// Host is the provider's host, where accounts have hosts of their own. Else optional.
	Host string `yaml:"host"`
	// Region is the provider's region or platform, where it has some.
	Region string `yaml:"region"`
	// Profile is a messaging service, messaging profile, channel, configuration set or gate for reports; for calls the
	// language that is spoken. Optional for most.
	Profile string `yaml:"profile"`
	// Secret is what the provider knows us by: a token, a password or a private key.
	Secret providerSecretConfig `yaml:"secret"`
	// CallbackSecret is what reports about messages are checked with. Optional; where it isn't that of
	// requests, there are no reports without it.
	CallbackSecret providerSecretConfig `yaml:"callback_secret"`
	// Timeout of one request: 100ms to 10s.
	Timeout yamlconf.Duration `yaml:"timeout" default:"5s"`
	// CAFile holds the certificates to trust instead of the system's, PEM. Optional.
	CAFile string `yaml:"ca_file"`
	// API is a file that describes the API of a provider without a preset, or what differs from the
	// preset. To begin with one: countersign config preset. Optional.
	API string `yaml:"api"`
}

// providerSecretConfig says where a secret is: give one of the two. The provider's console shows it.
type providerSecretConfig struct {
	// File is a file that only its owner can read.
	File string `yaml:"file"`
	// Env is the name of an environment variable.
	Env string `yaml:"env"`
}

// smppConfig is an account at an SMSC.
type smppConfig struct {
	// Addr is where the SMSC listens, host:port.
	Addr string `yaml:"addr"`
	// Others are further addresses of the same SMSC: up to 7. The binds begin at one address each, and go to the next one
	// if theirs doesn't let them bind. Optional.
	Others []string `yaml:"others"`
	// Plaintext connects without TLS: everybody on the way can then read the password and the codes. It
	// is for a private line or a tunnel. Each start warns of it.
	Plaintext bool `yaml:"plaintext" default:"false"`
	// CAFile holds the certificates to trust instead of the system's, PEM. Optional.
	CAFile string `yaml:"ca_file"`
	// CertFile is our own certificate, for SMSCs that ask for one, and KeyFile its key, PEM. Optional.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the key of cert_file.
	KeyFile string `yaml:"key_file"`
	// SystemID is the account: 1 to 15 characters.
	SystemID string `yaml:"system_id"`
	// Password is the account's. It is not written here: this says where it is. Optional.
	Password passwordConfig `yaml:"password"`
	// SystemType is what some SMSCs ask for, up to 12 characters. Optional.
	SystemType string `yaml:"system_type"`
	// Service is the service_type of each message, up to 5 characters. Optional.
	Service string `yaml:"service"`
	// InterfaceVersion is what the bind says of SMPP's version, such as "0x33".
	InterfaceVersion string `yaml:"interface_version" default:"0x34"`
	// AddressRange is what the bind asks messages for, up to 40 characters. Optional.
	AddressRange string `yaml:"address_range"`
	// RangeNumbering is the type of number and the numbering plan of address_range.
	RangeNumbering string `yaml:"range_numbering" default:"0 0"`
	// Prefix stands before the digits of each destination: up to 5 digits. Optional.
	Prefix string `yaml:"prefix"`
	// TLVs are optional parameters of each message, such as those of India's registry (0x1400, 0x1401). Optional.
	TLVs []tlvConfig `yaml:"tlvs"`
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
	// Alphabet is how the SMSC reads texts that the GSM alphabet has: gsm, latin1, ascii or ucs2. Other texts go in
	// UCS-2.
	Alphabet string `yaml:"alphabet" default:"gsm"`
	// DataCoding is the data_coding of such texts, 0 to 255. -1 is the alphabet's own: 0, 3, 1 or 8.
	DataCoding int `yaml:"data_coding" default:"-1"`
	// Validity tells the SMSC how long the code lives. Some don't take that in its relative form.
	Validity bool `yaml:"validity" default:"true"`
	// Receipts asks for a receipt of each message.
	Receipts bool `yaml:"receipts" default:"true"`
	// ReceiptID is how receipts write the ids of responses: same, hex-then-decimal or decimal-then-hex.
	ReceiptID string `yaml:"receipt_id" default:"same"`
	// ErrCodes is what the codes after err: in receipts are: own, the SMSC's, or gsm, those of GSM networks, which
	// docs/smpp.md lists.
	ErrCodes string `yaml:"err_codes" default:"own"`
	// Reasons give codes of receipts a reason, before err_codes: those after err:, or in the parameter
	// network_error_code. Optional.
	Reasons []codeReasonConfig `yaml:"reasons"`
	// Refuse are statuses that refuse a message for good, such as "0x410", whatever docs/smpp.md says of
	// them. Optional.
	Refuse []string `yaml:"refuse"`
}

// codeReasonConfig gives some codes a reason.
type codeReasonConfig struct {
	// Reason is one of those in docs/providers.md.
	Reason string `yaml:"reason" example:"unreachable"`
	// Codes are those of the network, such as "027". Leading zeros don't count.
	Codes []string `yaml:"codes" example:"[\"027\"]"`
}

// tlvConfig is an optional parameter of messages.
type tlvConfig struct {
	// Tag is its number, such as "0x1400".
	Tag string `yaml:"tag" example:"0x1400"`
	// Value is its value as ASCII.
	Value string `yaml:"value" example:"1101234567890"`
	// Hex is its value in hexadecimal, in place of value.
	Hex string `yaml:"hex"`
}

// sipConfig is a trunk, and what is said by it.
type sipConfig struct {
	// Trunk is a host, or host:port. Without a port the name's SRV records decide, then 5060, or 5061 with
	// TLS.
	Trunk string `yaml:"trunk"`
	// Transport is tls, where the sound is encrypted as well, or tcp or udp: then everybody on the way can
	// listen to the codes, and each start warns of it.
	Transport string `yaml:"transport" default:"udp"`
	// CAFile holds the certificates to trust instead of the system's, PEM. With tls. Optional.
	CAFile string `yaml:"ca_file"`
	// CertFile is our own certificate, for trunks that ask for one, and KeyFile its key, PEM. With tls. Optional.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the key of cert_file.
	KeyFile string `yaml:"key_file"`
	// SkipSRTP sends the sound unencrypted in spite of tls, for trunks without SRTP: everybody on the way can
	// listen to the codes, and each start warns of it.
	SkipSRTP bool `yaml:"skip_srtp" default:"false"`
	// Username answers the trunk's challenges (digest). Optional.
	Username string `yaml:"username"`
	// Password goes with it. It is not written here: this says where it is.
	Password passwordConfig `yaml:"password"`
	// Realm is whom the password is for: challenges of others are refused. Optional.
	Realm string `yaml:"realm"`
	// Register registers, for trunks that want it, and takes it back when the server stops.
	Register bool `yaml:"register" default:"false"`
	// Domain is that of the addresses in From and To: a host, or host:port. Without it, the trunk's host, with
	// its port unless that is 5060, or 5061 with TLS. Optional.
	Domain string `yaml:"domain"`
	// AuthUsername answers challenges where the trunk's user name for them isn't username. Optional.
	AuthUsername string `yaml:"auth_username"`
	// FromUser is the user in From, by which many trunks find the account. Without it, username. Optional.
	FromUser string `yaml:"from_user"`
	// From is the caller's number, where a message's sender is no number. Optional.
	From string `yaml:"from"`
	// CallerID is the header with the caller's number: from, pai (P-Asserted-Identity), ppi
	// (P-Preferred-Identity) or rpid (Remote-Party-ID). Without it, pai where there is a username or a
	// from_user, else from. Optional.
	CallerID string `yaml:"caller_id"`
	// Privacy asks the trunk to withhold the caller's number from the callee. Not with caller_id: from.
	Privacy bool `yaml:"privacy" default:"false"`
	// Plus writes numbers with their plus: +12025550100.
	Plus bool `yaml:"plus" default:"true"`
	// Prefix goes before the called number: digits and stars. Optional.
	Prefix string `yaml:"prefix"`
	// UserPhone adds ;user=phone to addresses with numbers.
	UserPhone bool `yaml:"user_phone" default:"false"`
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
	// Zwo says "zwo" for 2 in German, which nobody mistakes for "drei".
	Zwo bool `yaml:"zwo" default:"false"`
	// Recordings is a folder with recordings of your own, in place of the program's: LOCALE/PROMPT.wav. docs/voice.md names
	// the prompts. Optional.
	Recordings string `yaml:"recordings"`
	// Engine is a program, with its arguments, that reads a caller's own text and writes a WAV file.
	// {locale} becomes the language. It never gets a code. Optional.
	Engine []string `yaml:"engine"`
}

// webPushConfig is how messages are pushed to browsers and apps.
type webPushConfig struct {
	// VAPIDKey signs pushes. It is not written here: this says where it is. Make one with "countersign secret vapid". A
	// device is registered for one key, so keep it.
	VAPIDKey pushKeyConfig `yaml:"vapid_key"`
	// Contact is how push services reach you: a mailto: or https: URL.
	Contact string `yaml:"contact"`
	// Timeout is for one device: 100ms to 9s.
	Timeout yamlconf.Duration `yaml:"timeout" default:"5s"`
	// Private allows push services at private addresses and on this machine. Anybody who registers a device can then
	// make this server call them, and each start warns of it.
	Private bool `yaml:"private" default:"false"`
	// CAFile holds the certificates to trust instead of the system's, PEM. Optional.
	CAFile string `yaml:"ca_file"`
}

// fcmConfig is how messages are pushed by Firebase Cloud Messaging.
type fcmConfig struct {
	// App is how devices name the app, such as com.example.shop: 1 to 255 of A-Z a-z 0-9 . _ -.
	App string `yaml:"app"`
	// ServiceAccount is the JSON of the project's service account. It is not written here: this says where it is.
	ServiceAccount pushKeyConfig `yaml:"service_account"`
	// Content is what a push says: wake lets the app fetch the message with its device's key. text pushes the text and the
	// code, and Google can read both.
	Content string `yaml:"content" default:"wake"`
	// Timeout is for one device: 100ms to 9s.
	Timeout yamlconf.Duration `yaml:"timeout" default:"5s"`
	// URL is where messages are handed over, for a stand-in in tests. Optional.
	URL string `yaml:"url" default:"https://fcm.googleapis.com"`
	// CAFile holds the certificates to trust instead of the system's, PEM. Optional.
	CAFile string `yaml:"ca_file"`
}

// apnsConfig is how messages are pushed by the Apple Push Notification service.
type apnsConfig struct {
	// App is the app's bundle id, by which devices name it too.
	App string `yaml:"app"`
	// Team is the id of the developer's team: 10 of A-Z 0-9.
	Team string `yaml:"team"`
	// KeyID is the id of the key: 10 of A-Z 0-9.
	KeyID string `yaml:"key_id"`
	// Key is the .p8 file of the key. It is not written here: this says where it is.
	Key pushKeyConfig `yaml:"key"`
	// Content is what a push says: wake lets the app fetch the message with its device's key. text pushes the text and the
	// code, and Apple can read both.
	Content string `yaml:"content" default:"wake"`
	// Timeout is for one device: 100ms to 9s.
	Timeout yamlconf.Duration `yaml:"timeout" default:"5s"`
	// URL is Apple's: https://api.sandbox.push.apple.com is for apps that developers install themselves.
	URL string `yaml:"url" default:"https://api.push.apple.com"`
	// CAFile holds the certificates to trust instead of the system's, PEM. Optional.
	CAFile string `yaml:"ca_file"`
}

// pushKeyConfig says where a key of pushes is: give one of the two. It is a [secretConfig] without an example,
// because the long configuration has no pushes.
type pushKeyConfig struct {
	// File is a file that only its owner can read.
	File string `yaml:"file"`
	// Env is the name of an environment variable.
	Env string `yaml:"env"`
}

// secretConfig says where a secret is: give one of the two. Make one with "countersign secret create".
type secretConfig struct {
	// File is a file that only its owner can read.
	File string `yaml:"file" example:"gateway.secret"`
	// Env is the name of an environment variable.
	Env string `yaml:"env"`
}

// channelsConfig maps channels to carriers.
type channelsConfig struct {
	// SMS are the names of the carriers of text messages.
	SMS []string `yaml:"sms" example:"gateway"`
	// Voice are the names of the carriers of calls.
	Voice []string `yaml:"voice" example:"gateway"`
	// Push are the names of the carriers of pushes to users' devices, which have webpush, fcm or apns.
	Push []string `yaml:"push"`
}

// failoverConfig maps channels to those by which a message goes on. Without them nobody is called, or
// sent a text, who didn't ask for that.
type failoverConfig struct {
	// SMS are the channels after sms: voice, or none.
	SMS []string `yaml:"sms"`
	// Voice are the channels after voice: sms, or none.
	Voice []string `yaml:"voice"`
	// Push are the channels after push: sms, voice, both, or none.
	Push []string `yaml:"push"`
}

// logConfig is how we log: one line for each request, numbers masked, codes never.
type logConfig struct {
	// Level is debug, info, warn or error.
	Level string `yaml:"level" default:"info"`
	// Format is json or text.
	Format string `yaml:"format" default:"json"`
}

// tracingConfig is where traces go.
type tracingConfig struct {
	// Endpoint is the URL of an OTLP/HTTP collector, such as http://127.0.0.1:4318. Optional.
	Endpoint string `yaml:"endpoint"`
	// Sample is the share of requests that are traced: 0 to 1.
	Sample float64 `yaml:"sample" default:"0.01"`
}
