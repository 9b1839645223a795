// Package testsize decides how much a test does. A test counts for make check, which runs the whole;
// make test (go test -short) runs a part of it in a few minutes, and make long (COUNTERSIGN_TEST_LONG=n)
// a multiple.
package testsize

import (
	"os"
	"strconv"
	"testing"
)

const long = "COUNTERSIGN_TEST_LONG"

// Times returns how often to do what make check does n times: with -short a fifth of it, at least
// once, and n times COUNTERSIGN_TEST_LONG if that is set.
func Times(n int) int {
	if testing.Short() && !Long() {
		return max(1, n/5)
	}
	return Multiple(n)
}

// Multiple returns n times COUNTERSIGN_TEST_LONG if that is set. Unlike Times, it can be called before
// the command line is read.
func Multiple(n int) int {
	if f, err := strconv.Atoi(os.Getenv(long)); err == nil && f > 0 {
		return n * f
	}
	return n
}

// Long reports whether the run is one of make long.
func Long() bool { return Multiple(1) > 1 }

// Full skips a test with -short. why completes "it".
func Full(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("NOT RUN: it %s; make check runs it", why)
	}
}
