package dispatch_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// A shutdown that ends with a full queue: each message that waited is recorded as unsent and due, so the
// next server sends it without a wait, also where only one message may go out.
func TestWhatWaitsAtAShutdownIsDueAndUnsent(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{1, 4} {
		t.Run(fmt.Sprint(concurrency), func(t *testing.T) {
			t.Parallel()
			const waiting = 40
			data := t.TempDir()
			answer := make(chan struct{})
			w := &way{name: "a", send: func(context.Context, int) error { <-answer; return carrier.Unknown(errDown) }}
			k := countersigntest.New(t, countersigntest.Options{Data: data, Carriers: []carrier.Carrier{w}, Concurrency: concurrency, MaxMessages: 1, BreakAfter: -1})
			ids := make([]string, concurrency+waiting)
			for i := range ids {
				ids[i] = k.Start(fmt.Sprintf("+1202555%04d", i), "")
			}
			k.Await("the calls", func() bool { return len(w.seen()) == concurrency })
			called := map[string]bool{}
			for _, m := range w.seen() {
				called[m.Verification.String()] = true
			}
			now, cancel := context.WithCancel(t.Context())
			cancel()
			closed := make(chan struct{})
			go func() { k.Dispatch.Close(now); close(closed) }()
			for _, id := range ids {
				if !called[id] {
					k.Await("a message that waited to be queued and due", func() bool {
						v := k.Verification(id)
						return v.Delivery == verify.DeliveryQueued && !v.DueAt.After(k.Clock.Now())
					})
				}
			}
			close(answer)
			<-closed

			next := &way{name: "a"}
			again := countersigntest.New(t, countersigntest.Options{Data: data, Carriers: []carrier.Carrier{next}, Clock: k.Clock, MaxMessages: 1})
			for _, id := range ids {
				if called[id] {
					continue
				}
				v := settled(t, again, id)
				if diff := cmp.Diff([]string{"a errored interrupted", "a accepted "}, attempts(t, again, v)); diff != "" {
					t.Fatalf("attempts (-want +got):\n%s", diff)
				}
			}
			if n := len(next.seen()); n != waiting {
				t.Errorf("the next server sent %d messages, want %d", n, waiting)
			}
		})
	}
}

// away is a database that can be switched off.
type away struct{ atomic.Bool }

func (a *away) commit(_ int, commit func() error) error {
	if a.Load() {
		return errors.New("the database is away")
	}
	return commit()
}

// The database is away for longer than a lease. What waits meanwhile hasn't left us: it is sent when the
// database is back, once, also where only one message may go out.
func TestAnOutageCountsNoMessageThatWaits(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 3} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			var db away
			answer := make(chan struct{})
			w := &way{name: "a", send: func(_ context.Context, n int) error {
				if n == 1 {
					<-answer
				}
				return nil
			}}
			k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Concurrency: 1, MaxMessages: most, Commit: db.commit})
			ids := make([]string, 4)
			for i := range ids {
				ids[i] = k.Start(fmt.Sprintf("+1202555%04d", i), "")
			}
			k.Await("the first call", func() bool { return len(w.seen()) == 1 })
			db.Store(true)
			k.Clock.Advance(21 * time.Second)
			close(answer)
			k.Clock.Advance(21 * time.Second)
			db.Store(false)
			for _, id := range ids {
				if diff := cmp.Diff([]string{"a accepted "}, attempts(t, k, settled(t, k, id))); diff != "" {
					t.Errorf("attempts (-want +got):\n%s", diff)
				}
			}
			k.Advance(30 * time.Second)
			if n := len(w.seen()); n != len(ids) {
				t.Errorf("the carrier was called %d times, want %d", n, len(ids))
			}
		})
	}
}

// The database goes away right after a start's commit, and the lease ends before the message's turn comes. It
// hasn't left us: it is sent when the database is back, once, also where only one message may go out.
func TestAnOutageCountsNoMessageWhoseTurnItIs(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 3} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			var starts, isAway atomic.Bool
			var refused atomic.Int32
			w := &way{name: "a"}
			var k *countersigntest.Kit
			k = countersigntest.New(t, countersigntest.Options{
				Carriers: []carrier.Carrier{w}, MaxMessages: most, Unattended: true, // so only the start and the worker write
				Commit: func(_ int, commit func() error) error {
					if isAway.Load() {
						refused.Add(1)
						return errAway
					}
					if err := commit(); err != nil || !starts.CompareAndSwap(true, false) {
						return err
					}
					isAway.Store(true)
					k.Clock.Advance(lease + time.Second)
					return nil
				},
			})
			// The first commit may also be the server's own, of what it writes after its start. Then the start is refused.
			var started struct{ ID string }
			k.Await("a start whose commit is the last", func() bool {
				isAway.Store(false)
				starts.Store(true)
				status, answer := k.Post("sms", `{"to":"`+to+`"}`)
				return status == 200 && json.Unmarshal([]byte(answer), &started) == nil
			})
			id := started.ID
			refused.Store(0)
			k.Await("a lease that isn't renewed, twice", func() bool { return refused.Load() > 1 })
			isAway.Store(false)
			k.Await("the call", func() bool {
				k.Advance(lease) // whoever takes it for lost does so now
				return len(w.seen()) > 0
			})
			if diff := cmp.Diff([]string{"a accepted "}, attempts(t, k, settled(t, k, id))); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
			if n := len(w.seen()); n != 1 {
				t.Errorf("the carrier was called %d times, want 1", n)
			}
		})
	}
}

// An attempt's end is recorded when the database is back, also long after the lease.
func TestAnAttemptIsSettledAfterItsLease(t *testing.T) {
	t.Parallel()
	var db away
	answer := make(chan struct{})
	w := &way{name: "a", send: func(context.Context, int) error { <-answer; return nil }}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w}, Unattended: true, Commit: db.commit})
	id := k.Start(to, "")
	k.Await("the call", func() bool { return len(w.seen()) == 1 })
	db.Store(true)
	k.Clock.Advance(time.Minute)
	close(answer)
	for range 3 { // the lease ended long ago, and nobody takes the message for lost
		k.Dispatch.Poll(t.Context()) // fails: it can't write either
	}
	db.Store(false)
	if diff := cmp.Diff([]string{"a accepted "}, attempts(t, k, settled(t, k, id))); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// A start is committed, its answer is still on its way, and the clock steps: the poller doesn't take the
// message for one that was lost.
func TestAStepOfTheClockBeforeTheAnswerOfACommitRepeatsNothing(t *testing.T) {
	t.Parallel()
	var armed atomic.Bool
	committed, let := make(chan struct{}), make(chan struct{})
	w := &way{name: "a"}
	url := storetest.Lent(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	there := func() (is bool) { // other commits come before the start's
		if err := db.QueryRow(`SELECT EXISTS (SELECT 1 FROM verification)`).Scan(&is); err != nil {
			t.Error(err)
		}
		return is
	}
	k := countersigntest.New(t, countersigntest.Options{
		Database: url, Carriers: []carrier.Carrier{w}, Unattended: true,
		Commit: func(_ int, commit func() error) error {
			err := commit()
			if armed.Load() && there() && armed.CompareAndSwap(true, false) {
				close(committed)
				<-let
			}
			return err
		},
	})
	armed.Store(true)
	started := make(chan string)
	go func() { started <- k.Start(to, "") }()
	<-committed
	for range 3 {
		k.Advance(13 * time.Second) // others may commit: a lane that takes long doesn't hold them up
	}
	close(let)
	if diff := cmp.Diff([]string{"a accepted "}, attempts(t, k, settled(t, k, <-started))); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if n := len(w.seen()); n != 1 {
		t.Errorf("got %d messages, want 1", n)
	}
}

// The clock of the machine steps while messages are under way: none of them is sent again, and no call
// ends. Both engines of the same process are alike, so this is shown on SQLite.
func TestAStepOfTheClockRepeatsNothing(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{21 * time.Second, time.Hour, -21 * time.Second, -time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			t.Parallel()
			answer := make(chan struct{})
			w := &way{name: "a", send: func(_ context.Context, n int) error { <-answer; return nil }}
			c := newTrunk("b")
			k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{w, c}, Concurrency: 1, BreakAfter: -1})
			var ids []string
			for i := range 3 { // one is with the first carrier, one with the second, and one waits
				ids = append(ids, k.Start(fmt.Sprintf("+1202555%04d", i), `"valid_for":7200`))
			}
			k.Await("the first call", func() bool { return len(w.seen()) == 1 })
			k.Clock.Advance(11 * time.Second)
			k.Await("the call", func() bool { return c.calling.Load() == 1 })

			k.Clock.Advance(step)
			for range 5 {
				k.Advance(0)
			}
			if got := len(w.seen()) + len(c.seen()); got != 2 || c.calling.Load() != 1 {
				t.Errorf("after the step there were %d messages, and %d calls are under way; want 2 and 1", got, c.calling.Load())
			}
			close(answer)
			close(c.ends)
			k.Await("all messages", func() bool {
				for _, id := range ids {
					if k.Verification(id).Delivery != verify.DeliverySent {
						return false
					}
				}
				return true
			})
			if got := len(w.seen()) + len(c.seen()); got != len(ids) {
				t.Errorf("got %d messages, want %d", got, len(ids))
			}
		})
	}
}
