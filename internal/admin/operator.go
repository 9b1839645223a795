package admin

import (
	"context"

	"github.com/countersign/countersign/internal/operator"
	"github.com/countersign/countersign/internal/store"
	"github.com/countersign/countersign/internal/verify"
)

// CreateOperator creates an operator and returns the token of the link by which they set up their sign-in. It fails with
// [verify.ErrInvalid], [verify.ErrExists] and [verify.ErrNoProject].
func (s *Service) CreateOperator(ctx context.Context, by Actor, name string, role operator.Role, projects []string) (operator.Operator, verify.Secret, error) {
	now := s.store.Now()
	o := operator.Operator{ID: verify.NewID(now), Name: name, Role: role, CreatedAt: now}
	if err := problems(o.Problems()).err(); err != nil {
		return o, "", err
	}
	var err error
	if o.Projects, err = s.projectIDs(ctx, projects); err != nil {
		return o, "", err
	}
	link := o.Invite(now)
	return o, link, s.store.CreateOperator(ctx, o, by.did("operator create", o.Granted()))
}

// projectIDs finds projects by their ids or names.
func (s *Service) projectIDs(ctx context.Context, projects []string) (ids []verify.ProjectID, err error) {
	for _, idOrName := range projects {
		p, err := s.FindProject(ctx, idOrName)
		if err != nil {
			return nil, err
		}
		ids = append(ids, p.ID)
	}
	return ids, nil
}

// ChangeRole gives an operator another role and, unless they are nil, other projects; none is all. It ends their
// sessions. It fails with [verify.ErrInvalid], [operator.ErrNoOperator], [operator.ErrProvided] and [verify.ErrNoProject].
func (s *Service) ChangeRole(ctx context.Context, by Actor, name string, role operator.Role, projects []string) (operator.Operator, error) {
	if err := problems(role.Problems()).err(); err != nil {
		return operator.Operator{}, err
	}
	ids, err := s.projectIDs(ctx, projects)
	if err != nil {
		return operator.Operator{}, err
	}
	return s.store.ChangeOperator(ctx, name, func(o *operator.Operator) (store.Audit, error) {
		if o.Provided() {
			return store.Audit{}, operator.ErrProvided
		}
		o.Role = role
		if projects != nil {
			o.Projects = ids
		}
		return by.did("operator role", o.Granted()), nil
	})
}

// ResetOperator takes an operator's password, second factor and sessions, and returns the token of a new link. It fails
// with [operator.ErrNoOperator] and [operator.ErrProvided].
func (s *Service) ResetOperator(ctx context.Context, by Actor, name string) (o operator.Operator, link verify.Secret, err error) {
	o, err = s.store.ChangeOperator(ctx, name, func(o *operator.Operator) (store.Audit, error) {
		if o.Provided() {
			return store.Audit{}, operator.ErrProvided
		}
		link = o.Invite(s.store.Now())
		return by.did("operator reset", o.Granted()), nil
	})
	return o, link, err
}

// RemoveOperator deletes an operator and ends their sessions. It fails with [operator.ErrNoOperator].
func (s *Service) RemoveOperator(ctx context.Context, by Actor, name string) error {
	return s.store.RemoveOperator(ctx, name, by.did("operator remove", name))
}

// Operators lists all operators.
func (s *Service) Operators(ctx context.Context) ([]operator.Operator, error) {
	return s.store.Operators(ctx)
}

// OperatorSessions lists the live sessions of an operator. It fails with [operator.ErrNoOperator].
func (s *Service) OperatorSessions(ctx context.Context, name string) ([]operator.Session, error) {
	o, err := s.store.OperatorNamed(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.store.Sessions(ctx, o.ID)
}

// SignOut ends all sessions of an operator. It fails with [operator.ErrNoOperator].
func (s *Service) SignOut(ctx context.Context, by Actor, name string) (ended int, err error) {
	return s.store.EndSessions(ctx, name, by.did("operator sign-out", name))
}
