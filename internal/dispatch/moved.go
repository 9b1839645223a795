package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/internal/verify"
)

// A follower is the store of one of several databases. The project of a message that is here may move to another one of them
// meanwhile: what comes of the message is then recorded there. So it is nothing to the carrier, or to a call under way, that
// its project moves.
type follower struct {
	Store
	siblings *Siblings
}

// follow returns what a store says of a verification, or what the one says to which it has moved. While it is nowhere, the
// first store's error stays.
func follow[T any](ctx context.Context, f follower, id verify.ID, ask func(Store) (T, error)) (T, error) {
	answer, err := ask(f.Store)
	if !errors.Is(err, verify.ErrMoving) && !errors.Is(err, verify.ErrNotFound) {
		return answer, err
	}
	for _, d := range f.siblings.joined() {
		other := d.own
		if other == f.Store {
			continue
		}
		switch _, away := other.Verification(ctx, id); {
		case away == nil:
			return ask(other)
		case !errors.Is(away, verify.ErrNotFound):
			err = away // it may be there
		}
	}
	return answer, err
}

// Settle implements [Store].
func (f follower) Settle(ctx context.Context, s verify.Settlement) (*verify.Verification, error) {
	return follow(ctx, f, s.Verification, func(st Store) (*verify.Verification, error) { return st.Settle(ctx, s) })
}

// Renew implements [Store].
func (f follower) Renew(ctx context.Context, id verify.ID, attempt int, lease time.Duration) (*verify.Verification, error) {
	return follow(ctx, f, id, func(st Store) (*verify.Verification, error) { return st.Renew(ctx, id, attempt, lease) })
}

// A received is what [Store].Receive returns.
type received struct {
	verification *verify.Verification
	attempt      *verify.Delivery
}

// Receive implements [Store].
func (f follower) Receive(ctx context.Context, r verify.Receipt) (*verify.Verification, *verify.Delivery, error) {
	got, err := follow(ctx, f, r.Verification, func(st Store) (got received, err error) {
		got.verification, got.attempt, err = st.Receive(ctx, r)
		return got, err
	})
	return got.verification, got.attempt, err
}

// Verification implements [Store].
func (f follower) Verification(ctx context.Context, id verify.ID) (*verify.Verification, error) {
	return follow(ctx, f, id, func(st Store) (*verify.Verification, error) { return st.Verification(ctx, id) })
}
