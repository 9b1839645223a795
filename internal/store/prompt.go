package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// AnswerPrompt implements [verify.PromptStore].
func (s *Store) AnswerPrompt(_ context.Context, p verify.ProjectID, a *verify.PromptAnswer) (verify.PromptOutcome, error) {
	var out verify.PromptOutcome
	err := s.w.do(op{
		project: p, verification: a.Verification, withDestination: true,
		apply: func(r *rows, now time.Time) error {
			v, err := r.owned(a.Verification, p)
			if err != nil {
				return verify.ErrNoPrompt
			}
			u := r.user(userOf(&v.value))
			if u == nil {
				return verify.ErrNoPrompt
			}
			d := r.destination(destinationKey{v.value.Project, v.value.To})
			if out, err = u.value.Respond(&v.value, &d.value, a, now); err != nil {
				return err
			}
			if out.Noted {
				v.dirty, u.dirty = true, true
			}
			if out.Approved || out.Denied || out.Wrong {
				v.dirty, u.dirty, d.dirty, r.decided = true, true, true, v
			}
			if out.Denied || out.Noted {
				r.audits = append(r.audits, denial(p, a, now))
			}
			if out.Approved {
				v.value.ApprovalUsage(r.use)
			}
			return nil
		},
	})
	return out, err
}

// denial is the audit log's entry of one. It is committed with what the denial does, so that no crash comes between.
func denial(p verify.ProjectID, a *verify.PromptAnswer, now time.Time) Audit {
	return Audit{
		ID: verify.NewID(now), Project: p, Actor: "device " + a.Device.String(), Action: "prompt deny",
		Detail: "verification " + a.Verification.String() + ": it wasn't the user who asked",
	}
}

// TellOutcome implements [verify.PromptStore].
func (s *Store) TellOutcome(ctx context.Context, p verify.ProjectID, id verify.ID) (verify.Outcome, error) {
	var out verify.Outcome
	err := s.w.do(op{
		project: p, verification: id, keep: keep(ctx, &out),
		apply: func(r *rows, now time.Time) error {
			v, err := r.owned(id, p)
			if err != nil {
				return err
			}
			out, err = v.value.Tell(now)
			v.dirty = v.dirty || out.Approved
			return err
		},
	})
	return out, err
}

// ForgivePrompts implements [verify.PromptStore].
func (s *Store) ForgivePrompts(_ context.Context, k verify.UserKey, actor string) error {
	return s.aloneFor(k.Project, func(ctx context.Context, tx *sql.Tx, now time.Time) error {
		if err := lockUser(ctx, tx, k); err != nil {
			return err
		}
		var u verify.User
		u.ForgivePrompts()
		if _, err := tx.ExecContext(ctx, `UPDATE app_user SET prompts = $3, denied_at = $4 WHERE application = $1 AND name = $2`,
			k.Application[:], k.Name, u.Prompts, millis(u.DeniedAt)); err != nil {
			return err
		}
		return audits(ctx, tx, now, k.Project, []Audit{{Actor: actor, Action: "prompts reset", Detail: "a user of application " + k.Application.String()}})
	})
}
