package sim

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/web"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("simulator").Parse(pageText))

// shown is how many messages the page shows.
const shown = 100

// Handler serves what was sent: GET /simulator for people, GET /simulator/messages for programs, and
// GET /simulator/messages/{id}/audio for who wants to hear a call.
// It asks for no credentials, so it answers only to loopback, and only under a loopback name: a page
// of another site, pointed here by its DNS, gets nothing.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /simulator", s.page)
	mux.HandleFunc("GET /simulator/messages", s.list)
	mux.HandleFunc("GET /simulator/messages/{id}/audio", s.play)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !web.Loopback(r.RemoteAddr) || !web.Loopback(r.Host) {
			http.Error(w, "the simulator answers on loopback only", http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// list answers ?to=NUMBER, in any spelling, or everything. A '+' that was not escaped arrives as a
// space; it is taken as the '+' that was meant.
func (s *Simulator) list(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	var to phone.Number
	if q := r.URL.Query().Get("to"); q != "" {
		if rest, ok := strings.CutPrefix(q, " "); ok {
			q = "+" + rest
		}
		n, err := phone.Parse(q)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]string{"error": "to: " + err.Error()})
			return
		}
		to = n
	}
	json.NewEncoder(w).Encode(map[string]any{"messages": s.Messages(to)})
}

// play answers what a call said.
func (s *Simulator) play(w http.ResponseWriter, r *http.Request) {
	wav, ok := s.Sound(r.Context(), r.PathValue("id"))
	if !ok {
		http.Error(w, "there is no such call", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "audio/wav")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(wav)) // players ask for parts
}

func (s *Simulator) page(w http.ResponseWriter, _ *http.Request) {
	all := s.Messages("")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	page.Execute(w, map[string]any{"Messages": all[:min(len(all), shown)], "Total": len(all), "Outcomes": Outcomes})
}
