package webpush_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/carrier/webpush"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Close()
	os.Exit(code)
}

var b64 = base64.RawURLEncoding

// A browser is a device, and its part of a push service.
type browser struct {
	t    *testing.T
	name string
	key  *ecdh.PrivateKey
	auth []byte

	status atomic.Int64 // of answers; 0: 201
	mu     sync.Mutex   // guards got and topics
	got    []content
	topics []string
}

// A content is what a service worker reads.
type content struct {
	VerificationID string `json:"verification_id"`
	Body, Code     string
	ExpiresAt      time.Time `json:"expires_at"`
}

// hangs is a status that never comes.
const hangs = 599

// A service is a push service on this machine.
type service struct {
	*httptest.Server
	t      *testing.T
	public string // the VAPID key that it expects
	mu     sync.Mutex
	all    map[string]*browser
	strays atomic.Int64 // requests for no device
}

func newService(t *testing.T, public string) *service {
	s := &service{t: t, public: public, all: map[string]*browser{}}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *service) subscribe(name string) *browser {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	b := &browser{t: s.t, name: name, key: key, auth: make([]byte, 16)}
	rand.Read(b.auth)
	s.mu.Lock()
	s.all["/"+name] = b
	s.mu.Unlock()
	return b
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	b := s.all[r.URL.Path]
	s.mu.Unlock()
	if b == nil {
		s.strays.Add(1)
		w.WriteHeader(http.StatusGone)
		return
	}
	if status := b.status.Load(); status == hangs {
		io.Copy(io.Discard, r.Body) // else nobody notices that the client hangs up
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // or else it answers 200, which a client that is just giving up may still hear
	} else if status != 0 {
		if status == 429 {
			w.Header().Set("Retry-After", "600")
		}
		w.Header().Set("Location", s.URL+"/stray")
		w.WriteHeader(int(status))
		return
	}
	if err := s.check(r); err != nil {
		s.t.Errorf("push to %s: %v", b.name, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	text, err := b.decrypt(body)
	var c content
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		s.t.Errorf("push to %s: %v", b.name, err)
	}
	b.mu.Lock()
	b.got, b.topics = append(b.got, c), append(b.topics, r.Header.Get("Topic"))
	b.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
}

// check checks a request as RFC 8030 and RFC 8292 have it.
func (s *service) check(r *http.Request) error {
	if ttl, err := strconv.Atoi(r.Header.Get("TTL")); err != nil || ttl < 0 || ttl > 3600 {
		return fmt.Errorf("TTL %q", r.Header.Get("TTL"))
	}
	if r.Method != "POST" || r.Header.Get("Urgency") != "high" || r.Header.Get("Content-Encoding") != "aes128gcm" || len(r.Header.Get("Topic")) != 32 {
		return fmt.Errorf("request %s %v", r.Method, r.Header)
	}
	t, k, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "vapid t="), ", k=")
	if !ok || k != s.public {
		return fmt.Errorf("authorization %q, want the key %q", r.Header.Get("Authorization"), s.public)
	}
	parts := strings.Split(t, ".")
	point, err1 := b64.DecodeString(k)
	signature, err2 := b64.DecodeString(parts[2])
	claims, err3 := b64.DecodeString(parts[1])
	if err1 != nil || err2 != nil || err3 != nil || len(signature) != 64 {
		return fmt.Errorf("token %q", t)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return err
	}
	if !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return fmt.Errorf("the signature of %q is wrong", t)
	}
	if !strings.Contains(string(claims), `"aud":"`+s.URL+`"`) || !strings.Contains(string(claims), `"sub":"mailto:ops@example.com"`) {
		return fmt.Errorf("claims %s", claims)
	}
	return nil
}

// decrypt is a receiver's half of RFC 8291.
func (b *browser) decrypt(body []byte) ([]byte, error) {
	if len(body) < 86 || body[20] != 65 {
		return nil, fmt.Errorf("a header of RFC 8188 is missing in %d bytes", len(body))
	}
	salt, sender := body[:16], body[21:86]
	public, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, err
	}
	shared, err := b.key.ECDH(public)
	if err != nil {
		return nil, err
	}
	ikm, _ := hkdf.Key(sha256.New, shared, b.auth, "WebPush: info\x00"+string(b.key.PublicKey().Bytes())+string(sender), 32)
	key, _ := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	nonce, _ := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	text, err := aead.Open(nil, nonce, body[86:], nil)
	if err != nil {
		return nil, err
	}
	text = []byte(strings.TrimRight(string(text), "\x00"))
	if len(text) == 0 || text[len(text)-1] != 2 {
		return nil, fmt.Errorf("the delimiter is missing")
	}
	return text[:len(text)-1], nil
}

func (b *browser) contents() []content {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got
}

// A kit is a server that pushes, with two users whose numbers are validated.
type kit struct {
	*countersigntest.Kit
	t       *testing.T
	service *service
	client  *api.Client
	app     string
}

func newKit(t *testing.T, o countersigntest.Options, private bool, channels ...string) kit {
	t.Helper()
	text, err := webpush.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := webpush.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	s := newService(t, key.Public())
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	web, err := webpush.New(webpush.Config{Key: key, Contact: "mailto:ops@example.com", Private: private, RootCAs: roots, Timeout: 5 * time.Second, Conns: 4})
	if err != nil {
		t.Fatal(err)
	}
	o.Pushes = push.New("pushes", map[verify.DeviceKind]push.Service{verify.DeviceWebPush: web})
	k := kit{countersigntest.New(t, o), t, s, nil, ""}
	secret := account.NewSecret()
	if err := k.Store.CreateKey(t.Context(), account.Key{ID: verify.NewID(k.Clock.Now()), Project: "test", Scopes: verify.AllScopes, Hash: account.HashKey(secret)}); err != nil {
		t.Fatal(err)
	}
	k.client = &api.Client{URL: k.URL, Key: secret.Reveal(), MaxWait: -1}
	k.app = read[api.Application](k, 201, "POST", "/v1/applications", `{"name":"shop","channels":["`+strings.Join(channels, `","`)+`"]}`).ID
	for name, number := range map[string]string{"ada": "+12025550100", "bob": "+12025550101"} {
		u := read[api.User](k, 201, "POST", k.path(""), `{"user":"`+name+`","number":"`+number+`"}`)
		k.right(name, k.texted(number, u.Verification))
	}
	return k
}

var digits = regexp.MustCompile(`[0-9]{4,}`)

// texted is the code of a verification that came by SMS.
func (k kit) texted(number, id string) (code string) {
	k.t.Helper()
	k.Await("the message of "+id, func() bool {
		for _, m := range k.Sim.Messages(phone.Number(number)) {
			if m.Verification == id {
				code = digits.FindString(m.Body)
			}
		}
		return code != ""
	})
	return code
}

func (k kit) path(rest string) string { return "/v1/applications/" + k.app + "/users" + rest }

func read[T any](k kit, want int, method, path, body string) (v T) {
	k.t.Helper()
	status, _, answer := k.Call(verify.Secret(k.client.Key), method, path, body)
	if status != want {
		k.t.Fatalf("%s %s %s: %d %s, want %d", method, path, body, status, answer, want)
	}
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		k.t.Fatal(err)
	}
	return v
}

func (k kit) right(user, code string) {
	k.t.Helper()
	if r := read[api.CheckResult](k, 200, "POST", k.path("/"+user+"/check"), `{"code":"`+code+`"}`); !r.Valid {
		k.t.Errorf("the code of %s: %+v", user, r)
	}
}

func (k kit) register(user string, b *browser) string {
	k.t.Helper()
	d, err := k.client.RegisterDevice(k.t.Context(), k.app, user, api.NewDevice{
		Kind: api.WebPush, Endpoint: k.service.URL + "/" + b.name, P256dh: b64.EncodeToString(b.key.PublicKey().Bytes()), Auth: b64.EncodeToString(b.auth),
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return d.ID
}

// login sends a user a code, and waits until its delivery has come to a state.
func (k kit) login(user, body, delivery string) api.Verification {
	k.t.Helper()
	k.Clock.Advance(31 * time.Second)
	id := read[api.User](k, 200, "POST", k.path("/"+user+"/login"), body).Verification
	var v api.Verification
	k.Await("the delivery is "+delivery, func() bool {
		v = read[api.Verification](k, 200, "GET", "/v1/verifications/"+id, "")
		return v.Delivery == delivery || v.Delivery == "sent" // which nothing follows here
	})
	if v.Delivery != delivery {
		k.t.Errorf("the delivery is %s, want %s", v.Delivery, delivery)
	}
	return v
}

func (k kit) devices(user string) (ids []string) {
	k.t.Helper()
	all, err := k.client.Devices(k.t.Context(), k.app, user)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, d := range all {
		ids = append(ids, d.ID)
	}
	return ids
}

func TestAPushGoesToTheUsersDevicesOnly(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{}, true, "push", "sms")
	laptop, phone, bobs := k.service.subscribe("laptop"), k.service.subscribe("phone"), k.service.subscribe("bobs")
	k.register("ada", laptop)
	k.register("ada", phone)
	k.register("bob", bobs)
	before := read[api.User](k, 200, "GET", k.path("/ada"), "")
	v := k.login("ada", `{}`, "sent")
	if v.Channel != "push" || len(v.Deliveries) != 1 || v.Deliveries[0].Channel != "push" || v.Deliveries[0].Carrier != "pushes" {
		t.Errorf("verification: %+v", v)
	}
	for _, b := range []*browser{laptop, phone} {
		if got := b.contents(); len(got) != 1 || got[0].VerificationID != v.ID || !strings.Contains(got[0].Body, got[0].Code) || !got[0].ExpiresAt.Equal(v.ExpiresAt) {
			t.Fatalf("%s got %+v", b.name, got)
		}
	}
	if got := bobs.contents(); len(got) != 0 {
		t.Errorf("another user's device got %+v", got)
	}
	k.right("ada", laptop.contents()[0].Code)
	// A code that came to a device doesn't show whose the number is.
	if after := read[api.User](k, 200, "GET", k.path("/ada"), ""); after.Status != "validated" || !after.VerifiedAt.Equal(*before.VerifiedAt) {
		t.Errorf("after a push: %+v, before %+v; want the number verified when it was", after, before)
	}
	if all, err := k.client.Devices(t.Context(), k.app, "ada"); err != nil || all[0].LastUsedAt == nil || all[1].LastUsedAt == nil {
		t.Errorf("devices: %+v, %v; want that they were used", all, err)
	}

	// A newer code takes the older one's place on the screen; another user's doesn't.
	k.login("ada", `{"channel":"push"}`, "sent")
	k.login("bob", `{"channel":"push"}`, "sent")
	if a := laptop.topics; a[0] != a[1] || a[0] == bobs.topics[0] || a[0] != phone.topics[0] {
		t.Errorf("topics: Ada's %v and %v, Bob's %v", a, phone.topics, bobs.topics)
	}
}

func TestAGoneDeviceIsRemovedAndTheCodeGoesOn(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func() string{"SQLite": func() string { return "" }, "PostgreSQL": func() string { return storetest.Database(t) }} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, countersigntest.Options{Database: database()}, true, "push", "sms")
			gone, lost, live := k.service.subscribe("gone"), k.service.subscribe("lost"), k.service.subscribe("live")
			k.register("ada", gone)
			k.register("ada", lost)
			keep := k.register("ada", live)
			gone.status.Store(410)
			lost.status.Store(404)
			k.login("ada", `{}`, "sent")
			if ids := k.devices("ada"); len(ids) != 1 || ids[0] != keep || len(live.contents()) != 1 {
				t.Errorf("devices %v, want the live one %s, which got %+v", ids, keep, live.contents())
			}

			// Without any, the same code comes by SMS.
			live.status.Store(410)
			v := k.login("ada", `{}`, "sent")
			if len(v.Deliveries) != 2 || v.Deliveries[0].Reason != "no_device" || v.Deliveries[1].Channel != "sms" || len(k.devices("ada")) != 0 {
				t.Errorf("verification %+v, devices %v", v, k.devices("ada"))
			}
			k.right("ada", k.texted("+12025550100", v.ID))
			v = k.login("ada", `{}`, "sent")
			if len(v.Deliveries) != 2 || v.Deliveries[0].Reason != "no_device" {
				t.Errorf("to a user without devices: %+v", v)
			}

			// A caller who asks for a push gets no other channel.
			if v = k.login("ada", `{"channel":"push"}`, "failed"); v.Reason != "no_device" {
				t.Errorf("a push only: %+v", v)
			}
		})
	}
}

// Somebody who doesn't look at their devices gets the same code by SMS.
func TestASilentDeviceLeavesTheCodeToTheNextChannel(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{Lines: map[string]dispatch.Line{"pushes": {ReceiptTimeout: 30 * time.Second}}}, true, "push", "sms")
	b := k.service.subscribe("b")
	k.register("ada", b)
	v := k.login("ada", `{}`, "sent")
	k.Clock.Advance(31 * time.Second)
	if texted := k.texted("+12025550100", v.ID); texted != b.contents()[0].Code {
		t.Errorf("the SMS has another code than the push")
	}
}

// What a service answers that doesn't know how to take a message.
func TestAFailingServiceLeavesTheDeviceAndTheCarrier(t *testing.T) {
	t.Parallel()
	for status, reason := range map[int64]string{429: "throttled", 503: "later", 400: "refused", 413: "refused", 403: "misconfigured", 307: "redirected"} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			k := newKit(t, countersigntest.Options{BreakAfter: 1}, true, "push", "sms")
			b := k.service.subscribe("b")
			k.register("ada", b)
			b.status.Store(status)
			v := k.login("ada", `{}`, "sent")
			if len(v.Deliveries) != 2 || v.Deliveries[0].Reason != reason || v.Deliveries[1].Channel != "sms" || len(k.devices("ada")) != 1 || k.service.strays.Load() != 0 {
				t.Errorf("verification %+v, devices %v, %d strays", v, k.devices("ada"), k.service.strays.Load())
			}
			bobs := k.service.subscribe("bobs") // nobody's device closes the carrier for others
			k.register("bob", bobs)
			k.login("bob", `{"channel":"push"}`, "sent")
		})
	}
}

// An endpoint on this machine is never called, unless the operator allows it.
func TestAPrivateEndpointIsNotCalled(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{}, false, "push")
	b := k.service.subscribe("b")
	k.register("ada", b)
	v := k.login("ada", `{}`, "failed")
	if len(b.contents()) != 0 || v.Deliveries[0].Outcome != "refused" {
		t.Errorf("the device got %+v; verification %+v", b.contents(), v)
	}
}

// An association must show that somebody has the number.
func TestAnAssociationNeverGoesByPush(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{}, true, "push", "sms") // has associated two
	b := k.service.subscribe("b")
	k.register("ada", b)
	k.Clock.Advance(31 * time.Second)
	u := read[api.User](k, 201, "POST", k.path(""), `{"user":"ada","number":"+12025550102"}`)
	v := read[api.Verification](k, 200, "GET", "/v1/verifications/"+u.Verification, "")
	if v.Channel != "sms" || len(b.contents()) != 0 {
		t.Errorf("verification %+v, the device got %+v", v, b.contents())
	}
}

// What becomes of a code whose push service is dead, throttled, broken, hanging or away: the same code comes by SMS, once.
func TestServicesThatFail(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		status   int64
		reason   string
		devices  int // that are left
		messages int // to the phone
	}{
		{"takes it", 0, "", 1, 0}, {"410", 410, "no_device", 0, 1}, {"404", 404, "no_device", 0, 1}, {"429, Retry-After 600", 429, "throttled", 1, 1},
		{"503", 503, "later", 1, 1}, {"hangs", hangs, "unknown", 1, 1}, {"refuses connections", -1, "unreachable", 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t, countersigntest.Options{Lines: map[string]dispatch.Line{"pushes": {UnknownTimeout: time.Second}}}, true, "push", "sms")
			b := k.service.subscribe("b")
			k.register("ada", b)
			if test.status < 0 {
				k.service.CloseClientConnections()
				k.service.Listener.Close()
			} else {
				b.status.Store(test.status)
			}
			k.Clock.Advance(31 * time.Second)
			before := len(k.Sim.Messages("+12025550100"))
			begun := time.Now()
			id := read[api.User](k, 200, "POST", k.path("/ada/login"), `{}`).Verification
			var v api.Verification
			waited := false
			k.Await("the end of it", func() bool {
				v = read[api.Verification](k, 200, "GET", "/v1/verifications/"+id, "")
				if !waited && test.reason == "unknown" && len(v.Deliveries) == 1 && v.Delivery == "sent" {
					waited = true
					if !k.Verification(id).Watched() {
						t.Fatal("nobody waits for word of it")
					}
					k.Clock.Advance(2 * time.Second) // UnknownTimeout
				}
				return v.Delivery == "sent" && len(v.Deliveries) == 1+test.messages
			})
			took := time.Since(begun)
			got := len(k.Sim.Messages("+12025550100")) - before
			if v.Deliveries[0].Reason != test.reason || len(k.devices("ada")) != test.devices || got != test.messages {
				t.Errorf("deliveries %+v, devices %v, %d messages", v.Deliveries, k.devices("ada"), got)
			}
			if got == 1 {
				k.right("ada", k.texted("+12025550100", id))
			} else {
				k.right("ada", b.contents()[0].Code)
			}
			t.Logf("| %s | %s %s | %d | %d | %v |", test.name, v.Deliveries[0].Outcome, v.Deliveries[0].Reason, test.devices, got, took.Round(time.Millisecond))
		})
	}
}
