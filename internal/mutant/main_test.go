package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever changes a line that a mutant is about hears of it here, and not from the next run of all
// mutants, which takes many minutes.
func TestEveryMutantsTextIsInItsFileOnce(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		for _, e := range m.edits {
			text, err := os.ReadFile(filepath.Join("..", "..", e.file))
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
			} else if n := strings.Count(string(text), e.old); n != 1 {
				t.Errorf("%s: its text is %d times in %s:\n%s", m.name, n, e.file, e.old)
			}
		}
	}
}
