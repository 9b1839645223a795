package testsize

import (
	"fmt"
	"testing"
)

func TestFourTurnsHaveEachTestOnce(t *testing.T) {
	t.Parallel()
	var had [4]int
	for i := range 1000 {
		times := 0
		for turn := range 4 {
			if quarter(fmt.Sprint("Test", i), 1156+turn) {
				had[turn]++
				times++
			}
		}
		if times != 1 {
			t.Errorf("test %d has %d turns of four, want 1", i, times)
		}
	}
	for turn, n := range had {
		if n < 200 || n > 300 {
			t.Errorf("turn %d has %d tests of 1000, want about a quarter", turn, n)
		}
	}
}
