package v1

import "github.com/countersign/countersign/api"

// Routes are the API's routes: method and path.
func Routes() (all [][2]string) {
	for _, o := range (&Server{}).operations() {
		all = append(all, [2]string{o.method, o.path})
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
