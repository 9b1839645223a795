package verify

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/countersign/countersign/internal/wording"
)

// A MessageTemplate is a text that a project keeps under an id and a name, for its applications to
// name. It may hold anything: whether it can go out is asked when an application names it.
type MessageTemplate struct {
	ID          ID
	Project     ProjectID
	Designation string // the caller's word for its kind: TEMPLATE or VALIDATOR
	Name        string // unique in the project
	Pattern     string // see [wording.Template]

	CreatedAt, UpdatedAt time.Time
	Version              int
}

// A TemplateStore keeps message templates. All but CreateTemplate fail with [ErrNoTemplate] where
// there is none, or it is another project's.
type TemplateStore interface {
	// CreateTemplate and UpdateTemplate fail with [ErrDuplicate] if the project has another one of the
	// name; the former with [ErrTooManyTemplates], if the project has most, or more; the latter with
	// [ErrStale], unless the stored version is the one before t's.
	CreateTemplate(ctx context.Context, t MessageTemplate, most int) error
	Template(ctx context.Context, p ProjectID, id ID) (MessageTemplate, error)
	// FindTemplate looks for one by its id, or else its name.
	FindTemplate(ctx context.Context, p ProjectID, id ID, name string) (MessageTemplate, error)
	// Templates lists a project's, the oldest first.
	Templates(ctx context.Context, p ProjectID) ([]MessageTemplate, error)
	UpdateTemplate(ctx context.Context, t MessageTemplate) error
	DeleteTemplate(ctx context.Context, p ProjectID, id ID) error
}

// CreateTemplate stores a text for the account's project, and fills in its id and times.
func (s *Service) CreateTemplate(ctx context.Context, acct *Account, t MessageTemplate) (MessageTemplate, error) {
	now := s.instant()
	t.ID, t.Project, t.CreatedAt, t.UpdatedAt, t.Version = NewID(now), acct.Project.ID, now, now, 1
	if err := t.check(); err != nil {
		return MessageTemplate{}, err
	}
	return t, s.store.CreateTemplate(context.WithoutCancel(ctx), t, s.maxTemplates)
}

// Template reads a text of the account's project, or fails with [ErrNoTemplate].
func (s *Service) Template(ctx context.Context, acct *Account, id ID) (MessageTemplate, error) {
	return s.store.Template(ctx, acct.Project.ID, id)
}

// Templates lists the account's project's texts, the oldest first.
func (s *Service) Templates(ctx context.Context, acct *Account) ([]MessageTemplate, error) {
	return s.store.Templates(ctx, acct.Project.ID)
}

// UpdateTemplate replaces a text if its stored version is still the given one; else it fails with
// [ErrStale]. Applications that name it send the new one from now on.
func (s *Service) UpdateTemplate(ctx context.Context, acct *Account, t MessageTemplate, version int) error {
	t.Project, t.UpdatedAt, t.Version = acct.Project.ID, s.instant(), version+1
	if err := t.check(); err != nil {
		return err
	}
	return s.store.UpdateTemplate(context.WithoutCancel(ctx), t)
}

// DeleteTemplate deletes a text. An application that names it sends nothing until it names another.
func (s *Service) DeleteTemplate(ctx context.Context, acct *Account, id ID) error {
	return s.store.DeleteTemplate(context.WithoutCancel(ctx), acct.Project.ID, id)
}

func (t *MessageTemplate) check() error {
	var p problems
	if t.Name == "" {
		p.add(FieldName, "can't be blank")
	}
	if t.Pattern == "" {
		p.add(FieldPattern, "can't be blank")
	}
	p.text(FieldName, t.Name, maxName)
	p.text(FieldDesignation, t.Designation, maxName)
	p.text(FieldPattern, t.Pattern, maxTemplate)
	p.printable(FieldName, t.Name)
	p.printable(FieldDesignation, t.Designation)
	return p.err()
}

// An occasion is why a user gets a code.
type occasion struct {
	associates bool
	field      Field
	template   func(*Application) string
	texts      wording.Default
}

var (
	association = &occasion{
		associates: true, field: FieldAssociateTemplate, texts: wording.Association,
		template: func(a *Application) string { return a.AssociateTemplate },
	}
	login = &occasion{
		field: FieldLoginTemplate, texts: wording.Login,
		template: func(a *Application) string { return a.LoginTemplate },
	}
	occasions = []*occasion{association, login}
)

// pattern is the text of an application for an occasion, and whether it is its own.
func (s *Service) pattern(ctx context.Context, a *Application, o *occasion, c Channel) (text string, own bool, err error) {
	named := o.template(a)
	if named == "" {
		return o.texts.In(c.medium()), false, nil
	}
	id, _ := ParseBase62(named) // zero is nobody's
	t, err := s.store.FindTemplate(ctx, a.Project, id, named)
	switch {
	case err == nil:
		return t.Pattern, true, nil
	case errors.Is(err, ErrNoTemplate) && strings.ContainsFunc(named, func(r rune) bool { return r == '$' || unicode.IsSpace(r) }):
		return named, true, nil // a text itself: no id looks like that
	}
	return "", false, err
}

// checkTemplate notes why the text that an application names for an occasion can't go out by one of
// its channels, with the longest code.
func (s *Service) checkTemplate(ctx context.Context, acct *Account, a *Application, why *occasion, from Sender, p *problems) error {
	with := &Account{Project: acct.Project, Application: *a}
	o, t := order{occasion: why, sender: from}, Terms{Format: a.Format, Length: a.Length, Prefix: a.Prefix}
	for _, c := range a.Channels {
		before := len(*p)
		if _, _, err := s.render(ctx, with, &o, &t, c, p); err != nil || len(*p) > before {
			return err // one problem with a text is enough
		}
	}
	return nil
}

// render writes the text of a user's message: see [Service.write]. The words are the application's own, or ours.
func (s *Service) render(ctx context.Context, acct *Account, o *order, t *Terms, c Channel, p *problems) (text string, ours bool, err error) {
	project, app := &acct.Project, &acct.Application
	pattern, own, err := s.pattern(ctx, app, o.occasion, c)
	if err != nil {
		return "", !own, err
	}
	template := wording.Parse(pattern)
	field, problem := o.occasion.field, wording.Unsendable(pattern)
	frame := func(asker string) string {
		return project.Style.Write(c.medium(), template.Frame(c.medium(), wording.Facts{DisplayName: asker, Life: app.Life}))
	}
	switch {
	case own && o.sender.Public && !project.PublicText:
		problem = "needs a sender of the project's own: the public one says the default text only"
	case problem != "":
	case !template.HasCode():
		problem = "has no $validation_code"
	default:
		fits := func(text string) string { return unfit(project, t, c, text, maxSpokenTemplate, s.maxSegments) }
		text = frame(app.asker(o.displayName))
		problem = fits(text)
		named := o.displayName != "" || !own // nothing else can be made shorter
		if problem == foreignSite {
			named = fits(frame("0")) != foreignSite // whoever is named
		}
		if named {
			field = FieldDisplayName
		}
	}
	if problem != "" {
		p.add(field, "%s", problem)
		return "", !own, nil
	}
	return text, !own, nil
}

// asker is who sends a message, by a request's name or the application's own. A name of which nothing
// is left is none.
func (a *Application) asker(displayName string) string {
	return cmp.Or(wording.Name(displayName), wording.Name(a.DisplayName), wording.Name(a.Name))
}

// maxSpokenTemplate is how many characters a call may say of a template, with the code spelled.
const maxSpokenTemplate = 2000

// foreignSite is what is wrong with a text of which [Project.foreignSite] is true.
const foreignSite = "names a web site that isn't the project's"

// foreignSite reports whether a text message names a web site that isn't the project's. A caller's text comes
// from a sender that people trust.
func (p *Project) foreignSite(text string) bool {
	return !p.AnyLink && wording.Sites(p.owns).Foreign(text)
}

// owns reports whether a web site is the project's, or below one of its.
func (p *Project) owns(host string) bool {
	return wording.Within(host, p.Style.WebOTP) ||
		slices.ContainsFunc(p.LinkHosts, func(site string) bool { return wording.Within(host, site) })
}
