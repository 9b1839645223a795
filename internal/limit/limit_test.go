package limit

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const ms = time.Millisecond

var t0 = time.UnixMilli(1_700_000_000_000).UTC()

func TestGCRA(t *testing.T) {
	t.Parallel()
	type take struct {
		at   time.Duration // since t0
		wait time.Duration
	}
	for _, tt := range []struct {
		name  string
		gcra  GCRA
		takes []take
	}{
		{"one per second", GCRA{1, time.Second}, []take{
			{0, 0}, {0, time.Second}, {999 * ms, ms}, {1000 * ms, 0}, {1999 * ms, ms}, {2000 * ms, 0},
		}},
		{"a burst of three, then one per second", GCRA{3, time.Second}, []take{
			{0, 0}, {0, 0}, {0, 0}, {0, time.Second}, {999 * ms, ms}, {1000 * ms, 0}, {1000 * ms, time.Second},
		}},
		{"a full burst is back when it was spent that long ago", GCRA{2, time.Second}, []take{
			{0, 0}, {0, 0}, {1999 * ms, 0}, {1999 * ms, ms}, {10 * time.Second, 0}, {10 * time.Second, 0}, {10 * time.Second, time.Second},
		}},
		{"a quiet hour saves nothing up", GCRA{1, time.Second}, []take{
			{time.Hour, 0}, {time.Hour, time.Second},
		}},
		{"a clock that steps back gives nothing", GCRA{2, time.Second}, []take{
			{time.Minute, 0}, {0, time.Minute}, {-time.Hour, time.Hour + time.Minute}, {time.Minute, 0}, {time.Minute, time.Second},
		}},
		{"no burst, no limit", GCRA{0, time.Hour}, []take{{0, 0}, {0, 0}, {0, 0}}},
		{"no interval, no limit", GCRA{1, 0}, []take{{0, 0}, {0, 0}, {0, 0}}},
		{"absurd settings don't wrap around", GCRA{1 << 40, 1 << 40}, []take{{0, 0}, {0, 0}}},
	} {
		var tat time.Time
		for i, k := range tt.takes {
			next, wait := tt.gcra.Take(tat, t0.Add(k.at))
			if wait != k.wait {
				t.Errorf("%s: take %d: wait %v, want %v", tt.name, i, wait, k.wait)
			}
			if wait > 0 && !next.Equal(tat) {
				t.Errorf("%s: take %d: refused, yet the state went from %v to %v", tt.name, i, tat, next)
			}
			tat = next
		}
	}
}

func TestGCRAIdle(t *testing.T) {
	t.Parallel()
	g := GCRA{2, time.Second}
	tat, _ := g.Take(time.Time{}, t0)
	for _, tt := range []struct {
		name string
		gcra GCRA
		tat  time.Time
		now  time.Time
		want bool
	}{
		{"fresh", g, time.Time{}, t0, true},
		{"just taken", g, tat, t0, false},
		{"a millisecond early", g, tat, t0.Add(999 * ms), false},
		{"through", g, tat, t0.Add(time.Second), true},
		{"no limit", GCRA{}, tat, t0, true},
	} {
		if got := tt.gcra.Idle(tt.tat, tt.now); got != tt.want {
			t.Errorf("%s: Idle = %t, want %t", tt.name, got, tt.want)
		}
	}
}

// steps draws the intervals between tries: mostly zero or short, sometimes
// long, and sometimes negative because the clock stepped back.
var steps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
	return ms * time.Duration(rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 50), rapid.IntRange(0, 2000), rapid.IntRange(-300, 0)).Draw(t, "ms"))
}), 1, 120)

func TestGCRANeverAllowsMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := GCRA{rapid.IntRange(1, 6).Draw(t, "burst"), ms * time.Duration(rapid.IntRange(1, 300).Draw(t, "interval"))}
		var tat time.Time
		var allowed []time.Time
		now := t0
		for _, step := range steps.Draw(t, "steps") {
			now = now.Add(step)
			next, wait := g.Take(tat, now)
			if wait > 0 {
				exact(t, wait, func(d time.Duration) time.Duration {
					_, wait := g.Take(tat, now.Add(d))
					return wait
				})
				continue
			}
			if g.Idle(tat, now) {
				if fresh, _ := g.Take(time.Time{}, now); !fresh.Equal(next) {
					t.Fatalf("idle, yet %v isn't %v, what a fresh one gives", next, fresh)
				}
			}
			tat = next
			allowed = append(allowed, now)
		}
		for i := range allowed {
			for j := i; j < len(allowed); j++ {
				n, span := j-i+1, allowed[j].Sub(allowed[i])
				if most := g.Burst + int(span/g.Interval); n > most {
					t.Fatalf("%+v: %d allowed within %v, want at most %d", g, n, span, most)
				}
			}
		}
	})
}

// exact checks that wait is the earliest instant at which an event is allowed.
func exact(t *rapid.T, wait time.Duration, again func(time.Duration) time.Duration) {
	if left := again(wait - ms); left != ms {
		t.Fatalf("a millisecond before its end, a wait of %v has %v left", wait, left)
	}
	if left := again(wait); left != 0 {
		t.Fatalf("after a wait of %v there is %v left", wait, left)
	}
}

func logAt(offsets ...time.Duration) Log {
	var l Log
	for _, o := range offsets {
		l = append(l, t0.Add(o))
	}
	return l
}

func TestWindow(t *testing.T) {
	t.Parallel()
	w := Window{Max: 2, Period: time.Second}
	for _, tt := range []struct {
		name string
		w    Window
		log  Log
		at   time.Duration
		next Log
		wait time.Duration
	}{
		{"the first", w, nil, 0, logAt(0), 0},
		{"the last that fits", w, logAt(0), 0, logAt(0, 0), 0},
		{"one too many", w, logAt(0, 0), 0, logAt(0, 0), time.Second},
		{"a millisecond early", w, logAt(0, 500*ms), 999 * ms, logAt(0, 500*ms), ms},
		{"exactly a period later", w, logAt(0, 500*ms), 1000 * ms, logAt(500*ms, 1000*ms), 0},
		{"everything is gone", w, logAt(0, 500*ms), 1500 * ms, logAt(1500 * ms), 0},
		{"refused and pruned", w, logAt(-time.Hour, 0, 500*ms), 600 * ms, logAt(0, 500*ms), 400 * ms},
		{"the bound was lowered", Window{Max: 1, Period: time.Second}, logAt(0, 100*ms, 200*ms), 300 * ms, logAt(0, 100*ms, 200*ms), 900 * ms},
		{"the clock stepped back, full", w, logAt(0, 500*ms), -time.Hour, logAt(0, 500*ms), time.Hour + time.Second},
		{"the clock stepped back, room", w, logAt(500 * ms), 0, logAt(500*ms, 500*ms), 0},
		{"no bound", Window{Max: 0, Period: time.Second}, logAt(0, 0), 0, nil, 0},
		{"no period", Window{Max: 1}, logAt(0, 0), 0, nil, 0},
	} {
		given := slices.Clone(tt.log)
		next, wait := tt.w.Take(tt.log, t0.Add(tt.at))
		if diff := cmp.Diff(tt.next, next); diff != "" || wait != tt.wait {
			t.Errorf("%s: wait %v, want %v; log (-want +got):\n%s", tt.name, wait, tt.wait, diff)
		}
		if diff := cmp.Diff(given, tt.log); diff != "" {
			t.Errorf("%s: the given log changed:\n%s", tt.name, diff)
		}
	}
}

// However events arrive, at most Max are allowed in a Period, the wait is exact, and it is no longer
// than the distance between spread events.
func TestASpreadWindowKeepsNobodyOutForLong(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(2, 12).Draw(t, "max")
		w := Window{Max: most, Period: ms * time.Duration(rapid.IntRange(100, 1000).Draw(t, "period")), Free: rapid.IntRange(1, most-1).Draw(t, "free")}
		apart := w.Period / time.Duration(w.Max-w.Free+1)
		var log, allowed Log
		now := t0
		for _, step := range steps.Draw(t, "steps") {
			now = now.Add(max(step, 0))
			next, wait := w.Take(log, now)
			log = next
			if wait > apart+ms*time.Duration(w.Max) {
				t.Fatalf("%+v: a wait of %v, longer than the distance %v", w, wait, apart)
			}
			if wait > 0 {
				exact(t, wait, func(d time.Duration) time.Duration { _, wait := w.Take(log, now.Add(d)); return wait })
				continue
			}
			allowed = append(allowed, now)
		}
		for i := w.Max; i < len(allowed); i++ {
			if span := allowed[i].Sub(allowed[i-w.Max]); span < w.Period {
				t.Fatalf("%+v: %d within %v", w, w.Max+1, span)
			}
		}
	})
}

func TestWindowIdle(t *testing.T) {
	t.Parallel()
	w := Window{Max: 2, Period: time.Second}
	for _, tt := range []struct {
		name string
		w    Window
		log  Log
		at   time.Duration
		want bool
	}{
		{"fresh", w, nil, 0, true},
		{"a millisecond early", w, logAt(0, 500*ms), 1499 * ms, false},
		{"all gone", w, logAt(0, 500*ms), 1500 * ms, true},
		{"no limit", Window{}, logAt(0), 0, true},
	} {
		if got := tt.w.Idle(tt.log, t0.Add(tt.at)); got != tt.want {
			t.Errorf("%s: Idle = %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestTakeLeavesTheLogAlone(t *testing.T) {
	t.Parallel()
	w := Window{Max: 3, Period: time.Second}
	spare := logAt(-time.Hour, 0, 100*ms, 200*ms)
	log := spare[:2] // with room behind it, which isn't ours
	a, _ := w.Take(log, t0.Add(300*ms))
	b, _ := w.Take(log, t0.Add(400*ms))
	c := append(mustRefuse(t, Window{Max: 1, Period: time.Second}, log), t0.Add(500*ms))
	want := logAt(-time.Hour, 0, 100*ms, 200*ms)
	if diff := cmp.Diff(want, spare); diff != "" {
		t.Errorf("the memory behind the log changed:\n%s", diff)
	}
	if diff := cmp.Diff([]Log{logAt(0, 300*ms), logAt(0, 400*ms), logAt(0, 500*ms)}, []Log{a, b, c}); diff != "" {
		t.Errorf("results share memory (-want +got):\n%s", diff)
	}
}

func mustRefuse(t *testing.T, w Window, log Log) Log {
	next, wait := w.Take(log, t0.Add(ms))
	if wait == 0 {
		t.Fatal("want a refusal")
	}
	return next
}

func TestWindowNeverAllowsMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := Window{Max: rapid.IntRange(1, 6).Draw(t, "max"), Period: ms * time.Duration(rapid.IntRange(1, 1000).Draw(t, "period"))}
		var log, allowed Log
		now := t0
		for _, step := range steps.Draw(t, "steps") {
			now = now.Add(max(step, 0))
			// Count all events again that were ever allowed.
			recent := 0
			for _, at := range allowed {
				if now.Sub(at) < w.Period {
					recent++
				}
			}
			next, wait := w.Take(log, now)
			if (wait == 0) != (recent < w.Max) {
				t.Fatalf("%+v: wait %v with %d in the window", w, wait, recent)
			}
			if wait > 0 {
				exact(t, wait, func(d time.Duration) time.Duration {
					_, wait := w.Take(log, now.Add(d))
					return wait
				})
			} else {
				allowed = append(allowed, now)
			}
			if len(next) > w.Max {
				t.Fatalf("%+v: a log of %d", w, len(next))
			}
			b, err := next.AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			if log, err = ParseLog(b); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestWindowAndClockSteps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := Window{Max: rapid.IntRange(1, 4).Draw(t, "max"), Period: ms * time.Duration(rapid.IntRange(1, 500).Draw(t, "period"))}
		var log, logged Log
		now := t0
		for _, step := range steps.Draw(t, "steps") {
			now = now.Add(step)
			next, wait := w.Take(log, now)
			if wait == 0 {
				logged = append(logged, next[len(next)-1])
			}
			log = next
		}
		for i := w.Max; i < len(logged); i++ {
			if span := logged[i].Sub(logged[i-w.Max]); span < w.Period {
				t.Fatalf("%+v: %d logged within %v", w, w.Max+1, span)
			}
		}
	})
}

func TestLogBinary(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		log  Log
		want []byte
	}{
		{"empty", nil, nil},
		{"1970", Log{time.UnixMilli(0)}, []byte{0}},
		{"apart by 0, 1 and 128 ms", Log{time.UnixMilli(5), time.UnixMilli(5), time.UnixMilli(6), time.UnixMilli(134)}, []byte{5, 0, 1, 0x80, 1}},
		{"less than a millisecond is lost", Log{time.UnixMilli(5).Add(ms - 1)}, []byte{5}},
	} {
		got, err := tt.log.AppendBinary([]byte("before"))
		if diff := cmp.Diff("before"+string(tt.want), string(got)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
	for _, tt := range []struct {
		name string
		log  Log
	}{
		{"out of order", logAt(ms, 0)},
		{"before 1970", Log{time.UnixMilli(-1)}},
		{"never", Log{{}}},
		{"after 9999", Log{time.UnixMilli(maxMilli + 1)}},
		{"too long", make(Log, MaxLog+1)},
	} {
		if got, err := tt.log.AppendBinary(nil); err == nil {
			t.Errorf("%s: got %d bytes, want an error", tt.name, len(got))
		}
	}
}

func TestParseLogRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"cut off", []byte{5, 0x80}},
		{"padded", []byte{0x85, 0}},
		{"more than 64 bits", []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 2}},
		{"after 9999", []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1}},
		{"a sum after 9999", []byte{255, 255, 255, 255, 255, 255, 56, 255, 255, 255, 255, 255, 255, 56}},
		{"too long", make([]byte, MaxLog+1)},
	} {
		if got, err := ParseLog(tt.b); err == nil || got != nil {
			t.Errorf("%s: got %d events, %v; want an error", tt.name, len(got), err)
		}
	}
	if got, err := ParseLog(make([]byte, MaxLog)); err != nil || len(got) != MaxLog {
		t.Errorf("the longest: got %d events, %v; want %d", len(got), err, MaxLog)
	}
	if got, err := ParseLog(nil); err != nil || got != nil {
		t.Errorf("nothing: got %v, %v; want no events", got, err)
	}
}

func FuzzParseLog(f *testing.F) {
	long, err := logAt(0, ms, time.Minute, time.Hour, 24*time.Hour).AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{nil, {0}, {5, 0, 1, 0x80, 1}, {0x80}, {0x80, 0}, {255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, long} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLog(b)
		if err != nil {
			return
		}
		if len(l) > MaxLog || !slices.IsSortedFunc(l, time.Time.Compare) {
			t.Fatalf("%x: %d events, sorted or not: %v", b, len(l), l)
		}
		again, err := l.AppendBinary(nil)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%x was read, and written back as %x, %v", b, again, err)
		}
	})
}
