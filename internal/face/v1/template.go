package v1

import (
	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/verify"
)

func (s *Server) listTemplates(c face.Call, in page) (api.TemplatePage, error) {
	after, limit, err := s.page(c, in)
	if err != nil {
		return api.TemplatePage{}, err
	}
	all, err := s.Service.Texts(c.Context(), c.Account)
	if err != nil {
		return api.TemplatePage{}, err
	}
	some, next := cut(all, after, limit, func(t verify.TextTemplate) verify.ID { return t.ID }, func(t verify.TextTemplate) api.Template {
		return wireTemplate(c, &t)
	})
	return api.TemplatePage{Templates: some, Next: next}, nil
}

func (s *Server) createTemplate(c face.Call, in api.NewTemplate) (api.Template, error) {
	answers(c, wireTemplate)
	t, err := s.Service.CreateText(c.Context(), c.Account, verify.TextTemplate{Name: in.Name, Texts: texts(in.Texts)})
	if err != nil {
		return api.Template{}, err
	}
	return taggedTemplate(c, &t), nil
}

func (s *Server) readTemplate(c face.Call, _ none) (api.Template, error) {
	t, err := s.template(c)
	if err != nil {
		return api.Template{}, err
	}
	return taggedTemplate(c, &t), nil
}

func (s *Server) changeTemplate(c face.Call, in api.TemplateChange) (api.Template, error) {
	var after verify.TextTemplate
	err := s.onTemplate(c, func(before verify.TextTemplate) error {
		after = before
		assign(&after.Name, in.Name)
		if in.Texts != nil {
			after.Texts = texts(in.Texts)
		}
		return s.Service.UpdateText(c.Context(), c.Account, after, before.Version)
	})
	if err != nil {
		return api.Template{}, err
	}
	return s.readTemplate(c, none{})
}

func (s *Server) deleteTemplate(c face.Call, _ none) (none, error) {
	return none{}, s.onTemplate(c, func(t verify.TextTemplate) error {
		return s.Service.DeleteText(c.Context(), c.Account, t.ID, t.Version)
	})
}

// onTemplate does something to the version of a template that a call is about.
func (s *Server) onTemplate(c face.Call, do func(verify.TextTemplate) error) error {
	return onVersion(c, func() (verify.TextTemplate, int, error) {
		t, err := s.template(c)
		return t, t.Version, err
	}, do)
}

// template reads the template that a call's path names.
func (s *Server) template(c face.Call) (verify.TextTemplate, error) {
	id, err := verify.ParseID(c.PathValue("id"))
	if err != nil {
		return verify.TextTemplate{}, verify.ErrNoTemplate
	}
	return s.Service.Text(c.Context(), c.Account, id)
}

func texts(given []api.TemplateText) []verify.Text {
	all := make([]verify.Text, len(given))
	for i, x := range given {
		all[i] = verify.Text{Purpose: verify.Purpose(x.Purpose), Channel: verify.Channel(x.Channel), Locale: x.Locale, Text: x.Text}
	}
	return all
}

func taggedTemplate(c face.Call, t *verify.TextTemplate) api.Template {
	c.Header.Set("ETag", tag(t.Version))
	return wireTemplate(c, t)
}

func wireTemplate(c face.Call, t *verify.TextTemplate) api.Template {
	w := api.Template{ID: t.ID.String(), Name: t.Name, CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC()}
	for i := range t.Texts {
		x := &t.Texts[i]
		m := x.Measure(&c.Account.Project)
		w.Texts = append(w.Texts, api.MeasuredText{
			Purpose: string(x.Purpose), Channel: string(x.Channel), Locale: x.Locale, Text: x.Text,
			Characters: m.Characters, Segments: m.Segments, Encoding: m.Encoding,
		})
	}
	return w
}
