//go:build unix

package system

import "golang.org/x/sys/unix"

// freeSpace is how many bytes a folder's disk has left for this process.
func freeSpace(folder string) (uint64, error) {
	var s unix.Statfs_t
	err := unix.Statfs(folder, &s)
	return uint64(s.Bavail) * uint64(s.Bsize), err
}
