// Package filelock locks open files against other processes. A lock belongs to the open file: the system
// releases it when the last process that has the file open ends, however it ends.
package filelock

import "errors"

// ErrHeld says that another process holds the lock.
var ErrHeld = errors.New("another process holds the lock")

// Kind tells who may hold a lock at the same time.
type Kind int

const (
	Shared    Kind = iota // with others that share it
	Exclusive             // alone
)
