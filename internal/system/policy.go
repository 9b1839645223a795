package system

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/verify"
)

// Policy is what operators have changed of where messages go: GET /policy on the operations listener. What isn't named is allowed.
type Policy struct {
	Countries []PolicyEntry `json:"countries"`
	Carriers  []PolicyEntry `json:"carriers"`
}

// A PolicyEntry is the state of a country or a carrier, and who has changed it.
type PolicyEntry struct {
	Name  string    `json:"name"`
	State string    `json:"state"`
	At    time.Time `json:"at"`
	Actor string    `json:"actor"`
	Note  string    `json:"note"`
}

// A PolicyChange asks for another state: PUT /policy/countries/{name} and /policy/carriers/{name}. Actor is who asks, for the audit
// log.
type PolicyChange struct {
	State string `json:"state"` // of a country: allowed, watched or stopped; of a carrier: allowed or drained
	Actor string `json:"actor"`
	Note  string `json:"note"`
}

func (s *System) readPolicy(w http.ResponseWriter, r *http.Request) {
	if !s.byOperator(w, r) {
		return
	}
	stops, err := admin.New(s.Store).Stops(r.Context())
	if err != nil {
		s.refusePolicy(w, err)
		return
	}
	p := Policy{Countries: []PolicyEntry{}, Carriers: []PolicyEntry{}}
	for _, stop := range stops {
		all := &p.Countries
		if stop.Kind == verify.StopCarrier {
			all = &p.Carriers
		}
		*all = append(*all, PolicyEntry{stop.Name, stop.Kind.State(), stop.At.UTC(), stop.Actor, stop.Note})
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(p)
}

// maxActor bounds the name of who asks.
const maxActor = 100

// changePolicy carries out a change with the function for the state that it asks for.
func (s *System) changePolicy(to map[string]func(ctx context.Context, by admin.Actor, name, note string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.byOperator(w, r) {
			return
		}
		var c PolicyChange
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096))
		body.DisallowUnknownFields()
		if err := body.Decode(&c); err != nil {
			http.Error(w, "the body must be JSON with state, actor and note: "+err.Error(), http.StatusBadRequest)
			return
		}
		change := to[c.State]
		if change == nil || !verify.IsLabel(c.Actor, maxActor) {
			http.Error(w, "state must be allowed, or watched or stopped of a country, or drained of a carrier; actor must be who asks, in 1 to 100 printable characters", http.StatusUnprocessableEntity)
			return
		}
		if err := change(r.Context(), admin.Actor("api: "+c.Actor), r.PathValue("name"), c.Note); err != nil && !errors.Is(err, verify.ErrNotStopped) {
			s.refusePolicy(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// countryStates and carrierStates are the changes by the states that they lead to.
func (s *System) countryStates() map[string]func(ctx context.Context, by admin.Actor, name, note string) error {
	a := admin.New(s.Store)
	return map[string]func(ctx context.Context, by admin.Actor, name, note string) error{
		"stopped": a.StopCountry, "watched": a.WatchCountry,
		"allowed": func(ctx context.Context, by admin.Actor, name, _ string) error { return a.AllowCountry(ctx, by, name) },
	}
}

func (s *System) carrierStates() map[string]func(ctx context.Context, by admin.Actor, name, note string) error {
	a := admin.New(s.Store)
	return map[string]func(ctx context.Context, by admin.Actor, name, note string) error{
		"drained": func(ctx context.Context, by admin.Actor, name, note string) error {
			if !s.HasCarrier(name) {
				return verify.ErrNotFound
			}
			return a.DrainCarrier(ctx, by, name, note)
		},
		"allowed": func(ctx context.Context, by admin.Actor, name, _ string) error { return a.ResumeCarrier(ctx, by, name) },
	}
}

// refusePolicy says what is wrong with a change.
func (s *System) refusePolicy(w http.ResponseWriter, err error) {
	var known *verify.Error
	switch {
	case errors.Is(err, verify.ErrNotFound):
		http.Error(w, "this server's configuration has no such carrier", http.StatusNotFound)
	case errors.As(err, &known) && known.Kind == verify.KindInvalid:
		http.Error(w, known.Error(), http.StatusUnprocessableEntity)
	default:
		complain(s.outages, "change where messages go", err)
		http.Error(w, "the database can't do it now: try again", http.StatusServiceUnavailable)
	}
}
