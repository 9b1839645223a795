// Package syniverse serves Syniverse's MFA REST API. A client written for that API works with
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
// The same operations are served under /scg-external-api/api/v1. So are the messaging API's
// message templates, which an application may name. Three more paths serve the platform's token
// refresh, for clients that call it themselves.
//
// Where the published description is silent or contradicts itself, docs/decisions/ records the
// choice. Bodies have exactly the published fields, and lists have the three fields of the
// platform's other lists.
package syniverse

import (
	"net/http"
	"strings"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// The prefixes of the API's paths.
const (
	Prefix = "/mfa/v1/"
	alias  = "/scg-external-api/api/v1/"
)

// refreshPaths are the known paths of the token refresh.
var refreshPaths = []string{"/saop-rest-data/v1/apptoken-refresh", "/v1/apptoken-refresh", "/apptoken-refresh"}

// A Server serves the API.
type Server struct {
	face.API
	options Options
}

// New returns the mounts of the API.
func New(accounts *account.Service, service *verify.Service, log *outage.Log, o Options) []web.Mount {
	s := &Server{face.API{Accounts: accounts, Service: service, Log: log, Shape: shape(refusals(o.Refusals))}, o}
	mux := http.NewServeMux()
	s.operations(mux, Prefix)
	if !o.NoAlias {
		s.operations(mux, alias)
	}
	const templates = alias + "messaging/message_templates"
	mux.Handle("GET "+templates, s.Endpoint(s.templates))
	mux.Handle("POST "+templates, s.Endpoint(s.createTemplate))
	mux.Handle("GET "+templates+"/{template}", s.Endpoint(ofTemplate(s.template)))
	mux.Handle("POST "+templates+"/{template}", s.Endpoint(ofTemplate(s.changeTemplate)))
	mux.Handle("PUT "+templates+"/{template}", s.Endpoint(ofTemplate(s.replaceTemplate)))
	mux.Handle("DELETE "+templates+"/{template}", s.Endpoint(ofTemplate(s.deleteTemplate)))

	tokens := &face.API{Accounts: accounts, Service: service, Log: log, Shape: refreshShape}
	refresh := http.NewServeMux()
	for _, p := range refreshPaths {
		refresh.Handle("GET "+p, refreshToken(tokens))
	}
	return mounts(s.Exact(mux), tokens.Exact(refresh), &s.Shape)
}

// Away returns mounts that answer 503 while there is no database yet.
func Away() []web.Mount {
	s := shape(nil)
	return mounts(s.Away(), refreshShape.Away(), &s)
}

// mounts returns the mounts of the API and of the token refresh.
func mounts(api, tokens http.Handler, s *face.Shape) (all []web.Mount) {
	for _, p := range []string{Prefix, alias} {
		all = append(all, web.Mount{Name: "syniverse", Prefix: strings.TrimSuffix(p, "/"), Handler: api, Refuse: s.RefuseStatus})
	}
	for _, p := range refreshPaths {
		all = append(all, web.Mount{Name: "syniverse", Prefix: p, Handler: tokens, Refuse: refreshShape.RefuseStatus})
	}
	return all
}

// operations registers the operations of the MFA API.
func (s *Server) operations(mux *http.ServeMux, prefix string) {
	applications := prefix + "applications"
	application := applications + "/{application}"
	users := application + "/users"
	user := users + "/{user}"

	mux.Handle("GET "+applications, s.Endpoint(s.applications))
	mux.Handle("POST "+applications, s.Endpoint(s.createApplication))
	mux.Handle("GET "+application, s.Endpoint(ofApplication(s.application)))
	mux.Handle("POST "+application, s.Endpoint(ofApplication(s.changeApplication)))
	mux.Handle("PUT "+application, s.Endpoint(ofApplication(s.replaceApplication)))
	mux.Handle("DELETE "+application, s.Endpoint(ofApplication(s.deleteApplication)))

	mux.Handle("GET "+users, s.Endpoint(ofApplication(s.users)))
	mux.Handle("GET "+user, s.Endpoint(ofApplication(s.user)))
	mux.Handle("DELETE "+user, s.Endpoint(ofApplication(s.deleteUser)))
	mux.Handle("POST "+user+"/associate", s.Endpoint(ofApplication(s.associate)))
	mux.Handle("DELETE "+user+"/associate", s.Endpoint(ofApplication(s.dissociate)))
	mux.Handle("POST "+user+"/login_start", s.Endpoint(ofApplication(s.loginStart)))
	mux.Handle("POST "+user+"/validate", s.Endpoint(ofApplication(s.validate)))
}
