package syniverse

import (
	"strings"

	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// A messageTemplate is the platform's message template.
type messageTemplate struct {
	ID              string `json:"id"`
	Designation     string `json:"designation"`
	Name            string `json:"name"`
	Pattern         string `json:"pattern"`
	CreatedDate     any    `json:"created_date"`
	LastUpdatedDate any    `json:"last_updated_date"`
	VersionNumber   int    `json:"version_number"`
}

func (s *Server) wireTemplate(t verify.MessageTemplate) messageTemplate {
	return messageTemplate{
		ID: t.ID.Base62(), Designation: t.Designation, Name: t.Name, Pattern: t.Pattern,
		CreatedDate: s.date(t.CreatedAt), LastUpdatedDate: s.date(t.UpdatedAt), VersionNumber: t.Version,
	}
}

var templateFields = []field[verify.MessageTemplate]{
	by("id", func(t verify.MessageTemplate) string { return t.ID.Base62() }, asText),
	by("designation", func(t verify.MessageTemplate) string { return t.Designation }, asUpper),
	by("name", func(t verify.MessageTemplate) string { return t.Name }, asText),
	by("created_date", func(t verify.MessageTemplate) int64 { return t.CreatedAt.UnixMilli() }, asDate),
	by("last_updated_date", func(t verify.MessageTemplate) int64 { return t.UpdatedAt.UnixMilli() }, asDate),
}

func (s *Server) templates(c face.Call) (any, error) {
	all, err := s.Service.Templates(c.Context(), c.Account)
	if err != nil {
		return nil, err
	}
	return answerPage(c.Request, templateFields, all, s.wireTemplate)
}

func (s *Server) template(c face.Call, id verify.ID) (any, error) {
	t, err := s.Service.Template(c.Context(), c.Account, id)
	if err != nil {
		return nil, err
	}
	return s.wireTemplate(t), nil
}

func (s *Server) createTemplate(c face.Call) (any, error) {
	t := wording(&c.In, verify.MessageTemplate{})
	if c.In.Problems != nil {
		return nil, invalidFrom(c.In, nil)
	}
	t, err := s.Service.CreateTemplate(c.Context(), c.Account, t)
	if err != nil {
		return nil, err
	}
	return created{t.ID.Base62()}, nil
}

// changeTemplate changes only the fields in the body.
func (s *Server) changeTemplate(c face.Call, id verify.ID) (any, error) {
	t, err := s.Service.Template(c.Context(), c.Account, id)
	if err != nil {
		return nil, err
	}
	return nil, s.updateTemplate(c, t)
}

// replaceTemplate changes all fields.
func (s *Server) replaceTemplate(c face.Call, id verify.ID) (any, error) {
	return nil, s.updateTemplate(c, verify.MessageTemplate{ID: id})
}

func (s *Server) updateTemplate(c face.Call, t verify.MessageTemplate) error {
	t, version := wording(&c.In, t), versionNumber(&c.In)
	if c.In.Problems != nil {
		return invalidFrom(c.In, nil)
	}
	return s.Service.UpdateTemplate(c.Context(), c.Account, t, version)
}

func (s *Server) deleteTemplate(c face.Call, id verify.ID) (any, error) {
	return nil, s.Service.DeleteTemplate(c.Context(), c.Account, id)
}

// wording sets a template's fields to those in a body.
func wording(in *request.Fields, t verify.MessageTemplate) verify.MessageTemplate {
	if in.Raw("name") != nil {
		t.Name = in.Text("name")
	}
	if in.Raw("pattern") != nil {
		t.Pattern = in.Text("pattern")
	}
	if in.Raw("designation") != nil {
		t.Designation = strings.ToUpper(in.Text("designation"))
	}
	switch t.Designation {
	case "":
		t.Designation = "TEMPLATE"
	case "TEMPLATE", "VALIDATOR":
	default:
		in.Wrong("designation", "must be TEMPLATE or VALIDATOR")
	}
	return t
}
