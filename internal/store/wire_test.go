package store_test

import (
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// A wire stands between a store and its server. While it is cut, nothing passes and nobody is told,
// as when a cable is pulled.
type wire struct {
	listener net.Listener
	cut      atomic.Bool
}

// newWire listens in place of a server's socket.
func newWire(t *testing.T, socket string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go w.join(client, socket)
		}
	}()
	return w
}

// url is a server's URL by way of the wire.
func (w *wire) url(of string) string {
	u, err := url.Parse(of)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	q.Del("host")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = w.listener.Addr().String(), q.Encode()
	return u.String()
}

func (w *wire) join(client net.Conn, socket string) {
	defer client.Close()
	w.wait()
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			w.copy(way[1], way[0])
			done <- struct{}{}
		}()
	}
	<-done
}

func (w *wire) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.wait()
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

func (w *wire) wait() {
	for w.cut.Load() {
		time.Sleep(time.Millisecond)
	}
}
