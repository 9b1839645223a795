package web

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Anybody can send a body that pretends to be signed. These constants bound how many such bodies are read concurrently,
// how many of them from one client, and how long each may take.
const (
	MaxUnproven, MaxUnprovenOfOne = 128, 32
	unprovenTimeout               = 5 * time.Second
)

// Unproven bounds how many bodies are read concurrently of clients who have shown no key yet. The zero Unproven is ready.
type Unproven struct {
	mu      sync.Mutex // guards the next
	clients map[netip.Addr]int
	reading int
}

// Errors of bodies that aren't read.
var (
	ErrManyUnproven = errors.New("too many bodies at once")
	ErrBadBody      = errors.New("the body is too large, or ended early")
)

// Read reads a request's body of at most so many bytes.
func (u *Unproven) Read(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	client := network(address(host))
	if !u.enter(client) {
		return nil, ErrManyUnproven
	}
	defer u.leave(client)
	return ReadSoon(w, r, most)
}

// ReadSoon reads a body within a few seconds.
func ReadSoon(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(unprovenTimeout)) // fails without a connection, as in tests
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		return nil, ErrBadBody
	}
	control.SetReadDeadline(time.Time{})
	return body, nil
}

func (u *Unproven) enter(client netip.Addr) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.reading >= MaxUnproven || u.clients[client] >= MaxUnprovenOfOne {
		return false
	}
	if u.clients == nil {
		u.clients = map[netip.Addr]int{}
	}
	u.reading++
	u.clients[client]++
	return true
}

func (u *Unproven) leave(client netip.Addr) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reading--
	if u.clients[client]--; u.clients[client] == 0 {
		delete(u.clients, client)
	}
}

// Handler reads the bodies of requests before h does. refuse answers the others, with a status.
func (u *Unproven) Handler(h http.Handler, most int64, refuse func(w http.ResponseWriter, status int)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 || r.ContentLength > most {
			w.Header().Set("Connection", "close")
			refuse(w, http.StatusRequestEntityTooLarge)
			return
		}
		body, err := u.Read(w, r, most)
		switch {
		case errors.Is(err, ErrManyUnproven):
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusTooManyRequests)
			return
		case err != nil:
			refuse(w, http.StatusBadRequest)
			return
		}
		if body == nil {
			h.ServeHTTP(w, r)
			return
		}
		read := r.WithContext(r.Context()) // a copy: the server's own stays as it is
		read.Body = io.NopCloser(bytes.NewReader(body))
		h.ServeHTTP(w, read)
		r.Pattern = read.Pattern // for the log and the metrics
	})
}
