package verify

import (
	"cmp"
	"context"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/wording"
)

// An order asks for a verification: by a request, or for a user. It is what only one of the two has, once it is
// read; all that they have in common is decided in [Service.settle].
type order struct {
	StartRequest // as its caller sent it; of a user's, the channel only
	to           phone.Number
	sender       Sender
	then         []Channel // by which the message may go on

	text     string        // of a request, framed; "" is the approved one
	template *TextTemplate // that a request names, once it is read
	language string        // in which that is looked for
	life     time.Duration // of the code

	occasion    *occasion // of a user's; nil for a request
	displayName string
	byKey       bool // a call asks for a key
	byPrompt    bool // a push asks on a device

	problems problems // all that is wrong with what was read
}

// orderOf reads a request.
func (s *Service) orderOf(acct *Account, r StartRequest) order {
	o := order{StartRequest: r, then: r.Then}
	if r.Then == nil {
		o.then = withoutPush(s.fallbacks(&acct.Application, r.Channel)) // it is for a number, which has no devices
	}
	switch {
	case r.Locale == "":
	case r.Template != "" && (len(r.Locale) > maxLocale || !locale.MatchString(r.Locale)):
		o.problems.add(FieldLocale, "must be a language tag such as de or pt-BR")
	case r.Template == "" && !(locale.MatchString(r.Locale) && wording.Speaks(r.Locale)):
		o.problems.add(FieldLocale, "must be a language tag such as de or pt-BR, of one of %s", strings.Join(wording.Languages(), " "))
	}
	o.problems.details(&r.Details)
	s.client(&o.problems, &o.Client, "") // no device shows it, so it isn't kept
	if !r.Payment.IsZero() && r.Text != "" {
		o.problems.add(FieldText, "can't be given with a payment, whose text is ours")
	}
	if r.Template != "" && r.Text != "" {
		o.problems.add(FieldTemplate, "can't be given with a text")
	}
	o.to = o.problems.number(FieldTo, r.To, o.problems.confirmation(&r, &acct.Project))
	o.sender = o.problems.from(acct, &r, s.senders)
	o.Purpose = o.problems.purpose(r.Purpose)
	if r.Text != "" {
		o.text = wording.Frame(r.Text)
	}
	if o.text == wording.Approved.In(r.Channel.medium()) {
		o.text = ""
	}
	switch {
	case o.text == "" && r.Template == "" && r.Payment.IsZero(), !o.sender.Public, acct.Project.PublicText:
	case r.From == "":
		o.problems.add(FieldFrom, "can't be blank when a message is given")
	default:
		o.problems.add(FieldFrom, "is the public sender, which says the default text only")
	}
	return o
}

// userOrder reads what a user needs a code for.
func (s *Service) userOrder(acct *Account, why *occasion, r userRequest) order {
	o := order{occasion: why, displayName: r.displayName}
	app := &acct.Application
	o.problems.text(FieldDisplayName, r.displayName, maxDisplayName)
	o.Purpose, o.Details, o.byPrompt = o.problems.purpose(r.purpose), r.details, r.byPrompt
	o.problems.details(&o.Details)
	s.client(&o.problems, &o.Client, cmp.Or(app.Calls.Locale, s.locale))
	to := o.problems.address(r.address, &acct.Project)
	channel := r.channel
	if r.byPrompt && channel == "" {
		channel = ChannelPush
	}
	o.to, o.Channel = to.number, app.channel(channel, to, why.associates, &o.problems)
	if r.byPrompt && !channel.ToDevices() {
		o.problems.add(FieldMode, "asks on a device, which needs the channel push")
	}
	o.sender = o.problems.sender(&acct.Project, app.From, s.senders)
	o.byKey = app.Calls.ByKey && o.Channel.IsCall()
	if r.channel == "" && (to.channel == "" || r.byPrompt) { // who names a channel gets that one
		o.then = s.fallbacks(app, o.Channel)
		if why.associates {
			o.then = withoutPush(o.then)
		}
	}
	return o
}

var locale = regexp.MustCompile(`^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$`)

// settle decides all that a verification freezes, which begins at an instant, or says all that is wrong with its
// order in an [ErrInvalid]. A channel by which it may go on is left out if its text can't go out on it.
func (s *Service) settle(ctx context.Context, acct *Account, o *order, began time.Time, t *Terms) error {
	project, app := &acct.Project, &acct.Application
	t.Details = o.Details
	t.Channel, t.To, t.Sender, t.Prefix = o.Channel, o.to.Key(), o.sender.From, app.Prefix
	if t.To != o.to {
		t.Written = o.to
	}
	o.problems.code(acct, &o.StartRequest, began, t)
	if len(o.problems) > 0 && (o.occasion != nil || o.Template != "") {
		return o.problems.err() // its text depends on all of these
	}
	t.Locale = cmp.Or(o.Locale, app.Calls.Locale, s.locale)
	if o.Template != "" {
		o.language, o.life = cmp.Or(t.Locale, o.to.Language()), t.ExpiresAt.Sub(began)
	}
	if t.Locale == "" && !o.Payment.IsZero() && o.Template == "" {
		t.Locale = o.to.Language()
	}
	text, ours, err := s.write(ctx, acct, o, t, o.Channel, &o.problems)
	if err != nil {
		return err
	}
	t.Text, t.Approval = text, project.Profile.approval()
	if o.byKey {
		if !project.Profile.AllowsKey() { // the policy was changed, or is newer than the application
			o.problems.add(FieldChannel, "is a call that is approved by a key, which the project's policy doesn't allow")
		}
		t.Approval, t.Asker, ours = ApprovalByKey, app.asker(o.displayName), true
	}
	if o.byPrompt {
		t.Approval, t.Asker = ApprovalByPrompt, cmp.Or(app.asker(o.displayName), project.Name)
	}
	if err := o.problems.err(); err != nil {
		return err
	}
	if t.Locale == "" && ours {
		t.Locale = o.to.Language()
	}
	for _, c := range o.then {
		var unfit problems
		text, _, err := s.write(ctx, acct, o, t, c, &unfit)
		if err != nil {
			return err
		}
		if len(unfit) == 0 {
			t.Fallbacks = append(t.Fallbacks, Fallback{c, text})
		} else if o.Then != nil {
			o.problems.add(FieldChannels, "has %s, whose text %s", c, unfit[0].Message)
		}
	}
	return o.problems.err()
}

// code decides how the code is made, and how long and how often it can be guessed.
func (p *problems) code(acct *Account, r *StartRequest, began time.Time, t *Terms) {
	b, app := profiles[acct.Project.Profile], &acct.Application
	t.Format = cmp.Or(r.Format, app.Format, code.Numeric)
	if r.Code != "" {
		p.ownCode(r, b, t)
	} else if t.Length = p.within(FieldLength, r.Length, cmp.Or(app.Length, b.length), b.minLength, b.maxLength); t.Length > 0 && t.Format.Bits(t.Length) < b.minBits {
		p.add(FieldLength, "is too short for a secure code")
	}
	life := p.within(FieldLife, r.Life, seconds(cmp.Or(app.Life, b.life)), 0, seconds(b.maxLife))
	t.ExpiresAt = began.Add(time.Duration(life) * time.Second)
	t.MaxAttempts = p.within(FieldAttempts, r.Attempts, cmp.Or(app.Attempts, b.attempts), b.minAttempts, b.maxAttempts)
}

// ownCode checks a caller's own code, which has the bounds of one that is made. Its problems don't repeat it.
func (p *problems) ownCode(r *StartRequest, b bounds, t *Terms) {
	given := r.Code.Reveal()
	spelled, possible := code.Normalize(t.Format, given)
	n := utf8.RuneCountInString(given)
	switch {
	case n < b.minLength || n > b.maxLength:
		p.add(FieldCode, "must have %d to %d characters", b.minLength, b.maxLength)
		return
	case !possible || spelled != given:
		p.add(FieldCode, "may have only the characters of %s codes: %s", t.Format, t.Format.Alphabet())
	case r.Length != nil && *r.Length != n:
		p.add(FieldCode, "must have as many characters as the length that is asked for, %d", *r.Length)
	case t.Format.Bits(n) < b.minBits:
		p.add(FieldCode, "is too short for a secure code")
	}
	t.Length = n
}

// write writes the text of an order's message for a channel, framed. It notes why the text can't go out, and
// reports whether the words are ours, so that a voice can say them in other languages. A text of a project that is being tried
// says so first, if the operator has words for that.
func (s *Service) write(ctx context.Context, acct *Account, o *order, t *Terms, c Channel, p *problems) (text string, ours bool, err error) {
	text, ours, err = s.compose(ctx, acct, o, t, c, p)
	if c.InSegments() && text != "" && s.trialPrefix != "" && acct.Project.Trial() {
		text = s.trialPrefix + " " + text
	}
	return text, ours, err
}

// compose does so without these words.
func (s *Service) compose(ctx context.Context, acct *Account, o *order, t *Terms, c Channel, p *problems) (text string, ours bool, err error) {
	if o.occasion != nil && o.Payment.IsZero() {
		return s.render(ctx, acct, o, t, c, p)
	}
	if o.Template != "" {
		text, err = s.fromTemplate(ctx, acct, o, t, c, p)
		return text, false, err
	}
	style := &acct.Project.Style
	if !o.Payment.IsZero() {
		if o.occasion != nil && !c.ToDevices() && o.sender.Public && !acct.Project.PublicText { // a push comes from nobody
			p.add(FieldPayee, "needs a sender of the project's own: the public one says the default text only")
		}
		text = style.Write(c.medium(), wording.Payment(t.Locale, c.medium(), o.Amount, o.Payee))
		if problem := unfit(&acct.Project, t, c, text, maxSpoken, s.maxSegments); problem != "" {
			p.add(FieldPayee, "makes a text that %s", problem)
		}
		return text, false, nil
	}
	if o.text == "" {
		return style.Write(c.medium(), wording.Approved.In(c.medium())), true, nil // it always fits
	}
	text = style.Write(c.medium(), o.text)
	problem := wording.Unsendable(o.text)
	if problem == "" {
		problem = unfit(&acct.Project, t, c, text, maxSpoken, 1)
	}
	if problem != "" {
		p.add(FieldText, "%s", problem)
	}
	return text, false, nil
}

// unfit says why a framed text can't go out on a channel. It may have so many characters in a call, and so many
// segments in a message.
func unfit(project *Project, t *Terms, c Channel, text string, spoken, segments int) string {
	// Zeros may be part of a site's name; other characters of codes end it.
	if !c.IsCall() && project.foreignSite(wording.Fill(text, t.Prefix+strings.Repeat("0", t.Length), t.Format)) {
		return foreignSite
	}
	full := wording.Fill(text, t.Prefix+wording.Longest(t.Format, t.Length), t.Format)
	return wording.TooLong(c.medium(), full, spoken, segments)
}
