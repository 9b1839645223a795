package dispatch

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

var t0 = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// number is the n-th of as many numbers as a test needs.
func number(n int) phone.Number { return phone.Number(fmt.Sprintf("+1202555%04d", n)) }

// opened is a breaker that five numbers of a project have opened.
func opened() *breaker {
	b := newBreaker(5, 5)
	for i := range 5 {
		b.fail("p", number(i), t0)
	}
	return b
}

func TestABreakerOpensForLongerEachTime(t *testing.T) {
	t.Parallel()
	b, now := newBreaker(5, math.MaxInt), t0
	for i := range 5 {
		if !b.opens("p", number(i), now).IsZero() {
			t.Fatalf("after %d failures it is open", i)
		}
		b.fail("p", number(i), now)
	}
	for i, pause := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		pause *= time.Second
		probe, next := number(10+i), number(11+i)
		if b.state(now) != "open" || !b.opens("p", probe, now).Equal(now.Add(pause)) {
			t.Fatalf("%s until %v, want open for %v", b.state(now), b.opens("p", probe, now).Sub(now), pause)
		}
		now = now.Add(pause - time.Millisecond)
		if b.opens("p", probe, now).IsZero() {
			t.Fatal("a message passed before its time")
		}
		now = now.Add(time.Millisecond)
		if b.state(now) != "half-open" || !b.opens("p", probe, now).IsZero() {
			t.Fatalf("after %v: %s; want a probe to pass", pause, b.state(now))
		}
		b.pass("p", probe, now)
		if b.opens("p", next, now).IsZero() || b.state(now) != "half-open" {
			t.Fatal("a second probe passed beside the first")
		}
		now = now.Add(time.Second)
		b.fail("p", probe, now)
	}
}

// What began before the breaker opened, and fails now, says nothing new.
func TestStragglersDoNotProlongThePause(t *testing.T) {
	t.Parallel()
	b := newBreaker(5, math.MaxInt)
	for i := range 20 {
		b.fail("p", number(i), t0)
	}
	if got := b.opens("p", number(99), t0).Sub(t0); got != firstPause {
		t.Errorf("open for %v, want %v", got, firstPause)
	}
}

func TestALostProbeIsReplaced(t *testing.T) {
	t.Parallel()
	b, now := opened(), t0.Add(firstPause)
	b.share = math.MaxInt
	b.pass("p", number(8), now)
	if at := b.opens("p", number(9), now.Add(probeTime-1)); at.IsZero() {
		t.Error("a second probe passed before the first one's time was over")
	}
	if at := b.opens("p", number(9), now.Add(probeTime)); !at.IsZero() {
		t.Error("a probe that got lost isn't replaced")
	}
}

// One number counts once, however often its messages fail: they open nothing.
func TestOneNumberOpensNoBreaker(t *testing.T) {
	t.Parallel()
	l := &line{common: &common{breakers: map[string]*circuit{}}}
	for range 100 {
		l.failed(passenger{"p", number(1), "US"}, 5, t0)
	}
	for _, m := range []passenger{{"p", number(1), "US"}, {"p", number(2), "US"}, {"q", number(2), "US"}} {
		if at := l.opens(m, t0); !at.IsZero() {
			t.Errorf("%+v has to wait until %v", m, at)
		}
	}
}

// What one project's messages meet, whatever their numbers, keeps no other project's from the carrier.
func TestOneProjectOpensItsOwnBreakerOnly(t *testing.T) {
	t.Parallel()
	l := &line{common: &common{breakers: map[string]*circuit{}}}
	for i := range 100 {
		l.failed(passenger{"p", number(i), "US"}, 5, t0)
	}
	if l.opens(passenger{"p", number(200), "US"}, t0).IsZero() {
		t.Error("100 failures of a project don't open its breaker")
	}
	if at := l.opens(passenger{"q", number(200), "US"}, t0); !at.IsZero() {
		t.Errorf("another project has to wait until %v", at)
	}
	for i := range 2 { // of two, everybody's opens
		l.failed(passenger{"q", number(200 + i), "US"}, 5, t0)
	}
	if l.opens(passenger{"r", number(300), "US"}, t0).IsZero() {
		t.Error("failures of two projects don't open the common breaker")
	}
}

// The messages that opened a breaker are no probes: they pass after the pause, beside one, and their
// failures change nothing.
func TestWhatOpenedABreakerIsNoProbe(t *testing.T) {
	t.Parallel()
	b, now := opened(), t0.Add(firstPause)
	b.share = math.MaxInt
	for range 50 { // five messages that are tried as often as they may be, while their codes live
		for i := range 5 {
			if b.opens("p", number(i), now).IsZero() {
				b.pass("p", number(i), now)
				if b.opens("p", number(i), now).IsZero() {
					t.Fatal("a number that failed passes twice in one pause")
				}
				b.fail("p", number(i), now)
			}
		}
		if at := b.opens("p", number(9), now); !at.IsZero() {
			t.Fatalf("another message has to wait for %v", at.Sub(now))
		}
		now = now.Add(time.Second)
	}
	if b.pause != firstPause {
		t.Errorf("the pause has become %v", b.pause)
	}
}

// Whatever happens: a breaker is open only after as many numbers failed in a row, one project alone holds
// up its own messages only, one probe passes at a time, and another passes within five minutes.
func TestWhateverHappensABreakerHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := &line{common: &common{breakers: map[string]*circuit{}}}
		now, after := t0, rapid.IntRange(1, 6).Draw(t, "after")
		failed := map[phone.Number]bool{}
		byProject := map[verify.ProjectID]map[phone.Number]bool{"p": {}, "q": {}}
		any := rapid.Custom(func(t *rapid.T) passenger {
			return passenger{rapid.SampledFrom([]verify.ProjectID{"p", "q"}).Draw(t, "project"), number(rapid.IntRange(0, 9).Draw(t, "number")), "US"}
		})
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) {
				m := any.Draw(t, "message")
				opens := l.opens(m, now)
				switch ok := l.pass(m, now); {
				case ok != opens.IsZero():
					t.Fatalf("passed %t, though it opens at %v", ok, opens)
				case !ok && len(failed) < after:
					t.Fatalf("didn't pass after %d failures of %d", len(failed), after)
				case !ok && len(byProject["p"])*len(byProject["q"]) == 0 && len(byProject[m.project]) == 0:
					t.Fatal("the other project's failures alone hold it up")
				case !ok && opens.Sub(now) > lastPause:
					t.Fatalf("closed for %v", opens.Sub(now))
				}
			},
			"fails": func(t *rapid.T) {
				m := any.Draw(t, "message")
				l.failed(m, after, now)
				failed[m.to] = true
				byProject[m.project][m.to] = true
			},
			"answers": func(t *rapid.T) {
				l.answered("US")
				clear(failed)
				clear(byProject["p"])
				clear(byProject["q"])
				if l.troubles.Load() != 0 {
					t.Fatal("a breaker is left that nobody needs")
				}
			},
			"spares": func(t *rapid.T) { l.spare(any.Draw(t, "message")) },
			"time": func(t *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 10 * time.Second, 5 * time.Minute}).Draw(t, "time"))
			},
			"": func(t *rapid.T) {
				if !l.opens(passenger{"p", number(1), "CA"}, now).IsZero() {
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
		if err != nil || l.places.Size() != tt.want || cap(l.queue.ready) != tt.want {
			t.Errorf("rate %v: %d places, %v; want %d", tt.line.Rate, l.places.Size(), err, tt.want)
		}
	}
	// A call's lease is renewed: only its beginning has to come in time.
	long := Line{Carrier: slow{"a"}, Queue: 1000, Concurrency: 1, Rate: 5}
	if l, err := newLine(long, 20*time.Second, 10*time.Second); err != nil || l.limit != (slow{}).Limit() || l.places.Size() != 50 {
		t.Errorf("a carrier of long calls: limit %v, %d places, %v; want its own limit, 50 places", l.limit, l.places.Size(), err)
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

// costs makes a table of pairs of a country and an amount.
func costs(pairs ...string) money.Table {
	var rules []money.Rule
	for i := 0; i < len(pairs); i += 2 {
		each, err := money.Parse(pairs[i+1])
		if err != nil {
			panic(err)
		}
		rules = append(rules, money.Rule{Subject: money.Subject{Country: pairs[i]}, Each: each})
	}
	table, _ := money.NewTable(rules)
	return table
}

func TestCostIsBySegmentAndCountry(t *testing.T) {
	t.Parallel()
	l := &line{Line: Line{Costs: costs("US", "0.01", "", "0.05")}}
	long := verify.Secret(strings.Repeat("a", 161))
	for _, tt := range []struct {
		country string
		channel verify.Channel
		body    verify.Secret
		want    string
	}{
		{"US", verify.ChannelSMS, "short", "0.01"},
		{"US", verify.ChannelSMS, long, "0.02"},
		{"US", verify.ChannelVoice, long, "0.01"},
		{"GB", verify.ChannelSMS, "short", "0.05"},
	} {
		if got := l.Cost(tt.country, tt.channel, tt.body, t0).String(); got != tt.want {
			t.Errorf("%s, %s, %d characters: %v, want %v", tt.country, tt.channel, len(tt.body), got, tt.want)
		}
	}
	if got := (&line{}).Cost("US", verify.ChannelSMS, "short", t0); got != 0 {
		t.Errorf("without costs: %v", got)
	}
}

func TestACallCostsEachMinuteThatWasBegun(t *testing.T) {
	t.Parallel()
	for talk, want := range map[time.Duration]int{0: 1, time.Second: 1, time.Minute: 1, time.Minute + 1: 2, 85 * time.Second: 2} {
		if got := minutesOf(verify.Call{Ring: time.Minute, Answered: t0, Talk: talk}); got != want {
			t.Errorf("%v: got %v, want %v", talk, got, want)
		}
	}
	if got := minutesOf(verify.Call{Ring: time.Minute, Status: 486}); got != 0 {
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
	if e.keep(waiting{}) {
		t.Error("one gets the place of another that is looked at and may have to wait on")
	}
	e.again(waiting{next: t0})
	if n := len(e.due(t0)); n != 1 {
		t.Errorf("%d are due again, want the one that waits on", n)
	}
	if e.done(); !e.keep(waiting{}) {
		t.Error("there is no room where one is done")
	}
}

// With other replicas, an open breaker of ours puts a message off for 2 s, or for an eighth of its age; alone, until
// it lets the message pass. A phone that is left alone is so for all.
func TestABreakerOfOursPutsOffBrieflyForOthers(t *testing.T) {
	t.Parallel()
	now := t0.Add(10 * firstPause)
	m := passenger{"p", number(9), "US"}
	open := &line{Line: Line{Carrier: named("a")}, common: &common{breakers: map[string]*circuit{}}}
	for i := range 5 {
		open.failed(passenger{"p", number(i), "US"}, 5, now)
	}
	for _, tt := range []struct {
		shared bool
		age    time.Duration
		rings  time.Duration // when the phone may ring again
		want   time.Duration
	}{
		{false, 0, 0, firstPause},
		{true, 0, 0, 2 * time.Second},
		{true, 16 * time.Second, 0, 2 * time.Second},
		{true, 40 * time.Second, 0, 5 * time.Second},
		{true, time.Hour, 0, firstPause},
		{true, 0, time.Minute, time.Minute},
	} {
		d := &Dispatcher{config: Config{Shared: tt.shared}}
		w := way{line: open}
		if tt.rings > 0 {
			w.notBefore = now.Add(tt.rings)
		}
		id := verify.NewID(now.Add(-tt.age))
		if got := d.lookAgain([]way{w}, id, m, now).Sub(now); got != tt.want {
			t.Errorf("%+v: put off for %v", tt, got)
		}
	}
}
