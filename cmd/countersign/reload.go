package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// A reloader loads something again when its files change, or on SIGHUP.
type reloader struct {
	what  string
	files []string
	load  func() error
}

// lookEvery is how often files that may change are looked at.
const lookEvery = time.Second

// run reloads until ctx ends. While files don't belong together, in the middle of a renewal say,
// what was loaded before goes on.
func (r reloader) run(ctx context.Context, log *slog.Logger) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for last := r.changed(); ; {
		forced := false
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			forced = true
		case <-ticker.C:
		}
		now := r.changed()
		if !forced && slices.Equal(now, last) {
			continue
		}
		last = now
		if err := r.load(); err != nil {
			log.Error("not reloaded, the old one goes on", "what", r.what, "err", err)
			continue
		}
		log.Info("reloaded", "what", r.what)
	}
}

// changed is when each file last changed.
func (r reloader) changed() []time.Time {
	all := make([]time.Time, len(r.files))
	for i, f := range r.files {
		if info, err := os.Stat(f); err == nil {
			all[i] = info.ModTime()
		}
	}
	return all
}
