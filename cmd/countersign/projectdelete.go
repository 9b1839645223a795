package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type projectDelete struct {
	database
	Project string `arg:"" help:"Project's id or name."`
	Yes     bool   `help:"Don't ask for the name again."`
	Force   bool   `help:"Delete it even if it has pending verifications, which are canceled."`
}

// Help explains more than a line can.
func (projectDelete) Help() string {
	return `Asks for the project's name again, deletes its keys, which stop working within a second, cancels its pending
verifications, and deletes its applications, their users, its templates and what it remembers of numbers. It can't be
undone. The server deletes verifications when their retention ends, and the users of applications within minutes. Usage
and the audit log stay. The id isn't given to another project.

  countersign project delete "My shop"
  countersign project delete --yes --force 0d5b3c9e-3f5a-4a53-9d9e-6c5f0d9d1a11`
}

// Run implements the command.
func (c *projectDelete) Run(w world) error {
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		if err := c.confirm(w, p); err != nil {
			return err
		}
		canceled, err := admin.New(st).DeleteProject(w.ctx, actor(), p.ID, c.Force)
		if errors.Is(err, store.ErrPending) {
			return fmt.Errorf("%s isn't deleted, because %w; wait until they end, or cancel them with --force", p.Name, err)
		}
		if err != nil {
			return err
		}
		return printDone(w, c.JSON, row{{"", "id", p.ID}, {"", "name", p.Name}, {"", "canceled", canceled}},
			"Deleted project %s (%s), and canceled %d pending verifications.", p.Name, p.ID, canceled)
	})
}

// confirm asks for the project's name.
func (c *projectDelete) confirm(w world, p verify.Project) error {
	return askAgain(w, c.Yes, p.Name, fmt.Sprintf("This deletes project %s (%s) for good. Its name, to go on: ", p.Name, p.ID), "that isn't its name: nothing was deleted")
}

// askAgain asks for a text again, unless yes says that nobody need ask, so that a slip of the shell's history deletes nothing.
func askAgain(w world, yes bool, text, question, differs string) error {
	if yes {
		return nil
	}
	if _, ok := terminal(w.stdin); !ok {
		return usageError("--yes: must be given, for there is no terminal to ask on")
	}
	fmt.Fprint(w.stderr, question)
	line, err := bufio.NewReader(w.stdin).ReadString('\n')
	if strings.TrimSpace(line) == text {
		return nil
	}
	return errors.Join(errors.New(differs), err)
}
