package verify

import "time"

// A StopKind is what an operator has stopped.
type StopKind string

// The kinds.
const (
	StopCountry StopKind = "country" // no message goes to its numbers, of any project
	Watch       StopKind = "watch"   // of a country: messages go to its numbers, and are counted and logged
	StopCarrier StopKind = "carrier" // it gets no message; others do
)

// State is the word for what a stop of the kind does: "stopped", "watched" or "drained".
func (k StopKind) State() string {
	return map[StopKind]string{StopCountry: "stopped", Watch: "watched", StopCarrier: "drained"}[k]
}

// A Stop is what an operator has stopped, or watches, while servers run, until they allow it again. A country is stopped or watched,
// and never both.
type Stop struct {
	Kind  StopKind
	Name  string // two letters of ISO 3166, or a carrier's name
	At    time.Time
	Actor string
	Note  string
}
