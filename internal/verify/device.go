package verify

import (
	"cmp"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/wording"
)

// A Device is a browser or an app of an application's user, to which codes can be pushed. It is a user's own: it goes
// with the user, and an endpoint that another user of the application registers isn't the former user's any more.
type Device struct {
	ID          ID // its time is when the device was registered
	Application ID
	User        string
	Kind        DeviceKind
	Name        string // for people
	Locale      string // a BCP 47 tag, or ""
	Fingerprint []byte // of the endpoint, see [Subscription.fingerprint]
	KeyID       uint32 // of the key that sealed the next
	Sealed      []byte // the subscription
	UsedAt      time.Time
}

// A DeviceKind is how a device is reached.
type DeviceKind string

// The first two take RFC 8030's requests with RFC 8291's contents.
const (
	DeviceWebPush     DeviceKind = "webpush"     // a browser's service worker
	DeviceUnifiedPush DeviceKind = "unifiedpush" // an Android app, by ntfy and the like
	DeviceFCM         DeviceKind = "fcm"         // an app, by Firebase Cloud Messaging
	DeviceAPNS        DeviceKind = "apns"        // an app, by the Apple Push Notification service
)

// native reports whether a device is an app that a token of Google's or Apple's names.
func (k DeviceKind) native() bool { return k == DeviceFCM || k == DeviceAPNS }

// A Subscription is where a device is reached, and the keys that encrypt for it. Whoever has it can push to the
// device, so it is stored sealed.
type Subscription struct {
	Endpoint string `json:"e,omitempty"` // an https URL
	Key      []byte `json:"k,omitempty"` // the device's public key, a point of P-256
	Auth     []byte `json:"a,omitempty"` // its authentication secret
	// Token and App are in place of those for FCM and APNs: what the service calls the device, and the app's name there.
	Token string `json:"t,omitempty"`
	App   string `json:"n,omitempty"`
	// Sign is the public key of the device's signatures, a point of P-256. It is sealed too, so that nobody who writes
	// to the database can put a key of theirs in its place. Without one, the device gets codes only.
	Sign []byte `json:"s,omitempty"`
}

// String and LogValue keep a subscription out of logs and errors.
func (Subscription) String() string       { return "[subscription]" }
func (Subscription) LogValue() slog.Value { return slog.StringValue("[subscription]") }

// A Receiver is a device that a message is pushed to.
type Receiver struct {
	ID     ID
	Kind   DeviceKind
	Locale string
	Subscription
}

// A NewDevice asks for a device to be registered. Its keys are in base64url, as browsers write them.
type NewDevice struct {
	Kind                   DeviceKind
	Endpoint, P256dh, Auth string // of WebPush and UnifiedPush
	Token, App             string // of FCM and APNS
	Key                    string // of its signatures; "": it has none
	Name, Locale           string
}

// A DeviceStore keeps users' devices. Each method fails with [ErrNoApplication] and [ErrNoUser] as those of
// [UserStore] do.
type DeviceStore interface {
	// AddDevice stores a user's device in place of the one of the application with its fingerprint, if there is one, and
	// writes down which key asked for it. It fails with [ErrTooManyDevices] if the user has most others, or more.
	AddDevice(ctx context.Context, k UserKey, d Device, most int, by ID) error
	// Devices returns a user's, the oldest first.
	Devices(ctx context.Context, k UserKey) ([]Device, error)
	// RemoveDevice removes a user's device, and writes down who asked for it. It fails with [ErrNoDevice].
	RemoveDevice(ctx context.Context, k UserKey, id ID, actor string) error
	// DevicesOfOtherKeys returns some devices that another key than key has sealed, in the order of their ids, behind one.
	DevicesOfOtherKeys(ctx context.Context, key uint32, after ID, n int) ([]Device, error)
	// SettleDevices stores that pushes to some devices of a user were taken at a time, and removes others that are gone.
	SettleDevices(ctx context.Context, k UserKey, at time.Time, used, gone []ID) error
	// Reseal stores what d has sealed, unless the device is gone, or no longer what key has sealed.
	Reseal(ctx context.Context, d Device, key uint32) error
}

const (
	maxEndpoint   = 2048
	maxToken      = 2048
	maxApp        = 255
	maxDeviceName = 100
	authLength    = 16 // RFC 8291 §3.2
)

// RegisterDevice registers a user's device.
func (s *Service) RegisterDevice(ctx context.Context, acct *Account, application ID, user string, n NewDevice) (Device, error) {
	k, err := userKey(acct, application, user)
	if err != nil {
		return Device{}, err
	}
	var p problems
	sub := p.subscription(&n)
	if err := p.err(); err != nil {
		return Device{}, err
	}
	d, err := s.sealed(k, n, sub)
	if err != nil {
		return Device{}, err
	}
	return d, s.store.AddDevice(context.WithoutCancel(ctx), k, d, s.maxDevices, acct.KeyID)
}

// sealed makes a user's device with its subscription sealed.
func (s *Service) sealed(k UserKey, n NewDevice, sub Subscription) (Device, error) {
	d := Device{
		ID: NewID(s.instant()), Application: k.Application, User: k.Name, Kind: n.Kind, Name: n.Name, Locale: n.Locale,
		Fingerprint: sub.fingerprint(k.Application), KeyID: s.keys.Primary(),
	}
	if d.KeyID == 0 {
		return Device{}, ErrNoKey
	}
	return d, d.seal(s.keys, sub)
}

// Devices lists a user's devices, the oldest first.
func (s *Service) Devices(ctx context.Context, acct *Account, application ID, user string) ([]Device, error) {
	k, err := userKey(acct, application, user)
	if err != nil {
		return nil, err
	}
	return s.store.Devices(ctx, k)
}

// canAnswer reports whether a user has a device that can answer a prompt. A prompt that nobody gets must not count.
func (s *Service) canAnswer(ctx context.Context, k UserKey) (bool, error) {
	all, err := s.store.Devices(ctx, k)
	if errors.Is(err, ErrNoUser) || errors.Is(err, ErrNoApplication) { // the start itself says so
		return false, nil
	}
	for i := range all {
		if sub, err := all[i].Open(s.keys); err == nil && len(sub.Sign) > 0 {
			return true, nil
		}
	}
	return false, err
}

// RemoveDevice removes a user's device.
func (s *Service) RemoveDevice(ctx context.Context, acct *Account, application ID, user string, id ID) error {
	k, err := userKey(acct, application, user)
	if err != nil {
		return err
	}
	return s.store.RemoveDevice(context.WithoutCancel(ctx), k, id, "key "+acct.KeyID.String())
}

// resealStep is how many devices are read together.
const resealStep = 100

// ResealDevices seals with the primary key all devices that another key has sealed, so that the other key can be
// removed from the keyset. Devices of keys that this server lacks stay as they are. One that can't be opened doesn't
// keep the others from it. It returns how many it sealed.
func (s *Service) ResealDevices(ctx context.Context) (n int, err error) {
	primary := s.keys.Primary()
	if primary == 0 {
		return 0, nil
	}
	var damaged error // the first
	for after := (ID{}); ; {
		some, err := s.store.DevicesOfOtherKeys(ctx, primary, after, resealStep)
		if err != nil || len(some) == 0 {
			return n, cmp.Or(err, damaged)
		}
		for _, d := range some {
			after = d.ID
			sub, err := d.Open(s.keys)
			if err != nil {
				if !errors.Is(err, keyset.ErrUnknownKey) {
					damaged = cmp.Or(damaged, err)
				}
				continue
			}
			before := d.KeyID
			d.KeyID = primary
			if err := d.seal(s.keys, sub); err != nil {
				return n, err
			}
			if err := s.store.Reseal(ctx, d, before); err != nil {
				return n, err
			}
			n++
		}
	}
}

// subscription reads a new device's, and checks the rest of it.
func (p *problems) subscription(n *NewDevice) (sub Subscription) {
	var err error
	switch {
	case n.Kind.native():
		p.token(n, &sub)
	case n.Kind == DeviceWebPush || n.Kind == DeviceUnifiedPush:
		p.endpoint(n, &sub)
	default:
		p.add(FieldKind, "must be %s, %s, %s or %s", DeviceWebPush, DeviceUnifiedPush, DeviceFCM, DeviceAPNS)
		return sub
	}
	if n.Key != "" {
		if sub.Sign, err = base64url(n.Key); err == nil {
			_, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), sub.Sign)
		}
		if err != nil {
			p.add(FieldKey, "must be the base64url of an uncompressed point of P-256, 65 bytes")
		}
	}
	if n.Name != "" && !IsLabel(n.Name, maxDeviceName) {
		p.add(FieldName, "must have at most %d printable characters", maxDeviceName)
	}
	if n.Locale != "" && !(utf8.RuneCountInString(n.Locale) <= maxDeviceName && locale.MatchString(n.Locale) && wording.Speaks(n.Locale)) {
		p.add(FieldLocale, "must be a language tag such as de or pt-BR, of one of %s", strings.Join(wording.Languages(), " "))
	}
	return sub
}

// endpoint reads the subscription of a browser or an app with UnifiedPush.
func (p *problems) endpoint(n *NewDevice, sub *Subscription) {
	u, err := url.Parse(n.Endpoint)
	switch {
	case len(n.Endpoint) > maxEndpoint:
		p.add(FieldEndpoint, "is too long (maximum is %d characters)", maxEndpoint)
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "":
		p.add(FieldEndpoint, "must be an https URL without credentials and fragment")
	}
	sub.Endpoint = n.Endpoint
	if sub.Key, err = base64url(n.P256dh); err == nil {
		_, err = ecdh.P256().NewPublicKey(sub.Key)
	}
	if err != nil {
		p.add(FieldP256dh, "must be the base64url of an uncompressed point of P-256, 65 bytes")
	}
	if sub.Auth, err = base64url(n.Auth); err != nil || len(sub.Auth) != authLength {
		p.add(FieldAuth, "must be the base64url of %d bytes", authLength)
	}
	p.unless(FieldToken, n.Token == "", n.Kind)
	p.unless(FieldApp, n.App == "", n.Kind)
}

// token reads what FCM or APNs call an app on a device.
func (p *problems) token(n *NewDevice, sub *Subscription) {
	switch {
	case n.Kind == DeviceAPNS && !hexToken.MatchString(n.Token):
		p.add(FieldToken, "must be the device token of APNs in hex, 64 to 200 digits")
	case n.Kind == DeviceFCM && !(len(n.Token) <= maxToken && registrationToken.MatchString(n.Token)):
		p.add(FieldToken, "must be a registration token of FCM: 1 to %d of A-Z a-z 0-9 _ - :", maxToken)
	}
	if !IsAppName(n.App) {
		p.add(FieldApp, "must be the name of the app in the server's configuration, such as com.example.shop: 1 to %d of A-Z a-z 0-9 . _ -", maxApp)
	}
	sub.Token, sub.App = n.Token, n.App
	if n.Kind == DeviceAPNS {
		sub.Token = strings.ToLower(n.Token) // one token has one fingerprint
	}
	p.unless(FieldEndpoint, n.Endpoint == "", n.Kind)
	p.unless(FieldP256dh, n.P256dh == "", n.Kind)
	p.unless(FieldAuth, n.Auth == "", n.Kind)
}

var (
	hexToken          = regexp.MustCompile(`^([0-9A-Fa-f]{2}){32,100}$`)
	registrationToken = regexp.MustCompile(`^[A-Za-z0-9_:-]+$`)
	appName           = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// IsAppName reports whether a text can name an app of FCM or APNs.
func IsAppName(s string) bool { return len(s) <= maxApp && appName.MatchString(s) }

// unless notes a field that devices of a kind don't have.
func (p *problems) unless(f Field, absent bool, k DeviceKind) {
	if !absent {
		p.add(f, "must be absent for %s", k)
	}
}

// base64url reads it with or without padding.
func base64url(s string) ([]byte, error) {
	return base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(s, "="))
}

// fingerprint finds a subscription's endpoint or token among an application's. Both are capabilities with many random
// bits, so a fingerprint tells nobody what they are. No endpoint has a space in it.
func (sub *Subscription) fingerprint(application ID) []byte {
	address := sub.Endpoint
	if sub.Token != "" {
		address = sub.App + " " + sub.Token
	}
	sum := sha256.Sum256(append(application[:], address...))
	return sum[:]
}

// binding is what a device's subscription is sealed for. No verification has such a purpose. A row that somebody
// copied to another user opens nothing.
func (d *Device) binding() keyset.Binding {
	return keyset.Binding{ID: d.ID, Destination: d.Application.String() + "/" + d.User, Purpose: "push device"}
}

// seal seals a subscription with the key that d names. That key seals only once for d, so its nonce can't repeat.
func (d *Device) seal(keys *keyset.Set, sub Subscription) error {
	text, err := json.Marshal(sub)
	if err != nil {
		return err
	}
	if d.Sealed, err = keys.Seal(d.KeyID, d.binding(), string(text)); err != nil {
		return fmt.Errorf("seal device %v: %w", d.ID, err)
	}
	return nil
}

// Open opens a device's subscription.
func (d *Device) Open(keys *keyset.Set) (sub Subscription, err error) {
	text, err := keys.Open(d.KeyID, d.binding(), d.Sealed)
	if err == nil {
		err = json.Unmarshal([]byte(text), &sub)
	}
	if err != nil {
		return Subscription{}, fmt.Errorf("open device %v: %w", d.ID, err)
	}
	return sub, nil
}
