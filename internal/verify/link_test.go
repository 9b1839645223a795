package verify

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/wording"
)

func TestAProjectsWebSites(t *testing.T) {
	t.Parallel()
	p := &Project{LinkHosts: []string{"example.com"}, Style: wording.Style{WebOTP: "login.example.org"}}
	for text, foreign := range map[string]bool{"example.com": false, "a.login.example.org": false, "example.org": true, "evilexample.com": true} {
		if got := p.foreignSite(text); got != foreign {
			t.Errorf("%q: foreign %t, want %t", text, got, foreign)
		}
		if (&Project{AnyLink: true}).foreignSite(text) {
			t.Errorf("%q: refused where any link is allowed", text)
		}
	}
}

func TestWhereATextMayNoForeignSiteBeNamed(t *testing.T) {
	t.Parallel()
	strict := account(ProfileCompat)
	strict.Project.AnyLink, strict.Project.LinkHosts = false, []string{"example.com"}
	problem := func(f Field) []Problem { return []Problem{{Field: f, Message: foreignSite}} }
	from := senders{public: public}
	for _, tt := range []struct {
		channel Channel
		text    string
		then    []Channel
		want    []Problem
		others  int // channels by which the message may go on
	}{
		{ChannelSMS, "Code:", nil, nil, 0},
		{ChannelSMS, "See https://example.com/{code}", nil, nil, 0},
		{ChannelSMS, "See https://evil.com/{code}", nil, problem(FieldText), 0},
		{ChannelSMS, "Code {code}\n@evil.com #{code}", nil, problem(FieldText), 0},
		{ChannelSMS, "See {code}.evil.com", nil, problem(FieldText), 0},
		{ChannelSMS, "See {code}.com", nil, problem(FieldText), 0},
		{ChannelVoice, "See evil.com", nil, nil, 0}, // nobody taps what is said
		{ChannelVoice, "See evil.com", []Channel{ChannelSMS}, nil, 0},
		{ChannelVoice, "See example.com", []Channel{ChannelSMS}, nil, 1},
	} {
		got, err := settle(strict, StartRequest{Channel: tt.channel, To: number1, From: "+12025550111", Text: tt.text}, from, tt.then)
		if diff := cmp.Diff(tt.want, found(t, err)); diff != "" || len(got.Fallbacks) != tt.others {
			t.Errorf("%s %q: %d others, want %d, problems (-want +got)\n%s", tt.channel, tt.text, len(got.Fallbacks), tt.others, diff)
		}
	}

	// The templates of users, and what they are filled with.
	e := newEngine(t)
	e.acct = strict
	for _, tt := range []struct {
		edit func(*Application)
		want []Problem
	}{
		{func(a *Application) { a.AssociateTemplate = "$code for https://example.com" }, nil},
		{func(a *Application) { a.AssociateTemplate = "$code for https://evil.com" }, problem(FieldAssociateTemplate)},
		{func(a *Application) { a.LoginTemplate = "$code for https://$display_name" }, problem(FieldLoginTemplate)},
		{func(a *Application) { a.LoginTemplate = "$code for $display_name.com" }, problem(FieldLoginTemplate)},
		{func(a *Application) { a.LoginTemplate = "$code\n@evil.com #$code" }, problem(FieldLoginTemplate)},
		{func(a *Application) { a.DisplayName = "Evil.com" }, problem(FieldDisplayName)},
		{func(a *Application) { a.DisplayName = "Example.com" }, nil},
		{func(a *Application) { a.DisplayName, a.AssociateTemplate = "Evil.com", "$code for $display_name" }, problem(FieldDisplayName)},
		{func(a *Application) { a.Prefix = "evil.com/" }, problem(FieldPrefix)},
		{func(a *Application) { a.Prefix = "G-" }, nil},
		{func(a *Application) { a.Channels, a.AssociateTemplate = []Channel{ChannelVoice}, "$code for evil.com" }, nil},
	} {
		a := Application{Name: "Shop", From: "+12025550111"}
		tt.edit(&a)
		_, err := e.CreateApplication(t.Context(), e.acct, a)
		if diff := cmp.Diff(tt.want, found(t, err)); diff != "" {
			t.Errorf("%+v: problems (-want +got)\n%s", a, diff)
		}
	}
	a := e.application(t, func(a *Application) { a.From, a.AssociateTemplate = "+12025550111", "$code for $display_name" })
	err := e.Associate(t.Context(), e.acct, a.ID, "kola", AssociateRequest{Address: number1, DisplayName: "Evil.com"})
	if diff := cmp.Diff(problem(FieldDisplayName), found(t, err)); diff != "" {
		t.Errorf("associate: problems (-want +got)\n%s", diff)
	}
}
