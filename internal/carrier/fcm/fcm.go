// Package fcm pushes messages to apps by Firebase Cloud Messaging's HTTP v1 API.
//
// Google can read what it carries. So by default a push only wakes the app, which fetches the message with its device's
// key; the content "text" tells the text and the code instead. A push is high priority, lives as long as the code, and
// takes the place of the user's older one.
package fcm

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/notice"
	"github.com/countersign/countersign/internal/verify"
)

// URL is where Google takes messages.
const URL = "https://fcm.googleapis.com"

// An App is a Firebase project to whose apps messages are pushed.
type App struct {
	Name    string // as devices name it
	Account *Account
	Text    bool           // push the text and the code, which Google can read
	URL     string         // [URL], or a stand-in's
	RootCAs *x509.CertPool // nil means the system's
	Timeout time.Duration  // for one device, with getting an access token
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

	renewing chan struct{} // holds one while somebody uses access
	access   access
}

// New returns a service. It doesn't connect yet.
func New(apps ...App) *Service {
	s := &Service{map[string]*app{}}
	for _, a := range apps {
		s.apps[a.Name] = &app{
			App: a, topics: push.NewTopic(a.Account.private.D.Bytes()), now: time.Now, renewing: make(chan struct{}, 1),
			client: exchange.New(exchange.Options{Dial: a.Timeout, Conns: a.Conns, Roots: a.RootCAs, Repeat: true}),
		}
	}
	return s
}

// Try gets an access token for an app, which sends nothing.
func Try(ctx context.Context, a App) error {
	_, err := New(a).apps[a.Name].authorize(ctx)
	return err
}

// errApp is the error of a device of an app that isn't configured.
var errApp = carrier.Because(verify.ReasonNoDevice, carrier.Refused(errors.New("the device is of an app that isn't in carriers[].fcm")))

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
	resp, token, err := a.send(ctx, body)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && errorCode(resp) != thirdParty { // the token was revoked
		a.forget(ctx, token)
		resp, _, err = a.send(ctx, body)
	}
	if err != nil {
		return err
	}
	return decide(resp, a.now())
}

// An answer is a service's, with what was read of its body.
type answer struct {
	*http.Response
	text []byte
}

// send makes one request, with an access token that it returns.
func (a *app) send(ctx context.Context, body []byte) (*answer, string, error) {
	token, err := a.authorize(ctx)
	if err != nil {
		return nil, "", err
	}
	resp, err := a.client.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+"/v1/projects/"+url.PathEscape(a.Account.Project)+"/messages:send", bytes.NewReader(body))
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Content-Type", "application/json")
		}
		return req, err
	})
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, exchange.MaxAnswer))
	if err != nil {
		text = nil // the status says enough
	}
	return &answer{resp, text}, token, nil
}

// MaxPayload is the number of bytes that FCM carries for a device.
const MaxPayload = 4096

// A message is FCM's (projects.messages in its reference). Values in data are strings.
type message struct {
	Token        string            `json:"token"`
	Data         map[string]string `json:"data"`
	Notification *notification     `json:"notification,omitempty"`
	Android      android           `json:"android"`
	APNS         apns              `json:"apns"` // for an app of this project on an iPhone
}

type notification struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

type android struct {
	Priority     string        `json:"priority"`
	TTL          string        `json:"ttl"`
	CollapseKey  string        `json:"collapseKey"`
	Notification *androidStyle `json:"notification,omitempty"`
}

type androidStyle struct {
	Tag string `json:"tag"` // a notification takes the place of one with the same tag
}

type apns struct {
	Headers map[string]string `json:"headers"`
	Payload map[string]any    `json:"payload"`
}

// body is the request's. A wake-up has data alone, so that the app itself makes the notification. A text that is too long
// gives way to the code alone.
func (a *app) body(m *verify.Message, d *verify.Receiver) ([]byte, error) {
	body, err := a.saying(m, d, m.Body.Reveal())
	if err == nil && len(body) > MaxPayload {
		body, err = a.saying(m, d, m.Code.Reveal())
	}
	return body, err
}

func (a *app) saying(m *verify.Message, d *verify.Receiver, text string) ([]byte, error) {
	topic, title, until := a.topics.Of(m), notice.Title(m, d), strconv.FormatInt(m.ExpiresAt.Unix(), 10)
	out := message{
		Token:   d.Token,
		Data:    map[string]string{"verification_id": m.Verification.String(), "kind": notice.Kind(m), "expires_at": until},
		Android: android{Priority: "HIGH", TTL: strconv.Itoa(push.TTL(m.ExpiresAt, a.now())) + "s", CollapseKey: topic},
	}
	alert := map[string]string{"title": title}
	if a.Text && !m.ByPrompt {
		alert["body"], out.Data["code"] = text, m.Code.Reveal()
		out.Notification, out.Android.Notification = &notification{title, text}, &androidStyle{topic}
	}
	out.APNS = apns{
		Headers: map[string]string{"apns-push-type": "alert", "apns-priority": "10", "apns-collapse-id": topic, "apns-expiration": until},
		Payload: map[string]any{"aps": map[string]any{"alert": alert, "mutable-content": 1, "sound": "default", "interruption-level": "time-sensitive"}},
	}
	return json.Marshal(map[string]any{"message": out})
}

// Codes of FCM's errors (google.firebase.fcm.v1.FcmError) that say more than the status.
const (
	unregistered = "UNREGISTERED"
	thirdParty   = "THIRD_PARTY_AUTH_ERROR" // the project's key for APNs or web pushes is wrong
)

// errorCode is FCM's code for an error; "" if the answer has none.
func errorCode(resp *answer) string {
	var body struct {
		Error struct {
			Details []struct {
				Code string `json:"errorCode"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(resp.text, &body) != nil {
		return ""
	}
	for _, d := range body.Error.Details {
		if d.Code != "" {
			return d.Code
		}
	}
	return ""
}

// decide maps an answer to the error that tells what to do next. Only UNREGISTERED says that a device is gone: 404 alone
// may be of a project that is misnamed.
func decide(resp *answer, now time.Time) error {
	code := carrier.CleanCode(errorCode(resp))
	switch {
	case code == unregistered:
		return push.Gone(carrier.Coded(code, exchange.Status(resp.Response)))
	case resp.StatusCode == http.StatusNotFound:
		return carrier.Misconfigured(carrier.Refused(exchange.Status(resp.Response)))
	}
	err := push.Decide(resp.Response, now)
	if err != nil && code != "" {
		err = carrier.Coded(code, err)
	}
	return err
}
