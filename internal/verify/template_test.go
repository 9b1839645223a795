package verify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/wording"
)

// stored makes a template of the tests' own project.
func (e *engine) stored(t *testing.T, name, pattern string) MessageTemplate {
	t.Helper()
	x := MessageTemplate{ID: NewID(t0), Project: e.acct.Project.ID, Name: name, Pattern: pattern, Version: 1}
	e.store.addTemplate(x)
	return x
}

func TestATextIsAnIdANameOrATextItself(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	stored := e.stored(t, "Public SMFA", "stored $code")
	e.store.addTemplate(MessageTemplate{ID: NewID(t0), Project: "other", Name: "theirs", Pattern: "theirs $code"})
	for _, tt := range []struct {
		named, want string // "" for ErrNoTemplate
	}{
		{stored.ID.Base62(), "stored 123456"},
		{"Public SMFA", "stored 123456"},
		{"own $token", "own 123456"},
		{"$code", "123456"},
		{"${auth_code}x", "123456x"},
		{"theirs", ""},
		{NewID(t0).Base62(), ""},
		{"Public", ""},
		{"{code}", ""},
	} {
		a := Application{Project: e.acct.Project.ID, Name: "Shop", Length: 6, Life: time.Minute, LoginTemplate: tt.named}
		text, p, err := e.rendered(a, login, ChannelSMS, Sender{From: "+12025550111"}, "")
		if (tt.want == "") != errors.Is(err, ErrNoTemplate) || (err == nil) != (tt.want != "") || len(p) > 0 {
			t.Errorf("%q: got %v, %v", tt.named, err, p)
		}
		if got := wording.Fill(text, "123456", code.Numeric); err == nil && got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.named, got, tt.want)
		}
	}
}

func TestATextIsFilledIn(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	for _, tt := range []struct {
		channel       Channel
		pattern, want string
		life          time.Duration
	}{
		{ChannelSMS, "$validation_code $token $auth_token $auth_code $code", "123456 123456 123456 123456 123456", time.Minute},
		{ChannelSMS, `\$5 off: $code for $unknown ${other} at $display_name`, "$5 off: 123456 for $unknown ${other} at Shop", time.Minute},
		{ChannelSMS, "$code {code} {{code}}", "123456 {code} {{code}}", time.Minute},
		{ChannelSMS, "$code, for $validity_minutes minutes", "123456, for 10 minutes", 10 * time.Minute},
		{ChannelSMS, "$code, for $validity_minutes minutes", "123456, for 1 minutes", 30 * time.Second},
		{ChannelSMS, "$code, for $validity_minutes minutes", "123456, for 1 minutes", 119 * time.Second}, // never more than it is
		{ChannelVoice, "It is $code", "It is 1, 2, 3, 4, 5, 6", time.Minute},
	} {
		a := Application{Project: e.acct.Project.ID, Name: "Shop", Length: 6, Life: tt.life, LoginTemplate: tt.pattern}
		text, p, err := e.rendered(a, login, tt.channel, Sender{From: "+12025550111"}, "")
		if got := wording.Fill(text, "123456", code.Numeric); err != nil || len(p) > 0 || got != tt.want {
			t.Errorf("%q: got %q, %v, %v; want %q", tt.pattern, got, err, p, tt.want)
		}
	}
}

func TestATextThatCanNotGoOutIsRefusedWhenItIsNamed(t *testing.T) {
	t.Parallel()
	fits := strings.Repeat("x", 3*153-6) + "$code"
	for _, tt := range []struct {
		name string
		edit func(*Application)
		want string // the problem
	}{
		{"no code", func(a *Application) { a.AssociateTemplate = "Hello $display_name" }, "has no $validation_code"},
		{"an escaped code", func(a *Application) { a.AssociateTemplate = `Hello \$code` }, "has no $validation_code"},
		{"a control character", func(a *Application) { a.AssociateTemplate = "\x01 $code" }, "has a control character"},
		{"three segments", func(a *Application) { a.AssociateTemplate = fits }, ""},
		{"a character more", func(a *Application) { a.AssociateTemplate = "x" + fits }, "is too long (with the code it takes 4 segments of GSM-7, maximum is 3)"},
		{"a longer code", func(a *Application) { a.AssociateTemplate, a.Length = fits, 7 }, "is too long (with the code it takes 4 segments of GSM-7, maximum is 3)"},
		{"a prefix", func(a *Application) { a.AssociateTemplate, a.Prefix = fits, "G" }, "is too long (with the code it takes 4 segments of GSM-7, maximum is 3)"},
		{"a prefix in UCS-2", func(a *Application) { a.AssociateTemplate, a.Prefix = strings.Repeat("x", 200)+"$code", "日" }, "is too long (with the code it takes 4 segments of UCS-2, maximum is 3)"},
		{"a display name", func(a *Application) {
			a.AssociateTemplate, a.DisplayName = strings.Repeat("x", 300)+"$code $display_name", strings.Repeat("y", 250)
		}, "is too long (with the code it takes 4 segments of GSM-7, maximum is 3)"},
		{"the same in a call", func(a *Application) { a.AssociateTemplate, a.Channels = "x"+fits, []Channel{ChannelVoice} }, ""},
		{"the same in one of both", func(a *Application) { a.AssociateTemplate, a.Channels = "x"+fits, []Channel{ChannelVoice, ChannelSMS} }, "is too long (with the code it takes 4 segments of GSM-7, maximum is 3)"},
		{"a long call", func(a *Application) {
			a.AssociateTemplate, a.Channels, a.Length, a.Format = strings.Repeat("$code ", 10), []Channel{ChannelVoice}, 20, code.Complex
		}, "is too long (maximum is 2000 characters with the code)"},
		{"the default one in a call", func(a *Application) {
			a.Channels, a.Length, a.Format, a.DisplayName, a.Prefix = []Channel{ChannelVoice}, 20, code.Complex, strings.Repeat("y", 255), strings.Repeat("!", 16)
		}, ""},
		{"by the public sender", func(a *Application) { a.AssociateTemplate, a.From = "$code", "" }, "needs a sender of the project's own: the public one says the default text only"},
		{"by the public sender's number", func(a *Application) { a.AssociateTemplate, a.From = "$code", public }, "needs a sender of the project's own: the public one says the default text only"},
		{"by an unknown sender", func(a *Application) { a.AssociateTemplate, a.From = "$code", "channel:x" }, "needs a sender of the project's own: the public one says the default text only"},
		{"the default one by the public sender", func(a *Application) { a.From = "" }, ""},
	} {
		e := newEngine(t)
		for _, o := range []Field{FieldAssociateTemplate, FieldLoginTemplate} {
			a := Application{Name: "Shop", From: "+12025550111"}
			tt.edit(&a)
			if o == FieldLoginTemplate {
				a.AssociateTemplate, a.LoginTemplate = "", a.AssociateTemplate
			}
			_, err := e.CreateApplication(t.Context(), e.acct, a)
			all := found(t, err)
			if tt.want == "" && len(all) > 0 || tt.want != "" && (len(all) != 1 || all[0].Message != tt.want || all[0].Field != o) {
				t.Errorf("%s, %s: got %+v, want %q", tt.name, o, all, tt.want)
			}
		}
	}
	// In a default text only the name can be too long.
	e := newEngine(t)
	_, err := e.CreateApplication(t.Context(), e.acct, Application{Name: "Shop", DisplayName: strings.Repeat("日", 255)})
	if all := found(t, err); len(all) != 1 || all[0].Field != FieldDisplayName || all[0].TooLong {
		t.Errorf("a long name in the default text: got %+v", all)
	}

	e.acct.Project.PublicText = true
	e.application(t, func(a *Application) { a.AssociateTemplate = "$code" }) // where the project may
	if _, err := e.CreateApplication(t.Context(), e.acct, Application{Name: "Shop", LoginTemplate: "absent"}); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("a template that isn't there: got %v", err)
	}
}

// What changed since the application was made is seen when a code is asked for.
func TestATextThatCanNoLongerGoOutSendsNothing(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	stored := e.stored(t, "mine", "$code")
	a := e.application(t, func(a *Application) { a.AssociateTemplate, a.From = "mine", "+12025550111" })
	associate := func() error {
		return e.Associate(t.Context(), e.acct, a.ID, "kola", AssociateRequest{Address: number1})
	}
	if err := associate(); err != nil || e.latest().Body.Reveal() != e.sealed(t) {
		t.Fatalf("got %v", err)
	}
	stored.Pattern = "now $token"
	e.store.templates[0] = stored
	if err := associate(); err != nil || e.latest().Body.Reveal() != "now "+e.sealed(t) {
		t.Errorf("after a change: got %v", err)
	}
	stored.Pattern = "no more"
	e.store.templates[0] = stored
	if all := found(t, associate()); len(all) != 1 || all[0].Field != FieldAssociateTemplate {
		t.Errorf("without a code: got %+v", all)
	}
	e.store.templates = nil
	if err := associate(); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("deleted: got %v", err)
	}
	e.stored(t, "mine", "$code")
	e.acct.Project.Senders, e.acct.Project.AnySender = append(e.acct.Project.Senders, "+12025550122"), false
	if all := found(t, associate()); len(all) != 1 || all[0].Field != FieldFrom {
		t.Errorf("a sender that the project lost: got %+v", all)
	}
	if len(e.outbox.messages) != 2 {
		t.Errorf("%d messages went out, want 2", len(e.outbox.messages))
	}
}
