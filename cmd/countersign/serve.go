package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	carrierhttp "github.com/countersign/countersign/internal/carrier/http"
	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/carrier/sip"
	"github.com/countersign/countersign/internal/carrier/smpp"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/metric"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/web"
)

// gcPercent lets the heap grow to five times what lives in it before garbage is collected. What lives
// is a few megabytes, so that costs little memory and saves a good part of the time (see
// docs/performance.md). The variable GOGC goes before it.
const gcPercent = 400

// gcFloor is never touched, so it takes no memory, but it counts as living: the heap may grow to 40 MiB
// more before garbage is collected, where little lives.
const gcFloor = 8 << 20

type serveCommand struct {
	Config string `default:"countersign.yaml" help:"Configuration file (default ${default}). To begin with one: countersign config example." placeholder:"FILE"`
}

// Run implements the command.
func (c *serveCommand) Run(w world) error {
	conf, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	log, stopLog := conf.Log.logger(w.stderr)
	defer stopLog()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		floor := make([]byte, gcFloor)
		defer runtime.KeepAlive(floor)
	}
	if conf.pg == nil {
		release, err := claimFolder(conf.path(conf.Data))
		if err != nil {
			return err
		}
		defer release()
	}
	if conf.pg != nil && conf.pg.Unverified() {
		log.Warn("the database's certificate isn't checked: whoever is on the way to it can read numbers and texts, and change them; set sslmode=verify-full in database.url, with sslrootcert if its authority is your own")
	}
	hangup := noticed()
	public, err := listen(conf.Public.Listen, "public.listen")
	if err != nil {
		return err
	}
	defer public.Close()
	operations, err := listen(conf.Operations.Listen, "operations.listen")
	if err != nil {
		return err
	}
	defer operations.Close()
	outages := outage.New(log, nil)
	traces, err := startTracing(w.ctx, conf.Tracing, outages)
	if err != nil {
		return err
	}

	token, unpublish, err := publishOperator(conf.path(conf.Data), operations.Addr())
	if err != nil {
		return err
	}
	defer unpublish()
	out, err := conf.lines(outages)
	if err != nil {
		return err
	}
	defer out.close()
	m := out.metrics()
	config := system.Config{
		Data: conf.path(conf.Data), Postgres: conf.pg, Keys: conf.keys, Log: log, Outages: outages, Settings: conf.settings(), Syniverse: conf.Syniverse.options(), Metrics: m, Tracer: traces.tracer(),
		Carriers: out.all, Rules: conf.rules(), Routes: conf.Channels.routes(), MaxMessages: conf.MaxMessages, BreakAfter: conf.BreakAfter,
		Retention: time.Duration(conf.Retention), OperatorToken: token,
	}
	clients, operators := web.NewGate("public", conf.clients, log), web.NewGate("operations", web.Limits{Total: conf.Operations.MaxConnections}, log)
	m.Clients("public", clients.Stats)
	m.Clients("operations", operators.Stats)
	outside, inside := newEntrance(system.Waiting(log, m, away...)), newEntrance(system.WaitingOperations(m))
	api := web.NewServer(clients.Handler(traces.wrap(outside)), log)
	if conf.cert != nil {
		api.TLSConfig = conf.cert.config()
	} else if !web.Loopback(public.Addr().String()) {
		log.Warn("the public listener speaks no TLS: tokens and codes can be read on the way; set public.tls, or put a proxy that speaks it in front")
	}
	ctx, done := context.WithCancel(w.ctx)
	var reloading sync.WaitGroup
	reloading.Go(func() { reload(ctx, log, hangup, conf.reloads) })
	defer func() { done(); reloading.Wait() }()
	var s *system.System
	where := []any{"public", public.Addr().String(), "tls", conf.cert != nil, "operations", operations.Addr().String()}
	open := func(ctx context.Context) (err error) {
		if s, err = openPatiently(ctx, config, where...); err != nil {
			return err
		}
		outside.lead(s.Handler(out.reports(outages, s)...))
		inside.lead(s.Operations())
		log.Info("serving", append(where, "version", version())...)
		return nil
	}
	return serveUntilDone(w.ctx, log, []listening{{clients.Listen(public), api}, {operators.Listen(operations), web.NewServer(inside, log)}}, open,
		func(drain context.Context) (err error) {
			if s != nil {
				err = s.Close(drain)
			}
			return errors.Join(err, traces.stop(drain))
		})
}

func (c *loadedConfig) reloadKeys() error {
	next, err := c.loadKeys()
	if err == nil {
		c.keys.Replace(next)
	}
	return err
}

// lines are the carriers. Those that bring receipts come once more, by themselves.
type lines struct {
	all       []dispatch.Line
	providers []*provider.Carrier
	smscs     []*smpp.Carrier
}

// lines makes the carriers. Close them.
func (c *loadedConfig) lines(log *outage.Log) (made *lines, err error) {
	made = &lines{}
	for i, way := range c.ways {
		out, err := made.add(way, log)
		if err != nil {
			made.close()
			return nil, err
		}
		line := c.Carriers[i].line(out)
		line.Channel = way.channel()
		made.all = append(made.all, line)
	}
	return made, nil
}

func (l *lines) add(way way, log *outage.Log) (carrier.Carrier, error) {
	switch {
	case way.provider != nil:
		way.provider.Log = log.Logger
		p, err := provider.New(*way.provider)
		if err != nil {
			return nil, err
		}
		if !p.Receives() {
			log.Warn("the provider can't report what became of messages: set public.url, and the secret that reports are checked with", "carrier", p.Name())
		}
		l.providers = append(l.providers, p)
		return p, nil
	case way.smpp != nil:
		if way.smpp.Plaintext {
			log.Warn("carrier is allowed to send its password and codes without TLS", "carrier", way.smpp.Name)
		}
		way.smpp.Log, way.smpp.Outages = log.Logger, log
		c, err := smpp.New(*way.smpp)
		if err != nil {
			return nil, err
		}
		l.smscs = append(l.smscs, c)
		return c, nil
	case way.sip != nil:
		if way.sip.Transport != sip.TLS {
			log.Warn("calls are not encrypted: everybody on the way to the trunk can listen to the codes; use tls where the trunk has it", "carrier", way.sip.Name)
		}
		way.sip.Log, way.sip.Speech.Log = log.Logger, log.Logger
		return sip.New(*way.sip)
	}
	if way.http.Plaintext {
		log.Warn("carrier is allowed to send codes over plain http", "carrier", way.http.Name)
	}
	return carrierhttp.New(*way.http)
}

// metrics counts what the binds do, and whatever else is counted.
func (l *lines) metrics() *metric.Metrics {
	m := metric.New()
	for _, c := range l.smscs {
		m.Binds(c.Name(), func() metric.Binds {
			s := c.Stats()
			return metric.Binds{Up: s.Bound, Wanted: c.Binds, InFlight: s.InFlight, Window: c.Binds * c.Window, Made: s.Binds, Throttled: s.Throttled}
		})
	}
	return m
}

// away answers providers' reports while there is no database yet.
var away = []web.Mount{{Name: "carriers", Prefix: provider.Prefix, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, "not now", http.StatusServiceUnavailable)
})}}

// reports lets carriers report what became of messages.
func (l *lines) reports(log *outage.Log, s *system.System) []web.Mount {
	for _, c := range l.smscs {
		c.OnReceipt(s.Dispatch.Receive)
	}
	if len(l.providers) == 0 {
		return nil
	}
	for _, p := range l.providers {
		p.OnReceipt(s.Dispatch.Receive)
		p.OnAnswer(s.Dispatch.Words)
	}
	return []web.Mount{{Name: "carriers", Prefix: provider.Prefix, Handler: provider.Handler(log, l.providers...)}}
}

// close ends what carriers keep up, where the system that had them wasn't opened. A second time does
// nothing.
func (l *lines) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, line := range l.all {
		if c, ok := line.Carrier.(carrier.Closer); ok {
			c.Close(ctx)
		}
	}
}
