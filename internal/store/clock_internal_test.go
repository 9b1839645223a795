package store

import (
	"testing"
	"time"
)

// at is a reading at a number of seconds, of a machine whose wall clock is ahead by some.
func at(seconds, ahead float64) Reading {
	return Reading{instant(seconds + ahead), time.Duration(seconds * float64(time.Second))}
}

func instant(seconds float64) time.Time {
	return time.UnixMilli(1_800_000_000_000 + int64(seconds*1000))
}

// A comparison may be vague or late, and clocks step: what the clock makes of it.
func TestAClockFollowsWhatTheDatabaseSays(t *testing.T) {
	t.Parallel()
	const ahead = 3600 // of the machine
	type answer struct{ asked, answered, said float64 }
	for name, test := range map[string]struct {
		answers []answer
		at      float64 // when the clock is read
		want    float64
		judges  bool
	}{
		"not asked yet":                         {nil, 1, 1 + ahead, false},
		"the first answer":                      {[]answer{{1, 1, 1}}, 2, 2, false},
		"answers for long enough":               {[]answer{{1, 1, 1}, {8, 8, 8}, {16, 16, 16}}, 17, 17, true},
		"the last answer is too old":            {[]answer{{1, 1, 1}, {8, 8, 8}, {16, 16, 16}}, 26.5, 26.5, false},
		"a gap between the answers":             {[]answer{{1, 1, 1}, {16, 16, 16}}, 17, 17, false},
		"after a gap":                           {[]answer{{1, 1, 1}, {16, 16, 16}, {24, 24, 24}, {32, 32, 32}}, 33, 33, true},
		"the database steps":                    {[]answer{{1, 1, 1}, {9, 9, 9}, {17, 17, 77}}, 18, 78, false},
		"the database steps back":               {[]answer{{1, 1, 1}, {9, 9, 9}, {17, 17, 7}}, 18, 8, false},
		"after a step":                          {[]answer{{1, 1, 1}, {9, 9, 69}, {17, 17, 77}, {24, 24, 84}}, 25, 85, true},
		"an answer within its margin":           {[]answer{{1, 1, 1}, {8, 8.5, 8.4}, {16, 16, 16}}, 17, 17, true},
		"an answer beyond it corrects":          {[]answer{{1, 1, 1}, {8, 8, 8.2}, {16, 16, 16.2}}, 17, 17.2, true},
		"an answer that took too long":          {[]answer{{1, 1, 1}, {8, 8, 8}, {9, 14, 9}, {16, 16, 16}}, 17, 17, true},
		"an answer that another one overtook":   {[]answer{{1, 1, 1}, {9, 9, 69}, {8.8, 8.8, 8.8}}, 10, 70, false},
		"a first answer that took long is used": {[]answer{{1, 5, 3}}, 6, 6, false},
	} {
		now := at(0, ahead)
		c := newClock(nil, func() Reading { return now })
		for _, a := range test.answers {
			c.compare(at(a.asked, ahead), at(a.answered, ahead), instant(a.said))
		}
		now = at(test.at, ahead)
		if got, want := c.now(), instant(test.want); !got.Equal(want) {
			t.Errorf("%s: the time is %v, want %v", name, got, want)
		}
		if got := c.judges(); got != test.judges {
			t.Errorf("%s: judges leases: %v, want %v", name, got, test.judges)
		}
		if got, want := c.skew(), ahead*time.Second; len(test.answers) > 0 && (got-want).Abs() > 70*time.Second {
			t.Errorf("%s: the machine is ahead by %v, want about %v", name, got, want)
		}
	}
}

// While the wall clock steps, the time goes on; and the clock doubts whether the machine was suspended.
func TestAStepOfTheWallClockIsDoubtful(t *testing.T) {
	t.Parallel()
	now := at(0, 0)
	c := newClock(nil, func() Reading { return now })
	c.compare(now, now, instant(0))
	for _, ahead := range []float64{0, 0.9, -0.9, 1.1, -1.1, 3600, -3600} {
		now = at(5, ahead)
		if got := c.now(); !got.Equal(instant(5)) {
			t.Errorf("%v s ahead: the time is %v, want %v", ahead, got, instant(5))
		}
		if got, want := c.doubtful(), ahead > 1 || ahead < -1; got != want {
			t.Errorf("%v s ahead: doubtful: %v, want %v", ahead, got, want)
		}
	}
}

// A question in whose middle the wall clock steps was asked by one clock and answered by another.
func TestAnAnswerAcrossAStepSaysNothing(t *testing.T) {
	t.Parallel()
	c := newClock(nil, func() Reading { return at(0, 0) })
	c.compare(at(1, 0), at(1, 0), instant(1))
	c.compare(at(2, 3600), at(2.2, 0), instant(2.1))
	if got := c.skew(); got != 0 {
		t.Errorf("the machine is ahead by %v, want by nothing", got)
	}
	c.compare(at(3, 3600), at(3.2, 3600), instant(3.1))
	if got := c.skew(); got != time.Hour {
		t.Errorf("after the step the machine is ahead by %v, want by an hour", got)
	}
}
