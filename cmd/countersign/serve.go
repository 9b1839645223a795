package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	carrierhttp "github.com/countersign/countersign/internal/carrier/http"
	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/metric"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/web"
)

// gcPercent lets the heap grow to five times what lives in it before garbage is collected. What lives
// is a few megabytes, so that costs little memory and saves a good part of the time (see
// docs/performance.md). The variable GOGC goes before it.
const gcPercent = 400

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
	}
	hangup := noticed()
	carriers, providers, err := conf.lines(log)
	if err != nil {
		return err
	}
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
	traces, err := startTracing(w.ctx, conf.Tracing, log)
	if err != nil {
		return err
	}

	token, unpublish, err := publishOperator(conf.path(conf.Data), operations.Addr())
	if err != nil {
		return err
	}
	defer unpublish()
	s, err := system.Open(w.ctx, system.Config{
		Data: conf.path(conf.Data), Postgres: conf.pg, Keys: conf.keys, Log: log, Settings: conf.settings(), Syniverse: conf.Syniverse.options(), Metrics: metric.New(),
		Carriers: carriers, Rules: conf.rules(), Routes: conf.Channels.routes(), MaxMessages: conf.MaxMessages, BreakAfter: conf.BreakAfter,
		Retention: time.Duration(conf.Retention), OperatorToken: token,
	})
	if err != nil {
		return err
	}
	api := web.NewServer(traces.wrap(s.Handler(reports(log, s, providers)...)), log)
	if conf.cert != nil {
		api.TLSConfig = conf.cert.config()
	} else if !web.Loopback(public.Addr().String()) {
		log.Warn("the public listener speaks no TLS: tokens and codes can be read on the way; set public.tls, or put a proxy that speaks it in front")
	}
	ctx, done := context.WithCancel(w.ctx)
	var reloading sync.WaitGroup
	reloading.Go(func() { reload(ctx, log, hangup, conf.reloads) })
	defer func() { done(); reloading.Wait() }()
	log.Info("serving", "public", public.Addr().String(), "tls", conf.cert != nil, "operations", operations.Addr().String())
	return serveUntilDone(w.ctx, log, []listening{{public, api}, {operations, web.NewServer(s.Operations(), log)}},
		func(drain context.Context) error { return errors.Join(s.Close(drain), traces.stop(drain)) })
}

func (c *loadedConfig) reloadKeys() error {
	next, err := c.loadKeys()
	if err == nil {
		c.keys.Replace(next)
	}
	return err
}

// lines makes the carriers. Those that are providers come once more, by themselves.
func (c *loadedConfig) lines(log *slog.Logger) (all []dispatch.Line, providers []*provider.Carrier, err error) {
	for i, way := range c.ways {
		var out carrier.Carrier
		if way.provider != nil {
			way.provider.Log = log
			p, err := provider.New(*way.provider)
			if err != nil {
				return nil, nil, err
			}
			if !p.Receives() {
				log.Warn("the provider can't report what became of messages: set public.url, and the secret that reports are checked with", "carrier", p.Name())
			}
			out, providers = p, append(providers, p)
		} else {
			if way.http.Plaintext {
				log.Warn("carrier is allowed to send codes over plain http", "carrier", way.http.Name)
			}
			if out, err = carrierhttp.New(*way.http); err != nil {
				return nil, nil, err
			}
		}
		all = append(all, c.Carriers[i].line(out))
	}
	return all, providers, nil
}

// reports lets providers report what became of messages.
func reports(log *slog.Logger, s *system.System, providers []*provider.Carrier) []web.Mount {
	if len(providers) == 0 {
		return nil
	}
	for _, p := range providers {
		p.OnReceipt(s.Dispatch.Receive)
	}
	return []web.Mount{{Name: "carriers", Prefix: provider.Prefix, Handler: provider.Handler(log, providers...)}}
}
