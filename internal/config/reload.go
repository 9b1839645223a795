package config

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"time"
)

// A reloader loads something again when its files change, or on a hangup.
type reloader struct {
	what  string
	files []string
	load  func() error
	last  []time.Time // when each file had changed
}

// lookEvery is how often files that may change are looked at.
const lookEvery = time.Second

// Reload loads the keys and the certificate again when their files change or a hangup comes, until ctx
// ends. While files don't belong together, in the middle of a renewal say, what was loaded before goes on.
func (c *Loaded) Reload(ctx context.Context, log *slog.Logger, hangup <-chan os.Signal) {
	all := c.reloads
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		forced := false
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			forced = true
			log.Info("hangup", "reloads", len(all))
		case <-ticker.C:
		}
		for i := range all {
			all[i].look(log, forced)
		}
	}
}

// look loads again if a file has changed, or anyway.
func (r *reloader) look(log *slog.Logger, anyway bool) {
	now := changes(r.files)
	if !anyway && slices.Equal(now, r.last) {
		return
	}
	r.last = now
	if err := r.load(); err != nil {
		log.Error("not reloaded, the old one goes on", "what", r.what, "err", err)
		return
	}
	log.Info("reloaded", "what", r.what)
}

// changes is when each file last changed. Ask before loading, or a change in between goes unseen.
func changes(files []string) []time.Time {
	all := make([]time.Time, len(files))
	for i, f := range files {
		if info, err := os.Stat(f); err == nil {
			all[i] = info.ModTime()
		}
	}
	return all
}
