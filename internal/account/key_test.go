package account

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/verify"
)

func TestKeysAreLongAndStoredAsAHash(t *testing.T) {
	t.Parallel()
	a, b := NewSecret(), NewSecret()
	if a == b {
		t.Error("a key was made twice")
	}
	for _, k := range []verify.Secret{a, b} {
		// 32 bytes in base64, and the prefix that secret scanners look for.
		if s := k.Reveal(); len(s) != len("cs_")+43 || !strings.HasPrefix(s, "cs_") || strings.ContainsAny(s, ":+/= ") {
			t.Errorf("a key has %d characters of the wrong form", len(s))
		}
	}
	if HashKey(a) == HashKey(b) || HashKey(a) != HashKey(verify.Secret(a.Reveal())) {
		t.Error("hashes don't tell keys apart")
	}
	// SHA-256 of "abc", FIPS 180-2 appendix B.1: other tools can make a row.
	if diff := cmp.Diff("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", fmt.Sprintf("%x", HashKey("abc"))); diff != "" {
		t.Errorf("hash of abc (-want +got)\n%s", diff)
	}
}
