package verify

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/template"
)

// A MessageTemplate is a text that a project keeps under an id and a name, for its applications to
// name. It may hold anything: whether it can go out is asked when an application names it.
type MessageTemplate struct {
	ID          ID
	Project     ProjectID
	Designation string // the caller's word for its kind: TEMPLATE or VALIDATOR
	Name        string // unique in the project
	Pattern     string // see package template

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
	return p.err()
}

// An occasion is why a user gets a code.
type occasion struct {
	associates bool
	field      Field
	template   func(*Application) string
	sms, voice string // the default texts, which are the approved ones
}

var (
	association = occasion{
		associates: true, field: FieldAssociateTemplate, template: func(a *Application) string { return a.AssociateTemplate },
		sms:   "$validation_code is your $display_name verification code.",
		voice: "Your $display_name verification code is: $validation_code. Again, it is: $validation_code.",
	}
	login = occasion{
		field: FieldLoginTemplate, template: func(a *Application) string { return a.LoginTemplate },
		sms:   "$validation_code is your $display_name login code.",
		voice: "Your $display_name login code is: $validation_code. Again, it is: $validation_code.",
	}
	occasions = []occasion{association, login}
)

// codeNames are the names of the code in a template: the one in the documentation, and those that
// people who wrote for other systems try.
var codeNames = []string{"validation_code", "token", "auth_token", "auth_code", "code"}

// pattern is the text of an application for an occasion, and whether it is its own.
func (s *Service) pattern(ctx context.Context, a *Application, o occasion, c Channel) (text string, own bool, err error) {
	named := o.template(a)
	if named == "" {
		if c == Voice {
			return o.voice, false, nil
		}
		return o.sms, false, nil
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
func (s *Service) checkTemplate(ctx context.Context, acct *Account, a *Application, o occasion, from Sender, p *problems) error {
	with := &Account{Project: acct.Project, Application: *a}
	for _, c := range a.Channels {
		before := len(*p)
		if _, _, err := s.render(ctx, with, o, c, from, "", p); err != nil || len(*p) > before {
			return err // one problem with a text is enough
		}
	}
	return nil
}

// render makes the text of a user's message, with marks where the code goes: see fill. It notes why
// it can't go out, and reports whether the text is the application's own.
func (s *Service) render(ctx context.Context, acct *Account, o occasion, c Channel, from Sender, displayName string, p *problems) (text string, own bool, err error) {
	app := &acct.Application
	pattern, own, err := s.pattern(ctx, app, o, c)
	if err != nil {
		return "", own, err
	}
	t := template.Parse(pattern)
	problem := unspeakable(pattern)
	switch {
	case own && from.Public && !acct.Project.PublicText:
		p.add(o.field, "needs a sender of the project's own: the public one says the default text only")
	case problem != "":
		p.add(o.field, "%s", problem)
	case !slices.ContainsFunc(codeNames, t.Has):
		p.add(o.field, "has no $validation_code")
	default:
		text := t.Render(app.values(c, displayName))
		full := fill(text, app.Prefix+longest(app), app.Format)
		if c == SMS && acct.Project.foreignSite(full) {
			field := FieldDisplayName
			if acct.Project.foreignSite(fill(t.Render(app.valuesFor(c, "0")), app.Prefix+longest(app), app.Format)) {
				field = o.field // whoever is named
			}
			p.add(field, foreignSite)
			return "", own, nil
		}
		problem = tooLong(c, full, maxSpokenTemplate, s.maxSegments)
		if problem == "" {
			return text, own, nil
		}
		field := o.field
		if displayName != "" || !own { // nothing else can be made shorter
			field = FieldDisplayName
		}
		p.add(field, "%s", problem)
	}
	return "", own, nil
}

// ours reports whether a text is what one of our patterns for calls makes of some display name.
func ours(text string) bool {
	return slices.ContainsFunc(occasions, func(o occasion) bool {
		before, after, _ := strings.Cut(strings.ReplaceAll(o.voice, "$"+codeNames[0], spellMark), "$display_name")
		rest, begins := strings.CutPrefix(text, before)
		return begins && strings.HasSuffix(rest, after)
	})
}

// asker is who sends a message, by a request's name or the application's own. A name of which nothing
// is left is none.
func (a *Application) asker(displayName string) string {
	return cmp.Or(cleaned(displayName), cleaned(a.DisplayName), cleaned(a.Name))
}

// values are what the names in an application's texts stand for.
func (a *Application) values(c Channel, displayName string) map[string]string {
	return a.valuesFor(c, a.asker(displayName))
}

func (a *Application) valuesFor(c Channel, asker string) map[string]string {
	mark := codeMark
	if c == Voice {
		mark = spellMark
	}
	v := map[string]string{
		"validity_minutes": strconv.Itoa(max(1, int(a.Life/time.Minute))), // rounded down; 0 would say that it is over
		"display_name":     asker,
	}
	for _, name := range codeNames {
		v[name] = mark
	}
	return v
}

// longest is a code of an application that takes as much room as any. All characters of a code are
// one septet in GSM 03.38; spelled, this one is as long as any.
func longest(a *Application) string {
	c := "0"
	if a.Format == code.Complex {
		c = "!"
	}
	return strings.Repeat(c, a.Length)
}

// maxSpokenTemplate is how many characters a call may say of a template, with the code spelled.
const maxSpokenTemplate = 2000

// The marks stand for the code in a text that was made from a template: for the code itself, and for
// the code spelled. No template and no value in it holds a control character, so a template with
// "{code}" in it says "{code}".
const (
	codeMark  = "\x01"
	spellMark = "\x02"
)

// fill puts a code, its prefix included, where a verification's text wants it: in the place of the
// marks; in a request's text, which has none, in that of the placeholder.
func fill(text, code string, f code.Format) string {
	if !strings.ContainsAny(text, codeMark+spellMark) {
		return strings.ReplaceAll(text, placeholder, code)
	}
	return strings.NewReplacer(codeMark, code, spellMark, spell(code, f)).Replace(text)
}

// marked is a verification's text with a [CodePlace] wherever fill puts the code.
func marked(text string) string {
	if !strings.ContainsAny(text, codeMark+spellMark) {
		return strings.ReplaceAll(text, placeholder, CodePlace)
	}
	return strings.ReplaceAll(text, spellMark, CodePlace)
}

// symbols are what a voice calls the symbols of codes.
var symbols = map[rune]string{
	'!': "exclamation mark", '#': "hash", '$': "dollar", '%': "percent", '&': "ampersand",
	'*': "asterisk", '+': "plus", '=': "equals", '?': "question mark", '@': "at",
}

// spell writes a code so that a voice reads it one character at a time. Where case counts it says it.
func spell(text string, f code.Format) string {
	var said []string
	for _, r := range text {
		name, isSymbol := symbols[r]
		switch {
		case isSymbol:
			said = append(said, name)
		case unicode.IsSpace(r):
		case f == code.Complex && unicode.IsUpper(r):
			said = append(said, "capital "+string(r))
		default:
			said = append(said, string(r))
		}
	}
	return strings.Join(said, ", ")
}

// link is what a phone makes a link of, and what is no company's name: a scheme, www., or a domain
// with a port, a path, a query or a fragment. The dots are those that browsers take for one (UTS #46),
// and what can't be seen doesn't part a name from its path.
var link = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://\S*|\bwww[.．。｡]\S*|[\pL\pN\pM\p{Cf}_-]+([.．。｡][\pL\pN\pM\p{Cf}_-]+)+[.．。｡]?(/|:[0-9]|[?#]\S)\S*`)

// cleaned is a display name as a message has it: in one line, without links, and without marks that
// turn the direction of what follows, which may be the code. A text comes from a sender that people
// trust, and a name from whoever fills in a form somewhere.
func cleaned(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp):
			return ' '
		}
		return r
	}, name)
	for { // what is left of one link may be another
		next := link.ReplaceAllString(name, " ")
		if next == name {
			return strings.Join(strings.Fields(name), " ")
		}
		name = next
	}
}
