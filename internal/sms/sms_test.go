package sms

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf16"
)

// gsm repeats the default alphabet, as code points in the order of the
// standard's table, so that a slip in the other copy shows.
var gsm = [128]rune{
	0x0040, 0x00A3, 0x0024, 0x00A5, 0x00E8, 0x00E9, 0x00F9, 0x00EC, 0x00F2, 0x00C7, 0x000A, 0x00D8, 0x00F8, 0x000D, 0x00C5, 0x00E5,
	0x0394, 0x005F, 0x03A6, 0x0393, 0x039B, 0x03A9, 0x03A0, 0x03A8, 0x03A3, 0x0398, 0x039E, escape, 0x00C6, 0x00E6, 0x00DF, 0x00C9,
	0x0020, 0x0021, 0x0022, 0x0023, 0x00A4, 0x0025, 0x0026, 0x0027, 0x0028, 0x0029, 0x002A, 0x002B, 0x002C, 0x002D, 0x002E, 0x002F,
	0x0030, 0x0031, 0x0032, 0x0033, 0x0034, 0x0035, 0x0036, 0x0037, 0x0038, 0x0039, 0x003A, 0x003B, 0x003C, 0x003D, 0x003E, 0x003F,
	0x00A1, 0x0041, 0x0042, 0x0043, 0x0044, 0x0045, 0x0046, 0x0047, 0x0048, 0x0049, 0x004A, 0x004B, 0x004C, 0x004D, 0x004E, 0x004F,
	0x0050, 0x0051, 0x0052, 0x0053, 0x0054, 0x0055, 0x0056, 0x0057, 0x0058, 0x0059, 0x005A, 0x00C4, 0x00D6, 0x00D1, 0x00DC, 0x00A7,
	0x00BF, 0x0061, 0x0062, 0x0063, 0x0064, 0x0065, 0x0066, 0x0067, 0x0068, 0x0069, 0x006A, 0x006B, 0x006C, 0x006D, 0x006E, 0x006F,
	0x0070, 0x0071, 0x0072, 0x0073, 0x0074, 0x0075, 0x0076, 0x0077, 0x0078, 0x0079, 0x007A, 0x00E4, 0x00F6, 0x00F1, 0x00FC, 0x00E0,
}

var gsmExtension = [10]rune{0x000C, 0x005E, 0x007B, 0x007D, 0x005C, 0x005B, 0x007E, 0x005D, 0x007C, 0x20AC}

func TestEveryCharacter(t *testing.T) {
	t.Parallel()
	want := map[rune]int{}
	for _, r := range gsm {
		want[r] = 1
	}
	for _, r := range gsmExtension {
		want[r] = 2
	}
	delete(want, escape) // takes a place in the table, and is no character
	if len(want) != 127+10 {
		t.Fatalf("the test knows %d characters, want %d", len(want), 127+10)
	}
	for r := rune(0); r <= 0x1F9FF; r++ {
		if 0xD800 <= r && r < 0xE000 {
			continue
		}
		wantEnc, wantUnits := GSM7, want[r]
		if wantUnits == 0 {
			wantEnc, wantUnits = UCS2, len(utf16.Encode([]rune{r}))
		}
		if enc, units := Measure(string(r)); enc != wantEnc || units != wantUnits {
			t.Errorf("Measure(%q, %U) = %v, %d; want %v, %d", r, r, enc, units, wantEnc, wantUnits)
		}
	}
}

func TestMeasureAndSegments(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		text     string
		enc      Encoding
		units    int
		segments int
	}{
		{"empty", "", GSM7, 0, 1},
		{"a code", "Your Personal Authorization Code is: 493817", GSM7, 43, 1},
		{"160 septets", strings.Repeat("a", 160), GSM7, 160, 1},
		{"161 septets", strings.Repeat("a", 161), GSM7, 161, 2},
		{"two full parts", strings.Repeat("a", 306), GSM7, 306, 2},
		{"one more", strings.Repeat("a", 307), GSM7, 307, 3},
		{"80 extension characters", strings.Repeat("€", 80), GSM7, 160, 1},
		{"81 extension characters", strings.Repeat("€", 81), GSM7, 162, 2},
		{"a part of 152, as an escape isn't cut off", strings.Repeat("€", 152), GSM7, 304, 2},
		{"so that 306 septets take three", strings.Repeat("€", 153), GSM7, 306, 3},
		{"escape that would straddle", strings.Repeat("a", 152) + "€" + strings.Repeat("a", 152), GSM7, 306, 3},
		{"escape that just doesn't", strings.Repeat("a", 151) + "€" + strings.Repeat("a", 153), GSM7, 306, 2},
		{"é is in the alphabet", "é", GSM7, 1, 1},
		{"Ç is", "Ç", GSM7, 1, 1},
		{"ç isn't", "ç", UCS2, 1, 1},
		{"nor the backtick", "`", UCS2, 1, 1},
		{"nor a tab", "\t", UCS2, 1, 1},
		{"nor e with a combining accent", "e\u0301", UCS2, 2, 1},
		{"nor the ohm sign, which looks like Ω", "\u2126", UCS2, 1, 1},
		{"nor a curly quote, the usual surprise", "’" + strings.Repeat("a", 70), UCS2, 71, 2},
		{"an escape that isn't ours", "\x1be", UCS2, 2, 1},
		{"not UTF-8", "a\xff\xfe", UCS2, 3, 1},
		{"70 units", strings.Repeat("ж", 70), UCS2, 70, 1},
		{"71 units", strings.Repeat("ж", 71), UCS2, 71, 2},
		{"70 with an emoji at the end", strings.Repeat("ж", 68) + "😀", UCS2, 70, 1},
		{"71 with an emoji at the end", strings.Repeat("ж", 69) + "😀", UCS2, 71, 2},
		{"two full parts", strings.Repeat("ж", 134), UCS2, 134, 2},
		{"emoji that would straddle", strings.Repeat("ж", 66) + "😀" + strings.Repeat("ж", 66), UCS2, 134, 3},
		{"emoji that just doesn't", strings.Repeat("ж", 65) + "😀" + strings.Repeat("ж", 67), UCS2, 134, 2},
		{"35 emoji", strings.Repeat("😀", 35), UCS2, 70, 1},
		{"a part holds 33 emoji", strings.Repeat("😀", 66), UCS2, 132, 2},
		{"not 33 and a half", strings.Repeat("😀", 67), UCS2, 134, 3},
	} {
		enc, units := Measure(tt.text)
		if enc != tt.enc || units != tt.units {
			t.Errorf("%s: Measure = %v, %d; want %v, %d", tt.name, enc, units, tt.enc, tt.units)
		}
		if got := Segments(tt.text); got != tt.segments {
			t.Errorf("%s: Segments = %d, want %d", tt.name, got, tt.segments)
		}
	}
}

func TestEncodingString(t *testing.T) {
	t.Parallel()
	if got, want := GSM7.String()+" "+UCS2.String(), "GSM-7 UCS-2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// reference converts text to units as a phone would, and then splits the units.
func reference(text string) (enc Encoding, units, segments int) {
	var septets, codes []uint16
	enc = GSM7
next:
	for _, r := range text {
		codes = utf16.AppendRune(codes, r)
		for i, g := range gsm {
			if r == g && r != escape {
				septets = append(septets, uint16(i))
				continue next
			}
		}
		for _, g := range gsmExtension {
			if r == g {
				septets = append(septets, escape, 0)
				continue next
			}
		}
		enc = UCS2
	}
	if enc == UCS2 {
		units, segments = len(codes), count(codes, 70, 67, func(u uint16) bool { return u>>10 == 0xD800>>10 })
	} else {
		units, segments = len(septets), count(septets, 160, 153, func(u uint16) bool { return u == escape })
	}
	return enc, units, segments
}

func count(units []uint16, single, part int, opens func(uint16) bool) (segments int) {
	if len(units) <= single {
		return 1
	}
	for ; len(units) > 0; segments++ {
		end := min(part, len(units))
		if opens(units[end-1]) {
			end--
		}
		units = units[end:]
	}
	return segments
}

func agree(t *testing.T, text string) {
	t.Helper()
	wantEnc, wantUnits, wantSegments := reference(text)
	enc, units := Measure(text)
	segments := Segments(text)
	if enc != wantEnc || units != wantUnits || segments != wantSegments {
		t.Fatalf("%q: got %v, %d units, %d segments; want %v, %d, %d", text, enc, units, segments, wantEnc, wantUnits, wantSegments)
	}
	enc, parts := Split(text)
	if enc != wantEnc || len(parts) != wantSegments {
		t.Fatalf("%q: split into %d parts of %v, want %d of %v", text, len(parts), enc, wantSegments, wantEnc)
	}
	room := map[Encoding][2]int{GSM7: {160, 153}, UCS2: {140, 134}}[enc][min(len(parts)-1, 1)]
	read := ""
	for i, part := range parts {
		if len(part) > room {
			t.Fatalf("%q: part %d has %d bytes, more than %d", text, i+1, len(part), room)
		}
		read += decode(t, enc, part)
	}
	if want := string([]rune(text)); read != want { // with U+FFFD for what isn't UTF-8
		t.Fatalf("%q: a phone reads %q, want %q", text, read, want)
	}
}

// decode reads each part as a phone would, by the standard's table and separately from the
// others. Half a character at the end is an error.
func decode(t *testing.T, enc Encoding, part []byte) string {
	t.Helper()
	var text []rune
	if enc == UCS2 {
		var units []uint16
		for ; len(part) >= 2; part = part[2:] {
			units = append(units, uint16(part[0])<<8|uint16(part[1]))
		}
		if len(part) != 0 || len(units) > 0 && utf16.IsSurrogate(rune(units[0])) && units[0] >= 0xDC00 ||
			len(units) > 0 && units[len(units)-1]>>10 == 0xD800>>10 {
			t.Fatalf("half a character at an end of % x", part)
		}
		return string(utf16.Decode(units))
	}
	for i := 0; i < len(part); i++ {
		if part[i] != escape {
			text = append(text, gsm[part[i]])
			continue
		}
		i++
		if i == len(part) {
			t.Fatalf("an escape at the end of % x", part)
		}
		text = append(text, map[byte]rune{
			0x0A: '\f', 0x14: '^', 0x28: '{', 0x29: '}', 0x2F: '\\', 0x3C: '[', 0x3D: '~', 0x3E: ']', 0x40: '|', 0x65: '€',
		}[part[i]])
	}
	return string(text)
}

func TestHeader(t *testing.T) {
	t.Parallel()
	if got, want := Header(0xA7, 2, 3), []byte{0x05, 0x00, 0x03, 0xA7, 0x03, 0x02}; !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
}

func TestEveryCharacterIsSentAsThePhoneReadsIt(t *testing.T) {
	t.Parallel()
	for _, r := range gsm {
		if r != escape {
			agree(t, string(r))
		}
	}
	for _, r := range gsmExtension {
		agree(t, string(r))
	}
	for r := rune(0); r <= 0x1F9FF; r += 7 {
		agree(t, string(r))
	}
}

func TestAgreesWithReference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, pieces := range [][]string{{"a", "€"}, {"a", "a", "a", "{"}, {"ж", "😀"}, {"a", "ж", "😀", "€"}, {"😀", "ж", "ж", "ж"}} {
		for range 400 {
			var b strings.Builder
			for range rng.IntN(500) {
				b.WriteString(pieces[rng.IntN(len(pieces))])
			}
			agree(t, b.String())
		}
	}
}

func FuzzSegments(f *testing.F) {
	for _, s := range []string{"", "Code: 493817", "é Ç ç `", "\x1b", "\xff", strings.Repeat("a", 152) + "€", strings.Repeat("ж", 66) + "😀", strings.Repeat("😀", 67), strings.Repeat("{}", 81)} {
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, s string, times uint8) {
		if len(s) < 1<<8 {
			s = strings.Repeat(s, int(times%16)) // fuzzers write short texts, and borders are far out
		}
		agree(t, s)
	})
}
