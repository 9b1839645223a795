package main

import (
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Of a message's attempts all are traced, or none, as its request is; of those that nobody knows a request of, the
// configured share.
func TestAttemptsAreSampledAsTheirRequestIs(t *testing.T) {
	t.Parallel()
	link := func(flags trace.TraceFlags) []trace.Link {
		return []trace.Link{{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: flags})}}
	}
	for _, tt := range []struct {
		share float64
		links []trace.Link
		want  sdktrace.SamplingDecision
	}{
		{0, link(trace.FlagsSampled), sdktrace.RecordAndSample},
		{1, link(0), sdktrace.Drop},
		{1, nil, sdktrace.RecordAndSample},
		{0, nil, sdktrace.Drop},
	} {
		if got := (linked{sdktrace.TraceIDRatioBased(tt.share)}).ShouldSample(sdktrace.SamplingParameters{Links: tt.links}).Decision; got != tt.want {
			t.Errorf("a share of %v, links %v: got %v, want %v", tt.share, tt.links, got, tt.want)
		}
	}
}
