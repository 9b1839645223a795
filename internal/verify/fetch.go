package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/countersign/countersign/internal/keyset"
	"github.com/countersign/countersign/internal/record"
)

// A Fetch is a device's request for a message whose push only woke it. The device signs it with its own key. Somebody who
// repeats a Fetch learns what its device learned, and only as long as the verification is pending.
type Fetch struct {
	Verification ID
	Device       ID
	Signature    []byte
}

// signed is the text that a device signs.
func (f *Fetch) signed() []byte {
	return []byte(strings.Join([]string{"countersign fetch 1", f.Verification.String(), f.Device.String()}, "\n"))
}

// Fetch returns what a device is told of a pending verification that may be pushed. It fails with [ErrNoPrompt] unless
// one of the user's devices has signed the request: whether the verification is there, nobody else learns.
func (s *Service) Fetch(ctx context.Context, f Fetch) (Message, error) {
	about := record.Of(ctx)
	about.Verification = record.ID(f.Verification)
	v, err := s.store.Verification(ctx, f.Verification)
	if errors.Is(err, ErrNotFound) || err == nil && !v.pushed() {
		return Message{}, ErrNoPrompt
	}
	if err != nil {
		return Message{}, err
	}
	if err := s.checkSigner(ctx, v, f.Device, f.signed(), f.Signature); err != nil {
		return Message{}, err
	}
	about.Project, about.Application = string(v.Project), record.ID(v.Application)
	if v.ended(s.now()) != nil {
		return Message{}, ErrNoPrompt
	}
	if v.prompts(ChannelPush) {
		if v.Prompt.IsZero() {
			return Message{}, ErrNoPrompt
		}
		return v.Message(ChannelPush, ""), nil
	}
	code, err := s.keys.Open(v.KeyID, v.Binding(), v.SealedCode)
	if errors.Is(err, keyset.ErrUnknownKey) {
		return Message{}, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	if err != nil {
		return Message{}, fmt.Errorf("open the code of %v: %w", v.ID, err)
	}
	return v.Message(ChannelPush, Secret(code)), nil
}
