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
	"github.com/countersign/countersign/internal/pgtest"
	"github.com/countersign/countersign/internal/phone"
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
				o.Database = pgtest.Database(t, "")
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
						if v.Status == verify.Canceled && v.Delivery == verify.Failed {
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
