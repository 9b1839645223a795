package verify

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIdsSortByTheirTime(t *testing.T) {
	t.Parallel()
	instant := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMilli(rapid.Int64Range(0, 1<<48-2).Draw(t, "ms"))
	})
	rapid.Check(t, func(t *rapid.T) {
		at := instant.Draw(t, "at")
		id, next := NewID(at), NewID(at.Add(time.Millisecond))
		if bytes.Compare(id[:], next[:]) >= 0 {
			t.Errorf("%v, made a millisecond before %v, sorts behind it", id, next)
		}
		other := instant.Draw(t, "other")
		if o := NewID(other); other.Before(at) && bytes.Compare(o[:], id[:]) >= 0 {
			t.Errorf("%v of %v sorts behind %v of %v", o, other, id, at)
		}
		first, firstNext := FirstID(at), FirstID(at.Add(time.Millisecond))
		if bytes.Compare(first[:], id[:]) > 0 || bytes.Compare(id[:], firstNext[:]) >= 0 {
			t.Errorf("%v isn't from %v to %v", id, first, firstNext)
		}
		if got := id.Time(); !got.Equal(at) {
			t.Errorf("time of %v: got %v, want %v", id, got, at)
		}
		if got := first.Time(); !got.Equal(at) {
			t.Errorf("time of the first: got %v, want %v", got, at)
		}
	})
}

func TestAnIdKeepsItsTimeToTheMillisecond(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ at, want time.Time }{
		{t0, t0},
		{t0.Add(999 * time.Microsecond), t0}, // never later than it was made
		{t0.Add(time.Millisecond), t0.Add(time.Millisecond)},
		{t0.In(time.FixedZone("", 3600)), t0},
		{time.UnixMilli(0), time.UnixMilli(0)},
		{time.UnixMilli(-1), time.UnixMilli(0)}, // a clock without a battery must not wrap
		{time.Time{}, time.UnixMilli(0)},
	} {
		if got := NewID(tt.at).Time(); !got.Equal(tt.want) {
			t.Errorf("%v: got %v, want %v", tt.at, got, tt.want)
		}
	}
}

func TestIdsAreUUIDsOfVersion7(t *testing.T) {
	t.Parallel()
	seen := map[ID]bool{}
	var ones, zeros ID
	for range 4096 {
		id := NewID(t0)
		if seen[id] {
			t.Fatalf("%v was made twice", id)
		}
		seen[id] = true
		if s := id.String(); s[14] != '7' || !strings.ContainsRune("89ab", rune(s[19])) || len(s) != 36 {
			t.Fatalf("%s is no UUIDv7", s)
		}
		for i := range id {
			ones[i] |= id[i]
			zeros[i] |= ^id[i]
		}
	}
	// Of the last ten bytes all bits vary but the two of the version's and variant's nibbles.
	want := ID{}
	for i := 6; i < 16; i++ {
		want[i] = 0xff
	}
	want[6], want[8] = 0x0f, 0x3f
	for i := 6; i < 16; i++ {
		if got := ones[i] & zeros[i]; got != want[i] {
			t.Errorf("byte %d: the bits %08b vary, want %08b", i, got, want[i])
		}
	}
}

func TestParseIDReadsOneFormOnly(t *testing.T) {
	t.Parallel()
	const s = "019dec58-3f2a-7b1c-8d4e-5f60718293a4"
	want := ID{0x01, 0x9d, 0xec, 0x58, 0x3f, 0x2a, 0x7b, 0x1c, 0x8d, 0x4e, 0x5f, 0x60, 0x71, 0x82, 0x93, 0xa4}
	for _, in := range []string{s, strings.ToUpper(s), "019DEC58-3f2a-7b1c-8D4E-5f60718293A4"} {
		got, err := ParseID(in)
		if got != want || err != nil {
			t.Errorf("%q: got %v, %v; want %v", in, got, err, want)
		}
		if got.String() != s {
			t.Errorf("%q: back as %q, want %q", in, got, s)
		}
	}
	for _, in := range []string{
		"", "{" + s + "}", "urn:uuid:" + s, strings.ReplaceAll(s, "-", ""),
		s + " ", " " + s, s[:35], s + "0", s + "\n",
		"019dec58-3f2a-7b1c-8d4e-5f60718293ag", "019dec583-f2a-7b1c-8d4e-5f60718293a4",
		"019dec58_3f2a_7b1c_8d4e_5f60718293a4", strings.Repeat("-", 36), strings.Repeat("0", 36),
		"{" + s[:34] + "}", "urn:uuid:" + s[:27], "０19dec58-3f2a-7b1c-8d4e-5f60718293", // 36 bytes each
	} {
		if got, err := ParseID(in); !errors.Is(err, ErrNotFound) || !got.IsZero() {
			t.Errorf("%q: got %v, %v; want %v", in, got, err, ErrNotFound)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		id := NewID(time.UnixMilli(rapid.Int64Range(0, 1<<48-1).Draw(t, "ms")))
		if got, err := ParseID(id.String()); got != id || err != nil {
			t.Errorf("%v: back as %v, %v", id, got, err)
		}
	})
}

func TestAMessagesIdIsStableAndTellsNothingOfTheVerifications(t *testing.T) {
	t.Parallel()
	id := ID{0x01, 0x9d, 0xec, 0x58, 0x3f, 0x2a, 0x7b, 0x1c, 0x8d, 0x4e, 0x5f, 0x60, 0x71, 0x82, 0x93, 0xa4}
	// The literal holds it across releases: an attempt after an upgrade is still a repeat.
	if got, want := id.message("", 0).String(), "8c7e7d40-229c-8bd7-a47a-d8c7af688f3c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	v := started()
	first := v.Message(v.Channel, "1")
	v.Attempt = 7
	if again := v.Message(v.Channel, "1"); again.ID != first.ID || first.ID == v.ID {
		t.Errorf("attempt 1 has id %v, attempt 7 %v, the verification %v; want one and another", first.ID, again.ID, v.ID)
	}
	// So does this one: it must not be taken for a repeat of the text.
	if got, want := id.message(ChannelVoice, 0).String(), "8356477b-97f8-86b4-864a-cd3c2ae8ae5b"; got != want {
		t.Errorf("by voice: got %s, want %s", got, want)
	}
	if other := NewID(t0).message("", 0); other == first.ID {
		t.Errorf("two verifications' messages have id %v", other)
	}
}

func TestASecretNeverShows(t *testing.T) {
	t.Parallel()
	const text = "KUMQUAT" // letters that no time, id or address has
	secret := Secret(text)
	message := Message{ID: FirstID(t0), To: number1, Body: secret}
	type holder struct {
		Secret   Secret
		Pointer  *Secret
		Any      any
		List     []Secret
		Map      map[string]Secret
		Embedded struct{ Message }
	}
	h := holder{secret, &secret, secret, []Secret{secret}, map[string]Secret{"k": secret}, struct{ Message }{message}}

	shown := map[string]string{}
	show := func(how, s string) { shown[how] = s }
	values := map[string]any{"secret": secret, "pointer": &secret, "message": message, "message pointer": &message, "holder": h, "list": []any{secret, message}}
	for name, value := range values {
		// Wrong verbs as well: what fmt makes of a mistake must not be the text.
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%c", "%10s", "%-20v", "%.3s"} {
			show(name+" "+verb, fmt.Sprintf(verb, value))
		}
		show(name+" Sprint", fmt.Sprint(value))
		show(name+" Sprintln", fmt.Sprintln("a", value))
		show(name+" error", fmt.Errorf("send %v: %w", value, errors.New("x")).Error())
		show(name+" panic", func() (s string) {
			defer func() { s = fmt.Sprint(recover()) }()
			panic(value)
		}())
		if b, err := json.Marshal(value); err == nil {
			show(name+" JSON", string(b))
		} else {
			t.Errorf("%s: JSON: %v", name, err)
		}
		for kind, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			log := slog.New(handler(&b))
			log.Info("m", "k", value)
			log.With("w", value).WithGroup("g").Info("m", slog.Group("h", "k", value), "l", []any{value})
			show(name+" slog "+kind, b.String())
		}
	}
	if b, err := xml.Marshal(secret); err == nil {
		show("XML", string(b))
	}
	for how, s := range shown {
		// Also not a part of it, and not in hexadecimal.
		for _, leak := range []string{"KUM", "4B554D515541", "4B 55 4D 51 55 41", "K U M"} {
			if strings.Contains(strings.ToUpper(s), leak) {
				t.Errorf("%s shows %q: %s", how, leak, s)
			}
		}
	}
	if got := secret.Reveal(); got != text {
		t.Errorf("Reveal: got %q, want %q", got, text)
	}
	if got, want := fmt.Sprintf("%v %s %#v", secret, secret, secret), "[secret] [secret] [secret]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProjectIdsHaveAForm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		id   ProjectID
		want bool
	}{
		{"", false},
		{"a", true},
		{"019dec58-3f2a-7b1c-8d4e-5f60718293a4", true},
		{"Az09._-", true},
		{ProjectID(strings.Repeat("a", 64)), true},
		{ProjectID(strings.Repeat("a", 65)), false},
		{"a:b", false}, // it would end the user's name in Basic authentication
		{"a b", false},
		{" a", false},
		{"a\n", false},
		{"a/b", false},
		{"é", false},
		{"a\xffb", false},
		{"a\x00b", false},
	} {
		if got := tt.id.Valid(); got != tt.want {
			t.Errorf("%q: valid %t, want %t", tt.id, got, tt.want)
		}
	}
}

// An array of 16 numbers would be what a JSON log shows without it.
func TestIDsAreTextInLogs(t *testing.T) {
	t.Parallel()
	id := NewID(t0)
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("", "id", id)
	if want := `"id":"` + id.String() + `"`; !strings.Contains(out.String(), want) {
		t.Errorf("logged %s, want %s in it", &out, want)
	}
}
