package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// A Story is all that the database tells of a verification.
type Story struct {
	*verify.Verification
	Attempts    []verify.Delivery // that have ended
	Application string            // its id as APIs show it
	KeyName     string            // "": nobody knows
}

// Story reads a verification's, or fails with [verify.ErrNotFound].
func (s *Service) Story(ctx context.Context, id verify.ID) (story Story, err error) {
	if story.Verification, err = s.store.Verification(ctx, id); err != nil {
		return story, err
	}
	if story.Attempts, err = s.store.Deliveries(ctx, id); err != nil {
		return story, err
	}
	keys, err := s.store.Keys(ctx, story.Project)
	if err != nil {
		return story, err
	}
	story.KeyName = keyName(keys, story.APIKey)
	all, err := s.store.AllApplications(ctx, story.Project)
	story.Application = story.Verification.Application.Base62() // it may be deleted
	if i := slices.IndexFunc(all, func(a verify.Application) bool { return a.ID == story.Verification.Application }); i >= 0 {
		story.Application = ApplicationName(all[i])
	}
	return story, err
}

// Reveal returns the whole number of a verification, and writes down who has seen it.
func (s *Service) Reveal(ctx context.Context, by Actor, v *verify.Verification) (phone.Number, error) {
	entry := by.did("verification reveal", fmt.Sprintf("%v, number %s", v.ID, v.Reach().Masked()))
	entry.Project = v.Project
	return v.Reach(), s.store.Record(ctx, entry)
}

// An Event is one thing that happened to a verification.
type Event struct {
	At      time.Time
	What    string // started, attempt, a delivery's outcome, receipt, or how the verification ended
	Attempt int    // 0: it isn't about one
	Channel verify.Channel
	Carrier string
	Result  string // of a receipt
	Reason  string
	Code    string // the carrier's own for the reason
	Ref     string
	Call    verify.Call
	Charge  verify.Charge
	Guesses string // that were spent by the end
}

// Timeline is what happened, the oldest first. The database has no times of single guesses, and none of an
// attempt that hasn't ended.
func (s Story) Timeline(now time.Time) []Event {
	all := []Event{{At: s.ID.Time(), What: "started", Channel: s.Channel}}
	for _, d := range s.Attempts {
		e := Event{Attempt: d.Attempt, Channel: cmp.Or(d.Channel, s.Channel), Carrier: d.Carrier}
		began, ended := e, e
		began.At, began.What = d.StartedAt, "attempt"
		ended.At, ended.What, ended.Reason, ended.Code, ended.Ref, ended.Call = d.EndedAt, d.Outcome.String(), d.Reason.String(), d.CarrierCode, d.Ref, d.Call
		ended.Charge = d.Charge
		if d.Reason != verify.ReasonLeaseLost { // of such a one only the lease's end is known
			all = append(all, began)
		}
		all = append(all, ended)
		if d.Receipt != verify.NoReceipt {
			e.At, e.What, e.Result, e.Reason, e.Code = d.ReceiptAt, "receipt", d.Receipt.String(), d.ReceiptReason.String(), d.ReceiptCode
			all = append(all, e)
		}
	}
	status := s.StatusAt(now)
	end := Event{At: s.EndedAt, What: status.String(), Guesses: fmt.Sprintf("%d of %d", s.Guesses, s.MaxAttempts)}
	if end.At.IsZero() && status == verify.StatusExpired {
		end.At = s.ExpiresAt
	}
	if !end.At.IsZero() {
		all = append(all, end)
	}
	slices.SortStableFunc(all, func(a, b Event) int { return a.At.Compare(b.At) })
	return all
}
