package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// A carrierLine is a carrier as its page shows it.
type carrierLine struct {
	Name, Link, State, Tone string
	Stop                    string // to the page that drains it; "": not for this person, or drained
	Test                    string // to the page that sends a test message; "": not for this person
	Binds, Queue, Rate      string
	Accepted, Failed, Why   string
	Breakers                []breakerLine
}

type breakerLine struct {
	Country, Project, State, Tone, Until string
	Failures                             int
}

// carriersShown is what the page of carriers shows.
type carriersShown struct {
	Carriers []carrierLine
	MayStop  bool
	Stopped  []stopping // also those that this server doesn't have
}

// carriers shows how the carriers do on the server that answers.
func (d desk) carriers(w http.ResponseWriter, r *http.Request, p Person) error {
	page := carriersShown{MayStop: p.mayStop()}
	var err error
	if page.Stopped, err = d.stopsOf(r.Context(), verify.StopCarrier); err != nil {
		return err
	}
	for _, c := range d.server.Carriers() {
		line := lineOfCarrier(&c)
		drained := slices.ContainsFunc(page.Stopped, func(s stopping) bool { return s.Name == c.Name })
		if page.MayStop && !drained {
			line.Stop = stopLink(verify.StopCarrier, c.Name)
		}
		if page.MayStop {
			line.Test = "/test?" + url.Values{"carrier": {c.Name}}.Encode()
		}
		page.Carriers = append(page.Carriers, line)
	}
	d.show(w, r, http.StatusOK, carriersPage, "Carriers", page)
	return nil
}

func lineOfCarrier(c *system.Carrier) carrierLine {
	l := carrierLine{Name: c.Name, Link: "/traffic/rows?" + url.Values{"carrier": {c.Name}}.Encode(), Queue: fmt.Sprintf("%d of %d", c.Queued, c.Queue)}
	l.State, l.Tone = stateOf(c)
	if b := c.Binds; b != nil {
		l.Binds = fmt.Sprintf("%d of %d", b.Up, b.Wanted)
	}
	if c.Rate > 0 {
		l.Rate = strconv.FormatFloat(c.Rate, 'f', -1, 64) + " a second"
	}
	if !c.Accepted.IsZero() {
		l.Accepted = at(c.Accepted)
	}
	if f := c.Failed; f != nil {
		what := "attempt"
		if f.Receipt {
			what = "receipt"
		}
		l.Failed, l.Why = at(f.At), strings.Join(present(what, f.Country, words(f.Reason.String()), f.Code), " · ")
	}
	for _, b := range c.Breakers {
		line := breakerLine{Country: cmp.Or(b.Country, "unknown"), Project: b.Project, State: b.State, Failures: b.Failures, Tone: map[string]string{"open": "bad", "half-open": "wait"}[b.State]}
		if !b.Until.IsZero() {
			line.Until = at(b.Until)
		}
		l.Breakers = append(l.Breakers, line)
	}
	return l
}

// stateOf says in a few words how a carrier does, and the class of the pill.
func stateOf(c *system.Carrier) (state, tone string) {
	_, stuck := c.Stuck()
	open := c.Open()
	switch {
	case c.Drained:
		return "drained by an operator", "wait"
	case stuck:
		return "takes nothing: " + words(c.Failed.Reason.String()), "bad"
	case c.Binds != nil && c.Binds.Up == 0:
		return "no bind is up", "bad"
	case len(open) > 0:
		return "passed by: " + strings.Join(open, ", "), "bad"
	case c.Binds != nil && c.Binds.Up < c.Binds.Wanted:
		return "some binds are down", "wait"
	case c.Queued >= c.Queue:
		return "the queue is full", "wait"
	case c.Accepted.IsZero() && c.Failed == nil:
		return "no message yet", "none"
	case c.Accepted.IsZero():
		return "no message taken yet", "wait"
	}
	return "works", ""
}

// words are a stored word as people write it.
func words(stored string) string { return strings.ReplaceAll(stored, "_", " ") }

// present are the texts that aren't empty.
func present(all ...string) (some []string) {
	for _, text := range all {
		if text != "" {
			some = append(some, text)
		}
	}
	return some
}
