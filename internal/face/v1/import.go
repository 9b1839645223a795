package v1

import (
	"errors"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/verify"
)

func (s *Server) importUsers(c face.Call, in api.UserImport) (api.ImportResult, error) {
	id, err := application(c)
	if err != nil {
		return api.ImportResult{}, err
	}
	users := make([]verify.ImportedUser, len(in.Users))
	for i, u := range in.Users {
		users[i] = verify.ImportedUser{Name: u.User, Address: u.Number}
		if u.VerifiedAt != nil {
			users[i].VerifiedAt = *u.VerifiedAt
		}
	}
	answers(c, func(_ face.Call, results *[]verify.Imported) api.ImportResult { return wireImport(in.Users, *results) })
	results, err := s.Service.ImportUsers(c.Context(), c.Account, id, users)
	if err != nil {
		return api.ImportResult{}, err
	}
	return wireImport(in.Users, results), nil
}

func wireImport(users []api.ImportedUser, results []verify.Imported) api.ImportResult {
	w := api.ImportResult{Users: make([]api.ImportOutcome, len(users))}
	for i, r := range results {
		o := &w.Users[i]
		o.User = users[i].User
		var known *verify.Error
		switch {
		case r.Created:
			o.Outcome = api.ImportCreated
			w.Created++
		case !errors.As(r.Err, &known):
			o.Outcome = api.ImportUnchanged
			w.Unchanged++
		default:
			o.Outcome, o.Code, o.Detail = api.ImportRefused, known.Code, known.Message
			for _, p := range known.Problems {
				o.Errors = append(o.Errors, api.FieldProblem{Field: names[p.Field], Message: p.Message})
			}
			w.Refused++
		}
	}
	return w
}
