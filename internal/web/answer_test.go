package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWaitsAreWholeSecondsAndNeverTooShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "1", 0: "1", time.Nanosecond: "1", time.Second: "1", time.Second + 1: "2", 119*time.Second + time.Millisecond: "120", 24 * time.Hour: "86400",
	} {
		if got := Seconds(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestExactServesItsPathsAndNoOthers(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	serve := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Pattern+" "+r.PathValue("name")) }
	for _, pattern := range []string{"POST /api/start", "GET /api/things", "POST /api/things", "DELETE /api/things/{name}", "PUT /api/things/{name}/on"} {
		mux.HandleFunc(pattern, serve)
	}
	h := Exact(mux, func(w http.ResponseWriter, status int) { w.WriteHeader(status) })
	type answer struct {
		Status      int
		Allow, Body string
	}
	none := answer{404, "", ""}
	for request, want := range map[string]answer{
		"POST /api/start":                     {200, "", "POST /api/start "},
		"GET /api/things":                     {200, "", "GET /api/things "},
		"HEAD /api/things":                    {200, "", "GET /api/things "},
		"DELETE /api/things/a":                {200, "", "DELETE /api/things/{name} a"},
		"DELETE /api/things/a%2Fb":            {200, "", "DELETE /api/things/{name} a/b"},
		"DELETE /api/things/%2e%2E":           {200, "", "DELETE /api/things/{name} .."},
		"DELETE /api/things/a%20+%25":         {200, "", "DELETE /api/things/{name} a +%"},
		"PUT /api/things/%61/on":              {200, "", "PUT /api/things/{name}/on a"},
		"GET /api/start":                      {405, "POST", ""},
		"PATCH /api/things":                   {405, "GET, HEAD, POST", ""},
		"post /api/start":                     {405, "POST", ""},
		"OPTIONS /api/things/a%2Fb":           {405, "DELETE", ""},
		"GET /api":                            none,
		"POST /api/start/":                    none,
		"POST //api/start":                    none,
		"POST /api//start":                    none,
		"POST /api/./start":                   none,
		"POST /api/x/../start":                none,
		"POST /api/%73tart/x":                 none,
		"DELETE /api/things/a/b":              none,
		"DELETE /api/things/":                 none,
		"PUT /api/things//on":                 none,
		"GET http://example.com":              none,
		"GET http://other.example/api/nought": none,
	} {
		w := httptest.NewRecorder()
		method, target, _ := strings.Cut(request, " ")
		h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
		if diff := cmp.Diff(want, answer{w.Code, w.Header().Get("Allow"), w.Body.String()}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", request, diff)
		}
	}
}
