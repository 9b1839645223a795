package verify

import (
	"strings"
	"testing"

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
		{"none", wording.Style{}, StartRequest{Channel: SMS}, "Your Personal Authorization Code is: 123456"},
		{"a web site", wording.Style{WebOTP: "example.com"}, StartRequest{Channel: SMS}, "Your Personal Authorization Code is: 123456\n@example.com #123456"},
		{"an app", wording.Style{AndroidHash: "FA+9qCX9VSu"}, StartRequest{Channel: SMS}, "Your Personal Authorization Code is: 123456\nFA+9qCX9VSu"},
		{"both", both, StartRequest{Channel: SMS, From: "+12025550122", Text: "Code {code} of Acme"}, "Code 123456 of Acme\nFA+9qCX9VSu\n@example.com #123456"},
		{"a call", both, StartRequest{Channel: Voice}, "Your Personal Authorization Code is 123456"},
		{"typography", wording.Style{Transliterate: true}, StartRequest{Channel: SMS, From: "+12025550122", Text: "It’s {code} – “Acme”"}, "It's 123456 - \"Acme\""},
		{"typography as it is", wording.Style{}, StartRequest{Channel: SMS, From: "+12025550122", Text: "It’s {code}"}, "It’s 123456"},
	} {
		acct := account(Compat)
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
	acct := account(Compat)
	end := "\n@example.com #000000"
	fits := strings.Repeat("x", sms.SingleGSM7-len(" 000000"+end))
	for text, problems := range map[string]int{fits: 0, fits + "x": 1} {
		acct.Project.Style = wording.Style{WebOTP: "example.com"}
		_, err := settle(acct, StartRequest{Channel: SMS, To: number1, From: "+12025550122", Text: text}, senders{public: public}, nil)
		if got := found(t, err); len(got) != problems {
			t.Errorf("%d characters: problems %v, want %d", len(text), got, problems)
		}
	}
	// Typographic characters that need not be there need no second segment.
	long := StartRequest{Channel: SMS, To: number1, From: "+12025550122", Text: "It’s " + strings.Repeat("x", 100)}
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
	got, err := settle(acct, StartRequest{Channel: SMS, To: number1, Length: &twenty}, senders{public: public}, nil)
	if problem := acct.Project.Style.Problem(); err != nil || problem != "" || sms.Segments(wording.Fill(got.Text, strings.Repeat("0", 20), code.Numeric)) != 1 {
		t.Errorf("the longest end: %v, %q, %d segments", err, problem, sms.Segments(wording.Fill(got.Text, strings.Repeat("0", 20), code.Numeric)))
	}
}
