package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type applicationCommand struct {
	List applicationList `cmd:"" help:"List a project's applications."`
	Show applicationShow `cmd:"" help:"Show how an application's calls are made."`
	Set  applicationSet  `cmd:"" help:"Change how an application's calls are made. What is under way keeps the old settings."`
}

type applicationList struct {
	database
	Project string `required:"" help:"Project's id or name." placeholder:"PROJECT"`
}

func (c *applicationList) Run(w world) error {
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		all, err := admin.New(st).Applications(w.ctx, p.ID)
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, all, func(a verify.Application) row {
			return row{
				{"APPLICATION", "id", admin.ApplicationName(a)}, {"NAME", "name", a.Name}, {"LOCALE", "locale", shownLocale(a)},
				{"APPROVE BY KEY", "approve_by_key", a.Calls.ByKey},
			}
		})
	})
}

// autoLocale is the language of calls where the application names none.
const autoLocale = "auto"

func shownLocale(a verify.Application) string { return cmp.Or(a.Calls.Locale, autoLocale) }

type applicationFlags struct {
	database
	Project string `required:"" help:"Project's id or name." placeholder:"PROJECT"`
	ID      string `arg:"" name:"application" help:"Application id, as its API shows it, or 'default' for the one of requests that name none, such as SignalWire's."`
}

type applicationShow struct{ applicationFlags }

func (c *applicationShow) Run(w world) error {
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		a, err := admin.New(st).Application(w.ctx, p.ID, c.ID)
		if err != nil {
			return err
		}
		return showApplication(w, c.JSON, a)
	})
}

// showApplication prints an application's settings, one a line.
func showApplication(w world, asJSON bool, a verify.Application) error {
	return printSettings(w, asJSON, row{
		{"application", "id", admin.ApplicationName(a)}, {"name", "name", a.Name}, {"project", "project", a.Project}, {"locale", "locale", shownLocale(a)},
		{"approve-by-key", "approve_by_key", a.Calls.ByKey},
	})
}

type applicationSet struct {
	applicationFlags
	Locale       *string `help:"Language of its calls, such as de or pt-BR; 'auto' for the configured one, else that of the number's country (a new application: auto)." placeholder:"TAG"`
	ApproveByKey *bool   `negatable:"" help:"Let its calls ask the callee to press 1 to approve, and tell no code (a new application: no)."`
}

func (c *applicationSet) Run(w world) error {
	if c.Locale != nil && *c.Locale == autoLocale {
		*c.Locale = ""
	}
	change := admin.CallsChange{Locale: c.Locale, ByKey: c.ApproveByKey}
	if err := change.Check(); err != nil { // also without a database
		return inFlags(err)
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		a, err := admin.New(st).ChangeCalls(w.ctx, actor(), p.ID, c.ID, change)
		switch {
		case errors.Is(err, admin.ErrPolicyWantsCode):
			return usageError(fmt.Sprintf("--approve-by-key: %v; 'countersign project policy --profile compat' allows it", err))
		case errors.Is(err, admin.ErrNobodyLearns):
			return usageError(fmt.Sprintf("--approve-by-key: %v", err))
		case err != nil:
			return err
		}
		return showApplication(w, c.JSON, a)
	})
}
