package verify

import (
	"strings"
	"time"

	"github.com/countersign/countersign/internal/money"
)

// A CountryLimit bounds the messages to a country's numbers: those of all projects together, or of one. Several limits may
// hold for a message. Each message counts that the limits of its number charge, whether a carrier took it or not.
type CountryLimit struct {
	Project ProjectID // "": all
	Country string    // two letters of ISO 3166, or [phone.World]

	// MaxPrice is the most that one message may be: what its carrier takes, and what the project is charged. Of a call it
	// is the first minute. [NoCap]: any.
	MaxPrice     money.Amount
	HourMessages int // [NoCap]: any number
	DayMessages  int

	At    time.Time
	Actor string
	Note  string
}

// NoCountryLimit bounds nothing.
func NoCountryLimit(p ProjectID, country string) CountryLimit {
	return CountryLimit{Project: p, Country: country, MaxPrice: NoCap, HourMessages: NoCap, DayMessages: NoCap}
}

// Counts reports whether messages are counted.
func (l *CountryLimit) Counts() bool { return l.HourMessages != NoCap || l.DayMessages != NoCap }

// Bounds reports whether anything is bound.
func (l *CountryLimit) Bounds() bool { return l.Counts() || l.MaxPrice != NoCap }

// Key names the limit among budgets.
func (l *CountryLimit) Key() ProjectID { return CountryKey(l.Project, l.Country) }

// CountryKey names a country's limit among budgets; a project of "" is all. No project has such an id.
func CountryKey(p ProjectID, country string) ProjectID { return p + "/" + ProjectID(country) }

// SplitKey says of whom a budget is. The country of a project's own is "".
func SplitKey(key ProjectID) (p ProjectID, country string) {
	project, country, _ := strings.Cut(string(key), "/")
	return ProjectID(project), country
}

// A Weight is what a carrier has in a route while servers run, in place of the configuration's weight.
type Weight struct {
	Route   string // its conditions: see [route.Rule.Name]
	Carrier string
	Weight  int
	At      time.Time
	Actor   string
	Note    string
}
