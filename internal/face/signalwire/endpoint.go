package signalwire

import (
	"net/http"
	"slices"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// shape is how SignalWire writes what all APIs do. An ended verification counts as not found.
var shape = face.Shape{
	Authenticate: authenticate,
	Challenge:    `Basic realm="SignalWire API", charset="UTF-8"`,
	Types:        []string{request.JSON, request.Form},
	Fields:       attributes,
	Statuses: map[verify.Kind]int{
		verify.KindInvalid:         http.StatusUnprocessableEntity,
		verify.KindUnauthenticated: http.StatusUnauthorized,
		verify.KindForbidden:       http.StatusForbidden,
		verify.KindUnpaid:          http.StatusUnprocessableEntity,
		verify.KindNotFound:        http.StatusNotFound,
		verify.KindConflict:        http.StatusNotFound,
		verify.KindLimited:         http.StatusTooManyRequests,
		verify.KindUnavailable:     http.StatusServiceUnavailable,
	},
	Refuse: refuse,
}

func authenticate(accounts *account.Service, r *http.Request) (*verify.Account, error) {
	project, token, ok := r.BasicAuth()
	if !ok {
		return nil, verify.ErrUnauthenticated
	}
	return accounts.Authenticate(r.Context(), verify.ProjectID(project), verify.Secret(token))
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

// refuse answers {"error":"<the status's name>"}, and names each bad attribute. What can't be paid is an error of SignalWire's
// format without an attribute.
func refuse(w http.ResponseWriter, f face.Failure) {
	if f.Known != nil && f.Known.Kind == verify.KindUnpaid {
		web.Respond(w, f.Status, validationError{[]attributeError{{f.Known.Message, "422", "Insufficient Credit", "no_credit"}}})
		return
	}
	if f.Invalid == nil {
		web.Respond(w, f.Status, map[string]string{"error": http.StatusText(f.Status)})
		return
	}
	var answer validationError
	for _, detail := range details(f.Invalid) {
		answer.Errors = append(answer.Errors, attributeError{detail, "422", "Invalid Attribute", "422"})
	}
	web.Respond(w, f.Status, answer)
}

// order is the order of the published table of attributes.
var order = []string{"to", "from", "message", "token_length", "valid_for", "max_attempts", "allow_alphas", "allow_alpha", "token"}

// details returns one sentence per attribute for the client, in the order of the
// published table.
func details(bad *face.Invalid) []string {
	var all []string
	for _, name := range order {
		if i := slices.IndexFunc(bad.Problems, func(p face.Problem) bool { return p.Field == name }); i >= 0 {
			all = append(all, humanize(name)+" "+bad.Problems[i].Message)
		}
	}
	return all
}
