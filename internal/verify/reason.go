package verify

// A Reason is why an attempt or a delivery failed, or isn't known to have succeeded. All reasons are in one
// list. Carriers translate what networks and providers say into reasons, and the dispatcher decides by what
// the list says of each. The database, the logs and the metrics hold the reason's word.
type Reason uint8

// The reasons. A new one needs a word, a blame, and a row in docs/carriers.md.
const (
	NoReason Reason = iota // it hasn't failed

	// The message, its number, or the person.
	ReasonRefused
	ReasonInvalidNumber
	ReasonInvalidSender
	ReasonBlocked
	ReasonSpamFiltered
	ReasonInvalidMessage
	ReasonForbidden
	ReasonNoMedia
	ReasonNoDevice
	ReasonNoPrompt
	ReasonBusy
	ReasonNoAnswer
	ReasonDeclined
	ReasonHungUp
	ReasonNoKey
	ReasonRejected

	// The carrier.
	ReasonError
	ReasonLater
	ReasonUnknown
	ReasonUnreachable
	ReasonUnavailable
	ReasonNetwork
	ReasonNoCredit
	ReasonMisconfigured
	ReasonAuth
	ReasonRedirected

	// We, or nobody who can be named, before or during a carrier's call.
	ReasonThrottled
	ReasonFull
	ReasonLost
	ReasonTooLong
	ReasonCantAsk
	ReasonInterrupted
	ReasonLeaseLost

	// The verification ended, or no message may go.
	ReasonExpired
	ReasonApproved
	ReasonExhausted
	ReasonCanceled
	ReasonSuperseded
	ReasonKeyMissing
	ReasonNoCarrier
	ReasonMaxMessages
	ReasonTooManySends
	ReasonCalling
	ReasonTooSoon
	ReasonBudget
	ReasonStopped
	ReasonCountryLimit
	ReasonTooDear

	reasonCount
)

// A Blame says whose failure an attempt was. The dispatcher passes over a carrier that fails, so only the
// carrier's own failures may count against it: people choose whether they answer their phone.
type Blame int

const (
	// BlameUs is for a failure that says nothing of the carrier. We stopped, had no room, were too fast, or
	// made a message that the carrier can't take; or nobody can tell whose failure it was.
	BlameUs Blame = iota
	// BlameCarrier is for a carrier that is out of reach, too slow, or can't do its work for anybody.
	BlameCarrier
	// BlameMessage is for a final answer about the message or its number. It shows that the carrier works.
	BlameMessage
)

func (b Blame) String() string { return [...]string{"us", "the carrier", "the message"}[b] }

// An effect is what a reason says of the phone, and of the carrier's turn.
type effect uint8

const (
	noEffect effect = iota
	rings           // the phone rang, or was busy: it is left alone for a while
	refuses         // the person was reached and wants no more: nobody calls again
	noTurn          // we ended the attempt before the carrier could answer: it is still the carrier's turn
)

// reasons says what each reason is.
var reasons = [reasonCount]struct {
	word   string // stored, logged and counted: it never changes its meaning
	blame  Blame
	effect effect
}{
	NoReason: {},

	ReasonRefused:        {"refused", BlameMessage, noEffect},         // the carrier will never send it, and doesn't say why
	ReasonInvalidNumber:  {"invalid_number", BlameMessage, noEffect},  // nobody has it, or it can't get messages of this kind (a landline, say)
	ReasonInvalidSender:  {"invalid_sender", BlameMessage, noEffect},  // the sender isn't registered, or not ours to use
	ReasonBlocked:        {"blocked", BlameMessage, noEffect},         // the person, the operator or the destination's rules don't want it
	ReasonSpamFiltered:   {"spam_filtered", BlameMessage, noEffect},   // somebody on the way took the text for spam
	ReasonInvalidMessage: {"invalid_message", BlameMessage, noEffect}, // the text: too long, or of a form that isn't approved
	ReasonForbidden:      {"forbidden", BlameMessage, noEffect},       // the trunk doesn't call this number for us
	ReasonNoMedia:        {"no_media", BlameMessage, noEffect},        // no sound to agree on
	ReasonNoDevice:       {"no_device", BlameMessage, noEffect},       // the user has no device for a push, or none that its service still knows
	ReasonNoPrompt:       {"no_prompt", BlameMessage, noEffect},       // the user gets no prompts: three had no success, or they said that it wasn't them
	ReasonBusy:           {"busy", BlameMessage, rings},
	ReasonNoAnswer:       {"no_answer", BlameMessage, rings},  // it rang, or the phone is off
	ReasonDeclined:       {"declined", BlameMessage, refuses}, // by the callee
	ReasonHungUp:         {"hung_up", BlameMessage, refuses},  // by the callee, before they had heard the code or pressed a key
	ReasonNoKey:          {"no_key", BlameMessage, refuses},   // nobody pressed one: most likely an answering machine
	ReasonRejected:       {"rejected", BlameMessage, refuses}, // the callee says that it wasn't they who asked

	ReasonError:         {"error", BlameCarrier, noEffect},         // it wasn't sent, and nobody says why
	ReasonLater:         {"later", BlameCarrier, noEffect},         // the carrier can't at the moment
	ReasonUnknown:       {"unknown", BlameCarrier, noEffect},       // the answer got lost, so it may have been sent; of a receipt: none of the others fits
	ReasonUnreachable:   {"unreachable", BlameCarrier, noEffect},   // the carrier is; of a receipt: the phone is off or out of coverage
	ReasonUnavailable:   {"unavailable", BlameCarrier, noEffect},   // the trunk can't at the moment
	ReasonNetwork:       {"network", BlameCarrier, noEffect},       // something on the way broke
	ReasonNoCredit:      {"no_credit", BlameCarrier, noEffect},     // we, or the person, have no money left with the carrier
	ReasonMisconfigured: {"misconfigured", BlameCarrier, noEffect}, // the carrier doesn't know us, or our account lacks something: an operator must act
	ReasonAuth:          {"auth", BlameCarrier, noEffect},          // the trunk doesn't take our credentials
	ReasonRedirected:    {"redirected", BlameCarrier, noEffect},    // the receiver wants the message elsewhere: an operator must act

	ReasonThrottled:   {"throttled", BlameUs, noEffect},  // too many at once
	ReasonFull:        {"full", BlameUs, noEffect},       // as many calls as may be are under way
	ReasonLost:        {"lost", BlameUs, noEffect},       // the trunk, or the phone, disappeared during the call
	ReasonTooLong:     {"too_long", BlameUs, noEffect},   // what there is to say takes longer than a call may
	ReasonCantAsk:     {"cant_ask", BlameUs, noEffect},   // the carrier can't ask for a key
	ReasonInterrupted: {"interrupted", BlameUs, noTurn},  // we shut down, or lost our hold on the message
	ReasonLeaseLost:   {"lease_lost", BlameUs, noEffect}, // the server that was sending it died; it may have been sent

	ReasonExpired:      {"expired", BlameUs, noEffect}, // the code died first
	ReasonApproved:     {"approved", BlameUs, noEffect},
	ReasonExhausted:    {"exhausted", BlameUs, noEffect},
	ReasonCanceled:     {"canceled", BlameUs, noEffect},
	ReasonSuperseded:   {"superseded", BlameUs, noEffect},       // the user has a newer verification
	ReasonKeyMissing:   {"key_missing", BlameUs, noEffect},      // our keyset lacks the key of its code
	ReasonNoCarrier:    {"no_carrier", BlameUs, noEffect},       // no carrier takes it any more
	ReasonMaxMessages:  {"max_messages", BlameUs, noEffect},     // as many as allowed have gone out, or may have
	ReasonTooManySends: {"too_many_sends", BlameUs, noEffect},   // the number's send limits
	ReasonCalling:      {"calling", BlameUs, noEffect},          // another call to the number was under way
	ReasonTooSoon:      {"too_soon", BlameUs, noEffect},         // after another message to the number
	ReasonBudget:       {"budget_exhausted", BlameUs, noEffect}, // the project's budget is used up
	ReasonStopped:      {"country_stopped", BlameUs, noEffect},  // an operator has stopped messages to the number's country
	ReasonCountryLimit: {"country_message_limit", BlameUs, noEffect},
	ReasonTooDear:      {"country_price_limit", BlameUs, noEffect},
}

// words finds reasons by their words.
var words = func() map[string]Reason {
	all := map[string]Reason{}
	for i, r := range reasons {
		all[r.word] = Reason(i)
	}
	all["no_number"], all["undelivered"] = ReasonInvalidNumber, ReasonUnreachable // in rows of older servers
	return all
}()

// Reasons are all reasons there are.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonCount-1)
	for r := NoReason + 1; r < reasonCount; r++ {
		all = append(all, r)
	}
	return all
}

// String is the reason's word, "" for [NoReason].
func (r Reason) String() string { return reasons[r].word }

// Blame says whose failure it is, unless the carrier knows better.
func (r Reason) Blame() Blame { return reasons[r].blame }

// Turn reports whether an attempt that failed so was the carrier's turn. If we ended it ourselves, it wasn't.
func (r Reason) Turn() bool { return reasons[r].effect != noTurn }

// rang reports whether the phone rang, or was busy.
func (r Reason) rang() bool { return reasons[r].effect == rings || r.final() }

// final reports whether the person was reached and must not be called again.
func (r Reason) final() bool { return reasons[r].effect == refuses }

// MarshalText writes the word.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a word as [ReadReason] does.
func (r *Reason) UnmarshalText(text []byte) error {
	*r = ReadReason(string(text), true)
	return nil
}

// ReadReason reads a word that a server has stored, of this version or another. Asked says that the row may be
// about a call that asked for a key. An unknown word, of a newer version, is [ReasonUnknown].
func ReadReason(word string, asked bool) Reason {
	if word == "no_key" && !asked { // older servers had one word for both
		return ReasonKeyMissing
	}
	if r, ok := words[word]; ok {
		return r
	}
	return ReasonUnknown
}

// Reason is why a message isn't sent whose verification has ended so.
func (s Status) Reason() Reason {
	return [...]Reason{StatusPending: NoReason, StatusApproved: ReasonApproved, StatusExhausted: ReasonExhausted,
		StatusCanceled: ReasonCanceled, StatusExpired: ReasonExpired, StatusSuperseded: ReasonSuperseded}[s]
}
