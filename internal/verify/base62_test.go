package verify

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestBase62NamesAnIDInTwentyTwoCharacters(t *testing.T) {
	t.Parallel()
	var most ID
	for i := range most {
		most[i] = 0xff
	}
	for want, id := range map[string]ID{
		strings.Repeat("0", 22):        {},
		strings.Repeat("0", 21) + "1":  {15: 1},
		strings.Repeat("0", 21) + "z":  {15: 61},
		strings.Repeat("0", 20) + "10": {15: 62},
		"7n42DGM5Tflk9n8mt7Fhc7":       most,
	} {
		if got := id.Base62(); got != want {
			t.Errorf("%v: got %s, want %s", id, got, want)
		}
		if got, ok := ParseBase62(want); !ok || got != id {
			t.Errorf("%s: got %v, %t; want %v", want, got, ok, id)
		}
	}
	for _, bad := range []string{
		"", "0", strings.Repeat("0", 21), strings.Repeat("0", 23), "7n42DGM5Tflk9n8mt7Fhc8", strings.Repeat("z", 22),
		strings.Repeat("0", 21) + "-", strings.Repeat("0", 21) + " ", strings.Repeat("0", 20) + "é", "+" + strings.Repeat("0", 21),
	} {
		if got, ok := ParseBase62(bad); ok {
			t.Errorf("%q: got %v, want none", bad, got)
		}
	}
}

func TestBase62IsReadBackAndSorts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) ID { return ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name)) }
		a, b := draw("a"), draw("b")
		if got, ok := ParseBase62(a.Base62()); !ok || got != a {
			t.Fatalf("got %v, %t; want %v", got, ok, a)
		}
		if strings.Compare(a.Base62(), b.Base62()) != bytes.Compare(a[:], b[:]) {
			t.Fatalf("%s and %s don't sort as %v and %v", a.Base62(), b.Base62(), a, b)
		}
	})
}
