// Package device is the face of the devices to which prompts are pushed. A device has no API key: it signs what it says
// with its own. Browsers of all sites may ask, since a signature, and no cookie, is what counts.
package device

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// Prefix is the prefix of the face's paths.
const Prefix = "/device/"

// maxBody is the size of the largest body, in bytes. Nobody is known before it is read.
const maxBody = 2 << 10

type server struct{ face.API }

// New returns the face's handler, which serves all paths that begin with [Prefix].
func New(service *verify.Service, log *outage.Log) http.Handler {
	s := &server{face.API{Service: service, Log: log, Shape: shape}}
	mux := http.NewServeMux()
	mux.Handle("POST /device/v1/answers", s.Endpoint(0, s.answer))
	return fromAnywhere(s.Exact(mux))
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
	Fields:       map[verify.Field]string{},
	Statuses: map[verify.Kind]int{
		verify.Invalid:     http.StatusUnprocessableEntity,
		verify.NotFound:    http.StatusNotFound,
		verify.Conflict:    http.StatusConflict,
		verify.Limited:     http.StatusTooManyRequests,
		verify.Unavailable: http.StatusServiceUnavailable,
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
	out, err := s.Service.AnswerPrompt(c.Context(), a)
	if err != nil {
		return nil, err
	}
	w := answered{Accepted: out.Approved || out.Denied, Status: out.Status.String(), Challenge: out.Challenge, Remaining: out.GuessesLeft}
	switch {
	case w.Accepted:
	case out.Wrong:
		w.Reason = "wrong_number"
	case out.Status == verify.Pending:
		w.Reason = "old_challenge"
	default:
		w.Reason = "ended"
	}
	return w, nil
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
