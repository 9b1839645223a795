// Package shard finds which of several databases has something.
package shard

import (
	"context"
	"errors"
)

// None is where nothing was found.
const None = -1

// Has is the answer of a database that was asked for something, by the error of its look-up. absent is the error by which it says
// that there is none.
func Has(err, absent error) (bool, error) {
	if errors.Is(err, absent) {
		return false, nil
	}
	return err == nil, err
}

// Find asks all databases concurrently, and returns the index of the first that has what is asked for. It waits for no
// other one then, so that a database that is away delays nothing that another one has. Where none has it, Find returns
// None, and the error of a database that couldn't tell, if there is one.
//
// The questions outlive ctx: to cancel one would cost its database a connection.
func Find[D any](ctx context.Context, all []D, has func(context.Context, D) (bool, error)) (int, error) {
	type answer struct {
		at  int
		has bool
		err error
	}
	ctx = context.WithoutCancel(ctx)
	answers := make(chan answer, len(all))
	for i, d := range all {
		go func() {
			found, err := has(ctx, d)
			answers <- answer{i, found, err}
		}()
	}
	var failed error
	for range all {
		switch a := <-answers; {
		case a.has:
			return a.at, nil
		case a.err != nil:
			failed = a.err
		}
	}
	return None, failed
}
