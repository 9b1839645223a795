package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/share"
	"github.com/countersign/countersign/internal/verify"
)

// trialText is what an operator's test message says: it holds no code.
const trialText = "This is a test message. You need not do anything."

// trialLife is how long a carrier may take over a test message.
const trialLife = 10 * time.Minute

// A Step is what happened to a test message.
type Step struct {
	After  time.Duration `json:"after_ns"` // the beginning
	What   string        `json:"what"`     // sending, accepted, refused, errored, unknown, delivered or failed
	From   string        `json:"from,omitempty"`
	Ref    string        `json:"ref,omitempty"`    // the carrier's own id
	Reason verify.Reason `json:"reason,omitempty"` // when it went wrong
	Code   string        `json:"code,omitempty"`   // the carrier's own for that
	Detail string        `json:"detail,omitempty"` // the carrier's error
	Hint   string        `json:"hint,omitempty"`   // what the operator should configure
	Final  bool          `json:"final,omitempty"`  // the carrier has it, and no receipt can come
}

// Try sends a test message by a carrier, past all routes, and follows it to its receipt, until ctx is
// done. Without a channel it goes by the one that the carrier is for. It returns the last step: one that
// is neither delivered, failed nor the carrier's error means that no receipt came.
func (d *Dispatcher) Try(ctx context.Context, name string, c verify.Channel, to phone.Number, report func(Step)) (last Step, err error) {
	l := d.lines[name]
	if l == nil {
		return last, fmt.Errorf("there is no carrier %q", name)
	}
	c = cmp.Or(c, l.Channel, verify.ChannelSMS)
	if l.Channel != "" && c != l.Channel {
		return last, fmt.Errorf("carrier %s is for %s, not for %s", name, l.Channel, c)
	}
	if d.stopped(to.Region()) {
		return last, verify.ErrCountryStopped
	}
	if d.reserve(l, "", d.config.Now()) != share.Taken {
		return last, verify.ErrBusy
	}
	held := true
	release := func() {
		if held {
			held = false
			d.release(l, "")
		}
	}
	defer release()
	began := d.config.Now()
	m := verify.Message{
		ID: verify.NewID(began), Verification: verify.NewID(began), Channel: c, To: to,
		From: l.Sender(d.config.PublicSender, to.Region(), to), Body: trialText, Text: trialText + verify.CodePlace, ExpiresAt: began.Add(trialLife), Attempt: 1,
	}
	step := func(s Step) {
		s.After, last = d.config.Now().Sub(began), s
		report(s)
	}
	receipts := d.trials.begin(m, name)
	defer d.trials.end(m.Verification)
	if !d.wait(l) {
		return last, verify.ErrBusy
	}
	step(Step{What: "sending", From: m.From})
	calling, hangUp := context.WithCancel(d.calls)
	defer context.AfterFunc(ctx, hangUp)() // who asked is gone
	defer hangUp()
	r, err := d.hand(calling, l, m)
	release()
	if err != nil {
		decision := carrier.Decision(err)
		step(Step{What: decision.Outcome.String(), Reason: decision.Reason, Code: withoutNumber(decision.Code, to), Detail: err.Error(), Ref: r.Ref})
		if decision.Outcome != verify.AttemptUnknown {
			return last, nil
		}
	} else if s, ok := l.Carrier.(carrier.Silencer); ok && s.Silent() {
		step(Step{What: verify.AttemptAccepted.String(), Ref: r.Ref, Final: true, Hint: "this carrier can't report what became of the message: that takes public.url, and for a provider the secret of its reports"})
		return last, nil
	} else {
		step(Step{What: verify.AttemptAccepted.String(), Ref: r.Ref})
	}
	if r.Delivered {
		step(Step{What: verify.ReceiptDelivered.String()})
		return last, nil
	}
	d.trials.named(m.Verification, r.Ref)
	select {
	case r := <-receipts:
		if r.Delivered {
			step(Step{What: verify.ReceiptDelivered.String(), Hint: r.Hint})
		} else {
			step(Step{What: verify.ReceiptFailed.String(), Reason: r.Reason, Code: withoutNumber(r.Code, to), Hint: r.Hint})
		}
	case <-ctx.Done():
	case <-d.calls.Done():
	}
	return last, nil
}

// trials are the test messages whose receipts somebody waits for.
type trials struct {
	mu  sync.Mutex // guards all
	all map[verify.ID]*trial
}

type trial struct {
	carrier, ref string
	message      verify.Message
	receipts     chan carrier.Receipt
}

func (t *trials) begin(m verify.Message, name string) <-chan carrier.Receipt {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[verify.ID]*trial{}
	}
	receipts := make(chan carrier.Receipt, 1)
	t.all[m.Verification] = &trial{carrier: name, message: m, receipts: receipts}
	return receipts
}

func (t *trials) named(id verify.ID, ref string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[id].ref = ref
}

// message is what a carrier's test message says, if it is one.
func (t *trials) message(name string, id verify.ID) (m verify.Message, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if trial := t.all[id]; trial != nil && trial.carrier == name {
		return trial.message, true
	}
	return m, false
}

func (t *trials) end(id verify.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, id)
}

// receive takes a receipt if it is a test message's.
func (t *trials) receive(r carrier.Receipt) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, trial := range t.all {
		if trial.carrier == r.Carrier && r.Taken && r.Verification == id {
			return true // its receipt is what somebody waits for
		}
		if trial.carrier == r.Carrier && (r.Verification == id || r.Verification.IsZero() && trial.ref != "" && trial.ref == r.Ref) {
			select {
			case trial.receipts <- r:
			default: // a repeated one
			}
			return true
		}
	}
	return false
}
