// Package metric counts the server's work for Prometheus. Labels never hold a phone number, an id
// or a code; their values are from small sets of words.
package metric

import (
	"cmp"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/countersign/countersign/internal/verify"
)

// Metrics holds a server's metrics. It implements the observers of the packages that report
// to it.
type Metrics struct {
	registry *prometheus.Registry

	requests         *prometheus.CounterVec
	requestSeconds   *prometheus.HistogramVec
	starts           *prometheus.CounterVec
	projectStarts    *prometheus.CounterVec
	countryStarts    *prometheus.CounterVec
	checks           *prometheus.CounterVec
	approvals        *prometheus.CounterVec
	denials          prometheus.Counter
	projectApprovals *prometheus.CounterVec
	sends            *prometheus.CounterVec
	handOver         *prometheus.HistogramVec
	failures         *prometheus.CounterVec
	receipts         *prometheus.CounterVec
	handset          *prometheus.HistogramVec
	ring, talk       *prometheus.HistogramVec
	cost             *prometheus.CounterVec
	projects         words
	reached          *prometheus.GaugeVec
	watched          *prometheus.CounterVec
	batchSize        prometheus.Histogram
	commitSeconds    prometheus.Histogram
	carriers         carriers
}

// New returns metrics with all counters at zero.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_requests_total", Help: "Requests answered, by face, route and status."}, []string{"face", "route", "status"}),
		requestSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_request_seconds", Help: "Time to answer a request.", Buckets: fine}, []string{"face", "route"}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_starts_total", Help: "Verifications asked for, by channel and result: ok, or the error's code."}, []string{"channel", "result"}),
		projectStarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_project_starts_total", Help: "Verifications asked for, by project and result: ok, or the error's code."}, []string{"project", "result"}),
		countryStarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_country_starts_total", Help: "Verifications asked for, by the number's country and result: ok, or the error's code."}, []string{"country", "result"}),
		projects: words{most: 256},
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_checks_total", Help: "Guesses, by result: right, wrong, or the error's code."}, []string{"result"}),
		approvals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_approvals_total", Help: "Verifications approved, by channel. Divided by the starts that were ok: the conversion."}, []string{"channel"}),
		projectApprovals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_project_approvals_total", Help: "Verifications approved, by project and the number's country."}, []string{"project", "country"}),
		denials: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_denials_total", Help: "Prompts whose person said on a device that it wasn't them who asked."}),
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_sends_total", Help: "Attempts to hand a message to a carrier, by carrier, country and outcome."}, []string{"carrier", "country", "outcome"}),
		handOver: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_handover_seconds", Help: "Time from a verification's start until a carrier has its message.", Buckets: coarse}, []string{"carrier"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_failures_total", Help: "Attempts that failed and receipts of messages that didn't arrive, by reason."}, []string{"carrier", "country", "reason"}),
		receipts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_receipts_total", Help: "Receipts: delivered, failed, or unmatched, which are of no message that is known."}, []string{"carrier", "country", "result"}),
		handset: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_handset_seconds", Help: "Time from an attempt's beginning until its receipt says that the phone has the message.", Buckets: slow}, []string{"carrier", "country"}),
		ring: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_call_ring_seconds", Help: "Time until a call of ours was answered, or given up.", Buckets: calls}, []string{"carrier", "answered"}),
		talk: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_call_talk_seconds", Help: "Time from a call's answer to its end.", Buckets: calls}, []string{"carrier"}),
		cost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_cost_total", Help: "What the messages cost that carriers have, or may have, and calls that were answered, as configured."}, []string{"carrier", "country"}),
		reached: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "countersign_budget_reached_timestamp_seconds", Help: "When this server paid the message by which a part of a budget was used up: step is 50, 80 or 100 percent. A country's limit names the country, and no project if it is for all."}, []string{"project", "country", "cap", "step"}),
		watched: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_watched_messages_total", Help: "Messages that carriers have, or may have, to countries that operators watch."}, []string{"country"}),
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_batch_operations", Help: "Operations committed together.", Buckets: prometheus.ExponentialBuckets(1, 2, 9)}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_commit_seconds", Help: "Time of a commit, with its sync to disk; with PostgreSQL, of the writes too.", Buckets: fine}),
	}
	m.registry.MustRegister(
		m.requests, m.requestSeconds, m.starts, m.projectStarts, m.countryStarts, m.checks, m.approvals, m.projectApprovals, m.denials, m.sends, m.handOver, m.failures, m.receipts, m.handset, m.ring, m.talk, m.cost, m.reached, m.watched, m.batchSize, m.commitSeconds,
		collectors.NewGoCollector(), collectors.NewBuildInfoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

var (
	fine   = prometheus.ExponentialBuckets(0.0001, 2, 17) // 0.1 ms to 6.5 s
	coarse = prometheus.ExponentialBuckets(0.001, 2, 18)  // 1 ms to 131 s
	calls  = []float64{1, 2, 5, 10, 15, 20, 30, 45, 60, 90}
	slow   = prometheus.ExponentialBuckets(0.5, 2, 11) // 0.5 s to 512 s
)

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Queue adds a carrier's queue. depth is called on each scrape.
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

// Clients adds a listener's connections. read is called on each scrape.
func (m *Metrics) Clients(listener string, read func() (open int, full, crowded uint64)) {
	labels := prometheus.Labels{"listener": listener}
	const refused, help = "countersign_clients_refused_total", "Connections closed, and requests of trusted proxies answered 429, because the listener was full or their address had its share."
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_connections", Help: "Connections of clients that are open.", ConstLabels: labels,
		}, func() float64 { open, _, _ := read(); return float64(open) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: refused, Help: help, ConstLabels: prometheus.Labels{"listener": listener, "because": "full"},
		}, func() float64 { _, full, _ := read(); return float64(full) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: refused, Help: help, ConstLabels: prometheus.Labels{"listener": listener, "because": "address"},
		}, func() float64 { _, _, crowded := read(); return float64(crowded) }),
	)
}

// Binds describes a carrier's binds to an SMSC.
type Binds struct {
	Up        int    `json:"up"`
	Wanted    int    `json:"wanted"`
	InFlight  int    `json:"in_flight"` // messages without a response
	Window    int    `json:"window"`    // how many of them there may be
	Made      uint64 `json:"made"`      // since the start
	Throttled uint64 `json:"throttled"` // messages that the SMSC refused because we were too fast
	Unread    uint64 `json:"unread"`    // receipts without an id or with an unknown state
}

// Binds adds a carrier's binds. read is called on each scrape.
func (m *Metrics) Binds(carrier string, read func() Binds) {
	m.carriers.of(carrier, func(c *carrierState) { c.binds = read })
	labels := prometheus.Labels{"carrier": carrier}
	gauge := func(name, help string, value func(Binds) int) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value(read())) }))
	}
	counter := func(name, help string, value func(Binds) uint64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value(read())) }))
	}
	gauge("countersign_binds_up", "Binds to an SMSC that messages can leave by.", func(b Binds) int { return b.Up })
	gauge("countersign_binds_wanted", "How many of them there should be.", func(b Binds) int { return b.Wanted })
	counter("countersign_binds_made_total", "Binds that an SMSC has let in.", func(b Binds) uint64 { return b.Made })
	gauge("countersign_window_messages", "Messages to an SMSC without its response.", func(b Binds) int { return b.InFlight })
	gauge("countersign_window_capacity", "How many of them there may be, while all binds are up.", func(b Binds) int { return b.Window })
	counter("countersign_throttled_total", "Messages that an SMSC refused because they came too fast.", func(b Binds) uint64 { return b.Throttled })
	counter("countersign_receipts_unread_total", "Receipts of an SMSC without an id or with an unknown state.", func(b Binds) uint64 { return b.Unread })
}

// of is the registry of what is counted for each database. Where a server has several, each has a label.
func (m *Metrics) of(shard string) prometheus.Registerer {
	if shard == "" {
		return m.registry
	}
	return prometheus.WrapRegistererWith(prometheus.Labels{"shard": shard}, m.registry)
}

// ShardReady adds whether a shard can work. ready is called on each scrape.
func (m *Metrics) ShardReady(shard string, ready func() bool) {
	m.of(shard).MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_shard_ready", Help: "Whether the server can work on a shard: 1 or 0.",
	}, func() float64 {
		if ready() {
			return 1
		}
		return 0
	}))
}

// Pool adds the connections of a database. count is called on each scrape. shard is "" where there is one database.
func (m *Metrics) Pool(shard string, count func() (inUse, limit int)) {
	m.of(shard).MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_database_connections_in_use", Help: "Connections to the database that read at the moment; of PostgreSQL, all but those that commit groups.",
		}, func() float64 { inUse, _ := count(); return float64(inUse) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_database_connections_limit", Help: "How many of them there may be.",
		}, func() float64 { _, limit := count(); return float64(limit) }),
	)
}

// Lags adds the delays of a database's poller and sweeper. read is called on each scrape.
func (m *Metrics) Lags(shard string, read func() (oldest, sweep time.Duration)) {
	m.of(shard).MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_due_oldest_seconds", Help: "How long the oldest message has been due that waits for its next attempt.",
		}, func() float64 { oldest, _ := read(); return oldest.Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_sweep_lag_seconds", Help: "Time since the last search for the messages of replicas that died.",
		}, func() float64 { _, sweep := read(); return sweep.Seconds() }),
	)
}

// Clock adds the offset of the machine's clock from the database's. offset is called on each scrape.
func (m *Metrics) Clock(shard string, offset func() time.Duration) {
	m.of(shard).MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_clock_offset_seconds", Help: "How far this machine's clock is ahead of the database's; negative: behind. With SQLite 0.",
	}, func() float64 { return offset().Seconds() }))
}

// Answered counts a request. route is the pattern of the route, never the path, because paths hold ids.
func (m *Metrics) Answered(face, route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(face, route, strconv.Itoa(status)).Inc()
	m.requestSeconds.WithLabelValues(face, route).Observe(took.Seconds())
}

// Started counts a start.
func (m *Metrics) Started(p verify.ProjectID, c verify.Channel, country string, err error) {
	word := result("ok", err)
	m.starts.WithLabelValues(string(c), word).Inc()
	m.projectStarts.WithLabelValues(m.projects.known(string(p)), word).Inc()
	m.countryStarts.WithLabelValues(country, word).Inc()
}

// Checked counts a guess.
func (m *Metrics) Checked(p verify.ProjectID, out verify.Outcome, err error) {
	right := "wrong"
	if out.Approved {
		right = "right"
		m.approvals.WithLabelValues(string(out.Channel)).Inc()
		m.projectApprovals.WithLabelValues(m.projects.known(string(p)), out.Country).Inc()
	}
	m.checks.WithLabelValues(result(right, err)).Inc()
}

// Denied counts a device's denial.
func (m *Metrics) Denied() { m.denials.Inc() }

// result returns the label for a result.
func result(ok string, err error) string {
	if err == nil {
		return ok
	}
	return verify.CodeOf(err)
}

// Settled counts an attempt that ended, since its verification's start. Without a carrier it is of "none".
func (m *Metrics) Settled(d *verify.Delivery, country string, since time.Duration) {
	m.carriers.settled(d, country, d.Verification.Time().Add(since))
	carrier := cmp.Or(d.Carrier, "none")
	m.sends.WithLabelValues(carrier, country, d.Outcome.String()).Inc()
	if d.Outcome == verify.AttemptAccepted {
		m.handOver.WithLabelValues(carrier).Observe(since.Seconds())
	} else {
		m.failures.WithLabelValues(carrier, country, d.Reason.String()).Inc()
	}
	if c := d.Call; c.Made() {
		answered := !c.Answered.IsZero()
		m.ring.WithLabelValues(carrier, strconv.FormatBool(answered)).Observe(c.Ring.Seconds())
		if answered {
			m.talk.WithLabelValues(carrier).Observe(c.Talk.Seconds())
		}
	}
	if cost := d.Charge.Cost; cost > 0 {
		m.cost.WithLabelValues(carrier, country).Add(cost.Float())
	}
}

// Received counts a receipt.
func (m *Metrics) Received(d *verify.Delivery, country string) {
	m.carriers.received(d, country)
	m.receipts.WithLabelValues(d.Carrier, country, d.Receipt.String()).Inc()
	switch {
	case d.Receipt != verify.ReceiptDelivered:
		m.failures.WithLabelValues(d.Carrier, country, d.ReceiptReason.String()).Inc()
	case !d.StartedAt.IsZero(): // else the receipt was quicker than our own record
		m.handset.WithLabelValues(d.Carrier, country).Observe(d.ReceiptAt.Sub(d.StartedAt).Seconds())
	}
}

// Unmatched counts a receipt of an unknown message.
func (m *Metrics) Unmatched(carrier string) {
	m.receipts.WithLabelValues(carrier, "", "unmatched").Inc()
}

// Breakers adds the states of the circuit breakers. read is called on each scrape, and
// calls tell for each breaker.
func (m *Metrics) Breakers(read func(tell func(carrier, country, state string))) {
	m.registry.MustRegister(breakers{read})
}

type breakers struct {
	read func(tell func(carrier, country, state string))
}

var breakerDesc = prometheus.NewDesc("countersign_breaker_state",
	"Whether messages to a country pass a carrier by: 0 no, 1 but for a probe, 2 yes. Absent: no failures.", []string{"carrier", "country"}, nil)

// Describe implements [prometheus.Collector].
func (b breakers) Describe(all chan<- *prometheus.Desc) { all <- breakerDesc }

// Collect implements [prometheus.Collector].
func (b breakers) Collect(all chan<- prometheus.Metric) {
	b.read(func(carrier, country, state string) {
		value := map[string]float64{"half-open": 1, "open": 2}[state]
		all <- prometheus.MustNewConstMetric(breakerDesc, prometheus.GaugeValue, value, carrier, country)
	})
}

// words holds the values of a label that come from outside. Only the first ones are used as they
// are, and later ones become "other", so that nobody can create an unlimited number of time
// series.
type words struct {
	most int
	mu   sync.Mutex // guards seen
	seen map[string]bool
}

func (w *words) known(word string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.seen[word]:
		return word
	case len(w.seen) >= w.most:
		return "other"
	case w.seen == nil:
		w.seen = map[string]bool{}
	}
	w.seen[word] = true
	return word
}

// Reached notes when a budget's use reached a part of one of its caps.
func (m *Metrics) Reached(p verify.ProjectID, country string, mark verify.Mark) {
	project := string(p)
	if project != "" {
		project = m.projects.known(project)
	}
	m.reached.WithLabelValues(project, country, mark.Cap, strconv.Itoa(mark.Step)).Set(float64(mark.At.Unix()))
}

// Watched counts a message to a country that operators watch.
func (m *Metrics) Watched(country string) { m.watched.WithLabelValues(country).Inc() }

// Committed counts a group commit.
func (m *Metrics) Committed(ops int, took time.Duration) {
	m.batchSize.Observe(float64(ops))
	m.commitSeconds.Observe(took.Seconds())
}
