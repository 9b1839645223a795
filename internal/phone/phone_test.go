package phone

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nyaruka/phonenumbers"
)

func TestOneKeyPerNumber(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		want      Number
		code      int
		spellings []string
	}{
		{"+442079460018", 44, []string{"+44 20 7946 0018", "+44 (0)20 7946 0018", "0044 20 7946 0018", "+44 020 7946 0018", "(+44) 20-7946-0018", "+44.20.7946.0018"}},
		{"+447700900123", 44, []string{"+44 7700 900123", "+44 (0) 7700 900 123", "00 44 7700 900123", "+44\u00a07700\u2009900\u202f123", "+44 7700\u2011900\u2013123", "+44 7700 900\u00ad123"}},
		{"+493012345678", 49, []string{"+49 30 12345678", "+49 (0)30 12345678", "+49 030 1234 5678", "0049-30-12345678", "+49 30/12345678", "+49 (0)30 / 1234 5678"}},
		{"+4915112345678", 49, []string{"+49 151 12345678", "+49 0151 12345678", "+49 (0)151 12345678"}},
		{"+390669812345", 39, []string{"+39 06 698 12345", "0039 06 69812345", "+39 (06) 698.12345"}}, // the zero is the number's own
		{"+393123456789", 39, []string{"+39 312 345 6789", "+39-312-3456789"}},
		{"+525512345678", 52, []string{"+52 55 1234 5678", "+52 1 55 1234 5678", "0052 1 (55) 1234-5678", "+52 01 55 1234 5678", "+52 044 55 1234 5678", "+52 045 55 1234 5678"}},
		{"+521551234567", 52, []string{"+52 1 55 123 4567"}}, // too short for that 1 to be one
		{"+5491123456789", 54, []string{"+54 9 11 2345 6789", "+54 11 15 2345 6789", "+54 011 15 2345 6789", "0054 9 11 2345-6789"}},
		{"+541143211234", 54, []string{"+54 11 4321-1234", "+54 011 4321 1234"}}, // a landline
		{"+5511961234567", 55, []string{"+55 11 96123-4567", "+55 (11) 96123-4567", "+55 011 96123 4567"}},
		{"+551131234567", 55, []string{"+55 11 3123-4567", "+55 0 15 11 3123 4567"}}, // by a carrier of choice
		{"+12025550100", 1, []string{"+1 202 555 0100", "+1 (202) 555-0100", "001 202 555 0100", "+1 1 202 555 0100", "+1.202.555.0100", "+1 1 1 202 555 0100"}},
		{"+15550100001", 1, []string{"+15550100001", "+1 555 010 0001"}}, // unassigned, and used in tests everywhere
		{"+33612345678", 33, []string{"+33 6 12 34 56 78", "+33 (0)6 12 34 56 78", "0033.6.12.34.56.78", "+33 06 12 34 56 78"}},
		{"+919876543210", 91, []string{"+91 98765 43210", "+91 098765 43210", "+९१ ९८७६५ ४३२१०", "0091-98765-43210"}},
		{"+819012345678", 81, []string{"+81 90-1234-5678", "+81 90ー1234ー5678", "+81 (0)90-1234-5678", "＋８１　９０－１２３４－５６７８", "＋８１（０）９０．１２３４．５６７８", "００８１ ９０ １２３４ ５６７８"}},
		{"+79161234567", 7, []string{"+7 916 123-45-67", "+7 (916) 123-45-67", "+7 8 916 123 45 67", "007 916 1234567"}},
		{"+78005553535", 7, []string{"+7 800 555-35-35", "+7 8 800 555 35 35"}}, // its own 8 isn't the trunk's
		{"+80012345678", 800, []string{"+800 1234 5678", "00800 12345678"}},
		{"+883510000000094", 883, []string{"+883 510 000 000 094", "00883510000000094"}},
		{"+881612345678", 881, []string{"+881 6 1234 5678"}},
		{"+61412345678", 61, []string{"+61 412 345 678", "+61 (0)412 345 678"}},
		{"+971501234567", 971, []string{"+971 50 123 4567", "+971 (0)50 123 4567", "+٩٧١ ٥٠ ١٢٣ ٤٥٦٧", "+۹۷۱ ۵۰ ۱۲۳ ۴۵۶۷"}},
		{"+972501234567", 972, []string{"\u2066+972 50-123-4567\u2069", "\u200e+972\u200b50 123 4567\u200f", "\ufeff+972501234567", "\u202a+972 050 123 4567\u202c"}},
		{"+3780549886377", 378, []string{"+378 0549 886377", "+378 886377"}}, // San Marino: longer than what was typed
		{"+8613812345678", 86, []string{"+86 138 1234 5678", "+86 0138 1234 5678", "+\U0001d7ea\U0001d7e8138 1234 5678"}},
		{"+2348031234567", 234, []string{"+234 803 123 4567", "+234 (0)803 123 4567"}},
		{"+36201234567", 36, []string{"+36 20 123 4567", "+36 06 20 123 4567"}},
		{"+37060112345", 370, []string{"+370 601 12345", "+370 8 601 12345", "+370 (8) 601-12345"}},
		{"+15557788999", 1, []string{"+15557788999", "+1 555 7788999"}}, // both are the
		{"+5554433222", 55, []string{"+5554433222", "+55 5443-3222"}},   // vendor's examples
	} {
		for _, s := range append(tt.spellings, string(tt.want)) {
			got, err := Parse(s)
			if got != tt.want || err != nil {
				t.Errorf("Parse(%+q) = %q, %v; want %q", s, got, err, tt.want)
			}
			if got.CountryCode() != tt.code {
				t.Errorf("%s.CountryCode() = %d, want %d", got, got.CountryCode(), tt.code)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		why, s string
		want   error
	}{
		{"nothing", "", ErrFormat},
		{"only a plus", "+", ErrFormat},
		{"only formatting", " (-) ", ErrFormat},
		{"no plus", "12025550100", ErrFormat},
		{"a national number", "(202) 555-0100", ErrFormat},
		{"a space and a national number that would be another country's with a plus", " 2025550100", ErrFormat},
		{"a trunk zero and no country", "020 7946 0018", ErrFormat},
		{"another country's prefix for abroad", "011 44 20 7946 0018", ErrFormat},
		{"a space and 00", " +0012025550100", ErrCallingCode},
		{"a space and a national number", " 020 7946 0018", ErrFormat},
		{"two spaces", "  12025550100", ErrFormat},
		{"another space", "\t12025550100", ErrFormat},
		{"a plus after a space that is one", " 1+2025550100", ErrFormat},
		{"a space and a parenthesis", " (202) 555-0100", ErrFormat},
		{"two pluses", "++12025550100", ErrFormat},
		{"a plus inside", "+1202+5550100", ErrFormat},
		{"a plus at the end", "12025550100+", ErrFormat},
		{"a plus after 00", "00+12025550100", ErrFormat},
		{"letters", "+1 202 555 CODE", ErrFormat},
		{"a vanity number", "+1 800 FLOWERS", ErrFormat},
		{"an extension", "+1 202 555 0100 ext. 5", ErrFormat},
		{"an extension by x", "+12025550100x5", ErrFormat},
		{"an extension by #", "+12025550100#5", ErrFormat},
		{"dialled digits", "+12025550100,5", ErrFormat},
		{"a URI", "tel:+12025550100", ErrFormat},
		{"a URI parameter", "+12025550100;ext=5", ErrFormat},
		{"two numbers", "+12025550100/+12025550101", ErrFormat},
		{"a slash before another extension", "+49 30 901820/21", ErrFormat},
		{"two slashes", "+49/30/12345678", ErrFormat},
		{"a slash in front", "/+49 30 12345678", ErrFormat},
		{"a slash at the end", "+49 30 12345678/", ErrFormat},
		{"a service code", "*100#", ErrFormat},
		{"NUL", "+1202555\x000100", ErrFormat},
		{"not UTF-8", "+1202555\xff0100", ErrFormat},
		{"a number that isn't decimal", "+1202555010②", ErrFormat},
		{"a Roman numeral", "+1202555010Ⅷ", ErrFormat},
		{"an emoji keycap", "+1202555010" + "0\ufe0f\u20e3", ErrFormat},
		{"6 digits", "+123456", ErrFormat},
		{"6 digits of a country", "+290123", ErrFormat},
		{"16 digits", "+1234567890123456", ErrFormat},
		{"16 digits with 00", "001234567890123456", ErrFormat},
		{"16 digits, though one is a trunk zero", "+49 (0)15112345678901", ErrFormat},
		{"8 digits, of which the trunk's leave 6", "+49 002599", ErrFormat},
		{"129 bytes", "+12025550100" + strings.Repeat(" ", 117), ErrFormat},
		{"a megabyte", strings.Repeat("1", 1<<20), ErrFormat},
		{"calling code 0", "+02025550100", ErrCallingCode},
		{"calling code 0 by 00", "000 2025550100", ErrCallingCode},
		{"00 after a plus", "+0044 20 7946 001", ErrCallingCode},
		{"calling code 999", "+9992025550100", ErrCallingCode},
		{"calling code 210, between 20 and 211", "+2102025550100", ErrCallingCode},
		{"calling code 384, between 383 and 385", "+3842025550", ErrCallingCode},
		{"calling code 969, between 968 and 970", "+9692025550", ErrCallingCode},
	} {
		got, err := Parse(tt.s)
		if got != "" || !errors.Is(err, tt.want) {
			t.Errorf("%s: Parse(%+.40q) = %q, %v; want %v", tt.why, tt.s, got, err, tt.want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "2") {
			t.Errorf("%s: the error %q may hold the number", tt.why, err)
		}
	}
}

func TestBorders(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"+2901234",         // 7 digits
		"+1234567",         // 7, of an impossible length
		"+491511234567890", // 15
		"+883510000000094", // 15, as numbers of international networks are
		"+123456789012345", // 15, of an impossible length
		"+9989012345",      // the last calling code
		"+211912345678",    // the next after 210
	} {
		if got, err := Parse(s); got != Number(s) || err != nil {
			t.Errorf("Parse(%q) = %q, %v; want it unchanged", s, got, err)
		}
	}
	const n = "+12025550100"
	if got, err := Parse(n + strings.Repeat(" ", maxInput-len(n))); got != n || err != nil {
		t.Errorf("%d bytes: got %q, %v; want %q", maxInput, got, err, n)
	}
}

func TestPossible(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		n    Number
		want bool
	}{
		{"+12025550100", true},
		{"+15557788999", true}, // unassigned, but as long as others
		{"+15550100001", true},
		{"+120255501", false},
		{"+12025550", false},
		{"+120255501001", false},
		{"+442079460018", true},
		{"+44207946001", true}, // some are a digit shorter
		{"+44207946", false},
		{"+80012345678", true},
		{"+8001234567", false},
		{"+883510000000094", true},
		{"+5554433222", true}, // Brazil has eight-digit numbers
		{"", false},
		{"+", false},
		{"nonsense", false},
	} {
		if got := tt.n.Possible(); got != tt.want {
			t.Errorf("%s.Possible() = %t, want %t", tt.n, got, tt.want)
		}
	}
}

func TestMasked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ n, want Number }{
		{"+12025550100", "+*******0100"},
		{"+2901234", "+***1234"},
		{"+883510000000094", "+***********0094"},
		{"+29012", "******"},
		{"", ""},
	} {
		if got := tt.n.Masked(); got != string(tt.want) {
			t.Errorf("%q.Masked() = %q, want %q", string(tt.n), got, tt.want)
		}
	}
}

func TestLogsAreMasked(t *testing.T) {
	t.Parallel()
	const n = Number("+12025550100")
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		log := slog.New(handler(&b))
		log.Info("one", "to", n)
		log.With("from", n).WithGroup("g").Info("two", slog.Group("h", slog.Any("to", n)))
		if got := b.String(); strings.Contains(got, "2025550") || strings.Count(got, "+*******0100") != 3 {
			t.Errorf("%s: the number shows, or its mask doesn't:\n%s", name, got)
		}
	}
}

func TestCountryCodeOfNothing(t *testing.T) {
	t.Parallel()
	for _, n := range []Number{"", "+", "+0", "44", "+999", "+044"} {
		if got := n.CountryCode(); got != 0 {
			t.Errorf("%q.CountryCode() = %d, want 0", string(n), got)
		}
	}
}

// Every country's assigned numbers are their own keys; a fold that merged two
// people would fail here. Belarus's 8 10 is the one known exception, and
// messages never go to its range.
func TestExamplesAreTheirOwnKeys(t *testing.T) {
	t.Parallel()
	seen := 0
	for region := range phonenumbers.GetSupportedRegions() {
		for _, kind := range []phonenumbers.PhoneNumberType{phonenumbers.FIXED_LINE, phonenumbers.MOBILE, phonenumbers.TOLL_FREE, phonenumbers.VOIP} {
			p := phonenumbers.GetExampleNumberForType(region, kind)
			if p == nil {
				continue
			}
			want := phonenumbers.Format(p, phonenumbers.E164)
			got, err := Parse(want)
			if len(want) <= minDigits { // a few islands have shorter ones
				if !errors.Is(err, ErrFormat) {
					t.Errorf("%s: Parse(%q) = %q, %v; want %v", region, want, got, err, ErrFormat)
				}
				continue
			}
			if string(got) != want || err != nil {
				t.Errorf("%s: Parse(%q) = %q, %v; want it unchanged", region, want, got, err)
			}
			seen++
		}
	}
	if seen < 500 {
		t.Errorf("%d examples, want more", seen)
	}
}

func TestCacheKeepsNumbersOnly(t *testing.T) {
	const s = "+1 202 555 0147"
	want, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	before := cache.Len()
	for i := range 100 {
		if n, err := Parse(fmt.Sprintf("+999%08d", i)); err == nil {
			t.Fatalf("got %q, want an error", n)
		}
	}
	if got := cache.Len(); got != before {
		t.Errorf("%d entries after refusals, want %d", got, before)
	}
	if got, err := Parse(s); got != want || err != nil {
		t.Errorf("from the cache: got %q, %v; want %q", got, err, want)
	}
}

// The library fills its own cache while it reads. The race detector watches
// that here.
func TestParseConcurrently(t *testing.T) {
	t.Parallel()
	var numbers []string
	for code := range phonenumbers.GetSupportedCallingCodes() {
		numbers = append(numbers, fmt.Sprintf("+%d 0 12345678", code))
	}
	parse := func() (got []string) {
		for _, s := range numbers {
			n, err := Parse(s)
			got = append(got, fmt.Sprint(n, err, n.Possible(), n.CountryCode()))
		}
		return got
	}
	results := make([][]string, 8)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i] = parse() })
	}
	wg.Wait()
	for _, got := range results {
		if diff := cmp.Diff(results[0], got); diff != "" {
			t.Errorf("goroutines disagree:\n%s", diff)
		}
	}
}

var canonical = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"+442079460018", "+44 (0)20 7946 0018", "0044 20 7946 0018", "+52 1 55 1234 5678", "+54 011 15 2345 6789",
		"+390669812345", "+1 1 1 202 555 0100", "+971000000477509", "+3758107174799", "+55 0 15 11 3123 4567",
		"+378 886377", "+810000187284440", "+49 002599", "＋８１（０）９０．１２３４．５６７８", "+९१ ९८७६५ ४३२१०",
		"+15557788999", "+5554433222", "+999", "00", "+", "\u2066+972 50-123-4567\u2069", "+1202\xff", "tel:+1202",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil {
			if n != "" || !errors.Is(err, ErrFormat) && !errors.Is(err, ErrCallingCode) {
				t.Fatalf("Parse(%+q) = %q, %v", s, n, err)
			}
			return
		}
		if !canonical.MatchString(string(n)) || n.CountryCode() == 0 {
			t.Fatalf("Parse(%+q) = %q, calling code %d", s, n, n.CountryCode())
		}
		// Bypass the cache, so that a mistake isn't remembered as correct.
		if again, err := normalize(string(n)); again != n || err != nil {
			t.Fatalf("Parse(%+q) = %q, which is read as %q, %v", s, n, again, err)
		}
		if again, err := Parse(string(n)); again != n || err != nil {
			t.Fatalf("Parse(%+q) = %q, which is cached as %q, %v", s, n, again, err)
		}
		if m := n.Masked(); strings.Contains(m, string(n[1:])) || len(m) != len(n) || strings.Count(m, "*") != len(n)-5 {
			t.Fatalf("%q is masked as %q", n, m)
		}
		n.Possible()
	})
}

func BenchmarkParse(b *testing.B) {
	const s = "+44 (0)20 7946 0018"
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			cache.Purge()
			if _, err := Parse(s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("refused", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse("+9992025550100"); err == nil {
				b.Fatal("want an error")
			}
		}
	})
}

// The shortcut agrees with the library.
func TestNorthAmericanNumbersAreTheirOwnKeys(t *testing.T) {
	t.Parallel()
	for area := 200; area <= 999; area++ {
		for _, rest := range []string{"0000000", "1234567", "5550100", "9999999"} {
			folded := "+1" + strconv.Itoa(area) + rest
			p, err := phonenumbers.Parse(folded, "")
			if err != nil {
				t.Fatalf("%s: %v", folded, err)
			}
			if got := phonenumbers.Format(p, phonenumbers.E164); got != folded || !isNorthAmerican(folded) {
				t.Errorf("%s: the library makes it %s, and the short cut takes it: %v", folded, got, isNorthAmerican(folded))
			}
		}
	}
	for _, folded := range []string{"+10025550100", "+11025550100", "+1202555010", "+120255501000", "+44202555010", "+22025550100"} {
		if isNorthAmerican(folded) {
			t.Errorf("%s: the short cut takes it", folded)
		}
	}
}
