package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

type operatorCommand struct {
	Create   operatorCreate   `cmd:"" help:"Create an operator. Prints a one-time link, by which they set their password."`
	List     operatorList     `cmd:"" help:"List all operators."`
	Show     operatorShow     `cmd:"" help:"Show an operator."`
	Role     operatorRole     `cmd:"" help:"Give an operator another role. Ends their sessions."`
	Reset    operatorReset    `cmd:"" help:"Take an operator's password and second factor, and print a new link. Ends their sessions."`
	Remove   operatorRemove   `cmd:"" help:"Remove an operator. Ends their sessions."`
	Sessions operatorSessions `cmd:"" help:"List an operator's sessions."`
	SignOut  operatorSignOut  `cmd:"" name:"sign-out" help:"End an operator's sessions."`
}

// oneOperator names an operator.
type oneOperator struct {
	database
	Name string `arg:"" help:"Operator's name."`
}

// consoleURL is where links lead.
type consoleURL struct {
	URL string `name:"url" help:"Address of the console, as browsers reach it (default ${default})." default:"http://localhost:8082" placeholder:"URL"`
}

// invited prints an operator with their link.
func (c consoleURL) invited(w world, asJSON bool, o operator.Operator, link verify.Secret) error {
	if !asJSON {
		fmt.Fprintf(w.stderr, "The link is shown this once. It works once, until %s. Without scripts, open %s and paste the token.\n", forPeople(o.LinkUntil), c.address())
	}
	return printOne(w, asJSON, row{
		{"NAME", "name", o.Name}, {"ROLE", "role", o.Role}, {"", "projects", slices.Clone(o.Projects)},
		{"TOKEN", "token", link.Reveal()}, {"LINK", "link", c.address() + "#" + link.Reveal()}, {"", "link_expires_at", o.LinkUntil},
	})
}

func (c consoleURL) address() string { return strings.TrimRight(c.URL, "/") + "/sign-in/set-up" }

type operatorCreate struct {
	oneOperator
	consoleURL
	Role    string   `required:"" help:"What they may do: viewer, support, operator or admin." placeholder:"ROLE"`
	Project []string `help:"Project that they may see, by its id or name; may be repeated (default: all)." placeholder:"PROJECT"`
}

// Run implements the command.
func (c *operatorCreate) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error {
		o, link, err := a.CreateOperator(w.ctx, actor(), c.Name, operator.Role(c.Role), c.Project)
		if err != nil {
			return inFlags(err)
		}
		return c.invited(w, c.JSON, o, link)
	})
}

type operatorList struct{ database }

// Run implements the command.
func (c *operatorList) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error {
		all, err := a.Operators(w.ctx)
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, all, operatorRow(a))
	})
}

func operatorRow(a *admin.Service) func(operator.Operator) row {
	now := a.Now()
	return func(o operator.Operator) row {
		projects := "all"
		if len(o.Projects) > 0 {
			projects = strings.Trim(fmt.Sprint(o.Projects), "[]")
		}
		return row{
			{"NAME", "name", o.Name}, {"ROLE", "role", o.Role}, {"PROJECTS", "", projects}, {"", "projects", append([]verify.ProjectID{}, o.Projects...)},
			{"STATE", "state", o.State(now)}, {"CREATED", "created_at", o.CreatedAt}, {"", "link_expires_at", o.LinkUntil},
		}
	}
}

type operatorShow struct{ oneOperator }

// Run implements the command.
func (c *operatorShow) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error {
		all, err := a.Operators(w.ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(o operator.Operator) bool { return o.Name == c.Name })
		if i < 0 {
			return operator.ErrNoOperator
		}
		return printOne(w, c.JSON, operatorRow(a)(all[i]))
	})
}

type operatorRole struct {
	oneOperator
	Role    string   `arg:"" help:"What they may do: viewer, support, operator or admin."`
	Project []string `help:"Project that they may see, by its id or name, or 'all'; may be repeated (default: as before)." placeholder:"PROJECT"`
}

// Run implements the command.
func (c *operatorRole) Run(w world) error {
	projects := c.Project
	if slices.Equal(projects, []string{"all"}) {
		projects = []string{}
	}
	return c.administer(w.ctx, func(a *admin.Service) error {
		o, err := a.ChangeRole(w.ctx, actor(), c.Name, operator.Role(c.Role), projects)
		if err != nil {
			return inFlags(err)
		}
		return printOne(w, c.JSON, operatorRow(a)(o))
	})
}

type operatorReset struct {
	oneOperator
	consoleURL
}

// Run implements the command.
func (c *operatorReset) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error {
		o, link, err := a.ResetOperator(w.ctx, actor(), c.Name)
		if err != nil {
			return err
		}
		return c.invited(w, c.JSON, o, link)
	})
}

type operatorRemove struct{ oneOperator }

// Run implements the command.
func (c *operatorRemove) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error {
		if err := a.RemoveOperator(w.ctx, actor(), c.Name); err != nil {
			return err
		}
		return printDone(w, c.JSON, row{{"", "name", c.Name}}, "Removed operator %s.", c.Name)
	})
}

type operatorSessions struct{ oneOperator }

// Run implements the command.
func (c *operatorSessions) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error {
		all, err := a.OperatorSessions(w.ctx, c.Name)
		if err != nil {
			return err
		}
		return printRows(w, c.JSON, all, func(s operator.Session) row {
			return row{
				{"SESSION", "id", s.ID}, {"BEGAN", "created_at", s.CreatedAt}, {"USED", "used_at", s.UsedAt}, {"ENDS", "ends_at", s.EndsAt},
				{"ADDRESS", "address", s.Address}, {"BROWSER", "browser", s.Agent},
			}
		})
	})
}

type operatorSignOut struct{ oneOperator }

// Run implements the command.
func (c *operatorSignOut) Run(w world) error {
	return c.administer(w.ctx, func(a *admin.Service) error {
		n, err := a.SignOut(w.ctx, actor(), c.Name)
		if err != nil {
			return err
		}
		return printDone(w, c.JSON, row{{"", "name", c.Name}, {"", "sessions", n}}, "Ended %d sessions of %s.", n, c.Name)
	})
}
