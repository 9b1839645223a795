package verify

import (
	"context"
	"slices"

	"github.com/countersign/countersign/internal/phone"
)

// A project that is being tried may send only to numbers that it has confirmed as its own. It confirms one by a verification of
// the purpose [TrialNumber], which says the default text with a code of ours: so only who has the phone can.

// A TrialStore keeps the numbers of projects that are being tried.
type TrialStore interface {
	// ConfirmNumber makes a number one of the project's own, and writes down by which key: see [Project.Confirm].
	ConfirmNumber(ctx context.Context, p ProjectID, n phone.Number, by ID) error
}

// TrialNumber is the purpose of a verification that confirms a number of a project that is being tried.
const TrialNumber Purpose = "trial_number"

// MaxTrialNumbers is how many numbers such a project may confirm.
const MaxTrialNumbers = 5

// Trial reports whether the project is being tried.
func (p *Project) Trial() bool { return p.TrialMessages > 0 }

// sendsOnlyTo reports whether the project may send only to its OnlyNumbers.
func (p *Project) sendsOnlyTo() bool { return p.Trial() || len(p.OnlyNumbers) > 0 }

// Confirm makes a number one of the project's own. It reports whether that changed anything, and fails with [ErrTrialNumbers].
func (p *Project) Confirm(n phone.Number) (changed bool, err error) {
	switch {
	case !p.Trial() || slices.Contains(p.OnlyNumbers, n):
		return false, nil
	case len(p.OnlyNumbers) >= MaxTrialNumbers:
		return false, ErrTrialNumbers
	}
	p.OnlyNumbers = append(slices.Clip(p.OnlyNumbers), n)
	return true, nil
}

// confirms reports whether a request is to confirm a number of a project that is being tried.
func (r *StartRequest) confirms(p *Project) bool { return p.Trial() && r.Purpose == TrialNumber }

// confirmation checks a request that is to confirm a number, and returns the project as it may send for that.
func (p *problems) confirmation(r *StartRequest, project *Project) *Project {
	if !r.confirms(project) {
		return project
	}
	if len(project.OnlyNumbers) >= MaxTrialNumbers {
		p.add(FieldPurpose, "confirms no more numbers: the project has %d, as many as it may while it is tried", MaxTrialNumbers)
	}
	if r.Code != "" || r.Text != "" || r.Template != "" || !r.Payment.IsZero() {
		p.add(FieldPurpose, "confirms a number, which takes a code and a text of ours: leave out yours")
	}
	open := *project
	open.OnlyNumbers, open.TrialMessages = nil, 0
	return &open
}

// confirmNumber makes the number of a verification that was approved one of the project's own, if it was for that.
func (s *Service) confirmNumber(ctx context.Context, acct *Account, id ID) error {
	if !acct.Project.Trial() {
		return nil
	}
	v, _, err := s.store.Lookup(ctx, acct.Project.ID, id)
	if err != nil || v.Purpose != TrialNumber || v.User != "" {
		return err
	}
	return s.store.ConfirmNumber(ctx, acct.Project.ID, v.To, acct.KeyID)
}
