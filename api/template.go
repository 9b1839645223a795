package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// A NewTemplate asks for a template.
type NewTemplate struct {
	Name  string         `json:"name" example:"login" pattern:"^[a-z0-9_-]{1,64}$" doc:"By which starts name it; unique in the project."`
	Texts []TemplateText `json:"texts" nullable:"false" minItems:"1" maxItems:"64" example:"[{\"text\":\"{code} is your code. It works for {minutes} minutes.\"}]" doc:"One for each purpose, channel and locale that needs its own. At most 16384 bytes together."`
}

// A TemplateText is a text of a template. What it leaves out, it is for all of.
type TemplateText struct {
	Purpose string `json:"purpose,omitempty" pattern:"^[a-z0-9_-]{1,32}$" example:"login" doc:"For which purpose."`
	Channel string `json:"channel,omitempty" enum:"sms,voice" doc:"For which channel."`
	Locale  string `json:"locale,omitempty" example:"de" doc:"For which language: a BCP 47 tag. pt is for pt-BR, too."`
	Text    string `json:"text" example:"{code} is your code." doc:"With {code}, and at will {minutes}. A text for payments has {amount} and {payee}. At most 1600 characters, 500 in a call, and as many segments as the server's max_segments says: 3 by default."`
}

// A TemplateChange changes what it names of a template.
type TemplateChange struct {
	Name  *string        `json:"name,omitempty" pattern:"^[a-z0-9_-]{1,64}$" doc:"By which starts name it."`
	Texts []TemplateText `json:"texts,omitempty" minItems:"1" maxItems:"64" doc:"All texts: they replace those that there are."`
}

// A Template is a project's name for texts.
type Template struct {
	ID        string         `json:"id" format:"uuid" doc:"Names the template in later requests about it."`
	Name      string         `json:"name" doc:"By which starts name it."`
	Texts     []MeasuredText `json:"texts,omitempty" doc:"A list of templates leaves them out."`
	CreatedAt time.Time      `json:"created_at" doc:"When it was made."`
	UpdatedAt time.Time      `json:"updated_at" doc:"When it was changed last."`
}

// A MeasuredText is a text of a template with its size, as it goes out with a code of six digits. Where it says a
// payment, an amount of 10 and a payee of 20 characters are counted.
type MeasuredText struct {
	Purpose    string `json:"purpose,omitempty" doc:"For which purpose; absent: for all."`
	Channel    string `json:"channel,omitempty" enum:"sms,voice" doc:"For which channel; absent: for all."`
	Locale     string `json:"locale,omitempty" doc:"For which language; absent: for all."`
	Text       string `json:"text" doc:"The text."`
	Characters int    `json:"characters" minimum:"1" doc:"How many characters the message has."`
	Segments   int    `json:"segments,omitempty" minimum:"1" doc:"How many segments the text message has: networks bill each. Absent for a call."`
	Encoding   string `json:"encoding,omitempty" enum:"GSM-7,UCS-2" doc:"GSM-7 has 160 characters in one segment, and 153 in each of more. UCS-2 has 70 and 67; one character outside of the GSM alphabet is enough for it."`
}

// A TemplatePage is a part of a list of templates.
type TemplatePage struct {
	Templates []Template `json:"templates" nullable:"false" doc:"The oldest first, without their texts."`
	Next      string     `json:"next,omitempty" doc:"The cursor of the next page; absent at the end of the list."`
}

// CreateTemplate makes a template.
func (c *Client) CreateTemplate(ctx context.Context, n NewTemplate) (t Template, err error) {
	return t, c.call(ctx, http.MethodPost, "/v1/templates", n, &t)
}

// Template reads a template.
func (c *Client) Template(ctx context.Context, id string) (t Template, err error) {
	return t, c.call(ctx, http.MethodGet, "/v1/templates/"+url.PathEscape(id), nil, &t)
}

// ChangeTemplate changes what the change names.
func (c *Client) ChangeTemplate(ctx context.Context, id string, change TemplateChange) (t Template, err error) {
	return t, c.call(ctx, http.MethodPatch, "/v1/templates/"+url.PathEscape(id), change, &t)
}

// DeleteTemplate deletes a template.
func (c *Client) DeleteTemplate(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/templates/"+url.PathEscape(id), nil, nil)
}

// Templates ranges over the project's templates without their texts, the oldest first. It stops after an error.
func (c *Client) Templates(ctx context.Context) iter.Seq2[Template, error] {
	return pages(ctx, c, "/v1/templates", url.Values{}, func(p *TemplatePage) ([]Template, string) { return p.Templates, p.Next })
}
