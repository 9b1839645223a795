package dispatch

import (
	"log/slog"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// flights are the verifications whose messages are here: they are being committed, wait, or are with a
// carrier. The poller claims none of them as lost, whatever the clock says of their lease.
type flights struct {
	mu  sync.Mutex // guards ids
	ids map[verify.ID]int
}

func (f *flights) begin(id verify.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ids == nil {
		f.ids = map[verify.ID]int{}
	}
	f.ids[id]++ // one that was moved to another carrier is here twice for a moment
}

func (f *flights) end(id verify.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ids[id]--; f.ids[id] == 0 {
		delete(f.ids, id)
	}
}

func (f *flights) has(id verify.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ids[id] > 0
}

// interruptQueues records all messages that wait as unsent, concurrently: they share commits.
func (d *Dispatcher) interruptQueues() {
	var all sync.WaitGroup
	for _, l := range d.lines {
		for _, j := range l.queue.ending(lastLease) {
			if l.queue.take(j) {
				all.Go(func() { d.interrupt(l, j) })
			}
		}
	}
	all.Wait()
}

// lastLease is later than any lease ends.
var lastLease = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// interrupt ends an attempt whose message hasn't left us, as we shut down: it is due immediately, and
// doesn't count as one that may have been sent.
func (d *Dispatcher) interrupt(l *line, j *job) {
	now, what := d.config.Now(), slog.Any("", about{j.verification, l})
	l.spare(j.passenger())
	d.config.Log.Info("not sent before the shutdown, left for later", what, "reason", verify.ReasonInterrupted)
	end := j.settlement(l, now)
	end.Outcome, end.Reason, end.Retry = verify.AttemptErrored, verify.ReasonInterrupted, true
	d.observe(&end.Delivery, j.country)
	d.settle(what, end, j)
	d.traces.end(j, verify.AttemptErrored, verify.ReasonInterrupted, d.config.Now())
}
