package pgtest

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A Wire is a connection between a program and its server. Tests can slow it
// down, tear it and cut it.
type Wire struct {
	t        testing.TB
	listener net.Listener
	network  string // "unix" or "tcp"
	address  string // the server's

	mu      sync.Mutex // guards the fields below
	cut     bool
	latency time.Duration
	conns   map[net.Conn]bool
}

// NewWire returns a wire to a cluster, which listens in the cluster's place.
func NewWire(t testing.TB, c *Cluster) *Wire {
	t.Helper()
	return WireTo(t, c.URL("postgres"))
}

// WireTo does the same for the server of any database.
func WireTo(t testing.TB, databaseURL string) *Wire {
	t.Helper()
	server, err := pgconn.ParseConfig(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(server.Host, server.Port)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{t: t, listener: l, network: network, address: address, conns: map[net.Conn]bool{}}
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

// Delay makes each round trip take d longer from now on. What the server says comes so much later: a delay in each
// direction would be two waits, and a wait for less than a millisecond takes more than one.
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
	server, err := net.Dial(w.network, w.address)
	if err != nil {
		return
	}
	defer w.keep(server)()
	done := make(chan struct{}, 2)
	go func() {
		w.copy(server, client, func() time.Duration { return 0 })
		done <- struct{}{}
	}()
	go func() {
		w.copy(client, server, w.delay)
		done <- struct{}{}
	}()
	<-done
}

func (w *Wire) delay() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latency
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

// A packet is on its way.
type packet struct {
	data []byte
	due  time.Time
}

// copy passes data on, each after a delay. As in a network, much can be on its way: nothing waits for what went before.
func (w *Wire) copy(to, from net.Conn, delay func() time.Duration) {
	way := make(chan packet, 1024)
	go func() {
		defer close(way)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if n > 0 {
				way <- packet{buf[:n], time.Now().Add(delay())}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.due))
		w.pass()
		if _, err := to.Write(p.data); err != nil {
			from.Close()
		}
	}
	w.pass()
}

// pass waits as long as the wire is cut.
func (w *Wire) pass() {
	for {
		w.mu.Lock()
		cut := w.cut
		w.mu.Unlock()
		if !cut {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
