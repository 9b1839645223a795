package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/face/syniverse"
	"github.com/countersign/countersign/internal/intake"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

type syniverseCommand struct {
	Import syniverseImport `cmd:"" help:"Import applications under their ids, and users as validated."`
}

type syniverseImport struct {
	database
	Project      string `required:"" help:"Project's id or name." placeholder:"PROJECT"`
	Applications string `help:"File with the applications, CSV or JSON lines; '-' is standard input." placeholder:"FILE"`
	Users        string `help:"File with the users, CSV or JSON lines; '-' is standard input." placeholder:"FILE"`
	Application  string `help:"Id of the application of users whose lines name none." placeholder:"ID"`
}

// Help explains more than a line can.
func (syniverseImport) Help() string {
	return `The files have the fields that Syniverse's lists of applications and users have, and users have their application's id in the field application:

  countersign syniverse import --project shop --applications applications.jsonl --users users.csv

where users.csv has, for example:

  application,id,user_address,status,last_updated_date
  0351iJbCGvqKYCRj3rbdC5,kola,+12025550142,VALIDATED,1795306891348

Applications keep their ids. Users are made with their numbers validated; one with another status than VALIDATED is left out, and confirms the number by the next associate. last_updated_date is taken for the time at which the number was validated. Nothing is sent.
What is there already isn't changed: run the command again after an interruption, or after you have corrected lines. It may run beside a server. The audit log has what was imported.
If a line can't be read, nothing is imported. It exits with 0; with 1 if something can't be read or is refused; and with 2 if the command line is wrong.`
}

// Run implements the command.
func (c *syniverseImport) Run(w world) error {
	if c.Applications == "" && c.Users == "" || c.Applications == "-" && c.Users == "-" {
		return usageError("give --applications or --users, or both; one of them may be '-'")
	}
	var settings verify.Settings
	if where := c.resolve(); where.Config != "" {
		loaded, err := loadConfig(where.Config)
		if err != nil {
			return err
		}
		settings = loaded.Settings()
	}
	var in table
	if err := errors.Join(in.readApplications(w, c.Applications), in.readUsers(w, c.Users, c.Application)); err != nil {
		return fmt.Errorf("nothing was imported:\n%w", err)
	}
	return c.inProject(w.ctx, c.Project, func(st *store.Store, p verify.Project) error {
		by, err := admin.New(st).Import(w.ctx, actor(), p, settings)
		if err != nil {
			return err
		}
		sum, err := in.bring(w, by)
		for _, r := range sum.refused {
			fmt.Fprintln(w.stderr, r)
		}
		if err != nil {
			return err
		}
		err = printDone(w, c.JSON, row{
			{"", "applications", sum.applications}, {"", "users", sum.users}, {"", "unchanged", sum.unchanged}, {"", "not_validated", in.left},
			{"", "refused", objects(sum.refused, refusedLine.row)},
		}, "Imported %d applications and %d users; %d were there already; %d users aren't validated and were left out; %d lines were refused.",
			sum.applications, sum.users, sum.unchanged, in.left, len(sum.refused))
		if err == nil && len(sum.refused) > 0 {
			err = fmt.Errorf("%d lines were refused; correct them and run the command again", len(sum.refused))
		}
		return err
	})
}

// A table is what is to be imported, in the order of the lines.
type table struct {
	applications []movedApplication
	users        map[verify.ID][]verify.ImportedUser
	lines        map[verify.ID][]place // of the users
	order        []verify.ID           // of the applications that have users
	left         int                   // users who aren't validated
}

// A place is where something stands.
type place struct {
	file string
	line int
}

type movedApplication struct {
	place
	verify.Application
}

// readTable reads a file's rows, and does something with each, which notes problems in it.
func readTable(w world, file string, known []string, do func(place, *intake.Row)) error {
	if file == "" {
		return nil
	}
	in := w.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	rows, err := intake.Read(in, known)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var wrong []error
	for i := range rows {
		do(place{file, rows[i].Line}, &rows[i])
		for _, err := range rows[i].Errors() {
			wrong = append(wrong, fmt.Errorf("%s: %w", file, err))
		}
	}
	return errors.Join(wrong...)
}

func (t *table) readApplications(w world, file string) error {
	return readTable(w, file, syniverse.ApplicationFields, func(at place, r *intake.Row) {
		t.applications = append(t.applications, movedApplication{at, syniverse.ReadApplication(&r.Fields)})
	})
}

func (t *table) readUsers(w world, file, application string) error {
	t.users, t.lines = map[verify.ID][]verify.ImportedUser{}, map[verify.ID][]place{}
	all, err := verify.ParseAnyID(application)
	if application != "" && err != nil {
		return fmt.Errorf("--application: must be the 22 letters and digits of a Syniverse id, or a UUID")
	}
	return readTable(w, file, syniverse.UserFields, func(at place, r *intake.Row) {
		u, id, valid := syniverse.ReadUser(&r.Fields)
		if id.IsZero() {
			if id = all; id.IsZero() {
				r.Fields.Wrong("application", "is missing; --application names it for all")
			}
		}
		if !valid {
			t.left++
			return
		}
		if t.users[id] == nil {
			t.order = append(t.order, id)
		}
		t.users[id], t.lines[id] = append(t.users[id], u), append(t.lines[id], at)
	})
}

// A movedSum is what became of a table.
type movedSum struct {
	applications, users, unchanged int
	refused                        []refusedLine
}

// bring imports the applications, and then their users.
func (t *table) bring(w world, by *admin.Import) (sum movedSum, err error) {
	all := 0
	for _, users := range t.users {
		all += len(users)
	}
	for _, a := range t.applications {
		created, err := by.Application(w.ctx, a.Application)
		switch {
		case isKnown(err):
			sum.refused = append(sum.refused, refusals(a.place, err)...)
		case err != nil:
			return sum, fmt.Errorf("%s: line %d: %w", a.file, a.line, err)
		case created:
			sum.applications++
		default:
			sum.unchanged++
		}
	}
	progress, before := w.progress("imported", "users"), 0
	for _, id := range t.order {
		err := t.bringUsers(w.ctx, by, id, &sum, func(n int) { progress(before+n, all) })
		if err != nil {
			return sum, err
		}
		before += len(t.users[id])
	}
	slices.SortStableFunc(sum.refused, func(a, b refusedLine) int { return a.line - b.line })
	return sum, nil
}

func (t *table) bringUsers(ctx context.Context, by *admin.Import, id verify.ID, sum *movedSum, progress func(int)) error {
	users, lines := t.users[id], t.lines[id]
	results, err := by.Users(ctx, id, users, progress)
	for i, r := range results {
		switch {
		case r.Created:
			sum.users++
		case r.Err == nil:
			sum.unchanged++
		default:
			sum.refused = append(sum.refused, refusals(lines[i], r.Err)...)
		}
	}
	if errors.Is(err, verify.ErrNoApplication) {
		sum.refused = append(sum.refused, refusedLine{lines[len(results)], "application", "there is no application " + id.Base62() + fmt.Sprintf(" in the project; its %d users were left out", len(users)-len(results))})
		progress(len(users))
		return nil
	}
	if err != nil {
		at := lines[len(results)]
		return fmt.Errorf("%s: line %d: %w; what stands before it is imported: run the command again", at.file, at.line, err)
	}
	return nil
}

// isKnown reports whether an error is about what was to be imported.
func isKnown(err error) bool {
	var known *verify.Error
	return errors.As(err, &known) && known.Kind != verify.KindUnavailable
}

// A refusedLine is what is wrong with one field of a line.
type refusedLine struct {
	place
	field, problem string
}

// refusals are all that is wrong with a line.
func refusals(at place, err error) (all []refusedLine) {
	var known *verify.Error
	errors.As(err, &known)
	for _, p := range known.Problems {
		all = append(all, refusedLine{at, syniverse.ImportField(p.Field), p.Message})
	}
	if all == nil {
		all = []refusedLine{{at, "id", known.Message}}
	}
	return all
}

func (r refusedLine) String() string {
	return fmt.Sprintf("%s: line %d: %s: %s", r.file, r.line, r.field, r.problem)
}

func (r refusedLine) row() row {
	return row{{"", "file", r.file}, {"", "line", r.line}, {"", "field", r.field}, {"", "problem", r.problem}}
}
