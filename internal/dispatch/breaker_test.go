package dispatch

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/verify"
)

var t0 = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestABreakerOpensForLongerEachTime(t *testing.T) {
	t.Parallel()
	b, now := &breaker{}, t0
	for i := range 4 {
		if !b.pass(now) {
			t.Fatalf("after %d failures it is open", i)
		}
		b.fail(5, now)
	}
	b.fail(5, now)
	for _, pause := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		pause *= time.Second
		if b.state(now) != "open" || b.pass(now) || !b.opens(now).Equal(now.Add(pause)) {
			t.Fatalf("%s until %v, want open for %v", b.state(now), b.opens(now).Sub(now), pause)
		}
		now = now.Add(pause - time.Millisecond)
		if b.pass(now) {
			t.Fatal("a message passed before its time")
		}
		now = now.Add(time.Millisecond)
		if b.state(now) != "half-open" || !b.pass(now) || b.pass(now) || b.state(now) != "half-open" {
			t.Fatalf("after %v: %s; want one probe to pass", pause, b.state(now))
		}
		now = now.Add(time.Second)
		b.fail(5, now)
	}
}

// What began before the breaker opened, and fails now, says nothing new.
func TestStragglersDoNotProlongThePause(t *testing.T) {
	t.Parallel()
	b := &breaker{}
	for range 20 {
		b.fail(5, t0)
	}
	if got := b.opens(t0).Sub(t0); got != firstPause {
		t.Errorf("open for %v, want %v", got, firstPause)
	}
}

func TestALostProbeIsReplaced(t *testing.T) {
	t.Parallel()
	b := &breaker{}
	for range 5 {
		b.fail(5, t0)
	}
	now := t0.Add(firstPause)
	if !b.pass(now) || b.pass(now.Add(probeTime-1)) || !b.pass(now.Add(probeTime)) {
		t.Error("want one probe, and another after its time")
	}
}

// Whatever happens: it is open only after as many failures in a row, at most one message passes at
// once while it isn't closed, and it lets another one pass within five minutes.
func TestWhateverHappensABreakerHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := &line{breakers: map[string]*breaker{}}
		now, failures, after := t0, 0, rapid.IntRange(1, 6).Draw(t, "after")
		passed := time.Time{} // the latest probe
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) {
				troubled, opens := failures >= after, l.opens("US", now)
				ok := l.pass("US", now)
				switch {
				case ok != opens.IsZero():
					t.Fatalf("passed %t, though it opens at %v", ok, opens)
				case !troubled && !ok:
					t.Fatalf("didn't pass after %d failures of %d", failures, after)
				case troubled && ok && now.Sub(passed) < probeTime && !passed.IsZero():
					t.Fatalf("a second probe after %v", now.Sub(passed))
				case !ok && opens.Sub(now) > lastPause:
					t.Fatalf("closed for %v", opens.Sub(now))
				}
				if troubled && ok {
					passed = now
				}
			},
			"fails": func(t *rapid.T) {
				l.failed("US", after, now)
				failures, passed = failures+1, time.Time{}
			},
			"answers": func(t *rapid.T) {
				l.answered("US")
				failures, passed = 0, time.Time{}
				if l.troubles.Load() != 0 {
					t.Fatal("a breaker is left that nobody needs")
				}
			},
			"spares": func(t *rapid.T) { l.spare("US", now); passed = time.Time{} },
			"time": func(t *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 10 * time.Second, 5 * time.Minute}).Draw(t, "time"))
			},
			"": func(t *rapid.T) {
				if !l.opens("CA", now).IsZero() {
					t.Fatal("another country suffers")
				}
			},
		})
	})
}

func TestAPaceSpreadsCalls(t *testing.T) {
	t.Parallel()
	p := pace{gcra: limit.GCRA{Burst: 1, Interval: 100 * time.Millisecond}}
	for i := range 5 { // at once
		if got, want := p.book(t0), time.Duration(i)*100*time.Millisecond; got != want {
			t.Errorf("call %d waits %v, want %v", i+1, got, want)
		}
	}
	if got := p.book(t0.Add(450 * time.Millisecond)); got != 50*time.Millisecond {
		t.Errorf("the next waits %v, want 50ms", got)
	}
	if got := p.book(t0.Add(time.Minute)); got != 0 {
		t.Errorf("after a minute it waits %v", got)
	}
	if got := (&pace{}).book(t0); got != 0 {
		t.Errorf("without a rate it waits %v", got)
	}
}

func TestALineTakesWhatItCanSendInTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		line Line
		want int
	}{
		{Line{Queue: 1000, Concurrency: 1}, 1000},
		{Line{Queue: 1000, Concurrency: 1, Rate: 5}, 50},
		{Line{Queue: 1000, Concurrency: 1, Rate: 1000}, 1000},
		{Line{Queue: 1000, Concurrency: 1, Rate: 0.01}, 1},
	} {
		tt.line.Carrier = named("a")
		l, err := newLine(tt.line, 20*time.Second, 10*time.Second)
		if err != nil || cap(l.places) != tt.want || cap(l.queue.jobs) != tt.want {
			t.Errorf("rate %v: %d places, %v; want %d", tt.line.Rate, cap(l.places), err, tt.want)
		}
	}
	// A call's lease is renewed: only its beginning has to come in time.
	long := Line{Carrier: slow{"a"}, Queue: 1000, Concurrency: 1, Rate: 5}
	if l, err := newLine(long, 20*time.Second, 10*time.Second); err != nil || l.limit != (slow{}).Limit() || cap(l.places) != 50 {
		t.Errorf("a carrier of long calls: limit %v, %d places, %v; want its own limit, 50 places", l.limit, cap(l.places), err)
	}
	for _, wrong := range []Line{{Concurrency: 1}, {Queue: 1}, {Queue: 1, Concurrency: 1, Rate: -1}, {Queue: 1, Concurrency: 1, ReceiptTimeout: -1}} {
		wrong.Carrier = named("a")
		if _, err := newLine(wrong, 20*time.Second, 10*time.Second); err == nil {
			t.Errorf("%+v: no error", wrong)
		}
	}
}

// named is a carrier that is never called.
type named string

func (n named) Name() string                                               { return string(n) }
func (named) Send(context.Context, verify.Message) (carrier.Result, error) { panic("called") }

// slow is one that takes its time.
type slow struct{ named }

func (slow) Limit() time.Duration { return 107 * time.Second }

func TestCostIsBySegmentAndCountry(t *testing.T) {
	t.Parallel()
	l := &line{Line: Line{Costs: map[string]float64{"US": 0.01, "": 0.05}}}
	long := verify.Secret(make([]byte, 0))
	for range 161 {
		long += "a"
	}
	for _, tt := range []struct {
		country string
		channel verify.Channel
		body    verify.Secret
		want    float64
	}{
		{"US", verify.SMS, "short", 0.01},
		{"US", verify.SMS, long, 0.02},
		{"US", verify.Voice, long, 0.01},
		{"GB", verify.SMS, "short", 0.05},
	} {
		if got := l.Cost(tt.country, tt.channel, tt.body); got != tt.want {
			t.Errorf("%s, %s, %d characters: %v, want %v", tt.country, tt.channel, len(tt.body), got, tt.want)
		}
	}
	if got := (&line{}).Cost("US", verify.SMS, "short"); got != 0 {
		t.Errorf("without costs: %v", got)
	}
}

func TestACallCostsEachMinuteThatWasBegun(t *testing.T) {
	t.Parallel()
	l := &line{Line: Line{Costs: map[string]float64{"US": 0.01}}}
	for talk, want := range map[time.Duration]float64{0: 0.01, time.Second: 0.01, time.Minute: 0.01, time.Minute + 1: 0.02, 85 * time.Second: 0.02} {
		if got := l.callCost("US", verify.Call{Ring: time.Minute, Answered: t0, Talk: talk}); got != want {
			t.Errorf("%v: got %v, want %v", talk, got, want)
		}
	}
	if got := l.callCost("US", verify.Call{Ring: time.Minute, Status: 486}); got != 0 {
		t.Errorf("not answered: got %v", got)
	}
}

func TestEarlyReceiptsAreBounded(t *testing.T) {
	t.Parallel()
	e := &early{}
	for i := range maxEarly {
		if !e.keep(waiting{next: t0.Add(time.Duration(i%2) * time.Hour)}) {
			t.Fatalf("the %dth isn't kept", i+1)
		}
	}
	if e.keep(waiting{}) {
		t.Error("one too many is kept")
	}
	if n := len(e.due(t0)); n != maxEarly/2 {
		t.Errorf("%d are due, want %d", n, maxEarly/2)
	}
	if n := len(e.due(t0)); n != 0 || !e.keep(waiting{}) {
		t.Errorf("%d are due again; want none, and room", n)
	}
}
