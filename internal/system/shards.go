package system

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/countersign/countersign/internal/account"
	"github.com/countersign/countersign/internal/dispatch"
	"github.com/countersign/countersign/internal/face/device"
	"github.com/countersign/countersign/internal/metric"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/shard"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// Shards is a running server with several databases, without listeners. Each shard is a [System] of its own: store,
// accounts, rules, dispatcher and upkeep. They share the carriers, the keys and the metrics. A project is in the shard that
// has its row, and nothing else says so: a request goes to the shard that knows its key.
//
// A shard is opened when its database is there, and the others don't wait for it.
type Shards struct {
	config   Config
	siblings *dispatch.Siblings
	all      []*part
	keys     *lru.Cache[account.KeyHash, *part] // where keys were found last

	opening  sync.WaitGroup
	stopOpen context.CancelFunc
}

// A part is a shard.
type part struct {
	config Config
	open   atomic.Pointer[opened] // nil: it isn't yet
}

type opened struct {
	*System
	faces      []web.Mount
	operations http.Handler
}

// openAgain is how long a server waits before it looks again whether a shard's database is there.
const openAgain = time.Second

// maxFound is how many keys it is remembered of where they were found.
const maxFound = 4096

// OpenShards starts a server on some databases, and returns when each was opened or is away. It fails if one can't be opened for
// another reason. Close it also then.
func OpenShards(ctx context.Context, c Config, databases []store.Shard) (*Shards, error) {
	if c.Metrics == nil {
		c.Metrics = metric.New()
	}
	s := &Shards{config: c, siblings: dispatch.NewSiblings(len(databases))}
	s.keys, _ = lru.New[account.KeyHash, *part](maxFound) // fails only for sizes below 1
	tried := make(chan error, len(databases))
	ctx, s.stopOpen = context.WithCancel(ctx)
	for _, db := range databases {
		own := c
		own.Shard, own.Postgres, own.Siblings, own.Keys, own.Beside = db.Name, db.Postgres, s.siblings, c.Keys.Twin(), s.databases
		own.Log = c.Log.With("shard", db.Name)
		own.Outages = outage.New(own.Log, nil)
		p := &part{config: own}
		s.all = append(s.all, p)
		c.Metrics.ShardReady(db.Name, func() bool { return p.unready(context.Background()) == "" })
	}
	for _, p := range s.all { // each looks at the others
		s.opening.Go(func() { p.openPatiently(ctx, tried) })
	}
	var errs []error
	for range databases {
		errs = append(errs, <-tried)
	}
	s.compare(ctx)
	s.opening.Go(func() {
		ticker := time.NewTicker(compareEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				s.compare(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	return s, errors.Join(errs...)
}

// compareEvery is for how long, at most, two shards decide on a project after one of them was brought back to before it left.
const compareEvery = 5 * time.Second

// compare has each shard give up the projects that have moved to another one, where it has lost that they did.
func (s *Shards) compare(ctx context.Context) {
	for _, p := range s.opened() {
		sys := p.open.Load()
		arrived, err := sys.Store.Arrivals(ctx)
		if err != nil {
			if ctx.Err() == nil {
				complain(sys.outages, "compare shards", err)
			}
			continue
		}
		if len(arrived) == 0 {
			continue
		}
		for _, other := range s.opened() {
			if other == p {
				continue
			}
			from := other.open.Load()
			yielded, err := from.Store.Yield(ctx, p.config.Shard, arrived)
			switch {
			case err != nil && ctx.Err() == nil:
				complain(from.outages, "compare shards", err)
			case len(yielded) > 0:
				from.log.ErrorContext(ctx, "the shard had lost that projects left it: it decides nothing about them any more; delete what is left here with countersign project move", "projects", yielded, "to", p.config.Shard)
			}
		}
	}
}

// openPatiently opens a shard, and waits for its database if need be. It tells what came of the first try: an error only if
// to wait is no use.
func (p *part) openPatiently(ctx context.Context, tried chan<- error) {
	for first := true; ; first = false {
		sys, err := Open(ctx, p.config)
		if err == nil {
			p.open.Store(&opened{sys, sys.faces(), sys.Operations()})
		}
		if first {
			fatal := err
			if store.Passing(err) || ctx.Err() != nil {
				fatal = nil
			}
			tried <- fatal
		}
		if err == nil {
			p.config.Log.InfoContext(ctx, "serving the shard")
			return
		}
		p.config.Outages.DatabaseFailedContext(ctx, "start", err)
		wait(ctx, openAgain)
		if ctx.Err() != nil {
			return
		}
	}
}

// opened are the shards that are open.
func (s *Shards) opened() (all []*part) {
	for _, p := range s.all {
		if p.open.Load() != nil {
			all = append(all, p)
		}
	}
	return all
}

// databases are the names of those that are open.
func (s *Shards) databases() (all []string) {
	for _, p := range s.opened() {
		all = append(all, p.open.Load().Store.Database())
	}
	return all
}

// find returns the shard that has something; nil if none does. While one that may have it is away, it fails.
func (s *Shards) find(ctx context.Context, has func(context.Context, *System) (bool, error)) (*part, error) {
	all := s.opened()
	i, err := shard.Find(ctx, all, func(ctx context.Context, p *part) (bool, error) { return has(ctx, p.open.Load().System) })
	switch {
	case i != shard.None:
		return all[i], nil
	case err == nil && len(all) < len(s.all):
		err = verify.ErrNoStore
	}
	return nil, err
}

// pick returns the shard that a request is for. Without a key that any of them knows, it is the first: that refuses it. It
// returns nil while a shard that may know the key is away.
func (s *Shards) pick(r *http.Request) *part {
	if key := secretOf(r); key != "" {
		return s.ofKey(r.Context(), key)
	}
	if consumer := r.URL.Query().Get("consumerkey"); consumer != "" {
		return s.or(s.find(r.Context(), func(ctx context.Context, sys *System) (bool, error) {
			return shard.Has(sys.Accounts.FindConsumer(ctx, consumer), verify.ErrUnauthenticated)
		}))
	}
	return s.or(nil, nil)
}

// or is a shard that was found, or else any that is open.
func (s *Shards) or(p *part, err error) *part {
	if p != nil || err != nil {
		return p
	}
	if all := s.opened(); len(all) > 0 {
		return all[0]
	}
	return nil
}

// secretOf is the API key that a request has: by one of the ways in which the faces take it.
func secretOf(r *http.Request) verify.Secret {
	if _, token, ok := r.BasicAuth(); ok {
		return verify.Secret(token)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return verify.Secret(strings.TrimSpace(token))
}

// ofKey returns the shard that knows a key. It asks the one that knew it last before the others, so that a key in use costs
// one look-up a second, as with one database. A shard that the key's project is leaving is the last choice.
func (s *Shards) ofKey(ctx context.Context, key verify.Secret) *part {
	hash := account.HashKey(key)
	if p, met := s.keys.Get(hash); met {
		known, err := p.open.Load().knows(ctx, key)
		switch {
		case known:
			return p
		case err != nil && !errors.Is(err, verify.ErrMoving):
			return nil
		}
		s.keys.Remove(hash)
	}
	var leaving atomic.Pointer[System]
	p, err := s.find(ctx, func(ctx context.Context, sys *System) (bool, error) {
		known, err := sys.knows(ctx, key)
		if errors.Is(err, verify.ErrMoving) {
			leaving.Store(sys)
		}
		return known, err
	})
	if p != nil {
		s.keys.Add(hash, p)
	}
	if from := leaving.Load(); p == nil && from != nil { // it says so
		i := slices.IndexFunc(s.all, func(p *part) bool { o := p.open.Load(); return o != nil && o.System == from })
		return s.all[i]
	}
	return s.or(p, err)
}

// knows reports whether a key opens a project here.
func (s *System) knows(ctx context.Context, key verify.Secret) (bool, error) {
	_, err := s.Accounts.AuthenticateKey(ctx, key)
	return shard.Has(err, verify.ErrUnauthenticated)
}

// Handler answers the public APIs, and more where given.
func (s *Shards) Handler(more ...web.Mount) http.Handler {
	mounts := facesAway()
	for i, away := range mounts {
		mounts[i].Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			if p := s.pick(r); p != nil {
				late := func() bool { return time.Since(began) > account.Remembered }
				picked := r.WithContext(account.WithLate(r.Context(), late))
				defer func() { r.Pattern = picked.Pattern }() // for the log and the metrics
				p.open.Load().faces[i].Handler.ServeHTTP(w, picked)
				return
			}
			away.Handler.ServeHTTP(w, r)
		})
	}
	if !s.config.NoDevices {
		mounts = append(mounts, web.Mount{Name: "device", Prefix: device.Prefix, Handler: device.New(devices{s}, vapid(s.config.Carriers), s.config.Outages), Refuse: device.Refuse})
	}
	mounts = append(mounts, documentation()...)
	return web.Handler(s.config.Log, s.config.Metrics, append(mounts, more...)...)
}

// devices answers what devices ask: each in the shard that has the verification, or the enrolment.
type devices struct{ *Shards }

func (d devices) of(ctx context.Context, id verify.ID) (*verify.Service, error) {
	return d.service(ctx, func(ctx context.Context, sys *System) (bool, error) {
		return shard.Has(sys.Store.Holds(ctx, id), verify.ErrNotFound)
	})
}

// service is that of the shard that has something; if none has, any, which says so.
func (d devices) service(ctx context.Context, has func(context.Context, *System) (bool, error)) (*verify.Service, error) {
	p, err := d.find(ctx, has)
	if p = d.or(p, err); p == nil {
		return nil, err
	}
	return p.open.Load().Verify, nil
}

// AnswerPrompt implements [device.Service].
func (d devices) AnswerPrompt(ctx context.Context, a verify.PromptAnswer) (verify.PromptOutcome, error) {
	service, err := d.of(ctx, a.Verification)
	if err != nil {
		return verify.PromptOutcome{}, err
	}
	return service.AnswerPrompt(ctx, a)
}

// Fetch implements [device.Service].
func (d devices) Fetch(ctx context.Context, f verify.Fetch) (verify.Message, error) {
	service, err := d.of(ctx, f.Verification)
	if err != nil {
		return verify.Message{}, err
	}
	return service.Fetch(ctx, f)
}

// Enrol implements [device.Service].
func (d devices) Enrol(ctx context.Context, code verify.Secret, n verify.NewDevice) (verify.Device, *verify.Application, error) {
	service, err := d.service(ctx, func(ctx context.Context, sys *System) (bool, error) {
		return shard.Has(sys.Verify.FindEnrolment(ctx, code), verify.ErrNoEnrolment)
	})
	if err != nil {
		return verify.Device{}, nil, err
	}
	return service.Enrol(ctx, code, n)
}

// Now implements [device.Service].
func (d devices) Now() time.Time {
	if all := d.opened(); len(all) > 0 {
		return all[0].open.Load().Verify.Now()
	}
	return time.Now()
}

// unready says why a shard can't work; "" is that it can.
func (p *part) unready(ctx context.Context) string {
	if sys := p.open.Load(); sys != nil {
		return sys.unready(ctx)
	}
	return "the database is away since the server was started, which waits for it; the log says why"
}

// unready says why the server can't work on any shard, and which shards it can't work on.
func (s *Shards) unready(ctx context.Context) (why string, away []string) {
	said := make([]string, len(s.all))
	var asking sync.WaitGroup
	for i, p := range s.all {
		asking.Go(func() { said[i] = p.unready(ctx) })
	}
	asking.Wait()
	for i, p := range s.all {
		if said[i] != "" {
			away = append(away, p.config.Shard+": "+said[i])
		}
	}
	if len(away) == len(s.all) {
		why = strings.Join(away, "\n")
	}
	return why, away
}

// Operations answers what [System.Operations] does. /readyz is ready while any shard is, and names the others;
// /readyz/NAME asks for one. What is kept in a shard is below /shards/NAME.
func (s *Shards) Operations() http.Handler {
	mux := operations(s.config.Metrics, func(r *http.Request) (why, but string) {
		why, away := s.unready(r.Context())
		return why, strings.Join(away, "\n")
	})
	mux.HandleFunc("GET /carriers", func(w http.ResponseWriter, _ *http.Request) {
		s.first(w, func(sys *System) { sys.listCarriers(w) })
	})
	if s.config.OperatorToken != "" {
		mux.HandleFunc("POST /carriers/{name}/test", func(w http.ResponseWriter, r *http.Request) {
			s.first(w, func(sys *System) { sys.try(w, r) })
		})
	}
	for _, p := range s.all {
		mux.HandleFunc("GET /readyz/"+p.config.Shard, func(w http.ResponseWriter, r *http.Request) { answerReady(w, p.unready(r.Context()), "") })
		prefix := "/shards/" + p.config.Shard
		mux.Handle(prefix+"/", http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if sys := p.open.Load(); sys != nil {
				sys.operations.ServeHTTP(w, r)
				return
			}
			http.Error(w, p.unready(r.Context()), http.StatusServiceUnavailable)
		})))
	}
	return web.LocalNames(mux)
}

// first calls f with the first shard that is open.
func (s *Shards) first(w http.ResponseWriter, f func(*System)) {
	if p := s.or(nil, nil); p != nil {
		f(p.open.Load().System)
		return
	}
	http.Error(w, s.all[0].unready(context.Background()), http.StatusServiceUnavailable)
}

// Reports takes the carriers' receipts.
func (s *Shards) Reports() *dispatch.Siblings { return s.siblings }

// EndWaits has checks that wait for a device answer immediately: see [verify.Service.EndWaits].
func (s *Shards) EndWaits() {
	for _, p := range s.opened() {
		p.open.Load().Verify.EndWaits()
	}
}

// Close does what [System.Close] does, for all shards.
func (s *Shards) Close(ctx context.Context) error {
	s.stopOpen()
	s.opening.Wait()
	s.siblings.Close(ctx)
	closeCarriers(ctx, s.config.Carriers)
	var errs []error
	for _, p := range slices.Backward(s.opened()) {
		errs = append(errs, p.open.Load().closeStore())
	}
	return errors.Join(errs...)
}
