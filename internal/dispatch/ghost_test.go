package dispatch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store/storetest"
	"github.com/countersign/countersign/internal/verify"
)

// The COMMIT of a start happens, and its answer gets lost. The caller is refused and starts again: only the
// second code is ever sent, by this process or by another replica.
func TestNoCodeIsSentThatNoCallerKnows(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var lose atomic.Int32
			o := countersigntest.Options{Data: t.TempDir(), Commit: func(_ int, commit func() error) error {
				err := commit()
				if lose.Add(-1) >= 0 {
					return errors.New("the answer got lost")
				}
				return err
			}}
			if engine == "postgres" {
				o.Database = storetest.Lent(t)
			}
			ours, theirs := &way{name: "a"}, &way{name: "a"}
			o.Carriers = []carrier.Carrier{ours}
			k := countersigntest.New(t, o)
			o.Carriers, o.Commit, o.Clock, o.Unattended = []carrier.Carrier{theirs}, nil, k.Clock, true
			other := countersigntest.New(t, o)

			const n = 5
			known := map[string]bool{}
			for i := range n {
				number := fmt.Sprintf("+1202555%04d", i)
				for refused := false; !refused; { // another commit may be the one that is lost
					lose.Store(1)
					status, body := k.Post("sms", `{"to":"`+number+`"}`)
					var started struct{ ID string }
					switch json.Unmarshal([]byte(body), &started); status {
					case 200:
						known[started.ID] = true
					case 503:
						refused = true
					default:
						t.Fatalf("start: got %d %s", status, body)
					}
				}
				known[k.Start(number, "")] = true
			}
			for id := range known {
				settled(t, k, id)
			}
			k.Await("the cancellations", func() bool {
				canceled := 0
				for i := range n {
					d, err := k.Store.Destination(t.Context(), "test", phone.Number(fmt.Sprintf("+1202555%04d", i)))
					if err != nil {
						t.Fatal(err)
					}
					all, err := k.Store.History(t.Context(), d, 10)
					if err != nil {
						t.Fatal(err)
					}
					for _, v := range all {
						if v.Status == verify.StatusCanceled && v.Delivery == verify.DeliveryFailed {
							canceled++
						}
					}
				}
				return canceled == n
			})
			for range 4 {
				k.Clock.Advance(10 * time.Second)
				other.Advance(0)
				k.Advance(0)
			}
			for _, m := range append(ours.seen(), theirs.seen()...) {
				if !known[m.Verification.String()] {
					t.Errorf("a code of %v was sent, which no caller knows", m.Verification)
				}
			}
			if got := len(ours.seen()) + len(theirs.seen()); got != len(known) {
				t.Errorf("got %d messages, want %d", got, len(known))
			}
		})
	}
}

// A start that would supersede an older code gets no answer to its COMMIT. Either all of it happened or nothing: the
// older code is superseded and the new one canceled, or the older code works. In both cases the next start works.
func TestASupersedingStartWithoutAnAnswerHappensWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, happens := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %t", engine, happens), func(t *testing.T) {
				t.Parallel()
				supersedingStartWithoutAnAnswer(t, engine, happens)
			})
		}
	}
}

func supersedingStartWithoutAnAnswer(t *testing.T, engine string, happens bool) {
	var lose atomic.Int32 // the answer to so-manieth commit from now on; 0: to none
	o := countersigntest.Options{Unattended: true, Commit: func(_ int, commit func() error) error {
		if lose.Load() > 0 && lose.Add(-1) == 0 {
			if happens {
				return errors.Join(commit(), errors.New("the answer got lost"))
			}
			return errors.New("the connection was lost before")
		}
		return commit()
	}}
	if engine == "postgres" {
		o.Database = storetest.Lent(t)
	}
	k := countersigntest.New(t, o)
	start := func() (*verify.Verification, error) {
		return k.Verify.Start(t.Context(), k.Account(), verify.StartRequest{Channel: verify.ChannelSMS, To: to, Purpose: "login", Supersedes: true})
	}
	var older *verify.Verification
	var code string
	var d verify.Destination
	sent := 1 // with the last one's
	// Another commit may be the one whose answer is lost, also that of a try that has found out that it must look for
	// older codes first, and has written nothing.
	for n := int32(1); ; n = n%3 + 1 {
		v, err := start()
		if err != nil {
			if older == nil || !errors.Is(err, verify.ErrNoStore) {
				t.Fatalf("a start without an answer: got error %v, want %v", err, verify.ErrNoStore)
			}
			if d, err = k.Store.Destination(t.Context(), "test", to); err != nil {
				t.Fatal(err)
			}
			if ghost := d.Latest != older.ID; ghost == happens {
				break
			}
			if !happens {
				t.Fatal("the number's latest verification is one that wasn't committed")
			}
		} else {
			older, sent = v, sent+1
			quiet(t, k, v.ID.String())
			code = k.Code(to, v.ID.String())
		}
		if sent > 100 {
			t.Fatal("no start is without an answer")
		}
		lose.Store(n)
	}
	if happens {
		k.Await("the cancellation", func() bool { return k.Verification(d.Latest.String()).Status == verify.StatusCanceled })
	}
	want := map[bool]verify.Status{true: verify.StatusSuperseded, false: verify.StatusPending}[happens]
	if got := k.Verification(older.ID.String()).StatusAt(k.Clock.Now()); got != want {
		t.Errorf("the older verification is %v, want %v", got, want)
	}
	check := func(v *verify.Verification, code string) error {
		_, err := k.Verify.Check(t.Context(), k.Account(), v.ID, verify.Secret(code))
		return err
	}
	if !happens {
		if err := check(older, code); err != nil {
			t.Errorf("the older code: got error %v, want none", err)
		}
	} else if err := check(older, code); !errors.Is(err, verify.ErrSuperseded) {
		t.Errorf("the older code: got error %v, want %v", err, verify.ErrSuperseded)
	}
	next, err := start()
	if err != nil {
		t.Fatal(err)
	}
	if err := check(next, k.Code(to, next.ID.String())); err != nil {
		t.Errorf("the next start's code: got error %v, want none", err)
	}
	if n := len(k.Sim.Messages(to)); n != sent {
		t.Errorf("%d messages were sent, want those of the %d starts that were answered", n, sent)
	}
}
