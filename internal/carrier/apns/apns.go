// Package apns pushes messages to apps by the Apple Push Notification service: HTTP/2, with a token signed by the team's
// key.
//
// Apple can read what it carries. So by default a push only says that there is a code or a question, and the app's
// notification extension fetches the message with its device's key before the phone shows it; the content "text" tells
// the text and the code instead. A push has the highest priority, lives as long as the code, and takes the place of the
// user's older one.
package apns

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/notice"
	"github.com/countersign/countersign/internal/verify"
)

// Where Apple takes messages: of apps from its stores, and of those that developers install.
const (
	Production = "https://api.push.apple.com"
	Sandbox    = "https://api.sandbox.push.apple.com"
)

// An App is an app to which messages are pushed.
type App struct {
	Name    string // its bundle id, which is the topic of pushes, and as devices name it
	Team    string // the team's id, 10 characters
	KeyID   string // the key's id, 10 characters
	Key     *Key
	Text    bool           // push the text and the code, which Apple can read
	URL     string         // [Production], [Sandbox] or a stand-in's
	RootCAs *x509.CertPool // nil means the system's
	Timeout time.Duration  // for one device
	Conns   int            // maximum number of connections
}

// A Service pushes to the devices of some apps. It implements [push.Service].
type Service struct {
	apps map[string]*app
}

type app struct {
	App
	topics push.Topic
	client *exchange.Client
	now    func() time.Time
}

// New returns a service. It doesn't connect yet.
func New(apps ...App) *Service {
	s := &Service{map[string]*app{}}
	for _, a := range apps {
		s.apps[a.Name] = &app{
			App: a, topics: push.NewTopic(a.Key.secret), now: time.Now,
			client: exchange.New(exchange.Options{Dial: a.Timeout, Conns: a.Conns, Roots: a.RootCAs, Repeat: true}),
		}
	}
	return s
}

// errApp is the error of a device of an app that isn't configured.
var errApp = carrier.Because(verify.ReasonNoDevice, carrier.Refused(errors.New("the device is of an app that isn't in carriers[].apns")))

// Push implements [push.Service].
func (s *Service) Push(ctx context.Context, m *verify.Message, d *verify.Receiver) error {
	a := s.apps[d.App]
	switch {
	case a == nil:
		return errApp
	case !a.Text && len(d.Sign) == 0:
		return push.ErrKeyless
	}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	body, err := a.body(m, d)
	if err != nil {
		return err
	}
	token, err := a.Key.provide(a.KeyID, a.Team, a.now(), "")
	if err != nil {
		return err
	}
	resp, why, err := a.send(ctx, m, d, body, token)
	if err == nil && why.Reason == expiredToken { // Apple's clock says so
		var newer string
		if newer, err = a.Key.provide(a.KeyID, a.Team, a.now(), token); err == nil && newer != token {
			resp, why, err = a.send(ctx, m, d, body, newer)
		}
	}
	if err != nil {
		return err
	}
	return decide(resp, why, d, a.now())
}

// A refusal is why Apple takes no message.
type refusal struct {
	Reason string `json:"reason"`
	// Timestamp is since when a device is gone for certain, in milliseconds.
	Timestamp int64 `json:"timestamp"`
}

// send makes one request.
func (a *app) send(ctx context.Context, m *verify.Message, d *verify.Receiver, body []byte, token string) (*http.Response, refusal, error) {
	resp, err := a.client.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+"/3/device/"+d.Token, bytes.NewReader(body))
		if err == nil {
			req.Header.Set("Authorization", "bearer "+token)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Apns-Push-Type", "alert")
			req.Header.Set("Apns-Priority", "10")
			req.Header.Set("Apns-Topic", a.Name)
			req.Header.Set("Apns-Expiration", strconv.FormatInt(m.ExpiresAt.Unix(), 10))
			req.Header.Set("Apns-Collapse-Id", a.topics.Of(m))
		}
		return req, err
	})
	var why refusal
	if err != nil {
		return nil, why, err
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(io.LimitReader(resp.Body, exchange.MaxAnswer)); err != nil || json.Unmarshal(text, &why) != nil {
		why = refusal{} // the status says enough
	}
	return resp, why, nil
}

// MaxPayload is the number of bytes that Apple carries for a device.
const MaxPayload = 4096

// body is a push's payload. The app's notification extension may change what is shown (mutable-content). A text that is
// too long gives way to the code alone.
func (a *app) body(m *verify.Message, d *verify.Receiver) ([]byte, error) {
	body, err := a.saying(m, d, m.Body.Reveal())
	if err == nil && len(body) > MaxPayload {
		body, err = a.saying(m, d, m.Code.Reveal())
	}
	return body, err
}

func (a *app) saying(m *verify.Message, d *verify.Receiver, text string) ([]byte, error) {
	alert := map[string]string{"title": notice.Title(m, d)}
	payload := map[string]any{
		"verification_id": m.Verification.String(), "kind": notice.Kind(m), "expires_at": m.ExpiresAt.Unix(),
		"aps": map[string]any{"alert": alert, "mutable-content": 1, "sound": "default", "interruption-level": "time-sensitive"},
	}
	if a.Text && !m.ByPrompt {
		alert["body"] = text
		payload["code"] = m.Code.Reveal()
	}
	return json.Marshal(payload)
}

// Reasons of Apple's that say more than the status.
const (
	expiredToken   = "ExpiredProviderToken"
	tooManyTokens  = "TooManyProviderTokenUpdates"
	badToken       = "BadDeviceToken"
	wrongTopic     = "DeviceTokenNotForTopic"
	missingToken   = "MissingProviderToken"
	topicForbidden = "TopicDisallowed"
)

// decide maps an answer to the error that tells what to do next. Only 410 says that a device is gone. A token may also be
// called bad because the app is configured for the other one of production and sandbox: then all devices would be lost.
func decide(resp *http.Response, why refusal, d *verify.Receiver, now time.Time) error {
	reason := carrier.CleanCode(why.Reason)
	err := push.Decide(resp, now)
	switch {
	case err == nil:
		return nil
	case resp.StatusCode == http.StatusGone:
		err = carrier.Refused(exchange.Status(resp))
		if why.Timestamp == 0 || !d.ID.Time().After(time.UnixMilli(why.Timestamp)) { // else it was registered again since
			err = push.Gone(err)
		}
	case reason == badToken, reason == wrongTopic, reason == missingToken, reason == topicForbidden, reason == tooManyTokens:
		err = carrier.Misconfigured(carrier.Refused(exchange.Status(resp)))
	}
	if reason != "" {
		err = carrier.Coded(reason, err)
	}
	return err
}
