package verify

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// arrows are where a delivery may go: see [DeliveryState].
var arrows = map[DeliveryState][]DeliveryState{
	DeliveryQueued:    {DeliverySending, DeliveryFailed, DeliveryDelivered},
	DeliverySending:   {DeliveryQueued, DeliverySent, DeliveryFailed, DeliveryDelivered},
	DeliverySent:      {DeliveryQueued, DeliverySending, DeliveryFailed, DeliveryDelivered},
	DeliveryDelivered: {},
	DeliveryFailed:    {},
}

func allowed(from, to DeliveryState) bool {
	for _, next := range arrows[from] {
		if next == to {
			return true
		}
	}
	return from == to
}

// subject is one verification, and what the test counts of it by itself.
type subject struct {
	v         *Verification
	before    *Verification // as it was before the latest event
	history   []Delivery    // by attempt, those that have not ended included
	evaluated int           // guesses whose codes were compared
	approvals int
	ended     bool
}

// world is one number with its verifications, under events in any order.
type world struct {
	d        *Destination
	now      time.Time
	all      []*subject
	failures int // consecutive wrong guesses, counted apart
	failedAt time.Time
	stale    int // those of them at codes that weren't started after the failure before
}

func TestWhateverHappensTheRulesHold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// Near its bounds, too: from 0 to 100 no run would get by itself.
		failures := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 40), rapid.IntRange(75, 85), rapid.IntRange(95, MaxFailures)).Draw(t, "failures before")
		w := &world{d: destination(), now: t0, failures: failures}
		limits := Limits{Burst: 2, Interval: time.Minute, Daily: 3}
		profile := rapid.SampledFrom([]Profile{ProfileCompat, ProfileStandard}).Draw(t, "profile")

		start := func(t *rapid.T) {
			v := begun(NewID(w.now))
			v.MaxAttempts = rapid.IntRange(1, 20).Draw(t, "attempts")
			v.Channel = rapid.SampledFrom([]Channel{ChannelSMS, ChannelVoice}).Draw(t, "channel")
			v.Approval = rapid.SampledFrom([]Approval{ApprovalByCode, ApprovalByKey}).Draw(t, "approval")
			v.ExpiresAt = v.ID.Time().Add(time.Duration(rapid.SampledFrom([]int{0, 1, 60, 3600, 604800}).Draw(t, "life")) * time.Second)
			before := w.d.clone()
			if err := v.Begin(w.d, limits, lease, w.now); err != nil {
				if diff := cmp.Diff(before, w.d); diff != "" {
					t.Fatalf("%v, and the number changed (-before +after)\n%s", err, diff)
				}
				return
			}
			w.all = append(w.all, &subject{v: v, before: v.clone()})
		}
		start(t)
		w.d.Failures = failures // only now: at the bound nothing starts

		check := func(t *rapid.T, right bool) {
			s := w.pick(t)
			compared, fresh := false, w.fresh(s)
			expected := w.expect(s)
			got, err := s.v.Check(w.d, Guess{Profile: profile, Matches: func(*Verification) (bool, error) {
				compared = true
				return right, nil
			}}, w.now)
			if !errors.Is(err, expected) || (err == nil) != compared || got.Approved != (compared && right) {
				t.Fatalf("check, right %t: got %+v, %v, compared %t; want error %v", right, got, err, compared, expected)
			}
			if !compared {
				return
			}
			s.evaluated++
			if got.GuessesLeft != s.v.MaxAttempts-s.evaluated {
				t.Fatalf("%d of %d guesses evaluated, %d said to be left", s.evaluated, s.v.MaxAttempts, got.GuessesLeft)
			}
			if right {
				s.approvals++
				w.failures, w.stale = 0, 0
			} else {
				if !fresh {
					w.stale++
				}
				w.failures, w.failedAt = w.failures+1, w.now
			}
			s.ended = right || got.GuessesLeft == 0
		}

		t.Repeat(map[string]func(*rapid.T){
			"start": func(t *rapid.T) {
				if len(w.all) == 4 {
					t.Skip("enough")
				}
				start(t)
			},
			"right":  func(t *rapid.T) { check(t, true) },
			"wrong":  func(t *rapid.T) { check(t, false) },
			"wrong2": func(t *rapid.T) { check(t, false) }, // as often as people are wrong
			"cancel": func(t *rapid.T) {
				s := w.pick(t)
				if err := s.v.Cancel(w.now); err == nil {
					s.ended = true
				}
			},
			"claim": func(t *rapid.T) {
				s := w.pick(t)
				due := !s.v.DueAt.IsZero() && !w.now.Before(s.v.DueAt)
				live := s.v.StatusAt(w.now) == StatusPending
				lost, claimed := s.v.Claim(lease, w.now)
				if claimed != (due && live) || (lost != nil) != (due && s.before.Delivery == DeliverySending) {
					t.Fatalf("due %t, live %t, was %v: claimed %t, lost %v", due, live, s.before.Delivery, claimed, lost)
				}
			},
			"renew": func(t *rapid.T) {
				s := w.pick(t)
				s.v.Renew(w.attempt(t, s), lease, w.now)
			},
			"settle": func(t *rapid.T) {
				s := w.pick(t)
				end := &Settlement{
					Delivery: Delivery{Attempt: w.attempt(t, s), Outcome: AttemptOutcome(rapid.IntRange(0, 4).Draw(t, "outcome"))},
					Retry:    rapid.Bool().Draw(t, "retry"),
				}
				if end.Outcome != AttemptAccepted {
					end.Reason = ReasonBusy
				}
				if rapid.Bool().Draw(t, "watched") {
					end.Watch = time.Duration(rapid.IntRange(0, 7200).Draw(t, "watched seconds")) * time.Second
				}
				if rapid.Bool().Draw(t, "later") {
					end.RetryAt = w.now.Add(time.Duration(rapid.IntRange(0, 7200).Draw(t, "seconds")) * time.Second)
				}
				err := s.v.Settle(end, w.now)
				if stale := end.Attempt != s.before.Attempt || end.Attempt < 1; stale != errors.Is(err, ErrLeaseLost) || (err == nil) == stale {
					t.Fatalf("settle attempt %d of %d: %v", end.Attempt, s.before.Attempt, err)
				}
			},
			"key": func(t *rapid.T) {
				s := w.pick(t)
				end := &Settlement{
					Delivery: Delivery{Attempt: w.attempt(t, s)},
					Verdict:  rapid.SampledFrom([]Verdict{VerdictApproves, VerdictApproves, VerdictRejects, VerdictUnanswered}).Draw(t, "verdict"),
				}
				if end.Verdict != VerdictApproves {
					end.Outcome, end.Reason = AttemptRefused, ReasonNoKey
				}
				// Who asked holds the lease, and it was this that was asked.
				if profile == ProfileStandard && w.waits() && w.fresh(s) {
					t.Skip("standard has no approval by key")
				}
				holds := s.before.Delivery == DeliverySending && end.Attempt == s.before.Attempt && w.now.Before(s.before.DueAt)
				expected := w.expect(s)
				answers := holds && s.v.Approval == ApprovalByKey && s.v.Channel == ChannelVoice
				approves := answers && end.Verdict == VerdictApproves && expected == nil
				rejects := answers && end.Verdict == VerdictRejects && (expected == nil || errors.Is(expected, ErrTooManyGuesses))
				got, err := s.v.Answer(w.d, end, w.now)
				if got != approves || (s.v.Status == StatusCanceled && s.before.Status == StatusPending) != rejects {
					t.Fatalf("key %v for attempt %d of %d, %v until %v, answers %t, check says %v: approved %t, now %v",
						end.Verdict, end.Attempt, s.before.Attempt, s.before.Delivery, s.before.DueAt, answers, expected, got, s.v.Status)
				}
				if stale := end.Attempt != s.before.Attempt || end.Attempt < 1 || s.before.Delivery == DeliverySending && !holds; stale != errors.Is(err, ErrLeaseLost) {
					t.Fatalf("key for attempt %d of %d: %v", end.Attempt, s.before.Attempt, err)
				}
				if approves {
					s.evaluated++
					s.approvals++
					w.failures = 0
				}
				s.ended = s.ended || approves || rejects
			},
			"receipt": func(t *rapid.T) {
				s := w.pick(t)
				r := Receipt{Attempt: rapid.IntRange(1, s.v.Attempt+1).Draw(t, "attempt"), Delivered: rapid.Bool().Draw(t, "delivered"), Retry: rapid.Bool().Draw(t, "retry")}
				if !r.Delivered {
					r.Reason = ReasonUnreachable
				}
				for len(s.history) <= r.Attempt {
					s.history = append(s.history, Delivery{})
				}
				d := &s.history[r.Attempt]
				was := *d
				news := r.Settle(s.v, d, w.now)
				if ever := r.Attempt <= s.v.Attempt; news != (ever && was.Receipt != ReceiptDelivered && was.Receipt != r.state()) || !news && *d != was {
					t.Fatalf("receipt %+v of %d attempts, before it %v: news %t, after it %v", r, s.v.Attempt, was.Receipt, news, d.Receipt)
				}
			},
			"postpone": func(t *rapid.T) {
				s := w.pick(t)
				until := time.Time{}
				if rapid.Bool().Draw(t, "until") {
					until = w.now.Add(time.Minute)
				}
				s.v.Postpone(until, w.now)
			},
			"time": func(t *rapid.T) {
				steps := []time.Duration{time.Millisecond, time.Second, lease, time.Minute, time.Hour, 24 * time.Hour}
				w.now = w.now.Add(rapid.SampledFrom(steps).Draw(t, "step"))
			},
			"the wait's end": func(t *rapid.T) {
				if !w.d.WaitUntil.After(w.now) {
					t.Skip("no wait")
				}
				w.now = w.d.WaitUntil
			},
			"operator": func(t *rapid.T) {
				if w.d.Failures < MaxFailures {
					t.Skip("not called")
				}
				w.d.Clear()
				w.failures, w.stale = 0, 0
			},
			"": func(t *rapid.T) { w.hold(t) },
		})
	})
}

// pick draws a verification for the next event.
func (w *world) pick(t *rapid.T) *subject {
	if len(w.all) == 0 {
		t.Skip("none yet")
	}
	return w.all[rapid.IntRange(0, len(w.all)-1).Draw(t, "verification")]
}

// attempt draws the number of an attempt: the latest, or one that was or never will be.
func (w *world) attempt(t *rapid.T, s *subject) int {
	return s.v.Attempt + rapid.SampledFrom([]int{0, 0, 0, -1, 1}).Draw(t, "attempt, from the latest")
}

// expect is what a check must say now, from what the test counted by itself.
func (w *world) expect(s *subject) error {
	switch {
	case s.approvals > 0:
		return ErrApproved
	case s.ended && s.evaluated == s.v.MaxAttempts:
		return ErrGuessesSpent
	case s.ended:
		return ErrCanceled
	case !w.now.Before(s.v.ExpiresAt):
		return ErrExpired
	case w.failures >= MaxFailures, w.waits() && !w.fresh(s):
		return ErrTooManyGuesses
	}
	return nil
}

// waits reports whether only the reserve is left of the guesses now.
func (w *world) waits() bool {
	return w.now.Before(w.d.WaitUntil) || w.failures >= MaxFailures-Reserve
}

// fresh reports whether the next guess may be of the reserve: the first at a code that was started after the
// latest failure.
func (w *world) fresh(s *subject) bool { return s.evaluated == 0 && s.v.ID.Time().After(w.failedAt) }

// hold holds the promises, after every event.
func (w *world) hold(t *rapid.T) {
	if w.d.Failures != w.failures || w.failures > MaxFailures {
		t.Fatalf("%d failures counted, %d evaluated, of at most %d", w.d.Failures, w.failures, MaxFailures)
	}
	if w.stale > MaxFailures-Reserve {
		t.Fatalf("%d wrong guesses were evaluated that aren't of the reserve", w.stale)
	}
	for _, s := range w.all {
		v, was := s.v, s.before
		name := fmt.Sprintf("%v, %v", v.StatusAt(w.now), v.Delivery)
		if v.Guesses != s.evaluated || v.Guesses > v.MaxAttempts {
			t.Fatalf("%s: %d guesses counted, %d evaluated, of %d", name, v.Guesses, s.evaluated, v.MaxAttempts)
		}
		if s.approvals > 1 || (s.approvals == 1) != (v.Status == StatusApproved) {
			t.Fatalf("%s: approved %d times", name, s.approvals)
		}
		if s.ended != (v.Status != StatusPending) || s.ended != (v.SealedCode == nil) || s.ended == v.EndedAt.IsZero() {
			t.Fatalf("%s: ended %t, sealed code %q, ended at %v", name, s.ended, v.SealedCode, v.EndedAt)
		}
		if !allowed(was.Delivery, v.Delivery) {
			t.Fatalf("%s: the delivery went from %v to %v", name, was.Delivery, v.Delivery)
		}
		if v.Attempt < was.Attempt || v.Attempt > was.Attempt+1 {
			t.Fatalf("%s: attempt %d after %d", name, v.Attempt, was.Attempt)
		}
		if v.Open() && v.DueAt.IsZero() || !v.Open() && !v.Watched() && !v.DueAt.IsZero() {
			t.Fatalf("%s: due at %v", name, v.DueAt)
		}
		if v.Delivery == DeliveryFailed && v.Reason == NoReason || v.Delivery == DeliveryDelivered && v.Reason != NoReason {
			t.Fatalf("%s: reason %q", name, v.Reason)
		}
		if was.Status != StatusPending {
			// All but the delivery, which runs beside it, stays as it was.
			same := was.clone()
			same.Delivery, same.Reason, same.Attempt, same.DueAt = v.Delivery, v.Reason, v.Attempt, v.DueAt
			if diff := cmp.Diff(same, v); diff != "" {
				t.Fatalf("%s: it had ended, and changed (-before +after)\n%s", name, diff)
			}
			if v.Attempt != was.Attempt {
				t.Fatalf("%s: a message was sent for it after its end", name)
			}
		}
		s.before = v.clone()
	}
}
