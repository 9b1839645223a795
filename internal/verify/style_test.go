package verify

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/sms"
	"github.com/countersign/countersign/internal/wording"
)

// https://wicg.github.io/web-otp: the last line is the host and the code, and nothing else.
func TestAStyleEndsTextMessages(t *testing.T) {
	t.Parallel()
	both := wording.Style{WebOTP: "example.com", AndroidHash: "FA+9qCX9VSu"}
	for _, tt := range []struct {
		name    string
		style   wording.Style
		request StartRequest
		want    string
	}{
		{"none", wording.Style{}, StartRequest{Channel: ChannelSMS}, "Your Personal Authorization Code is: 123456"},
		{"a web site", wording.Style{WebOTP: "example.com"}, StartRequest{Channel: ChannelSMS}, "Your Personal Authorization Code is: 123456\n@example.com #123456"},
		{"an app", wording.Style{AndroidHash: "FA+9qCX9VSu"}, StartRequest{Channel: ChannelSMS}, "Your Personal Authorization Code is: 123456\nFA+9qCX9VSu"},
		{"both", both, StartRequest{Channel: ChannelSMS, From: "+12025550122", Text: "Code {code} of Acme"}, "Code 123456 of Acme\nFA+9qCX9VSu\n@example.com #123456"},
		{"a call", both, StartRequest{Channel: ChannelVoice}, "Your Personal Authorization Code is 123456"},
		{"typography", wording.Style{Transliterate: true}, StartRequest{Channel: ChannelSMS, From: "+12025550122", Text: "It’s {code} – “Acme”"}, "It's 123456 - \"Acme\""},
		{"typography as it is", wording.Style{}, StartRequest{Channel: ChannelSMS, From: "+12025550122", Text: "It’s {code}"}, "It’s 123456"},
	} {
		acct := account(ProfileCompat)
		acct.Project.Style = tt.style
		tt.request.To = number1
		got, err := settle(acct, tt.request, senders{public: public}, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if text := wording.Fill(got.Text, "123456", code.Numeric); text != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, text, tt.want)
		}
	}
}

func TestAStyleCountsIntoTheSegments(t *testing.T) {
	t.Parallel()
	acct := account(ProfileCompat)
	end := "\n@example.com #000000"
	fits := strings.Repeat("x", sms.SingleGSM7-len(" 000000"+end))
	for text, problems := range map[string]int{fits: 0, fits + "x": 1} {
		acct.Project.Style = wording.Style{WebOTP: "example.com"}
		_, err := settle(acct, StartRequest{Channel: ChannelSMS, To: number1, From: "+12025550122", Text: text}, senders{public: public}, nil)
		if got := found(t, err); len(got) != problems {
			t.Errorf("%d characters: problems %v, want %d", len(text), got, problems)
		}
	}
	// Typographic characters that need not be there need no second segment.
	long := StartRequest{Channel: ChannelSMS, To: number1, From: "+12025550122", Text: "It’s " + strings.Repeat("x", 100)}
	for transliterate, problems := range map[bool]int{true: 0, false: 1} {
		acct.Project.Style = wording.Style{Transliterate: transliterate}
		_, err := settle(acct, long, senders{public: public}, nil)
		if got := found(t, err); len(got) != problems {
			t.Errorf("transliterate %t: problems %v, want %d", transliterate, got, problems)
		}
	}
	// The longest host, the longest code and the approved text take one.
	acct.Project.Style = wording.Style{WebOTP: strings.Repeat("a", wording.MaxHost-4) + ".com", AndroidHash: "FA+9qCX9VSu"}
	twenty := 20
	got, err := settle(acct, StartRequest{Channel: ChannelSMS, To: number1, Length: &twenty}, senders{public: public}, nil)
	if problem := acct.Project.Style.Problem(); err != nil || problem != "" || sms.Segments(wording.Fill(got.Text, strings.Repeat("0", 20), code.Numeric)) != 1 {
		t.Errorf("the longest end: %v, %q, %d segments", err, problem, sms.Segments(wording.Fill(got.Text, strings.Repeat("0", 20), code.Numeric)))
	}
}

// A user's messages end as a request's do, whether the text is the application's or ours, and by whichever channel.
func TestAStyleEndsUsersMessages(t *testing.T) {
	t.Parallel()
	all := wording.Style{Transliterate: true, WebOTP: "example.com", AndroidHash: "FA+9qCX9VSu"}
	for _, tt := range []struct {
		name  string
		style wording.Style
		edit  func(*Application)
		want  string // # is the code, and ~ the code spelled
	}{
		{"none", wording.Style{}, func(a *Application) { a.DisplayName = "Shop – “online”" }, "# is your Shop – “online” verification code."},
		{"our text", all, func(a *Application) { a.DisplayName = "Shop – “online”" }, "# is your Shop - \"online\" verification code.\nFA+9qCX9VSu\n@example.com ##"},
		{"the application's", all, func(a *Application) { a.AssociateTemplate = "It’s $code – bye" }, "It's # - bye\nFA+9qCX9VSu\n@example.com ##"},
		{"a prefix", wording.Style{WebOTP: "example.com"}, func(a *Application) { a.AssociateTemplate, a.Prefix = "$code {code}", "G-" }, "G-# {code}\n@example.com #G-#"},
		{"typography that must stay", all, func(a *Application) { a.AssociateTemplate = "“$code” 日" }, "“#” 日\nFA+9qCX9VSu\n@example.com ##"},
		{"a call", all, func(a *Application) { a.Channels, a.AssociateTemplate = []Channel{ChannelVoice}, "It’s $code" }, "It’s ~"},
	} {
		e := newEngine(t)
		e.acct.Project.Style = tt.style
		a := e.application(t, func(a *Application) { a.From = "+12025550111" }, tt.edit)
		secret := e.associate(t, a, "kola")
		want := strings.NewReplacer("##", "#"+secret, "#G-#", "#G-"+secret, "#", secret, "~", strings.Join(strings.Split(secret, ""), ", ")).Replace(tt.want)
		if got := e.latest().Body.Reveal(); got != want {
			t.Errorf("%s: got %q, want %q", tt.name, got, want)
		}
	}

	// It ends the text of the channel by which the message goes on, too.
	e := newEngine(t)
	e.acct.Project.Style = all
	a := e.application(t, func(a *Application) { a.Channels = []Channel{ChannelVoice, ChannelSMS} })
	e.associate(t, a, "kola")
	want := []Fallback{{ChannelSMS, wording.CodeMark + " is your Shop verification code.\nFA+9qCX9VSu\n@example.com #" + wording.CodeMark}}
	if diff := cmp.Diff(want, e.outbox.verifications[0].Fallbacks); diff != "" {
		t.Errorf("fallbacks (-want +got)\n%s", diff)
	}
}

func TestAStyleCountsIntoTheSegmentsOfATemplate(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.acct.Project.Style = wording.Style{WebOTP: "example.com"}
	fits := strings.Repeat("x", 3*sms.PartGSM7-len("000000"+"\n@example.com #000000")) + "$code"
	for text, problems := range map[string]int{fits: 0, "x" + fits: 1} {
		_, err := e.CreateApplication(t.Context(), e.acct, Application{Name: "Shop", From: "+12025550111", LoginTemplate: text})
		if all := found(t, err); len(all) != problems || problems > 0 && all[0].Field != FieldLoginTemplate {
			t.Errorf("%d characters: problems %+v, want %d", len(text), all, problems)
		}
	}
}
