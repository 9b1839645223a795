package smpp

import (
	"fmt"
	"testing"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// A receipt's code of the network says more than its state, where it is known whose code it is; and it is kept.
func TestCodesOfNetworksAreReasons(t *testing.T) {
	t.Parallel()
	own := func(code string, r verify.Reason) Config {
		c := Config{Reasons: Meanings{}}
		if !c.Reasons.Add(code, r) {
			t.Fatalf("%q can't be a code", code)
		}
		return c
	}
	gsm := Config{GSMCodes: true}
	for name, tt := range map[string]struct {
		c         Config
		stat, err string
		network   string // the parameter network_error_code
		want      verify.Reason
		code      string
	}{
		"the SMSC's own":                   {Config{}, "UNDELIV", "001", "", verify.ReasonUnreachable, "err:001"},
		"of GSM in the text":               {gsm, "UNDELIV", "001", "", verify.ReasonInvalidNumber, "err:001"},
		"without zeros":                    {gsm, "UNDELIV", "13", "", verify.ReasonBlocked, "err:13"},
		"of GSM in the parameter":          {Config{}, "UNDELIV", "000", "\x03\x00\x22", verify.ReasonNetwork, "err:34"},
		"the parameter before the text":    {gsm, "UNDELIV", "001", "\x03\x00\x1b", verify.ReasonUnreachable, "err:001"},
		"of another network":               {Config{}, "UNDELIV", "", "\x01\x00\x01", verify.ReasonUnreachable, "err:1"},
		"one that GSM hasn't":              {gsm, "REJECTD", "777", "", verify.ReasonBlocked, "err:777"},
		"none":                             {gsm, "REJECTD", "000", "", verify.ReasonBlocked, "REJECT"},
		"an absent phone until the end":    {gsm, "EXPIRED", "027", "", verify.ReasonExpired, "err:027"},
		"the operator's word":              {own("069", verify.ReasonSpamFiltered), "UNDELIV", "69", "", verify.ReasonSpamFiltered, "err:69"},
		"the operator's, of the parameter": {own("27", verify.ReasonNetwork), "UNDELIV", "", "\x03\x00\x1b", verify.ReasonNetwork, "err:27"},
		"the operator's, in hexadecimal":   {own("0x4b", verify.ReasonNetwork), "EXPIRED", "0X4B", "", verify.ReasonNetwork, "err:0X4B"},
	} {
		m := dlr("7", tt.stat)
		m.text = fmt.Appendf(nil, "id:7 stat:%s err:%s text:", tt.stat, tt.err)
		body := m.encode()
		if tt.network != "" {
			body = appendTLV(body, tagNetwork, []byte(tt.network))
		}
		got, err := decodeMessage(body)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := tt.c.parseReceipt(got)
		if !ok || r.reason != tt.want || r.cause() != tt.code {
			t.Errorf("%s: got %s, %s; want %s, %s", name, r.reason, r.cause(), tt.want, tt.code)
		}
	}
	delivered, _ := gsm.parseReceipt(message{esm: esmReceipt, text: []byte("id:7 stat:DELIVRD err:001")})
	if delivered.reason != verify.NoReason || !delivered.delivered {
		t.Errorf("a code made a message that arrived a failure: %+v", delivered)
	}
}

func TestCodesThatCantBe(t *testing.T) {
	t.Parallel()
	m := Meanings{}
	for code, want := range map[string]bool{"27": true, "000": false, "": false, "a b": false, "12345678901234567": false, "1é": false} {
		if got := m.Add(code, verify.ReasonNetwork); got != want {
			t.Errorf("%q: added: %t", code, got)
		}
	}
	if m.Add("0027", verify.ReasonBlocked) {
		t.Error("a code got a second reason")
	}
}

// An SMSC that chooses the route by a prefix may leave it out of its receipts.
func TestAReceiptWithoutThePrefixFindsALostMessage(t *testing.T) {
	story(t, func(c *Config) { c.Prefix = "99" }, func(k *kit) {
		k.onReceipt(k.unlessUnsure)
		p := k.bound()
		m := k.sms()
		done := k.sending(m)
		p.submitted()
		k.want(done, "", verify.AttemptUnknown, verify.ReasonUnknown)
		p.answer(p.read(enquireLink), statusOK, "")
		r := dlr("7", "DELIVRD") // from +1 202 555 0100
		if got := p.deliver(r); got != statusOK {
			t.Errorf("got %v", got)
		}
		k.receipt(carrier.Receipt{Carrier: "smsc", Verification: m.Verification, Attempt: 1, Ref: "7", Delivered: true})
	})
}
