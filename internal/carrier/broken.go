package carrier

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Broken returns what is known of a connection's failure, from an error of a library. It keeps only errors
// that can't quote a message: libraries that build or parse messages put parts of them into theirs, with the
// number and the code. Of other errors it says that the connection failed.
func Broken(err error) error {
	for _, known := range []error{context.DeadlineExceeded, context.Canceled, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	for _, find := range []func(error) error{
		as[*net.OpError], as[*net.DNSError], as[*tls.CertificateVerificationError], as[x509.UnknownAuthorityError],
		as[x509.HostnameError], as[x509.CertificateInvalidError], as[tls.AlertError], as[tls.RecordHeaderError], as[syscall.Errno],
	} {
		if found := find(err); found != nil {
			return found
		}
	}
	return ErrBroken
}

// ErrBroken is what [Broken] makes of an error that may quote a message.
var ErrBroken = errors.New("the connection failed")

// as returns the error of a type in a chain, or nil.
func as[E error](err error) error {
	if e, ok := errors.AsType[E](err); ok {
		return e
	}
	return nil
}
