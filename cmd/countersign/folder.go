package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/filelock"
)

// serverFile marks the folder of a database that serve has used: the process id of the last server stands
// there. The lock on it is held while a server lives; the kernel releases it, however that ends.
const serverFile = "server.pid"

// claimFolder makes a folder a server's, which no other one may use until release.
func claimFolder(data string) (release func() error, err error) {
	f, owner, err := openServerFile(data, filelock.Exclusive)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("%s is in use by %s: stop that, or give this server a folder of its own", data, cmp.Or(owner, "countersign dev"))
	}
	if err != nil {
		return nil, err
	}
	pid := []byte(strconv.Itoa(os.Getpid()) + "\n")
	if _, err = f.WriteAt(pid, 0); err == nil {
		err = f.Truncate(int64(len(pid)))
	}
	if err != nil {
		return nil, errors.Join(err, unlock(f))
	}
	return func() error { return unlock(f) }, nil
}

// borrowFolder keeps servers off a folder until release. One that was a server's is refused: what waits
// there to be sent to people would be taken for the simulator.
func borrowFolder(data string) (release func() error, err error) {
	f, owner, err := openServerFile(data, filelock.Shared)
	if err == nil && owner == "" {
		return func() error { return unlock(f) }, nil
	}
	if f != nil {
		err = errors.Join(err, unlock(f))
	}
	if owner != "" {
		return nil, fmt.Errorf("%s belongs to countersign serve: its messages would go to the simulator instead of to people; give dev a folder of its own", data)
	}
	return nil, err
}

// holdFolder keeps servers and the simulator off a folder until release, without making it a server's.
func holdFolder(data string) (release func() error, err error) {
	f, owner, err := openServerFile(data, filelock.Exclusive)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("%s is in use by %s: stop that first", data, cmp.Or(owner, "countersign dev"))
	}
	if err != nil {
		return nil, err
	}
	return func() error { return unlock(f) }, nil
}

// openServerFile opens and locks the file of a folder, which it makes if need be, and says whose it is:
// nobody's, or a server's. If others hold it, it says so with [filelock.ErrHeld].
func openServerFile(data string, how filelock.Kind) (f *os.File, owner string, err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, "", err
	}
	path := filepath.Join(data, serverFile)
	if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, "", err
	}
	locked := filelock.TryLock(f, how)
	text, err := os.ReadFile(path)
	if pid := strings.TrimSpace(string(text)); pid != "" {
		owner = "another countersign serve, process " + pid
	}
	if err == nil && locked != nil {
		err = fmt.Errorf("lock %s: %w", path, locked)
	}
	if err != nil {
		return nil, owner, errors.Join(err, f.Close())
	}
	return f, owner, nil
}

// unlock releases the lock before it closes the file: a child that we are just starting has the file, too,
// until it runs its program.
func unlock(f *os.File) error {
	return errors.Join(filelock.Unlock(f), f.Close())
}
