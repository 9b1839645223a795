package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/verify"
)

type verificationCommand struct {
	Show   verificationShow   `cmd:"" help:"Show a verification and its timeline: start, attempts, receipts, end."`
	List   verificationList   `cmd:"" help:"List verifications, by a running server."`
	Cancel verificationCancel `cmd:"" help:"Cancel a pending verification, by a running server."`
	Resend verificationResend `cmd:"" help:"Send a pending verification's code again, by a running server."`
}

type verificationShow struct {
	database
	remote
	ID     string `arg:"" name:"verification" help:"Verification id: 36 characters, as a start answers it, and as the log and 'destination show' have it."`
	Reveal bool   `help:"Show the whole number. It is written down who did it."`
}

// Help explains more than a line can.
func (verificationShow) Help() string {
	return `Answers why somebody didn't get a code. 'countersign destination show' lists the ids of a number's verifications:

  countersign destination show --config countersign.yaml --project PROJECT +12025550100
  countersign verification show --config countersign.yaml 01a20029-6a76-707d-92b4-bf58e9f1b6d1

It never shows a code. The number is masked without --reveal.

Without a database, by flag or variable, but with an API key in the variable COUNTERSIGN_TOKEN, it asks a running server by its API: then it shows the project's own verifications only, with their whole number.
It exits with 0; with 1 if there is no such verification, or if the server or the database doesn't answer; and with 2 if the command line is wrong.`
}

// Run implements the command.
func (c *verificationShow) Run(w world) error {
	id, err := verify.ParseID(strings.TrimSpace(c.ID))
	if err != nil {
		return usageError("verification: must be an id of 36 characters, such as 01a20029-6a76-707d-92b4-bf58e9f1b6d1; the log has it as 'verification', and 'countersign destination show' lists those of a number")
	}
	if c.asksServer() {
		return c.showRemote(w, id.String())
	}
	err = c.wherever(w.ctx, func(a *admin.Service) error {
		s, err := a.Story(w.ctx, id)
		if err != nil {
			return err
		}
		number := s.Reach().Masked()
		if c.Reveal {
			whole, err := a.Reveal(w.ctx, actor(), s.Verification)
			if err != nil {
				return err
			}
			number = string(whole)
		}
		return shown{s}.print(w, c.JSON, number, time.Now())
	})
	if errors.Is(err, verify.ErrNotFound) {
		return fmt.Errorf("verification %v: there is none in this database; it may be in another one, or past its retention: 'countersign destination show' lists those of a number", id)
	}
	return err
}

// shown is a verification's story, as it is printed.
type shown struct{ admin.Story }

func (s shown) print(w world, asJSON bool, number string, now time.Time) error {
	facts, events := s.facts(number, now), s.Timeline(now)
	if asJSON {
		return printJSON(w, append(facts, field{"", "timeline", objects(events, eventRow)}).object())
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
	return printRows(w, false, events, eventRow)
}

// facts are what a verification is now.
func (s shown) facts(number string, now time.Time) row {
	key := "unknown"
	var keyID any
	if !s.APIKey.IsZero() {
		key, keyID = strings.TrimSpace(s.KeyName+" "+s.APIKey.String()), s.APIKey
	}
	next, nextAt := s.next()
	state := delivery(*s.Verification)
	if next != "" {
		state = fmt.Sprintf("%s; %s %s", state, next, precise(nextAt))
	}
	return row{
		{"verification", "id", s.ID}, {"project", "project", s.Project}, {"application", "application", s.Story.Application},
		{"key", "", key}, {"", "key", keyID}, {"", "key_name", s.KeyName}, {"client", "address", cmp.Or(s.Address, "unknown")},
		{"number", "number", number}, {"channel", "channel", s.Channel}, {"status", "status", s.StatusAt(now).String()},
		{"guesses", "", fmt.Sprintf("%d of %d", s.Guesses, s.MaxAttempts)}, {"", "guesses", s.Guesses}, {"", "max_attempts", s.MaxAttempts},
		{"delivery", "", state}, {"", "delivery", s.Delivery.String()}, {"", "reason", s.Reason}, {"", "next_at", stamped(nextAt)},
		{"started", "started_at", precise(s.ID.Time())}, {"expires", "expires_at", precise(s.ExpiresAt)}, {"", "ended_at", stamped(s.EndedAt)},
		{"price", "", paid(s.Fee.Price, s.Fee.Currency)}, {"", "price", programMoney(s.Fee.Price, s.Fee.Currency)},
	}
}

// next says what is still to come of a message, and when.
func (s shown) next() (what string, at time.Time) {
	switch {
	case s.Delivery == verify.DeliveryQueued:
		what = "next attempt at"
	case s.Delivery == verify.DeliverySending:
		what = fmt.Sprintf("attempt %d has until", s.Attempt)
	case s.Watched():
		what = "its receipt is awaited until"
	default:
		return "", at
	}
	return what, s.DueAt
}

func eventRow(e admin.Event) row {
	attempt := ""
	if e.Attempt > 0 {
		attempt = fmt.Sprint(e.Attempt)
	}
	return row{
		{"TIME", "time", precise(e.At)}, {"EVENT", "", strings.TrimSpace(e.What + " " + e.Result)}, {"", "event", e.What}, {"", "result", e.Result},
		{"ATTEMPT", "", attempt}, {"", "attempt", e.Attempt}, {"CHANNEL", "channel", e.Channel}, {"CARRIER", "carrier", e.Carrier},
		{"REASON", "reason", e.Reason}, {"", "carrier_code", e.Code}, {"", "ref", e.Ref}, {"", "call", called(e.Call)}, {"", "charge", charged(e.Charge)}, {"DETAIL", "", detail(e)},
	}
}

// detail is what people are told beside.
func detail(e admin.Event) string {
	var details []string
	if e.Guesses != "" {
		details = append(details, "after "+e.Guesses+" guesses")
	}
	if e.Code != "" {
		details = append(details, "code "+e.Code)
	}
	if e.Ref != "" {
		details = append(details, "ref "+e.Ref)
	}
	if c := e.Call; c.Made() {
		details = append(details, fmt.Sprintf("rang %v, talked %v, %d keys, status %d", c.Ring, c.Talk, c.Keys, c.Status))
	}
	if c := e.Charge; c.Cost > 0 || c.Currency != "" {
		details = append(details, "cost "+paid(c.Cost, c.Currency)+", price "+paid(c.Price, c.Currency))
	}
	return strings.Join(details, "; ")
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

// paid is an amount for people; the currency may have no name.
func paid(a money.Amount, c money.Currency) string {
	if c == "" && a == 0 {
		return "none"
	}
	return strings.TrimSpace(a.String() + " " + string(c))
}

// programMoney is an amount for programs, in decimal digits; nil: there are no prices.
func programMoney(a money.Amount, c money.Currency) any {
	if c == "" {
		return nil
	}
	return row{{"", "amount", a.String()}, {"", "currency", string(c)}}.object()
}

// charged is what an attempt came to, for programs; nil: nothing.
func charged(c verify.Charge) any {
	if c.IsZero() {
		return nil
	}
	return row{{"", "units", c.Units}, {"", "cost", c.Cost.String()}, {"", "price", c.Price.String()}, {"", "currency", string(c.Currency)}}.object()
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
