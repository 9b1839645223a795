package storetest

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A call holds its number's phone for all projects, until it is settled or may have lasted its time. What
// somebody else calls for us holds it for a minute more, and a hold that is over is forgotten.
func phonesAreHeldWhileACallMayLast(t *testing.T, s suite) {
	k := s.open(t)
	const callTime = 2 * time.Minute
	projects := 0
	call := func() (*verify.Verification, error) {
		projects++
		v := k.fresh(number(0))
		v.Project = verify.ProjectID("p-" + string(rune('a'+projects)))
		v.Channel, v.Calling = verify.ChannelVoice, callTime
		return v, k.Start(ctx, v, verify.Limits{}, lease)
	}
	settle := func(v *verify.Verification, o verify.AttemptOutcome) {
		t.Helper()
		_, err := k.Settle(ctx, verify.Settlement{Called: v.To, Delivery: verify.Delivery{
			Verification: v.ID, Attempt: v.Attempt, Channel: verify.ChannelVoice, Carrier: "a", Outcome: o, StartedAt: k.clock.Now(),
		}})
		wantError(t, "settle", err, nil)
	}
	refused := func(when string, after time.Duration) {
		t.Helper()
		if _, err := call(); !sameError(err, verify.ErrCalling.After(after)) {
			t.Errorf("%s: got %v, want %v after %v", when, err, verify.ErrCalling, after)
		}
	}

	first, err := call()
	wantError(t, "the first", err, nil)
	refused("beside it", lease+callTime)
	settle(first, verify.AttemptErrored)
	second, err := call()
	wantError(t, "after its end", err, nil)
	settle(second, verify.AttemptAccepted)
	refused("while another one calls for us", time.Minute)
	k.clock.advance(time.Minute)
	third, err := call()
	wantError(t, "a minute later", err, nil)
	settle(first, verify.AttemptErrored) // what was settled before releases nobody's phone
	refused("beside the third", lease+callTime)
	k.clock.advance(lease + callTime - time.Millisecond)
	refused("just before its time is over", time.Millisecond)
	k.clock.advance(time.Millisecond)
	fourth, err := call()
	wantError(t, "when its time is over", err, nil)

	for name, tt := range map[string]struct {
		id      verify.ID
		attempt int
		want    bool
	}{"the holder": {fourth.ID, 1, true}, "its next attempt": {fourth.ID, 2, false}, "another": {third.ID, 1, false}} {
		if ours, err := k.Hold(ctx, number(0), tt.id, tt.attempt, callTime); ours != tt.want || err != nil {
			t.Errorf("%s: holds on %t, %v; want %t", name, ours, err, tt.want)
		}
	}
	refused("held longer", callTime)
}
