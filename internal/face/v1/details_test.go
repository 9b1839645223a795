package v1_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/wording"
)

func TestACheckRepeatsThePayment(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		k := newKit(t, o)
		const paid = `,"amount":"49.90 EUR","payee":"Example {code} Shop"`
		v := k.start(to, paid+`,"max_attempts":9,"locale":"de"`)
		code := k.Code(to, v.ID)
		if bodies, _ := k.bodies(to); bodies[0] != "sms Ihr Code für die Zahlung von 49.90 EUR an Example {code} Shop: "+code {
			t.Errorf("the message is %q", bodies[0])
		}
		check := func(body string) api.CheckResult {
			return read[api.CheckResult](t, k.call("", "POST", "/v1/verifications/"+v.ID+"/check", `{`+body+`}`, 200))
		}
		right, wrong := `"code":"`+code+`"`, `"code":"`+countersigntest.Wrong(code)+`"`
		left := 9
		for _, test := range []struct{ what, body, reason string }{
			{"the right code alone", right, "wrong_amount"},
			{"a wrong code alone", wrong, "wrong_amount"},
			{"another amount", right + strings.Replace(paid, "49", "94", 1), "wrong_amount"},
			{"another form of it", right + strings.Replace(paid, "49.90", "49.9", 1), "wrong_amount"},
			{"another payee", right + strings.Replace(paid, "Shop", "Shops", 1), "wrong_amount"},
			{"a wrong code for another payee", wrong + strings.Replace(paid, "Shop", "Shops", 1), "wrong_amount"},
			{"a wrong code", wrong + paid, "wrong_code"},
		} {
			left--
			if diff := cmp.Diff(api.CheckResult{ID: v.ID, Status: "pending", Reason: test.reason, AttemptsRemaining: left}, check(test.body)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.what, diff)
			}
		}
		if got := k.Check(v.ID, code); got != "wrong" {
			t.Errorf("by SignalWire's API, which has no payments: got %s, want wrong", got)
		}
		if seen := k.read(v.ID); seen.Amount != "49.90 EUR" || seen.Payee != "Example {code} Shop" {
			t.Errorf("got %+v, want its payment", seen)
		}
		byNumber := read[api.CheckResult](t, k.call("", "POST", "/v1/checks", `{"to":"`+to+`",`+right+paid+`}`, 200))
		if !byNumber.Valid {
			t.Errorf("the right code for the payment: %+v", byNumber)
		}

		plain := k.start(other, "")
		if r := read[api.CheckResult](t, k.call("", "POST", "/v1/verifications/"+plain.ID+"/check", `{"code":"`+k.Code(other, plain.ID)+`"`+paid+`}`, 200)); r.Reason != "wrong_amount" {
			t.Errorf("a code that authorizes nothing, for a payment: %+v", r)
		}
	})
}

func TestMetadataComesBack(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		var log strings.Builder
		o.Log = &log
		k := newKit(t, o)
		want := map[string]string{"order": "KUMQUAT 1", "ü\u0000": "<&>"}
		v := k.start(to, `,"metadata":{"order":"KUMQUAT 1","ü\u0000":"<&>"}`)
		page := read[api.Page](t, k.call("", "GET", "/v1/verifications", "", 200))
		for what, got := range map[string]api.Verification{"the start": v, "a reading": k.read(v.ID), "a list": page.Verifications[0]} {
			if diff := cmp.Diff(want, got.Metadata); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		k.sent(v.ID, 1)
		if strings.Contains(log.String(), "KUMQUAT") {
			t.Error("the log has metadata")
		}
	})
}

func TestWhatAStartMayNotHave(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	many := `"metadata":{"0":""`
	for n := range 10 {
		many += `,"k` + string(rune('a'+n)) + `":""`
	}
	for body, want := range map[string]api.FieldProblem{
		many + `}`: {Field: "metadata", Message: "has too many pairs (maximum is 10)"},
		`"metadata":{"` + strings.Repeat("k", 41) + `":""}`:   {Field: "metadata", Message: "has a key of 41 characters (1 to 40 are allowed)"},
		`"metadata":{"k":"` + strings.Repeat("ü", 201) + `"}`: {Field: "metadata", Message: "has a value of 201 characters (maximum is 200)"},
		`"metadata":{"k":1}`:                 {Field: "metadata", Message: "must be an object of strings"},
		`"metadata":{"":""}`:                 {Field: "metadata", Message: "has a key of 0 characters (1 to 40 are allowed)"},
		`"channels":["sms","fax"]`:           {Field: "channels", Message: "must be one of: sms, voice"},
		`"channels":"sms"`:                   {Field: "channels", Message: "must be an array of strings"},
		`"channels":[]`:                      {Field: "channels", Message: "must have a channel"},
		`"channels":["sms","sms"]`:           {Field: "channels", Message: "has a channel twice"},
		`"channels":["sms"],"channel":"sms"`: {Field: "channels", Message: "can't be given with channel"},
		`"channels":["voice","sms"],"text":"` + strings.Repeat("a", 160) + `"`: {Field: "channels", Message: "has sms, whose text is too long (maximum is 160 characters with the code, one segment of GSM-7)"},
		`"amount":"49.90 EUR"`:                            {Field: "payee", Message: "must have 1 to 64 characters"},
		`"amount":"49,90 EUR","payee":"Shop"`:             {Field: "amount", Message: "must be like 49.90 EUR: at most 12 digits, and 4 after a point, a space, and a currency of ISO 4217"},
		`"amount":"1 EUR","payee":"see example.com/x"`:    {Field: "payee", Message: "must be a name in one line, without a link and without more than one space in a row"},
		`"amount":"1 EUR","payee":"Shop","text":"Hello:"`: {Field: "text", Message: "can't be given with a payment, whose text is ours"},
		`"locale":"tlh"`:                                  {Field: "locale", Message: "must be a language tag such as de or pt-BR, of one of " + strings.Join(wording.Languages(), " ")},
	} {
		p := read[api.Problem](t, k.call("", "POST", "/v1/verifications", `{"to":"`+to+`",`+body+`}`, 422))
		if diff := cmp.Diff([]api.FieldProblem{want}, p.Errors); diff != "" {
			t.Errorf("%.60s (-want +got):\n%s", body, diff)
		}
	}
}

// A text that says whom to pay is the caller's own, so the public sender says it only where it may say any.
func TestThePublicSenderSaysNoPayments(t *testing.T) {
	t.Parallel()
	k := newKit(t, countersigntest.Options{})
	const key = "the-key-of-a-project-without-senders"
	k.AddProject(verify.Project{ID: "plain", Name: "plain", Profile: verify.ProfileCompat, Countries: []string{verify.AnyCountry}}, key)
	p := read[api.Problem](t, k.call(key, "POST", "/v1/verifications", `{"to":"`+to+`","amount":"1 EUR","payee":"Shop"}`, 422))
	if len(p.Errors) != 1 || p.Errors[0].Field != "sender" {
		t.Errorf("got %+v, want the sender refused", p)
	}
}

// A payment's text is spoken as well as written, so both know the same languages.
func TestPaymentsHaveTheLanguagesOfCalls(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(speech.Locales(), wording.Languages()); diff != "" {
		t.Errorf("(-calls +payments):\n%s", diff)
	}
	for _, l := range wording.Languages() {
		if text := wording.Payment(l, wording.Written, "1 EUR", "Shop"); strings.Count(text, "1 EUR") != 1 || strings.Count(text, "Shop") != 1 || strings.Count(text, wording.CodeMark) != 1 {
			t.Errorf("%s: %q", l, text)
		}
	}
}

// A picky carrier refuses texts.
type picky struct{ sink }

func (p *picky) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	if m.Channel == verify.ChannelSMS {
		return carrier.Result{}, carrier.Refused(errors.New("no texts"))
	}
	return p.sink.Send(ctx, m)
}

func TestAMessageGoesOnByTheNextOfItsChannels(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		carrier  carrier.Carrier
		channels string
		silence  time.Duration
		want     []string
	}{
		"by failure": {&picky{}, `["sms","voice"]`, 0, []string{"sms refused", "voice accepted"}},
		"by silence": {&sink{}, `["sms","voice"]`, 20 * time.Second, []string{"sms accepted", "voice accepted"}},
		"not asked":  {&picky{}, `["sms"]`, 0, []string{"sms refused"}},
		"called first, and not texted while the call may last": {&sink{}, `["voice","sms"]`, 0, []string{"voice accepted"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k := newKit(t, countersigntest.Options{Carriers: []carrier.Carrier{test.carrier}, Lines: map[string]dispatch.Line{"sink": {ReceiptTimeout: test.silence}}})
			v := k.start(to, `,"channels":`+test.channels)
			for range 10 { // a call waits until the person has read a text
				k.sent(v.ID, 1)
				k.Advance(15 * time.Second)
			}
			k.Await("all attempts", func() bool { return len(k.read(v.ID).Deliveries) >= len(test.want) })
			var got []string
			for _, d := range k.read(v.ID).Deliveries {
				got = append(got, d.Channel+" "+d.Outcome)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
