package smpp

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/carrier"
)

// The page for operators shows the table in the code.
func TestThePageShowsTheTableOfStatuses(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../../docs/smpp.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, s := range slices.Sorted(maps.Keys(meanings)) {
		m := meanings[s]
		fmt.Fprintf(&want, "| `0x%02X` | `%s` | %s | `%s` | %s |\n", uint32(s), m.name, [...]string{"another try", "another try", "slower", "refused"}[m.decision], m.reason,
			[...]string{"nobody", "the SMSC", "the message"}[carrier.Decision(s.decide(nil, 0)).Whose()])
	}
	if !strings.Contains(string(b), want.String()) {
		t.Errorf("docs/smpp.md doesn't have the table\n%s", want.String())
	}
}
