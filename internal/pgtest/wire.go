package pgtest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// A Wire is a connection between a program and its server. Tests can slow it
// down, tear it and cut it.
type Wire struct {
	t        testing.TB
	listener net.Listener
	socket   string // the server's

	mu      sync.Mutex // guards the fields below
	cut     bool
	latency time.Duration
	conns   map[net.Conn]bool
}

// NewWire returns a wire to a cluster, which listens in the cluster's place.
func NewWire(t testing.TB, c *Cluster) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{t: t, listener: l, socket: c.socket(), conns: map[net.Conn]bool{}}
	t.Cleanup(func() {
		l.Close()
		w.Tear()
		w.Cut(false)
	})
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go w.join(client)
		}
	}()
	return w
}

// URL returns a database's URL over the wire.
func (w *Wire) URL(direct string) string {
	w.t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		w.t.Fatal(err)
	}
	q := u.Query()
	q.Del("host")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = w.listener.Addr().String(), q.Encode()
	return u.String()
}

func (w *Wire) host() string { return w.listener.Addr().(*net.TCPAddr).IP.String() }

func (w *Wire) port() int { return w.listener.Addr().(*net.TCPAddr).Port }

// Cut makes the wire silently pass nothing, like a pulled cable, or pass data again.
func (w *Wire) Cut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

// Delay delays all data by d from now on, in each direction.
func (w *Wire) Delay(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latency = d
}

// Tear resets all connections. New ones can be made.
func (w *Wire) Tear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0) // send a reset, not an orderly end
		}
		c.Close()
	}
}

func (w *Wire) join(client net.Conn) {
	defer w.keep(client)()
	w.pass()
	server, err := net.Dial("unix", w.socket)
	if err != nil {
		return
	}
	defer w.keep(server)()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			w.copy(way[1], way[0])
			done <- struct{}{}
		}()
	}
	<-done
}

// keep registers a connection. The function that it returns closes it.
func (w *Wire) keep(c net.Conn) (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, c)
		c.Close()
	}
}

func (w *Wire) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.pass()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits as long as the wire is cut, and then for its delay.
func (w *Wire) pass() {
	for {
		w.mu.Lock()
		cut, latency := w.cut, w.latency
		w.mu.Unlock()
		if !cut {
			time.Sleep(latency)
			return
		}
		time.Sleep(time.Millisecond)
	}
}
