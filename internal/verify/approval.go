package verify

import (
	"cmp"
	"time"
)

// An Approval is how the person who is reached shows that he is.
type Approval int

// The numbers are stored.
const (
	ApprovalByCode Approval = 0 // somebody types the code from the message
	// ApprovalByKey is for calls: the callee presses a key. There is a code all the same, so that a guess is
	// answered and counted as ever, but nobody is told it.
	ApprovalByKey Approval = 1
	// ApprovalAfterKey is ApprovalByCode, but a call tells the code only to somebody who pressed a key.
	ApprovalAfterKey Approval = 2
	// ApprovalByPrompt is for pushes: a device names the number that its person sees elsewhere, see [Prompt]. There is a code as
	// well, which the message tells if it goes on by another channel; a call tells it as with ApprovalAfterKey.
	ApprovalByPrompt Approval = 3
)

// approval is how a policy has calls made that tell a code. Standard wants to know that somebody is there
// before a code is said: a mailbox presses no key.
func (p Profile) approval() Approval {
	if p == ProfileStandard {
		return ApprovalAfterKey
	}
	return ApprovalByCode
}

// AllowsKey reports whether calls may be approved by a key alone. Standard wants a secret carried from one
// channel to the other (NIST SP 800-63B-4 §3.1.3): who is called again and again presses 1 in the end.
func (p Profile) AllowsKey() bool { return p != ProfileStandard }

// A Verdict is what the callee said by a key, of a call that asked for one.
type Verdict int

const (
	NoVerdict         Verdict = iota // nobody was asked
	VerdictUnanswered                // who was asked hung up, or pressed nothing that means anything
	VerdictApproves                  // pressed 1
	VerdictRejects                   // pressed 9
)

func (v Verdict) String() string {
	return [...]string{"none", "unanswered", "approves", "rejects"}[v]
}

// asks reports whether the message on a channel asks for a key instead of telling the code.
func (v *Verification) asks(c Channel) bool { return v.Approval == ApprovalByKey && c.IsCall() }

// question is what a call asks, for people who read it. Carriers say it in the words of the locale.
func (v *Verification) question() string {
	from := ""
	if v.Asker != "" {
		from = " from " + v.Asker
	}
	return "You have a verification request" + from + ". To approve it, press 1. If this wasn't you, press 9 or hang up."
}

// Answer records the end of an attempt that asked for a key, and what the callee said. Yes approves v
// as a right code would, spends what that spends, and is refused where that would be: d has the wait
// after wrong guesses. No cancels v. Either counts only from who holds the lease, as long as it
// lasts; of what has ended, only the attempt's end is recorded.
func (v *Verification) Answer(d *Destination, s *Settlement, now time.Time) (approved bool, err error) {
	if v.Attempt != s.Attempt || v.Delivery == DeliverySending && !now.Before(v.DueAt) {
		return false, ErrLeaseLost // others are asking, or may be
	}
	if v.Delivery == DeliverySending && v.asks(cmp.Or(s.Channel, v.Channel)) && v.ended(now) == nil {
		switch s.Verdict {
		case VerdictApproves:
			if approved = d.admit(v, ProfileCompat, now) == nil; approved { // its waits begin latest: the stricter of both
				v.Guesses++
				d.Clear()
				v.bear(&s.Delivery)
				v.end(StatusApproved, now)
			}
		case VerdictRejects:
			v.end(StatusCanceled, now)
			v.fail(ReasonRejected)
		}
	}
	return approved, v.Settle(s, now)
}

// Answer does that for the user's verification v. His yes validates his address, and counts as a
// change of him: a caller who waits for it has nothing else to see it by.
func (u *User) Answer(v *Verification, d *Destination, s *Settlement, now time.Time) (approved bool, err error) {
	approved, err = v.Answer(d, s, now)
	if approved {
		u.Status, u.UpdatedAt, u.VerifiedAt = UserValidated, now, now
		u.Version++
		u.ForgivePrompts()
	}
	return approved, err
}
