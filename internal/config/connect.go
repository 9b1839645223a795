package config

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/carrier/exchange"
	"github.com/countersign/countersign/internal/carrier/provider"
	"github.com/countersign/countersign/internal/carrier/sip"
	"github.com/countersign/countersign/internal/carrier/smpp"
	"github.com/countersign/countersign/internal/verify"
)

// A Try is one thing outside that a configuration relies on, and how to try it. It sends no message.
type Try struct {
	What string // such as "carrier twilio"
	Run  func(context.Context) Finding
}

// A Finding is what came of a [Try]. It quotes no secret, and of URLs only the host.
type Finding struct {
	Status FindingStatus
	Result string // what the try found
	Advice string // what an operator should do; empty if there is nothing to do
}

// A FindingStatus says whether the server can work with what was found.
type FindingStatus string

const (
	Fine    FindingStatus = "ok"
	Dubious FindingStatus = "warning" // it may be as it should
	Broken  FindingStatus = "failed"
)

func fine(format string, args ...any) Finding {
	return Finding{Status: Fine, Result: fmt.Sprintf(format, args...)}
}

func broken(err error, advice string) Finding {
	return Finding{Status: Broken, Result: OneLine(err.Error()), Advice: advice}
}

// OneLine puts an error's lines behind one another, for a table.
func OneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }), "; ")
}

// Tries are all that can be tried of a configuration but its database.
func (c *Loaded) Tries(now time.Time) (all []Try) {
	switch {
	case c.acme != nil:
		all = append(all, c.authority())
	case c.TLS != nil:
		all = append(all, c.publicCertificate(now))
	}
	if c.Public.URL != "" {
		all = append(all, c.publicURL())
	}
	for i, way := range c.ways {
		at := fmt.Sprintf("carriers[%d]", i)
		what := "carrier " + c.Carriers[i].Name
		all = append(all, Try{what, func(ctx context.Context) Finding { return way.try(ctx, at) }})
		key := at + "." + strings.TrimSuffix(c.Carriers[i].kind().key, ".url")
		if w, ok := way.(interface{ certificate() *tls.Certificate }); ok && w.certificate() != nil {
			all = append(all, Try{what + ", certificate", func(context.Context) Finding { return validity(w.certificate().Leaf, now, key+".cert_file") }})
		}
		if file := c.Carriers[i].authorities(); file != "" {
			all = append(all, Try{what + ", authorities", func(context.Context) Finding { return authoritiesValid(c.path(file), now, key+".ca_file") }})
		}
	}
	if c.Tracing.Endpoint != "" {
		all = append(all, Try{"tracing", func(ctx context.Context) Finding {
			return reach(ctx, c.Tracing.Endpoint, nil, "tracing.endpoint", "reached")
		}})
	}
	return all
}

// explain says what to do about a connection that failed; key is of the configuration.
func explain(err error, key string) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("%s: check the name, and this machine's resolver", key)
	case errors.As(err, &certificate):
		return fmt.Sprintf("%s: check the name; if the authority is your own, name its certificate", key)
	case errors.As(err, &header):
		return fmt.Sprintf("%s: check the port: what listens there speaks no TLS", key)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("%s: check host and port: nothing listens there", key)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("%s: check host and port, and whether a firewall lets this machine through", key)
	}
	return fmt.Sprintf("%s: check it, and whether a firewall lets this machine through", key)
}

// reach tries the host of a URL.
func reach(ctx context.Context, rawURL string, roots *x509.CertPool, key, result string) Finding {
	u, err := url.Parse(rawURL)
	if err != nil {
		return broken(errors.New("not a URL"), key+": check it")
	}
	if err := exchange.Reach(ctx, rawURL, roots); err != nil {
		return broken(fmt.Errorf("%s: %w", exchange.Host(u), err), explain(err, key))
	}
	return fine("%s: %s", exchange.Host(u), result)
}

// try implements [way].
func (w *httpWay) try(ctx context.Context, at string) Finding {
	return reach(ctx, w.URL, w.RootCAs, at+".http.url", "reached")
}

// try implements [way]. Credentials can be tried without a message only where they buy a token.
func (w *providerWay) try(ctx context.Context, at string) Finding {
	endpoint, err := provider.Config(*w).Endpoint()
	if err != nil {
		return broken(errors.New("the URL can't be made"), at+".provider.api: check url")
	}
	needed, err := provider.TryToken(ctx, provider.Config(*w))
	switch {
	case !needed:
		return reach(ctx, endpoint, w.RootCAs, at+".provider", "reached; credentials not tried")
	case err == nil:
		return reach(ctx, endpoint, w.RootCAs, at+".provider", "reached; a token was given")
	case refuses(err):
		return broken(err, at+".provider: compare account and secret with the provider's console, and scope and token_url of api with its documentation")
	}
	return broken(err, explain(err, at+".provider.api: token_url"))
}

// try implements [way]. It tries each address of the SMSC.
func (w *smppWay) try(ctx context.Context, at string) Finding {
	key := at + ".smpp"
	addrs := append([]string{w.Addr}, w.Others...)
	for i, addr := range addrs {
		one := smpp.Config(*w)
		one.Addr, one.Others = addr, nil
		err := smpp.Try(ctx, one)
		switch {
		case err == nil:
			continue
		case refuses(err):
			return broken(fmt.Errorf("%s: %w", addr, err), key+": compare system_id, password, system_type and mode with the account; a server that runs may already use its binds")
		case i > 0:
			return broken(fmt.Errorf("%s: %w", addr, err), explain(err, fmt.Sprintf("%s.others[%d]", key, i-1)))
		}
		return broken(fmt.Errorf("%s: %w", addr, err), explain(err, key+".addr"))
	}
	return fine("%s: bound and unbound", strings.Join(addrs, ", "))
}

func (w *smppWay) certificate() *tls.Certificate { return w.Certificate }

// try implements [way].
func (w *sipWay) try(ctx context.Context, at string) Finding {
	key := at + ".sip"
	answer, err := sip.Try(ctx, sip.Config(*w))
	switch {
	case err == nil:
		return fine("%s: %s", w.Trunk, answer)
	case refuses(err):
		return broken(fmt.Errorf("%s: %w", w.Trunk, err), key+": compare username, password, realm and domain with the trunk's account, and whether it allows this machine's address")
	}
	return broken(fmt.Errorf("%s: %w", w.Trunk, err), explain(err, key+".trunk"))
}

func (w *sipWay) certificate() *tls.Certificate { return w.Certificate }

// refuses reports whether a carrier answered that it doesn't want us.
func refuses(err error) bool { return carrier.Decision(err).Reason == verify.ReasonMisconfigured }

// publicURL tries how the outside reaches us. It may not be there yet, or not for this machine.
func (c *Loaded) publicURL() Try {
	return Try{"public.url", func(ctx context.Context) Finding {
		f := reach(ctx, c.Public.URL, nil, "public.url", "reached")
		if f.Status == Broken {
			f.Status = Dubious
			f.Advice = cmp.Or(f.Advice, "public.url: check it") + "; or it is there once the server and its proxy run, or for the outside only"
		}
		return f
	}}
}

// soon is how long before its end a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

// validity says until when a certificate is valid.
func validity(leaf *x509.Certificate, now time.Time, key string) Finding {
	until := leaf.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case now.Before(leaf.NotBefore):
		return Finding{Broken, "not valid before " + leaf.NotBefore.UTC().Format(time.RFC3339), key + ": check this machine's clock, or use another certificate"}
	case !now.Before(leaf.NotAfter):
		return Finding{Broken, "expired on " + until, key + ": renew the certificate"}
	case leaf.NotAfter.Sub(now) < soon:
		return Finding{Dubious, "expires on " + until, key + ": renew the certificate"}
	}
	return fine("valid until %s", until)
}

// authorities is the file of the certificates that a carrier trusts, "" for the system's.
func (cc *carrierConfig) authorities() string {
	return cmp.Or(cc.Provider.CAFile, cc.SMPP.CAFile, cc.SIP.CAFile, cc.WebPush.CAFile, cc.HTTP.CAFile)
}

// authoritiesValid says how long one of the certificates in a file is valid: the others may be old.
func authoritiesValid(file string, now time.Time, key string) Finding {
	text, err := os.ReadFile(file)
	if err != nil {
		return broken(err, key+": check the file")
	}
	var last *x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err == nil && (last == nil || c.NotAfter.After(last.NotAfter)) {
			last = c
		}
	}
	if last == nil {
		return broken(errors.New("holds no certificate"), key+": check the file")
	}
	return validity(last, now, key)
}

// publicCertificate tries our own certificate: its time, its names, and whether strangers can verify it.
func (c *Loaded) publicCertificate(now time.Time) Try {
	const key = "public.tls.cert"
	return Try{"public.tls", func(context.Context) Finding {
		pair, err := c.TLS.GetCertificate(nil)
		if err != nil || pair.Leaf == nil {
			return broken(errors.New("the certificate can't be read"), key+": check the file")
		}
		found := validity(pair.Leaf, now, key)
		if found.Status != Fine {
			return found
		}
		if u, err := url.Parse(c.Public.URL); c.Public.URL != "" && err == nil {
			if err := pair.Leaf.VerifyHostname(u.Hostname()); err != nil {
				return Finding{Dubious, fmt.Sprintf("not for %s, the host of public.url", u.Hostname()), key + ": use a certificate for it, unless a proxy with one stands in front"}
			}
		}
		if err := verifiable(pair, now); err != nil {
			return Finding{Dubious, "others can't verify it: " + OneLine(err.Error()), key + ": put the authority's intermediate certificates behind it; clients need the root if the authority is your own"}
		}
		return found
	}}
}

// verifiable checks a chain as somebody does who knows the system's authorities.
func verifiable(pair *tls.Certificate, now time.Time) error {
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	_, err := pair.Leaf.Verify(x509.VerifyOptions{Intermediates: between, CurrentTime: now})
	return err
}
