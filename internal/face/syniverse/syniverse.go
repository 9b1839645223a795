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
	for _, r := range s.routes() {
		mux.Handle(r.pattern, s.Endpoint(r.needs, r.f))
	}
	tokens := &face.API{Accounts: accounts, Service: service, Log: log, Shape: refreshShape}
	refresh := http.NewServeMux()
	for _, p := range refreshPaths {
		refresh.Handle("GET "+p, refreshToken(tokens))
	}
	return mounts(s.Exact(mux), tokens.Exact(refresh))
}

// Away returns mounts that answer 503 while there is no database yet.
func Away() []web.Mount {
	s := shape(nil)
	return mounts(s.Away(), refreshShape.Away())
}

// mounts returns the mounts of the API and of the token refresh.
func mounts(api, tokens http.Handler) (all []web.Mount) {
	for _, p := range []string{Prefix, alias} {
		all = append(all, web.Mount{Name: "syniverse", Prefix: strings.TrimSuffix(p, "/"), Handler: api})
	}
	for _, p := range refreshPaths {
		all = append(all, web.Mount{Name: "syniverse", Prefix: p, Handler: tokens})
	}
	return all
}

// A route is one operation at one path, and what a key needs for it.
type route struct {
	pattern string
	needs   verify.Scopes
	f       func(face.Call) (any, error)
}

// routes are all that the API serves, the token refresh aside.
func (s *Server) routes() []route {
	all := s.operations(Prefix)
	if !s.options.NoAlias {
		all = append(all, s.operations(alias)...)
	}
	const templates = alias + "messaging/message_templates"
	return append(all,
		route{"GET " + templates, verify.ScopeRead, s.templates},
		route{"POST " + templates, verify.ScopeApplications, s.createTemplate},
		route{"GET " + templates + "/{template}", verify.ScopeRead, ofTemplate(s.template)},
		route{"POST " + templates + "/{template}", verify.ScopeApplications, ofTemplate(s.changeTemplate)},
		route{"PUT " + templates + "/{template}", verify.ScopeApplications, ofTemplate(s.replaceTemplate)},
		route{"DELETE " + templates + "/{template}", verify.ScopeApplications, ofTemplate(s.deleteTemplate)},
	)
}

// operations are the operations of the MFA API.
func (s *Server) operations(prefix string) []route {
	applications := prefix + "applications"
	application := applications + "/{application}"
	users := application + "/users"
	user := users + "/{user}"
	return []route{
		{"GET " + applications, verify.ScopeRead, s.applications},
		{"POST " + applications, verify.ScopeApplications, s.createApplication},
		{"GET " + application, verify.ScopeRead, ofApplication(s.application)},
		{"POST " + application, verify.ScopeApplications, ofApplication(s.changeApplication)},
		{"PUT " + application, verify.ScopeApplications, ofApplication(s.replaceApplication)},
		{"DELETE " + application, verify.ScopeApplications, ofApplication(s.deleteApplication)},

		{"GET " + users, verify.ScopeRead, ofApplication(s.users)},
		{"GET " + user, verify.ScopeRead, ofApplication(s.user)},
		{"DELETE " + user, verify.ScopeApplications, ofApplication(s.deleteUser)},
		{"POST " + user + "/associate", verify.ScopeStart, ofApplication(s.associate)},
		{"DELETE " + user + "/associate", verify.ScopeApplications, ofApplication(s.dissociate)},
		{"POST " + user + "/login_start", verify.ScopeStart, ofApplication(s.loginStart)},
		{"POST " + user + "/validate", verify.ScopeCheck, ofApplication(s.validate)},
	}
}
