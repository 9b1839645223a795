package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/countersign/countersign/api"
)

type templateCommand struct {
	List   templateList   `cmd:"" help:"List a project's templates, by a running server."`
	Show   templateShow   `cmd:"" help:"Show a template with its texts and their sizes."`
	Create templateCreate `cmd:"" help:"Create a template."`
	Change templateChange `cmd:"" help:"Replace the texts of a template."`
	Delete templateDelete `cmd:"" help:"Delete a template."`
}

// asksByKey ends the help of commands that ask a running server.
const asksByKey = `The API key comes from the variable COUNTERSIGN_TOKEN. It exits with 0; with 1 if the server refuses or doesn't answer; and with 2 if the command line is wrong or there is no key.`

type templateList struct {
	remote
	output
}

// Help explains more than a line can.
func (templateList) Help() string { return asksByKey + ` The key needs the scope read.` }

// Run implements the command.
func (c *templateList) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	all := []api.Template{}
	for t, err := range client.Templates(w.ctx) {
		if err != nil {
			return c.explain(err)
		}
		all = append(all, t)
	}
	if c.JSON {
		return printJSON(w, all)
	}
	return printRows(w, false, all, func(t api.Template) row {
		return row{{"NAME", "", t.Name}, {"TEMPLATE", "", t.ID}, {"CREATED", "", t.CreatedAt}, {"UPDATED", "", t.UpdatedAt}}
	})
}

// oneTemplate names a template.
type oneTemplate struct {
	remote
	output
	Name string `arg:"" name:"template" help:"Name of the template, or its id."`
}

// find returns the id of the template, and its name.
func (c *oneTemplate) find(w world, client *api.Client) (id, name string, err error) {
	for t, err := range client.Templates(w.ctx) {
		if err != nil {
			return "", "", c.explain(err)
		}
		if t.Name == c.Name || t.ID == c.Name {
			return t.ID, t.Name, nil
		}
	}
	return "", "", fmt.Errorf("template %s: there is none; 'countersign template list' lists those that there are", c.Name)
}

type templateShow struct{ oneTemplate }

// Help explains more than a line can.
func (templateShow) Help() string {
	return `The sizes are those of a message with a code of six digits. ` + asksByKey + ` The key needs the scope read.`
}

// Run implements the command.
func (c *templateShow) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	id, _, err := c.find(w, client)
	if err != nil {
		return err
	}
	t, err := client.Template(w.ctx, id)
	if err != nil {
		return c.explain(err)
	}
	return printTemplate(w, c.JSON, t)
}

func printTemplate(w world, asJSON bool, t api.Template) error {
	if asJSON {
		return printJSON(w, t)
	}
	return printRows(w, false, t.Texts, func(x api.MeasuredText) row {
		segments := ""
		if x.Segments > 0 { // a call has none
			segments = strconv.Itoa(x.Segments)
		}
		return row{
			{"PURPOSE", "", cmp.Or(x.Purpose, "all")}, {"CHANNEL", "", cmp.Or(x.Channel, "all")}, {"LOCALE", "", cmp.Or(x.Locale, "all")},
			{"CHARACTERS", "", x.Characters}, {"SEGMENTS", "", segments}, {"ENCODING", "", x.Encoding}, {"TEXT", "", x.Text},
		}
	})
}

// wordings are where the texts of a template come from.
type wordings struct {
	Text string `help:"Text for all purposes, channels and locales, with {code} in it."`
	File string `help:"File with the texts: a JSON array as GET /v1/templates/{id} has it in texts. '-' is standard input."`
}

const fromWhere = `The texts come from --text, for one text, or from --file:

  countersign template create login --text '{code} is your code. It works for {minutes} minutes.'
  countersign template create login --file texts.json

where texts.json has, for example:

  [{"text": "{code} is your code."}, {"locale": "de", "text": "{code} ist Ihr Code."}, {"channel": "voice", "text": "Your code is {code}."}]

Starts name the template. Each text may have a purpose, a channel and a locale; what it leaves out, it is for all of.
`

// read reads the texts.
func (c *wordings) read(w world) ([]api.TemplateText, error) {
	switch {
	case (c.Text == "") == (c.File == ""):
		return nil, usageError("give one of --text and --file")
	case c.Text != "":
		return []api.TemplateText{{Text: c.Text}}, nil
	}
	text, err := readInput(w, c.File)
	if err != nil {
		return nil, usageError("--file: " + err.Error())
	}
	var texts []api.TemplateText
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&texts); err != nil {
		return nil, usageError(fmt.Sprintf("--file %s: must be a JSON array of objects with text, and purpose, channel and locale where they are needed: %v", c.File, err))
	}
	return texts, nil
}

// readInput reads a file, or standard input for "-".
func readInput(w world, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(w.stdin)
	}
	return os.ReadFile(path)
}

type templateCreate struct {
	remote
	output
	wordings
	Name string `arg:"" help:"Name, by which starts name it: 1 to 64 of a to z, 0 to 9, _ and -."`
}

// Help explains more than a line can.
func (templateCreate) Help() string {
	return fromWhere + asksByKey + ` The key needs the scope manage.`
}

// Run implements the command.
func (c *templateCreate) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	texts, err := c.read(w)
	if err != nil {
		return err
	}
	t, err := client.CreateTemplate(w.ctx, api.NewTemplate{Name: c.Name, Texts: texts})
	if err != nil {
		return c.explain(err)
	}
	return printTemplate(w, c.JSON, t)
}

type templateChange struct {
	oneTemplate
	wordings
	Rename string `help:"New name, by which starts name it."`
}

// Help explains more than a line can.
func (templateChange) Help() string {
	return `What was started before keeps its text. ` + fromWhere + asksByKey + ` The key needs the scopes read and manage.`
}

// Run implements the command.
func (c *templateChange) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var change api.TemplateChange
	if c.Rename != "" {
		change.Name = &c.Rename
	}
	if c.Rename == "" || c.Text != "" || c.File != "" {
		if change.Texts, err = c.read(w); err != nil {
			return err
		}
		if len(change.Texts) == 0 {
			return usageError("--file: has no text")
		}
	}
	id, _, err := c.find(w, client)
	if err != nil {
		return err
	}
	t, err := client.ChangeTemplate(w.ctx, id, change)
	if err != nil {
		return c.explain(err)
	}
	return printTemplate(w, c.JSON, t)
}

type templateDelete struct{ oneTemplate }

// Help explains more than a line can.
func (templateDelete) Help() string {
	return `Starts that name the template are refused then; what was started before keeps its text. ` + asksByKey + ` The key needs the scopes read and manage.`
}

// Run implements the command.
func (c *templateDelete) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	id, name, err := c.find(w, client)
	if err != nil {
		return err
	}
	var p *api.Problem
	if err := client.DeleteTemplate(w.ctx, id); err != nil && !(errors.As(err, &p) && p.Status == 404) { // somebody else was faster
		return c.explain(err)
	}
	return printDone(w, c.JSON, row{{"", "id", id}, {"", "name", name}}, "Deleted template %s.", name)
}
