package store_test

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/countersign/countersign/internal/pgtest"
)

// TestMain makes fewer random histories than rapid's default, for each opens a database; so a run
// stays short. COUNTERSIGN_TEST_LONG multiplies them, -rapid.checks decides.
func TestMain(m *testing.M) {
	checks := 30
	if f, err := strconv.Atoi(os.Getenv("COUNTERSIGN_TEST_LONG")); err == nil && f > 0 {
		checks *= f
	}
	flag.Set("rapid.checks", strconv.Itoa(checks)) // before the command line is read
	code := m.Run()
	pgtest.Close()
	os.Exit(code)
}
