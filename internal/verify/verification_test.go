package verify

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/wording"
)

// event is something that a caller does to a verification.
type event string

const (
	right  event = "right"
	wrong  event = "wrong"
	cancel event = "cancel"
)

func (e event) happen(v *Verification, d *Destination, now time.Time) (Outcome, error) {
	if e == cancel {
		return Outcome{}, v.Cancel(now)
	}
	return v.Check(d, guess(e == right), now)
}

// states are verifications in every state, made by the events that lead there, and an instant
// at which they are in it.
func states(t *testing.T) map[string]func() (*Verification, *Destination, time.Time) {
	after := func(events ...event) func() (*Verification, *Destination, time.Time) {
		return func() (*Verification, *Destination, time.Time) {
			v, d := started(), destination()
			for _, e := range events {
				if _, err := e.happen(v, d, t0.Add(time.Second)); err != nil {
					t.Fatalf("%v: %v", events, err)
				}
			}
			return v, d, t0.Add(2 * time.Second)
		}
	}
	return map[string]func() (*Verification, *Destination, time.Time){
		"pending":    after(),
		"last guess": after(wrong, wrong),
		"approved":   after(wrong, right),
		"exhausted":  after(wrong, wrong, wrong),
		"canceled":   after(wrong, cancel),
		"expired": func() (*Verification, *Destination, time.Time) {
			v, d, _ := after(wrong)()
			return v, d, v.ExpiresAt
		},
	}
}

func TestEveryEventInEveryState(t *testing.T) {
	t.Parallel()
	made := states(t)
	for _, tt := range []struct {
		state string
		event event

		want     string // the error's code
		outcome  Outcome
		status   Status
		guesses  int
		failures int
	}{
		{"pending", right, "", Outcome{Approved: true, GuessesLeft: 2, Channel: ChannelSMS, Country: "US"}, StatusApproved, 1, 0},
		{"pending", wrong, "", Outcome{GuessesLeft: 2, Channel: ChannelSMS}, StatusPending, 1, 1},
		{"pending", cancel, "", Outcome{}, StatusCanceled, 0, 0},

		{"last guess", right, "", Outcome{Approved: true, GuessesLeft: 0, Channel: ChannelSMS, Country: "US"}, StatusApproved, 3, 0},
		{"last guess", wrong, "", Outcome{GuessesLeft: 0, Channel: ChannelSMS}, StatusExhausted, 3, 3},
		{"last guess", cancel, "", Outcome{}, StatusCanceled, 2, 2},

		{"approved", right, "approved", Outcome{}, StatusApproved, 2, 0},
		{"approved", wrong, "approved", Outcome{}, StatusApproved, 2, 0},
		{"approved", cancel, "approved", Outcome{}, StatusApproved, 2, 0},

		{"exhausted", right, "guesses_spent", Outcome{}, StatusExhausted, 3, 3},
		{"exhausted", wrong, "guesses_spent", Outcome{}, StatusExhausted, 3, 3},
		{"exhausted", cancel, "guesses_spent", Outcome{}, StatusExhausted, 3, 3},

		{"canceled", right, "canceled", Outcome{}, StatusCanceled, 1, 1},
		{"canceled", wrong, "canceled", Outcome{}, StatusCanceled, 1, 1},
		{"canceled", cancel, "canceled", Outcome{}, StatusCanceled, 1, 1},

		{"expired", right, "expired", Outcome{}, StatusPending, 1, 1},
		{"expired", wrong, "expired", Outcome{}, StatusPending, 1, 1},
		{"expired", cancel, "expired", Outcome{}, StatusPending, 1, 1},
	} {
		name := tt.state + ", " + string(tt.event)
		v, d, now := made[tt.state]()
		vBefore, dBefore := v.clone(), d.clone()

		got, err := tt.event.happen(v, d, now)
		if c := codeOf(t, err); c != tt.want || got != tt.outcome {
			t.Errorf("%s: got %+v, %q; want %+v, %q", name, got, c, tt.outcome, tt.want)
		}
		if v.Status != tt.status || v.Guesses != tt.guesses || d.Failures != tt.failures {
			t.Errorf("%s: now %v, %d guesses, %d failures; want %v, %d, %d",
				name, v.Status, v.Guesses, d.Failures, tt.status, tt.guesses, tt.failures)
		}
		if err != nil {
			if diff := cmp.Diff(vBefore, v); diff != "" {
				t.Errorf("%s: the verification changed (-before +after)\n%s", name, diff)
			}
			if diff := cmp.Diff(dBefore, d); diff != "" {
				t.Errorf("%s: the destination changed (-before +after)\n%s", name, diff)
			}
			continue
		}
		// The sealed copy lives exactly as long as somebody may have to send it.
		if ended := tt.status != StatusPending; ended != (v.SealedCode == nil) || ended != v.EndedAt.Equal(now) {
			t.Errorf("%s: sealed code %q, ended at %v; want both only while, and from when, it has ended", name, v.SealedCode, v.EndedAt)
		}
		// The MAC stays: what a row was is not what it says of its code.
		if diff := cmp.Diff(vBefore.CodeMAC, v.CodeMAC); diff != "" {
			t.Errorf("%s: the MAC changed (-before +after)\n%s", name, diff)
		}
	}
}

func TestAnEndedVerificationIsAnsweredBeforeAnyWait(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"approved": "approved", "exhausted": "guesses_spent", "canceled": "canceled", "expired": "expired",
		"pending": "too_many_guesses", "last guess": "too_many_guesses",
	}
	for state, make := range states(t) {
		for name, waiting := range map[string]func(*Destination, time.Time){
			"waiting":   func(d *Destination, now time.Time) { d.WaitUntil = now.Add(time.Hour) },
			"locked":    func(d *Destination, _ time.Time) { d.Failures = MaxFailures },
			"above max": func(d *Destination, _ time.Time) { d.Failures = MaxFailures + 7 },
		} {
			v, d, now := make()
			waiting(d, now)
			vBefore, dBefore := v.clone(), d.clone()
			_, err := v.Check(d, unasked(t), now)
			if got := codeOf(t, err); got != want[state] {
				t.Errorf("%s, %s: got %q, want %q", state, name, got, want[state])
			}
			if diff := cmp.Diff(vBefore, v) + cmp.Diff(dBefore, d); diff != "" {
				t.Errorf("%s, %s: a refused guess changed something (-before +after)\n%s", state, name, diff)
			}
		}
	}
}

func TestGuessesAreRefusedFromTheInstantOfExpiry(t *testing.T) {
	t.Parallel()
	for _, e := range []event{right, wrong, cancel} {
		for _, tt := range []struct {
			after time.Duration
			want  string
		}{
			{-time.Millisecond, ""},
			{-time.Nanosecond, ""},
			{0, "expired"},
			{time.Millisecond, "expired"},
			{1000 * time.Hour, "expired"},
		} {
			v, d := started(), destination()
			before := v.clone()
			_, err := e.happen(v, d, v.ExpiresAt.Add(tt.after))
			if got := codeOf(t, err); got != tt.want {
				t.Errorf("%s %v after expiry: got %q, want %q", e, tt.after, got, tt.want)
			}
			if tt.want == "" {
				continue
			}
			if diff := cmp.Diff(before, v); diff != "" {
				t.Errorf("%s %v after expiry: it changed (-before +after)\n%s", e, tt.after, diff)
			}
		}
	}
}

func TestStatusAtIsThePredicateThatTheCheckUses(t *testing.T) {
	t.Parallel()
	for state, make := range states(t) {
		v, _, now := make()
		want := map[string]string{"last guess": "pending"}[state]
		if want == "" {
			want = state
		}
		if got := v.StatusAt(now).String(); got != want {
			t.Errorf("%s: got %s", state, got)
		}
		// Time ends only what is pending: an approval doesn't turn into an expiry.
		if v.Status == StatusPending {
			want = "expired"
		}
		if got := v.StatusAt(v.ExpiresAt.Add(time.Hour)).String(); got != want {
			t.Errorf("%s, an hour past its time: got %s, want %s", state, got, want)
		}
		if v.Status == StatusExpired {
			t.Errorf("%s: expiry was stored", state)
		}
	}
}

func TestMaxAttemptsGuessesAreEvaluatedAndNotOneMore(t *testing.T) {
	t.Parallel()
	for attempts := 1; attempts <= 20; attempts++ {
		v, d := started(), destination()
		v.MaxAttempts = attempts
		for n := 1; n <= attempts; n++ {
			got, err := v.Check(d, guess(false), t0)
			if want := (Outcome{GuessesLeft: attempts - n, Channel: ChannelSMS}); got != want || err != nil {
				t.Fatalf("%d attempts, wrong guess %d: got %+v, %v; want %+v", attempts, n, got, err, want)
			}
			d.WaitUntil = time.Time{} // the number's waits are another rule
		}
		for _, g := range []Guess{guess(true), guess(false)} {
			if got, err := v.Check(d, g, t0); !errors.Is(err, ErrGuessesSpent) || got != (Outcome{}) {
				t.Errorf("%d attempts, one guess more: got %+v, %v; want %v", attempts, got, err, ErrGuessesSpent)
			}
		}

		v, d = started(), destination()
		v.MaxAttempts = attempts
		for range attempts - 1 {
			v.Check(d, guess(false), t0)
			d.WaitUntil = time.Time{}
		}
		got, err := v.Check(d, guess(true), t0)
		if want := (Outcome{Approved: true, GuessesLeft: 0, Channel: ChannelSMS, Country: "US"}); got != want || err != nil || v.Status != StatusApproved {
			t.Errorf("%d attempts, the last one right: got %+v, %v, %v; want %+v, approved", attempts, got, err, v.Status, want)
		}
		if got, err := v.Check(d, guess(true), t0); !errors.Is(err, ErrApproved) || got.Approved {
			t.Errorf("%d attempts, right again: got %+v, %v; want %v", attempts, got, err, ErrApproved)
		}
	}
}

func TestAGuessThatNobodyCanJudgeSpendsNothing(t *testing.T) {
	t.Parallel()
	v, d := started(), destination()
	d.Failures = 4
	vBefore, dBefore := v.clone(), d.clone()
	broken := errors.New("the key is gone")
	// Also when whoever couldn't tell said "right" all the same.
	for _, claim := range []bool{false, true} {
		g := Guess{Profile: ProfileStandard, Matches: func(*Verification) (bool, error) { return claim, broken }}
		if got, err := v.Check(d, g, t0); got != (Outcome{}) || !errors.Is(err, broken) {
			t.Errorf("got %+v, %v; want nothing, %v", got, err, broken)
		}
		if diff := cmp.Diff(vBefore, v) + cmp.Diff(dBefore, d); diff != "" {
			t.Errorf("something changed (-before +after)\n%s", diff)
		}
	}
}

func TestTheEndOfAVerificationDecidesItsOpenDelivery(t *testing.T) {
	t.Parallel()
	due := t0.Add(20 * time.Second)
	type delivery struct {
		State  DeliveryState
		Reason Reason
		DueAt  time.Time
	}
	var (
		queued    = delivery{DeliveryQueued, ReasonBusy, due}
		sending   = delivery{DeliverySending, NoReason, due}
		sent      = delivery{DeliverySent, NoReason, time.Time{}}
		maybeSent = delivery{DeliverySent, ReasonUnknown, time.Time{}}
		delivered = delivery{DeliveryDelivered, NoReason, time.Time{}}
		failed    = delivery{DeliveryFailed, ReasonRefused, time.Time{}}
	)
	for _, tt := range []struct {
		name      string
		from      delivery
		approved  delivery
		exhausted delivery
		canceled  delivery
	}{
		// The right code proves the delivery. Otherwise a message that waits for its turn is given
		// up, and one in a carrier's hands is left to whoever holds the lease.
		{"queued", queued, delivered, delivery{DeliveryFailed, ReasonExhausted, time.Time{}}, delivery{DeliveryFailed, ReasonCanceled, time.Time{}}},
		{"sending", sending, delivered, sending, sending},
		{"sent", sent, delivered, sent, sent},
		{"maybe sent", maybeSent, delivered, maybeSent, maybeSent},
		{"delivered", delivered, delivered, delivered, delivered},
		{"failed", failed, failed, failed, failed},
	} {
		for e, want := range map[Status]delivery{StatusApproved: tt.approved, StatusExhausted: tt.exhausted, StatusCanceled: tt.canceled} {
			v, d := started(), destination()
			v.MaxAttempts, v.Attempt = 1, 4
			v.Delivery, v.Reason, v.DueAt = tt.from.State, tt.from.Reason, tt.from.DueAt
			happened := map[Status]event{StatusApproved: right, StatusExhausted: wrong, StatusCanceled: cancel}[e]
			if _, err := happened.happen(v, d, t0); err != nil || v.Status != e {
				t.Fatalf("%s, %v: now %v, %v", tt.name, e, v.Status, err)
			}
			got := delivery{v.Delivery, v.Reason, v.DueAt}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %v: delivery (-want +got)\n%s", tt.name, e, diff)
			}
			if v.SealedCode != nil {
				t.Errorf("%s, %v: the sealed code is still there", tt.name, e)
			}
			if v.Attempt != 4 {
				t.Errorf("%s, %v: attempt %d, want 4", tt.name, e, v.Attempt)
			}
		}
	}
}

func TestAWrongGuessLeavesTheDeliveryAlone(t *testing.T) {
	t.Parallel()
	v, d := started(), destination()
	want := v.clone()
	want.Guesses = 1
	if _, err := v.Check(d, guess(false), t0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// begun is a verification as the service makes it, before its start.
func begun(id ID) *Verification {
	v := started()
	v.ID, v.Delivery, v.Attempt, v.DueAt = id, DeliveryQueued, 0, time.Time{}
	return v
}

func TestBeginLeasesTheFirstAttempt(t *testing.T) {
	t.Parallel()
	v, d := begun(NewID(t0)), destination()
	d.Latest = NewID(t0.Add(-time.Hour))
	before := d.Latest
	want := v.clone()
	want.Delivery, want.Attempt, want.DueAt, want.Previous = DeliverySending, 1, t0.Add(21*time.Second), before
	if err := v.Begin(d, DefaultLimits, 20*time.Second, t0.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("verification (-want +got)\n%s", diff)
	}
	if d.Latest != v.ID || len(d.Sends) != 1 || d.TAT.IsZero() {
		t.Errorf("destination: latest %v, %d sends, TAT %v; want %v, 1, later", d.Latest, len(d.Sends), d.TAT, v.ID)
	}
}

func TestBeginRefusesAnIdThatIsTooOld(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		age  time.Duration
		want error
	}{
		{-time.Minute, nil}, // made on a replica whose clock is ahead
		{0, nil},
		{5*time.Second - time.Millisecond, nil},
		{5 * time.Second, ErrBusy},
		{time.Hour, ErrBusy},
	} {
		v, d := begun(NewID(t0)), destination()
		err := v.Begin(d, DefaultLimits, 20*time.Second, t0.Add(tt.age))
		if !errors.Is(err, tt.want) {
			t.Errorf("%v old: got %v, want %v", tt.age, err, tt.want)
		}
		if tt.want != nil && retryAfter(err) <= 0 {
			t.Errorf("%v old: the error says to wait %v, want more than nothing", tt.age, retryAfter(err))
		}
	}
}

func TestAVerificationThatIsDeadOnArrivalIsCountedAndNeverSent(t *testing.T) {
	t.Parallel()
	v, d := begun(NewID(t0)), destination()
	v.ExpiresAt = t0 // valid for 0 s
	if err := v.Begin(d, DefaultLimits, 20*time.Second, t0); err != nil {
		t.Fatal(err)
	}
	if v.Delivery != DeliveryFailed || v.Reason != ReasonExpired || v.Attempt != 0 || !v.DueAt.IsZero() || v.Open() {
		t.Errorf("delivery %v (%q), attempt %d, due %v; want failed (expired), 0, never", v.Delivery, v.Reason, v.Attempt, v.DueAt)
	}
	if v.StatusAt(t0) != StatusExpired {
		t.Errorf("status %v, want expired", v.StatusAt(t0))
	}
	if d.Latest != v.ID || len(d.Sends) != 1 || !d.TAT.Equal(t0.Add(2*time.Minute)) {
		t.Errorf("destination: latest %v, %d sends, TAT %v; want it counted like any other", d.Latest, len(d.Sends), d.TAT)
	}
	if _, err := v.Check(d, unasked(t), t0); !errors.Is(err, ErrExpired) {
		t.Errorf("its guess: got %v, want %v", err, ErrExpired)
	}
}

func TestBeginThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	full := destination()
	for full.Begin(begun(NewID(t0)), DefaultLimits, t0) == nil {
	}
	locked := destination()
	locked.Failures = MaxFailures
	for _, tt := range []struct {
		name string
		d    *Destination
		now  time.Time
		want error
	}{
		{"stale id", destination(), t0.Add(5 * time.Second), ErrBusy},
		{"send limit", full, t0, ErrTooManySends},
		{"locked", locked, t0, ErrTooManyGuesses},
	} {
		v := begun(NewID(t0))
		vBefore, dBefore := v.clone(), tt.d.clone()
		if err := v.Begin(tt.d, DefaultLimits, 20*time.Second, tt.now); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if diff := cmp.Diff(vBefore, v) + cmp.Diff(dBefore, tt.d); diff != "" {
			t.Errorf("%s: something changed (-before +after)\n%s", tt.name, diff)
		}
	}
}

func TestTheMessageHoldsWhatWasFrozenAtTheStart(t *testing.T) {
	t.Parallel()
	v := started()
	v.Attempt = 3
	want := Message{
		ID: v.ID.message("", 0), Verification: v.ID, Project: v.Project, Application: v.Application, Channel: ChannelSMS, To: number1, From: public,
		Body: "Your Personal Authorization Code is: 123456", Code: "123456", ExpiresAt: v.ExpiresAt, Attempt: 3,
	}
	if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(v.Message(v.Channel, "123456"))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := v.Message(v.Channel, "123456"); got != want {
		t.Error("the message isn't what was frozen") // not printed: it holds the code
	}
}

// A voice speaks our texts in the words of its locale, and nobody else's text.
func TestTheMessageNamesATextOnlyWhereItIsTheCallers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		channel    Channel
		text, want string
	}{
		{ChannelSMS, wording.Approved.Written, ""}, {ChannelVoice, wording.Approved.Spoken, ""},
		{ChannelVoice, "Hello, {code}", "Hello, " + CodePlace}, {ChannelVoice, wording.Approved.Written, strings.ReplaceAll(wording.Approved.Written, "{code}", CodePlace)},
		{ChannelVoice, "{code} says \x02, \x02", "{code} says " + CodePlace + ", " + CodePlace},
	} {
		v := started()
		v.Channel, v.Text = tt.channel, tt.text
		if got := v.Message(v.Channel, "1").Text; got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.channel, tt.text, got, tt.want)
		}
	}
	const from = "Your The Shop login code is: \x02. Again, it is: \x02."
	for locale, want := range map[string]string{"": wording.Marked(from), "en-GB": wording.Marked(from), "EN": wording.Marked(from), "de": "", "pt-BR": "", "eng": ""} {
		v := started()
		v.Channel, v.Text, v.Locale = ChannelVoice, from, locale
		if got := v.Message(v.Channel, "1").Text; got != want {
			t.Errorf("our own text in %q: got %q, want %q", locale, got, want)
		}
		if v.Text = "Hello: \x02"; v.Message(v.Channel, "1").Text != wording.Marked(v.Text) {
			t.Errorf("a caller's text isn't said in %q", locale)
		}
	}
	for text, want := range map[string]string{"": "[]", "Hello, {code}": `["Hello, " ""]`, "{code}, yes, {code}!": `["" ", yes, " "!"]`} {
		if got := fmt.Sprintf("%q", Message{Text: wording.Marked(text)}.Around()); got != want {
			t.Errorf("around the code of %q: got %s, want %s", text, got, want)
		}
	}
}

func TestStatesHaveNames(t *testing.T) {
	t.Parallel()
	// The numbers are stored, so each name keeps its own.
	got := fmt.Sprint(StatusPending, StatusApproved, StatusExhausted, StatusCanceled, StatusExpired, StatusSuperseded, "|",
		DeliveryQueued, DeliverySending, DeliverySent, DeliveryDelivered, DeliveryFailed, "|", AttemptAccepted, AttemptRefused, AttemptErrored, AttemptUnknown, AttemptDropped, "|",
		int(StatusPending), int(StatusApproved), int(StatusExhausted), int(StatusCanceled), "|",
		int(DeliveryQueued), int(DeliverySending), int(DeliverySent), int(DeliveryDelivered), int(DeliveryFailed), "|",
		int(AttemptAccepted), int(AttemptRefused), int(AttemptErrored), int(AttemptUnknown), int(AttemptDropped))
	const want = "pending approved exhausted canceled expired superseded|queued sending sent delivered failed|" +
		"accepted refused errored unknown dropped|0 1 2 3|0 1 2 3 4|0 1 2 3 4"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
