package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/web"
)

// Handler serves the messages that were sent:
//
//	GET  /simulator/messages             all of them as JSON, or those ?to= a number
//	GET  /simulator/messages/{id}/audio  the sound of a call
//	POST /simulator/messages/{id}/keys   presses a key in a call
//
// It needs no credentials, so it is behind a [Guard]: a page of another site that reaches this server by a
// manipulated DNS name gets nothing.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /simulator/messages", s.list)
	mux.HandleFunc("GET /simulator/messages/{id}/audio", s.play)
	mux.HandleFunc("POST /simulator/messages/{id}/keys", s.press)
	return Guard(mux)
}

// Guard lets in loopback clients only, under a loopback host name, and no forms of other sites.
func Guard(h http.Handler) http.Handler {
	guarded := http.NewCrossOriginProtection().Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !web.Loopback(r.RemoteAddr) || !web.Loopback(r.Host) {
			http.Error(w, "the simulator answers on loopback only", http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		guarded.ServeHTTP(w, r)
	})
}

// list serves the messages to ?to=NUMBER, in any spelling, or all messages.
func (s *Simulator) list(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	var to phone.Number
	if q := r.URL.Query().Get("to"); q != "" {
		if rest, ok := strings.CutPrefix(q, " "); ok { // a + that the client didn't escape
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

// play serves the sound of a call.
func (s *Simulator) play(w http.ResponseWriter, r *http.Request) {
	wav, ok := s.Sound(r.Context(), r.PathValue("id"))
	if !ok {
		http.Error(w, "there is no such call", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "audio/wav")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(wav)) // players request ranges
}

// maxPress is the largest size of a request that presses a key, in bytes.
const maxPress = 1 << 10

// press presses a key in a call. Programs send {"key":"1"}, and the page's form sends key=1.
func (s *Simulator) press(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxPress)
	form := strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	var in struct{ Key string }
	if form {
		in.Key = r.PostFormValue("key")
	} else if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, `the body must be {"key":"1"} or {"key":"9"}`, http.StatusBadRequest)
		return
	}
	if len(in.Key) != 1 {
		in.Key = "?"
	}
	err := s.Press(r.PathValue("id"), in.Key[0])
	switch {
	case errors.Is(err, ErrNoCall):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrKey):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusConflict)
	case form:
		http.Redirect(w, r, "/simulator", http.StatusSeeOther)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
