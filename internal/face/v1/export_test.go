package v1

import (
	"reflect"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/verify"
)

// A Route is an operation, as tests see it.
type Route struct {
	Method, Path string
	Needs        verify.Scopes // 0: nobody has said
	In           reflect.Type
	FromQuery    bool
}

// Routes are the API's operations.
func Routes() (all []Route) {
	for _, o := range (&Server{}).operations() {
		all = append(all, Route{o.method, o.path, o.needs, o.in, o.fromQuery})
	}
	return all
}

var (
	Register = register
	Statuses = statuses
)

// ProblemCodes are those of which the service knows nothing.
func ProblemCodes() (all []api.Problem) {
	for status, p := range unknown {
		all = append(all, api.Problem{Status: status, Code: p.code, Detail: p.detail})
	}
	return all
}
