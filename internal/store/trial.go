package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// CreateTrial makes a project that is being tried: its messages a day are its budget's, and so is a credit, if it gets one. It
// fails as [Store.CreateProject] does.
func (s *Store) CreateTrial(_ context.Context, p verify.Project, credit money.Amount, currency money.Currency, by Audit) error {
	return s.aloneOf(p.ID, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if err := createProject(ctx, tx, &p, now); err != nil {
			return err
		}
		b := verify.NoBudget(p.ID)
		b.DayMessages, b.Prepaid, b.Currency = p.TrialMessages, credit > 0, currency
		if err := writeBudget(ctx, tx, &b); err != nil {
			return err
		}
		if credit > 0 {
			if err := enter(ctx, tx, now, p.ID, verify.LedgerEntry{Kind: verify.LedgerTrial, Amount: credit, Actor: by.Actor}); err != nil {
				return err
			}
		}
		return audits(ctx, tx, now, p.ID, []Audit{by})
	})
}

// ConfirmNumber implements [verify.TrialStore].
func (s *Store) ConfirmNumber(ctx context.Context, p verify.ProjectID, n phone.Number, by verify.ID) error {
	_, err := s.ChangeProject(ctx, p, func(stored *verify.Project) ([]Audit, error) {
		changed, err := stored.Confirm(n)
		if err != nil || !changed {
			return nil, err
		}
		return []Audit{{Actor: keyActor(by), Action: "trial number", Detail: n.Masked()}}, nil
	})
	return err
}

// endTrial ends a project's trial: it may send to all numbers that its policy allows, and its messages a day are bounded only if
// that was changed meanwhile.
func endTrial(ctx context.Context, tx *sql.Tx, p *verify.Project, b *verify.BudgetState, by Audit, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE project SET trial_messages = 0, only_numbers = '' WHERE id = $1`, p.ID); err != nil {
		return err
	}
	if b.DayMessages == p.TrialMessages {
		b.DayMessages = verify.NoCap
	}
	if err := writeBudget(ctx, tx, &b.Budget); err != nil {
		return err
	}
	return audits(ctx, tx, now, p.ID, []Audit{by})
}
