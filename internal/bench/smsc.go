package bench

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// An SMSC is an SMPP 3.4 peer that costs little. It accepts every bind, answers each submit_sm
// immediately, and sends a receipt if one is requested. Let it listen only on a private address of this
// machine.
type SMSC struct {
	binds, receipts, ids atomic.Int64

	mu    sync.Mutex // guards taken
	taken func(to, text string)
}

// The commands that an SMSC understands (SMPP 3.4 §5.1.2.1).
const (
	cmdSubmit      = 0x04
	cmdDeliver     = 0x05
	cmdUnbind      = 0x06
	cmdTransceiver = 0x09
	cmdEnquire     = 0x15
	cmdResponse    = 0x80000000
)

// maxPDU is far above the size of any message of ours.
const maxPDU = 4096

// Serve accepts connections until the listener is closed.
func (s *SMSC) Serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go s.bound(conn)
	}
}

// Binds returns the number of binds.
func (s *SMSC) Binds() int { return int(s.binds.Load()) }

// Receipts returns the number of acknowledged receipts.
func (s *SMSC) Receipts() int { return int(s.receipts.Load()) }

// onMessage sets the function that gets the messages.
func (s *SMSC) onMessage(taken func(to, text string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = taken
}

// bound serves one connection. It ends the connection at the first input that
// it doesn't understand.
func (s *SMSC) bound(conn net.Conn) {
	defer conn.Close()
	in, out := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)
	bound := false
	defer func() {
		if bound {
			s.binds.Add(-1)
		}
	}()
	for sequence := uint32(1); ; sequence++ {
		if in.Buffered() == 0 && out.Flush() != nil { // answer in one write the requests that came in one read
			return
		}
		command, number, body, err := readPDU(in)
		if err != nil {
			return
		}
		switch command {
		case cmdTransceiver:
			if !bound {
				bound = true
				s.binds.Add(1)
			}
			writePDU(out, command|cmdResponse, number, []byte("bench\x00"))
		case cmdSubmit:
			m, err := parseSubmit(body)
			if err != nil {
				return
			}
			id := fmt.Sprint(s.ids.Add(1))
			s.mu.Lock()
			taken := s.taken
			s.mu.Unlock()
			if taken != nil {
				taken("+"+m.to, m.text)
			}
			writePDU(out, command|cmdResponse, number, []byte(id+"\x00"))
			if m.receipt {
				writePDU(out, cmdDeliver, sequence, m.delivered(id))
			}
		case cmdDeliver | cmdResponse:
			s.receipts.Add(1)
		case cmdEnquire, cmdUnbind:
			writePDU(out, command|cmdResponse, number, nil)
		default:
			return
		}
	}
}

func readPDU(r io.Reader) (command, sequence uint32, body []byte, err error) {
	var h [16]byte
	if _, err = io.ReadFull(r, h[:]); err != nil {
		return 0, 0, nil, err
	}
	length := binary.BigEndian.Uint32(h[:])
	if length < 16 || length > maxPDU {
		return 0, 0, nil, errors.New("a PDU's length is impossible")
	}
	body = make([]byte, length-16)
	_, err = io.ReadFull(r, body)
	return binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[12:]), body, err
}

// writePDU writes a PDU with status 0. Errors appear when the writer is
// flushed.
func writePDU(w *bufio.Writer, command, sequence uint32, body []byte) {
	var h [16]byte
	binary.BigEndian.PutUint32(h[:], uint32(16+len(body)))
	binary.BigEndian.PutUint32(h[4:], command)
	binary.BigEndian.PutUint32(h[12:], sequence)
	w.Write(h[:])
	w.Write(body)
}

// submitted holds the fields of a submit_sm that the bench needs.
type submitted struct {
	from, to, text string
	receipt        bool
}

var errSubmit = errors.New("a submit_sm ends too soon")

// parseSubmit parses a submit_sm in the default alphabet, whose letters and digits are ASCII
// (§4.4.1).
func parseSubmit(body []byte) (m submitted, err error) {
	text := func() string {
		s, rest, ok := bytes.Cut(body, []byte{0})
		if !ok {
			err = errSubmit
		}
		body = rest
		return string(s)
	}
	skip := func(n int) (first byte) {
		if len(body) < n {
			body, err = nil, errSubmit
			return 0
		}
		first, body = body[0], body[n:]
		return first
	}
	text() // service_type
	skip(2)
	m.from = text()
	skip(2)
	m.to = text()
	skip(3)
	text() // schedule_delivery_time
	text() // validity_period
	m.receipt = skip(1)&1 != 0
	skip(3)
	n := int(skip(1))
	if len(body) < n {
		err = errSubmit
	}
	if err != nil {
		return submitted{}, err
	}
	m.text = string(body[:n])
	return m, nil
}

// delivered returns the deliver_sm with a message's receipt as text, and with the id as a
// parameter too.
func (m submitted) delivered(id string) []byte {
	text := fmt.Sprintf("id:%s sub:001 dlvrd:001 submit date:2601010000 done date:2601010000 stat:DELIVRD err:000 text:", id)
	b := append([]byte("\x00\x01\x01"), m.to+"\x00\x00\x00"+m.from+"\x00"...)
	b = append(b, 4, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(text))) // esm_class: a receipt
	b = append(b, text...)
	b = append(b, 0x00, 0x1e, 0, byte(len(id)+1))
	return append(append(b, id...), 0)
}
