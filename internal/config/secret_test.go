package config

import "testing"

// kubectl and others fill variables from files, with their last line break.
func TestAVariablesLastLineBreakIsNoPartOfASecret(t *testing.T) { // not parallel: it sets the environment
	for value, want := range map[string]string{"secret\n": "secret", "secret\r\n": "secret", " secret ": " secret ", "\n": "", "": ""} {
		t.Setenv("TEST_SECRET", value)
		got, err := variable("TEST_SECRET")
		if got.Reveal() != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", value, got.Reveal(), err, want)
		}
	}
}
