package syniverse

import (
	"strings"
	"time"

	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// What Syniverse's lists have of applications and users, and in which application a user is.
var (
	ApplicationFields = []string{
		"id", "name", "description", "auth_code_length", "auth_token_type", "auth_token_validity_duration", "auth_token_prefix", "auth_token_delivery_methods",
		"associate_template", "login_template", "display_name", "message_from", "created_date", "last_updated_date", "version_number",
	}
	UserFields = []string{"application", "id", "user_address", "status", "created_date", "last_updated_date", "version_number"}
)

// ReadApplication reads an application with its id as one of Syniverse's lists has it. It notes in the fields what can't
// be read.
func ReadApplication(in *request.Fields) verify.Application {
	a := settings(in, verify.Application{})
	a.ID = readID(in, "id")
	return a
}

// ReadUser reads a user and the application, or "" where the user doesn't name one. valid is false if the user's number
// isn't validated. It notes in the fields what can't be read.
func ReadUser(in *request.Fields) (u verify.ImportedUser, application verify.ID, valid bool) {
	if in.Text("application") != "" {
		application = readID(in, "application")
	}
	u = verify.ImportedUser{Name: in.Text("id"), Address: in.Text("user_address")}
	status := verify.UserValidated
	if text := in.Text("status"); text != "" {
		var err error
		if status, err = asStatus(text); err != nil {
			in.Wrong("status", err.Error())
		}
	}
	if raw := in.Raw("last_updated_date"); raw != nil {
		ms, err := asDate(strings.Trim(string(raw), `"`))
		if err != nil {
			in.Wrong("last_updated_date", err.Error())
		}
		u.VerifiedAt = time.UnixMilli(ms)
	}
	return u, application, status == verify.UserValidated
}

// readID reads an application's id, which isn't ours to choose.
func readID(in *request.Fields, name string) verify.ID {
	text := in.Text(name)
	id, err := verify.ParseAnyID(text)
	switch {
	case in.Problems[name] != "":
	case text == "":
		in.Wrong(name, "is missing")
	case err != nil || id.IsZero():
		in.Wrong(name, "must be the 22 letters and digits of a Syniverse id, or a UUID")
	}
	return id
}

// ImportField is what a table of applications or users calls a field.
func ImportField(f verify.Field) string {
	switch f {
	case verify.FieldUser:
		return "id"
	case verify.FieldAddress:
		return "user_address"
	case verify.FieldVerifiedAt:
		return "last_updated_date"
	}
	return published[f]
}
