package wording

import (
	"strings"
	"testing"
	"unicode"

	"github.com/countersign/countersign/internal/code"
)

func TestADisplayNameIsOneLineWithoutLinks(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Acme": "Acme", "  Acme \t & Co ": "Acme & Co", "Ünïcødé 日本": "Ünïcødé 日本", "": "", "👩\u200d💻 Shop": "👩\u200d💻 Shop",
		"Acme\r\nCall +1 900": "Acme Call +1 900", "A\x00B\x7fC\u2028D\u0085E": "A B C D E", "\x01\x02{code}": "{code}",
		"see https://evil.example/login now": "see now", "HTTPS://EVIL.EXAMPLE": "", "ftp://a": "", "tel+x://1": "",
		"go www.evil.example!": "go", "WWW.x": "", "evil.example/x": "", "evil.example/": "", "xn--a.b-c.example/p?q=1": "", "例え.テスト/x": "",
		"ahttps://x bhttp://y": "", "wwwww.evil.example": "wwwww.evil.example",
		"evil.example:8080/x": "", "evil.example:8080": "", "evil.example./x": "", "evil.example?q": "", "evil.example#f": "", "evil_x.example/x": "",
		"evil。example/x": "", "evil．example/x": "", "evil｡example/x": "", "www。evil.example": "", "उदाहरण.भारत/x": "", "evil.exa\u0301mple/x": "",
		"evil.example\u200b/x": "", "evil\u2060.example\ufeff/x": "", "evil.exam\u00adple/x": "",
		"hthttps://xtps://y": "", "evilhttp://.example/x": "",
		// A code after it would be read from right to left.
		"\u202eAcme": "Acme", "A\u2066c\u200fme\u061c": "Acme", "evil.example\u202e/x": "",
		// Names that only look a little like links.
		"Booking.com": "Booking.com", "Who is Booking.com?": "Who is Booking.com?", "Booking.com: hotels": "Booking.com: hotels", "No. #1": "No. #1",
		"A/B Testing": "A/B Testing", "24/7 Dr. No": "24/7 Dr. No", "St. John/Paul": "St. John/Paul", "a:b": "a:b", "Yahoo!": "Yahoo!",
		"awww.shop": "awww.shop",
	} {
		if got := Name(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestACodeIsSpelledForAVoice(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text   string
		format code.Format
		want   string
	}{
		{"123456", code.Numeric, "1, 2, 3, 4, 5, 6"},
		{"G-12", code.Numeric, "G, -, 1, 2"},
		{"AB 2", code.Alphanumeric, "A, B, 2"},
		{"aB2!@", code.Complex, "a, capital B, 2, exclamation mark, at"},
		{"", code.Numeric, ""},
	} {
		if got := spell(tt.text, tt.format); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
	for _, r := range code.Complex.Alphabet() {
		if got := spell(string(r), code.Complex); got == "" || strings.ContainsAny(got, "!#$%&*+=?@") {
			t.Errorf("%c is spelled %q", r, got)
		}
		if got, most := spell(string(r), code.Complex), spell("!", code.Complex); len(got) > len(most) {
			t.Errorf("%c, spelled %q, is longer than what texts are measured with", r, got)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, name := range []string{"Acme", "a\r\nb", "hthttp://x tp://y", "www.www.x", "a.b/c.d/e", "\u2028http\u00a0://x", "x\xff://y"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := Name(name)
		if strings.ContainsFunc(got, unicode.IsControl) || link.MatchString(got) || got != Name(got) {
			t.Errorf("%q: got %q, then %q", name, got, Name(got))
		}
	})
}
