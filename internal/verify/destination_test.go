package verify

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWaitsGrowWithTheFailures(t *testing.T) {
	t.Parallel()
	type step struct {
		from, to int
		wait     time.Duration
	}
	for profile, steps := range map[Profile][]step{
		ProfileStandard: {
			{1, 4, 0},
			{5, 5, 30 * time.Second},
			{6, 9, 0},
			{10, 10, 5 * time.Minute},
			{11, 14, 0},
			{15, 15, 15 * time.Minute},
			{16, 19, 0},
			{20, 101, time.Hour},
		},
		ProfileCompat: {
			{1, 19, 0},
			{20, 20, 30 * time.Second},
			{21, 24, 0},
			{25, 25, 5 * time.Minute},
			{26, 29, 0},
			{30, 30, 15 * time.Minute},
			{31, 34, 0},
			{35, 101, time.Hour},
		},
	} {
		d, now := destination(), t0
		g := guess(false)
		g.Profile = profile
		for _, s := range steps {
			for n := s.from; n <= s.to; n++ {
				if got := profile.wait(n); got != s.wait {
					t.Errorf("%s, failure %d: wait %v, want %v", profile, n, got, s.wait)
				}
				// A new verification for each guess: the waits are the number's.
				v := started()
				if n > MaxFailures-Reserve { // of the reserve, for codes that were sent since
					v = begun(NewID(now))
				}
				v.ExpiresAt = now.Add(time.Minute)
				_, err := v.Check(d, g, now)
				if n > MaxFailures {
					if !errors.Is(err, ErrTooManyGuesses) || d.Failures != MaxFailures {
						t.Errorf("%s, guess %d: got %v, %d failures; want %v, %d", profile, n, err, d.Failures, ErrTooManyGuesses, MaxFailures)
					}
					continue
				}
				if err != nil || d.Failures != n {
					t.Fatalf("%s, failure %d: %v, counted %d", profile, n, err, d.Failures)
				}
				if got := max(0, d.WaitUntil.Sub(now)); got != s.wait {
					t.Errorf("%s, failure %d: has to wait %v, want %v", profile, n, got, s.wait)
				}
				if d.WaitUntil.After(now) {
					now = d.WaitUntil
				}
			}
		}
	}
}

func TestAWaitIsNeverNegative(t *testing.T) {
	t.Parallel()
	for _, p := range []Profile{ProfileCompat, ProfileStandard, "", "lenient"} {
		for n := -30; n <= 200; n++ {
			if got := p.wait(n); got < 0 || n <= 0 && got != 0 {
				t.Errorf("%q, failure %d: wait %v", p, n, got)
			}
		}
		// A number without failures is never late, whatever its profile.
		if got := p.wait(0); got != 0 {
			t.Errorf("%q: no failure waits %v", p, got)
		}
	}
}

func TestAWaitEndsByItself(t *testing.T) {
	t.Parallel()
	d := destination()
	d.Failures = 4
	if _, err := started().Check(d, guess(false), t0); err != nil {
		t.Fatal(err)
	}
	end := t0.Add(30 * time.Second)
	for _, tt := range []struct {
		at   time.Time
		wait time.Duration // 0: evaluated
	}{
		{t0, 30 * time.Second},
		{t0.Add(10 * time.Second), 20 * time.Second},
		{end.Add(-time.Millisecond), time.Millisecond},
		{end, 0},
		{end.Add(time.Millisecond), 0},
	} {
		for _, is := range []bool{true, false} {
			v, d := started(), d.clone()
			g, before := guess(is), d.clone()
			if tt.wait > 0 {
				g = unasked(t)
			}
			got, err := v.Check(d, g, tt.at)
			if tt.wait == 0 {
				if err != nil || got.Approved != is {
					t.Errorf("at %v, guess is %t: got %+v, %v", tt.at, is, got, err)
				}
				continue
			}
			if !errors.Is(err, ErrTooManyGuesses) || retryAfter(err) != tt.wait {
				t.Errorf("at %v: got %v after %v, want %v after %v", tt.at, err, retryAfter(err), ErrTooManyGuesses, tt.wait)
			}
			if diff := cmp.Diff(before, d); diff != "" || v.Guesses != 0 {
				t.Errorf("at %v: a guess that had to wait was counted %d times (-before +after)\n%s", tt.at, v.Guesses, diff)
			}
		}
	}
}

func TestAWaitDoesNotStopStartsOrCancels(t *testing.T) {
	t.Parallel()
	d := destination()
	d.Failures, d.WaitUntil = 25, t0.Add(time.Hour)
	v := begun(NewID(t0))
	if err := v.Begin(d, DefaultLimits, 20*time.Second, t0); err != nil {
		t.Errorf("start: %v", err)
	}
	if err := v.Cancel(t0); err != nil {
		t.Errorf("cancel: %v", err)
	}
}

func TestAfterAHundredFailuresOnlyClearHelps(t *testing.T) {
	t.Parallel()
	d := destination()
	d.Failures = MaxFailures - 1
	if _, err := started().Check(d, guess(false), t0); err != nil || d.Failures != 100 {
		t.Fatalf("the hundredth: %v, %d failures", err, d.Failures)
	}
	for _, now := range []time.Time{t0, d.WaitUntil, t0.Add(10 * 365 * 24 * time.Hour)} {
		v := begun(NewID(now))
		v.ExpiresAt = now.Add(time.Minute)
		before := d.clone()
		_, checked := v.Check(d, unasked(t), now)
		begun := v.Begin(d, Limits{}, 20*time.Second, now)
		for name, err := range map[string]error{"check": checked, "start": begun} {
			if !errors.Is(err, ErrTooManyGuesses) || retryAfter(err) != 24*time.Hour {
				t.Errorf("%s at %v: got %v after %v, want %v after 24h", name, now, err, retryAfter(err), ErrTooManyGuesses)
			}
		}
		if diff := cmp.Diff(before, d); diff != "" {
			t.Errorf("at %v: the destination changed (-before +after)\n%s", now, diff)
		}
	}
	if d.Idle(t0.Add(10 * 365 * 24 * time.Hour)) {
		t.Error("the row may be forgotten, and the failures with it")
	}
	d.Clear()
	if d.Failures != 0 || !d.WaitUntil.IsZero() {
		t.Errorf("cleared: %d failures, wait until %v", d.Failures, d.WaitUntil)
	}
	if err := begun(NewID(t0)).Begin(d, Limits{}, 20*time.Second, t0); err != nil {
		t.Errorf("cleared, start: %v", err)
	}
	if got, err := started().Check(d, guess(true), t0); !got.Approved || err != nil {
		t.Errorf("cleared, right guess: %+v, %v", got, err)
	}
}

func TestASuccessClearsTheFailuresAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	later := t0.Add(time.Hour)
	for _, tt := range []struct {
		name   string
		happen func(*Destination) error
		want   int
	}{
		{"a right code", func(d *Destination) error { _, err := started().Check(d, guess(true), t0); return err }, 0},
		{"a wrong code", func(d *Destination) error { _, err := started().Check(d, guess(false), t0); return err }, 20},
		{"a new verification", func(d *Destination) error {
			return begun(NewID(t0)).Begin(d, DefaultLimits, 20*time.Second, t0)
		}, 19},
		{"a cancel", func(*Destination) error { return started().Cancel(t0) }, 19},
		{"a day", func(d *Destination) error { return d.admit(started(), ProfileCompat, t0.Add(24*time.Hour)) }, 19},
		{"a receipt", func(*Destination) error {
			Receipt{Attempt: 1, Delivered: true}.Settle(started(), &Delivery{}, t0)
			return nil
		}, 19},
	} {
		d := destination()
		d.Failures, d.WaitUntil = 19, t0.Add(-time.Minute)
		if err := tt.happen(d); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if d.Failures != tt.want {
			t.Errorf("%s: %d failures, want %d", tt.name, d.Failures, tt.want)
		}
	}
	d := destination()
	d.Failures, d.WaitUntil = 40, later
	if _, err := started().Check(d, guess(true), t0); !errors.Is(err, ErrTooManyGuesses) || d.Failures != 40 {
		t.Errorf("a right code during a wait: %v, %d failures; want %v, 40", err, d.Failures, ErrTooManyGuesses)
	}
}

// send starts one more verification at an instant.
func send(d *Destination, limits Limits, now time.Time) error {
	return begun(NewID(now)).Begin(d, limits, 20*time.Second, now)
}

func TestSendsAreABurstThenOneEachInterval(t *testing.T) {
	t.Parallel()
	const ms, minute = time.Millisecond, time.Minute
	d, limits := destination(), DefaultLimits
	limits.Daily = 0
	for i, tt := range []struct {
		at   time.Duration
		wait time.Duration // 0: sent
	}{
		{0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0},
		{0, 2 * minute},
		{minute, minute},
		{2*minute - ms, ms},
		{2 * minute, 0},
		{2 * minute, 2 * minute},
		{4*minute - ms, ms},
		{4 * minute, 0},
		{6*minute + 30*time.Second, 0},
		{6*minute + 30*time.Second, 90 * time.Second},
		// Unused time gives back the burst, and not more.
		{6 * time.Hour, 0}, {6 * time.Hour, 0}, {6 * time.Hour, 0}, {6 * time.Hour, 0}, {6 * time.Hour, 0},
		{6 * time.Hour, 2 * minute},
	} {
		before := d.clone()
		err := send(d, limits, t0.Add(tt.at))
		if tt.wait == 0 {
			if err != nil {
				t.Errorf("send %d, after %v: %v", i, tt.at, err)
			}
			continue
		}
		if !errors.Is(err, ErrTooManySends) || retryAfter(err) != tt.wait {
			t.Errorf("send %d, after %v: got %v after %v, want %v after %v", i, tt.at, err, retryAfter(err), ErrTooManySends, tt.wait)
		}
		// A refused start charges nothing, or asking early would push the end of the wait away.
		if diff := cmp.Diff(before, d); diff != "" {
			t.Errorf("send %d, after %v: refused, and the row changed (-before +after)\n%s", i, tt.at, diff)
		}
	}
}

func TestSendsAreTwentyInAnyDay(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	d := destination()
	const ms, apart = time.Millisecond, 7854545 * time.Millisecond // a day / 11
	for n := range 20 {                                            // ten within 20 minutes, the others evenly over the day
		at := time.Duration(n) * 2 * time.Minute
		if n >= 10 {
			at = 18*time.Minute + time.Duration(n-9)*apart
		}
		if err := send(d, DefaultLimits, t0.Add(at)); err != nil {
			t.Fatalf("send %d, after %v: %v", n+1, at, err)
		}
		if n >= 9 {
			if err := send(d, DefaultLimits, t0.Add(at)); retryAfter(err) < apart || retryAfter(err) > apart+18*time.Minute {
				t.Fatalf("after send %d: got %v after %v, want about %v", n+1, err, retryAfter(err), apart)
			}
		}
	}
	for i, tt := range []struct {
		at, wait time.Duration
	}{
		{day - time.Hour, time.Hour + 18*time.Minute - 5*ms},
		{day + 18*time.Minute - 6*ms, ms},
		{day + 18*time.Minute - 5*ms, 0}, // the first nine are a day old
	} {
		before := d.clone()
		err := send(d, DefaultLimits, t0.Add(tt.at))
		if retryAfter(err) != tt.wait || (err != nil) != (tt.wait > 0) || err != nil && !errors.Is(err, ErrTooManySends) {
			t.Errorf("send %d, after %v: got %v after %v, want a wait of %v", i, tt.at, err, retryAfter(err), tt.wait)
		}
		if diff := cmp.Diff(before, d); err != nil && diff != "" {
			t.Errorf("send %d, after %v: refused, and the row changed (-before +after)\n%s", i, tt.at, diff)
		}
	}
}

// Where both limits refuse, the longer wait is the true one: after the shorter a caller would only
// be refused again.
func TestTheLongerOfBothSendWaitsIsAnnounced(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		limits Limits
		want   time.Duration
	}{
		{Limits{Burst: 1, Interval: time.Hour, Daily: 1}, 24 * time.Hour},
		{Limits{Burst: 1, Interval: 30 * time.Hour, Daily: 1}, 30 * time.Hour},
		{Limits{Burst: 1, Interval: time.Hour}, time.Hour},
		{Limits{Daily: 1}, 24 * time.Hour},
		{Limits{Burst: 0, Interval: time.Hour, Daily: 1}, 24 * time.Hour},
		{Limits{}, 0},
	} {
		d := destination()
		if err := send(d, tt.limits, t0); err != nil {
			t.Fatalf("%+v: %v", tt.limits, err)
		}
		err := send(d, tt.limits, t0)
		if got := retryAfter(err); got != tt.want || (err != nil) != (tt.want > 0) {
			t.Errorf("%+v: second send: %v, wait %v; want %v", tt.limits, err, got, tt.want)
		}
		if tt.want == 0 {
			continue
		}
		if err := send(d.clone(), tt.limits, t0.Add(tt.want-time.Millisecond)); !errors.Is(err, ErrTooManySends) {
			t.Errorf("%+v: a millisecond early: %v", tt.limits, err)
		}
		if err := send(d, tt.limits, t0.Add(tt.want)); err != nil {
			t.Errorf("%+v: after the announced wait: %v", tt.limits, err)
		}
	}
}

func TestEachVerificationNamesTheOneBefore(t *testing.T) {
	t.Parallel()
	d := destination()
	var previous ID
	for n := range 4 {
		v := begun(NewID(t0))
		if err := v.Begin(d, DefaultLimits, 20*time.Second, t0); err != nil {
			t.Fatal(err)
		}
		if v.Previous != previous || d.Latest != v.ID {
			t.Errorf("verification %d: previous %v, latest %v; want %v, %v", n, v.Previous, d.Latest, previous, v.ID)
		}
		previous = v.ID
	}
}

func TestADestinationIsIdleWhenNothingIsLeftToRemember(t *testing.T) {
	t.Parallel()
	sent := destination()
	if err := send(sent, DefaultLimits, t0); err != nil {
		t.Fatal(err)
	}
	failed := sent.clone()
	failed.Failures = 1
	long := destination()
	if err := send(long, Limits{Burst: 1, Interval: 48 * time.Hour}, t0); err != nil {
		t.Fatal(err)
	}
	const day, ms = 24 * time.Hour, time.Millisecond
	for _, tt := range []struct {
		name string
		d    *Destination
		at   time.Duration
		want bool
	}{
		{"never sent to", destination(), 0, true},
		{"just sent to", sent, 0, false},
		{"burst given back", sent, 2 * time.Minute, false},
		{"a day less a millisecond", sent, day - ms, false},
		{"a day", sent, day, true},
		{"with a failure", failed, 1000 * day, false},
		// Another project's intervals may be longer than the default's.
		{"long interval, not over", long, 48*time.Hour - ms, false},
		{"long interval, over", long, 48 * time.Hour, true},
	} {
		if got := tt.d.Idle(t0.Add(tt.at)); got != tt.want {
			t.Errorf("%s: idle %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestErrorsThatSayHowLongToWaitDoNotTouchTheirSentinel(t *testing.T) {
	t.Parallel()
	d := destination()
	d.Failures = MaxFailures
	err := fmt.Errorf("check: %w", d.admit(started(), ProfileCompat, t0))
	if !errors.Is(err, ErrTooManyGuesses) || retryAfter(err) != lockedFor {
		t.Errorf("got %v after %v, want %v after %v", err, retryAfter(err), ErrTooManyGuesses, lockedFor)
	}
	if ErrTooManyGuesses.RetryAfter != 0 {
		t.Errorf("the sentinel waits %v", ErrTooManyGuesses.RetryAfter)
	}
	if errors.Is(err, ErrTooManySends) || errors.Is(ErrTooManyGuesses.After(1), ErrBusy) || errors.Is(errors.New("x"), ErrBusy) {
		t.Error("errors of different codes match")
	}
	if a, b := ErrBusy.After(time.Minute), ErrBusy; !errors.Is(a, b) || !errors.Is(b, a) || b.RetryAfter != time.Second || a.Kind != b.Kind {
		t.Errorf("a copy is %+v, its sentinel %+v", a, b)
	}
}

// Somebody guesses wrong once an hour at an old code, and so keeps the number waiting. The code that its owner
// asks for then is evaluated, once; the guesses of the old one end before the reserve does.
func TestANewCodeIsEvaluatedInSpiteOfAStrangersGuesses(t *testing.T) {
	t.Parallel()
	for _, profile := range []Profile{ProfileCompat, ProfileStandard} {
		d, now := destination(), t0
		wrong, right := guess(false), guess(true)
		wrong.Profile, right.Profile = profile, profile
		stranger := func() *Verification { // codes that were all sent before
			v := begun(NewID(t0.Add(-time.Minute)))
			v.ExpiresAt = now.Add(time.Hour)
			return v
		}
		evaluated := 0
		for range 24 * 30 {
			switch _, err := stranger().Check(d, wrong, now); {
			case err == nil:
				evaluated++
			case !errors.Is(err, ErrTooManyGuesses):
				t.Fatal(err)
			}
			mine := begun(NewID(now.Add(time.Minute)))
			mine.ExpiresAt = now.Add(time.Hour)
			copied := d.clone()
			if out, err := mine.clone().Check(copied, right, now.Add(2*time.Minute)); !out.Approved || err != nil {
				t.Fatalf("%s, after %d wrong guesses: the code that was sent since: %+v, %v", profile, evaluated, out, err)
			}
			now = now.Add(time.Hour)
		}
		if evaluated != MaxFailures-Reserve {
			t.Errorf("%s: %d wrong guesses at old codes were evaluated, want %d", profile, evaluated, MaxFailures-Reserve)
		}
		// The reserve: one guess for each code that is sent after the failure before, and no second one.
		for n := evaluated; n < MaxFailures; n++ {
			v := begun(NewID(now.Add(time.Second)))
			v.ExpiresAt = now.Add(time.Hour)
			if _, err := v.Check(d, wrong, now.Add(2*time.Second)); err != nil {
				t.Fatalf("%s, reserve, guess %d: %v", profile, n+1, err)
			}
			if _, err := v.Check(d, right, now.Add(3*time.Second)); !errors.Is(err, ErrTooManyGuesses) {
				t.Fatalf("%s, a second guess of the reserve at one code: %v", profile, err)
			}
			now = now.Add(time.Minute)
		}
		v := begun(NewID(now))
		v.ExpiresAt = now.Add(time.Hour)
		if _, err := v.Check(d, right, now.Add(time.Second)); !errors.Is(err, ErrTooManyGuesses) || d.Failures != MaxFailures {
			t.Errorf("%s: after %d failures: %v, want %v", profile, d.Failures, err, ErrTooManyGuesses)
		}
	}
}

// Twenty sends as quickly as possible don't keep a number from the next one for a day.
func TestADaysSendsAreSpread(t *testing.T) {
	t.Parallel()
	d, now, longest := destination(), t0, time.Duration(0)
	for sends := 0; now.Sub(t0) < 3*24*time.Hour; {
		wait := d.charge(DefaultLimits, now)
		longest = max(longest, wait)
		if wait == 0 {
			sends++
			continue
		}
		now = now.Add(wait)
	}
	if most := 24 * time.Hour / 11; longest > most {
		t.Errorf("the longest wait is %v, want at most %v", longest, most)
	}
}
