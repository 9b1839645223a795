//go:build unix

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// Lock waits for an exclusive lock on f.
func Lock(f *os.File) error { return flock(f, syscall.LOCK_EX) }

// TryLock takes a lock on f, or returns [ErrHeld] at once.
func TryLock(f *os.File, kind Kind) error {
	how := syscall.LOCK_EX
	if kind == Shared {
		how = syscall.LOCK_SH
	}
	err := flock(f, how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrHeld
	}
	return err
}

// Unlock releases the lock on f. Closing f isn't enough where a child that is being started has it open, too.
func Unlock(f *os.File) error { return flock(f, syscall.LOCK_UN) }

// flock tries again when a signal interrupts it: see flock(2).
func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}
