package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/verify"
)

// A trunk is a carrier whose calls take long: until a test ends them, or somebody hangs up.
type trunk struct {
	way
	ends    chan error
	calling atomic.Int32
	hungUp  chan struct{} // closed when the first call is ended by us
}

// trunkLimit is what a call may take.
const trunkLimit = 107 * time.Second

func newTrunk(name string) *trunk {
	t := &trunk{ends: make(chan error), hungUp: make(chan struct{})}
	t.name = name
	t.send = func(ctx context.Context, n int) error {
		t.calling.Add(1)
		defer t.calling.Add(-1)
		select {
		case err := <-t.ends:
			return err
		case <-ctx.Done():
			if n == 1 {
				close(t.hungUp)
			}
			return carrier.Because(verify.ReasonInterrupted, ctx.Err())
		}
	}
	return t
}

// ended waits until somebody has hung up on the first call. That is soon: long before anything that ends
// a call in the last resort.
func (t *trunk) ended(tb testing.TB) {
	tb.Helper()
	select {
	case <-t.hungUp:
	case <-time.After(trunkLimit - 20*time.Second): // before it ends by itself
		tb.Fatal("the call goes on")
	}
}

func (t *trunk) Limit() time.Duration { return trunkLimit }

// callUnderWay starts a call and waits until it is under way.
func callUnderWay(t *testing.T, w *trunk, o countersigntest.Options, more string) (*countersigntest.Kit, string) {
	t.Helper()
	o.Carriers = append([]carrier.Carrier{w}, o.Carriers...)
	k := countersigntest.New(t, o)
	id := k.Start(to, more)
	k.Await("the call", func() bool { return w.calling.Load() == 1 })
	return k, id
}

// left is how much of the lease is left.
func left(k *countersigntest.Kit, id string) time.Duration {
	return k.Verification(id).DueAt.Sub(k.Clock.Now())
}

const lease = 20 * time.Second

// goOn lets time pass while a call is under way, and demands that its lease goes on.
func goOn(t *testing.T, k *countersigntest.Kit, id string, d time.Duration) {
	t.Helper()
	const step = 4 * time.Second
	for ; d > 0; d -= step {
		k.Advance(min(step, d))
		k.Await("a lease that lasts", func() bool { return left(k, id) >= lease/2 })
		if most := left(k, id); most > lease {
			t.Fatalf("the lease lasts for %v more, want at most %v", most, lease)
		}
	}
}

func TestALongCallKeepsItsLease(t *testing.T) {
	t.Parallel()
	w := newTrunk("a")
	k, id := callUnderWay(t, w, countersigntest.Options{}, "")
	goOn(t, k, id, 105*time.Second)
	w.ends <- nil
	v := settled(t, k, id)
	if diff := cmp.Diff([]string{"a accepted "}, attempts(t, k, v)); diff != "" || v.Delivery != verify.DeliverySent {
		t.Errorf("%v; attempts (-want +got):\n%s", v.Delivery, diff)
	}
	k.Advance(time.Hour) // what was noted down for the lease's ends
	if n := len(w.seen()); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

// quick is a carrier whose calls take no longer than it says.
type quick struct{ way }

func (*quick) Limit() time.Duration { return 30 * time.Millisecond }

func TestACarriersLimitEndsItsCall(t *testing.T) {
	t.Parallel()
	w := &quick{way{name: "a", send: func(ctx context.Context, _ int) error {
		if ends, ok := ctx.Deadline(); !ok || time.Until(ends) > 30*time.Millisecond {
			return errors.New("there is more time")
		}
		<-ctx.Done()
		return carrier.Refused(ctx.Err())
	}}}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}})
	v := settled(t, k, k.Start(to, ""))
	if diff := cmp.Diff([]string{"a refused refused"}, attempts(t, k, v)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// A call says by itself what became of it: nobody waits for a receipt, and what it was is recorded,
// whether it was for good or not.
func TestACallTellsWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	answered := verify.Call{Ring: 3 * time.Second, Answered: countersigntest.Start, Talk: 61 * time.Second, Keys: 1, Status: 200, HungUp: true}
	for name, tt := range map[string]struct {
		says  carrier.Result
		send  func(context.Context, int) error
		state verify.DeliveryState
	}{
		"said":          {carrier.Result{Delivered: true, Call: answered}, nil, verify.DeliveryDelivered},
		"hung up early": {carrier.Result{Call: answered}, always(carrier.Because(verify.ReasonHungUp, carrier.Refused(errDown))), verify.DeliveryFailed},
	} {
		w, b := newTrunk("a"), &way{name: "b"}
		w.says, w.send = tt.says, tt.send
		k := countersigntest.New(t, countersigntest.Options{
			Carriers: []carrier.Carrier{w, b}, MaxMessages: 1,
			Lines: map[string]dispatch.Line{"a": {ReceiptTimeout: time.Second, Costs: money.Table{{Country: "US"}: {{Each: 500_000}}}}},
			Rules: []route.Rule{{Carriers: []route.Choice{{Carrier: "a"}}}},
		})
		v := settled(t, k, k.Start(to, ""))
		if v.Delivery != tt.state || v.Watched() {
			t.Errorf("%s: got %v (%s), watched %t", name, v.Delivery, v.Reason, v.Watched())
		}
		all, err := k.Store.Deliveries(t.Context(), v.ID)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %+v, %v, want one attempt", name, all, err)
		}
		if diff := cmp.Diff(answered, all[0].Call); diff != "" {
			t.Errorf("%s: the call's record (-want +got)\n%s", name, diff)
		}
		metrics := httptest.NewRecorder()
		k.Operations().ServeHTTP(metrics, httptest.NewRequest("GET", "/metrics", nil))
		receipts := strings.Count(metrics.Body.String(), `countersign_receipts_total{carrier="a",country="US",result="delivered"} 1`+"\n")
		if want := map[bool]int{true: 1}[tt.says.Delivered]; receipts != want {
			t.Errorf("%s: counted %d times as arrived, want %d", name, receipts, want)
		}
		for _, line := range []string{`countersign_cost_total{carrier="a",country="US"} 1`, `countersign_call_talk_seconds_sum{carrier="a"} 61`} {
			if !strings.Contains(metrics.Body.String(), line+"\n") {
				t.Errorf("%s: the metrics lack %s", name, line)
			}
		}
	}
}

// However a verification ends while its phone rings or is spoken to: the call ends with it, within
// seconds, no other is made, and it isn't the carrier's fault.
func TestACallEndsWithItsVerification(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, tt := range map[string]struct {
		life string
		end  func(*testing.T, *countersigntest.Kit, *verify.Verification)
		want string
	}{
		"approved": {end: func(t *testing.T, k *countersigntest.Kit, v *verify.Verification) { use(t, k, v.ID.String()) }, want: "delivered  a dropped approved"},
		"canceled": {end: func(t *testing.T, k *countersigntest.Kit, v *verify.Verification) {
			if err := k.Verify.Cancel(ctx, k.Account(), v.ID); err != nil {
				t.Error(err)
			}
		}, want: "failed canceled a dropped canceled"},
		"exhausted": {life: `"max_attempts":1`, end: func(_ *testing.T, k *countersigntest.Kit, v *verify.Verification) { k.Check(v.ID.String(), "0") }, want: "failed exhausted a dropped exhausted"},
		"expired":   {life: `"valid_for":4`, end: func(*testing.T, *countersigntest.Kit, *verify.Verification) {}, want: "failed expired a dropped expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, b := newTrunk("a"), &way{name: "b"}
			k, id := callUnderWay(t, w, countersigntest.Options{Carriers: []carrier.Carrier{b}, BreakAfter: 1}, tt.life)
			tt.end(t, k, k.Verification(id))
			k.Clock.Advance(5 * time.Second)
			w.ended(t)
			k.Await("the attempt's end", func() bool { return len(attempts(t, k, k.Verification(id))) == 1 })
			v := k.Verification(id)
			if got := fmt.Sprintf("%v %s %s", v.Delivery, v.Reason, strings.Join(attempts(t, k, v), ", ")); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			k.Advance(time.Minute)
			if n := len(w.seen()) + len(b.seen()); n != 1 {
				t.Errorf("%d messages, want the call only", n)
			}
			for _, s := range k.Dispatch.States() {
				if len(s.Breakers) > 0 {
					t.Errorf("it counts as a failure: %+v", s)
				}
			}
		})
	}
}

func TestACallEndsWithItsUsersNextCode(t *testing.T) {
	t.Parallel()
	w := newTrunk("a")
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}})
	ctx, acct := t.Context(), k.Account()
	app, err := k.Verify.CreateApplication(ctx, acct, verify.Application{Name: "Shop"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := k.Verify.Associate(ctx, acct, app.ID, "kola", verify.AssociateRequest{Address: to}); err != nil {
			t.Fatal(err)
		}
		k.Await("the call", func() bool { return w.calling.Load() > 0 })
	}
	k.Clock.Advance(5 * time.Second)
	w.ended(t)
	w.ends <- nil
}

// What takes the lease from a call that is under way ends it: the next attempt is another's.
func TestACallEndsWithItsLease(t *testing.T) {
	t.Parallel()
	w := newTrunk("a")
	k, id := callUnderWay(t, w, countersigntest.Options{}, "")
	v := k.Verification(id)
	if _, _, err := k.Store.Receive(t.Context(), verify.Receipt{Verification: v.ID, Attempt: 1, Reason: verify.ReasonLost, Retry: true}); err != nil {
		t.Fatal(err)
	}
	k.Await("the next attempt", func() bool { return w.calling.Load() == 2 })
	k.Clock.Advance(4 * time.Second)
	w.ended(t)
	k.Await("the end of the first call", func() bool { return k.Dispatch.Depth("a") == 1 })
	if after := k.Verification(id); after.Attempt != 2 || after.Delivery != verify.DeliverySending {
		t.Errorf("the call that lost its lease made it attempt %d, %v; want 2, sending", after.Attempt, after.Delivery)
	}
	w.ends <- nil
	settled(t, k, id)
}

// A database that is away costs no call while the lease holds. But the call has ended before another
// replica can make it.
func TestACallOutlastsADatabaseThatIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	for range 5 {
		if callOutlastsADatabaseThatIsAway(t) {
			return
		}
	}
	t.Error("the machine was too slow for the lease, five times")
}

// It reports false if that shows nothing: a lease is kept by the real clock as well.
func callOutlastsADatabaseThatIsAway(t *testing.T) (shown bool) {
	var away atomic.Bool
	var failed atomic.Int32
	w := newTrunk("a")
	k, id := callUnderWay(t, w, countersigntest.Options{
		BreakAfter: 1,
		Commit: func(_ int, commit func() error) error {
			if away.Load() {
				failed.Add(1)
				return errAway
			}
			return commit()
		},
	}, "")
	renewed := time.Now() // or later
	goOn(t, k, id, 30*time.Second)

	away.Store(true)
	for _, remain := range []time.Duration{9500 * time.Millisecond, 7500 * time.Millisecond} {
		before := failed.Load()
		k.Clock.Advance(left(k, id) - remain)
		k.Await("an attempt to renew", func() bool { return failed.Load() > before })
	}
	if w.calling.Load() != 1 {
		if time.Since(renewed) < lease/2 {
			t.Error("the call ended while its lease held")
		}
		return time.Since(renewed) < lease/2
	}
	away.Store(false)
	k.Clock.Advance(2 * time.Second)
	k.Await("a lease that lasts", func() bool { return left(k, id) >= lease/2 })
	goOn(t, k, id, 30*time.Second)

	away.Store(true)
	k.Clock.Advance(left(k, id) - 5*time.Second)
	w.ended(t)
	if over := left(k, id); over <= 0 {
		t.Errorf("the call ended %v after its lease", -over)
	}
	away.Store(false)
	k.Await("the attempt's end", func() bool { return len(attempts(t, k, k.Verification(id))) == 1 })
	k.Advance(time.Second) // when it is made up for
	k.Await("the next call", func() bool { return w.calling.Load() == 1 })
	w.ends <- nil
	v := settled(t, k, id)
	if diff := cmp.Diff([]string{"a errored interrupted", "a accepted "}, attempts(t, k, v)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	return true
}

// cutOff is a store that its replica can't reach any more.
type cutOff struct {
	dispatch.Store
	mu   sync.RWMutex // guards away, and is shared by what is under way
	away bool
}

var errAway = errors.New("the database is away")

// cut lets nothing pass from now on. What was under way has ended.
func (s *cutOff) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
}

func (s *cutOff) Renew(ctx context.Context, id verify.ID, attempt int, lease time.Duration) (*verify.Verification, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.away {
		return nil, errAway
	}
	return s.Store.Renew(ctx, id, attempt, lease)
}

func (s *cutOff) Settle(ctx context.Context, end verify.Settlement) (*verify.Verification, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.away {
		return nil, errAway
	}
	return s.Store.Settle(ctx, end)
}

func (s *cutOff) Verification(ctx context.Context, id verify.ID) (*verify.Verification, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.away {
		return nil, errAway
	}
	return s.Store.Verification(ctx, id)
}

func (s *cutOff) Due(ctx context.Context, after verify.Hint, n int, remembered func(verify.Hint) (verify.Overdue, bool)) ([]verify.Overdue, verify.Hint, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.away {
		return nil, verify.Hint{}, errAway
	}
	return s.Store.Due(ctx, after, n, remembered)
}

// A replica dies, or loses the database, in the middle of a call. Another makes the call again, soon
// after the lease, and not while the first one goes on.
func TestADeadReplicasCallIsMadeByAnother(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	theirs, ours := newTrunk("a"), newTrunk("a")
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{ours}, Unattended: true})
	id := startAndDie(t, k, lease)
	st := &cutOff{Store: k.Store}
	other, err := dispatch.New(dispatch.Config{
		Store: st, Keys: keysOf(t, k), Now: k.Clock.Now, Log: slog.New(slog.DiscardHandler), Tick: time.Millisecond,
		Carriers: []dispatch.Line{{Carrier: theirs, Queue: 1, Concurrency: 1}},
		Routes:   map[verify.Channel][]string{verify.ChannelSMS: {"a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now, cancel := context.WithCancel(ctx)
		cancel()
		other.Close(now)
	})
	k.Clock.Advance(lease)
	if err := k.Store.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	k.Await("the call", func() bool { return theirs.calling.Load() == 1 })
	goOn(t, k, id, 60*time.Second)

	st.cut()
	died := k.Clock.Now()
	k.Advance(left(k, id) - 5*time.Second)
	theirs.ended(t)
	if n := len(ours.seen()); n != 0 {
		t.Fatal("two replicas call at once")
	}
	k.Advance(left(k, id))
	k.Await("the next call", func() bool { return ours.calling.Load() == 1 })
	if took := k.Clock.Now().Sub(died); took > lease+5*time.Second {
		t.Errorf("taken over after %v, want at most the lease and 5s", took)
	}
	ours.ends <- nil
	v := settled(t, k, id)
	if diff := cmp.Diff([]string{" unknown lease_lost", " unknown lease_lost", "a accepted "}, attempts(t, k, v)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// A database that doesn't even fail holds up nobody who has to end a call.
func TestACallEndsWhileTheDatabaseHangs(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	back := make(chan struct{})
	w := newTrunk("a")
	k, id := callUnderWay(t, w, countersigntest.Options{
		Lease: time.Second, CallLimit: 500 * time.Millisecond,
		Commit: func(_ int, commit func() error) error {
			if away.Load() {
				<-back
			}
			return commit()
		},
	}, "")
	release := sync.OnceFunc(func() { close(back) })
	t.Cleanup(release)
	away.Store(true)
	k.Clock.Advance(600 * time.Millisecond)
	w.ended(t)
	release()
	k.Await("the attempt's end", func() bool { return len(attempts(t, k, k.Verification(id))) == 1 })
}

// A shutdown that has no more time hangs up. What wasn't said is said by whoever starts next, by the same
// carrier: it isn't its fault.
func TestAShutdownHangsUp(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	w := newTrunk("a")
	k, id := callUnderWay(t, w, countersigntest.Options{Data: data}, "")
	now, cancel := context.WithCancel(context.Background())
	cancel()
	k.Dispatch.Close(now)
	w.ended(t)
	if v := k.Verification(id); v.Delivery != verify.DeliveryQueued || v.Reason.String() != "interrupted" {
		t.Errorf("after the shutdown it is %v (%s), want queued (interrupted)", v.Delivery, v.Reason)
	}
	next, other := &way{name: "a"}, &way{name: "b"}
	again := countersigntest.New(t, countersigntest.Options{Data: data, Carriers: []carrier.Carrier{next, other}, Clock: k.Clock})
	again.Advance(time.Second)
	if v := settled(t, again, id); v.Delivery != verify.DeliverySent || len(next.seen()) != 1 {
		t.Errorf("after the restart: %v (%s), %d calls by the same carrier and %d by another; want sent, 1, 0",
			v.Delivery, v.Reason, len(next.seen()), len(other.seen()))
	}
}

// A call that waits here longer than its lease, behind others, is made if it is still ours.
func TestACallThatWaitedRenewsItsLeaseFirst(t *testing.T) {
	t.Parallel()
	w := newTrunk("a")
	k, first := callUnderWay(t, w, countersigntest.Options{Concurrency: 1, Queue: 2}, "")
	second := k.Start(to, "")
	goOn(t, k, first, lease-2*time.Second)
	w.ends <- nil
	k.Await("the next call", func() bool { return len(w.seen()) == 2 })
	if remain := left(k, second); remain < lease/2 {
		t.Errorf("its lease lasts %v, want at least %v", remain, lease/2)
	}
	goOn(t, k, second, 30*time.Second)
	w.ends <- nil
	settled(t, k, second)
	if n := len(w.seen()); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}
