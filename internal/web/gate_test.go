package web

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func refuse(w http.ResponseWriter, _ *http.Request, status int) { Refuse(w, status) }

// serve serves a handler behind a gate, and returns where.
func serve(t *testing.T, g *Gate, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(g.Handler(h, refuse), slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { s.Serve(g.Listen(l)); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

// dial connects from an address of this machine.
func dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

// get asks on a connection, and returns the status, or "closed".
func get(c net.Conn, headers ...string) string {
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", strings.Join(append(headers, ""), "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "closed"
	}
	body, _ := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}

func TestAListenersConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	g := NewGate("public", Limits{Total: 4, PerAddress: 2}, slog.New(Log(slog.NewTextHandler(&log, nil))))
	to := serve(t, g, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	var open []net.Conn
	for _, step := range []struct{ from, want string }{
		{"127.0.0.1", "200 hello"}, {"127.0.0.1", "200 hello"}, {"127.0.0.1", "closed"}, // its own bound
		{"127.0.0.2", "200 hello"}, {"127.0.0.3", "200 hello"}, {"127.0.0.4", "closed"}, // everybody's
	} {
		c := dial(t, step.from, to)
		if got := get(c); got != step.want {
			t.Fatalf("from %s beside %d: got %s, want %s", step.from, len(open), got, step.want)
		}
		if step.want != "closed" {
			open = append(open, c)
		}
	}
	if n, full, crowded := g.Stats(); n != 4 || full != 1 || crowded != 1 {
		t.Errorf("got %d open, %d and %d refused, want 4, 1 and 1", n, full, crowded)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("the log says it %d times, want once a minute: %s", lines, log.String())
	}
	open[0].Close()
	for range 2000 { // until the server has noticed
		if n, _, _ := g.Stats(); n == 3 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := get(dial(t, "127.0.0.1", to)); got != "200 hello" {
		t.Errorf("after one has closed: got %s", got)
	}
}

// Behind a trusted proxy the client is the last address that the proxy itself has written down.
func TestWhoseRequestATrustedProxyBrings(t *testing.T) {
	t.Parallel()
	limits := Limits{PerAddress: 1, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/31"), netip.MustParsePrefix("198.51.100.0/24")}, Header: "X-Forwarded-For"}
	g := NewGate("public", limits, slog.New(slog.DiscardHandler))
	to := serve(t, g, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, address(r.RemoteAddr).String()) }))
	for header, want := range map[string]string{
		"203.0.113.7":                         "203.0.113.7",
		"192.0.2.1, 203.0.113.7":              "203.0.113.7", // what stands before it is the client's own word
		"203.0.113.7, 198.51.100.4":           "203.0.113.7",
		"2001:db8::1":                         "2001:db8::1",
		"[2001:db8::1]:4711":                  "2001:db8::1",
		"203.0.113.7:4711":                    "203.0.113.7",
		"203.0.113.7\r\nX-Forwarded-For: ::1": "::1",
		"":                                    "127.0.0.1",
		"unknown":                             "127.0.0.1",
		"203.0.113.7, unknown":                "127.0.0.1",
		"198.51.100.4":                        "127.0.0.1",
	} {
		if got := get(dial(t, "127.0.0.1", to), "X-Forwarded-For: "+header); got != "200 "+want {
			t.Errorf("%q: got %s, want 200 %s", header, got, want)
		}
	}
	if got := get(dial(t, "127.0.0.2", to), "X-Forwarded-For: 203.0.113.7"); got != "200 127.0.0.2" {
		t.Errorf("a client that is no proxy says who it is: got %s", got)
	}
}

func TestRequestsOfATrustedProxyAreBoundedByClient(t *testing.T) {
	t.Parallel()
	limits := Limits{PerAddress: 2, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, Header: "X-Forwarded-For"}
	g := NewGate("public", limits, slog.New(slog.DiscardHandler))
	begun, release := make(chan struct{}), make(chan struct{})
	h := g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-release
		}
	}), refuse)
	ask := func(path, client string) int {
		r := httptest.NewRequest("GET", path, nil)
		r.RemoteAddr = "192.0.2.1:1"
		r.Header.Set("X-Forwarded-For", client)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	done := make(chan int)
	for _, client := range []string{"2001:db8::1", "2001:db8::2"} { // one network: one client
		go func() { done <- ask("/slow", client) }()
		<-begun
	}
	got := map[string]int{"its own network": ask("/", "2001:db8::3"), "another": ask("/", "2001:db8:0:1::1"), "the proxy itself": ask("/", "")}
	close(release)
	<-done
	<-done
	got["afterwards"] = ask("/", "2001:db8::3")
	if diff := cmp.Diff(map[string]int{"its own network": 429, "another": 200, "the proxy itself": 200, "afterwards": 200}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(g.clients); n != 0 {
		t.Errorf("%d clients are still counted", n)
	}
}

// A client that announces a body, and is refused before it was read, is answered and let go at once.
func TestARefusedRequestsBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	var status int
	h := Handler(slog.New(slog.DiscardHandler), new(observed), Mount{Name: "all", Prefix: "/", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
	})})
	g := NewGate("public", Limits{}, slog.New(slog.DiscardHandler))
	to := serve(t, g, h)
	for _, tt := range []struct {
		status int
		length string
	}{{401, "Content-Length: 10"}, {403, "Content-Length: 65000"}, {404, "Content-Length: 65000"}, {429, "Transfer-Encoding: chunked"}} {
		status = tt.status
		c := dial(t, "127.0.0.1", to)
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\nab", tt.length)
		began := time.Now()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != tt.status || !resp.Close {
			t.Fatalf("%d with %s: got %v, %v, want it, and the connection closed", tt.status, tt.length, resp, err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Second { // the body's own time is 15 s
			t.Errorf("%d with %s: the connection ended after %v", tt.status, tt.length, took)
		}
	}
}
