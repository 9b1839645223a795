// Package metric counts what the server does, for Prometheus. No label holds a number, an id or a
// code: labels are words from small sets.
package metric

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/countersign/countersign/internal/verify"
)

// Metrics are a server's counters. They implement the observers of the packages that count.
type Metrics struct {
	registry *prometheus.Registry

	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	starts         *prometheus.CounterVec
	checks         *prometheus.CounterVec
	approvals      *prometheus.CounterVec
	sends          *prometheus.CounterVec
	handOver       *prometheus.HistogramVec
	batchSize      prometheus.Histogram
	commitSeconds  prometheus.Histogram
}

// New returns counters at zero.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_requests_total", Help: "Requests answered, by face, route and status."}, []string{"face", "route", "status"}),
		requestSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_request_seconds", Help: "Time to answer a request.", Buckets: fine}, []string{"face", "route"}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_starts_total", Help: "Verifications asked for, by channel and result: ok, or the error's code."}, []string{"channel", "result"}),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_checks_total", Help: "Guesses, by result: right, wrong, or the error's code."}, []string{"result"}),
		approvals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_approvals_total", Help: "Verifications approved, by channel. Divided by the starts that were ok: the conversion."}, []string{"channel"}),
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_sends_total", Help: "Attempts to hand a message to a carrier, by carrier and outcome."}, []string{"carrier", "outcome"}),
		handOver: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_handover_seconds", Help: "Time from a verification's start until a carrier has its message.", Buckets: coarse}, []string{"carrier"}),
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_batch_operations", Help: "Operations committed together.", Buckets: prometheus.ExponentialBuckets(1, 2, 9)}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_commit_seconds", Help: "Time of a commit, with its sync to disk.", Buckets: fine}),
	}
	m.registry.MustRegister(
		m.requests, m.requestSeconds, m.starts, m.checks, m.approvals, m.sends, m.handOver, m.batchSize, m.commitSeconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

var (
	fine   = prometheus.ExponentialBuckets(0.0001, 2, 17) // 0.1 ms to 6.5 s
	coarse = prometheus.ExponentialBuckets(0.001, 2, 18)  // 1 ms to 131 s
)

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Queue adds a carrier's queue, whose depth is read when somebody asks.
func (m *Metrics) Queue(carrier string, capacity int, depth func() int) {
	labels := prometheus.Labels{"carrier": carrier}
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_queue_messages", Help: "Messages waiting for a carrier or under way.", ConstLabels: labels,
		}, func() float64 { return float64(depth()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_queue_capacity", Help: "Messages that may wait for a carrier or be under way.", ConstLabels: labels,
		}, func() float64 { return float64(capacity) }),
	)
}

// Pool adds the database's connections, which are counted when somebody asks.
func (m *Metrics) Pool(count func() (inUse, limit int)) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_database_connections_in_use", Help: "Connections to the database that read at the moment; of PostgreSQL, all but those that commit groups.",
		}, func() float64 { inUse, _ := count(); return float64(inUse) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_database_connections_limit", Help: "How many of them there may be.",
		}, func() float64 { _, limit := count(); return float64(limit) }),
	)
}

// Answered counts a request. The route is the pattern that took it, never the path: that holds ids.
func (m *Metrics) Answered(face, route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(face, route, strconv.Itoa(status)).Inc()
	m.requestSeconds.WithLabelValues(face, route).Observe(took.Seconds())
}

// Started counts a start.
func (m *Metrics) Started(c verify.Channel, err error) {
	m.starts.WithLabelValues(string(c), result("ok", err)).Inc()
}

// Checked counts a guess.
func (m *Metrics) Checked(out verify.Outcome, err error) {
	right := "wrong"
	if out.Approved {
		right = "right"
		m.approvals.WithLabelValues(string(out.Channel)).Inc()
	}
	m.checks.WithLabelValues(result(right, err)).Inc()
}

// result is a word for an error: its stable code, or "error".
func result(ok string, err error) string {
	var known *verify.Error
	switch {
	case err == nil:
		return ok
	case errors.As(err, &known):
		return known.Code
	}
	return "error"
}

// Settled counts an attempt that ended, since its verification's start.
func (m *Metrics) Settled(carrier string, o verify.DeliveryOutcome, since time.Duration) {
	m.sends.WithLabelValues(carrier, o.String()).Inc()
	if o == verify.Accepted {
		m.handOver.WithLabelValues(carrier).Observe(since.Seconds())
	}
}

// Committed counts a group.
func (m *Metrics) Committed(ops int, took time.Duration) {
	m.batchSize.Observe(float64(ops))
	m.commitSeconds.Observe(took.Seconds())
}
