package verify

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestATextNamesTheProjectsWebSitesOnly(t *testing.T) {
	t.Parallel()
	p := &Project{LinkHosts: []string{"example.com"}, Style: Style{WebOTP: "login.example.org"}}
	for _, text := range []string{
		"Your code is 000000", "Hi there: it's 000000!", "Acme Inc. says 000000. Don't share it...", "e.g. 000000", "It costs 3.50 or 1.234,5", "at 9 a.m. or/and 3.50/month",
		"v1.2b 000000", "Größe: 000000", "a://", "@ #", "#000000 @you", "U.S.A.",
		"example.com", "Go to https://example.com/reset.html?to=evil.com#000000 now", "http://example.com:8080", "HTTPS://WWW.EXAMPLE.COM/", "(see www.example.com/a/b.html)",
		"https://example.com.", "https://example.com, 000000", "help@example.com", "000000\n\n@login.example.org #000000", "a.login.example.org", "example.com. 000000", "example．com",
		"您的验证码是000000。请勿泄露。", "認証コード:000000。他人に教えないでください。", "Votre site example.com\u00a0: 000000",
	} {
		if p.foreignSite(text) {
			t.Errorf("%q: refused", text)
		}
	}
	for _, text := range []string{
		"https://evil.com/000000", "http://evil.com", "www.evil.com", "evil.com", "Verify at EVIL.COM/x", "evil.com:8080", "evil.c/x", "evil。com", "evil．com", "evil.ｃom",
		"https://1.2.3.4/", "1.2.3.4", "https://localhost", "https://[::1]/", "ftp://example.com/", "intent://example.com", "javascript://example.com/%0aalert(1)",
		"https://example.com@evil.com", "https://example.com:x@evil.com/", "https://example.com\\@evil.com", "https://evil.com\\@example.com", "https://evil.com/@example.com",
		"https://example.com.evil.com", "https://evilexample.com", "evilexample.com", "example.com.evil.com", "example.com-evil.com", "example.com_evil.com", "example.com@evil.com", "example.com:evil.com",
		"evil.com/example.com", "evil.com?example.com", "evil.com#example.com", "example.com evil.com", "https://example.com https://evil.com", "example.com:80@evil.com",
		"exa\u200bmple.com.\u200bevil.com", "evil\u200b.com", "evil.\u2060com", "💩.la", "bücher.example", "xn--bcher-kva.example", "пример.рф",
		"@evil.com #000000", "code\n@evil.com #000000", "code\n@evil #000000", "code\r\n @evil.com #000000 %login.example.org", "@login.example.org #1\n@evil.com #1", "evil@evil.com",
		"evil.com.x 000000", "evil.com.000000", "evil.com.1", "evil.com.\u00a0Your code 000000",
		"https://evil.com,.example.com", "https://evil.com;.example.com", "https://evil.com'.example.com", "https://evil.com:443.example.com",
		"evil.com-.example.com", "evil.com’.example.com", "evil.com\u3000.example.com", "evil.com\u200b.example.com",
		"example.org", // the site above isn't the project's
	} {
		if !p.foreignSite(text) {
			t.Errorf("%q: let through", text)
		}
		if (&Project{AnyLink: true}).foreignSite(text) {
			t.Errorf("%q: refused where any link is allowed", text)
		}
	}
}

func TestWhereATextMayNoForeignSiteBeNamed(t *testing.T) {
	t.Parallel()
	strict := account(Compat)
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
		{SMS, "Code:", nil, nil, 0},
		{SMS, "See https://example.com/{code}", nil, nil, 0},
		{SMS, "See https://evil.com/{code}", nil, problem(FieldText), 0},
		{SMS, "Code {code}\n@evil.com #{code}", nil, problem(FieldText), 0},
		{SMS, "See {code}.evil.com", nil, problem(FieldText), 0},
		{SMS, "See {code}.com", nil, problem(FieldText), 0},
		{Voice, "See evil.com", nil, nil, 0}, // nobody taps what is said
		{Voice, "See evil.com", []Channel{SMS}, nil, 0},
		{Voice, "See example.com", []Channel{SMS}, nil, 1},
	} {
		got, err := settle(strict, StartRequest{Channel: tt.channel, To: number1, From: "+12025550111", Text: tt.text}, from, tt.then)
		if diff := cmp.Diff(tt.want, found(t, err)); diff != "" || len(got.fallbacks) != tt.others {
			t.Errorf("%s %q: %d others, want %d, problems (-want +got)\n%s", tt.channel, tt.text, len(got.fallbacks), tt.others, diff)
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
		{func(a *Application) { a.Channels, a.AssociateTemplate = []Channel{Voice}, "$code for evil.com" }, nil},
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
