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
	"strings"
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

const (
	slowBy    = 2 * time.Second  // SlowNumber takes so long
	silentFor = 10 * time.Second // SilentNumber isn't waited for any longer
	askFor    = 30 * time.Second // a person has so long to press a key
)

// keep is how many messages are kept; older ones are forgotten.
const keep = 10_000

// A Message is one that was sent. While a call asks for a key, [Simulator.Press] presses one.
type Message struct {
	ID           string    `json:"id"`
	Verification string    `json:"verification_id"`
	Channel      string    `json:"channel"` // "sms" or "voice"
	To           string    `json:"to"`
	From         string    `json:"from"`
	Body         string    `json:"body"` // the text, or what the voice says; the code in clear
	CreatedAt    time.Time `json:"created_at"`
	Keys         string    `json:"keys,omitempty"` // those that a call asks for, until one is pressed
}

// kept is a message with what it was made of.
type kept struct {
	Message
	sent verify.Message
	keys chan byte // of a call that asks for one
}

// Pressable are the keys one by one, for the page.
func (m Message) Pressable() []string {
	if m.Keys == "" {
		return nil
	}
	return strings.Split(m.Keys, "")
}

// Call reports whether the message was a call, so that there is something to hear.
func (m Message) Call() bool { return m.Channel == string(verify.Voice) }

// A Simulator is a [carrier.Asker].
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

// Limit implements [carrier.Limiter].
func (s *Simulator) Limit() time.Duration { return askFor }

// Send implements [carrier.Carrier].
func (s *Simulator) Send(ctx context.Context, m verify.Message) (carrier.Result, error) {
	if err := s.reach(ctx, m); err != nil {
		return carrier.Result{}, err
	}
	s.keep(kept{sent: m})
	if m.To == FailedReceiptNumber {
		s.fail(m)
	}
	r := carrier.Result{Ref: m.ID.String()}
	if m.Channel == verify.Voice { // the call is over, and the phone free for the next one
		r.Call = verify.Call{Answered: s.now(), Status: 200}
	}
	return r, nil
}

// The keys that a call may ask for.
const yes, no = '1', '9'

// Ask implements [carrier.Asker]. It waits for [Simulator.Press] until ctx is done.
func (s *Simulator) Ask(ctx context.Context, m verify.Message) (carrier.Result, error) {
	if err := s.reach(ctx, m); err != nil {
		return carrier.Result{}, err
	}
	r := carrier.Result{Ref: m.ID.String()}
	keys := make(chan byte, 1)
	s.keep(kept{Message{Keys: string(yes) + string(no)}, m, keys})
	select {
	case key := <-keys:
		keys <- key
	case <-ctx.Done():
	}
	s.hangUp(keys) // from here on no key is taken
	select {
	case key := <-keys:
		if key == yes {
			r.Verdict = verify.Approves
			return r, nil
		}
		r.Verdict = verify.Rejects
		return r, carrier.Because(verify.ReasonRejected, carrier.Refused(errors.New("the callee pressed 9")))
	default:
		if errors.Is(ctx.Err(), context.Canceled) { // it is we who hang up
			return r, carrier.Because(verify.ReasonInterrupted, ctx.Err())
		}
		r.Verdict = verify.Unanswered
		return r, carrier.Because(verify.ReasonNoKey, carrier.Refused(errors.New("nobody pressed a key")))
	}
}

// reach does to a message what its number means.
func (s *Simulator) reach(ctx context.Context, m verify.Message) error {
	switch m.To {
	case RefusedNumber:
		return carrier.Refused(errors.New("the simulator refuses this number"))
	case UnreachableNumber:
		return carrier.Because(verify.ReasonUnreachable, errors.New("the simulator can't reach this number"))
	case SilentNumber:
		ctx, cancel := context.WithTimeout(ctx, silentFor)
		defer cancel()
		<-ctx.Done()
		return carrier.Unknown(ctx.Err())
	case SlowNumber:
		select {
		case <-ctx.Done():
			return carrier.Unknown(ctx.Err())
		case <-time.After(slowBy):
		}
	}
	return nil
}

func (s *Simulator) keep(k kept) {
	m := k.sent
	k.Message = Message{
		ID: m.ID.String(), Verification: m.Verification.String(), Channel: string(m.Channel),
		To: string(m.To), From: m.From, Body: m.Body.Reveal(), CreatedAt: s.now().UTC(), Keys: k.Keys,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.messages) == keep {
		s.messages = append(s.messages[:0:0], s.messages[keep/10:]...)
	}
	s.messages = append(s.messages, k)
}

// hangUp ends a call that asked for a key.
func (s *Simulator) hangUp(keys chan byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.messages {
		if m := &s.messages[i]; m.keys == keys {
			m.keys, m.Keys = nil, ""
		}
	}
}

// Why a key can't be pressed.
var (
	ErrNoCall   = errors.New("there is no such call")
	ErrNotAsked = errors.New("the call doesn't ask for a key, or is over")
	ErrKey      = errors.New("key: must be 1 or 9")
)

// Press presses a key in a call that asks for one.
func (s *Simulator) Press(id string, key byte) error {
	m, ok := s.find(id)
	switch {
	case !ok || !m.Call():
		return ErrNoCall
	case key != yes && key != no:
		return ErrKey
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.messages {
		if asks := &s.messages[i]; asks.ID == id && asks.keys != nil {
			asks.keys <- key // has room: it is the first
			asks.keys, asks.Keys = nil, ""
			return nil
		}
	}
	return ErrNotAsked
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
		receive(context.Background(), carrier.Receipt{Carrier: Name, Verification: m.Verification, Attempt: m.Attempt, Reason: verify.ReasonUnreachable})
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

// Sound is what a call said, as a WAV file: exactly the samples that a SIP trunk would get, of a
// question once. It reports false for what was no call, or isn't kept.
func (s *Simulator) Sound(ctx context.Context, id string) (wav []byte, ok bool) {
	m, ok := s.find(id)
	if !ok || !m.Call() {
		return nil, false
	}
	if m.sent.ByKey {
		return speech.WAV(s.voice.Question(ctx, m.sent.Locale, m.sent.Asker).Ask), true
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
