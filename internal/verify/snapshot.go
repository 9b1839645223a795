package verify

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/record"
	"github.com/countersign/countersign/internal/sms"
	"github.com/countersign/countersign/internal/wording"
)

// A Snapshot is a verification as it is at an instant, for the project whose it is. It holds nothing of the code.
type Snapshot struct {
	Verification Verification
	Status       Status     // at the instant; the verification's own doesn't say that its time is over
	ResendAt     time.Time  // see [Verification.ResendAt]
	Deliveries   []Delivery // the attempts that have ended, the oldest first; a list leaves them out
}

// snapshot takes what no caller needs out of v.
func snapshot(v *Verification, now time.Time) Snapshot {
	s := Snapshot{Verification: *v, Status: v.StatusAt(now), ResendAt: v.ResendAt(now)}
	s.Verification.CodeMAC, s.Verification.SealedCode = nil, nil
	return s
}

// SenderOf is what the message of an attempt came from.
func (v *Verification) SenderOf(d *Delivery) string { return cmp.Or(d.Sender, v.Sender) }

// SegmentsOf is how many segments the text message of an attempt has; 0 for a call.
func (v *Verification) SegmentsOf(d *Delivery) int {
	c := cmp.Or(d.Channel, v.Channel)
	if !c.InSegments() {
		return 0
	}
	return sms.Segments(wording.Fill(v.textBy(c), v.Prefix+wording.Longest(v.Format, v.Length), v.Format))
}

// A Listing selects verifications of a project, the newest first.
type Listing struct {
	Project ProjectID
	Number  phone.Number // its key; "": of any number

	// Verifications that were started at From or later, and before Until, pass. So do those that have one of the
	// statuses at Now, and the purpose. What is zero lets all pass.
	From, Until time.Time
	Now         time.Time
	Statuses    []Status
	Purpose     Purpose

	Before ID // go on behind this one; zero: begin with the newest
	Limit  int
}

// Passes reports whether v belongs into the list.
func (l *Listing) Passes(v *Verification) bool {
	started := v.ID.Time()
	return v.Project == l.Project &&
		(l.Number == "" || v.To == l.Number) &&
		(l.Purpose == "" || v.Purpose == l.Purpose) &&
		(l.From.IsZero() || !started.Before(l.From)) &&
		(l.Until.IsZero() || started.Before(l.Until)) &&
		(len(l.Statuses) == 0 || slices.Contains(l.Statuses, v.StatusAt(l.Now)))
}

// A VerificationStore finds a project's verifications. Another project's doesn't exist.
type VerificationStore interface {
	// Lookup reads one, with its attempts that have ended, the oldest first. It fails with [ErrNotFound].
	Lookup(ctx context.Context, p ProjectID, id ID) (*Verification, []Delivery, error)
	// List reads a page. It looks at a bounded number of verifications, so a page may have fewer than the limit,
	// or none. The list goes on behind next, unless that is zero.
	List(ctx context.Context, l Listing) (page []Verification, next ID, err error)
	// Resend commits a further message of a verification, as [Verification] r.Verification was seen: see
	// [Resending.Resend]. It returns the verification as it then is.
	Resend(ctx context.Context, r Resending) (*Verification, error)
	// CheckLatest spends a guess at the verification that the key names: see [Verification.Check]. g has no ID.
	// It fails with [ErrNotFound].
	CheckLatest(ctx context.Context, k LatestKey, g Guess) (Outcome, error)
}

// Verification reads a verification of the account's project, or fails with [ErrNotFound].
func (s *Service) Verification(ctx context.Context, acct *Account, id ID) (Snapshot, error) {
	record.Of(ctx).Verification = record.ID(id)
	v, deliveries, err := s.store.Lookup(ctx, acct.Project.ID, id)
	if err != nil {
		return Snapshot{}, err
	}
	seen := snapshot(v, s.now())
	seen.Deliveries = deliveries
	return seen, nil
}

// A ListRequest selects verifications of an account's project, the newest first.
type ListRequest struct {
	To          string // "": to any number
	From, Until time.Time
	Statuses    []Status
	Purpose     Purpose // "": any
	Before      ID      // the cursor of the page before
	Limit       int
}

// Verifications returns a page of the project's verifications, and the cursor behind it, which is zero at the end. A
// page may have fewer than the limit, or none, and not be the last.
func (s *Service) Verifications(ctx context.Context, acct *Account, r ListRequest) (page []Snapshot, next ID, err error) {
	l := Listing{
		Project: acct.Project.ID, From: r.From, Until: r.Until, Now: s.now(), Statuses: r.Statuses, Purpose: r.Purpose,
		Before: r.Before, Limit: r.Limit,
	}
	var p problems
	if r.To != "" {
		if n := p.parse(FieldTo, r.To); n != "" {
			l.Number = n.Key()
		}
	}
	if r.Purpose != "" {
		p.purpose(r.Purpose)
	}
	if err := p.err(); err != nil {
		return nil, next, err
	}
	found, next, err := s.store.List(ctx, l)
	for i := range found {
		page = append(page, snapshot(&found[i], l.Now))
	}
	return page, next, err
}
