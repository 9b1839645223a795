package verify

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/sms"
	"github.com/countersign/countersign/internal/wording"
)

// A TextTemplate is a name for texts of a project, one for each purpose, language and channel that needs its own. A
// start names it. Unlike a [MessageTemplate], which applications name, its texts are checked when they are stored.
type TextTemplate struct {
	ID      ID
	Project ProjectID
	Name    string // unique in the project
	Texts   []Text // a list of templates leaves them out

	CreatedAt, UpdatedAt time.Time
	Version              int // 1 at first, one more with each change
}

// A Text is for what it names; what is "" is for all.
type Text struct {
	Purpose Purpose `json:"purpose,omitempty"`
	Channel Channel `json:"channel,omitempty"`
	Locale  string  `json:"locale,omitempty"` // a BCP 47 tag: "pt" is for "pt-BR", too
	Text    string  `json:"text"`             // see [wording.ParseText]
}

// A TextStore keeps text templates. All but CreateText fail with [ErrNoTemplate] where there is none, or it is another
// project's.
type TextStore interface {
	// CreateText and UpdateText fail with [ErrDuplicate] if the project has another one of the name; the former with
	// [ErrTooManyTemplates], if the project has most, or more; the latter with [ErrStale], unless the stored version is
	// the one before t's.
	CreateText(ctx context.Context, t TextTemplate, most int) error
	Text(ctx context.Context, p ProjectID, id ID) (TextTemplate, error)
	TextNamed(ctx context.Context, p ProjectID, name string) (TextTemplate, error)
	// Texts lists a project's without their texts, the oldest first.
	Texts(ctx context.Context, p ProjectID) ([]TextTemplate, error)
	UpdateText(ctx context.Context, t TextTemplate) error
	// DeleteText deletes the version of one.
	DeleteText(ctx context.Context, p ProjectID, id ID, version int) error
}

// CreateText stores a template for the account's project, and fills in its id and times.
func (s *Service) CreateText(ctx context.Context, acct *Account, t TextTemplate) (TextTemplate, error) {
	now := s.instant()
	t.ID, t.Project, t.CreatedAt, t.UpdatedAt, t.Version = NewID(now), acct.Project.ID, now, now, 1
	if err := s.checkTexts(&acct.Project, &t); err != nil {
		return TextTemplate{}, err
	}
	return t, s.store.CreateText(context.WithoutCancel(ctx), t, s.maxTemplates)
}

// Text reads a template of the account's project, or fails with [ErrNoTemplate].
func (s *Service) Text(ctx context.Context, acct *Account, id ID) (TextTemplate, error) {
	return s.store.Text(ctx, acct.Project.ID, id)
}

// Texts lists the account's project's templates without their texts, the oldest first.
func (s *Service) Texts(ctx context.Context, acct *Account) ([]TextTemplate, error) {
	return s.store.Texts(ctx, acct.Project.ID)
}

// UpdateText replaces a template if its stored version is still the given one; else it fails with [ErrStale]. Messages
// of verifications that were started before keep their text.
func (s *Service) UpdateText(ctx context.Context, acct *Account, t TextTemplate, version int) error {
	t.Project, t.UpdatedAt, t.Version = acct.Project.ID, s.instant(), version+1
	if err := s.checkTexts(&acct.Project, &t); err != nil {
		return err
	}
	return s.store.UpdateText(context.WithoutCancel(ctx), t)
}

// DeleteText deletes a version of a template; where there is another one, it fails with [ErrStale].
func (s *Service) DeleteText(ctx context.Context, acct *Account, id ID, version int) error {
	return s.store.DeleteText(context.WithoutCancel(ctx), acct.Project.ID, id, version)
}

// Bounds of a template.
const (
	maxTexts     = 64
	maxTextBytes = 16 << 10 // of all its texts together
)

var textName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// checkTexts says all that is wrong with a template in an [ErrInvalid].
func (s *Service) checkTexts(project *Project, t *TextTemplate) error {
	var p problems
	if !textName.MatchString(t.Name) {
		p.add(FieldName, "must have 1 to 64 of a to z, 0 to 9, _ and -")
	}
	if n := len(t.Texts); n < 1 || n > maxTexts {
		p.add(FieldTexts, "must have 1 to %d texts", maxTexts)
		return p.err()
	}
	type key struct {
		Purpose
		Channel
		locale string
	}
	seen, size := map[key]int{}, 0
	for i := range t.Texts {
		x := &t.Texts[i]
		before := len(p)
		s.checkText(project, x, &p)
		k := key{x.Purpose, x.Channel, strings.ToLower(x.Locale)}
		if other, twice := seen[k]; twice {
			p.add(FieldTexts, "is for the same purpose, channel and locale as the one at %d", other)
		}
		for j := range p[before:] {
			p[before+j].Element = fmt.Sprintf("[%d]%s", i, p[before+j].Element)
		}
		seen[k] = i
		size += len(x.Text)
	}
	if size > maxTextBytes {
		p.add(FieldTexts, "are too long together (maximum is %d bytes)", maxTextBytes)
	}
	return p.err()
}

// checkText notes what is wrong with a text. Its problems name the part of the text that has it.
func (s *Service) checkText(project *Project, x *Text, p *problems) {
	note := func(part, format string, args ...any) {
		p.add(FieldTexts, format, args...)
		(*p)[len(*p)-1].Element = "." + part
	}
	if x.Purpose != "" {
		var wrong problems
		wrong.purpose(x.Purpose)
		for _, one := range wrong {
			note("purpose", "%s", one.Message)
		}
	}
	if x.Channel != "" && !x.Channel.ToNumber() {
		note("channel", "must be sms or voice")
	}
	if x.Locale != "" && (len(x.Locale) > maxLocale || !locale.MatchString(x.Locale)) {
		note("locale", "must be a language tag such as de or pt-BR")
	}
	template, unknown := wording.ParseText(x.Text)
	problem := wording.Unsendable(x.Text)
	switch n := utf8.RuneCountInString(x.Text); {
	case n > maxTemplate:
		note("text", "is too long (maximum is %d characters)", maxTemplate)
	case problem != "":
		note("text", "%s", problem)
	case len(unknown) > 0:
		note("text", "has {%s}, which nothing fills in; it may have {code}, {minutes}, {amount} and {payee}", unknown[0])
	case !template.HasCode():
		note("text", "has no {code}")
	case template.Has("amount") != template.Has("payee"):
		note("text", "must have both {amount} and {payee}, or neither")
	default:
		for _, c := range x.channels() {
			if problem := unfit(project, &typical, c, x.typical(project, c), maxSpoken, s.maxSegments); problem != "" {
				note("text", "%s", problem)
				return
			}
		}
	}
}

// maxLocale is the longest language tag of a text.
const maxLocale = 35

// channels are those by which a text may go.
func (x *Text) channels() []Channel {
	if x.Channel != "" {
		return []Channel{x.Channel}
	}
	return NumberChannels()
}

// typical are the terms of the code with which a text is measured before anybody has started a verification.
var typical = Terms{Format: code.Numeric, Length: 6}

// typicalFacts are what such a code is for. Names and amounts differ, so a start measures its own.
var typicalFacts = wording.Facts{Life: 10 * time.Minute, Amount: "100.00 EUR", Payee: strings.Repeat("x", 20)}

func (x *Text) typical(project *Project, c Channel) string {
	template, _ := wording.ParseText(x.Text)
	return project.Style.Write(c.medium(), template.Frame(c.medium(), typicalFacts))
}

// A Measure is the size of a text as it goes out, with a code of six digits, and with an amount of 10 and a payee of 20
// characters where it says them.
type Measure struct {
	Characters int
	// Segments is how many parts the text message has, and Encoding is how they are written. Zero for a call.
	Segments int
	Encoding string
}

// Preview is a text as a project sends it, with a code, an amount and a payee that stand for real ones, and the channel
// by which it goes then.
func (x *Text) Preview(project *Project) (full string, c Channel) {
	c = x.channels()[0]
	return wording.Fill(x.typical(project, c), wording.Longest(typical.Format, typical.Length), typical.Format), c
}

// Measure measures a text as a project sends it.
func (x *Text) Measure(project *Project) Measure {
	full, c := x.Preview(project)
	m := Measure{Characters: utf8.RuneCountInString(full)}
	if c.InSegments() {
		encoding, _ := sms.Measure(full)
		m.Segments, m.Encoding = sms.Segments(full), encoding.String()
	}
	return m
}

// choose returns the text for a purpose, a channel and a locale; nil: there is none. Of those that are for all three,
// one for the purpose comes before one for the language, and that before one for the channel: a payment must be told
// as such, and people must understand what they are told.
func (t *TextTemplate) choose(purpose Purpose, c Channel, locale string) (best *Text) {
	most := -1
	for i := range t.Texts {
		x := &t.Texts[i]
		if x.Purpose != "" && x.Purpose != purpose || x.Channel != "" && x.Channel != c {
			continue
		}
		rank := 0
		if x.Purpose != "" {
			rank += 16
		}
		language, _, regional := strings.Cut(locale, "-")
		its, _, _ := strings.Cut(x.Locale, "-")
		switch {
		case x.Locale == "":
		case strings.EqualFold(x.Locale, locale):
			rank += 8
		case strings.EqualFold(x.Locale, language):
			rank += 4
		case !regional && strings.EqualFold(its, language): // pt is content with pt-BR
			rank += 2
		default:
			continue
		}
		if x.Channel != "" {
			rank++
		}
		if rank > most {
			best, most = x, rank
		}
	}
	return best
}

// fromTemplate writes the text that an order's template has for a channel, framed. Where the order names no language,
// the number's country does, and a call is spoken in the language of its text.
func (s *Service) fromTemplate(ctx context.Context, acct *Account, o *order, t *Terms, c Channel, p *problems) (string, error) {
	if o.template == nil {
		found, err := s.store.TextNamed(ctx, acct.Project.ID, o.Template)
		if errors.Is(err, ErrNoTemplate) {
			p.add(FieldTemplate, "is not a template of this project")
			return "", nil
		}
		if err != nil {
			return "", err
		}
		o.template = &found
	}
	x := o.template.choose(o.Purpose, c, o.language)
	if x == nil {
		p.add(FieldTemplate, "has no text for this purpose by %s in the language %s; one without a locale is for all languages", c, o.language)
		return "", nil
	}
	template, _ := wording.ParseText(x.Text)
	switch pays := template.Has("amount"); {
	case pays && o.Payment.IsZero():
		p.add(FieldTemplate, "has a text that says {amount} and {payee}: name both")
		return "", nil
	case !pays && !o.Payment.IsZero():
		p.add(FieldTemplate, "has a text without {amount} and {payee}, which the message of a payment must say")
		return "", nil
	}
	text := acct.Project.Style.Write(c.medium(), template.Frame(c.medium(), wording.Facts{Life: o.life, Amount: o.Amount, Payee: o.Payee}))
	if problem := unfit(&acct.Project, t, c, text, maxSpoken, s.maxSegments); problem != "" {
		p.add(FieldTemplate, "makes a text that %s", problem)
		return "", nil
	}
	if x.Locale != "" && (c.IsCall() || t.Locale == "") {
		t.Locale = x.Locale
	}
	return text, nil
}
