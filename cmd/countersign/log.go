package main

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/countersign/countersign/internal/web"
)

// newLogger makes the log that the configuration asks for. Call stop when the last line was written.
func newLogger(w io.Writer, lowest, format string) (log *slog.Logger, stop func()) {
	var level slog.Level
	level.UnmarshalText([]byte(lowest)) // was checked
	o := &slog.HandlerOptions{Level: level}
	lines := newLineWriter(w)
	if format == "text" {
		return slog.New(web.Log(slog.NewTextHandler(lines, o))), lines.stop
	}
	return slog.New(web.Log(worded{slog.NewJSONHandler(lines, o)})), lines.stop
}

// worded has JSON say what it would write as bare numbers: the words of our types, and durations in seconds. It does
// without ReplaceAttr, which would cost the lines of all requests twice as much, and few lines have such values.
type worded struct{ slog.Handler }

func (h worded) Handle(ctx context.Context, line slog.Record) error {
	wordless := false
	line.Attrs(func(a slog.Attr) bool {
		wordless = needsWords(a.Value)
		return !wordless
	})
	if wordless {
		said := slog.NewRecord(line.Time, line.Level, line.Message, line.PC)
		line.Attrs(func(a slog.Attr) bool {
			said.AddAttrs(inWords(a))
			return true
		})
		line = said
	}
	return h.Handler.Handle(ctx, line)
}

func (h worded) WithAttrs(all []slog.Attr) slog.Handler {
	return worded{h.Handler.WithAttrs(allInWords(all))}
}
func (h worded) WithGroup(name string) slog.Handler { return worded{h.Handler.WithGroup(name)} }

func needsWords(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindDuration, slog.KindAny, slog.KindLogValuer, slog.KindGroup:
		return true
	}
	return false
}

func inWords(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindDuration:
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	case slog.KindGroup:
		a.Value = slog.GroupValue(allInWords(a.Value.Group())...)
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error, json.Marshaler, encoding.TextMarshaler: // JSON knows them
		case fmt.Stringer:
			a.Value = slog.StringValue(v.String())
		}
	}
	return a
}

func allInWords(all []slog.Attr) []slog.Attr {
	said := make([]slog.Attr, len(all))
	for i, a := range all {
		said[i] = inWords(a)
	}
	return said
}

// maxUnwritten is how much of the log may wait to be written, in bytes. Who logs more waits.
const maxUnwritten = 1 << 20

// A lineWriter writes log lines in groups, as the database commits: what arrived while the last
// write was under way is the next one. So nobody waits for a log's reader, and a busy server writes
// seldom. A crash loses the lines of the last moment.
type lineWriter struct {
	to      io.Writer
	stopped chan struct{}

	mu      sync.Mutex // guards the others
	changed sync.Cond
	lines   []byte
	closed  bool
}

func newLineWriter(to io.Writer) *lineWriter {
	w := &lineWriter{to: to, stopped: make(chan struct{})}
	w.changed.L = &w.mu
	go w.run()
	return w
}

// Write implements [io.Writer]. It never fails: there is nobody to tell.
func (w *lineWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.lines) >= maxUnwritten && !w.closed {
		w.changed.Wait()
	}
	if w.closed {
		return w.to.Write(line)
	}
	if len(w.lines) == 0 {
		w.changed.Broadcast()
	}
	w.lines = append(w.lines, line...)
	return len(line), nil
}

func (w *lineWriter) run() {
	defer close(w.stopped)
	var group []byte
	for {
		w.mu.Lock()
		for len(w.lines) == 0 && !w.closed {
			w.changed.Wait()
		}
		group, w.lines = w.lines, group[:0]
		closed := w.closed
		w.changed.Broadcast()
		w.mu.Unlock()
		if len(group) > 0 {
			w.to.Write(group)
		} else if closed {
			return
		}
	}
}

// stop writes what is left. Lines that come later are written at once.
func (w *lineWriter) stop() {
	w.mu.Lock()
	w.closed = true
	w.changed.Broadcast()
	w.mu.Unlock()
	<-w.stopped
}
