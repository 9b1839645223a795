package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/record"
)

// observed is what an Observer was told, in order.
type observed []struct {
	Face, Route string
	Status      int
}

func (o *observed) Answered(face, route string, status int, _ time.Duration) {
	*o = append(*o, struct {
		Face, Route string
		Status      int
	}{face, route, status})
}

// ask answers one request with a handler at every path, and returns what it logged as well.
func ask(h http.HandlerFunc, r *http.Request) (*http.Response, string) {
	var log bytes.Buffer
	w := httptest.NewRecorder()
	Handler(slog.New(Log(slog.NewTextHandler(&log, nil))), new(observed), Mount{Name: "all", Prefix: "/", Handler: h}).ServeHTTP(w, r)
	return w.Result(), log.String()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryAnswerHasAnIDOfOurOwnThatIsLogged(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 3 {
		r := httptest.NewRequest("POST", "/a/secret?secret=in+the+query", nil)
		r.Header.Set("X-Request-Id", "forged\nlevel=ERROR")
		resp, log := ask(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, r)
		id := resp.Header.Get("X-Request-Id")
		if _, err := uuid.Parse(id); err != nil || seen[id] {
			t.Errorf("got request id %q, want a new UUID", id)
		}
		seen[id] = true
		for _, want := range []string{"request_id=" + id, "method=POST", "route=none", "status=418", "took_ms="} {
			if !strings.Contains(log, want) {
				t.Errorf("the log line has no %s: %s", want, log)
			}
		}
		if strings.Count(log, "\n") != 1 || strings.Contains(log, "secret") || strings.Contains(log, "forged") {
			t.Errorf("got the log %q, want one line without the path, the query and the caller's id", log)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("got %s %q, want %q", name, got, want)
			}
		}
	}
}

// What is known of a request is said under the same names whoever learnt it. A path is not logged, and an id in it may
// be anything's: only the service knows that it is a verification's.
func TestTheLineOfARequestSaysWhatIsKnownOfIt(t *testing.T) {
	t.Parallel()
	const inPath, made = "01a20001-6a64-717b-aab1-8ad86b1658e8", "01a20002-0000-7000-8000-000000000001"
	mux := http.NewServeMux()
	mux.HandleFunc("POST /things/{id}", func(w http.ResponseWriter, r *http.Request) {
		about := record.Of(r.Context())
		about.Project, about.Code = "shop", "expired"
		w.WriteHeader(http.StatusNotFound)
	})
	mux.HandleFunc("POST /new", func(w http.ResponseWriter, r *http.Request) {
		about := record.Of(r.Context())
		about.Project, about.Key, about.Application, about.Verification = "shop", record.ID{1}, record.ID{2}, record.ID(uuid.MustParse(made))
	})
	for path, want := range map[string]string{
		"/things/" + inPath:  "address=192.0.2.1 project=shop code=expired request_id=",
		"/things/2025550100": "address=192.0.2.1 project=shop code=expired request_id=",
		"/new":               "address=192.0.2.1 project=shop key=01000000-0000-0000-0000-000000000000 application=02000000-0000-0000-0000-000000000000 verification=" + made + " request_id=",
	} {
		if _, line := ask(mux.ServeHTTP, httptest.NewRequest("POST", path, nil)); !strings.Contains(line, want) || strings.Contains(line, " id=") || strings.Contains(line, inPath) {
			t.Errorf("%s: got the line %s, want %s", path, line, want)
		}
	}
}

func TestTheLoggedStatusIsTheOneSent(t *testing.T) {
	t.Parallel()
	for want, h := range map[string]http.HandlerFunc{
		"status=200": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") },
		"status=201": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.WriteHeader(500) },
		"status=404": http.NotFound,
	} {
		if _, log := ask(h, httptest.NewRequest("GET", "/", nil)); !strings.Contains(log, want) {
			t.Errorf("got the log %s, want %s", log, want)
		}
	}
}

func TestAPanicIs500AndLoggedWhole(t *testing.T) {
	t.Parallel()
	resp, log := ask(func(http.ResponseWriter, *http.Request) { panic("the roof is on fire") }, httptest.NewRequest("GET", "/", nil))
	if got, want := body(t, resp), `{"error":"Internal Server Error"}`; resp.StatusCode != 500 || got != want {
		t.Errorf("got  %d %s\nwant 500 %s", resp.StatusCode, got, want)
	}
	for _, want := range []string{"the roof is on fire", "web_test.go", "request_id=" + resp.Header.Get("X-Request-Id"), "status=500"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q: %s", want, log)
		}
	}

	// A mount may have words of its own.
	w := httptest.NewRecorder()
	Handler(slog.New(slog.DiscardHandler), new(observed), Mount{Prefix: "/", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("again") }), Refuse: func(w http.ResponseWriter, status int) {
		http.Error(w, "our own", status)
	}}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if got := w.Body.String(); w.Code != 500 || got != "our own\n" {
		t.Errorf("a mount with its own words: got %d %s", w.Code, got)
	}

	// What was sent before the panic stays as it is.
	resp, log = ask(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "half"); panic("late") }, httptest.NewRequest("GET", "/", nil))
	if got := body(t, resp); resp.StatusCode != 200 || got != "half" || !strings.Contains(log, "late") {
		t.Errorf("got %d %q, log %s, want 200 \"half\" and the panic in the log", resp.StatusCode, got, log)
	}
}

func TestAnAbortedRequestStaysAborted(t *testing.T) {
	t.Parallel()
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("got panic %v, want http.ErrAbortHandler for the server", p)
		}
	}()
	ask(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, httptest.NewRequest("GET", "/", nil))
}

func TestTheWriterStillCanWhatTheServersCan(t *testing.T) {
	t.Parallel()
	ask(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
	}, httptest.NewRequest("GET", "/", nil))
}

func TestMountsRouteByPrefixAndNeverRedirect(t *testing.T) {
	t.Parallel()
	named := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, name+" "+r.URL.Path)
		})
	}
	var seen observed
	h := Handler(slog.New(slog.DiscardHandler), &seen,
		Mount{Name: "first", Prefix: "/api/one/", Handler: named("one")}, Mount{Name: "second", Prefix: "/api/", Handler: named("api")}, Mount{Name: "page", Prefix: "/page", Handler: named("page")})
	type result struct {
		Status     int
		Body, Face string
	}
	none := result{404, `{"error":"Not Found"}`, "none"}
	for path, want := range map[string]result{
		"/api/one/x":     {200, "one /api/one/x", "first"},
		"/api/one//x/..": {200, "one /api/one//x/..", "first"},
		"/api/two":       {200, "api /api/two", "second"},
		"/page":          {200, "page /page", "page"},
		"/page/of/it":    {200, "page /page/of/it", "page"},
		"/api":           none,
		"//api/one/x":    none,
		"/":              none,
	} {
		seen = nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "http://example.com"+path, nil))
		if diff := cmp.Diff(want, result{w.Code, w.Body.String(), seen[0].Face}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if w.Header().Get("X-Request-Id") == "" {
			t.Errorf("%s: the answer has no request id", path)
		}
	}
}

func TestWhoObservesIsToldThePatternAndNeverThePath(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /things/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.HandleFunc("GET /panics/{id}", func(http.ResponseWriter, *http.Request) { panic("x") })
	var seen observed
	h := Handler(slog.New(slog.DiscardHandler), &seen, Mount{Name: "face", Prefix: "/", Handler: mux})
	for _, path := range []string{"/things/1", "/panics/1", "/other/1"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	want := observed{{"face", "GET /things/{id}", 418}, {"face", "GET /panics/{id}", 500}, {"face", "", 404}}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoopbackIsThisMachineOnly(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:80": true, "127.8.9.10:0": true, "[::1]:80": true, "::1": true, "[::1]": true,
		"localhost": true, "localhost:8080": true, "::ffff:127.0.0.1": true,
		"": false, ":8080": false, "0.0.0.0:80": false, "[::]:80": false, "::": false, "192.0.2.1": false, "10.0.0.1:80": false,
		"example.com": false, "localhost.example.com": false, "127.0.0.1.example.com:80": false, "127.1": false, "0x7f000001": false,
	} {
		if got := Loopback(host); got != want {
			t.Errorf("Loopback(%q) is %v, want %v", host, got, want)
		}
	}
}

func TestAServerWaitsForNobodyForEver(t *testing.T) {
	t.Parallel()
	s := NewServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	for name, d := range map[string]time.Duration{
		"ReadHeaderTimeout": s.ReadHeaderTimeout, "ReadTimeout": s.ReadTimeout, "WriteTimeout": s.WriteTimeout, "IdleTimeout": s.IdleTimeout,
	} {
		if d <= 0 || d > 2*time.Minute {
			t.Errorf("%s is %v, want a bound of at most 2 minutes", name, d)
		}
	}
	if s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes > 64<<10 {
		t.Errorf("MaxHeaderBytes is %d, want at most 64 KiB", s.MaxHeaderBytes)
	}
}

// full is a listener of a process that has no more files, once.
type full struct {
	net.Listener
	failed bool
}

func (f *full) Accept() (net.Conn, error) {
	if f.failed {
		return nil, net.ErrClosed
	}
	f.failed = true
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
}

func TestThatNobodyGetsInIsLoggedAndSingleClientsAreNot(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	server := NewServer(http.NotFoundHandler(), slog.New(slog.NewJSONHandler(&logged, nil)))
	server.ErrorLog.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
	if logged.Len() > 0 {
		t.Errorf("logged of a client: %s", &logged)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(&full{Listener: l}); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("serve: %v", err)
	}
	if got := logged.String(); !strings.Contains(got, `"level":"WARN","msg":"http: Accept error: accept tcp: too many open files; retrying in`) {
		t.Errorf("got the log %q, want that files ran out", got)
	}
}

func TestAnAnswerMayCountAsAnother(t *testing.T) {
	t.Parallel()
	var got observed
	w := httptest.NewRecorder()
	Handler(slog.New(slog.DiscardHandler), &got, Mount{Name: "all", Prefix: "/", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		CountAs(struct{ http.ResponseWriter }{w}, http.StatusTeapot) // isn't one of ours: nothing
		CountAs(w, http.StatusUnauthorized)
		w.WriteHeader(http.StatusInternalServerError)
	})}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if len(got) != 1 || got[0].Status != 401 || w.Code != 500 {
		t.Errorf("counted %v of the answer %d, want 401 of 500", got, w.Code)
	}
}

func TestByLoopbackOnlyItsNamesAreAnswered(t *testing.T) {
	t.Parallel()
	h := LocalNames(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, test := range []struct {
		at, host string
		want     int
	}{
		{"127.0.0.1:8081", "127.0.0.1:8081", 200}, {"127.0.0.1:8081", "localhost:8081", 200}, {"[::1]:8081", "[::1]:8081", 200}, {"127.0.0.1:8081", "127.0.0.2", 200},
		{"127.0.0.1:8081", "", 200}, // no browser
		{"127.0.0.1:8081", "rebound.example:8081", 403}, {"127.0.0.1:8081", "localhost.example", 403}, {"[::1]:8081", "rebound.example", 403}, {"127.0.0.1:8081", "192.0.2.1", 403},
		{"192.0.2.1:8081", "ops.internal:8081", 200}, // what its network calls it
	} {
		at, err := net.ResolveTCPAddr("tcp", test.at)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/debug/pprof/", nil)
		r.Host = test.host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(at))))
		if w.Code != test.want {
			t.Errorf("at %s, Host %q: got %d, want %d", test.at, test.host, w.Code, test.want)
		}
	}
}
