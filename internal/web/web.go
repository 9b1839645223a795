// Package web is what every listener of ours does for each request, whatever face answers it.
package web

import (
	"bytes"
	"cmp"
	"context"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/record"
)

// A Mount answers the paths that begin with Prefix. Its name is for metrics.
type Mount struct {
	Name, Prefix string
	Handler      http.Handler
	// Refuse writes what the mount answers where its handler panicked; nil is [Refuse].
	Refuse func(w http.ResponseWriter, status int)
}

// An Observer counts requests. A route is a pattern, "" where none took the request.
type Observer interface {
	Answered(face, route string, status int, took time.Duration)
}

// Handler routes by prefix, in order. Unlike [http.ServeMux] it never redirects: a client of an API
// that wrote two slashes gets that API's own "not found". It gives each request an id, forbids
// caches and sniffing, writes the one log line, and answers 500 where a handler panics. A request
// id is always our own: a client's could forge log lines.
func Handler(log *slog.Logger, o Observer, mounts ...Mount) http.Handler {
	none := Mount{Name: "none", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { Refuse(w, http.StatusNotFound) })}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mount := none
		if i := slices.IndexFunc(mounts, func(m Mount) bool { return strings.HasPrefix(r.URL.Path, m.Prefix) }); i >= 0 {
			mount = mounts[i]
		}
		began, id := time.Now(), uuid.NewString()
		h := w.Header()
		h["X-Request-Id"], h["Cache-Control"], h["X-Content-Type-Options"] = []string{id}, noStore, noSniff
		sw := &statusWriter{ResponseWriter: w, body: r.ContentLength}
		ctx, about := record.New(r.Context(), id, host(r.RemoteAddr))
		r = r.WithContext(ctx)
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				log.ErrorContext(ctx, "panic", "panic", p, "stack", string(debug.Stack()))
				if sw.status == 0 {
					refuse := Refuse
					if mount.Refuse != nil {
						refuse = mount.Refuse
					}
					refuse(sw, http.StatusInternalServerError)
				}
			}
			took := time.Since(began)
			o.Answered(mount.Name, r.Pattern, cmp.Or(sw.counts, sw.status), took)
			about.Trace(ctx)
			if log.Enabled(ctx, slog.LevelInfo) {
				// Past the logger, which would look for the caller of each line. The attributes are added all at once,
				// so that the line grows once. They have the request's id, so the line needs no record.
				line := slog.NewRecord(began.Add(took), slog.LevelInfo, "request", 0)
				line.AddAttrs(about.Append(append(make([]slog.Attr, 0, 11), slog.String("method", r.Method), slog.String("route", cmp.Or(r.Pattern, "none")),
					slog.Int("status", sw.status), slog.Float64("took_ms", float64(took.Microseconds())/1000)))...)
				log.Handler().Handle(context.Background(), line)
			}
		}()
		mount.Handler.ServeHTTP(sw, r)
	})
}

// Headers that every answer has. Answers share them: nobody changes them in place.
var noStore, noSniff, closeIt = []string{"no-store"}, []string{"nosniff"}, []string{"close"}

// host is an address without its port. It isn't looked at any closer: net/http writes both.
func host(address string) string {
	if i := strings.LastIndexByte(address, ':'); i >= 0 {
		address = address[:i]
	}
	return strings.Trim(address, "[]")
}

// Refuse answers with a status in SignalWire's shape, which is for all paths that no other API has.
func Refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, `{"error":"`+http.StatusText(status)+`"}`)
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
	counts int   // for metrics, instead of the status; 0: that
	body   int64 // of the request, as announced; -1 is unknown
}

// small is how much of a body is worth reading for the sake of its connection.
const small = 4 << 10

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		if status >= http.StatusBadRequest && w.body != 0 {
			w.cut(status)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// linger is how long a body that nobody wants is read. Where it isn't read at all, the system resets the
// connection, and the client may never see the answer.
const linger = time.Second

// cut ends the connection of a request that is refused soon after: net/http would read its body before the
// answer leaves, for as long as its client likes to send it.
func (w *statusWriter) cut(status int) {
	if unknown := status == http.StatusUnauthorized || status == http.StatusForbidden; unknown || w.body < 0 || w.body > small {
		w.Header()["Connection"] = closeIt
		http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Now().Add(linger)) // fails where there is no connection
	}
}

// CountAs has the answer to a request counted under another status: where an API's contract calls the client's
// mistakes the server's, those who watch for ours must not be woken by them.
func CountAs(w http.ResponseWriter, status int) {
	for {
		switch v := w.(type) {
		case *statusWriter:
			v.counts = status
			return
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return
		}
	}
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap serves [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// NewServer returns a server with bounds on what a client may take of our time and memory.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      45 * time.Second, // a check may wait for 30
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		// What a client may send by HTTP/2 before anybody reads it, and how many headers it may keep open.
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 100, MaxReceiveBufferPerConnection: 128 << 10, MaxReceiveBufferPerStream: 64 << 10},
		ErrorLog: stdlog.New(grumbles{log}, "", 0),
	}
}

// grumbles take what net/http has to say. Most of it is about single clients, who can make it say as
// much as they like; that no client gets in at all is for operators.
type grumbles struct{ log *slog.Logger }

func (g grumbles) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.HasPrefix(line, []byte("http: Accept error")) {
		level = slog.LevelWarn
	}
	g.log.Log(context.Background(), level, strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

// Root leads from / to a page. Below it, everything else isn't there.
func Root(page string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			http.Redirect(w, r, page, http.StatusSeeOther)
			return
		}
		Refuse(w, http.StatusNotFound)
	})
}

// LocalNames answers a client that came by loopback only if it names this machine: a page of some site, whose
// name its DNS then points here, gets nothing. Browsers always send the name, so a client without one is none.
func LocalNames(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if at != nil && Loopback(at.String()) && r.Host != "" && !Loopback(r.Host) {
			http.Error(w, "by loopback, this listener answers to localhost and loopback addresses only", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Loopback reports whether a host, or a host and port, names this machine only.
func Loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
