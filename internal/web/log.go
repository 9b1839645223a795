package web

import (
	"context"
	"log/slog"

	"github.com/countersign/countersign/internal/record"
)

// Log gives each line about a request, which has the request's context, the request's id.
func Log(h slog.Handler) slog.Handler { return identified{h} }

type identified struct{ slog.Handler }

func (h identified) Handle(ctx context.Context, line slog.Record) error {
	if id := record.RequestID(ctx); id != "" {
		line.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, line)
}

func (h identified) WithAttrs(all []slog.Attr) slog.Handler {
	return identified{h.Handler.WithAttrs(all)}
}
func (h identified) WithGroup(name string) slog.Handler { return identified{h.Handler.WithGroup(name)} }
