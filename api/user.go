package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Statuses of a user.
const (
	UserInitial   = "initial"   // without a number
	UserPending   = "pending"   // nobody has shown yet that the number is theirs
	UserValidated = "validated" // a right code has shown it
)

// A NewUser asks whether a number is a user's. A user who isn't there is made.
type NewUser struct {
	User        string `json:"user" example:"ada" doc:"Your own name of the user: 1 to 255 characters, no slash."`
	Number      string `json:"number" example:"+12025550123" doc:"The number, in E.164."`
	Channel     string `json:"channel,omitempty" enum:"sms,voice" doc:"How the code is sent; the application's preferred channel by default."`
	DisplayName string `json:"display_name,omitempty" doc:"What the message calls you, instead of the application's name."`
}

// A Login asks for a code for a user whose number is validated.
type Login struct {
	Channel     string `json:"channel,omitempty" enum:"sms,voice,push" doc:"How the code is sent; push is to the user's devices; the application's preferred channel by default."`
	DisplayName string `json:"display_name,omitempty" doc:"What the message calls you, instead of the application's name."`
}

// A UserVerification asks for a verification of a user whose number is validated. In mode approve, a push asks on the
// user's devices: the user picks or types the number that your page shows. What its devices can't ask goes on as a code, by
// the application's other channels.
type UserVerification struct {
	Channel     string            `json:"channel,omitempty" enum:"sms,voice,push" doc:"The only channel by which the message goes; push is to the user's devices. By default, the application's channels in their order; in mode approve, push first."`
	Mode        string            `json:"mode,omitempty" enum:"code,approve" default:"code" doc:"code sends a code. approve asks on the user's devices."`
	DisplayName string            `json:"display_name,omitempty" doc:"What the message calls you, instead of the application's name."`
	Purpose     string            `json:"purpose,omitempty" pattern:"^[a-z0-9_-]{1,32}$" default:"verify" example:"login" doc:"What it is for, in a word of your own. The device shows it."`
	Amount      string            `json:"amount,omitempty" example:"49.90 EUR" doc:"The amount that the user authorizes, together with payee. The message says both, and a check must repeat both."`
	Payee       string            `json:"payee,omitempty" example:"Example Shop" doc:"Who gets the amount."`
	Client      *Asking           `json:"client,omitempty" doc:"The browser or app that asks you. A prompt shows it."`
	Metadata    map[string]string `json:"metadata,omitempty" doc:"At most 10 pairs of your own: keys of at most 40 characters, values of at most 200. Answers return them; nothing else uses or logs them."`
}

// A UserCheck is a code that a user typed.
type UserCheck struct {
	Code string `json:"code" example:"123456" doc:"What was typed. Spaces and hyphens don't count, nor does the case of letters."`
}

// A User is somebody whom you know by a name of yours, with the number that they say is theirs.
type User struct {
	User         string     `json:"user" doc:"Your own name of the user."`
	Number       string     `json:"number,omitempty" doc:"The number, in E.164."`
	Status       string     `json:"status" enum:"initial,pending,validated" doc:"Whether the number was shown to be theirs."`
	Verification string     `json:"verification,omitempty" format:"uuid" doc:"The user's latest verification."`
	VerifiedAt   *time.Time `json:"verified_at,omitempty" doc:"When a right code last showed that the number is theirs. A login's code counts."`
	VerifiedAge  *int       `json:"verified_age,omitempty" minimum:"0" doc:"How long ago that was, in seconds, by the server's clock."`
	CreatedAt    time.Time  `json:"created_at" doc:"When the user was made."`
	UpdatedAt    time.Time  `json:"updated_at" doc:"When the number or the status changed last."`
}

// A UserPage is a part of a list of users.
type UserPage struct {
	Users []User `json:"users" nullable:"false" doc:"In the order of their names."`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent at the end of the list."`
}

// A UserImport brings users whose numbers another service has validated.
type UserImport struct {
	Users []ImportedUser `json:"users" nullable:"false" minItems:"1" maxItems:"100" example:"[{\"user\":\"grace\",\"number\":\"+12025550124\"}]" doc:"Whom to import."`
}

// An ImportedUser is a user whose number another service has validated.
type ImportedUser struct {
	User       string     `json:"user" example:"grace" doc:"Your own name of the user: 1 to 255 characters, no slash."`
	Number     string     `json:"number" example:"+12025550124" doc:"The number, in E.164."`
	VerifiedAt *time.Time `json:"verified_at,omitempty" doc:"When the number was last shown to be theirs; the time of the import by default."`
}

// What becomes of a user of an import.
const (
	ImportCreated   = "created"
	ImportUnchanged = "unchanged" // the user was there, with this number and validated
	ImportRefused   = "refused"
)

// An ImportResult says what became of each user of an import.
type ImportResult struct {
	Created   int             `json:"created" minimum:"0" doc:"How many users were made."`
	Unchanged int             `json:"unchanged" minimum:"0" doc:"How many were there already, with this number and validated."`
	Refused   int             `json:"refused" minimum:"0" doc:"How many were refused."`
	Users     []ImportOutcome `json:"users" nullable:"false" doc:"In the order of the request."`
}

// An ImportOutcome says what became of one user of an import.
type ImportOutcome struct {
	User    string         `json:"user" doc:"Your own name of the user."`
	Outcome string         `json:"outcome" enum:"created,unchanged,refused" doc:"What became of the user."`
	Code    string         `json:"code,omitempty" doc:"Why the user was refused, for programs: one of the codes of problems."`
	Detail  string         `json:"detail,omitempty" doc:"Why the user was refused, for people."`
	Errors  []FieldProblem `json:"errors,omitempty" doc:"The fields that are wrong."`
}

func userPath(application, user string) string {
	return "/v1/applications/" + url.PathEscape(application) + "/users/" + url.PathEscape(user)
}

// Associate gives a user of an application a number, and sends a code there.
func (c *Client) Associate(ctx context.Context, application string, n NewUser) (u User, err error) {
	return u, c.call(ctx, http.MethodPost, "/v1/applications/"+url.PathEscape(application)+"/users", n, &u)
}

// ImportUsers makes users of an application whose numbers another service has validated, at most 100 at once. Nothing
// is sent. A user who is there already isn't changed.
func (c *Client) ImportUsers(ctx context.Context, application string, users []ImportedUser) (r ImportResult, err error) {
	return r, c.call(ctx, http.MethodPost, "/v1/applications/"+url.PathEscape(application)+"/imports", UserImport{Users: users}, &r)
}

// User reads a user of an application.
func (c *Client) User(ctx context.Context, application, user string) (u User, err error) {
	return u, c.call(ctx, http.MethodGet, userPath(application, user), nil, &u)
}

// Login sends a code to a user whose number is validated.
func (c *Client) Login(ctx context.Context, application, user string, l Login) (u User, err error) {
	return u, c.call(ctx, http.MethodPost, userPath(application, user)+"/login", l, &u)
}

// CheckUser spends a guess on a user's latest code.
func (c *Client) CheckUser(ctx context.Context, application, user, code string) (r CheckResult, err error) {
	return r, c.call(ctx, http.MethodPost, userPath(application, user)+"/check", UserCheck{Code: code}, &r)
}

// RemoveNumber takes a user's number.
func (c *Client) RemoveNumber(ctx context.Context, application, user string) error {
	return c.call(ctx, http.MethodDelete, userPath(application, user)+"/number", nil, nil)
}

// DeleteUser deletes a user.
func (c *Client) DeleteUser(ctx context.Context, application, user string) error {
	return c.call(ctx, http.MethodDelete, userPath(application, user), nil, nil)
}

// Users ranges over an application's users, in the order of their names; status, if it isn't "", selects some. It
// stops after an error.
func (c *Client) Users(ctx context.Context, application, status string) iter.Seq2[User, error] {
	return c.users(ctx, application, "status", status)
}

// UsersOf ranges over an application's users who have a number, as Users does.
func (c *Client) UsersOf(ctx context.Context, application, number string) iter.Seq2[User, error] {
	return c.users(ctx, application, "number", number)
}

func (c *Client) users(ctx context.Context, application, filter, value string) iter.Seq2[User, error] {
	query := url.Values{}
	if value != "" {
		query.Set(filter, value)
	}
	return pages(ctx, c, "/v1/applications/"+url.PathEscape(application)+"/users", query, func(p *UserPage) ([]User, string) { return p.Users, p.Next })
}
