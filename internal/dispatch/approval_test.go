package dispatch_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

// An asker is a way that can also ask for a key, and whose callee says something.
type asker struct {
	way
	said verify.Verdict
}

func (a *asker) Ask(ctx context.Context, m verify.Message) (carrier.Result, error) {
	r, err := a.Send(ctx, m)
	r.Verdict = a.said
	return r, err
}

// asked starts a call that asks a user for a key, and waits until it needs nothing more.
func asked(t *testing.T, k *countersigntest.Kit) (*verify.Verification, verify.User) {
	t.Helper()
	ctx := context.Background()
	acct := k.Account()
	a, err := k.Verify.CreateApplication(ctx, acct, verify.Application{Name: "Shop", Channels: []verify.Channel{verify.ChannelVoice}})
	if err == nil {
		_, err = k.Store.ChangeCalls(ctx, a.Project, a.ID, "test", func(_ verify.Project, a *verify.Application) error { a.Calls.ByKey = true; return nil })
	}
	if err == nil {
		err = k.Verify.Associate(ctx, acct, a.ID, "kola", verify.AssociateRequest{Address: to})
	}
	user := func() verify.User {
		u, err := k.Verify.User(ctx, acct, a.ID, "kola")
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if err != nil {
		t.Fatal(err)
	}
	v := settled(t, k, user().Current.String())
	return v, user()
}

// What a callee says decides the verification; what he doesn't say lets nobody call him again.
func TestACallAsksForAKey(t *testing.T) {
	t.Parallel()
	gone := always(carrier.Because(verify.ReasonNoKey, carrier.Refused(errDown)))
	asks := func(name string, said verify.Verdict, send func(context.Context, int) error) *asker {
		return &asker{way{name: name, send: send}, said}
	}
	for name, tt := range map[string]struct {
		first  carrier.Carrier
		want   []string
		status verify.Status
		state  verify.DeliveryState
		reason verify.Reason
	}{
		"yes": {
			asks("a", verify.VerdictApproves, nil), []string{"a accepted "},
			verify.StatusApproved, verify.DeliveryDelivered, verify.NoReason,
		},
		"no": {
			asks("a", verify.VerdictRejects, always(carrier.Because(verify.ReasonRejected, carrier.Refused(errDown)))), []string{"a refused rejected"},
			verify.StatusCanceled, verify.DeliveryFailed, verify.ReasonRejected,
		},
		"nothing": {
			asks("a", verify.VerdictUnanswered, gone), []string{"a refused no_key"},
			verify.StatusPending, verify.DeliveryFailed, verify.ReasonNoKey,
		},
		"out of reach": {
			asks("a", verify.NoVerdict, always(carrier.Because(verify.ReasonUnreachable, errDown))), []string{"a errored unreachable", "b accepted "},
			verify.StatusApproved, verify.DeliveryDelivered, verify.NoReason,
		},
		"a panic": { // the phone may have rung
			asks("a", verify.NoVerdict, func(context.Context, int) error { panic("boom") }), []string{"a unknown unknown"},
			verify.StatusPending, verify.DeliverySent, verify.ReasonUnknown,
		},
		"a carrier that can't ask": {
			&way{name: "a"}, []string{"a refused cant_ask", "b accepted "},
			verify.StatusApproved, verify.DeliveryDelivered, verify.NoReason,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			second := asks("b", verify.VerdictApproves, nil)
			k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{tt.first, second}})
			v, u := asked(t, k)
			if v.Status != tt.status || v.Delivery != tt.state || v.Reason != tt.reason {
				t.Errorf("got %v, its message %v (%s); want %v, %v (%s)", v.Status, v.Delivery, v.Reason, tt.status, tt.state, tt.reason)
			}
			if diff := cmp.Diff(tt.want, attempts(t, k, v)); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
			want := map[bool]verify.UserStatus{true: verify.UserValidated, false: verify.UserPending}[tt.status == verify.StatusApproved]
			if u.Status != want {
				t.Errorf("the user is %v, want %v", u.Status, want)
			}
			if w, ok := tt.first.(*way); ok && len(w.seen()) > 0 {
				t.Error("a carrier that can't ask was called")
			}
			for _, m := range second.seen() {
				if !m.ByKey || m.Code != "" {
					t.Errorf("the call asks for a key: %t, and has the code %q", m.ByKey, m.Code.Reveal())
				}
			}
		})
	}
}

func TestWhereNobodyCanAskNobodyIsToldTheCode(t *testing.T) {
	t.Parallel()
	a, b := &way{name: "a"}, &way{name: "b"}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}})
	v, _ := asked(t, k)
	if v.Status != verify.StatusPending || v.Delivery != verify.DeliveryFailed || v.Reason != verify.ReasonCantAsk {
		t.Errorf("got %v, its message %v (%s)", v.Status, v.Delivery, v.Reason)
	}
	if n := len(a.seen()) + len(b.seen()); n > 0 {
		t.Errorf("%d calls were made", n)
	}
}
