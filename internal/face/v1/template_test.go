package v1_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

func TestATemplateFromCreationToDeletion(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		ctx, c := context.Background(), k.client()
		made, err := c.CreateTemplate(ctx, api.NewTemplate{Name: "login", Texts: []api.TemplateText{
			{Text: "{code} is your code."},
			{Locale: "ru", Text: "Ваш код: {code}"},
			{Channel: "voice", Text: "It is {code}"},
			{Purpose: "payment", Text: "{code} pays {amount} to {payee}"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		want := api.Template{ID: made.ID, Name: "login", CreatedAt: countersigntest.Start, UpdatedAt: countersigntest.Start, Texts: []api.MeasuredText{
			{Text: "{code} is your code.", Characters: 20, Segments: 1, Encoding: "GSM-7"},
			{Locale: "ru", Text: "Ваш код: {code}", Characters: 15, Segments: 1, Encoding: "UCS-2"},
			{Channel: "voice", Text: "It is {code}", Characters: 22},
			{Purpose: "payment", Text: "{code} pays {amount} to {payee}", Characters: 46, Segments: 1, Encoding: "GSM-7"},
		}}
		if diff := cmp.Diff(want, made); diff != "" {
			t.Errorf("create (-want +got):\n%s", diff)
		}
		k.Advance(time.Second)
		want.Name, want.UpdatedAt = "sign-in", countersigntest.Start.Add(time.Second)
		got, err := c.ChangeTemplate(ctx, made.ID, api.TemplateChange{Name: new("sign-in")})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("change: %v (-want +got):\n%s", err, diff)
		}
		if _, err := c.CreateTemplate(ctx, api.NewTemplate{Name: "sign-in", Texts: []api.TemplateText{{Text: "{code}"}}}); !strings.Contains(fmt.Sprint(err), "the name is taken") {
			t.Errorf("a second one of the name: %v", err)
		}
		for listed, err := range c.Templates(ctx) {
			want.Texts = nil
			if diff := cmp.Diff(want, listed); diff != "" || err != nil {
				t.Errorf("list: %v (-want +got):\n%s", err, diff)
			}
		}
		path := "/v1/templates/" + made.ID
		for _, test := range []struct {
			method, tag, body string
			status            int
			etag              string
		}{
			{"GET", "", "", 200, `"2"`},
			{"PATCH", `"1"`, `{"name":"late"}`, 412, ""},
			{"PATCH", `"2"`, `{"texts":[{"text":"{code}"}]}`, 200, `"3"`},
			{"PATCH", "", `{"texts":[]}`, 422, ""},
			{"DELETE", `"2"`, "", 412, ""},
			{"DELETE", `"3"`, "", 204, ""},
			{"DELETE", "", "", 404, ""},
		} {
			if status, etag := k.ifMatch(test.method, path, test.tag, test.body); status != test.status || etag != test.etag {
				t.Errorf("%s with If-Match %s: got %d, ETag %s; want %d, %s", test.method, test.tag, status, etag, test.status, test.etag)
			}
		}
	})
}

func TestTheTextsOfATemplateAreReadStrictly(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	for _, tt := range []struct{ texts, field, message string }{
		{`"{code}"`, "texts", "must be an array of objects"},
		{`[1]`, "texts[0]", "must be an object"},
		{`[{"text":"{code}"},{"text":"{code}","text":"x"}]`, "texts[1]", "no name twice"},
		{`[{"text":"{code}","lang":"de"}]`, "texts[0].lang", "is unknown; known: purpose, channel, locale, text"},
		{`[{"text":1}]`, "texts[0].text", "must be a string"},
		{`[{"locale":"de"}]`, "texts[0].text", "is required"},
		{`[{"text":"{code}","channel":"fax"}]`, "texts[0].channel", "must be one of: sms, voice"},
		{`[{"text":"{code} \ud83d"}]`, "texts", "half of a surrogate pair"},
		{`[{"text":"code"}]`, "texts[0].text", "has no {code}"},
		{`[` + strings.Repeat(`{"text":"{code}"},`, 300) + `{}]`, "texts", "is too long"},
	} {
		p := read[api.Problem](t, k.call("", "POST", "/v1/templates", `{"name":"a","texts":`+tt.texts+`}`, 422))
		if len(p.Errors) != 1 || p.Errors[0].Field != tt.field || !strings.Contains(p.Errors[0].Message, tt.message) {
			t.Errorf("%.60s: got %+v, want %s: %s", tt.texts, p.Errors, tt.field, tt.message)
		}
	}
}

// What a start says is decided by it: neither a change of the template nor its deletion changes a resend.
func TestAStartSaysWhatItsTemplateSaid(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		ctx, c := context.Background(), k.client()
		made, err := c.CreateTemplate(ctx, api.NewTemplate{Name: "login", Texts: []api.TemplateText{
			{Text: "{code} works for {minutes} minutes."},
			{Locale: "de", Text: "{code} gilt {minutes} Minuten."},
			{Locale: "de", Channel: "voice", Text: "Ihr Code: {code}"},
			{Purpose: "payment", Text: "{code} zahlt {amount} an {payee}"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		const own = `,"template":"login","sender":"+12025550177"`
		de := k.start("+4915123456789", own+`,"valid_for":600`)
		code := k.userCode("+4915123456789", de.ID)
		k.sent(de.ID, 1)
		if _, err := c.ChangeTemplate(ctx, made.ID, api.TemplateChange{Texts: []api.TemplateText{{Text: "{code} other"}}}); err != nil {
			t.Fatal(err)
		}
		k.Advance(30 * time.Second)
		k.resend(de.ID, "")
		k.sent(de.ID, 2)
		if err := c.DeleteTemplate(ctx, made.ID); err != nil {
			t.Fatal(err)
		}
		k.Advance(time.Minute)
		k.resend(de.ID, `{"channel":"voice"}`)
		k.sent(de.ID, 3)
		bodies, _ := k.bodies("+4915123456789")
		text := " gilt 10 Minuten."
		want := []string{"voice " + strings.Join(strings.Split(code, ""), ", ") + text, "sms " + code + text, "sms " + code + text} // the newest first
		if diff := cmp.Diff(want, bodies); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

// codes are those in messages, written and spelled.
var codes = regexp.MustCompile(`[0-9]{6}|[0-9](, [0-9]){5}`)

func TestAStartChoosesATextOfItsTemplate(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	const stranger = "the-key-of-another-project"
	k.AddProject(verify.Project{ID: "other", Name: "other", Profile: verify.ProfileCompat, AnySender: true, PublicText: true}, stranger)
	k.call("", "POST", "/v1/templates", `{"name":"t","texts":[{"text":"{code} any"},{"locale":"de","text":"{code} de"},{"locale":"sv","text":"{code} sv"},
		{"purpose":"payment","text":"{code} {amount} {payee}"},{"purpose":"voice","channel":"voice","text":"{code} voice"},{"purpose":"none","locale":"ja","channel":"voice","text":"{code} ja"}]}`, 201)
	k.call("", "POST", "/v1/templates", `{"name":"german","texts":[{"locale":"de","text":"{code} de"}]}`, 201)
	k.call("", "POST", "/v1/templates", `{"name":"long","texts":[{"purpose":"payment","text":"`+strings.Repeat("x", 415)+`{code} {amount} {payee}"}]}`, 201)
	body := func(to, more string) string {
		return `{"to":"` + to + `","sender":"+12025550177"` + more + `}`
	}
	n := 0
	for _, tt := range []struct{ country, more, want string }{
		{"+1202555", `,"template":"t"`, "sms CODE any"},
		{"+1202555", `,"template":"t","locale":"de-AT"`, "sms CODE de"},
		{"+1202555", `,"template":"t","locale":"sv"`, "sms CODE sv"}, // which our own texts don't speak
		{"+1202555", `,"template":"t","purpose":"payment","amount":"1.00 EUR","payee":"{code}"`, "sms CODE 1.00 EUR {code}"},
		{"+1202555", `,"template":"t","purpose":"voice","channel":"voice"`, "voice CODE voice"},
		{"+1202555", `,"template":"t","purpose":"voice"`, "sms CODE any"},
	} {
		n++
		to := fmt.Sprintf("%s%04d", tt.country, 100+n)
		v := read[api.Verification](t, k.call("", "POST", "/v1/verifications", body(to, tt.more), 201))
		k.sent(v.ID, 1)
		if bodies, _ := k.bodies(to); len(bodies) != 1 || codes.ReplaceAllString(bodies[0], "CODE") != tt.want {
			t.Errorf("%s: got %q, want %q", tt.more, bodies, tt.want)
		}
	}
	for _, tt := range []struct{ more, field, message string }{
		{`,"template":"absent"`, "template", "is not a template of this project"},
		{`,"template":"t","text":"x"`, "template", "can't be given with a text"},
		{`,"template":"t","locale":"x"`, "locale", "must be a language tag"},
		{`,"template":"german"`, "template", "has no text for this purpose by sms in the language en"},
		{`,"template":"t","amount":"1.00 EUR","payee":"P"`, "template", "without {amount} and {payee}"},
		{`,"template":"t","purpose":"payment"`, "template", "name both"},
		{`,"template":"long","purpose":"payment","amount":"1.00 EUR","payee":"` + strings.Repeat("p", 64) + `"`, "template", "makes a text that is too long"},
	} {
		p := read[api.Problem](t, k.call("", "POST", "/v1/verifications", body(to, tt.more), 422))
		if len(p.Errors) != 1 || p.Errors[0].Field != tt.field || !strings.Contains(p.Errors[0].Message, tt.message) {
			t.Errorf("%s: got %+v, want %s %s", tt.more, p.Errors, tt.field, tt.message)
		}
	}

	// Another project's template is answered as one that isn't there, byte for byte.
	theirs := k.call(stranger, "POST", "/v1/verifications", body(to, `,"template":"t"`), 422)
	if gone := k.call(stranger, "POST", "/v1/verifications", body(to, `,"template":"absent"`), 422); theirs != gone {
		t.Errorf("another's template is answered %s, an absent one %s", theirs, gone)
	}

	// The public sender says what carriers approved, and a template isn't that.
	k.AddProject(verify.Project{ID: "plain", Name: "plain", Profile: verify.ProfileCompat}, "plain-key")
	k.call("plain-key", "POST", "/v1/templates", `{"name":"t","texts":[{"text":"{code}"}]}`, 201)
	p := read[api.Problem](t, k.call("plain-key", "POST", "/v1/verifications", `{"to":"`+to+`","template":"t"}`, 422))
	if len(p.Errors) != 1 || p.Errors[0].Field != "sender" {
		t.Errorf("a template from the public sender: got %+v", p.Errors)
	}
}
