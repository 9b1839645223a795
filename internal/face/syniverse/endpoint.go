package syniverse

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// shape returns how Syniverse's API writes what all APIs do, with its refusals by the codes of the service's
// errors.
func shape(refusals map[string]Refusal) face.Shape {
	return face.Shape{
		Authenticate: face.Bearer,
		Challenge:    "Bearer",
		Types:        []string{request.JSON},
		Optional:     true,
		Fields:       published,
		Statuses:     statuses,
		Refuse:       func(w http.ResponseWriter, f face.Failure) { refuse(w, f, refusals) },
	}
}

// ofApplication adapts a function about the application whose id is in the path. A text that can't
// be an id matches no application.
func ofApplication(f func(face.Call, verify.ID) (any, error)) func(face.Call) (any, error) {
	return withID("application", verify.ErrNoApplication, f)
}

func ofTemplate(f func(face.Call, verify.ID) (any, error)) func(face.Call) (any, error) {
	return withID("template", verify.ErrNoTemplate, f)
}

func withID(wildcard string, none error, f func(face.Call, verify.ID) (any, error)) func(face.Call) (any, error) {
	return func(c face.Call) (any, error) {
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
var errWrong = &verify.Error{Kind: verify.KindConflict, Code: "wrong_code", Message: "the validation code is wrong"}

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
		verify.ErrNotServed.Code:           {http.StatusBadRequest, "2005"},
		verify.ErrCountryStopped.Code:      {http.StatusBadRequest, "2005"},
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
	verify.KindInvalid:         http.StatusBadRequest,
	verify.KindUnauthenticated: http.StatusUnauthorized,
	verify.KindForbidden:       http.StatusForbidden,
	verify.KindUnpaid:          http.StatusPaymentRequired,
	verify.KindNotFound:        http.StatusNotFound,
	verify.KindConflict:        http.StatusConflict,
	verify.KindLimited:         http.StatusTooManyRequests,
	verify.KindUnavailable:     http.StatusServiceUnavailable,
}

// descriptions are of the failures of which the service knows nothing.
var descriptions = map[int]string{
	http.StatusBadRequest:            "the body is not one JSON object in UTF-8 with each name once",
	http.StatusNotFound:              "there is nothing at this path",
	http.StatusMethodNotAllowed:      "the path doesn't serve this method",
	http.StatusRequestEntityTooLarge: "the body is larger than 64 KiB",
	http.StatusUnsupportedMediaType:  "the content type must be application/json",
	http.StatusTooManyRequests:       "this client has too many requests under way",
	http.StatusInternalServerError:   "internal error",
}

// refuse answers {"error_code":…,"error_description":…}. The error_code is the status unless there is one of its own.
func refuse(w http.ResponseWriter, f face.Failure, own map[string]Refusal) {
	answer := failure{strconv.Itoa(f.Status), descriptions[f.Status]}
	switch {
	case f.Invalid != nil && f.Known == nil:
		answer.Description = f.Invalid.Error()
		if !slices.ContainsFunc(f.Invalid.Problems, func(p face.Problem) bool { return !p.TooLong }) {
			answer.Code = codeTooLong
		}
	case f.Known != nil:
		answer.Description = f.Known.Message
		if r, ok := own[f.Known.Code]; ok {
			f.Status, answer.Code = r.Status, r.Code
		}
	}
	web.Respond(w, f.Status, answer)
}

// published maps fields to their names in Syniverse's API.
var published = map[verify.Field]string{
	verify.FieldUser:              "User_ID",
	verify.FieldAddress:           "address",
	verify.FieldToken:             "address", // of a device
	verify.FieldApp:               "address",
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

// invalidFrom returns an error that names every bad field: see [face.Shape.Invalid].
func invalidFrom(in request.Fields, rules error) error {
	s := face.Shape{Fields: published}
	return s.Invalid(in, rules)
}
