package wording

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/code"
)

func TestATextHasNamesInBraces(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, want string
		unknown    []string
	}{
		{"{code} is your code.", "123456 is your code.", nil},
		{"{{code}}, {minutes} min", "123456, 2 min", nil},
		{"Pay {amount} to {payee}: {code}", "Pay 1.00 EUR to {code}: 123456", nil},
		{`$code \$ {Code} { code } {} {code`, `$code \$ {Code} { code } {} {code`, nil},
		{"{cod} {code} {name}", "{cod} 123456 {name}", []string{"cod", "name"}},
		{"{code}{code}", "123456123456", nil},
	} {
		template, unknown := ParseText(tt.text)
		got := Fill(template.Frame(Written, Facts{Life: 179 * time.Second, Amount: "1.00 EUR", Payee: "{code}"}), "123456", code.Numeric)
		if template.HasCode() && got != tt.want || !slices.Equal(unknown, tt.unknown) {
			t.Errorf("%q: got %q and unknown %q, want %q and %q", tt.text, got, unknown, tt.want, tt.unknown)
		}
	}
	template, _ := ParseText("It is {code}, for {amount}")
	if got := Fill(template.Frame(Spoken, Facts{}), "12", code.Numeric); got != "It is 1, 2, for {amount}" {
		t.Errorf("spoken, without a payment: got %q", got)
	}
}
