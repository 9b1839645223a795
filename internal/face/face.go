// Package face is what the faces, the APIs that callers see, have in common. An [API] authenticates a request,
// reads its body, and sorts what went wrong; a [Shape] says how one vendor writes each of these. A face below this
// package adds its operations and its words, and holds no rules.
package face

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/record"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// An API answers the requests of one face.
type API struct {
	Accounts *account.Service
	Service  *verify.Service
	Log      *outage.Log
	Shape
}

// A Shape is how an API writes what all of them do.
type Shape struct {
	// Authenticate returns the account that a request's credentials open, or [verify.ErrUnauthenticated].
	Authenticate func(*account.Service, *http.Request) (*verify.Account, error)
	// Challenge is the WWW-Authenticate of the answer to a request without valid credentials; "" is none.
	Challenge string

	// Types are the media types of bodies. Requests of the methods POST, PUT and PATCH have a body. An
	// Optional one may be missing: then it has no fields, and no type either.
	Types    []string
	Optional bool

	// Fields are the published names of the service's fields.
	Fields map[verify.Field]string
	// Statuses are those of the errors that callers may see. An error of another kind is the server's own
	// fault: it is logged whole, and answered 500.
	Statuses map[verify.Kind]int
	// Refuse writes a failure. The headers that belong to it are set already.
	Refuse func(http.ResponseWriter, Failure)
}

// A Failure is why a request is refused.
type Failure struct {
	// Status is the shape's for the kind of the error. Without one, it is what HTTP says: 400, 413 and 415 for
	// a body that can't be read, 404 and 405 for what isn't served, 500 for the server's own fault.
	Status int
	// Known is what the service says; nil: it doesn't know of the request, or the fault is the server's own.
	Known *verify.Error
	// Invalid names every error in the fields; nil: something else is wrong. Known beside it has a code of its own.
	Invalid *Invalid
}

// A Call is one authenticated request.
type Call struct {
	*http.Request
	Account *verify.Account
	In      request.Fields // none without a body
	Header  http.Header    // of the answer
}

// A Route is an operation of a face.
type Route struct {
	Pattern string        // of [http.ServeMux]
	Needs   verify.Scopes // of the key
	Answer  func(Call) (any, error)
}

// On returns a route.
func On(pattern string, needs verify.Scopes, answer func(Call) (any, error)) Route {
	return Route{pattern, needs, answer}
}

// Serve has a mux serve routes.
func (a *API) Serve(mux *http.ServeMux, routes []Route) {
	for _, r := range routes {
		mux.Handle(r.Pattern, a.Endpoint(r.Needs, r.Answer))
	}
}

// Endpoint makes a handler of a function that returns the answer; a nil answer has no body. Callers' keys need the
// scopes.
func (a *API) Endpoint(needs verify.Scopes, f func(Call) (any, error)) http.Handler {
	return a.Answering(http.StatusOK, needs, f)
}

// Answering is Endpoint with another status of the answers that have a body.
func (a *API) Answering(status int, needs verify.Scopes, f func(Call) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := a.answer(w, r, needs, f)
		switch {
		case err != nil:
			a.Fail(w, r, err)
		case answer == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			web.Respond(w, status, answer)
		}
	})
}

func (a *API) answer(w http.ResponseWriter, r *http.Request, needs verify.Scopes, f func(Call) (any, error)) (any, error) {
	acct, err := a.Authenticate(a.Accounts, r)
	if err != nil {
		return nil, err
	}
	if err := acct.Forbids(needs); err != nil { // before anything is looked up, so that it tells nothing of it
		return nil, err
	}
	c := Call{Request: r, Account: acct, Header: w.Header()}
	if !a.hasBody(r) {
		return f(c)
	}
	c.In, err = a.read(r, acct)
	if err != nil && !(a.Optional && errors.Is(err, request.ErrEmpty)) {
		return nil, err
	}
	return f(c)
}

// read reads a request's body. A large one has a place meanwhile, and no longer: what it asks for may take a while.
func (a *API) read(r *http.Request, acct *verify.Account) (request.Fields, error) {
	if request.Large(r) {
		leave, err := a.Service.ReadLarge(acct)
		if err != nil {
			return request.Fields{}, err
		}
		defer leave()
	}
	in, err := request.Read(r, a.Types...)
	if in.JSONAsForm() {
		record.Of(r.Context()).Hint = "the body is JSON: send it with Content-Type: application/json"
	}
	return in, err
}

func (a *API) hasBody(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return !a.Optional || r.ContentLength != 0
	}
	return false
}

// Bearer authenticates a request by the API key that it has as a bearer token (RFC 6750). It is for [Shape.Authenticate].
func Bearer(accounts *account.Service, r *http.Request) (*verify.Account, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, verify.ErrUnauthenticated
	}
	return accounts.AuthenticateKey(r.Context(), verify.Secret(token))
}

// Fail answers with an error in the API's shape, with the headers that belong to it, and notes its code for the
// request's line of the log.
func (a *API) Fail(w http.ResponseWriter, r *http.Request, err error) {
	var known *verify.Error
	var bad *Invalid
	record.Of(r.Context()).Code = codeOf(err)
	switch {
	case errors.Is(err, request.ErrUnreadable):
		a.RefuseStatus(w, http.StatusBadRequest)
	case errors.Is(err, request.ErrTooLarge):
		a.RefuseStatus(w, http.StatusRequestEntityTooLarge)
	case errors.Is(err, request.ErrMediaType):
		a.RefuseStatus(w, http.StatusUnsupportedMediaType)
	case errors.As(err, &bad):
		a.Refuse(w, Failure{Status: a.Statuses[verify.KindInvalid], Invalid: bad})
	case errors.As(err, &known) && len(known.Problems) > 0:
		f := Failure{Status: a.Statuses[verify.KindInvalid], Invalid: a.invalid(request.Fields{}, known)}
		if known.Code != verify.ErrInvalid.Code {
			f.Known = known
		}
		a.Refuse(w, f)
	case errors.As(err, &known) && a.Statuses[known.Kind] != 0:
		a.explain(w, r, known, err)
	default:
		a.Log.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "err", err)
		a.RefuseStatus(w, http.StatusInternalServerError)
	}
}

// explain answers with an error that the caller may see.
func (a *API) explain(w http.ResponseWriter, r *http.Request, known *verify.Error, err error) {
	switch known.Kind {
	case verify.KindUnauthenticated:
		if a.Challenge != "" {
			w.Header().Set("WWW-Authenticate", a.Challenge)
		}
	case verify.KindLimited, verify.KindUnavailable:
		w.Header().Set("Retry-After", web.Seconds(known.RetryAfter))
	case verify.KindConflict, verify.KindUnpaid:
		if known.RetryAfter > 0 {
			w.Header().Set("Retry-After", web.Seconds(known.RetryAfter))
		}
	}
	if known.Kind == verify.KindUnavailable {
		a.unavailable(r.Context(), known, err)
	}
	a.Refuse(w, Failure{Status: a.Statuses[known.Kind], Known: known})
}

// unavailable logs that a request was refused because of a fault on our side. It logs only some of them,
// because an outage refuses all requests.
func (a *API) unavailable(ctx context.Context, known *verify.Error, err error) {
	if known.Code == verify.ErrNoStore.Code {
		a.Log.DatabaseFailedContext(ctx, "request refused", err)
		return
	}
	a.Log.FailedContext(ctx, "request refused, "+known.Code, slog.LevelWarn, "request refused", "code", known.Code, "err", err)
}

// Exact serves the routes of mux, and refuses all other requests in the API's shape: see [web.Exact].
func (s *Shape) Exact(mux *http.ServeMux) http.Handler { return web.Exact(mux, s.RefuseStatus) }

// Away returns a handler that answers 503 while there is no database yet.
func (s *Shape) Away() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", web.Seconds(verify.ErrNoStore.RetryAfter))
		s.Refuse(w, Failure{Status: http.StatusServiceUnavailable, Known: verify.ErrNoStore})
	})
}

// RefuseStatus answers with a status of which the service knows nothing.
func (s *Shape) RefuseStatus(w http.ResponseWriter, status int) { s.Refuse(w, Failure{Status: status}) }

// codeOf returns an error's code for the log.
func codeOf(err error) string {
	var bad *Invalid
	if errors.As(err, &bad) {
		return "invalid"
	}
	return cmp.Or(request.CodeOf(err), verify.CodeOf(err))
}

// An Invalid is the error of a request with bad fields: all of them, by their published names in alphabetical
// order. A field that couldn't be read has one problem.
type Invalid struct{ Problems []Problem }

// A Problem is one error in a field.
type Problem struct {
	Field, Message string // the message doesn't name the field
	TooLong        bool
}

// Invalid returns an [Invalid] that names every bad field: those that couldn't be read, and those that break the
// service's rules.
func (s *Shape) Invalid(in request.Fields, rules error) error { return s.invalid(in, rules) }

func (s *Shape) invalid(in request.Fields, rules error) *Invalid {
	var bad Invalid
	for name, message := range in.Problems {
		bad.Problems = append(bad.Problems, Problem{name, message, false})
	}
	var refused *verify.Error
	if errors.As(rules, &refused) {
		for _, p := range refused.Problems {
			if name := s.Fields[p.Field]; in.Problems[name] == "" {
				bad.Problems = append(bad.Problems, Problem{name + p.Element, p.Message, p.TooLong})
			}
		}
	}
	slices.SortStableFunc(bad.Problems, func(a, b Problem) int { return strings.Compare(a.Field, b.Field) })
	return &bad
}

// Error returns all problems in one sentence.
func (e *Invalid) Error() string {
	all := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		all[i] = p.Field + " " + p.Message
	}
	return strings.Join(all, "; ")
}
