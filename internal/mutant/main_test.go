package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A change of a line that a mutant quotes fails this test, and not only the next run of all mutants,
// which takes many minutes.
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

// A renamed test fails here too.
func TestEveryMutantsTestIsInItsPackage(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`\w+`)
	for _, m := range mutants {
		folder := filepath.Join("..", "..", m.test.pkg)
		files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		suites, err := filepath.Glob(filepath.Join(folder, "storetest", "*.go")) // of subtests
		if err != nil {
			t.Fatal(err)
		}
		var code strings.Builder
		for _, f := range append(files, suites...) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
		// A subtest's name has spaces in the code, and underscores in the pattern.
		tests, subtests, _ := strings.Cut(m.test.run, "/")
		for _, test := range name.FindAllString(tests, -1) {
			if !strings.Contains(code.String(), "func "+test+"(") {
				t.Errorf("%s: there is no test %s in %s", m.name, test, m.test.pkg)
			}
		}
		for _, test := range name.FindAllString(subtests, -1) {
			if !strings.Contains(code.String(), `"`+test+`"`) && !strings.Contains(code.String(), `"`+strings.ReplaceAll(test, "_", " ")+`"`) {
				t.Errorf("%s: there is no subtest %s in %s", m.name, test, m.test.pkg)
			}
		}
	}
}

func TestASampleIsDecidedByItsSeed(t *testing.T) {
	t.Parallel()
	names := func(seed string) (all []string) {
		for _, m := range sampled(mutants, 24, seed) {
			all = append(all, m.name)
		}
		return all
	}
	one, again, other := names("a"), names("a"), names("b")
	if len(one) != 24 || !slices.Equal(one, again) {
		t.Errorf("one seed chose %q, then %q", one, again)
	}
	if slices.Equal(one, other) {
		t.Errorf("two seeds chose the same: %q", one)
	}
	if got := sampled(mutants, len(mutants)+1, "a"); len(got) != len(mutants) {
		t.Errorf("got %d of %d", len(got), len(mutants))
	}
}
