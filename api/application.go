package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// A NewApplication asks for an application. What it leaves out takes a default.
type NewApplication struct {
	Name              string   `json:"name" example:"shop" doc:"For people: 1 to 255 characters."`
	Description       *string  `json:"description,omitempty" doc:"For people, at most 1024 characters."`
	CodeLength        *int     `json:"code_length,omitempty" minimum:"4" maximum:"20" doc:"How many characters codes have: 6 by default."`
	CodeFormat        *string  `json:"code_format,omitempty" enum:"numeric,alpha,alphanumeric,complex" doc:"What codes are made of: numeric by default."`
	ValidFor          *int     `json:"valid_for,omitempty" minimum:"30" maximum:"86400" doc:"How long codes can be used, in seconds: 600 by default."`
	MaxAttempts       *int     `json:"max_attempts,omitempty" minimum:"1" maximum:"20" doc:"How many guesses at a code are evaluated: 5 by default."`
	Prefix            *string  `json:"prefix,omitempty" doc:"Stands before every code, such as G-. At most 16 characters."`
	Channels          []string `json:"channels,omitempty" doc:"sms, voice, push: how users may be reached, the preferred one first. Where the first fails, the next is tried."`
	AssociateTemplate *string  `json:"associate_template,omitempty" doc:"The text that asks a user to confirm a number: a template's name or id, or a text with $validation_code."`
	LoginTemplate     *string  `json:"login_template,omitempty" doc:"The text that has a login's code."`
	DisplayName       *string  `json:"display_name,omitempty" doc:"What these texts call you; the name by default."`
	Sender            *string  `json:"sender,omitempty" doc:"The number or name that messages come from. The project must be allowed to use it."`
	UniqueNumbers     *bool    `json:"unique_numbers,omitempty" doc:"Whether a number is one user's at most: false by default."`
}

// An ApplicationChange changes what it names of an application. The rest stays as it is.
type ApplicationChange struct {
	Name              *string  `json:"name,omitempty" doc:"For people: 1 to 255 characters."`
	Description       *string  `json:"description,omitempty" doc:"For people, at most 1024 characters."`
	CodeLength        *int     `json:"code_length,omitempty" minimum:"4" maximum:"20" doc:"How many characters codes have: 6 by default."`
	CodeFormat        *string  `json:"code_format,omitempty" enum:"numeric,alpha,alphanumeric,complex" doc:"What codes are made of: numeric by default."`
	ValidFor          *int     `json:"valid_for,omitempty" minimum:"30" maximum:"86400" doc:"How long codes can be used, in seconds: 600 by default."`
	MaxAttempts       *int     `json:"max_attempts,omitempty" minimum:"1" maximum:"20" doc:"How many guesses at a code are evaluated: 5 by default."`
	Prefix            *string  `json:"prefix,omitempty" doc:"Stands before every code, such as G-. At most 16 characters."`
	Channels          []string `json:"channels,omitempty" doc:"sms, voice, push: how users may be reached, the preferred one first. Where the first fails, the next is tried."`
	AssociateTemplate *string  `json:"associate_template,omitempty" doc:"The text that asks a user to confirm a number: a template's name or id, or a text with $validation_code."`
	LoginTemplate     *string  `json:"login_template,omitempty" doc:"The text that has a login's code."`
	DisplayName       *string  `json:"display_name,omitempty" doc:"What these texts call you; the name by default."`
	Sender            *string  `json:"sender,omitempty" doc:"The number or name that messages come from. The project must be allowed to use it."`
	UniqueNumbers     *bool    `json:"unique_numbers,omitempty" doc:"Whether a number is one user's at most: false by default."`
}

// An Application is a project's named settings of codes and messages. It has users.
type Application struct {
	ID                string    `json:"id" format:"uuid" doc:"Names the application in later requests."`
	Name              string    `json:"name" doc:"For people."`
	Description       string    `json:"description,omitempty" doc:"For people."`
	CodeLength        int       `json:"code_length" doc:"How many characters codes have."`
	CodeFormat        string    `json:"code_format" enum:"numeric,alpha,alphanumeric,complex" doc:"What codes are made of."`
	ValidFor          int       `json:"valid_for" doc:"How long codes can be used, in seconds."`
	MaxAttempts       int       `json:"max_attempts" doc:"How many guesses at a code are evaluated."`
	Prefix            string    `json:"prefix,omitempty" doc:"Stands before every code."`
	Channels          []string  `json:"channels" nullable:"false" doc:"How users may be reached, the preferred one first."`
	AssociateTemplate string    `json:"associate_template,omitempty" doc:"The text that asks a user to confirm a number."`
	LoginTemplate     string    `json:"login_template,omitempty" doc:"The text that has a login's code."`
	DisplayName       string    `json:"display_name,omitempty" doc:"What these texts call you."`
	Sender            string    `json:"sender,omitempty" doc:"The number or name that messages come from."`
	UniqueNumbers     bool      `json:"unique_numbers" doc:"Whether a number is one user's at most."`
	CreatedAt         time.Time `json:"created_at" doc:"When it was made."`
	UpdatedAt         time.Time `json:"updated_at" doc:"When it was changed last."`
}

// An ApplicationPage is a part of a list of applications.
type ApplicationPage struct {
	Applications []Application `json:"applications" nullable:"false" doc:"The oldest first."`
	Next         string        `json:"next,omitempty" doc:"The cursor of the next page; absent at the end of the list."`
}

// CreateApplication makes an application.
func (c *Client) CreateApplication(ctx context.Context, n NewApplication) (a Application, err error) {
	return a, c.call(ctx, http.MethodPost, "/v1/applications", n, &a)
}

// Application reads an application.
func (c *Client) Application(ctx context.Context, id string) (a Application, err error) {
	return a, c.call(ctx, http.MethodGet, "/v1/applications/"+url.PathEscape(id), nil, &a)
}

// ChangeApplication changes what the change names.
func (c *Client) ChangeApplication(ctx context.Context, id string, change ApplicationChange) (a Application, err error) {
	return a, c.call(ctx, http.MethodPatch, "/v1/applications/"+url.PathEscape(id), change, &a)
}

// DeleteApplication deletes an application with its users.
func (c *Client) DeleteApplication(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/applications/"+url.PathEscape(id), nil, nil)
}

// Applications ranges over the project's applications, the oldest first. It stops after an error.
func (c *Client) Applications(ctx context.Context) iter.Seq2[Application, error] {
	return pages(ctx, c, "/v1/applications", url.Values{}, func(p *ApplicationPage) ([]Application, string) { return p.Applications, p.Next })
}
