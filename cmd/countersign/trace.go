package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/internal/outage"
)

// tracing exports spans; nil exports none.
type tracing struct{ provider *sdktrace.TracerProvider }

// startTracing connects to no collector yet: one that is away costs spans, never requests.
func startTracing(ctx context.Context, address string, sample float64, log *outage.Log) (*tracing, error) {
	if address == "" {
		return nil, nil
	}
	endpoint, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	if strings.Trim(endpoint.Path, "/") == "" {
		endpoint = endpoint.JoinPath("v1/traces") // where OTLP/HTTP has them (OTLP specification)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Failed("traces", slog.LevelWarn, "export traces", "err", err) }))
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint.String()))
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	return &tracing{sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(linked{sdktrace.TraceIDRatioBased(sample)})),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("countersign"))),
	)}, nil
}

// linked samples what has a link as what it links to: an attempt as the request that started its message. It
// samples the rest by share.
type linked struct{ sdktrace.Sampler }

func (s linked) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	switch {
	case len(p.Links) == 0:
		return s.Sampler.ShouldSample(p)
	case p.Links[0].SpanContext.IsSampled():
		return sdktrace.AlwaysSample().ShouldSample(p)
	}
	return sdktrace.NeverSample().ShouldSample(p)
}

// tracer makes the spans of messages' attempts; nil makes none.
func (t *tracing) tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("github.com/countersign/countersign")
}

// wrap makes a span of each request, named by its method. The span sees a request without path,
// query, client or headers but the trace's own: a client may have put a number or a code into any.
func (t *tracing) wrap(h http.Handler) http.Handler {
	if t == nil {
		return h
	}
	type whole struct{}
	spans := otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.Context().Value(whole{}).(*http.Request).WithContext(r.Context()))
	}), "request", otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bare := r.WithContext(context.WithValue(r.Context(), whole{}, r))
		bare.URL, bare.RequestURI, bare.RemoteAddr, bare.Host = &url.URL{Path: "/"}, "/", "", ""
		bare.Header = http.Header{}
		for _, name := range (propagation.TraceContext{}).Fields() {
			if v := r.Header.Get(name); v != "" {
				bare.Header.Set(name, v)
			}
		}
		spans.ServeHTTP(w, bare)
	})
}

// stop sends the spans that are left.
func (t *tracing) stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}
