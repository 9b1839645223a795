package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/system"
)

// An entrance answers requests as one handler does, until it leads to another.
type entrance struct{ to atomic.Pointer[http.Handler] }

func newEntrance(h http.Handler) *entrance {
	e := new(entrance)
	e.lead(h)
	return e
}

func (e *entrance) lead(to http.Handler) { e.to.Store(&to) }

func (e *entrance) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*e.to.Load()).ServeHTTP(w, r) }

// openAgain is how long a server waits before it looks again whether its database is there.
const openAgain = time.Second

// openPatiently opens a system, and waits for its database if that may come by itself.
// args are for the log.
func openPatiently(ctx context.Context, c system.Config, args ...any) (*system.System, error) {
	for {
		s, err := system.Open(ctx, c)
		if ctx.Err() != nil || !store.Passing(err) {
			return s, err
		}
		c.Outages.DatabaseFailed("start", err, args...)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(openAgain):
		}
	}
}
