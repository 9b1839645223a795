package dispatch_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/verify"
)

const unknownTimeout = 3 * time.Second

// A text that may be lost goes to the next carrier after a few seconds, unless word of it comes, as long as few messages
// may have gone out.
func TestADoubtfulTextGoesToTheNextCarrier(t *testing.T) {
	t.Parallel()
	lost := always(carrier.Unknown(errDown))
	impatient := dispatch.Line{UnknownTimeout: unknownTimeout}
	for name, tt := range map[string]struct {
		sends    []func(context.Context, int) error // of the carriers a, b, ...
		line     dispatch.Line
		most     int // max_messages
		voice    bool
		receipt  *carrier.Receipt // before the wait is over
		want     []string
		delivery verify.DeliveryState
	}{
		"to the second":               {sends: []func(context.Context, int) error{lost, nil}, line: impatient, want: []string{"a unknown unknown", "b accepted "}, delivery: verify.DeliverySent},
		"and to the third":            {sends: []func(context.Context, int) error{lost, lost, nil}, line: impatient, want: []string{"a unknown unknown", "b unknown unknown", "c accepted "}, delivery: verify.DeliverySent},
		"no more messages than may":   {sends: []func(context.Context, int) error{lost, lost, nil}, line: impatient, most: 2, want: []string{"a unknown unknown", "b unknown unknown"}, delivery: verify.DeliverySent},
		"there is no second":          {sends: []func(context.Context, int) error{lost}, line: impatient, want: []string{"a unknown unknown"}, delivery: verify.DeliverySent},
		"a setting keeps patience":    {sends: []func(context.Context, int) error{lost, nil}, want: []string{"a unknown unknown"}, delivery: verify.DeliverySent},
		"as with receipts":            {sends: []func(context.Context, int) error{lost, nil}, line: dispatch.Line{ReceiptTimeout: time.Minute}, want: []string{"a unknown unknown"}, delivery: verify.DeliverySent},
		"a call isn't made twice":     {sends: []func(context.Context, int) error{lost, nil}, line: impatient, voice: true, want: []string{"a unknown unknown"}, delivery: verify.DeliverySent},
		"it has arrived":              {sends: []func(context.Context, int) error{lost, nil}, line: impatient, receipt: &carrier.Receipt{Delivered: true}, want: []string{"a unknown unknown"}, delivery: verify.DeliveryDelivered},
		"it was taken after all":      {sends: []func(context.Context, int) error{lost, nil}, line: impatient, receipt: &carrier.Receipt{Taken: true}, want: []string{"a unknown unknown"}, delivery: verify.DeliverySent},
		"taken, without a receipt":    {sends: []func(context.Context, int) error{lost, nil}, line: dispatch.Line{UnknownTimeout: unknownTimeout, ReceiptTimeout: 2 * unknownTimeout}, receipt: &carrier.Receipt{Taken: true}, want: []string{"a unknown unknown", "b accepted "}, delivery: verify.DeliverySent},
		"taken says nothing new":      {sends: []func(context.Context, int) error{nil, nil}, line: impatient, receipt: &carrier.Receipt{Taken: true}, want: []string{"a accepted "}, delivery: verify.DeliverySent},
		"its receipt is in doubt":     {sends: []func(context.Context, int) error{nil, nil}, receipt: &carrier.Receipt{Reason: verify.ReasonUnknown, Doubt: true}, want: []string{"a accepted ", "b accepted "}, delivery: verify.DeliverySent},
		"in doubt, without a second":  {sends: []func(context.Context, int) error{nil}, receipt: &carrier.Receipt{Reason: verify.ReasonUnknown, Doubt: true}, want: []string{"a accepted "}, delivery: verify.DeliverySent},
		"failed, without a second":    {sends: []func(context.Context, int) error{nil}, receipt: &carrier.Receipt{Reason: verify.ReasonUnknown}, want: []string{"a accepted "}, delivery: verify.DeliveryFailed},
		"accepted, without a receipt": {sends: []func(context.Context, int) error{nil, nil}, line: impatient, want: []string{"a accepted "}, delivery: verify.DeliverySent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := countersigntest.Options{Lines: map[string]dispatch.Line{}, MaxMessages: tt.most}
			for i, send := range tt.sends {
				w := &way{name: string(rune('a' + i)), send: send}
				o.Carriers, o.Lines[w.name] = append(o.Carriers, w), tt.line
			}
			k := countersigntest.New(t, o)
			path := "sms"
			if tt.voice {
				path = "call"
			}
			var started struct{ ID string }
			if _, answer := k.Post(path, `{"to":"`+to+`"}`); json.Unmarshal([]byte(answer), &started) != nil {
				t.Fatalf("the start is answered %s", answer)
			}
			v := quiet(t, k, started.ID)
			if tt.receipt != nil {
				tt.receipt.Carrier, tt.receipt.Verification, tt.receipt.Attempt = "a", v.ID, 1
				receive(t, k, *tt.receipt)
			}
			for range tt.sends {
				k.Advance(unknownTimeout)
				v = quiet(t, k, started.ID)
			}
			if tt.voice { // also not when the phone may be free again
				k.Advance(10 * time.Minute)
				v = quiet(t, k, started.ID)
			}
			if diff := cmp.Diff(tt.want, attempts(t, k, v)); diff != "" || v.Delivery != tt.delivery {
				t.Errorf("delivery %v, want %v; attempts (-want +got):\n%s", v.Delivery, tt.delivery, diff)
			}
		})
	}
}
