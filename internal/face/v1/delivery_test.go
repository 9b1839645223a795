package v1_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/verify"
)

func TestADeliverySaysHowItWent(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		o.Carriers = []carrier.Carrier{new(sink)}
		o.Lines = map[string]dispatch.Line{"sink": {Senders: map[string][]string{"": {"+12025550177"}}}}
		k := newKit(t, o)
		v := k.start(to, `,"sender":"+12025550188","text":"`+strings.Repeat("ж", 60)+`"`)
		k.sent(v.ID, 1)
		k.Advance(time.Second)
		id, err := verify.ParseID(v.ID)
		if err == nil {
			err = k.Dispatch.Receive(context.Background(), carrier.Receipt{Carrier: "sink", Verification: id, Attempt: 1, Delivered: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		began, reported := countersigntest.Start, countersigntest.Start.Add(time.Second)
		want := api.Delivery{Attempt: 1, Channel: "sms", Carrier: "sink", Sender: "+12025550188", Segments: 1, Outcome: "accepted",
			StartedAt: began, EndedAt: &began, HandedOver: &began, Delivered: &reported, Receipt: "delivered", ReceiptAt: &reported}
		if diff := cmp.Diff([]api.Delivery{want}, k.read(v.ID).Deliveries); diff != "" {
			t.Errorf("a text of the project's sender (-want +got):\n%s", diff)
		}

		v = k.start(other, `,"amount":"1 EUR","payee":"`+strings.Repeat("ж", 64)+`"`)
		k.sent(v.ID, 1)
		if d := k.read(v.ID).Deliveries[0]; d.Sender != "+12025550177" || d.Segments != 2 || d.Delivered != nil {
			t.Errorf("a long text of the public sender: %+v, want the carrier's own sender, and two segments", d)
		}
	})
}

func TestADeliveryHasTheCarriersOwnCode(t *testing.T) {
	onBoth(t, func(t *testing.T, o countersigntest.Options) {
		o.Carriers = []carrier.Carrier{refusing{}, new(sink)}
		k := newKit(t, o)
		v := k.start(to, "")
		k.sent(v.ID, 2)
		id, err := verify.ParseID(v.ID)
		if err == nil {
			err = k.Dispatch.Receive(context.Background(), carrier.Receipt{Carrier: "sink", Verification: id, Attempt: 2, Reason: verify.ReasonBlocked, Code: "messages#1260"})
		}
		if err != nil {
			t.Fatal(err)
		}
		d := k.read(v.ID).Deliveries
		if d[0].Code != "21608" || d[0].ReportCode != "" || d[1].Code != "" || d[1].ReportCode != "messages#1260" {
			t.Errorf("got %+v, want 21608 of the first attempt, and messages#1260 of the second's report", d)
		}
	})
}

type refusing struct{}

func (refusing) Name() string { return "refusing" }

func (refusing) Send(context.Context, verify.Message) (carrier.Result, error) {
	return carrier.Result{}, carrier.Coded("21608", carrier.Refused(errors.New("an unverified number")))
}
