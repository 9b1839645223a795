package verify

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/code"
	"github.com/countersign/countersign/internal/sms"
)

// https://wicg.github.io/web-otp: the last line is the host and the code, and nothing else.
func TestAStyleEndsTextMessages(t *testing.T) {
	t.Parallel()
	both := Style{WebOTP: "example.com", AndroidHash: "FA+9qCX9VSu"}
	for _, tt := range []struct {
		name    string
		style   Style
		request StartRequest
		want    string
	}{
		{"none", Style{}, StartRequest{Channel: SMS}, "Your Personal Authorization Code is: 123456"},
		{"a web site", Style{WebOTP: "example.com"}, StartRequest{Channel: SMS}, "Your Personal Authorization Code is: 123456\n@example.com #123456"},
		{"an app", Style{AndroidHash: "FA+9qCX9VSu"}, StartRequest{Channel: SMS}, "Your Personal Authorization Code is: 123456\nFA+9qCX9VSu"},
		{"both", both, StartRequest{Channel: SMS, From: "+12025550122", Text: "Code {code} of Acme"}, "Code 123456 of Acme\nFA+9qCX9VSu\n@example.com #123456"},
		{"a call", both, StartRequest{Channel: Voice}, "Your Personal Authorization Code is 123456"},
		{"typography", Style{Transliterate: true}, StartRequest{Channel: SMS, From: "+12025550122", Text: "It’s {code} – “Acme”"}, "It's 123456 - \"Acme\""},
		{"typography as it is", Style{}, StartRequest{Channel: SMS, From: "+12025550122", Text: "It’s {code}"}, "It’s 123456"},
	} {
		acct := account(Compat)
		acct.Project.Style = tt.style
		tt.request.To = number1
		got, err := settle(acct, tt.request, senders{public: public}, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if text := fill(got.text, "123456", code.Numeric); text != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, text, tt.want)
		}
	}
}

func TestAStyleCountsIntoTheSegments(t *testing.T) {
	t.Parallel()
	acct := account(Compat)
	end := "\n@example.com #000000"
	fits := strings.Repeat("x", sms.SingleGSM7-len(" 000000"+end))
	for text, problems := range map[string]int{fits: 0, fits + "x": 1} {
		acct.Project.Style = Style{WebOTP: "example.com"}
		_, err := settle(acct, StartRequest{Channel: SMS, To: number1, From: "+12025550122", Text: text}, senders{public: public}, nil)
		if got := found(t, err); len(got) != problems {
			t.Errorf("%d characters: problems %v, want %d", len(text), got, problems)
		}
	}
	// Typographic characters that need not be there need no second segment.
	long := StartRequest{Channel: SMS, To: number1, From: "+12025550122", Text: "It’s " + strings.Repeat("x", 100)}
	for transliterate, problems := range map[bool]int{true: 0, false: 1} {
		acct.Project.Style = Style{Transliterate: transliterate}
		_, err := settle(acct, long, senders{public: public}, nil)
		if got := found(t, err); len(got) != problems {
			t.Errorf("transliterate %t: problems %v, want %d", transliterate, got, problems)
		}
	}
	// The longest host, the longest code and the approved text take one.
	acct.Project.Style = Style{WebOTP: strings.Repeat("a", maxHost-4) + ".com", AndroidHash: "FA+9qCX9VSu"}
	twenty := 20
	got, err := settle(acct, StartRequest{Channel: SMS, To: number1, Length: &twenty}, senders{public: public}, nil)
	if problem := acct.Project.Style.Problem(); err != nil || problem != "" || sms.Segments(fill(got.text, strings.Repeat("0", 20), code.Numeric)) != 1 {
		t.Errorf("the longest end: %v, %q, %d segments", err, problem, sms.Segments(fill(got.text, strings.Repeat("0", 20), code.Numeric)))
	}
}

func TestAStyleEndsTemplates(t *testing.T) {
	t.Parallel()
	style := Style{Transliterate: true, WebOTP: "example.com"}
	got := fill(style.write(SMS, "It’s "+codeMark+" – for {code}", codeMark), "G-123456", code.Numeric)
	if want := "It's G-123456 - for {code}\n@example.com #G-123456"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStylesAreChecked(t *testing.T) {
	t.Parallel()
	for _, right := range []Style{{}, {WebOTP: "example.com"}, {WebOTP: "login.example-1.co.uk"}, {AndroidHash: "FA+9qCX9VSu"}, {Transliterate: true}} {
		if problem := right.Problem(); problem != "" {
			t.Errorf("%+v: %s", right, problem)
		}
	}
	for _, wrong := range []Style{
		{WebOTP: "https://example.com"}, {WebOTP: "example.com/"}, {WebOTP: "EXAMPLE.com"}, {WebOTP: "localhost"}, {WebOTP: "example.com #1"},
		{WebOTP: "-a.com"}, {WebOTP: "a..com"}, {WebOTP: "exämple.com"}, {WebOTP: strings.Repeat("a", 61) + ".com"}, {WebOTP: "example.com\n"},
		{AndroidHash: "FA+9qCX9VS"}, {AndroidHash: "FA+9qCX9VSu="}, {AndroidHash: "FA 9qCX9VSu"},
	} {
		if wrong.Problem() == "" {
			t.Errorf("%+v: no problem", wrong)
		}
	}
}
