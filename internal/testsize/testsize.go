// Package testsize decides how much work a test does. make check runs the standard amount. make test (go
// test -short) runs a part of it in a few minutes, and make long (COUNTERSIGN_TEST_LONG=n) n times as
// much.
package testsize

import (
	"os"
	"strconv"
	"testing"
)

const long = "COUNTERSIGN_TEST_LONG"

// Times returns how often to repeat something that make check repeats n times. With -short that
// is a fifth of n, at least once; with COUNTERSIGN_TEST_LONG it is that multiple of n.
func Times(n int) int {
	if testing.Short() && !Long() {
		return max(1, n/5)
	}
	return Multiple(n)
}

// Multiple returns n times COUNTERSIGN_TEST_LONG, or n if that isn't set. Unlike Times, it can be
// called before the command line is parsed.
func Multiple(n int) int {
	if f, err := strconv.Atoi(os.Getenv(long)); err == nil && f > 0 {
		return n * f
	}
	return n
}

// Long reports whether make long runs the tests.
func Long() bool { return Multiple(1) > 1 }

// Full skips a test with -short. why is the reason, which completes a sentence
// that begins with "it".
func Full(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("NOT RUN: it %s; make check runs it", why)
	}
}

// Alone skips a test in the short form with the race detector, which it would slow down for nothing: little of
// it happens at once. why is the reason, which completes a sentence that begins with "it".
func Alone(t testing.TB, why string) {
	t.Helper()
	if Race && testing.Short() {
		t.Skipf("NOT RUN: it %s, so that the race detector finds little; make test and make check run it", why)
	}
}
