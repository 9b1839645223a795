// Package v1 is the face of Countersign's own API, /v1. Its types are those of package api. One table of operations
// makes both the router and the OpenAPI description.
package v1

import (
	"net/http"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/request"
	"github.com/countersign/countersign/internal/verify"
)

// Prefix is the prefix of the API's paths, and Description the path of its OpenAPI description.
const (
	Prefix      = "/v1"
	Description = "/openapi.json"
)

// A Server answers the API's requests.
type Server struct {
	face.API
}

// New returns the API's handler, which serves all paths that begin with [Prefix].
func New(accounts *account.Service, service *verify.Service, log *outage.Log) http.Handler {
	s := &Server{API: face.API{Accounts: accounts, Service: service, Log: log, Shape: shape}}
	mux := http.NewServeMux()
	for _, o := range s.operations() {
		handler := s.Answering(o.status, o.scopes(), o.answer)
		if o.method == http.MethodPost {
			handler = keyed(handler)
		}
		mux.Handle(o.method+" "+o.path, handler)
	}
	return s.Exact(mux)
}

// Away answers 503 while there is no database yet.
func Away() http.Handler { return shape.Away() }

// Refuse writes a problem for a request that no operation has seen.
func Refuse(w http.ResponseWriter, status int) { shape.RefuseStatus(w, status) }

// operations is all that the API does.
func (s *Server) operations() []operation {
	return []operation{
		describe("POST", "/v1/verifications", "Start a verification",
			"Makes a code and sends it. When the answer arrives, the verification is on disk.",
			endpoint(s, http.StatusCreated, s.start, s.validate)).needing(verify.ScopeStart),
		describe("GET", "/v1/verifications", "List verifications",
			"Lists the project's verifications, the newest first.",
			query(s, s.list)).needing(verify.ScopeRead),
		describe("GET", "/v1/verifications/{id}", "Read a verification",
			"Reads a verification with its deliveries.",
			endpoint(s, http.StatusOK, s.read)).needing(verify.ScopeRead),
		describe("POST", "/v1/verifications/{id}/check", "Check a code",
			"Spends one guess. Without a code, it reads what the user said on their device, and spends none. What became of a known verification is never an error.",
			endpoint(s, http.StatusOK, s.check)).needing(verify.ScopeCheck),
		describe("POST", "/v1/verifications/{id}/resend", "Resend a code",
			"Sends the same code again. Neither its time nor its guesses begin anew. The answers about a pending verification say in resend_after when it may be.",
			endpoint(s, http.StatusOK, s.resend)).needing(verify.ScopeStart),
		describe("POST", "/v1/verifications/{id}/cancel", "Cancel a verification",
			"Ends a pending verification. Its code isn't sent any more and isn't accepted.",
			endpoint(s, http.StatusOK, s.cancel)).needing(verify.ScopeStart),
		describe("POST", "/v1/checks", "Check a code by number",
			"Checks a code for the latest verification of a number and purpose, so that you need to store nothing. It spends the same guesses as a check by id.",
			endpoint(s, http.StatusOK, s.checkNumber)).needing(verify.ScopeCheck),
		describe("GET", "/v1/applications", "List applications",
			"Lists the project's applications, the oldest first.",
			query(s, s.listApplications)).needing(verify.ScopeRead),
		describe("POST", "/v1/applications", "Create an application",
			"Makes an application: named settings of codes and messages, with users of its own.",
			endpoint(s, http.StatusCreated, s.createApplication)).needing(verify.ScopeApplications),
		describe("GET", "/v1/applications/{id}", "Read an application",
			"Reads an application. The header ETag names its version.",
			endpoint(s, http.StatusOK, s.readApplication)).needing(verify.ScopeRead),
		describe("PATCH", "/v1/applications/{id}", "Change an application",
			"Changes what the body names. With If-Match, only the version that it names is changed.",
			endpoint(s, http.StatusOK, s.changeApplication)).needing(verify.ScopeApplications),
		describe("DELETE", "/v1/applications/{id}", "Delete an application",
			"Deletes an application with its users. None of their codes is right any more.",
			endpoint(s, http.StatusNoContent, s.deleteApplication)).needing(verify.ScopeApplications),
		describe("GET", "/v1/applications/{id}/users", "List users",
			"Lists an application's users, in the order of their names.",
			query(s, s.listUsers)).needing(verify.ScopeRead),
		describe("POST", "/v1/applications/{id}/users", "Associate a user",
			"Gives a user a number, and sends a code there. The user is made if it isn't there; one whose number was validated is pending again.",
			endpoint(s, http.StatusCreated, s.associate)).needing(verify.ScopeStart),
		describe("POST", "/v1/applications/{id}/imports", "Import users",
			"Makes up to 100 users whose numbers another service has validated. Nothing is sent. A user who is there already isn't changed, so you can send the request again. The answer says what became of each.",
			endpoint(s, http.StatusOK, s.importUsers)).needing(verify.ScopeManage),
		describe("GET", "/v1/applications/{id}/users/{user}", "Read a user",
			"Reads a user.",
			endpoint(s, http.StatusOK, s.readUser)).needing(verify.ScopeRead),
		describe("DELETE", "/v1/applications/{id}/users/{user}", "Delete a user",
			"Deletes a user, and cancels their code.",
			endpoint(s, http.StatusNoContent, s.deleteUser)).needing(verify.ScopeApplications),
		describe("DELETE", "/v1/applications/{id}/users/{user}/number", "Remove a number",
			"Takes a user's number, and cancels their code.",
			endpoint(s, http.StatusNoContent, s.removeNumber)).needing(verify.ScopeApplications),
		describe("POST", "/v1/applications/{id}/users/{user}/login", "Send a login code",
			"Sends a code to a user whose number is validated.",
			endpoint(s, http.StatusOK, s.login)).needing(verify.ScopeStart),
		describe("POST", "/v1/applications/{id}/users/{user}/verifications", "Start a verification of a user",
			"Sends a code to a user whose number is validated, or asks them on their devices. POST /v1/verifications/{id}/check says what came of it.",
			endpoint(s, http.StatusCreated, s.startFor)).needing(verify.ScopeStart),
		describe("POST", "/v1/applications/{id}/users/{user}/prompts/reset", "Let a user get prompts again",
			"For a user who said that it wasn't them who asked, or let three prompts be, once you have recognized them in another way. The audit log has it.",
			endpoint(s, http.StatusNoContent, s.resetPrompts)).needing(verify.ScopeApplications),
		describe("POST", "/v1/applications/{id}/users/{user}/check", "Check a user code",
			"Spends one guess on a user's latest code. A right one validates the number.",
			endpoint(s, http.StatusOK, s.checkUser)).needing(verify.ScopeCheck),
		describe("GET", "/v1/applications/{id}/users/{user}/devices", "List devices",
			"Lists a user's devices, the oldest first. Their endpoints and keys can't be read again.",
			endpoint(s, http.StatusOK, s.listDevices)).needing(verify.ScopeRead),
		describe("POST", "/v1/applications/{id}/users/{user}/devices", "Register a device",
			"Registers a browser or an app of a user for pushes. It takes the place of a device of the application that has the same endpoint, whoever's that is.",
			endpoint(s, http.StatusCreated, s.registerDevice)).needing(verify.ScopeApplications),
		describe("POST", "/v1/applications/{id}/users/{user}/enrolments", "Let a browser register itself",
			"Makes a code with which a browser registers itself as a device of the user, on the server's page /device/. It works once, for ten minutes, and takes the place of the user's code before.",
			endpoint(s, http.StatusCreated, s.invite)).needing(verify.ScopeApplications),
		describe("DELETE", "/v1/applications/{id}/users/{user}/devices/{device}", "Remove a device",
			"Removes a device. Nothing is pushed to it any more.",
			endpoint(s, http.StatusNoContent, s.removeDevice)).needing(verify.ScopeApplications),
		describe("GET", "/v1/templates", "List templates",
			"Lists the project's templates without their texts, the oldest first.",
			query(s, s.listTemplates)).needing(verify.ScopeRead),
		describe("POST", "/v1/templates", "Create a template",
			"Makes a template: a name that starts use, with texts by purpose, channel and locale. The answer says how long each text is.",
			endpoint(s, http.StatusCreated, s.createTemplate)).needing(verify.ScopeManage),
		describe("GET", "/v1/templates/{id}", "Read a template",
			"Reads a template. The header ETag names its version.",
			endpoint(s, http.StatusOK, s.readTemplate)).needing(verify.ScopeRead),
		describe("PATCH", "/v1/templates/{id}", "Change a template",
			"Changes the name, or replaces all texts. With If-Match, only the version that it names is changed. What was started before keeps its text.",
			endpoint(s, http.StatusOK, s.changeTemplate)).needing(verify.ScopeManage),
		describe("DELETE", "/v1/templates/{id}", "Delete a template",
			"Deletes a template. What was started before keeps its text.",
			endpoint(s, http.StatusNoContent, s.deleteTemplate)).needing(verify.ScopeManage),
		describe("GET", "/v1/senders", "List senders",
			"Lists what the project's messages may come from, the server's public sender first.",
			endpoint(s, http.StatusOK, s.listSenders)).needing(verify.ScopeRead),
		describe("GET", "/v1/channels", "List channels",
			"Says by which channels a message can go to a number now. It depends on the number's country, and not on the number.",
			query(s, s.listChannels)).needing(verify.ScopeRead),
		describe("GET", "/v1/project", "Read the project",
			"Reads the policy, the limits and the senders of the key's project. Its operator changes them.",
			endpoint(s, http.StatusOK, s.readProject)).needing(verify.ScopeRead),
		describe("GET", "/v1/usage", "Read the usage",
			"Counts what the project used and what it is charged, by time and by whatever else you name. All that a verification uses counts for the hour in which it started.",
			query(s, s.readUsage)).needing(verify.ScopeRead),
		describe("GET", "/v1/budget", "Read the budget",
			"Reads what the project may spend, what it has spent, and its balance if it is prepaid. Its operator changes them. Days and months are those of UTC.",
			endpoint(s, http.StatusOK, s.readBudget)).needing(verify.ScopeRead),
		describe("GET", "/v1/keys", "List keys",
			"Lists the project's keys, the oldest first. Their secrets can't be read again.",
			query(s, s.listKeys)).needing(verify.ScopeManage),
		describe("POST", "/v1/keys", "Create a key",
			"Makes a key, which can do no more than the key that asks. The answer has its secret, this once.",
			endpoint(s, http.StatusCreated, s.createKey)).needing(verify.ScopeManage),
		describe("DELETE", "/v1/keys/{id}", "Revoke a key",
			"Revokes a key. It stops working within a second.",
			endpoint(s, http.StatusNoContent, s.revokeKey)).needing(verify.ScopeManage),
	}
}

// shape is how /v1 writes what all APIs do.
var shape = face.Shape{
	Authenticate: face.Bearer,
	Challenge:    "Bearer",
	Types:        []string{request.JSON},
	Optional:     true,
	Fields:       names,
	Statuses:     statuses,
	Refuse:       refuse,
}

// statuses are those of the service's errors.
var statuses = map[verify.Kind]int{
	verify.KindInvalid:         http.StatusUnprocessableEntity,
	verify.KindUnauthenticated: http.StatusUnauthorized,
	verify.KindForbidden:       http.StatusForbidden,
	verify.KindUnpaid:          http.StatusPaymentRequired,
	verify.KindChanged:         http.StatusPreconditionFailed,
	verify.KindNotFound:        http.StatusNotFound,
	verify.KindConflict:        http.StatusConflict,
	verify.KindLimited:         http.StatusTooManyRequests,
	verify.KindUnavailable:     http.StatusServiceUnavailable,
}

// refuse writes a problem.
func refuse(w http.ResponseWriter, f face.Failure) {
	p := api.Problem{Title: http.StatusText(f.Status), Status: f.Status, Code: unknown[f.Status].code, Detail: unknown[f.Status].detail}
	switch {
	case f.Known != nil:
		p.Code, p.Detail = f.Known.Code, f.Known.Message
	case f.Invalid != nil:
		p.Code, p.Detail = verify.ErrInvalid.Code, verify.ErrInvalid.Message
	}
	if f.Invalid != nil {
		for _, bad := range f.Invalid.Problems {
			p.Errors = append(p.Errors, api.FieldProblem{Field: bad.Field, Message: bad.Message})
		}
	}
	writeProblem(w, p)
}
