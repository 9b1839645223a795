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
