package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	carrierhttp "github.com/countersign/countersign/internal/carrier/http"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/metric"
	"github.com/countersign/countersign/internal/system"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

type serveCommand struct {
	Config string `default:"countersign.yaml" help:"Configuration file (default ${default}). To begin with one: countersign config example." placeholder:"FILE"`
}

// Run implements the command.
func (c *serveCommand) Run(w world) error {
	conf, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	log := conf.Log.logger(w.stderr)
	hangup := noticed()
	reloads := conf.reloaders()
	keys, err := conf.keys()
	if err != nil {
		return err
	}
	carriers, err := conf.lines(log)
	if err != nil {
		return err
	}
	cert, err := conf.certificate()
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

	s, err := system.Open(w.ctx, system.Config{
		Data: conf.path(conf.Data), Keys: keys, Log: log, PublicSender: conf.PublicSender, Metrics: metric.New(),
		Carriers: carriers, Routes: map[verify.Channel][]string{verify.SMS: conf.Channels.SMS, verify.Voice: conf.Channels.Voice},
		Retention: time.Duration(conf.Retention),
	})
	if err != nil {
		return err
	}
	api := web.NewServer(traces.wrap(s.Handler()), log)
	if cert != nil {
		api.TLSConfig = cert.config()
	} else if !web.Loopback(public.Addr().String()) {
		log.Warn("the public listener speaks no TLS: tokens and codes can be read on the way; set public.tls, or put a proxy that speaks it in front")
	}
	for i := range reloads {
		switch r := &reloads[i]; r.what {
		case "keyset":
			r.load = func() error { return conf.reloadKeys(keys) }
		case "certificate":
			r.load = cert.load
		}
	}
	var reloading sync.WaitGroup
	reloading.Go(func() { reload(w.ctx, log, hangup, reloads) })
	defer reloading.Wait()
	log.Info("serving", "public", public.Addr().String(), "tls", cert != nil, "operations", operations.Addr().String())
	return serveUntilDone(w.ctx, log, []listening{{public, api}, {operations, web.NewServer(s.Operations(), log)}},
		func(drain context.Context) error { return errors.Join(s.Close(drain), traces.stop(drain)) })
}

// reloaders are what may change while we run, as it is now: before it is loaded.
func (c *loadedConfig) reloaders() []reloader {
	var all []reloader
	add := func(what string, files ...string) {
		all = append(all, reloader{what: what, files: files, last: changes(files)})
	}
	if c.Keyset.Env == "" {
		add("keyset", c.path(c.Keyset.File))
	}
	if c.Public.TLS.Cert != "" {
		add("certificate", c.path(c.Public.TLS.Cert), c.path(c.Public.TLS.Key))
	}
	return all
}

// logger writes the log that the configuration asks for.
func (c LogConfig) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(c.Level)) // was checked
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

// keys loads the keyset, or says how to make one.
func (c *loadedConfig) keys() (*keyset.Set, error) {
	if name := c.Keyset.Env; name != "" {
		text := os.Getenv(name)
		if text == "" {
			return nil, fmt.Errorf("keyset.env: the environment variable %s is not set; it must hold what 'countersign keyset create FILE' writes", name)
		}
		return keyset.Parse([]byte(text))
	}
	path := c.path(c.Keyset.File)
	set, err := keyset.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no keyset at %s; if this is a new installation, make one and keep a copy in a safe place: countersign keyset create %s", path, path)
	}
	return set, err
}

func (c *loadedConfig) reloadKeys(keys *keyset.Set) error {
	next, err := c.keys()
	if err == nil {
		keys.Replace(next)
	}
	return err
}

// lines makes the carriers.
func (c *loadedConfig) lines(log *slog.Logger) ([]dispatch.Line, error) {
	var all []dispatch.Line
	for i, way := range c.ways {
		if way.Plaintext {
			log.Warn("carrier is allowed to send codes over plain http", "carrier", way.Name)
		}
		out, err := carrierhttp.New(way)
		if err != nil {
			return nil, err
		}
		all = append(all, dispatch.Line{Carrier: out, Queue: c.Carriers[i].Queue, Concurrency: c.Carriers[i].Concurrency})
	}
	return all, nil
}

// certificate loads the public listener's certificate; nil without one.
func (c *loadedConfig) certificate() (*certificate, error) {
	t := c.Public.TLS
	if t.Cert == "" && t.Key == "" {
		return nil, nil
	}
	cert := &certificate{certFile: c.path(t.Cert), keyFile: c.path(t.Key)}
	return cert, cert.load()
}
