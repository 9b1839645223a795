package carrier

import "github.com/countersign/countersign/internal/verify"

// A Blame says whose failure an attempt was. The dispatcher passes over a carrier that fails, so only the
// carrier's own failures may count against it: callees choose whether they answer their phone.
type Blame int

const (
	// Ours is a failure that says nothing of the carrier. We stopped, had no room, were too fast, or made a
	// message that the carrier can't take; or nobody can tell whose failure it was.
	Ours Blame = iota
	// Carriers is a failure of the carrier: it is out of reach, too slow, or can't do its work for anybody.
	Carriers
	// Callees is a final answer about the message or its number. It shows that the carrier works.
	Callees
)

func (b Blame) String() string { return [...]string{"ours", "carrier", "callee"}[b] }

// blames are the reasons that tell by themselves. What a carrier says in other words counts by its outcome:
// see [Error.Whose].
var blames = map[string]Blame{
	ReasonInvalidNumber:   Callees,
	ReasonInvalidSender:   Callees,
	ReasonBlocked:         Callees,
	ReasonSpamFiltered:    Callees,
	ReasonInvalidMessage:  Callees,
	ReasonBusy:            Callees,
	ReasonNoAnswer:        Callees,
	ReasonDeclined:        Callees,
	ReasonHungUp:          Callees,
	ReasonNoKey:           Callees,
	verify.ReasonRejected: Callees,

	ReasonUnreachable:   Carriers,
	ReasonNetwork:       Carriers,
	ReasonNoCredit:      Carriers,
	ReasonMisconfigured: Carriers,
	ReasonRedirected:    Carriers,

	ReasonThrottled:   Ours,
	ReasonExpired:     Ours,
	ReasonCantAsk:     Ours,
	ReasonInterrupted: Ours,
}

// Blaming gives an error a blame of its own, and keeps what it decides.
func Blaming(b Blame, err error) error {
	e := *Decision(err)
	e.blame, e.Err = &b, err
	return &e
}

// Whose says whose failure an error is: as [Blaming] said, else as its reason tells, else a refusal is
// about the message, and everything else is the carrier's.
func (e *Error) Whose() Blame {
	if e.blame != nil {
		return *e.blame
	}
	if b, ok := blames[e.Reason]; ok {
		return b
	}
	if e.Outcome == verify.Refused {
		return Callees
	}
	return Carriers
}
