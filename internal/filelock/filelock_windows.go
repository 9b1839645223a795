package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// place is the byte that we lock. It lies beyond what a file holds, because Windows lets nobody else read what
// is locked.
func place() *windows.Overlapped { return &windows.Overlapped{OffsetHigh: 1 << 30} }

// Lock waits for an exclusive lock on f.
func Lock(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, place())
}

// TryLock takes a lock on f, or returns [ErrHeld] at once.
func TryLock(f *os.File, kind Kind) error {
	how := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if kind == Exclusive {
		how |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, place())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrHeld
	}
	return err
}

// Unlock releases the lock on f.
func Unlock(f *os.File) error {
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, place())
}
