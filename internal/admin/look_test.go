package admin

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/limit"
	"github.com/countersign/countersign/internal/verify"
)

func TestSendingSaysWhatTheLimitsAllow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	burst := verify.Limits{Burst: 2, Interval: 2 * time.Minute, Daily: 20}
	for want, tt := range map[string]struct {
		sent   limit.Log
		tat    time.Time
		limits verify.Limits
	}{
		"0 of 20 messages in 24 hours; the next may go now":                       {nil, time.Time{}, burst},
		"1 of 20 messages in 24 hours; the next may go now":                       {limit.Log{now.Add(-25 * time.Hour), now.Add(-time.Minute)}, now.Add(time.Minute), burst},
		"2 of 20 messages in 24 hours; the next from 2026-05-04T12:02:00Z on":     {limit.Log{now, now}, now.Add(4 * time.Minute), burst},
		"3 of 3 messages in 24 hours; the next from 2026-05-05T11:00:00Z on":      {limit.Log{now.Add(-time.Hour), now, now}, time.Time{}, verify.Limits{Daily: 3}},
		"no limit of messages in 24 hours; the next may go now":                   {limit.Log{now}, now.Add(time.Hour), verify.Limits{}},
		"no limit of messages in 24 hours; the next from 2026-05-04T13:00:00Z on": {limit.Log{now}, now.Add(62 * time.Minute), verify.Limits{Burst: 2, Interval: 2 * time.Minute}},
	} {
		d := verify.Destination{Sends: tt.sent, TAT: tt.tat}
		if got := Sending(d, tt.limits, now); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got := Sending(d, tt.limits, now); got != want {
			t.Errorf("asked again: got %s, want %s", got, want)
		}
	}
}
