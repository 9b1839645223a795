package smpp

import (
	"context"
	"errors"
	"log/slog"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// A receipt is the content of a delivery receipt in a deliver_sm.
type receipt struct {
	ids       []string // possible ids of the message, the likeliest first
	written   string   // the id as the SMSC wrote it
	delivered bool
	reason    verify.Reason // when not delivered
	code      string        // the network's own, as it wrote it
	known     bool          // the state is one of states
	unmarked  bool          // only its text says that it is a receipt
	final     bool          // or else the message is still on its way
	doubt     bool          // the SMSC doesn't know where the message is
	hint      string        // for the operator; see carrier.Receipt
	ends      [2]string     // the addresses: one of them is the phone's
}

// states are the values of message_state (SMPP 3.4 §5.2.28) and their words in the text form
// (appendix B). ENROUTE and ACCEPTD aren't final: the message is on its way. UNKNOWN leaves open whether the
// phone has the message.
var states = []struct {
	value  byte
	word   string        // its beginning: some SMSCs write it in full
	reason verify.Reason // none for delivered
	final  bool
}{
	{1, "ENROUTE", verify.NoReason, false},
	{2, "DELIV", verify.NoReason, true},
	{3, "EXPIRED", verify.ReasonExpired, true},
	{4, "DELETED", verify.ReasonNetwork, true},
	{5, "UNDELIV", verify.ReasonUnreachable, true},
	{6, "ACCEPT", verify.NoReason, false},
	{7, "UNKNOWN", verify.ReasonUnknown, true},
	{8, "REJECT", verify.ReasonBlocked, true},
	{0, "FAILED", verify.ReasonUnreachable, true}, // not of the specification, and often seen
}

// parseReceipt parses a delivery receipt in the form of optional parameters or of text. If both
// are present, the parameters count. It reports false for a message that isn't a receipt.
func (c Config) parseReceipt(m message) (r receipt, ok bool) {
	text := m.text
	if len(text) == 0 {
		text = m.payload
	}
	r.unmarked = m.esm&esmType != esmReceipt && m.receiptedID == ""
	if r.unmarked && (m.esm&esmType != 0 || !looksLikeReceipt(string(text))) {
		return receipt{}, false
	}
	id, stat, code := parseText(string(text))
	if strings.Trim(code, "0") == "" && m.networkError != 0 {
		code = strconv.Itoa(m.networkError)
	}
	if m.receiptedID != "" {
		// By the specification, this is the id of the response. Some SMSCs write it in the form
		// of the text instead.
		r.ids = append(r.ids, c.ReceiptID.sent(m.receiptedID))
		id = m.receiptedID
	}
	r.written = id
	if id = c.ReceiptID.receipted(id); id != "" && !slices.Contains(r.ids, id) {
		r.ids = append(r.ids, id)
	}
	for _, s := range states {
		if m.state != 0 && m.state == s.value || m.state == 0 && strings.HasPrefix(strings.ToUpper(stat), s.word) {
			r.known = true
			r.doubt = s.reason == verify.ReasonUnknown
			r.delivered, r.reason, r.final = s.final && s.reason == verify.NoReason, s.reason, s.final
			break
		}
	}
	r.code = code
	if r.final && !r.delivered && !r.doubt {
		r.reason = c.reasonOf(r, m)
	}
	r.ends = [2]string{bare(m.source.addr), bare(m.dest.addr)}
	return r, len(r.ids) > 0
}

// cause is what a receipt says of a failure: the network's code, or without one the state.
func (r receipt) cause() string {
	if r.delivered {
		return ""
	}
	if strings.Trim(r.code, "0") != "" {
		return "err:" + r.code
	}
	for _, s := range states {
		if s.final && s.reason == r.reason {
			return s.word
		}
	}
	return ""
}

// looksLikeReceipt reports whether a text has the keys of a receipt. Some SMSCs don't mark receipts as such. A
// person can write such a text too, but doesn't know the id of their message.
func looksLikeReceipt(text string) bool {
	text = strings.ToLower(text)
	for _, key := range [...]string{"id:", "submit date:", "done date:", "stat:"} {
		if !strings.Contains(text, key) {
			return false
		}
	}
	return true
}

// parseText parses "id:X sub:001 dlvrd:001 submit date:… done date:… stat:DELIVRD err:000 text:…",
// with the keys in any order and in upper or lower case. It ignores everything after "text:", which
// is our own text.
func parseText(text string) (id, stat, code string) {
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == ',' || r == ';' })
	for i, word := range words {
		key, value, ok := strings.Cut(word, ":")
		if ok && value == "" && i+1 < len(words) && !strings.Contains(words[i+1], ":") {
			value = words[i+1]
		}
		switch strings.ToLower(key) {
		case "id":
			id = cleanID([]byte(value))
		case "stat":
			stat = value
		case "err":
			code = value[:min(len(value), maxCode)]
		case "text":
			if ok {
				return id, stat, code
			}
		}
	}
	return id, stat, code
}

// maxCode is the number of bytes of an SMSC's error code that are kept.
const maxCode = 16

// bare removes a number's plus.
func bare(number string) string { return strings.TrimPrefix(number, "+") }

// An IDForm says how an SMSC writes a message's id in its submit_sm_resp and in its receipts.
type IDForm string

const (
	SameID         IDForm = ""                 // the same in both
	HexThenDecimal IDForm = "hex-then-decimal" // 1A2B, then 6699
	DecimalThenHex IDForm = "decimal-then-hex" // 6699, then 1A2B
)

// sent and receipted convert an id to one form, which is decimal unless the SMSC writes both the
// same.
func (f IDForm) sent(id string) string {
	switch f {
	case HexThenDecimal:
		return decimal(id, 16)
	case DecimalThenHex:
		return decimal(id, 10)
	default:
		return id
	}
}

func (f IDForm) receipted(id string) string {
	switch f {
	case HexThenDecimal:
		return decimal(id, 10)
	case DecimalThenHex:
		return decimal(id, 16)
	default:
		return id
	}
}

func decimal(id string, base int) string {
	if n, ok := new(big.Int).SetString(id, base); ok {
		return n.String()
	}
	return id
}

const (
	// maxReceipts is the number of receipts that are processed concurrently. The SMSC is asked to send
	// further ones again.
	maxReceipts = 4096
	// earlyLimit is how long an unknown receipt waits for the response that explains it.
	earlyLimit = time.Second
	// receiptLimit is the timeout for recording a receipt.
	receiptLimit = 10 * time.Second
)

// deliver handles a deliver_sm. It acknowledges a receipt once it is recorded. Until then the
// session must keep reading, so recording runs in a goroutine of its own.
func (c *Carrier) deliver(s *session, p pdu) {
	decode := decodeMessage
	if p.command == dataSM {
		decode = decodeData
	}
	m, err := decode(p.body)
	r, ok := c.parseReceipt(m)
	switch {
	case errors.Is(err, errShort):
		s.respond(p, statusShort)
	case err != nil && !ok:
		s.respond(p, statusOptionalPart)
	case !ok || !r.final:
		if ok && !r.known || !ok && m.esm&esmType == esmReceipt {
			c.noteUnread(r)
		}
		s.respond(p, statusOK) // a message from a person, which nobody reads, or a receipt that isn't final
	default:
		select {
		case c.receipts <- struct{}{}:
			c.work.Go(func() {
				s.respond(p, c.receive(r))
				<-c.receipts
			})
		default:
			s.respond(p, statusTemporary)
		}
	}
}

// noteUnread counts a receipt that this package can't read. Its text stays out of the log, because it may hold a
// number or a code.
func (c *Carrier) noteUnread(r receipt) {
	c.unread.Add(1)
	ref := ""
	if len(r.ids) > 0 {
		ref = r.ids[0]
	}
	c.Log.Debug("receipt not read: its state isn't known", "carrier", c.Config.Name, "ref", ref)
}

// receive matches a receipt with its message and records it. The status that it returns tells the
// SMSC whether to send the receipt again.
func (c *Carrier) receive(r receipt) Status {
	if !r.delivered {
		c.Log.Info("not delivered", "carrier", c.Config.Name, "ref", r.ids[0], "reason", r.reason)
	}
	if s, id, how := c.ledger.find(c.ctx, r, c.pool.busy); s != nil {
		if how != unlike {
			if r.hint = c.ReceiptID.hint(id, r.written, how); r.hint != "" {
				c.Outages.Failed("receipt_id "+c.Config.Name, slog.LevelWarn, "receipts write ids in another form than responses", "carrier", c.Config.Name, "err", r.hint)
			}
		}
		return c.passOn(s, id, r)
	}
	// The message was sent before we started, or by another replica.
	for _, id := range slices.Concat(r.ids, otherSpellings(r.ids[0])) {
		if status, known := c.recordReceipt(carrier.Receipt{Ref: id, Unsure: true, Delivered: r.delivered, Reason: r.reason, Code: r.cause(), Doubt: r.doubt}); known {
			return status
		}
	}
	if s := c.ledger.lostTo(r.ends, c.Prefix, time.Now()); s != nil && !r.unmarked {
		return c.passOn(s, r.ids[0], r)
	}
	status, _ := c.recordReceipt(carrier.Receipt{Ref: r.ids[0], Delivered: r.delivered, Reason: r.reason, Code: r.cause(), Doubt: r.doubt})
	return status
}

// passOn records a receipt for a shipment of ours, unless other parts are still undecided.
func (c *Carrier) passOn(s *shipment, id string, r receipt) Status {
	ref, decided := c.ledger.note(s, id, r.delivered)
	if !decided {
		return statusOK
	}
	status, _ := c.recordReceipt(carrier.Receipt{
		Verification: s.verification, Attempt: s.attempt, Ref: ref, Delivered: r.delivered, Reason: r.reason,
		Code: r.cause(), Doubt: r.doubt, Hint: r.hint,
	})
	return status
}

// recordReceipt passes a receipt to the dispatcher and returns the status for the SMSC. known is
// false if the message is unknown.
func (c *Carrier) recordReceipt(r carrier.Receipt) (status Status, known bool) {
	receive := c.receiver.Load()
	if receive == nil { // we have just started
		return statusTemporary, true
	}
	r.Carrier = c.Config.Name
	ctx, cancel := context.WithTimeout(context.Background(), receiptLimit)
	defer cancel()
	err := (*receive)(ctx, r)
	var final *verify.Error
	switch {
	case err == nil:
		return statusOK, true
	case errors.Is(err, verify.ErrNotFound):
		return statusOK, false
	case errors.As(err, &final) && final.Kind != verify.KindUnavailable:
		return statusOK, true // a repeat would have the same result
	case errors.Is(err, verify.ErrNoStore):
		c.Outages.DatabaseFailed("receipt not recorded; the SMSC is asked to send it again", err, "carrier", c.Config.Name)
		return statusTemporary, true
	default:
		c.Outages.Failed("receipts "+c.Config.Name, slog.LevelWarn, "receipt not recorded; the SMSC is asked to send it again", "carrier", c.Config.Name, "err", err)
		return statusTemporary, true
	}
}
