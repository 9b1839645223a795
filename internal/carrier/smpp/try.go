package smpp

import (
	"context"
	"errors"

	"github.com/countersign/countersign/internal/carrier"
)

// Try binds at Addr as the configuration says, once in each direction, and unbinds. It submits nothing, and
// receipts that the SMSC sends meanwhile are left with the SMSC. The error is [carrier.Misconfigured]
// if the SMSC refuses the bind.
func Try(ctx context.Context, config Config) error {
	if err := carrier.Faulty(config.Name, config.Check()); err != nil {
		return err
	}
	return unbound(ctx, config, config.dialer()).try(ctx)
}

func (c *Carrier) try(ctx context.Context) error {
	sessions, err := c.bindAll(c.Addr)
	for _, s := range sessions {
		s.close(ctx)
		s.work.Wait()
	}
	c.Close(ctx)
	var refused bindError
	switch {
	case errors.As(err, &refused):
		return carrier.Misconfigured(err)
	case err != nil && ctx.Err() != nil:
		return errSilent
	}
	return err
}
