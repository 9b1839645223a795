package outage_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/outage"
)

type kit struct {
	*outage.Log
	now time.Time
	out bytes.Buffer
}

func newKit() *kit {
	k := &kit{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	k.Log = outage.New(slog.New(slog.NewTextHandler(&k.out, &slog.HandlerOptions{ReplaceAttr: plain})), func() time.Time { return k.now })
	return k
}

// pass lets time pass in steps, with a failure or not at each.
func (k *kit) pass(d, step time.Duration, fails bool) {
	for end := k.now.Add(d); k.now.Before(end); k.now = k.now.Add(step) {
		if fails {
			k.Failed("db", slog.LevelError, "it is away")
		} else {
			k.Works("db", "it is back")
		}
	}
}

func (k *kit) want(t *testing.T, lines ...string) {
	t.Helper()
	if got, want := strings.TrimSpace(k.out.String()), strings.Join(lines, "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	k.out.Reset()
}

func TestAnOutageIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	k := newKit()
	k.pass(150*time.Second, 250*time.Millisecond, true)
	k.want(t, `level=ERROR msg="it is away"`,
		`level=ERROR msg="it is away" since=2026-01-02T03:04:05.000Z more=239`,
		`level=ERROR msg="it is away" since=2026-01-02T03:04:05.000Z more=239`)
	k.pass(time.Minute, time.Second, false)
	k.want(t, `level=INFO msg="it is back" away_since=2026-01-02T03:04:05.000Z`)
}

func TestAnOutageThatFollowsSoonIsLoggedAgain(t *testing.T) {
	t.Parallel()
	k := newKit()
	k.pass(time.Second, time.Second, true)
	k.pass(10*time.Second, time.Second, false)
	k.pass(time.Second, time.Second, true)
	k.want(t, `level=ERROR msg="it is away"`, `level=INFO msg="it is back" away_since=2026-01-02T03:04:05.000Z`, `level=ERROR msg="it is away"`)
}

// What works and fails in turns isn't logged at each turn.
func TestTurnsAreNotLogged(t *testing.T) {
	t.Parallel()
	k := newKit()
	for range 25 {
		k.pass(time.Second, time.Second, true)
		k.pass(time.Second, time.Second, false)
	}
	k.want(t, `level=ERROR msg="it is away"`)
}

func TestThingsAreLoggedApart(t *testing.T) {
	t.Parallel()
	k := newKit()
	for range 3 {
		k.Failed("a", slog.LevelWarn, "a is away", "err", "x")
		k.Failed("b", slog.LevelWarn, "b is away")
	}
	k.Works("c", "c is back")
	k.want(t, `level=WARN msg="a is away" err=x`, `level=WARN msg="b is away"`)
}

// Failures far apart are no outage: nobody needs to say that they are over.
func TestSingleFailuresAreLoggedEach(t *testing.T) {
	t.Parallel()
	k := newKit()
	k.pass(3*time.Hour, time.Hour, true)
	k.want(t, strings.Split(strings.Repeat("level=ERROR msg=\"it is away\"\n", 2)+`level=ERROR msg="it is away"`, "\n")...)
}

// The line that a request is the first to need has that request's context, and so its id.
func TestARequestsContextReachesTheLog(t *testing.T) {
	t.Parallel()
	type key struct{}
	var seen []any
	l := outage.New(slog.New(handler(func(ctx context.Context, _ slog.Record) { seen = append(seen, ctx.Value(key{})) })), nil)
	l.FailedContext(context.WithValue(t.Context(), key{}, "a"), "x", slog.LevelWarn, "x failed")
	l.DatabaseFailedContext(context.WithValue(t.Context(), key{}, "b"), "start", errors.New("no route"))
	if want := []any{"a", "b"}; !slices.Equal(seen, want) {
		t.Errorf("the lines had the contexts of %v, want of %v", seen, want)
	}
}

// A handler is told each line.
type handler func(context.Context, slog.Record)

func (h handler) Enabled(context.Context, slog.Level) bool { return true }
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	h(ctx, r)
	return nil
}
func (h handler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h handler) WithGroup(string) slog.Handler      { return h }
