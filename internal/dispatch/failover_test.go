package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/testsize"
	"github.com/countersign/countersign/internal/verify"
)

// quiet waits until nothing more happens to a verification's message before the clock moves.
func quiet(t *testing.T, k *countersigntest.Kit, id string) *verify.Verification {
	t.Helper()
	var v *verify.Verification
	k.Await("the message of "+id, func() bool {
		v = k.Verification(id)
		return v.Delivery != verify.DeliverySending && !(v.Delivery == verify.DeliveryQueued && v.Due(k.Clock.Now()))
	})
	return v
}

// receive passes a receipt on and demands that it is taken.
func receive(t *testing.T, k *countersigntest.Kit, r carrier.Receipt) {
	t.Helper()
	if err := k.Dispatch.Receive(context.Background(), r); err != nil {
		t.Errorf("receipt: %v", err)
	}
}

const (
	receiptTimeout = 20 * time.Second
	callLimit      = 50 * time.Millisecond
)

// Two carriers, and the first one fails in each way that there is. What becomes of the message, how
// many messages the person may have got, and when the last one was handed over, after the start.
func TestFailoverStories(t *testing.T) {
	t.Parallel()
	t.Run("to the next carrier", func(t *testing.T) { t.Parallel(); failoverStories(t, verify.ChannelSMS) })
	t.Run("to the next channel", func(t *testing.T) { t.Parallel(); failoverStories(t, verify.ChannelVoice) })
}

// failoverStories tells them of a first carrier for texts and a second one for the given channel.
func failoverStories(t *testing.T, second verify.Channel) {
	unreachable := carrier.Because(verify.ReasonUnreachable, errDown)
	hang := func(ctx context.Context, _ int) error { <-ctx.Done(); return carrier.Unknown(ctx.Err()) }
	for _, tt := range []struct {
		name   string
		a, b   func(context.Context, int) error
		before int    // messages that failed before
		a1, b1 string // the receipts: "", "delivered", "failed"
		at     func(*testing.T, *countersigntest.Kit, string)

		state    verify.DeliveryState
		messages int
		last     time.Duration
		attempts []string
	}{
		{name: "works", a1: "delivered", state: verify.DeliveryDelivered, messages: 1, attempts: []string{"a accepted  delivered"}},
		{name: "refuses the number", a: always(carrier.Refused(errDown)), b1: "delivered",
			state: verify.DeliveryDelivered, messages: 1, attempts: []string{"a refused refused none", "b accepted  delivered"}},
		{name: "can't be reached", a: always(unreachable), b1: "delivered",
			state: verify.DeliveryDelivered, messages: 1, attempts: []string{"a errored unreachable none", "b accepted  delivered"}},
		{name: "is misconfigured", a: always(carrier.Because(verify.ReasonMisconfigured, errDown)), b1: "delivered",
			state: verify.DeliveryDelivered, messages: 1, attempts: []string{"a errored misconfigured none", "b accepted  delivered"}},
		{name: "throttles", a: always(carrier.Later(time.Minute, errDown)), b1: "delivered",
			state: verify.DeliveryDelivered, messages: 1, attempts: []string{"a errored later none", "b accepted  delivered"}},
		{name: "has failed five times: its breaker is open", a: always(unreachable), before: 5, b1: "delivered",
			state: verify.DeliveryDelivered, messages: 1, attempts: []string{"b accepted  delivered"}},
		{name: "breaks down in our process", a: func(context.Context, int) error { panic("boom") }, b1: "delivered",
			state: verify.DeliveryDelivered, messages: 2, last: 2 * receiptTimeout, attempts: []string{"a unknown unknown none", "b accepted  delivered"}},
		{name: "doesn't answer", a: hang, b1: "delivered",
			state: verify.DeliveryDelivered, messages: 2, last: 2 * receiptTimeout, attempts: []string{"a unknown unknown none", "b accepted  delivered"}},
		{name: "says that it didn't arrive", a1: "failed", b1: "delivered",
			state: verify.DeliveryDelivered, messages: 2, attempts: []string{"a accepted  failed", "b accepted  delivered"}},
		{name: "never says anything", b1: "delivered",
			state: verify.DeliveryDelivered, messages: 2, last: receiptTimeout, attempts: []string{"a accepted  none", "b accepted  delivered"}},
		{name: "says nothing, nor does the other", // silence moves on once
			state: verify.DeliverySent, messages: 2, last: receiptTimeout, attempts: []string{"a accepted  none", "b accepted  none"}},
		{name: "doesn't arrive, nor by the other", a1: "failed", b1: "failed",
			state: verify.DeliveryFailed, messages: 2, attempts: []string{"a accepted  failed", "b accepted  failed"}},
		{name: "is silent, and the code is used", at: use,
			state: verify.DeliveryDelivered, messages: 1, attempts: []string{"a accepted  none"}},
		{name: "is silent, and the code is canceled", at: func(_ *testing.T, k *countersigntest.Kit, id string) {
			k.Verify.Cancel(context.Background(), k.Account(), k.Verification(id).ID)
		}, state: verify.DeliverySent, messages: 1, attempts: []string{"a accepted  none"}},
		{name: "is silent, and the other can't be reached", b: always(unreachable),
			state: verify.DeliveryFailed, messages: 1}, // the other is tried until the code dies
	} {
		a, b := &way{name: "a", send: tt.a}, &way{name: "b", send: tt.b}
		var last time.Duration
		k := countersigntest.New(t, countersigntest.Options{
			Carriers: []carrier.Carrier{a, b}, CallLimit: callLimit,
			Lines: map[string]dispatch.Line{"a": {ReceiptTimeout: receiptTimeout}, "b": {ReceiptTimeout: receiptTimeout}},
			Rules: apart(second), Settings: verify.Settings{Failover: smsThenVoice},
		})
		for i := range tt.before {
			quiet(t, k, k.Start(fmt.Sprintf("+1202555011%d", i), ""))
		}
		id := k.Start(to, `"valid_for":100`)
		answered := map[string]bool{}
		// answer sends the receipts of messages that were handed over meanwhile.
		answer := func(after time.Duration) (news bool) {
			v := quiet(t, k, id)
			for w, receipt := range map[*way]string{a: tt.a1, b: tt.b1} {
				mine := slices.DeleteFunc(w.seen(), func(m verify.Message) bool { return m.Verification != v.ID })
				if len(mine) == 0 || answered[w.name] {
					continue
				}
				answered[w.name], news = true, true
				last = max(last, after)
				if receipt != "" {
					receive(t, k, carrier.Receipt{Carrier: w.name, Verification: v.ID, Attempt: mine[0].Attempt, Delivered: receipt == "delivered", Reason: verify.ReasonUnreachable})
				}
			}
			return news
		}
		const step = 5 * time.Second
		for after := time.Duration(0); after < 110*time.Second; after += step {
			for answer(after) {
			}
			if tt.at != nil && after == 10*time.Second {
				tt.at(t, k, id)
			}
			k.Advance(step)
		}
		v := quiet(t, k, id)
		all, err := k.Store.Deliveries(context.Background(), v.ID)
		if err != nil {
			t.Fatal(err)
		}
		messages := verify.Messages(all)
		if second == verify.ChannelVoice && tt.messages == 2 { // a call comes a minute after the text
			tt.last = max(tt.last, time.Minute)
		}
		t.Logf("the first carrier %-45s %-9v %d messages, the last after %v", tt.name, v.Delivery, messages, last)
		if v.Delivery != tt.state || messages != tt.messages || tt.attempts != nil && last != tt.last {
			t.Errorf("%s: got %v (%s), %d messages, the last after %v; want %v, %d, %v", tt.name, v.Delivery, v.Reason, messages, last, tt.state, tt.messages, tt.last)
		}
		var attempts []string
		for _, d := range all {
			attempts = append(attempts, fmt.Sprintf("%s %v %s %v", d.Carrier, d.Outcome, d.Reason, d.Receipt))
			if want := map[string]verify.Channel{"a": verify.ChannelSMS, "b": second}[d.Carrier]; d.Channel != want {
				t.Errorf("%s: attempt %d by %s is recorded as %q, want %q", tt.name, d.Attempt, d.Carrier, d.Channel, want)
			}
		}
		if tt.attempts != nil {
			if diff := cmp.Diff(tt.attempts, attempts); diff != "" {
				t.Errorf("%s: attempts (-want +got)\n%s", tt.name, diff)
			}
		}
		codes := map[verify.Secret]bool{}
		for _, m := range append(a.seen(), b.seen()...) {
			if m.Verification != v.ID {
				continue
			}
			codes[m.Code] = true
			if m.Body != verify.ApprovedText(m.Channel, m.Code) {
				t.Errorf("%s: the text by %s isn't that of the channel", tt.name, m.Channel)
			}
		}
		if len(codes) != 1 {
			t.Errorf("%s: %d different codes went out, want the same each time", tt.name, len(codes))
		}
	}
}

var smsThenVoice = map[verify.Channel][]verify.Channel{verify.ChannelSMS: {verify.ChannelVoice}}

// apart are the rules by which carrier a has the texts, and b those of the other channel; where that is
// the same one, both have them.
func apart(second verify.Channel) []route.Rule {
	if second == verify.ChannelSMS {
		return []route.Rule{{Channels: []verify.Channel{verify.ChannelVoice}}}
	}
	return []route.Rule{
		{Channels: []verify.Channel{verify.ChannelSMS}, Carriers: []route.Choice{{Carrier: "a"}}},
		{Channels: []verify.Channel{second}, Carriers: []route.Choice{{Carrier: "b"}}},
	}
}

// Nobody is called who wasn't meant to be, and what has died goes nowhere.
func TestAnotherChannelIsOnlyForThoseWhoWantIt(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	refuse := always(carrier.Refused(errDown))
	for _, tt := range []struct {
		name     string
		failover map[verify.Channel][]verify.Channel
		channels []verify.Channel // of an application with users; none: the project's own
		request  verify.AssociateRequest
		most     int // messages
		a        func(context.Context, int) error
		want     []string
	}{
		{name: "nobody says so", a: refuse, want: []string{"a refused refused"}},
		{name: "the operator does", failover: smsThenVoice, a: refuse, want: []string{"a refused refused", "b accepted "}},
		{name: "for calls only", failover: map[verify.Channel][]verify.Channel{verify.ChannelVoice: {verify.ChannelSMS}}, a: refuse, want: []string{"a refused refused"}},
		{name: "the application does", channels: []verify.Channel{verify.ChannelSMS, verify.ChannelVoice}, a: refuse, want: []string{"a refused refused", "b accepted "}},
		{name: "it prefers calls", channels: []verify.Channel{verify.ChannelVoice, verify.ChannelSMS}, a: refuse, want: []string{"b accepted ", "a refused refused"}},
		{name: "the operator does, the application doesn't", failover: smsThenVoice, channels: []verify.Channel{verify.ChannelSMS}, a: refuse, want: []string{"a refused refused"}},
		{name: "the caller wants a text", channels: []verify.Channel{verify.ChannelSMS, verify.ChannelVoice}, request: verify.AssociateRequest{Channel: verify.ChannelSMS}, a: refuse, want: []string{"a refused refused"}},
		{name: "the carrier has the only message", failover: smsThenVoice, most: 1, want: []string{"a accepted "}},
	} {
		a, b := &way{name: "a", send: tt.a}, &way{name: "b"}
		k := countersigntest.New(t, countersigntest.Options{
			Carriers: []carrier.Carrier{a, b}, Rules: apart(verify.ChannelVoice), Settings: verify.Settings{Failover: tt.failover}, MaxMessages: tt.most,
		})
		acct := k.Account()
		var id verify.ID
		if tt.channels == nil {
			v, err := k.Verify.Start(ctx, acct, verify.StartRequest{Channel: verify.ChannelSMS, To: to})
			if err != nil {
				t.Fatal(err)
			}
			id = v.ID
		} else {
			app, err := k.Verify.CreateApplication(ctx, acct, verify.Application{Name: "Shop", Channels: tt.channels})
			if err != nil {
				t.Fatal(err)
			}
			tt.request.Address = to
			if err := k.Verify.Associate(ctx, acct, app.ID, "somebody", tt.request); err != nil {
				t.Fatal(err)
			}
			u, err := k.Verify.User(ctx, acct, app.ID, "somebody")
			if err != nil {
				t.Fatal(err)
			}
			id = u.Current
		}
		v := quiet(t, k, id.String())
		last := attempts(t, k, v)[v.Attempt-1]
		receive(t, k, carrier.Receipt{Carrier: last[:1], Verification: id, Attempt: v.Attempt, Reason: verify.ReasonUnreachable})
		k.Advance(time.Second)
		v = quiet(t, k, id.String())
		if diff := cmp.Diff(tt.want, attempts(t, k, v)); diff != "" || v.Delivery != verify.DeliveryFailed {
			t.Errorf("%s: the delivery is %v, want failed; attempts (-want +got)\n%s", tt.name, v.Delivery, diff)
		}
	}
}

// What the start allowed holds, whatever becomes of the application meanwhile.
func TestTheNextChannelIsFrozenAtTheStart(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	calling, answer := make(chan struct{}), make(chan struct{})
	a := &way{name: "a", send: func(context.Context, int) error { close(calling); <-answer; return carrier.Refused(errDown) }}
	b := &way{name: "b"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}, Rules: apart(verify.ChannelVoice)})
	acct := k.Account()
	app, err := k.Verify.CreateApplication(ctx, acct, verify.Application{Name: "Shop", Channels: []verify.Channel{verify.ChannelSMS, verify.ChannelVoice}})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Verify.Associate(ctx, acct, app.ID, "somebody", verify.AssociateRequest{Address: to}); err != nil {
		t.Fatal(err)
	}
	<-calling
	app.Name, app.Channels = "Store", []verify.Channel{verify.ChannelSMS}
	if err := k.Verify.UpdateApplication(ctx, acct, app, app.Version); err != nil {
		t.Fatal(err)
	}
	close(answer)
	k.Await("the call", func() bool { return len(b.seen()) == 1 })
	if text := b.seen()[0].Body.Reveal(); !strings.HasPrefix(text, "Your Shop verification code is: ") {
		t.Error("the call says what the application would say now")
	}
}

// A carrier of texts and calls that refuses the text may make the call. To it that is another message.
func TestACarrierOfTwoChannelsIsAskedForEach(t *testing.T) {
	t.Parallel()
	w := &way{name: "a", send: func(_ context.Context, n int) error {
		if n == 1 {
			return carrier.Refused(errDown)
		}
		return nil
	}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Settings: verify.Settings{Failover: smsThenVoice}})
	quiet(t, k, k.Start(to, ""))
	all := w.seen()
	if len(all) != 2 || all[0].Channel != verify.ChannelSMS || all[1].Channel != verify.ChannelVoice || all[0].Code != all[1].Code {
		t.Fatalf("%d messages, want a text and a call with its code", len(all))
	}
	if all[0].ID == all[1].ID {
		t.Error("both have one id: a receiver drops the call as a repeat")
	}
}

// That the carrier of texts has no room is no reason to call, at the start and later; that it can't be
// reached is one.
func TestNoRoomIsNoReasonToCall(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	calling, answer := make(chan struct{}), make(chan error)
	a := &way{name: "a", send: func(context.Context, int) error { calling <- struct{}{}; return <-answer }}
	b := &way{name: "b", send: func(_ context.Context, n int) error {
		if n == 1 {
			return errDown
		}
		return nil
	}}
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{a, b}, Rules: apart(verify.ChannelVoice), Settings: verify.Settings{Failover: smsThenVoice},
		Lines: map[string]dispatch.Line{"a": {Queue: 1}}, BreakAfter: 2,
	})
	start := func() error {
		_, err := k.Verify.Start(ctx, k.Account(), verify.StartRequest{Channel: verify.ChannelSMS, To: to})
		return err
	}
	first := k.Start(to, "")
	<-calling
	if err := start(); !errors.Is(err, verify.ErrBusy) {
		t.Errorf("a start while there is no room for a text: %v, want %v", err, verify.ErrBusy)
	}
	answer <- errDown
	k.Await("the call that takes its place", func() bool { return len(b.seen()) == 1 })
	quiet(t, k, first)

	// The next text takes the room while the first waits for its turn.
	k.Await("room", func() bool { return k.Dispatch.Depth("a") == 0 })
	k.Start("+12025550101", "")
	<-calling
	k.Advance(5 * time.Second)
	if v := k.Verification(first); v.Delivery != verify.DeliveryQueued || v.Attempt != 2 {
		t.Errorf("while there is no room for its text, attempt %d of the first is %v; want the second, and that it waits", v.Attempt, v.Delivery)
	}
	answer <- errDown // which opens the breaker
	k.Await("the calls for both", func() bool { return len(b.seen()) == 3 })
	if _, err := k.Verify.Start(ctx, k.Account(), verify.StartRequest{Channel: verify.ChannelSMS, To: "+12025550102"}); err != nil {
		t.Errorf("a start while the carrier of texts can't be reached: %v", err)
	}
	k.Await("its call", func() bool { return len(b.seen()) == 4 })
}

// use approves a verification with its code.
func use(t *testing.T, k *countersigntest.Kit, id string) {
	t.Helper()
	v := k.Verification(id)
	code, err := keysOf(t, k).Open(v.KeyID, v.Binding(), v.SealedCode)
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Check(id, code); got != "right" {
		t.Fatalf("guess: %s", got)
	}
}

// A message costs as many messages as allowed, and no more, whoever could still take it.
func TestMessagesOfAVerificationAreBounded(t *testing.T) {
	t.Parallel()
	var all []carrier.Carrier
	ways := map[string]*way{}
	for _, name := range []string{"a", "b", "c", "d"} {
		ways[name] = &way{name: name}
		all = append(all, ways[name])
	}
	k := countersigntest.New(t, countersigntest.Options{Carriers: all})
	v := quiet(t, k, k.Start(to, ""))
	for attempt := 1; attempt <= 4; attempt++ {
		receive(t, k, carrier.Receipt{Carrier: string("abcd"[attempt-1]), Verification: v.ID, Attempt: attempt, Reason: verify.ReasonUnreachable})
		v = quiet(t, k, v.ID.String())
	}
	want := []string{"a accepted ", "b accepted ", "c accepted "}
	if diff := cmp.Diff(want, attempts(t, k, v)); diff != "" || v.Delivery != verify.DeliveryFailed || v.Reason.String() != "unreachable" {
		t.Errorf("delivery %v (%s); attempts (-want +got):\n%s", v.Delivery, v.Reason, diff)
	}
	if n := len(ways["d"].seen()); n != 0 {
		t.Errorf("the fourth carrier got %d messages", n)
	}
}

// handingOver starts a message that the first of two carriers, a, takes once answer is closed; the other
// one is b.
func handingOver(t *testing.T) (k *countersigntest.Kit, id string, b *way, answer chan struct{}) {
	t.Helper()
	calling, answer := make(chan struct{}), make(chan struct{})
	a := &way{name: "a", send: func(context.Context, int) error { close(calling); <-answer; return nil }}
	b = &way{name: "b"}
	k = countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}})
	id = k.Start(to, "")
	<-calling
	return k, id, b, answer
}

// What a carrier says of another one's message says nothing, whenever it says so: before that attempt is
// settled, and after.
func TestACarrierReportsOfItsOwnMessagesOnly(t *testing.T) {
	t.Parallel()
	k, id, _, answer := handingOver(t)
	says := func(name string, delivered bool) {
		t.Helper()
		receive(t, k, carrier.Receipt{Carrier: name, Verification: k.Verification(id).ID, Attempt: 1, Delivered: delivered, Reason: verify.ReasonUnreachable})
	}
	says("b", true)
	says("b", false)
	close(answer)
	unchanged := func(when string) {
		t.Helper()
		if v := quiet(t, k, id); v.Delivery != verify.DeliverySent || v.Attempt != 1 {
			t.Errorf("%s: attempt %d is %v; want the first, and sent", when, v.Attempt, v.Delivery)
		}
	}
	quiet(t, k, id)
	k.Advance(time.Second) // the receipts that waited are looked at
	unchanged("before the attempt was settled")
	says("b", true)
	says("b", false)
	unchanged("after that")
	says("a", true)
	if v := k.Verification(id); v.Delivery != verify.DeliveryDelivered {
		t.Errorf("by its own carrier: the message is %v", v.Delivery)
	}
}

// A server that dies over a message again and again sends it as often as allowed, and no more.
func TestLostLeasesCountAsMessages(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := &way{name: "a"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Unattended: true})
	id := startAndDie(t, k, time.Second)
	for range 2 { // two more die with it
		k.Clock.Advance(7 * time.Second)
		if err := k.Store.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		due, _, err := k.Store.Due(ctx, verify.Hint{}, 10, nil)
		if err != nil || len(due) != 1 {
			t.Fatalf("due: %v, %v; want one", due, err)
		}
		if v, _, err := k.Store.Claim(ctx, due[0], time.Second); v == nil || err != nil {
			t.Fatalf("claim: %v, %v", v, err)
		}
	}
	k.Advance(7 * time.Second)
	v := settled(t, k, id)
	if v.Delivery != verify.DeliveryFailed || v.Reason != verify.ReasonMaxMessages || len(w.seen()) != 0 {
		t.Errorf("delivery %v (%s), sent %d times; want failed (max_messages), never", v.Delivery, v.Reason, len(w.seen()))
	}
}

func TestStartsAreRefusedWhileEveryBreakerIsOpen(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards down
	down := true
	w := &way{name: "a", send: func(context.Context, int) error {
		mu.Lock()
		defer mu.Unlock()
		if down {
			return errDown
		}
		return nil
	}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, BreakAfter: 3})
	var ids []string
	for i := range 3 {
		ids = append(ids, k.Start(fmt.Sprintf("+1202555011%d", i), ""))
		quiet(t, k, ids[i])
	}
	refusedFor := func(wait time.Duration) {
		t.Helper()
		_, err := k.Verify.Start(context.Background(), k.Account(), verify.StartRequest{Channel: verify.ChannelSMS, To: to})
		var known *verify.Error
		if !errors.As(err, &known) || known.Code != verify.ErrCarriersDown.Code || known.RetryAfter != wait {
			t.Errorf("start while the breaker is open: %v, want %v after %v", err, verify.ErrCarriersDown, wait)
		}
		_, all, err := k.Verify.Reaches(k.Account(), to)
		if err != nil || len(all) != 2 || !all[0].Served || !all[0].OpensAt.Equal(k.Clock.Now().Add(wait)) {
			t.Errorf("while the breaker is open: by SMS %+v, %v; want it open %v later", all, err, wait)
		}
	}
	reaches := func(number string) {
		t.Helper()
		if _, all, err := k.Verify.Reaches(k.Account(), number); err != nil || !all[0].Served || !all[0].OpensAt.IsZero() {
			t.Errorf("%s: by SMS %+v, %v; want it open", number, all, err)
		}
	}
	refusedFor(10 * time.Second)
	if status, body := k.Post("sms", `{"to":"`+to+`"}`); status != 503 {
		t.Errorf("start: %d %s, want 503", status, body)
	}
	reaches("+442079460018")
	before := len(w.seen())
	other := k.Start("+442079460018", "") // another country's messages don't suffer
	quiet(t, k, other)
	if n := len(w.seen()); n != before+1 {
		t.Errorf("%d calls for another country, want 1", n-before)
	}

	// A probe fails: the pause is twice as long. The messages that opened it are none, and nobody learns of them.
	k.Advance(10 * time.Second)
	reaches("+12025550110")
	for _, id := range ids {
		quiet(t, k, id)
	}
	probe := k.Start("+12025550120", "")
	quiet(t, k, probe)
	refusedFor(20 * time.Second)

	// Then one that doesn't: all that waited goes out.
	mu.Lock()
	down = false
	mu.Unlock()
	k.Await("the messages that waited", func() bool {
		k.Advance(time.Second)
		return !slices.ContainsFunc(ids, func(id string) bool { return k.Verification(id).Delivery != verify.DeliverySent })
	})
	quiet(t, k, k.Start(to, ""))
	if states := k.Dispatch.States(); len(states[0].Breakers) != 0 {
		t.Errorf("breakers in the end: %+v", states[0].Breakers)
	}
}

// A start that is refused for another reason must not leave the breaker waiting for its probe.
func TestProbeThatIsNotSentIsGivenBack(t *testing.T) {
	t.Parallel()
	w := &way{name: "a", send: always(errDown)}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, BreakAfter: 1, Unattended: true, Limits: verify.Limits{Burst: 1, Interval: time.Minute}})
	quiet(t, k, k.Start(to, ""))
	k.Clock.Advance(10 * time.Second)
	if status, body := k.Post("sms", `{"to":"`+to+`"}`); status != 429 {
		t.Fatalf("start over the number's limit: %d %s", status, body)
	}
	quiet(t, k, k.Start("+12025550101", ""))
	if n := len(w.seen()); n != 2 {
		t.Errorf("%d calls, want the second to be the probe", n)
	}
}

func TestReceiptIsMatchedByTheCarriersOwnID(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	k, id, b, answer := handingOver(t)
	// Before the carrier's own answer: it waits.
	receive(t, k, carrier.Receipt{Carrier: "a", Ref: "ref", Reason: verify.ReasonUnreachable})
	receive(t, k, carrier.Receipt{Carrier: "a", Ref: "another's", Delivered: true})
	if v := k.Verification(id); v.Delivery != verify.DeliverySending {
		t.Fatalf("the message is %v before its attempt has ended", v.Delivery)
	}
	close(answer)
	k.Await("the receipt to be matched", func() bool { k.Advance(time.Second); return len(b.seen()) == 1 })
	v := quiet(t, k, id)
	if diff := cmp.Diff([]string{"a accepted ", "b accepted "}, attempts(t, k, v)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	receive(t, k, carrier.Receipt{Carrier: "b", Ref: "ref", Delivered: true})
	if v := k.Verification(id); v.Delivery != verify.DeliveryDelivered {
		t.Errorf("the message is %v, want delivered", v.Delivery)
	}
	receive(t, k, carrier.Receipt{Carrier: "b", Ref: "ref", Unsure: true, Delivered: true}) // again
	if err := k.Dispatch.Receive(ctx, carrier.Receipt{Carrier: "b", Ref: "another's", Unsure: true, Delivered: true}); !errors.Is(err, verify.ErrNotFound) {
		t.Errorf("a receipt that somebody has another idea of: %v", err)
	}
	k.Advance(time.Minute) // the other one is nobody's
	if err := k.Dispatch.Receive(ctx, carrier.Receipt{Verification: verify.NewID(k.Clock.Now()), Attempt: 1, Delivered: true}); !errors.Is(err, verify.ErrNotFound) {
		t.Errorf("a receipt for a verification that never was: %v", err)
	}
}

// Receipts and ends of attempts, in any order and repeated, lose and double no message.
func TestReceiptsRaceWithAttempts(t *testing.T) {
	t.Parallel()
	n := testsize.Times(200)
	var k *countersigntest.Kit
	var ready sync.WaitGroup
	ready.Add(1)
	var receipts sync.WaitGroup
	mixed := func(name string) *hook {
		return &hook{name, func(m verify.Message) string {
			ready.Wait()
			ref := fmt.Sprintf("%v/%d", m.ID, m.Attempt)
			for range 2 { // while we settle; and carriers repeat themselves
				receipts.Go(func() {
					r := carrier.Receipt{Carrier: name, Ref: ref, Delivered: m.Attempt > 1, Reason: verify.ReasonUnreachable}
					if m.ID[15]%2 == 0 {
						r.Verification, r.Attempt = m.Verification, m.Attempt
					}
					receive(t, k, r)
				})
			}
			return ref
		}}
	}
	a, b := mixed("a"), mixed("b")
	k = countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}})
	ready.Done()
	var starts sync.WaitGroup
	ids := make([]string, n)
	for c := range 8 {
		starts.Go(func() {
			for i := c; i < n; i += 8 {
				ids[i] = k.Start(fmt.Sprintf("+1202%07d", 2000000+i), "")
			}
		})
	}
	starts.Wait()
	for _, id := range ids {
		k.Await("the delivery", func() bool {
			if k.Verification(id).Delivery == verify.DeliveryDelivered {
				return true
			}
			k.Advance(10 * time.Millisecond)
			return false
		})
		v := k.Verification(id)
		if diff := cmp.Diff([]string{"a accepted ", "b accepted "}, attempts(t, k, v)); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
	}
	receipts.Wait()
}

// A hook is a carrier that takes every message, and says what its id is.
type hook struct {
	name string
	took func(verify.Message) string
}

func (h *hook) Name() string { return h.name }

func (h *hook) Send(_ context.Context, m verify.Message) (carrier.Result, error) {
	return carrier.Result{Ref: h.took(m)}, nil
}

func TestRoutesAndSendersByCountry(t *testing.T) {
	t.Parallel()
	a, b := &way{name: "a"}, &way{name: "b"}
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{a, b},
		Rules:    []route.Rule{{Countries: []string{"GB"}, Carriers: []route.Choice{{Carrier: "b"}}}, {Countries: []string{"FR"}}},
		Lines:    map[string]dispatch.Line{"b": {Senders: map[string][]string{"GB": {"ACME"}, "": {"+12025550111", "72345"}}}},
	})
	settled(t, k, k.Start("+442079460018", ""))
	settled(t, k, k.Start("+442079460018", `"from":"+12025550122"`))
	settled(t, k, k.Start(to, ""))
	if status, body := k.Post("sms", `{"to":"+33140205050"}`); status != 422 || !strings.Contains(fmt.Sprint(body), "To is in a country or network") {
		t.Errorf("a start that no carrier serves: %d %v, want 422 about To", status, body)
	}
	got := map[string][]string{}
	for _, w := range []*way{a, b} {
		for _, m := range w.seen() {
			got[w.name] = append(got[w.name], string(m.To)+" from "+m.From)
		}
	}
	want := map[string][]string{
		"a": {to + " from +12025550199"}, // no pool: the public sender
		"b": {"+442079460018 from ACME", "+442079460018 from +12025550122"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// mute is a carrier that reports nothing.
type mute struct{ *way }

func (mute) Silent() bool { return true }

func TestTrialIsFollowedToItsReceipt(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var k *countersigntest.Kit
	accepts := &hook{"accepts", func(m verify.Message) string {
		if m.Body.Reveal() != "This is a test message. You need not do anything." || m.To != to || m.Channel != verify.ChannelVoice {
			t.Errorf("sent %+v", m)
		}
		return "7"
	}}
	refuses := &way{name: "refuses", send: always(carrier.Because(verify.ReasonInvalidSender, carrier.Refused(errDown)))}
	k = countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{accepts, refuses, mute{&way{name: "mute"}}}})
	try := func(ctx context.Context, name string, receipt *carrier.Receipt) string {
		t.Helper()
		var steps []string
		last, err := k.Dispatch.Try(ctx, name, verify.ChannelVoice, to, func(s dispatch.Step) {
			steps = append(steps, strings.TrimSpace(s.What+" "+s.Ref+s.Reason.String()))
			if s.What == "accepted" && receipt != nil {
				// What carriers say before we know the message's id waits, and is found all the same.
				receive(t, k, *receipt)
			}
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.HasPrefix(steps[len(steps)-1], last.What) {
			t.Errorf("%s: the last step is %+v", name, last)
		}
		return strings.Join(steps, ", ")
	}
	if got := try(ctx, "accepts", &carrier.Receipt{Carrier: "accepts", Ref: "7", Delivered: true}); got != "sending, accepted 7, delivered" {
		t.Errorf("delivered: %s", got)
	}
	if got := try(ctx, "accepts", &carrier.Receipt{Carrier: "accepts", Ref: "7", Reason: verify.ReasonUnreachable}); got != "sending, accepted 7, failed unreachable" {
		t.Errorf("failed: %s", got)
	}
	if got := try(ctx, "refuses", nil); got != "sending, refused refinvalid_sender" {
		t.Errorf("refused: %s", got)
	}
	if got := try(ctx, "mute", nil); got != "sending, accepted ref" {
		t.Errorf("without a way to report: %s", got)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if got := try(canceled, "accepts", nil); got != "sending, accepted 7" {
		t.Errorf("without a receipt: %s", got)
	}
	if _, err := k.Dispatch.Try(ctx, "none", verify.ChannelSMS, to, func(dispatch.Step) {}); err == nil {
		t.Error("a carrier that isn't there: no error")
	}
}

// Nobody hears of three carriers: the second gets the message when the first was silent, and that is all.
func TestSilenceMovesOnOnce(t *testing.T) {
	t.Parallel()
	a, b, c := &way{name: "a"}, &way{name: "b"}, &way{name: "c"}
	lines := map[string]dispatch.Line{}
	for _, name := range []string{"a", "b", "c"} {
		lines[name] = dispatch.Line{ReceiptTimeout: receiptTimeout}
	}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b, c}, Lines: lines, MaxMessages: 5})
	id := k.Start(to, "")
	for range 10 {
		quiet(t, k, id)
		k.Advance(receiptTimeout)
	}
	v := quiet(t, k, id)
	if diff := cmp.Diff([]string{"a accepted ", "b accepted "}, attempts(t, k, v)); diff != "" || v.Delivery != verify.DeliverySent || v.Watched() {
		t.Errorf("delivery %v, watched %t; attempts (-want +got):\n%s", v.Delivery, v.Watched(), diff)
	}
	// A loss that becomes known later still moves on.
	receive(t, k, carrier.Receipt{Carrier: "b", Verification: v.ID, Attempt: 2, Reason: verify.ReasonUnreachable})
	v = quiet(t, k, id)
	for range 3 {
		k.Advance(receiptTimeout)
	}
	if diff := cmp.Diff([]string{"a accepted ", "b accepted ", "c accepted "}, attempts(t, k, v)); diff != "" {
		t.Errorf("after the loss: attempts (-want +got):\n%s", diff)
	}
}

// A message that has arrived after all isn't sent again, also not where it waits for another try: of the
// same carrier, which said that it wasn't sent, or of the next, which couldn't be reached.
func TestWhatHasArrivedIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		carriers []*way
		wait     time.Duration // until the last one has been called
		calls    int
	}{
		"by the only carrier": {[]*way{{name: "a", send: always(errDown)}}, 0, 1},
		"by the first one, while the next fails": {[]*way{
			{name: "a", send: always(carrier.Unknown(errDown))}, {name: "b", send: always(errDown)}}, 2 * receiptTimeout, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := countersigntest.Options{Lines: map[string]dispatch.Line{"a": {ReceiptTimeout: receiptTimeout}}}
			for _, w := range tt.carriers {
				o.Carriers = append(o.Carriers, w)
			}
			k := countersigntest.New(t, o)
			id := k.Start(to, "")
			quiet(t, k, id)
			k.Advance(tt.wait)
			v := quiet(t, k, id)
			last := tt.carriers[len(tt.carriers)-1]
			if n := len(last.seen()); n != tt.calls || v.Delivery != verify.DeliveryQueued {
				t.Fatalf("%d calls, %v; want %d, and the message to wait for another", n, v.Delivery, tt.calls)
			}
			receive(t, k, carrier.Receipt{Carrier: "a", Verification: v.ID, Attempt: 1, Delivered: true})
			for range 10 {
				k.Advance(30 * time.Second)
			}
			if v = quiet(t, k, id); len(last.seen()) != tt.calls || v.Delivery != verify.DeliveryDelivered || v.Reason != verify.NoReason {
				t.Errorf("after the receipt: %d calls more, %v %s; want none, delivered", len(last.seen())-tt.calls, v.Delivery, v.Reason)
			}
		})
	}
}

// A receipt that names our own attempt can come before that has ended, too. If it moved on at once, it
// would move on to the same carrier, for nobody knows yet who lost the message.
func TestLossWaitsForTheEndOfItsAttempt(t *testing.T) {
	t.Parallel()
	k, id, b, answer := handingOver(t)
	receive(t, k, carrier.Receipt{Carrier: "a", Verification: k.Verification(id).ID, Attempt: 1, Reason: verify.ReasonUnreachable})
	if v := k.Verification(id); v.Delivery != verify.DeliverySending || v.Attempt != 1 {
		t.Errorf("before the attempt's end: %v, attempt %d", v.Delivery, v.Attempt)
	}
	close(answer)
	k.Await("the second carrier, or the code's end", func() bool {
		k.Advance(time.Second)
		return len(b.seen()) == 1 || k.Verification(id).StatusAt(k.Clock.Now()) != verify.StatusPending
	})
	if diff := cmp.Diff([]string{"a accepted ", "b accepted "}, attempts(t, k, quiet(t, k, id))); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// A failure that isn't the carrier's keeps no other message from it, however many numbers and projects
// meet it: an answer about a message, that a phone isn't answered, that the carrier wants us to be slower,
// and that we have no room for its calls.
func TestOnlyTheCarriersOwnFailuresOpenABreaker(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		carrier.Refused(errDown),
		carrier.Because(verify.ReasonThrottled, carrier.Later(time.Minute, errDown)),
		carrier.Because(verify.ReasonBusy, carrier.Later(time.Minute, errDown)),
		carrier.Because(verify.ReasonNoAnswer, carrier.Later(time.Minute, errDown)),
		carrier.Blaming(verify.BlameUs, carrier.Later(time.Minute, errDown)),
	} {
		w := &way{name: "a", send: always(err)}
		k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, BreakAfter: 2})
		for i := range 5 {
			quiet(t, k, k.Start(fmt.Sprintf("+1202555011%d", i), ""))
		}
		if n := len(w.seen()); n != 5 {
			t.Errorf("%v: %d calls, want 5", carrier.Decision(err).Reason, n)
		}
	}
}

// A phone that isn't answered shows that the carrier works: what had failed before is forgotten.
func TestAnAnswerAboutTheCalleeClosesABreaker(t *testing.T) {
	t.Parallel()
	w := &way{name: "a", send: func(_ context.Context, n int) error {
		if n == 3 {
			return carrier.Because(verify.ReasonBusy, carrier.Later(time.Minute, errDown))
		}
		return errDown
	}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, BreakAfter: 3, Unattended: true})
	for i := range 5 { // two failures, busy, and two failures
		quiet(t, k, k.Start(fmt.Sprintf("+1202555011%d", i), ""))
	}
	if b := k.Dispatch.States()[0].Breakers; len(b) != 2 || b[1].Failures != 2 || b[1].State != "closed" {
		t.Errorf("breakers: %+v; want one with the 2 failures since then", b)
	}
}

// picky is a carrier that fails at some numbers, those up to +12025550199.
type picky struct{ *way }

func (p picky) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	r, err := p.way.Send(ctx, m)
	if m.To < "+12025550200" {
		err = errDown
	}
	return r, err
}

// Phones of one project that the carrier fails at, for whatever reason, keep no other project's message
// from it.
func TestAnotherProjectsFailuresCostNoStart(t *testing.T) {
	t.Parallel()
	w := picky{&way{name: "a"}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}})
	key := account.NewSecret()
	k.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat, PublicText: true}, key)
	other, err := k.Accounts.Authenticate(t.Context(), "other", key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		k.Post("sms", fmt.Sprintf(`{"to":"+120255501%02d"}`, i))
	}
	served := 0
	for i := range 48 {
		k.Advance(10 * time.Second) // while the first ones are tried again
		if _, err := k.Verify.Start(t.Context(), other, verify.StartRequest{Channel: verify.ChannelSMS, To: fmt.Sprintf("+120255502%02d", i)}); err == nil {
			served++
		}
	}
	if served != 48 {
		t.Errorf("%d of another project's 48 starts were served beside 20 numbers that fail", served)
	}
}

// A carrier that is slower than its messages come passes them on, instead of keeping them too long.
func TestRateBoundsWhatWaits(t *testing.T) {
	t.Parallel()
	a, b := &way{name: "a"}, &way{name: "b"}
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{a, b},
		Lines:    map[string]dispatch.Line{"a": {Rate: 0.2}}, // two in the 10 s of a lease less a call
	})
	var ids []string
	for range 5 {
		ids = append(ids, k.Start(to, ""))
	}
	k.Await("the other carrier's messages", func() bool { return len(b.seen()) >= 2 })
	if n := len(a.seen()); n > 2 {
		t.Errorf("the slow carrier got %d at once", n)
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	k.Dispatch.Close(now) // what waits is left for later
	for _, id := range ids {
		if v := k.Verification(id); v.Delivery != verify.DeliverySent && !v.Open() {
			t.Errorf("a message is %v (%s)", v.Delivery, v.Reason)
		}
	}
}

// A replica whose own link to a carrier is broken delays nobody's message for long: another replica sends it.
func TestABrokenLinkOfOneReplicaDelaysNobody(t *testing.T) {
	t.Parallel()
	broken, works := &way{name: "a", send: always(errDown)}, &way{name: "a"}
	o := countersigntest.Options{Database: storetest.Lent(t), Carriers: []carrier.Carrier{broken}, BreakAfter: 1, Unattended: true}
	k := countersigntest.New(t, o)
	id := k.Start(to, "")
	v := quiet(t, k, id)
	if wait := v.DueAt.Sub(k.Clock.Now()); wait > 2*time.Second {
		t.Fatalf("the attempt that opened the breaker puts its message off for %v", wait)
	}
	k.Advance(2 * time.Second) // the broken one looks first
	v = k.Verification(id)
	if wait := v.DueAt.Sub(k.Clock.Now()); v.Attempt != 1 || wait <= 0 || wait > 2*time.Second {
		t.Fatalf("attempt %d is put off for %v by a breaker that is open", v.Attempt, wait)
	}
	o.Data, o.Clock, o.Carriers = k.Data, k.Clock, []carrier.Carrier{works}
	other := countersigntest.New(t, o)
	other.Advance(2 * time.Second)
	if v := settled(t, other, id); v.Delivery != verify.DeliverySent || len(works.seen()) != 1 {
		t.Errorf("with another replica the message is %v, sent %d times; want sent once", v.Delivery, len(works.seen()))
	}
}

// A receipt that came before its attempt was settled, and was looked at before, is matched by a shutdown.
func TestAShutdownMatchesEarlyReceipts(t *testing.T) {
	t.Parallel()
	for what, drain := range map[string]time.Duration{"that waits": time.Minute, "that doesn't": 0} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k, id, _, answer := handingOver(t)
			receive(t, k, carrier.Receipt{Carrier: "a", Ref: "ref", Delivered: true})
			for range 2 { // the later, the longer it rests
				k.Advance(time.Second)
			}
			ctx, cancel := context.WithTimeout(t.Context(), drain)
			defer cancel()
			closed := make(chan struct{})
			go func() { k.Dispatch.Close(ctx); close(closed) }()
			k.Await("the end of taking more", func() bool { status, _ := k.Post("sms", `{"to":"`+to+`"}`); return status == 503 })
			close(answer)
			<-closed
			if v := k.Verification(id); v.Delivery != verify.DeliveryDelivered {
				t.Errorf("after the shutdown the message is %v, want delivered", v.Delivery)
			}
		})
	}
}
