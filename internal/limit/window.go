package limit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Window allows at most Max events in any Period, wherever that Period
// begins. Unlike a [GCRA], it never allows two bursts at the border of two
// periods. It remembers each event, so it is for small, hard bounds such as
// "five texts a day".
//
// An event exactly Period ago no longer counts. A Max or a Period of zero means no limit. Max is at most
// [MaxLog], because longer logs can't be stored.
//
// If Free is set, only that many events may follow each other closely. Each later one must keep a
// distance from the one before, so that the last of them comes when the first no longer counts. A client
// that spends its events as fast as it can therefore can't block others for the rest of the Period.
type Window struct {
	Max    int
	Period time.Duration
	Free   int // below Max; 0 means all of them
}

// A Log holds the times of a [Window]'s events, oldest first.
type Log []time.Time

// Take asks for one event at now. If wait is zero, the event is allowed, and
// the caller must store next, which includes it, before the event happens.
// Otherwise the next event is allowed after exactly wait. In both cases next
// leaves out the events that no longer count. Take doesn't change log itself.
//
// Take never logs an event before an earlier one: if the clock stepped back, it
// logs the event at the time of the last one.
func (w Window) Take(log Log, now time.Time) (next Log, wait time.Duration) {
	if w.none() {
		return nil, 0
	}
	live := slices.Clip(w.live(log, now)) // clipped, so that append copies
	if len(live) >= w.Max {
		// Count from the end: after Max was lowered, several events must
		// expire.
		wait = live[len(live)-w.Max].Add(w.Period).Sub(now)
	}
	if wait = max(wait, w.distance(live, now)); wait > 0 {
		return live, wait
	}
	if n := len(live); n > 0 && now.Before(live[n-1]) {
		now = live[n-1]
	}
	return append(live, now), 0
}

// distance returns how long the next event must wait: for its distance from the one before it, or
// until fewer than Free events count.
func (w Window) distance(live Log, now time.Time) time.Duration {
	n := len(live)
	if w.Free <= 0 || n < w.Free {
		return 0
	}
	apart := (w.Period / time.Duration(w.Max-w.Free+1)).Truncate(time.Millisecond)
	return max(0, min(live[n-1].Add(apart).Sub(now), live[n-w.Free].Add(w.Period).Sub(now)))
}

// Idle reports whether the caller may forget log, because none of its events
// counts any more.
func (w Window) Idle(log Log, now time.Time) bool {
	return w.none() || len(w.live(log, now)) == 0
}

// Count is how many events of log still count.
func (w Window) Count(log Log, now time.Time) int { return len(w.live(log, now)) }

func (w Window) none() bool { return w.Max <= 0 || w.Period <= 0 }

// live returns the events of log that still count at now.
func (w Window) live(log Log, now time.Time) Log {
	for len(log) > 0 && now.Sub(log[0]) >= w.Period {
		log = log[1:]
	}
	return log
}

// MaxLog is how many events a stored log can hold.
const MaxLog = 10_000

// maxMilli is the last millisecond of the year 9999. Any later time is a
// corrupt log.
const maxMilli = 253_402_300_799_999

var (
	errTooLong = fmt.Errorf("more than %d events", MaxLog)
	errOrder   = errors.New("events are out of order")
	errRange   = errors.New("a time is not between 1970 and 9999")
	errGarbage = errors.New("not a log")
)

// AppendBinary appends the log's stored form to b: the first time in
// milliseconds since 1970, then the distance of each event from the one before,
// all as unsigned varints. An empty log takes no bytes. Fractions of a
// millisecond are lost.
func (l Log) AppendBinary(b []byte) ([]byte, error) {
	if len(l) > MaxLog {
		return nil, fmt.Errorf("store log: %w", errTooLong)
	}
	var last int64
	for _, t := range l {
		at := t.UnixMilli()
		if at < 0 || at > maxMilli {
			return nil, fmt.Errorf("store log: %w", errRange)
		}
		if at < last {
			return nil, fmt.Errorf("store log: %w", errOrder)
		}
		b = binary.AppendUvarint(b, uint64(at-last))
		last = at
	}
	return b, nil
}

// ParseLog reads the output of [Log.AppendBinary]. It returns an error for
// every other input, so that a damaged log never allows more events.
func ParseLog(b []byte) (Log, error) {
	var l Log
	var last uint64
	for len(b) > 0 {
		d, n := binary.Uvarint(b)
		if n <= 0 || n > 1 && b[n-1] == 0 { // cut off, too big, or padded
			return nil, fmt.Errorf("read log: %w", errGarbage)
		}
		if d > maxMilli-last {
			return nil, fmt.Errorf("read log: %w", errRange)
		}
		if len(l) == MaxLog {
			return nil, fmt.Errorf("read log: %w", errTooLong)
		}
		last += d
		l = append(l, time.UnixMilli(int64(last)).UTC())
		b = b[n:]
	}
	return l, nil
}
