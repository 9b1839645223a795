// Package testsize decides how much work a test does. make check runs the standard amount. make test (go
// test -short) runs a part of it in a few minutes, and make long (COUNTERSIGN_TEST_LONG=n) n times as
// much.
package testsize

import (
	"hash/fnv"
	"os"
	"strconv"
	"testing"
)

const (
	long = "COUNTERSIGN_TEST_LONG"
	turn = "COUNTERSIGN_TEST_TURN"
)

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

// Quarter skips a test with -short, unless it is one of the quarter that COUNTERSIGN_TEST_TURN names by a number. CI sets it to
// the number of commits, so that four landings run all of them. why is the reason, as for [Full].
func Quarter(t testing.TB, why string) {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv(turn)); testing.Short() && (err != nil || !quarter(t.Name(), n)) {
		t.Skipf("NOT RUN: it %s; make check runs it, and CI one test in four", why)
	}
}

// quarter reports whether a test has its turn. Of four turns that follow each other, each test has one.
func quarter(test string, turn int) bool {
	h := fnv.New32a()
	h.Write([]byte(test))
	return (int(h.Sum32()%4)+turn)%4 == 0
}

// Alone skips a test in the short form with the race detector, which it would slow down for nothing: little of
// it happens at once. why is the reason, which completes a sentence that begins with "it".
func Alone(t testing.TB, why string) {
	t.Helper()
	if Race && testing.Short() {
		t.Skipf("NOT RUN: it %s, so that the race detector finds little; make test and make check run it", why)
	}
}
