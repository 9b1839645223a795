package dispatch_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/verify"
)

// A ledger is an observer that writes down the ends of attempts.
type ledger struct {
	mu   sync.Mutex // guards ends
	ends []string
}

func (l *ledger) Settled(d *verify.Delivery, country string, _ time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, fmt.Sprintf("%d %s %v %v %s", d.Attempt, d.Carrier, d.Outcome, d.Reason, country))
}

func (l *ledger) Received(*verify.Delivery, string) {}
func (l *ledger) Unmatched(string)                  {}
func (l *ledger) Watched(string)                    {}

// What is recorded of attempts is counted, also where no carrier was called: each end once.
func TestEachEndOfAnAttemptIsCounted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		channel verify.Channel
		sealed  []byte // instead of the code
		most    int    // messages
		want    []string
	}{
		"a lost lease":         {channel: verify.ChannelSMS, most: 3, want: []string{"1  unknown lease_lost US", "2 b accepted  US"}},
		"no carrier":           {channel: verify.ChannelVoice, most: 3, want: []string{"1  unknown lease_lost US", "2  dropped no_carrier US"}},
		"as many as allowed":   {channel: verify.ChannelSMS, most: 1, want: []string{"1  unknown lease_lost US", "2  dropped max_messages US"}},
		"a key that is no use": {channel: verify.ChannelSMS, sealed: []byte("x"), most: 3, want: []string{"1  unknown lease_lost US", "2  dropped key_missing US"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			k := countersigntest.New(t, countersigntest.Options{Unattended: true})
			keys, acct := keysOf(t, k), k.Account()
			v := &verify.Verification{
				ID: verify.NewID(k.Clock.Now()), Project: acct.Project.ID, Application: acct.Application.ID, Purpose: verify.PurposeMFA,
				Terms: verify.Terms{Channel: tt.channel, To: to, Text: "Code {code}", Format: "numeric", Length: 6, MaxAttempts: 3, ExpiresAt: k.Clock.Now().Add(time.Hour)},
				Code:  verify.Code{KeyID: keys.Primary(), CodeMAC: []byte{1}, SealedCode: tt.sealed},
			}
			var err error
			if v.SealedCode == nil {
				if v.SealedCode, err = keys.Seal(v.KeyID, v.Binding(), "493817"); err != nil {
					t.Fatal(err)
				}
			}
			if err := k.Store.Start(ctx, v, verify.Limits{}, 20*time.Second); err != nil {
				t.Fatal(err)
			}
			seen := &ledger{}
			d, err := dispatch.New(dispatch.Config{
				Store: k.Store, Keys: keys, Now: k.Clock.Now, Log: slog.New(slog.DiscardHandler), Tick: time.Hour, Observer: seen,
				Carriers: []dispatch.Line{{Carrier: &way{name: "b"}, Queue: 1, Concurrency: 1}},
				Routes:   map[verify.Channel][]string{verify.ChannelSMS: {"b"}}, MaxMessages: tt.most,
			})
			if err != nil {
				t.Fatal(err)
			}
			k.Clock.Advance(20 * time.Second)
			if err := k.Store.Sweep(ctx); err != nil {
				t.Fatal(err)
			}
			if err := d.Poll(ctx); err != nil {
				t.Fatal(err)
			}
			d.Close(ctx)
			wantCounted(t, k, seen, tt.want, v.ID)
		})
	}
}

// A shutdown ends attempts, too: those in the queue, and the call that is under way.
func TestWhatAShutdownEndsIsCounted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	k := countersigntest.New(t, countersigntest.Options{Unattended: true})
	calling, seen := make(chan struct{}), &ledger{}
	d, err := dispatch.New(dispatch.Config{
		Store: k.Store, Keys: keysOf(t, k), Now: k.Clock.Now, Log: slog.New(slog.DiscardHandler), Tick: time.Hour, Observer: seen,
		Carriers: []dispatch.Line{{Carrier: &until{"b", calling}, Queue: 2, Concurrency: 1}},
		Routes:   map[verify.Channel][]string{verify.ChannelSMS: {"b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	startAndDie(t, k, time.Second)
	startAndDie(t, k, time.Second)
	k.Clock.Advance(20 * time.Second)
	if err := k.Store.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	due, _, err := k.Store.Due(ctx, verify.Hint{}, 10, nil)
	if err != nil || len(due) != 2 {
		t.Fatalf("due: %v, %v; want two", due, err)
	}
	if err := d.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-calling:
	case <-time.After(time.Minute):
		t.Fatal("no call")
	}
	now, cancel := context.WithCancel(ctx)
	cancel()
	d.Close(now)
	wantCounted(t, k, seen, []string{"1  unknown lease_lost US", "1  unknown lease_lost US", "2 b errored interrupted US", "2 b errored interrupted US"},
		due[0].Verification.ID, due[1].Verification.ID)
}

// until is a carrier whose calls last until we end them.
type until struct {
	name    string
	calling chan struct{}
}

func (u *until) Name() string { return u.name }

func (u *until) Send(ctx context.Context, _ verify.Message) (carrier.Result, error) {
	u.calling <- struct{}{}
	<-ctx.Done()
	return carrier.Result{}, carrier.Because(verify.ReasonInterrupted, ctx.Err())
}

// wantCounted compares what was counted with what must be, and with what is recorded.
func wantCounted(t *testing.T, k *countersigntest.Kit, seen *ledger, want []string, ids ...verify.ID) {
	t.Helper()
	var recorded []string
	for _, id := range ids {
		all, err := k.Store.Deliveries(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			recorded = append(recorded, fmt.Sprintf("%d %s %v %v US", d.Attempt, d.Carrier, d.Outcome, d.Reason))
		}
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	slices.Sort(recorded)
	slices.Sort(seen.ends)
	if diff := cmp.Diff(want, recorded); diff != "" {
		t.Errorf("recorded (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want, seen.ends); diff != "" {
		t.Errorf("counted (-want +got)\n%s", diff)
	}
}
