// Package exchange makes one HTTP request to the receiver of a message, and reports whether the
// receiver may have the message or certainly doesn't. It follows no redirects, so that codes reach
// configured receivers only. Its errors never quote the receiver's words, because those may contain
// the code.
package exchange

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// MaxAnswer is the number of bytes of an answer to read, so that the connection can be
// used again.
const MaxAnswer = 64 << 10

// CheckURL returns an error if a receiver's URL isn't allowed. plaintext allows
// http to other machines.
func CheckURL(s string, plaintext bool) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must be an https URL")
	case u.User != nil:
		return errors.New("must not hold credentials")
	case u.Scheme == "http" && !web.Loopback(u.Host) && !plaintext:
		return errors.New("must be https: over http to another machine everybody on the way reads the codes")
	}
	return nil
}

// A Client makes requests. It is safe for concurrent use. It isn't an [http.Client], because
// that follows redirects, which would send the code to a receiver that nobody configured.
type Client struct {
	transport *http.Transport
	repeat    bool
}

// Options configure a [Client].
type Options struct {
	Dial  time.Duration  // limit for making a connection
	Conns int            // maximum number of connections
	Roots *x509.CertPool // nil means the system's

	// Guard fails for addresses that must not be called, where others than the operator name the receivers. Little of an
	// answer's header is read then, and few idle connections are kept. nil allows all.
	Guard func(netip.Addr) error

	// Repeat says that the receiver drops repeats, because its requests name the message. The client
	// then repeats a request that met a connection that the receiver was closing.
	Repeat bool
}

// How long an unused connection is kept. Without Repeat, a request may be lost if it meets a connection
// that the receiver is closing. So that limit is below the 5 s after which common servers close
// connections.
const (
	idle               = time.Minute
	idleUnlessRepeated = 4 * time.Second
)

// New returns a client.
func New(o Options) *Client {
	keep := idleUnlessRepeated
	if o.Repeat {
		keep = idle
	}
	dialer := &net.Dialer{Timeout: o.Dial, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: o.Dial,
		ForceAttemptHTTP2:   true,
		MaxConnsPerHost:     o.Conns,
		MaxIdleConnsPerHost: o.Conns,
		IdleConnTimeout:     keep,
		DisableCompression:  true,
	}
	if o.Guard != nil {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return o.Guard(a.Addr())
		}
		t.MaxResponseHeaderBytes, t.MaxIdleConns = MaxAnswer, 256
	}
	return &Client{t, o.Repeat}
}

// CloseIdleConnections closes the connections that no request uses.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

// Do makes a request. With [Options].Repeat, it repeats the request once if the receiver was closing the
// connection. The error is [carrier.Unknown] if the receiver may have the message; otherwise its reason is
// [carrier.ReasonUnreachable]. The caller closes the answer's body.
func (c *Client) Do(ctx context.Context, request func(context.Context) (*http.Request, error)) (*http.Response, error) {
	resp, x, err := c.once(ctx, request)
	if err != nil && c.repeat && x.stale() && ctx.Err() == nil {
		resp, x, err = c.once(ctx, request)
	}
	switch {
	case err != nil && x.out():
		return nil, carrier.Unknown(heard(err))
	case err != nil:
		return nil, carrier.Because(verify.ReasonUnreachable, unsent(err))
	}
	return resp, nil
}

// A fate records the progress of one request.
type fate struct{ reused, written, answered atomic.Bool }

// out reports whether the receiver may have the request. If a reused connection breaks, net/http may
// report that before it knows that the request was written. A request that certainly wasn't written,
// net/http itself sends again on a new connection.
func (x *fate) out() bool { return x.written.Load() || x.reused.Load() }

// stale reports whether the request met an idle connection that the receiver was closing. Do
// then repeats it once. net/http would repeat it as often as there are idle connections. A
// receiver that sends a message and then breaks down would send it that many times.
func (x *fate) stale() bool { return x.reused.Load() && !x.answered.Load() }

func (c *Client) once(ctx context.Context, request func(context.Context) (*http.Request, error)) (*http.Response, *fate, error) {
	x := new(fate)
	req, err := request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			secure, ok := info.Conn.(*tls.Conn)
			http2 := ok && secure.ConnectionState().NegotiatedProtocol == "h2" // an HTTP/2 server reports which requests it accepted
			x.reused.Store(info.Reused && !http2)
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				x.written.Store(true)
			}
		},
		GotFirstResponseByte: func() { x.answered.Store(true) },
	}))
	if err != nil {
		return nil, x, err
	}
	resp, err := c.transport.RoundTrip(req)
	return resp, x, err
}

// heard returns what is known of an answer that didn't come, or couldn't be read. It drops the receiver's words,
// which net/http quotes if it can't parse them. They may contain the code.
func heard(err error) error {
	if known := unsent(err); known != carrier.ErrBroken {
		return known
	}
	return errors.New("the receiver's answer can't be read")
}

// unsent returns what is known of a request that wasn't sent. It drops the URL, whose query may hold a token,
// and which may hold the number.
func unsent(err error) error {
	if errors.Is(err, http.ErrSchemeMismatch) {
		return http.ErrSchemeMismatch
	}
	return carrier.Broken(err)
}

// Status returns an error for an answer's status. It leaves out the receiver's reason phrase,
// because that may contain the code.
func Status(resp *http.Response) error {
	return carrier.Coded(fmt.Sprintf("http:%d", resp.StatusCode), fmt.Errorf("the receiver answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

// RetryAfter parses a Retry-After header in both of its forms (RFC 9110 §10.2.3). It returns 0
// if the value is invalid, and at most a day.
func RetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, 86400)) * time.Second // out of range, seconds is the largest value
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), 24*time.Hour)
	}
	return 0
}
