package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/countersign/countersign/internal/admin"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/verify"
)

// A shownUser is what the page of a user shows.
type shownUser struct {
	Application, Name   string // by which forms name the user
	Facts               [][2]string
	Verification        string // the latest one; "": there is none
	Started             string // when that began
	Devices             []shownDevice
	MayChange, MayErase bool
	Notice              string
}

type shownDevice struct{ ID, Name, Kind, Locale, Registered, Used string }

// userNamed reads the user that a form names, if the person may see them. A user's name is no part of a URL: it may be an address or
// a number.
func (d desk) userNamed(r *http.Request, p Person) (u admin.KnownUser, err error) {
	application, err := verify.ParseAnyID(r.PostFormValue("application"))
	name := r.PostFormValue("user")
	if err != nil || !verify.Storable(name) {
		return u, verify.ErrNoUser
	}
	return d.books.KnownUser(r.Context(), p.Projects, application, name)
}

// user shows a user of an application, and their devices.
func (d desk) user(w http.ResponseWriter, r *http.Request, p Person) error {
	u, err := d.userNamed(r, p)
	if err != nil {
		return err
	}
	d.showUser(w, r, p, u, "")
	return nil
}

func (d desk) showUser(w http.ResponseWriter, r *http.Request, p Person, u admin.KnownUser, notice string) {
	s := describe(&u)
	s.MayChange, s.MayErase, s.Notice = p.Role.AtLeast(operator.RoleOperator), p.Role.AtLeast(operator.RoleAdmin), notice
	if known, err := d.books.Project(r.Context(), u.Project); err == nil { // its name is a convenience
		s.Facts[0][1] = cmp.Or(known.Name, string(known.ID))
	}
	d.show(w, r, http.StatusOK, userPage, "User", s)
}

func describe(u *admin.KnownUser) shownUser {
	prompts := fmt.Sprintf("%d unanswered", u.Prompts)
	if !u.DeniedAt.IsZero() {
		prompts = "none since they denied one, " + at(u.DeniedAt)
	}
	s := shownUser{Application: u.Application.Base62(), Name: u.Name, Facts: [][2]string{
		{"Project", string(u.Project)}, {"Application", u.Application.Base62()}, {"Number", cmp.Or(u.Number().Masked(), "–")}, {"Status", u.Status.String()},
		{"Verified (UTC)", verified(u)}, {"Created (UTC)", at(u.CreatedAt)}, {"Changed (UTC)", at(u.UpdatedAt)}, {"Prompts", prompts},
	}}
	if !u.Current.IsZero() {
		s.Verification, s.Started = u.Current.String(), at(u.Current.Time())
	}
	for _, v := range u.Devices {
		used := "never"
		if !v.UsedAt.IsZero() {
			used = at(v.UsedAt)
		}
		s.Devices = append(s.Devices, shownDevice{v.ID.String(), cmp.Or(v.Name, "without a name"), string(v.Kind), cmp.Or(v.Locale, "–"), at(v.ID.Time()), used})
	}
	return s
}

// removeDevice removes a user's device, as countersign user remove --device does. One that somebody else has removed meanwhile is no
// error.
func (d desk) removeDevice(w http.ResponseWriter, r *http.Request, p Person) error {
	u, err := d.userNamed(r, p)
	if err != nil {
		return err
	}
	id, err := verify.ParseID(r.PostFormValue("device"))
	if err != nil {
		return verify.ErrNotFound
	}
	notice := "The device is removed: nothing is pushed to it any more."
	if err := d.books.RemoveDevice(r.Context(), p.actor(), u.Key(), id); errors.Is(err, verify.ErrNoDevice) {
		notice = "The user has no such device any more."
	} else if err != nil {
		return err
	}
	if u, err = d.userNamed(r, p); err != nil {
		return err
	}
	d.showUser(w, r, p, u, notice)
	return nil
}

// askErase says what a deletion of a user removes, and asks.
func (d desk) askErase(w http.ResponseWriter, r *http.Request, p Person) error {
	u, err := d.userNamed(r, p)
	if err != nil {
		return err
	}
	d.show(w, r, http.StatusOK, erasePage, "Delete a user", describe(&u))
	return nil
}

// erase deletes a user, as countersign user remove does.
func (d desk) erase(w http.ResponseWriter, r *http.Request, p Person) error {
	u, err := d.userNamed(r, p)
	if err != nil {
		return err
	}
	if err := d.books.DeleteUser(r.Context(), p.actor(), u.Key()); err != nil {
		return err
	}
	d.showFound(w, r, http.StatusOK, found{Notice: fmt.Sprintf("The user %s is deleted, with %s.", u.Name, counted(len(u.Devices), "device", "devices"))})
	return nil
}

// HasDevices says how many devices the user has.
func (s shownUser) HasDevices() string { return counted(len(s.Devices), "device", "devices") }

// exportUser streams what is kept of a user.
func (d desk) exportUser(w http.ResponseWriter, r *http.Request, p Person) error {
	u, err := d.userNamed(r, p)
	if err != nil {
		return err
	}
	return d.download(w, r, "user.jsonl", func(ctx context.Context, to io.Writer) error {
		return d.books.ExportUser(ctx, p.actor(), to, u)
	})
}

// exportNumber streams what the project keeps of a verification's number, as countersign destination export prints it.
func (d desk) exportNumber(w http.ResponseWriter, r *http.Request, p Person) error {
	s, err := d.story(r, p)
	if err != nil {
		return err
	}
	return d.download(w, r, "number.jsonl", func(ctx context.Context, to io.Writer) error {
		return d.books.ExportNumber(ctx, p.actor(), to, s.Project, s.Reach())
	})
}

// askEraseNumber says what an erasure of a verification's number removes, and asks.
func (d desk) askEraseNumber(w http.ResponseWriter, r *http.Request, p Person) error {
	s, err := d.story(r, p)
	if err != nil {
		return err
	}
	project := string(s.Project)
	if known, err := d.books.Project(r.Context(), s.Project); err == nil { // its name is a convenience
		project = cmp.Or(known.Name, project)
	}
	d.show(w, r, http.StatusOK, eraseNumberPage, "Erase a number", struct{ ID, Number, Project string }{s.ID.String(), s.Reach().Masked(), project})
	return nil
}

// eraseNumber erases a verification's number in its project, as countersign destination erase does.
func (d desk) eraseNumber(w http.ResponseWriter, r *http.Request, p Person) error {
	s, err := d.story(r, p)
	if err != nil {
		return err
	}
	e, err := d.books.EraseNumber(r.Context(), p.actor(), s.Project, s.Reach())
	if err != nil {
		return err
	}
	notice := fmt.Sprintf("%s is erased, with %s, and taken from %s.", s.Reach().Masked(), counted(e.Verifications, "verification", "verifications"), counted(e.Users, "user", "users"))
	if e.Limited {
		notice += " Its wrong guesses and its messages of the last day still count."
	}
	d.showFound(w, r, http.StatusOK, found{Notice: notice})
	return nil
}
