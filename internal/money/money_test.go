package money_test

import (
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/money"
)

func TestAmountsAreReadAndWrittenExactly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		want  money.Amount
		again string // as it is written
	}{
		{"0", 0, "0.00"},
		{"0.0075", 7500, "0.0075"},
		{"0.04", 40_000, "0.04"},
		{"0.000001", 1, "0.000001"},
		{"12", 12_000_000, "12.00"},
		{"12.5", 12_500_000, "12.50"},
		{"1000000", money.Max, "1000000.00"},
		{"0.1", 100_000, "0.10"},
		{"007", 7_000_000, "7.00"},
	} {
		got, err := money.Parse(test.text)
		if err != nil || got != test.want || got.String() != test.again {
			t.Errorf("%q: got %d (%v) %v, want %d (%v)", test.text, got, got, err, test.want, test.again)
		}
	}
	for _, text := range []string{"", " 1", "1 ", "-1", "+1", "1.", ".5", "1e3", "0x10", "1,5", "0.0000001", "1000000.000001", "1000001", "99999999", "NaN", "١"} {
		if got, err := money.Parse(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
	if got, want := money.Amount(math.MinInt64).String(), "-9223372036854.775808"; got != want {
		t.Errorf("the least amount: got %s, want %s", got, want)
	}
}

// An amount is what exact fractions say it is, whatever its digits.
func TestAmountsAreThoseOfExactFractions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringMatching(`[0-9]{1,6}(\.[0-9]{1,6})?`).Draw(rt, "text")
		n := rapid.IntRange(0, 1_000_000).Draw(rt, "n")
		a, err := money.Parse(text)
		if err != nil {
			rt.Fatal(err)
		}
		want, _ := new(big.Rat).SetString(text)
		want.Mul(want, new(big.Rat).SetInt64(int64(n)))
		got, _ := new(big.Rat).SetString(a.Times(n).String())
		if got.Cmp(want) != 0 {
			rt.Fatalf("%s times %d: got %v, want %v", text, n, got, want)
		}
		if back, err := money.Parse(a.String()); back != a || err != nil {
			rt.Fatalf("%v read again: got %v, %v", a, back, err)
		}
	})
}

func TestAProductNeverWraps(t *testing.T) {
	t.Parallel()
	for _, n := range []int{math.MaxInt32, math.MaxInt64} {
		if got := money.Max.Times(n); got < money.Max {
			t.Errorf("%v times %d: got %v", money.Max, n, got)
		}
	}
}

func TestCurrenciesAreThreeCapitals(t *testing.T) {
	t.Parallel()
	for c, want := range map[money.Currency]bool{"EUR": true, "USD": true, "": false, "eur": false, "EURO": false, "E R": false, "ÄUR": false} {
		if c.Valid() != want {
			t.Errorf("%q: got %t, want %t", c, !want, want)
		}
	}
}

func day(text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	d, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return d
}

// rule reads "channel/country/carrier from until amount", with - for what is empty.
func rule(text string) money.Rule {
	word := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '/' })
	for i := range word {
		if word[i] == "-" {
			word[i] = ""
		}
	}
	each, err := money.Parse(word[5])
	if err != nil {
		panic(err)
	}
	return money.Rule{Subject: money.Subject{Channel: word[0], Country: word[1], Carrier: word[2]}, From: day(word[3]), Until: day(word[4]), Each: each}
}

// What comes out of a table: the most specific rule that holds.
func TestTheMostSpecificRuleHolds(t *testing.T) {
	t.Parallel()
	var rules []money.Rule
	for _, text := range []string{
		"-/-/- - - 0.10",
		"sms/-/- - - 0.09",
		"-/-/cheap - - 0.08",
		"sms/-/cheap - - 0.07",
		"-/DE/- - 2027-01-01 0.06",
		"-/DE/- 2027-01-01 - 0.05",
		"-/DE/cheap - - 0.04",
		"sms/DE/cheap - 2026-06-01 0.03",
		"-/FR/- - - 0", // free
		"sms/GB/- 2026-03-01 2026-04-01 0.02",
	} {
		rules = append(rules, rule(text))
	}
	table, overlaps := money.NewTable(rules)
	if overlaps != nil {
		t.Fatalf("overlaps: got %v, want none", overlaps)
	}
	for _, test := range []struct{ subject, at, want string }{
		{"voice/US/other", "2026-02-01", "0.10"},
		{"sms/US/other", "2026-02-01", "0.09"},
		{"voice/US/cheap", "2026-02-01", "0.08"}, // the carrier goes before the channel
		{"sms/US/cheap", "2026-02-01", "0.07"},
		{"sms/DE/other", "2026-12-31", "0.06"}, // the country goes before the channel
		{"sms/DE/other", "2027-01-01", "0.05"}, // the day of the change has the new price
		{"voice/DE/cheap", "2027-01-01", "0.04"},
		{"sms/DE/cheap", "2026-05-31", "0.03"},
		{"sms/DE/cheap", "2026-06-01", "0.04"}, // what ends leaves the next specific one
		{"sms/FR/cheap", "2026-06-01", "0.00"}, // zero is a price
		{"sms/GB/other", "2026-02-28", "0.09"}, // before it begins
		{"sms/GB/other", "2026-03-01", "0.02"},
		{"sms/GB/other", "2026-04-01", "0.09"}, // after it has ended
		{"sms//other", "2026-04-01", "0.09"},   // a country that nobody knows
	} {
		s := strings.Split(test.subject, "/")
		got, ok := table.Find(money.Subject{Channel: s[0], Country: s[1], Carrier: s[2]}, day(test.at))
		if !ok || got.String() != test.want {
			t.Errorf("%s on %s: got %v, %t, want %s", test.subject, test.at, got, ok, test.want)
		}
	}
	if got, ok := (money.Table{}).Find(money.Subject{Channel: "sms"}, day("2026-01-01")); ok || got != 0 {
		t.Errorf("no rules: got %v, %t", got, ok)
	}
	only, _ := money.NewTable([]money.Rule{rule("sms/DE/- - - 0.10")})
	if _, ok := only.Find(money.Subject{Channel: "sms", Country: "US"}, day("2026-01-01")); ok {
		t.Error("a country that is missing has a price")
	}
}

func TestOverlapsAndGapsAreFound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		rules    []string
		overlaps []int
		complete bool // for sms
	}{
		{"none", nil, nil, false},
		{"for all", []string{"-/-/- - - 1"}, nil, true},
		{"for the channel", []string{"sms/-/- - - 1"}, nil, true},
		{"for the other channel", []string{"voice/-/- - - 1"}, nil, false},
		{"for one country", []string{"sms/DE/- - - 1"}, nil, false},
		{"for one carrier", []string{"sms/-/a - - 1"}, nil, false},
		{"one after the other", []string{"-/-/- - 2026-01-01 1", "-/-/- 2026-01-01 - 2"}, nil, true},
		{"in the other order", []string{"-/-/- 2026-01-01 - 2", "-/-/- - 2026-01-01 1"}, nil, true},
		{"a gap", []string{"-/-/- - 2026-01-01 1", "-/-/- 2026-01-02 - 2"}, nil, false},
		{"no beginning", []string{"-/-/- 2026-01-01 - 1"}, nil, false},
		{"no end", []string{"-/-/- - 2026-01-01 1"}, nil, false},
		{"twice", []string{"-/-/- - - 1", "-/-/- - - 1"}, []int{1}, true},
		{"a day of both", []string{"-/-/- - 2026-01-02 1", "-/-/- 2026-01-01 - 2"}, []int{1}, true},
		{"one within the other", []string{"-/DE/- - - 1", "-/DE/- 2026-01-01 2026-02-01 2", "-/DE/a - - 3"}, []int{1}, false},
	} {
		var rules []money.Rule
		for _, text := range test.rules {
			rules = append(rules, rule(text))
		}
		table, overlaps := money.NewTable(rules)
		if !slices.Equal(overlaps, test.overlaps) {
			t.Errorf("%s: overlaps: got %v, want %v", test.name, overlaps, test.overlaps)
		}
		if got := table.Complete("sms"); got != test.complete {
			t.Errorf("%s: complete: got %t, want %t", test.name, got, test.complete)
		}
	}
}
