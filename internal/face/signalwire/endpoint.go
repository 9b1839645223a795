package signalwire

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// endpoint makes a handler of a function from request to answer. Only it authenticates, decodes,
// and turns errors into SignalWire's shapes.
func (s *Server) endpoint(f func(*http.Request, *verify.Account, fields) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := s.answer(r, f)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		respond(w, http.StatusOK, answer)
	})
}

func (s *Server) answer(r *http.Request, f func(*http.Request, *verify.Account, fields) (any, error)) (any, error) {
	project, token, ok := r.BasicAuth()
	if !ok {
		return nil, verify.ErrUnauthenticated
	}
	acct, err := s.verify.Authenticate(r.Context(), verify.ProjectID(project), verify.Secret(token))
	if err != nil {
		return nil, err
	}
	in, err := read(r)
	if err != nil {
		return nil, err
	}
	return f(r, acct, in)
}

// statuses of the errors that a caller may see. An ended verification is as good as none.
var statuses = map[verify.Kind]int{
	verify.Unauthenticated: http.StatusUnauthorized,
	verify.NotFound:        http.StatusNotFound,
	verify.Conflict:        http.StatusNotFound,
	verify.Limited:         http.StatusTooManyRequests,
	verify.Unavailable:     http.StatusServiceUnavailable,
}

// validationError is SignalWire's "Space API format".
type validationError struct {
	Errors []attributeError `json:"errors"`
}

type attributeError struct {
	Detail string `json:"detail"`
	Status string `json:"status"`
	Title  string `json:"title"`
	Code   string `json:"code"`
}

// fail answers an error in the shape of its status.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var known *verify.Error
	var bad *invalid
	switch {
	case errors.Is(err, errUnreadable):
		refuse(w, http.StatusBadRequest)
	case errors.Is(err, errTooLarge):
		refuse(w, http.StatusRequestEntityTooLarge)
	case errors.Is(err, errMediaType):
		refuse(w, http.StatusUnsupportedMediaType)
	case errors.As(err, &bad):
		var answer validationError
		for _, detail := range bad.details() {
			answer.Errors = append(answer.Errors, attributeError{detail, "422", "Invalid Attribute", "422"})
		}
		respond(w, http.StatusUnprocessableEntity, answer)
	case errors.As(err, &known) && known.Kind == verify.Invalid:
		in := fields{problems: map[string]string{}}
		s.fail(w, r, in.mistyped(known))
	case errors.As(err, &known) && statuses[known.Kind] != 0:
		s.explain(w, r, known, err)
	default:
		s.log.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "err", err)
		refuse(w, http.StatusInternalServerError)
	}
}

// explain answers an error that the caller may see, with what its status needs beside the body.
func (s *Server) explain(w http.ResponseWriter, r *http.Request, known *verify.Error, err error) {
	status := statuses[known.Kind]
	switch known.Kind {
	case verify.Unauthenticated:
		w.Header().Set("WWW-Authenticate", `Basic realm="SignalWire API", charset="UTF-8"`)
	case verify.Limited, verify.Unavailable:
		w.Header().Set("Retry-After", seconds(known.RetryAfter))
	}
	if known.Kind == verify.Unavailable {
		s.log.LogAttrs(r.Context(), slog.LevelWarn, "request refused", slog.String("code", known.Code), slog.Any("err", err))
	}
	refuse(w, status)
}

// seconds rounds up, so that who waits as told doesn't come too early.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}

// refuse answers {"error":"<the status's name>"}.
func refuse(w http.ResponseWriter, status int) {
	text := http.StatusText(status)
	respond(w, status, map[string]string{"error": text})
}

// respond answers compact JSON without a line end: clients have matched it to the letter.
func respond(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err) // our own types
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// direct keeps the mux from redirecting a path like "//sms": there is no such one.
func direct(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Clean(r.URL.Path) != r.URL.Path {
			refuse(w, http.StatusNotFound)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// unrouted answers what no route takes in the API's shape: 405 with Allow where the path is one of
// ours, else 404.
func unrouted(w http.ResponseWriter, r *http.Request) {
	r.Pattern = "" // none, for who counts
	rest := strings.TrimPrefix(r.URL.Path, Prefix)
	_, action, deep := strings.Cut(rest, "/")
	if r.Method != http.MethodPost && (rest == "sms" || rest == "call" || deep && action == "verify") {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	refuse(w, http.StatusNotFound)
}
