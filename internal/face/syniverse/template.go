package syniverse

import (
	"strings"

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

func (s *Server) templates(c *call) (any, error) {
	all, err := s.verify.Templates(c.Context(), c.acct)
	if err != nil {
		return nil, err
	}
	return answerPage(c.Request, templateFields, all, s.wireTemplate)
}

func (s *Server) template(c *call, id verify.ID) (any, error) {
	t, err := s.verify.Template(c.Context(), c.acct, id)
	if err != nil {
		return nil, err
	}
	return s.wireTemplate(t), nil
}

func (s *Server) createTemplate(c *call) (any, error) {
	t := wording(&c.in, verify.MessageTemplate{})
	if c.in.Problems != nil {
		return nil, invalidFrom(c.in, nil)
	}
	t, err := s.verify.CreateTemplate(c.Context(), c.acct, t)
	if err != nil {
		return nil, err
	}
	return created{t.ID.Base62()}, nil
}

// changeTemplate changes only the fields in the body.
func (s *Server) changeTemplate(c *call, id verify.ID) (any, error) {
	t, err := s.verify.Template(c.Context(), c.acct, id)
	if err != nil {
		return nil, err
	}
	return nil, s.updateTemplate(c, t)
}

// replaceTemplate changes all fields.
func (s *Server) replaceTemplate(c *call, id verify.ID) (any, error) {
	return nil, s.updateTemplate(c, verify.MessageTemplate{ID: id})
}

func (s *Server) updateTemplate(c *call, t verify.MessageTemplate) error {
	t, version := wording(&c.in, t), versionNumber(&c.in)
	if c.in.Problems != nil {
		return invalidFrom(c.in, nil)
	}
	return s.verify.UpdateTemplate(c.Context(), c.acct, t, version)
}

func (s *Server) deleteTemplate(c *call, id verify.ID) (any, error) {
	return nil, s.verify.DeleteTemplate(c.Context(), c.acct, id)
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
