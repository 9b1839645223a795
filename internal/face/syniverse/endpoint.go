package syniverse

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/record"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// A call is one authenticated request.
type call struct {
	*http.Request
	acct *verify.Account
	in   request.Fields // empty for methods without a body
}

// endpoint makes a handler of a function that returns the answer; a nil answer has no body. Only
// endpoint authenticates, decodes, and converts errors to Syniverse's format.
func (s *Server) endpoint(f func(*call) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := s.answer(r, f)
		switch {
		case err != nil:
			s.fail(w, r, err)
		case answer == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			web.Respond(w, http.StatusOK, answer)
		}
	})
}

func (s *Server) answer(r *http.Request, f func(*call) (any, error)) (any, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, verify.ErrUnauthenticated
	}
	acct, err := s.verify.AuthenticateKey(r.Context(), verify.Secret(token))
	if err != nil {
		return nil, err
	}
	c := &call{Request: r, acct: acct}
	// A request without a body has no type and no fields.
	if (r.Method == http.MethodPost || r.Method == http.MethodPut) && r.ContentLength != 0 {
		if request.Large(r) {
			leave, err := s.verify.ReadLarge(acct)
			if err != nil {
				return nil, err
			}
			defer leave()
		}
		if c.in, err = request.Read(r, request.JSON); err != nil && !errors.Is(err, request.ErrEmpty) {
			return nil, err
		}
	}
	return f(c)
}

// ofApplication adapts a function about the application whose id is in the path. A text that can't
// be an id matches no application.
func ofApplication(f func(*call, verify.ID) (any, error)) func(*call) (any, error) {
	return withID("application", verify.ErrNoApplication, f)
}

func ofTemplate(f func(*call, verify.ID) (any, error)) func(*call) (any, error) {
	return withID("template", verify.ErrNoTemplate, f)
}

func withID(wildcard string, none error, f func(*call, verify.ID) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		id, ok := verify.ParseBase62(c.PathValue(wildcard))
		if !ok {
			return nil, none
		}
		return f(c, id)
	}
}

// A failure is the body of every error response.
type failure struct {
	Code        string `json:"error_code"`
	Description string `json:"error_description"`
}

// errWrong means that a validation code is wrong. That is an error in Syniverse's API, but not
// in the service.
var errWrong = &verify.Error{Kind: verify.Conflict, Code: "wrong_code", Message: "the validation code is wrong"}

// codeTooLong is the error_code for a field that is too long.
const codeTooLong = "1023"

// refusals maps error codes of the service to responses of their own.
func refusals(o Refusals) map[string]Refusal {
	o = o.defaults()
	tooMany, full := Refusal{http.StatusTooManyRequests, "2004"}, Refusal{http.StatusForbidden, "403"} // waiting doesn't help
	return map[string]Refusal{
		verify.ErrStale.Code:               {http.StatusConflict, "1001"},
		verify.ErrDuplicate.Code:           {http.StatusConflict, "1011"},
		verify.ErrNotValidated.Code:        {http.StatusConflict, "2003"},
		verify.ErrTooManySends.Code:        tooMany,
		verify.ErrTooManyGuesses.Code:      tooMany,
		verify.ErrTooManyApplications.Code: full,
		verify.ErrTooManyTemplates.Code:    full,
		errWrong.Code:                      o.Wrong,
		verify.ErrExpired.Code:             o.Expired,
		verify.ErrNoCode.Code:              o.None,
		verify.ErrApproved.Code:            o.None,
		verify.ErrCanceled.Code:            o.None,
		verify.ErrSuperseded.Code:          o.None,
		verify.ErrGuessesSpent.Code:        o.Exhausted,
	}
}

// statuses maps the kinds of the other errors that clients see to HTTP
// statuses.
var statuses = map[verify.Kind]int{
	verify.Invalid:         http.StatusBadRequest,
	verify.Unauthenticated: http.StatusUnauthorized,
	verify.NotFound:        http.StatusNotFound,
	verify.Conflict:        http.StatusConflict,
	verify.Limited:         http.StatusTooManyRequests,
	verify.Unavailable:     http.StatusServiceUnavailable,
}

// codeOf returns an error's code for the log.
func codeOf(err error) string {
	var bad *invalid
	if errors.As(err, &bad) {
		return "invalid"
	}
	return cmp.Or(request.CodeOf(err), verify.CodeOf(err))
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var known *verify.Error
	var bad *invalid
	record.Of(r.Context()).Code = codeOf(err)
	switch {
	case errors.Is(err, request.ErrUnreadable):
		explain(w, http.StatusBadRequest, "the body is not one JSON object in UTF-8 with each name once")
	case errors.Is(err, request.ErrTooLarge):
		explain(w, http.StatusRequestEntityTooLarge, "the body is larger than 64 KiB")
	case errors.Is(err, request.ErrMediaType):
		explain(w, http.StatusUnsupportedMediaType, "the content type must be application/json")
	case errors.As(err, &bad):
		web.Respond(w, http.StatusBadRequest, failure{bad.code(), bad.Error()})
	case errors.As(err, &known) && len(known.Problems) > 0:
		s.fail(w, r, invalidFrom(request.Fields{}, known))
	case errors.As(err, &known) && statuses[known.Kind] != 0:
		s.refuse(w, r, known, err)
	default:
		s.log.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "err", err)
		explain(w, http.StatusInternalServerError, "internal error")
	}
}

// refuse answers with an error that the client may see, and sets the headers that belong to
// its status.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, known *verify.Error, err error) {
	switch known.Kind {
	case verify.Unauthenticated:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case verify.Limited, verify.Unavailable:
		w.Header().Set("Retry-After", web.Seconds(known.RetryAfter))
	}
	if known.Kind == verify.Unavailable {
		s.unavailable(r.Context(), known, err)
	}
	if own, ok := s.refusals[known.Code]; ok {
		web.Respond(w, own.Status, failure{own.Code, known.Message})
		return
	}
	explain(w, statuses[known.Kind], known.Message)
}

// unavailable logs that a request was refused because of us: now and then, for all of them may be.
func (s *Server) unavailable(ctx context.Context, known *verify.Error, err error) {
	if known.Code == verify.ErrNoStore.Code {
		s.log.DatabaseFailedContext(ctx, "request refused", err)
		return
	}
	s.log.FailedContext(ctx, "request refused, "+known.Code, slog.LevelWarn, "request refused", "code", known.Code, "err", err)
}

// explain answers with a status whose error_code is its number.
func explain(w http.ResponseWriter, status int, description string) {
	web.Respond(w, status, failure{strconv.Itoa(status), description})
}

// refuse answers requests that match no route.
func refuse(w http.ResponseWriter, status int) {
	explain(w, status, map[int]string{
		http.StatusNotFound:         "there is nothing at this path",
		http.StatusMethodNotAllowed: "the path doesn't serve this method",
	}[status])
}

// An invalid is the error of a request with bad fields.
type invalid struct{ problems []problem }

// A problem is one error in a field, by its published name.
type problem struct {
	field, message string
	tooLong        bool
}

// invalidFrom returns an error that names every bad field: those that couldn't be read, and
// those that break the service's rules.
func invalidFrom(in request.Fields, rules error) *invalid {
	var bad invalid
	for name, message := range in.Problems {
		bad.problems = append(bad.problems, problem{name, message, false})
	}
	var refused *verify.Error
	if errors.As(rules, &refused) {
		for _, p := range refused.Problems {
			if name := published[p.Field]; in.Problems[name] == "" {
				bad.problems = append(bad.problems, problem{name, p.Message, p.TooLong})
			}
		}
	}
	slices.SortStableFunc(bad.problems, func(a, b problem) int { return strings.Compare(a.field, b.field) })
	return &bad
}

// published maps fields to their names in Syniverse's API.
var published = map[verify.Field]string{
	verify.FieldUser:              "User_ID",
	verify.FieldAddress:           "address",
	verify.FieldChannel:           "validation_method",
	verify.FieldName:              "name",
	verify.FieldDescription:       "description",
	verify.FieldLength:            "auth_code_length",
	verify.FieldFormat:            "auth_token_type",
	verify.FieldLife:              "auth_token_validity_duration",
	verify.FieldPrefix:            "auth_token_prefix",
	verify.FieldChannels:          "auth_token_delivery_methods",
	verify.FieldAssociateTemplate: "associate_template",
	verify.FieldLoginTemplate:     "login_template",
	verify.FieldDisplayName:       "display_name",
	verify.FieldFrom:              "message_from",
	verify.FieldDesignation:       "designation",
	verify.FieldPattern:           "pattern",
}

// Error returns all problems in one sentence.
func (e *invalid) Error() string {
	all := make([]string, len(e.problems))
	for i, p := range e.problems {
		all[i] = p.field + " " + p.message
	}
	return strings.Join(all, "; ")
}

// code returns "1023" if all problems are too long fields, else the status.
func (e *invalid) code() string {
	if slices.ContainsFunc(e.problems, func(p problem) bool { return !p.tooLong }) {
		return strconv.Itoa(http.StatusBadRequest)
	}
	return codeTooLong
}
