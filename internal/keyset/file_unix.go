//go:build unix

package keyset

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives the new file the owner of the old one. An operator may change the file as root, and the
// server must still be able to read it.
func keepOwner(next *os.File, old fs.FileInfo) error {
	owner, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return next.Chown(int(owner.Uid), int(owner.Gid))
}

// syncFolder makes a file's new name survive a power cut.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
