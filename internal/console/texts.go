package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/countersign/countersign/internal/verify"
)

// textsShown is what the page of texts shows: a project's templates, and the texts of one of them.
type textsShown struct {
	Projects  []choice
	Templates []link
	Name      string // of the template that is shown; "": there is none
	Texts     []textShown
	Kept      []keptText // that applications name
	MoreKept  int
}

// A textShown is a text as its page shows it: what it is for, how large it is, and how a phone shows it.
type textShown struct {
	Purpose, Channel, Locale string
	Characters               int
	Segments, Encoding       string // "" for a call
	Preview                  string
	Call                     bool
}

type keptText struct{ Name, Kind, Text string }

// shownKept is how many texts are shown that applications name.
const shownKept = 50

// texts shows a project's texts: GET /texts?project=ID&template=NAME.
func (d desk) texts(w http.ResponseWriter, r *http.Request, p Person) error {
	projects, err := d.visible(r.Context(), p)
	if err != nil {
		return err
	}
	if len(projects) == 0 {
		d.show(w, r, http.StatusOK, textsPage, "Texts", textsShown{})
		return nil
	}
	id := cmp.Or(verify.ProjectID(r.URL.Query().Get("project")), projects[0].ID)
	i := slices.IndexFunc(projects, func(x verify.Project) bool { return x.ID == id })
	if i < 0 {
		return verify.ErrNotFound
	}
	project := projects[i]
	shown := textsShown{}
	for _, x := range projects {
		shown.Projects = append(shown.Projects, choice{string(x.ID), cmp.Or(x.Name, string(x.ID)), x.ID == id})
	}
	all, err := d.books.Texts(r.Context(), id)
	if err != nil {
		return err
	}
	if shown.Name = r.URL.Query().Get("template"); shown.Name == "" && len(all) > 0 {
		shown.Name = all[0].Name
	}
	for _, t := range all {
		shown.Templates = append(shown.Templates, link{t.Name, "/texts?" + url.Values{"project": {string(id)}, "template": {t.Name}}.Encode(), t.Name == shown.Name})
	}
	if shown.Name != "" {
		t, err := d.books.Text(r.Context(), id, shown.Name)
		if err != nil {
			return err
		}
		for i := range t.Texts {
			shown.Texts = append(shown.Texts, shownText(&t.Texts[i], &project))
		}
	}
	kept, err := d.books.Templates(r.Context(), id)
	if err != nil {
		return err
	}
	kept, shown.MoreKept = firstOf(kept, shownKept)
	for _, t := range kept {
		shown.Kept = append(shown.Kept, keptText{t.Name, t.Designation, t.Pattern})
	}
	d.show(w, r, http.StatusOK, textsPage, "Texts", shown)
	return nil
}

func shownText(x *verify.Text, project *verify.Project) textShown {
	m := x.Measure(project)
	full, c := x.Preview(project)
	t := textShown{
		Purpose: cmp.Or(string(x.Purpose), "all"), Channel: cmp.Or(string(x.Channel), "all"), Locale: cmp.Or(x.Locale, "all"),
		Characters: m.Characters, Encoding: m.Encoding, Preview: full, Call: c.IsCall(),
	}
	if m.Segments > 0 {
		t.Segments = fmt.Sprint(m.Segments)
	}
	return t
}
