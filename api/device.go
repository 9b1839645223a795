package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Kinds of devices.
const (
	WebPush     = "webpush"     // a browser
	UnifiedPush = "unifiedpush" // an Android app, by ntfy or another distributor
	FCM         = "fcm"         // an app, by Firebase Cloud Messaging
	APNS        = "apns"        // an app, by the Apple Push Notification service
)

// A NewDevice registers a browser or an app of a user. The endpoint and keys of a browser or an app with UnifiedPush are
// those of a push subscription, as browsers write them in JSON. Apps with FCM or APNs have a token instead.
type NewDevice struct {
	Kind     string `json:"kind" enum:"webpush,unifiedpush,fcm,apns" example:"webpush" doc:"How the device is reached: a browser, an app with UnifiedPush, or an app by Google's or Apple's service."`
	Endpoint string `json:"endpoint,omitempty" example:"https://push.example.net/send/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV" doc:"The URL that the device's push service gave it. Only https. Of webpush and unifiedpush."`
	P256dh   string `json:"p256dh,omitempty" example:"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4" doc:"The device's public key: keys.p256dh of the subscription, in base64url. Of webpush and unifiedpush."`
	Auth     string `json:"auth,omitempty" example:"BTBZMqHH6r4Tts7J_aSIgg" doc:"The device's secret: keys.auth of the subscription, in base64url. Of webpush and unifiedpush."`
	Token    string `json:"token,omitempty" doc:"What the service calls the device: the registration token of FCM, or the device token of APNs in hex. Of fcm and apns."`
	App      string `json:"app,omitempty" doc:"The app's name in the server's configuration, for APNs its bundle id, such as com.example.shop. Of fcm and apns."`
	Key      string `json:"key,omitempty" example:"BAf3gLoVV0yTHtsjU7AYuG-UXnjlqU9sIwBc54IJxHcOq6Uec1fDDHlYF94-IDAe1aKdVM9I760BNK5DKOTyE60" doc:"The public key with which the device signs approvals, in base64url: an uncompressed point of P-256, as WebCrypto exports it in the format raw. Without one, the device gets codes and no prompts, and can't fetch messages."`
	Name     string `json:"name,omitempty" example:"Firefox on Ada's laptop" doc:"For people: at most 100 characters."`
	Locale   string `json:"locale,omitempty" example:"de" doc:"The device's language, a BCP 47 tag."`
}

// A Device is a browser or an app of a user. Its endpoint and keys are stored encrypted, and can't be read again.
type Device struct {
	ID         string     `json:"id" format:"uuid" doc:"Names the device in later requests."`
	Kind       string     `json:"kind" enum:"webpush,unifiedpush,fcm,apns" doc:"How the device is reached."`
	Name       string     `json:"name,omitempty" doc:"For people."`
	Locale     string     `json:"locale,omitempty" doc:"The device's language."`
	CreatedAt  time.Time  `json:"created_at" doc:"When it was registered."`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"When its push service last took a message for it."`
}

// An Enrolment lets a browser register itself as a user's device, once. Give it to nobody but the user.
type Enrolment struct {
	Code      string    `json:"code" example:"JBSW-Y3DP-EHPK" doc:"What the user types on the server's page /device/."`
	URL       string    `json:"url,omitempty" example:"https://verify.example.com/device/#JBSW-Y3DP-EHPK" doc:"That page with the code in it, for a link or a QR code. Absent if the server doesn't know where browsers reach it (public.url)."`
	ExpiresAt time.Time `json:"expires_at" doc:"The code works until then, ten minutes from now."`
}

// Devices are all of a user's, the oldest first.
type Devices struct {
	Devices []Device `json:"devices" doc:"All of them."`
}

// Invite makes a code with which a user's browser can register itself.
func (c *Client) Invite(ctx context.Context, application, user string) (e Enrolment, err error) {
	return e, c.call(ctx, http.MethodPost, "/v1/applications/"+url.PathEscape(application)+"/users/"+url.PathEscape(user)+"/enrolments", nil, &e)
}

// ResetPrompts lets a user get prompts again who said that it wasn't them who asked, or let too many be.
func (c *Client) ResetPrompts(ctx context.Context, application, user string) error {
	return c.call(ctx, http.MethodPost, "/v1/applications/"+url.PathEscape(application)+"/users/"+url.PathEscape(user)+"/prompts/reset", nil, nil)
}

// StartFor starts a verification of an application's user.
func (c *Client) StartFor(ctx context.Context, application, user string, v UserVerification) (started Verification, err error) {
	return started, c.call(ctx, http.MethodPost, "/v1/applications/"+url.PathEscape(application)+"/users/"+url.PathEscape(user)+"/verifications", v, &started)
}

// Outcome reads what came of a verification in mode approve, and waits for up to so many seconds for it.
func (c *Client) Outcome(ctx context.Context, id string, wait int) (r CheckResult, err error) {
	return c.CheckFor(ctx, id, Check{Wait: &wait})
}

// RegisterDevice registers a device of an application's user.
func (c *Client) RegisterDevice(ctx context.Context, application, user string, d NewDevice) (registered Device, err error) {
	return registered, c.call(ctx, http.MethodPost, devicesPath(application, user), d, &registered)
}

// Devices lists the devices of an application's user.
func (c *Client) Devices(ctx context.Context, application, user string) ([]Device, error) {
	var all Devices
	err := c.call(ctx, http.MethodGet, devicesPath(application, user), nil, &all)
	return all.Devices, err
}

// RemoveDevice removes a device of an application's user.
func (c *Client) RemoveDevice(ctx context.Context, application, user, id string) error {
	return c.call(ctx, http.MethodDelete, devicesPath(application, user)+"/"+url.PathEscape(id), nil, nil)
}

func devicesPath(application, user string) string {
	return "/v1/applications/" + url.PathEscape(application) + "/users/" + url.PathEscape(user) + "/devices"
}
