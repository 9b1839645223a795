package web

import (
	"encoding/json"
	"math"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Respond answers compact JSON without a line end: clients have matched it to the letter.
func Respond(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err) // our own types
	}
	h := w.Header()
	h["Content-Type"], h["Content-Length"] = asJSON, []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body)
}

var asJSON = []string{"application/json"} // shared, as noStore is

// Seconds is a wait as Retry-After has it. It rounds up, so that who waits as told doesn't come too
// early.
func Seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}

// Exact serves the routes of mux, and has what they don't take refused in the API's own shape: 405
// with Allow where another method is served at the path, else 404. That is also for a path like
// "//sms", which the mux alone would redirect: a redirect could turn a client's POST into a GET, or
// lose its body. A wildcard may hold "%2F", and "%2E%2E". The mux is Exact's from then on.
func Exact(mux *http.ServeMux, refuse func(w http.ResponseWriter, status int)) http.Handler {
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		r.Pattern = "" // no route's, for who counts
		if allowed := methods(mux, r); len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			refuse(w, http.StatusMethodNotAllowed)
			return
		}
		refuse(w, http.StatusNotFound)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.EscapedPath(); path.Clean(p) != p { // what the mux looks at
			refuse(w, http.StatusNotFound)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// methods lists those that a request's path is served for, sorted.
func methods(mux *http.ServeMux, r *http.Request) []string {
	probe := *r
	return slices.DeleteFunc([]string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"}, func(m string) bool {
		probe.Method = m
		_, pattern := mux.Handler(&probe)
		return pattern == "/"
	})
}
