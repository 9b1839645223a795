package code

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/countersign/countersign/internal/testsize"
)

var formats = []Format{Numeric, Alpha, Alphanumeric, Complex}

func TestAlphabets(t *testing.T) {
	t.Parallel()
	sizes := map[Format]int{Numeric: 10, Alpha: 24, Alphanumeric: 32, Complex: 65}
	for _, f := range formats {
		a := f.Alphabet()
		if got, want := len(a), sizes[f]; got != want || !f.Valid() {
			t.Errorf("%s: %d characters, valid %t; want %d, true", f, got, f.Valid(), want)
		}
		for i, r := range a {
			if r <= ' ' || r >= 0x7f || strings.ContainsRune("-^{}\\[]~|`", r) {
				t.Errorf("%s: %q can't be in a code", f, r)
			}
			if strings.LastIndexByte(a, a[i]) != i {
				t.Errorf("%s: %q is there twice", f, r)
			}
		}
		if f != Numeric && strings.ContainsAny(a, "01IOilo") {
			t.Errorf("%s: %q has look-alikes", f, a)
		}
	}
	for _, f := range []Format{"", "Numeric", "hex"} {
		if f.Valid() || f.Bits(6) != 0 {
			t.Errorf("format %q: valid %t, %v bits; want false, 0", f, f.Valid(), f.Bits(6))
		}
	}
}

func TestBits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		format Format
		length int
		want   float64
	}{
		{Numeric, 6, 19.93}, // why a policy asks for 6 digits or 20 bits
		{Numeric, 1, 3.32},
		{Alpha, 4, 18.34},
		{Alphanumeric, 4, 20},
		{Complex, 20, 120.45},
		{Numeric, 0, 0},
		{Numeric, -1, 0},
		{Numeric, 65, 0},
	} {
		if got := tt.format.Bits(tt.length); math.Abs(got-tt.want) > 0.005 {
			t.Errorf("%s.Bits(%d) = %.3f, want %.2f", tt.format, tt.length, got, tt.want)
		}
	}
}

// chi2 returns how far the characters of n codes are from equally likely, in
// standard deviations of what chance alone would give.
func chi2(t *testing.T, f Format, generate func(io.Reader, Format, int) (string, error)) float64 {
	t.Helper()
	const codes = 20_000
	src := rand.NewChaCha8([32]byte([]byte("a seed, so that it can't be luck")))
	seen := map[rune]int{}
	for range codes {
		s, err := generate(src, f, MaxLength)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s {
			seen[r]++
		}
	}
	a := f.Alphabet()
	want := float64(codes*MaxLength) / float64(len(a))
	sum := 0.0
	for _, r := range a {
		d := float64(seen[r]) - want
		sum += d * d / want
	}
	free := float64(len(a) - 1)
	return (sum - free) / math.Sqrt(2*free)
}

func TestGenerateIsUniform(t *testing.T) {
	t.Parallel()
	testsize.Alone(t, "counts random codes")
	// The obvious, wrong way. If it passed, the check would be useless.
	modulo := func(r io.Reader, f Format, length int) (string, error) {
		b := make([]byte, length)
		_, err := io.ReadFull(r, b)
		for i := range b {
			b[i] = f.Alphabet()[int(b[i])%len(f.Alphabet())]
		}
		return string(b), err
	}
	const bound = 6
	for _, f := range formats {
		if got := chi2(t, f, Generate); got > bound {
			t.Errorf("%s: %.1f deviations from uniform, want at most %d", f, got, bound)
		}
		if f == Alphanumeric { // 32 divides 256: here a remainder would do
			continue
		}
		if got := chi2(t, f, modulo); got <= bound {
			t.Errorf("%s: a biased generator is %.1f deviations from uniform, want more than %d", f, got, bound)
		}
	}
}

func TestGenerateAtTheBorder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		format Format
		bytes  []byte
		want   string
	}{
		{Numeric, []byte{250, 255, 249, 0}, "90"},
		{Numeric, []byte{9, 250, 10}, "90"},
		{Alpha, []byte{240, 255, 239, 24}, "ZA"},
		{Alphanumeric, []byte{255, 32}, "9A"},
		{Complex, []byte{195, 255, 194, 65}, "@A"},
	} {
		got, err := Generate(bytes.NewReader(tt.bytes), tt.format, 2)
		if got != tt.want || err != nil {
			t.Errorf("%s from %v: got %q, %v; want %q", tt.format, tt.bytes, got, err, tt.want)
		}
		// A reader may return any number of bytes per read.
		got, err = Generate(iotest.OneByteReader(bytes.NewReader(tt.bytes)), tt.format, 2)
		if got != tt.want || err != nil {
			t.Errorf("%s from %v, one by one: got %q, %v; want %q", tt.format, tt.bytes, got, err, tt.want)
		}
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

func TestGenerateRefuses(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	full := reader(func(p []byte) (int, error) { return len(p), nil })
	stuck := reader(func(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{255}, len(p))), nil })
	for _, tt := range []struct {
		name   string
		rand   io.Reader
		format Format
		length int
		want   error // nil: any
	}{
		{"no bytes", bytes.NewReader(nil), Numeric, 6, io.EOF},
		{"too few bytes", bytes.NewReader(make([]byte, 5)), Numeric, 6, io.ErrUnexpectedEOF},
		{"none left after a refused byte", bytes.NewReader([]byte{1, 2, 3, 4, 5, 255}), Numeric, 6, io.EOF},
		{"a broken source", iotest.ErrReader(broken), Complex, 6, broken},
		{"a stuck source", stuck, Numeric, 6, errStuck},
		{"an unknown format", full, "hex", 6, errFormat},
		{"no format", full, "", 6, errFormat},
		{"length 0", full, Numeric, 0, nil},
		{"length -1", full, Numeric, -1, nil},
		{"length 65", full, Numeric, 65, nil},
	} {
		got, err := Generate(tt.rand, tt.format, tt.length)
		if got != "" || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: got %q, %v; want no code and %v", tt.name, got, err, tt.want)
		}
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	const refused = ""
	for _, tt := range []struct {
		format      Format
		typed, want string
	}{
		{Numeric, "123456", "123456"},
		{Numeric, "123-456", "123456"},
		{Numeric, " 123 456 ", "123456"},
		{Numeric, "\t123\u00a0456\r\n", "123456"},
		{Numeric, "123\u202f456\u2009\u3000", "123456"},
		{Numeric, "1‐2‑3‒4–5—6", "123456"},
		{Numeric, "12\u221234\u00ad56", "123456"},
		{Numeric, "000000", "000000"},
		{Numeric, "abc", refused},
		{Numeric, "12345O", refused},
		{Numeric, "１２３４５６", "123456"}, // full-width
		{Numeric, "１２３－４５６", "123456"},
		{Numeric, "١٢٣٤٥٦", "123456"}, // Arabic-Indic
		{Numeric, "۱۲۳۴۵۶", "123456"}, // Persian
		{Numeric, "१२३४५६", "123456"}, // Devanagari
		{Numeric, "১২৩৪৫৬", "123456"}, // Bengali
		{Numeric, "๑๒๓๔๕๖", "123456"}, // Thai
		{Numeric, "𝟏𝟐𝟑𝟒𝟓𝟔", "123456"}, // bold
		{Numeric, "12٣४۵６", "123456"},
		{Numeric, "\u200e123456", "123456"},
		{Numeric, "\u202a123456\u202c", "123456"},
		{Numeric, "\u2067١٢٣\u200f٤٥٦\u2069", "123456"},
		{Numeric, "\ufeff123\u200b456\u2060", "123456"},
		{Numeric, "①②③④⑤⑥", refused},
		{Numeric, "¹²³⁴⁵⁶", refused},
		{Numeric, "一二三四五六", refused},
		{Numeric, "1\ufe0f\u20e3", refused}, // an emoji keycap
		{Numeric, "\u200e\ufeff", refused},
		{Numeric, "123_456", refused},
		{Numeric, "+123456", refused},
		{Numeric, "123\x00456", refused},
		{Numeric, "123\xff456", refused},
		{Numeric, "", refused},
		{Numeric, " - ", refused},
		{Numeric, strings.Repeat("1", 64), strings.Repeat("1", 64)},
		{Numeric, strings.Repeat("1 ", 64), strings.Repeat("1", 64)},
		{Numeric, strings.Repeat("1", 65), refused},
		{Numeric, strings.Repeat("1", 64<<10), refused},
		{Numeric, strings.Repeat(" ", 64<<10), refused},
		{Alpha, "abcd", "ABCD"},
		{Alpha, "aB-cD", "ABCD"},
		{Alpha, "ABC2", refused},
		{Alpha, "ABCI", refused},
		{Alpha, "abco", refused},
		{Alphanumeric, "k7-mq 2x", "K7MQ2X"},
		{Alphanumeric, "K7MQ0X", refused},
		{Alphanumeric, "K7MQ1X", refused},
		{Alphanumeric, "ｋ７-ＭＱ２ｘ", "K7MQ2X"},
		{Alphanumeric, "Κ7MQ2X", refused},      // a Greek letter
		{Alphanumeric, "К7MQ2X", refused},      // a Cyrillic one
		{Alphanumeric, "\u212a7MQ2X", refused}, // the Kelvin sign is a K to Unicode's folding
		{Alphanumeric, "ſ7MQ2X", refused},      // and the long s an S
		{Complex, "aB3!-#$ %", "aB3!#$%"},
		{Complex, "ａB３！＃\u200b$", "aB3!#$"},
		{Complex, "aB3l", refused},
		{Complex, "aB3~", refused},
		{"hex", "123456", refused},
	} {
		got, ok := Normalize(tt.format, tt.typed)
		if got != tt.want || ok != (tt.want != refused) {
			t.Errorf("Normalize(%s, %.40q) = %q, %t; want %q, %t", tt.format, tt.typed, got, ok, tt.want, tt.want != refused)
		}
	}
}

func TestNormalizeKeepsWhatIsGenerated(t *testing.T) {
	t.Parallel()
	src := rand.NewChaCha8([32]byte{1})
	for _, f := range formats {
		for length := 1; length <= MaxLength; length++ {
			c, err := Generate(src, f, length)
			if err != nil || len(c) != length {
				t.Fatalf("Generate(%s, %d) = %q, %v", f, length, c, err)
			}
			typed := "\t" + c[:length/2] + " \u2013" + c[length/2:] + "\n"
			if got, ok := Normalize(f, typed); got != c || !ok {
				t.Errorf("Normalize(%s, %q) = %q, %t; want %q", f, typed, got, ok, c)
			}
		}
	}
}

func BenchmarkNormalizeHostile(b *testing.B) {
	for _, piece := range []string{"1", " ", "\u3000", "\u2013", "\u200b", "\u3164", "٣", "\xff"} {
		typed := strings.Repeat(piece, 64<<10/len(piece))
		b.Run(strconv.QuoteToASCII(piece), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Normalize(Numeric, typed)
			}
		})
	}
}

func FuzzNormalize(f *testing.F) {
	for i, s := range []string{"123-456", " 123 456 ", "abCD", "k7-mq 2x", "aB3!#$%", "１２３", "\u202a١٢٣\u202c", "\x00", "\u2212\u00ad", strings.Repeat("1", 65)} {
		f.Add(byte(i), s)
	}
	f.Fuzz(func(t *testing.T, i byte, typed string) {
		format := formats[int(i)%len(formats)]
		got, ok := Normalize(format, typed)
		if !ok {
			if got != "" {
				t.Fatalf("Normalize(%s, %q) refused, yet gave %q", format, typed, got)
			}
			return
		}
		if n := len(got); n < 1 || n > MaxLength || strings.Trim(got, format.Alphabet()) != "" {
			t.Fatalf("Normalize(%s, %q) = %q: not a code", format, typed, got)
		}
		if again, ok := Normalize(format, got); again != got || !ok {
			t.Fatalf("Normalize(%s, %q) = %q, %t; want it unchanged", format, got, again, ok)
		}
	})
}

func TestFold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		format     Format
		text, want string
	}{
		{Numeric, " g-12 3\u00a04\u20135 ", "G12345"},
		{Alphanumeric, "Your code: ab", "YOURCODE:AB"},
		{Complex, "aB - c", "aBc"},
		{Alpha, "straße \xff", "STRAßE\ufffd"},
		{Numeric, "Ｇ－١२\u200e3", "G123"},
		{Numeric, "", ""},
	} {
		if got := Fold(tt.format, tt.text); got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.format, tt.text, got, tt.want)
		}
	}
}
