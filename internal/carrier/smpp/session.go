package smpp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

var (
	errLost    = errors.New("the connection to the SMSC was lost")
	errUnbound = errors.New("the SMSC unbound")
	errSilent  = errors.New("the SMSC didn't answer in time")
	errDead    = errors.New("the SMSC has been silent for too long")
	errNoBind  = errors.New("the SMSC answered the bind with something else")
)

// A bindError is an SMSC's refusal of a bind.
type bindError struct{ Status }

func (e bindError) Error() string { return "the SMSC answered the bind with " + e.Status.Error() }

const (
	// outQueue is the number of PDUs that may wait to be written. outBatch is the number of
	// bytes up to which they are written together.
	outQueue, outBatch = 256, 32 << 10
	// lateLimit is how late a response may be and still be matched. Some are matched for up to
	// twice that time.
	lateLimit = 5 * time.Minute
	// unbindLimit is how long each side may take to unbind.
	unbindLimit = time.Second
)

// A session is one connection with a successful bind. It ends once, with one error.
type session struct {
	carrier *Carrier
	submits bool // false for a receiver
	conn    net.Conn
	in      *bufio.Reader
	work    sync.WaitGroup // its goroutines
	taken   int            // places taken in its window; guarded by the pool

	out  chan *request
	down chan struct{} // closed at the session's end

	mu       sync.Mutex          // guards the fields below
	requests map[uint32]*request // those without a response
	seq      uint32
	doubted  bool  // a response didn't come, and the SMSC is asked whether it is there
	unbound  bool  // the SMSC is about to close the connection
	err      error // why the session ended
}

// A request is a PDU to write and, unless it is a response itself, the wait for its response.
type request struct {
	pdu
	answer   chan pdu // of capacity 1; nil if no response is expected
	last     error    // if set, the session ends with it after this is written
	shipment *shipment

	// The fields below are guarded by the session's mu.
	written time.Time // zero until it is handed to the network, after which the SMSC may have it
	end     int       // where it ends in the batch
	given   bool      // nobody waits for the response any more
}

// open connects to an address and binds.
func (c *Carrier) open(ctx context.Context, addr string, as command) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, c.BindTimeout)
	defer cancel()
	conn, err := c.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	s := &session{
		carrier: c, submits: as != bindReceiver, conn: conn, in: bufio.NewReaderSize(conn, 16<<10),
		out: make(chan *request, outQueue), down: make(chan struct{}), requests: map[uint32]*request{},
	}
	interrupt := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	err = s.bind(as)
	if !interrupt() || err != nil {
		conn.Close()
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			err = errSilent
		}
		return nil, err
	}
	s.work.Go(s.read)
	s.work.Go(s.write)
	s.work.Go(s.forgetLate)
	if c.Enquire > 0 {
		s.work.Go(s.keepAlive)
	}
	return s, nil
}

func (s *session) bind(as command) error {
	s.seq = 1
	c := s.carrier
	b := bind{
		systemID: c.SystemID, password: c.Password.Reveal(), systemType: c.SystemType, version: c.Version,
		addresses: address{c.Range.TON, c.Range.NPI, c.AddressRange},
	}
	if _, err := s.conn.Write(pdu{command: as, seq: s.seq, body: b.encode()}.append(nil)); err != nil {
		return err
	}
	p, err := s.readBound()
	switch {
	case err != nil:
		return err
	case p.seq != s.seq || p.command != as|response && p.command != genericNack:
		return errNoBind
	case p.status != statusOK:
		return bindError{p.status}
	case p.command == genericNack:
		return errNoBind
	}
	return nil
}

// readBound reads the response to a bind. Some SMSCs send requests before it, such as an enquire_link or the
// receipts that they kept. It answers an enquire_link, and asks for the others to be sent again.
func (s *session) readBound() (pdu, error) {
	for {
		p, err := readPDU(s.in)
		if err != nil || p.command&response != 0 {
			return p, err
		}
		answer := pdu{command: p.command | response, seq: p.seq}
		switch p.command {
		case enquireLink:
		case deliverSM, dataSM:
			answer.status, answer.body = statusTemporary, []byte{0}
		case unbind:
			return p, errUnbound
		case alertNotification:
			continue
		default:
			answer.command, answer.status = genericNack, statusCommand
		}
		if _, err := s.conn.Write(answer.append(nil)); err != nil {
			return p, err
		}
	}
}

// fail ends the session with an error. Later calls do nothing.
func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	if s.unbound {
		err = errUnbound
	}
	s.err = err
	close(s.down)
	s.conn.Close()
}

// why returns the error with which the session ended.
func (s *session) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// read handles incoming PDUs until the session ends.
func (s *session) read() {
	for {
		s.conn.SetReadDeadline(time.Now().Add(s.carrier.Inactivity))
		p, err := readPDU(s.in)
		switch {
		case err == nil:
			s.handle(p)
		case errors.Is(err, errFraming):
			s.send(&request{pdu: pdu{command: genericNack, status: statusLength, seq: p.seq}, last: err})
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.fail(errDead)
			return
		default:
			s.fail(fmt.Errorf("%w: %w", errLost, err))
			return
		}
	}
}

func (s *session) handle(p pdu) {
	switch {
	case p.command&response != 0:
		s.handleResponse(p)
	case p.command == enquireLink:
		s.respond(p, statusOK)
	case p.command == deliverSM, p.command == dataSM:
		s.carrier.deliver(s, p)
	case p.command == unbind:
		s.leave()
		s.respond(p, statusOK)
	case p.command == alertNotification:
	default:
		s.send(&request{pdu: pdu{command: genericNack, status: statusCommand, seq: p.seq}})
	}
}

// leave stops submitting over this session, because the SMSC is about to close the connection. Until it
// does, responses may still come.
func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carrier.pool.remove(s)
	if !s.unbound {
		s.unbound = true
		time.AfterFunc(unbindLimit, func() { s.fail(errUnbound) })
	}
}

// doubt asks the SMSC whether it is there, because a response didn't come. Until it answers, no message goes over
// this session.
func (s *session) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.unbound || s.doubted {
		return
	}
	s.doubted = true
	s.carrier.pool.remove(s)
	s.carrier.pool.fail(errSilent)
	s.work.Go(func() {
		if _, _, err := s.ask(context.Background(), &request{pdu: pdu{command: enquireLink}}); err != nil {
			s.fail(fmt.Errorf("enquire_link: %w", err))
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.doubted = false; s.err == nil && !s.unbound {
			s.carrier.pool.add(s)
		}
	})
}

// handleResponse passes a response to its request. It ignores a response without a request,
// because answering one could start an endless exchange.
func (s *session) handleResponse(p pdu) {
	s.mu.Lock()
	r := s.requests[p.seq]
	if r == nil || r.written.IsZero() || p.command != genericNack && p.command != r.command|response {
		s.mu.Unlock()
		return
	}
	delete(s.requests, p.seq)
	given := r.given
	s.mu.Unlock()
	if p.command == genericNack && p.status == statusOK {
		p.status = statusSystem
	}
	if r.shipment != nil {
		s.carrier.noteResponse(r.shipment, p, given)
	}
	r.answer <- p
}

// respond answers a request of the SMSC.
func (s *session) respond(to pdu, status Status) {
	p := pdu{command: to.command | response, status: status, seq: to.seq}
	if to.command == deliverSM || to.command == dataSM {
		p.body = []byte{0} // message_id, unused
	}
	s.send(&request{pdu: p})
}

func (s *session) send(r *request) {
	select {
	case s.out <- r:
	case <-s.down:
	}
}

// ask sends a request and waits for its response, as long as ctx and the response timer allow. If
// none comes, sent reports whether the SMSC may have the request.
func (s *session) ask(ctx context.Context, r *request) (answer pdu, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.carrier.Response)
	defer cancel()
	if ctx.Err() != nil {
		return pdu{}, false, errFull
	}
	r.answer = make(chan pdu, 1)
	// Register the request before sending it, because the response can be quick.
	if err := s.expect(r); err != nil {
		return pdu{}, false, err
	}
	select {
	case s.out <- r:
	case <-ctx.Done():
	case <-s.down:
	}
	select {
	case p := <-r.answer:
		return p, true, nil
	case <-ctx.Done():
		return s.giveUp(r, errSilent)
	case <-s.down:
		return s.giveUp(r, errLost)
	}
}

// expect numbers a request and registers it.
func (s *session) expect(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.unbound {
		return errLost
	}
	for {
		s.seq = s.seq%0x7FFFFFFF + 1
		if s.requests[s.seq] == nil {
			break
		}
	}
	r.seq = s.seq
	s.requests[r.seq] = r
	return nil
}

// giveUp stops waiting for a response. A response that comes later is still
// recorded.
func (s *session) giveUp(r *request, why error) (answer pdu, sent bool, err error) {
	s.mu.Lock()
	if s.requests[r.seq] != r { // the response has just come
		s.mu.Unlock()
		return <-r.answer, true, nil
	}
	defer s.mu.Unlock()
	r.given = true
	if r.written.IsZero() {
		delete(s.requests, r.seq)
		return pdu{}, false, why
	}
	return pdu{}, true, why
}

// write writes the queued requests, batching those that are queued together.
func (s *session) write() {
	b := batch{bytes: make([]byte, 0, outBatch+maxPDU)}
	for {
		select {
		case <-s.down:
			return
		case r := <-s.out:
			b.bytes, b.requests = b.bytes[:0], b.requests[:0]
			for r != nil {
				s.put(&b, r)
				r = s.more(&b)
			}
			// This deadline is before the response timer's, so that callers learn which requests weren't
			// sent.
			s.conn.SetWriteDeadline(time.Now().Add(s.carrier.Response / 2))
			n, err := s.conn.Write(b.bytes)
			if err != nil {
				s.takeBack(&b, n)
				s.fail(fmt.Errorf("%w: %w", errLost, err))
			} else if last := b.requests.last(); last != nil {
				s.fail(last)
			}
		}
	}
}

// A batch is a number of requests that are written together.
type batch struct {
	bytes    []byte
	requests requests
}

type requests []*request

// last returns the error with which the session ends after these requests, or
// nil.
func (rs requests) last() error {
	if len(rs) == 0 {
		return nil
	}
	return rs[len(rs)-1].last
}

// more returns the next request of a batch, or nil if the batch is complete.
func (s *session) more(b *batch) *request {
	if len(b.bytes) >= outBatch || b.requests.last() != nil {
		return nil
	}
	select {
	case r := <-s.out:
		return r
	default:
		return nil
	}
}

// put adds a request to a batch, unless its caller gave up or the session has
// ended.
func (s *session) put(b *batch, r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.given || s.err != nil {
		return
	}
	b.bytes = r.append(b.bytes)
	b.requests = append(b.requests, r)
	r.written, r.end = time.Now(), len(b.bytes)
}

// takeBack records that only n bytes of a batch were written. The SMSC can't have the requests
// that end after them.
func (s *session) takeBack(b *batch, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range b.requests {
		if r.end > n {
			r.written = time.Time{}
		}
	}
}

// every calls do at an interval until the session ends.
func (s *session) every(d time.Duration, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-s.down:
			return
		case <-tick.C:
			do()
		}
	}
}

// keepAlive checks regularly that the SMSC still answers.
func (s *session) keepAlive() {
	s.every(s.carrier.Enquire, func() {
		if _, _, err := s.ask(context.Background(), &request{pdu: pdu{command: enquireLink}}); err != nil {
			s.fail(fmt.Errorf("enquire_link: %w", err))
		}
	})
}

// forgetLate regularly forgets requests whose response is too late.
func (s *session) forgetLate() {
	s.every(lateLimit, func() { s.forget(time.Now().Add(-lateLimit)) })
}

// forget drops the abandoned requests that were sent before a time.
func (s *session) forget(before time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for seq, r := range s.requests {
		if r.given && r.written.Before(before) {
			delete(s.requests, seq)
		}
	}
}

// close unbinds and ends the session.
func (s *session) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, unbindLimit)
	defer cancel()
	s.ask(ctx, &request{pdu: pdu{command: unbind}})
	s.fail(errClosed)
}
