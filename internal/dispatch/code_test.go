package dispatch_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/verify"
)

// What a carrier says of a failure is kept, unless it may repeat the message's code or number.
func TestACarriersCodeIsKeptWithoutTheMessages(t *testing.T) {
	t.Parallel()
	const number = "12025550100"
	for name, tt := range map[string]struct {
		code func(own string) string
		want bool // it is kept
	}{
		"its own":           {func(string) string { return "messages#1120" }, true},
		"a long one":        {func(string) string { return strings.Repeat("1120/", 9) }, false},
		"words":             {func(string) string { return "the code" }, false},
		"the code":          {func(own string) string { return own }, false},
		"around the code":   {func(own string) string { return "E7:text=" + own + "x" }, false},
		"within the code":   {func(own string) string { return "E:" + own + "/7" }, false},
		"a spelled code":    {func(own string) string { return strings.Join(strings.Split(own, ""), "-") }, false},
		"the number":        {func(string) string { return number }, false},
		"part of a number":  {func(string) string { return "to:" + number[4:] }, false},
		"a part of the two": {func(own string) string { return own[:3] + "." + number[8:] }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said string
			log := &buffer{}
			fails := &failing{name: "a", say: func(m verify.Message) string { said = tt.code(m.Code.Reveal()); return said }}
			b := &way{name: "b"}
			k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{fails, b}, Log: log})
			v := settled(t, k, k.Start("+"+number, ""))
			receive(t, k, carrier.Receipt{Verification: v.ID, Attempt: 2, Carrier: "b", Reason: verify.ReasonUnreachable, Code: said})
			all, err := k.Store.Deliveries(t.Context(), v.ID)
			if err != nil || len(all) != 2 {
				t.Fatalf("got %d attempts, %v, want 2", len(all), err)
			}
			want := ""
			if tt.want {
				want = said
			}
			if diff := cmp.Diff([]string{want, want}, []string{all[0].CarrierCode, all[1].ReceiptCode}); diff != "" {
				t.Errorf("of the attempt, and of the receipt (-want +got):\n%s", diff)
			}
			log.mu.Lock()
			defer log.mu.Unlock()
			if logged := strings.Count(log.all.String(), `"code":"`+said+`"`); (logged == 3) != tt.want {
				t.Errorf("the log has it %d times, want that in 3 lines: %v", logged, tt.want)
			}
		})
	}
}

// A failing carrier refuses each message with a code.
type failing struct {
	name string
	say  func(verify.Message) string
}

func (f *failing) Name() string { return f.name }

func (f *failing) Send(_ context.Context, m verify.Message) (carrier.Result, error) {
	return carrier.Result{}, carrier.Coded(f.say(m), carrier.Refused(errors.New("no")))
}

func TestATrialShowsTheCarriersCode(t *testing.T) {
	t.Parallel()
	say := "21608"
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{&failing{name: "a", say: func(verify.Message) string { return say }}}})
	for _, want := range []string{"21608", ""} {
		last, err := k.Dispatch.Try(t.Context(), "a", verify.ChannelSMS, to, func(dispatch.Step) {})
		if err != nil || last.Code != want {
			t.Errorf("got the code %q, %v, want %q", last.Code, err, want)
		}
		say = string(to)[1:]
	}
}
