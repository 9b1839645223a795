package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/console"
	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/store"
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

type serveCommand struct{ configFile }

// Help implements [kong.HelpProvider].
func (serveCommand) Help() string { return "To begin: countersign init" }

// Run implements the command.
func (c *serveCommand) Run(w world) error {
	conf, err := loadConfig(c.path())
	if err != nil {
		return err
	}
	log, stopLog := newLogger(w.stderr, conf.Log.Level, conf.Log.Format)
	defer stopLog()
	for _, warning := range conf.Warnings() {
		log.Warn(warning)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		floor := make([]byte, gcFloor)
		defer runtime.KeepAlive(floor)
	}
	if conf.Postgres == nil && len(conf.Shards) == 0 {
		release, err := claimFolder(conf.Folder())
		if err != nil {
			return err
		}
		defer release()
	}
	if slices.ContainsFunc(databasesOf(conf), func(d store.Shard) bool { return d.Unverified() }) {
		log.Warn("the database's certificate isn't checked: whoever is on the way to it can read numbers and texts, and change them; set sslmode=verify-full in database.url, with sslrootcert if its authority is your own")
	}
	hangup := noticed()
	defer signal.Stop(hangup)
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
	pages, err := listenConsole(conf)
	if err != nil {
		return err
	}
	outages := outage.New(log, nil)
	traces, err := startTracing(w.ctx, conf.Tracing.Endpoint, conf.Tracing.Sample, outages)
	if err != nil {
		return err
	}

	token, unpublish, err := publishOperator(conf.Folder(), operations.Addr())
	if err != nil {
		return err
	}
	defer unpublish()
	out, err := conf.Open(outages)
	if err != nil {
		return err
	}
	defer out.Close()
	m := out.Metrics()
	parts := system.Config{
		Data: conf.Folder(), Postgres: conf.Postgres, Keys: conf.Keys, Log: log, Outages: outages, Settings: conf.Settings(), Syniverse: conf.SyniverseOptions(), NoDevices: !conf.Public.Devices, Metrics: m, Tracer: traces.tracer(),
		Carriers: out.Lines, Rules: conf.Rules(), Routes: conf.Fallback(), MaxMessages: conf.MaxMessages, BreakAfter: conf.BreakAfter,
		Retention: time.Duration(conf.Retention), OperatorToken: token, TLS: conf.TLS,
	}
	clients, operators := web.NewGate("public", conf.Clients, log), web.NewGate("operations", web.Limits{Total: conf.Operations.MaxConnections}, log)
	m.Clients("public", clients.Stats)
	m.Clients("operations", operators.Stats)
	outside, inside := newEntrance(system.Waiting(log, m, config.Away...)), newEntrance(system.WaitingOperations(m))
	api := web.NewServer(clients.Handler(traces.wrap(outside), system.Refuse), log)
	if conf.TLS != nil {
		api.TLSConfig = conf.TLS
	} else if !web.Loopback(public.Addr().String()) {
		log.Warn("the public listener speaks no TLS: tokens and codes can be read on the way; set public.tls, or put a proxy that speaks it in front")
	}
	ctx, done := context.WithCancel(w.ctx)
	var reloading sync.WaitGroup
	reloading.Go(func() { conf.Reload(ctx, log, hangup) })
	defer func() { done(); reloading.Wait() }()
	go conf.Certify(ctx, outages)
	var s server
	where := []any{"public", public.Addr().String(), "tls", conf.TLS != nil, "operations", operations.Addr().String()}
	servers := []listening{{clients.Listen(public), api}, {operators.Listen(operations), web.NewServer(inside, log)}}
	people := newEntrance(config.Away[0].Handler)
	if pages != nil {
		defer pages.Close()
		servers = append(servers, listening{web.NewGate("console", web.Limits{}, log).Listen(pages), web.NewServer(people, log)})
		where = append(where, "console", pages.Addr().String())
	}
	open := func(ctx context.Context) error {
		var receiver config.Receiver
		if len(conf.Shards) > 0 {
			all, err := system.OpenShards(ctx, parts, databasesOf(conf))
			s = all
			if err != nil {
				return remedied(err)
			}
			api.RegisterOnShutdown(all.EndWaits)
			receiver = all.Reports()
		} else {
			one, err := openPatiently(ctx, parts, where...)
			if err != nil {
				return remedied(err)
			}
			s, receiver = one, one.Dispatch
			api.RegisterOnShutdown(one.Verify.EndWaits)
			people.lead(console.Site(conf.ConsoleURL(), operator.New(one.Store, parts.Keys, one.Store.Now), conf.Provider, one, log))
		}
		outside.lead(s.Handler(out.Reports(outages, receiver)...))
		inside.lead(s.Operations())
		log.Info("serving", append(where, "version", version())...)
		return nil
	}
	return serveUntilDone(w.ctx, log, servers, open,
		func(drain context.Context) (err error) {
			if s != nil {
				err = s.Close(drain)
			}
			return errors.Join(err, traces.stop(drain))
		})
}

// A server is a [system.System], or [system.Shards].
type server interface {
	Handler(more ...web.Mount) http.Handler
	Operations() http.Handler
	Close(context.Context) error
}

// databasesOf are the PostgreSQL databases of a configuration. One that is the only one has no name.
func databasesOf(conf *config.Loaded) (all []store.Shard) {
	if conf.Postgres != nil {
		all = append(all, store.Shard{Postgres: conf.Postgres})
	}
	return append(all, conf.Shards...)
}

// listenConsole opens the console's listener, or returns nil where there is none.
func listenConsole(conf *config.Loaded) (net.Listener, error) {
	if conf.Console.Listen == "" {
		return nil, nil
	}
	return listen(conf.Console.Listen, "console.listen")
}

// noticed makes SIGHUP ours from here on: without anybody who takes it, it would end the process.
func noticed() chan os.Signal {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	return hangup
}
