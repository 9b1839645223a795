package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/intake"
)

type userCommand struct {
	List      userList      `cmd:"" help:"List an application's users, by a running server."`
	Show      userShow      `cmd:"" help:"Show a user."`
	Associate userAssociate `cmd:"" help:"Give a user a number, and send a code there."`
	Devices   userDevices   `cmd:"" help:"List a user's devices, to which codes are pushed."`
	Remove    userRemove    `cmd:"" help:"Take a user's number or device, or delete the user."`
	Import    userImport    `cmd:"" help:"Import users whose numbers another service has validated."`
	Prompts   userPrompts   `cmd:"" help:"Let a user get prompts again, who denied one or let three be."`
}

// ofApplication are the flags of commands about an application's users.
type ofApplication struct {
	remote
	output
	Application string `required:"" help:"Application's id." placeholder:"ID"`
}

type userList struct {
	ofApplication
	Status string `enum:",initial,pending,validated" default:"" help:"Only those with a status: initial, pending or validated."`
	Number string `help:"Only those who have a number, in E.164." placeholder:"NUMBER"`
	Limit  int    `default:"50" help:"How many, in the order of their names: 1 to 100000."`
}

// Help explains more than a line can.
func (userList) Help() string { return asksByKey + ` The key needs the scope read.` }

// Run implements the command.
func (c *userList) Run(w world) error {
	if c.Limit < 1 || c.Limit > 100_000 {
		return usageError("--limit: must be 1 to 100000")
	}
	if c.Status != "" && c.Number != "" {
		return usageError("--number: can't be used with --status")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	users := client.Users(w.ctx, c.Application, c.Status)
	if c.Number != "" {
		users = client.UsersOf(w.ctx, c.Application, c.Number)
	}
	all := []api.User{}
	for u, err := range users {
		if err != nil {
			return c.explain(err)
		}
		if all = append(all, u); len(all) == c.Limit {
			break
		}
	}
	if c.JSON {
		return printJSON(w, all)
	}
	return printRows(w, false, all, userRow)
}

func userRow(u api.User) row {
	verified := ""
	if u.VerifiedAt != nil {
		verified = stamp(*u.VerifiedAt)
	}
	return row{{"USER", "", u.User}, {"NUMBER", "", u.Number}, {"STATUS", "", u.Status}, {"VERIFIED", "", verified}, {"CREATED", "", u.CreatedAt}, {"VERIFICATION", "", u.Verification}}
}

func printUser(w world, asJSON bool, u api.User) error {
	if asJSON {
		return printJSON(w, u)
	}
	return printRows(w, false, []api.User{u}, userRow)
}

// oneUser names a user.
type oneUser struct {
	ofApplication
	User string `arg:"" help:"Your own name of the user."`
}

type userShow struct{ oneUser }

// Help explains more than a line can.
func (userShow) Help() string { return asksByKey + ` The key needs the scope read.` }

// Run implements the command.
func (c *userShow) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	u, err := client.User(w.ctx, c.Application, c.User)
	if err != nil {
		return c.explain(err)
	}
	return printUser(w, c.JSON, u)
}

type userAssociate struct {
	oneUser
	Number  string `arg:"" help:"Number, in E.164."`
	Channel string `enum:",sms,voice" default:"" help:"How the code is sent, sms or voice (default: the application's preferred channel)."`
}

// Help explains more than a line can.
func (userAssociate) Help() string {
	return `The user is made if there is none. One whose number was validated is pending again. ` + asksByKey + ` The key needs the scope verify:start.`
}

// Run implements the command.
func (c *userAssociate) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	u, err := client.Associate(w.ctx, c.Application, api.NewUser{User: c.User, Number: c.Number, Channel: c.Channel})
	if err != nil {
		return c.explain(err)
	}
	return printUser(w, c.JSON, u)
}

type userPrompts struct{ oneUser }

// Help explains more than a line can.
func (userPrompts) Help() string {
	return `Be sure that it is them who ask you. ` + asksByKey + ` The key needs the scope applications.`
}

// Run implements the command.
func (c *userPrompts) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if err := client.ResetPrompts(w.ctx, c.Application, c.User); err != nil {
		return c.explain(err)
	}
	return printDone(w, c.JSON, row{{"", "application", c.Application}, {"", "user", c.User}}, "User %s gets prompts again.", c.User)
}

type userDevices struct{ oneUser }

// Help explains more than a line can.
func (userDevices) Help() string { return asksByKey + ` The key needs the scope read.` }

// Run implements the command.
func (c *userDevices) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	all, err := client.Devices(w.ctx, c.Application, c.User)
	if err != nil {
		return c.explain(err)
	}
	if c.JSON {
		return printJSON(w, all)
	}
	return printRows(w, false, all, func(d api.Device) row {
		used := "never"
		if d.LastUsedAt != nil {
			used = stamp(*d.LastUsedAt)
		}
		return row{{"DEVICE", "", d.ID}, {"KIND", "", d.Kind}, {"NAME", "", d.Name}, {"LANGUAGE", "", d.Locale}, {"REGISTERED", "", d.CreatedAt}, {"LAST USED", "", used}}
	})
}

type userRemove struct {
	oneUser
	NumberOnly bool   `help:"Take the number only, and keep the user with their devices." xor:"part"`
	Device     string `help:"Remove a device only, by its id: 'user devices' lists them." placeholder:"ID" xor:"part"`
}

// Help explains more than a line can.
func (userRemove) Help() string {
	return `Without --number-only and --device it deletes the user with their devices. The user's code isn't accepted any more; a removed device changes nothing about it. ` + asksByKey + ` The key needs the scope applications.`
}

// Run implements the command.
func (c *userRemove) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	remove, done := client.DeleteUser, "Deleted user %s."
	switch {
	case c.NumberOnly:
		remove, done = client.RemoveNumber, "Removed the number of user %s."
	case c.Device != "":
		remove, done = func(ctx context.Context, application, user string) error {
			return client.RemoveDevice(ctx, application, user, c.Device)
		}, "Removed a device of user %s."
	}
	if err := remove(w.ctx, c.Application, c.User); err != nil {
		return c.explain(err)
	}
	return printDone(w, c.JSON, row{{"", "application", c.Application}, {"", "user", c.User}, {"", "number_only", c.NumberOnly}, {"", "device", c.Device}}, done, c.User)
}

type userImport struct {
	ofApplication
	File string `arg:"" help:"File with the users, CSV or JSON lines. '-' is standard input."`
}

// Help explains more than a line can.
func (userImport) Help() string {
	return `The file has a user a line: user, number, and if you know it verified_at, when the number was last shown to be theirs.

  user,number,verified_at
  ada,+12025550100,2026-03-01T09:00:00Z

or

  {"user": "ada", "number": "+12025550100", "verified_at": "2026-03-01T09:00:00Z"}

The users are made with their numbers validated, and nothing is sent to them. A user who is there already isn't changed: run the command again after an interruption, or after you have corrected lines.
If a line can't be read, nothing is imported. Users whom the server refuses are told with their line.

` + asksByKey + ` It also exits with 1 if a user was refused. The key needs the scope manage.`
}

// Run implements the command.
func (c *userImport) Run(w world) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	lines, users, err := c.read(w)
	if err != nil {
		return err
	}
	var sum api.ImportResult
	refused := []refusedUser{}
	progress := w.progress("imported", "users")
	for len(users) > 0 {
		n := portion(users)
		r, err := client.ImportUsers(w.ctx, c.Application, users[:n])
		if err != nil {
			return fmt.Errorf("line %d: %w; the lines before it are imported: run the command again when this is mended", lines[0], c.explain(err))
		}
		sum.Created, sum.Unchanged, sum.Refused = sum.Created+r.Created, sum.Unchanged+r.Unchanged, sum.Refused+r.Refused
		for i, u := range r.Users {
			if u.Outcome == api.ImportRefused {
				refused = append(refused, refusedUser{lines[i], u})
			}
		}
		lines, users = lines[n:], users[n:]
		done := sum.Created + sum.Unchanged + sum.Refused
		progress(done, done+len(users))
	}
	for _, r := range refused {
		fmt.Fprintln(w.stderr, r)
	}
	err = printDone(w, c.JSON, row{{"", "created", sum.Created}, {"", "unchanged", sum.Unchanged}, {"", "refused", objects(refused, refusedUser.row)}},
		"Imported %d users; %d were there already; %d were refused.", sum.Created, sum.Unchanged, sum.Refused)
	if err == nil && sum.Refused > 0 {
		err = fmt.Errorf("%d users were refused; correct their lines and run the command again", sum.Refused)
	}
	return err
}

// A refusedUser is one of a file whom the server refused.
type refusedUser struct {
	line int
	api.ImportOutcome
}

func (r refusedUser) row() row {
	return row{{"", "line", r.line}, {"", "user", r.User}, {"", "code", r.Code}, {"", "detail", r.String()}}
}

func (r refusedUser) String() string {
	if len(r.Errors) == 0 {
		return fmt.Sprintf("line %d: user: %s", r.line, r.Detail)
	}
	var all []string
	for _, e := range r.Errors {
		all = append(all, fmt.Sprintf("line %d: %s: %s", r.line, e.Field, e.Message))
	}
	return strings.Join(all, "\n")
}

// portion is how many users one request takes: no more than the API allows, and no more bytes than a body may have,
// even if each character is escaped.
func portion(users []api.ImportedUser) int {
	const most, bytes, beside = 100, 48 << 10, 100
	size := 0
	for i, u := range users[:min(len(users), most)] {
		if size += 6*(len(u.User)+len(u.Number)) + beside; size > bytes && i > 0 {
			return i
		}
	}
	return min(len(users), most)
}

// read reads the file. Nothing is imported of one in which a line can't be read.
func (c *userImport) read(w world) (lines []int, users []api.ImportedUser, err error) {
	in := w.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		in = f
	}
	rows, err := intake.Read(in, []string{"user", "number", "verified_at"})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.File, err)
	}
	var wrong []error
	for _, r := range rows {
		u := api.ImportedUser{User: r.Text("user"), Number: r.Text("number")}
		for name, value := range map[string]string{"user": u.User, "number": u.Number} {
			if value == "" && r.Problems[name] == "" {
				r.Fields.Wrong(name, "is missing")
			}
		}
		if at := r.Text("verified_at"); at != "" {
			t, err := time.Parse(time.RFC3339, at)
			if err != nil {
				r.Fields.Wrong("verified_at", "must be a time like 2026-01-31T12:00:00Z")
			}
			u.VerifiedAt = &t
		}
		wrong = append(wrong, r.Errors()...)
		lines, users = append(lines, r.Line), append(users, u)
	}
	if len(wrong) > 0 {
		return nil, nil, fmt.Errorf("%s: nothing was imported:\n%w", c.File, errors.Join(wrong...))
	}
	return lines, users, nil
}
