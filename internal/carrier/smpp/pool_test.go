package smpp

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
)

// Whoever stops waiting at the moment when a place is handed over gives it back.
func TestAPlaceThatComesTooLateIsNotLost(t *testing.T) {
	t.Parallel()
	p := &pool{window: 1}
	s := &session{}
	p.add(s)
	if got, err := p.take(t.Context()); got != s || err != nil {
		t.Fatalf("got %v, %v", got, err)
	}
	place := make(chan *session, 1)
	p.waiting = append(p.waiting, place)
	p.give(s) // to the one who waits...
	if s.taken != 1 || p.taken != 1 {
		t.Fatalf("%d places are taken, %d of all; want 1", s.taken, p.taken)
	}
	if err := p.leave(place); !errors.Is(err, errFull) { // ...and who has left
		t.Errorf("got %v, want %v", err, errFull)
	}
	if s.taken != 0 || p.taken != 0 {
		t.Errorf("%d places are taken, %d of all; want none", s.taken, p.taken)
	}
}

func TestWhyThereIsNoPlace(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	down := errors.New("down")
	p := &pool{window: 1}
	wait := func(want error) {
		t.Helper()
		if _, err := p.take(over); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	wait(errLost) // one may come, and didn't
	p.fail(down)
	wait(down)
	s := &session{taken: 1}
	p.add(s)
	wait(errFull)
	p.fail(down) // another bind's failure is no reason not to wait
	wait(errFull)
	p.remove(s)
	wait(errLost)
	p.close(t.Context())
	wait(errClosed)
	p.add(s)
	p.fail(down)
	wait(errClosed)
}

func TestARateThatIsUsedUpSaysWhen(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	p := &pace{interval: 100 * time.Millisecond}
	for i := range 5 {
		got, err := p.reserve(now, time.Second)
		if want := max(0, time.Duration(i)*p.interval-slack); got != want || err != nil {
			t.Errorf("turn %d: got %v, %v; want %v", i, got, err, want)
		}
	}
	for range 2 { // whoever can't wait takes no turn
		_, err := p.reserve(now, 200*time.Millisecond)
		if d := carrier.Decision(err); d.Reason.String() != "throttled" || d.After != 490*time.Millisecond {
			t.Errorf("got %v, after %v", err, d.After)
		}
	}
	// What wasn't used is lost but for the slack.
	now = now.Add(time.Hour)
	for i, want := range []time.Duration{0, 90 * time.Millisecond} {
		if got, err := p.reserve(now, time.Second); got != want || err != nil {
			t.Errorf("turn %d after an hour: got %v, %v; want %v", i, got, err, want)
		}
	}
	// Turns during a pause begin behind it, and not all at once.
	p.throttled(now, now)
	for i, want := range []time.Duration{250 * time.Millisecond, 340 * time.Millisecond} {
		if got, err := p.reserve(now, time.Second); got != want || err != nil {
			t.Errorf("turn %d of a pause: got %v, %v; want %v", i, got, err, want)
		}
	}
	// What was under way when we were told to be slower, says nothing new.
	if got := p.throttled(now, now.Add(50*time.Millisecond)); got != 200*time.Millisecond {
		t.Errorf("got a pause of %v, want what is left of it", got)
	}
	p.accepted(now)
	if got := p.throttled(now.Add(time.Second), now.Add(time.Second)); got != 500*time.Millisecond {
		t.Errorf("got a pause of %v, want a longer one", got)
	}

	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&pace{until: time.Now().Add(time.Second / 2)}).wait(over); carrier.Decision(err).Reason.String() != "throttled" {
		t.Errorf("got %v", err)
	}
}
