package main

import "testing"

// A cell of a table can't move the cursor, and can't begin another line.
func TestATableShowsNoControlCharacters(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Jürgens shop": "Jürgens shop",
		"a\nb":         `"a\nb"`,
		"\x1b[2J":      `"\x1b[2J"`,
	} {
		if got := forPeople(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
