// Package sim is the carrier for development and tests. It sends nothing: it keeps messages in
// memory, where a developer or a test reads the codes. It must never be used in production, so the
// serve command can't enable it.
//
// Messages to some numbers fail on purpose; see [Outcomes].
package sim

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
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

// The numbers with a special outcome. They are in the unused American area code
// 555.
const (
	RefusedNumber       phone.Number = "+15550100001"
	UnreachableNumber   phone.Number = "+15550100002"
	SlowNumber          phone.Number = "+15550100003"
	FailedReceiptNumber phone.Number = "+15550100004"
	SilentNumber        phone.Number = "+15550100005"
)

// Outcomes lists the numbers with a special outcome, for documentation. Those that no message reaches have a fate, in
// a word or two, and what is said of each message to them.
var Outcomes = []struct {
	Number       phone.Number
	Meaning      string
	Fate, Failed string
}{
	{RefusedNumber, "refused for good: the delivery fails at once", "refuses", "No phone got a message: the number refuses."},
	{UnreachableNumber, "unreachable: tried again, with growing waits, until the code expires", "unreachable",
		"No phone got a message yet: the number is unreachable, and is tried again."},
	{SlowNumber, "accepted after 2 seconds", "", ""},
	{FailedReceiptNumber, "accepted, then a receipt says that the phone didn't get it", "", ""},
	{SilentNumber, "never answers: it may have been sent, so it isn't sent again", "never answers", "No phone got a message: the number never answers."},
}

const (
	slowBy    = 2 * time.Second  // delay before SlowNumber accepts
	silentFor = 10 * time.Second // how long SilentNumber doesn't answer
	askFor    = 30 * time.Second // how long a person has to press a key
)

// keep is the number of messages that are kept. Older ones are dropped.
const keep = 10_000

// A Message is a message that was sent. While a call asks for a key, [Simulator.Press]
// presses it.
type Message struct {
	ID           string    `json:"id"`
	Verification string    `json:"verification_id"`
	Channel      string    `json:"channel"` // "sms", "voice" or "push"
	To           string    `json:"to"`
	From         string    `json:"from"`
	Body         string    `json:"body"` // the text, or the words of the call, with the code in clear
	CreatedAt    time.Time `json:"created_at"`
	Keys         string    `json:"keys,omitempty"` // the keys that a call asks for, until one is pressed

	// For the page.
	Code   string `json:"-"`
	Failed string `json:"-"` // why no phone got it; "": it arrived
	Times  int    `json:"-"` // attempts that failed
}

// kept is a Message together with its origin.
type kept struct {
	Message
	sent verify.Message
	keys chan byte // of a call that asks for a key
}

// Pressable returns the keys one by one, for the page.
func (m Message) Pressable() []string {
	if m.Keys == "" {
		return nil
	}
	return strings.Split(m.Keys, "")
}

// Call reports whether the message is a call.
func (m Message) Call() bool { return m.Channel == string(verify.ChannelVoice) }

// A Simulator implements [carrier.Asker].
type Simulator struct {
	now   func() time.Time
	voice *speech.Speaker

	mu       sync.Mutex // guards the fields below
	messages []kept     // oldest first
	failed   []Message  // those that no phone got, oldest first
	receive  func(context.Context, carrier.Receipt) error
	receipts sync.WaitGroup
}

// New returns a simulator without messages.
func New(now func() time.Time) *Simulator {
	voice, err := speech.New(speech.Config{})
	if err != nil {
		panic(err) // the defaults are valid
	}
	return &Simulator{now: now, voice: voice}
}

// OnReceipt sets the function that stores receipts.
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
	if m.Channel.IsCall() { // the call is over, so the phone is free
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
	s.hangUp(keys) // no key is accepted after this
	select {
	case key := <-keys:
		if key == yes {
			r.Verdict = verify.VerdictApproves
			return r, nil
		}
		r.Verdict = verify.VerdictRejects
		return r, carrier.Because(verify.ReasonRejected, carrier.Refused(errors.New("the callee pressed 9")))
	default:
		if errors.Is(ctx.Err(), context.Canceled) { // it is we who hang up
			return r, carrier.Because(verify.ReasonInterrupted, ctx.Err())
		}
		r.Verdict = verify.VerdictUnanswered
		return r, carrier.Because(verify.ReasonNoKey, carrier.Refused(errors.New("nobody pressed a key")))
	}
}

// Show keeps what was pushed to a device of a user, once for all of their devices. It stands beside the messages to their
// number.
func (s *Simulator) Show(m verify.Message) {
	if q := m.Question; q != nil {
		m.Body = verify.Secret(asked(q))
	}
	m.From = cmp.Or(m.Asker, m.From)
	if _, shown := s.find(m.ID.String()); !shown {
		s.keep(kept{sent: m})
	}
}

// asked is what a device shows of a question, in one line.
func asked(q *verify.Question) string {
	text := q.Asker + ": is this you?"
	say := func(word string, values ...string) {
		if all := strings.Join(slices.DeleteFunc(values, func(v string) bool { return v == "" }), ", "); all != "" {
			text += " " + word + " " + all + "."
		}
	}
	if q.Purpose != verify.PurposeVerify { // which is nobody's word
		say("For", string(q.Purpose))
	}
	say("Amount", q.Amount)
	say("To", q.Payee)
	say("From", q.Client.Device, q.Client.UserAgent, q.Client.Place, q.Client.IP)
	numbers := make([]string, len(q.Choices))
	for i, n := range q.Choices {
		numbers[i] = strconv.Itoa(n)
	}
	say("Pick", numbers...)
	return text
}

// reach applies the special outcome of a message's number.
func (s *Simulator) reach(ctx context.Context, m verify.Message) error {
	for _, o := range Outcomes {
		if o.Number == m.To && o.Failed != "" {
			s.keepFailure(m, o.Failed)
		}
	}
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

// Fate says what becomes of all messages to a number that no phone gets; "": they arrive.
func Fate(to string) string {
	for _, o := range Outcomes {
		if string(o.Number) == to {
			return o.Fate
		}
	}
	return ""
}

// maxFailed is how many failed messages are kept.
const maxFailed = 100

// keepFailure keeps a message that no phone gets, once for all its attempts.
func (s *Simulator) keepFailure(m verify.Message, said string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.failed {
		if f := &s.failed[i]; f.ID == m.ID.String() {
			f.Times++
			return
		}
	}
	if len(s.failed) == maxFailed {
		s.failed = slices.Delete(s.failed, 0, 1)
	}
	f := s.message(m)
	f.Body, f.Code, f.Failed, f.Times = "", "", said, 1
	s.failed = append(s.failed, f)
}

// message is a message as it is kept.
func (s *Simulator) message(m verify.Message) Message {
	return Message{
		ID: m.ID.String(), Verification: m.Verification.String(), Channel: string(m.Channel),
		To: string(m.To), From: m.From, Body: m.Body.Reveal(), CreatedAt: s.now().UTC(), Code: m.Code.Reveal(),
	}
}

func (s *Simulator) keep(k kept) {
	keys := k.Keys
	k.Message = s.message(k.sent)
	k.Keys = keys
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

// Errors of [Simulator.Press].
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
			asks.keys <- key // doesn't block, because it is the first key
			asks.keys, asks.Keys = nil, ""
			return nil
		}
	}
	return ErrNotAsked
}

// fail reports a failed receipt after the message was accepted, as a network
// would.
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

// Close waits for the receipts that aren't reported yet.
func (s *Simulator) Close() { s.receipts.Wait() }

// Messages returns the messages to a number, or all messages if to is empty, newest
// first.
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

// All returns all messages, also those that no phone got, newest first.
func (s *Simulator) All() []Message {
	all := s.Messages("")
	s.mu.Lock()
	defer s.mu.Unlock()
	all = append(all, s.failed...)
	slices.SortStableFunc(all, func(a, b Message) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return all
}

// Sound returns a call as a WAV file: the same samples that a SIP trunk gets, with a question
// asked once. It reports false if the message isn't a call or isn't kept.
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

// find returns the latest message with an id, which all attempts share.
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
