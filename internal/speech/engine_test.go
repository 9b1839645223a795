package speech

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Clients that wait for the engine take turns, however many texts one of them has. A client that gives
// up leaves its turn to the next.
func TestTheEngineServesThoseThatWaitInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var turns turns
		for range maxEngines {
			if err := turns.wait(For(t.Context(), "flood")); err != nil {
				t.Fatal(err)
			}
		}
		got := make(chan string, 100)
		wait := func(who string, limit time.Duration) {
			ctx, cancel := context.WithTimeout(For(t.Context(), who), limit)
			go func() {
				defer cancel()
				if turns.wait(ctx) == nil {
					got <- who
				} else {
					got <- who + " gave up"
				}
			}()
			synctest.Wait()
		}
		for range 10 {
			wait("flood", time.Minute)
		}
		wait("impatient", time.Second)
		wait("quiet", time.Minute)
		time.Sleep(2 * time.Second)
		for i, want := range []string{"impatient gave up", "flood", "quiet", "flood"} {
			if i > 0 {
				turns.end()
			}
			if who := <-got; who != want {
				t.Errorf("turn %d: got %s, want %s", i, who, want)
			}
		}
		for range 8 + maxEngines {
			turns.end()
			synctest.Wait()
		}
		if turns.running != 0 {
			t.Errorf("%d turns are taken and nobody's", turns.running)
		}
	})
}
