package store

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/internal/verify"
)

// Hundreds of messages of one project are claimed together. One of them reads the project's limits for all.
func TestClaimsOfAProjectReadItsLimitsOnce(t *testing.T) {
	t.Parallel()
	const claims = 100
	var reads, asked atomic.Int32
	answer := make(chan struct{})
	c := newLimitCache(func(context.Context, verify.ProjectID) (knownLimits, error) {
		reads.Add(1)
		<-answer
		return knownLimits{limits: verify.Limits{Burst: 7}, bound: true}, nil
	})
	var all sync.WaitGroup
	for range claims {
		all.Go(func() {
			if asked.Add(1) == claims { // the others wait, or are about to
				close(answer)
			}
			if l, bound, err := c.of(context.Background(), "p"); err != nil || l.Burst != 7 || !bound {
				t.Errorf("got %+v, %v", l, err)
			}
		})
	}
	all.Wait()
	if n := reads.Load(); n > claims/10 { // one that comes much later reads again
		t.Errorf("%d reads for %d claims, want one", n, claims)
	}
}
