package syniverse

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// An application is Syniverse's Application. Empty fields are left out.
type application struct {
	ID                string `json:"id"`
	Name              string `json:"name"`
	Description       string `json:"description,omitempty"`
	Length            int    `json:"auth_code_length"`
	Type              string `json:"auth_token_type"`
	Validity          int    `json:"auth_token_validity_duration"` // seconds
	Prefix            string `json:"auth_token_prefix,omitempty"`
	DeliveryMethods   string `json:"auth_token_delivery_methods"`
	AssociateTemplate string `json:"associate_template,omitempty"`
	LoginTemplate     string `json:"login_template,omitempty"`
	DisplayName       string `json:"display_name,omitempty"`
	MessageFrom       string `json:"message_from,omitempty"`
	CreatedDate       any    `json:"created_date"`
	LastUpdatedDate   any    `json:"last_updated_date"`
	VersionNumber     int    `json:"version_number"`
}

func (s *Server) wireApplication(a verify.Application) application {
	return application{
		ID: a.ID.Base62(), Name: a.Name, Description: a.Description,
		Length: a.Length, Type: typeOf(a), Validity: validity(a), Prefix: a.Prefix, DeliveryMethods: methodsOf(a),
		AssociateTemplate: a.AssociateTemplate, LoginTemplate: a.LoginTemplate,
		DisplayName: a.DisplayName, MessageFrom: a.From,
		CreatedDate: s.date(a.CreatedAt), LastUpdatedDate: s.date(a.UpdatedAt), VersionNumber: a.Version,
	}
}

func typeOf(a verify.Application) string { return strings.ToUpper(string(a.Format)) }
func validity(a verify.Application) int  { return int(a.Life / time.Second) }

// methodsOf returns an application's delivery methods, the preferred one first.
func methodsOf(a verify.Application) string {
	all := make([]string, len(a.Channels))
	for i, c := range a.Channels {
		all[i] = strings.ToUpper(string(c))
	}
	return strings.Join(all, ",")
}

// applicationFields are exactly the published filters.
var applicationFields = []field[verify.Application]{
	by("id", func(a verify.Application) string { return a.ID.Base62() }, asText),
	by("name", func(a verify.Application) string { return a.Name }, asText),
	by("auth_code_length", func(a verify.Application) int { return a.Length }, asInteger),
	by("auth_token_type", typeOf, asUpper),
	by("auth_token_validity_duration", validity, asInteger),
	by("auth_token_prefix", func(a verify.Application) string { return a.Prefix }, asText),
	by("auth_token_delivery_methods", methodsOf, asMethods),
	by("message_from", func(a verify.Application) string { return a.From }, asTrimmed),
	by("created_date", func(a verify.Application) int64 { return a.CreatedAt.UnixMilli() }, asDate),
	by("last_updated_date", func(a verify.Application) int64 { return a.UpdatedAt.UnixMilli() }, asDate),
}

func asUpper(s string) (string, error)   { return strings.ToUpper(s), nil }
func asTrimmed(s string) (string, error) { return strings.TrimSpace(s), nil }

func asMethods(s string) (string, error) {
	return methodsOf(verify.Application{Channels: channels(strings.Split(s, ","))}), nil
}

// channels parses delivery methods, in any case. The service refuses unknown ones.
func channels(names []string) (all []verify.Channel) {
	for _, name := range names {
		all = append(all, channel(name))
	}
	return all
}

func channel(name string) verify.Channel {
	return verify.Channel(strings.ToLower(strings.TrimSpace(name)))
}

// A created is the response to a create.
type created struct {
	ID string `json:"id"`
}

func (s *Server) applications(c face.Call) (any, error) {
	all, err := s.Service.Applications(c.Context(), c.Account)
	if err != nil {
		return nil, err
	}
	return answerPage(c.Request, applicationFields, all, s.wireApplication)
}

func (s *Server) application(c face.Call, id verify.ID) (any, error) {
	a, err := s.Service.Application(c.Context(), c.Account, id)
	if err != nil {
		return nil, err
	}
	return s.wireApplication(a), nil
}

func (s *Server) createApplication(c face.Call) (any, error) {
	a := settings(&c.In, verify.Application{})
	if c.In.Problems != nil {
		return nil, invalidFrom(c.In, s.Service.CheckApplication(c.Context(), c.Account, a))
	}
	a, err := s.Service.CreateApplication(c.Context(), c.Account, a)
	if err != nil {
		return nil, err
	}
	return created{a.ID.Base62()}, nil
}

// changeApplication changes only the fields in the body.
func (s *Server) changeApplication(c face.Call, id verify.ID) (any, error) {
	a, err := s.Service.Application(c.Context(), c.Account, id)
	if err != nil {
		return nil, err
	}
	return nil, s.updateApplication(c, a)
}

// replaceApplication changes all fields. A field that the body lacks gets its
// default.
func (s *Server) replaceApplication(c face.Call, id verify.ID) (any, error) {
	stored, err := s.Service.Application(c.Context(), c.Account, id)
	if err != nil {
		return nil, err
	}
	return nil, s.updateApplication(c, verify.Application{ID: id, UniqueNumbers: stored.UniqueNumbers}) // which this API doesn't show
}

// updateApplication stores an application with the settings in a body. The body must name the
// version that it changes; otherwise an update could undo another client's.
func (s *Server) updateApplication(c face.Call, a verify.Application) error {
	a, version := settings(&c.In, a), versionNumber(&c.In)
	if c.In.Problems != nil {
		return invalidFrom(c.In, s.Service.CheckApplication(c.Context(), c.Account, a))
	}
	return s.Service.UpdateApplication(c.Context(), c.Account, a, version)
}

func versionNumber(in *request.Fields) int {
	n := in.Integer("version_number")
	switch {
	case n != nil:
		return *n
	case in.Problems["version_number"] == "":
		in.Wrong("version_number", "can't be blank")
	}
	return 0
}

func (s *Server) deleteApplication(c face.Call, id verify.ID) (any, error) {
	return nil, s.Service.DeleteApplication(c.Context(), c.Account, id, 0)
}

// settings sets an application's fields to those in a body.
func settings(in *request.Fields, a verify.Application) verify.Application {
	text := func(name string, to *string) {
		if in.Raw(name) != nil {
			*to = in.Text(name)
		}
	}
	text("name", &a.Name)
	text("description", &a.Description)
	text("auth_token_prefix", &a.Prefix)
	text("associate_template", &a.AssociateTemplate)
	text("login_template", &a.LoginTemplate)
	text("display_name", &a.DisplayName)
	text("message_from", &a.From)
	a.From = strings.TrimSpace(a.From)
	if n := in.Integer("auth_code_length"); n != nil {
		a.Length = named(*n)
	}
	if n := in.Integer("auth_token_validity_duration"); n != nil {
		a.Life = time.Duration(min(named(*n), maxSeconds)) * time.Second
	}
	if in.Raw("auth_token_type") != nil {
		format := code.Format(strings.ToLower(in.Text("auth_token_type")))
		switch {
		case format.Valid():
			a.Format = format
		case in.Problems["auth_token_type"] == "":
			in.Wrong("auth_token_type", "must be NUMERIC, ALPHA, ALPHANUMERIC or COMPLEX")
		}
	}
	if raw := in.Raw("auth_token_delivery_methods"); raw != nil {
		names, ok := methodNames(raw)
		if !ok {
			in.Wrong("auth_token_delivery_methods", "must be a string with commas, or an array of strings")
		}
		a.Channels = channels(names)
	}
	return a
}

// maxSeconds is above every bound, and fits a [time.Duration].
const maxSeconds = 1 << 31

// named returns a number in a body in the form that the service expects. The service treats zero as
// absent, so named replaces it by -1, which is also out of every range.
func named(n int) int {
	if n <= 0 {
		return -1
	}
	return n
}

// methodNames parses "SMS,VOICE" or ["SMS","VOICE"]. An empty string contains
// no names.
func methodNames(raw json.RawMessage) (names []string, ok bool) {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return names, json.Unmarshal(raw, &names) == nil
	}
	if strings.TrimSpace(text) == "" {
		return nil, true
	}
	return strings.Split(text, ","), true
}
