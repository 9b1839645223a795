package web

import (
	"cmp"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Limits bound what a listener's clients may keep open at once.
type Limits struct {
	Total      int // connections
	PerAddress int // connections of one address, or requests of one behind a trusted proxy; 0 is no limit
	// Proxies are the networks of trusted proxies. Their connections are bounded by Total only. The client
	// is the last address in their Header that isn't a proxy's: earlier ones are the client's own words.
	Proxies []netip.Prefix
	Header  string
}

// Bounds of a listener where the configuration says nothing. 4096 connections take less than 100 MB,
// whatever their clients do.
const (
	DefaultConnections = 4096
	DefaultPerAddress  = 1024
)

// A Gate lets as many clients in to a listener as its limits allow. The others' connections are closed
// before anything is read from them: a client that waits for its turn would be a place as well.
type Gate struct {
	limits Limits
	log    *slog.Logger
	name   string

	mu      sync.Mutex // guards what follows
	open    int
	clients map[netip.Addr]int
	full    uint64 // connections that were closed because of Total
	crowded uint64 // connections and requests that were refused because of PerAddress
	told    time.Time
}

// NewGate returns a gate for the listener of a name.
func NewGate(name string, l Limits, log *slog.Logger) *Gate {
	l.Total = cmp.Or(l.Total, DefaultConnections)
	return &Gate{limits: l, log: log, name: name, clients: map[netip.Addr]int{}}
}

// Stats are how many connections are open, and how many clients were refused for each reason.
func (g *Gate) Stats() (open int, full, crowded uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, g.full, g.crowded
}

// tellEvery is how often the log says that clients are refused.
const tellEvery = time.Minute

// admit takes a place of an address.
func (g *Gate) admit(client netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count(client)
}

// count takes a place of an address; the zero address needs none. Callers hold mu.
func (g *Gate) count(client netip.Addr) bool {
	if !client.IsValid() {
		return true
	}
	if g.limits.PerAddress > 0 && g.clients[client] >= g.limits.PerAddress {
		g.crowded++
		g.tell("an address has as many as it may, see max_per_address")
		return false
	}
	g.clients[client]++
	return true
}

func (g *Gate) leave(client netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.uncount(client)
}

func (g *Gate) uncount(client netip.Addr) {
	if g.clients[client]--; g.clients[client] <= 0 {
		delete(g.clients, client)
	}
}

// connect takes a connection's places.
func (g *Gate) connect(client netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.open >= g.limits.Total:
		g.full++
		g.tell("the listener has as many connections as it may, see max_connections")
		return false
	case !g.count(client):
		return false
	}
	g.open++
	return true
}

func (g *Gate) disconnect(client netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	g.uncount(client)
}

// tell warns now and then. Callers hold mu.
func (g *Gate) tell(why string) {
	if now := time.Now(); now.Sub(g.told) >= tellEvery {
		g.told = now
		g.log.Warn("clients are refused: "+why, "listener", g.name, "open", g.open, "full", g.full, "crowded", g.crowded)
	}
}

// Listen bounds a listener's connections.
func (g *Gate) Listen(l net.Listener) net.Listener { return gated{l, g} }

type gated struct {
	net.Listener
	gate *Gate
}

func (l gated) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := address(c.RemoteAddr().String())
		if l.gate.trusts(client) {
			client = netip.Addr{} // its requests are counted, by their clients
		}
		client = network(client)
		if !l.gate.connect(client) {
			c.Close()
			continue
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return &plainConn{Conn: c, place: place{gate: l.gate, client: client}}, nil
		}
		return &tcpConn{TCPConn: tcp, place: place{gate: l.gate, client: client}}, nil
	}
}

// A place is a connection's; it is given back once.
type place struct {
	gate   *Gate
	client netip.Addr
	once   sync.Once
}

func (p *place) free() { p.once.Do(func() { p.gate.disconnect(p.client) }) }

// tcpConn keeps what else a TCP connection can do, which net/http makes use of.
type tcpConn struct {
	*net.TCPConn
	place
}

func (c *tcpConn) Close() error { defer c.free(); return c.TCPConn.Close() }

type plainConn struct {
	net.Conn
	place
}

func (c *plainConn) Close() error { defer c.free(); return c.Conn.Close() }

// address reads the address of a host and port, or of a host; invalid if it is neither.
func address(s string) netip.Addr {
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Addr().Unmap()
	}
	a, _ := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap().WithZone("")
}

// network is what one client has for certain: an IPv4 address, or the /64 of an IPv6 address, within which
// a client chooses freely.
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		p, _ := a.WithZone("").Prefix(64)
		return p.Addr()
	}
	return a
}

func (g *Gate) trusts(a netip.Addr) bool {
	for _, p := range g.limits.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// client is whom a request of a trusted proxy is from: the last address of its header that isn't a
// proxy's. Without one it is the proxy itself.
func (g *Gate) client(proxy netip.Addr, h http.Header) netip.Addr {
	list := strings.Split(strings.Join(h.Values(g.limits.Header), ","), ",")
	for i := len(list) - 1; i >= 0; i-- {
		a := address(strings.TrimSpace(list[i]))
		if !a.IsValid() {
			break
		}
		if !g.trusts(a) {
			return a
		}
	}
	return proxy
}

// Handler counts the requests of trusted proxies by their clients, and makes the client's address the
// request's. Without trusted proxies it is h itself. The others are refused in the shape that their path asks for.
func (g *Gate) Handler(h http.Handler, refuse func(w http.ResponseWriter, r *http.Request, status int)) http.Handler {
	if len(g.limits.Proxies) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy := address(r.RemoteAddr)
		if !g.trusts(proxy) {
			h.ServeHTTP(w, r)
			return
		}
		client := g.client(proxy, r.Header)
		if client != proxy {
			of := network(client)
			if !g.admit(of) {
				w.Header().Set("Connection", "close")
				w.Header().Set("Retry-After", "1")
				refuse(w, r, http.StatusTooManyRequests)
				return
			}
			defer g.leave(of)
			r = r.WithContext(r.Context()) // a copy: the server's own stays as it is
			r.RemoteAddr = netip.AddrPortFrom(client, 0).String()
		}
		h.ServeHTTP(w, r)
	})
}
