package carrier

import (
	"testing"

	"github.com/countersign/countersign/internal/verify"
)

func TestATokenIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	id := verify.ID{0x01, 0x9a, 0x5c, 0x1d, 0xb5, 0x4f, 0x7e, 0xb3, 0x91, 0x9b, 0x25, 0x85, 0xf8, 0x21, 0x79, 0x34}
	token := Token(id, 12)
	if token != "019a5c1d-b54f-7eb3-919b-2585f8217934.12" {
		t.Errorf("got %s", token)
	}
	if v, n, ok := ParseToken(token); v != id || n != 12 || !ok {
		t.Errorf("got %v, %d, %v", v, n, ok)
	}
	for _, s := range []string{"", ".", "1", token + "x", token + "0000000000", "019a5c1d-b54f-7eb3-919b-2585f8217934.0", "019a5c1d-b54f-7eb3-919b-2585f8217934.-1", "x.1"} {
		if _, _, ok := ParseToken(s); ok {
			t.Errorf("%q was read", s)
		}
	}
}

// Some providers repeat letters and digits only, and at most 32 of them.
func TestAShortTokenIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	id := verify.ID{0x01, 0x9a, 0x5c, 0x1d, 0xb5, 0x4f, 0x7e, 0xb3, 0x91, 0x9b, 0x25, 0x85, 0xf8, 0x21, 0x79, 0x34}
	for attempt, want := range map[int]string{1: "agnfyhnvj57lhem3ewc7qilzgq1", 12: "agnfyhnvj57lhem3ewc7qilzgq12", 999999: "agnfyhnvj57lhem3ewc7qilzgq999999"} {
		token := ShortToken(id, attempt)
		if token != want || len(token) > 32 {
			t.Errorf("got %s, want %s", token, want)
		}
		if v, n, ok := ParseToken(token); v != id || n != attempt || !ok {
			t.Errorf("%s: got %v, %d, %v", token, v, n, ok)
		}
	}
	const name = "agnfyhnvj57lhem3ewc7qilzgq"
	for what, s := range map[string]string{
		"no attempt": name, "attempt 0": name + "0", "a zero before it": name + "01", "a sign": name + "+1", "no number": name + "x", "too long": name + "1000000",
		"upper case": "AGNFYHNVJ57LHEOZEWC7QILZGQ1", "bits that are no id's": "agnfyhnvj57lhem3ewc7qilzgr1", "a character that isn't one of them": "agnfyhnvj57lhem3ewc7qilzg-1",
	} {
		if v, n, ok := ParseToken(s); ok {
			t.Errorf("%s: got %v, %d", what, v, n)
		}
	}
}
