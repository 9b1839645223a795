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
	s.Serve(mux, s.routes())
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

// routes are all that the API serves, the token refresh aside.
func (s *Server) routes() []face.Route {
	all := s.operations(Prefix)
	if !s.options.NoAlias {
		all = append(all, s.operations(alias)...)
	}
	const templates = alias + "messaging/message_templates"
	return append(all,
		face.On("GET "+templates, verify.ScopeRead, s.templates),
		face.On("POST "+templates, verify.ScopeApplications, s.createTemplate),
		face.On("GET "+templates+"/{template}", verify.ScopeRead, ofTemplate(s.template)),
		face.On("POST "+templates+"/{template}", verify.ScopeApplications, ofTemplate(s.changeTemplate)),
		face.On("PUT "+templates+"/{template}", verify.ScopeApplications, ofTemplate(s.replaceTemplate)),
		face.On("DELETE "+templates+"/{template}", verify.ScopeApplications, ofTemplate(s.deleteTemplate)),
	)
}

// operations are the operations of the MFA API.
func (s *Server) operations(prefix string) []face.Route {
	applications := prefix + "applications"
	application := applications + "/{application}"
	users := application + "/users"
	user := users + "/{user}"
	return []face.Route{
		face.On("GET "+applications, verify.ScopeRead, s.applications),
		face.On("POST "+applications, verify.ScopeApplications, s.createApplication),
		face.On("GET "+application, verify.ScopeRead, ofApplication(s.application)),
		face.On("POST "+application, verify.ScopeApplications, ofApplication(s.changeApplication)),
		face.On("PUT "+application, verify.ScopeApplications, ofApplication(s.replaceApplication)),
		face.On("DELETE "+application, verify.ScopeApplications, ofApplication(s.deleteApplication)),

		face.On("GET "+users, verify.ScopeRead, ofApplication(s.users)),
		face.On("GET "+user, verify.ScopeRead, ofApplication(s.user)),
		face.On("DELETE "+user, verify.ScopeApplications, ofApplication(s.deleteUser)),
		face.On("POST "+user+"/associate", verify.ScopeStart, ofApplication(s.associate)),
		face.On("DELETE "+user+"/associate", verify.ScopeApplications, ofApplication(s.dissociate)),
		face.On("POST "+user+"/login_start", verify.ScopeStart, ofApplication(s.loginStart)),
		face.On("POST "+user+"/validate", verify.ScopeCheck, ofApplication(s.validate)),
	}
}
