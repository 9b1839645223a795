package shard

import (
	"context"
	"errors"
	"testing"
)

// A database that doesn't answer delays nothing that another one has, and hides that nothing is there.
func TestFind(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	for name, tt := range map[string]struct {
		all  []error // nil: it has it
		want int
		err  error
	}{
		"nowhere to ask": {nil, None, nil},
		"the first":      {[]error{nil, errNone}, 0, nil},
		"the second":     {[]error{errNone, nil}, 1, nil},
		"none":           {[]error{errNone, errNone}, None, nil},
		"one is away":    {[]error{away, errNone}, None, away},
		"beside one":     {[]error{away, nil}, 1, nil},
	} {
		got, err := Find(t.Context(), tt.all, func(_ context.Context, is error) (bool, error) {
			if errors.Is(is, errNone) {
				return false, nil
			}
			return is == nil, is
		})
		if got != tt.want || !errors.Is(err, tt.err) || err != nil && tt.err == nil {
			t.Errorf("%s: got %d, %v; want %d, %v", name, got, err, tt.want, tt.err)
		}
	}
}

var errNone = errors.New("not here")

func TestFindDoesNotWaitForADatabaseThatHangs(t *testing.T) {
	t.Parallel()
	hangs := make(chan struct{})
	defer close(hangs)
	got, err := Find(t.Context(), []chan struct{}{hangs, nil}, func(_ context.Context, hang chan struct{}) (bool, error) {
		if hang != nil {
			<-hang
		}
		return hang == nil, nil
	})
	if got != 1 || err != nil {
		t.Errorf("got %d, %v; want 1", got, err)
	}
}
