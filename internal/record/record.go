// Package record keeps what is learned about a request while it is answered. The log then says it in one
// line, and each other line about the request has its id.
package record

import (
	"context"
	"log/slog"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// An ID is a key's, an application's or a verification's; zero is unknown.
type ID [16]byte

// A Record is what is known of a request. Whoever learns something fills it in, in the goroutine that
// answers the request. It holds no secrets, no codes and no numbers.
type Record struct {
	RequestID string
	Address   string // of the client, without a port; behind a trusted proxy as that says

	Project      string
	Key          ID // by which it was authenticated
	Application  ID
	Verification ID
	Code         string // of the error that was answered; "": none
	Hint         string // at what the client seems to have got wrong; "": none
}

// recorded is a context with a record. One value holds both, since every request has one.
type recorded struct {
	context.Context
	record Record
}

type key struct{}

// New begins a record.
func New(ctx context.Context, requestID, address string) (context.Context, *Record) {
	r := &recorded{ctx, Record{RequestID: requestID, Address: address}}
	return r, &r.record
}

func (r *recorded) Value(k any) any {
	if k == (key{}) {
		return &r.record
	}
	return r.Context.Value(k)
}

// Of returns the record of a request, or one that nobody reads.
func Of(ctx context.Context) *Record {
	if r, ok := find(ctx); ok {
		return r
	}
	return &Record{}
}

func find(ctx context.Context) (*Record, bool) {
	r, ok := ctx.Value(key{}).(*Record)
	return r, ok
}

// RequestID returns the id of a context's request; "" where there is none.
func RequestID(ctx context.Context) string {
	if r, ok := find(ctx); ok {
		return r.RequestID
	}
	return ""
}

// Trace adds the ids of the request and of its verification to the request's span, if it is traced: by the latter
// the spans of the message's attempts are found.
func (r *Record) Trace(ctx context.Context) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("countersign.request", r.RequestID))
	if r.Verification != (ID{}) {
		span.SetAttributes(attribute.String("countersign.verification", uuid.UUID(r.Verification).String()))
	}
}

// Append adds what is known to the attributes of a log line. One string holds all the ids: every request has
// such a line.
func (r *Record) Append(line []slog.Attr) []slog.Attr {
	const length = 36 // of an id
	var text [3 * length]byte
	n := 0
	for _, id := range [...]ID{r.Key, r.Application, r.Verification} {
		if id != (ID{}) {
			written, _ := uuid.UUID(id).MarshalText() // never fails
			n += copy(text[n:], written)
		}
	}
	ids := string(text[:n])
	addText := func(name, value string) {
		if value != "" {
			line = append(line, slog.String(name, value))
		}
	}
	addID := func(name string, id ID) {
		if id != (ID{}) {
			line, ids = append(line, slog.String(name, ids[:length])), ids[length:]
		}
	}
	addText("address", r.Address)
	addText("project", r.Project)
	addID("key", r.Key)
	addID("application", r.Application)
	addID("verification", r.Verification)
	addText("code", r.Code)
	addText("hint", r.Hint)
	addText("request_id", r.RequestID)
	return line
}
