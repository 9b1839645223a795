package smpp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/verify"
)

func TestAMessageIsSubmittedAndItsReceiptPassedOn(t *testing.T) {
	story(t, func(c *Config) { c.SystemType, c.Service = "OTP", "codes" }, func(k *kit) {
		p := k.accept()
		hello := p.read(bindTransceiver)
		if want := "countersign\x00" + password + "\x00OTP\x00\x34\x00\x00\x00"; string(hello.body) != want {
			k.Errorf("got bind %q, want %q", hello.body, want)
		}
		p.answer(hello, statusOK, "smsc\x00")
		m := k.sms()
		done := k.sending(m)
		asked, got := p.submitted()
		want := message{
			service: "codes", source: address{1, 1, "12025550199"}, dest: address{1, 1, "12025550100"},
			validity: "000000001000000R", registered: 1, text: []byte("Your code is 493817"),
		}
		if !bytes.Equal(got.encode(), want.encode()) {
			k.Errorf("got %+v, want %+v", got, want)
		}
		p.answer(asked, statusOK, "id-1\x00")
		k.want(done, "id-1", verify.AttemptAccepted, verify.NoReason)
		if got := p.deliver(dlr("id-1", "DELIVRD")); got != statusOK {
			k.Errorf("got %v for the receipt", got)
		}
		k.receipt(carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Ref: "id-1", Delivered: true})
		go k.Close(k.Context())
		p.answer(p.read(unbind), statusOK, "")
		p.ended()
	})
}

// The binds may be up before the rest of a server is.
func TestAReceiptThatNobodyListensForYetComesAgain(t *testing.T) {
	story(t, nil, func(k *kit) {
		k.receiver.Store(nil)
		p := k.bound()
		if got := p.deliver(dlr("id-1", "DELIVRD")); got != statusTemporary {
			k.Errorf("got %v, want to have it again", got)
		}
		k.OnReceipt(func(_ context.Context, r carrier.Receipt) error { k.receipts <- r; return nil })
		if got := p.deliver(dlr("id-1", "DELIVRD")); got != statusOK {
			k.Errorf("got %v, want no error", got)
		}
		k.receipt(carrier.Receipt{Carrier: "smsc", Ref: "id-1", Unsure: true, Delivered: true})
	})
}

func TestAPairBindsBothWays(t *testing.T) {
	story(t, func(c *Config) { c.Mode = Pair }, func(k *kit) {
		rx := k.accept()
		rx.answer(rx.read(bindReceiver), statusOK, "smsc\x00")
		tx := k.accept()
		tx.answer(tx.read(bindTransmitter), statusOK, "smsc\x00")
		m := k.sms()
		done := k.sending(m)
		asked, _ := tx.submitted()
		tx.answer(asked, statusOK, "id-1\x00")
		k.want(done, "id-1", verify.AttemptAccepted, verify.NoReason)
		rx.deliver(dlr("id-1", "UNDELIV"))
		k.receipt(carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Ref: "id-1", Reason: verify.ReasonUnreachable, Code: "UNDELIV"})

		// A transmitter without its receiver would send what nobody hears of again.
		rx.conn.Close()
		tx.ended()
		rx = k.accept()
		rx.read(bindReceiver)
		rx.conn.Close()
	})
}

func TestBindsShareTheLoad(t *testing.T) {
	story(t, func(c *Config) { c.Binds, c.Window = 2, 2 }, func(k *kit) {
		a, b := k.bound(), k.bound()
		synctest.Wait()
		if got, want := k.Stats(), (Stats{Bound: 2, Binds: 2}); got != want {
			k.Errorf("got %+v, want %+v", got, want)
		}
		var done []chan outcome
		for range 5 {
			done = append(done, k.sending(k.sms()))
		}
		var asked []pdu
		for _, p := range []*peer{a, a, b, b} {
			got, _ := p.submitted()
			asked = append(asked, got)
		}
		synctest.Wait()
		if got, want := k.Stats(), (Stats{Bound: 2, Binds: 2, InFlight: 4}); got != want {
			k.Errorf("got %+v, want %+v", got, want)
		}
		// The windows are full; the fifth goes where a place comes free.
		b.answer(asked[3], statusOK, "x\x00")
		last, _ := b.submitted()
		b.answer(last, statusOK, "x\x00")
		for i, p := range []*peer{a, a, b} {
			p.answer(asked[i], statusOK, "x\x00")
		}
		for _, d := range done {
			k.want(d, "x", verify.AttemptAccepted, verify.NoReason)
		}
	})
}

func TestAFullWindowIsNotWaitedForLongerThanTheCallerDoes(t *testing.T) {
	story(t, func(c *Config) { c.Window = 1; c.Response = 30 * time.Second; c.Inactivity = 2 * time.Minute }, func(k *kit) {
		p := k.bound()
		first := k.sending(k.sms())
		asked, _ := p.submitted()
		k.patience = 5 * time.Second
		second := k.sending(k.sms())
		k.want(second, "", verify.AttemptErrored, verify.ReasonThrottled)
		k.want(first, "", verify.AttemptUnknown, verify.ReasonUnknown)
		p.answer(p.read(enquireLink), statusOK, "")
		synctest.Wait()
		// What nobody waited for any more must not be sent.
		third := k.sending(k.sms())
		p.answer(asked, statusOK, "1\x00")
		asked, _ = p.submitted()
		p.answer(asked, statusOK, "3\x00")
		k.want(third, "3", verify.AttemptAccepted, verify.NoReason)
	})
}

func TestAWrongPasswordIsSaidAtOnceAndTriedSeldom(t *testing.T) {
	story(t, nil, func(k *kit) {
		begun := time.Now()
		for n := range 8 {
			p := k.accept()
			if n > 0 {
				k.want(k.sending(k.sms()), "", verify.AttemptErrored, verify.ReasonMisconfigured)
			}
			p.answer(p.read(bindTransceiver), 0x0E, "")
			p.ended()
		}
		// The waits: 0.25 to 0.5 s, and then double each time.
		if took := time.Since(begun); took < 31*time.Second || took > 64*time.Second {
			k.Errorf("8 binds took %v", took)
		}
		p := k.bound() // somebody has mended it
		done := k.sending(k.sms())
		asked, _ := p.submitted()
		p.answer(asked, statusOK, "1\x00")
		k.want(done, "1", verify.AttemptAccepted, verify.NoReason)
	})
}

func TestAnSMSCThatBindsAndDropsIsNotHammered(t *testing.T) {
	for _, binds := range []int{1, 4} {
		t.Run("", func(t *testing.T) {
			story(t, func(c *Config) { c.Binds = binds }, func(k *kit) {
				end := time.After(8 * time.Second)
				for n := 0; ; n++ {
					if n == 100 {
						k.Fatal("100 binds")
					}
					select {
					case conn := <-k.dials:
						go func() {
							p := &peer{kit: k, conn: conn, in: nil}
							b := make([]byte, 1024)
							io.ReadAtLeast(conn, b, headerSize)
							p.send(bindTransceiver|response, statusOK, 1, "smsc\x00")
							conn.Close()
						}()
					case <-end:
						if n < 3 || n > 10 {
							k.Errorf("%d binds in 8 seconds, want 3 to 10", n)
						}
						return
					}
				}
			})
		})
	}
}

func TestABindThatLastedIsMadeAgainAtOnce(t *testing.T) {
	story(t, nil, func(k *kit) {
		for range 3 {
			p := k.bound()
			time.Sleep(stable + time.Millisecond)
			lost := time.Now()
			p.conn.Close()
			synctest.Wait()
			done := k.sending(k.sms()) // waits for the bind: it won't be long
			p = k.bound()
			if took := time.Since(lost); took != 0 {
				k.Errorf("bound again after %v", took)
			}
			asked, _ := p.submitted()
			p.answer(asked, statusOK, "1\x00")
			k.want(done, "1", verify.AttemptAccepted, verify.NoReason)
			time.Sleep(stable + time.Millisecond)
			p.conn.Close()
		}
	})
}

func TestAResponseThatDoesNotComeIsUnknownAndNothingIsSentTwice(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		m := k.sms()
		begun := time.Now()
		done := k.sending(m)
		asked, _ := p.submitted()
		k.want(done, "", verify.AttemptUnknown, verify.ReasonUnknown)
		if took := time.Since(begun); took != 8*time.Second {
			k.Errorf("gave up after %v", took)
		}
		// It comes late, and then its receipt.
		p.answer(asked, statusOK, "late\x00")
		k.receipt(carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Taken: true})
		p.deliver(dlr("late", "DELIVRD"))
		k.receipt(carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Ref: "late", Delivered: true})
	})
}

// A text in parts is taken with its last part; before, the SMSC may have too little of it.
func TestALateResponseToAPart(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		m := k.sms()
		m.Body = verify.Secret(strings.Repeat("Your code is 493817. ", 12))
		done := k.sending(m)
		first, _ := p.submitted()
		k.want(done, "", verify.AttemptUnknown, verify.ReasonUnknown) // its second part was never sent
		p.answer(first, statusOK, "one\x00")
		k.noReceipt()
		p.answer(p.read(enquireLink), statusOK, "")
		synctest.Wait()
		done = k.sending(m)
		first, _ = p.submitted()
		p.answer(first, statusOK, "two\x00")
		second, _ := p.submitted()
		k.want(done, "", verify.AttemptUnknown, verify.ReasonUnknown)
		p.answer(second, statusOK, "three\x00")
		k.receipt(carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Taken: true})
	})
}

func TestALateRefusalIsPassedOn(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		m := k.sms()
		done := k.sending(m)
		asked, _ := p.submitted()
		k.want(done, "", verify.AttemptUnknown, verify.ReasonUnknown)
		p.answer(asked, 0x0B, "")
		k.receipt(carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Reason: verify.ReasonInvalidNumber, Code: "ESME_RINVDSTADR"})
	})
}

func TestADropInMidWindowLeavesEachMessageOneOutcome(t *testing.T) {
	story(t, func(c *Config) { c.Window = 3 }, func(k *kit) {
		p := k.bound()
		time.Sleep(stable + time.Millisecond)
		answered, unanswered, waiting := k.sms(), k.sms(), k.sms()
		unanswered.To = "+12025550101"
		a := k.sending(answered)
		asked, _ := p.submitted()
		b := k.sending(unanswered)
		p.submitted()
		p.answer(asked, statusOK, "1\x00")
		k.want(a, "1", verify.AttemptAccepted, verify.NoReason)
		p.conn.Close()
		k.want(b, "", verify.AttemptUnknown, verify.ReasonUnknown)
		synctest.Wait()
		c := k.sending(waiting)
		p = k.bound()
		asked, _ = p.submitted()
		p.answer(asked, statusOK, "3\x00")
		k.want(c, "3", verify.AttemptAccepted, verify.NoReason)

		// The receipt of the one whose response got lost: nobody knows its id, and only it went to that number.
		k.onReceipt(k.unlessUnsure)
		lost := dlr("2", "DELIVRD")
		lost.source.addr = "+12025550101"
		if got := p.deliver(lost); got != statusOK {
			k.Errorf("got %v for the receipt", got)
		}
		k.receipt(carrier.Receipt{Verification: unanswered.Verification, Attempt: 1, Carrier: "smsc", Ref: "2", Delivered: true})
	})
}

func TestTwoLostMessagesToOneNumberAreNotToldApart(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		a, b := k.sending(k.sms()), k.sending(k.sms())
		p.submitted()
		p.submitted()
		p.conn.Close()
		k.want(a, "", verify.AttemptUnknown, verify.ReasonUnknown)
		k.want(b, "", verify.AttemptUnknown, verify.ReasonUnknown)
		k.onReceipt(k.unlessUnsure)
		p = k.bound()
		if got := p.deliver(dlr("2", "DELIVRD")); got != statusOK {
			k.Errorf("got %v for a receipt that can't be attributed", got)
		}
		k.receipt(carrier.Receipt{Carrier: "smsc", Ref: "2", Delivered: true}) // as somebody's of whom we don't know
		p.conn.Close()
	})
}

func TestAnUnbindIsAnsweredAndTheLastResponsesHeard(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		time.Sleep(stable + time.Millisecond)
		before := k.sending(k.sms())
		asked, _ := p.submitted()
		p.send(unbind, statusOK, 9, "")
		if got := p.read(unbind | response); got.seq != 9 || got.status != statusOK {
			k.Errorf("got %+v", got)
		}
		after := k.sending(k.sms()) // goes over the next bind
		p.answer(asked, statusOK, "1\x00")
		k.want(before, "1", verify.AttemptAccepted, verify.NoReason)
		p.conn.Close()
		p = k.bound()
		asked, _ = p.submitted()
		p.answer(asked, statusOK, "2\x00")
		k.want(after, "2", verify.AttemptAccepted, verify.NoReason)

		// One that unbinds and stays is left.
		time.Sleep(stable + time.Millisecond)
		p.send(unbind, statusOK, 10, "")
		p.read(unbind | response)
		left := time.Now()
		p.ended()
		if took := time.Since(left); took != unbindLimit {
			k.Errorf("left after %v, want %v", took, unbindLimit)
		}
	})
}

func TestASilentSMSCIsLeft(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		begun := time.Now()
		if got := p.read(enquireLink); len(got.body) != 0 {
			k.Errorf("got %+v", got)
		}
		if took := time.Since(begun); took != 30*time.Second {
			k.Errorf("asked after %v", took)
		}
		p.ended()
		if took := time.Since(begun); took != 38*time.Second {
			k.Errorf("left after %v", took)
		}
		k.bound().conn.Close()
	})
}

func TestWithoutEnquiriesAnIdleBindIsMadeAnew(t *testing.T) {
	story(t, func(c *Config) { c.Enquire, c.Inactivity = -1, 40*time.Second }, func(k *kit) {
		p := k.bound()
		time.Sleep(30 * time.Second)
		p.send(enquireLink, statusOK, 1, "")
		p.read(enquireLink | response)
		begun := time.Now()
		if got, err := readPDU(p.in); err == nil {
			k.Errorf("got %+v", got)
		}
		if took := time.Since(begun); took != 40*time.Second {
			k.Errorf("left after %v", took)
		}
		k.bound()
		if took := time.Since(begun); took != 40*time.Second {
			k.Errorf("bound after %v", took)
		}
	})
}

// After a failure one bind tries, and the others follow when it has lasted.
func TestOneBindTriesForAll(t *testing.T) {
	story(t, func(c *Config) { c.Binds = 3 }, func(k *kit) {
		for range 3 {
			k.accept().conn.Close()
		}
		p := k.bound()
		begun := time.Now()
		others := []*peer{k.bound(), k.bound()}
		if took := time.Since(begun); took != stable {
			k.Errorf("the others followed after %v, want %v", took, stable)
		}
		synctest.Wait()
		if got := k.Stats().Bound; got != 3 {
			k.Errorf("%d are bound", got)
		}
		for _, p := range append(others, p) {
			p.conn.Close()
		}
	})
}

func TestAnEnquiryIsAnswered(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		p.send(enquireLink, statusOK, 77, "")
		if got := p.read(enquireLink | response); got.seq != 77 || got.status != statusOK || len(got.body) != 0 {
			k.Errorf("got %+v", got)
		}
	})
}

// An SMSC that doesn't read a message to its end can't have it, and mustn't hold us.
func TestASlowReader(t *testing.T) {
	story(t, func(c *Config) { c.Response, c.Window = 5*time.Second, 3 }, func(k *kit) {
		p := k.bound()
		begun := time.Now()
		read := k.sending(k.sms())
		p.submitted()
		begunTo := k.sending(k.sms())
		if _, err := io.ReadFull(p.conn, make([]byte, 50)); err != nil {
			k.Fatal(err)
		}
		queued := k.sending(k.sms())
		k.want(read, "", verify.AttemptUnknown, verify.ReasonUnknown)
		k.want(begunTo, "", verify.AttemptErrored, verify.ReasonUnreachable)
		k.want(queued, "", verify.AttemptErrored, verify.ReasonUnreachable)
		if took := time.Since(begun); took != 5*time.Second/2 {
			k.Errorf("held for %v", took)
		}
		p.conn.Close()
	})
}

// What nobody waits for any more isn't sent when an SMSC that was slow reads on.
func TestWhatWasGivenUpIsNotSent(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		first := k.sending(k.sms())
		synctest.Wait() // it is being written
		k.patience = time.Second
		k.want(k.sending(k.sms()), "", verify.AttemptErrored, verify.ReasonUnreachable)
		asked, _ := p.submitted()
		p.answer(asked, statusOK, "1\x00")
		k.want(first, "1", verify.AttemptAccepted, verify.NoReason)
		third := k.sending(k.sms())
		again, _ := p.submitted()
		if want := asked.seq + 2; again.seq != want {
			k.Errorf("got message %d, want %d", again.seq, want)
		}
		p.answer(again, statusOK, "3\x00")
		k.want(third, "3", verify.AttemptAccepted, verify.NoReason)
	})
}

func TestWhatIsNoPDUIsAnsweredAsTheSpecificationSays(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		nack := func(status Status, seq uint32) {
			k.Helper()
			got := p.read(genericNack)
			if got.status != status || got.seq != seq || len(got.body) != 0 {
				k.Errorf("got %+v, want status %v, sequence %d", got, status, seq)
			}
		}
		p.send(0x00000107, statusOK, 5, "whatever")
		nack(0x03, 5)
		p.send(submitSM, statusOK, 6, "an SMSC has none to submit")
		nack(0x03, 6)
		p.send(alertNotification, statusOK, 7, "") // has no response
		p.send(0x80000107, statusOK, 8, "")        // nor has what claims to be one
		p.send(genericNack, 0x03, 0, "")
		p.send(submitSM|response, statusOK, 4711, "nobody asked\x00")
		p.send(deliverSM, statusOK, 9, "no zero")
		if got := p.read(deliverSM | response); got.status != 0x01 || got.seq != 9 {
			k.Errorf("a deliver_sm that ends too soon: got %+v", got)
		}
		m := dlr("1", "DELIVRD")
		m.esm = 0
		m.text = nil
		p.send(deliverSM, statusOK, 10, string(m.encode())+"\x04\x24\x00\x10short")
		if got := p.read(deliverSM | response); got.status != 0xC0 || got.seq != 10 {
			k.Errorf("optional parameters that end too soon: got %+v", got)
		}

		// It still works.
		done := k.sending(k.sms())
		asked, _ := p.submitted()
		p.answer(asked, statusOK, "1\x00")
		k.want(done, "1", verify.AttemptAccepted, verify.NoReason)

		for _, length := range []uint32{0, 15, maxPDU + 1, 0xFFFFFFFF} {
			time.Sleep(stable + time.Millisecond)
			p.write([]byte{byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length), 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 11})
			nack(0x02, 11)
			p.ended()
			p = k.bound()
		}
	})
}

func TestAGenericNackIsAnAnswer(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		for _, tt := range []struct {
			status  Status
			outcome verify.AttemptOutcome
			reason  verify.Reason
		}{
			{0x03, verify.AttemptRefused, verify.ReasonMisconfigured},
			{0x00, verify.AttemptErrored, verify.ReasonNetwork}, // it says no and all is well
		} {
			done := k.sending(k.sms())
			asked, _ := p.submitted()
			p.send(genericNack, tt.status, asked.seq, "")
			k.want(done, "", tt.outcome, tt.reason)
		}
		// The response to something else is none.
		done := k.sending(k.sms())
		asked, _ := p.submitted()
		p.send(enquireLink|response, statusOK, asked.seq, "")
		k.want(done, "", verify.AttemptUnknown, verify.ReasonUnknown)
	})
}

func TestThrottlingSlowsDown(t *testing.T) {
	story(t, func(c *Config) { c.Window = 2 }, func(k *kit) {
		p := k.bound()
		throttle := func(s Status, after time.Duration) {
			k.Helper()
			done := k.sending(k.sms())
			asked, _ := p.submitted()
			p.answer(asked, s, "")
			got := <-done
			if d := carrier.Decision(got.err); d.Outcome != verify.AttemptErrored || d.Reason.String() != "throttled" || d.After != after {
				k.Errorf("got %v, %q, after %v; want errored, throttled, after %v", d.Outcome, d.Reason, d.After, after)
			}
		}
		throttle(0x58, 250*time.Millisecond)
		// The next one waits out the pause, and is too fast all the same.
		begun := time.Now()
		throttle(0x14, 500*time.Millisecond)
		if took := time.Since(begun); took != 250*time.Millisecond {
			k.Errorf("submitted after %v", took)
		}
		throttle(0x58, time.Second)
		throttle(0x58, 2*time.Second)
		// That is longer than anybody waits here.
		done := k.sending(k.sms())
		got := <-done
		if d := carrier.Decision(got.err); d.Reason.String() != "throttled" || d.After != 2*time.Second {
			k.Errorf("got %v", got.err)
		}
		time.Sleep(2 * time.Second)
		for range 2 { // accepted: it starts again
			done = k.sending(k.sms())
			asked, _ := p.submitted()
			p.answer(asked, statusOK, "1\x00")
			k.want(done, "1", verify.AttemptAccepted, verify.NoReason)
		}
		throttle(0x58, 250*time.Millisecond)
		if n := k.Stats().Throttled; n != 5 {
			k.Errorf("%d were too fast, want the 5 that the SMSC said so of", n)
		}
	})
}

func TestARateIsKept(t *testing.T) {
	story(t, func(c *Config) { c.Rate, c.Window = 50, 100 }, func(k *kit) {
		p := k.bound()
		begun := time.Now()
		var done []chan outcome
		for range 101 {
			done = append(done, k.sending(k.sms()))
		}
		for range done {
			asked, _ := p.submitted()
			go p.answer(asked, statusOK, "1\x00")
		}
		for _, d := range done {
			k.want(d, "1", verify.AttemptAccepted, verify.NoReason)
		}
		if took := time.Since(begun); took < 1980*time.Millisecond || took > 2*time.Second {
			k.Errorf("101 messages at 50/s took %v", took)
		}
	})
}

func TestStatusesDecide(t *testing.T) {
	story(t, func(c *Config) { c.Refuse = []Status{0x400} }, func(k *kit) {
		p := k.bound()
		for _, tt := range []struct {
			status  Status
			outcome verify.AttemptOutcome
			reason  verify.Reason
		}{
			{0x0B, verify.AttemptRefused, verify.ReasonInvalidNumber},
			{0x0A, verify.AttemptRefused, verify.ReasonInvalidSender},
			{0x01, verify.AttemptRefused, verify.ReasonInvalidMessage},
			{0x62, verify.AttemptRefused, verify.ReasonMisconfigured},
			{0x66, verify.AttemptRefused, verify.ReasonRefused},
			{0x08, verify.AttemptErrored, verify.ReasonNetwork},
			{0x45, verify.AttemptErrored, verify.ReasonNetwork},
			{0x400, verify.AttemptRefused, verify.ReasonRefused},
			{0x401, verify.AttemptErrored, verify.ReasonNetwork},
		} {
			done := k.sending(k.sms())
			asked, _ := p.submitted()
			p.answer(asked, tt.status, "")
			got := <-done
			if d := carrier.Decision(got.err); got.err == nil || d.Outcome != tt.outcome || d.Reason != tt.reason || !errors.Is(got.err, tt.status) {
				k.Errorf("%v: got %v, want %v, %s", tt.status, got.err, tt.outcome, tt.reason)
			}
		}
	})
}

func TestATextOfSeveralParts(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		m := k.sms()
		m.Body = verify.Secret(strings.Repeat("a", 152) + "€" + strings.Repeat("b", 152))
		k.onReceipt(nil)
		done := k.sending(m)
		var texts []string
		var reference byte
		for i, id := range []string{"p1", "p2", "p3"} {
			asked, part := p.submitted()
			if part.esm != 0x40 || part.coding != 0 || len(part.text) < 7 {
				k.Fatalf("part %d: got %+v", i+1, part)
			}
			if i == 0 {
				reference = part.text[3]
			}
			if want := []byte{5, 0, 3, reference, 3, byte(i + 1)}; !bytes.Equal(part.text[:6], want) {
				k.Errorf("part %d: got header % x, want % x", i+1, part.text[:6], want)
			}
			texts = append(texts, string(part.text[6:]))
			p.answer(asked, statusOK, id+"\x00")
		}
		if want := []string{strings.Repeat("a", 152), "\x1be" + strings.Repeat("b", 151), "b"}; strings.Join(texts, "|") != strings.Join(want, "|") {
			k.Errorf("got parts %q, want %q", texts, want)
		}
		k.want(done, "p3", verify.AttemptAccepted, verify.NoReason)
		p.deliver(dlr("p3", "DELIVRD"))
		p.deliver(dlr("p1", "DELIVRD"))
		p.deliver(dlr("p1", "DELIVRD")) // again, since its response got lost, say
		k.noReceipt()
		p.deliver(dlr("p2", "DELIVRD"))
		k.receipt(carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Ref: "p3", Delivered: true})

		// One part that fails is enough.
		m = k.sms()
		m.Body = verify.Secret(strings.Repeat("ж", 66) + "😀")
		m.Body += m.Body
		done = k.sending(m)
		for _, id := range []string{"q1", "q2", "q3"} {
			asked, part := p.submitted()
			if part.text[3] == reference || part.coding != 8 {
				k.Errorf("got %+v, want another reference than %d, and UCS-2", part, reference)
			}
			p.answer(asked, statusOK, id+"\x00")
		}
		k.want(done, "q3", verify.AttemptAccepted, verify.NoReason)
		p.deliver(dlr("q2", "EXPIRED"))
		k.receipt(carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Ref: "q3", Reason: verify.ReasonExpired, Code: "EXPIRED"})
	})
}

// What was not handed over whole is nobody's business any more: it is sent again, or elsewhere.
func TestPartsOfWhatWasNotHandedOverWhole(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		m := k.sms()
		m.Body = verify.Secret(strings.Repeat("a", 161))
		done := k.sending(m)
		asked, _ := p.submitted()
		p.answer(asked, statusOK, "p1\x00")
		asked, _ = p.submitted()
		p.answer(asked, 0x58, "")
		k.want(done, "", verify.AttemptErrored, verify.ReasonThrottled)
		p.deliver(dlr("p1", "UNDELIV"))
		k.noReceipt()
	})
}

func TestAReceiptMayComeBeforeItsResponse(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		m := k.sms()
		done := k.sending(m)
		asked, _ := p.submitted()
		p.send(deliverSM, statusOK, 7, string(dlr("1", "DELIVRD").encode()))
		k.noReceipt()
		time.Sleep(100 * time.Millisecond)
		p.answer(asked, statusOK, "1\x00")
		k.want(done, "1", verify.AttemptAccepted, verify.NoReason)
		if got := p.read(deliverSM | response); got.status != statusOK {
			k.Errorf("got %+v", got)
		}
		k.receipt(carrier.Receipt{Verification: m.Verification, Attempt: 1, Carrier: "smsc", Ref: "1", Delivered: true})
	})
}

func TestAReceiptOfWhatOthersSentIsPassedOnByItsRef(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		p.deliver(dlr("before-we-started", "REJECTD"))
		k.receipt(carrier.Receipt{Carrier: "smsc", Ref: "before-we-started", Unsure: true, Reason: verify.ReasonBlocked, Code: "REJECT"})

		// Another replica may not have recorded it yet.
		k.onReceipt(k.unlessUnsure)
		if got := p.deliver(dlr("theirs", "DELIVRD")); got != statusOK {
			k.Errorf("got %v", got)
		}
		k.receipt(carrier.Receipt{Carrier: "smsc", Ref: "theirs", Delivered: true})
	})
}

// An SMSC may write its id in a form that isn't the likelier one.
func TestAReceiptOfWhatOthersSentIsPassedOnByEitherForm(t *testing.T) {
	story(t, func(c *Config) { c.ReceiptID = HexThenDecimal }, func(k *kit) {
		p := k.bound()
		k.onReceipt(func(r carrier.Receipt) error {
			if r.Ref != "6699" {
				return k.unlessUnsure(r)
			}
			k.receipts <- r
			return nil
		})
		p.deliver(message{esm: esmReceipt, receiptedID: "6699", state: 2})
		k.receipt(carrier.Receipt{Carrier: "smsc", Ref: "6699", Unsure: true, Delivered: true})
	})
}

func TestAReceiptThatCannotBeRecordedComesAgain(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		err := errors.New("the database is away")
		k.onReceipt(func(carrier.Receipt) error { return err })
		if got := p.deliver(dlr("1", "DELIVRD")); got != 0x64 {
			k.Errorf("got %v, want ESME_RX_T_APPN", got)
		}
		err = fmt.Errorf("too many wait: %w", verify.ErrBusy)
		if got := p.deliver(dlr("1", "DELIVRD")); got != 0x64 {
			k.Errorf("%v: got %v, want ESME_RX_T_APPN", err, got)
		}
		err = verify.ErrCanceled
		if got := p.deliver(dlr("1", "DELIVRD")); got != statusOK {
			k.Errorf("got %v, want that to be the end", got)
		}
	})
}

func TestWhatIsNoReceiptIsAcknowledgedAndDropped(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		stop := message{source: address{1, 1, "12025550100"}, dest: address{3, 0, "12345"}, text: []byte("STOP")}
		for name, m := range map[string]message{"a person's message": stop, "no news": dlr("1", "ENROUTE")} {
			if got := p.deliver(m); got != statusOK {
				k.Errorf("%s: got %v", name, got)
			}
		}
		k.noReceipt()
	})
}

func TestAResponseWithoutAnID(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		done := k.sending(k.sms())
		asked, _ := p.submitted()
		p.answer(asked, statusOK, "")
		k.want(done, "", verify.AttemptAccepted, verify.NoReason)
		call := k.sms()
		call.Channel = verify.ChannelVoice
		k.want(k.sending(call), "", verify.AttemptRefused, verify.ReasonMisconfigured)
	})
}

// Responses that are very late are forgotten, and the SMSC's answer to them ignored.
func TestLatenessEnds(t *testing.T) {
	for name, enquire := range map[string]time.Duration{"with enquiries": 30 * time.Second, "without": -1} {
		t.Run(name, func(t *testing.T) {
			story(t, func(c *Config) { c.Enquire = enquire }, func(k *kit) {
				p := k.bound()
				done := k.sending(k.sms())
				asked, _ := p.submitted()
				k.want(done, "", verify.AttemptUnknown, verify.ReasonUnknown)
				p.answer(p.read(enquireLink), statusOK, "")
				for begun := time.Now(); time.Since(begun) < 2*lateLimit+time.Second; {
					if enquire > 0 {
						p.answer(p.read(enquireLink), statusOK, "")
						continue
					}
					time.Sleep(30 * time.Second)
					p.send(enquireLink, statusOK, 1, "")
					p.read(enquireLink | response)
				}
				synctest.Wait()
				p.answer(asked, 0x0B, "")
				k.noReceipt()
			})
		})
	}
}

// However many receipts come, only so many are looked at together.
func TestReceiptsHaveBounds(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		for range maxReceipts {
			k.Carrier.receipts <- struct{}{}
		}
		if got := p.deliver(dlr("1", "DELIVRD")); got != 0x64 {
			k.Errorf("got %v, want ESME_RX_T_APPN", got)
		}
		<-k.Carrier.receipts
		if got := p.deliver(dlr("1", "DELIVRD")); got != statusOK {
			k.Errorf("got %v with a place", got)
		}
	})
}

func TestAClosedCarrierTakesNothing(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.bound()
		done := k.sending(k.sms())
		asked, _ := p.submitted()
		closed := make(chan struct{})
		go func() { k.Close(k.Context()); close(closed) }()
		synctest.Wait()
		k.want(k.sending(k.sms()), "", verify.AttemptErrored, verify.ReasonUnreachable)
		time.Sleep(3 * time.Second)
		p.answer(asked, statusOK, "1\x00") // what is under way is waited for
		k.want(done, "1", verify.AttemptAccepted, verify.NoReason)
		p.answer(p.read(unbind), statusOK, "")
		<-closed
		if got := k.Stats(); got.Bound != 0 || got.InFlight != 0 {
			k.Errorf("got %+v", got)
		}
	})
}

func TestAnSMSCThatDoesNotAnswerTheBind(t *testing.T) {
	story(t, nil, func(k *kit) {
		p := k.accept()
		begun := time.Now()
		done := k.sending(k.sms())
		p.read(bindTransceiver)
		p.ended()
		if took := time.Since(begun); took != 10*time.Second {
			k.Errorf("left after %v", took)
		}
		k.want(done, "", verify.AttemptErrored, verify.ReasonUnreachable)
		for _, answer := range []func(p *peer, hello pdu){
			func(p *peer, hello pdu) { p.send(submitSM|response, statusOK, hello.seq, "") },
			func(p *peer, hello pdu) { p.send(bindTransceiver|response, statusOK, hello.seq+1, "") },
			func(p *peer, hello pdu) { p.send(genericNack, statusOK, hello.seq, "") },
			func(p *peer, hello pdu) { p.send(genericNack, 0x03, hello.seq, "") },
			func(p *peer, hello pdu) { p.conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) },
		} {
			p = k.accept()
			answer(p, p.read(bindTransceiver))
			p.conn.SetReadDeadline(time.Now().Add(time.Second))
			var failed net.Error
			if _, err := readPDU(p.in); err == nil || errors.As(err, &failed) && failed.Timeout() {
				k.Errorf("the connection lasts: %v", err)
			}
		}
	})
}
