package console

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// recentFor is how long the answer to a question about usage is shown again. Many people who look at the same pages cost the
// server little more than one does. Of a day, half a minute is little, and its answer costs more.
func recentFor(q verify.UsageQuery) time.Duration {
	if q.Until.Sub(q.From) >= 24*time.Hour {
		return 30 * time.Second
	}
	return 10 * time.Second
}

// maxRecent bounds how many answers are kept.
const maxRecent = 200

// recents are the latest answers about usage, by question. A question is asked once, however many people wait for its answer.
type recents struct {
	mu  sync.Mutex // guards all
	all map[string]*recent
}

type recent struct {
	asked time.Time
	lasts time.Duration
	done  chan struct{} // closed when rows and err are there
	rows  []verify.UsageRow
	err   error
}

// old reports whether an answer isn't shown any more. The clock may have been set back.
func (r *recent) old(now time.Time) bool { return now.Sub(r.asked).Abs() >= r.lasts }

var errAsking = errors.New("no answer yet")

// usage answers a question, by ask if nobody has asked it of late. A failure isn't kept.
func (r *recents) usage(ctx context.Context, now time.Time, q verify.UsageQuery, ask func(context.Context, verify.UsageQuery) ([]verify.UsageRow, error)) ([]verify.UsageRow, error) {
	key := fmt.Sprintf("%q %q %d %d %s %q %q", q.Project, q.Among, q.From.UnixMilli(), verify.UsageHour(q.Until), q.Step, q.By, q.Only)
	r.mu.Lock()
	found := r.all[key]
	if found == nil || found.old(now) {
		found = &recent{asked: now, lasts: recentFor(q), done: make(chan struct{})}
		r.keep(key, found, now)
		r.mu.Unlock()
		found.err = errAsking // until there is an answer
		defer func() {
			if found.err != nil {
				r.forget(key, found)
			}
			close(found.done)
		}()
		found.rows, found.err = ask(ctx, q)
		return slices.Clone(found.rows), found.err
	}
	r.mu.Unlock()
	select {
	case <-found.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if found.err != nil { // whoever asked may have left: that says nothing about the answer
		return ask(ctx, q)
	}
	return slices.Clone(found.rows), nil
}

// keep keeps an answer in place of those that are old; if there are too many, of all.
func (r *recents) keep(key string, one *recent, now time.Time) {
	for k, kept := range r.all {
		if kept.old(now) {
			delete(r.all, k)
		}
	}
	if r.all == nil || len(r.all) >= maxRecent {
		r.all = map[string]*recent{}
	}
	r.all[key] = one
}

func (r *recents) forget(key string, one *recent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[key] == one {
		delete(r.all, key)
	}
}
