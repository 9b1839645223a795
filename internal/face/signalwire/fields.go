package signalwire

import (
	"errors"

	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// order is the order of the published table of attributes.
var order = []string{"to", "from", "message", "token_length", "valid_for", "max_attempts", "allow_alphas", "allow_alpha", "token"}

// mistyped returns an error that names every bad attribute: those that couldn't be read, and
// those that break the service's rules.
func mistyped(in request.Fields, rules error) error {
	var refused *verify.Error
	if errors.As(rules, &refused) {
		for _, p := range refused.Problems {
			if name := attributes[p.Field]; in.Problems[name] == "" {
				in.Wrong(name, p.Message)
			}
		}
	}
	return &invalid{in.Problems}
}

// An invalid is the error of a request with bad attributes, by their published
// names.
type invalid struct{ problems map[string]string }

func (e *invalid) Error() string { return "bad attributes" }

// details returns one sentence per attribute for the client, in the order of the
// published table.
func (e *invalid) details() []string {
	var all []string
	for _, name := range order {
		if problem, ok := e.problems[name]; ok {
			all = append(all, humanize(name)+" "+problem)
		}
	}
	return all
}
