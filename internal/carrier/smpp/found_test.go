package smpp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

// WebOTP needs the @ of "@example.com #123456" to arrive as such.
func TestAlphabets(t *testing.T) {
	t.Parallel()
	other := byte(0)
	for _, tt := range []struct {
		alphabet Alphabet
		own      *byte
		text     string
		coding   byte
		want     string
	}{
		{GSM, nil, "@a", 0, "\x00a"},
		{Latin1, nil, "@\u00e9[", 3, "@\xe9["},
		{Latin1, &other, "@", 0, "@"},
		{Latin1, nil, "\u20ac", 8, "\x20\xac"}, // not in Latin-1
		{ASCII, nil, "@[", 1, "@["},
		{ASCII, nil, "\u00e9", 8, "\x00\xe9"},
		{ASCII, &other, "\u0436", 8, "\x04\x36"}, // the coding is that of the alphabet only
		{UCS2, nil, "@", 8, "\x00@"},
	} {
		coding, parts := Config{Alphabet: tt.alphabet, DataCoding: tt.own}.encodeText(tt.text)
		if coding != tt.coding || len(parts) != 1 || string(parts[0]) != tt.want {
			t.Errorf("%q of %q: got %d, %q; want %d, %q", tt.alphabet, tt.text, coding, parts, tt.coding, tt.want)
		}
	}
}

func TestRequestsBeforeTheBindsResponse(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.accept()
		asked := p.read(bindTransceiver)
		p.send(enquireLink, statusOK, 5, "")
		if got := p.read(enquireLink | response); got.seq != 5 || got.status != statusOK {
			t.Errorf("got %+v", got)
		}
		if got := p.deliver(dlr("1", "DELIVRD")); got != statusTemporary {
			t.Errorf("got %v, want it again after the bind", got)
		}
		p.answer(asked, statusOK, "smsc\x00")
		synctest.Wait()
		if got := k.Stats().Bound; got != 1 {
			t.Errorf("%d are bound, want 1", got)
		}
	})
}

// A bind over which a response doesn't come takes no more messages until the SMSC shows that it is there.
func TestADeadLinkTakesNoMoreMessages(t *testing.T) {
	for name, alive := range map[string]bool{"it answers": true, "it is dead": false} {
		t.Run(name, func(t *testing.T) {
			story(t, nil, func(k *kit) {
				p := k.bound()
				done := k.sending(k.sms())
				p.submitted()
				begun := time.Now()
				ask := p.read(enquireLink)
				k.want(done, "", verify.AttemptUnknown, verify.ReasonUnknown)
				if took := time.Since(begun); took != 8*time.Second {
					t.Errorf("asked after %v, want the response's 8s", took)
				}
				k.want(k.sending(k.sms()), "", verify.AttemptErrored, verify.ReasonUnreachable)
				if took := time.Since(begun); took != 8*time.Second {
					t.Errorf("the next message waited until %v", took)
				}
				if !alive {
					p.ended()
					if took := time.Since(begun); took != 16*time.Second {
						t.Errorf("left after %v, want 16s", took)
					}
					k.bound()
					return
				}
				p.answer(ask, statusOK, "")
				synctest.Wait()
				done = k.sending(k.sms())
				asked, _ := p.submitted()
				p.answer(asked, statusOK, "1\x00")
				k.want(done, "1", verify.AttemptAccepted, verify.NoReason)
			})
		})
	}
}

// A bind more than the SMSC allows is refused for ever, and mustn't delay the good one.
func TestABindTooManyDoesNotDelayTheGoodOne(t *testing.T) {
	story(t, func(c *Config) { c.Binds, c.Enquire, c.Inactivity = 2, -1, time.Hour }, func(k *kit) {
		good := k.bound()
		for begun := time.Now(); time.Since(begun) < 5*time.Minute; {
			extra := k.accept()
			extra.answer(extra.read(bindTransceiver), 0x0D, "")
			extra.conn.Close()
		}
		good.conn.Close()
		begun := time.Now()
		k.bound()
		if took := time.Since(begun); took != 0 {
			t.Errorf("bound again after %v", took)
		}
	})
}

func TestReceiptsAsTheyCome(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		body := message{source: address{1, 1, "12025550100"}}
		data := body.source.append([]byte{0})
		data = address{3, 0, "12345"}.append(data)
		data = append(data, esmReceipt, 0, 0)
		data = appendTLV(appendTLV(data, tagReceiptedID, []byte("7\x00")), tagState, []byte{5})
		p.send(dataSM, statusOK, 9, string(data))
		if got := p.read(dataSM | response); got.seq != 9 || got.status != statusOK {
			t.Errorf("got %+v", got)
		}
		k.receipt(carrier.Receipt{Carrier: "smsc", Ref: "7", Unsure: true, Reason: verify.ReasonUnreachable, Code: "UNDELIV"})
		for _, stat := range []string{"NOROUTES", "SKIPPED"} {
			if got := p.deliver(dlr("8", stat)); got != statusOK {
				t.Errorf("%s: got %v", stat, got)
			}
		}
		k.noReceipt()
		if got := k.Stats().Unread; got != 2 {
			t.Errorf("%d are unread, want 2", got)
		}
	})
}
