// Package push is the carrier for users' devices. It hands a message to the push services of all devices of its user
// concurrently, each by the kind of the device; the packages webpush, fcm and apns know how.
package push

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/verify"
)

// A Service hands messages to the push service of one kind of devices. It is safe for concurrent use.
type Service interface {
	// Push hands over a message for one device. Its error is as that of [carrier.Carrier], or wraps [ErrGone].
	Push(ctx context.Context, m *verify.Message, d *verify.Receiver) error
}

// ErrGone is the error of a device that its service doesn't know any more.
var ErrGone = errors.New("the push service says that the device is gone")

// Gone marks an error as [ErrGone].
func Gone(err error) error {
	return carrier.Because(verify.ReasonNoDevice, carrier.Refused(errors.Join(ErrGone, err)))
}

// ErrKeyless is the error of a device that a service would wake, and that can't fetch the message.
var ErrKeyless = carrier.Because(verify.ReasonNoDevice, carrier.Refused(errors.New("the device was registered without a key, so it can't fetch what a wake-up is about")))

// A Carrier pushes to devices. It implements [carrier.Pusher].
type Carrier struct {
	name     string
	services map[verify.DeviceKind]Service
}

// New returns a carrier for the kinds of devices that have a service.
func New(name string, services map[verify.DeviceKind]Service) *Carrier {
	return &Carrier{name, services}
}

// Name implements [carrier.Carrier].
func (c *Carrier) Name() string { return c.name }

// Service returns the service of a kind of devices; nil if there is none.
func (c *Carrier) Service(k verify.DeviceKind) Service { return c.services[k] }

// errNoDevices is for a message without devices: a trial's, say.
var errNoDevices = carrier.Because(verify.ReasonNoDevice, carrier.Refused(errors.New("the message is for no user with a device")))

// errUnserved is for a device of a kind that the carrier doesn't serve.
var errUnserved = carrier.Because(verify.ReasonNoDevice, carrier.Refused(errors.New("the carrier serves no devices of this kind")))

// Send implements [carrier.Carrier]. Without devices, nothing can be sent: see [Carrier.Push].
func (c *Carrier) Send(context.Context, verify.Message) (carrier.Result, error) {
	return carrier.Result{}, errNoDevices
}

// Push implements [carrier.Pusher].
func (c *Carrier) Push(ctx context.Context, m verify.Message, to []verify.Receiver) (used, gone []verify.ID, err error) {
	errs := make([]error, len(to))
	var pushes sync.WaitGroup
	for i := range to {
		pushes.Go(func() { errs[i] = c.push(ctx, &m, &to[i]) })
	}
	pushes.Wait()
	for i, err := range errs {
		switch {
		case err == nil:
			used = append(used, to[i].ID)
		case errors.Is(err, ErrGone):
			gone = append(gone, to[i].ID)
		}
	}
	return used, gone, outcome(errs)
}

func (c *Carrier) push(ctx context.Context, m *verify.Message, d *verify.Receiver) error {
	s := c.services[d.Kind]
	if s == nil {
		return errUnserved
	}
	return s.Push(ctx, m, d)
}

// outcome is what came of all pushes together. It is success if a service took one. Otherwise it is the error of a push
// that a service may have taken, or else of one that may succeed later. No error counts against the carrier: users
// choose the services of their devices, so one that fails must not close the carrier for others.
func outcome(errs []error) error {
	var worst error
	for _, err := range errs {
		if err == nil {
			return nil
		}
		if worst == nil || rank(err) > rank(worst) {
			worst = err
		}
	}
	if worst == nil {
		return errNoDevices
	}
	return carrier.Blaming(verify.BlameUs, worst)
}

func rank(err error) int {
	d := carrier.Decision(err)
	switch {
	case d.Outcome == verify.AttemptUnknown:
		return 3
	case d.Outcome == verify.AttemptErrored:
		return 2
	case d.Reason != verify.ReasonNoDevice:
		return 1
	}
	return 0
}

// TTL is for how many seconds a service keeps a message for a device that is away: as long as the code lives.
func TTL(until, now time.Time) int { return max(0, int(until.Sub(now)/time.Second)) }

// A Topic derives names under which services let a newer message take an older one's place.
type Topic [sha256.Size]byte

// NewTopic returns the topics that nobody can guess who doesn't know a secret.
func NewTopic(secret []byte) (t Topic) {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("countersign push topics"))
	mac.Sum(t[:0])
	return t
}

// Of is the same for all messages of a user, and tells the service nothing of them. It has 32 characters, as many as
// RFC 8030 allows.
func (t Topic) Of(m *verify.Message) string {
	mac := hmac.New(sha256.New, t[:])
	mac.Write(m.Application[:])
	mac.Write([]byte(m.User))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:24])
}

// Decide maps the status of a service's answer to the error that tells what to do next; nil for a message that it took.
// Which statuses say that a device is gone differs between services.
func Decide(resp *http.Response, now time.Time) error {
	code := resp.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	err := exchange.Status(resp)
	after := exchange.RetryAfter(resp.Header.Get("Retry-After"), now)
	switch {
	case code == http.StatusTooManyRequests:
		return carrier.Because(verify.ReasonThrottled, carrier.Later(after, err))
	case code >= 500:
		return carrier.Later(after, err)
	case code == http.StatusUnauthorized, code == http.StatusForbidden: // of our key, or of the device's
		return carrier.Because(verify.ReasonMisconfigured, carrier.Refused(err))
	case code >= 400:
		return carrier.Refused(err)
	default: // a redirect, which we don't follow
		return carrier.Because(verify.ReasonRedirected, carrier.Refused(err))
	}
}
