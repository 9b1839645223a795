package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/share"
	"github.com/countersign/countersign/internal/verify"
)

// keepers is how many leases of messages that wait are looked after together.
const keepers = 32

// A queue holds the messages that wait for one of a carrier's workers, which serve projects in turn. It has
// as many places as the line.
type queue struct {
	ready chan struct{} // one token for each job

	mu      sync.Mutex // guards jobs and waiting, and until of the jobs in it
	jobs    share.Queue[*job]
	waiting map[*job]bool
}

func newQueue(places int) *queue {
	return &queue{ready: make(chan struct{}, places), waiting: map[*job]bool{}}
}

// add has room: whoever adds a job holds a place.
func (q *queue) add(j *job) {
	q.mu.Lock()
	q.waiting[j] = true
	q.jobs.Add(string(j.verification.Project), j)
	q.mu.Unlock()
	q.ready <- struct{}{}
}

// next takes the next job for the one who has its token. It isn't ours if somebody else goes on with it.
func (q *queue) next() (j *job, ours bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j, _ = q.jobs.Next() // there is one for each token
	ours = q.waiting[j]
	delete(q.waiting, j)
	return j, ours
}

// take takes a job for the one who goes on with it. It reports false if that is somebody else.
func (q *queue) take(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	ours := q.waiting[j]
	delete(q.waiting, j)
	return ours
}

// ending are the jobs whose lease ends before an instant.
func (q *queue) ending(before time.Time) (all []*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for j := range q.waiting {
		if j.until.Before(before) {
			all = append(all, j)
		}
	}
	return all
}

// renewed notes that a job's lease lasts longer, if it still waits.
func (q *queue) renewed(j *job, until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting[j] {
		j.until = until
	}
}

// keep looks after the messages that have waited for so long that half of their lease is over. Without it,
// a slow carrier's messages would be taken for those of a replica that died over them: each time as one
// that may have been sent, until none is left that may be.
func (d *Dispatcher) keep() {
	var all sync.WaitGroup
	free := make(chan struct{}, keepers)
	for _, l := range d.lines {
		for _, j := range l.queue.ending(d.config.Now().Add(d.config.Lease / 2)) {
			free <- struct{}{}
			all.Go(func() {
				d.moveOrRenew(l, j)
				<-free
			})
		}
	}
	all.Wait()
}

// moveOrRenew gives a message that waits to another carrier of its channel that has a place and wasn't
// called for it; without one it waits on.
func (d *Dispatcher) moveOrRenew(l *line, j *job) {
	v, now := j.verification, d.config.Now()
	others := slices.DeleteFunc(d.untried(v, j.history), func(w way) bool {
		return w.line == l || w.channel != j.message.Channel || w.places.Taken() == w.places.Size()
	})
	if passable(others, j.passenger(), now) != nil {
		if l.queue.take(j) {
			d.move(l, j, now)
		}
		return
	}
	renewed, err := d.config.Store.Renew(context.Background(), v.ID, v.Attempt, d.config.Lease)
	var gone *verify.Error
	switch {
	case err == nil:
		l.queue.renewed(j, renewed.DueAt)
	case errors.Is(err, verify.ErrLeaseLost), errors.As(err, &gone) && gone.Kind != verify.KindUnavailable:
		l.queue.renewed(j, now.Add(d.config.Lease)) // whoever takes it will see what has become of it
	default:
		d.complain(slog.LevelWarn, "lease of a message that waits not renewed, will try again", err, slog.Any("", about{v, l}))
	}
}

// move ends an attempt that has only waited, so that the next one is another carrier's.
func (d *Dispatcher) move(l *line, j *job, now time.Time) {
	l.spare(j.passenger())
	end := j.settlement(l, now)
	end.Outcome, end.Reason = verify.AttemptErrored, verify.ReasonThrottled
	d.retry(&end, l, j, 0)
	d.end(slog.Any("", about{j.verification, l}), end, j)
}
