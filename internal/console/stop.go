package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// A stopping is a country or a carrier that an operator may stop, or has stopped.
type stopping struct {
	Kind    verify.StopKind
	Name    string
	Stopped bool
	Since   string
	Who     string
	Why     string
	Problem string
}

// Country reports whether a country is stopped, and not a carrier.
func (s stopping) Country() bool { return s.Kind == verify.StopCountry }

// Link leads to the page that asks before it stops or allows.
func (s stopping) Link() string { return stopLink(s.Kind, s.Name) }

func stopLink(kind verify.StopKind, name string) string {
	return "/stop?" + url.Values{string(kind): {name}}.Encode()
}

// Back is the page on which the change is seen.
func (s stopping) Back() string {
	if s.Country() {
		return "/traffic"
	}
	return "/carriers"
}

// stopsOf lists what operators have stopped of a kind, by name.
func (d desk) stopsOf(ctx context.Context, kind verify.StopKind) (all []stopping, err error) {
	stops, err := d.books.Stops(ctx)
	for _, s := range stops {
		if s.Kind == kind {
			all = append(all, stopping{Kind: s.Kind, Name: s.Name, Stopped: true, Since: at(s.At), Who: s.Actor, Why: s.Note})
		}
	}
	return all, err
}

// stopNamed reads what a request is about: country, or carrier. What no server could stop isn't there.
func (d desk) stopNamed(r *http.Request) (s stopping, err error) {
	s = stopping{Kind: verify.StopCountry, Name: strings.ToUpper(strings.TrimSpace(r.FormValue("country")))}
	if s.Name == "" {
		s = stopping{Kind: verify.StopCarrier, Name: r.FormValue("carrier")}
	}
	stops, err := d.stopsOf(r.Context(), s.Kind)
	if err != nil {
		return s, err
	}
	if i := slices.IndexFunc(stops, func(o stopping) bool { return o.Name == s.Name }); i >= 0 {
		return stops[i], nil
	}
	known := phone.IsRegion(s.Name)
	if !s.Country() {
		known = d.server.HasCarrier(s.Name)
	}
	if !known {
		return s, errNothingToStop
	}
	return s, nil
}

var errNothingToStop = errors.New("that is no country in two letters, such as US, and no carrier of this server's configuration")

// askStop asks before something is stopped or allowed: GET /stop?country=LK or ?carrier=gateway.
func (d desk) askStop(w http.ResponseWriter, r *http.Request, _ Person) error {
	s, err := d.stopNamed(r)
	if err != nil {
		return err
	}
	d.showStop(w, r, http.StatusOK, s)
	return nil
}

func (d desk) showStop(w http.ResponseWriter, r *http.Request, status int, s stopping) {
	d.show(w, r, status, stopPage, "Stop or allow", s)
}

// stop stops messages to a country, or by a carrier, as countersign country stop and carrier drain do.
func (d desk) stop(w http.ResponseWriter, r *http.Request, p Person) error {
	s, err := d.stopNamed(r)
	if err != nil {
		return err
	}
	s.Why = r.PostFormValue("note")
	do := d.books.DrainCarrier
	if s.Country() {
		do = d.books.StopCountry
	}
	err = do(r.Context(), p.actor(), s.Name, s.Why)
	var known *verify.Error
	if errors.As(err, &known) && known.Kind == verify.KindInvalid && len(known.Problems) > 0 {
		s.Problem = "The " + string(known.Problems[0].Field) + " " + known.Problems[0].Message + "."
		d.showStop(w, r, http.StatusUnprocessableEntity, s)
		return nil
	}
	return s.done(w, r, err)
}

// allow allows again what was stopped. What somebody else has allowed meanwhile is no error.
func (d desk) allow(w http.ResponseWriter, r *http.Request, p Person) error {
	s, err := d.stopNamed(r)
	if err != nil {
		return err
	}
	do := d.books.ResumeCarrier
	if s.Country() {
		do = d.books.AllowCountry
	}
	if err = do(r.Context(), p.actor(), s.Name); errors.Is(err, verify.ErrNotStopped) {
		err = nil
	}
	return s.done(w, r, err)
}

// done leads to the page on which a change is seen.
func (s stopping) done(w http.ResponseWriter, r *http.Request, err error) error {
	if err == nil {
		http.Redirect(w, r, s.Back(), http.StatusSeeOther)
	}
	return err
}

// mayStop reports whether a person may stop something.
func (p Person) mayStop() bool { return p.may(operator.RoleOperator, true) }
