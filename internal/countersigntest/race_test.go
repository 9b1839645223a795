package countersigntest_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// tally counts answers from many goroutines.
type tally struct{ right, wrong, gone, wait, other atomic.Int64 }

func (c *tally) add(a countersigntest.Answer) {
	switch a {
	case "right":
		c.right.Add(1)
	case "wrong":
		c.wrong.Add(1)
	case "gone":
		c.gone.Add(1)
	case "wait":
		c.wait.Add(1)
	default:
		c.other.Add(1)
	}
}

func (c *tally) String() string {
	return fmt.Sprintf("%d right, %d wrong, %d gone, %d wait, %d other", c.right.Load(), c.wrong.Load(), c.gone.Load(), c.wait.Load(), c.other.Load())
}

// at runs f n times at once, and waits.
func at(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// number is the i-th of many numbers.
func number(i int) string { return fmt.Sprintf("+1202%07d", 2000000+i) }

const parallel = 50 // guesses at one verification at once

func TestParallelWrongGuessesAreEachCharged(t *testing.T) {
	t.Parallel()
	k := countersigntest.New(t, countersigntest.Options{})
	var evaluated atomic.Int64
	at(8, func(worker int) {
		for i := range testsize.Times(200) / 8 {
			attempts := 1 + (i+worker)%20
			to := number(worker*100_000 + i)
			id := k.Start(to, fmt.Sprintf(`"max_attempts":%d`, attempts))
			wrong := countersigntest.Wrong(k.Code(to, id))
			var c tally
			at(parallel, func(int) { c.add(k.Check(id, wrong)) })
			if got := c.wrong.Load(); got != int64(attempts) || c.gone.Load() != int64(parallel-attempts) {
				t.Errorf("%d attempts: %v; want %d wrong and the rest gone", attempts, &c, attempts)
			}
			if v := k.Verification(id); v.Guesses != attempts || v.Status != verify.Exhausted || v.SealedCode != nil {
				t.Errorf("stored: %d guesses, %v, sealed copy %v; want %d, exhausted, none", v.Guesses, v.Status, v.SealedCode != nil, attempts)
			}
			evaluated.Add(c.wrong.Load())
		}
	})
	t.Logf("%d verifications, %d guesses each, %d evaluated", testsize.Times(200), parallel, evaluated.Load())
}

func TestParallelRightCodesApproveOnce(t *testing.T) {
	t.Parallel()
	k := countersigntest.New(t, countersigntest.Options{})
	at(8, func(worker int) {
		for i := range testsize.Times(200) / 8 {
			to := number(worker*100_000 + i)
			id := k.Start(to, `"max_attempts":20`)
			code := k.Code(to, id)
			var c tally
			at(parallel, func(int) { c.add(k.Check(id, code)) })
			if c.right.Load() != 1 || c.gone.Load() != parallel-1 {
				t.Errorf("%v; want 1 right and the rest gone", &c)
			}
			if got := k.Check(id, code); got != "gone" {
				t.Errorf("used code: %s", got)
			}
		}
	})
}

// Many clients share one number's failures, whatever verifications they ask for.
func TestGuessesAtOneNumberAreCappedOverAllVerifications(t *testing.T) {
	t.Parallel()
	for profile, free := range map[verify.Profile]int64{verify.Compat: 20, verify.Standard: 5} {
		k := countersigntest.New(t, countersigntest.Options{Profile: profile})
		var c tally
		at(40, func(int) {
			for range 3 {
				id := k.Start("+12025550100", "")
				c.add(k.Check(id, countersigntest.Wrong(k.Code("+12025550100", id))))
			}
		})
		if c.wrong.Load() != free || c.wait.Load() != 120-free {
			t.Errorf("%s: %v; want %d wrong and the rest to wait", profile, &c, free)
		}
	}
}
