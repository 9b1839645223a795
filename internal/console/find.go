package console

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// found is what the page of finding shows.
type found struct {
	Title, Problem, Notice string
	Searched               bool // for a number
	Projects               []foundIn
	More                   int // projects that know the number and aren't shown
	Users                  []foundUser
	MoreUsers              bool
}

// shownProjects is how many projects are shown that know a number, and shownUsers how many users of a number or a name.
const (
	shownProjects = 20
	shownUsers    = 20
)

type foundIn struct {
	Project, Standing string
	Export, Erase     string // the newest verification, whose id names the number; "": this person may not
	Verifications     []foundVerification
}

type foundVerification struct{ ID, Started, Channel, Status, Tone, Guesses, Delivery string }

type foundUser struct{ Application, Name, Project, Number, Status, Verified string }

// findBox shows the box alone.
func (d desk) findBox(w http.ResponseWriter, r *http.Request, _ Person) error {
	d.showFound(w, r, http.StatusOK, found{})
	return nil
}

func (d desk) showFound(w http.ResponseWriter, r *http.Request, status int, f found) {
	d.show(w, r, status, findPage, "Find", f)
}

// maxUserName is how many characters the name of a user may have.
const maxUserName = 255

// find looks for a number, for an id or for a user's name. It is a POST, because a number in a URL stays in histories.
func (d desk) find(w http.ResponseWriter, r *http.Request, p Person) error {
	text := strings.TrimSpace(r.PostFormValue("q"))
	if id, err := verify.ParseID(text); err == nil {
		http.Redirect(w, r, "/verification/"+id.String(), http.StatusSeeOther)
		return nil
	}
	n, noNumber := phone.Parse(text)
	var users []admin.KnownUser
	more := false
	if text != "" && utf8.RuneCountInString(text) <= maxUserName && verify.Storable(text) {
		var err error
		if users, more, err = d.books.Users(r.Context(), p.Projects, n, text, shownUsers); err != nil {
			return err
		}
	}
	if noNumber != nil && len(users) == 0 {
		d.showFound(w, r, http.StatusUnprocessableEntity, found{Problem: "That is no id of 36 characters, no number with its country, such as +1 202 555 0100, and no name of a user in the projects that you see."})
		return nil
	}
	projects, err := d.visible(r.Context(), p)
	if err != nil {
		return err
	}
	f := found{Title: text, Users: usersOf(users, projects), MoreUsers: more}
	if noNumber == nil {
		f.Title, f.Searched = n.Masked(), true
		if f.Projects, f.More, err = d.projectsOf(r, p, projects, n); err != nil {
			return err
		}
	}
	d.showFound(w, r, http.StatusOK, f)
	return nil
}

// projectsOf is what projects know of a number.
func (d desk) projectsOf(r *http.Request, p Person, projects []verify.Project, n phone.Number) (all []foundIn, more int, err error) {
	numbers, more, err := d.books.Numbers(r.Context(), projects, n, shownProjects)
	now := d.books.Now()
	for _, known := range numbers {
		in := foundIn{Project: cmp.Or(known.Project.Name, string(known.Project.ID)), Standing: known.Standing}
		for _, v := range known.History {
			status := v.StatusAt(now)
			in.Verifications = append(in.Verifications, foundVerification{
				v.ID.String(), at(v.ID.Time()), string(v.Channel), status.String(), toneOf(status), fmt.Sprintf("%d of %d", v.Guesses, v.MaxAttempts), delivery(&v),
			})
		}
		if len(in.Verifications) > 0 && p.Role.AtLeast(operator.RoleOperator) {
			in.Export = in.Verifications[0].ID
		}
		if len(in.Verifications) > 0 && p.Role.AtLeast(operator.RoleAdmin) {
			in.Erase = in.Verifications[0].ID
		}
		all = append(all, in)
	}
	return all, more, err
}

// usersOf lists users with the names of their projects.
func usersOf(users []admin.KnownUser, projects []verify.Project) (all []foundUser) {
	for _, u := range users {
		all = append(all, foundUser{u.Application.Base62(), u.Name, nameOf(projects, u.Project), cmp.Or(u.Number().Masked(), "–"), u.Status.String(), verified(&u)})
	}
	return all
}

// nameOf is a project's name, or its id.
func nameOf(projects []verify.Project, id verify.ProjectID) string {
	for _, p := range projects {
		if p.ID == id {
			return cmp.Or(p.Name, string(id))
		}
	}
	return string(id)
}

// verified says when a user last showed that the number is theirs.
func verified(u *admin.KnownUser) string {
	if t := u.Verified(); !t.IsZero() {
		return at(t)
	}
	return "–"
}
