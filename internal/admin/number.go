package admin

import (
	"context"

	"github.com/countersign/countersign/internal/phone"
	"github.com/countersign/countersign/internal/store"
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

// EraseNumber makes what a project keeps of a number anonymous before retention would delete it, and takes the number from its users: see
// [store.Store.EraseDestination]. It fails with [verify.ErrNoNumber] and with [verify.ErrUnderWay].
func (s *Service) EraseNumber(ctx context.Context, by Actor, p verify.ProjectID, n phone.Number) (store.Erasure, error) {
	return s.store.EraseDestination(ctx, p, n, string(by))
}
