package smpp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

var unexported = cmp.AllowUnexported(message{}, address{}, pdu{}, receipt{})

// The specification shows one PDU in bytes (§3.2.2).
func TestTheSpecificationsOwnSample(t *testing.T) {
	t.Parallel()
	const sample = "0000002F000000020000000000000001" +
		"534D50503354455354007365637265743038005355424D4954310000010100"
	want, err := hex.DecodeString(sample)
	if err != nil {
		t.Fatal(err)
	}
	body := bind{systemID: "SMPP3TEST", password: "secret08", systemType: "SUBMIT1", addresses: address{ton: 1, npi: 1}}
	got := pdu{command: bindTransmitter, seq: 1, body: body.encode()}
	if !bytes.Equal(got.append(nil), want) {
		t.Errorf("got  % x\nwant % x", got.append(nil), want)
	}
	read, err := readPDU(bytes.NewReader(want))
	if diff := cmp.Diff(got, read, unexported); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestAMessageIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, m := range []message{
		{},
		{
			service: "codes", source: address{5, 0, "Example"}, dest: address{1, 1, "12025550100"}, esm: 0x40, protocol: 1, priority: 2,
			schedule: "000000000100000R", validity: "000000001000000R", registered: 1, replace: 1, coding: 8, predefined: 3,
			text: bytes.Repeat([]byte{0, 0xFF}, 127), receiptedID: "abc", state: 2,
		},
		{payload: bytes.Repeat([]byte{7}, 1<<16-1)},
	} {
		b := m.encode()
		got, err := decodeMessage(b)
		if diff := cmp.Diff(m, got, unexported, cmp.Transformer("text", func(b []byte) string { return string(b) })); diff != "" || err != nil {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
		mandatory := len(message{service: m.service, source: m.source, dest: m.dest, schedule: m.schedule, validity: m.validity, text: m.text}.encode())
		for n := 0; n < len(b); n += 1 + n/1000 {
			_, err := decodeMessage(b[:n])
			switch {
			case n < mandatory && !errors.Is(err, errShort):
				t.Errorf("%d of %d bytes: got %v, want %v", n, len(b), err, errShort)
			case n > mandatory && err != nil && !errors.Is(err, statusOptionalPart):
				t.Errorf("%d of %d bytes: got %v", n, len(b), err)
			}
		}
	}
}

func TestPDUsHaveBounds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		length uint32
		err    error
	}{
		{0, errFraming}, {15, errFraming}, {16, nil}, {17, nil}, {maxPDU, nil}, {maxPDU + 1, errFraming}, {1 << 31, errFraming},
	} {
		b := binary.BigEndian.AppendUint32(nil, tt.length)
		b = append(b, make([]byte, maxPDU-4)...)
		b[15] = 9
		p, err := readPDU(bytes.NewReader(b))
		if !errors.Is(err, tt.err) || p.seq != 9 {
			t.Errorf("length %d: got %v, sequence %d; want %v, 9", tt.length, err, p.seq, tt.err)
		}
		if tt.err == nil && tt.length > headerSize {
			if _, err := readPDU(bytes.NewReader(b[:tt.length-1])); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("length %d, and one byte less: got %v", tt.length, err)
			}
		}
	}
}

// Every status of the specification's table 5-2, as far as it isn't reserved.
func TestStatusesHaveTheSpecificationsNames(t *testing.T) {
	t.Parallel()
	const table = `00 ROK 01 RINVMSGLEN 02 RINVCMDLEN 03 RINVCMDID 04 RINVBNDSTS 05 RALYBND 06 RINVPRTFLG 07 RINVREGDLVFLG 08 RSYSERR
		0A RINVSRCADR 0B RINVDSTADR 0C RINVMSGID 0D RBINDFAIL 0E RINVPASWD 0F RINVSYSID 11 RCANCELFAIL 13 RREPLACEFAIL 14 RMSGQFUL
		15 RINVSERTYP 33 RINVNUMDESTS 34 RINVDLNAME 40 RINVDESTFLAG 42 RINVSUBREP 43 RINVESMCLASS 44 RCNTSUBDL 45 RSUBMITFAIL
		48 RINVSRCTON 49 RINVSRCNPI 50 RINVDSTTON 51 RINVDSTNPI 53 RINVSYSTYP 54 RINVREPFLAG 55 RINVNUMMSGS 58 RTHROTTLED
		61 RINVSCHED 62 RINVEXPIRY 63 RINVDFTMSGID 64 RX_T_APPN 65 RX_P_APPN 66 RX_R_APPN 67 RQUERYFAIL C0 RINVOPTPARSTREAM
		C1 ROPTPARNOTALLWD C2 RINVPARLEN C3 RMISSINGOPTPARAM C4 RINVOPTPARAMVAL FE RDELIVERYFAILURE FF RUNKNOWNERR`
	words := strings.Fields(table)
	for i := 0; i < len(words); i += 2 {
		b, _ := hex.DecodeString(words[i])
		s := Status(b[0])
		if got, want := s.Error(), "ESME_"+words[i+1]; got != want {
			t.Errorf("%02x: got %s, want %s", b[0], got, want)
		}
		err := s.decide(nil, time.Minute)
		if (err == nil) != (s == 0) {
			t.Errorf("%v: got %v", s, err)
		}
		if d := carrier.Decision(err); (d.After != 0) != (s == 0x58 || s == 0x14) {
			t.Errorf("%v: after %v", s, d.After)
		}
	}
	if got, want := len(meanings), len(words)/2-1; got != want {
		t.Errorf("the table has %d statuses, want %d", got, want)
	}
	if got, want := Status(0x410).Error(), "status 0x00000410"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestReceiptsInAllTheirForms(t *testing.T) {
	t.Parallel()
	ends := [2]string{"12025550100", "12345"}
	base := dlr("x", "x")
	unmarked := func(s string) message { m := base; m.esm, m.text = 0, []byte(s); return m }
	text := func(s string) message { m := base; m.text = []byte(s); return m }
	tlv := func(id string, state byte) message {
		m := base
		m.text, m.receiptedID, m.state = nil, id, state
		return m
	}
	with := func(m message, change func(*message)) message { change(&m); return m }
	delivered := receipt{ids: []string{"7"}, written: "7", delivered: true, final: true, known: true, ends: ends}
	code := func(r receipt, code string) *receipt { r.code = code; return &r }
	failed := func(reason verify.Reason) *receipt {
		return &receipt{ids: []string{"7"}, written: "7", reason: reason, final: true, known: true, ends: ends}
	}
	doubt := failed(verify.ReasonUnknown)
	doubt.doubt = true
	strange := &receipt{ids: []string{"7"}, written: "7", ends: ends}
	open := &receipt{ids: []string{"7"}, written: "7", known: true, ends: ends}
	for name, tt := range map[string]struct {
		m    message
		want *receipt // nil for none
	}{
		"text":                       {text("id:7 sub:001 dlvrd:001 submit date:2611211834 done date:2611211834 stat:DELIVRD err:000 text:Your"), code(delivered, "000")},
		"text in another order":      {text("stat:DELIVRD err:000 id:7"), code(delivered, "000")},
		"text in another case":       {text("ID:7 Stat:delivrd Err:000 Text:"), code(delivered, "000")},
		"text with spaces":           {text("id: 7 stat: DELIVRD err: 000"), code(delivered, "000")},
		"text written in full":       {text("id:7 stat:DELIVERED"), &delivered},
		"text on lines":              {text("id:7\r\nstat:DELIVRD\r\n"), &delivered},
		"text in the payload":        {with(text(""), func(m *message) { m.payload = []byte("id:7 stat:DELIVRD") }), &delivered},
		"a code that is a book":      {text("id:7 stat:UNDELIV err:0123456789abcdefg"), code(*failed(verify.ReasonUnreachable), "0123456789abcdef")},
		"our text says another":      {text("id:7 stat:DELIVRD err:000 text:id:8 stat:UNDELIV"), code(delivered, "000")},
		"parameters":                 {tlv("7", 2), &delivered},
		"both":                       {with(tlv("7", 2), func(m *message) { m.text = []byte("id:other stat:UNDELIV") }), &delivered},
		"the id of one of each":      {with(tlv("7", 0), func(m *message) { m.text = []byte("stat:DELIVRD") }), &delivered},
		"and the other way around":   {with(tlv("", 2), func(m *message) { m.text = []byte("id:7") }), &delivered},
		"not marked as a receipt":    {with(tlv("7", 2), func(m *message) { m.esm = 0 }), &delivered},
		"marked with a header":       {with(text("id:7 stat:DELIVRD"), func(m *message) { m.esm |= 0x40 }), &delivered},
		"a plus":                     {with(tlv("7", 2), func(m *message) { m.source.addr = "+12025550100" }), &delivered},
		"expired":                    {text("id:7 stat:EXPIRED"), failed(verify.ReasonExpired)},
		"deleted":                    {text("id:7 stat:DELETED"), failed(verify.ReasonNetwork)},
		"undeliverable":              {text("id:7 stat:UNDELIV err:027"), code(*failed(verify.ReasonUnreachable), "027")},
		"rejected":                   {text("id:7 stat:REJECTD"), failed(verify.ReasonBlocked)},
		"failed":                     {text("id:7 stat:FAILED"), failed(verify.ReasonUnreachable)},
		"state expired":              {tlv("7", 3), failed(verify.ReasonExpired)},
		"state deleted":              {tlv("7", 4), failed(verify.ReasonNetwork)},
		"state undeliverable":        {tlv("7", 5), failed(verify.ReasonUnreachable)},
		"state rejected":             {tlv("7", 8), failed(verify.ReasonBlocked)},
		"en route":                   {text("id:7 stat:ENROUTE"), open},
		"accepted":                   {text("id:7 stat:ACCEPTD"), open},
		"unknown":                    {text("id:7 stat:UNKNOWN"), doubt},
		"state en route":             {tlv("7", 1), open},
		"state accepted":             {tlv("7", 6), open},
		"state unknown":              {tlv("7", 7), doubt},
		"a state that isn't":         {tlv("7", 77), strange},
		"no state":                   {text("id:7"), strange},
		"between commas":             {text("id:7,sub:001,dlvrd:001,stat:DELIVRD,err:000"), code(delivered, "000")},
		"the network's error code":   {with(tlv("7", 5), func(m *message) { m.networkError = 27 }), code(*failed(verify.ReasonUnreachable), "27")},
		"unmarked, like a receipt":   {unmarked("id:7 submit date:2611211834 done date:2611211834 stat:DELIVRD"), &receipt{ids: []string{"7"}, written: "7", delivered: true, final: true, known: true, unmarked: true, ends: ends}},
		"a word of the SMSC's own":   {text("id:7 stat:NOROUTES"), strange},
		"no id":                      {text("stat:DELIVRD"), nil},
		"nothing":                    {text(""), nil},
		"a person's message":         {with(text("id:7 stat:DELIVRD"), func(m *message) { m.esm = 0 }), nil},
		"a notification on the way":  {with(text("id:7 stat:DELIVRD"), func(m *message) { m.esm = 0x20 }), nil},
		"a phone's acknowledgement":  {with(text("id:7 stat:DELIVRD"), func(m *message) { m.esm = 0x08 }), nil},
		"an id without its key":      {text("xid:7 stat:DELIVRD"), nil},
		"an empty id and then a key": {text("id: stat:DELIVRD"), nil},
	} {
		got, ok := Config{}.parseReceipt(tt.m)
		if ok != (tt.want != nil) {
			t.Errorf("%s: a receipt: %t", name, ok)
		} else if ok {
			if diff := cmp.Diff(*tt.want, got, unexported); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", name, diff)
			}
		}
	}
}

func TestIDsInTwoForms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		form                     IDForm
		response, receipt, param string // as the SMSC writes it
		sent                     string
		receipted                []string
	}{
		{SameID, "0A1b", "0A1b", "", "0A1b", []string{"0A1b"}},
		{HexThenDecimal, "1A2B", "6699", "", "6699", []string{"6699"}},
		{HexThenDecimal, "00001a2b", "0000006699", "", "6699", []string{"6699"}},
		{HexThenDecimal, "1A2B", "", "1A2B", "6699", []string{"6699", "1A2B"}}, // which is no decimal number
		{HexThenDecimal, "1122", "4386", "1122", "4386", []string{"4386", "1122"}},
		{DecimalThenHex, "6699", "1A2B", "", "6699", []string{"6699"}},
		{DecimalThenHex, "6699", "1a2b", "6699", "6699", []string{"6699", "26265"}},
		{DecimalThenHex, "340282366920938463463374607431768211455", "ffffffffffffffffffffffffffffffff", "", "340282366920938463463374607431768211455", []string{"340282366920938463463374607431768211455"}},
		{HexThenDecimal, "not a number", "nor this", "", "not a number", []string{"nor"}},
	} {
		c := Config{ReceiptID: tt.form}
		if got := c.ReceiptID.sent(tt.response); got != tt.sent {
			t.Errorf("%s %s: got %s, want %s", tt.form, tt.response, got, tt.sent)
		}
		m := dlr(tt.receipt, "DELIVRD")
		m.receiptedID = tt.param
		got, ok := c.parseReceipt(m)
		if diff := cmp.Diff(tt.receipted, got.ids); diff != "" || !ok {
			t.Errorf("%s %s: (-want +got)\n%s", tt.form, tt.receipt, diff)
		}
	}
	for body, want := range map[string]string{
		"": "", "\x00": "", "7": "7", "7\x00": "7", "7\x008": "7", "a b-c": "a b-c",
		"7\n": "", "\xff": "", strings.Repeat("9", 128) + "\x00": strings.Repeat("9", 128), strings.Repeat("9", 129) + "\x00": "",
	} {
		if got := decodeID([]byte(body)); got != want {
			t.Errorf("%q: got id %q, want %q", body, got, want)
		}
		m := dlr(want, "DELIVRD")
		m.text = []byte("id:" + strings.TrimSuffix(body, "\x00") + " stat:DELIVRD")
		if got, ok := (Config{}).parseReceipt(m); len(body) > 128 && (ok != (want != "") || ok && got.ids[0] != want) {
			t.Errorf("%q: got %v of a receipt", body, got.ids)
		}
	}
}

func TestAReceiptInAnotherFormFindsItsMessage(t *testing.T) {
	story(t, func(c *Config) { c.ReceiptID = HexThenDecimal }, func(k *kit) {
		p := k.bound()
		m := k.sms()
		done := k.sending(m)
		asked, _ := p.submitted()
		p.answer(asked, statusOK, "1A2B\x00")
		k.want(done, "6699", 0, verify.NoReason)
		p.deliver(dlr("6699", "DELIVRD"))
		want := carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Ref: "6699", Delivered: true}
		k.receipt(want)
		hex := message{esm: esmReceipt, receiptedID: "1A2B", state: 2}
		p.deliver(hex)
		k.receipt(want)
	})
}

// FuzzPDU reads what an SMSC may write, and what it understood must survive being written again.
func FuzzPDU(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			p, err := readPDU(r)
			if err != nil {
				return
			}
			if again, err := readPDU(bytes.NewReader(p.append(nil))); err != nil || !cmp.Equal(p, again, unexported) {
				t.Fatalf("%+v was read again as %+v, %v", p, again, err)
			}
			decodeID(p.body)
			m, err := decodeMessage(p.body)
			if err != nil {
				continue
			}
			for _, form := range []IDForm{SameID, HexThenDecimal, DecimalThenHex} {
				if r, ok := (Config{ReceiptID: form}).parseReceipt(m); ok && (len(r.ids) == 0 || r.delivered && !r.final) {
					t.Fatalf("%+v is no receipt", r)
				}
			}
			again, err := decodeMessage(m.encode())
			if err != nil || !bytes.Equal(again.encode(), m.encode()) {
				t.Fatalf("%+v was read again as %+v, %v", m, again, err)
			}
		}
	})
}

// FuzzSession lets an SMSC say anything after the bind. Whatever that is, the carrier keeps to the
// protocol, ends the session with the connection, and binds again.
func FuzzSession(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			dials := make(chan net.Conn, 100)
			c := start(Config{Name: "smsc", Addr: "smsc.example:2775", SystemID: "countersign"}, pipes(dials))
			defer c.Close(t.Context())
			k := &kit{T: t, Carrier: c, dials: dials, patience: time.Second}
			p := k.bound()
			done := k.sending(k.sms())
			p.submitted()
			var said sync.WaitGroup
			defer said.Wait()
			said.Go(func() {
				defer p.conn.Close()
				p.conn.Write(b)
				time.Sleep(2 * time.Second)
			})
			for {
				got, err := readPDU(p.in)
				if err != nil {
					break
				}
				if got.command&response == 0 && got.command != enquireLink && got.command != unbind {
					t.Fatalf("got %+v, want responses only", got)
				}
			}
			<-done
			k.bound().conn.Close()
		})
	})
}

func seeds() (all [][]byte) {
	whole := func(c command, s Status, seq uint32, body string) {
		all = append(all, pdu{command: c, status: s, seq: seq, body: []byte(body)}.append(nil))
	}
	m := message{esm: esmReceipt, receiptedID: "1", state: 2, payload: []byte("id:1 stat:DELIVRD")}
	whole(deliverSM, 0, 1, string(dlr("1", "DELIVRD").encode()))
	whole(deliverSM, 0, 1, string(m.encode()))
	whole(deliverSM, 0, 1, string(m.encode())+"\x04")
	whole(deliverSM, 0, 1, "")
	whole(submitSM|response, 0, 2, "1\x00")
	whole(submitSM|response, 0x58, 2, "")
	whole(genericNack, 3, 2, "")
	whole(enquireLink, 0, 9, "")
	whole(unbind, 0, 9, "")
	whole(alertNotification, 0, 9, "")
	whole(0x103, 0, 9, "data_sm")
	all = append(all, []byte{0, 0, 0, 15, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1}, bytes.Repeat([]byte{0xFF}, 20), bytes.Join(all, nil))
	return all
}
