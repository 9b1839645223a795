package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A request whose body was read before is logged and counted by its route, as others are.
func TestAnUnprovenRequestKeepsItsRoute(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /answers", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	h := new(Unproven).Handler(mux, 10, func(w http.ResponseWriter, status int) { w.WriteHeader(status) })
	for _, body := range []string{"", "said"} {
		r, w := httptest.NewRequest("POST", "/answers", strings.NewReader(body)), httptest.NewRecorder()
		if h.ServeHTTP(w, r); r.Pattern != "POST /answers" || w.Body.String() != body {
			t.Errorf("of the body %q: route %q, answer %q", body, r.Pattern, w.Body)
		}
	}
}
