package main

import (
	"github.com/countersign/countersign/internal/admin"
)

type voidCommand struct{ database }

// Help explains more than a line can.
func (voidCommand) Help() string {
	return `A database that was restored doesn't know which codes were used, and which guesses were spent, since it was
saved. The server notices most restores and voids what is pending by itself; docs/operate.md says which it can't. Run this
after those, before the server starts. It may also run beside servers. People whose verification is voided start anew.`
}

// Run implements the command.
func (c *voidCommand) Run(w world) error {
	voided := 0
	err := c.everywhere(w.ctx, func(a *admin.Service) error {
		n, err := a.Void(w.ctx, actor(), "void")
		voided += n
		return err
	})
	if err != nil {
		return err
	}
	return printDone(w, c.JSON, row{{"", "voided", voided}}, "Voided %d pending verifications.", voided)
}
