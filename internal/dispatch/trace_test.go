package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/countersigntest"
	"github.com/countersign/countersign/internal/verify"
)

// recorded are the spans about a verification in the order of their beginning, each with its attempt and outcome,
// whether it is below an attempt's, and whether it has a link to the request's.
func recorded(all *tracetest.SpanRecorder, id verify.ID, request trace.SpanContext) (spans []string) {
	ended := all.Ended()
	slices.SortStableFunc(ended, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	attempts := map[trace.SpanID]bool{}
	for _, s := range ended {
		of := attribute.NewSet(s.Attributes()...)
		if got, _ := of.Value("countersign.verification"); got.AsString() != id.String() {
			continue
		}
		attempt, _ := of.Value("countersign.attempt")
		outcome, _ := of.Value("countersign.outcome")
		text := fmt.Sprintf("%d %s %s", attempt.AsInt64(), s.Name(), outcome.AsString())
		if s.Name() == "attempt" {
			attempts[s.SpanContext().SpanID()] = true
		}
		if attempts[s.Parent().SpanID()] {
			text += ", in it"
		}
		if links := s.Links(); len(links) == 1 && links[0].SpanContext.Equal(request) && s.SpanContext().TraceID() != request.TraceID() {
			text += ", linked"
		}
		spans = append(spans, text)
	}
	return spans
}

// The spans of a message's attempts, and of the carriers' calls in them, are found by its verification's id, and
// from the request's span: also those that come after a wait. Those of a message that another process began are
// found by the id.
func TestAttemptsAreTracedFromTheRequestToTheCarrier(t *testing.T) {
	t.Parallel()
	all := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(all)).Tracer("test")
	a := &way{name: "a", send: func(_ context.Context, n int) error {
		if n == 1 {
			return errDown
		}
		return nil
	}}
	b := &way{name: "b", send: always(carrier.Refused(errDown))}
	k := countersigntest.New(t, countersigntest.Options{Carriers: []carrier.Carrier{a, b}, Tracer: tracer})
	ctx, span := tracer.Start(context.Background(), "request")
	v, err := k.Verify.Start(ctx, k.Account(), verify.StartRequest{Channel: verify.ChannelSMS, To: to})
	span.End()
	if err != nil {
		t.Fatal(err)
	}
	quiet(t, k, v.ID.String())
	k.Advance(2 * time.Second) // longer than the wait after the second attempt
	settled(t, k, v.ID.String())
	want := []string{"1 attempt errored, linked", "1 carrier a errored, in it", "2 attempt refused, linked", "2 carrier b refused, in it", "3 attempt accepted, linked", "3 carrier a accepted, in it"}
	k.Await("the last span", func() bool { return len(recorded(all, v.ID, span.SpanContext())) == len(want) })
	if diff := cmp.Diff(want, byAttempt(recorded(all, v.ID, span.SpanContext()))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	left := orphan(t, k, "test", "+12025550101")
	k.Await("the end of its lease", func() bool { k.Advance(lease); return k.Verification(left.String()).Attempt == 2 })
	k.Await("its spans", func() bool { return len(recorded(all, left, span.SpanContext())) == 2 })
	if diff := cmp.Diff([]string{"2 attempt accepted", "2 carrier a accepted, in it"}, byAttempt(recorded(all, left, span.SpanContext()))); diff != "" {
		t.Errorf("of a message that another process began (-want +got):\n%s", diff)
	}
}

// byAttempt sorts spans, for the carriers' calls have the machine's clock, and attempts the test's.
func byAttempt(all []string) []string {
	slices.Sort(all)
	return all
}
