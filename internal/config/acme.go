package config

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/yamlconf"
)

// acmeFolder is where the certificates and the account's key are, below the data folder. A server that starts again
// uses them: authorities make few certificates a week for one name.
const acmeFolder = "acme"

const (
	maxDomains   = 25
	acmePatience = 10 * time.Second // for one request
	certifyEvery = time.Minute      // a certificate that is missing is tried again, and a renewed one is used
)

// acmeHost matches a name in the DNS with a dot.
var acmeHost = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// A certifier gets certificates from an authority and renews them. Clients' handshakes use those that are there: only
// [Loaded.Certify] asks the authority, so that strangers can neither wait for it nor spend what it allows.
type certifier struct {
	names   []string
	manager *autocert.Manager

	mu      sync.RWMutex // guards current
	current map[string]*tls.Certificate
}

// checkACME reports whether the public listener's certificate comes from an authority.
func (c *Loaded) checkACME(p *yamlconf.Problems) bool {
	const key = "public.tls.acme"
	a := c.Public.TLS.ACME
	if len(a.Domains) == 0 {
		p.Check(key+".domains", a.Email == "" && a.CAFile == "", "must be given together with email and ca_file")
		return false
	}
	p.Check("public.tls.cert", c.Public.TLS.Cert == "" && c.Public.TLS.Key == "", "can't be given together with acme")
	p.Check(key+".domains", len(a.Domains) <= maxDomains, "must be at most %d names", maxDomains)
	for i, name := range a.Domains {
		p.Check(fmt.Sprintf("%s.domains[%d]", key, i), acmeHost.MatchString(name) && len(name) <= 253,
			"must be a name in the DNS, in lower case, such as verify.example.com; no address, port or wildcard")
	}
	address, err := mail.ParseAddress(a.Email)
	p.Check(key+".email", a.Email == "" || err == nil && address.Address == a.Email, "must be an e-mail address, such as ops@example.com")
	u, err := url.Parse(a.Directory)
	p.Check(key+".directory", err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil, "must be an https URL, without credentials")
	client := &http.Client{Timeout: acmePatience, Transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: acmePatience}).DialContext, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.authorities(p, key+".ca_file", a.CAFile)},
	}}
	c.acme = &certifier{names: a.Domains, current: map[string]*tls.Certificate{}, manager: &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(filepath.Join(c.Folder(), acmeFolder)), HostPolicy: autocert.HostWhitelist(a.Domains...), Email: a.Email,
		Client: &acme.Client{DirectoryURL: a.Directory, UserAgent: "countersign", HTTPClient: client},
	}}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1", acme.ALPNProto}, GetCertificate: c.acme.certificate}
	return true
}

// certificate is for a client, or for the authority, which asks whether the name is ours.
func (c *certifier) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) {
		return c.manager.GetCertificate(hello)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if got := c.current[hello.ServerName]; got != nil {
		return got, nil
	}
	return nil, errors.New("no certificate for this name")
}

// modern is the greeting of a client that takes a certificate with an ECDSA key, as nearly all do.
func modern(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
	}
}

// Certify gets the certificates that the authority makes, and those that it renews, until ctx ends. The public listener
// must answer meanwhile. It may return up to five minutes later, for autocert can't be told to stop; that harms
// nothing, because autocert writes a file whole or not at all.
func (c *Loaded) Certify(ctx context.Context, log *outage.Log) {
	if c.acme == nil {
		return
	}
	for ticker := time.NewTicker(certifyEvery); ctx.Err() == nil; {
		for _, name := range c.acme.names {
			c.acme.certify(name, log)
		}
		select {
		case <-ctx.Done():
			ticker.Stop()
		case <-ticker.C:
		}
	}
}

// certify takes what autocert has for a name. Without one it asks the authority.
func (c *certifier) certify(name string, log *outage.Log) {
	thing := "certificate of " + name
	got, err := c.manager.GetCertificate(modern(name))
	if err != nil {
		log.Failed(thing, slog.LevelError, "the authority makes no certificate", "domain", name, "err", err)
		return
	}
	c.mu.Lock()
	before := c.current[name]
	c.current[name] = got
	c.mu.Unlock()
	log.Works(thing, "the authority makes certificates again", "domain", name)
	if before == nil || !before.Leaf.Equal(got.Leaf) {
		log.Info("certificate", "domain", name, "until", got.Leaf.NotAfter)
	}
}

// authority tries the authority. It makes no account and asks for no certificate.
func (c *Loaded) authority() Try {
	return Try{"public.tls.acme", func(ctx context.Context) Finding {
		const key = "public.tls.acme.directory"
		client := &acme.Client{DirectoryURL: c.Public.TLS.ACME.Directory, HTTPClient: c.acme.manager.Client.HTTPClient}
		u, err := url.Parse(client.DirectoryURL)
		if err == nil {
			_, err = client.Discover(ctx)
		}
		if err != nil {
			return broken(err, explain(err, key))
		}
		return fine("%s: reached; the server gets its certificate there", u.Host)
	}}
}
