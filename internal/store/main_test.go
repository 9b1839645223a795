package store_test

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/testsize"
)

// TestMain makes fewer random histories than rapid's default, for each opens a database; so a run
// stays short. COUNTERSIGN_TEST_LONG multiplies them, -short takes a fifth, -rapid.checks decides.
func TestMain(m *testing.M) {
	flag.Set("rapid.checks", strconv.Itoa(testsize.Multiple(30))) // before the command line is read
	code := m.Run()
	pgtest.Close()
	os.Exit(code)
}
