package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type verificationCommand struct {
	Show verificationShow `cmd:"" help:"Show a verification and its timeline: start, attempts, receipts, end."`
}

type verificationShow struct {
	database
	ID     string `arg:"" name:"verification" help:"Verification id: 36 characters, as a start answers it, and as the log and 'destination show' have it."`
	Reveal bool   `help:"Show the whole number. It is written down who did it."`
}

// Help explains more than a line can.
func (verificationShow) Help() string {
	return `Answers why somebody didn't get a code. 'countersign destination show' lists the ids of a number's verifications:

  countersign destination show --config countersign.yaml --project PROJECT +12025550100
  countersign verification show --config countersign.yaml 01a20029-6a76-707d-92b4-bf58e9f1b6d1

It never shows a code. The number is masked without --reveal.`
}

// Run implements the command.
func (c *verificationShow) Run(w world) error {
	id, err := verify.ParseID(strings.TrimSpace(c.ID))
	if err != nil {
		return usageError("verification: must be an id of 36 characters, such as 01a20029-6a76-707d-92b4-bf58e9f1b6d1; the log has it as 'verification', and 'countersign destination show' lists those of a number")
	}
	return c.with(w.ctx, false, func(st *store.Store) error {
		s, err := c.find(w.ctx, st, id)
		if errors.Is(err, verify.ErrNotFound) {
			return fmt.Errorf("verification %v: there is none in this database; it may be in another one, or past its retention: 'countersign destination show' lists those of a number", id)
		}
		if err != nil {
			return err
		}
		number := s.Reach().Masked()
		if c.Reveal {
			by := done("verification reveal", fmt.Sprintf("%v, number %s", id, number))
			by.Project = s.Project
			if err := st.Record(w.ctx, by); err != nil {
				return err
			}
			number = string(s.Reach())
		}
		return s.print(w, c.JSON, number, time.Now())
	})
}

// shown is all that the database tells of a verification.
type shown struct {
	*verify.Verification
	attempts    []verify.Delivery // that have ended
	application string            // its id as APIs show it
	key         string            // its name; "": nobody knows
}

func (c *verificationShow) find(ctx context.Context, st *store.Store, id verify.ID) (s shown, err error) {
	if s.Verification, err = st.Verification(ctx, id); err != nil {
		return s, err
	}
	if s.attempts, err = st.Deliveries(ctx, id); err != nil {
		return s, err
	}
	keys, err := st.Keys(ctx, s.Project)
	if err != nil {
		return s, err
	}
	if i := slices.IndexFunc(keys, func(k verify.Key) bool { return k.ID == s.APIKey }); i >= 0 {
		s.key = keys[i].Name
	}
	all, err := st.AllApplications(ctx, s.Project)
	s.application = s.Application.Base62() // it may be deleted
	if i := slices.IndexFunc(all, func(a verify.Application) bool { return a.ID == s.Application }); i >= 0 {
		s.application = applicationName(all[i])
	}
	return s, err
}

func (s shown) print(w world, asJSON bool, number string, now time.Time) error {
	facts, events := s.facts(number, now), s.timeline(now)
	if asJSON {
		return printJSON(w, append(facts, field{"", "timeline", objects(events, event.row)}).object())
	}
	var lines [][]string
	names, values := facts.line()
	for i := range names {
		lines = append(lines, []string{names[i], values[i]})
	}
	if err := printTable(w, lines); err != nil {
		return err
	}
	fmt.Fprintln(w.stdout)
	return printRows(w, false, events, event.row)
}

// facts are what a verification is now.
func (s shown) facts(number string, now time.Time) row {
	key := "unknown"
	var keyID any
	if !s.APIKey.IsZero() {
		key, keyID = strings.TrimSpace(s.key+" "+s.APIKey.String()), s.APIKey
	}
	next, nextAt := s.next()
	state := delivery(*s.Verification)
	if next != "" {
		state = fmt.Sprintf("%s; %s %s", state, next, precise(nextAt))
	}
	return row{
		{"verification", "id", s.ID}, {"project", "project", s.Project}, {"application", "application", s.application},
		{"key", "", key}, {"", "key", keyID}, {"", "key_name", s.key}, {"client", "address", cmp.Or(s.Address, "unknown")},
		{"number", "number", number}, {"channel", "channel", s.Channel}, {"status", "status", s.StatusAt(now).String()},
		{"guesses", "", fmt.Sprintf("%d of %d", s.Guesses, s.MaxAttempts)}, {"", "guesses", s.Guesses}, {"", "max_attempts", s.MaxAttempts},
		{"delivery", "", state}, {"", "delivery", s.Delivery.String()}, {"", "reason", s.Reason}, {"", "next_at", stamped(nextAt)},
		{"started", "started_at", precise(s.ID.Time())}, {"expires", "expires_at", precise(s.ExpiresAt)}, {"", "ended_at", stamped(s.EndedAt)},
	}
}

// next says what is still to come of a message, and when.
func (s shown) next() (what string, at time.Time) {
	switch {
	case s.Delivery == verify.Queued:
		what = "next attempt at"
	case s.Delivery == verify.Sending:
		what = fmt.Sprintf("attempt %d has until", s.Attempt)
	case s.Watched():
		what = "its receipt is awaited until"
	default:
		return "", at
	}
	return what, s.DueAt
}

// An event is one thing that happened to a verification.
type event struct {
	at      time.Time
	what    string // started, attempt, a delivery's outcome, receipt, or how the verification ended
	attempt int    // 0: it isn't about one
	channel verify.Channel
	carrier string
	result  string // of a receipt
	reason  string
	ref     string
	call    verify.Call
	note    string // for people
}

// timeline is what happened, the oldest first. The database has no times of single guesses, and none of an
// attempt that hasn't ended.
func (s shown) timeline(now time.Time) []event {
	all := []event{{at: s.ID.Time(), what: "started", channel: s.Channel}}
	for _, d := range s.attempts {
		e := event{attempt: d.Attempt, channel: cmp.Or(d.Channel, s.Channel), carrier: d.Carrier}
		began, ended := e, e
		began.at, began.what = d.StartedAt, "attempt"
		ended.at, ended.what, ended.reason, ended.ref, ended.call = d.EndedAt, d.Outcome.String(), d.Reason.String(), d.Ref, d.Call
		if d.Reason != verify.ReasonLeaseLost { // of such a one only the lease's end is known
			all = append(all, began)
		}
		all = append(all, ended)
		if d.Receipt != verify.NoReceipt {
			e.at, e.what, e.result, e.reason = d.ReceiptAt, "receipt", d.Receipt.String(), d.ReceiptReason.String()
			all = append(all, e)
		}
	}
	switch status := s.StatusAt(now); {
	case !s.EndedAt.IsZero():
		all = append(all, event{at: s.EndedAt, what: status.String(), note: fmt.Sprintf("after %d of %d guesses", s.Guesses, s.MaxAttempts)})
	case status == verify.Expired:
		all = append(all, event{at: s.ExpiresAt, what: status.String(), note: fmt.Sprintf("after %d of %d guesses", s.Guesses, s.MaxAttempts)})
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	return all
}

func (e event) row() row {
	attempt := ""
	if e.attempt > 0 {
		attempt = fmt.Sprint(e.attempt)
	}
	return row{
		{"TIME", "time", precise(e.at)}, {"EVENT", "", strings.TrimSpace(e.what + " " + e.result)}, {"", "event", e.what}, {"", "result", e.result},
		{"ATTEMPT", "", attempt}, {"", "attempt", e.attempt}, {"CHANNEL", "channel", e.channel}, {"CARRIER", "carrier", e.carrier},
		{"REASON", "reason", e.reason}, {"", "ref", e.ref}, {"", "call", called(e.call)}, {"DETAIL", "", e.detail()},
	}
}

// detail is what people are told beside.
func (e event) detail() string {
	details := []string{e.note}
	if e.ref != "" {
		details = append(details, "ref "+e.ref)
	}
	if c := e.call; c.Made() {
		details = append(details, fmt.Sprintf("rang %v, talked %v, %d keys, status %d", c.Ring, c.Talk, c.Keys, c.Status))
	}
	return strings.Join(slices.DeleteFunc(details, func(s string) bool { return s == "" }), "; ")
}

// called is how an attempt's call went, for programs; nil: there was none of ours.
func called(c verify.Call) any {
	if !c.Made() {
		return nil
	}
	return row{
		{"", "ring_seconds", c.Ring}, {"", "answered_at", stamped(c.Answered)}, {"", "talk_seconds", c.Talk}, {"", "keys", c.Keys},
		{"", "status", c.Status}, {"", "hung_up", c.HungUp},
	}.object()
}

// precise writes an instant to the millisecond: what happens within a second has an order.
func precise(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// stamped is such an instant for programs; nil: there is none.
func stamped(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return precise(t)
}
