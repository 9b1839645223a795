package phone

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"pgregory.net/rapid"
)

func TestOneKeyForAllFormsOfAPhone(t *testing.T) {
	t.Parallel()
	for want, forms := range map[Number][]string{
		// Argentina: mobile numbers have a 9 abroad, and a 15 at home.
		"+5491123456789": {"+54 9 11 2345 6789", "+54 11 2345 6789", "+54 11 15 2345 6789", "+54 011 15 2345-6789", "+54 11 2345 6789 0"},
		"+5493514123456": {"+54 9 351 412 3456", "+54 351 412 3456", "+54 351 15 412 3456"},
		"+5491143211234": {"+54 11 4321 1234"}, // a landline
		"+548101234567":  {"+54 810 123 4567"}, // of the whole country
		// Brazil: mobile numbers got a 9 at their front.
		"+5511961234567": {"+55 11 96123-4567", "+55 11 6123-4567", "+55 (11) 6123 4567", "+55 11 6123-4567 8"},
		"+5521987654321": {"+55 21 98765-4321", "+55 21 8765-4321"},
		"+551131234567":  {"+55 11 3123-4567"},  // a landline
		"+5511931234567": {"+55 11 93123-4567"}, // and a mobile phone that is another one
		"+5554433222":    {"+5554433222"},       // the vendor's example
		"+558001234567":  {"+55 800 123 4567"},
		// Italy: the zero is part of the number, except where people write one before mobile
		// numbers.
		"+390669812345": {"+39 06 698 12345", "+39 6 698 12345", "+39 006 698 12345"},
		"+390212345678": {"+39 02 1234 5678", "+39 2 1234 5678"},
		"+390311234567": {"+39 031 123 4567", "+39 31 123 4567"},
		"+393331234567": {"+39 333 123 4567", "+39 0 333 123 4567", "+39 00 333 1234567"},
		"+390321123456": {"+39 0321 123456"},
		"+39321123456":  {"+39 321 123456"}, // a mobile number of nine digits
		// Digits after a complete number.
		"+8613812345678": {"+86 138 1234 5678", "+86 138 1234 5678 9"},
		"+919876543210":  {"+91 98765 43210", "+91 98765 43210 1", "+91 98765 43210 123"},
		"+6281234567890": {"+62 812 3456 7890"},
		// Numbers with a single form.
		"+12025550100":     {"+1 202 555 0100"},
		"+15557788999":     {"+15557788999"},
		"+18765550123":     {"+1 876 555 0123"},
		"+447700900123":    {"+44 7700 900123"},
		"+493012345678":    {"+49 30 12345678"},
		"+883510000000094": {"+883510000000094"},
	} {
		for _, form := range forms {
			n, err := Parse(form)
			if err != nil {
				t.Errorf("%s: %v", form, err)
				continue
			}
			if got := n.Key(); got != want {
				t.Errorf("%s: the key is %s, want %s", form, got, want)
			}
		}
		if got := want.Key(); got != want {
			t.Errorf("the key of %s is %s, want itself", want, got)
		}
	}
	for _, n := range []Number{"", "+", "nonsense", "+999"} {
		if got := n.Key(); got != n {
			t.Errorf("the key of %q is %q", string(n), string(got))
		}
	}
}

// Two people's numbers never share a key, because then one person could lock out the other.
func TestAssignedNumbersKeepTheirKeys(t *testing.T) {
	t.Parallel()
	seen := map[Number]Number{}
	for region := range phonenumbers.GetSupportedRegions() {
		for _, kind := range []phonenumbers.PhoneNumberType{phonenumbers.FIXED_LINE, phonenumbers.MOBILE, phonenumbers.TOLL_FREE, phonenumbers.VOIP, phonenumbers.PREMIUM_RATE} {
			p := phonenumbers.GetExampleNumberForType(region, kind)
			if p == nil || region == "AR" { // where a phone has two numbers
				continue
			}
			n := Number(phonenumbers.Format(p, phonenumbers.E164))
			if got := n.Key(); got != n {
				t.Errorf("%s: the key of %s is %s", region, n, got)
			}
			if other, taken := seen[n.Key()]; taken && other != n {
				t.Errorf("%s and %s have one key", n, other)
			}
			seen[n.Key()] = n
		}
	}
	if len(seen) < 500 {
		t.Errorf("%d examples, want more", len(seen))
	}
}

func TestAKeyIsItsOwn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.SampledFrom([]string{"39", "54", "55", "39", "54", "55", "1", "44", "49", "86", "91", "378", "379"}).Draw(t, "calling code")
		n, err := Parse("+" + code + rapid.StringMatching(`[0-9]{5,12}`).Draw(t, "national number"))
		if err != nil {
			return
		}
		if key := n.Key(); key.Key() != key {
			t.Fatalf("the key of %s is %s, and its key %s", n, key, key.Key())
		}
	})
}

// kinds maps the library's kinds to ours.
var kinds = map[phonenumbers.PhoneNumberType]Kind{
	phonenumbers.PREMIUM_RATE:    Premium,
	phonenumbers.SHARED_COST:     SharedCost,
	phonenumbers.PAGER:           Pager,
	phonenumbers.UAN:             UAN,
	phonenumbers.PERSONAL_NUMBER: Personal,
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for kind, numbers := range map[Kind][]Number{
		Premium:    {"+19002345678", "+449091234567", "+39899123456", "+979123456789", "+546001234567", "+611900654321"},
		SharedCost: {"+39848123456", "+80812345678", "+5540041234", "+33810123456"},
		Satellite:  {"+881612345678", "+870773111632", "+87077312345", "+882161234567", "+8821612345678", "+883510000000094"},
		Pager:      {"+447640123456"},
		UAN:        {"+443001234567", "+548101234567", "+88812345678901"},
		Personal:   {"+15002345678", "+15332345678", "+15882345678", "+447012345678", "+391781234567", "+878101234567890", "+525001234567"},
		Ordinary: {
			"+12025550100", "+15557788999", "+15550100001", "+15551234567", "+14085551212", "+5554433222", "+18002345678", "+447700900123", "+442079460018",
			"+5511961234567", "+5491123456789", "+541143211234", "+393331234567", "+8613812345678", "+80012345678", "+1234567", "+18765550123", "",
		},
	} {
		for _, n := range numbers {
			for range 2 { // also from memory
				if got := n.Kind(); got != kind {
					t.Errorf("%s is of the kind %q, want %q", n, got, kind)
				}
			}
		}
	}
	// Extra digits at the end don't change the kind.
	if got := Number("+3989912345678").Kind(); got != Premium {
		t.Errorf("a premium number and two digits: got %q", got)
	}
}

// The shortcut by area codes doesn't miss a kind that the library knows.
func TestKindsOfAreaCodesAreTheLibrarys(t *testing.T) {
	t.Parallel()
	for area := 200; area <= 999; area++ {
		for _, rest := range []string{"2345678", "5550100", "9120000", "7004321", "2002000"} {
			n := Number("+1" + strconv.Itoa(area) + rest)
			p, err := phonenumbers.Parse(string(n), "")
			if err != nil {
				t.Fatal(err)
			}
			want := kinds[phonenumbers.GetNumberType(p)]
			if got := n.Kind(); got != want && want != Ordinary {
				t.Errorf("%s is of the kind %q, to the library %q", n, got, want)
			}
		}
	}
}

// Every country's example of a kind is of that kind only.
func TestKindsOfExamples(t *testing.T) {
	t.Parallel()
	seen := map[Kind]int{}
	for region := range phonenumbers.GetSupportedRegions() {
		for of, kind := range map[phonenumbers.PhoneNumberType]Kind{
			phonenumbers.PREMIUM_RATE: Premium, phonenumbers.SHARED_COST: SharedCost, phonenumbers.PAGER: Pager, phonenumbers.UAN: UAN, phonenumbers.PERSONAL_NUMBER: Personal,
			phonenumbers.FIXED_LINE: Ordinary, phonenumbers.MOBILE: Ordinary, phonenumbers.TOLL_FREE: Ordinary, phonenumbers.VOIP: Ordinary,
		} {
			p := phonenumbers.GetExampleNumberForType(region, of)
			if p == nil {
				continue
			}
			n := Number(phonenumbers.Format(p, phonenumbers.E164))
			if len(n) <= minDigits { // too short for Parse
				continue
			}
			if got := n.Kind(); got != kind {
				t.Errorf("%s: %s is of the kind %q, want %q", region, n, got, kind)
			}
			seen[kind]++
		}
	}
	for _, kind := range Kinds {
		if seen[kind] == 0 && kind != Satellite {
			t.Errorf("no example of the kind %q", kind)
		}
	}
}

// The common numbers of calling code 1 need neither the library nor memory.
func TestNorthAmericanNumbersCostNothing(t *testing.T) {
	n := Number("+12025550100")
	n.Kind()
	if got := testing.AllocsPerRun(100, func() {
		if n.Key() != n || n.Kind() != Ordinary || !n.Possible() {
			t.Error("it isn't ordinary")
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, n := range []Number{"+12025550100", "+447700900123", "+393331234567", "+5491123456789"} {
		b.Run(fmt.Sprintf("cold %s", n[:4]), func(b *testing.B) {
			for b.Loop() {
				planOf(n)
			}
		})
		b.Run(fmt.Sprintf("warm %s", n[:4]), func(b *testing.B) {
			for b.Loop() {
				n.Key()
				n.Kind()
			}
		})
	}
}
