package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type destinationCommand struct {
	Show   destinationShow   `cmd:"" help:"Show a number's wrong guesses, what the send limits still allow, and its newest verifications."`
	Reset  destinationReset  `cmd:"" help:"Forget a number's wrong guesses, so that it can be checked again. It is written down who did it."`
	Export destinationExport `cmd:"" help:"Print all that is kept of a number, as JSON, one object a line. It is written down who did it."`
	Erase  destinationErase  `cmd:"" help:"Make what is kept of a number anonymous before its retention ends. It is written down who did it."`
}

type destinationFlags struct {
	database
	Project string `required:"" help:"Project's id or name." placeholder:"PROJECT"`
	Number  string `arg:"" help:"Number, E.164."`
}

// number parses the number.
func (c *destinationFlags) number() (phone.Number, error) {
	n, err := phone.Parse(c.Number)
	if err != nil {
		return "", usageError(fmt.Sprintf("number: %v", err))
	}
	return n, nil
}

// explain makes a sentence of the store's "nothing is known".
func (c *destinationFlags) explain(n phone.Number, err error) error {
	if errors.Is(err, verify.ErrNoNumber) {
		return fmt.Errorf("%s in project %s: %w", n.Masked(), c.Project, err)
	}
	return err
}

// shownHistory is how many verifications of a number are shown.
const shownHistory = 20

type destinationShow struct{ destinationFlags }

func (c *destinationShow) Run(w world) error {
	n, err := c.number()
	if err != nil {
		return err
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		d, err := st.Destination(w.ctx, p.ID, n)
		if err != nil {
			return c.explain(n, err)
		}
		history, err := st.History(w.ctx, d, shownHistory)
		if err != nil {
			return err
		}
		now := st.Now()
		toRow := func(v verify.Verification) row {
			return row{
				{"VERIFICATION", "id", v.ID}, {"STARTED", "started_at", v.ID.Time()}, {"CHANNEL", "channel", v.Channel},
				{"STATUS", "status", v.StatusAt(now).String()},
				{"GUESSES", "", fmt.Sprintf("%d of %d", v.Guesses, v.MaxAttempts)}, {"", "guesses", v.Guesses}, {"", "max_attempts", v.MaxAttempts},
				{"DELIVERY", "", delivery(v)}, {"", "delivery", v.Delivery.String()}, {"", "reason", v.Reason},
			}
		}
		if c.JSON {
			sent, wait := d.Sending(p.Limits, now)
			next := time.Time{} // now
			if wait > 0 {
				next = now.Add(wait)
			}
			return printOne(w, true, row{
				{"", "number", n.Masked()}, {"", "wrong_guesses", d.Failures}, {"", "locked", d.Failures >= verify.MaxFailures},
				{"", "wait_until", d.WaitUntil}, {"", "sent_in_24h", sent}, {"", "max_in_24h", p.Limits.Daily}, {"", "next_message_at", next}, {"", "verifications", objects(history, toRow)},
			})
		}
		fmt.Fprintf(w.stdout, "%s: %s\n%s: %s\n\n", n.Masked(), admin.Standing(d, now), n.Masked(), admin.Sending(d, p.Limits, now))
		return printRows(w, false, history, toRow)
	})
}

func delivery(v verify.Verification) string {
	if v.Reason != verify.NoReason {
		return fmt.Sprintf("%v (%s)", v.Delivery, v.Reason)
	}
	return v.Delivery.String()
}

type destinationExport struct{ destinationFlags }

// Help explains more than a line can.
func (destinationExport) Help() string {
	return `For a person who asks what is kept of them. It prints the whole number, the users who have it with their devices, and its verifications with the attempts to send them, the newest first. It prints no code and no secret of a device.

  countersign destination export --config countersign.yaml --project PROJECT +12025550100 > number.jsonl

A verification past its retention isn't kept any more. Usage, the audit log, logs and backups hold no whole number, or aren't in the export: see the documentation of retention.`
}

// Run implements the command.
func (c *destinationExport) Run(w world) error {
	n, err := c.number()
	if err != nil {
		return err
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		return c.explain(n, admin.New(st).ExportNumber(w.ctx, actor(), w.stdout, p.ID, n))
	})
}

type destinationErase struct {
	destinationFlags
	Yes bool `help:"Don't ask for the number again."`
}

// Help explains more than a line can.
func (destinationErase) Help() string {
	return `For a person who asks that nothing is kept of them. It asks for the number again. Then it makes the number's verifications in the project anonymous, so that nobody finds them any more, and takes the number from the users who have it. A pending verification is canceled. While a carrier is being given a message to the number, it changes nothing, and exits with 1. It can't be undone.

  countersign destination erase --config countersign.yaml --project PROJECT +12025550100

Usage, the ledger and the audit log stay. Wrong guesses since the last right one and the messages of the last day go on counting: their row keeps the number until they count no more. See the documentation of retention for copies that the command can't reach.`
}

// Run implements the command.
func (c *destinationErase) Run(w world) error {
	n, err := c.number()
	if err != nil {
		return err
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		if err := askAgain(w, c.Yes, c.Number, fmt.Sprintf("This erases %s in project %s for good. The number, to go on: ", n.Masked(), p.Name), "that isn't the number: nothing was erased"); err != nil {
			return err
		}
		e, err := admin.New(st).EraseNumber(w.ctx, actor(), p.ID, n)
		if err != nil {
			return c.explain(n, err)
		}
		said := "Erased %s in project %s: verifications: %d, users who had the number: %d."
		if e.Limited {
			said += "\nIts wrong guesses and its messages of the last day still count."
		}
		return printDone(w, c.JSON, row{{"", "number", n.Masked()}, {"", "verifications", e.Verifications}, {"", "users", e.Users}, {"", "limited", e.Limited}},
			said, n.Masked(), p.Name, e.Verifications, e.Users)
	})
}

type destinationReset struct {
	destinationFlags
	Sends     bool   `help:"Forget the messages to the number instead, so that the send limits begin again for it. Wrong guesses stay." xor:"as"`
	TokenFile string `help:"Reset as the project whose API key is in this file: only numbers of its own. Without it, as the operator." placeholder:"FILE" xor:"as"`
}

func (c *destinationReset) Run(w world) error {
	n, err := c.number()
	if err != nil {
		return err
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		a, by := admin.New(st), actor()
		if c.Sends {
			return c.explain(n, a.ResetSends(w.ctx, by, p.ID, n))
		}
		if c.TokenFile != "" {
			if by, err = c.asProject(w, a, p.ID); err != nil {
				return err
			}
		}
		return c.explain(n, a.ResetNumber(w.ctx, by, p.ID, n))
	})
}

// asProject makes sure that the file holds a key of the project.
func (c *destinationReset) asProject(w world, a *admin.Service, p verify.ProjectID) (admin.Actor, error) {
	text, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", err
	}
	by, err := a.As(w.ctx, p, verify.Secret(strings.TrimSpace(string(text))))
	if errors.Is(err, verify.ErrUnauthenticated) {
		err = fmt.Errorf("%s: holds no valid key of project %s", c.TokenFile, c.Project)
	}
	return by, err
}

type auditCommand struct {
	List   auditList   `cmd:"" help:"List the newest entries."`
	Export auditExport `cmd:"" help:"Print all entries as JSON, one a line, the newest first."`
}

type auditList struct {
	database
	Limit int `default:"100" help:"At most so many (default ${default})."`
}

func (c *auditList) Run(w world) error {
	if c.Limit < 0 {
		return usageError("--limit: must be 0 or more")
	}
	return c.with(w.ctx, false, func(st *store.Store) error {
		all, err := st.Audits(w.ctx, c.Limit)
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, all, func(a store.Audit) row {
			return row{{"TIME", "time", a.ID.Time()}, {"ACTOR", "actor", a.Actor}, {"ACTION", "action", a.Action}, {"PROJECT", "project", a.Project}, {"DETAIL", "detail", a.Detail}}
		})
	})
}

type auditExport struct{ database }

// Run implements the command.
func (c *auditExport) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error { return a.ExportAudits(w.ctx, w.stdout) })
}
