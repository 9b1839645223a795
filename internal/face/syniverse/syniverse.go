// Package syniverse serves Syniverse's MFA REST API, so that a client written for it works with
// only its base URL and bearer token changed:
//
//	GET    /mfa/v1/applications                                   list; POST creates one
//	GET    /mfa/v1/applications/{application}                     read; POST and PUT change, DELETE deletes
//	GET    /mfa/v1/applications/{application}/users               list
//	GET    /mfa/v1/applications/{application}/users/{user}        read; DELETE deletes
//	POST   …/users/{user}/associate                               attach an address, send a code to it; DELETE detaches
//	POST   …/users/{user}/login_start                             send a code to it
//	POST   …/users/{user}/validate                                check the latest code
//
// The same stands under /scg-external-api/api/v1, and beside it the messaging API's message
// templates, which an application may name. Three paths serve the platform's token refresh, for
// clients that call it by themselves.
//
// docs/decisions/ says what was chosen where the public record differs or is silent. Bodies carry
// exactly the published fields, and lists the three that the platform's other lists have.
package syniverse

import (
	"log/slog"
	"net/http"

	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// Where the API is.
const (
	Prefix = "/mfa/v1/"
	alias  = "/scg-external-api/api/v1/"
)

// refreshPaths are those under which the token refresh was seen.
var refreshPaths = []string{"/saop-rest-data/v1/apptoken-refresh", "/v1/apptoken-refresh", "/apptoken-refresh"}

// A Server is the API over the verification service.
type Server struct {
	verify   *verify.Service
	log      *slog.Logger
	options  Options
	refusals map[string]Refusal // by the code of a [verify.Error]
}

// New returns the API, to be mounted.
func New(service *verify.Service, log *slog.Logger, o Options) []web.Mount {
	s := &Server{service, log, o, refusals(o.Refusals)}
	mux := http.NewServeMux()
	s.operations(mux, Prefix)
	if !o.NoAlias {
		s.operations(mux, alias)
	}
	const templates = alias + "messaging/message_templates"
	mux.Handle("GET "+templates, s.endpoint(s.templates))
	mux.Handle("POST "+templates, s.endpoint(s.createTemplate))
	mux.Handle("GET "+templates+"/{template}", s.endpoint(s.template))
	mux.Handle("POST "+templates+"/{template}", s.endpoint(s.changeTemplate))
	mux.Handle("PUT "+templates+"/{template}", s.endpoint(s.replaceTemplate))
	mux.Handle("DELETE "+templates+"/{template}", s.endpoint(s.deleteTemplate))
	refresh := http.NewServeMux()
	for _, p := range refreshPaths {
		refresh.HandleFunc("GET "+p, s.refresh)
	}

	api, tokens := web.Exact(mux, refuse), web.Exact(refresh, refuseRefresh)
	mounts := []web.Mount{{Name: "syniverse", Prefix: Prefix, Handler: api}, {Name: "syniverse", Prefix: alias, Handler: api}}
	for _, p := range refreshPaths {
		mounts = append(mounts, web.Mount{Name: "syniverse", Prefix: p, Handler: tokens})
	}
	return mounts
}

// operations are those of the MFA API.
func (s *Server) operations(mux *http.ServeMux, prefix string) {
	applications := prefix + "applications"
	application := applications + "/{application}"
	users := application + "/users"
	user := users + "/{user}"

	mux.Handle("GET "+applications, s.endpoint(s.applications))
	mux.Handle("POST "+applications, s.endpoint(s.createApplication))
	mux.Handle("GET "+application, s.endpoint(s.application))
	mux.Handle("POST "+application, s.endpoint(s.changeApplication))
	mux.Handle("PUT "+application, s.endpoint(s.replaceApplication))
	mux.Handle("DELETE "+application, s.endpoint(s.deleteApplication))

	mux.Handle("GET "+users, s.endpoint(s.users))
	mux.Handle("GET "+user, s.endpoint(s.user))
	mux.Handle("DELETE "+user, s.endpoint(s.deleteUser))
	mux.Handle("POST "+user+"/associate", s.endpoint(s.associate))
	mux.Handle("DELETE "+user+"/associate", s.endpoint(s.dissociate))
	mux.Handle("POST "+user+"/login_start", s.endpoint(s.loginStart))
	mux.Handle("POST "+user+"/validate", s.endpoint(s.validate))
}
