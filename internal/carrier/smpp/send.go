package smpp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/sms"
	"github.com/countersign/countersign/internal/verify"
)

// Send implements [carrier.Carrier]. It submits a text part by part, each after the part before it was
// accepted, so that a refused text costs as few parts as possible. The ref is the id of the last part.
func (c *Carrier) Send(ctx context.Context, m verify.Message) (r carrier.Result, err error) {
	s, bodies, err := c.prepare(m, time.Now())
	if err != nil {
		return r, err
	}
	for i, body := range bodies {
		r.Ref, err = c.submit(ctx, s, body)
		if err != nil {
			whole := i == len(bodies)-1 && carrier.Decision(err).Outcome == verify.AttemptUnknown
			if !whole {
				c.ledger.drop(s)
			}
			return carrier.Result{}, err
		}
	}
	return r, nil
}

// submit submits one part and waits for the response. Its error says what to do
// next.
func (c *Carrier) submit(ctx context.Context, shipment *shipment, body []byte) (id string, err error) {
	s, err := c.pool.take(ctx)
	if err != nil {
		return "", noPlace(err)
	}
	defer c.pool.give(s)
	if err := c.pace.wait(ctx); err != nil {
		return "", err
	}
	c.ledger.submit(shipment)
	r := &request{pdu: pdu{command: submitSM, body: body}, shipment: shipment}
	answer, sent, err := s.ask(ctx, r)
	switch {
	case err != nil && sent:
		c.ledger.lose(shipment, time.Now())
		s.doubt()
		return "", carrier.Unknown(err)
	case err != nil:
		return "", noPlace(err)
	case answer.status == statusOK:
		c.pace.accepted(r.written)
		return c.ReceiptID.sent(decodeID(answer.body)), nil
	case answer.status.slower():
		c.throttled.Add(1)
		return "", answer.status.decide(c.Refuse, c.pace.throttled(r.written, time.Now()))
	default:
		return "", answer.status.decide(c.Refuse, 0)
	}
}

// noteResponse records a response to a submit_sm as soon as it is read, so that the ledger knows
// the id before a receipt that follows immediately. A late response has no caller that waits for
// it, so noteResponse also reports what it says: that the message failed, or that the SMSC has it, so that no other
// carrier gets it too.
func (c *Carrier) noteResponse(s *shipment, p pdu, late bool) {
	if p.status == statusOK {
		whole := c.ledger.accept(s, c.ReceiptID.sent(decodeID(p.body)))
		if late && whole {
			c.work.Go(func() {
				c.recordReceipt(carrier.Receipt{Verification: s.verification, Attempt: s.attempt, Taken: true})
			})
		}
		return
	}
	if late {
		failure := carrier.Decision(p.status.decide(c.Refuse, 0))
		c.work.Go(func() {
			c.recordReceipt(carrier.Receipt{Verification: s.verification, Attempt: s.attempt, Reason: failure.Reason, Code: failure.Code})
		})
	}
}

// noPlace adds the reason to an error of a message that found no place in a
// window.
func noPlace(err error) error {
	var bind bindError
	switch {
	case errors.As(err, &bind):
		return carrier.Because(verify.ReasonMisconfigured, err)
	case errors.Is(err, errFull):
		return carrier.Because(verify.ReasonThrottled, err)
	default:
		return carrier.Because(verify.ReasonUnreachable, err)
	}
}

var (
	errChannel = errors.New("SMPP carries text only")
	errParts   = fmt.Errorf("a text may have at most %d parts", sms.MaxParts)
	errSender  = errors.New("a sender is a number, a short code, or a name of at most 11 letters, digits and spaces")
	errExpired = errors.New("the code has expired")
)

// unfit refuses a message that the SMSC never sees.
func unfit(reason verify.Reason, err error) error {
	return carrier.Blaming(verify.BlameUs, carrier.Because(reason, carrier.Refused(err)))
}

// prepare encodes a message as the bodies of one or more submit_sm.
func (c *Carrier) prepare(m verify.Message, now time.Time) (*shipment, [][]byte, error) {
	coding, parts := c.encodeText(m.Body.Reveal())
	source, ok := c.sender(m.From)
	life := m.ExpiresAt.Sub(now)
	switch {
	case m.Channel != verify.ChannelSMS:
		return nil, nil, unfit(verify.ReasonMisconfigured, errChannel)
	case len(parts) > sms.MaxParts:
		return nil, nil, unfit(verify.ReasonInvalidMessage, errParts)
	case !ok:
		return nil, nil, unfit(verify.ReasonInvalidSender, errSender)
	case life <= 0:
		return nil, nil, unfit(verify.ReasonExpired, errExpired)
	}
	to := c.Prefix + bare(string(m.To)) // receipts may leave out the prefix
	template := message{
		service: c.Service, source: source, dest: address{c.International.TON, c.International.NPI, to},
		coding: coding, registered: 1, others: c.TLVs,
	}
	if !c.NoValidity {
		template.validity = validity(life)
	}
	if c.NoReceipts {
		template.registered = 0
	}
	s := &shipment{verification: m.Verification, attempt: m.Attempt, to: bare(string(m.To)), parts: len(parts), expires: m.ExpiresAt}
	return s, c.encodeParts(template, parts), nil
}

func (c *Carrier) encodeParts(m message, parts [][]byte) (bodies [][]byte) {
	reference := byte(c.references.Add(1))
	for i, part := range parts {
		m.text = part
		if len(parts) > 1 {
			m.esm = esmUDH
			m.text = append(sms.Header(reference, i+1, len(parts)), part...)
		}
		bodies = append(bodies, m.encode())
	}
	return bodies
}

// shortCode is the highest number of digits of a short code, which is a number without a
// plus.
const shortCode = 8

// sender converts a sender to an address. A sender is a number such as +12025550199, with or without
// the plus, a short code such as 12345, or a name. If it is empty, the SMSC uses its default.
func (c *Carrier) sender(from string) (a address, ok bool) {
	digits := bare(from)
	switch {
	case from == "":
		return address{}, true
	case strings.Trim(digits, "0123456789") == "" && digits != "":
		kind := c.International
		if from == digits && len(digits) <= shortCode {
			kind = c.Short
		}
		return address{kind.TON, kind.NPI, digits}, len(digits) <= 20
	default:
		return address{c.Alphanumeric.TON, c.Alphanumeric.NPI, from}, len(from) <= 11 && !strings.ContainsFunc(from, notInName)
	}
}

// notInName reports whether a name must not contain r. SMSCs read names in different
// alphabets, in which only letters, digits and some signs have the same codes.
func notInName(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(" .,-&'!/:()*", r)
}

// validity returns the validity_period in its relative form (§7.1.1.2), so that the SMSC doesn't
// deliver a message after its code has expired. It is at least a second, because zero means the
// SMSC's default, and at most 99 days.
func validity(life time.Duration) string {
	s := min(max(int64(life/time.Second), 1), 99*24*3600)
	return fmt.Sprintf("0000%02d%02d%02d%02d000R", s/86400, s/3600%24, s/60%60, s%60)
}
