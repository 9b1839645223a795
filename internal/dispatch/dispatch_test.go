package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
)

// A way is a carrier that does as a test says.
type way struct {
	name string
	send func(ctx context.Context, n int) error // n counts its calls, from 1; nil sends
	says carrier.Result                         // beside the error; its Ref is always the same

	mu    sync.Mutex // guards calls
	calls []verify.Message
}

func (w *way) Name() string { return w.name }

func (w *way) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	w.mu.Lock()
	w.calls = append(w.calls, m)
	n := len(w.calls)
	w.mu.Unlock()
	said := w.says
	said.Ref = "ref"
	if w.send == nil {
		return said, nil
	}
	return said, w.send(ctx, n)
}

func (w *way) seen() []verify.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]verify.Message(nil), w.calls...)
}

func always(err error) func(context.Context, int) error {
	return func(context.Context, int) error { return err }
}

const to = "+12025550100"

var errDown = errors.New("down")

// settled waits until a verification's message needs nothing more, and returns it.
func settled(t *testing.T, k *countersigntest.Kit, id string) *verify.Verification {
	t.Helper()
	k.Await("the delivery of "+id, func() bool { return !k.Verification(id).Open() })
	return k.Verification(id)
}

// attempts are a verification's deliveries as "carrier outcome reason".
func attempts(t *testing.T, k *countersigntest.Kit, v *verify.Verification) []string {
	t.Helper()
	all, err := k.Store.Deliveries(context.Background(), v.ID)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i, d := range all {
		if d.Attempt != i+1 {
			t.Errorf("attempt %d is recorded as number %d", i+1, d.Attempt)
		}
		lines = append(lines, fmt.Sprintf("%s %v %s", d.Carrier, d.Outcome, d.Reason))
	}
	return lines
}

func TestFirstAttempt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		send   func(context.Context, int) error
		state  verify.DeliveryState
		reason verify.Reason
		want   string
	}{
		"accepted": {nil, verify.DeliverySent, verify.NoReason, "a accepted "},
		"refused":  {always(carrier.Refused(errDown)), verify.DeliveryFailed, verify.ReasonRefused, "a refused refused"},
		"unknown":  {always(carrier.Unknown(errDown)), verify.DeliverySent, verify.ReasonUnknown, "a unknown unknown"},
		"panic":    {func(context.Context, int) error { panic("boom") }, verify.DeliverySent, verify.ReasonUnknown, "a unknown unknown"},
		"named":    {always(carrier.Because(verify.ReasonBlocked, carrier.Refused(errDown))), verify.DeliveryFailed, verify.ReasonBlocked, "a refused blocked"},
		"hangs": {func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return carrier.Unknown(ctx.Err())
		}, verify.DeliverySent, verify.ReasonUnknown, "a unknown unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &way{name: "a", send: tt.send}
			k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, CallLimit: 50 * time.Millisecond})
			v := settled(t, k, k.Start(to, ""))
			if v.Delivery != tt.state || v.Reason != tt.reason {
				t.Errorf("delivery is %v (%s), want %v (%s)", v.Delivery, v.Reason, tt.state, tt.reason)
			}
			if diff := cmp.Diff([]string{tt.want}, attempts(t, k, v)); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
			k.Advance(10 * time.Minute) // nothing is tried again
			if n := len(w.seen()); n != 1 {
				t.Errorf("the carrier was called %d times, want 1", n)
			}
		})
	}
}

func TestErrorIsRetriedWithGrowingWaitsUntilTheCodeDies(t *testing.T) {
	t.Parallel()
	w := &way{name: "a", send: always(errDown)}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}})
	id := k.Start(to, `"valid_for":60`)
	var waits []time.Duration
	for {
		k.Await("an attempt's end", func() bool { return k.Verification(id).Delivery != verify.DeliverySending })
		v := k.Verification(id)
		if v.Delivery != verify.DeliveryQueued {
			break
		}
		wait := v.DueAt.Sub(k.Clock.Now())
		waits = append(waits, wait)
		n := len(w.seen())
		k.Advance(wait - time.Millisecond)
		if got := len(w.seen()); got != n {
			t.Fatalf("attempt %d came before its time", got)
		}
		k.Advance(time.Millisecond)
		k.Await("the next attempt", func() bool { return len(w.seen()) > n || !k.Verification(id).Open() })
	}
	for i, wait := range waits {
		if most := time.Second << i; wait < most/2 || wait > most {
			t.Errorf("wait %d is %v, want %v to %v", i+1, wait, most/2, most)
		}
	}
	if len(waits) < 4 {
		t.Errorf("%d retries within a minute, want at least 4", len(waits))
	}
	if v := k.Verification(id); v.Delivery != verify.DeliveryFailed || v.Reason.String() != "error" {
		t.Errorf("in the end the delivery is %v (%s), want failed (error)", v.Delivery, v.Reason)
	}
	first := w.seen()[0]
	for i, m := range w.seen() {
		want := first
		want.Attempt = i + 1
		if m != want {
			t.Errorf("attempt %d sent %+v, want the same message %+v", i+1, m, want)
		}
		if m.Body.Reveal() != first.Body.Reveal() {
			t.Errorf("attempt %d has another text", i+1)
		}
	}
}

func TestLaterIsHonoured(t *testing.T) {
	t.Parallel()
	w := &way{name: "a", send: func(_ context.Context, n int) error {
		if n == 1 {
			return carrier.Later(time.Minute, errDown)
		}
		return nil
	}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}})
	id := k.Start(to, "")
	k.Await("the first attempt's end", func() bool { return k.Verification(id).Delivery == verify.DeliveryQueued })
	k.Advance(time.Minute - time.Millisecond)
	if n := len(w.seen()); n != 1 {
		t.Fatalf("called %d times within the minute, want 1", n)
	}
	k.Advance(time.Millisecond)
	v := settled(t, k, id)
	if diff := cmp.Diff([]string{"a errored later", "a accepted "}, attempts(t, k, v)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		a, b  error
		want  []string
		state verify.DeliveryState
	}{
		"error moves on at once":   {errDown, nil, []string{"a errored error", "b accepted "}, verify.DeliverySent},
		"refused moves on at once": {carrier.Refused(errDown), nil, []string{"a refused refused", "b accepted "}, verify.DeliverySent},
		"refused by all is failed": {carrier.Refused(errDown), carrier.Refused(errDown), []string{"a refused refused", "b refused refused"}, verify.DeliveryFailed},
		"unknown doesn't move on":  {carrier.Unknown(errDown), nil, []string{"a unknown unknown"}, verify.DeliverySent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := &way{name: "a", send: always(tt.a)}, &way{name: "b", send: always(tt.b)}
			k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}})
			v := settled(t, k, k.Start(to, ""))
			if v.Delivery != tt.state {
				t.Errorf("delivery is %v (%s), want %v", v.Delivery, v.Reason, tt.state)
			}
			if diff := cmp.Diff(tt.want, attempts(t, k, v)); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCarrierThatRefusedIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	a := &way{name: "a", send: always(carrier.Refused(errDown))}
	b := &way{name: "b", send: func(_ context.Context, n int) error {
		if n < 4 {
			return errDown
		}
		return nil
	}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}})
	id := k.Start(to, "")
	k.Await("the end", func() bool { k.Advance(10 * time.Second); return !k.Verification(id).Open() })
	if len(a.seen()) != 1 || len(b.seen()) != 4 {
		t.Errorf("a was called %d times and b %d times, want 1 and 4", len(a.seen()), len(b.seen()))
	}
}

func TestFailedReceiptMovesOnToTheNextCarrier(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a, b := &way{name: "a"}, &way{name: "b"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}})
	v := settled(t, k, k.Start(to, ""))
	undelivered := carrier.Receipt{Carrier: "a", Verification: v.ID, Attempt: 1, Reason: verify.ReasonUnreachable}
	if err := k.Dispatch.Receive(ctx, undelivered); err != nil {
		t.Fatal(err)
	}
	k.Await("the second carrier", func() bool { return len(b.seen()) == 1 && !k.Verification(v.ID.String()).Open() })
	if got, want := b.seen()[0].Body.Reveal(), a.seen()[0].Body.Reveal(); got != want {
		t.Errorf("the second carrier got another text")
	}
	if err := k.Dispatch.Receive(ctx, undelivered); err != nil { // again: carriers repeat themselves
		t.Fatal(err)
	}
	if got := k.Verification(v.ID.String()); got.Delivery != verify.DeliverySent {
		t.Errorf("a repeated receipt of the first attempt made the second %v (%s)", got.Delivery, got.Reason)
	}
	undelivered.Carrier, undelivered.Attempt = "b", 2
	if err := k.Dispatch.Receive(ctx, undelivered); err != nil {
		t.Fatal(err)
	}
	if got := k.Verification(v.ID.String()); got.Delivery != verify.DeliveryFailed || got.Reason.String() != "unreachable" {
		t.Errorf("with no carrier left it is %v (%s), want failed (unreachable)", got.Delivery, got.Reason)
	}
	if err := k.Dispatch.Receive(ctx, carrier.Receipt{Carrier: "b", Verification: v.ID, Attempt: 2, Delivered: true}); err != nil {
		t.Fatal(err)
	}
	if got := k.Verification(v.ID.String()); got.Delivery != verify.DeliveryFailed || got.Status != verify.StatusPending {
		t.Errorf("a late receipt made it %v and %v; a final delivery and a verdict stand", got.Delivery, got.Status)
	}
}

// A replica that dies between the commit and the call leaves only its lease behind.
func TestDeadReplicasMessageIsSentWhenItsLeaseEnds(t *testing.T) {
	t.Parallel()
	w := &way{name: "a"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}})
	id := startAndDie(t, k, 20*time.Second)
	k.Advance(20*time.Second - time.Millisecond)
	if n := len(w.seen()); n != 0 {
		t.Fatalf("sent %d times while the lease held", n)
	}
	k.Advance(time.Millisecond)
	v := settled(t, k, id)
	if diff := cmp.Diff([]string{" unknown lease_lost", "a accepted "}, attempts(t, k, v)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if m := w.seen()[0]; m.Body.Reveal() != "Code 493817" || m.Attempt != 2 {
		t.Errorf("sent attempt %d, %q; want 2 with the code of the start", m.Attempt, m.Body.Reveal())
	}
}

// Two servers in two schemas of a database are no replicas of each other: what one leaves behind, the other doesn't see,
// and neither knows the other's projects, keys, limits and verifications.
func TestAServerInAnotherSchemaSendsNothing(t *testing.T) {
	t.Parallel()
	database := storetest.Lent(t)
	mine, others := &way{name: "a"}, &way{name: "a"}
	a := countersigntest.New(t, countersigntest.Options{Database: database, Schema: "a", Carriers: []carrier.Carrier{mine}, Unattended: true, Limits: verify.Limits{Burst: 1, Interval: time.Hour}})
	b := countersigntest.New(t, countersigntest.Options{Database: database, Schema: "b", Carriers: []carrier.Carrier{others}, Unattended: true, Clock: a.Clock, Limits: verify.Limits{Burst: 1, Interval: time.Hour}})
	left := startAndDie(t, a, 20*time.Second)
	b.Advance(time.Minute)
	b.Advance(time.Minute) // what the sweeper found
	own := b.Start(to, "") // its limit is its own
	settled(t, b, own)
	if sent := others.seen(); len(sent) != 1 || sent[0].Verification.String() == left {
		t.Errorf("the server of the other schema sent %d messages, want its own one", len(sent))
	}
	if got := b.Check(left, "493817"); got != "gone" {
		t.Errorf("a check of it there: got %q, want gone", got)
	}
	key := account.NewSecret()
	a.AddProject(verify.Project{ID: "other", Name: "Other", Profile: verify.ProfileCompat}, key)
	if status, _, _ := b.Call(key, "GET", "/v1/budget", ""); status != 401 {
		t.Errorf("b answers a key of a's %d, want 401", status)
	}
	a.Advance(time.Minute)
	a.Advance(time.Minute)
	settled(t, a, left)
	if len(mine.seen()) != 1 || len(others.seen()) != 1 {
		t.Errorf("sent %d messages by a, and %d by b; want 1 each", len(mine.seen()), len(others.seen()))
	}
}

func TestDeadReplicasMessageIsNotSentAfterItsCode(t *testing.T) {
	t.Parallel()
	w := &way{name: "a"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}})
	startAndDie(t, k, 20*time.Second) // this one's code lives on
	canceled := startAndDie(t, k, 20*time.Second)
	if err := k.Verify.Cancel(context.Background(), k.Account(), k.Verification(canceled).ID); err != nil {
		t.Fatal(err)
	}
	k.Advance(20 * time.Second)
	if v := settled(t, k, canceled); v.Delivery != verify.DeliveryFailed || v.Reason.String() != "canceled" {
		t.Errorf("canceled: %v (%s)", v.Delivery, v.Reason)
	}
	k.Await("the live one to be sent", func() bool { return len(w.seen()) == 1 })

	late := startAndDie(t, k, 20*time.Second)
	k.Advance(time.Hour)
	if v := settled(t, k, late); v.Delivery != verify.DeliveryFailed || v.Reason.String() != "expired" {
		t.Errorf("expired: %v (%s)", v.Delivery, v.Reason)
	}
	if n := len(w.seen()); n != 1 {
		t.Errorf("%d messages were sent, want 1", n)
	}
}

// startAndDie commits a start as a replica does that then loses its power.
func startAndDie(t *testing.T, k *countersigntest.Kit, lease time.Duration, edits ...func(*verify.Verification)) string {
	t.Helper()
	return startAndDieWith(t, k, keysOf(t, k), lease, edits...)
}

func startAndDieWith(t *testing.T, k *countersigntest.Kit, keys *keyset.Set, lease time.Duration, edits ...func(*verify.Verification)) string {
	t.Helper()
	acct := k.Account()
	v := &verify.Verification{
		ID: verify.NewID(k.Clock.Now()), Project: acct.Project.ID, Application: acct.Application.ID, Purpose: verify.PurposeMFA,
		Terms: verify.Terms{Channel: verify.ChannelSMS, To: to, Text: "Code {code}", Format: "numeric", Length: 6, MaxAttempts: 3, ExpiresAt: k.Clock.Now().Add(time.Hour)},
		Code:  verify.Code{KeyID: keys.Primary(), CodeMAC: []byte{1}},
	}
	for _, edit := range edits {
		edit(v)
	}
	var err error
	if v.SealedCode, err = keys.Seal(v.KeyID, v.Binding(), "493817"); err != nil {
		t.Fatal(err)
	}
	if err := k.Store.Start(context.Background(), v, verify.Limits{}, lease); err != nil {
		t.Fatal(err)
	}
	return v.ID.String()
}

// A replica whose configuration has no carrier for a message leaves it to those that have one, as while a carrier is
// added to one replica after the other. It gives the message up when nobody has taken it for as long as a lease lasts.
func TestAMessageWithoutACarrierHereIsLeftToOthers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	k := countersigntest.New(t, countersigntest.Options{Unattended: true})
	replica := func(w *way, channel verify.Channel) *dispatch.Dispatcher {
		d, err := dispatch.New(dispatch.Config{
			Store: k.Store, Shared: true, Keys: keysOf(t, k), Now: k.Clock.Now, Log: slog.New(slog.DiscardHandler), Tick: time.Hour, Lease: 20 * time.Second,
			Carriers: []dispatch.Line{{Carrier: w, Queue: 1, Concurrency: 1}},
			Routes:   map[verify.Channel][]string{channel: {w.name}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close(ctx) })
		return d
	}
	phones, texts := &way{name: "phones"}, &way{name: "texts"}
	without, with := replica(phones, verify.ChannelVoice), replica(texts, verify.ChannelSMS)
	look := func(d *dispatch.Dispatcher, after time.Duration) {
		t.Helper()
		k.Clock.Advance(after)
		if err := k.Store.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if err := d.Poll(ctx); err != nil {
			t.Fatal(err)
		}
	}

	taken := startAndDie(t, k, 20*time.Second)
	look(without, 20*time.Second)
	if v := k.Verification(taken); v.Delivery != verify.DeliverySending {
		t.Fatalf("a message that others may have a carrier for is %v", v.Delivery)
	}
	look(with, time.Second)
	k.Await("the replica that has a carrier", func() bool { return k.Verification(taken).Delivery == verify.DeliverySent })

	given := startAndDie(t, k, 20*time.Second)
	look(without, 20*time.Second)
	look(without, 20*time.Second)
	if v := k.Verification(given); v.Delivery != verify.DeliveryFailed || v.Reason != verify.ReasonNoCarrier {
		t.Errorf("a message that nobody has a carrier for is %v, %v", v.Delivery, v.Reason)
	}
	if n := len(phones.seen()); n != 0 {
		t.Errorf("the carrier of another channel got %d messages", n)
	}
}

// A server that lacks a message's key leaves it to those that have it.
func TestAMessageOfAKeyThatIsMissingIsLeftToOthers(t *testing.T) {
	t.Parallel()
	w := &way{name: "a"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Unattended: true})
	others, err := keyset.New()
	if err != nil {
		t.Fatal(err)
	}
	id := startAndDieWith(t, k, others, 20*time.Second)
	due := k.Verification(id).DueAt
	for range 5 {
		k.Advance(time.Minute)
		if v := k.Verification(id); !v.Open() || v.Attempt != 1 || !v.DueAt.Equal(due) {
			t.Fatalf("it is %v, attempt %d, due %v later; want it as the other server left it", v.Delivery, v.Attempt, v.DueAt.Sub(due))
		}
	}
	k.Advance(time.Hour)
	if v := settled(t, k, id); v.Delivery != verify.DeliveryFailed || v.Reason.String() != "expired" || len(w.seen()) != 0 {
		t.Errorf("when the code has ended: %v (%s), and %d messages were sent", v.Delivery, v.Reason, len(w.seen()))
	}
}

func keysOf(t testing.TB, k *countersigntest.Kit) *keyset.Set {
	t.Helper()
	keys, err := keyset.Load(k.Data + "/" + system.KeysetFile)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Fencing: a replica that was frozen while another took its message over settles nothing.
func TestThawedReplicaSettlesNothing(t *testing.T) {
	t.Parallel()
	frozen, thaw := make(chan struct{}), make(chan struct{})
	a := &way{name: "a", send: func(context.Context, int) error {
		close(frozen)
		<-thaw
		return carrier.Refused(errDown) // would fail the message for good
	}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a}, Unattended: true})
	b := &way{name: "b"}
	other, err := dispatch.New(dispatch.Config{
		Store: k.Store, Keys: keysOf(t, k), Now: k.Clock.Now, Log: slog.New(slog.DiscardHandler), Tick: time.Hour,
		Carriers: []dispatch.Line{{Carrier: b, Queue: 1, Concurrency: 1}},
		Routes:   map[verify.Channel][]string{verify.ChannelSMS: {"b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := k.Start(to, "")
	<-frozen
	k.Clock.Advance(20 * time.Second)
	ctx := context.Background()
	if err := errors.Join(k.Store.Sweep(ctx), other.Poll(ctx)); err != nil {
		t.Fatal(err)
	}
	close(thaw)
	drain, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	other.Close(drain)
	v := settled(t, k, id)
	if v.Delivery != verify.DeliverySent {
		t.Errorf("delivery is %v (%s), want sent: the thawed replica has settled it", v.Delivery, v.Reason)
	}
	if diff := cmp.Diff([]string{" unknown lease_lost", "b accepted "}, attempts(t, k, v)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestQueueBoundsWhatIsPromised(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	w := &way{name: "a", send: func(context.Context, int) error { <-release; return nil }}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Queue: 3, Concurrency: 1})
	var ids []string
	for range 3 {
		ids = append(ids, k.Start(to, ""))
	}
	if status, body := k.Post("sms", `{"to":"`+to+`"}`); status != 503 || body != `{"error":"Service Unavailable"}` {
		t.Errorf("a start over the queue's bound: %d %s, want 503", status, body)
	}
	close(release)
	for _, id := range ids {
		settled(t, k, id)
	}
	k.Start(to, "") // there is room again
	if n := len(w.seen()); n > 4 {
		t.Errorf("%d messages went out, want at most 4", n)
	}
}

func TestChannelWithoutCarrierIsRefused(t *testing.T) {
	t.Parallel()
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{}})
	if status, body := k.Post("call", `{"to":"`+to+`"}`); status != 503 || body != `{"error":"Service Unavailable"}` {
		t.Errorf("%d %s, want 503", status, body)
	}
}

// What waits in a queue while its code dies is not sent any more.
func TestQueuedMessageDiesWithItsCode(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	w := &way{name: "a", send: func(_ context.Context, n int) error {
		if n == 1 {
			<-release
		}
		return nil
	}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Concurrency: 1, Unattended: true})
	first := k.Start(to, "")
	k.Await("the first call", func() bool { return len(w.seen()) == 1 })
	expires, exhausted, approved, lives := k.Start(to, `"valid_for":1`), k.Start(to, `"max_attempts":1`), k.Start(to, ""), k.Start(to, "")
	if got := k.Check(exhausted, "0"); got != "wrong" {
		t.Fatalf("guess: %s", got)
	}
	v := k.Verification(approved)
	code, err := keysOf(t, k).Open(v.KeyID, v.Binding(), v.SealedCode)
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Check(approved, code); got != "right" {
		t.Fatalf("guess: %s", got)
	}
	k.Clock.Advance(time.Second)
	close(release)
	for _, id := range []string{first, expires, exhausted, approved, lives} {
		settled(t, k, id)
	}
	for id, want := range map[string]string{
		expires: "failed expired", exhausted: "failed exhausted", approved: "delivered ", lives: "sent ", first: "sent ",
	} {
		v := k.Verification(id)
		if got := fmt.Sprintf("%v %s", v.Delivery, v.Reason); got != want {
			t.Errorf("delivery of %s is %s, want %s", id, got, want)
		}
	}
	if n := len(w.seen()); n != 2 {
		t.Errorf("%d messages went out, want the first and the one that lives", n)
	}
}

// A user's code that waits behind a slow carrier isn't sent once there is a newer one, or he is gone.
func TestQueuedMessageDiesWithItsSuccessor(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	w := &way{name: "a", send: func(_ context.Context, n int) error {
		if n == 1 {
			<-release
		}
		return nil
	}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Concurrency: 1, Unattended: true})
	k.Start(to, "")
	k.Await("the first call", func() bool { return len(w.seen()) == 1 })

	ctx, acct := t.Context(), k.Account()
	app, err := k.Verify.CreateApplication(ctx, acct, verify.Application{Name: "Shop"})
	if err != nil {
		t.Fatal(err)
	}
	associate := func(user string) (id string) {
		t.Helper()
		if err := k.Verify.Associate(ctx, acct, app.ID, user, verify.AssociateRequest{Address: to}); err != nil {
			t.Fatal(err)
		}
		d, err := k.Store.Destination(ctx, acct.Project.ID, to)
		if err != nil {
			t.Fatal(err)
		}
		return d.Latest.String()
	}
	older, deleted := associate("kola"), associate("gone")
	newer := associate("kola")
	if err := k.Verify.DeleteUser(ctx, acct, app.ID, "gone"); err != nil {
		t.Fatal(err)
	}
	k.Clock.Advance(time.Second)
	close(release)
	for id, want := range map[string]string{older: "failed superseded", newer: "sent ", deleted: "failed canceled"} {
		v := settled(t, k, id)
		if got := fmt.Sprintf("%v %s", v.Delivery, v.Reason); got != want {
			t.Errorf("delivery is %s, want %s", got, want)
		}
	}
	if n := len(w.seen()); n != 2 {
		t.Errorf("%d messages went out, want the first and the newer one", n)
	}
}

func TestCloseDrainsTheQueue(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	w := &way{name: "a", send: func(context.Context, int) error { <-release; return nil }}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Concurrency: 1})
	var ids []string
	for range 10 {
		ids = append(ids, k.Start(to, ""))
	}
	closed := make(chan struct{})
	go func() { k.Dispatch.Close(context.Background()); close(closed) }()
	k.Await("the end of taking more", func() bool { status, _ := k.Post("sms", `{"to":"`+to+`"}`); return status == 503 })
	close(release)
	<-closed
	for _, id := range ids {
		if v := k.Verification(id); v.Delivery != verify.DeliverySent {
			t.Errorf("after the drain a delivery is %v (%s)", v.Delivery, v.Reason)
		}
	}
}

// A drain that takes too long ends the calls. What was not sent is on disk, and sent by the next.
func TestCloseLeavesTheRestForLater(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	w := &way{name: "a", send: func(ctx context.Context, _ int) error { <-ctx.Done(); return carrier.Unknown(ctx.Err()) }}
	k := countersigntest.New(t, countersigntest.Options{Data: data, Carriers: []carrier.Carrier{w}, Concurrency: 1})
	hanging, waiting := k.Start(to, ""), k.Start(to, "")
	k.Await("the first call", func() bool { return len(w.seen()) == 1 })
	now, cancel := context.WithCancel(context.Background())
	cancel()
	k.Dispatch.Close(now)
	if v := k.Verification(hanging); v.Delivery != verify.DeliverySent || v.Reason != verify.ReasonUnknown {
		t.Errorf("the call under way: %v (%s), want sent (unknown)", v.Delivery, v.Reason)
	}
	if v := k.Verification(waiting); !v.Open() {
		t.Errorf("the message that waited: %v (%s), want it open", v.Delivery, v.Reason)
	}

	next := &way{name: "a"}
	again := countersigntest.New(t, countersigntest.Options{Data: data, Carriers: []carrier.Carrier{next}})
	again.Advance(20 * time.Second)
	if v := settled(t, again, waiting); v.Delivery != verify.DeliverySent || len(next.seen()) != 1 {
		t.Errorf("after the restart: %v (%s), %d sent; want sent, 1", v.Delivery, v.Reason, len(next.seen()))
	}
}

// The database fails while an attempt's end is recorded, with and without recording it. Either way
// the message is sent once and its end is recorded once.
func TestSettlingSurvivesFaultsOfTheDatabase(t *testing.T) {
	t.Parallel()
	for name, happened := range map[string]bool{"failed": false, "failed, yet it happened": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex // guards faults
			faults := 0
			w := &way{name: "a", send: func(context.Context, int) error {
				mu.Lock()
				defer mu.Unlock()
				faults = 3 // from here on: the next commits are the settlement's
				return nil
			}}
			k := countersigntest.New(t, countersigntest.Options{
				Carriers: []carrier.Carrier{w}, Unattended: true,
				Commit: func(_ int, commit func() error) error {
					mu.Lock()
					defer mu.Unlock()
					if faults == 0 {
						return commit()
					}
					faults--
					if happened {
						commit()
					}
					return errors.New("disk error")
				},
			})
			v := settled(t, k, k.Start(to, ""))
			k.Await("the end of the faults", func() bool { mu.Lock(); defer mu.Unlock(); return faults == 0 })
			if diff := cmp.Diff([]string{"a accepted "}, attempts(t, k, v)); diff != "" || v.Delivery != verify.DeliverySent {
				t.Errorf("delivery %v; attempts (-want +got):\n%s", v.Delivery, diff)
			}
			k.Advance(time.Minute)
			if n := len(w.seen()); n != 1 {
				t.Errorf("sent %d times, want 1", n)
			}
		})
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	line := dispatch.Line{Carrier: &way{name: "a"}, Queue: 1, Concurrency: 1}
	for name, c := range map[string]dispatch.Config{
		"lease over 30s":      {Lease: 31 * time.Second},
		"call over the lease": {Lease: 10 * time.Second, CallLimit: 6 * time.Second},
		"no queue":            {Carriers: []dispatch.Line{{Carrier: line.Carrier, Concurrency: 1}}},
		"no concurrency":      {Carriers: []dispatch.Line{{Carrier: line.Carrier, Queue: 1}}},
		"unknown carrier":     {Carriers: []dispatch.Line{line}, Routes: map[verify.Channel][]string{verify.ChannelSMS: {"b"}}},
	} {
		if _, err := dispatch.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
