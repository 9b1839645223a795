// Package outage keeps the log short during an outage. It logs the first failure, then one failure a
// minute while failures continue, and one line when the thing works again.
package outage

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Every is how long repeated failures of one thing stay out of the log.
const Every = time.Minute

// settled is how long a thing must go without a failure before the log reports it as back. Otherwise a thing
// that works and fails alternately would be logged each time.
const settled = 3 * time.Second

// A Log is a logger that also reports outages. It is safe for concurrent use.
type Log struct {
	*slog.Logger
	now func() time.Time

	mu  sync.Mutex // guards all
	all map[string]*state
}

// A state describes the outage of one thing. A thing without a state works, as
// far as we know.
type state struct {
	since, last time.Time // of its failures
	said        time.Time // when a failure was last logged
	unsaid      int       // failures since said
}

// New returns a Log. now is its clock; nil means time.Now.
func New(log *slog.Logger, now func() time.Time) *Log {
	if now == nil {
		now = time.Now
	}
	return &Log{Logger: log, now: now, all: map[string]*state{}}
}

// Failed logs that a thing failed, unless a failure of it was logged less than a minute ago. From the second
// line on, each line has the time of the first failure and the number of failures that weren't logged. Use
// few names of things, because Failed keeps them.
func (l *Log) Failed(thing string, level slog.Level, msg string, args ...any) {
	l.FailedContext(context.Background(), thing, level, msg, args...)
}

// FailedContext does so for a request, whose context gives the line its id.
func (l *Log) FailedContext(ctx context.Context, thing string, level slog.Level, msg string, args ...any) {
	since, unsaid, say := l.failed(thing)
	if !say {
		return
	}
	if unsaid > 0 {
		args = append(args, "since", since, "more", unsaid)
	}
	l.Logger.Log(ctx, level, msg, args...)
}

func (l *Log) failed(thing string) (since time.Time, unsaid int, say bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	s := l.all[thing]
	if s == nil || now.Sub(s.last) >= Every { // the last failure is too long ago to belong to this outage
		s = &state{since: now}
		l.all[thing] = s
	}
	s.last = now
	if !s.said.IsZero() && now.Sub(s.said) < Every {
		s.unsaid++
		return s.since, s.unsaid, false
	}
	unsaid = s.unsaid
	s.said, s.unsaid = now, 0
	return s.since, unsaid, true
}

// Works logs once that a thing is back, if it failed before and hasn't failed for a few seconds. Call it
// often.
func (l *Log) Works(thing, msg string, args ...any) {
	l.mu.Lock()
	s := l.all[thing]
	back := s != nil && l.now().Sub(s.last) >= settled
	if back {
		delete(l.all, thing)
	}
	l.mu.Unlock()
	if back {
		l.Info(msg, append(args, "away_since", s.since)...)
	}
}

// database is the thing that most others need. Outages of it share one name, so that the log reports
// each once, whatever needed the database.
const database = "database"

// DatabaseFailed logs that the database is away, and the operation that failed
// because of it.
func (l *Log) DatabaseFailed(what string, err error, args ...any) {
	l.DatabaseFailedContext(context.Background(), what, err, args...)
}

// DatabaseFailedContext does so for a request, whose context gives the line its id.
func (l *Log) DatabaseFailedContext(ctx context.Context, what string, err error, args ...any) {
	l.FailedContext(ctx, database, slog.LevelError, "the database is away", append([]any{"failed", what, "err", err}, args...)...)
}

// DatabaseWorks logs that the database is back, if it was away. See [Log.Works].
func (l *Log) DatabaseWorks() { l.Works(database, "the database is back") }
