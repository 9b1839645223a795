// Package smpp is the carrier for accounts with an SMSC, the message centre of a phone network. It
// binds, that is, logs in, over SMPP 3.4 and keeps the binds up. It submits each text in as many
// parts as it needs, and processes the receipts.
//
// One Send submits a message at most once. If the response doesn't come, the error is
// [carrier.Unknown], and a later response or receipt is still recorded. A plain error means that the
// SMSC can't have the message. A receipt is acknowledged once it is recorded. No input from an SMSC
// crashes the process or takes more than bounded memory.
//
// Source: "Short Message Peer to Peer Protocol Specification v3.4", issue 1.2, 12 October 1999.
// Comments name its sections.
package smpp

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/outage"
	"github.com/countersign/countersign/internal/verify"
)

// A Mode says how the two directions are bound.
type Mode string

const (
	Transceiver Mode = ""     // one connection for both directions
	Pair        Mode = "pair" // a transmitter and a receiver, for SMSCs without transceivers
)

// Config configures one account. Zero values take the defaults below.
type Config struct {
	Name string // of the carrier
	Addr string // host:port
	// Others are further addresses of the same SMSC. The first bind begins with Addr, the second one with the first of
	// these, and so on. A bind that can't be made at one address is tried at the next immediately. Optional.
	Others []string

	// Plaintext connects without TLS. Anybody on the way can then read the password and the codes,
	// so use it only on a private line or in a tunnel. Default: TLS 1.2 or later.
	Plaintext bool
	// RootCAs, if set, replace the system's.
	RootCAs *x509.CertPool

	// Certificate is our own, for SMSCs that ask for one. TLS only. Optional.
	Certificate *tls.Certificate

	SystemID   string        // the account
	Password   verify.Secret // Optional.
	SystemType string        // Optional; some SMSCs require one.
	Service    string        // service_type of each message. Optional.

	Version      byte      // interface_version of the bind. Default 0x34.
	Range        Numbering // of address_range in the bind
	AddressRange string    // Optional.
	Prefix       string    // digits before each destination. Optional.
	TLVs         []TLV     // optional parameters of each submit_sm

	Mode   Mode
	Binds  int // connections, or pairs of them in Pair mode. Default 1.
	Window int // submit_sm without a response, per bind. Default 10.
	Rate   int // submit_sm per second, over all binds. Default 0: no limit.

	BindTimeout time.Duration // from dialling to the bind's response. Default 10 s.
	Response    time.Duration // limit for the response to any other request. Default 8 s.
	Enquire     time.Duration // between two enquire_link; negative means none. Default 30 s.
	Inactivity  time.Duration // after which a silent bind is replaced. Default 90 s.

	Alphabet   Alphabet // of texts that the GSM default alphabet has
	DataCoding *byte    // of such texts. Default: the alphabet's.

	// The type of number and numbering plan of each kind of address. Default: see defaults.
	International, Short, Alphanumeric *Numbering

	NoValidity bool     // leaves out validity_period, for SMSCs that refuse its relative form
	NoReceipts bool     // doesn't ask for receipts
	ReceiptID  IDForm   // how receipts write ids
	GSMCodes   bool     // err: in a receipt's text is a code of GSM: see gsmErrors
	Reasons    Meanings // of codes of networks, before all others
	Refuse     []Status // statuses that refuse a message permanently, whatever the table says

	Log     *slog.Logger // Default: none.
	Outages *outage.Log  // for repeated failures. Default: one of its own.
}

// A Numbering is a type of number and a numbering plan (§5.2.5, §5.2.6).
type Numbering struct{ TON, NPI byte }

// A TLV is an optional parameter (§3.2.4.1).
type TLV struct {
	Tag   uint16
	Value []byte
}

// defaults holds the numbering of each kind of sender. All destinations are
// international.
var defaults = struct{ international, short, alphanumeric Numbering }{
	international: Numbering{1, 1}, // ISDN
	short:         Numbering{3, 0}, // network specific
	alphanumeric:  Numbering{5, 0},
}

// withDefaults returns c with its zero values replaced by the defaults.
func (c Config) withDefaults() Config {
	c.Version = cmp.Or(c.Version, 0x34)
	c.Binds = cmp.Or(c.Binds, 1)
	c.Window = cmp.Or(c.Window, 10)
	c.BindTimeout = cmp.Or(c.BindTimeout, 10*time.Second)
	c.Response = cmp.Or(c.Response, 8*time.Second)
	c.Enquire = cmp.Or(c.Enquire, 30*time.Second)
	c.Inactivity = cmp.Or(c.Inactivity, 90*time.Second)
	c.International = cmp.Or(c.International, &defaults.international)
	c.Short = cmp.Or(c.Short, &defaults.short)
	c.Alphanumeric = cmp.Or(c.Alphanumeric, &defaults.alphanumeric)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	c.Outages = cmp.Or(c.Outages, outage.New(c.Log, nil))
	return c
}

// Check returns all errors in a configuration.
func (c Config) Check() (all []carrier.Fault) {
	c = c.withDefaults()
	must := func(ok bool, field, format string, args ...any) {
		if !ok {
			all = append(all, carrier.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
		}
	}
	must(isAddr(c.Addr), "addr", "must be host:port")
	must(len(c.Others) < maxAddrs, "others", "must be at most %d", maxAddrs-1)
	for i, other := range c.Others {
		must(isAddr(other) && other != c.Addr && !slices.Contains(c.Others[:i], other), fmt.Sprintf("others[%d]", i), "must be host:port, and another one than those before it")
	}
	must(c.SystemID != "" && fits(c.SystemID, 15), "system_id", "must have 1 to 15 characters of ASCII")
	// The specification allows 8, but some SMSCs assign longer ones.
	must(fits(c.Password.Reveal(), 64), "password", "must have at most 64 characters of ASCII")
	must(fits(c.SystemType, 12), "system_type", "must have at most 12 characters of ASCII")
	must(fits(c.Service, 5), "service", "must have at most 5 characters of ASCII")
	must(fits(c.AddressRange, 40), "address_range", "must have at most 40 characters of ASCII")
	must(len(c.Prefix) <= maxPrefix && strings.Trim(c.Prefix, "0123456789") == "", "prefix", "must have at most %d digits, and nothing else", maxPrefix)
	for i, t := range c.TLVs {
		must(t.Tag != 0 && t.Tag != tagPayload && len(t.Value) <= maxTLV, fmt.Sprintf("tlvs[%d]", i), "must have another tag than 0 and 0x0424, and at most %d bytes", maxTLV)
	}
	must(c.Certificate == nil || !c.Plaintext, "cert_file", "is of no use with plaintext")
	must(c.Mode == Transceiver || c.Mode == Pair, "mode", "%q is neither empty nor %q", c.Mode, Pair)
	must(c.Binds >= 1 && c.Binds <= 64, "binds", "must be from 1 to 64")
	must(c.Window >= 1 && c.Window <= 1000, "window", "must be from 1 to 1000")
	must(c.Rate >= 0 && c.Rate <= 100_000, "rate", "must be from 1 to 100000 in a second, or 0 for no limit")
	must(c.BindTimeout > 0, "bind_timeout", "must be positive")
	must(c.Response > 0, "response", "must be positive")
	must(c.Inactivity > 0, "inactivity", "must be positive")
	if c.Response > 0 && c.Inactivity > 0 && c.Enquire > 0 {
		must(c.Inactivity > c.Enquire+c.Response, "inactivity", "must be more than enquire and response together, %v", c.Enquire+c.Response)
	}
	_, known := alphabets[c.Alphabet]
	must(known, "alphabet", "%q is neither empty nor %q, %q or %q", c.Alphabet, Latin1, ASCII, UCS2)
	must(c.ReceiptID == SameID || c.ReceiptID == HexThenDecimal || c.ReceiptID == DecimalThenHex,
		"receipt_id", "%q is neither empty nor %q nor %q", c.ReceiptID, HexThenDecimal, DecimalThenHex)
	return all
}

const (
	maxAddrs  = 8   // of one SMSC
	maxPrefix = 5   // digits: with a number's 15, an address is full
	maxTLV    = 255 // bytes of a value
)

// isAddr reports whether s is a host and a port.
func isAddr(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && port != ""
}

// fits reports whether s can be sent as a C-octet string of at most n characters.
func fits(s string, n int) bool {
	return len(s) <= n && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// A Carrier keeps an account's binds up and sends messages over them. It implements
// [carrier.Carrier].
type Carrier struct {
	Config
	dial   func(ctx context.Context, addr string) (net.Conn, error)
	gate   *gate
	pool   pool
	pace   pace
	ledger *ledger

	receiver   atomic.Pointer[func(context.Context, carrier.Receipt) error]
	receipts   chan struct{} // one token for each receipt that is being processed
	binds      atomic.Uint64 // number of successful binds
	steady     atomic.Int32  // binds that have been up for longer than stable
	throttled  atomic.Uint64 // see Stats
	unread     atomic.Uint64 // see Stats
	references atomic.Uint32 // of messages with several parts

	ctx  context.Context // done after Close
	stop context.CancelFunc
	keep sync.WaitGroup // the binds
	work sync.WaitGroup // the receipts
}

// New returns a carrier, which starts to bind. The caller must close it.
func New(c Config) (*Carrier, error) {
	if err := carrier.Faulty(c.Name, c.Check()); err != nil {
		return nil, err
	}
	return start(c, c.dialer()), nil
}

func (c Config) dialer() func(ctx context.Context, addr string) (net.Conn, error) {
	plain := &net.Dialer{KeepAlive: 30 * time.Second}
	if c.Plaintext {
		return func(ctx context.Context, addr string) (net.Conn, error) { return plain.DialContext(ctx, "tcp", addr) }
	}
	secure := &tls.Dialer{NetDialer: plain, Config: &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12}}
	if c.Certificate != nil {
		secure.Config.Certificates = []tls.Certificate{*c.Certificate}
	}
	return func(ctx context.Context, addr string) (net.Conn, error) { return secure.DialContext(ctx, "tcp", addr) }
}

func start(config Config, dial func(context.Context, string) (net.Conn, error)) *Carrier {
	c := unbound(context.Background(), config, dial)
	for n := range c.Binds {
		c.keep.Go(func() { c.keepBound(n + 1) })
	}
	return c
}

// unbound returns a carrier that doesn't bind by itself. It ends with ctx.
func unbound(ctx context.Context, config Config, dial func(context.Context, string) (net.Conn, error)) *Carrier {
	c := &Carrier{
		Config: config.withDefaults(), dial: dial, gate: newGate(), ledger: newLedger(),
		receipts: make(chan struct{}, maxReceipts),
	}
	c.pool.window = c.Window
	if c.Rate > 0 {
		c.pace.interval = time.Second / time.Duration(c.Rate)
	}
	c.references.Store(rand.Uint32()) // so that replicas start at different values
	c.ctx, c.stop = context.WithCancel(ctx)
	return c
}

// Name implements [carrier.Carrier].
func (c *Carrier) Name() string { return c.Config.Name }

// OnReceipt sets the function that records receipts. It returns [verify.ErrNotFound] if the message is
// unknown. The SMSC is asked to send a receipt again after a [verify.KindUnavailable] error, after any
// error that isn't a [verify.Error], and while no function is set.
func (c *Carrier) OnReceipt(receive func(context.Context, carrier.Receipt) error) {
	c.receiver.Store(&receive)
}

// Stats holds counts for metrics.
type Stats struct {
	Bound    int    // sessions that can submit
	InFlight int    // places taken in their windows
	Binds    uint64 // sessions bound since the start
	// Throttled is the number of messages, or parts, that the SMSC refused because we were too
	// fast.
	Throttled uint64
	Unread    uint64 // receipts without an id or with an unknown state
}

// Stats returns the current counts.
func (c *Carrier) Stats() Stats {
	bound, taken := c.pool.count()
	return Stats{Bound: bound, InFlight: taken, Binds: c.binds.Load(), Throttled: c.throttled.Load(), Unread: c.unread.Load()}
}

// Close refuses new messages, waits for the responses to submitted ones, unbinds, and waits for
// the receipts that are being recorded. It returns early if ctx is done.
func (c *Carrier) Close(ctx context.Context) {
	c.pool.close(ctx)
	c.stop()
	ended := make(chan struct{})
	go func() {
		c.keep.Wait()
		c.work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// keepBound keeps one bind up until the carrier is closed.
func (c *Carrier) keepBound(n int) {
	at := n - 1 // the address to begin with
	alone := 0  // failures in a row while other binds were up
	for {
		if alone > 0 {
			if sleep(c.ctx, backoff(alone)) != nil {
				return
			}
		}
		try, err := c.gate.enter(c.ctx)
		if err != nil {
			return
		}
		sessions, next, err := c.bindSomewhere(at)
		at = next
		if err != nil {
			alone = c.failed(try, alone)
			c.pool.fail(err)
			if c.ctx.Err() == nil {
				c.Outages.Failed(c.Config.Name, slog.LevelWarn, "SMSC not bound", "carrier", c.Config.Name, "bind", n, "err", err)
			}
			continue
		}
		c.Log.Info("SMSC bound", "carrier", c.Config.Name, "bind", n, "addr", c.addr(at))
		begun := time.Now()
		alone, err = c.serve(sessions, try, alone)
		if c.ctx.Err() != nil {
			return
		}
		if time.Since(begun) < stable { // this address accepts binds and drops them
			at++
		}
		c.Outages.Failed(c.Config.Name, slog.LevelWarn, "SMSC bind lost", "carrier", c.Config.Name, "bind", n, "err", err)
	}
}

// failed records the failure of a bind. While another bind is steady, the SMSC works and probably allows fewer
// binds than configured. Then the failure is this bind's alone and mustn't delay the others. failed returns the
// number of such failures in a row.
func (c *Carrier) failed(t *try, alone int) int {
	if c.steady.Load() > 0 {
		t.leave()
		return alone + 1
	}
	t.end(false)
	return 0
}

// addr returns one of the SMSC's addresses, counted round and round.
func (c *Carrier) addr(n int) string {
	if n %= 1 + len(c.Others); n > 0 {
		return c.Others[n-1]
	}
	return c.Addr
}

// bindSomewhere binds at the first address that lets it, and returns which one that is. If none does, the next attempt
// begins with the address after the first one.
func (c *Carrier) bindSomewhere(first int) (sessions []*session, at int, err error) {
	for n := range 1 + len(c.Others) {
		sessions, failed := c.bindAll(c.addr(first + n))
		if failed == nil {
			return sessions, first + n, nil
		}
		if len(c.Others) > 0 {
			failed = fmt.Errorf("%s: %w", c.addr(first+n), failed)
		}
		if err == nil {
			err = failed
		} else {
			err = fmt.Errorf("%w; %w", err, failed)
		}
		if c.ctx.Err() != nil {
			break
		}
	}
	return nil, first + 1, err
}

// bindAll opens the session of a transceiver, or both sessions of a pair, at one address.
func (c *Carrier) bindAll(addr string) ([]*session, error) {
	as := []command{bindTransceiver}
	if c.Mode == Pair {
		as = []command{bindReceiver, bindTransmitter} // the receiver first, to be ready for the first receipt
	}
	var sessions []*session
	for _, command := range as {
		s, err := c.open(c.ctx, addr, command)
		if err != nil {
			endAll(sessions, err)
			return nil, err
		}
		sessions = append(sessions, s)
	}
	return sessions, nil
}

// serve offers the sessions to messages until one of them ends, and returns the
// error.
func (c *Carrier) serve(sessions []*session, t *try, alone int) (failures int, err error) {
	c.binds.Add(uint64(len(sessions)))
	proved := time.AfterFunc(stable, func() {
		c.steady.Add(1)
		t.end(true)
	})
	for _, s := range sessions {
		if s.submits {
			c.pool.add(s)
		}
	}
	select {
	case <-sessions[0].down:
	case <-sessions[len(sessions)-1].down:
	case <-c.ctx.Done():
		for _, s := range sessions {
			s.close(context.Background()) // takes at most unbindLimit
		}
	}
	for _, s := range sessions {
		c.pool.remove(s)
	}
	err = firstError(sessions)
	endAll(sessions, err)
	if proved.Stop() { // it ended before it was stable
		alone = c.failed(t, alone)
		c.pool.fail(err)
		return alone, err
	}
	c.steady.Add(-1)
	return 0, err
}

func firstError(sessions []*session) error {
	for _, s := range sessions {
		if err := s.why(); err != nil {
			return err
		}
	}
	return errLost
}

func endAll(sessions []*session, err error) {
	for _, s := range sessions {
		s.fail(err)
		s.work.Wait()
	}
}
