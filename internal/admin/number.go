package admin

import (
	"context"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/verify"
)

// ResetNumber forgets a number's wrong guesses, so that its codes are evaluated again. It fails with
// [verify.ErrNoNumber].
func (s *Service) ResetNumber(ctx context.Context, by Actor, p verify.ProjectID, n phone.Number) error {
	return s.store.ResetDestination(ctx, p, n, string(by))
}

// ResetSends forgets the messages to a number, so that the project's send limits begin again for it. It fails with
// [verify.ErrNoNumber].
func (s *Service) ResetSends(ctx context.Context, by Actor, p verify.ProjectID, n phone.Number) error {
	return s.store.ResetSends(ctx, p, n, by.did("destination reset", n.Masked()+", its messages"))
}
