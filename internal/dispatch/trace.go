package dispatch

import (
	"context"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// maxTraced is how many messages are remembered whose requests were traced, for their later attempts.
const maxTraced = 4096

// traces make a span for each attempt, and one below it for its carrier's call. An attempt outlives the request
// that started its verification, so its span is the root of a trace of its own, with a link to the request's.
// The attempts of a message that another process took over have no link; all spans have the verification's id.
// Without a tracer there are none.
type traces struct {
	tracer   trace.Tracer
	requests *lru.Cache[verify.ID, trace.SpanContext] // those that are traced
}

func newTraces(t trace.Tracer) traces {
	if t == nil {
		return traces{}
	}
	requests, err := lru.New[verify.ID, trace.SpanContext](maxTraced)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return traces{t, requests}
}

// requested notes the span of the request that started a message, and returns it.
func (t *traces) requested(ctx context.Context, id verify.ID) *trace.SpanContext {
	if t.tracer == nil {
		return nil
	}
	span := trace.SpanContextFromContext(ctx)
	if span.IsSampled() {
		t.requests.Add(id, span)
	}
	return &span
}

// request is the span of the request that started a message; nil: nobody here knows it.
func (t *traces) request(id verify.ID) *trace.SpanContext {
	if t.tracer == nil {
		return nil
	}
	if span, ok := t.requests.Get(id); ok {
		return &span
	}
	return nil
}

// begin begins the span of an attempt at the instant at which it came here.
func (t *traces) begin(l *line, j *job) {
	if t.tracer == nil {
		return
	}
	options := []trace.SpanStartOption{
		trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(j.since), trace.WithAttributes(described(l, j)...),
	}
	if j.request != nil && j.request.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: *j.request}))
	}
	_, j.span = t.tracer.Start(context.Background(), "attempt", options...)
}

// end ends the span of an attempt. The carrier's error isn't in it: the log has that.
func (t *traces) end(j *job, outcome verify.AttemptOutcome, reason verify.Reason, now time.Time) {
	if j.span == nil {
		return
	}
	conclude(j.span, outcome, reason)
	j.span.End(trace.WithTimestamp(now))
}

// call has a carrier called within a span.
func (t *traces) call(ctx context.Context, l *line, j *job, call func(context.Context, *line, *job) (carrier.Result, error)) (carrier.Result, error) {
	if j.span == nil {
		return call(ctx, l, j)
	}
	ctx, span := t.tracer.Start(trace.ContextWithSpan(ctx, j.span), "carrier "+l.name(), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(described(l, j)...))
	defer span.End()
	r, err := call(ctx, l, j)
	if err == nil {
		conclude(span, verify.AttemptAccepted, verify.NoReason)
	} else {
		decision := carrier.Decision(err)
		conclude(span, decision.Outcome, decision.Reason)
	}
	return r, err
}

func described(l *line, j *job) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("countersign.verification", j.verification.ID.String()), attribute.Int("countersign.attempt", j.verification.Attempt),
		attribute.String("countersign.carrier", l.name()), attribute.String("countersign.channel", string(j.message.Channel)),
	}
}

func conclude(span trace.Span, outcome verify.AttemptOutcome, reason verify.Reason) {
	span.SetAttributes(attribute.String("countersign.outcome", outcome.String()))
	if outcome != verify.AttemptAccepted {
		span.SetAttributes(attribute.String("countersign.reason", reason.String()))
		span.SetStatus(codes.Error, reason.String())
	}
}
