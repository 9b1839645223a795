// Package sim is the carrier for development and tests. It sends nothing: it keeps what it was
// given, in memory, where a developer or a test reads the code. So it must never serve people; the
// program's serve command has no way to switch it on.
//
// Some numbers have a meaning and fail on purpose, see [Outcomes].
package sim

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/carrier"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/speech"
	"github.com/countersign/countersign/internal/verify"
)

// Name is the carrier's name.
const Name = "simulator"

// The numbers with a meaning. They stand in the unused American area code 555.
const (
	RefusedNumber       phone.Number = "+15550100001"
	UnreachableNumber   phone.Number = "+15550100002"
	SlowNumber          phone.Number = "+15550100003"
	FailedReceiptNumber phone.Number = "+15550100004"
	SilentNumber        phone.Number = "+15550100005"
)

// Outcomes says what happens to a message to each number with a meaning, for documentation.
var Outcomes = []struct {
	Number  phone.Number
	Meaning string
}{
	{RefusedNumber, "refused for good: the delivery fails at once"},
	{UnreachableNumber, "unreachable: tried again, with growing waits, until the code expires"},
	{SlowNumber, "accepted after 2 seconds"},
	{FailedReceiptNumber, "accepted, then a receipt says that the phone didn't get it"},
	{SilentNumber, "never answers: it may have been sent, so it isn't sent again"},
}

// slowBy is how long SlowNumber takes.
const slowBy = 2 * time.Second

// keep is how many messages are kept; older ones are forgotten.
const keep = 10_000

// A Message is one that was sent.
type Message struct {
	ID           string    `json:"id"`
	Verification string    `json:"verification_id"`
	Channel      string    `json:"channel"` // "sms" or "voice"
	To           string    `json:"to"`
	From         string    `json:"from"`
	Body         string    `json:"body"` // the text, or what the voice says; the code in clear
	CreatedAt    time.Time `json:"created_at"`
}

// kept is a message with what it was made of.
type kept struct {
	Message
	sent verify.Message
}

// Call reports whether the message was a call, so that there is something to hear.
func (m Message) Call() bool { return m.Channel == string(verify.Voice) }

// A Simulator is a [carrier.Carrier].
type Simulator struct {
	now   func() time.Time
	voice *speech.Speaker

	mu       sync.Mutex // guards all below
	messages []kept     // oldest first
	receive  func(context.Context, carrier.Receipt) error
	receipts sync.WaitGroup
}

// New returns a simulator that has sent nothing.
func New(now func() time.Time) *Simulator {
	voice, err := speech.New(speech.Config{})
	if err != nil {
		panic(err) // the defaults are right
	}
	return &Simulator{now: now, voice: voice}
}

// OnReceipt sets who is told of receipts.
func (s *Simulator) OnReceipt(receive func(context.Context, carrier.Receipt) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receive = receive
}

// Name implements [carrier.Carrier].
func (s *Simulator) Name() string { return Name }

// Send implements [carrier.Carrier].
func (s *Simulator) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	switch m.To {
	case RefusedNumber:
		return carrier.Result{}, carrier.Refused(errors.New("the simulator refuses this number"))
	case UnreachableNumber:
		return carrier.Result{}, carrier.Because("unreachable", errors.New("the simulator can't reach this number"))
	case SilentNumber:
		<-ctx.Done()
		return carrier.Result{}, carrier.Unknown(ctx.Err())
	case SlowNumber:
		select {
		case <-ctx.Done():
			return carrier.Result{}, carrier.Unknown(ctx.Err())
		case <-time.After(slowBy):
		}
	}
	s.keep(m)
	if m.To == FailedReceiptNumber {
		s.fail(m)
	}
	return carrier.Result{Ref: m.ID.String()}, nil
}

func (s *Simulator) keep(m verify.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.messages) == keep {
		s.messages = append(s.messages[:0:0], s.messages[keep/10:]...)
	}
	s.messages = append(s.messages, kept{Message{
		ID: m.ID.String(), Verification: m.Verification.String(), Channel: string(m.Channel),
		To: string(m.To), From: m.From, Body: m.Body.Reveal(), CreatedAt: s.now().UTC(),
	}, m})
}

// fail reports a failed receipt, as a network would: after the message was taken.
func (s *Simulator) fail(m verify.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receive == nil {
		return
	}
	receive := s.receive
	s.receipts.Go(func() {
		time.Sleep(20 * time.Millisecond) // most often behind the settling, as in life
		receive(context.Background(), carrier.Receipt{Carrier: Name, Verification: m.Verification, Attempt: m.Attempt, Reason: "undelivered"})
	})
}

// Close waits for the receipts that are under way.
func (s *Simulator) Close() { s.receipts.Wait() }

// Messages returns what was sent to a number, or to all if it is empty, newest first.
func (s *Simulator) Messages(to phone.Number) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []Message{}
	for i := len(s.messages) - 1; i >= 0; i-- {
		if m := s.messages[i]; to == "" || m.To == string(to) {
			found = append(found, m.Message)
		}
	}
	return found
}

// Sound is what a call said, as a WAV file: exactly the samples that a SIP trunk would get. It
// reports false for what was no call, or isn't kept.
func (s *Simulator) Sound(ctx context.Context, id string) (wav []byte, ok bool) {
	m, ok := s.find(id)
	if !ok || !m.Call() {
		return nil, false
	}
	script := s.voice.Script(ctx, m.sent.Locale, m.sent.Around(), m.sent.Code.Reveal())
	return speech.WAV(script.All()), true
}

// find returns the latest message with an id: all attempts have the same.
func (s *Simulator) find(id string) (kept, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range slices.Backward(s.messages) {
		if m.ID == id {
			return m, true
		}
	}
	return kept{}, false
}
