package v1

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/verify"
)

func (s *Server) associate(c face.Call, in api.NewUser) (api.User, error) {
	id, err := application(c)
	if err != nil {
		return api.User{}, err
	}
	if strings.Contains(in.Number, ":") { // the service reads voice: before a number
		c.In.Wrong("number", "is not in E.164, such as +12025550123")
		return api.User{}, s.Invalid(c.In, nil)
	}
	r := verify.AssociateRequest{Address: in.Number, DisplayName: in.DisplayName, Channel: verify.Channel(in.Channel)}
	answers(c, s.begun)
	if err := s.Service.Associate(c.Context(), c.Account, id, in.User, r); err != nil {
		return api.User{}, err
	}
	return s.user(c, id, in.User)
}

func (s *Server) login(c face.Call, in api.Login) (api.User, error) {
	id, err := application(c)
	if err != nil {
		return api.User{}, err
	}
	name := c.PathValue("user")
	r := verify.LoginRequest{DisplayName: in.DisplayName, Channel: verify.Channel(in.Channel)}
	answers(c, s.begun)
	if err := s.Service.LoginStart(c.Context(), c.Account, id, name, r); err != nil {
		return api.User{}, err
	}
	return s.user(c, id, name)
}

func (s *Server) startFor(c face.Call, in api.UserVerification) (api.Verification, error) {
	id, err := application(c)
	if err != nil {
		return api.Verification{}, err
	}
	answers(c, startedFor)
	v, err := s.Service.StartFor(c.Context(), c.Account, id, c.PathValue("user"), verify.UserStartRequest{
		LoginRequest: verify.LoginRequest{DisplayName: in.DisplayName, Channel: verify.Channel(in.Channel)},
		Prompt:       in.Mode == api.Approve,
		Purpose:      purpose(in.Purpose),
		Details: verify.Details{
			Metadata: in.Metadata, Payment: verify.Payment{Amount: in.Amount, Payee: in.Payee},
			Client: asking(in.Client),
		},
	})
	if err != nil {
		return api.Verification{}, err
	}
	return startedFor(c, v), nil
}

// startedFor is a verification of a user, with the number that only the answer to its start has.
func startedFor(c face.Call, v *verify.Verification) api.Verification {
	w := started(c, v)
	if !v.Prompt.IsZero() {
		w.Show = strconv.Itoa(v.Prompt.Number)
	}
	return w
}

func (s *Server) resetPrompts(c face.Call, _ none) (none, error) {
	id, err := application(c)
	if err != nil {
		return none{}, err
	}
	return none{}, s.Service.ForgivePrompts(c.Context(), c.Account, id, c.PathValue("user"))
}

func (s *Server) checkUser(c face.Call, in api.UserCheck) (api.CheckResult, error) {
	id, err := application(c)
	if err != nil {
		return api.CheckResult{}, err
	}
	answers(c, func(c face.Call, out *verify.Outcome) api.CheckResult {
		r, _ := result(c, out.Verification, *out, nil)
		return r
	})
	out, err := s.Service.CheckUser(c.Context(), c.Account, id, c.PathValue("user"), verify.Secret(in.Code))
	return result(c, out.Verification, out, err)
}

// begun is a user to whom a code was sent.
func (s *Server) begun(_ face.Call, u *verify.User) api.User { return wireUser(*u, s.Service.Now()) }

func (s *Server) readUser(c face.Call, _ none) (api.User, error) {
	id, err := application(c)
	if err != nil {
		return api.User{}, err
	}
	return s.user(c, id, c.PathValue("user"))
}

func (s *Server) user(c face.Call, application verify.ID, name string) (api.User, error) {
	u, err := s.Service.User(c.Context(), c.Account, application, name)
	if err != nil {
		return api.User{}, err
	}
	return wireUser(u, s.Service.Now()), nil
}

func (s *Server) deleteUser(c face.Call, _ none) (none, error) {
	id, err := application(c)
	if err != nil {
		return none{}, err
	}
	return none{}, s.Service.DeleteUser(c.Context(), c.Account, id, c.PathValue("user"))
}

func (s *Server) removeNumber(c face.Call, _ none) (none, error) {
	id, err := application(c)
	if err != nil {
		return none{}, err
	}
	return none{}, s.Service.Dissociate(c.Context(), c.Account, id, c.PathValue("user"))
}

// A userFilter selects users of an application.
type userFilter struct {
	Number string `json:"number,omitempty" example:"+12025550123" doc:"Only those with this number, in E.164."`
	Status string `json:"status,omitempty" enum:"initial,pending,validated" doc:"Only those with this status."`
	After  string `json:"after,omitempty" doc:"The cursor next of the page before."`
	Limit  *int   `json:"limit,omitempty" minimum:"1" maximum:"200" default:"50" doc:"How many."`
}

func (s *Server) listUsers(c face.Call, in userFilter) (api.UserPage, error) {
	id, err := application(c)
	if err != nil {
		return api.UserPage{}, err
	}
	after, err := base64.RawURLEncoding.DecodeString(in.After)
	if err != nil || !verify.Storable(string(after)) {
		c.In.Wrong("after", "is no cursor of a page")
	}
	limit := pageLimit(&c, in.Limit)
	if len(c.In.Problems) > 0 {
		return api.UserPage{}, s.Invalid(c.In, nil)
	}
	found, more, err := s.Service.UsersAfter(c.Context(), c.Account, id, userStatus(in.Status), in.Number, string(after), limit)
	if err != nil {
		return api.UserPage{}, err
	}
	out := api.UserPage{Users: make([]api.User, len(found))}
	for i, u := range found {
		out.Users[i] = wireUser(u, s.Service.Now())
	}
	if more {
		out.Next = base64.RawURLEncoding.EncodeToString([]byte(found[len(found)-1].Name))
	}
	return out, nil
}

// userStatus returns the status of a word that is one; 0 of "".
func userStatus(word string) verify.UserStatus {
	for s := verify.UserValidated; s > 0; s-- {
		if s.String() == word {
			return s
		}
	}
	return 0
}

func wireUser(u verify.User, now time.Time) api.User {
	w := api.User{
		User: u.Name, Number: string(u.Number()), Status: u.Status.String(), VerifiedAt: when(u.Verified()),
		CreatedAt: u.CreatedAt.UTC(), UpdatedAt: u.UpdatedAt.UTC(),
	}
	if !u.Current.IsZero() {
		w.Verification = u.Current.String()
	}
	if w.VerifiedAt != nil {
		w.VerifiedAge = new(max(0, int(now.Sub(*w.VerifiedAt)/time.Second)))
	}
	return w
}
