package smpp

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// SMSCs write the id of a response in another form in its receipt. Each such receipt is matched, without a
// second message by another carrier.
func TestAReceiptWithItsIDInAnotherForm(t *testing.T) {
	for _, tt := range []struct {
		name, sent, receipted string
		form                  IDForm
		hint                  string
	}{
		{"in lower case", "00AB12CD", "00ab12cd", SameID, ""},
		{"leading zeros lost", "0000004711", "4711", SameID, ""},
		{"leading zeros added", "4711", "0000004711", SameID, ""},
		{"hexadecimal, padded, in upper case", "1a2b", "00001A2B", SameID, ""},
		{"cut to ten characters", "550e8400-e29b-41d4", "550E8400-E", SameID, ""},
		{"in decimal", "1A2B", "0000006699", SameID, "hex-then-decimal"},
		{"in hexadecimal", "6699", "00001a2b", SameID, "decimal-then-hex"},
		{"the same, but configured otherwise", "1A2B", "1a2b", HexThenDecimal, "receipt_id: same"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			story(t, func(c *Config) { c.ReceiptID = tt.form }, func(k *kit) {
				p := k.bound()
				k.onReceipt(k.unlessUnsure)
				m := k.sms()
				done := k.sending(m)
				asked, _ := p.submitted()
				p.answer(asked, statusOK, tt.sent+"\x00")
				<-done
				p.deliver(dlr(tt.receipted, "DELIVRD"))
				got := <-k.receipts
				if got.Verification != m.Verification || !got.Delivered || (tt.hint == "") != (got.Hint == "") || !strings.Contains(got.Hint, tt.hint) {
					t.Errorf("got %+v", got)
				}
				if logged := strings.Contains(k.log.String(), "receipt_id"); logged != (tt.hint != "") {
					t.Errorf("hint logged: %v", logged)
				}
			})
		})
	}
}

// An id that resembles those of two messages, or that of a message to another number, says nothing.
func TestALikenessIsNoProof(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		k.onReceipt(k.unlessUnsure)
		for _, id := range []string{"550e8400-e29b", "550e8400-e77c"} {
			done := k.sending(k.sms())
			asked, _ := p.submitted()
			p.answer(asked, statusOK, id+"\x00")
			<-done
		}
		p.deliver(dlr("550e8400-e", "UNDELIV"))
		k.receipt(carrier.Receipt{Carrier: "smsc", Ref: "550e8400-e", Reason: verify.ReasonUnreachable, Code: "UNDELIV"})

		other := dlr("550E8400-E29B", "UNDELIV")
		other.source.addr = "12025550177"
		p.deliver(other)
		k.receipt(carrier.Receipt{Carrier: "smsc", Ref: "550E8400-E29B", Reason: verify.ReasonUnreachable, Code: "UNDELIV"})
	})
}

// After a restart only the store knows the message, and in the response's form.
func TestAReceiptOfWhatOthersSentIsPassedOnByOtherSpellings(t *testing.T) {
	for sent, receipted := range map[string]string{"ab12": "AB12", "AB12": "ab12", "4711": "0000004711", "0000004711": "4711"} {
		t.Run(receipted, func(t *testing.T) {
			story(t, nil, func(k *kit) {
				p := k.bound()
				k.onReceipt(func(r carrier.Receipt) error {
					if r.Ref != sent {
						return k.unlessUnsure(r)
					}
					k.receipts <- r
					return nil
				})
				p.deliver(dlr(receipted, "DELIVRD"))
				k.receipt(carrier.Receipt{Carrier: "smsc", Ref: sent, Unsure: true, Delivered: true})
			})
		})
	}
}
