package dispatch_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

// An end whose commit happened, though it got no answer, is reported again and counted once.
func TestAnEndThatIsReportedAgainIsCountedOnce(t *testing.T) {
	t.Parallel()
	var armed atomic.Bool
	w := &way{name: "a", send: func(context.Context, int) error { armed.Store(true); return nil }}
	reported := make(chan struct{})
	k := countersigntest.New(t, countersigntest.Options{
		Carriers: []carrier.Carrier{w}, Unattended: true,
		Commit: func(_ int, commit func() error) error {
			err := commit()
			if armed.CompareAndSwap(true, false) {
				close(reported)
				return errors.Join(err, errDown)
			}
			return err
		},
	})
	k.Start(to, "")
	<-reported
	k.Await("the second report", func() bool { return k.Dispatch.Depth("a") == 0 })
	rows, err := k.Store.Usage(t.Context(), verify.UsageQuery{Until: k.Clock.Now().Add(time.Hour)})
	if err != nil || len(rows) != 1 || rows[0].Messages != 1 {
		t.Errorf("usage: got %+v, %v, want one message", rows, err)
	}
	if err := k.Store.Recount(t.Context(), time.Time{}, func(key verify.UsageKey, counted, again verify.Usage) {
		t.Errorf("%+v: counted %+v, and the rows say %+v", key, counted, again)
	}); err != nil {
		t.Fatal(err)
	}
}
