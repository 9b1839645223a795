package verify

import (
	"context"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/record"
)

// A Purpose says what a code may be used for, in a word of its caller's. A code for one doesn't answer another: it is
// bound to its purpose, and a check by number names both.
type Purpose string

const (
	// PurposeMFA is the purpose of a start that names none, as those of the vendors' APIs do, which know no purposes.
	PurposeMFA Purpose = "mfa"
	// PurposeVerify is for an API that knows purposes, where its caller names none.
	PurposeVerify Purpose = "verify"
)

const maxPurpose = 32

// purpose checks a purpose, and returns [PurposeMFA] for none.
func (p *problems) purpose(given Purpose) Purpose {
	if given == "" {
		return PurposeMFA
	}
	if len(given) > maxPurpose {
		p.add(FieldPurpose, "is too long (maximum is %d characters)", maxPurpose)
		return given
	}
	for _, c := range []byte(given) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			p.add(FieldPurpose, "may have a to z, 0 to 9, _ and - only")
			break
		}
	}
	return given
}

// A LatestKey names the latest verification of a number for a purpose. A user's verification is no number's: what
// takes its place, and what validates, is about the user.
type LatestKey struct {
	Project ProjectID
	Number  phone.Number // its key
	Purpose Purpose
}

// Names reports whether v is among those of which the key names the latest.
func (k LatestKey) Names(v *Verification) bool {
	return v.Project == k.Project && v.To == k.Number && v.Purpose == k.Purpose && v.User == ""
}

// LatestKey is the key that names v, while it is the latest.
func (v *Verification) LatestKey() LatestKey { return LatestKey{v.Project, v.To, v.Purpose} }

// Supersede ends older because v took its place, if v was started on that condition, and if both are of the same
// number and purpose. It reports whether that changed anything.
func (v *Verification) Supersede(older *Verification, now time.Time) bool {
	if !v.Supersedes || older.ID == v.ID || !v.LatestKey().Names(older) || older.ended(now) != nil {
		return false
	}
	older.end(StatusSuperseded, now)
	return true
}

// CheckLatest spends one guess on the latest verification of a number for a purpose, as Check does on one by its id:
// both share its guesses and the number's waits. The outcome names the verification. An unknown number is answered as
// an unknown id is.
func (s *Service) CheckLatest(ctx context.Context, acct *Account, number string, e Entry) (Outcome, error) {
	var p problems
	n, purpose := p.parse(FieldTo, number), p.purpose(e.Purpose)
	if err := p.err(); err != nil {
		return Outcome{}, err
	}
	g := s.guess(acct, func(*Verification) string { return e.Code.Reveal() })
	g.Payment = e.Payment
	out, err := s.store.CheckLatest(context.WithoutCancel(ctx), LatestKey{acct.Project.ID, n.Key(), purpose}, g)
	record.Of(ctx).Verification = record.ID(out.Verification)
	s.observer.Checked(acct.Project.ID, out, err)
	if err == nil && out.Approved {
		err = s.confirmNumber(context.WithoutCancel(ctx), acct, out.Verification)
	}
	return out, err
}
