// Package device is the face of the devices to which prompts are pushed. A device has no API key: it signs what it says
// with its own. Browsers of all sites may ask, since a signature, and no cookie, is what counts.
//
// It serves an authenticator as well, a small app that people add to a browser by its page: it registers the browser by
// a code, and shows codes and prompts.
package device

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/notice"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// Prefix is the prefix of the face's paths.
const Prefix = "/device/"

// maxBody is the size of the largest body, in bytes. Nobody is known before it is read.
const maxBody = 4 << 10

// A Service is what devices ask.
type Service interface {
	AnswerPrompt(context.Context, verify.PromptAnswer) (verify.PromptOutcome, error)
	Fetch(context.Context, verify.Fetch) (verify.Message, error)
	Enrol(context.Context, verify.Secret, verify.NewDevice) (verify.Device, *verify.Application, error)
	Now() time.Time
}

type server struct {
	face.API // without a service: no body here is a large one, which needs a place
	service  Service
	vapid    string
}

// New returns the face's handler, which serves all paths that begin with [Prefix]. vapid is the key for which browsers
// subscribe to pushes; "": the server pushes to none.
func New(service Service, vapid string, log *outage.Log) http.Handler {
	s := &server{API: face.API{Log: log, Shape: shape}, service: service, vapid: vapid}
	mux := http.NewServeMux()
	mux.Handle("POST /device/v1/answers", s.Endpoint(0, s.answer))
	mux.Handle("POST /device/v1/messages", s.Endpoint(0, s.fetch))
	mux.Handle("POST /device/v1/enrolments", s.Endpoint(0, s.enrol))
	mux.Handle("GET /device/v1/settings", s.Endpoint(0, s.settings))
	for path, file := range files {
		mux.Handle("GET "+path, file)
	}
	served := fromAnywhere(new(web.Unproven).Handler(s.Exact(mux), maxBody, shape.RefuseStatus))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == Prefix && (r.Method == http.MethodGet || r.Method == http.MethodHead) { // Exact takes no path with a slash at its end
			r.Pattern = "GET " + Prefix
			index.ServeHTTP(w, r)
			return
		}
		served.ServeHTTP(w, r)
	})
}

// Away answers 503 while there is no database yet.
func Away() http.Handler { return fromAnywhere(shape.Away()) }

// Refuse writes a refusal of a request that no operation has seen.
func Refuse(w http.ResponseWriter, status int) { shape.RefuseStatus(w, status) }

// fromAnywhere lets the scripts of all sites send what devices send, and read the answer.
func fromAnywhere(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
			w.Header().Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.ServeHTTP(w, r)
	})
}

var shape = face.Shape{
	Authenticate: anybody,
	Types:        []string{request.JSON},
	Fields: map[verify.Field]string{
		verify.FieldKind: "kind", verify.FieldEndpoint: "endpoint", verify.FieldP256dh: "p256dh", verify.FieldToken: "token", verify.FieldApp: "app", verify.FieldAuth: "auth", verify.FieldKey: "key",
		verify.FieldName: "name", verify.FieldLocale: "locale",
	},
	Statuses: map[verify.Kind]int{
		verify.KindInvalid:     http.StatusUnprocessableEntity,
		verify.KindNotFound:    http.StatusNotFound,
		verify.KindConflict:    http.StatusConflict,
		verify.KindLimited:     http.StatusTooManyRequests,
		verify.KindUnavailable: http.StatusServiceUnavailable,
	},
	Refuse: refuse,
}

// anybody lets everybody say something short.
func anybody(_ *account.Service, r *http.Request) (*verify.Account, error) {
	if r.ContentLength < 0 || r.ContentLength > maxBody {
		return nil, request.ErrTooLarge
	}
	return &verify.Account{}, nil
}

// A refusal is why a request is refused.
type refusal struct {
	Code   string         `json:"code"`
	Detail string         `json:"detail"`
	Errors []fieldProblem `json:"errors,omitempty"`
}

type fieldProblem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func refuse(w http.ResponseWriter, f face.Failure) {
	out := refusal{Code: strconv.Itoa(f.Status), Detail: http.StatusText(f.Status)}
	if f.Known != nil {
		out.Code, out.Detail = f.Known.Code, f.Known.Message
	}
	if f.Invalid != nil {
		out.Code, out.Detail = verify.ErrInvalid.Code, verify.ErrInvalid.Message
		for _, p := range f.Invalid.Problems {
			out.Errors = append(out.Errors, fieldProblem{p.Field, p.Message})
		}
	}
	web.Respond(w, f.Status, out)
}

// An answered is what a device is told.
type answered struct {
	Accepted  bool   `json:"accepted"` // whether the answer counted, as the right number or as a denial
	Status    string `json:"status"`
	Reason    string `json:"reason,omitempty"`    // why it wasn't accepted
	Challenge string `json:"challenge,omitempty"` // for the next answer, while there can be one
	Remaining int    `json:"attempts_remaining"`
}

// answer takes what a device says of a prompt.
func (s *server) answer(c face.Call) (any, error) {
	a := verify.PromptAnswer{
		Verification: id(&c.In, "verification_id"), Device: id(&c.In, "device_id"),
		Challenge: c.In.Text("challenge"), Signature: signature(&c.In),
	}
	switch text := c.In.Text("answer"); {
	case text == "deny":
		a.Denied = true
	case len(text) == 2 && '1' <= text[0] && text[0] <= '9' && '0' <= text[1] && text[1] <= '9':
		a.Number = int(text[0]-'0')*10 + int(text[1]-'0')
	default:
		c.In.Wrong("answer", "must be the number, 10 to 99, or deny")
	}
	if len(c.In.Problems) > 0 {
		return nil, s.Invalid(c.In, nil)
	}
	out, err := s.service.AnswerPrompt(c.Context(), a)
	if err != nil {
		return nil, err
	}
	if out.Denied || out.Noted {
		s.Log.WarnContext(c.Context(), "a user says that it wasn't them who asked: somebody may know their password", "verification", a.Verification)
	}
	w := answered{Accepted: out.Approved || out.Denied, Status: out.Status.String(), Challenge: out.Challenge, Remaining: out.GuessesLeft}
	switch {
	case w.Accepted:
	case out.Wrong:
		w.Reason = "wrong_number"
	case out.Status == verify.StatusPending:
		w.Reason = "old_challenge"
	default:
		w.Reason = "ended"
	}
	return w, nil
}

// fetch tells a device what a push woke it for.
func (s *server) fetch(c face.Call) (any, error) {
	f := verify.Fetch{Verification: id(&c.In, "verification_id"), Device: id(&c.In, "device_id"), Signature: signature(&c.In)}
	if len(c.In.Problems) > 0 {
		return nil, s.Invalid(c.In, nil)
	}
	m, err := s.service.Fetch(c.Context(), f)
	if err != nil {
		return nil, err
	}
	return notice.Of(&m), nil
}

// settings are what a page needs to subscribe to pushes, and to tell which messages have expired.
type settings struct {
	VAPIDKey string    `json:"vapid_key"`
	Now      time.Time `json:"now"`
}

func (s *server) settings(face.Call) (any, error) {
	if s.vapid == "" {
		return nil, verify.ErrNoCarrier
	}
	return settings{s.vapid, s.service.Now().UTC().Truncate(time.Millisecond)}, nil
}

// An enrolled is a browser that is registered.
type enrolled struct {
	ID    string `json:"device_id"`
	Asker string `json:"asker"` // whose users it belongs to
	Owner string `json:"owner"` // the same for all devices of a user, and tells nothing of them
}

// enrol registers a browser by a code.
func (s *server) enrol(c face.Call) (any, error) {
	n := verify.NewDevice{
		Kind: verify.DeviceKind(cmp.Or(c.In.Text("kind"), string(verify.DeviceWebPush))), Token: c.In.Text("token"), App: c.In.Text("app"),
		Endpoint: c.In.Text("endpoint"), P256dh: c.In.Text("p256dh"), Auth: c.In.Text("auth"), Key: c.In.Text("key"),
		Name: c.In.Text("name"), Locale: c.In.Text("locale"),
	}
	code := verify.Secret(c.In.Text("code"))
	if len(c.In.Problems) > 0 {
		return nil, s.Invalid(c.In, nil)
	}
	d, app, err := s.service.Enrol(c.Context(), code, n)
	if err != nil {
		return nil, err
	}
	return enrolled{d.ID.String(), app.Asker(), d.Owner()}, nil
}

func id(in *request.Fields, name string) verify.ID {
	id, err := verify.ParseID(in.Text(name))
	if err != nil {
		in.Wrong(name, "must be a UUID")
	}
	return id
}

func signature(in *request.Fields) []byte {
	b, err := base64.RawURLEncoding.Strict().DecodeString(in.Text("signature"))
	if err != nil || len(b) != 64 {
		in.Wrong("signature", "must be the base64url of 64 bytes")
	}
	return b
}
