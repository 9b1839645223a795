package verify

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const lease = 20 * time.Second

// with is a verification whose delivery is in a state, its attempt 2 the latest, due at t0 while
// somebody has to do something about it.
func with(s DeliveryState) *Verification {
	v := started()
	v.Delivery, v.Attempt, v.DueAt, v.Reason = s, 2, time.Time{}, NoReason
	switch s {
	case DeliveryQueued:
		v.DueAt, v.Reason = t0, ReasonBusy
	case DeliverySending:
		v.DueAt = t0
	case DeliveryFailed:
		v.Reason = ReasonRefused
	}
	return v
}

var deliveryStates = []DeliveryState{DeliveryQueued, DeliverySending, DeliverySent, DeliveryDelivered, DeliveryFailed}

// ends are what may have become of a verification while its message was on its way.
var ends = map[string]struct {
	end    func(*Verification)
	reason Reason // of a message that nobody sends any more
	err    error
}{
	"pending":  {func(*Verification) {}, NoReason, nil},
	"expired":  {func(v *Verification) { v.ExpiresAt = t0 }, ReasonExpired, ErrExpired},
	"spent":    {func(v *Verification) { v.Status, v.SealedCode = StatusExhausted, nil }, ReasonExhausted, ErrGuessesSpent},
	"canceled": {func(v *Verification) { v.Status, v.SealedCode = StatusCanceled, nil }, ReasonCanceled, ErrCanceled},
}

func TestAnAttemptIsClaimedWhenItIsDueAndTheCodeLives(t *testing.T) {
	t.Parallel()
	for _, s := range deliveryStates {
		for end, tt := range ends {
			for _, early := range []time.Duration{0, time.Millisecond, -time.Hour} {
				name := fmt.Sprintf("%v, %s, %v before it is due", s, end, early)
				v := with(s)
				tt.end(v)
				if v.Open() {
					v.DueAt = t0.Add(early)
				}
				want := v.clone()
				var wantLost *Delivery
				wantClaimed := false
				if v.Open() && early <= 0 {
					if s == DeliverySending {
						wantLost = &Delivery{Verification: v.ID, Attempt: 2, Outcome: AttemptUnknown, Reason: ReasonLeaseLost, StartedAt: v.DueAt, EndedAt: v.DueAt}
					}
					if tt.reason != NoReason {
						want.Delivery, want.Reason, want.DueAt = DeliveryFailed, tt.reason, time.Time{}
					} else {
						wantClaimed = true
						want.Delivery, want.Reason, want.DueAt, want.Attempt = DeliverySending, NoReason, t0.Add(lease), 3
					}
				}
				lost, claimed := v.Claim(lease, t0)
				if claimed != wantClaimed {
					t.Errorf("%s: claimed %t, want %t", name, claimed, wantClaimed)
				}
				if diff := cmp.Diff(wantLost, lost); diff != "" {
					t.Errorf("%s: lost attempt (-want +got)\n%s", name, diff)
				}
				if diff := cmp.Diff(want, v); diff != "" {
					t.Errorf("%s: verification (-want +got)\n%s", name, diff)
				}
			}
		}
	}
}

func TestOnlyOneClaimWins(t *testing.T) {
	t.Parallel()
	v := with(DeliveryQueued)
	if _, claimed := v.Claim(lease, t0); !claimed {
		t.Fatal("not claimed")
	}
	for _, now := range []time.Time{t0, t0.Add(lease - time.Millisecond)} {
		if lost, claimed := v.Claim(lease, now); lost != nil || claimed {
			t.Errorf("at %v: claimed %t, lost %v; want nothing while the lease lasts", now, claimed, lost)
		}
	}
	lost, claimed := v.Claim(lease, t0.Add(lease))
	if lost == nil || lost.Attempt != 3 || !claimed || v.Attempt != 4 {
		t.Errorf("when it is over: claimed %t, lost %v, attempt %d; want attempt 3 lost, 4 claimed", claimed, lost, v.Attempt)
	}
}

func TestALeaseIsRenewedByItsHolderOnly(t *testing.T) {
	t.Parallel()
	now := t0.Add(-5 * time.Second)
	for _, s := range deliveryStates {
		for end, tt := range ends {
			for attempt := 1; attempt <= 3; attempt++ {
				name := fmt.Sprintf("%v, %s, attempt %d", s, end, attempt)
				v := with(s)
				tt.end(v)
				if end == "expired" {
					v.ExpiresAt = now
				}
				want, wantErr := v.clone(), tt.err
				switch {
				case s != DeliverySending || attempt != 2:
					wantErr = ErrLeaseLost
				case wantErr == nil:
					want.DueAt = now.Add(lease)
				}
				if err := v.Renew(attempt, lease, now); !errors.Is(err, wantErr) {
					t.Errorf("%s: got %v, want %v", name, err, wantErr)
				}
				if diff := cmp.Diff(want, v); diff != "" {
					t.Errorf("%s: verification (-want +got)\n%s", name, diff)
				}
			}
		}
	}
}

func TestAnAttemptThatEndsDecidesWhatIsNext(t *testing.T) {
	t.Parallel()
	soon, never := t0.Add(time.Minute), time.Time{}
	for _, tt := range []struct {
		name    string
		outcome AttemptOutcome
		reason  Reason
		retry   bool
		at      time.Time

		want           DeliveryState
		reason2, ended Reason // reasons, also where the verification has ended
		due            time.Time
	}{
		{"accepted", AttemptAccepted, NoReason, false, never, DeliverySent, NoReason, NoReason, never},
		{"accepted, whatever it says of a retry", AttemptAccepted, NoReason, true, soon, DeliverySent, NoReason, NoReason, never},
		// It may have been sent: a second one at once would be one too many.
		{"unknown", AttemptUnknown, ReasonUnknown, false, never, DeliverySent, ReasonUnknown, ReasonUnknown, never},
		{"unknown, whatever it says of a retry", AttemptUnknown, ReasonUnknown, true, soon, DeliverySent, ReasonUnknown, ReasonUnknown, never},
		{"refused for good", AttemptRefused, ReasonRefused, false, never, DeliveryFailed, ReasonRefused, ReasonRefused, never},
		{"refused, another carrier at once", AttemptRefused, ReasonRefused, true, never, DeliveryQueued, ReasonRefused, ReasonRefused, t0},
		{"errored for good", AttemptErrored, ReasonError, false, never, DeliveryFailed, ReasonError, ReasonError, never},
		{"errored, later", AttemptErrored, ReasonError, true, soon, DeliveryQueued, ReasonError, ReasonError, soon},
		{"errored, at a time that has passed", AttemptErrored, ReasonError, true, t0.Add(-time.Minute), DeliveryQueued, ReasonError, ReasonError, t0},
		{"dropped", AttemptDropped, ReasonExpired, false, never, DeliveryFailed, ReasonExpired, ReasonExpired, never},
	} {
		for end, e := range ends {
			v := with(DeliverySending)
			e.end(v)
			want := v.clone()
			want.Delivery, want.Reason, want.DueAt = tt.want, tt.reason2, tt.due
			if e.err != nil && tt.want == DeliveryQueued { // nothing is sent for a dead code
				want.Delivery, want.Reason, want.DueAt = DeliveryFailed, tt.ended, time.Time{}
			}
			s := &Settlement{Delivery: Delivery{Verification: v.ID, Attempt: 2, Outcome: tt.outcome, Reason: tt.reason}, Retry: tt.retry, RetryAt: tt.at}
			if err := v.Settle(s, t0); err != nil {
				t.Errorf("%s, %s: %v", tt.name, end, err)
			}
			if !s.EndedAt.Equal(t0) {
				t.Errorf("%s, %s: ended at %v, want %v", tt.name, end, s.EndedAt, t0)
			}
			if diff := cmp.Diff(want, v); diff != "" {
				t.Errorf("%s, %s: verification (-want +got)\n%s", tt.name, end, diff)
			}
		}
	}
}

func TestNoRetryIsPlannedForAfterTheCodesDeath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		before time.Duration // of the expiry
		want   DeliveryState
	}{
		{time.Millisecond, DeliveryQueued},
		{0, DeliveryFailed},
		{-time.Millisecond, DeliveryFailed},
	} {
		v := with(DeliverySending)
		s := &Settlement{Delivery: Delivery{Attempt: 2, Outcome: AttemptErrored, Reason: ReasonBusy}, Retry: true, RetryAt: v.ExpiresAt.Add(-tt.before)}
		if err := v.Settle(s, t0); err != nil {
			t.Fatal(err)
		}
		if v.Delivery != tt.want || v.Reason.String() != "busy" {
			t.Errorf("retry %v before the expiry: %v (%s), want %v (busy)", tt.before, v.Delivery, v.Reason, tt.want)
		}
	}
}

// A carrier that sees it through to the end, as a call is, says at once that the person has the message.
func TestWhatIsDeliveredAtOnceWaitsForNoReceipt(t *testing.T) {
	t.Parallel()
	for outcome := AttemptAccepted; outcome <= AttemptDropped; outcome++ {
		v := with(DeliverySending)
		s := &Settlement{Delivery: Delivery{Attempt: 2, Outcome: outcome, Reason: ReasonLost}, Delivered: true, Watch: time.Minute}
		if err := v.Settle(s, t0); err != nil {
			t.Fatal(err)
		}
		if (v.Delivery == DeliveryDelivered) != (outcome == AttemptAccepted) || outcome == AttemptAccepted && (v.Watched() || v.Reason != NoReason) {
			t.Errorf("%v: got %v (%s), watched %t", outcome, v.Delivery, v.Reason, v.Watched())
		}
	}
}

// What somebody else made of the delivery meanwhile stands; the attempt is recorded all the same.
func TestAnAttemptThatEndsLateChangesNothing(t *testing.T) {
	t.Parallel()
	for _, s := range []DeliveryState{DeliveryQueued, DeliverySent, DeliveryDelivered, DeliveryFailed} {
		for outcome := AttemptAccepted; outcome <= AttemptDropped; outcome++ {
			v := with(s)
			before := v.clone()
			settled := &Settlement{Delivery: Delivery{Attempt: 2, Outcome: outcome, Reason: ReasonNetwork}, Retry: true, RetryAt: t0.Add(time.Minute)}
			if err := v.Settle(settled, t0); err != nil || !settled.EndedAt.Equal(t0) {
				t.Errorf("%v, %v: %v, ended at %v; want it recorded", s, outcome, err, settled.EndedAt)
			}
			if diff := cmp.Diff(before, v); diff != "" {
				t.Errorf("%v, %v: the verification changed (-before +after)\n%s", s, outcome, diff)
			}
		}
	}
}

// A commit can fail and yet have happened, so whoever settles may settle again.
func TestSettlingTwiceIsSettlingOnce(t *testing.T) {
	t.Parallel()
	for outcome := AttemptAccepted; outcome <= AttemptDropped; outcome++ {
		for _, retry := range []bool{false, true} {
			v := with(DeliverySending)
			settle := func(now time.Time) error {
				return v.Settle(&Settlement{Delivery: Delivery{Attempt: 2, Outcome: outcome, Reason: ReasonBusy}, Retry: retry, RetryAt: t0.Add(time.Minute)}, now)
			}
			if err := settle(t0); err != nil {
				t.Fatal(err)
			}
			once := v.clone()
			if err := settle(t0.Add(time.Second)); err != nil {
				t.Errorf("%v, retry %t: the second time: %v", outcome, retry, err)
			}
			if diff := cmp.Diff(once, v); diff != "" {
				t.Errorf("%v, retry %t: the second time changed it (-once +twice)\n%s", outcome, retry, diff)
			}
		}
	}
}

// A replica that was frozen while another took over holds nothing any more, however the new
// attempt is doing.
func TestWhoLostTheLeaseSettlesAndRenewsNothing(t *testing.T) {
	t.Parallel()
	for _, s := range deliveryStates {
		v := with(DeliverySending)
		if _, claimed := v.Claim(lease, t0); !claimed || v.Attempt != 3 {
			t.Fatalf("claimed %t, attempt %d", claimed, v.Attempt)
		}
		now := t0.Add(time.Second)
		switch s { // what the new holder has made of it
		case DeliveryQueued:
			v.Settle(&Settlement{Delivery: Delivery{Attempt: 3, Outcome: AttemptErrored, Reason: ReasonBusy}, Retry: true}, now)
		case DeliverySent:
			v.Settle(&Settlement{Delivery: Delivery{Attempt: 3, Outcome: AttemptAccepted}}, now)
		case DeliveryFailed:
			v.Settle(&Settlement{Delivery: Delivery{Attempt: 3, Outcome: AttemptRefused, Reason: ReasonRefused}}, now)
		case DeliveryDelivered:
			Receipt{Attempt: 3, Delivered: true}.Settle(v, &Delivery{}, now)
		}
		if v.Delivery != s {
			t.Fatalf("new holder: %v, want %v", v.Delivery, s)
		}
		before := v.clone()
		for outcome := AttemptAccepted; outcome <= AttemptDropped; outcome++ {
			late := &Settlement{Delivery: Delivery{Attempt: 2, Outcome: outcome, Reason: ReasonLater}, Retry: true}
			unsettled := *late
			if err := v.Settle(late, now); !errors.Is(err, ErrLeaseLost) {
				t.Errorf("%v, settle %v: got %v, want %v", s, outcome, err, ErrLeaseLost)
			}
			if diff := cmp.Diff(&unsettled, late); diff != "" {
				t.Errorf("%v, settle %v: the settlement changed (-before +after)\n%s", s, outcome, diff)
			}
		}
		if err := v.Renew(2, lease, now); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("%v, renew: got %v, want %v", s, err, ErrLeaseLost)
		}
		if diff := cmp.Diff(before, v); diff != "" {
			t.Errorf("%v: the verification changed (-before +after)\n%s", s, diff)
		}
	}
}

// TestNothingSettlesBeforeTheFirstAttempt is about a verification that has expired before its message was tried.
func TestNothingSettlesBeforeTheFirstAttempt(t *testing.T) {
	now := time.Date(2026, 7, 12, 12, 0, 0, 0, time.UTC)
	v := &Verification{Terms: Terms{ExpiresAt: now}, Progress: Progress{Delivery: DeliveryFailed, Reason: ReasonExpired}}
	for _, verdict := range []Verdict{NoVerdict, VerdictApproves, VerdictRejects} {
		s := &Settlement{Verdict: verdict}
		err := v.Settle(s, now)
		if verdict != NoVerdict {
			_, err = v.Answer(&Destination{}, s, now)
		}
		if !errors.Is(err, ErrLeaseLost) || !s.EndedAt.IsZero() {
			t.Errorf("%v: got %v and an end at %v, want %v and none", verdict, err, s.EndedAt, ErrLeaseLost)
		}
	}
}

// Slow isn't lost: until somebody else claims the attempt, it is still its holder's.
func TestALeaseThatIsOverIsItsHoldersUntilSomebodyClaimsIt(t *testing.T) {
	t.Parallel()
	now := t0.Add(time.Minute)
	renewed, settled := with(DeliverySending), with(DeliverySending)
	if err := renewed.Renew(2, lease, now); err != nil || !renewed.DueAt.Equal(now.Add(lease)) {
		t.Errorf("renew: %v, due at %v", err, renewed.DueAt)
	}
	if err := settled.Settle(&Settlement{Delivery: Delivery{Attempt: 2, Outcome: AttemptAccepted}}, now); err != nil || settled.Delivery != DeliverySent {
		t.Errorf("settle: %v, %v", err, settled.Delivery)
	}
}

func TestAReceiptAdvancesWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	receipts := map[string]Receipt{
		"delivered":              {Attempt: 2, Delivered: true},
		"delivered, earlier one": {Attempt: 1, Delivered: true},
		"failed":                 {Attempt: 2, Reason: ReasonUnreachable},
		"failed, retry":          {Attempt: 2, Reason: ReasonUnreachable, Retry: true},
		"failed, earlier one":    {Attempt: 1, Reason: ReasonUnreachable, Retry: true},
	}
	for _, s := range deliveryStates {
		for end, e := range ends {
			for kind, r := range receipts {
				v := with(s)
				if s == DeliverySent {
					v.Reason = ReasonUnknown // nobody knew; now somebody does
				}
				e.end(v)
				want := v.clone()
				switch {
				case s == DeliveryDelivered, s == DeliveryFailed:
				case r.Delivered: // also where it waits for another try
					want.Delivery, want.Reason, want.DueAt = DeliveryDelivered, NoReason, time.Time{}
				case s == DeliverySent, s == DeliverySending:
					switch {
					case r.Attempt == 1: // the second one is on its way
					case r.Retry && e.err == nil:
						want.Delivery, want.Reason, want.DueAt = DeliveryQueued, ReasonUnreachable, t0
					default:
						want.Delivery, want.Reason, want.DueAt = DeliveryFailed, ReasonUnreachable, time.Time{}
					}
				}
				r.Settle(v, &Delivery{}, t0)
				if diff := cmp.Diff(want, v); diff != "" {
					t.Errorf("%v, %s, receipt %s: (-want +got)\n%s", s, end, kind, diff)
				}
			}
		}
	}
}

// A network can be quicker than our own commit. What the receipt made of the message stands, and
// the attempt is recorded, so that the next one knows which carrier failed.
func TestAReceiptMayComeBeforeItsAttemptIsSettled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		receipt Receipt
		want    DeliveryState
	}{
		{Receipt{Attempt: 2, Delivered: true}, DeliveryDelivered},
		{Receipt{Attempt: 2, Reason: ReasonUnreachable, Retry: true}, DeliveryQueued},
		{Receipt{Attempt: 2, Reason: ReasonUnreachable}, DeliveryFailed},
	} {
		v := with(DeliverySending)
		tt.receipt.Settle(v, &Delivery{}, t0)
		before := v.clone()
		s := &Settlement{Delivery: Delivery{Attempt: 2, Carrier: "a", Outcome: AttemptAccepted}}
		if err := v.Settle(s, t0.Add(time.Millisecond)); err != nil || s.EndedAt.IsZero() {
			t.Errorf("%+v: %v, ended at %v; want the attempt recorded", tt.receipt, err, s.EndedAt)
		}
		if diff := cmp.Diff(before, v); diff != "" || v.Delivery != tt.want {
			t.Errorf("%+v: %v, want %v (-receipt +settled)\n%s", tt.receipt, v.Delivery, tt.want, diff)
		}
	}
}

// Silence moves on once: what was sent is watched as long as told, if the code lives by then.
func TestSilenceMakesASentMessageDue(t *testing.T) {
	t.Parallel()
	const watch = time.Minute
	for end, e := range ends {
		for _, life := range []time.Duration{watch, watch + time.Millisecond} {
			for _, outcome := range []AttemptOutcome{AttemptAccepted, AttemptUnknown} {
				name := fmt.Sprintf("%v, %s, code lives %v", outcome, end, life)
				v := with(DeliverySending)
				v.ExpiresAt = t0.Add(life)
				e.end(v)
				if err := v.Settle(&Settlement{Delivery: Delivery{Attempt: 2, Outcome: outcome}, Watch: watch}, t0); err != nil {
					t.Fatal(err)
				}
				if want := e.err == nil && life > watch; v.Watched() != want || want != !v.DueAt.IsZero() || v.Delivery != DeliverySent {
					t.Errorf("%s: %v, watched %t until %v; want it sent, watched %t", name, v.Delivery, v.Watched(), v.DueAt, want)
				}
				if !v.Watched() {
					continue
				}
				if _, claimed := v.Claim(lease, t0.Add(watch-time.Millisecond)); claimed {
					t.Errorf("%s: claimed before its time", name)
				}
				lost, claimed := v.Claim(lease, t0.Add(watch))
				if lost != nil || !claimed || v.Attempt != 3 || v.Delivery != DeliverySending {
					t.Errorf("%s: claimed %t, lost %v, attempt %d, %v; want attempt 3", name, claimed, lost, v.Attempt, v.Delivery)
				}
			}
		}
	}
}

// A message whose code has died meanwhile has been sent all the same.
func TestAWatchEndsWithTheCode(t *testing.T) {
	t.Parallel()
	for end, e := range ends {
		if e.err == nil {
			continue
		}
		v := with(DeliverySent)
		v.DueAt = t0
		e.end(v)
		if lost, claimed := v.Claim(lease, t0); lost != nil || claimed || v.Delivery != DeliverySent || v.Watched() || v.Attempt != 2 {
			t.Errorf("%s: claimed %t, lost %v, %v, watched %t", end, claimed, lost, v.Delivery, v.Watched())
		}
	}
}

func TestAReceiptEndsTheWatch(t *testing.T) {
	t.Parallel()
	for _, r := range []Receipt{{Attempt: 2, Delivered: true}, {Attempt: 2, Reason: ReasonUnreachable}, {Attempt: 1, Delivered: true}} {
		v := with(DeliverySent)
		v.DueAt = t0.Add(time.Minute)
		r.Settle(v, &Delivery{}, t0)
		if v.Watched() {
			t.Errorf("%+v: still watched", r)
		}
	}
	v := with(DeliverySent) // of an earlier attempt that was lost: this one may yet arrive
	v.DueAt = t0.Add(time.Minute)
	Receipt{Attempt: 1, Reason: ReasonUnreachable}.Settle(v, &Delivery{}, t0)
	if !v.Watched() {
		t.Error("the loss of an earlier attempt ended the watch")
	}
}

func TestPostpone(t *testing.T) {
	t.Parallel()
	later := t0.Add(time.Minute)
	for _, s := range deliveryStates {
		for _, until := range []time.Time{{}, later} {
			v := with(s)
			if s == DeliverySent {
				v.DueAt = t0
			}
			want := v.clone()
			if s == DeliverySent || v.Open() && !until.IsZero() {
				want.DueAt = until
			}
			v.Postpone(until, t0)
			if diff := cmp.Diff(want, v); diff != "" {
				t.Errorf("%v until %v: (-want +got)\n%s", s, until, diff)
			}
		}
		early := with(s)
		if early.Open() {
			early.DueAt = later
		}
		before := early.clone()
		early.Postpone(later.Add(time.Hour), t0)
		if diff := cmp.Diff(before, early); diff != "" {
			t.Errorf("%v, not due: it changed (-before +after)\n%s", s, diff)
		}
	}
	dead := with(DeliveryQueued)
	dead.ExpiresAt = t0
	if dead.Postpone(later, t0); dead.Delivery != DeliveryFailed || dead.Reason != ReasonExpired {
		t.Errorf("a dead code's: %v (%s), want failed (expired)", dead.Delivery, dead.Reason)
	}
}

func TestHistoryTellsWhatWasSentAndWhetherSilenceMovedOn(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	sent := Delivery{Carrier: "a", Outcome: AttemptAccepted, StartedAt: at(0)}
	unknown := Delivery{Carrier: "a", Outcome: AttemptUnknown, StartedAt: at(0)}
	lostInTime := Delivery{Carrier: "a", Outcome: AttemptAccepted, StartedAt: at(0), Receipt: ReceiptFailed, ReceiptAt: at(60)}
	lostLate := Delivery{Carrier: "a", Outcome: AttemptAccepted, StartedAt: at(0), Receipt: ReceiptFailed, ReceiptAt: at(61)}
	cameLate := Delivery{Carrier: "a", Outcome: AttemptAccepted, StartedAt: at(0), Receipt: ReceiptDelivered, ReceiptAt: at(61)}
	errored := Delivery{Carrier: "a", Outcome: AttemptErrored, StartedAt: at(0)}
	refused := Delivery{Carrier: "a", Outcome: AttemptRefused, StartedAt: at(0)}
	crashed := Delivery{Outcome: AttemptUnknown, StartedAt: at(0)}
	next := Delivery{Carrier: "b", Outcome: AttemptAccepted, StartedAt: at(60)}
	for _, tt := range []struct {
		name    string
		history []Delivery
		sent    int
		moved   bool
	}{
		{"nothing yet", nil, 0, false},
		{"the first", []Delivery{sent}, 1, false},
		{"silence", []Delivery{sent, next}, 2, true},
		{"an answer that got lost", []Delivery{unknown, next}, 2, true},
		{"a loss", []Delivery{lostInTime, next}, 2, false},
		{"silence, then a loss", []Delivery{lostLate, next}, 2, true},
		{"silence, then an arrival", []Delivery{cameLate, next}, 2, true},
		{"an error", []Delivery{errored, next}, 1, false},
		{"a refusal", []Delivery{refused, next}, 1, false},
		{"a crash", []Delivery{crashed, next}, 2, false},
		{"two losses", []Delivery{lostInTime, {Carrier: "b", Outcome: AttemptAccepted, StartedAt: at(60), Receipt: ReceiptFailed, ReceiptAt: at(70)}, {Carrier: "c", StartedAt: at(70)}}, 3, false},
	} {
		if got := Messages(tt.history); got != tt.sent {
			t.Errorf("%s: %d messages, want %d", tt.name, got, tt.sent)
		}
		if got := MovedOn(tt.history); got != tt.moved {
			t.Errorf("%s: moved on %t, want %t", tt.name, got, tt.moved)
		}
	}
}
