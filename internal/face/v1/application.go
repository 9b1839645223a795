package v1

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/verify"
)

// application is the id in a call's path. A text that can't be an id is answered as one that nothing has.
func application(c face.Call) (verify.ID, error) {
	id, err := verify.ParseID(c.PathValue("id"))
	if err != nil {
		return id, verify.ErrNoApplication
	}
	return id, nil
}

func (s *Server) listApplications(c face.Call, in page) (api.ApplicationPage, error) {
	after, limit, err := s.page(c, in)
	if err != nil {
		return api.ApplicationPage{}, err
	}
	all, err := s.Service.Applications(c.Context(), c.Account)
	if err != nil {
		return api.ApplicationPage{}, err
	}
	some, next := cut(all, after, limit, func(a verify.Application) verify.ID { return a.ID }, wireApplication)
	return api.ApplicationPage{Applications: some, Next: next}, nil
}

func (s *Server) createApplication(c face.Call, in api.NewApplication) (api.Application, error) {
	answers(c, func(_ face.Call, a *verify.Application) api.Application { return wireApplication(*a) })
	a, err := s.Service.CreateApplication(c.Context(), c.Account, changed(verify.Application{Name: in.Name}, api.ApplicationChange{
		Description: in.Description, CodeLength: in.CodeLength, CodeFormat: in.CodeFormat, ValidFor: in.ValidFor, MaxAttempts: in.MaxAttempts,
		Prefix: in.Prefix, Channels: in.Channels, AssociateTemplate: in.AssociateTemplate, LoginTemplate: in.LoginTemplate,
		DisplayName: in.DisplayName, Sender: in.Sender, UniqueNumbers: in.UniqueNumbers,
	}))
	return tagged(c, a), err
}

func (s *Server) readApplication(c face.Call, _ none) (api.Application, error) {
	a, err := s.current(c)
	if err != nil {
		return api.Application{}, err
	}
	return tagged(c, a), nil
}

// maxRaces is how often a change without If-Match begins again because another one came between.
const maxRaces = 5

// onVersion reads what a call is about, and does something to the version that it has read. It begins again where
// another change came between, unless the call names a version.
func onVersion[T any](c face.Call, read func() (T, int, error), do func(T) error) error {
	for race := 1; ; race++ {
		v, version, err := read()
		if err == nil {
			err = matches(c, version)
		}
		if err != nil {
			return err
		}
		if err = do(v); !errors.Is(err, verify.ErrStale) || race == maxRaces {
			return err
		}
	}
}

func (s *Server) changeApplication(c face.Call, in api.ApplicationChange) (api.Application, error) {
	err := s.onApplication(c, func(before verify.Application) error {
		return s.Service.UpdateApplication(c.Context(), c.Account, changed(before, in), before.Version)
	})
	if err != nil {
		return api.Application{}, err
	}
	return s.readApplication(c, none{})
}

func (s *Server) deleteApplication(c face.Call, _ none) (none, error) {
	return none{}, s.onApplication(c, func(a verify.Application) error {
		return s.Service.DeleteApplication(c.Context(), c.Account, a.ID, a.Version)
	})
}

// onApplication does something to the version of an application that a call is about, as onTemplate does.
func (s *Server) onApplication(c face.Call, do func(verify.Application) error) error {
	return onVersion(c, func() (verify.Application, int, error) {
		a, err := s.current(c)
		return a, a.Version, err
	}, do)
}

// current reads the application that a call's path names.
func (s *Server) current(c face.Call) (verify.Application, error) {
	id, err := application(c)
	if err != nil {
		return verify.Application{}, err
	}
	return s.Service.Application(c.Context(), c.Account, id)
}

// changed is an application with what a change names.
func changed(a verify.Application, in api.ApplicationChange) verify.Application {
	assign(&a.Name, in.Name)
	assign(&a.Description, in.Description)
	assign(&a.Prefix, in.Prefix)
	assign(&a.AssociateTemplate, in.AssociateTemplate)
	assign(&a.LoginTemplate, in.LoginTemplate)
	assign(&a.DisplayName, in.DisplayName)
	if in.Sender != nil {
		a.From = strings.TrimSpace(*in.Sender)
	}
	if in.CodeFormat != nil {
		a.Format = code.Format(*in.CodeFormat)
	}
	if in.UniqueNumbers != nil {
		a.UniqueNumbers = *in.UniqueNumbers
	}
	// For the service, 0 is what nobody has said. In a request it is below each bound.
	said := func(n int) int {
		if n == 0 {
			return -1
		}
		return n
	}
	if in.CodeLength != nil {
		a.Length = said(*in.CodeLength)
	}
	if in.ValidFor != nil {
		a.Life = time.Duration(min(max(said(*in.ValidFor), -1), maxSeconds)) * time.Second
	}
	if in.MaxAttempts != nil {
		a.Attempts = said(*in.MaxAttempts)
	}
	if in.Channels != nil {
		a.Channels = nil
		for _, name := range in.Channels {
			a.Channels = append(a.Channels, verify.Channel(name))
		}
	}
	return a
}

// maxSeconds is above every bound, and fits a [time.Duration].
const maxSeconds = 1 << 31

func assign(to *string, given *string) {
	if given != nil {
		*to = *given
	}
}

// tagged is an application's answer, with its version in the header ETag.
func tagged(c face.Call, a verify.Application) api.Application {
	if a.Version > 0 {
		c.Header.Set("ETag", tag(a.Version))
	}
	return wireApplication(a)
}

func tag(version int) string { return `"` + strconv.Itoa(version) + `"` }

// matches fails with [verify.ErrChanged] if a call's If-Match names other versions than that of what it is about.
func matches(c face.Call, version int) error {
	given := c.Request.Header.Values("If-Match")
	if len(given) == 0 {
		return nil
	}
	for _, one := range strings.Split(strings.Join(given, ","), ",") {
		if one = strings.TrimSpace(one); one == "*" || one == tag(version) {
			return nil
		}
	}
	return verify.ErrChanged
}

func wireApplication(a verify.Application) api.Application {
	w := api.Application{
		ID: a.ID.String(), Name: a.Name, Description: a.Description, CodeLength: a.Length, CodeFormat: string(a.Format), ValidFor: int(a.Life / time.Second),
		MaxAttempts: a.Attempts, Prefix: a.Prefix, Channels: []string{}, AssociateTemplate: a.AssociateTemplate, LoginTemplate: a.LoginTemplate,
		DisplayName: a.DisplayName, Sender: a.From, UniqueNumbers: a.UniqueNumbers, CreatedAt: a.CreatedAt.UTC(), UpdatedAt: a.UpdatedAt.UTC(),
	}
	for _, channel := range a.Channels {
		w.Channels = append(w.Channels, string(channel))
	}
	return w
}
