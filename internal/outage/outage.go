// Package outage keeps the log short while something is away: the first failure is logged, then one a
// minute for as long as there are more, and once that it is back.
package outage

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Every is how long a thing that fails again and again isn't mentioned again.
const Every = time.Minute

// settled is how long a thing must not have failed before the log says that it is back. What works and fails
// in turns would otherwise be logged each time.
const settled = 3 * time.Second

// A Log is a log, with more for what fails again and again. It is safe for concurrent use.
type Log struct {
	*slog.Logger
	now func() time.Time

	mu  sync.Mutex // guards all
	all map[string]*state
}

// A state is how one thing does. Without one, it works as far as is known.
type state struct {
	since, last time.Time // of its failures
	said        time.Time // when the log got one of them
	unsaid      int       // failures since then
}

// New makes a log; now is its clock, and nil is time.Now.
func New(log *slog.Logger, now func() time.Time) *Log {
	if now == nil {
		now = time.Now
	}
	return &Log{Logger: log, now: now, all: map[string]*state{}}
}

// Failed logs that a thing failed, unless that was logged less than a minute ago. From the second line on,
// each says since when it fails and how many failures weren't logged. There must be few things: each is kept.
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
	if s == nil || now.Sub(s.last) >= Every { // of a failure that long ago this one is no continuation
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

// Works logs that a thing is back, once, if it failed before and hasn't for a few seconds. Call it often.
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

// database is the thing that most others need. Whatever needed it, the log says once that it is away.
const database = "database"

// DatabaseFailed logs that the database is away, and what has failed for that.
func (l *Log) DatabaseFailed(what string, err error, args ...any) {
	l.DatabaseFailedContext(context.Background(), what, err, args...)
}

// DatabaseFailedContext does so for a request, whose context gives the line its id.
func (l *Log) DatabaseFailedContext(ctx context.Context, what string, err error, args ...any) {
	l.FailedContext(ctx, database, slog.LevelError, "the database is away", append([]any{"failed", what, "err", err}, args...)...)
}

// DatabaseWorks logs that the database is back, if it was away: see [Log.Works].
func (l *Log) DatabaseWorks() { l.Works(database, "the database is back") }
