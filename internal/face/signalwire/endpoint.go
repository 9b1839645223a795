package signalwire

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/countersign/countersign/internal/record"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// endpoint makes a handler of a function that returns the answer. Only endpoint authenticates,
// decodes, and converts errors to SignalWire's formats.
func (s *Server) endpoint(f func(*http.Request, *verify.Account, request.Fields) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := s.answer(r, f)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		web.Respond(w, http.StatusOK, answer)
	})
}

func (s *Server) answer(r *http.Request, f func(*http.Request, *verify.Account, request.Fields) (any, error)) (any, error) {
	project, token, ok := r.BasicAuth()
	if !ok {
		return nil, verify.ErrUnauthenticated
	}
	acct, err := s.verify.Authenticate(r.Context(), verify.ProjectID(project), verify.Secret(token))
	if err != nil {
		return nil, err
	}
	if request.Large(r) {
		leave, err := s.verify.ReadLarge(acct)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	in, err := request.Read(r, request.JSON, request.Form)
	if err != nil {
		return nil, err
	}
	return f(r, acct, in)
}

// statuses maps the kinds of errors that clients see to HTTP statuses. An ended
// verification counts as not found.
var statuses = map[verify.Kind]int{
	verify.Unauthenticated: http.StatusUnauthorized,
	verify.NotFound:        http.StatusNotFound,
	verify.Conflict:        http.StatusNotFound,
	verify.Limited:         http.StatusTooManyRequests,
	verify.Unavailable:     http.StatusServiceUnavailable,
}

// A validationError is an error in SignalWire's "Space API format".
type validationError struct {
	Errors []attributeError `json:"errors"`
}

type attributeError struct {
	Detail string `json:"detail"`
	Status string `json:"status"`
	Title  string `json:"title"`
	Code   string `json:"code"`
}

// codeOf returns an error's code for the log.
func codeOf(err error) string {
	var bad *invalid
	if errors.As(err, &bad) {
		return "invalid"
	}
	return cmp.Or(request.CodeOf(err), verify.CodeOf(err))
}

// fail answers with an error, in the format of its status.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var known *verify.Error
	var bad *invalid
	record.Of(r.Context()).Code = codeOf(err)
	switch {
	case errors.Is(err, request.ErrUnreadable):
		refuse(w, http.StatusBadRequest)
	case errors.Is(err, request.ErrTooLarge):
		refuse(w, http.StatusRequestEntityTooLarge)
	case errors.Is(err, request.ErrMediaType):
		refuse(w, http.StatusUnsupportedMediaType)
	case errors.As(err, &bad):
		var answer validationError
		for _, detail := range bad.details() {
			answer.Errors = append(answer.Errors, attributeError{detail, "422", "Invalid Attribute", "422"})
		}
		web.Respond(w, http.StatusUnprocessableEntity, answer)
	case errors.As(err, &known) && known.Kind == verify.Invalid:
		s.fail(w, r, mistyped(request.Fields{}, known))
	case errors.As(err, &known) && statuses[known.Kind] != 0:
		s.explain(w, r, known, err)
	default:
		s.log.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "err", err)
		refuse(w, http.StatusInternalServerError)
	}
}

// explain answers with an error that the client may see, and sets the headers that belong to
// its status.
func (s *Server) explain(w http.ResponseWriter, r *http.Request, known *verify.Error, err error) {
	status := statuses[known.Kind]
	switch known.Kind {
	case verify.Unauthenticated:
		w.Header().Set("WWW-Authenticate", `Basic realm="SignalWire API", charset="UTF-8"`)
	case verify.Limited, verify.Unavailable:
		w.Header().Set("Retry-After", web.Seconds(known.RetryAfter))
	}
	if known.Kind == verify.Unavailable {
		s.unavailable(r.Context(), known, err)
	}
	refuse(w, status)
}

// unavailable logs that a request was refused because of us: now and then, for all of them may be.
func (s *Server) unavailable(ctx context.Context, known *verify.Error, err error) {
	if known.Code == verify.ErrNoStore.Code {
		s.log.DatabaseFailedContext(ctx, "request refused", err)
		return
	}
	s.log.FailedContext(ctx, "request refused, "+known.Code, slog.LevelWarn, "request refused", "code", known.Code, "err", err)
}

// refuse answers {"error":"<the status's name>"}.
func refuse(w http.ResponseWriter, status int) {
	text := http.StatusText(status)
	web.Respond(w, status, map[string]string{"error": text})
}
