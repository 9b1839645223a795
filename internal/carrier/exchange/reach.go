package exchange

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
)

// Reach connects to the host of a URL as [Client.Do] does, with TLS if the URL says https, and closes the
// connection. It sends no request. Its errors quote nothing of the URL but the host.
func Reach(ctx context.Context, rawURL string, roots *x509.CertPool) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return unsent(err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", Host(u))
	if err != nil {
		return unsent(err)
	}
	defer conn.Close()
	if u.Scheme != "https" {
		return nil
	}
	secure := tls.Client(conn, &tls.Config{ServerName: u.Hostname(), RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	if err := secure.HandshakeContext(ctx); err != nil {
		return unsent(err)
	}
	return nil
}

// Host returns the host and port that a URL's requests go to.
func Host(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
