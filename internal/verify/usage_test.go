package verify

import (
	"testing"
	"time"
)

// Of messages that came in 1 to 10 s, and of one that came after an hour, each share arrived in about its time.
func TestTimesToTheHandset(t *testing.T) {
	t.Parallel()
	var few, none Times
	for i := range 100 {
		few.add(time.Duration(i+1) * 100 * time.Millisecond)
	}
	for share, want := range map[float64]time.Duration{0.1: time.Second, 0.5: 5 * time.Second, 0.8: 8 * time.Second} {
		if got, more := few.Quantile(share); got < want-time.Millisecond || got > want+time.Millisecond || more {
			t.Errorf("%.0f %%: got %v, %v, want %v", 100*share, got, more, want)
		}
	}
	if got, more := few.Quantile(0.95); got < 8*time.Second || got > 13*time.Second || more {
		t.Errorf("95 %%: got %v, %v, want between the bounds around 9.5 s", got, more)
	}
	few.add(time.Hour)
	if got, more := few.Quantile(1); got != time.Minute || !more {
		t.Errorf("the last one: got %v, %v, want more than a minute", got, more)
	}
	if got, more := none.Quantile(0.5); got != 0 || more {
		t.Errorf("of none: got %v, %v, want 0", got, more)
	}
}
