package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/countersign/countersign/api"
)

// remote is what the commands that ask a running server by its API have in common.
type remote struct {
	URL string `name:"url" env:"COUNTERSIGN_URL" default:"http://127.0.0.1:8080" help:"URL of the server."`
}

// tokenVariable has the API key: a flag would show it to everybody who lists the processes.
const tokenVariable = "COUNTERSIGN_TOKEN"

func (c *remote) client() (*api.Client, error) {
	key := os.Getenv(tokenVariable)
	if key == "" {
		return nil, usageError("set " + tokenVariable + " to an API key of the project; 'countersign key create' and 'countersign dev' print one")
	}
	return &api.Client{URL: strings.TrimRight(c.URL, "/"), Key: key}, nil
}

// explain says what to do about a refusal.
func (c *remote) explain(err error) error {
	var p *api.Problem
	if !errors.As(err, &p) {
		return fmt.Errorf("%w; does a server answer at %s? --url or COUNTERSIGN_URL names another", err, c.URL)
	}
	if p.RetryAfter > 0 {
		return fmt.Errorf("%w; try again in %v", err, p.RetryAfter)
	}
	return err
}

type verificationList struct {
	remote
	output
	To      string `help:"Only those of a number, in E.164."`
	Status  string `enum:",pending,approved,exhausted,expired,canceled,superseded" default:"" help:"Only those with a status: pending, approved, exhausted, expired, canceled or superseded."`
	Purpose string `help:"Only those for a purpose."`
	Limit   int    `default:"20" help:"How many, the newest first: 1 to 10000."`
}

// Help explains more than a line can.
func (verificationList) Help() string {
	return `Asks a running server by its API. The API key comes from the variable COUNTERSIGN_TOKEN:

  countersign verification list --to +12025550123 --status pending

It exits with 0, also if there is none; with 1 if the server refuses or doesn't answer; and with 2 if the command line is wrong or there is no key.`
}

// Run implements the command.
func (c *verificationList) Run(w world) error {
	if c.Limit < 1 || c.Limit > 10_000 {
		return usageError("--limit: must be 1 to 10000")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	var all []api.Verification
	for v, err := range client.Verifications(w.ctx, api.Filter{To: c.To, Status: c.Status, Purpose: c.Purpose}) {
		if err != nil {
			return c.explain(err)
		}
		if all = append(all, v); len(all) == c.Limit {
			break
		}
	}
	if c.JSON {
		return printJSON(w, append([]api.Verification{}, all...)) // as the API writes them; never null
	}
	return printRows(w, false, all, remoteRow)
}

func remoteRow(v api.Verification) row {
	return row{
		{"STARTED", "", v.CreatedAt}, {"VERIFICATION", "", v.ID}, {"NUMBER", "", v.To}, {"CHANNEL", "", v.Channel}, {"PURPOSE", "", v.Purpose},
		{"STATUS", "", v.Status}, {"DELIVERY", "", v.Delivery}, {"REASON", "", v.Reason},
	}
}

type verificationCancel struct {
	remote
	output
	ID string `arg:"" name:"verification" help:"Verification id, as a start and 'verification list' have it."`
}

// Help explains more than a line can.
func (verificationCancel) Help() string {
	return `Asks a running server by its API. The code isn't sent any more, and isn't accepted. The API key comes from the variable COUNTERSIGN_TOKEN.
It exits with 0 if the verification was pending and is canceled; with 1 if it is unknown or has ended, or if the server doesn't answer; and with 2 if the command line is wrong or there is no key.`
}

// Run implements the command.
func (c *verificationCancel) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	v, err := client.Cancel(w.ctx, c.ID)
	if err != nil {
		return c.explain(err)
	}
	if c.JSON {
		return printJSON(w, v)
	}
	_, err = fmt.Fprintf(w.stdout, "Canceled verification %s of %s.\n", v.ID, v.To)
	return err
}

type verificationResend struct {
	remote
	output
	ID      string `arg:"" name:"verification" help:"Verification id, as a start and 'verification list' have it."`
	Channel string `enum:",sms,voice,push" default:"" help:"By which channel: sms, voice or push (default: as the start said)."`
}

// Help explains more than a line can.
func (verificationResend) Help() string {
	return `Asks a running server by its API. The code stays the same, and so do its time and its guesses. The API key comes from the variable COUNTERSIGN_TOKEN; it needs the scope verify:start.
It exits with 0 if the code is on its way; with 1 if the verification is unknown, has ended or has to wait, or if the server doesn't answer; and with 2 if the command line is wrong or there is no key.`
}

// Run implements the command.
func (c *verificationResend) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	v, err := client.Resend(w.ctx, c.ID, c.Channel)
	if err != nil {
		return c.explain(err)
	}
	if c.JSON {
		return printJSON(w, v)
	}
	next := "That was the last time."
	if v.ResendAfter != nil {
		next = "The next time can be at " + stamp(*v.ResendAfter) + "."
	}
	_, err = fmt.Fprintf(w.stdout, "Sent the code of verification %s to %s again. %s\n", v.ID, v.To, next)
	return err
}

// showRemote shows a verification as the API has it.
func (c *verificationShow) showRemote(w world, id string) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	v, err := client.Verification(w.ctx, id)
	if err != nil {
		return c.explain(err)
	}
	if c.JSON {
		return printJSON(w, v)
	}
	ended := ""
	if v.EndedAt != nil {
		ended = precise(*v.EndedAt)
	}
	facts := [][]string{
		{"verification", v.ID}, {"number", v.To}, {"channel", v.Channel}, {"purpose", v.Purpose}, {"status", v.Status},
		{"attempts left", fmt.Sprint(v.AttemptsRemaining)}, {"delivery", strings.TrimSpace(v.Delivery + " " + v.Reason)},
		{"started", precise(v.CreatedAt)}, {"expires", precise(v.ExpiresAt)}, {"ended", ended},
	}
	if err := printTable(w, facts); err != nil {
		return err
	}
	fmt.Fprintln(w.stdout)
	return printRows(w, false, v.Deliveries, func(d api.Delivery) row {
		return row{
			{"TIME", "", precise(d.StartedAt)}, {"ATTEMPT", "", d.Attempt}, {"CHANNEL", "", d.Channel}, {"CARRIER", "", d.Carrier},
			{"OUTCOME", "", d.Outcome}, {"REASON", "", d.Reason}, {"RECEIPT", "", strings.TrimSpace(d.Receipt + " " + d.WhyReceipt)},
			{"CODE", "", cmp.Or(d.ReportCode, d.Code)},
		}
	})
}
