package verify

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Each reason has a word of its own, says whose failure it is, and is explained to operators.
func TestEachReasonHasAWordABlameAndARowInTheDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/carriers.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (us|the carrier|the message) \\| .+ \\|$").FindAllStringSubmatch(string(page), -1) {
		if rows[m[1]] != "" {
			t.Errorf("docs/carriers.md has two rows for %s", m[1])
		}
		rows[m[1]] = m[2]
	}
	seen := map[string]bool{"": true}
	for _, r := range Reasons() {
		word := r.String()
		if seen[word] {
			t.Errorf("reason %d has no word, or another's: %q", r, word)
		}
		seen[word] = true
		if rows[word] != r.Blame().String() {
			t.Errorf("%s: docs/carriers.md blames %q, the list %v", word, rows[word], r.Blame())
		}
		if got := ReadReason(word, true); got != r {
			t.Errorf("%s is read as %v", word, got)
		}
		delete(rows, word)
		text, err := json.Marshal(r)
		var back Reason
		if err != nil || string(text) != `"`+word+`"` || json.Unmarshal(text, &back) != nil || back != r {
			t.Errorf("%s in JSON: %s, %v, and back %v", word, text, err, back)
		}
	}
	for word := range rows {
		t.Errorf("docs/carriers.md has a row for %s, which is no reason", word)
	}
	if len(seen) < 40 {
		t.Errorf("saw %d reasons", len(seen))
	}
}

// Only what happened to a phone that rang, or was busy, keeps the next call from it.
func TestReasonsSayWhetherThePhoneRang(t *testing.T) {
	t.Parallel()
	var rang, final, noTurn []string
	for _, r := range Reasons() {
		if r.rang() {
			rang = append(rang, r.String())
			if r.Blame() != BlameMessage {
				t.Errorf("%v: the phone rang, and it is the failure of %v", r, r.Blame())
			}
		}
		if r.final() {
			final = append(final, r.String())
		}
		if !r.Turn() {
			noTurn = append(noTurn, r.String())
		}
	}
	for _, list := range []struct {
		got  []string
		want string
	}{{rang, "busy no_answer declined hung_up no_key rejected"}, {final, "declined hung_up no_key rejected"}, {noTurn, "interrupted"}} {
		if got := strings.Join(list.got, " "); got != list.want {
			t.Errorf("got %s, want %s", got, list.want)
		}
	}
}

func TestWordsOfOlderServersMeanWhatTheyMeant(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		word  string
		asked bool
		want  Reason
	}{
		{"", false, NoReason},
		{"no_key", true, ReasonNoKey},
		{"no_key", false, ReasonKeyMissing},
		{"no_number", false, ReasonInvalidNumber},
		{"undelivered", false, ReasonUnreachable},
		{"of a later version", false, ReasonUnknown},
	} {
		if got := ReadReason(tt.word, tt.asked); got != tt.want {
			t.Errorf("%q, asked %t: got %v, want %v", tt.word, tt.asked, got, tt.want)
		}
	}
}

// A message that isn't sent because its verification ended says how.
func TestEachEndOfAVerificationIsAReason(t *testing.T) {
	t.Parallel()
	for s := StatusApproved; s <= StatusSuperseded; s++ {
		if s.Reason().String() != s.String() {
			t.Errorf("%v: got the reason %v", s, s.Reason())
		}
	}
}
