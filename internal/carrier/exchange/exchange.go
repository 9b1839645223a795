// Package exchange makes one HTTP request to whoever takes messages, and says what became of it:
// whether the message may be out there, or certainly isn't. It goes nowhere that nobody configured,
// and its errors repeat nothing that the receiver wrote, since that may be the code.
package exchange

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
	"github.com/countersign/countersign/internal/web"
)

// MaxAnswer is how much of an answer is read, so that its connection can be used again.
const MaxAnswer = 64 << 10

// CheckURL says what is wrong with a receiver's URL, if anything.
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

// A Client makes requests. It is safe for concurrent use. It is no [http.Client], which follows
// redirects: one would take the code to a place that nobody configured.
type Client struct {
	transport *http.Transport
	repeat    bool
}

// Options say how a [Client] connects.
type Options struct {
	Dial  time.Duration  // limit of making a connection
	Conns int            // connections at once
	Roots *x509.CertPool // nil: the system's

	// Repeat says that the receiver drops repeats, since its requests name the message: one that met a
	// connection which the receiver was closing is made once more.
	Repeat bool
}

// How long a connection is kept without work. Where nothing is repeated, a request that meets one that
// the receiver is closing may be lost: so it is less there than the 5 s after which common servers close.
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
	return &Client{&http.Transport{
		DialContext:         (&net.Dialer{Timeout: o.Dial, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: o.Dial,
		ForceAttemptHTTP2:   true,
		MaxConnsPerHost:     o.Conns,
		MaxIdleConnsPerHost: o.Conns,
		IdleConnTimeout:     keep,
		DisableCompression:  true,
	}, o.Repeat}
}

// CloseIdleConnections closes those that no request uses.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

// Do makes a request, and with [Options].Repeat once more if it met a connection that the receiver was closing.
// Its error is [carrier.Unknown] where the receiver may have the message, and else says that the
// receiver is unreachable. The caller closes the answer's body.
func (c *Client) Do(ctx context.Context, request func(context.Context) (*http.Request, error)) (*http.Response, error) {
	resp, x, err := c.once(ctx, request)
	if err != nil && c.repeat && x.stale() && ctx.Err() == nil {
		resp, x, err = c.once(ctx, request)
	}
	switch {
	case err != nil && x.out():
		return nil, carrier.Unknown(silent(err))
	case err != nil:
		return nil, carrier.Because(verify.ReasonUnreachable, bare(err))
	}
	return resp, nil
}

// fate is what happened to one request, so far.
type fate struct{ reused, written, answered atomic.Bool }

// out reports whether the receiver may have the request. When a kept connection goes, net/http may say so
// before it knows that the request was written. What certainly wasn't it has sent again, on a new one.
func (x *fate) out() bool { return x.written.Load() || x.reused.Load() }

// stale reports whether the request met a connection that the receiver was closing after a while
// without work. Then it is made once more. net/http would do so too for a request that may be
// repeated, but as often as there are idle connections, and a receiver that breaks down over a
// message after sending it would send it that often.
func (x *fate) stale() bool { return x.reused.Load() && !x.answered.Load() }

func (c *Client) once(ctx context.Context, request func(context.Context) (*http.Request, error)) (*http.Response, *fate, error) {
	x := new(fate)
	req, err := request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			secure, ok := info.Conn.(*tls.Conn)
			http2 := ok && secure.ConnectionState().NegotiatedProtocol == "h2" // it says what it took
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

// bare drops the URL, whose query may hold a token.
func bare(err error) error {
	var located *url.Error
	if errors.As(err, &located) {
		return located.Err
	}
	return err
}

// silent drops also what the receiver wrote, which net/http quotes where it can't read it: it may
// have repeated the code.
func silent(err error) error {
	err = bare(err)
	var network *net.OpError
	for _, known := range []error{context.DeadlineExceeded, context.Canceled, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	if errors.As(err, &network) {
		return network
	}
	return errors.New("the receiver's answer can't be read")
}

// Status makes an error of an answer's status. The words after it are the receiver's: they may
// repeat the code.
func Status(resp *http.Response) error {
	return fmt.Errorf("the receiver answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// RetryAfter reads the header of that name in both of its forms (RFC 9110 §10.2.3); 0 if it says
// nothing, at most a day.
func RetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, 86400)) * time.Second // where it is out of range, it is the largest
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), 24*time.Hour)
	}
	return 0
}
