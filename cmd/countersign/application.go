package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/config"
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
	Project string `required:"" help:"Project id." placeholder:"ID"`
}

// ofProject lists a project's applications. Each project has one, so without any there is no project.
func ofProject(w world, st *store.Store, project string) ([]verify.Application, error) {
	all, err := st.AllApplications(w.ctx, verify.ProjectID(project))
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("project %s: %w", project, store.ErrNoProject)
	}
	return all, err
}

func (c *applicationList) Run(w world) error {
	return c.with(w.ctx, false, func(st *store.Store) error {
		all, err := ofProject(w, st, c.Project)
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, all, func(a verify.Application) row {
			return row{
				{"APPLICATION", "id", applicationName(a)}, {"NAME", "name", a.Name}, {"LOCALE", "locale", shownLocale(a)},
				{"APPROVE BY KEY", "approve_by_key", a.Calls.ByKey},
			}
		})
	})
}

// theDefault names a project's default application, whose id no API shows.
const theDefault = "default"

// applicationName is an application's id as APIs show it.
func applicationName(a verify.Application) string {
	if a.Version == 0 {
		return theDefault
	}
	return a.ID.Base62()
}

// autoLocale is the language of calls where the application names none.
const autoLocale = "auto"

func shownLocale(a verify.Application) string { return cmp.Or(a.Calls.Locale, autoLocale) }

type applicationFlags struct {
	database
	Project string `required:"" help:"Project id." placeholder:"ID"`
	ID      string `arg:"" name:"application" help:"Application id, as its API shows it, or 'default' for the one of requests that name none, such as SignalWire's."`
}

// find finds the application that was named.
func (c *applicationFlags) find(w world, st *store.Store) (verify.Application, error) {
	all, err := ofProject(w, st, c.Project)
	if err != nil {
		return verify.Application{}, err
	}
	id, _ := config.ParseApplication(c.ID) // zero is nobody's
	i := slices.IndexFunc(all, func(a verify.Application) bool { return a.ID == id || applicationName(a) == c.ID })
	if i < 0 {
		return verify.Application{}, fmt.Errorf("application %s: %w", c.ID, verify.ErrNoApplication)
	}
	return all[i], nil
}

type applicationShow struct{ applicationFlags }

func (c *applicationShow) Run(w world) error {
	return c.with(w.ctx, false, func(st *store.Store) error {
		a, err := c.find(w, st)
		if err != nil {
			return err
		}
		return showApplication(w, c.JSON, a)
	})
}

// showApplication prints an application's settings, one a line.
func showApplication(w world, asJSON bool, a verify.Application) error {
	return printSettings(w, asJSON, row{
		{"application", "id", applicationName(a)}, {"name", "name", a.Name}, {"project", "project", a.Project}, {"locale", "locale", shownLocale(a)},
		{"approve-by-key", "approve_by_key", a.Calls.ByKey},
	})
}

type applicationSet struct {
	applicationFlags
	Locale       *string `help:"Language of its calls, such as de or pt-BR; 'auto' for the configured one, else that of the number's country (a new application: auto)." placeholder:"TAG"`
	ApproveByKey *bool   `negatable:"" help:"Let its calls ask the callee to press 1 to approve, and tell no code (a new application: no)."`
}

func (c *applicationSet) Run(w world) error {
	if c.Locale != nil {
		if *c.Locale == autoLocale {
			*c.Locale = ""
		}
		if problem := config.LocaleProblem(*c.Locale); problem != "" {
			return usageError("--locale: " + problem)
		}
	}
	return c.with(w.ctx, false, func(st *store.Store) error {
		a, err := c.find(w, st)
		if err != nil {
			return err
		}
		if c.ApproveByKey != nil && *c.ApproveByKey {
			p, err := one(w.ctx, st, string(a.Project))
			if err != nil {
				return err
			}
			if !p.Profile.AllowsKey() {
				return usageError("--approve-by-key: the project's policy is standard, which wants a code (NIST SP 800-63B-4 §3.1.3); 'countersign project policy --profile compat' allows it")
			}
		}
		if a.Version == 0 && c.ApproveByKey != nil && *c.ApproveByKey {
			return usageError("--approve-by-key: not for the default application, whose callers have no way to learn that a call was approved")
		}
		assign(&a.Calls.Locale, c.Locale)
		assign(&a.Calls.ByKey, c.ApproveByKey)
		if err := st.SetCalls(w.ctx, a.Project, a.ID, a.Calls, actor()); err != nil {
			return err
		}
		return showApplication(w, c.JSON, a)
	})
}
