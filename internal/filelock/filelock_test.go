package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWhoMayHoldALock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	for _, test := range []struct {
		held, wanted Kind
		free         bool
	}{
		{Shared, Shared, true}, {Shared, Exclusive, false}, {Exclusive, Shared, false}, {Exclusive, Exclusive, false},
	} {
		holder, other := open(), open()
		if err := TryLock(holder, test.held); err != nil {
			t.Fatal(err)
		}
		if err := TryLock(other, test.wanted); (err == nil) != test.free || err != nil && !errors.Is(err, ErrHeld) {
			t.Errorf("%d while another holds %d: got error %v", test.wanted, test.held, err)
		}
		if err := errors.Join(Unlock(holder), Unlock(other)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(Lock(other), Unlock(other)); err != nil {
			t.Errorf("when nobody holds it: %v", err)
		}
	}
}
