package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/verify"
)

// call starts a call to a number.
func call(k *countersigntest.Kit, number string) (*verify.Verification, error) {
	return k.Verify.Start(context.Background(), k.Account(), verify.StartRequest{Channel: verify.ChannelVoice, To: number})
}

// waits demands that a start is refused with an error that says how long to wait.
func waits(t *testing.T, when string, err, want error, after time.Duration) {
	t.Helper()
	var known *verify.Error
	if !errors.Is(err, want) || !errors.As(err, &known) || known.Kind != verify.KindLimited || known.RetryAfter != after {
		t.Errorf("%s: got %v, want %v after %v", when, err, want, after)
	}
}

// A phone that isn't answered, or is busy, rings once more by any carrier, five minutes later; one whose
// owner declines or hangs up doesn't.
func TestAPhoneRingsTwiceAtMost(t *testing.T) {
	t.Parallel()
	for reason, tt := range map[verify.Reason]struct {
		err  error
		want []time.Duration // of the calls, after the start
	}{
		verify.ReasonNoAnswer: {carrier.Later(30*time.Second, errDown), []time.Duration{0, 5 * time.Minute}},
		verify.ReasonBusy:     {carrier.Later(30*time.Second, errDown), []time.Duration{0, 5 * time.Minute}},
		verify.ReasonDeclined: {carrier.Refused(errDown), []time.Duration{0}},
		verify.ReasonHungUp:   {carrier.Refused(errDown), []time.Duration{0}},
	} {
		t.Run(reason.String(), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex // guards calls
			var calls []time.Duration
			var k *countersigntest.Kit
			rings := func(context.Context, int) error {
				mu.Lock()
				defer mu.Unlock()
				calls = append(calls, k.Clock.Now().Sub(countersigntest.Start))
				return carrier.Because(reason, tt.err)
			}
			a, b := &way{name: "a", send: rings}, &way{name: "b", send: rings}
			k = countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}, Unattended: true, Limits: verify.Limits{Burst: 5, Interval: 2 * time.Minute, Daily: 20}})
			v, err := call(k, to)
			if err != nil {
				t.Fatal(err)
			}
			for range 30 {
				quiet(t, k, v.ID.String())
				k.Advance(time.Minute)
			}
			after := quiet(t, k, v.ID.String())
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(tt.want, calls); diff != "" || after.Delivery != verify.DeliveryFailed || after.Reason != reason {
				t.Errorf("%v (%s); calls (-want +got):\n%s", after.Delivery, after.Reason, diff)
			}
			d, err := k.Store.Destination(t.Context(), after.Project, after.To)
			if err != nil || len(d.Sends) != len(tt.want) {
				t.Errorf("%d sends are charged, %v; want one for each of %d calls", len(d.Sends), err, len(tt.want))
			}
		})
	}
}

// Whoever can't be called gets the next channel at once.
func TestAPhoneThatIsBusyGetsATextAtOnce(t *testing.T) {
	t.Parallel()
	a, b := &way{name: "a", send: always(carrier.Because(verify.ReasonBusy, errDown))}, &way{name: "b"}
	rules := apart(verify.ChannelSMS)
	rules[0].Channels = []verify.Channel{verify.ChannelVoice}
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{a, b}, Rules: rules,
		Settings: verify.Settings{Failover: map[verify.Channel][]verify.Channel{verify.ChannelVoice: {verify.ChannelSMS}}},
	})
	v, err := call(k, to)
	if err != nil {
		t.Fatal(err)
	}
	k.Await("the text", func() bool { return len(b.seen()) > 0 && b.seen()[0].Channel == verify.ChannelSMS })
	quiet(t, k, v.ID.String())
	k.Advance(10 * time.Minute)
	if n := len(a.seen()); n != 1 {
		t.Errorf("the phone was called %d times beside the text", n)
	}
}

// One call at a time rings a phone, whichever project starts it, and whichever form of its number that writes;
// the others are told when to come again.
func TestOneCallAtATime(t *testing.T) {
	t.Parallel()
	for _, forms := range [][2]string{{to, to}, {"+54 9 11 2345 6789", "+54 11 2345 6789"}, {"+39 06 698 12345", "+39 6 698 12345"}} {
		t.Run(forms[1], func(t *testing.T) {
			t.Parallel()
			oneCallAtATime(t, forms[0], forms[1])
		})
	}
}

func oneCallAtATime(t *testing.T, to, again string) {
	w := newTrunk("a")
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}})
	if _, err := call(k, to); err != nil {
		t.Fatal(err)
	}
	k.Await("the call", func() bool { return w.calling.Load() == 1 })
	key := account.NewSecret()
	k.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat, PublicText: true}, key)
	other, err := k.Accounts.Authenticate(t.Context(), "other", key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		acct := k.Account()
		if i%2 == 0 {
			acct = other
		}
		if _, err := k.Verify.Start(t.Context(), acct, verify.StartRequest{Channel: verify.ChannelVoice, To: again}); !errors.Is(err, verify.ErrCalling) {
			t.Errorf("start %d beside the call: %v, want %v", i, err, verify.ErrCalling)
		}
	}
	if n := w.calling.Load(); n != 1 {
		t.Errorf("%d calls at once", n)
	}
	w.ends <- carrier.Because(verify.ReasonNoAnswer, errDown)
	k.Await("the phone to be free", func() bool {
		_, err := k.Verify.Start(t.Context(), other, verify.StartRequest{Channel: verify.ChannelVoice, To: again})
		return err == nil
	})
	k.Await("the next call", func() bool { return w.calling.Load() == 1 })
	w.ends <- nil
}

// A call comes no sooner than a minute after a message to the same number.
func TestACallWaitsAfterAText(t *testing.T) {
	t.Parallel()
	w := &way{name: "a"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}})
	quiet(t, k, k.Start(to, ""))
	_, err := call(k, to)
	waits(t, "at once", err, verify.ErrTooSoon, time.Minute)
	k.Clock.Advance(59 * time.Second)
	_, err = call(k, to)
	waits(t, "59 s later", err, verify.ErrTooSoon, time.Second)
	k.Clock.Advance(time.Second)
	if _, err := call(k, to); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

// The call that takes the place of a text that nobody heard of waits as well; that of one which certainly
// wasn't sent doesn't.
func TestACallAfterATextThatFailed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		send func(context.Context, int) error
		want time.Duration
	}{
		"silent":  {nil, time.Minute},
		"refused": {always(carrier.Refused(errDown)), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := &way{name: "a", send: tt.send}, &way{name: "b"}
			k := countersigntest.New(t, countersigntest.Options{
				Carriers: []carrier.Carrier{a, b}, Rules: apart(verify.ChannelVoice), Settings: verify.Settings{Failover: smsThenVoice},
				Lines: map[string]dispatch.Line{"a": {ReceiptTimeout: 10 * time.Second}},
			})
			id := k.Start(to, "")
			for after := time.Duration(0); after < tt.want; after += 5 * time.Second {
				quiet(t, k, id)
				if n := len(b.seen()); n != 0 {
					t.Fatalf("%d calls %v after the text", n, after)
				}
				k.Advance(5 * time.Second)
			}
			k.Await("the call", func() bool { return len(b.seen()) == 1 })
		})
	}
}

// Each message that a carrier may have sent beyond the first is charged to the number before the next one
// leaves: retries, silence and fallbacks cost what a start costs.
func TestEveryMessageIsCharged(t *testing.T) {
	t.Parallel()
	limits := verify.Limits{Burst: 2, Interval: time.Hour}
	for name, tt := range map[string]struct {
		a    func(context.Context, int) error
		want []string // the messages that go out
		ends string
	}{
		"taken, and silent": {nil, []string{"a", "b"}, "sent "},
		"not sent":          {always(carrier.Because(verify.ReasonUnreachable, errDown)), []string{"b"}, "sent "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := &way{name: "a", send: tt.a}, &way{name: "b"}
			k := countersigntest.New(t, countersigntest.Options{
				Carriers: []carrier.Carrier{a, b}, Limits: limits,
				Lines: map[string]dispatch.Line{"a": {ReceiptTimeout: 10 * time.Second}},
			})
			id := k.Start(to, "")
			quiet(t, k, id)
			k.Advance(time.Minute)
			quiet(t, k, id)
			if !slices.ContainsFunc(b.seen(), func(verify.Message) bool { return true }) {
				t.Fatal("the other carrier got nothing")
			}
			d, err := k.Store.Destination(t.Context(), "test", to)
			if err != nil {
				t.Fatal(err)
			}
			left := 0 // starts that the limits still let through
			for range 3 {
				if _, err := k.Verify.Start(t.Context(), k.Account(), verify.StartRequest{Channel: verify.ChannelSMS, To: to}); err == nil {
					left++
				}
			}
			if want := limits.Burst - len(tt.want); left != want {
				t.Errorf("%d more starts are allowed after %d messages, want %d (charges: %v)", left, len(tt.want), want, d.Sends)
			}
		})
	}
}

// A message that the limits don't let out waits until they do, and ends with a reason if its code is dead
// by then.
func TestAMessageWaitsForItsLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		life  string
		calls int
		state verify.DeliveryState
	}{
		"and its code lives": {`"valid_for":3600`, 1, verify.DeliverySent},
		"and its code dies":  {`"valid_for":300`, 0, verify.DeliverySent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := &way{name: "a"}, &way{name: "b"}
			k := countersigntest.New(t, countersigntest.Options{
				Carriers: []carrier.Carrier{a, b}, Limits: verify.Limits{Burst: 1, Interval: 10 * time.Minute},
				Lines: map[string]dispatch.Line{"a": {ReceiptTimeout: 10 * time.Second}},
			})
			id := k.Start(to, tt.life)
			for range 18 {
				quiet(t, k, id)
				k.Advance(30 * time.Second)
			}
			quiet(t, k, id)
			if n := len(b.seen()); n != 0 {
				t.Fatalf("%d messages left before the limits allowed it", n)
			}
			k.Advance(time.Minute)
			v := quiet(t, k, id)
			k.Await("as many messages as there may be", func() bool { return len(b.seen()) == tt.calls })
			if v.Delivery != tt.state {
				t.Errorf("the message is %v (%s), want %v", v.Delivery, v.Reason, tt.state)
			}
		})
	}
	t.Run("after a failed receipt", func(t *testing.T) {
		t.Parallel()
		a, b := &way{name: "a"}, &way{name: "b"}
		k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}, Limits: verify.Limits{Burst: 1, Interval: 10 * time.Minute}})
		id := k.Start(to, `"valid_for":300`)
		v := quiet(t, k, id)
		receive(t, k, carrier.Receipt{Carrier: "a", Verification: v.ID, Attempt: 1, Reason: verify.ReasonUnreachable})
		k.Await("the end", func() bool { return k.Verification(id).Delivery == verify.DeliveryFailed })
		if v := k.Verification(id); v.Reason != verify.ReasonTooManySends || len(b.seen()) != 0 {
			t.Errorf("it failed because %s, after %d more messages; want %s and none", v.Reason, len(b.seen()), verify.ReasonTooManySends)
		}
	})
}

// Many starts to one number at once ring it once.
func TestManyStartsRingOnce(t *testing.T) {
	t.Parallel()
	w := newTrunk("a")
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Concurrency: 64})
	var wg sync.WaitGroup
	var mu sync.Mutex // guards got
	got := map[string]int{}
	for range 64 {
		wg.Go(func() {
			_, err := call(k, to)
			mu.Lock()
			defer mu.Unlock()
			got[fmt.Sprint(err)]++
		})
	}
	wg.Wait()
	if got["<nil>"] != 1 || len(got) != 2 {
		t.Errorf("starts: %v; want one that is served", got)
	}
	k.Await("the call", func() bool { return w.calling.Load() == 1 })
	w.ends <- nil
}

// A call that has only waited here rang no phone: the next one, by another carrier or the next server, is made
// immediately.
func TestACallThatWaitedHoldsNoPhone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"it goes to another carrier", "the server stops"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := make(chan struct{})
			t.Cleanup(func() { close(answer) })
			a := &way{name: "a", send: func(ctx context.Context, _ int) error {
				select {
				case <-answer:
				case <-ctx.Done():
				}
				return carrier.Because(verify.ReasonInterrupted, errDown)
			}}
			b := &way{name: "b"}
			o := countersigntest.Options{Data: t.TempDir(), Carriers: []carrier.Carrier{a}, Concurrency: 1}
			if name == "it goes to another carrier" {
				o.Carriers = append(o.Carriers, b)
			}
			k := countersigntest.New(t, o)
			if _, err := call(k, to); err != nil {
				t.Fatal(err)
			}
			k.Await("the first call", func() bool { return len(a.seen()) == 1 })
			v, err := call(k, "+12025550101")
			if err != nil {
				t.Fatal(err)
			}
			switch name {
			case "it goes to another carrier":
				k.Advance(11 * time.Second)
			case "the server stops":
				now, cancel := context.WithCancel(t.Context())
				cancel()
				k.Dispatch.Close(now)
				k = countersigntest.New(t, countersigntest.Options{Data: o.Data, Carriers: []carrier.Carrier{b}, Clock: k.Clock, Unattended: true})
			}
			for range 5 {
				k.Advance(0)
				quiet(t, k, v.ID.String())
			}
			if v := k.Verification(v.ID.String()); !slices.ContainsFunc(b.seen(), func(m verify.Message) bool { return m.Verification == v.ID }) {
				t.Errorf("the call wasn't made: it is %v (%s), due in %v", v.Delivery, v.Reason, v.DueAt.Sub(k.Clock.Now()))
			}
		})
	}
}

// Nobody tells whether a call rang that was lost with its server, or that a provider is silent about. It counts.
func TestACallThatNobodyKnowsOfCountsAsARing(t *testing.T) {
	t.Parallel()
	noAnswer := always(carrier.Because(verify.ReasonNoAnswer, errDown))
	untilTheEnd := func(k *countersigntest.Kit, id string) {
		for range 60 {
			k.Advance(30 * time.Second)
			quiet(t, k, id)
		}
	}
	t.Run("lost", func(t *testing.T) {
		t.Parallel()
		w := &way{name: "a", send: noAnswer}
		k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Unattended: true})
		id := startAndDie(t, k, lease, func(v *verify.Verification) { v.Channel, v.Calling = verify.ChannelVoice, 10*time.Second })
		untilTheEnd(k, id)
		if n := len(w.seen()); n != 1 {
			t.Errorf("after a call that was lost with its server, the phone was called %d times, want once: %v", n, attempts(t, k, k.Verification(id)))
		}
	})
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		provider, trunk := &way{name: "p"}, &way{name: "t", send: noAnswer}
		k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{provider, trunk}, Unattended: true,
			Lines: map[string]dispatch.Line{"p": {ReceiptTimeout: 90 * time.Second}}})
		v, err := call(k, to)
		if err != nil {
			t.Fatal(err)
		}
		quiet(t, k, v.ID.String())
		untilTheEnd(k, v.ID.String())
		if n := len(provider.seen()) + len(trunk.seen()); n != 2 {
			t.Errorf("the phone was called %d times, want twice: %v", n, attempts(t, k, k.Verification(v.ID.String())))
		}
	})
}

// A server that dies ends no call: the phone may ring as long as the call may last.
func TestACallThatWasLostMayStillRing(t *testing.T) {
	t.Parallel()
	w := &way{name: "a"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Unattended: true})
	const longest = 2 * time.Minute
	id := startAndDie(t, k, lease, func(v *verify.Verification) { v.Channel, v.Calling = verify.ChannelVoice, longest })
	for passed := 10 * time.Second; passed < lease+longest; passed += 10 * time.Second {
		k.Advance(10 * time.Second)
		if v := k.Verification(id); v.Attempt != 1 || len(w.seen()) != 0 {
			t.Fatalf("%v after the first call began, which may last %v, another is claimed", passed, lease+longest)
		}
	}
	k.Await("the call", func() bool { k.Advance(10 * time.Second); return len(w.seen()) == 1 })
}

// A text in place of a busy phone's call goes out at once, however long the settlement takes.
func TestATextForABusyPhoneWaitsForNoTick(t *testing.T) {
	t.Parallel()
	var slow atomic.Bool
	var k *countersigntest.Kit
	a := &way{name: "a", send: func(context.Context, int) error {
		slow.Store(true)
		return carrier.Because(verify.ReasonBusy, errDown)
	}}
	b := &way{name: "b"}
	rules := apart(verify.ChannelSMS)
	rules[0].Channels = []verify.Channel{verify.ChannelVoice}
	k = countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{a, b}, Rules: rules, Unattended: true,
		Settings: verify.Settings{Failover: map[verify.Channel][]verify.Channel{verify.ChannelVoice: {verify.ChannelSMS}}},
		Commit: func(_ int, commit func() error) error {
			if slow.CompareAndSwap(true, false) {
				k.Clock.Advance(3 * time.Millisecond)
			}
			return commit()
		},
	})
	if _, err := call(k, to); err != nil {
		t.Fatal(err)
	}
	k.Await("the text, without a tick", func() bool { return len(b.seen()) == 1 })
}
