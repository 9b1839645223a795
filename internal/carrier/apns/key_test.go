package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"
)

// Apple refuses tokens of more than an hour, and more than one in 20 minutes.
func TestATokenIsRenewedInTime(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := &Key{private: private}
	begin := time.Date(2026, 5, 4, 13, 0, 0, 0, time.UTC)
	at := func(after time.Duration, refused string) string {
		t.Helper()
		token, err := k.provide("ABC123DEFG", "ABCDE12345", begin.Add(after), refused)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	first := at(0, "")
	if at(49*time.Minute, "") != first {
		t.Error("a token of 49 minutes was replaced")
	}
	if at(19*time.Minute, first) != first {
		t.Error("a refused token of 19 minutes was replaced: Apple would refuse the key")
	}
	second := at(21*time.Minute, first)
	if second == first {
		t.Error("a refused token of 21 minutes wasn't replaced")
	}
	if third := at(72*time.Minute, ""); third == second {
		t.Error("a token of 51 minutes wasn't replaced")
	}
	if set := at(-time.Hour, ""); set == at(72*time.Minute, "") {
		t.Error("a token from the future wasn't replaced after the clock was set back")
	}
}
