package smpp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// A command is the command_id of a PDU, SMPP's unit of transmission (SMPP 3.4
// §5.1.2.1).
type command uint32

const (
	bindReceiver      command = 0x00000001
	bindTransmitter   command = 0x00000002
	submitSM          command = 0x00000004
	deliverSM         command = 0x00000005
	unbind            command = 0x00000006
	bindTransceiver   command = 0x00000009
	enquireLink       command = 0x00000015
	dataSM            command = 0x00000103
	alertNotification command = 0x00000102 // the only request without a response

	response    command = 0x80000000 // the bit that marks the response to a request
	genericNack command = 0x80000000 // the response to a PDU that isn't a valid request
)

const (
	headerSize = 16
	// maxPDU bounds the memory for one PDU. A message_payload can have 64 KiB.
	maxPDU = 68 << 10
)

// A pdu is a PDU's header and its undecoded body.
type pdu struct {
	command command
	status  Status // of a response
	seq     uint32
	body    []byte
}

// errFraming means that the beginning of the next PDU is unknown.
var errFraming = errors.New("a PDU's length is impossible")

// readPDU reads one PDU. With errFraming it also returns the header, so that the
// caller can respond.
func readPDU(r io.Reader) (pdu, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return pdu{}, err
	}
	p := pdu{
		command: command(binary.BigEndian.Uint32(h[4:])),
		status:  Status(binary.BigEndian.Uint32(h[8:])),
		seq:     binary.BigEndian.Uint32(h[12:]),
	}
	length := binary.BigEndian.Uint32(h[:])
	if length < headerSize || length > maxPDU {
		return p, errFraming
	}
	p.body = make([]byte, length-headerSize)
	if _, err := io.ReadFull(r, p.body); errors.Is(err, io.EOF) {
		return pdu{}, io.ErrUnexpectedEOF
	} else if err != nil {
		return pdu{}, err
	}
	return p, nil
}

func (p pdu) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(headerSize+len(p.body)))
	b = binary.BigEndian.AppendUint32(b, uint32(p.command))
	b = binary.BigEndian.AppendUint32(b, uint32(p.status))
	b = binary.BigEndian.AppendUint32(b, p.seq)
	return append(b, p.body...)
}

// errShort means that a body ends inside a field.
var errShort = errors.New("a PDU's body ends too soon")

// fields decodes a body field by field. After the first error, all fields are empty.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) take(n int) []byte {
	if f.err != nil || len(f.rest) < n {
		f.rest, f.err = nil, errShort
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) byte() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) uint16() int {
	if b := f.take(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

// text reads a C-octet string. It has no limit of its own, because SMSCs don't keep to
// the specification's limits.
func (f *fields) text() string {
	s, _, ok := bytes.Cut(f.rest, []byte{0})
	if !ok {
		f.rest, f.err = nil, errShort
		return ""
	}
	f.rest = f.rest[len(s)+1:]
	return string(s)
}

func appendText(b []byte, s string) []byte { return append(append(b, s...), 0) }

// An address is a number or a name, with its type of number (TON) and numbering
// plan (NPI).
type address struct {
	ton, npi byte
	addr     string
}

func (a address) append(b []byte) []byte { return appendText(append(b, a.ton, a.npi), a.addr) }

func (f *fields) address() address { return address{f.byte(), f.byte(), f.text()} }

// A bind is the body of bind_receiver, bind_transmitter and bind_transceiver (§4.1).
type bind struct {
	systemID, password, systemType string
	version                        byte
	addresses                      address // the range of addresses to deliver for
}

func (b bind) encode() []byte {
	out := appendText(appendText(appendText(nil, b.systemID), b.password), b.systemType)
	return b.addresses.append(append(out, b.version))
}

// A message is the body of a submit_sm or a deliver_sm (§4.4.1, §4.6.1), which have the same
// fields.
type message struct {
	service      string
	source, dest address
	esm          byte // esm_class: the kind of message
	protocol     byte
	priority     byte
	schedule     string
	validity     string
	registered   byte // registered_delivery: whether to send a receipt
	replace      byte
	coding       byte // data_coding
	predefined   byte
	text         []byte // at most 254 bytes
	payload      []byte // message_payload, instead of text
	receiptedID  string // receipted_message_id
	state        byte   // message_state; 0 if absent
	network      byte   // the kind of network in network_error_code; 0 if absent
	networkError int    // the code in it
	others       []TLV  // to submit
}

// Values of fields of a message.
const (
	esmUDH          = 0x40 // text begins with a user data header
	esmType         = 0x3C // the bits of the kind of message
	esmReceipt      = 0x04 // ...a delivery receipt
	esmIntermediate = 0x20 // ...a notification while the message is on its way
	codingDefault   = 0x00 // the SMSC's default alphabet: GSM 03.38, a septet in a byte
	codingUCS2      = 0x08
)

// Optional parameters (§5.3.2).
const (
	tagReceiptedID = 0x001E
	tagNetwork     = 0x0423
	tagPayload     = 0x0424
	tagState       = 0x0427
)

func (m message) encode() []byte {
	b := make([]byte, 0, 128+len(m.text)+len(m.payload))
	b = m.dest.append(m.source.append(appendText(b, m.service)))
	b = append(b, m.esm, m.protocol, m.priority)
	b = appendText(appendText(b, m.schedule), m.validity)
	b = append(b, m.registered, m.replace, m.coding, m.predefined, byte(len(m.text)))
	b = append(b, m.text...)
	if m.payload != nil {
		b = appendTLV(b, tagPayload, m.payload)
	}
	if m.receiptedID != "" {
		b = appendTLV(b, tagReceiptedID, appendText(nil, m.receiptedID))
	}
	if m.state != 0 {
		b = appendTLV(b, tagState, []byte{m.state})
	}
	for _, t := range m.others {
		b = appendTLV(b, t.Tag, t.Value)
	}
	return b
}

func appendTLV(b []byte, tag uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, tag)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// decodeMessage decodes a message. If the optional part ends early, the error is
// statusOptionalPart, and the message holds the fields before it.
func decodeMessage(body []byte) (message, error) {
	f := fields{rest: body}
	m := message{
		service: f.text(), source: f.address(), dest: f.address(),
		esm: f.byte(), protocol: f.byte(), priority: f.byte(), schedule: f.text(), validity: f.text(),
		registered: f.byte(), replace: f.byte(), coding: f.byte(), predefined: f.byte(),
	}
	m.text = f.take(int(f.byte()))
	return m.decodeOptional(&f)
}

// decodeData decodes a data_sm (§4.7.1), in which some SMSCs send receipts.
func decodeData(body []byte) (message, error) {
	f := fields{rest: body}
	m := message{service: f.text(), source: f.address(), dest: f.address(), esm: f.byte(), registered: f.byte(), coding: f.byte()}
	return m.decodeOptional(&f)
}

func (m message) decodeOptional(f *fields) (message, error) {
	if f.err != nil {
		return message{}, f.err
	}
	for len(f.rest) > 0 {
		tag, value := f.uint16(), f.take(f.uint16())
		if f.err != nil {
			return m, statusOptionalPart
		}
		switch tag {
		case tagPayload:
			m.payload = value
		case tagReceiptedID:
			m.receiptedID = cleanID(value)
		case tagNetwork:
			if len(value) == 3 { // the type of network, and the code
				m.network, m.networkError = value[0], int(binary.BigEndian.Uint16(value[1:]))
			}
		case tagState:
			if len(value) == 1 {
				m.state = value[0]
			}
		}
	}
	return m, nil
}

// maxID is the longest id of a message that we store. The specification allows 64
// characters.
const maxID = 128

// cleanID returns an id, or "" if it isn't safe to store and show.
func cleanID(b []byte) string {
	id, _, _ := bytes.Cut(b, []byte{0})
	if !fits(string(id[:min(len(id), maxID+1)]), maxID) {
		return ""
	}
	return string(id)
}

// decodeID decodes the body of a submit_sm_resp. Some SMSCs leave out the final zero, and some the
// body; then the id is "".
func decodeID(body []byte) string { return cleanID(body) }
