package exchange

import (
	"testing"
	"time"
)

func TestRetryAfterReadsADateByTheClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 13, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"Mon, 04 May 2026 13:00:30 GMT":  30 * time.Second, // RFC 9110's own form
		"Monday, 04-May-26 13:01:00 GMT": time.Minute,      // and its two obsolete ones
		"Mon May  4 13:02:00 2026":       2 * time.Minute,
		"Mon, 04 May 2026 12:59:59 GMT":  0,
		"Mon, 04 May 2026 13:00:00 GMT":  0,
		"Wed, 06 May 2026 13:00:00 GMT":  24 * time.Hour,
		"":                               0, "+": 0, "0x10": 0, "1 2": 0, "٣": 0,
	} {
		if got := RetryAfter(value, now); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "7", "-1", "86401", "99999999999999999999", "Mon, 04 May 2026 13:00:30 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		f.Add(s, int64(1777899600))
	}
	f.Fuzz(func(t *testing.T, value string, unix int64) {
		if got := RetryAfter(value, time.Unix(unix%(1<<33), 0)); got < 0 || got > 24*time.Hour {
			t.Errorf("RetryAfter(%q) = %v, want 0 to 24h", value, got)
		}
	})
}
