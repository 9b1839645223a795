package typed

import (
	"strings"
	"testing"
	"unicode"
)

func fold(s string) string {
	return strings.Map(Rune, s) // drops what is negative
}

// The digits of many scripts, one script per line.
func TestDigitsOfEveryScript(t *testing.T) {
	t.Parallel()
	for script, digits := range map[string]string{
		"Latin":         "0123456789",
		"Arabic-Indic":  "٠١٢٣٤٥٦٧٨٩",
		"Persian, Urdu": "۰۱۲۳۴۵۶۷۸۹",
		"N'Ko":          "߀߁߂߃߄߅߆߇߈߉",
		"Devanagari":    "०१२३४५६७८९",
		"Bengali":       "০১২৩৪৫৬৭৮৯",
		"Gurmukhi":      "੦੧੨੩੪੫੬੭੮੯",
		"Gujarati":      "૦૧૨૩૪૫૬૭૮૯",
		"Odia":          "୦୧୨୩୪୫୬୭୮୯",
		"Tamil":         "௦௧௨௩௪௫௬௭௮௯",
		"Telugu":        "౦౧౨౩౪౫౬౭౮౯",
		"Kannada":       "೦೧೨೩೪೫೬೭೮೯",
		"Malayalam":     "൦൧൨൩൪൫൬൭൮൯",
		"Sinhala":       "෦෧෨෩෪෫෬෭෮෯",
		"Thai":          "๐๑๒๓๔๕๖๗๘๙",
		"Lao":           "໐໑໒໓໔໕໖໗໘໙",
		"Tibetan":       "༠༡༢༣༤༥༦༧༨༩",
		"Myanmar":       "၀၁၂၃၄၅၆၇၈၉",
		"Khmer":         "០១២៣៤៥៦៧៨៩",
		"Mongolian":     "᠐᠑᠒᠓᠔᠕᠖᠗᠘᠙",
		"full-width":    "０１２３４５６７８９",
		"bold":          "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗",
		"monospace":     "𝟶𝟷𝟸𝟹𝟺𝟻𝟼𝟽𝟾𝟿",
		"Adlam":         "𞥐𞥑𞥒𞥓𞥔𞥕𞥖𞥗𞥘𞥙",
		"segmented":     "🯰🯱🯲🯳🯴🯵🯶🯷🯸🯹",
	} {
		if got := fold(digits); got != "0123456789" {
			t.Errorf("%s: %s became %q", script, digits, got)
		}
	}
}

// digit counts from the start of a range in the table, so every range must consist of whole
// runs of ten.
func TestDigitsComeInTens(t *testing.T) {
	t.Parallel()
	n := 0
	check := func(lo, hi, stride uint32) {
		if stride != 1 || (hi-lo+1)%10 != 0 {
			t.Errorf("decimal digits %U to %U, each %d: not whole tens", lo, hi, stride)
		}
		for r := lo; r <= hi; r++ {
			n++
			if got := Rune(rune(r)); got != '0'+rune((r-lo)%10) {
				t.Errorf("Rune(%U) = %q", r, got)
			}
		}
	}
	for _, r := range unicode.Nd.R16 {
		check(uint32(r.Lo), uint32(r.Hi), uint32(r.Stride))
	}
	for _, r := range unicode.Nd.R32 {
		check(r.Lo, r.Hi, r.Stride)
	}
	if n < 600 {
		t.Errorf("%d decimal digits, want all", n)
	}
}

func TestWhatOnlySetsApartIsNothing(t *testing.T) {
	t.Parallel()
	for name, all := range map[string]string{
		"ASCII spaces":      " \t\n\v\f\r",
		"spaces":            "\u0085\u00a0\u1680\u2000\u2003\u2007\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
		"dashes":            "-\u058a\u2010\u2011\u2012\u2013\u2014\u2015\u2e3a\u301c\ufe58\ufe63\uff0d\u2212",
		"direction marks":   "\u200e\u200f\u061c",
		"embeddings":        "\u202a\u202b\u202c\u202d\u202e",
		"isolates":          "\u2066\u2067\u2068\u2069",
		"zero widths":       "\u200b\u200c\u200d\u2060\ufeff",
		"soft hyphen":       "\u00ad",
		"other invisibles":  "\u034f\u115f\u1160\u17b4\u180e\u2061\u206a\u3164\uffa0",
		"variation choices": "\ufe00\ufe0f\U000e0100",
		"tags":              "\U000e0031",
	} {
		for _, r := range all {
			if got := Rune(r); got != Nothing {
				t.Errorf("%s: Rune(%U) = %q, want nothing", name, r, got)
			}
		}
	}
}

func TestFullWidthFormsAreASCII(t *testing.T) {
	t.Parallel()
	for r := '!'; r <= '~'; r++ {
		if got, want := Rune(r-'!'+'！'), Rune(r); got != want {
			t.Errorf("full-width %q became %q, want %q", r, got, want)
		}
	}
	if got := fold("ＡＺａｚ＋＃＠"); got != "AZaz+#@" {
		t.Errorf("got %q", got)
	}
}

// A character that only looks like another one isn't folded to it, and only single digits are folded to
// digits.
func TestOthersStandForThemselves(t *testing.T) {
	t.Parallel()
	const others = "azAZ09+._/()*#\x00\x7f" + "éßſ\u212aАВаοＯ" + "½²₂①⑴Ⅷ⒈㊀一二〇" + "\u20e3\u0301\u2800\ufffd😀"
	for _, r := range others {
		want := r
		if r == 'Ｏ' {
			want = 'O'
		}
		if got := Rune(r); got != want {
			t.Errorf("Rune(%U %q) = %q, want itself", r, r, got)
		}
	}
}

func TestFoldingAllocatesNothing(t *testing.T) {
	got := testing.AllocsPerRun(100, func() {
		for _, r := range "+1 202-555 0100 ＋٩\u200e" {
			Rune(r)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}
