// Package system puts the server together but for its listeners: what the commands and the tests
// have in common.
package system

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/push"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/face/device"
	"github.com/countersign/countersign/internal/face/signalwire"
	"github.com/countersign/countersign/internal/face/syniverse"
	"github.com/countersign/countersign/internal/face/v1"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/manual"
	"github.com/countersign/countersign/internal/metric"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/route"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// Names of the files in a data folder.
const (
	DatabaseFile = "countersign.db"
	KeysetFile   = "keyset.json"
)

// Config is what [Open] needs.
type Config struct {
	Data     string               // the folder of the database; it is made if need be
	Postgres *store.Postgres      // the database, instead of a file in that folder
	Shard    string               // the database's name, if the server has several: see [Shards]
	Keys     *keyset.Set          // nil: the keyset in that folder, made if need be
	Now      func() time.Time     // the clock, for tests; nil is the database's: see [store.Store.Now]
	Machine  func() store.Reading // the machine's clocks; nil reads them
	Log      *slog.Logger
	Outages  *outage.Log     // for what fails again and again; nil: one of its own
	Metrics  *metric.Metrics // nil: of its own
	Tracer   trace.Tracer    // of messages' attempts; nil: they aren't traced
	verify.Settings

	// See [dispatch.Config].
	Siblings    *dispatch.Siblings
	Beside      func() []string // the names of the databases that the process serves, see [store.Store.Database]; nil: this one only
	Carriers    []dispatch.Line
	Rules       []route.Rule
	Routes      map[verify.Channel][]string
	MaxMessages int
	BreakAfter  int
	// Lease, CallLimit and Tick are the dispatcher's; zero takes its defaults.
	Lease, CallLimit, Tick time.Duration

	// Syniverse is how the Syniverse face answers.
	Syniverse syniverse.Options
	// NoDevices leaves out what devices ask, and their authenticator.
	NoDevices bool

	// TLS is the public listener's, whose certificate is watched; nil: it has none.
	TLS *tls.Config

	// OperatorToken opens what of the operations listener costs money: "" closes it.
	OperatorToken verify.Secret

	// Retention is how long verifications are kept: default 30 days.
	Retention time.Duration
	// Commit and ReadLimit are the store's, see [store.Options].
	Commit    func(ops int, commit func() error) error
	ReadLimit time.Duration
}

// A System is a running server without listeners.
type System struct {
	Store    *store.Store
	Accounts *account.Service
	Verify   *verify.Service
	Dispatch *dispatch.Dispatcher

	carriers  []dispatch.Line
	log       *slog.Logger
	outages   *outage.Log
	ring      *keyring
	metrics   *metric.Metrics
	syniverse syniverse.Options
	noDevices bool
	operator  verify.Secret
	currency  money.Currency // of the configuration's prices
	tls       *tls.Config    // of the public listener; nil: it has none
	data      string         // the data folder
	upkeep    sync.WaitGroup
	stopped   context.CancelFunc
}

// OpenStore opens the database of a data folder, which it makes if need be, for its owner only. If the
// options name another database, it opens that one.
func OpenStore(ctx context.Context, data string, o store.Options) (*store.Store, error) {
	if o.Postgres != nil {
		return store.Open(ctx, o)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	o.Path = filepath.Join(data, DatabaseFile)
	// SQLite makes its other files with the mode of this one.
	f, err := os.OpenFile(o.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	for _, file := range []string{o.Path, o.Path + "-wal", o.Path + "-shm"} {
		info, err := os.Stat(file)
		if err == nil {
			err = keyset.Private(file, info) // it holds numbers and texts
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return store.Open(ctx, o)
}

// Open starts a system on a data folder. Close it.
func Open(ctx context.Context, c Config) (*System, error) {
	if c.Retention == 0 {
		c.Retention = 30 * 24 * time.Hour
	}
	if c.Metrics == nil {
		c.Metrics = metric.New()
	}
	if c.Outages == nil {
		c.Outages = outage.New(c.Log, nil)
	}
	o := store.Options{Postgres: c.Postgres, Migrate: true, Now: c.Now, Machine: c.Machine, Commit: c.Commit, ReadLimit: c.ReadLimit, Observer: c.Metrics, Log: c.Log}
	if c.Data != "" {
		o.Witness = filepath.Join(c.Data, witnessFile(c.Shard))
	}
	st, err := OpenStore(ctx, c.Data, o)
	if err != nil {
		return nil, err
	}
	if c.Keys == nil {
		if err := os.MkdirAll(c.Data, 0o700); err != nil {
			return nil, errors.Join(err, st.Close())
		}
		if c.Keys, err = keyset.LoadOrCreate(filepath.Join(c.Data, KeysetFile)); err != nil {
			return nil, errors.Join(err, st.Close())
		}
	}
	ring, err := newKeyring(ctx, c, st)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	live, err := readLive(ctx, st)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if foreign, err := st.Foreign(ctx, c.Prices.Currency, 10); err != nil {
		return nil, errors.Join(err, st.Close())
	} else if len(foreign) > 0 {
		c.Log.WarnContext(ctx, "budgets are in another currency than prices.currency: amounts are compared all the same; set prices.currency to theirs", "currency", c.Prices.Currency, "projects", foreign)
	}
	d, err := dispatch.New(dispatch.Config{
		Store: st, Siblings: c.Siblings, Shared: c.Postgres != nil, Keys: c.Keys, Now: st.Now, Log: c.Log, Outages: c.Outages, Observer: c.Metrics, Tracer: c.Tracer, Carriers: c.Carriers, Rules: c.Rules, Routes: c.Routes,
		PublicSender: c.PublicSender, Prices: c.Prices, MaxMessages: c.MaxMessages, BreakAfter: c.BreakAfter,
		Lease: c.Lease, CallLimit: c.CallLimit, Tick: c.Tick,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start dispatch: %w", err), st.Close())
	}
	if c.Siblings.IsFirst(d) {
		countCarriers(c, d)
	}
	c.Metrics.Pool(c.Shard, st.Pool)
	c.Metrics.Lags(c.Shard, d.Lags)
	c.Metrics.Clock(c.Shard, st.ClockOffset)
	c.Push = len(c.Routes[verify.ChannelPush]) > 0
	s := &System{
		Store: st, Dispatch: d, carriers: c.Carriers, log: c.Log, outages: c.Outages, ring: ring, metrics: c.Metrics, syniverse: c.Syniverse, noDevices: c.NoDevices, operator: c.OperatorToken, currency: c.Prices.Currency, tls: c.TLS, data: c.Data,
		Accounts: account.New(st, st.Now),
		Verify:   verify.New(verify.Config{Store: st, Outbox: d, Keys: c.Keys, Now: st.Now, Observer: c.Metrics, Settings: c.Settings}),
	}
	live.hold(d)
	upkeep, stop := context.WithCancel(context.Background())
	s.stopped = stop
	s.upkeep.Go(func() { s.retain(upkeep, c.Retention) })
	s.upkeep.Go(func() { s.fold(upkeep) })
	s.upkeep.Go(func() { s.finishDeletions(upkeep) })
	s.upkeep.Go(func() { s.reseal(upkeep, c.Keys) })
	s.upkeep.Go(func() { s.watch(upkeep) })
	s.upkeep.Go(func() { ring.run(upkeep) })
	s.upkeep.Go(func() { s.saveUse(upkeep) })
	s.upkeep.Go(func() { s.watchLive(upkeep) })
	return s, nil
}

// countCarriers adds the carriers' queues and breakers to the metrics.
func countCarriers(c Config, d *dispatch.Dispatcher) {
	for _, l := range c.Carriers {
		name := l.Carrier.Name()
		c.Metrics.Queue(name, l.Queue, func() int { return d.Depth(name) })
	}
	c.Metrics.Breakers(func(tell func(carrier, country, state string)) {
		for _, line := range d.States() {
			for country, state := range line.Worst() {
				tell(line.Name, country, state)
			}
		}
	})
}

// witnessFile is the name of a database's witness in the data folder.
func witnessFile(shard string) string {
	if shard == "" {
		return store.WitnessFile
	}
	return "shard-" + shard + "-" + store.WitnessFile
}

// retain deletes what is past its retention once an hour, or after a minute if that failed.
func (s *System) retain(ctx context.Context, keep time.Duration) {
	for ctx.Err() == nil {
		n, err := s.Store.Retain(ctx, s.Store.Now().Add(-keep))
		next := time.Hour
		if err != nil && ctx.Err() == nil {
			complain(s.outages, "delete old verifications", err)
			next = time.Minute
		}
		if n > 0 {
			s.log.InfoContext(ctx, "deleted old verifications", "count", n)
		}
		wait(ctx, next)
	}
}

// foldEvery is how often usage is folded: so lists read few rows of single writers.
const foldEvery = 10 * time.Minute

func (s *System) fold(ctx context.Context) {
	for ; ctx.Err() == nil; wait(ctx, foldEvery) {
		if err := s.Store.FoldUsage(ctx); err != nil && ctx.Err() == nil {
			complain(s.outages, "fold usage", err)
		}
	}
}

// liveLook is how often a server looks at what operators have changed while it runs.
const liveLook = 500 * time.Millisecond

// live is what operators have changed while servers run.
type live struct {
	at      time.Time // when it was asked for
	stops   []verify.Stop
	limits  []verify.CountryLimit
	weights []verify.Weight
}

func readLive(ctx context.Context, st *store.Store) (l live, err error) {
	l.at = time.Now()
	if l.stops, err = st.Stops(ctx); err != nil {
		return l, err
	}
	if l.limits, err = st.CountryLimits(ctx); err != nil {
		return l, err
	}
	l.weights, err = st.Weights(ctx)
	return l, err
}

// hold has a dispatcher keep to it.
func (l live) hold(d *dispatch.Dispatcher) {
	d.SetStops(l.stops)
	d.SetLimits(l.limits)
	d.SetWeights(l.weights)
	d.Looked(l.at)
}

// watchLive keeps to what operators have changed. While the database is away, what was read last holds for starts, and nothing is
// sent.
func (s *System) watchLive(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, liveLook)
		now, err := readLive(ctx, s.Store)
		switch {
		case err == nil:
			now.hold(s.Dispatch)
		case ctx.Err() == nil:
			complain(s.outages, "look at what operators have changed", err)
		}
	}
}

// finishDeletions deletes what deleted applications have left, and who asked for what has ended, once a minute.
func (s *System) finishDeletions(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.Store.FinishDeletions(ctx); err != nil && ctx.Err() == nil {
			complain(s.outages, "delete users of deleted applications", err)
		}
		if err := s.Store.ForgetClients(ctx); err != nil && ctx.Err() == nil {
			complain(s.outages, "forget who asked for what has ended", err)
		}
		wait(ctx, time.Minute)
	}
}

// reseal seals users' devices and operators' second factors of former keys with the primary one, once a minute. It
// writes only after a rotation.
func (s *System) reseal(ctx context.Context, keys *keyset.Set) {
	for ctx.Err() == nil {
		n, err := s.Verify.ResealDevices(ctx)
		s.resealed(ctx, "devices", n, err)
		n, err = operator.ResealSeeds(ctx, s.Store, keys, s.Store.Now())
		s.resealed(ctx, "operators' second factors", n, err)
		wait(ctx, time.Minute)
	}
}

func (s *System) resealed(ctx context.Context, what string, n int, err error) {
	if err != nil && ctx.Err() == nil {
		complain(s.outages, "seal "+what+" with the primary key", err)
	}
	if n > 0 {
		s.log.InfoContext(ctx, "sealed "+what+" with the primary key", "count", n)
	}
}

// saveUse stores when keys were last used, once a minute and at the end.
func (s *System) saveUse(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, time.Minute)
		if err := s.Accounts.SaveUse(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
			complain(s.outages, "store when keys were last used", err)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// complain logs what failed and will be tried again.
func complain(log *outage.Log, msg string, err error) {
	if errors.Is(err, verify.ErrNoStore) {
		log.DatabaseFailed(msg, err)
		return
	}
	log.Failed(msg, slog.LevelError, msg, "err", err)
}

// watchEvery is how often the server asks itself whether it is ready, and watchLimit and readyLimit are how
// long it and others wait for the answer: a disk may hang.
const (
	watchEvery = time.Second
	watchLimit = 5 * time.Second
	readyLimit = time.Second
)

// watch logs that the database is away, and that it is back, also while nobody needs it.
func (s *System) watch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.ready(ctx, watchLimit)
			s.lookAtClock()
		}
	}
}

// warnSkew is how far the machine's clock may be from the database's before the log says so.
const warnSkew = time.Second

// lookAtClock logs that the machine's clock is wrong, and that it is right again.
func (s *System) lookAtClock() {
	const clock, advice = "clock", "this machine's clock and the database's differ: synchronize both with NTP"
	switch ahead, err := s.Store.Clock(); {
	case err != nil:
		s.outages.Failed(clock, slog.LevelError, "not ready: "+err.Error())
	case ahead.Abs() > warnSkew:
		s.outages.Failed(clock, slog.LevelWarn, advice, "ahead", ahead.Round(time.Millisecond))
	default:
		s.outages.Works(clock, "this machine's clock is right again")
	}
}

// ready reports whether the database can be read and written, and logs it where that changes.
func (s *System) ready(ctx context.Context, limit time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.Store.Ready(limited)
	switch {
	case err == nil:
		s.outages.DatabaseWorks()
	case ctx.Err() == nil:
		s.outages.DatabaseFailedContext(ctx, "not ready", err)
	}
	return err
}

// Handler answers the public APIs, and more where given.
func (s *System) Handler(more ...web.Mount) http.Handler {
	faces := s.faces()
	if !s.noDevices {
		faces = append(faces, web.Mount{Name: "device", Prefix: device.Prefix, Handler: device.New(s.Verify, s.vapid(), s.outages), Refuse: device.Refuse})
	}
	faces = append(faces, documentation()...)
	return web.Handler(s.log, s.metrics, append(faces, more...)...)
}

// faces are the APIs whose callers have keys.
func (s *System) faces() []web.Mount {
	all := []web.Mount{{Name: "signalwire", Prefix: signalwire.Prefix, Handler: signalwire.New(s.Accounts, s.Verify, s.outages)}}
	all = append(all, syniverse.New(s.Accounts, s.Verify, s.outages, s.syniverse)...) // before /v1, below which Syniverse has a path as well
	return append(all, web.Mount{Name: "v1", Prefix: v1.Prefix, Handler: v1.New(s.Accounts, s.Verify, s.outages), Refuse: v1.Refuse})
}

// facesAway are the same while there is no database.
func facesAway() []web.Mount {
	all := append([]web.Mount{{Name: "signalwire", Prefix: signalwire.Prefix, Handler: signalwire.Away()}}, syniverse.Away()...)
	return append(all, web.Mount{Name: "v1", Prefix: v1.Prefix, Handler: v1.Away(), Refuse: v1.Refuse})
}

func (s *System) vapid() string { return vapid(s.carriers) }

// vapid is the key for which browsers subscribe to the pushes of the first carrier that makes some; "" without one.
func vapid(carriers []dispatch.Line) string {
	for _, l := range carriers {
		if c, ok := l.Carrier.(*push.Carrier); ok {
			if web, ok := c.Service(verify.DeviceWebPush).(interface{ PublicKey() string }); ok {
				return web.PublicKey()
			}
		}
	}
	return ""
}

// Waiting answers the public APIs while there is no database yet: 503, in each API's own shape.
func Waiting(log *slog.Logger, o web.Observer, more ...web.Mount) http.Handler {
	faces := append(facesAway(), web.Mount{Name: "device", Prefix: device.Prefix, Handler: device.Away(), Refuse: device.Refuse})
	faces = append(faces, documentation()...)
	return web.Handler(log, o, append(faces, more...)...)
}

// Refuse answers a request that doesn't get as far as the APIs, in the shape of the one that its path names.
func Refuse(w http.ResponseWriter, r *http.Request, status int) {
	for _, m := range append(syniverse.Away(), web.Mount{Prefix: v1.Prefix, Refuse: v1.Refuse}, description()) {
		if strings.HasPrefix(r.URL.Path, m.Prefix) {
			m.Refuse(w, status)
			return
		}
	}
	web.Refuse(w, status)
}

// documentation is what is served whether there is a database or not.
func documentation() []web.Mount { return append(manual.Mounts(), description()) }

func description() web.Mount {
	return web.Mount{Name: "description", Prefix: v1.Description, Handler: v1.Describer(), Refuse: v1.Refuse}
}

// WaitingOperations answers the operations listener meanwhile.
func WaitingOperations(m *metric.Metrics) http.Handler {
	const why = "the database is away since the server was started, which waits for it; the log says why"
	mux := operations(m, func(*http.Request) (string, string) { return why, "" })
	mux.HandleFunc("/carriers/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, why, http.StatusServiceUnavailable) })
	return web.LocalNames(mux)
}

// Operations answers health checks (/healthz while the process lives, /readyz while it can work),
// /carriers with how each of them does, and a test message by one of them (see [Trial]), /metrics for Prometheus, and /debug/pprof.
// It asks for no credentials, so by loopback it answers to loopback's names only.
func (s *System) Operations() http.Handler {
	mux := operations(s.metrics, func(r *http.Request) (string, string) { return s.unready(r.Context()), "" })
	mux.HandleFunc("GET /carriers", func(w http.ResponseWriter, _ *http.Request) { s.listCarriers(w) })
	if s.operator != "" {
		mux.HandleFunc("POST /carriers/{name}/test", s.try)
		mux.HandleFunc("GET /policy", s.readPolicy)
		mux.HandleFunc("PUT /policy/countries/{name}", s.changeState(s.countryStates()))
		mux.HandleFunc("PUT /policy/carriers/{name}", s.changeState(s.carrierStates()))
		mux.HandleFunc("PUT /policy/limits/{name}", s.changeLimit())
		mux.HandleFunc("GET /policy/budgets/{project}", s.readBudget)
		mux.HandleFunc("PUT /policy/budgets/{project}", s.changeBudget())
		mux.HandleFunc("PUT /policy/routes/{place}", s.changeWeights())
	}
	return web.LocalNames(mux)
}

func (s *System) listCarriers(w http.ResponseWriter) {
	answerJSON(w, map[string]any{"carriers": s.Carriers()})
}

// answerJSON is an answer of the operations listener.
func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// unready says why the server can't work; "" is that it can.
func (s *System) unready(ctx context.Context) string {
	if s.ready(ctx, readyLimit) != nil {
		return "the database can't be read or written; the log says why"
	}
	if _, err := s.Store.Clock(); err != nil {
		return err.Error()
	}
	return s.ring.wrong()
}

// operations answers what doesn't depend on the database. unready says why the server isn't ready, or what can't be used although it is; "" is nothing.
func operations(m *metric.Metrics, unready func(*http.Request) (why, but string)) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		why, but := unready(r)
		answerReady(w, why, but)
	})
	mux.Handle("GET /metrics", m.Handler())
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	return mux
}

// answerReady says that the server is ready, but for something, or why it isn't.
func answerReady(w http.ResponseWriter, why, but string) {
	switch {
	case why != "":
		http.Error(w, why, http.StatusServiceUnavailable)
	case but != "":
		w.Write([]byte("ready, but for\n" + but + "\n"))
	default:
		w.Write([]byte("ready\n"))
	}
}

// Close sends what is queued, until ctx is done, and closes the carriers and the database. What is left is on disk
// and will be sent by whoever opens it next. Stop the listeners first.
func (s *System) Close(ctx context.Context) error {
	s.Dispatch.Close(ctx)
	closeCarriers(ctx, s.carriers)
	return s.closeStore()
}

// closeCarriers closes carriers while there is still a database for their receipts.
func closeCarriers(ctx context.Context, all []dispatch.Line) {
	for _, l := range all {
		if c, ok := l.Carrier.(carrier.Closer); ok {
			c.Close(ctx)
		}
	}
}

// closeStore ends upkeep and closes the database.
func (s *System) closeStore() error {
	s.stopped()
	s.upkeep.Wait()
	s.ring.leave()
	return s.Store.Close()
}
