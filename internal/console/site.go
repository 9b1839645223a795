package console

import (
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/web"
)

// Site serves the console as browsers reach it at a URL: what the pages are made of, the sign-in, and behind it the
// pages. A provider signs people in as well, unless it is nil.
func Site(at string, operators *operator.Service, provider *operator.Provider, server *system.System, log *slog.Logger) http.Handler {
	in := NewSignIn(operators, log, at)
	if provider != nil {
		in.AddProvider(provider)
	}
	mux := http.NewServeMux()
	mux.Handle(Prefix, Assets())
	mux.Handle("/sign-in", in.Handler())
	mux.Handle("/sign-in/", in.Handler())
	mux.Handle("/", in.Require(Pages(server, log)))
	return named(at, mux)
}

// Open serves the console of dev, to browsers on this machine, who need no sign-in.
func Open(server *system.System, log *slog.Logger) http.Handler {
	pages := http.NewCrossOriginProtection().Handler(Pages(server, log))
	mux := http.NewServeMux()
	mux.Handle(Prefix, Assets())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !web.Loopback(r.RemoteAddr) {
			http.Error(w, "the console of dev is for this machine only", http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		pages.ServeHTTP(w, r.WithContext(WithPerson(r.Context(), Person{Name: "dev", Role: operator.RoleAdmin})))
	})
	return named("http://localhost", mux)
}

// named refuses requests that name another host. A page elsewhere, whose name leads to this machine, would ask so.
func named(at string, next http.Handler) http.Handler {
	own := at
	if u, err := url.Parse(at); err == nil {
		own = u.Hostname()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !strings.EqualFold(host, own) && !(web.Loopback(own) && web.Loopback(r.Host)) {
			http.Error(w, "this is the console at "+at+": a proxy in front must pass the Host on", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
